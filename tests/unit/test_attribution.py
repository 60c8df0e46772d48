"""Masked tiles computed near the tile alone, effects, maps, coarse-to-fine, and the table of images."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsynth.errors import DataError, MedsynthError, NetworkError, UsageError
from tests.tiny_classifier import write_classifier
from tests.toy_data import LABELS, write_toy_split


def small_network(dimension: int, *, seed: int = 0):
    """A network with every kind of layer of DenseNet-121, in float64, few channels, and effects that are not small."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    float64 = {"dtype": "float64"}
    inputs = keras.Input((dimension, dimension, 3), **float64)
    x = layers.ZeroPadding2D(3, **float64)(inputs)
    x = layers.Conv2D(8, 7, strides=2, use_bias=False, **float64)(x)
    x = layers.BatchNormalization(**float64)(x)
    x = layers.Activation("relu", **float64)(x)
    x = layers.ZeroPadding2D(1, **float64)(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1", **float64)(x)
    for block, num_layers in enumerate((3, 3)):
        for _ in range(num_layers):
            y = layers.BatchNormalization(**float64)(x)
            y = layers.Activation("relu", **float64)(y)
            y = layers.Conv2D(12, 1, use_bias=False, **float64)(y)
            y = layers.BatchNormalization(**float64)(y)
            y = layers.Activation("relu", **float64)(y)
            y = layers.Conv2D(4, 3, padding="same", use_bias=False, **float64)(y)
            x = layers.Concatenate(**float64)([x, y])
        x = layers.Conv2D(8, 1, use_bias=False, **float64)(x)
        x = layers.AveragePooling2D(2, strides=2, name=f"pool{block + 2}_pool", **float64)(x)
    x = layers.GlobalAveragePooling2D(**float64)(x)
    network = keras.Model(inputs, layers.Dense(3, activation="sigmoid", **float64)(x))
    rng = np.random.default_rng(seed)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.gamma.shape
            # An offset makes padding, which is 0 behind it, differ from the edge of an image of zeros.
            layer.set_weights([rng.uniform(0.5, 2, shape), rng.normal(0.3, 0.5, shape), rng.normal(0, 0.3, shape),
                               rng.uniform(0.5, 2, shape)])  # fmt: skip
    return network


def image_of(dimension: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(dimension, dimension, 3))


# The last two: 22 and 26 become odd sizes, whose last row a pooling by two leaves out.
@pytest.mark.parametrize(("dimension", "tile"), [(64, 4), (64, 16), (96, 8), (112, 4), (88, 4), (104, 8)])
def test_near_a_tile_means_the_same_as_the_whole_masked_image(dimension, tile):
    from medsynth.classify.attribution.maps import MaskedScores

    network, image = small_network(dimension), image_of(dimension)
    near = MaskedScores(network, tile, 16)
    sizes = [(step.output.size, step.output.length) for step in near._near.steps if step.output is not None]
    assert sum(size < length for size, length in sizes) > 8, "windows are smaller than maps"
    plain = MaskedScores(network, tile, 16, near_tile=False)
    num_tiles = (dimension // tile) ** 2
    tiles = np.arange(num_tiles)[:: max(num_tiles // 150, 1)]
    tiles = np.unique(np.r_[tiles, 0, dimension // tile - 1, num_tiles - dimension // tile, num_tiles - 1])
    expected = plain.masked(image, tiles)
    assert np.ptp(expected, axis=0).min() > 1e-4, "masking changes the scores"
    np.testing.assert_allclose(near.masked(image, tiles), expected, rtol=0, atol=1e-12)


def test_near_a_tile_in_densenet():
    import keras

    from medsynth.classify.attribution.maps import MaskedScores
    from medsynth.networks.densenet import build_densenet121

    keras.utils.set_random_seed(1)
    network = build_densenet121(64, 2)
    image = image_of(64).astype(np.float32)
    tiles = np.array([0, 5, 119, 136, 255])
    near, plain = (MaskedScores(network, 4, 5, near_tile=near) for near in (True, False))
    expected = plain.masked(image, tiles)
    assert np.ptp(expected, axis=0).min() > 1e-5
    np.testing.assert_allclose(near.masked(image, tiles), expected, rtol=0, atol=1e-6)


def test_layers_that_are_not_known_are_named():
    import keras

    from medsynth.classify.attribution.maps import MaskedScores

    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.UpSampling2D(name="larger")(inputs))
    with pytest.raises(NetworkError, match="UpSampling2D 'larger'"):
        MaskedScores(network, 4, 2)


def test_masked_copies_have_one_tile_of_zeros():
    from medsynth.classify.attribution.maps import masked_copies

    image = np.ones((1, 8, 8, 3), np.float32)
    copies = masked_copies(image, np.array([0, 1], np.int32), np.array([1, 0], np.int32), 4).numpy()
    expected = np.ones((2, 8, 8, 3))
    expected[0, :4, 4:] = 0
    expected[1, 4:, :4] = 0
    np.testing.assert_array_equal(copies, expected)


def test_effects_by_hand():
    from medsynth.classify.attribution.maps import tile_effects

    truth = np.array([1.0, 0.0])
    whole, masked = np.array([0.9, 0.2]), np.array([[0.5, 0.2], [0.9, 0.1]])
    expected = [np.log(0.9 / 0.5) / 2, np.log(0.8 / 0.9) / 2]
    np.testing.assert_allclose(tile_effects(truth, whole, masked), expected, rtol=1e-5)


@pytest.mark.parametrize("log", [False, True])
def test_maps_have_a_floor_and_repeat_tiles(log):
    from medsynth.classify.attribution.maps import attribution_map

    effects = np.array([[0.5, -0.1], [0.0, 0.25]])
    found = attribution_map(effects, 2, log=log)
    assert found.shape == (4, 4, 1)
    half = np.log(1.5) if log else 0.5
    np.testing.assert_allclose(found[:2, :2], half)
    np.testing.assert_allclose(found[:2, 2:], 1e-7, rtol=1e-6)
    assert attribution_map(effects, 2, log=log, normalise=True).sum() == pytest.approx(1)


@pytest.mark.parametrize(("num_tiles", "size"), [(7, 3), (6, 3), (2, 5)])
def test_blocks_hold_every_tile_once_and_fill_the_last_up(num_tiles, size):
    from medsynth.classify.attribution.maps import blocks_of

    blocks = blocks_of(np.arange(num_tiles), size)
    assert {len(block) for block in blocks} == {size}
    np.testing.assert_array_equal(np.concatenate(blocks)[:num_tiles], np.arange(num_tiles))


def densenet_like(dimension: int):
    """`small_network`, with the layer that coarse-to-fine looks at."""
    from medsynth.classify.attribution.maps import MaskedScores

    return MaskedScores(small_network(dimension), 4, 16), image_of(dimension)


def test_coarse_to_fine_computes_coarse_tiles_and_peaks_and_comes_near_elsewhere():
    from scipy.stats import spearmanr

    from medsynth.classify.attribution.coarse_to_fine import CoarseToFine, coarse_tiles
    from medsynth.classify.attribution.maps import exact_effects

    scores, image = densenet_like(64)
    truth = np.array([1.0, 0.0, 1.0])
    exact = exact_effects(scores, image, truth).ravel()
    assert scores.num_calls == 16
    quick = CoarseToFine(scores, 0.25)
    assert spearmanr(quick.estimates(image, truth), exact).statistic > 0.8, "before any correction"
    advanced: list[int] = []
    found = quick.effects(image, truth, advanced.append).ravel()
    # A quarter of 256 tiles is 64. Rows 0, 5, 10, 15 make 16 coarse ones; the rounds add 12 each, a call of 16 each.
    assert (quick.num_computed, sum(advanced), scores.num_calls) == (64, 64, 16 + 1 + 4)
    is_exact = np.isclose(found, exact, rtol=0, atol=1e-12)
    assert is_exact[coarse_tiles(16)].all()
    assert 64 <= is_exact.sum() < 100
    assert is_exact[np.argsort(-exact)[:10]].all(), "the peaks are computed"
    assert spearmanr(found, exact).statistic > 0.95


def test_coarse_to_fine_with_every_tile_is_exact():
    from medsynth.classify.attribution.coarse_to_fine import CoarseToFine
    from medsynth.classify.attribution.maps import exact_effects

    scores, image = densenet_like(48)
    truth = np.array([0.0, 0.0, 1.0])
    found = CoarseToFine(scores, 1.0).effects(image, truth)
    np.testing.assert_allclose(found, exact_effects(scores, image, truth), rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", [1, 4, 5, 6, 56])
def test_corrections_put_a_constant_error_right_everywhere(side):
    from medsynth.classify.attribution.coarse_to_fine import coarse_tiles, corrected

    exact = np.random.default_rng(0).normal(size=side**2)
    effects = np.full(side**2, np.nan)
    effects[coarse_tiles(side)] = exact[coarse_tiles(side)]
    np.testing.assert_allclose(corrected(exact - 3, effects), exact, rtol=0, atol=1e-9)


def test_the_most_important_tiles_are_the_largest_unknown_ones():
    from medsynth.classify.attribution.coarse_to_fine import most_important

    guess, effects = np.array([5.0, -9.0, 3.0, 4.0]), np.array([5.0, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(most_important(guess, effects, 2), [2, 3])
    np.testing.assert_array_equal(most_important(guess, effects, 9), [1, 2, 3])
    assert len(most_important(guess, effects, 0)) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A described classifier without weights worth reading."""
    from medsynth.networks.trained_classifier import TrainedClassifier

    settings = {"data.labels": list(LABELS), "train.image_dimension": 32, "resolution": 16}
    return TrainedClassifier(tmp_path_factory.mktemp("classifier"), settings, Path("none"))


def write_nn_files(folder: Path, header: tuple[str, ...] = ("Path", *LABELS), row: tuple = (1, 0, 0), **image) -> Path:
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, image.get("shape", (32, 32)), np.uint8)
    Image.fromarray(pixels.astype(image.get("dtype", np.uint8))).save(folder / "a.png")
    with (folder / "nn_path_and_labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, ("a.png", *row)])
    return folder


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 3)])
def test_listed_images_are_read_as_they_are(trained, tmp_path, shape):
    from medsynth.classify.attribution.images import read_listed_images

    folder = write_nn_files(tmp_path / "nn_files", shape=shape)
    images = read_listed_images(folder, trained, prepare=False)
    assert (images.names, len(images)) == (("a.png",), 1)
    np.testing.assert_array_equal(images.truth, [[1, 0, 0]])
    expected = np.asarray(Image.open(folder / "a.png")).reshape(32, 32, -1)
    np.testing.assert_array_equal(images.pixels[0], expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (20, 32)}, ["a.png", "32x32", "32x20 pixels", "line 2 of nn_path_and_labels.csv", "--prepare"]),
        ({"dtype": np.uint16}, ["8 bits", "float64"]),
        ({"header": ("Path", "No Finding", "Pleural Effusion", "Cardiomegaly")}, ["was trained on the labels"]),
        ({"header": ("Image", *LABELS)}, ["must be Path", "Image"]),
        ({"row": (1, 0.5, 0)}, ["line 2", "'Cardiomegaly'", "0.5"]),
        ({"row": (1, 0, "")}, ["line 2", "'Pleural Effusion'"]),
    ],
)
def test_images_and_tables_that_do_not_fit_are_refused(trained, tmp_path, change, words):
    from medsynth.classify.attribution.images import read_listed_images

    folder = write_nn_files(tmp_path / "nn_files", **change)
    with pytest.raises(DataError) as refusal:
        read_listed_images(folder, trained, prepare=False)
    for word in words:
        assert word in str(refusal.value)


def test_missing_tables_and_images_are_named(trained, tmp_path):
    from medsynth.classify.attribution.images import read_listed_images

    with pytest.raises(DataError, match=r"nn_path_and_labels\.csv.*--from-test N"):
        read_listed_images(tmp_path, trained, prepare=False)
    folder = write_nn_files(tmp_path / "nn_files")
    (folder / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png.*line 2 of nn_path_and_labels\.csv.*no such file"):
        read_listed_images(folder, trained, prepare=False)
    (folder / "nn_path_and_labels.csv").write_text(",".join(("Path", *LABELS)) + "\n")
    with pytest.raises(DataError, match="a header alone"):
        read_listed_images(folder, trained, prepare=False)


def test_other_sizes_and_depths_can_be_prepared(trained, tmp_path):
    from medsynth.classify.attribution.images import read_listed_images

    folder = write_nn_files(tmp_path / "nn_files", shape=(20, 24), dtype=np.uint16)
    (pixels,) = read_listed_images(folder, trained, prepare=True).pixels
    assert (pixels.shape, pixels.dtype) == ((32, 32, 1), np.uint8)
    assert pixels.max() == 255, "the brightest pixel becomes 255, as in build_dataset"


def test_test_images_are_written_as_the_network_sees_them(trained, tmp_path):
    from medsynth.classify.attribution.images import FirstTestImages, read_listed_images
    from medsynth.data.labels import read_label_table, record_order
    from medsynth.data.pyramid import open_records
    from medsynth.networks.imagenet_input import preprocess

    write_toy_split(tmp_path / "test", 9)
    folder = tmp_path / "nn_files"
    FirstTestImages.open(folder, tmp_path / "test", trained, 5).write()
    images = read_listed_images(folder, trained, prepare=False)
    table = read_label_table(tmp_path / "test")
    np.testing.assert_array_equal(images.truth, table.values[:5])
    records = open_records(tmp_path / "test", 16)
    for row in range(5):
        (record,) = np.flatnonzero(record_order(9) == row)
        expected = preprocess(records.read([record]), 32).numpy()
        found = preprocess(images.pixels[row][None], 32).numpy()
        # 8 bits are what a PNG file holds: half a step, in units of the standard deviation.
        np.testing.assert_allclose(found, expected, rtol=0, atol=0.5 / 255 / 0.224 + 1e-4)
    with (folder / "sources.csv").open() as file:
        assert [row[1] for row in csv.reader(file)][1:] == list(table.paths[:5])
    with pytest.raises(UsageError, match="chosen already"):
        FirstTestImages.open(folder, tmp_path / "test", trained, 5).write()
    with pytest.raises(UsageError, match="1 to 9 images"):
        FirstTestImages.open(tmp_path / "other", tmp_path / "test", trained, 10)


def test_pictures_are_written(tmp_path):
    from medsynth.report.attribution_figures import Explained, index_figure, overlay_figure

    rng = np.random.default_rng(0)
    all_explained = [
        Explained(
            f"{number}.png",
            rng.integers(0, 256, (32, 32, 1 + 2 * (number % 2)), np.uint8),
            np.maximum(rng.normal(size=(32, 32)), 1e-7) if number else np.full((32, 32), 1e-7),
            tuple((name, 0.0, 0.25) for name in LABELS),
        )
        for number in range(7)
    ]
    for number in (0, 1):
        overlay_figure(tmp_path / f"{number}.png", all_explained[number], unit="effect")
        assert Image.open(tmp_path / f"{number}.png").size[0] > 1000
    index_figure(tmp_path / "index.png", all_explained)
    with Image.open(tmp_path / "index.png") as index:
        assert index.size[0] > 1500


@pytest.mark.parametrize(("num_images", "words"), [(500, "1 to 9 images"), (None, "A table of the images to explain")])
def test_a_dry_run_finds_what_the_run_would(tmp_path, num_images, words):
    from medsynth.classify.attribution.command import Request, attribute

    write_toy_split(tmp_path / "test", 9)
    write_classifier(tmp_path / "results", LABELS)
    request = Request(
        model_dir=Path(__file__).parents[2] / "classifier_real", results=tmp_path / "results",
        test_split=tmp_path / "test", num_from_test=num_images, coarse_to_fine=False, prepare=False, overrides=[],
    )  # fmt: skip
    with pytest.raises(MedsynthError, match=words):
        attribute(request, dry_run=True)
