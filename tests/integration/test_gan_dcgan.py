"""GAN_dcgan's scripts: training on folders, tables and datasets, what is left, and frames fixed by seed and number."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsynth.data.frame_folder import COMMAND, DESCRIPTION_NAME, TABLE_NAME
from medsynth.files import read_json
from tests.commands import refused, run_script
from tests.dcgan_files import write_frames
from tests.toy_data import write_toy_dataset

SIZE, SEED, EPOCHS = 16, 3, 3
SMALL = ("--generator-features", 1, "--discriminator-features", 2, "--latent-vector-length", 6, "--batch-size", 8)
FAST = (*SMALL, "--set", "stopping.num_images=8", "--set", "trainer.max_grid_images=8")


def train(data_dir: Path, results: Path, *options: object) -> list[object]:
    return ["GAN_dcgan/train.py", "train", data_dir, results, SEED, SIZE, *FAST, *options]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("data") / "frames")


@pytest.fixture(scope="module")
def results(frames: Path) -> Path:
    folder = frames.parent / "results"
    done = run_script(*train(frames, folder, "--epochs", EPOCHS, "--table", "labels.csv", "--held-out", 0.4))
    assert done.returncode == 0, done.stderr
    assert "40 frames of 2 groups, by column 'group_id' of labels.csv" in done.stdout
    assert "Held out: 20 frames of 1 group" in done.stdout
    assert "Traceback" not in done.stderr
    return folder


def test_what_a_training_leaves(results: Path) -> None:
    names = {path.name for path in results.iterdir()}
    expected = {"network-final", "network-last", "losses.csv", "losses.png", "losses", "frames.csv", "reals.png"}
    arrays = {"generator_losses.npy", "discriminator_losses.npy"}
    pictures = {f"real-and-generated-{tick:04d}.png" for tick in range(1, EPOCHS + 1)}
    assert expected | arrays | pictures | {"stats.jsonl", "log.txt", "config.json", "_training-done.txt"} <= names
    with Image.open(results / "real-and-generated-0001.png") as picture:
        width, height = picture.size
        pixels = np.asarray(picture)
    assert (width - 8) % (2 * SIZE) == 0, "as many columns of generated frames as of real ones"
    assert height % SIZE == 0
    assert (pixels[:, (width - 8) // 2 :][:, :8] == 255).all()


def test_the_losses_of_every_batch(results: Path) -> None:
    rows = list(csv.DictReader((results / "losses.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(len(rows)))
    assert int(rows[-1]["images_seen"]) >= EPOCHS * 20
    for name in ("generator", "discriminator"):
        stored = np.load(results / f"{name}_losses.npy")
        np.testing.assert_array_equal(stored, [np.float32(row[name]) for row in rows])
        assert np.isfinite(stored).all()
    last = json.loads((results / "stats.jsonl").read_text().splitlines()[-1])
    assert last["images_seen"] == int(rows[-1]["images_seen"])


def test_best_and_last_networks(results: Path) -> None:
    ticks = [json.loads(line) for line in (results / "stats.jsonl").read_text().splitlines()]
    values = {tick["images_seen"]: tick["Metrics/swd"] for tick in ticks}
    best, last = (read_json(results / name / "network.json") for name in ("network-final", "network-last"))
    assert len(values) == EPOCHS
    assert best["chosen_by"] == "SWD"
    assert best["swd"] == pytest.approx(min(values.values()))
    assert values[best["images_seen"]] == min(values.values())
    assert last["images_seen"] == max(values)
    assert set(last["networks"]) == {"discriminator", "average"}


def test_which_frames_were_held_out_is_written(results: Path) -> None:
    rows = list(csv.DictReader((results / "frames.csv").open()))
    held_out = {row["group_id"] for row in rows if row["held_out"] == "1"}
    assert len(rows) == 40
    assert len(held_out) == 1
    assert not held_out & {row["group_id"] for row in rows if row["held_out"] == "0"}


def test_the_same_command_has_nothing_to_do(results: Path, frames: Path) -> None:
    options = ("--epochs", EPOCHS, "--table", "labels.csv", "--held-out", 0.4)
    assert "nothing to do" in run_script(*train(frames, results, *options)).stdout
    assert "data.filename_filter:  -> clip" in refused(*train(frames, results, *options, "--filename-filter", "clip"))


def generate(results: Path, out: Path, *options: object) -> dict[str, bytes]:
    done = run_script("GAN_dcgan/test.py", "generate", results, out, *options)
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in (out / "images").rglob("*.png")}


def test_frames_depend_on_seed_and_number_alone(results: Path, tmp_path: Path) -> None:
    whole = generate(results, tmp_path / "whole", "--num", 1100, "--seed", 5)
    part = generate(results, tmp_path / "part", "--first", 1000, "--num", 50, "--seed", 5)
    assert len(whole) == 1100
    assert part == {f"{number:010d}.png": whole[f"{number:010d}.png"] for number in range(1000, 1050)}
    assert len(set(whole.values())) > 1000
    assert generate(results, tmp_path / "other", "--num", 10, "--seed", 6).items().isdisjoint(whole.items())
    removed = next((tmp_path / "whole" / "images").glob("part-0000001024"))
    for path in removed.iterdir():
        path.unlink()
    removed.rmdir()
    assert generate(results, tmp_path / "whole", "--num", 1100, "--seed", 5) == whole, "what is missing is made again"
    with Image.open(next((tmp_path / "part").rglob("0000001000.png"))) as image:
        assert (image.size, image.mode) == ((SIZE, SIZE), "L")


def test_frames_are_not_written_into_data_or_a_training(results: Path, frames: Path) -> None:
    for folder in (results, frames):
        words = refused("GAN_dcgan/test.py", "generate", results, folder, "--num", 3)
        assert "Synthetic frames need a folder of their own" in words
        assert not (folder / "images").exists()


def test_the_shared_utilities_know_it(results: Path, tmp_path: Path) -> None:
    grid = run_script("GAN_dcgan/generate.py", "grid", results, tmp_path / "grid.png", "--columns", 3)
    assert grid.returncode == 0, grid.stderr
    bundle = run_script("GAN_dcgan/export.py", "export", results, tmp_path / "bundle")
    assert bundle.returncode == 0, bundle.stderr
    assert len(generate(tmp_path / "bundle", tmp_path / "frames", "--num", 3)) == 3


def test_a_dataset_of_build_dataset_and_bfloat16(tmp_path: Path) -> None:
    data = write_toy_dataset(tmp_path / "data", resolution=SIZE)
    options = ("--epochs", 0.5, "--set", "network.precision=mixed_bfloat16", "--set", "stopping.features=none")
    done = run_script(*train(data, tmp_path / "results", *options))
    assert done.returncode == 0, done.stderr
    assert "64 images of" in done.stdout
    assert read_json(tmp_path / "results" / "network-final" / "network.json")["label_names"] == []
    assert "settings of frames have no effect" in refused(*train(data, tmp_path / "o", "--filename-filter", "x"))


def test_the_published_settings(frames: Path, tmp_path: Path) -> None:
    done = run_script("GAN_dcgan/train.py", "train", frames, tmp_path / "out", SEED, "--batch-size", 40, "--dry-run")
    assert done.returncode == 0, done.stderr
    lines = [line.rsplit(maxsplit=1) for line in done.stdout.splitlines()]
    found = {line[0]: line[1] for line in lines if len(line) == 2}
    expected = {
        "resolution": "128",
        "generator parameters": "3,608,960",  # with the stored means and variances, 2 x 992
        "discriminator parameters": "263,680",
        "schedule.total_kimg": "0.4",
        "schedule.generator_learning_rate": "0.0002",
        "optimiser.beta_1": "0.7",
        "optimiser.average_decay": "0.0",
    }
    assert {key: found[key] for key in expected} == expected
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--filename-filter", "clip0/frame_0001"),
            "A batch takes 8 different images (--batch-size). Received: 1 image",
        ),
        (
            ("--filename-filter", "clip0/frame_0001", "--epochs", 1),
            "A batch takes 8 different images (--batch-size). Received: 1 image",
        ),
        (("--epochs", 0.15), "A training takes a batch of 8 images at least (--batch-size): more of --epochs"),
        (("--set", "network.precision=mixed_float16"), "network.precision takes one of float32, mixed_bfloat16"),
        (("--set", "schedule.initial_resolution=8"), "does not grow"),
        (("--lr", 0.1, "--set", "schedule.generator_learning_rate=0.2"), "are the same setting"),
    ],
)
def test_mistakes_are_named(frames: Path, tmp_path: Path, options: tuple, words: str) -> None:
    assert words in refused(*train(frames, tmp_path / "out", *options))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_create_from_video_is_split_by_its_own_table(frames: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(frames, tmp_path / "frames")
    (folder / "labels.csv").rename(folder / TABLE_NAME)
    for text, num_groups in (('{"command": "another"}', 4), (json.dumps({"command": COMMAND}), 2)):
        (folder / DESCRIPTION_NAME).write_text(text)
        done = run_script(*train(folder, tmp_path / "out", "--held-out", 0.4, "--dry-run"))
        assert f"40 frames of {num_groups} groups" in done.stdout, done.stderr
        assert ("used as by --table frames.csv" in done.stdout) == (num_groups == 2)
    assert re.search(r"^data\.table +frames\.csv$", done.stdout, re.M), "config.json says so"
    by_name = run_script(*train(folder, tmp_path / "out", "--set", "data.table=", "--dry-run"))
    assert "40 frames of 4 groups" in by_name.stdout


def test_groups_that_look_alike_are_warned_of(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "frames")
    path = folder / "labels.csv"
    path.write_text(path.read_text().replace("clip1/frame_0003.png,patient0", "clip1/frame_0003.png,Patient0"))
    done = run_script(*train(folder, tmp_path / "out", "--table", "labels.csv", "--dry-run"))
    assert "warning: Patients 'Patient0' and 'patient0' differ only in case" in done.stdout, done.stderr


def test_frames_kept_from_training_are_evaluated_as_a_dataset(results: Path, frames: Path) -> None:
    words = refused("GAN_dcgan/evaluate.py", "metrics", results, frames, "--metrics", "swd")
    assert "made by build_dataset (of your own images or frames" in words
    assert "create_from_folder" in words


def test_a_damaged_frame_is_named(tmp_path: Path) -> None:
    data = write_frames(tmp_path / "frames")
    path = data / "clip1" / "frame_0003.png"
    path.write_bytes(b"no picture")
    assert str(path) in refused(*train(data, tmp_path / "out"))


def test_results_among_the_frames_are_refused(tmp_path: Path) -> None:
    data = write_frames(tmp_path / "frames")
    assert "not one that is read from. Received: a folder below" in refused(*train(data, data / "results"))
    assert "not one that is read from. Received: the same folder" in refused(*train(data, data))
    assert not (data / "results").exists()
