"""How many samples suffice and how many classes a GAN can take, on curves that are known."""

import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import curve_fit

from benchmark.grid_report.measure import Group
from benchmark.grid_report.report import report_grid
from benchmark.learning_curves import MARGIN, Margins, classes_it_takes, sizes_that_suffice
from benchmark.power_law import fit_curves, fit_power_law
from tests.grid_files import draw_sweep, make_grid, power_law

PLATEAU = {50: 0.75, 100: 0.84, 200: 0.897, 400: 0.899, 800: 0.90}
SIZES = (100, 200, 400, 800, 1600)


def curve(means: dict[int, float], source: str = "real") -> dict[int, dict[str, float]]:
    return {size: {source: mean} for size, mean in means.items()}


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        (PLATEAU, 200),
        ({50: 0.75, 800: 0.90}, None),
        ({50: 0.9, 800: 0.9}, 50),
        # 50 would pass, but 100 does not: a dip is no plateau.
        ({50: 0.90, 100: 0.80, 800: 0.90}, None),
    ],
)
def test_the_smallest_size_on_a_known_plateau_is_found(means: dict[int, float], expected: int | None) -> None:
    sweep = draw_sweep(np.random.default_rng(0), "samples", curve(means), num_images=1500, num_seeds=6, spread=0.002)
    (answer,) = sizes_that_suffice(sweep, ["real"], margin=0.02)
    assert answer.setting == expected
    assert (f"real: {expected} samples per class suffice" in answer.sentence) == (expected is not None)
    assert ("not shown that fewer than 800" in answer.sentence) == (expected is None)
    by_size = {step.setting: step for step in answer.steps}
    assert set(by_size) == set(means) - {800}
    for size, step in by_size.items():
        assert step.loss.value == pytest.approx(0.90 - means[size], abs=0.015)


@pytest.mark.parametrize(
    ("num_images", "num_seeds", "spread", "seed", "words"),
    [
        (60, 3, 0.002, 5, r"it would take about [\d,]+ more test patients or [\d,]+ more seeds of each training"),
        (200, 4, 0.002, 4, r"it would take about [\d,]+ more test patients, were the estimate right"),
        (1500, 3, 0.02, 4, r"it would take about [\d,]+ more seeds of each training, were the estimate right"),
        (60, 3, 0.002, 4, "the estimate is not below 0.02"),
        (1500, 1, 0.002, 4, "one seed only, so the chance of a training is in no interval"),
    ],
)
def test_what_is_not_shown_says_what_is_missing(
    num_images: int, num_seeds: int, spread: float, seed: int, words: str
) -> None:
    sweep = draw_sweep(
        np.random.default_rng(seed),
        "samples",
        curve(PLATEAU),
        num_images=num_images,
        num_seeds=num_seeds,
        spread=spread,
    )
    (answer,) = sizes_that_suffice(sweep, ["real"], margin=0.02)
    assert answer.setting is None
    assert re.search(words, answer.sentence), answer.sentence


def test_a_steep_curve_is_said_to_be_steep() -> None:
    sweep = draw_sweep(np.random.default_rng(0), "samples", curve({50: 0.7, 800: 0.9}), num_images=800, spread=0.002)
    (answer,) = sizes_that_suffice(sweep, ["real"], MARGIN)
    assert "that is more than 0.01 by the whole interval" in answer.sentence


def test_missing_sizes_are_named() -> None:
    sweep = draw_sweep(np.random.default_rng(0), "samples", {50: {"real": 0.8}, 800: {"GAN_prog": 0.8}})
    real, gan = sizes_that_suffice(sweep, ["real", "GAN_prog"])
    assert "no result with the largest size, 800 per class" in real.sentence
    assert "a second size with a result is missing" in gan.sentence


def test_a_loss_as_large_as_the_margin_is_seldom_called_smaller() -> None:
    rng, num_trials, num_shown = np.random.default_rng(6), 80, 0
    for _ in range(num_trials):
        sweep = draw_sweep(rng, "samples", curve({50: 0.83, 200: 0.88, 800: 0.90}), spread=0.01)
        (answer,) = sizes_that_suffice(sweep, ["real"], margin=0.02)
        num_shown += answer.setting is not None
    assert num_shown / num_trials <= 0.09  # 2.5 % expected


@pytest.mark.parametrize(
    ("gaps", "num_seeds", "expected", "words"),
    [
        ({2: 0.01, 4: 0.02, 8: 0.12}, 5, 4, "takes 4 classes"),
        ({2: 0.01, 4: 0.02, 8: 0.02}, 5, 8, "takes 8 classes"),
        ({2: 0.10, 4: 0.02}, 5, None, "not shown that it takes 2 classes, the fewest"),
        ({2: 0.01, 4: 0.02}, 1, None, "one seed only"),
    ],
)
def test_the_most_classes_that_a_gan_takes(
    gaps: dict[int, float], num_seeds: int, expected: int | None, words: str
) -> None:
    aurocs = {value: {"real": 0.92, "GAN_prog": 0.92 - gap} for value, gap in gaps.items()}
    sweep = draw_sweep(
        np.random.default_rng(0),
        "classes",
        aurocs,
        num_images=900,
        num_seeds=num_seeds,
        spread=0.003,
        has_one_test=False,
    )
    (answer,) = classes_it_takes(sweep, ["GAN_prog"], 0.05)
    assert answer.setting == expected
    assert words in answer.sentence


def test_classes_without_a_gan_are_not_shown() -> None:
    sweep = draw_sweep(np.random.default_rng(0), "classes", {2: {"real": 0.9}})
    (answer,) = classes_it_takes(sweep, ["GAN_prog"])
    assert "no number of classes has a result of both" in answer.sentence


@pytest.mark.parametrize(("level", "factor", "exponent"), [(0.95, 2.0, 0.5), (0.9, 0.9, 0.3), (0.99, 30.0, 1.2)])
def test_a_known_power_law_is_found(level: float, factor: float, exponent: float) -> None:
    sizes = np.array(SIZES, np.float64)
    values = power_law(sizes, level, factor, exponent)
    (found,) = fit_curves(sizes, values[None], np.ones(len(sizes)))
    at_twice = power_law(3200, *found)
    assert at_twice == pytest.approx(power_law(3200, level, factor, exponent), abs=2e-3)
    assert found[2] == pytest.approx(exponent, rel=0.05)


def test_the_fit_is_that_of_scipy() -> None:
    sizes, rng = np.array(SIZES, np.float64), np.random.default_rng(0)
    for _ in range(5):
        values = power_law(sizes, 0.93, 2.0, 0.5) + 0.003 * rng.normal(size=len(sizes))
        (found,) = fit_curves(sizes, values[None], np.ones(len(sizes)))
        expected, _ = curve_fit(power_law, sizes, values, p0=(0.9, 1.0, 0.5), bounds=((0, 0, 0.02), (1, 1e4, 4)))
        misses = [float(((power_law(sizes, *parameters) - values) ** 2).sum()) for parameters in (found, expected)]
        assert misses[0] <= 1.02 * misses[1] + 1e-9
        assert power_law(3200, *found) == pytest.approx(power_law(3200, *expected), abs=1e-3)


@pytest.mark.parametrize(
    "values", [(0.9, 0.9, 0.9, 0.9, 0.9), (0.9, 0.88, 0.87, 0.86, 0.86), (0.2, 0.5, 0.8, 0.95, 1.0)]
)
def test_a_fit_stays_within_what_an_auroc_can_be(values: tuple[float, ...]) -> None:
    ((level, factor, _),) = fit_curves(np.array(SIZES, np.float64), np.array([values]), np.ones(5))
    assert level <= 1
    assert factor >= 0
    if max(values) == values[0]:
        assert factor == pytest.approx(0, abs=1e-9)
        assert level == pytest.approx(np.mean(values))


def normal_group(rng: np.random.Generator, mean: float, patients: np.ndarray, shift: float, num_seeds: int) -> Group:
    """Networks of which all miss the same patients: their errors are `shift`, those of resamples `patients`."""
    values = mean + shift + 0.004 * rng.normal(size=num_seeds)
    return Group(tuple(range(num_seeds)), values, values[:, None] + patients)


@pytest.mark.parametrize("num_seeds", [2, 5])
def test_the_band_covers_the_curve_between_and_beyond_the_sizes(num_seeds: int) -> None:
    rng, truth, num_trials = np.random.default_rng(1), (0.92, 1.6, 0.5), 60
    covered = {400: 0, 3200: 0}
    for _ in range(num_trials):
        patients, shift = 0.005 * rng.normal(size=200), 0.005 * rng.normal()
        groups = [normal_group(rng, power_law(size, *truth), patients, shift, num_seeds) for size in SIZES]
        fit = fit_power_law(SIZES, groups, seed=int(rng.integers(2**31)))
        for size in covered:
            band = fit.at(size)
            covered[size] += band.low <= power_law(size, *truth) <= band.high
    assert all(count / num_trials >= 0.85 for count in covered.values()), covered


def test_a_band_narrows_with_seeds_and_patients() -> None:
    widths = {}
    for scatter, num_seeds in itertools.product((0.001, 0.01), (2, 8)):
        rng = np.random.default_rng(0)
        patients = scatter * rng.normal(size=400)
        groups = [normal_group(rng, power_law(size, 0.92, 1.6, 0.5), patients, 0.0, num_seeds) for size in SIZES]
        band = fit_power_law(SIZES, groups).at(3200)
        widths[scatter, num_seeds] = band.high - band.low
    assert widths[0.001, 8] < widths[0.001, 2]
    assert widths[0.001, 8] < widths[0.01, 8]


def test_files_hold_curve_answer_and_extrapolation(tmp_path: Path) -> None:
    sizes = (50, 100, 200, 400)
    aurocs = {
        ("samples", size, source): power_law(size, *law)
        for size in sizes
        for source, law in (("real", (0.93, 1.0, 0.6)), ("GAN_prog", (0.85, 1.0, 0.5)))
    }
    aurocs.pop(("samples", 100, "GAN_prog"))  # so it has three sizes, too few for a curve
    folder = make_grid(tmp_path / "grid", aurocs, seeds=(1, 2), gans=("GAN_prog",))
    report_grid(folder, tmp_path / "out", Margins(of_size=0.02), num_resamples=100)
    text = (tmp_path / "out" / "learning_curves.txt").read_text()
    assert "at most 0.02 below that with 400 per class" in text
    assert re.search(r"real: .* EXTRAPOLATED to twice the largest size, 800 per class: 0\.\d+ \[", text)
    assert "GAN_prog: no fit, which takes 4 sizes; here 3." in text
    frame = pd.read_csv(tmp_path / "out" / "learning_curves.csv")
    real = frame[frame.trained_on == "real"].set_index("setting")
    assert real.is_extrapolated.to_dict() == {50: False, 100: False, 200: False, 400: False, 800: True}
    assert real.fitted[800] == pytest.approx(power_law(800, 0.93, 1.0, 0.6), abs=0.05)
    assert real.lost[50] == pytest.approx(real.auroc[400] - real.auroc[50])
    assert np.isnan(real.lost[400])
    assert real.fitted_low[800] < real.fitted[800] < real.fitted_high[800]
    assert (tmp_path / "out" / "learning_curves.png").stat().st_size > 10_000
