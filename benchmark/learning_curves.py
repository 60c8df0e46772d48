"""How many samples per class suffice, and how many classes a GAN can take: answers that their intervals allow.

Both walk through the settings of a benchmark, from the easiest to show, and stop at the first that is not shown: from
the largest size down, from the fewest classes up. Tested in such a fixed order, none of the answers needs a correction
for how many there are (Westfall and Krishen 2001, doi:10.1016/S0378-3758(01)00077-5), where a search for the smallest
size that happens to pass would find one by chance.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmark.grid_report.cells import REAL
from benchmark.grid_report.measure import Group, Sweep, estimate, gap_terms, lacks_seeds
from medsynth.classify.evaluation.seeds import SeedInterval
from medsynth.classify.evaluation.summary import cell
from medsynth.data.wording import counted

# A fifth of the gap that a verdict allows (0.05), three times the 0.003 to which published curves can be read off.
MARGIN = 0.01
GAP_MARGIN = 0.05
_MOST_SEEDS = 30
Terms = Sequence[tuple[float, Group]]


@dataclass(frozen=True)
class Margins:
    """How much mean AUROC may be lost.

    Attributes:
        of_size: By a smaller size against the largest.
        of_gap: By a GAN against real images.
    """

    of_size: float = MARGIN
    of_gap: float = GAP_MARGIN


@dataclass(frozen=True)
class Step:
    """One setting held against a margin.

    Attributes:
        setting: Samples per class, or classes.
        loss: Mean AUROC lost: largest size minus this one, or real minus the GAN.
        is_shown: Whether the whole interval is at most the margin.
    """

    setting: int
    loss: SeedInterval
    is_shown: bool


@dataclass(frozen=True)
class Answer:
    """What can be said of one curve.

    Attributes:
        benchmark: samples or classes.
        trained_on: `real`, or the GAN.
        margin: Most mean AUROC that may be lost.
        setting: The smallest size that suffices, or the largest number of classes it can take; None: not shown.
        steps: In the order in which they were tested; those behind the first that is not shown decide nothing.
        sentence: The answer.
    """

    benchmark: str
    trained_on: str
    margin: float
    setting: int | None
    steps: tuple[Step, ...]
    sentence: str


def sizes_that_suffice(sweep: Sweep, sources: Iterable[str], margin: float = MARGIN) -> list[Answer]:
    """Return for every source the smallest size at most `margin` below the largest, by the whole 95 % interval.

    All larger ones that were tested must be so, too. The test images are the same, so differences are paired.

    Args:
        sweep: Of the samples benchmark.
        sources: `real`, and GANs.
        margin: In mean AUROC.
    """
    return [_size_that_suffices(sweep, source, margin) for source in sources]


def classes_it_takes(sweep: Sweep, gans: Iterable[str], margin: float = GAP_MARGIN) -> list[Answer]:
    """Return for every GAN the largest number of classes with real - GAN at most `margin`, by the whole interval.

    With all fewer classes that were tested it must be so, too.

    Args:
        sweep: Of the classes benchmark.
        gans: Their names.
        margin: In mean AUROC.
    """
    return [_classes_it_takes(sweep, gan, margin) for gan in gans]


def _size_that_suffices(sweep: Sweep, source: str, margin: float) -> Answer:
    *smaller, largest = sweep.settings
    groups = {one.value: one.groups[source] for one in smaller if source in one.groups}

    def answer(setting: int | None, steps: tuple[Step, ...], words: str) -> Answer:
        return Answer(sweep.benchmark, source, margin, setting, steps, f"{source}: {words}")

    if source not in largest.groups:
        return answer(None, (), f"not shown: no result with the largest size, {largest.value:,} per class.")
    if not groups:
        return answer(None, (), "not shown: a second size with a result is missing.")
    terms = {size: [(1.0, largest.groups[source]), (-1.0, group)] for size, group in reversed(groups.items())}
    steps = _steps(terms, margin)
    accepted, stop = _walk(steps)
    if accepted is None and stop is not None:
        missing = _what_is_missing(stop, terms[stop.setting], margin, largest.num_clusters, sweep.clusters)
        held = f"{stop.setting:,} per class lose {cell(stop.loss)} against {largest.value:,}"
        return answer(
            None, steps, f"not shown that fewer than {largest.value:,} samples per class suffice: {held}; {missing}."
        )
    if accepted is None:
        return answer(None, steps, "not shown.")
    words = (
        f"{accepted.setting:,} samples per class suffice: they lose {cell(accepted.loss)} against {largest.value:,}, "
        f"at most {margin:g} by the whole interval"
    )
    return answer(accepted.setting, steps, f"{words}{_not_further(stop)}.")


def _classes_it_takes(sweep: Sweep, gan: str, margin: float) -> Answer:
    found = {one.value: gap_terms(one, gan) for one in sweep.settings}
    terms = {value: gap for value, gap in found.items() if gap is not None}
    steps = _steps(terms, margin)
    accepted, stop = _walk(steps)

    def answer(words: str) -> Answer:
        setting = None if accepted is None else accepted.setting
        return Answer(sweep.benchmark, gan, margin, setting, steps, f"{gan}: {words}.")

    if not terms:
        return answer(f"not shown: no number of classes has a result of both {REAL} and {gan}")
    if accepted is not None:
        return answer(
            f"takes {accepted.setting:,} classes: {REAL} - {gan} is "
            f"{cell(accepted.loss)}, at most {margin:g} by the whole interval{_not_further(stop)}"
        )
    first = steps[0]
    num = sweep.setting(first.setting).num_clusters
    missing = _what_is_missing(first, terms[first.setting], margin, num, sweep.clusters)
    return answer(
        f"not shown that it takes {first.setting:,} classes, the fewest: {REAL} - {gan} is {cell(first.loss)}; "
        f"{missing}"
    )


def _steps(terms: dict[int, list[tuple[float, Group]]], margin: float) -> tuple[Step, ...]:
    steps = []
    for setting, of_setting in terms.items():
        loss = estimate(of_setting)
        steps.append(Step(setting, loss, not lacks_seeds(of_setting) and bool(loss.high <= margin)))
    return tuple(steps)


def _walk(steps: Sequence[Step]) -> tuple[Step | None, Step | None]:
    """Return the last step before the first that is not shown, and that one."""
    accepted = None
    for step in steps:
        if not step.is_shown:
            return accepted, step
        accepted = step
    return accepted, None


def _not_further(stop: Step | None) -> str:
    return (
        "" if stop is None else f"; with {stop.setting:,} it is {cell(stop.loss)}, which is not shown to be so little"
    )


def _what_is_missing(step: Step, terms: Terms, margin: float, num_clusters: int, clusters: str) -> str:
    """Say why a margin is not shown to be kept, and what it would take."""
    loss = step.loss
    if lacks_seeds(terms):
        return f"one seed only, so the chance of a training is in no interval (margin {margin:g}): train a second seed"
    if not math.isfinite(loss.high):
        return "its interval is not defined"
    if loss.low > margin:
        return f"that is more than {margin:g} by the whole interval"
    if loss.value >= margin:
        return f"the estimate is not below {margin:g}, so more test {clusters} or seeds would rather show the contrary"
    ways = [
        text
        for text in (_patients_needed(loss, terms, margin, num_clusters, clusters), _seeds_needed(loss, terms, margin))
        if text
    ]
    more = f"about {' or '.join(ways)}" if ways else f"more {clusters} and more seeds"
    return f"the interval reaches beyond {margin:g}: it would take {more}, were the estimate right"


def _patients_needed(loss: SeedInterval, terms: Terms, margin: float, num_clusters: int, clusters: str) -> str:
    """Say how many more patients would do, if any number would: what seeds do on any test stays."""
    reach = stats.t.ppf(0.975, loss.degrees_of_freedom)
    # Networks differ on few patients even where their seeds make them equally good; that part shrinks, too.
    by_patients = min(loss.seed_variance, sum(factor**2 * _own_variance(group) for factor, group in terms))
    room = ((margin - loss.value) / reach) ** 2 - (loss.seed_variance - by_patients)
    if room <= 0:
        return ""
    more = math.ceil(num_clusters * ((loss.patient_variance + by_patients) / room - 1))
    return counted(more, f"more test {clusters.removesuffix('s')}") if more > 0 else ""


def _own_variance(group: Group) -> float:
    """Return what the choice of patients does to a group's mean by each network's own errors."""
    num_networks = len(group.values)
    errors = np.cov(group.resampled[:, np.isfinite(group.resampled).all(axis=0)])
    shared = (errors.sum() - np.trace(errors)) / (num_networks * (num_networks - 1))
    return max(0.0, float(np.trace(errors) / num_networks - shared) / num_networks)


def _seeds_needed(loss: SeedInterval, terms: Terms, margin: float) -> str:
    """Say how many more seeds would do, if any number would: the patients' part of the variance stays."""
    present = min(len(group.seeds) for _, group in terms)
    for num_seeds in range(present + 1, _MOST_SEEDS + 1):
        variance = loss.seed_variance * present / num_seeds + loss.patient_variance
        degrees = loss.degrees_of_freedom * (num_seeds - 1) / (present - 1)
        if stats.t.ppf(0.975, degrees) * np.sqrt(variance) <= margin - loss.value:
            return f"{counted(num_seeds - present, 'more seed')} of each training"
    return ""
