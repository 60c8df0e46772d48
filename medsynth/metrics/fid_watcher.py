"""FID against a fixed set of real images, again and again: what a training is stopped by."""

from pathlib import Path

from medsynth.data.tfrecords import Images
from medsynth.metrics.cache import FeatureCache
from medsynth.metrics.features import Extractor
from medsynth.metrics.frechet import covariance_factor, frechet_distance, moments


class FidWatcher:
    """Gives the FID of synthetic images against real ones whose statistics are computed once.

    Args:
        extractor: The network.
        real_images: uint8 [N, H, W, 1 or 3]; not kept.
        cache_folder: Where their features are kept between runs; None computes them anew.

    Attributes:
        label: Of the features, for logs.
        num_real_images: N; give `value` as many fakes, as FID depends on both numbers.
    """

    def __init__(self, extractor: Extractor, real_images: Images, cache_folder: Path | None = None) -> None:
        self._extractor = extractor
        self._real = moments(FeatureCache(cache_folder).features(extractor, real_images))
        self._real_factor = covariance_factor(self._real.covariance)
        self.label, self.num_real_images = extractor.label, len(real_images)

    def value(self, fake_images: Images) -> float:
        """Return the FID of uint8 images [M, H, W, 1 or 3], M > 1, computed in float64."""
        fake = moments(self._extractor(fake_images))
        return frechet_distance(self._real, fake, real_factor=self._real_factor)
