"""Whether the gap between real and synthetic changes with the setting."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from benchmark.grid_report.measure import Group, Sweep, estimate, gap_terms, lacks_seeds
from medsynth.classify.evaluation.seeds import SeedInterval
from medsynth.classify.evaluation.statistics import Floats
from medsynth.classify.evaluation.summary import cell

_UNIT = {"classes": "of the number of classes", "samples": "of samples per class", "resolution": "of the resolution"}


@dataclass(frozen=True)
class Trend:
    """How the gap real minus a GAN changes.

    Attributes:
        benchmark: What was varied.
        gan: Which one.
        settings: That the slope is from.
        slope: Change of the gap in mean AUROC for each doubling of the setting; NaN where there is none.
        off_line: The setting that is farthest off the straight line, where more than chance takes one off it.
        reason: Why no trend can be stated; empty where one is.
    """

    benchmark: str
    gan: str
    settings: tuple[int, ...]
    slope: SeedInterval
    off_line: int | None
    reason: str

    @property
    def sentence(self) -> str:
        """What can be said."""
        gap = f"real - {self.gan}"
        unit = _UNIT[self.benchmark]
        if self.reason:
            return f"{gap}: no trend can be stated ({self.reason})."
        steadily = "on average " if len(self.settings) > 2 else ""
        apart = (
            "" if self.off_line is None else f"; not steadily: {self.off_line:,} is off the line by more than chance"
        )
        verb = "grows" if self.slope.value > 0 else "shrinks"
        return (
            f"{gap}: {verb} {steadily}with each doubling {unit} by {cell(_positive(self.slope))}, "
            f"from {len(self.settings)} settings{apart}."
        )


def _positive(slope: SeedInterval) -> SeedInterval:
    return slope if slope.value > 0 else SeedInterval(-slope.value, -slope.high, -slope.low)


def find_trends(sweep: Sweep, gans: Sequence[str]) -> list[Trend]:
    """Return the trend of every GAN's gap.

    The slope is that of the least-squares line of the gap against log2 of the setting. It is a sum of the means of all
    groups, so its interval holds patients and seeds as theirs do. A trend is stated where this interval is without 0
    and every group has two seeds or more.
    """
    return [_trend(sweep, gan) for gan in gans]


def _trend(sweep: Sweep, gan: str) -> Trend:
    gaps = _gaps_with_seeds(sweep, gan)
    values = tuple(gaps)
    if len(values) < 2:
        return Trend(sweep.benchmark, gan, values, SeedInterval(float("nan")), None, "it takes two settings with both")
    places = np.log2(values)
    factors = (places - places.mean()) / ((places - places.mean()) ** 2).sum()
    terms = [
        (float(factor * sign), group) for factor, gap in zip(factors, gaps.values(), strict=True) for sign, group in gap
    ]
    slope = estimate(terms)
    off_line = _farthest_off(values, list(gaps.values()), places, factors)
    return Trend(sweep.benchmark, gan, values, slope, off_line, _why_not(slope, one_seed=lacks_seeds(terms)))


def _farthest_off(
    values: Sequence[int], gaps: Sequence[Sequence[tuple[float, Group]]], places: Floats, factors: Floats
) -> int | None:
    """Return the setting farthest off the line, where its interval, widened for so many settings, is without 0."""
    beyond = {}
    for number, value in enumerate(values):
        # What lies above the line is a sum of the gaps, too.
        own = (np.arange(len(values)) == number) - 1 / len(values) - factors * (places[number] - places.mean())
        terms = [(float(factor * sign), group) for factor, gap in zip(own, gaps, strict=True) for sign, group in gap]
        off = estimate(terms)
        spread = np.sqrt(off.seed_variance + off.patient_variance)
        reach = stats.t.ppf(1 - 0.025 / len(values), off.degrees_of_freedom) * spread
        if len(values) > 2 and abs(off.value) > reach:
            beyond[value] = abs(off.value)
    return max(beyond, key=lambda value: beyond[value], default=None)


def _gaps_with_seeds(sweep: Sweep, gan: str) -> dict[int, list[tuple[float, Group]]]:
    """Return the settings with a gap; those of several seeds alone, where there are enough of them."""
    found = {one.value: gap_terms(one, gan) for one in sweep.settings}
    gaps = {value: gap for value, gap in found.items() if gap is not None and np.isfinite(estimate(gap).value)}
    sure = {value: gap for value, gap in gaps.items() if not lacks_seeds(gap)}
    return sure if len(sure) > 1 else gaps


def _why_not(slope: SeedInterval, *, one_seed: bool) -> str:
    if one_seed:
        return "one seed somewhere, so the chance of a training is not in its interval"
    if not np.isfinite(slope.low):
        return "its interval is not defined"
    if slope.low <= 0 <= slope.high:
        return f"{cell(slope)} for each doubling, which may be 0"
    return ""
