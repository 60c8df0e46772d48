"""GAN_prog's scripts from data to synthetic images, killed and resumed, and with bad input."""

import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medsynth.data.labels import read_split_labels, record_order
from medsynth.data.tfrecords import RecordFile, record_path
from medsynth.files import read_json
from medsynth.runs import RunFolder
from medsynth.training.checkpoint import read_arrays
from tests.commands import refused, run_script, script_command
from tests.toy_data import LABELS, write_toy_dataset

RESOLUTION = 16
# Grows from 8x8 to 16x16, so that a kill can fall on either side of it.
SMALL = {
    "network.fmap_base": 64,
    "network.fmap_max": 8,
    "network.precision": "float32",
    "schedule.total_kimg": 1.12,
    "schedule.training_kimg": 0.32,
    "schedule.transition_kimg": 0.32,
    "schedule.minibatch_base": 8,
    "schedule.minibatch_by_resolution": "{}",
    "schedule.tick_kimg": '{"8": 0.08, "16": 0.08}',
    "trainer.snapshot_ticks": 4,
}


def options(**changes: object) -> list[str]:
    settings = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
    return ["--preset", "cpu", *(part for key, value in settings.items() for part in ("--set", f"{key}={value}"))]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_dataset(tmp_path_factory.mktemp("data"), resolution=RESOLUTION)


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished training and its synthetic dataset."""
    results = tmp_path_factory.mktemp("gan") / "results"
    training = run_script("GAN_prog/train.py", "train", dataset, results, 3, RESOLUTION, *options())
    assert training.returncode == 0, training.stderr
    inference = run_script("GAN_prog/test.py", "test", dataset, results, 3, RESOLUTION)
    assert inference.returncode == 0, inference.stderr
    return results


def test_training_leaves_what_the_reference_lists(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"reals.png", "fakes000000.png", "log.txt", "config.json", "network-final", "_training-done.txt"} <= names
    assert len([name for name in names if name.startswith("fakes")]) >= 2
    assert any(name.startswith("network-snapshot-") for name in names)
    assert any(name.startswith("events.out.tfevents") for name in names)
    ticks = [line for line in (trained / "log.txt").read_text().splitlines() if line.startswith("tick ")]
    assert len(ticks) == 12
    for word in ("kimg", "lod", "minibatch", "time", "sec/tick", "sec/kimg", "maintenance", "skipped 0"):
        assert word in ticks[-1]
    with Image.open(trained / "reals.png") as reals, Image.open(trained / "fakes000000.png") as fakes:
        assert reals.size == fakes.size
        assert np.ptp(np.asarray(reals)) > 100
    facts = read_json(trained / "network-final" / "network.json")
    assert (facts["images_seen"], facts["chosen_by"], facts["label_names"]) == (1120, "last", list(LABELS))


def test_inference_has_the_form_and_the_labels_of_the_dataset(trained: Path, dataset: Path) -> None:
    images = []
    for split in ("train", "valid", "test"):
        folder = trained / "inference" / split
        ours, real = pd.read_csv(folder / f"{split}.csv"), pd.read_csv(dataset / split / f"{split}.csv")
        pd.testing.assert_frame_equal(ours.iloc[:, 1:], real.iloc[:, 1:])
        assert [Path(path).name for path in ours["Path"]] == [f"{i + 1}.jpg" for i in range(len(real))]
        labels = read_split_labels(folder).values
        np.testing.assert_array_equal(labels, real.iloc[:, 1:].to_numpy(np.float32)[record_order(len(real))])
        records = RecordFile(record_path(folder, 4))
        assert records.shape == (RESOLUTION, RESOLUTION, 1)
        images.append(records.read(range(len(records))))
    assert len({image.tobytes() for image in np.concatenate(images)}) > 150, "the splits have latents of their own"


def test_inference_is_fixed_by_its_seed(trained: Path, dataset: Path) -> None:
    path = record_path(trained / "inference" / "test", 4)
    before = path.read_bytes()
    assert run_script("GAN_prog/test.py", "test", dataset, trained, 4, RESOLUTION).returncode == 0
    other = path.read_bytes()
    assert run_script("GAN_prog/test.py", "test", dataset, trained, 3, RESOLUTION).returncode == 0
    assert path.read_bytes() == before != other


def test_a_finished_training_is_not_repeated(trained: Path, dataset: Path) -> None:
    result = run_script("GAN_prog/train.py", "train", dataset, trained, 3, RESOLUTION, *options())
    assert result.returncode == 0
    assert "nothing to do" in result.stdout


def test_dry_run_says_what_would_run_and_writes_nothing(dataset: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    arguments = ("train", dataset, results, 3, RESOLUTION, *options(), "--dry-run")
    result = run_script("GAN_prog/train.py", *arguments)
    assert result.returncode == 0, result.stderr
    assert "generator parameters" in result.stdout
    assert "8x8, lod 1.00" in result.stdout
    several = run_script("GAN_prog/train.py", *arguments, "--set", "schedule.num_gpus=2")
    assert "the schedule is that of 2 GPUs: its minibatches are kept, on 1 device(s)" in several.stdout
    assert not results.exists()


def train_refused(dataset: Path, results: Path, *more: str, resolution: int = RESOLUTION, **changes: object) -> str:
    return refused("GAN_prog/train.py", "train", dataset, results, 3, resolution, *options(**changes), *more)


def test_training_refuses_what_it_cannot_do(trained: Path, dataset: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    assert "nowhere/train: A folder with TFRecords" in train_refused(tmp_path / "nowhere", new)
    assert "no images of 32x32. Resolutions in this folder: 4, 8, 16" in train_refused(dataset, new, resolution=32)
    assert "Did you mean cpu?" in train_refused(dataset, new, "--preset", "cpuu")
    assert "Did you mean schedule.total_kimg?" in train_refused(dataset, new, "--set", "schedule.totl_kimg=1")
    assert not new.exists(), "nothing is written before the input is found good"
    line = train_refused(dataset, trained, optimiser__average_decay=0.5)
    assert "run with other settings" in line
    assert line.endswith("Received: optimiser.average_decay: 0.99 -> 0.5")


def test_a_second_training_in_the_same_folder_is_refused(dataset: Path, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "results", {}):
        assert "Another run is going on in this folder" in train_refused(dataset, tmp_path / "results")


def test_inference_refuses_what_it_cannot_do(trained: Path, dataset: Path, tmp_path: Path) -> None:
    def test_refused(data: Path, results: Path, resolution: int = RESOLUTION) -> str:
        return refused("GAN_prog/test.py", "test", data, results, 1, resolution)

    assert f"makes images of {RESOLUTION}x{RESOLUTION}. Received: resolution 32" in test_refused(dataset, trained, 32)
    assert "network-final: A folder with a trained network was expected" in test_refused(dataset, tmp_path)
    assert "Pickled networks are refused" in test_refused(dataset, tmp_path / "network-final.pkl")
    other = tmp_path / "other"
    for split in ("train", "valid", "test"):
        (other / split).mkdir(parents=True)
        (other / split / f"{split}.csv").write_text("Path,A\na.jpg,1.0\n")
    assert "The network was trained with the labels No Finding" in test_refused(other, trained)


def test_a_diverging_training_stops_and_keeps_its_last_good_state(dataset: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    line = train_refused(
        dataset,
        results,
        loss__gradient_norm_target=1e30,  # its square is more than float32 can hold
        trainer__max_skipped_in_a_row=6,
        schedule__tick_kimg='{"8": 0.032, "16": 0.032}',
    )
    assert "Losses or gradients were NaN or infinite for 6 steps in a row" in line
    assert "skipped updates in all" in line
    assert not (results / "network-final").exists()
    for path in results.glob("training-state-*"):
        assert all(np.isfinite(array).all() for array in read_arrays(path)[0].values())


def test_a_full_disk_is_named_and_leaves_no_half_file(dataset: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    # A limit on the size of any file stands for a full disk: the first state does not fit.
    limited = ["bash", "-c", 'ulimit -f 40; exec "$@"', "bash"]
    command = script_command("GAN_prog/train.py", "train", dataset, results, 3, RESOLUTION, *options())
    result = subprocess.run([*limited, *command], capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert str(results) in result.stderr
    assert not list(results.glob("*partial*"))
    assert not list(results.glob("training-state-*"))
