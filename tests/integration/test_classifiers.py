"""Both classifiers from records to test results, at a tiny size, and their command lines."""

import csv
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from medsynth.data.labels import LabelTable, record_order, write_label_table
from medsynth.data.tfrecords import write_split
from tests.commands import ScriptProcess, run_script

NAMES = ("Bright", "Striped")
TINY = ["--set", "image_dimension=32", "--set", "epochs=2", "--set", "batch_size=16", "--set",
        "initial_learning_rate=0.001", "--set", "batch_norm_momentum=0.5"]  # fmt: skip
WEIGHTS = ("weights.h5", "best_weights.h5")


def write_images(folder: Path, num_images: int, seed: int, resolution: int = 16) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.random((num_images, 2)) < 0.5).astype(np.float32)
    images = rng.normal(90, 20, (num_images, resolution, resolution, 1)) + 60 * labels[:, 0, None, None, None]
    images[:, ::2] += 50 * labels[:, 1, None, None, None]
    paths = tuple(f"x/patient{number:05d}/study1/view1_frontal.jpg" for number in range(num_images))
    order = record_order(num_images)
    write_split(folder, images[order].clip(0, 255), labels[order], resolution.bit_length() - 1)
    write_label_table(folder, LabelTable(paths, NAMES, labels))


def succeed(*arguments: object) -> str:
    done = run_script(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A dataset and a GAN's results with synthetic images."""
    data_dir, results_dir = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("results")
    for number, (split, num_images) in enumerate((("train", 64), ("valid", 20), ("test", 53))):
        write_images(data_dir / split, num_images, seed=number)
        write_images(results_dir / "inference" / split, num_images, seed=10 + number)
    (results_dir / "config.json").write_text(json.dumps({"application": "prog-GAN"}))
    return data_dir, results_dir


@pytest.fixture(scope="module")
def real(folders):
    data_dir, _ = folders
    output = succeed("classifier_real/train.py", "train", "classifier_real", data_dir, 1, 16, *TINY)
    tested = succeed(
        "classifier_real/test.py", "test", "classifier_real", data_dir, 1, 16, "--set", "image_dimension=32"
    )
    return data_dir / "classification_results_res_16", output, tested


def test_real_classifier_leaves_the_published_files(folders, real):
    results, output, _ = real
    train = results / "train"
    assert "random initialisation" in output
    assert "ETA" in output or "32 images in" in output or "128 images in" in output
    for name in (*WEIGHTS, "config.json", "config.ini", "train.csv", "valid.csv", "history.json", "log.txt",
                 "best_auroc.log", ".training_stats.json", "_training-done.txt"):  # fmt: skip
        assert (train / name).stat().st_size > 0, name
    assert not list(train.glob("training-state-*"))
    assert all((train / name).stat().st_size < 40e6 for name in WEIGHTS), "weights alone, without an optimiser"
    with (train / "val_aurocs_tr.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Epoch", *NAMES, "Mean_auroc"]
    assert [row[0] for row in rows[1:]] == ["0", "1"]
    best = json.loads((train / ".training_stats.json").read_text())
    assert best["best_mean_auroc"] == pytest.approx(max(float(row[-1]) for row in rows[1:]))


def test_test_scores_every_image_in_csv_order(folders, real):
    data_dir, _ = folders
    results, _, tested = real
    with (data_dir / "test" / "test.csv").open() as file:
        expected = list(csv.reader(file))
    with (results / "test" / "predictions.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["Path", "Patient", "Bright", "Bright score", "Striped", "Striped score"]
    assert len(rows) == 54, "53 images and a header: the last batch of 3 is not dropped"
    assert [[row[0], row[2], row[4]] for row in rows[1:]] == expected[1:]
    assert all(f"patient{row[1]}/" in row[0] for row in rows[1:])
    facts = json.loads((results / "test" / "results.json").read_text())
    assert facts["trained_on"] == "real"
    assert facts["initialisation"] == "random initialisation"
    assert "random initialisation" in tested
    assert (results / "test" / "test.log").read_text() in tested
    from medsynth.classify.evaluation.evaluate import auroc

    truth, scores = np.array([[row[2], row[3]] for row in rows[1:]], np.float64).T
    assert facts["labels"]["Bright"]["auroc"] == pytest.approx(auroc(truth, scores))


def test_fake_classifier_trains_on_inference_and_is_compared(folders, real, tmp_path):
    data_dir, results_dir = folders
    arguments = ["classifier_fake", results_dir, 1, 16]
    precision = ["--set", "precision=mixed_bfloat16", "--set", "class_weighting=per_label"]
    succeed("classifier_fake/train.py", "train", *arguments, *TINY, *precision)
    succeed("classifier_fake/test.py", "test", "classifier_fake", data_dir, results_dir, 1, 16)
    facts = json.loads((results_dir / "classification_results" / "test" / "results.json").read_text())
    assert (facts["trained_on"], facts["num_images"]) == ("prog-GAN", 53)
    output = succeed("benchmark/compare.py", data_dir, results_dir, "--out", tmp_path / "out")
    assert "real - prog-GAN" in output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparison.csv", "comparison.json", "comparison.png", "comparison.txt"]  # fmt: skip
    # A finished training is detected, and one of other settings refused.
    assert "nothing to do" in succeed("classifier_fake/train.py", "train", *arguments, *TINY, *precision)
    refused = run_script("classifier_fake/train.py", "train", *arguments, *TINY, *precision, "--set", "epochs=3")
    assert refused.returncode == 2
    assert "train.epochs: 2 -> 3" in refused.stderr


def test_a_killed_training_goes_on_to_the_same_weights(folders, real, tmp_path):
    results, _, _ = real
    data_dir = tmp_path / "data"
    shutil.copytree(folders[0], data_dir, ignore=shutil.ignore_patterns("classification*"))
    command = ("classifier_real/train.py", "train", "classifier_real", data_dir, 1, 16, *TINY)
    train = data_dir / "classification_results_res_16" / "train"
    process = ScriptProcess(*command)
    end = time.monotonic() + 240
    while not list(train.glob("training-state-*")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not (train / "_training-done.txt").exists(), "killed too late to show anything"
    output = succeed(*command)
    assert "going on after epoch 1" in output
    for name in ("history.json", "val_aurocs_tr.csv"):
        assert (train / name).read_text() == (results / "train" / name).read_text()
    import h5py

    with h5py.File(train / "weights.h5") as again, h5py.File(results / "train" / "weights.h5") as straight:
        arrays = []
        straight.visititems(lambda name, item: arrays.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(arrays) > 600
        for name in arrays:
            np.testing.assert_array_equal(again[name][()], straight[name][()])


def refusal(*arguments: object) -> str:
    done = run_script(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(("change", "words"), [
    (lambda data: shutil.rmtree(data / "valid"), ["valid", "A folder with", "no such folder"]),
    (lambda data: (data / "train" / "train-r04.tfrecords").rename(data / "train" / "train-r06.tfrecords"), ["64"]),
    (lambda data: set_column(data / "train", 0), ["no positives for Bright"]),
    (lambda data: (data / "valid" / "valid.csv").unlink(), ["valid.csv"]),
    (lambda data: flip_byte(data / "train" / "train-r04.tfrecords"), ["train-r04.tfrecords", "Record 0"]),
])  # fmt: skip
def test_bad_data_is_refused(folders, tmp_path, change, words):
    data = tmp_path / "data"
    shutil.copytree(folders[0], data, ignore=shutil.ignore_patterns("classification*"))
    change(data)
    error = refusal("classifier_real/train.py", "train", "classifier_real", data, 1, 16, *TINY)
    for word in words:
        assert word in error
    assert not (data / "classification_results_res_16").exists()


def set_column(folder: Path, column: int) -> None:
    from medsynth.data.labels import read_label_table
    from medsynth.data.tfrecords import write_labels

    table = read_label_table(folder)
    values = table.values.copy()
    values[:, column] = 0
    write_label_table(folder, LabelTable(table.paths, table.names, values))
    write_labels(folder, values[record_order(len(values))])


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(("arguments", "words"), [
    (["classifier_real/train.py", "train", "nowhere", "{data}", 1, 16], "config.ini"),
    (["classifier_real/train.py", "train", "classifier_real", "{data}", 1, 24], "power of two"),
    (["classifier_real/train.py", "train", "classifier_real", "{data}", 1, 16, "--set", "epoch=3"], "epochs"),
    (["classifier_real/train.py", "train", "classifier_real", "{data}", 1, 16, "--set", "batch_size=65"], "64 images"),
    (["classifier_real/test.py", "test", "classifier_real", "{data}", 1, 64], "train.py"),
    (["classifier_fake/train.py", "train", "classifier_fake", "{data}", 1, 16], "run test.py of the GAN first"),
    (["classifier_fake/test.py", "test", "classifier_fake", "{data}", "{data}", 1, 16], "train.py"),
    (["benchmark/compare.py", "{data}/train", "--out", "{data}/out"], "predictions.csv"),
])  # fmt: skip
def test_mistakes_are_answered_at_once(folders, arguments, words):
    arguments = [str(argument).replace("{data}", str(folders[0])) for argument in arguments]
    assert words in refusal(*arguments)


@pytest.mark.parametrize("setting", ["image_dimension=48", "epochs=9"])
def test_test_refuses_settings_that_the_training_fixed(folders, real, setting):
    error = refusal("classifier_real/test.py", "test", "classifier_real", folders[0], 1, 16, "--set", setting)
    assert "fixed when the classifier was trained" in error


def test_damaged_weights_are_named(folders, real, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(folders[0], data)
    weights = data / "classification_results_res_16" / "train" / "best_weights.h5"
    weights.write_bytes(weights.read_bytes()[:100_000])
    assert str(weights) in refusal("classifier_real/test.py", "test", "classifier_real", data, 1, 16)
