"""Which modes of the real images the synthetic ones occupy: bins made of half of the reals, counted on the other half.

The features of half of the real images are clustered into K modes; the other half and the fakes are each assigned to
the nearest centre. Reals that shaped the centres would lie nearer to them than any new image does, so their counts are
not used: other reals then fall into the bins as the counted ones do, and score 1 (`modes`) and 0.05 (`ndb`).
The halves change places, three divisions in all, and the results are averaged.

- modes: exp(-KL(q || p)) of the fakes' shares q and the reals' shares p of the bins. Where fakes are spread over some
  of the modes as the reals are, this is the share of the reals in these modes; in any other case it is less than that.
  For equally large modes it is the effective number of modes, exp(entropy of q), over K.
- ndb: share of the bins whose shares of fakes and of reals differ in a two-proportion test at 5 %.

Sources: ndb: Richardson and Weiss 2018, https://arxiv.org/abs/1805.12462 (there: without halves); KL of fakes
from reals over modes: Metz et al. 2017, https://arxiv.org/abs/1611.02163 and Srivastava et al. 2017
(VEEGAN), https://arxiv.org/abs/1705.07761; logarithms of counts without their bias: Grassberger 1988,
doi:10.1016/0375-9601(88)90193-4.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import digamma
from scipy.stats import norm
from sklearn.cluster import KMeans

from medsynth.metrics.intervals import NUM_BLOCKS, Estimate, block_numbers, jackknife_estimate

Features = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]

MOST_MODES = 100
IMAGES_PER_MODE = 10
SIGNIFICANCE = 0.05
_NUM_PARTS = 6  # of the reals, three of which are clustered


def num_modes(num_reals: int) -> int:
    """Return K, the modes into which real images are clustered: one for ten of them, 2 to 100.

    So five counted reals fall into a mode on average, as many as a test of proportions wants (Cochran 1954,
    doi:10.2307/3001616); 100 is the published number.
    """
    return min(max(num_reals // IMAGES_PER_MODE, 2), MOST_MODES)


def mode_estimates(
    real: Features, fake: Features, *, seed: int = 0, num_blocks: int = NUM_BLOCKS
) -> dict[str, Estimate]:
    """Return `modes` (above 0; 1 is the aim, by chance a little more) and `ndb` (0 to 1; 0.05 is the aim).

    For the intervals blocks of both sets are left out of the counts. The bins stay: clustering again would add its
    own chance, which the interval then took for the images'.

    Args:
        real: [N, D]; images of one patient are neighbours, so that few patients are in both halves.
        fake: [M, D].
        seed: Of the clustering.
        num_blocks: Blocks; 0 for values without intervals.
    """
    parts = block_numbers(len(real), _NUM_PARTS)
    blocks = [block_numbers(len(side), max(num_blocks, 1)) for side in (real, fake)]
    size = num_modes(len(real))
    divergences, shares = [], []
    for first in range(_NUM_PARTS):
        clustered = (parts - first) % _NUM_PARTS < _NUM_PARTS // 2
        bins = KMeans(size, random_state=seed + first).fit(real[clustered])
        real_counts = _counts(bins.predict(real[~clustered]), blocks[0][~clustered], size, num_blocks)
        fake_counts = _counts(bins.predict(fake), blocks[1], size, num_blocks)
        divergences.append(divergence(fake_counts, real_counts))
        shares.append(different_bins(fake_counts, real_counts))
    logarithms, share = -np.mean(divergences, axis=0), np.mean(shares, axis=0)
    modes = jackknife_estimate(logarithms[0], logarithms[1:])
    return {
        "modes": Estimate(*(float(np.exp(end)) for end in (modes.value, modes.low, modes.high))),
        "ndb": jackknife_estimate(share[0], share[1:]).within(0.0, 1.0),
    }


def divergence(fakes: Matrix, reals: Matrix) -> Matrix:
    """Return KL(q || p), [...], from counts [..., K] of images in the bins; by chance a little below 0.

    digamma(f) and digamma(r + 1) stand for the logarithms of counts and of their sums: sums of f times either have
    nearly no bias, and a bin without reals is no infinity.
    """
    terms = np.where(fakes > 0, fakes * (digamma(np.maximum(fakes, 1.0)) - digamma(reals + 1.0)), 0.0)
    num_fakes, num_reals = fakes.sum(axis=-1), reals.sum(axis=-1)
    return np.asarray(terms.sum(axis=-1) / num_fakes - digamma(num_fakes) + digamma(num_reals + 1.0))


def different_bins(fakes: Matrix, reals: Matrix) -> Matrix:
    """Return the share of bins, [...], whose proportions differ significantly, from counts [..., K]."""
    num_fakes, num_reals = (counts.sum(axis=-1, keepdims=True) for counts in (fakes, reals))
    pooled = (fakes + reals) / (num_fakes + num_reals)
    error = np.sqrt(pooled * (1.0 - pooled) * (1.0 / num_fakes + 1.0 / num_reals))
    gap = np.abs(fakes / num_fakes - reals / num_reals)
    return np.asarray((gap > norm.ppf(1.0 - SIGNIFICANCE / 2) * error).mean(axis=-1))


def _counts(bins: npt.NDArray[np.int32], blocks: npt.NDArray[np.int64], size: int, num_blocks: int) -> Matrix:
    """Return how many images lie in each bin, of all images and without each block: [1 + G, K]."""
    by_block = np.zeros((max(num_blocks, 1), size))
    np.add.at(by_block, (blocks, bins), 1.0)
    everything = by_block.sum(axis=0)
    return np.concatenate([everything[None], everything - by_block[:num_blocks]])
