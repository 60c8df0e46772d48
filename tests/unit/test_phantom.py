import csv
import hashlib
import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsynth.data import phantom, phantom_drawing
from medsynth.data.phantom import (
    COLUMNS,
    NO_FINDING,
    NUM_METADATA_COLUMNS,
    create_phantom,
    draw_patient,
    draw_study,
)
from medsynth.data.phantom_drawing import FINDINGS, draw_anatomy, render
from medsynth.data.pixel_baseline import STRENGTHS, halve, logistic_regression_auroc
from medsynth.errors import DataError, RunFolderError, UsageError

NUM_PATIENTS = 60
SEED = 3
LABELS = (NO_FINDING, *FINDINGS)


def fingerprints(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "train.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def positives(row: dict[str, str]) -> frozenset[str]:
    return frozenset(name for name in COLUMNS[NUM_METADATA_COLUMNS:] if row[name] in ("1.0", "-1.0"))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("phantom")
    create_phantom(target, NUM_PATIENTS, SEED, num_workers=1)
    return target


@pytest.fixture(scope="module")
def folder(target: Path) -> Path:
    return target / "CheXpert-v1.0-small"


def test_layout_is_chexperts(target: Path, folder: Path) -> None:
    with (folder / "train.csv").open(newline="") as file:
        assert tuple(next(csv.reader(file))) == COLUMNS
    assert len(COLUMNS) == 5 + 14
    rows = read_rows(folder)
    assert sorted(str(p.relative_to(target)) for p in folder.rglob("*.jpg")) == sorted(r["Path"] for r in rows)
    for row in rows:
        with Image.open(target / row["Path"]) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "L", (128, 128))
        assert row["Sex"] in ("Male", "Female")
        assert 18 <= int(row["Age"]) <= 93
        lateral = row["Path"].endswith("view2_lateral.jpg")
        assert row["Frontal/Lateral"] == ("Lateral" if lateral else "Frontal")
        assert row["AP/PA"] in (("",) if lateral else ("AP", "PA"))
    assert rows[0]["Path"] == "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg"
    assert {row["Frontal/Lateral"] for row in rows} == {"Frontal", "Lateral"}


def test_cells_hold_all_that_a_report_can_say(folder: Path) -> None:
    cells = Counter(row[name] for row in read_rows(folder) for name in COLUMNS[NUM_METADATA_COLUMNS:])
    assert set(cells) == {"", "0.0", "1.0", "-1.0"}
    assert cells[""] > cells["0.0"] > cells["-1.0"]


def test_patients_have_one_to_four_studies() -> None:
    counts = Counter(len(draw_patient(number, SEED).findings) for number in range(1, 401))
    assert set(counts) == {1, 2, 3, 4}
    assert counts[1] > counts[2] > counts[3] > counts[4]


def test_follow_up_shows_the_same_body() -> None:
    """Two studies of one patient look more alike than two patients do."""
    patients = [draw_patient(number, SEED) for number in range(1, 41)]
    several = [patient for patient in patients if len(patient.findings) > 1]
    assert len(several) >= 10
    first, second = ([draw_pixels(p, study) for p in several] for study in (1, 2))
    own = np.mean([np.abs(a - b).mean() for a, b in zip(first, second, strict=True)])
    other = np.mean([np.abs(a - b).mean() for a, b in zip(first, second[1:] + second[:1], strict=True)])
    assert 0 < own < 0.9 * other


def draw_pixels(patient: phantom.Patient, study: int) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw_study(patient, study, SEED)[0][1])), np.float64)


def label_sets(num_patients: int, seed: int) -> list[frozenset[str]]:
    """The label sets that survive dataset_tool's filter: frontal views with a positive."""
    sets = []
    for number in range(1, num_patients + 1):
        for findings in draw_patient(number, seed).findings:
            sets.append(findings or frozenset([NO_FINDING]))
    return sets


def test_findings_cooccur_and_no_finding_stands_alone(folder: Path) -> None:
    found = [positives(row) for row in read_rows(folder)]
    assert frozenset([NO_FINDING]) in found
    assert all(names == {NO_FINDING} for names in found if NO_FINDING in names)
    assert frozenset() in found  # rows that the filter drops
    assert all(names <= set(LABELS) for names in found)
    assert max(map(len, found)) == 3

    sets = label_sets(1000, SEED)
    table = np.array([[name in names for name in LABELS] for names in sets])
    fluid, opacity, air = (table[:, LABELS.index(n)] for n in ("Pleural Effusion", "Lung Opacity", "Pneumothorax"))
    assert opacity[fluid].mean() > 1.3 * opacity[~fluid].mean()
    assert fluid[air].mean() < fluid[~air].mean()


@pytest.mark.parametrize("seed", [0, 1])
def test_default_size_gives_enough_images_of_every_label(seed: int) -> None:
    """Labels alone decide this, so that no picture need be drawn."""
    sets = label_sets(phantom.DEFAULT_NUM_PATIENTS, seed)
    assert 7500 <= len(sets) <= 8500
    combinations = Counter(sets)
    assert len(combinations) == len(phantom.COMBINATIONS) <= 24
    assert min(combinations.values()) > 100
    # A tenth of the patients: 50 positives of each label in the test set, with room to spare.
    assert min(sum(name in names for names in sets) for name in LABELS) >= 900


def test_uncertain_labels_are_faint_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = next(p for p in (draw_patient(n, SEED) for n in range(1, 99)) if len(p.findings[0]) == 1)
    (name,) = patient.findings[0]
    cells = []
    for threshold in (0.0, 1.0):
        monkeypatch.setattr(phantom, "_FAINT", threshold)
        cells.append(draw_study(patient, 1, SEED)[0][0][COLUMNS.index(name)])
    assert cells == ["1.0", "-1.0"]


@pytest.mark.parametrize("num_workers", [2, 3])
def test_workers_do_not_change_a_byte(folder: Path, tmp_path: Path, num_workers: int) -> None:
    assert NUM_PATIENTS > 2 * phantom._PATIENTS_PER_TASK  # premise: more tasks than workers
    create_phantom(tmp_path, NUM_PATIENTS, SEED, num_workers)
    assert fingerprints(tmp_path / folder.name) == fingerprints(folder)


def test_a_larger_phantom_holds_a_smaller_one(folder: Path, tmp_path: Path) -> None:
    small = fingerprints(create_phantom(tmp_path, 5, SEED, 1))
    pictures = {name: value for name, value in small.items() if name.endswith(".jpg")}
    assert len(pictures) >= 5
    assert pictures.items() <= fingerprints(folder).items()
    assert read_rows(tmp_path / folder.name) == read_rows(folder)[: len(pictures)]


def test_seed_changes_every_picture(folder: Path, tmp_path: Path) -> None:
    other = fingerprints(create_phantom(tmp_path, 5, SEED + 1, 1))
    mine = fingerprints(folder)
    shared = [name for name in other if name.endswith(".jpg") and name in mine]
    assert len(shared) >= 5
    assert all(other[name] != mine[name] for name in shared)


def test_same_command_again_does_nothing(target: Path, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert create_phantom(target, NUM_PATIENTS, SEED, 2) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: (t / "notes.txt").write_text("mine"), "notes.txt"),
        (lambda t: (t / "CheXpert-v1.0-small/phantom.json").unlink(), "no phantom"),
        (lambda t: (t / "CheXpert-v1.0-small/train.csv").write_text("Path\n"), "train.csv was changed"),
        (lambda t: next((t / "CheXpert-v1.0-small").rglob("*.jpg")).unlink(), "a phantom without"),
        (lambda t: next((t / "CheXpert-v1.0-small").rglob("*.jpg")).write_bytes(b""), "a phantom without"),
        (lambda t: (t / "CheXpert-v1.0-small/phantom.json").write_text("[]"), "form_version None"),
    ],
)
def test_refuses_a_folder_with_anything_else(tmp_path: Path, damage, message: str) -> None:
    create_phantom(tmp_path, 2, SEED, 1)
    damage(tmp_path)
    before = fingerprints(tmp_path)
    with pytest.raises(RunFolderError, match=message):
        create_phantom(tmp_path, 2, SEED, 1)
    assert fingerprints(tmp_path) == before


@pytest.mark.parametrize(("num_patients", "seed"), [(3, SEED), (2, SEED + 1)])
def test_refuses_another_phantom(tmp_path: Path, num_patients: int, seed: int) -> None:
    create_phantom(tmp_path, 2, SEED, 1)
    with pytest.raises(RunFolderError, match="a phantom with"):
        create_phantom(tmp_path, num_patients, seed, 1)


@pytest.mark.parametrize("numbers", [(0, 1, 1), (100_000, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_refuses_numbers_out_of_range(tmp_path: Path, numbers: tuple[int, int, int]) -> None:
    with pytest.raises(UsageError):
        create_phantom(tmp_path / "new", *numbers)
    assert not (tmp_path / "new").exists()


def test_failed_run_leaves_nothing_and_a_killed_one_is_cleared(tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(phantom, "render", fail)
        with pytest.raises(RunFolderError, match="space"):
            create_phantom(tmp_path, 2, SEED, 1)
    assert list(tmp_path.iterdir()) == []

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leftover = tmp_path / f".{ended.pid}.partial.CheXpert-v1.0-small"
    leftover.mkdir()
    create_phantom(tmp_path, 2, SEED, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["CheXpert-v1.0-small"]


def test_another_writer_is_not_disturbed(tmp_path: Path) -> None:
    other = tmp_path / f".{os.getppid()}.partial.CheXpert-v1.0-small"
    other.mkdir()
    with pytest.raises(RunFolderError, match="Another process"):
        create_phantom(tmp_path, 2, SEED, 1)
    assert other.is_dir()


def test_no_tensorflow_is_imported() -> None:
    code = "import sys, medsynth.data.phantom; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What a sign does to the pixels: (sign of the change, least and largest share of the picture it may touch).
SIGNS = {
    "Cardiomegaly": (1, 0.01, 0.25),
    "Lung Opacity": (1, 0.01, 0.25),
    "Lung Lesion": (1, 0.005, 0.06),
    "Pneumothorax": (-1, 0.01, 0.15),
    "Pleural Effusion": (1, 0.01, 0.25),
    "Support Devices": (1, 0.005, 0.06),
}


def changes(name: str, num_pictures: int = 40) -> np.ndarray:
    """Pictures with the finding minus the same ones without it, float64 [N, 128, 128]."""
    differences = []
    for index in range(num_pictures):
        anatomy = draw_anatomy(np.random.default_rng(index))
        pair = [render(anatomy, frozenset(f), np.random.default_rng(1000 + index)).astype(float) for f in ((name,), ())]
        differences.append(pair[0] - pair[1])
    return np.array(differences)


@pytest.mark.parametrize("name", FINDINGS)
def test_each_finding_is_a_local_sign_of_the_right_kind(name: str) -> None:
    assert set(SIGNS) == set(FINDINGS)
    direction, least, largest = SIGNS[name]
    difference = changes(name)
    touched = np.abs(difference) > 20
    shares = touched.mean(axis=(1, 2))
    assert np.median(shares) >= least
    assert shares.max() <= largest
    total = difference.sum(axis=(1, 2)) * direction
    assert (total > 0).mean() >= 0.95
    # Outside the sign not a single pixel changes.
    assert (difference == 0).mean() > 0.6

    # At 32x32 it still covers several pixels, well above the noise.
    small = halve(halve(difference))
    visible = (small * direction > 20).sum(axis=(1, 2))
    assert np.median(visible) >= 5

    # Its place varies: the mean sign is much flatter than a single one.
    assert np.abs(difference.mean(axis=0)).max() < 0.75 * np.median(np.abs(difference).max(axis=(1, 2)))


@pytest.mark.parametrize("name", [n for n in FINDINGS if n != "Cardiomegaly"])
def test_signs_lie_on_either_side(name: str) -> None:
    small = np.abs(changes(name)).sum(axis=1)  # [N, columns]
    left = small[:, :64].sum(axis=1) > small[:, 64:].sum(axis=1)
    assert 0.2 < left.mean() < 0.8


def test_strength_varies() -> None:
    """Weakest and strongest tenth of each sign differ plainly in what they add up to."""
    for name in FINDINGS:
        amounts = np.sort(np.abs(changes(name)).sum(axis=(1, 2)))
        assert amounts[-4] > 1.5 * amounts[3], name


@pytest.mark.parametrize("size", [32, 64, 256])
def test_other_sizes(size: int) -> None:
    anatomy = draw_anatomy(np.random.default_rng(0))
    picture = render(anatomy, frozenset(FINDINGS), np.random.default_rng(1), size)
    assert picture.shape == (size, size)
    assert picture.dtype == np.uint8
    assert picture.max() > 200
    assert picture.min() < 60


def test_arithmetic_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single float64 operand would double the time of everything behind it."""
    dtypes = []
    film = phantom_drawing._film
    monkeypatch.setattr(
        phantom_drawing, "_film", lambda density, *rest: dtypes.append(density.dtype) or film(density, *rest)
    )
    anatomy = phantom_drawing.at_study(draw_anatomy(np.random.default_rng(0)), np.random.default_rng(1))
    render(anatomy, frozenset(FINDINGS), np.random.default_rng(1))
    phantom_drawing.render_lateral(anatomy, np.random.default_rng(1))
    assert dtypes == [np.float32, np.float32]


def test_lateral_view_differs_from_frontal() -> None:
    anatomy = draw_anatomy(np.random.default_rng(0))
    lateral = phantom_drawing.render_lateral(anatomy, np.random.default_rng(1))
    frontal = render(anatomy, frozenset(), np.random.default_rng(1))
    assert lateral.shape == frontal.shape
    assert np.abs(lateral.astype(float) - frontal).mean() > 20


def small_images(num_patients: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frontal pictures as prepared for training: [N, 32, 32], labels [N, 7], patients [N]."""
    images, labels, patients = [], [], []
    for number in range(1, num_patients + 1):
        patient = draw_patient(number, seed)
        for study in range(1, len(patient.findings) + 1):
            row, jpeg = draw_study(patient, study, seed)[0]
            names = positives(dict(zip(COLUMNS, row, strict=True)))
            if names:
                pixels = np.asarray(Image.open(io.BytesIO(jpeg)), np.float32)
                images.append(np.trunc(pixels / pixels.max() * 255))
                labels.append([name in names for name in LABELS])
                patients.append(number)
    return halve(halve(np.array(images))), np.array(labels, int), np.array(patients)


def test_pixels_alone_do_not_solve_it() -> None:
    """Logistic regression: better than chance, far from solved.

    The default size: PHANTOM_PATIENTS=4200 pytest tests/unit/test_phantom.py -s -k pixels_alone
    """
    num_patients = os.environ.get("PHANTOM_PATIENTS")
    images, labels, patients = small_images(int(num_patients or 800), seed=0)
    assert images.shape[1:] == (32, 32)
    assert len(images) >= 1400
    strengths = STRENGTHS if num_patients else (1e-3, 1e-2)  # the best two at that size
    aurocs = logistic_regression_auroc(images, labels, patients, seed=100, strengths=strengths)
    assert aurocs.shape == (len(LABELS),)
    print(f"{len(images)} images, AUROC", dict(zip(LABELS, aurocs.round(3).tolist(), strict=True)), aurocs.mean())
    assert 0.65 <= aurocs.mean() <= 0.88
    assert aurocs.max() < 0.97


def test_pixel_baseline_sees_what_is_easy_and_refuses_what_cannot_be_measured() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (400, 2))
    images = rng.standard_normal((400, 4, 4))
    images[:, 1, 1] += 4 * labels[:, 0]
    patients = np.arange(400)
    easy, chance = logistic_regression_auroc(images, labels, patients, seed=0)
    assert easy > 0.98
    assert 0.2 < chance < 0.8
    labels[:, 1] = 0
    with pytest.raises(DataError, match="each label"):
        logistic_regression_auroc(images, labels, patients, seed=0)
