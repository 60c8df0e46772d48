"""Figures as a verdict shows them: in text, on the page, in tables."""

import math

from benchmark.gates.model import Measure, Outcome

MINUS = "\u2212"
NOTHING = "\u2013"
_SMALLEST = 1e-12


def number(value: float | None) -> str:
    """Return a figure with as many digits as tell it from its neighbours; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if size >= 100:
        text = f"{size:,.0f}"
    elif size >= 0.01 or size == 0:
        text = f"{size:.{1 if size >= 10 else 2 if size >= 1 else 3}f}"
    elif size < _SMALLEST:
        text = f"below {_SMALLEST:g}"
    else:
        text = f"{size:.2g}"
    return f"{MINUS if value < 0 else ''}{text}"


def estimate(measure: Measure) -> str:
    """Return a measure's estimate; a figure that is a count of its own cases is a whole number."""
    is_count = measure.value == measure.num and measure.threshold is None and not has_interval(measure)
    return f"{measure.num:,}" if is_count else number(measure.value)


def plain(value: float) -> str:
    """Return a number that somebody has chosen, as it was written."""
    return f"{value:g}".replace("-", MINUS)


def interval(measure: Measure) -> str:
    """Return the 95 % interval of a measure, or a dash."""
    if not has_interval(measure):
        return NOTHING
    return f"{number(measure.low)} to {number(measure.high)}"


def has_interval(measure: Measure) -> bool:
    """Whether a measure has both ends of an interval."""
    return measure.low is not None and measure.high is not None and math.isfinite(measure.low + measure.high)


def limit(measure: Measure) -> str:
    """Return what decides about a measure, such as `at most 0.050`, or a dash."""
    return NOTHING if measure.threshold is None else f"{measure.sense} {plain(measure.threshold)}"


def title(measure: Measure) -> str:
    """Return what a measure is called at the beginning of a line."""
    return f"{measure.title[:1].upper()}{measure.title[1:]}"


def cases(measure: Measure) -> str:
    """Return what a measure is from, such as `1,204 patients`."""
    return _counted(measure.num, measure.unit)


def needs(measure: Measure) -> str:
    """Return how many more cases would be likely to decide, or nothing."""
    if measure.outcome is not Outcome.INSUFFICIENT or not measure.more_needed:
        return ""
    return f"about {_counted(measure.more_needed, measure.unit)} more would be likely to decide"


def _counted(num: int, unit: str) -> str:
    return f"{num:,} {unit.removesuffix('s') if num == 1 else unit}"
