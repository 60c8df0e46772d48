"""What a verdict is made of: gates, the figures behind each, and how a figure decides.

A figure decides by its 95 % interval alone: it passes where the whole interval is on the good side of its threshold,
fails where the whole interval is on the bad side, and where the threshold lies inside the interval, the data are too
few to say, and `more_needed` says how many more would be likely to.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal


class Outcome(StrEnum):
    """What a gate, or one figure, says."""

    PASS = "pass"
    FAIL = "fail"
    INSUFFICIENT = "insufficient data"
    NOT_APPLICABLE = "not applicable"


Sense = Literal["at most", "at least"]


@dataclass(frozen=True)
class Measure:
    """A figure behind a gate.

    Attributes:
        key: For verdict.json, such as `auroc_difference`.
        title: For people.
        value: The estimate; None where it could not be measured.
        low: Lower end of its 95 % interval; None where there is none.
        high: Upper end.
        num: How many it is from; every figure has its n.
        unit: What was counted: `patients`, `images`, `training images`, ...
        threshold: What decides; None for a figure that is shown and decides nothing.
        sense: On which side of the threshold the good values lie.
        outcome: What it decides; None where it decides nothing.
        reason: Why, in a sentence.
        more_needed: So many more of `unit` would be likely to decide; None where that is not the trouble.
        group: Heading under which tables show it, such as `per label` or `per subgroup`; empty for the main figures.
    """

    key: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    num: int
    unit: str
    threshold: float | None = None
    sense: Sense = "at most"
    outcome: Outcome | None = None
    reason: str = ""
    more_needed: int | None = None
    group: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture on the page.

    Attributes:
        key: For its anchor and file name.
        title: Above it.
        caption: Below it: how to read it, and n.
        alternative: What somebody who cannot see it must know.
        png: The file's bytes.
        is_private: Whether it shows real patients' images, so that the page must not be given away with the data.
        is_synthetic: Whether it shows synthetic images and no real ones; `mark_private` says where it is private.
    """

    key: str
    title: str
    caption: str
    alternative: str
    png: bytes
    is_private: bool = False
    is_synthetic: bool = False


@dataclass(frozen=True)
class Gate:
    """One of the three questions, and its answer.

    Attributes:
        key: `utility`, `fidelity` or `privacy`.
        question: As a data owner would ask it.
        outcome: The answer.
        reason: Why, in a sentence or two.
        measures: The figures; those that decide first.
        notes: What a reader must know, a sentence each.
        pictures: In the order in which they are shown.
        commands: What to run so that it can say more, a command line each.
    """

    key: str
    question: str
    outcome: Outcome
    reason: str
    measures: Sequence[Measure] = ()
    notes: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    commands: Sequence[str] = field(default_factory=tuple)


def decide(
    value: float, low: float, high: float, threshold: float, sense: Sense, num: int
) -> tuple[Outcome, int | None]:
    """Return what an estimate with its 95 % interval says about a threshold, and how many more cases would be needed.

    The number assumes that the estimate stays and that its interval narrows with the square root of the cases.

    Args:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end.
        threshold: What it is held against.
        sense: On which side the good values lie.
        num: Cases that the interval comes from.

    Returns:
        PASS, FAIL, or INSUFFICIENT with the number of further cases (None where the estimate lies on the threshold, or
        has no interval, since then no number would do).
    """
    if not all(map(math.isfinite, (value, low, high))):
        return Outcome.INSUFFICIENT, None
    if low > threshold or high < threshold:
        is_good = high < threshold if sense == "at most" else low > threshold
        return (Outcome.PASS if is_good else Outcome.FAIL), None
    gap = abs(value - threshold)
    reach = high - value if value < threshold else value - low
    if gap == 0 or reach <= 0:
        return Outcome.INSUFFICIENT, None
    return Outcome.INSUFFICIENT, max(1, math.ceil(num * ((reach / gap) ** 2 - 1)))


def combine(measures: Sequence[Measure]) -> Outcome:
    """Return a gate's outcome: one failure fails it; else one figure that is undecided leaves it open.

    Figures without an outcome, and those that are not applicable, decide nothing; where none decides, neither does
    the gate.
    """
    outcomes = {measure.outcome for measure in measures}
    for outcome in (Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.PASS):
        if outcome in outcomes:
            return outcome
    return Outcome.NOT_APPLICABLE
