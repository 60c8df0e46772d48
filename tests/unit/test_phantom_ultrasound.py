import csv
import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from medsynth.data import phantom_ultrasound
from medsynth.data.phantom_ultrasound import (
    CLIP_COLUMNS,
    FINDINGS,
    FRAME_COLUMNS,
    Clip,
    Patient,
    create_phantom_ultrasound,
    draw_clip,
    draw_frames,
    draw_patient,
)
from medsynth.data.phantom_ultrasound_drawing import (
    NUM_BEAMS,
    NUM_SAMPLES,
    BLine,
    Machine,
    Patch,
    Probe,
    Rib,
    View,
    amplitudes,
    draw_scatterers,
    render,
)
from medsynth.errors import RunFolderError, UsageError

SIZE = 64
SEED = 3
TOOL = Path(__file__).parents[2] / "build_dataset" / "dataset_tool.py"


def create(folder: Path, num_patients: int = 3, seed: int = SEED, **options) -> Path:
    defaults = {"num_clips": 2, "num_frames": 2, "image_size": SIZE, "num_workers": 1}
    return create_phantom_ultrasound(folder, num_patients, seed, **(defaults | options))


def fingerprints(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create(tmp_path_factory.mktemp("ultrasound") / "data")


# --------------------------------------------------------------------------------------------- files


def test_a_picture_for_each_row(folder: Path) -> None:
    rows = read_rows(folder)
    assert tuple(rows[0]) == FRAME_COLUMNS
    assert len(rows) == 3 * 2 * 2
    assert {row["path"] for row in rows} == {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    for row in rows:
        assert row["path"] == f"{row['label']}/{row['clip']}_f{int(row['frame']):04d}.png"
        assert row["group_id"] == row["patient_id"] == row["clip"].partition("_")[0]
        with Image.open(folder / row["path"]) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (SIZE, SIZE))


def test_flags_follow_the_label() -> None:
    for number in range(60):
        patient = draw_patient(number, 0)
        for clip in (draw_clip(patient, 0, 0), draw_clip(patient, 1, 0)):
            assert clip.flags["consolidations"] == (patient.finding == "consolidation")
            if patient.finding != "consolidation":
                assert clip.flags["b_lines"] == (patient.finding == "b_lines")


def test_a_larger_phantom_holds_a_smaller_one_and_workers_change_nothing(folder: Path, tmp_path: Path) -> None:
    assert phantom_ultrasound._PATIENTS_PER_TASK < 5, "premise: several tasks"
    more = create(tmp_path / "more", 5, num_workers=2)
    mine, theirs = fingerprints(folder), fingerprints(more)
    pictures = {name for name in mine if name.endswith(".png")}
    assert len(pictures) == 12 < len(theirs)
    assert all(mine[name] == theirs[name] for name in pictures)
    assert read_rows(more)[:12] == read_rows(folder)


def test_clips_hold_the_frames_below_a_caption(folder: Path, tmp_path: Path) -> None:
    clips = create(tmp_path / "clips", 1, form="gif")
    rows = read_rows(clips)
    assert tuple(rows[0]) == CLIP_COLUMNS
    assert len(rows) == 2
    frames = [row["path"] for row in read_rows(folder)[:2]]
    with Image.open(clips / rows[0]["path"]) as image:
        assert image.n_frames == 2
        assert image.info["duration"] == 100
        for number, name in enumerate(frames):
            image.seek(number)
            shown = np.asarray(image.convert("L"))
            np.testing.assert_array_equal(shown[-SIZE:], np.asarray(Image.open(folder / name)))
            assert (shown[:-SIZE] > 100).any()


def test_same_command_again_does_nothing_and_another_is_refused(tmp_path: Path) -> None:
    data = create(tmp_path / "data", 1)
    before = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    create(data, 1)
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == before
    with pytest.raises(RunFolderError, match="with --overwrite"):
        create(data, 1, seed=SEED + 1)
    create(data, 1, seed=SEED + 1, overwrite=True)
    next(data.rglob("*.png")).unlink()
    with pytest.raises(RunFolderError, match="were changed"):
        create(data, 1, seed=SEED + 1)


@pytest.mark.parametrize(
    "options",
    [
        {"num_patients": 0},
        {"num_patients": 10_000},
        {"num_clips": 0},
        {"num_frames": 1000},
        {"image_size": 63},
        {"image_size": 513},
        {"form": "mp4"},
        {"seed": -1},
        {"num_workers": 0},
    ],
)
def test_refuses_numbers_out_of_range(tmp_path: Path, options: dict) -> None:
    with pytest.raises(UsageError):
        create(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_the_command(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, TOOL, "create_phantom_ultrasound", "data", "--seed", str(SEED), "--workers", "1"]
    sizes = ["--patients", "1", "--clips", "1", "--frames", "2", "--image-size", str(SIZE)]
    options = {"cwd": tmp_path, "capture_output": True, "text": True}
    done = subprocess.run([*command, *sizes], check=False, **options)
    assert (done.returncode, done.stdout) == (0, "data\n"), done.stderr
    assert read_rows(tmp_path / "data") == read_rows(folder)[:2]
    refused = subprocess.run([*command, "--form", "avi"], check=False, **options)
    assert refused.returncode == 2
    assert "--form is one of png, gif. Received: avi" in refused.stderr


# --------------------------------------------------------------------------------------- the drawing

LINEAR, CONVEX = Probe(0.0, 20.0, 60.0), Probe(50.0, 0.5, 120.0)
MACHINE = Machine(gain=-6.0, dynamic_range=55.0, axial=0.3, lateral=1.2)
PLAIN = View(
    pleura=15.0, tilt=0.0, bend=0.0, roughness=0.0, layers=(), ribs=(), haze=0.05, reach=30.0, a_lines=0.0,
    b_lines=(), patches=(), contact=(-1e3, 1e3),
)  # fmt: skip


def echoes(view: View, probe: Probe = LINEAR, slide: float = 0.0) -> np.ndarray:
    wall, lung = amplitudes(view, probe, slide, 0.0)
    assert wall.shape == lung.shape == (NUM_BEAMS, NUM_SAMPLES)
    return wall + lung


def sample(depth: float, probe: Probe = LINEAR) -> int:
    return round(depth / probe.depth * (NUM_SAMPLES - 1))


def test_the_pleura_is_the_brightest_line_below_the_skin() -> None:
    middle = echoes(PLAIN)[NUM_BEAMS // 2]
    assert np.argmax(middle[sample(5) :]) + sample(5) == pytest.approx(sample(15), abs=2)


def test_a_lines_are_multiples_of_the_depth_of_the_pleura() -> None:
    change = (echoes(replace(PLAIN, a_lines=0.5)) - echoes(PLAIN))[NUM_BEAMS // 2]
    peaks = np.flatnonzero((change[1:-1] > change[:-2]) & (change[1:-1] >= change[2:]) & (change[1:-1] > 0.05)) + 1
    expected = [sample(depth) for depth in (30, 45, 60)]
    np.testing.assert_allclose(peaks[: len(expected) - 1], expected[:-1], atol=2)
    heights = change[peaks]
    assert (np.diff(heights) < 0).all()


@pytest.mark.parametrize("probe", [LINEAR, CONVEX], ids=lambda probe: probe.name)
def test_a_b_line_runs_from_the_pleura_to_the_bottom_erases_a_lines_and_moves(probe: Probe) -> None:
    view = replace(PLAIN, a_lines=0.5)
    with_line = replace(view, b_lines=(BLine(2.0, 1.0, 0.6),))
    places = probe.lateral(view.pleura)
    beam = int(np.argmin(np.abs(places - 2)))
    change = echoes(with_line, probe) - echoes(view, probe)
    assert np.abs(change[:, : sample(13, probe)]).max() < 0.01
    assert change[beam, sample(18, probe) : sample(28, probe)].mean() > 0.3
    assert change[beam, -20:].mean() > 0.15
    only_line = echoes(replace(PLAIN, b_lines=with_line.b_lines), probe)
    np.testing.assert_allclose(echoes(with_line, probe)[beam], only_line[beam], atol=0.02)
    moved = echoes(with_line, probe, slide=3.0) - echoes(view, probe, slide=3.0)
    row = moved[:, sample(0.8 * probe.depth, probe)]
    assert places[np.argmax(row)] == pytest.approx(5, abs=0.5)


def test_a_rib_shadows_all_below_it() -> None:
    view = replace(PLAIN, a_lines=0.5, b_lines=(BLine(0.0, 1.0, 0.6),))
    shaded = echoes(replace(view, ribs=(Rib(0.0, 6.0),)))
    middle = NUM_BEAMS // 2
    assert shaded[middle, sample(7)] > 1.2, "its surface"
    assert (shaded[middle, sample(12) :] < 0.02 * echoes(view)[middle, sample(12) :].max()).all()
    np.testing.assert_allclose(shaded[5], echoes(view)[5], atol=0.01)


def test_consolidation_is_tissue_below_a_faded_line_with_a_bright_edge() -> None:
    patch = Patch(0.0, 8.0, 15.0, 0.1, (), ((0.0, 0.0),) * 3)
    plain, sick = echoes(PLAIN), echoes(replace(PLAIN, patches=(patch,)))
    middle = NUM_BEAMS // 2
    assert sick[middle, sample(15)] < 0.5 * plain[middle, sample(15)]
    assert sick[middle, sample(18) : sample(27)] == pytest.approx(0.1, abs=0.03)
    assert np.argmax(sick[middle, sample(20) :]) + sample(20) == pytest.approx(sample(30), abs=3)
    np.testing.assert_allclose(sick[3], plain[3], atol=0.02)
    spots = replace(patch, bronchograms=((0.0, 0.5),))
    assert echoes(replace(PLAIN, patches=(spots,)))[middle, sample(22.5)] > 1


def test_speckle_is_rayleigh_distributed() -> None:
    """Without compression, mean over standard deviation of a Rayleigh number is sqrt(pi / (4 - pi)) = 1.91."""
    haze = replace(PLAIN, pleura=1.0, haze=0.3, reach=1e6)
    machine = replace(MACHINE, gain=0.0, dynamic_range=120.0)
    picture = render(
        haze, LINEAR, machine, draw_scatterers(np.random.default_rng(0)), np.random.default_rng(1), size=256
    )
    levels = picture[100:, 90:170].astype(float) / 255
    echo = 10 ** ((levels - 1) * 120 / 20)
    assert 1.7 < echo.mean() / echo.std() < 2.15


def test_fan_and_rectangle() -> None:
    views = {}
    for probe in (LINEAR, CONVEX):
        scatterers = draw_scatterers(np.random.default_rng(0))
        views[probe.name] = render(PLAIN, probe, MACHINE, scatterers, np.random.default_rng(1), size=SIZE)
    assert views["convex"].dtype == np.uint8
    is_black = views["convex"] == 0
    assert is_black[: SIZE // 4, :10].all(), "beside the fan's narrow top"
    assert not is_black[SIZE // 10, SIZE // 2 - 3 : SIZE // 2 + 3].any()
    columns = np.flatnonzero((views["linear"] > 0).any(axis=0))
    assert len(columns) == pytest.approx(SIZE * 40 / 60, abs=2)
    widths = (views["linear"][2 : SIZE // 2] > 0).sum(axis=1)
    assert np.ptp(widths) <= 2


# ---------------------------------------------------------------------------------------- likeness


@pytest.mark.parametrize("changed", ["seed", "patient", "clip", "frame"])
def test_a_frame_depends_on_seed_patient_clip_and_number_alone(changed: str) -> None:
    seed, patient, clip, frame = (SEED + (changed == "seed"), int(changed == "patient"), int(changed == "clip"), 0)
    one = draw_frames(draw_patient(0, SEED), 0, SEED, SIZE, [0])[0]
    assert (draw_frames(draw_patient(0, SEED), 0, SEED, SIZE, [5, 0])[1] == one).all(), "no frame depends on another"
    other = draw_frames(draw_patient(patient, seed), clip, seed, SIZE, [frame + (changed == "frame")])[0]
    assert (other != one).mean() > 0.05


def test_frames_of_one_phase_of_the_breath_differ_in_their_noise() -> None:
    patient = replace(draw_patient(0, SEED), breath=1.0)
    one, same_phase = draw_frames(patient, 0, SEED, SIZE, [0, phantom_ultrasound.FRAMES_PER_SECOND])
    assert 0.5 < mean_difference(one, same_phase) < 30


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(float) - other).mean())


def test_frames_of_a_clip_are_nearly_alike_and_patients_differ() -> None:
    patients = [draw_patient(number, SEED) for number in range(8)]
    pairs = [draw_frames(patient, 0, SEED, SIZE, [0, 1]) for patient in patients]
    clips = [draw_frames(patient, 1, SEED, SIZE, [0])[0] for patient in patients]
    within = np.mean([mean_difference(*pair) for pair in pairs])
    between_clips = np.mean([mean_difference(pair[0], clip) for pair, clip in zip(pairs, clips, strict=True)])
    between = np.mean([mean_difference(pairs[a][0], pairs[b][0]) for a in range(8) for b in range(a)])
    assert within < 0.7 * between_clips
    assert between_clips < 0.9 * between


def test_breathing_moves_the_lung_and_comes_back() -> None:
    patient = draw_patient(0, SEED)
    period = round(patient.breath * phantom_ultrasound.FRAMES_PER_SECOND)
    frames = draw_frames(patient, 0, SEED, SIZE, [0, period // 2, period])
    assert mean_difference(frames[0], frames[2]) < 0.8 * mean_difference(frames[0], frames[1])


# ---------------------------------------------------------------------------------------- findings


def features(picture: np.ndarray) -> np.ndarray:
    """Simple ones: histogram, brightness by depth, sorted brightness by column, and how rough the columns are."""
    grey = picture.astype(float) / 255
    lower = grey[SIZE // 3 :]
    columns = lower.mean(axis=0)
    shares = np.histogram(grey[grey > 0.02], bins=8, range=(0, 1))[0] / grey.size
    blocks = np.sort(columns.reshape(16, -1).mean(axis=1))
    rows = grey.mean(axis=1).reshape(16, -1).mean(axis=1)
    rough = [np.abs(np.diff(columns)).mean(), np.abs(np.diff(lower, axis=0)).mean(), np.abs(np.diff(lower)).mean()]
    return np.concatenate([shares, blocks, rows, rough, [lower.std()]])


def separation(measured: np.ndarray, findings: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """AUROC of each finding against the others on held-out patients, the mean of five folds."""
    aurocs = []
    for train, test in GroupKFold(5).split(measured, findings, patients):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
        scores = model.fit(measured[train], findings[train]).predict_proba(measured[test])
        aurocs.append(roc_auc_score(findings[test], scores, multi_class="ovr", average=None))
    return np.mean(aurocs, axis=0)


def test_simple_features_tell_findings_apart_but_not_perfectly_and_not_by_chance() -> None:
    numbers = range(90)
    drawn: list[Patient] = [draw_patient(number, 0) for number in numbers]
    pictures = [draw_frames(patient, clip, 0, SIZE, [0])[0] for patient in drawn for clip in (0, 1)]
    measured = np.array([features(picture) for picture in pictures])
    of_patient = np.array([FINDINGS.index(patient.finding) for patient in drawn])
    patients = np.repeat(numbers, 2)
    assert np.bincount(of_patient).min() > 15
    rng = np.random.default_rng(0)
    with threadpool_limits(1):  # threads gain nothing on so small a problem
        own = separation(measured, np.repeat(of_patient, 2), patients)
        others = [separation(measured, np.repeat(rng.permutation(of_patient), 2), patients) for _ in range(3)]
    print("AUROC by finding", own, "with shuffled labels", np.mean(others, axis=0))
    assert (own > 0.65).all()
    assert own.mean() > 0.72
    assert (own < 0.97).all()
    assert np.mean(others, axis=0) == pytest.approx(0.5, abs=0.1)


def test_normal_lungs_may_have_b_lines_and_seldom_faint_a_lines() -> None:
    clips: list[Clip] = [draw_clip(draw_patient(number, 0), 0, 0) for number in range(200)]
    normal = [clip for clip in clips if clip.patient.finding == "normal"]
    assert 0 < sum(bool(clip.view.b_lines) for clip in normal) < len(normal)
    assert 0 < sum(not clip.flags["a_lines"] for clip in normal) < 0.3 * len(normal)


def test_no_tensorflow_is_imported() -> None:
    code = "import sys, medsynth.data.phantom_ultrasound; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
