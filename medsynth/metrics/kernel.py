"""Kernel distance between two sets of features (KID): unbiased at any number of images.

Source: Binkowski et al. 2018, https://arxiv.org/abs/1801.01401, section 4: the squared maximum mean
discrepancy with the kernel k(x, y) = (x.y / D + 1)^3; unbiased estimate: Gretton et al. 2012, lemma 6.
"""

import numpy as np
import numpy.typing as npt

from medsynth.metrics.intervals import NUM_BLOCKS, Estimate, block_slices, jackknife_estimate, mean_estimate

Features = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]

SUBSET_SIZE = 1000
_BYTES_AT_ONCE = 64 * 2**20  # of kernel values in memory


def polynomial_kernel(first: Matrix, second: Matrix) -> Matrix:
    """Return (x.y / D + 1)^3 for every x of [N, D] and y of [M, D]: [N, M]."""
    values = first @ second.T
    values /= first.shape[1]
    values += 1.0
    values *= values * values
    return values


def kid(real: Features, fake: Features) -> float:
    """Return the unbiased squared kernel distance between features [N, D] and [M, D]; may be below zero."""
    return kid_estimate(real, fake, num_blocks=0).value


def kid_estimate(real: Features, fake: Features, *, num_blocks: int = NUM_BLOCKS) -> Estimate:
    """Return KID with its jackknife interval.

    A bootstrap sample holds copies, whose kernel value with themselves is the largest there is, so
    blocks of both sets are left out instead. That costs nothing: sums of the kernel over pairs of blocks give all.

    Args:
        real: [N, D].
        fake: [M, D].
        num_blocks: Blocks; 0 for the value without an interval.
    """
    values = kid_values(real, fake, num_blocks=num_blocks)
    return jackknife_estimate(values[0], values[1:])


def kid_values(real: Features, fake: Features, *, num_blocks: int) -> Matrix:
    """Return KID of all images, then without each pair of blocks: [1 + G].

    Args:
        real: [N, D].
        fake: [M, D].
        num_blocks: G, 0 or more.
    """
    size = max(num_blocks, 1)
    slices = block_slices(len(real), size), block_slices(len(fake), size)
    sums = (
        block_sums(real, None, slices[0], slices[0]),
        block_sums(fake, None, slices[1], slices[1]),
        block_sums(real, fake, *slices),
    )
    counts = tuple(np.array([part.stop - part.start for part in side]) for side in slices)
    everything = np.ones(size, bool)
    left_out = [_discrepancy(sums, counts, np.arange(size) != block) for block in range(num_blocks)]
    return np.array([_discrepancy(sums, counts, everything), *left_out])


def kid_subsets(real: Features, fake: Features, *, subset_size: int = SUBSET_SIZE) -> Estimate:
    """Return the mean KID of disjoint subsets, with the interval of that mean.

    The published figure is a mean over 100 subsets of 1,000 that overlap. Disjoint ones are independent, so
    their scatter gives an honest interval; the mean is unbiased either way. Cheaper than `kid_estimate`
    by the number of subsets, and a little less certain.

    Args:
        real: [N, D].
        fake: [M, D].
        subset_size: Images of each set in a subset; fewer where the sets would give less than ten subsets.
    """
    num_images = min(len(real), len(fake))
    size = max(min(subset_size, num_images // 10), 2)
    starts = range(0, num_images - size + 1, size)
    return mean_estimate([kid(real[start : start + size], fake[start : start + size]) for start in starts])


def block_sums(first: Features, second: Features | None, rows: list[slice], columns: list[slice]) -> Matrix:
    """Return the sums of the kernel over every pair of blocks, [G, G], never holding more than 64 MB of it.

    Args:
        first: [N, D].
        second: [M, D]; None for `first` with itself, leaving out the pairs of an image with itself.
        rows: Blocks of `first`, in order.
        columns: Blocks of `second`, in order.
    """
    is_same = second is None
    values_first = np.asarray(first, np.float64)
    values_second = values_first if second is None else np.asarray(second, np.float64)
    starts = np.array([block.start for block in columns])
    rows_at_once = max(_BYTES_AT_ONCE // (8 * len(values_second)), 1)
    sums = np.zeros((len(rows), len(columns)))
    for number, block in enumerate(rows):
        # The kernel is symmetric: of a set with itself, the blocks on and right of the diagonal are enough.
        skipped = number if is_same else 0
        for start in range(block.start, block.stop, rows_at_once):
            chunk = values_first[start : min(start + rows_at_once, block.stop)]
            values = polynomial_kernel(chunk, values_second[starts[skipped] :])  # [rows, rest of M]
            if is_same:
                own = start - starts[skipped] + np.arange(len(chunk))
                values[np.arange(len(chunk)), own] = 0.0
            by_block = np.add.reduceat(values.sum(axis=0), starts[skipped:] - starts[skipped])
            sums[number, skipped:] += by_block
    return np.triu(sums) + np.triu(sums, 1).T if is_same else sums


def _discrepancy(
    sums: tuple[Matrix, Matrix, Matrix], counts: tuple[npt.NDArray[np.int64], ...], kept: npt.NDArray[np.bool_]
) -> float:
    """Return the unbiased squared discrepancy of the blocks that are kept, [G]."""
    real_real, fake_fake, real_fake = (float(matrix[np.ix_(kept, kept)].sum()) for matrix in sums)
    num_real, num_fake = (int(side[kept].sum()) for side in counts)
    return (
        real_real / (num_real * (num_real - 1))
        + fake_fake / (num_fake * (num_fake - 1))
        - 2.0 * real_fake / (num_real * num_fake)
    )
