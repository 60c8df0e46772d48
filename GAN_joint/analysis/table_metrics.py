"""How alike two tables are, column by column and pair by pair, with 95 % intervals.

Every score is in [0, 1], 1 for equal distributions:

- a column of numbers: 1 - D, D the Kolmogorov-Smirnov distance, max_x |F(x) - G(x)|
- another column: 1 - TV, TV the total variation distance, sum over the values of |p - q| / 2
- two columns of numbers: 1 - |r - s| / 2, r and s Pearson's correlations in the two tables
- two other columns: 1 - TV of their joint values; a column of numbers beside another one is cut into ten parts of equal
  width between the real table's smallest and largest value, the outer ones open

These are the definitions of SDMetrics (KSComplement, TVComplement, CorrelationSimilarity, ContingencySimilarity with
the numbers as `continuous_column_names`), https://docs.sdv.dev/sdmetrics; tests hold the formulas against its values.
One case differs: where only the other table's column is constant, SDMetrics leaves the pair out, which would favour a
collapsed generator. Here that correlation counts as 0.

Intervals: the rows of both tables are drawn with replacement, and the interval is the score plus and minus 1.96
standard deviations of the resampled scores. It speaks of the score at these numbers of rows: two finite tables of the
same distribution score less than 1, the less the fewer rows they have, and that is no part of the interval. So a score
is read beside the floor, what held-out real rows score in the same number. (Resampled scores lie below the score as it
lies below the truth, so their percentiles would miss both.) Rows are taken for independent: several rows of one patient
make the interval too narrow.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm

from GAN_joint.analysis.tables import NUMBER, Floats, Numbers, Table, encode_tables
from medsynth.classify.evaluation.evaluate import CONFIDENCE, Interval, resample_weights
from medsynth.progress import Progress

KS, TV, CORRELATION, CONTINGENCY = "ks_complement", "tv_complement", "correlation_similarity", "contingency_similarity"
NUM_RESAMPLES = 500
NUM_BINS = 10  # SDMetrics' number
# Above this number of rows, whole groups of rows are drawn instead of single ones. Groups are dealt at random, so the
# spread is the same, and the work no longer grows with rows times resamples.
_MOST_GROUPS = 1000
_BYTES_AT_ONCE = 32 * 2**20
# A product of matrices goes through so many cells (group by value) in the time that a row takes in a running sum.
_CELLS_PER_ROW = 50
# Of numbers scaled to a range of 1: less is rounding.
_LEAST_VARIANCE = 1e-14


@dataclass(frozen=True)
class Score:
    """How alike one column, or a pair of columns, is in two tables.

    Attributes:
        columns: One or two names.
        measure: ks_complement, tv_complement, correlation_similarity or contingency_similarity.
        interval: The score; NaN where it is undefined (a real correlation with a constant column).
    """

    columns: tuple[str, ...]
    measure: str
    interval: Interval


@dataclass(frozen=True)
class Similarities:
    """Scores of all columns, or of all pairs of columns.

    Attributes:
        scores: In the order of the columns.
        means: Mean score by measure, and of all as `mean`; undefined ones are left out.
    """

    scores: tuple[Score, ...]
    means: Mapping[str, Interval]


@dataclass(frozen=True)
class _Resamples:
    """How often rows count.

    The first of 1 + R rows of weights counts every row once. Weights of the N real rows add up to 1, those of the M
    others to -1, so that sums of weights are differences of shares.

    Attributes:
        groups: Of every row, real ones first, [N + M].
        weights: Of a row of each group, [1 + R, G].
        num_real_groups: Groups of real rows; they come first.
    """

    groups: Numbers
    weights: Floats
    num_real_groups: int


def column_similarities(
    real: pd.DataFrame,
    other: pd.DataFrame,
    kinds: Mapping[str, str],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Similarities:
    """Compare the distribution of every column in two tables.

    Args:
        real: N rows.
        other: M synthetic rows, or real ones that give the floor.
        kinds: Kind of every column.
        num_resamples: R; 0 for scores without intervals.
        seed: Of the resamples.
        progress: Is moved on by one for every column.

    Raises:
        MedsynthError: Tables that do not fit each other (see `encode_tables`).
    """
    first, second = _encode(real, other, kinds)
    resamples = _resamples(len(first), len(second), num_resamples, seed)
    columns = iter(np.concatenate([first.numbers, second.numbers]).T)
    codes = zip(np.concatenate([first.codes, second.codes]).T, first.words, strict=True)
    measures, scores = [], []
    for kind in kinds.values():
        if kind == NUMBER:
            measures.append(KS)
            scores.append(1 - _ks_distances(resamples, next(columns)))
        else:
            cells, words = next(codes)
            measures.append(TV)
            scores.append(1 - _variations(resamples, cells, len(words)))
        if progress is not None:
            progress.advance()
    return _similarities([(name,) for name in kinds], measures, np.stack(scores))


def pair_similarities(
    real: pd.DataFrame,
    other: pd.DataFrame,
    kinds: Mapping[str, str],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
    progress: Progress | None = None,
) -> Similarities:
    """Compare how every two columns depend on each other in two tables.

    Contingency similarity is that of the joint distribution, so it has the difference of the single columns in it too.

    Args:
        real: N rows.
        other: M rows.
        kinds: Kind of every column.
        num_resamples: R; 0 for scores without intervals.
        seed: Of the resamples.
        progress: Is moved on by one for every pair.

    Raises:
        MedsynthError: Tables that do not fit each other (see `encode_tables`).
    """
    first, second = _encode(real, other, kinds)
    resamples = _resamples(len(first), len(second), num_resamples, seed)
    correlations = _correlation_scores(resamples, first, second)
    cells, num_cells = _all_cells(first, second)
    number_places = {name: place for place, name in enumerate(first.number_names)}
    names, measures, scores = [], [], []
    for (a, one), (b, two) in itertools.combinations(enumerate(kinds), 2):
        names.append((one, two))
        if one in number_places and two in number_places:
            measures.append(CORRELATION)
            scores.append(correlations[:, number_places[one], number_places[two]])
        else:
            measures.append(CONTINGENCY)
            joint = cells[a] * num_cells[b] + cells[b]
            scores.append(1 - _variations(resamples, joint, num_cells[a] * num_cells[b]))
        if progress is not None:
            progress.advance()
    return _similarities(names, measures, np.stack(scores) if scores else np.empty((0, 1 + num_resamples)))


def mean_similarities(draws: Sequence[Similarities]) -> Similarities:
    """Return the mean scores of several draws of rows, without intervals: what one draw is expected to score.

    Args:
        draws: At least one; all of the same columns.
    """
    scores = [
        Score(case[0].columns, case[0].measure, _mean_interval([score.interval for score in case]))
        for case in zip(*(draw.scores for draw in draws), strict=True)
    ]
    means = {name: _mean_interval([draw.means[name] for draw in draws]) for name in draws[0].means}
    return Similarities(tuple(scores), means)


def _mean_interval(intervals: Sequence[Interval]) -> Interval:
    return Interval(float(np.mean([one.value for one in intervals])))


def shuffled_columns(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return the table with every column shuffled on its own: the same columns, and nothing that connects them."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: frame[name].to_numpy()[rng.permutation(len(frame))] for name in frame.columns})


def _encode(real: pd.DataFrame, other: pd.DataFrame, kinds: Mapping[str, str]) -> tuple[Table, Table]:
    tables = encode_tables({"real rows": real, "rows compared with them": other}, kinds)
    first, second = tables.values()
    return first, second


def _resamples(num_real: int, num_other: int, num_resamples: int, seed: int) -> _Resamples:
    groups, weights = [], []
    for number, (num_rows, sign) in enumerate(((num_real, 1.0), (num_other, -1.0))):
        num_groups = min(num_rows, _MOST_GROUPS)
        dealt = np.random.default_rng((seed, number)).permutation(num_rows) * num_groups // num_rows
        drawn = resample_weights(np.arange(num_groups), num_resamples, seed + number)
        counts = np.concatenate([np.ones((1, num_groups)), drawn.reshape(num_resamples, num_groups)])
        sizes = np.bincount(dealt, minlength=num_groups)
        groups.append(dealt)
        weights.append(sign * counts / (counts @ sizes)[:, None])
    num_real_groups = weights[0].shape[1]
    return _Resamples(np.concatenate([groups[0], groups[1] + num_real_groups]), np.hstack(weights), num_real_groups)


def _ks_distances(resamples: _Resamples, values: Floats) -> Floats:
    """Return max |F - G| for every row of weights, [1 + R], of values [N + M]."""
    known, places = np.unique(values, return_inverse=True)
    num_rows, num_groups = resamples.weights.shape
    if len(known) * num_groups <= _CELLS_PER_ROW * len(values):  # many rows, few different values
        return np.asarray(np.abs(np.cumsum(_shares(resamples, places, len(known)), axis=1)).max(axis=1), np.float64)
    order = np.argsort(places, kind="stable")
    last_of_tie = np.cumsum(np.bincount(places)) - 1
    groups = resamples.groups[order]
    distances = np.empty(num_rows)
    at_once = max(_BYTES_AT_ONCE // (8 * len(values)), 1)
    for start in range(0, num_rows, at_once):
        part = slice(start, start + at_once)
        differences = np.cumsum(resamples.weights[part][:, groups], axis=1)[:, last_of_tie]
        distances[part] = np.abs(differences).max(axis=1)
    return distances


def _variations(resamples: _Resamples, cells: Numbers, num_cells: int) -> Floats:
    """Return the total variation distance for every row of weights, [1 + R], of cell numbers [N + M]."""
    if num_cells > len(cells):
        used, cells = np.unique(cells, return_inverse=True)
        num_cells = len(used)
    return np.asarray(np.abs(_shares(resamples, cells, num_cells)).sum(axis=1) / 2, np.float64)


def _shares(resamples: _Resamples, cells: Numbers, num_cells: int) -> Floats:
    """Return the real share of every cell minus the other's, for every row of weights: [1 + R, C]."""
    num_groups = resamples.weights.shape[1]
    counts = np.bincount(resamples.groups * num_cells + cells, minlength=num_groups * num_cells)
    return np.asarray(resamples.weights @ counts.reshape(num_groups, num_cells).astype(np.float64), np.float64)


def _correlation_scores(resamples: _Resamples, first: Table, second: Table) -> Floats:
    """Return 1 - |r - s| / 2 of all pairs of numbers for every row of weights, [1 + R, P, P]; NaN where undefined."""
    middle, spread = first.numbers.mean(axis=0), np.ptp(first.numbers, axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    split, num_real = resamples.num_real_groups, len(first)
    weights, groups = resamples.weights, resamples.groups
    real = _correlations(weights[:, :split], groups[:num_real], (first.numbers - middle) / scale)
    others = _correlations(-weights[:, split:], groups[num_real:] - split, (second.numbers - middle) / scale)
    return 1 - np.abs(real - np.nan_to_num(others, nan=0.0)) / 2


def _correlations(weights: Floats, groups: Numbers, values: Floats) -> Floats:
    """Return Pearson's correlations, [1 + R, P, P], of values [N, P]; NaN with a constant column."""
    order = np.argsort(groups, kind="stable")
    values, starts = values[order], np.searchsorted(groups[order], np.arange(weights.shape[1]))
    num_columns = values.shape[1]
    means = weights @ np.add.reduceat(values, starts, axis=0)
    products = np.empty((len(weights), num_columns, num_columns))
    for column in range(num_columns):  # all at once would need P times the memory of the table
        products[:, column] = weights @ np.add.reduceat(values * values[:, [column]], starts, axis=0)
    covariances = products - means[:, :, None] * means[:, None, :]
    variances = np.einsum("rpp->rp", covariances).copy()
    variances[:, np.ptp(values, axis=0) == 0] = 0.0
    deviations = np.sqrt(np.where(variances > _LEAST_VARIANCE, variances, np.nan))
    return np.asarray(np.clip(covariances / (deviations[:, :, None] * deviations[:, None, :]), -1, 1), np.float64)


def _all_cells(first: Table, second: Table) -> tuple[list[Numbers], list[int]]:
    """Return the cell of every row in each column, [N + M] each, and how many cells a column has."""
    numbers, codes = iter(zip(first.numbers.T, second.numbers.T, strict=True)), iter(range(len(first.words)))
    cells, num_cells = [], []
    for kind in first.kinds.values():
        if kind == NUMBER:
            real, other = next(numbers)
            inner_edges = np.histogram_bin_edges(real, NUM_BINS)[1:-1]
            cells.append(np.digitize(np.concatenate([real, other]), inner_edges).astype(np.int64))
            num_cells.append(NUM_BINS)
        else:
            place = next(codes)
            cells.append(np.concatenate([first.codes[:, place], second.codes[:, place]]))
            num_cells.append(len(first.words[place]))
    return cells, num_cells


def _similarities(names: Sequence[tuple[str, ...]], measures: Sequence[str], scores: Floats) -> Similarities:
    """Return the scores [S, 1 + R], the first from all rows, with their intervals and means."""
    rows = [Score(name, measure, _estimate(row)) for name, measure, row in zip(names, measures, scores, strict=True)]
    chosen = {measure: [one == measure for one in measures] for measure in dict.fromkeys(measures)}
    chosen["mean"] = [True] * len(measures)
    return Similarities(
        tuple(rows), {name: _estimate(_mean(scores[np.array(mask, bool)])) for name, mask in chosen.items()}
    )


def _mean(scores: Floats) -> Floats:
    """Return the mean of the scores [S, 1 + R] that are defined; in a resample, of those that still are."""
    scores = scores[np.isfinite(scores[:, 0])]
    if len(scores) == 0:
        return np.full(scores.shape[1], np.nan)
    defined = np.isfinite(scores)
    return np.asarray(np.where(defined, scores, 0).sum(axis=0) / np.maximum(defined.sum(axis=0), 1), np.float64)


def _estimate(scores: Floats) -> Interval:
    """Return the interval of a score from its values [1 + R], cut to [0, 1].

    Source: the standard interval, Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 12.2.
    """
    value, resampled = float(scores[0]), scores[1:][np.isfinite(scores[1:])]
    if not np.isfinite(value) or len(resampled) < 2:
        return Interval(value)
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * float(resampled.std(ddof=1))
    return Interval(value, max(value - half, 0.0), min(value + half, 1.0), len(resampled))
