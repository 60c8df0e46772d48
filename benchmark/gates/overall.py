"""What three gates say together, and no more than they say."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.gates.model import Gate, Outcome

PRIVACY = "privacy"


@dataclass(frozen=True)
class Overall:
    """The verdict.

    Attributes:
        outcome: PASS only where every gate that applies passes, privacy among them.
        headline: In a few words.
        sentence: With its grounds.
    """

    outcome: Outcome
    headline: str
    sentence: str


def judge_overall(gates: Sequence[Gate]) -> Overall:
    """Return what the gates say together.

    One failure decides; else one undecided gate leaves the whole undecided. Gates that do not apply are named, so that
    nobody takes them for passed; without an answer on privacy nothing may be shared.
    """
    by_outcome = {outcome: [gate.key for gate in gates if gate.outcome is outcome] for outcome in Outcome}
    failed, undecided = by_outcome[Outcome.FAIL], by_outcome[Outcome.INSUFFICIENT]
    passed, left_out = by_outcome[Outcome.PASS], by_outcome[Outcome.NOT_APPLICABLE]
    aside = f" Not applicable here, so not judged: {_and(left_out)}." if left_out else ""
    if failed:
        open_too = f" Not decided: {_and(undecided)}." if undecided else ""
        headline = "Not to be shared" if PRIVACY in failed else "Not fit to stand in for the real images"
        fails = "fail" if len(failed) > 1 else "fails"
        return Overall(Outcome.FAIL, headline, f"{_gates(failed)} {fails}.{open_too}{aside}")
    if undecided:
        return Overall(
            Outcome.INSUFFICIENT,
            "Not decided",
            f"{_gates(undecided)} could not be decided with these data. That is not a pass: nothing here says that the "
            f"images may be shared.{aside}",
        )
    if PRIVACY not in passed:
        return Overall(
            Outcome.INSUFFICIENT,
            "Not decided",
            f"Privacy was not judged, and nothing may be shared on the word of the other gates.{aside}",
        )
    return Overall(
        Outcome.PASS,
        "May be shared, as far as these gates can tell",
        f"{_gates(passed)} {'pass' if len(passed) > 1 else 'passes'}. No memorisation was found by these attacks at "
        f"this power; that is no guarantee of anonymity.{aside}",
    )


def _gates(names: Sequence[str]) -> str:
    joined = _and(names)
    return joined[:1].upper() + joined[1:]


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
