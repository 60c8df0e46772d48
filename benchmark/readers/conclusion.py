"""What a reader study allows to say, in sentences; nothing shown is never turned into nothing there."""

import numpy as np

from benchmark.readers.accuracy import Skill, holm

LEVEL = 0.05
_ONE_WORD = 0.9


def conclude(pooled: Skill, margin: float) -> str:
    """Return what all readers' accuracy says, for a margin around chance that was chosen beforehand."""
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
    adjusted = holm(np.array([skill.p_value for skill in skills], float))
    sure = [
        f"{name} ({'above' if skill.accuracy.value > skill.chance else 'below'} chance)"
        for name, skill, p_value in zip(readers, skills, adjusted, strict=True)
        if p_value < LEVEL
    ]
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


def one_sided(skill: Skill) -> bool:
    """Return whether nearly all answers were the same word, so that accuracy cannot leave chance."""
    return max(skill.share_called_real, 1 - skill.share_called_real) >= _ONE_WORD
