import csv
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from GAN_joint.schema import read_schema, schema_text
from medsynth.data import phantom_ecg
from medsynth.data.phantom_ecg import (
    BINARIES,
    CHEST_PAINS,
    COLUMNS,
    NAME_COLUMN,
    NUMBERS,
    OFFSETS,
    TARGETS,
    create_phantom_ecg,
    draw_image,
    draw_patient,
    heart_of,
    risk,
)
from medsynth.data.phantom_ecg_drawing import (
    LEAD_VECTORS,
    TERRITORIES,
    VESSELS,
    Heart,
    beat_times,
    dipole,
    draw_sheet,
    render,
)
from medsynth.errors import RunFolderError, UsageError

NUM_PATIENTS = 33
SEED = 3
SIZE = 64
TOOL = Path(__file__).parents[2] / "build_dataset" / "dataset_tool.py"


def fingerprints(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=";"))


def create(folder: Path, num_patients: int = 2, seed: int = SEED, size: int = SIZE, **options) -> Path:
    return create_phantom_ecg(folder, num_patients, seed, size, num_workers=options.pop("num_workers", 1), **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create(tmp_path_factory.mktemp("ecg") / "data", NUM_PATIENTS)


# --------------------------------------------------------------------------------------------- files


def test_a_picture_for_each_row(folder: Path) -> None:
    rows = read_rows(folder)
    assert tuple(rows[0]) == COLUMNS
    assert [row["image"] for row in rows] == [f"ecg_{number:05d}.png" for number in range(NUM_PATIENTS)]
    assert sorted(path.name for path in (folder / "images").iterdir()) == [row["image"] for row in rows]
    for row in rows:
        with Image.open(folder / "images" / row["image"]) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (SIZE, SIZE))


def test_cells_are_what_a_clinician_would_write(folder: Path) -> None:
    for row in read_rows(folder):
        for name, (least, largest, decimals) in NUMBERS.items():
            assert least <= float(row[name]) <= largest
            assert len(row[name].partition(".")[2]) == decimals
        assert all(row[name] in words for name, words in BINARIES.items())
        assert row["chest_pain"] in CHEST_PAINS
        stenoses = [int(row[target]) for target in TARGETS]
        assert all(0 <= stenosis <= 100 and stenosis % 5 == 0 for stenosis in stenoses)
        assert int(row["number_of_affected_coronary_artery"]) == sum(stenosis >= 50 for stenosis in stenoses)
        assert len(row[NAME_COLUMN].split()) == 2


def test_gan_joint_reads_the_schema_and_would_write_the_same(folder: Path) -> None:
    schema = read_schema(folder)
    assert [column.name for column in schema.columns] == list(COLUMNS)
    kinds = {column.name: column.kind for column in schema.columns}
    assert [name for name, kind in kinds.items() if kind == "target"] == list(TARGETS)
    assert kinds[NAME_COLUMN] == "identifier"
    assert kinds["image"] == "image"
    assert kinds["number_of_affected_coronary_artery"] == "drop"  # it would give the targets away
    assert schema_text(schema) == (folder / "schema.json").read_text()


def test_workers_do_not_change_a_byte(folder: Path, tmp_path: Path) -> None:
    assert NUM_PATIENTS > 2 * phantom_ecg._PATIENTS_PER_TASK  # premise: more tasks than workers
    assert fingerprints(create(tmp_path / "other", NUM_PATIENTS, num_workers=2)) == fingerprints(folder)


def test_a_larger_phantom_holds_a_smaller_one(folder: Path, tmp_path: Path) -> None:
    small = create(tmp_path / "small", 5)
    pictures = fingerprints(small / "images")
    assert len(pictures) == 5
    assert pictures.items() <= fingerprints(folder / "images").items()
    assert read_rows(small) == read_rows(folder)[:5]


def test_rows_are_the_same_at_every_size(folder: Path, tmp_path: Path) -> None:
    assert read_rows(create(tmp_path / "other", 5, size=128)) == read_rows(folder)[:5]


def test_seed_changes_every_picture_and_row(folder: Path, tmp_path: Path) -> None:
    other = create(tmp_path / "other", 5, SEED + 1)
    mine, theirs = fingerprints(folder / "images"), fingerprints(other / "images")
    assert len(theirs) == 5
    assert all(mine[name] != value for name, value in theirs.items())
    assert all(a[NAME_COLUMN] != b[NAME_COLUMN] for a, b in zip(read_rows(folder), read_rows(other), strict=False))


def test_same_command_again_does_nothing_and_keeps_an_edited_schema(tmp_path: Path) -> None:
    data = create(tmp_path / "data")
    schema = json.loads((data / "schema.json").read_text())
    (data / "schema.json").write_text(json.dumps(schema | {"test_share": 0.5}))
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    assert create(data) == data
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "phantom.json").unlink(), "An empty or new folder"),
        (lambda d: (d / "phantom.json").write_text("[]"), "An empty or new folder"),
        (lambda d: (d / "table.csv").write_text("age\n"), "were changed"),
        (lambda d: (d / "images" / "ecg_00001.png").unlink(), "were changed"),
        (lambda d: (d / "images" / "ecg_00001.png").write_bytes(b""), "were changed"),
        (lambda d: (d / "schema.json").unlink(), "were changed"),
    ],
)
def test_refuses_a_folder_with_anything_else(tmp_path: Path, damage, message: str) -> None:
    data = create(tmp_path / "data")
    damage(data)
    before = fingerprints(data)
    with pytest.raises(RunFolderError, match=message):
        create(data)
    assert fingerprints(data) == before


@pytest.mark.parametrize("change", [{"num_patients": 3}, {"seed": SEED + 1}, {"size": 72}])
def test_another_phantom_is_replaced_only_with_overwrite(tmp_path: Path, change: dict[str, int]) -> None:
    data = create(tmp_path / "data")
    with pytest.raises(RunFolderError, match="with --overwrite"):
        create(data, **change)
    new = fingerprints(create(tmp_path / "new", **change))
    assert new != fingerprints(data)
    create(data, **change, overwrite=True)
    assert fingerprints(data) == new


def test_overwrite_spares_what_is_no_phantom(tmp_path: Path) -> None:
    data = create(tmp_path / "data")
    (data / "results").mkdir()
    with pytest.raises(RunFolderError, match="results"):
        create(data, 3, overwrite=True)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "table.csv").write_text("a;b\n")
    with pytest.raises(RunFolderError, match=r"table\.csv"):
        create(mine, overwrite=True)
    assert (data / "results").is_dir()
    assert (mine / "table.csv").read_text() == "a;b\n"


@pytest.mark.parametrize(
    "numbers", [(0, 1, 64, 1), (100_001, 1, 64, 1), (1, -1, 64, 1), (1, 1, 56, 1), (1, 1, 100, 1), (1, 1, 520, 1),
                (1, 1, 64, 0)]
)  # fmt: skip
def test_refuses_numbers_out_of_range(tmp_path: Path, numbers: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError):
        create_phantom_ecg(tmp_path / "new", *numbers)
    assert not (tmp_path / "new").exists()


def test_failed_run_leaves_nothing_and_a_killed_one_is_cleared(tmp_path: Path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(phantom_ecg, "render", fail)
        with pytest.raises(RunFolderError, match="space"):
            create(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []

    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".{ended.pid}.partial.data").mkdir()
    create(tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_command(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, TOOL, "create_phantom_ecg", "data", "--seed", str(SEED), "--workers", "1"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True}
    done = subprocess.run([*command, "--patients", "3", "--image-size", str(SIZE)], check=False, **options)
    assert (done.returncode, done.stdout) == (0, "data\n"), done.stderr
    assert read_rows(tmp_path / "data") == read_rows(folder)[:3]
    refused = subprocess.run([*command, "--image-size", "100"], check=False, **options)
    assert refused.returncode == 2
    assert "Received: 100" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="this system has no /proc")
def test_a_place_where_nothing_can_be_written_is_named() -> None:
    with pytest.raises(RunFolderError, match="/proc"):
        create(Path("/proc/out"))


def test_no_tensorflow_is_imported() -> None:
    code = "import sys, medsynth.data.phantom_ecg; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ------------------------------------------------------------------------------------ the beat model

TIMES = np.arange(0.0, 10.0, 0.002)


def leads(heart: Heart, r_times: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """mV of every lead over TIMES; by default a single beat at 1 s."""
    vectors = dipole(heart, TIMES, np.array([1.0]) if r_times is None else r_times)
    return {name: vector @ vectors for name, vector in LEAD_VECTORS.items()}


def test_limb_leads_obey_einthoven_and_goldberger() -> None:
    volts = leads(Heart(70, injury=(0.1, 0.2, 0.3, 0.4), scar=(0.2, 0, 0.3, 0), hypertrophy=0.7, axis=-20))
    assert np.abs(volts["II"]).max() > 0.1
    np.testing.assert_allclose(volts["I"] + volts["III"], volts["II"], atol=1e-12)
    np.testing.assert_allclose(volts["aVR"] + volts["aVL"] + volts["aVF"], 0, atol=1e-12)
    np.testing.assert_allclose(volts["aVF"], (volts["II"] + volts["III"]) / 2, atol=1e-12)


def test_a_healthy_beat_is_a_textbooks() -> None:
    volts = leads(Heart(60))
    r, p, t = (slice(*np.searchsorted(TIMES, span)) for span in ((0.93, 1.06), (0.78, 0.88), (1.18, 1.36)))
    for name in ("I", "II", "aVF", "V4", "V5", "V6"):
        assert volts[name][r].max() > -volts[name][r].min(), f"{name} points up"
        assert volts[name][t].max() > 0.05
    for name in ("aVR", "V1", "V2"):
        assert -volts[name][r].min() > volts[name][r].max(), f"{name} points down"
    assert volts["aVR"][t].min() < -0.05
    assert 0.05 < volts["II"][p].max() < 0.25
    progression = [volts[f"V{number}"][r].max() for number in range(1, 5)]
    assert progression == sorted(progression)
    assert all(np.abs(lead).max() < 2.5 for lead in volts.values())


@pytest.mark.parametrize(
    ("vessel", "raised", "lowered"),
    [
        ("LAD", ("V1", "V2", "V3", "V4"), ()),
        ("lcx", ("I", "aVL", "V5", "V6"), ("V1",)),
        ("RCA", ("II", "III", "aVF"), ("I", "aVL")),
        ("trunk", ("aVR",), ("I", "II", "V4", "V5", "V6")),
    ],
)
def test_a_vessel_shows_in_the_leads_of_its_wall(
    vessel: str, raised: tuple[str, ...], lowered: tuple[str, ...]
) -> None:
    amounts = tuple(0.3 * (name == vessel) for name in VESSELS)
    assert sum(amounts) == pytest.approx(0.3)
    healthy, injured, scarred = (
        leads(heart) for heart in (Heart(60), Heart(60, injury=amounts), Heart(60, scar=amounts))
    )
    st, q = np.searchsorted(TIMES, 1.15), np.searchsorted(TIMES, 0.974)
    shift = {name: injured[name][st] - healthy[name][st] for name in LEAD_VECTORS}
    wave = {name: scarred[name][q] - healthy[name][q] for name in LEAD_VECTORS}
    for name in raised:
        assert shift[name] > 0.1
        assert wave[name] < -0.1, "a Q wave"
    for name in lowered:
        assert shift[name] < -0.05
    if vessel != "trunk":  # the other leads move less than the wall's own
        others = set(LEAD_VECTORS) - set(raised) - {"V3", "V4"}
        assert max(shift[name] for name in others) < max(shift[name] for name in raised)


def test_territories_differ() -> None:
    vectors = np.array([TERRITORIES[name] for name in VESSELS])
    cosines = vectors @ vectors.T / np.outer(*[np.linalg.norm(vectors, axis=1)] * 2)
    assert np.abs(cosines[~np.eye(4, dtype=bool)]).max() < 0.6


def test_hypertrophy_raises_r_in_v5_and_deepens_s_in_v1() -> None:
    plain, thick = leads(Heart(60)), leads(Heart(60, hypertrophy=1.0))
    sokolow = [volts["V5"].max() - volts["V1"].min() for volts in (plain, thick)]
    assert sokolow[0] < 3.5 < sokolow[1]  # Sokolow and Lyon's criterion, mV


@pytest.mark.parametrize(("axis", "shown"), [(-30, -49), (0, -11), (Heart(60).axis, 65), (90, 100)])
def test_axis_is_where_the_limb_leads_point(axis: float, shown: float) -> None:
    volts = leads(Heart(60, axis=axis))
    r = np.searchsorted(TIMES, 1.0)
    found = np.degrees(np.arctan2(volts["aVF"][r] * 2 / np.sqrt(3), volts["I"][r]))
    assert found == pytest.approx(shown, abs=5)


@pytest.mark.parametrize("rate", [45, 75, 125])
def test_beats_come_at_the_heart_rate(rate: int) -> None:
    heart = Heart(rate, rate_variation=0.03)
    r_times = beat_times(heart, 0.35, 10.0, np.random.default_rng(0))
    assert r_times[1] == pytest.approx(0.35)
    assert r_times[0] < 0
    assert r_times[-1] > 10
    lead = leads(heart, r_times)["II"]
    is_peak = (lead[1:-1] > lead[:-2]) & (lead[1:-1] >= lead[2:]) & (lead[1:-1] > 0.5)
    assert 60 / np.diff(TIMES[1:-1][is_peak]).mean() == pytest.approx(rate, rel=0.05)


# --------------------------------------------------------------------------------------- the drawing


@pytest.mark.parametrize("size", [64, 120, 128, 200, 512])
def test_traces_stay_visible_at_every_size(size: int) -> None:
    picture = render(Heart(75), size, np.random.default_rng(1))
    assert (picture.shape, picture.dtype) == ((size, size), np.uint8)
    paper = np.median(picture)
    assert paper > 200
    # Every column of pixels has the trace of some lead in it, and every row of leads its own.
    assert (picture.min(axis=0)[size // 16 : -size // 16] < 0.6 * paper).mean() > 0.97
    dark = (picture < 0.6 * paper).mean()
    assert 0.02 < dark < 0.25


def test_picture_differs_where_the_wall_is_recorded() -> None:
    """Same draws with and without an inferior injury: II, III and aVF move, the chest leads hardly."""
    pair = [
        render(Heart(75, injury=(0, 0, 0, amount)), SIZE, np.random.default_rng(5)).astype(float) for amount in (0, 0.3)
    ]
    change = np.abs(pair[1] - pair[0])
    limbs, chest = change[:, 5:35].mean(), change[:, 37:].mean()
    assert limbs > 3 * chest


def test_equal_hearts_give_different_pictures() -> None:
    patient = draw_patient(0, 0)
    twin = replace(patient, number=1)
    assert heart_of(twin) == heart_of(patient)
    assert (draw_image(twin, 0, SIZE) != draw_image(patient, 0, SIZE)).mean() > 0.5


def test_sheets_vary() -> None:
    sheets = [draw_sheet(np.random.default_rng(seed)) for seed in range(200)]
    assert max(sheet.rotation for sheet in sheets) > 0.5
    assert min(sheet.rotation for sheet in sheets) < -0.5
    assert all(sheet.pen < 0.2 and sheet.paper > 0.8 for sheet in sheets)


# ---------------------------------------------------------------------------------------- dependence


@pytest.fixture(scope="module")
def patients() -> list[phantom_ecg.Patient]:
    return [draw_patient(number, 0) for number in range(4000)]


def test_narrowing_follows_the_stated_logit(patients: list[phantom_ecg.Patient]) -> None:
    logits = np.array([risk(patient.factors) for patient in patients])
    narrow = np.array([patient.stenoses for patient in patients]) >= 50  # [N, 4]
    thirds = np.digitize(logits, np.quantile(logits, [1 / 3, 2 / 3]))
    for vessel, offset in enumerate(OFFSETS):
        for third in range(3):
            chosen = thirds == third
            expected = (1 / (1 + np.exp(-(offset + logits[chosen])))).mean()
            tolerance = 4 * np.sqrt(expected * (1 - expected) / chosen.sum())
            assert narrow[chosen, vessel].mean() == pytest.approx(expected, abs=tolerance)
    correlations = np.corrcoef(narrow.T)[~np.eye(4, dtype=bool)]
    assert correlations.min() > 0.1
    assert correlations.max() < 0.6


def test_names_seldom_repeat(patients: list[phantom_ecg.Patient]) -> None:
    assert len({patient.name for patient in patients}) > 0.95 * len(patients)


def test_the_table_predicts_a_narrowing_in_part(patients: list[phantom_ecg.Patient]) -> None:
    table = np.array(
        [[*patient.factors.values(), *(patient.chest_pain == pain for pain in CHEST_PAINS)] for patient in patients],
        float,
    )
    for vessel in range(4):
        narrow = np.array([patient.stenoses[vessel] >= 50 for patient in patients])
        model = make_pipeline(StandardScaler(), LogisticRegression())
        scores = cross_val_predict(model, table, narrow, cv=5, method="decision_function")
        assert 0.65 < roc_auc_score(narrow, scores) < 0.80


def predicted(pictures: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Out-of-fold predictions of a ridge regression on standardised pixels."""
    pixels = pictures.reshape(len(pictures), -1).astype(np.float32)
    model = make_pipeline(StandardScaler(), Ridge(alpha=pixels.shape[1]))
    return cross_val_predict(model, pixels, values, cv=KFold(5, shuffle=True, random_state=0))


def test_pixels_predict_their_own_row_and_no_other(patients: list[phantom_ecg.Patient]) -> None:
    """At 64 pixels; 1,000 patients: PHANTOM_PATIENTS=1000 pytest tests/unit/test_phantom_ecg.py -s -k own_row."""
    chosen = patients[: int(os.environ.get("PHANTOM_PATIENTS", "400"))]
    pictures = np.array([draw_image(patient, 0, SIZE) for patient in chosen])
    rates = np.array([patient.factors["heart_rate"] for patient in chosen])
    narrow = np.array([patient.stenoses for patient in chosen]) >= 50
    lad = narrow[:, VESSELS.index("LAD")]
    assert 0.3 < lad.mean() < 0.6

    def measure(order: np.ndarray) -> tuple[float, float]:
        scores = predicted(pictures, lad[order].astype(float))
        return r2_score(rates[order], predicted(pictures, rates[order])), roc_auc_score(lad[order], scores)

    own = measure(np.arange(len(chosen)))
    other = measure(np.random.default_rng(0).permutation(len(chosen)))
    print(f"{len(chosen)} patients, R2 of the heart rate and AUC of LAD_st: own row {own}, another's {other}")
    assert own[0] > 0.5
    assert own[1] > 0.70
    assert other[0] < 0.1
    assert other[1] < 0.62


def test_factors_without_a_sign_change_no_picture() -> None:
    """LDL and family history act by way of the vessels alone: the image cannot tell them else."""
    patient = draw_patient(0, 0)
    other = replace(patient, factors={**patient.factors, "ldl_cholesterol": 6.9, "family_history": 1})
    assert heart_of(other) == heart_of(patient)
    faster = replace(patient, factors={**patient.factors, "heart_rate": 120})
    assert heart_of(faster) != heart_of(patient)
