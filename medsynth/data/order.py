"""Which image comes when: a pure function of a seed and of how many images were seen."""

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

_PASS_STREAM, _DRAW_STREAM = 0, 1
_NUM_PASSES_KEPT = 4  # a batch spans two passes at most where the data is not tiny


class PassOrder:
    """The order of images through a training.

    Each pass over the data goes through a permutation drawn from (seed, number of the pass), so the
    n-th image is fixed by (seed, n), and a resumed training needs nothing but its count of images.

    Args:
        num_images: N, 1 or more.
        seed: From 0 on.
    """

    def __init__(self, num_images: int, seed: int) -> None:
        self.num_images, self.seed = num_images, seed
        self._permutations: dict[int, Indices] = {}

    def next(self, images_seen: int, size: int) -> Indices:
        """Return which images follow after `images_seen`: int64 [size], each from 0 to N-1."""
        passes, within = np.divmod(np.arange(images_seen, images_seen + size), self.num_images)
        indices = np.empty(size, np.int64)
        for number in np.unique(passes):
            chosen = passes == number
            indices[chosen] = self._permutation(int(number))[within[chosen]]
        return indices

    def draw(self, step: int, size: int) -> Indices:
        """Draw images with replacement: int64 [size], fixed by (seed, step)."""
        rng = np.random.default_rng((self.seed, _DRAW_STREAM, step))
        return rng.integers(self.num_images, size=size)

    def _permutation(self, number: int) -> Indices:
        if number not in self._permutations:
            for old in sorted(self._permutations)[: 1 - _NUM_PASSES_KEPT]:
                del self._permutations[old]
            rng = np.random.default_rng((self.seed, _PASS_STREAM, number))
            self._permutations[number] = rng.permutation(self.num_images)
        return self._permutations[number]


def grouped_order(groups: Indices | None, num_records: int, seed: int) -> Indices:
    """Return a random order of the records [N] in which those of a patient stand together.

    Args:
        groups: The patient of every record, numbered from 0, [N]; None where they are not known.
        num_records: N.
        seed: The same seed gives the same order.
    """
    rng = np.random.default_rng(seed)
    if groups is None:
        return rng.permutation(num_records)
    ranks = rng.permutation(int(groups.max()) + 1)
    return np.argsort(ranks[groups], kind="stable")
