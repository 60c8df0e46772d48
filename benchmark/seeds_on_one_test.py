"""Tables over several seeds of a training, tested on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medsynth.classify.evaluation.evaluate import MEAN, METRICS, Evaluation
from medsynth.classify.evaluation.seeds import SeedInterval, difference_over_seeds, mean_over_seeds
from medsynth.classify.evaluation.statistics import Floats
from medsynth.classify.evaluation.summary import cell, number
from medsynth.data.wording import counted


@dataclass(frozen=True)
class SeedGroup:
    """Tested networks that differ in their seed alone.

    Attributes:
        name: What they were trained on.
        members: Their numbers among the results.
        seeds: Of their trainings.
    """

    name: str
    members: tuple[int, ...]
    seeds: tuple[int, ...]


_ALIKE = ("trained_on", "initialisation", "resolution", "image_dimension")


def groups_of_seeds(facts: Sequence[dict[str, Any]]) -> list[SeedGroup]:
    """Return which tested networks are one training with several seeds, the group of the first network first.

    Two of a kind with the same seed, or the same weights, are no two draws of a seed, so then there are no groups.

    Args:
        facts: results.json of each network.

    Returns:
        At least one group of two or more networks, or an empty list.
    """
    kinds: dict[tuple[str, ...], list[int]] = {}
    for member, one in enumerate(facts):
        kinds.setdefault(tuple(str(one.get(key)) for key in _ALIKE), []).append(member)
    names, groups = [kind[0] for kind in kinds], []
    for kind, members in kinds.items():
        seeds = [facts[member].get("random_seed") for member in members]
        if len(members) > 1 and (None in seeds or len(set(seeds)) < len(seeds)):
            return []
        weights = [facts[member]["weights_sha256"] for member in members if "weights_sha256" in facts[member]]
        if len(set(weights)) < len(weights):
            return []
        name = kind[0] if names.count(kind[0]) == 1 else ", ".join(kind)
        groups.append(SeedGroup(name, tuple(members), tuple(int(seed or 0) for seed in seeds)))
    return groups if any(len(group.members) > 1 for group in groups) else []


def _over_seeds(
    evaluation: Evaluation, groups: Sequence[SeedGroup], group: SeedGroup, metric: str, column: int
) -> tuple[SeedInterval, SeedInterval]:
    """Return a group's mean over its seeds, and the first group's mean minus it."""
    row = list(METRICS).index(metric)

    def samples(chosen: SeedGroup) -> tuple[Floats, Floats]:
        members = list(chosen.members)
        return evaluation.values[row, members, column], evaluation.resampled[row, members, column]

    mean = mean_over_seeds(*samples(group))
    if group == groups[0]:
        return mean, SeedInterval(0.0)
    return mean, difference_over_seeds(samples(groups[0]), samples(group))


def seeds_table(evaluation: Evaluation, groups: Sequence[SeedGroup]) -> list[list[str]]:
    """Return the rows of a text table: the mean over labels and seeds in every metric, and differences to the first.

    Args:
        evaluation: Of all networks on the same test images.
        groups: As `groups_of_seeds` returns them.
    """
    header = [
        "mean over labels and seeds",
        *(f"{group.name}, {counted(len(group.members), 'seed')} [95 %]" for group in groups),
        *(f"{groups[0].name} - {group.name}" for group in groups[1:]),
    ]
    rows = [header]
    for metric, facts in METRICS.items():
        pairs = [_over_seeds(evaluation, groups, group, metric, MEAN) for group in groups]
        shown = [mean for mean, _ in pairs] + [difference for _, difference in pairs[1:]]
        rows.append([facts.title, *map(cell, shown)])
    return rows


def notes_on_seeds(groups: Sequence[SeedGroup]) -> list[str]:
    """Return what a reader of the figures over seeds must know, a sentence each."""
    notes = [
        "Over seeds: 95 % intervals hold the choice of test patients and the seed (variance over the networks, and "
        "covariance of their errors from the resamples; Student's t; Obuchowski and Rockette 1995, Hillis 2007)."
    ]
    single = [group.name for group in groups if len(group.members) == 1]
    if single:
        notes.append(f"One seed only, so its chance is NOT in the intervals: {', '.join(single)}.")
    return notes


def seed_records(
    evaluation: Evaluation, groups: Sequence[SeedGroup], label_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return one flat record per metric, label (and their mean) and group; None where a number does not exist."""
    records = []
    for metric in METRICS:
        for column, label in enumerate((*label_names, "mean")):
            for group in groups:
                mean, difference = _over_seeds(evaluation, groups, group, metric, column)
                records.append({
                    "metric": metric,
                    "label": label,
                    "trained_on": group.name,
                    "num_seeds": len(group.members),
                    "seeds": " ".join(map(str, group.seeds)),
                    "value": number(mean.value),
                    "low": number(mean.low),
                    "high": number(mean.high),
                    "reference_minus_this": number(difference.value),
                    "difference_low": number(difference.low),
                    "difference_high": number(difference.high),
                    "degrees_of_freedom": number(difference.degrees_of_freedom),
                })  # fmt: skip
    return records
