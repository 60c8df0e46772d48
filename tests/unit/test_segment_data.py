import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from classifier_segment.augment import AffineSettings, apply_transforms, draw_transforms, fill_black, inverse_affine
from classifier_segment.data import (
    Augmentation,
    DataSettings,
    Examples,
    SegmentData,
    batches,
    fit,
    require_same_classes,
    training_batches,
)
from medsynth.errors import DataError, UsageError
from tests.coco_files import annotation, balanced, document, image, write, write_images

SIZE = 16
SETTINGS = DataSettings(image_size=SIZE)
NO_MAP = AffineSettings(rotation=0, translation=0, smallest=1, largest=1, shear=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SegmentData:
    return SegmentData(balanced(tmp_path_factory.mktemp("segment"), 10), SETTINGS)


def whole(dataset: tf.data.Dataset) -> dict[str, np.ndarray]:
    found = list(dataset.as_numpy_iterator())
    return {name: np.concatenate([element[name] for element in found]) for name in found[0]}


# Reading.


def test_the_middle_at_the_size(data: SegmentData) -> None:
    found = whole(batches(data, data.examples("image"), batch_size=4))
    assert found["image"].shape == (10, SIZE, SIZE, 3)
    assert found["image"].dtype == found["mask"].dtype == np.float32
    with Image.open(data.coco.path.parent / "images" / "1.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (16, 20, 3), "premise: nothing to resize, two columns to cut off at either side"
    np.testing.assert_allclose(found["image"][0], pixels[:, 2:18] / 255, atol=1e-6)
    expected = np.zeros((SIZE, SIZE, 1))
    expected[4:12, 2:10] = 1
    np.testing.assert_array_equal(found["mask"][0], expected)
    assert found["label"].tolist() == [number % 3 for number in range(1, 11)]
    assert found["record"].tolist() == list(range(10))


@pytest.mark.parametrize(("height", "width"), [(30, 61), (61, 30), (9, 9), (16, 17)])
def test_fit_keeps_the_proportions(height: int, width: int) -> None:
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([2 * (y - height // 2) + 128, 2 * (x - width // 2) + 128, 0 * x], axis=2).astype(np.uint8)
    fitted = fit(pixels, SIZE).astype(float)
    assert fitted.shape == (SIZE, SIZE, 3)
    middle = slice(SIZE // 4, 3 * SIZE // 4)
    steps = 2 * min(height, width) / SIZE
    assert np.diff(fitted[middle, middle, 0], axis=0).mean() == pytest.approx(steps, rel=0.1)
    assert np.diff(fitted[middle, middle, 1], axis=1).mean() == pytest.approx(steps, rel=0.1)
    assert fitted[..., :2].mean() == pytest.approx(128, abs=3)


def test_examples_by_annotation_and_by_image(tmp_path: Path) -> None:
    images = [image(1), image(2, label="c"), image(3)]
    lesions = [annotation(1, 1, 2), annotation(2, 1, 1), annotation(3, 1, 2)]
    write_images(tmp_path, images)
    data = SegmentData(write(tmp_path / "d.json", document(images, lesions)), SETTINGS)
    by_annotation, by_image = data.examples("annotation"), data.examples("image")
    assert (by_annotation.image.tolist(), by_annotation.label.tolist()) == ([0, 0, 0, 1], [1, 0, 1, 2])
    assert (by_image.image.tolist(), by_image.label.tolist()) == ([0, 1], [1, 2])
    with pytest.raises(UsageError, match="annotation, image"):
        data.examples("polygon")
    facts = data.facts
    assert (facts.num_images, facts.num_left_out, facts.num_empty_masks) == (2, 1, 1)
    assert dict(facts.images_of_class) == {"a": 0, "b": 1, "c": 1}
    assert dict(facts.annotations_of_class) == {"a": 1, "b": 2, "c": 1}
    assert not whole(batches(data, by_image, batch_size=2))["mask"][1].any()
    fewer = SegmentData(data.coco.path, replace(SETTINGS, unannotated=False))
    assert (fewer.facts.num_images, fewer.facts.num_left_out) == (1, 2)


def test_the_digest_is_that_of_what_is_shown(tmp_path: Path) -> None:
    path = balanced(tmp_path, 6)
    digest = SegmentData(path, SETTINGS).facts.digest
    assert SegmentData(path, replace(SETTINGS, num_threads=3, memory_limit=0)).facts.digest == digest
    assert SegmentData(path, replace(SETTINGS, image_size=8)).facts.digest != digest
    text = path.read_text()
    path.write_text(text.replace('"category_id": 1', '"category_id": 2'))
    assert SegmentData(path, SETTINGS).facts.digest != digest
    path.write_text(text)
    assert SegmentData(path, SETTINGS).facts.digest == digest
    pixels = np.asarray(Image.open(tmp_path / "images" / "3.png")).copy()
    pixels[8, 8] ^= 1
    Image.fromarray(pixels).save(tmp_path / "images" / "3.png")
    assert SegmentData(path, SETTINGS).facts.digest != digest


def test_what_does_not_fit_into_memory_is_read_again(data: SegmentData) -> None:
    limit = 3 * 4 * SIZE**2
    small = SegmentData(data.coco.path, replace(SETTINGS, memory_limit=limit, num_threads=4))
    assert len(small._kept) == 3
    for one, other in zip(
        *(whole(batches(each, each.examples("image"), batch_size=3)).values() for each in (data, small)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("break_it", ["missing", "damaged", "size"])
def test_an_image_that_cannot_be_used_is_named_at_once(tmp_path: Path, break_it: str) -> None:
    path = balanced(tmp_path, 6)
    file = tmp_path / "images" / "5.png"
    if break_it == "missing":
        file.unlink()
    elif break_it == "damaged":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        Image.new("RGB", (16, 20)).save(file)
    with pytest.raises(DataError, match=r"5\.png: "):
        SegmentData(path, SETTINGS)


@pytest.mark.parametrize("changes", [{"image_size": 0}, {"num_threads": 0}, {"outlines": "some"}])
def test_settings_that_cannot_be_used(tmp_path: Path, changes: dict) -> None:
    with pytest.raises(UsageError):
        SegmentData(balanced(tmp_path, 3), replace(SETTINGS, **changes))


def test_nothing_to_show_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "d.json", document([image(1)], []))
    with pytest.raises(DataError, match="Images with a class were expected"):
        SegmentData(path, SETTINGS)


def test_splits_must_have_the_same_classes(tmp_path: Path) -> None:
    def split(name: str, classes: list[int], names: tuple[str, ...] = ("a", "b")) -> SegmentData:
        images = [image(number) for number in range(1, len(classes) + 1)]
        lesions = [annotation(number, number, kind) for number, kind in enumerate(classes, 1)]
        content = document(images, lesions)
        content["categories"] = [{"id": number, "name": one} for number, one in enumerate(names, 1)]
        write_images(tmp_path, images)
        return SegmentData(write(tmp_path / f"{name}.json", content), SETTINGS)

    both, first, second = split("both", [1, 2]), split("first", [1, 1]), split("second", [2])
    require_same_classes(both, first, second)
    with pytest.raises(DataError, match=r"second\.json: Class 'b' has no example in .*first\.json"):
        require_same_classes(first, second)
    with pytest.raises(DataError, match=r"first\.json: Every category needs an example .*none of b"):
        require_same_classes(first, first)
    with pytest.raises(DataError, match=r"other\.json: The classes of the training, a, b, .*b, a"):
        require_same_classes(both, split("other", [1, 2], ("b", "a")))


# Maps.


def mapped(picture: np.ndarray, **map_settings) -> np.ndarray:
    plain = {"angle": 0.0, "translation": (0, 0), "scale": 1.0, "shear": 0.0}
    transform = inverse_affine(**(plain | map_settings), size=len(picture))
    return apply_transforms(picture[None, ..., None], transform[None]).numpy()[0, ..., 0]


def dot(row: int, column: int) -> np.ndarray:
    picture = np.zeros((17, 17), np.uint8)
    picture[row, column] = 255
    return picture


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({}, (8, 12)),
        ({"angle": 90.0}, (12, 8)),  # clockwise: from the right to the bottom
        ({"angle": 45.0}, (11, 11)),
        ({"translation": (2, -3)}, (5, 14)),
        ({"scale": 0.5}, (8, 10)),
        ({"angle": 90.0, "translation": (0, 1)}, (13, 8)),
    ],
)
def test_where_a_dot_goes(settings: dict, place: tuple[int, int]) -> None:
    assert np.argmax(mapped(dot(8, 12), **settings)) == np.ravel_multi_index(place, (17, 17))


def test_shear_moves_rows_and_leaves_columns() -> None:
    line = np.zeros((17, 17), np.uint8)
    line[:, 8] = 1
    sheared = mapped(line, shear=math.degrees(math.atan(0.4)))
    rows, columns = np.nonzero(sheared)
    np.testing.assert_array_equal(columns - 8, np.rint(-0.4 * (rows - 8)))
    level = np.zeros((17, 17), np.uint8)
    level[8, 4:13] = 1
    np.testing.assert_array_equal(mapped(level, shear=20.0), level)


def test_maps_are_nearest_and_black_outside() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(100, 256, (6, SIZE, SIZE, 4), np.uint8)
    transforms = draw_transforms(rng, 6, SIZE, AffineSettings())
    result = apply_transforms(pictures, transforms).numpy()
    for before, after in zip(pictures, result, strict=True):
        colours = {tuple(pixel) for pixel in before.reshape(-1, 4)} | {(0, 0, 0, 0)}
        assert {tuple(pixel) for pixel in after.reshape(-1, 4)} <= colours
    assert (result == 0).any()


def test_maps_are_drawn_from_the_published_ranges() -> None:
    transforms = draw_transforms(np.random.default_rng(0), 4000, 224, AffineSettings())
    assert transforms.shape == (4000, 8)
    assert transforms.dtype == np.float32
    back = transforms[:, [0, 1, 3, 4]].reshape(-1, 2, 2).astype(float)
    forward = np.linalg.inv(back)
    scale = np.hypot(forward[:, 0, 0], forward[:, 1, 0])  # shear along x leaves the first column alone
    angle = np.degrees(np.arctan2(forward[:, 1, 0], forward[:, 0, 0]))
    middle = np.array([111.5, 111.5])
    offsets = np.stack([transforms[:, 2], transforms[:, 5]], axis=1)
    moves = np.einsum("nij,nj->ni", forward, middle - offsets) - middle  # where the middle goes
    turned_back = np.stack([np.cos(np.radians(angle)), np.sin(np.radians(angle))], axis=1)
    slant = -np.einsum("ni,ni->n", turned_back, forward[:, :, 1]) / scale  # tangent
    for values, low, high in (
        (scale, 0.9, 1.1), (angle, -45, 45), (moves[:, 0], -22, 22), (moves[:, 1], -22, 22),
        (np.degrees(np.arctan(slant)), -10, 10),
    ):  # fmt: skip
        span = high - low
        assert low - 0.01 * span < values.min() < low + 0.02 * span
        assert high - 0.02 * span < values.max() < high + 0.01 * span
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * span)
    np.testing.assert_allclose(moves, moves.round(), atol=1e-2)


def test_black_gets_the_mean_of_the_others() -> None:
    images = np.full((3, 4, 4, 3), (0.2, 0.4, 0.0), np.float32)
    images[0, :2] = 0
    images[0, 3] = (0.6, 0.0, 0.8)
    images[2] = 0
    filled = fill_black(tf.constant(images)).numpy()
    np.testing.assert_allclose(filled[0, :2], np.broadcast_to([0.4, 0.2, 0.4], (2, 4, 3)), atol=1e-6)
    np.testing.assert_array_equal(filled[0, 2:], images[0, 2:])
    np.testing.assert_array_equal(filled[1:], images[1:])


# Training.


def epoch(data: SegmentData, seed: int = 3, number: int = 0, **others) -> dict[str, np.ndarray]:
    settings = {"batch_size": 4, "augmentation": Augmentation()} | others
    return whole(training_batches(data, data.examples("image"), seed=seed, epoch=number, **settings))


def test_image_and_mask_are_mapped_alike(tmp_path: Path) -> None:
    path = balanced(tmp_path, 8)
    data = SegmentData(path, SETTINGS)
    for number in range(8):  # white where the outline is, grey elsewhere
        data._kept[number, ..., :3] = np.maximum(data._kept[number, ..., 3:], 100)
    found = epoch(data)
    assert 0 < found["mask"].mean() < 1
    assert (found["image"] == 0).any(), "premise: something came from outside"
    np.testing.assert_array_equal(found["image"][..., :1] == 1, found["mask"] == 1)
    filled = epoch(data, augmentation=Augmentation(fills_black=True))
    assert not (filled["image"] == 0).any()
    np.testing.assert_array_equal(filled["mask"], found["mask"])


def test_an_epoch_shows_every_example_once_in_its_own_order(data: SegmentData) -> None:
    orders = [epoch(data, number=number)["record"].tolist() for number in range(3)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    labels = epoch(data)
    assert labels["label"].tolist() == [(1 + record) % 3 for record in labels["record"]]


@pytest.mark.parametrize("changes", [{"seed": 4}, {"number": 1}])
def test_another_seed_or_epoch_draws_other_maps(data: SegmentData, changes: dict) -> None:
    one, other = epoch(data), epoch(data, **changes)
    first, second = (result["image"][np.argsort(result["record"])] for result in (one, other))
    assert (np.abs(first - second).mean(axis=(1, 2, 3)) > 0.01).all()
    plain = epoch(data, augmentation=None, **changes)
    still = epoch(data, augmentation=Augmentation(NO_MAP), **changes)
    np.testing.assert_array_equal(plain["image"], still["image"])


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("memory_limit", [0, 2**20])
def test_batch_i_of_an_epoch_depends_on_nothing_else(data: SegmentData, num_threads: int, memory_limit: int) -> None:
    expected = epoch(data, number=1)
    other = SegmentData(data.coco.path, replace(SETTINGS, num_threads=num_threads, memory_limit=memory_limit))
    resumed = epoch(other, number=1, first_batch=2)
    assert len(resumed["label"]) == 2, "premise: two batches of four were left out"
    for name, values in resumed.items():
        np.testing.assert_array_equal(values, expected[name][8:])
    larger = epoch(other, number=1, batch_size=10)
    for name, values in larger.items():
        np.testing.assert_array_equal(values, expected[name])


def test_batches_are_of_static_form_but_for_their_number(data: SegmentData) -> None:
    dataset = batches(data, Examples(np.arange(5), np.arange(5)), batch_size=2)
    assert dataset.element_spec["image"].shape.as_list() == [None, SIZE, SIZE, 3]
    assert [len(element["label"]) for element in dataset] == [2, 2, 1]
