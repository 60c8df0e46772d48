"""Images, grids and videos from a stored generator: the right labels, seeds and loops, and clear refusals."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from GAN_cpd.networks import Generator as ConditionalGenerator
from GAN_prog.networks import Generator
from medsynth.errors import DataError, DependencyError, MedsynthError, NetworkError, RunFolderError, UsageError
from medsynth.files import write_json
from medsynth.gan.command_line import generate_parser
from medsynth.gan.gallery import latent_paths, run
from medsynth.gan.sampling import draw_latents, quantise
from medsynth.gan.trained import TrainedGenerator, label_rows, open_generator
from medsynth.gan.training_video import read_log, shown_pictures
from medsynth.report.captions import row_names
from tests.tiny_gan import CLASSES, LABELS, LOG, RESOLUTION, facts, tiny_generator, write_results
from tests.toy_data import write_toy_split

try:
    import imageio.v3 as imageio
    import imageio_ffmpeg
except ImportError:
    imageio_ffmpeg = None
needs_ffmpeg = pytest.mark.skipif(imageio_ffmpeg is None, reason="imageio-ffmpeg (the extra [video]) is not installed")


def command(*arguments: object) -> None:
    run(CLASSES, generate_parser("").parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def generate(results: Path) -> TrainedGenerator:
    return open_generator(CLASSES, results)


# Seeds and labels.


@pytest.mark.parametrize("network_class", [Generator, ConditionalGenerator])
def test_a_seed_fixes_an_image_whatever_else_is_made(network_class: type) -> None:
    generate = TrainedGenerator(tiny_generator(network_class), facts())
    images = generate(range(40), "Edema")
    assert images.shape == (40, RESOLUTION, RESOLUTION, 1)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) >= 20, "untrained networks saturate, but not all alike"
    np.testing.assert_array_equal(generate([37, 5, 21, 37], "Edema"), images[[37, 5, 21, 37]])
    np.testing.assert_array_equal(generate(range(7, 30), "Edema"), images[7:30])
    np.testing.assert_array_equal(generate(12, "Edema"), images[[12]])


def test_an_image_is_that_of_its_latents_and_labels(generate: TrainedGenerator) -> None:
    latents = np.concatenate([draw_latents(seed, 1, generate.network.latent_size) for seed in range(20)])
    labels = np.tile(np.float32([[0, 0, 1]]), (20, 1))
    expected = quantise(generate.network(latents, labels)).numpy().astype(int)
    # Another size of batch: the last bit may differ.
    assert np.abs(generate(range(20), "Edema").astype(int) - expected).max() <= 1
    assert np.abs(generate(latents, "Edema").astype(int) - expected).max() <= 1
    assert np.abs(generate(range(20), "Cardiomegaly").astype(int) - expected).max() > 5


@pytest.mark.parametrize(
    "labels",
    ["Cardiomegaly,Edema", " Edema , Cardiomegaly", ["Edema", "Cardiomegaly"], [0, 1, 1], np.array([[0, 1, 1]] * 4)],
)
def test_labels_may_be_given_as_names_or_as_rows(labels: Any) -> None:
    rows = label_rows(labels, LABELS, 4)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [[0, 1, 1]] * 4)


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        ("Oedema", LABELS, r"Unknown label\. This generator knows No Finding, .* Received: Oedema"),
        ("Edema,", LABELS, "Unknown label"),
        ("", LABELS, "trained with labels; give some of"),
        ((), LABELS, "trained with labels; give some of"),
        ([0, 1], LABELS, r"has 3 values: .* Received: an array of 2$"),
        (np.zeros((5, 3)), LABELS, "Received: an array of 5x3"),
        ([0, 1, 2], LABELS, r"Labels are 0 or 1\. Received: 2"),
        ([0, 1, math.nan], LABELS, "Labels are 0 or 1"),
        ("Edema", (), "trained without labels; leave them out"),
        ([1], (), "has 0 values"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Any, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        label_rows(labels, names, 4)


def test_a_generator_without_labels_needs_none(tmp_path: Path) -> None:
    write_results(tmp_path, network=tiny_generator(label_size=0), label_names=[])
    images = open_generator(CLASSES, tmp_path)(range(3))
    assert len({image.tobytes() for image in images}) == 3
    command("grid", tmp_path, tmp_path / "grid.png", "--columns", 3)
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size == (3 * 64, 64)


@pytest.mark.parametrize("seeds", [[], [-1], [2**32], [0.5], [[[0]]]])
def test_seeds_out_of_range_are_refused(generate: TrainedGenerator, seeds: Any) -> None:
    with pytest.raises(UsageError, match="Seeds are"):
        generate(seeds, "Edema")


def test_truncation_scales_the_latents(generate: TrainedGenerator) -> None:
    latents = np.concatenate([draw_latents(seed, 1, generate.network.latent_size) for seed in range(4)])
    images = generate(range(4), "Edema", truncation=0.25)
    np.testing.assert_array_equal(images, generate(latents * np.float32(0.25), "Edema"))
    np.testing.assert_array_equal(images, generate(latents, "Edema", truncation=0.25))
    spread = [generate(range(4), "Edema", truncation=psi).astype(float).std(axis=0).mean() for psi in (1.0, 0.02)]
    assert spread[1] < 0.5 * spread[0], "the labels outweigh the latents"


@pytest.mark.parametrize("truncation", [0.0, -0.5, 1.01, math.nan])
def test_truncation_out_of_range_is_refused(generate: TrainedGenerator, truncation: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        generate(range(2), "Edema", truncation=truncation)
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        generate(np.ones((1, generate.network.latent_size)), "Edema", truncation=truncation)


# Which network.


def test_a_snapshot_is_shown_at_the_level_it_had_grown_to(tmp_path: Path) -> None:
    write_results(tmp_path, "network-snapshot-000001", images_seen=1250)
    generate = open_generator(CLASSES, tmp_path, 1)
    assert generate.lod == pytest.approx(0.75)
    latents = draw_latents(4, 1, generate.network.latent_size)
    labels = np.float32([[0, 1, 0]])
    fading = quantise(generate.network(latents, labels, stage=0, fade=0.75)).numpy().astype(int)
    grown = quantise(generate.network(latents, labels)).numpy().astype(int)
    image = generate(latents, "Cardiomegaly").astype(int)
    assert np.abs(image - fading).max() <= 1
    assert np.abs(image - grown).max() > 5


def test_networks_that_are_not_there_are_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"no snapshot of that number; there are: none\. Received: 7"):
        open_generator(CLASSES, results, 7)
    write_results(tmp_path, "network-snapshot-000004")
    write_results(tmp_path, "network-snapshot-000005-copy")
    with pytest.raises(NetworkError, match=r"there are: 000004\."):
        open_generator(CLASSES, tmp_path, 7)
    with pytest.raises(NetworkError, match="A folder with a trained network was expected"):
        open_generator(CLASSES, tmp_path)
    with pytest.raises(NetworkError, match="Pickled networks are refused"):
        open_generator(CLASSES, tmp_path / "network-final.pkl")
    write_results(tmp_path, label_names=["A"])
    with pytest.raises(NetworkError, match="must give images_seen and 3 label_names"):
        open_generator(CLASSES, tmp_path)
    write_json(tmp_path / "config.json", [])
    write_results(tmp_path / "other")
    write_json(tmp_path / "other" / "config.json", [])
    with pytest.raises(DataError, match="settings of a training were expected"):
        open_generator(CLASSES, tmp_path / "other")


# Pictures.


def test_images_are_named_by_seed_and_say_what_they_are(
    results: Path, generate: TrainedGenerator, tmp_path: Path
) -> None:
    command("images", results, tmp_path / "few", "--num", 3, "--seed", 14, "--labels", "Cardiomegaly,Edema")
    command("images", results, tmp_path / "many", "--num", 20, "--seed", 14, "--label-vector", "0,1,1")
    assert [path.name for path in sorted((tmp_path / "few").iterdir())] == [
        f"seed{seed:06d}.png" for seed in (14, 15, 16)
    ]
    assert len(list((tmp_path / "many").iterdir())) == 20
    for seed in (14, 15, 16):
        path = tmp_path / "few" / f"seed{seed:06d}.png"
        assert path.read_bytes() == (tmp_path / "many" / path.name).read_bytes()
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), generate(seed, "Cardiomegaly,Edema")[0, :, :, 0])
            assert image.text["Description"].startswith("Synthetic: made by a generative model (prog-GAN, 8.0 kimg")
            said = json.loads(image.text["medsynth"])
        assert said == {
            "synthetic": True,
            "images_seen": 8000,
            "seed": seed,
            "labels": ["Cardiomegaly", "Edema"],
            "truncation": 1.0,
        }


def test_images_take_the_label_rows_of_a_dataset(results: Path, generate: TrainedGenerator, tmp_path: Path) -> None:
    write_toy_split(tmp_path / "data" / "test", num_images=5, names=LABELS)
    command("images", results, tmp_path / "all", "--from-data", tmp_path / "data")
    command("images", results, tmp_path / "more", "--from-data", tmp_path / "data", "--num", 7)
    classes = np.random.default_rng(0).integers(3, size=5)
    assert len(set(classes.tolist())) > 1
    assert len(list((tmp_path / "all").iterdir())) == 5
    for seed in range(7):
        with Image.open(tmp_path / "more" / f"seed{seed:06d}.png") as image:
            expected = generate(seed, LABELS[classes[seed % 5]])[0, :, :, 0]
            np.testing.assert_array_equal(np.asarray(image), expected)


def test_a_grid_has_a_row_for_each_label_and_combination(
    results: Path, generate: TrainedGenerator, tmp_path: Path
) -> None:
    path = tmp_path / "grid.png"
    command("grid", results, path, "--columns", 5, "--seed", 9, "--combination", "Edema,Cardiomegaly")
    rows = [*LABELS, "Edema,Cardiomegaly"]
    zoom = 4  # to 64 pixels a tile
    with Image.open(path) as grid:
        pixels = np.asarray(grid)
        said = json.loads(grid.text["medsynth"])
        assert "Synthetic" in grid.text["Description"]
    assert (said["rows"], said["columns"]) == (rows, [9, 10, 11, 12, 13])
    margin = row_names(rows, 64, 1)
    np.testing.assert_array_equal(pixels[:, : margin.shape[1]], margin[..., 0])
    assert pixels.shape == (4 * 64, margin.shape[1] + 5 * 64)
    for row, labels in enumerate(rows):
        strip = pixels[row * 64 : (row + 1) * 64, margin.shape[1] :][::zoom, ::zoom]  # [16, 5*16]
        expected = generate(range(9, 14), labels)[..., 0]
        np.testing.assert_array_equal(strip.reshape(16, 5, 16).transpose(1, 0, 2), expected)
    assert len({pixels[row * 64 : (row + 1) * 64].tobytes() for row in range(4)}) == 4


def test_the_names_of_rows_stand_beside_their_rows() -> None:
    margin = row_names(["", "Edema", ""], 32, 3)
    assert margin.shape[0::2] == (96, 3)
    bright = (margin[..., 0] > 128).reshape(3, -1).sum(axis=1)
    assert bright[1] > 20
    assert bright[0] == bright[2] == 0
    assert row_names([""], 32, 1).shape == (32, 0, 1)


# Interpolation.


def test_paths_of_latents_are_closed_and_have_rms_1() -> None:
    paths = latent_paths(1000, num_frames=120, num_paths=3, latent_size=40, sigma=6.0)
    assert paths.shape == (120, 3, 40)
    assert paths.dtype == np.float32
    assert np.sqrt(np.mean(paths.astype(float) ** 2)) == pytest.approx(1, abs=1e-5)
    steps = np.linalg.norm(np.roll(paths, -1, axis=0) - paths, axis=2)  # the last one leads back to the first frame
    assert steps.min() > 0.01, "the latents move"
    assert steps[-1].max() <= steps[:-1].max()
    assert np.linalg.norm(paths[60] - paths[0], axis=1).min() > 3 * steps.max(), "and go far"
    assert not np.allclose(paths, latent_paths(1001, 120, 3, 40, 6.0), atol=0.1)


@pytest.mark.parametrize(("num_frames", "sigma"), [(120, 6.0), (40, 15.0), (7, 3.0), (1, 30.0)])
def test_paths_are_the_circular_gaussian_of_the_published_draws(num_frames: int, sigma: float) -> None:
    """A second implementation: the Fourier transform, with a Gaussian that is summed over all turns of the loop."""
    draws = np.random.RandomState(1000).randn(num_frames, 2, 5)
    sigma = min(sigma, num_frames)
    distance = np.arange(num_frames)[:, None] + num_frames * np.arange(-40, 40)
    kernel = np.exp(-0.5 * (distance / sigma) ** 2).sum(axis=1)
    expected = np.fft.ifft(np.fft.fft(draws, axis=0) * np.fft.fft(kernel)[:, None, None], axis=0).real
    expected /= np.sqrt(np.mean(expected**2))
    np.testing.assert_allclose(latent_paths(1000, num_frames, 2, 5, sigma), expected, atol=5e-3)


@needs_ffmpeg
def test_an_interpolation_ends_where_it_began(results: Path, generate: TrainedGenerator, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    command("interpolate", results, path, "--seconds", 2, "--fps", 8, "--smoothing", 0.4, "--columns", 2)
    frames = imageio.imread(path).astype(float)
    assert len(frames) == 16
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.mp4"], "nothing half-written is left"
    assert imageio.immeta(path)["fps"] == 8
    assert b"Synthetic: made by a generative model (prog-GAN" in path.read_bytes()
    changes = np.abs(np.roll(frames, -1, axis=0) - frames).mean(axis=(1, 2, 3))
    assert changes.min() > 0.3
    assert changes[-1] <= 1.2 * changes[:-1].max()
    # Frame 7 against the generator itself: a row per label, a column per path; H.264 loses a little.
    latents = latent_paths(1000, 16, 2, generate.network.latent_size, 0.4 * 8)[7]
    expected = np.concatenate([np.concatenate(list(generate(latents, label)[..., 0]), axis=1) for label in LABELS])
    zoom = 720 // (3 * RESOLUTION)
    margin = frames.shape[2] - 2 * RESOLUTION * zoom
    middles = frames[7, zoom // 2 :: zoom, :, 0][:, margin + zoom // 2 - 1 :: zoom]
    assert margin > 50
    assert expected.shape == (3 * RESOLUTION, 2 * RESOLUTION)
    assert np.abs(middles[:, : expected.shape[1]] - expected).mean() < 4
    assert np.abs(middles[:, : expected.shape[1]] - expected[::-1]).mean() > 8


@needs_ffmpeg
def test_rows_of_an_interpolation_can_be_chosen(results: Path, tmp_path: Path) -> None:
    more = ("--seconds", 0.2, "--fps", 10, "--columns", 1, "--labels", "Edema", "--labels", "Edema,Cardiomegaly")
    command("interpolate", results, tmp_path / "out.mp4", *more)
    assert imageio.imread(tmp_path / "out.mp4").shape[:2] == (2, 704)  # 2 rows of 16 pixels, enlarged 22 times


# The training as a video.


def test_the_log_gives_kimg_and_time_and_later_lines_count(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text(LOG)
    kimg, seconds = read_log(path)
    np.testing.assert_array_equal(kimg, [0, 2, 4, 8])
    np.testing.assert_array_equal(seconds, [0, 10, 20, 40])


@pytest.mark.parametrize("time_warp", [0.5, 1.0, 1.5, 3.0])
def test_each_frame_shows_the_nearest_picture(time_warp: float) -> None:
    times = np.array([0.0, 10.0, 20.0, 40.0])
    distances = np.abs(times - 40 * np.linspace(0, 1, 50)[:, None] ** time_warp)  # [frames, pictures]
    shown = shown_pictures(times, 50, time_warp)
    np.testing.assert_allclose(distances[np.arange(50), shown], distances.min(axis=1))
    assert set(np.diff(shown).tolist()) == {0, 1}
    assert (shown[0], shown[-1]) == (0, 3)


def test_a_warp_above_1_dwells_on_the_beginning() -> None:
    times = np.linspace(0, 100, 21)
    counts = [np.bincount(shown_pictures(times, 600, warp), minlength=21) for warp in (1.0, 1.5, 3.0)]
    assert [count.sum() for count in counts] == [600, 600, 600]
    assert counts[0][0] < counts[1][0] < counts[2][0]
    assert counts[0][-1] > counts[1][-1] > counts[2][-1] >= 1
    np.testing.assert_array_equal(shown_pictures(np.zeros(1), 5, 1.5), 0)


@needs_ffmpeg
def test_the_training_video_shows_every_picture_in_order(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    command("progress", results, path, "--seconds", 2, "--fps", 10)
    frames = imageio.imread(path)
    assert len(frames) == 20
    assert b"Synthetic: made by a generative model" in path.read_bytes()
    levels = np.median(frames[:, :-24], axis=(1, 2, 3))
    np.testing.assert_allclose(levels[[0, -1]], [0, 180], atol=3)
    assert len(set((levels / 60).round().tolist())) == 4
    assert (np.diff(levels) > -3).all()
    assert (frames[:, -24:].max(axis=(1, 2, 3)) > 150).all(), "with a line of text below"


def without_log(folder: Path) -> None:
    (folder / "log.txt").unlink()


def with_an_empty_log(folder: Path) -> None:
    (folder / "log.txt").write_text("nothing yet\n")


def without_pictures(folder: Path) -> None:
    for path in folder.glob("fakes*"):
        path.unlink()


def with_another_picture(folder: Path) -> None:
    Image.new("L", (20, 20)).save(folder / "fakes000004.png")


def with_a_damaged_picture(folder: Path) -> None:
    (folder / "fakes000004.png").write_bytes((folder / "fakes000004.png").read_bytes()[:60])


@needs_ffmpeg
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_log, r"log\.txt: The log of a training was expected here\. Received: no such file"),
        (with_an_empty_log, "Lines of ticks were expected in the log. Received: 1 other lines"),
        (without_pictures, r"Pictures fakesNNNNNN\.png were expected here"),
        (with_another_picture, r"fakes000004\.png: Pictures of 48x32 were expected.* Received: 20x20"),
        (with_a_damaged_picture, r"fakes000004\.png: The file is truncated"),
    ],
)
def test_what_a_training_lacks_is_named(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    results = write_results(tmp_path / "results")
    spoil(results)
    with pytest.raises(DataError, match=message):
        command("progress", results, tmp_path / "out.mp4", "--seconds", 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["results"]


# Refusals of the command line.


@needs_ffmpeg
@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (("images", "{}", "out"), UsageError, "give some of No Finding, Cardiomegaly, Edema"),
        (("images", "{}", "out", "--labels", "Mass"), UsageError, "Unknown label.* Received: Mass"),
        (("images", "{}", "out", "--label-vector", "1,0"), UsageError, "has 3 values"),
        (("images", "{}", "out", "--label-vector", "1,x,0"), UsageError, "0s and 1s with commas.* Received: 1,x,0"),
        (("images", "{}", "out", "--labels", "Edema", "--num", 0), UsageError, "--num is from 1 to 1,000,000"),
        (("images", "{}", "out", "--labels", "Edema", "--num", -3), UsageError, "--num is from 1 to 1,000,000"),
        (("images", "{}", "out", "--labels", "Edema", "--num", 3 * 10**9), UsageError, "--num is from 1 to 1,000,000"),
        (("images", "{}", "out", "--labels", "Edema", "--seed", 2**32 - 1, "--num", 2), UsageError, "Seeds are from"),
        (("images", "{}", "out", "--labels", "Edema", "--truncation", 2), UsageError, "at most 1"),
        (("images", "{}", "out", "--labels", "Edema", "--snapshot", 9), NetworkError, "no snapshot of that number"),
        (("images", "{}", "out", "--from-data", "nowhere"), DataError, "a split of the dataset"),
        (("images", "{}", "out", "--from-data", "{}", "--split", "tset"), UsageError, "--split is one of"),
        (("grid", "{}", "out.jpg"), UsageError, r"ends in \.png"),
        (("grid", "{}", "out.png", "--columns", 0), UsageError, "--columns is from 1 to 1,000"),
        (("grid", "{}", "out.png", "--columns", 3 * 10**9), UsageError, "--columns is from 1 to 1,000"),
        (("grid", "{}", "out.png", "--combination", "Edema,Mass"), UsageError, "Unknown label"),
        (("interpolate", "{}", "out.avi"), UsageError, r"ends in \.mp4"),
        (("interpolate", "{}", "out.mp4", "--seconds", 0), UsageError, "--seconds must be above 0"),
        (("interpolate", "{}", "out.mp4", "--seconds", "nan"), UsageError, "--seconds must be above 0"),
        (("interpolate", "{}", "out.mp4", "--fps", "inf"), UsageError, "--fps must be above 0"),
        (("interpolate", "{}", "out.mp4", "--seconds", 1e6), UsageError, "1 to 100,000 frames"),
        (("interpolate", "{}", "out.mp4", "--seconds", 0.001), UsageError, "1 to 100,000 frames"),
        (("interpolate", "{}", "out.mp4", "--smoothing", 0), UsageError, "--smoothing is at least 0.001"),
        (("interpolate", "{}", "out.mp4", "--smoothing", 1e-300), UsageError, "--smoothing is at least 0.001"),
        (("interpolate", "{}", "out.mp4", "--smoothing", -1), UsageError, "Received: -1.0"),
        (("interpolate", "{}", "out.mp4", "--smoothing", "nan"), UsageError, "--smoothing is at least 0.001"),
        (("interpolate", "{}", "out.mp4", "--columns", 0), UsageError, "--columns is from 1 to 64"),
        (("interpolate", "{}", "out.mp4", "--columns", 100000), UsageError, "--columns is from 1 to 64"),
        (("interpolate", "{}", "out.mp4", "--labels", "Mass"), UsageError, "Unknown label"),
        (("progress", "{}", "out.mp4", "--time-warp", 0), UsageError, "--time-warp is above 0"),
        (("progress", "nowhere", "out.mp4"), DataError, "A folder with a training was expected"),
    ],
)
def test_commands_refuse_what_they_cannot_do(
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    kind: type[MedsynthError],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=message):
        command(*(str(argument).format(results) for argument in arguments))
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_label_columns_of_a_dataset_must_be_the_generators(results: Path, tmp_path: Path) -> None:
    write_toy_split(tmp_path / "data" / "test", num_images=4)
    with pytest.raises(DataError, match=r"test\.csv: The generator was trained with the labels .*, Edema; the csv"):
        command("images", results, tmp_path / "out", "--from-data", tmp_path / "data")


# ffmpeg.


@pytest.mark.parametrize("executable", ["/bin/false", "/nowhere/ffmpeg"])
@needs_ffmpeg
def test_a_missing_ffmpeg_is_said_before_the_work(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", executable)
    with pytest.raises(DependencyError, match=r"Videos need ffmpeg: pip install -e '\.\[video\]'"):
        command("progress", results, tmp_path / "out.mp4")
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_said_before_the_work(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"Videos need ffmpeg.* Received: no imageio-ffmpeg"):
        command("interpolate", results, tmp_path / "out.mp4")


@needs_ffmpeg
@pytest.mark.parametrize(
    "fault",
    [
        'case "$1" in -version) exec REAL -version;; *) head -c 4000 >/dev/null; exit 1;; esac',  # dies in its middle
        # Takes all frames and leaves a file that was cut off.
        'if [ "$1" != -y ]; then exec REAL "$@"; fi; cat >/dev/null; head -c 999 /dev/zero >"${!#}"',
    ],
    ids=["dies", "cut-off"],
)
def test_a_failing_ffmpeg_is_found_and_leaves_nothing(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text(f"#!/bin/bash\n{fault.replace('REAL', imageio_ffmpeg.get_ffmpeg_exe())}\n")
    script.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(script))
    with pytest.raises(RunFolderError, match=r"ffmpeg could not write the video\."):
        command("progress", results, tmp_path / "out.mp4", "--seconds", 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["ffmpeg"]
