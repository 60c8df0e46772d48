"""nn.py as a user calls it: planted copies are found, files are those published, mistakes are named."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from medsynth.classify.neighbours import command
from medsynth.data.labels import LabelTable, read_label_table, record_order, write_label_table, write_patients
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import write_split
from medsynth.errors import MedsynthError
from medsynth.files import write_json
from tests.commands import refused, run_script
from tests.tiny_classifier import write_classifier

SETTINGS = ["number_nn_compute=30", "num_planted=4"]
NAMES = ("Bright", "Striped")
SIZE = 32
NUM_TRAIN, NUM_TEST, NUM_SYNTHETIC = 90, 60, 40
COPIES = {3: (7, False), 11: (20, True), 39: (41, False)}  # synthetic record: (training record, mirrored)


def draw(num_images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth random images [N, 32, 32, 1], uint8, no two alike, and labels [N, 2]."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (num_images, 6, 6))
    rows = np.linspace(0, 4.999, SIZE)
    weights = np.maximum(1 - np.abs(rows[:, None] - np.arange(6)), 0)
    images = np.einsum("xi,nij,yj->nxy", weights, coarse, weights)
    return images.astype(np.uint8)[..., None], (rng.random((num_images, 2)) < 0.5).astype(np.float32)


def write_images(folder: Path, images: np.ndarray, labels: np.ndarray, first_patient: int) -> None:
    """Write images in record order, two of a patient."""
    order = record_order(len(images))
    patients = [f"patient{first_patient + number // 2:05d}" for number in range(len(images))]
    paths = tuple(f"x/{patient}/study{number % 2}/view.jpg" for number, patient in enumerate(patients))
    in_csv_order = np.empty_like(labels)
    in_csv_order[order] = labels
    write_split(folder, images, labels, SIZE.bit_length() - 1)
    write_label_table(folder, LabelTable(paths, NAMES, in_csv_order))
    write_patients(folder, patients)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset, and a GAN's results whose synthetic images hold three copies."""
    data, results = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("results")
    train, train_labels = draw(NUM_TRAIN, 0)
    write_images(data / "train", train, train_labels, 0)
    write_images(data / "test", *draw(NUM_TEST, 1), 1000)
    write_images(data / "valid", *draw(30, 2), 2000)
    synthetic, labels = draw(NUM_SYNTHETIC, 3)
    for record, (original, mirrored) in COPIES.items():
        synthetic[record] = train[original][:, ::-1] if mirrored else train[original]
    write_images(results / "inference" / "test", synthetic, labels, 3000)
    write_classifier(data / f"classification_results_res_{SIZE}", NAMES, resolution=SIZE)
    return data, results


@pytest.fixture(scope="module")
def found(made: tuple[Path, Path]) -> tuple[Path, str]:
    """The folder of a finished run, and what it printed."""
    data, results = made
    options = [part for setting in SETTINGS for part in ("--set", setting)]
    done = run_script("classifier_fake/nn.py", "nn", "classifier_fake", data, results, SIZE, *options)
    assert done.returncode == 0, done.stderr[-3000:]
    return results / "classification_results" / "nn", done.stdout + done.stderr


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config.ini with the settings of `found`."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.ini").write_text("[NN]\n" + "\n".join(SETTINGS))
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_copies_are_the_nearest_and_named(made, found):
    folder, _ = found
    rows = rows_of(folder / "nn.csv")
    assert [int(row["Record"]) for row in rows] == list(range(NUM_SYNTHETIC))
    train_paths = read_label_table(made[0] / "train").paths
    for record, (original, mirrored) in COPIES.items():
        row = rows[record]
        assert (int(row["Record1"]), int(row["Mirrored1"]), float(row["Distance1"])) == (original, mirrored, 0)
        assert row["Neighbour1"] == train_paths[record_order(NUM_TRAIN)[original]]
        assert (row["Flagged"], row["FlaggedByRatio"]) == ("1", "1")
        assert float(row["Distance2"]) > 0
        assert row["PixelCopyOf"] == row["Neighbour1"]
    assert sum(float(row["Distance1"]) == 0 for row in rows) == len(COPIES)
    held_out = rows_of(folder / "held_out.csv")
    assert len(held_out) == NUM_TEST
    assert [row["PixelCopyOf"] for row in held_out] == [""] * NUM_TEST
    assert sum(row["PixelCopyOf"] != "" for row in rows) == len(COPIES)
    assert sum(int(row["Flagged"]) for row in held_out) == 2, "strictly below the third smallest of 60"


def test_results_say_what_was_found(found):
    folder, output = found
    facts = json.loads((folder / "nn.json").read_text())
    assert (facts["num_train"], facts["num_held_out"], facts["num_synthetic"]) == (NUM_TRAIN, NUM_TEST, NUM_SYNTHETIC)
    assert (facts["num_held_out_patients"], facts["weights_origin"]) == (30, "the real classifier's results")
    assert len(facts["weights_sha256"]) == 64
    assert facts["distance"]["num_below_all"] >= len(COPIES)
    share = facts["distance"]["share"]
    assert share["low"] < share["value"] == facts["distance"]["num_flagged"] / NUM_SYNTHETIC < share["high"]
    planted = {row["alteration"]: row for row in facts["planted"]}
    assert len(planted) == 18
    for name in ("identical", "mirrored"):
        assert planted[name]["by_distance"]["value"] == planted[name]["original_found"]["value"] == 1
        assert planted[name]["by_pixels"]["value"] == 1
    assert facts["pixel_copies"] == {"synthetic": len(COPIES), "held_out": 0}
    assert "would be expected" in output
    assert "There are copies by their pixels" in output
    assert "Planted copies of 4 training images" in (folder / "nn.log").read_text()
    for name in ("nn.png", "distances.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"


def test_published_files_have_their_form(made, found):
    folder, _ = found
    data, results = made
    synthetic, labels, nearest, distances = (
        np.load(folder / f"{name}.npy") for name in ("real_inf", "real_inf_label", "nn_images", "cosdistance_minimum")
    )
    assert synthetic.shape == nearest.shape == (30, 32, 32, 3)
    assert (synthetic.dtype, labels.shape, distances.shape) == (np.float32, (30, 2), (30, 1))
    assert 0 <= synthetic.min() < synthetic.max() <= 1
    records = open_records(results / "inference" / "test", SIZE)
    np.testing.assert_allclose(synthetic[..., :1], records.read(range(30)) / 255, atol=1e-6)
    np.testing.assert_array_equal(synthetic[3], nearest[3])
    assert distances[3] == 0
    assert distances[11] > 0, "mirror images are not compared there"
    rows = rows_of(folder / "nn.csv")
    plain = [row for row in rows[:30] if row["Mirrored1"] == "0"]
    for row in plain:
        assert float(row["Distance1"]) == pytest.approx(distances[int(row["Record"]), 0], rel=1e-12)
    train = open_records(data / "train", SIZE)
    numbers = [int(row["Record1"]) for row in plain]
    np.testing.assert_allclose(
        nearest[[int(row["Record"]) for row in plain]][..., :1], train.read(numbers) / 255, atol=1e-6
    )


def test_a_second_run_reads_the_features_and_finds_the_same(model_dir, made, found, capfd):
    folder, output = found
    data, results = made
    assert f"({NUM_TRAIN} computed, 0 read" in output
    before = (folder / "nn.json").read_text()
    command.run(model_dir, data, results, resolution=SIZE, overrides=[], dry_run=False)
    progress = capfd.readouterr().err
    assert f"(0 computed, {NUM_TRAIN} read" in progress
    assert progress.count(f"(0 computed, {NUM_SYNTHETIC} read") == 2, "as they are, and mirrored"
    assert (folder / "nn.json").read_text() == before


def test_weights_put_there_by_hand_are_used(model_dir, made, tmp_path, capfd):
    data, results = made
    weights = data / f"classification_results_res_{SIZE}" / "train" / "best_weights.h5"
    shutil.copytree(results / "inference", tmp_path / "results" / "inference")
    folder = tmp_path / "results" / "classification_results" / "nn"
    folder.mkdir(parents=True)
    shutil.copyfile(weights, folder / "best_weights.h5")

    def dry_run(data_dir: Path) -> str:
        overrides = ["image_dimension=32"]
        command.run(model_dir, data_dir, tmp_path / "results", resolution=SIZE, overrides=overrides, dry_run=True)
        return "".join(capfd.readouterr())

    assert "put there by hand, the same as the real classifier's" in dry_run(data)
    alone = tmp_path / "data"
    shutil.copytree(data, alone, ignore=shutil.ignore_patterns("classification*"))
    said = dry_run(alone)
    assert "comes without its settings: image_dimension and resize are those of config.ini" in said
    assert f"{folder / 'best_weights.h5'} (put there by hand)" in said
    (folder / "best_weights.h5").write_bytes(b"other weights")
    assert "differs from" in dry_run(data)
    assert not list(folder.glob("*.npy")), "a dry run writes nothing"


def test_a_gan_of_other_images_is_noted(model_dir, made, tmp_path, capfd):
    data, results = made
    shutil.copytree(results / "inference", tmp_path / "inference")
    for digest, is_noted in ((open_records(data / "train", SIZE).digest, False), ("other", True)):
        write_json(tmp_path / "config.json", {"resolution": SIZE, "data.images_sha256": digest})
        command.run(model_dir, data, tmp_path, resolution=SIZE, overrides=[], dry_run=True)
        assert ("was trained on are not exactly those of" in capfd.readouterr().err) == is_noted


def other_labels(data: Path, results: Path) -> None:
    images, labels = draw(NUM_SYNTHETIC, 5)
    folder = results / "inference" / "test"
    write_images(folder, images, labels, 3000)
    table = read_label_table(folder)
    write_label_table(folder, LabelTable(table.paths, ("Bright", "Dotted"), table.values))


@pytest.mark.parametrize(("change", "settings", "words"), [
    (lambda data, results: shutil.rmtree(results / "inference"), [], ["run test.py of the GAN first"]),
    (lambda data, results: shutil.rmtree(data / "classification_results_res_32"), [],
     ["classifier_real/train.py", "put its best_weights.h5 into", "classification_results/nn"]),
    (lambda data, results: (data / "classification_results_res_32/train/best_weights.h5").unlink(), [],
     ["best_weights.h5", "no such file"]),
    (lambda data, results: (data / "classification_results_res_32/train/best_weights.h5").write_bytes(b"no weights"),
     [], ["best_weights.h5"]),
    (other_labels, [], ["trained on the labels Bright, Striped", "Received: Bright, Dotted"]),
    (lambda data, results: write_images(data / "test", *draw(NUM_TEST, 1), 40), [],
     ["of other patients than the training images", "patient00040", "Received: 5 patients in both"]),
    (lambda data, results: write_images(data / "test", *draw(12, 1), 1000), [], ["20 held-out", "Received: 12 images"]),
    (lambda data, results: None, ["num_neighbours=1"], ["2 or more", "Received: 1"]),
    (lambda data, results: None, ["image_dimension=64"], ["was fixed when the classifier was trained"]),
    (lambda data, results: None, ["held_out=train"], ["test, valid"]),
])  # fmt: skip
def test_mistakes_are_named(model_dir, made, tmp_path, change, settings, words):
    data, results = tmp_path / "data", tmp_path / "results"
    shutil.copytree(made[0], data, ignore=shutil.ignore_patterns("features"))
    shutil.copytree(made[1] / "inference", results / "inference")
    change(data, results)
    with pytest.raises(MedsynthError) as caught:
        command.run(model_dir, data, results, resolution=SIZE, overrides=settings, dry_run=False)
    for word in words:
        assert word in str(caught.value)


def test_a_mistake_is_one_line(made, tmp_path):
    line = refused("classifier_fake/nn.py", "nn", "classifier_fake", made[0], tmp_path, SIZE)
    assert "run test.py of the GAN first" in line
