"""Whether synthetic rows are copies: how near the closest training row lies, and how near it lies to real new rows.

The distance of two rows is the mean over the columns of |difference| / range for numbers (the range of the training
rows), and of 0 or 1 for equal or different values elsewhere: Gower 1971, doi:10.2307/2528823, as in SDMetrics'
DCRBaselineProtection. SDMetrics cuts the difference of a column at its range; here a number beyond the training rows'
range lies farther off.
"""

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd

from GAN_joint.analysis.tables import Floats, Table, encode_tables
from medsynth.classify.evaluation.evaluate import Interval, interval, proportion
from medsynth.classify.neighbours.memorisation import MINIMUM_HELD_OUT, compare
from medsynth.parallel import available_cpus
from medsynth.progress import Progress

# A share of the mean column's range: what float32 numbers lose in a generator does not hide a copy.
COPY_TOLERANCE = 1e-6
_NUM_RESAMPLES = 500
# Block of pairs at a time: small enough for a processor's cache, so that memory does not set the speed.
_ROWS_PER_BLOCK, _REFERENCES_PER_BLOCK = 32, 4096
_ROWS_PER_TASK = 256


@dataclass(frozen=True)
class ClosestRecords:
    """Distances to the closest training row, of synthetic rows and of held-out real ones.

    Attributes:
        synthetic: Of every synthetic row, [M].
        held_out: Of every held-out row, [H]; empty without such rows.
        median: Median of the synthetic rows.
        median_held_out: Median of the held-out rows; NaN without.
        median_ratio: The one over the other; 1 is what new real rows would have; NaN where the other is 0 or missing.
        threshold: 5th percentile of the held-out rows; NaN with fewer than 20 of them.
        share_below: Share of the synthetic rows below it.
        share_expected: Of new real rows, this share would lie below.
        copies: Share of the synthetic rows that equal a training row.
        num_copies: How many these are.
        copies_held_out: Share of the held-out rows that equal a training row: with few columns, rows repeat by chance.
        num_copies_held_out: How many these are.
    """

    synthetic: Floats
    held_out: Floats
    median: float
    median_held_out: float
    median_ratio: Interval
    threshold: float
    share_below: Interval
    share_expected: float
    copies: Interval
    num_copies: int
    copies_held_out: Interval
    num_copies_held_out: int


def closest_records(
    train: pd.DataFrame,
    held_out: pd.DataFrame | None,
    synthetic: pd.DataFrame,
    kinds: Mapping[str, str],
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> ClosestRecords:
    """Compare how near synthetic rows and held-out real rows lie to the rows that the generator was trained on.

    Training rows are held fixed. The ratio's interval draws rows of both other tables with replacement; that of the
    share below is `medsynth.classify.neighbours.memorisation.compare`'s, with the uncertainty of the percentile in it;
    that of copies is exact (Clopper and Pearson).

    Args:
        train: N rows that the generator was trained on.
        held_out: H real rows that it was not trained on; None where there are none.
        synthetic: M rows.
        kinds: Kind of every column.
        seed: Of the resamples.
        progress: Is moved on by one for every synthetic and every held-out row.

    Raises:
        MedsynthError: Tables that do not fit each other (see `encode_tables`).
    """
    far = closest_distances(synthetic, train, kinds, progress=progress)
    near = np.empty(0) if held_out is None else closest_distances(held_out, train, kinds, progress=progress)
    num_copies, num_copies_held_out = (int((some <= COPY_TOLERANCE).sum()) for some in (far, near))
    nothing = Interval(float("nan"))
    share, threshold, expected = nothing, float("nan"), float("nan")
    if len(near) >= MINIMUM_HELD_OUT:
        found = compare(far, near, np.arange(len(near)), seed=seed)
        share, threshold, expected = found.share, found.threshold, found.expected
    return ClosestRecords(
        synthetic=far,
        held_out=near,
        median=float(np.median(far)),
        median_held_out=float(np.median(near)) if len(near) else float("nan"),
        median_ratio=_median_ratio(far, near, seed) if len(near) else nothing,
        threshold=threshold,
        share_below=share,
        share_expected=expected,
        copies=proportion(num_copies, len(far)),
        num_copies=num_copies,
        copies_held_out=proportion(num_copies_held_out, len(near)) if len(near) else nothing,
        num_copies_held_out=num_copies_held_out,
    )


def closest_distances(
    rows: pd.DataFrame, reference: pd.DataFrame, kinds: Mapping[str, str], *, progress: Progress | None = None
) -> Floats:
    """Return the distance of every row [M] to the closest of the reference's rows.

    Exact, in blocks: the memory beside the tables does not grow with the number of rows, and all processors work.

    Args:
        rows: M rows.
        reference: N rows, whose ranges scale the numbers.
        kinds: Kind of every column.
        progress: Is moved on by one for every row.

    Raises:
        MedsynthError: Tables that do not fit each other (see `encode_tables`).
    """
    tables = encode_tables({"rows": rows, "rows that they are compared with": reference}, kinds)
    queries, references = tables.values()
    low, spread = references.numbers.min(axis=0), np.ptp(references.numbers, axis=0)
    # Beside a constant column every other value is different, by how much nobody can say.
    constant = spread == 0
    scale = np.where(constant, 1.0, spread)
    scaled = []
    for table in (queries, references):
        values = (table.numbers - low) / scale
        values[:, constant] = values[:, constant] != 0
        scaled.append(_Block(values, table.codes.astype(np.min_scalar_type(_largest_code(table)))))
    blocks = [scaled[0].part(start, _ROWS_PER_TASK) for start in range(0, len(queries), _ROWS_PER_TASK)]
    # Cut by column once: a block then reads neighbouring numbers.
    columns = [
        scaled[1].part(start, _REFERENCES_PER_BLOCK) for start in range(0, len(references), _REFERENCES_PER_BLOCK)
    ]
    columns = [_Block(np.ascontiguousarray(one.values.T), np.ascontiguousarray(one.codes.T)) for one in columns]
    closest = []
    with ThreadPoolExecutor(available_cpus()) as pool:  # numpy leaves the interpreter's lock while it computes
        for found in pool.map(_closest, blocks, itertools.repeat(columns)):
            closest.append(found)
            if progress is not None:
                progress.advance(len(found))
    return np.concatenate(closest) / len(kinds)


@dataclass(frozen=True)
class _Block:
    """Rows, or columns of rows: scaled numbers and codes."""

    values: Floats
    codes: "np.ndarray[tuple[int, ...], np.dtype[np.unsignedinteger]]"

    def part(self, start: int, num_rows: int) -> "_Block":
        return _Block(self.values[start : start + num_rows], self.codes[start : start + num_rows])


def _largest_code(table: Table) -> int:
    return max((len(words) for words in table.words), default=1)


def _closest(rows: _Block, columns: list[_Block]) -> Floats:
    """Return the smallest sum over the columns of the distances to any of the references, [m]."""
    closest = np.full(len(rows.values), np.inf)
    for start in range(0, len(closest), _ROWS_PER_BLOCK):
        part = slice(start, start + _ROWS_PER_BLOCK)
        for block in columns:
            sums = _distances(rows.part(start, _ROWS_PER_BLOCK), block)
            np.minimum(closest[part], sums.min(axis=1), out=closest[part])
    return closest


def _distances(rows: _Block, columns: _Block) -> Floats:
    """Return the sums over the columns of the distances of m rows and n references, [m, n]."""
    shape = len(rows.values), columns.values.shape[1]
    sums, differences = np.zeros(shape), np.empty(shape)
    mismatches, differ = np.zeros(shape, np.uint16), np.empty(shape, np.bool_)
    for column in range(columns.codes.shape[0]):
        np.not_equal(rows.codes[:, column, None], columns.codes[column], out=differ)
        mismatches += differ
    for column in range(columns.values.shape[0]):
        np.subtract(rows.values[:, column, None], columns.values[column], out=differences)
        np.abs(differences, out=differences)
        sums += differences
    sums += mismatches
    return sums


def _median_ratio(values: Floats, held_out: Floats, seed: int) -> Interval:
    middle = float(np.median(held_out))
    if middle == 0:
        return Interval(float("nan"))
    rng = np.random.default_rng(seed)
    ordered, ordered_held_out = np.sort(values), np.sort(held_out)
    above, below = _resampled_medians(ordered, rng), _resampled_medians(ordered_held_out, rng)
    resampled = np.divide(above, below, out=np.full(_NUM_RESAMPLES, np.nan), where=below > 0)
    return interval(float(np.median(values)) / middle, resampled)


def _resampled_medians(ordered: Floats, rng: np.random.Generator) -> Floats:
    """Return medians of rows drawn with replacement, [R]."""
    medians = []
    for _ in range(_NUM_RESAMPLES):
        places = rng.integers(0, len(ordered), len(ordered))
        middle = np.partition(places, [(len(places) - 1) // 2, len(places) // 2])
        medians.append(ordered[middle[[(len(places) - 1) // 2, len(places) // 2]]].mean())
    return np.array(medians)
