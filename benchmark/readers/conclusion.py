"""What a reader study allows to say, in sentences; nothing shown is never turned into nothing there."""

from collections.abc import Sequence

import numpy as np

from benchmark.readers.accuracy import Skill, holm
from medsynth.data.wording import counted

LEVEL = 0.05
_ONE_WORD = 0.9


def conclude(pooled: Skill, margin: float, skills: Sequence[Skill] = ()) -> str:
    """Return what all readers' accuracy says, for a margin around chance that was chosen beforehand.

    Where it holds chance though single readers differ from it, these decide: the mean of a reader who is always right
    and one who is always wrong is that of guessing.

    Args:
        pooled: Of all readers together.
        margin: An accuracy this near to chance counts as equivalent to guessing.
        skills: Of each reader.
    """
    low, high, chance = pooled.accuracy.low, pooled.accuracy.high, pooled.chance
    bounds = f"between {low:.1%} and {high:.1%} of such answers are right (95 % interval); chance gives {chance:.1%}"
    is_within = chance - margin < low and high < chance + margin
    points = f"{100 * margin:g} percentage points"
    small = f" The difference is small: the interval lies within {points} of chance." if is_within else ""
    if low > chance:
        return f"Real and synthetic images can be told apart: {bounds}.{small}"
    if high < chance:
        return (
            f"Answers are wrong more often than chance would have it: {bounds}. So a difference is seen, and taken for "
            f"the opposite of what it is; the images are not alike.{small}"
        )
    if differing(skills):
        return f"{_by_single_readers(skills)}: {bounds}."
    if is_within and one_sided(pooled):
        return (
            f"Nothing is shown: {pooled.share_called_real:.0%} of the answers are the word real, and so {bounds}, "
            "whatever could be seen."
        )
    if is_within:
        return (
            f"Equivalence with guessing is shown at the margin of {points}: {bounds}. Up to {high:.1%} remains "
            "possible, and of other readers this says nothing."
        )
    return (
        f"That real and synthetic images can be told apart is not shown, and that they cannot is not shown either: "
        f"{bounds}. An accuracy of up to {high:.1%} fits these answers. To show equivalence within {points} of chance "
        "takes more images or more readers."
    )


def conclude_readers(readers: tuple[str, ...], skills: list[Skill]) -> list[str]:
    """Return what single readers' tests say, with p-values adjusted for the number of readers."""
    sure = [f"{readers[place]} ({side} chance)" for place, side in differing(skills).items()]
    sentences = [
        f"Readers whose accuracy differs from chance (exact binomial test, p < {LEVEL} after Holm's adjustment for "
        f"{len(skills)}): {', '.join(sure)}."
        if sure
        else f"No single reader's accuracy is shown to differ from chance (exact binomial test, Holm's adjustment for "
        f"{len(skills)}); each interval says what remains possible."
    ]
    for name, skill in zip(readers, skills, strict=True):
        if one_sided(skill):
            sentences.append(
                f"{name} called {skill.share_called_real:.0%} of the images real: such an accuracy is near chance "
                "whatever can be seen, and says little."
            )
    return sentences


def differing(skills: Sequence[Skill]) -> dict[int, str]:
    """Return which readers differ from chance after Holm's adjustment: `above` or `below` by their number."""
    adjusted = holm(np.array([skill.p_value for skill in skills], float))
    return {
        place: "above" if skill.accuracy.value > skill.chance else "below"
        for place, (skill, p_value) in enumerate(zip(skills, adjusted, strict=True))
        if p_value < LEVEL
    }


def _by_single_readers(skills: Sequence[Skill]) -> str:
    """Return that single readers see a difference, and what becomes of the accuracy of all."""
    sides = list(differing(skills).values())
    above, below, num = sides.count("above"), sides.count("below"), len(skills)
    together = "The interval of all answers holds chance all the same"
    if max(above, below) < num:
        together = "Readers differ, which the accuracy of all answers together hides"
    return (
        f"Real and synthetic images can be told apart by single readers: of {counted(num, 'reader')}, {above} above "
        f"chance and {below} below it (exact binomial test, Holm's adjustment). {together}"
    )


def one_sided(skill: Skill) -> bool:
    """Return whether nearly all answers were the same word, so that accuracy cannot leave chance."""
    return max(skill.share_called_real, 1 - skill.share_called_real) >= _ONE_WORD
