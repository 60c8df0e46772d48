"""Metrics by name, for a set of real and a set of synthetic images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.data.tfrecords import Images
from medsynth.metrics.birthday import birthday_estimates
from medsynth.metrics.frechet import frechet_estimates
from medsynth.metrics.inception_score import class_probabilities, inception_score_estimate
from medsynth.metrics.intervals import NUM_BLOCKS, Estimate
from medsynth.metrics.kernel import kid_estimate, kid_subsets
from medsynth.metrics.manifold import manifold_estimates
from medsynth.metrics.modes import mode_estimates
from medsynth.metrics.ms_ssim import pair_similarity
from medsynth.metrics.sliced_wasserstein import sliced_wasserstein_estimates

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ImageSet:
    """Images and what a network makes of them.

    Attributes:
        images: uint8 [N, R, R, C]. Images that belong together (of one patient) are neighbours, so that the blocks
            that intervals leave out keep them together.
        features: float32 [N, D]; may be empty where no metric needs them.
        class_weights: float32 [D, K]; None where no metric needs them.
        groups: The patient of each image, [N]; None where each image is of its own.
    """

    images: Images
    features: Floats
    class_weights: Floats | None = None
    groups: npt.NDArray[np.int64] | None = None

    def probabilities(self) -> npt.NDArray[np.float64]:
        """Return the class probabilities, [N, K].

        Raises:
            ValueError: There are no class weights.
        """
        if self.class_weights is None:
            raise ValueError("the Inception score needs class weights")
        return class_probabilities(self.features, self.class_weights)


@dataclass(frozen=True)
class Comparison:
    """Everything that a metric may ask for.

    Attributes:
        real: N images.
        fake: N images; real ones of another draw give the floor.
        wanted: The metrics that were asked for.
        seed: Of random choices.
        num_blocks: Blocks that the intervals leave out; 0 for values without intervals.
    """

    real: ImageSet
    fake: ImageSet
    wanted: frozenset[str]
    seed: int
    num_blocks: int


# Each function gives the metrics that share its work. `is` and `ms_ssim` are of the fakes alone; they and `kid_subsets`
# have their intervals from parts of the images.
_GROUPS: dict[tuple[str, ...], Callable[[Comparison], dict[str, Estimate]]] = {
    ("fid", "fid_infinity"): lambda both: frechet_estimates(
        both.real.features,
        both.fake.features,
        extrapolate="fid_infinity" in both.wanted,
        num_blocks=both.num_blocks,
    ),
    ("kid",): lambda both: {"kid": kid_estimate(both.real.features, both.fake.features, num_blocks=both.num_blocks)},
    ("kid_subsets",): lambda both: {"kid_subsets": kid_subsets(both.real.features, both.fake.features)},
    ("precision", "recall", "density", "coverage"): lambda both: manifold_estimates(
        both.real.features, both.fake.features, num_blocks=both.num_blocks
    ),
    ("modes", "ndb"): lambda both: mode_estimates(
        both.real.features, both.fake.features, seed=both.seed, num_blocks=both.num_blocks
    ),
    ("birthday", "support"): lambda both: birthday_estimates(
        both.real.features,
        both.fake.features,
        real_groups=both.real.groups,
        fake_groups=both.fake.groups,
        num_blocks=both.num_blocks,
    ),
    ("is",): lambda both: {"is": inception_score_estimate(both.fake.probabilities())},
    ("ms_ssim",): lambda both: {"ms_ssim": pair_similarity(both.fake.images)},
    ("swd",): lambda both: sliced_wasserstein_estimates(
        both.real.images, both.fake.images, seed=both.seed, num_blocks=both.num_blocks
    ),
}


def metric_groups(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the metrics of `names` in groups that are computed at once."""
    groups = [tuple(name for name in names if name in group) for group in _GROUPS]
    return [group for group in groups if group]


def evaluate(
    names: Sequence[str], real: ImageSet, fake: ImageSet, *, seed: int = 0, num_blocks: int = NUM_BLOCKS
) -> dict[str, Estimate]:
    """Compute metrics of synthetic images against real ones, with 95 % intervals.

    What an interval is made of stands with each metric's function. `swd` brings a row per level along (`swd_32`).

    Args:
        names: Of `medsynth.metrics.catalogue.METRICS`.
        real: N images.
        fake: N images; real ones of another draw give the floor: what a perfect generator would score.
        seed: Of the random choices of `swd` and `modes`.
        num_blocks: Blocks that the intervals leave out; 0 for values without intervals.
    """
    both = Comparison(real, fake, frozenset(names), seed, num_blocks)
    found: dict[str, Estimate] = {}
    for group, function in _GROUPS.items():
        if not both.wanted.intersection(group):
            continue
        unwanted = {name for name in group if name not in both.wanted}
        found |= {name: estimate for name, estimate in function(both).items() if name not in unwanted}
    return found
