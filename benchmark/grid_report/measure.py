"""The mean AUROC of every classifier of a grid, with what other patients and seeds would have made of it.

Patients are drawn once for a whole benchmark, and every setting counts its images by the same draw. So what settings
share of their patients cancels in their differences, and what they do not share does not.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.comparison import RANDOM, require_same_rows
from benchmark.grid_report.cells import DONE, REAL, Cell, Grid
from medsynth.classify.evaluation.evaluate import cluster_images, interval, resample_weights, sufficient_labels
from medsynth.classify.evaluation.predictions import RESULTS, Predictions, read_predictions
from medsynth.classify.evaluation.seeds import SeedInterval, combination_over_seeds
from medsynth.classify.evaluation.statistics import Floats, weighted_auroc
from medsynth.errors import DataError
from medsynth.progress import Progress

# What results.json calls the GANs that were published.
TRAINED_ON = {REAL: "real", "GAN_prog": "prog-GAN", "GAN_cpd": "cpD-GAN"}


@dataclass(frozen=True)
class Group:
    """Classifiers that differ in their seed alone.

    Attributes:
        seeds: Of their trainings, K.
        values: Mean AUROC over the labels, [K]; NaN where no label has enough cases.
        resampled: The same on resampled patients, [K, R]; column r of all groups of a benchmark is the same draw.
    """

    seeds: tuple[int, ...]
    values: Floats
    resampled: Floats


@dataclass(frozen=True)
class Setting:
    """One setting of a benchmark.

    Attributes:
        value: Number of classes, samples per class, or resolution.
        groups: By what they were trained on; without those that have no result.
        num_images: Of the test; 0 where nothing is tested.
        num_clusters: Patients of the test, or images where patients are not known.
        num_labels: Labels in the mean.
        left_out: Labels with too few cases.
        facts: results.json of every classifier.
    """

    value: int
    groups: dict[str, Group]
    num_images: int = 0
    num_clusters: int = 0
    num_labels: int = 0
    left_out: tuple[str, ...] = ()
    facts: tuple[dict[str, Any], ...] = ()

    @property
    def num_random(self) -> int:
        """How many classifiers started from random weights."""
        return sum(facts.get("initialisation") == RANDOM for facts in self.facts)

    @property
    def num_unfinished(self) -> int:
        """How many trainings were not finished."""
        return sum(not facts.get("training_finished", True) for facts in self.facts)


@dataclass(frozen=True)
class Sweep:
    """A benchmark: settings from the smallest.

    Attributes:
        benchmark: Its name.
        settings: At least one.
        clusters: What was resampled, "patients" or "images".
        has_one_test: Whether all settings were tested on the same images.
        num_resamples: R.
    """

    benchmark: str
    settings: tuple[Setting, ...]
    clusters: str
    has_one_test: bool
    num_resamples: int

    def setting(self, value: int) -> Setting:
        """Return a setting by its number."""
        return next(one for one in self.settings if one.value == value)


def estimate(terms: Sequence[tuple[float, Group]]) -> SeedInterval:
    """Return the sum of factor * mean over groups, with an interval over patients and seeds.

    The interval ends where the sum of values of AUROC must: a mean at 0 and 1, a difference at -1 and 1. Where all
    groups have one seed, it holds the choice of patients alone (see `lacks_seeds`).
    """
    if any(len(group.seeds) > 1 for _, group in terms):
        found = combination_over_seeds([(factor, group.values, group.resampled) for factor, group in terms])
    else:
        value = sum(factor * group.values[0] for factor, group in terms)
        one = interval(float(value), np.sum([factor * group.resampled[0] for factor, group in terms], axis=0))
        found = SeedInterval(one.value, one.low, one.high, one.num_resamples)
    least, most = (sum(limit(factor, 0.0) for factor, _ in terms) for limit in (min, max))
    low, high = (float(end) for end in np.clip((found.low, found.high), least, most))
    return replace(found, low=low, high=high)


def estimate_mean(group: Group) -> SeedInterval:
    """Return the mean of one group with its interval."""
    return estimate([(1.0, group)])


def lacks_seeds(terms: Sequence[tuple[float, Group]]) -> bool:
    """Return whether a group has one seed, so that the chance of its training is in no interval."""
    return any(len(group.seeds) < 2 for _, group in terms)


def gap_terms(setting: Setting, gan: str) -> list[tuple[float, Group]] | None:
    """Return real minus a GAN in one setting, for `estimate`; None where one of them has no result."""
    if REAL not in setting.groups or gan not in setting.groups:
        return None
    return [(1.0, setting.groups[REAL]), (-1.0, setting.groups[gan])]


def measure(grid: Grid, num_resamples: int = 1000, seed: int = 0) -> list[Sweep]:
    """Read every tested classifier of a grid and compute its mean AUROC.

    Args:
        grid: As `read_grid` returns it.
        num_resamples: Of the bootstrap, R.
        seed: Of the bootstrap.

    Returns:
        A sweep for every benchmark of the grid.

    Raises:
        DataError: A result that cannot be read or belongs elsewhere, or two in a setting on different test images.
    """
    read = {cell: _read(cell) for cell in grid.cells if cell.status == DONE}
    progress = Progress("resample", sum(len(result.names) for result in read.values()), "labels")
    sweeps = []
    for benchmark in grid.benchmarks:
        by_setting: dict[int, dict[Cell, Predictions]] = {}
        for cell in grid.cells:
            if cell.benchmark == benchmark:
                known = by_setting.setdefault(cell.setting, {})
                if cell in read:
                    known[cell] = read[cell]
        sweeps.append(_measure_sweep(benchmark, by_setting, num_resamples, seed, progress))
    progress.close()
    return sweeps


def _read(cell: Cell) -> Predictions:
    if cell.folder is None:
        raise ValueError(f"{cell.title} has no folder")
    result = read_predictions(cell.folder)
    expected = TRAINED_ON.get(cell.trained_on)
    if expected is not None and result.facts["trained_on"] != expected:
        raise DataError(
            f"The result of {cell.title} must be of a classifier trained on {expected}.",
            received=result.facts["trained_on"],
            path=cell.folder / RESULTS,
        )
    return result


def _measure_sweep(
    benchmark: str,
    by_setting: dict[int, dict[Cell, Predictions]],
    num_resamples: int,
    seed: int,
    progress: Progress,
) -> Sweep:
    tests = {value: next(iter(results.values())) for value, results in by_setting.items() if results}
    for results in filter(None, by_setting.values()):
        require_same_rows(list(results.values()))
        _require_own_weights(results)
    kind = "patients" if all(test.patients is not None for test in tests.values()) else "images"
    names = [name for test in tests.values() for name in ((test.patients or ()) if kind == "patients" else test.paths)]
    clusters = cluster_images(names, len(names))[0]
    ends = np.cumsum([0, *(len(test.paths) for test in tests.values())])
    places = {value: slice(*pair) for value, pair in zip(tests, itertools.pairwise(ends), strict=True)}
    num_clusters = len(np.unique(clusters))
    counts = resample_weights(np.arange(num_clusters), num_resamples, seed) if num_clusters else np.empty((0, 0))
    settings = []
    for value, results in by_setting.items():
        if value in tests:
            settings.append(_measure_setting(value, results, clusters[places[value]], counts, progress))
        else:
            settings.append(Setting(value, {}))
    return Sweep(benchmark, tuple(settings), kind, _has_one_test(list(tests.values())), num_resamples)


def _require_own_weights(results: dict[Cell, Predictions]) -> None:
    """Refuse one network under two names: it would be no second draw of a seed."""
    known: dict[object, Cell] = {}
    for cell, result in results.items():
        digest = result.facts.get("weights_sha256", cell)
        if digest in known:
            raise DataError(
                f"{cell.title} has the very weights of {known[digest].title}; each is a training of its own.",
                received=digest,
                path=result.folder / RESULTS,
            )
        known[digest] = cell


def _has_one_test(tests: Sequence[Predictions]) -> bool:
    first = tests[0] if tests else None
    return all(
        first is not None and test.paths == first.paths and test.names == first.names
        and (test.truth == first.truth).all()
        for test in tests
    )  # fmt: skip


def _measure_setting(
    value: int, results: dict[Cell, Predictions], clusters: Any, counts: Floats, progress: Progress
) -> Setting:
    first = next(iter(results.values()))
    sufficient = sufficient_labels(first.truth)
    weights = np.concatenate([np.ones((1, len(clusters))), counts[:, clusters]])  # [1 + R, N]
    means: dict[str, dict[int, Floats]] = {}
    for cell, result in results.items():
        of_labels = np.full((len(first.names), len(weights)), np.nan)
        for label in range(len(first.names)):
            if sufficient[label]:
                of_labels[label] = weighted_auroc(result.truth[:, label], result.scores[:, label], weights)
            progress.advance()
        mean = of_labels[sufficient].mean(axis=0) if sufficient.any() else np.full(len(weights), np.nan)
        means.setdefault(cell.trained_on, {})[cell.seed] = mean
    groups = {}
    for source, by_seed in means.items():
        stacked = np.stack(list(by_seed.values()))
        groups[source] = Group(tuple(by_seed), stacked[:, 0], stacked[:, 1:])
    return Setting(
        value,
        groups,
        num_images=len(first.paths),
        num_clusters=len(np.unique(clusters)),
        num_labels=int(sufficient.sum()),
        left_out=tuple(name for name, ok in zip(first.names, sufficient, strict=True) if not ok),
        facts=tuple(result.facts for result in results.values()),
    )
