"""Which image goes into which split: pure functions of labels, patients and seeds.

A "combination" is a distinct row of the label matrix; the published datasets are
chosen, ranked and balanced by combination, not by single label. Every function
works on whole arrays, and its random stream is numpy's RandomState(seed).shuffle,
as published, so that a seed gives the published splits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medsynth.data.group_split import stratified_groups
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError

SPLIT_NAMES = ("train", "valid", "test")
Indices = npt.NDArray[np.int64]
_LARGEST_SEED = 2**32 - 1000
MOST_LABELS = 62  # a combination is coded in the bits of an int64


@dataclass(frozen=True)
class Combinations:
    """The distinct label rows of a table, the most frequent first.

    Attributes:
        patterns: uint8 [K, L], 0 or 1.
        counts: int64 [K], how many rows have each pattern; descending.
        of_row: int64 [N], the number (0 to K-1) of each row's pattern.
    """

    patterns: npt.NDArray[np.uint8]
    counts: Indices
    of_row: Indices

    def limit_that_keeps(self, num_combinations: int) -> int:
        """Return the highest limit that leaves at least so many combinations, where there are so many."""
        return int(self.counts[num_combinations - 1]) - 1 if 0 < num_combinations <= len(self.counts) else 0


def combination_codes(labels: npt.NDArray[Any]) -> Indices:
    """Return one integer per row of `labels` [N, L]; integers sort as the label patterns do."""
    num_labels = labels.shape[1]
    if num_labels > MOST_LABELS:
        raise UsageError(f"At most {MOST_LABELS} labels can be combined.", received=num_labels)
    return (labels != 0).astype(np.int64) @ (1 << np.arange(num_labels, dtype=np.int64)[::-1])


def rank_combinations(labels: npt.NDArray[Any]) -> Combinations:
    """Count the combinations in `labels` [N, L] and rank them by count, descending.

    Combinations of one count rank by their pattern, the lexicographically larger first. (With up to
    16 combinations the original does the same; beyond, its order hangs on numpy's unstable sort.)
    """
    codes, first_row, of_code, counts = np.unique(
        combination_codes(labels), return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((-codes, -counts))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return Combinations((labels[first_row[order]] != 0).astype(np.uint8), counts[order], rank[of_code])


def rows_above_limit(combinations: Combinations, limit: int) -> Indices:
    """Return the rows, ascending, whose combination occurs more than `limit` times.

    Raises:
        UsageError: `limit` is negative.
        DataError: There is none.
    """
    require_limit(limit)
    rows = np.flatnonzero(combinations.counts[combinations.of_row] > limit)
    if len(rows) == 0:
        most = combinations.counts[0] if len(combinations.counts) else 0
        raise DataError(
            f"No combination of labels occurs more than {limit} times; give a lower --limit.",
            received=f"{counted(len(combinations.counts), 'combination')}, "
            f"the most frequent with {counted(int(most), 'image')}",
        )
    return rows


def require_limit(limit: int) -> None:
    """Refuse a limit of combinations below 0.

    Raises:
        UsageError: It is.
    """
    if limit < 0:
        raise UsageError("--limit is a number of images, 0 or more.", received=limit)


def require_seed(seed: int) -> None:
    """Refuse a seed from which the seeds of a benchmark cannot be counted up.

    Raises:
        UsageError: Negative, or too near to the largest seed of numpy's RandomState.
    """
    if not 0 <= seed <= _LARGEST_SEED:
        raise UsageError(f"--seed is a number from 0 to {_LARGEST_SEED}.", received=seed)


def split_patients(patients: npt.NDArray[Any], fraction: float, seed: int) -> dict[str, Indices]:
    """Deal patients to train, valid and test, and return the rows of each, ascending.

    The sorted distinct patients are shuffled with RandomState(seed); the first
    int((1 - 2 fraction) n) are for training, those up to int((1 - fraction) n) for validation.

    Args:
        patients: One id per row, [N].
        fraction: Share of the patients for validation, and the same share for the test.
        seed: From 0 on.

    Raises:
        UsageError: `fraction` is not between 0 and 0.5.
        DataError: Too few patients for three splits.
    """
    require_fraction(fraction)
    of_row, distinct = pd.factorize(np.asarray(patients), sort=True)
    num_patients = len(distinct)
    shuffled = np.arange(num_patients)
    np.random.RandomState(seed).shuffle(shuffled)
    bounds = [int((1 - 2 * fraction) * num_patients), int((1 - fraction) * num_patients)]
    split_of_patient = np.empty(num_patients, np.int64)
    for number, members in enumerate(np.split(shuffled, bounds)):
        if len(members) == 0:
            raise DataError(
                f"No patient is left for {SPLIT_NAMES[number]}; add images of more patients, give a lower "
                "--limit or another --split.",
                received=f"{counted(num_patients, 'patient')} and a split of {fraction}",
            )
        split_of_patient[members] = number
    return _rows_of_splits(split_of_patient[of_row])


def stratify_patients(
    patients: npt.NDArray[Any], labels: npt.NDArray[Any], fraction: float, seed: int
) -> dict[str, Indices]:
    """Deal patients to train, valid and test so that every label keeps its share, and return the rows of each.

    How: `medsynth.data.group_split.stratified_groups`.

    Args:
        patients: One id per row, [N].
        labels: [N, L], 0 or 1.
        fraction: Share of the images for validation, and the same share for the test.
        seed: From 0 on.

    Raises:
        UsageError: `fraction` is not between 0 and 0.5.
        DataError: Fewer than three patients.
    """
    require_fraction(fraction)
    num_patients = len(set(patients))
    if num_patients < len(SPLIT_NAMES):
        raise DataError(
            "Train, valid and test need at least one patient each.",
            received=f"{counted(num_patients, 'patient')} in all",
        )
    shares = (1 - 2 * fraction, fraction, fraction)
    return _rows_of_splits(stratified_groups(patients, labels, shares, seed))


def _rows_of_splits(split_of_row: Indices) -> dict[str, Indices]:
    return {name: np.flatnonzero(split_of_row == number) for number, name in enumerate(SPLIT_NAMES)}


def require_fraction(fraction: float) -> None:
    """Refuse a share of the patients that leaves none for training.

    Raises:
        UsageError: It is not above 0 and below 0.5.
    """
    if not 0 < fraction < 0.5:
        raise UsageError("--split is a fraction above 0 and below 0.5.", received=fraction)


def stratified_cut(labels: npt.NDArray[Any], num_kept: int, seed: int, *, split: str, margin: float = 0.0) -> Indices:
    """Choose about `num_kept` rows so that every combination keeps its share, in shuffled order.

    scikit-learn's StratifiedShuffleSplit with test_size = 1 - num_kept / N - margin, of which the
    train side is kept: N - ceil(N * test_size) rows in floating point, so that 29 for a wished 30
    happens, as published. With num_kept = 0, or exactly N, every row is kept in its order.

    Args:
        labels: [N, L].
        num_kept: The wished number of rows; 0 keeps all.
        seed: From 0 on.
        split: The split's name, for messages.
        margin: Subtracted from the share that is dropped; lifts an unlucky rounding.

    Raises:
        UsageError: `num_kept` is negative.
        DataError: Fewer rows than that, or too few rows to keep every combination's share.
    """
    num_rows = len(labels)
    require_num_kept(num_kept)
    if num_rows < num_kept:
        raise DataError(
            f"The {split} split has fewer images than --test-val-samples {num_kept}; give at most "
            f"{num_rows}, or 0 to keep every image.",
            received=counted(num_rows, "image"),
        )
    if num_kept in (0, num_rows):
        return np.arange(num_rows)
    from sklearn.model_selection import StratifiedShuffleSplit  # noqa: PLC0415 - slow to load, and often not needed

    codes = combination_codes(labels)
    try:
        cut = StratifiedShuffleSplit(1, test_size=1 - num_kept / num_rows - margin, random_state=seed)
        kept, _ = next(cut.split(np.zeros(num_rows), codes))
    except ValueError as error:
        counts = np.unique(codes, return_counts=True)[1]
        raise DataError(
            f"The {split} split cannot be cut to --test-val-samples {num_kept} with every combination of "
            "labels in its share: each needs two images or more, and there may be no more combinations than "
            "images kept or left out. Give another number, 0 to keep every image, or a higher --limit.",
            received=f"{counted(num_rows, 'image')} of {counted(len(counts), 'combination')}, "
            f"the rarest with {counts.min()} ({error})",
        ) from None
    return kept.astype(np.int64)


def require_num_kept(num_kept: int) -> None:
    """Refuse a number of validation and test images below 0.

    Raises:
        UsageError: It is.
    """
    if num_kept < 0:
        raise UsageError("--test-val-samples is a number of images, or 0 for all.", received=num_kept)


def shuffled(indices: Indices, seed: int) -> Indices:
    """Return `indices` in the order that RandomState(seed).shuffle gives them."""
    order = np.arange(len(indices))
    np.random.RandomState(seed).shuffle(order)
    return indices[order]


def rows_per_class(
    class_of_row: Indices, classes: Sequence[int], num_per_class: int, *, split: str, seeds: Sequence[int] | None
) -> list[Indices]:
    """Choose the same number of rows of every class.

    Args:
        class_of_row: [N], -1 where a row is of none.
        classes: In the order in which they shall stand.
        num_per_class: How many rows of each.
        split: The split's name, for messages.
        seeds: Shuffle the rows of each class with its seed before the cut; None takes the first ones.

    Returns:
        One array of row numbers per class.

    Raises:
        UsageError: `num_per_class` is below 1.
        DataError: A class has fewer rows.
    """
    require_num_per_class(num_per_class, split)
    chosen = []
    for number, wanted in enumerate(classes):
        rows = np.flatnonzero(class_of_row == wanted)
        if len(rows) < num_per_class:
            raise DataError(
                f"{num_per_class} images per class were asked for in the {split} split; the class of rank "
                f"{wanted + 1} by count has fewer. Ask for fewer images or fewer classes.",
                received=counted(len(rows), "image"),
            )
        chosen.append((rows if seeds is None else shuffled(rows, seeds[number]))[:num_per_class])
    return chosen


def require_num_per_class(num_per_class: int, split: str) -> None:
    """Refuse a number of images of each class below 1.

    Args:
        num_per_class: The number.
        split: The split's name, for messages.

    Raises:
        UsageError: It is.
    """
    if num_per_class < 1:
        raise UsageError(f"The images per class of the {split} split are 1 or more.", received=num_per_class)
