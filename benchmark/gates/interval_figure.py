"""A figure with its 95 % interval against the threshold that it is held against, as SVG inside a page."""

import html
import math

from benchmark.gates import wording
from benchmark.gates.model import Measure, Outcome

_WIDTH, _MARGIN, _LINE = 340, 8, 28
_HEIGHT, _FLOOR_HEIGHT = 43, 58
_TEXT_WIDTH = 6.2  # of a letter of 11 pixels, roughly


def draw_interval(measure: Measure, floor: Measure | None = None) -> str:
    """Return the picture: the interval as a bar, its estimate as a mark, the threshold as a line, the good side shaded.

    Marks differ in form as well as colour: circle for a pass, square for a failure, triangle where it is not decided.

    Args:
        measure: With a value and a threshold.
        floor: What real images score against real ones, where that is known.
    """
    value, threshold = measure.value, measure.threshold
    if value is None or threshold is None or not math.isfinite(value):
        return ""
    low = value if measure.low is None or not wording.has_interval(measure) else measure.low
    high = value if measure.high is None or not wording.has_interval(measure) else measure.high
    floor_value = floor.value if floor is not None else None
    shown = [number for number in (low, high, value, threshold, floor_value) if number is not None]
    place = _Scale(min(shown), max(shown))
    at = place(threshold)
    good = (_MARGIN, at) if measure.sense == "at most" else (at, _WIDTH - _MARGIN)
    parts = [
        f'<rect class="good" x="{good[0]:.1f}" y="{_LINE - 11}" width="{good[1] - good[0]:.1f}" height="22"/>',
        f'<line class="axis" x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{_LINE}" y2="{_LINE}"/>',
        f'<line class="bar" x1="{place(low):.1f}" x2="{place(high):.1f}" y1="{_LINE}" y2="{_LINE}"/>',
        *(f'<line class="cap" x1="{place(end):.1f}" x2="{place(end):.1f}" y1="{_LINE - 5}" y2="{_LINE + 5}"/>'
          for end in (low, high)),
        f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="{_LINE - 13}" y2="{_LINE + 13}"/>',
        _label(at, _LINE - 17, wording.limit(measure)),
        *([] if floor_value is None else _floor(place(floor_value), floor_value)),
        _mark(measure.outcome, place(value)),
    ]  # fmt: skip
    outcome = "insufficient" if measure.outcome is Outcome.INSUFFICIENT else str(measure.outcome or "none")
    height = _HEIGHT if floor_value is None else _FLOOR_HEIGHT
    return (
        f'<svg class="interval {outcome.split()[0]}" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{html.escape(_spoken(measure, floor_value), quote=True)}">{"".join(parts)}</svg>'
    )


class _Scale:
    """Where numbers lie from left to right."""

    def __init__(self, smallest: float, largest: float) -> None:
        room = 0.12 * (largest - smallest) or 0.12 * abs(largest) or 1.0
        self.start, self.span = smallest - room, largest - smallest + 2 * room

    def __call__(self, value: float) -> float:
        return _MARGIN + (_WIDTH - 2 * _MARGIN) * (value - self.start) / self.span


def _label(x: float, y: float, text: str) -> str:
    half = _TEXT_WIDTH * len(text) / 2
    inside = min(max(x, half + 2), _WIDTH - half - 2)
    return f'<text x="{inside:.1f}" y="{y}" text-anchor="middle">{html.escape(text)}</text>'


def _floor(x: float, value: float) -> list[str]:
    return [
        f'<path class="floor" d="M{x:.1f} {_LINE - 6}l6 6l-6 6l-6 -6z"/>',
        _label(x, _LINE + 27, f"real against real {wording.number(value)}"),
    ]


def _mark(outcome: Outcome | None, x: float) -> str:
    if outcome is Outcome.FAIL:
        return f'<rect class="mark" x="{x - 5:.1f}" y="{_LINE - 5}" width="10" height="10"/>'
    if outcome is Outcome.INSUFFICIENT:
        return f'<path class="mark" d="M{x:.1f} {_LINE - 7}l7 12h-14z"/>'
    return f'<circle class="mark" cx="{x:.1f}" cy="{_LINE}" r="5.5"/>'


def _spoken(measure: Measure, floor: float | None) -> str:
    between = f", 95 % interval {wording.interval(measure)}" if wording.has_interval(measure) else ""
    against = "" if floor is None else f"; real images against real ones {wording.number(floor)}"
    said = "" if measure.outcome is None else f": {measure.outcome.value}"
    return (
        f"{measure.title} {wording.number(measure.value)}{between}; threshold {wording.limit(measure)}{against}{said}"
    )
