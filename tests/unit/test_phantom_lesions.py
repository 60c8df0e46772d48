import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medsynth.data import phantom_lesions
from medsynth.data.phantom_lesions import (
    CLASSES,
    COLOURS,
    SPLITS,
    create_phantom_lesions,
    draw_patient,
    draw_photograph,
)
from medsynth.data.phantom_lesions_drawing import Grid
from medsynth.errors import RunFolderError, UsageError
from tests.commands import refused, run_script

SIZE, SEED = 96, 3
TOOL = "build_dataset/dataset_tool.py"
NUM_PATIENTS = int(os.environ.get("PHANTOM_PATIENTS", "180"))


def create(folder: Path, num_patients: int = 6, seed: int = SEED, **options: Any) -> Path:
    defaults = {"image_size": 64, "num_workers": 1}
    return create_phantom_lesions(folder, num_patients, seed, **(defaults | options))


def document(folder: Path, name: str = "coco_dataset") -> dict[str, Any]:
    return json.loads((folder / f"{name}.json").read_text())


def fingerprints(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*.jpg")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create(tmp_path_factory.mktemp("lesions") / "data")


# Files.


def test_records_and_files_belong_together(folder: Path) -> None:
    everything = document(folder)
    assert [category["name"] for category in everything["categories"]] == list(CLASSES)
    for name in ("images", "annotations"):
        ids = [record["id"] for record in everything[name]]
        assert len(ids) == len(set(ids)) > 5
        parts = [record for split in SPLITS for record in document(folder, split)[name]]
        assert sorted(record["id"] for record in parts) == sorted(ids)
    assert set(fingerprints(folder)) == {image["file_name"] for image in everything["images"]}
    for image in everything["images"]:
        with Image.open(folder / "images" / image["file_name"]) as picture:
            assert (picture.format, picture.size) == ("JPEG", (image["width"], image["height"]))
        assert min(image["width"], image["height"]) == 64
    assert {one["image_id"] for one in everything["annotations"]} == {image["id"] for image in everything["images"]}


def test_boxes_and_areas_are_those_of_the_outlines(folder: Path) -> None:
    for one in document(folder)["annotations"]:
        points = np.array(one["segmentation"][0]).reshape(-1, 2)
        x, y, width, height = one["bbox"]
        np.testing.assert_allclose([x, y, x + width, y + height], [*points.min(axis=0), *points.max(axis=0)], atol=0.1)
        assert one["area"] == pytest.approx(cv2.contourArea(points.astype(np.float32)), rel=0.01)


def test_a_larger_phantom_holds_a_smaller_one_and_workers_change_nothing(folder: Path, tmp_path: Path) -> None:
    assert phantom_lesions._PATIENTS_PER_TASK < 8, "premise: several tasks"
    mine, theirs = fingerprints(folder), fingerprints(create(tmp_path / "more", 8, num_workers=2))
    assert set(mine) < set(theirs)
    assert all(theirs[name] == mark for name, mark in mine.items())


def test_patients_are_dealt_whole_and_in_the_same_shares() -> None:
    patients = [draw_patient(number, SEED) for number in range(600)]
    counts = {
        (kind, split): sum((one.kind, one.split) == (kind, split) for one in patients)
        for kind in CLASSES
        for split in SPLITS
    }
    assert set(counts.values()) == {120, 30, 50}
    assert {one.split for one in patients[:18]} == set(SPLITS), "a small phantom has them all"


def test_same_command_again_does_nothing_and_another_is_refused(tmp_path: Path) -> None:
    data = create(tmp_path / "data", 1)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    create(data, 1)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
    with pytest.raises(RunFolderError, match="with --overwrite"):
        create(data, 1, test_cue="permuted")
    create(data, 1, seed=SEED + 1, overwrite=True)
    (data / "train.json").unlink()
    with pytest.raises(RunFolderError, match="were changed"):
        create(data, 1, seed=SEED + 1)


@pytest.mark.parametrize(
    "options",
    [
        {"num_patients": 0},
        {"image_size": 63},
        {"image_size": 1025},
        {"test_cue": "kept"},
        {"seed": -1},
        {"num_workers": 0},
    ],
)
def test_refuses_what_is_out_of_range(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        create(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_the_command(folder: Path, tmp_path: Path) -> None:
    arguments = ["--patients", 1, "--image-size", 64, "--seed", SEED, "--workers", 1]
    result = run_script(TOOL, "create_phantom_lesions", "data", *arguments, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "data\n"), result.stderr
    made, whole = fingerprints(tmp_path / "data"), fingerprints(folder)
    assert made
    assert all(whole[name] == mark for name, mark in made.items())
    line = refused(TOOL, "create_phantom_lesions", tmp_path / "new", "--test-cue", "maybe")
    assert "--test-cue is one of absent, permuted. Received: maybe" in line


def test_no_tensorflow_is_imported() -> None:
    code = "import sys, medsynth.data.phantom_lesions; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The drawing.


def test_the_outline_is_where_the_lesion_is() -> None:
    grid = Grid(480, 640)
    for number in range(12):
        for lesion in draw_photograph(draw_patient(number, SEED), 0, SEED, SIZE, "absent").lesions:
            inside = lesion.depth(grid) > 0
            drawn = np.zeros((480, 640), np.uint8)
            cv2.fillPoly(drawn, [np.rint(grid.pixels(lesion.outline())).astype(np.int32)], 1)
            assert inside.sum() > 800
            assert (inside & (drawn > 0)).sum() / (inside | (drawn > 0)).sum() > 0.95


@pytest.mark.parametrize("changed", ["seed", "patient", "picture"])
def test_a_picture_depends_on_seed_patient_and_number(changed: str) -> None:
    one = draw_photograph(draw_patient(0, SEED), 0, SEED, SIZE, "absent")
    again = draw_photograph(draw_patient(0, SEED), 0, SEED, SIZE, "absent")
    np.testing.assert_array_equal(one.pixels, again.pixels)
    seed = SEED + (changed == "seed")
    other = draw_photograph(
        draw_patient(int(changed == "patient"), seed), int(changed == "picture"), seed, SIZE, "absent"
    )
    assert other.pixels.shape != one.pixels.shape or (other.pixels != one.pixels).mean() > 0.5


# What tells the classes.


@cache
def photographs(test_cue: str) -> list[dict[str, Any]]:
    """Return what is measured in the first picture of every patient."""
    found = []
    for number in range(NUM_PATIENTS):
        patient = draw_patient(number, 0)
        photograph = draw_photograph(patient, 0, 0, SIZE, test_cue)
        found.append(
            {
                "is_test": patient.split == "test",
                "kind": CLASSES.index(patient.kind),
                "cue": photograph.cue,
                "lesion": lesion_features(photograph),
                "background": background_features(photograph),
            }
        )
    return found


def lesion_mask(photograph: phantom_lesions.Photograph, number: int | None = None) -> np.ndarray:
    chosen = photograph.lesions if number is None else [photograph.lesions[number]]
    mask = np.zeros(photograph.pixels.shape[:2], np.uint8)
    for lesion in chosen:
        cv2.fillPoly(mask, [np.rint(photograph.grid.pixels(lesion.outline())).astype(np.int32)], 1)
    return mask


def lesion_features(photograph: phantom_lesions.Photograph) -> np.ndarray:
    """Shape and texture of the first lesion, measured on its mask and on the pixels below it."""
    mask = lesion_mask(photograph, 0)
    (outline, *_), _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    (_, axes, _) = cv2.fitEllipse(outline)
    solidity = mask.sum() / cv2.contourArea(cv2.convexHull(outline))
    grey = cv2.cvtColor(photograph.pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 3)
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
    gradients = np.stack([cv2.Sobel(fine, cv2.CV_32F, 1, 0)[inner], cv2.Sobel(fine, cv2.CV_32F, 0, 1)[inner]])
    spread = np.linalg.eigvalsh(np.cov(gradients))
    return np.array([solidity, max(axes) / min(axes), np.log(fine[inner].std()), np.log(spread[1] / spread[0])])


def background_features(photograph: phantom_lesions.Photograph) -> np.ndarray:
    """Share of pixels of each hue, lesions and their surroundings cut out."""
    cut_out = cv2.dilate(lesion_mask(photograph), np.ones((9, 9), np.uint8)) > 0
    hue, saturation, _ = np.moveaxis(cv2.cvtColor(photograph.pixels, cv2.COLOR_RGB2HSV), 2, 0)[:, ~cut_out]
    counts = np.histogram(hue[saturation > 100], bins=9, range=(0, 180))[0]
    return np.log1p(counts / len(hue) * 1000)


def auroc(test_cue: str, features: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the AUROC of each class against the others: five-fold in training data, and in the test."""
    rows = photographs(test_cue)
    measured = np.array([row[features] for row in rows])
    kinds, is_test = (np.array([row[name] for row in rows]) for name in ("kind", "is_test"))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
    train = np.flatnonzero(~is_test)
    scores = np.empty((len(train), len(CLASSES)))
    for fold in range(5):
        held_out = np.arange(len(train)) // len(CLASSES) % 5 == fold
        model.fit(measured[train[~held_out]], kinds[train[~held_out]])
        scores[held_out] = model.predict_proba(measured[train[held_out]])
    model.fit(measured[train], kinds[train])
    in_test = model.predict_proba(measured[is_test])
    return tuple(
        roc_auc_score(truth, predicted, multi_class="ovr", average=None)
        for truth, predicted in ((kinds[train], scores), (kinds[is_test], in_test))
    )  # type: ignore[return-value]


def test_the_lesion_tells_the_classes_but_not_perfectly() -> None:
    train, test = auroc("absent", "lesion")
    print("lesion alone, AUROC by class: training, cross-validated", train.round(3), "test", test.round(3))
    for values in (train, test):
        assert (values > 0.7).all()
    assert train.mean() < 0.995


@pytest.mark.parametrize("test_cue", ["absent", "permuted"])
def test_the_background_tells_the_classes_in_training_alone(test_cue: str) -> None:
    train, test = auroc(test_cue, "background")
    print(f"background alone, cue {test_cue} in the test: training", train.round(3), "test", test.round(3))
    assert (train > 0.9).all()
    assert test.mean() == pytest.approx(0.5, abs=0.13)


def test_the_sticker_is_true_nineteen_times_of_twenty_and_never_on_a_lesion() -> None:
    rows = [row for row in photographs("permuted") if not row["is_test"]]
    names = list(COLOURS)
    true = np.mean([names.index(row["cue"]) == row["kind"] for row in rows])
    assert 0.92 < true < 1
    assert {row["cue"] for row in photographs("absent") if row["is_test"]} == {"none"}
    assert {row["cue"] for row in photographs("permuted") if row["is_test"]} == set(names)
    for number in range(20):
        photograph = draw_photograph(draw_patient(3 * number, 0), 0, 0, SIZE, "permuted")
        blue = (photograph.pixels[..., 2].astype(int) - photograph.pixels[..., 0]) > 60
        if photograph.cue == "blue":
            assert blue.sum() > 20
            assert not (blue & (lesion_mask(photograph) > 0)).any()
