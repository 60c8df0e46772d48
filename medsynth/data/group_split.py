"""Which groups (patients, clips) go where: whole groups, whatever the order of their rows."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


def held_out_groups(groups: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """Return `share` of the distinct groups, at least one where the share is above 0.

    Groups are ranked by a hash of seed and name, so that a further group moves no other one but at the border.

    Args:
        groups: Their names, in any order and number.
        share: From 0 to 1.
        seed: Another one ranks anew.
    """
    distinct = sorted(set(groups), key=lambda group: _hash(seed, group))
    num_held_out = max(1, round(share * len(distinct))) if share > 0 else 0
    return frozenset(distinct[:num_held_out])


def stratified_groups(
    groups: npt.ArrayLike, labels: npt.NDArray[Any], shares: Sequence[float], seed: int
) -> npt.NDArray[np.int64]:
    """Deal groups to splits so that every label keeps its share, and return the number of each row's split, [N].

    The groups are shuffled with RandomState(seed) and ordered by their number of rows, largest first. Each goes
    where it most lowers the sum of (wished - dealt)^2 / wished over the splits, and over the rows, the positives
    and the negatives of every label. (scikit-learn's StratifiedGroupKFold deals in this order, too, to folds of
    one size.) No split stays without a group where there are as many groups as splits.

    Args:
        groups: One id per row, [N].
        labels: [N, L], 0 or 1.
        shares: Of the rows, of each split; above 0.
        seed: From 0 on.
    """
    of_row, distinct = pd.factorize(np.asarray(groups), sort=True)
    # One column per label, one for its absence, and one for the rows as such.
    present = np.column_stack([labels > 0, labels == 0, np.ones(len(labels))])
    of_group = np.zeros((len(distinct), present.shape[1]))
    np.add.at(of_group, of_row, present)
    totals = np.maximum(of_group.sum(axis=0), 1)
    wished = np.array(shares)
    missing = np.outer(wished, np.ones(len(totals)))  # of each column, as a share of its total
    order = np.arange(len(distinct))
    np.random.RandomState(seed).shuffle(order)
    order = order[np.argsort(-of_group[order, -1], kind="stable")]
    split_of_group = np.empty(len(distinct), np.int64)
    num_groups = np.zeros(len(wished), np.int64)
    weights = of_group / totals
    for position, group in enumerate(order):
        # missing^2 - (missing - weight)^2, summed up; the shares are what each split wishes of every column.
        gain = (2 * missing - weights[group]) @ weights[group] / wished
        gain = gain.round(9)  # what ties on one processor ties on every other
        if len(order) - position <= np.count_nonzero(num_groups == 0):
            gain = np.where(num_groups == 0, gain, -np.inf)
        chosen = int(np.argmax(gain))
        split_of_group[group] = chosen
        num_groups[chosen] += 1
        missing[chosen] -= weights[group]
    return split_of_group[of_row]


def _hash(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{group}".encode()).digest()
