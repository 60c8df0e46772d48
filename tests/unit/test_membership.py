"""The membership attack: what it must find, what it must not, and how often its intervals are right."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from medsynth.classify.neighbours import membership
from medsynth.classify.neighbours.candidates import BothSides, calibrated_auc, measure_candidates
from medsynth.classify.neighbours.membership import (
    Attack,
    Scored,
    bootstrapped_auc,
    calibrated,
    independent_number,
    measure_attack,
)
from medsynth.classify.neighbours.memorisation import halves
from medsynth.classify.neighbours.pixel_features import pixel_extractor
from medsynth.data.alterations import resized
from medsynth.data.tfrecords import RecordFile, RecordWriter
from medsynth.metrics.cache import FeatureCache, RecordFeatures


def draw(rng: np.random.Generator, num_patients: int, most_images: int = 1, correlation: float = 0.0) -> Scored:
    """Distances of patients with 1 to `most_images` images each, that resemble each other within patients."""
    patients = np.repeat(np.arange(num_patients), rng.integers(1, most_images + 1, num_patients))
    own, shared = rng.normal(size=len(patients)), rng.normal(size=num_patients)[patients]
    return Scored(np.exp(np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own), patients)


def attack_of(members: Scored, controls: Scored, *, seed: int = 0, num_resamples: int) -> Attack:
    auc = bootstrapped_auc(members, controls, seed=seed, num_resamples=num_resamples)
    return measure_attack(members, controls, auc, seed=seed, num_resamples=num_resamples)


def test_a_perfect_memoriser_is_found():
    rng = np.random.default_rng(0)
    members, controls = draw(rng, 400), draw(rng, 700)
    members = dataclasses.replace(members, distances=1e-6 * members.distances)
    attack = attack_of(members, controls, num_resamples=200)
    assert attack.auc.value == attack.auc.low == 1
    assert list(attack.rates) == [0.01, 0.05]
    for rate in attack.rates.values():
        assert rate.true_positives.value == 1
        assert rate.true_positives.low > 0.97
        assert rate.false_positives.value < 0.1
        assert (rate.num_setting, rate.num_measured) == (350, 350)
    assert attack.missing == {}


@pytest.mark.parametrize(("most_images", "correlation"), [(1, 0.0), (5, 0.7)])
def test_intervals_cover_what_is_true_of_exchangeable_images(most_images, correlation):
    """100 fresh draws; a right 95 % interval covers 88 of them or more but for four cases in a thousand."""
    num_draws, fewest = 100, 88
    rng = np.random.default_rng(3)
    covered = {"auc": 0, 0.01: 0, 0.05: 0}
    false_positives: dict[float, list[float]] = {0.01: [], 0.05: []}
    for seed in range(num_draws):
        members, controls = (draw(rng, 700 // (1 + most_images) * 2, most_images, correlation) for _ in range(2))
        attack = attack_of(members, controls, seed=seed, num_resamples=100)
        covered["auc"] += attack.auc.low <= 0.5 <= attack.auc.high
        for level, rate in attack.rates.items():
            assert rate.num_setting >= 300
            covered[level] += rate.false_positives.low <= level <= rate.false_positives.high
            false_positives[level].append(rate.false_positives.value)
    assert min(covered.values()) >= fewest, covered
    for level, values in false_positives.items():
        assert np.mean(values) == pytest.approx(level, rel=0.25)


def test_images_of_one_patient_do_not_count_as_independent():
    rng = np.random.default_rng(1)
    alone, alike, unlike = draw(rng, 300), draw(rng, 300, 6, 0.95), draw(rng, 300, 6, 0.0)
    assert independent_number(alone) == 300
    assert 250 < independent_number(alike) < 400 < 0.7 * len(unlike) < independent_number(unlike) <= len(unlike)
    assert independent_number(Scored(alike.distances, np.zeros(len(alike), np.int64))) == 1
    other = draw(rng, 300, 6, 0.95)
    honest = bootstrapped_auc(alike, other, num_resamples=400)
    careless = bootstrapped_auc(
        *(Scored(one.distances, np.arange(len(one))) for one in (alike, other)), num_resamples=400
    )
    assert honest.high - honest.low > 1.3 * (careless.high - careless.low)


def test_no_patient_sets_a_threshold_and_is_judged_by_it():
    patients = draw(np.random.default_rng(0), 41, 5).patients
    first = halves(patients, 3)
    assert len(np.unique(patients[first])) == 21
    assert not set(patients[first]) & set(patients[~first])
    assert (halves(patients, 4) != first).any()


@pytest.mark.parametrize(("num_controls", "levels"), [(598, [0.05]), (600, [0.01, 0.05]), (40, [0.05]), (38, [])])
def test_rates_need_enough_controls(num_controls, levels):
    rng = np.random.default_rng(0)
    attack = attack_of(draw(rng, 50), draw(rng, num_controls), num_resamples=50)
    assert list(attack.rates) == levels
    for level in {0.01, 0.05} - set(levels):
        assert f"{membership.CONTROLS_FOR_LEVEL[level]} controls or more" in attack.missing[level]
        assert f"there are {num_controls // 2}" in attack.missing[level]


def test_ties_are_a_coin():
    same = Scored(np.full(60, 0.25), np.arange(60))
    attack = attack_of(same, same, num_resamples=50)
    assert (attack.auc.value, attack.auc.low, attack.auc.high) == (0.5, 0.5, 0.5)
    assert attack.rates[0.05].true_positives.value == 0


def test_calibrated_distances_order_as_ratios_do():
    near, far = np.array([0.0, 0.0, 1.0, 2.0]), np.array([0.0, 3.0, 1.0, 1.0])
    assert calibrated(near, far).tolist() == [0.5, 0.0, 0.5, pytest.approx(2 / 3)]


def smooth(num_images: int, seed: int, low: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(low, 256, (num_images, 7, 7, 1), dtype=np.uint8)
    return np.stack([resized(image, 32, 32) for image in coarse])


@pytest.fixture
def sides(tmp_path: Path):
    store, extractor = FeatureCache(tmp_path / "cache"), pixel_extractor(32)

    def make(name: str, images: np.ndarray) -> BothSides:
        with RecordWriter(tmp_path / name) as writer:
            for image in images:
                writer.write(image)
        records = RecordFile(tmp_path / name)
        return BothSides(*(RecordFeatures(store, extractor, records, mirrored) for mirrored in (False, True)))

    return make


def test_pixels_do_not_see_brightness_and_contrast():
    images = smooth(5, 0)
    features = pixel_extractor(32)(images)
    assert features.shape == (5, 1024)
    assert features.dtype == np.float32
    rounded = pixel_extractor(32)((images * 0.5 + 60).astype(np.uint8))
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(features, rounded, strict=True)]
    assert min(cosines) > 0.999
    expected = [np.corrcoef(images[0].ravel(), image.ravel())[0, 1] for image in images]
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(units @ units[0], expected, atol=1e-5)


def test_copies_of_training_images_give_their_members_away(sides):
    train, held_out = smooth(80, 0), smooth(90, 1)
    new = sides("new", smooth(60, 2))
    copies = sides("copies", np.concatenate([smooth(30, 2), train[:40, :, ::-1]]))  # mirror images are copies, too
    members = (sides("train", train).direct, np.arange(80))
    controls = (sides("test", held_out), np.arange(90) // 2)
    aucs = {}
    for name, synthetic in (("new", new), ("copies", copies)):
        found = measure_candidates(members, controls, synthetic, seed=0)
        assert [len(one.plain) for one in found] == [80, 90]
        aucs[name, "plain"] = bootstrapped_auc(*(one.plain for one in found), num_resamples=100)
        aucs[name, "calibrated"] = calibrated_auc(*found, num_resamples=100)
        if name == "copies":
            assert found[0].to_synthetic[:40].max() < 1e-6 < found[0].to_synthetic[40:].min()
    for kind in ("plain", "calibrated"):
        assert aucs["copies", kind].value > 0.7
        assert aucs["new", kind].low < 0.5 < aucs["new", kind].high


def test_others_are_of_other_patients(sides):
    held_out = np.repeat(smooth(30, 1), 2, axis=0)  # both images of a patient are the same
    controls = (sides("test", held_out), np.arange(60) // 2)
    _, found = measure_candidates(
        (sides("train", smooth(12, 0)).direct, np.arange(12)), controls, sides("new", smooth(20, 2)), seed=0
    )
    assert found.to_others().min() > 0.01


def test_calibration_withstands_training_images_that_differ_from_held_out_ones(sides):
    """Flatter training images lie nearer to everything: the plain attack takes that for membership."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 40, (2, 120, 32, 32, 1))
    train = smooth(120, 0, low=60)
    held_out = (smooth(120, 1, low=60) + noise[0]).clip(0, 255).astype(np.uint8)
    new = (smooth(40, 2, low=60) + noise[1][:40]).clip(0, 255).astype(np.uint8)
    members, controls = (sides("train", train).direct, np.arange(120)), (sides("test", held_out), np.arange(120))
    found = measure_candidates(members, controls, sides("new", new), seed=0)
    plain = bootstrapped_auc(*(one.plain for one in found), num_resamples=100)
    assert plain.low > 0.6
    fair = calibrated_auc(*found, num_resamples=100)
    assert fair.low < 0.5 < fair.high


def test_the_calibrated_interval_covers_a_coin():
    """60 fresh draws of exchangeable vectors; a right interval covers 50 or more but for one case in a thousand."""
    num_draws, fewest = 60, 50
    covered = 0
    for seed in range(num_draws):
        rng = np.random.default_rng((11, seed))
        members, held_out, synthetic = (rng.normal(size=(num, 8)).astype(np.float32) for num in (150, 72, 72))
        found = measure_candidates(
            ([members], np.arange(150)),
            (BothSides([held_out], [held_out]), np.arange(72) // 2),
            BothSides([synthetic], [synthetic]),
            seed=seed,
        )
        estimate = calibrated_auc(*found, num_resamples=100)
        covered += estimate.low <= 0.5 <= estimate.high
    assert covered >= fewest
