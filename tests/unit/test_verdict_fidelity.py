"""The fidelity gate on made features, and on small made images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.gates import fidelity
from benchmark.gates.consistency import compare_consistency
from benchmark.gates.drawn import draw_images
from benchmark.gates.fidelity import AS_MEASURED, FLOOR, FeatureSets, judge_features, judge_fidelity
from benchmark.gates.inputs import Request, read_inputs
from benchmark.gates.model import Measure, Outcome, combine
from benchmark.gates.paired import PairedTest
from medsynth.data.labels import read_label_table, read_patients, record_order
from medsynth.data.pyramid import open_records
from medsynth.metrics.manifold import realism_scores
from tests.verdict_files import write_dataset, write_results
from tests.verdict_predictions import NAMES, THRESHOLDS, make_results

FIDELITY = THRESHOLDS["fidelity"]
DECIDING = ("kid_excess", "precision_share", "recall_share", "coverage_share")
NUM_IMAGES, NUM_FEATURES = 240, 16


def real_features(rng: np.random.Generator, num_images: int = NUM_IMAGES) -> np.ndarray:
    """Return features of three kinds of images, [n, D], as a network has them: 0 or more, and small."""
    centres = 0.8 * np.random.default_rng(0).normal(size=(3, NUM_FEATURES))
    features = centres[rng.integers(3, size=num_images)] + 0.4 * rng.normal(size=(num_images, NUM_FEATURES))
    return np.abs(features).astype(np.float32)


def make_sets(seed: int, kind: str, num_images: int = NUM_IMAGES, share: float = 0.5) -> FeatureSets:
    rng = np.random.default_rng((seed, 1))
    real, other, synthetic = (real_features(rng, num_images) for _ in range(3))
    # Images at half their resolution lack some of what features respond to.
    halved = other * np.where(np.arange(NUM_FEATURES) < 4, 0.3, 1.0).astype(np.float32)
    if kind == "noise":
        synthetic = np.abs(2 * rng.normal(size=real.shape)).astype(np.float32)
    elif kind == "one kind":
        synthetic = np.abs(real[:1] + 0.05 * rng.normal(size=real.shape)).astype(np.float32)
    elif kind == "partly unreal":
        synthetic[rng.random(num_images) < share] += 2
    return FeatureSets(real, other, halved, synthetic)


def by_key(measures: list[Measure]) -> dict[str, Measure]:
    return {one.key: one for one in measures}


@pytest.mark.parametrize(
    ("kind", "outcome", "failing"),
    [
        ("real", Outcome.PASS, ()),
        # Noise lies so far apart that its balls hold the real images: recall says nothing there, coverage does.
        ("noise", Outcome.FAIL, ("kid_excess", "precision_share", "coverage_share")),
        ("one kind", Outcome.FAIL, ("kid_excess", "recall_share", "coverage_share")),
        ("partly unreal", Outcome.FAIL, ("kid_excess", "precision_share")),
    ],
)
def test_decides_by_shares_of_what_real_images_score(kind: str, outcome: Outcome, failing: tuple[str, ...]) -> None:
    measures = judge_features(make_sets(1, kind), FIDELITY)
    found = by_key(measures)
    assert tuple(found)[:4] == DECIDING
    assert combine(measures) is outcome
    for key in DECIDING:
        one = found[key]
        assert (one.outcome is Outcome.FAIL) == (key in failing), key
        assert one.num == NUM_IMAGES
        assert None not in (one.value, one.low, one.high)
    halved = found["kid_halved"].value
    assert found["kid_excess"].value == pytest.approx((found["kid"].value or 0) - (halved or 0))
    for name in ("precision", "recall", "coverage"):
        share = (found[name].value or 0) / (found[f"{name}_floor"].value or 1)
        assert found[f"{name}_share"].value == pytest.approx(share)
    for group in (AS_MEASURED, FLOOR):
        shown = [one for one in measures if one.group == group]
        assert len(shown) == 6
        assert all(one.outcome is None for one in shown)


@pytest.mark.parametrize("kind", ["real", "noise"])
def test_real_images_pass_and_noise_fails_over_fresh_seeds(kind: str) -> None:
    outcomes = [combine(judge_features(make_sets(seed, kind, 160), FIDELITY)) for seed in range(100, 120)]
    wanted, other = (Outcome.PASS, Outcome.FAIL) if kind == "real" else (Outcome.FAIL, Outcome.PASS)
    assert other not in outcomes
    assert outcomes.count(wanted) >= 18


def test_few_images_leave_it_open_and_say_how_many_more() -> None:
    few = by_key(judge_features(make_sets(2, "partly unreal", 48, share=0.1), FIDELITY))["precision_share"]
    assert few.outcome is Outcome.INSUFFICIENT
    assert few.more_needed is not None
    assert f"{few.more_needed:,} more images of each set" in few.reason
    many = by_key(judge_features(make_sets(2, "partly unreal", 600, share=0.1), FIDELITY))["precision_share"]
    assert many.outcome is Outcome.PASS


def test_features_blind_to_a_known_disturbance_decide_nothing() -> None:
    sets = make_sets(3, "real")
    measures = by_key(judge_features(replace(sets, halved=sets.other), FIDELITY))
    one = measures["kid_excess"]
    assert one.outcome is Outcome.INSUFFICIENT
    assert combine(list(measures.values())) is Outcome.INSUFFICIENT


def test_realism_is_the_largest_ratio_of_radius_and_distance() -> None:
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(50, 3)), rng.normal(size=(20, 3)) * 2
    between = np.sqrt(((real[:, None] - real) ** 2).sum(axis=-1))
    radii = np.sort(between, axis=1)[:, 3]
    to_fake = np.sqrt(((fake[:, None] - real) ** 2).sum(axis=-1))
    kept = radii <= np.median(radii)
    expected = (radii[kept] / to_fake[:, kept]).max(axis=1)
    np.testing.assert_allclose(realism_scores(real, fake), expected, rtol=1e-6)
    assert (expected > 1).any()
    assert (expected < 1).any()
    assert (realism_scores(real, real[kept][:2]) > 1e6).all(), "copies"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(results_dir, data_dir): 60 images a split of 16 pixels."""
    root = tmp_path_factory.mktemp("verdict")
    return write_results(root / "gan", 60, application="prog-GAN"), write_dataset(root / "data", 60)


def test_draws_by_patient_and_as_many_of_each(places: tuple[Path, Path], tmp_path: Path) -> None:
    inputs = read_inputs(Request(*places, out_dir=tmp_path))
    drawn = draw_images(inputs)
    assert drawn.num_images == 60
    assert drawn.real.shape == drawn.other.shape == drawn.synthetic.shape
    patient_of = {}
    for folder in inputs.held_out_splits:
        paths = read_label_table(folder).paths
        patients = read_patients(folder, paths)
        assert patients is not None
        images = open_records(folder, 16).read(range(len(paths)))
        patient_of |= {images[record].tobytes(): patients[row] for record, row in enumerate(record_order(len(paths)))}
    sides = [{patient_of[image.tobytes()] for image in images} for images in (drawn.real, drawn.other)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) == 30
    assert "patients" in drawn.sentence


def test_judges_images_of_files(places: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fidelity, "_NUM_SHOWN", 8)
    inputs = read_inputs(Request(*places, out_dir=tmp_path, features="random"))
    gate = judge_fidelity(inputs, FIDELITY)
    assert {one.key for one in gate.measures} >= {*DECIDING, "label_consistency"}
    assert gate.outcome is not Outcome.PASS, "there is no real classifier"
    assert any("classifier_real/train.py" in command for command in gate.commands)
    assert [picture.key for picture in gate.pictures] == ["best", "worst"]
    assert all(picture.is_synthetic for picture in gate.pictures)
    assert all(picture.png.startswith(b"\x89PNG") and not picture.is_private for picture in gate.pictures)
    again = judge_fidelity(inputs, FIDELITY)
    assert again.measures == gate.measures


def test_without_features_only_pixels_are_shown(places: tuple[Path, Path], tmp_path: Path) -> None:
    gate = judge_fidelity(read_inputs(Request(*places, out_dir=tmp_path)), FIDELITY)
    assert gate.outcome is Outcome.INSUFFICIENT
    assert [one.key for one in gate.measures] == ["swd", "swd_floor"]
    assert all(one.outcome is None and one.low is not None for one in gate.measures)
    assert gate.commands[0].startswith("python3 classifier_real/train.py train classifier_real")


def test_says_how_many_images_are_missing(tmp_path: Path) -> None:
    places = write_results(tmp_path / "gan", 32), write_dataset(tmp_path / "data", 32)
    gate = judge_fidelity(read_inputs(Request(*places)), FIDELITY)
    assert gate.outcome is Outcome.INSUFFICIENT
    assert "32 more held-out real images" in gate.reason
    assert gate.measures[0].more_needed == 32


@pytest.mark.parametrize(("strength", "flipped", "outcome"), [
    (1.8, 0.0, Outcome.PASS), (1.8, 0.5, Outcome.FAIL), (0.0, 0.0, Outcome.INSUFFICIENT),
])  # fmt: skip
def test_labels_that_images_do_not_show_fail(strength: float, flipped: float, outcome: Outcome) -> None:
    test = PairedTest.of(make_results(300, (strength,)))
    (synthetic,) = make_results(300, (strength,), seed=9)
    truth = synthetic.truth.copy()
    rows = np.random.default_rng(0).random(truth.shape) < flipped
    truth[rows] = 1 - truth[rows]
    one = compare_consistency(test, truth, synthetic.scores, FIDELITY, 0)
    assert one.outcome is outcome, one
    assert one.num == 600
    assert all(name in one.reason for name in NAMES)
