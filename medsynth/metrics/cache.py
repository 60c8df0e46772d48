"""Features of real images on disk, so that they are computed once for all snapshots and runs."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.tfrecords import Images
from medsynth.errors import NetworkError
from medsynth.metrics.features import Extractor

Floats = npt.NDArray[np.float32]


def images_digest(images: Images) -> str:
    """Return the SHA-256 of images [N, H, W, C] with their shape, hexadecimal."""
    digest = hashlib.sha256(str(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


class FeatureCache:
    """A folder of features, each file found by the weights, the images and their number.

    Args:
        folder: Made when something is stored; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def read(self, extractor: Extractor, images: Images) -> Floats | None:
        """Return the features [N, D] of images [N, H, W, C], or None where they are not there, or not whole."""
        from medsynth.training.checkpoint import read_arrays  # noqa: PLC0415  (loads Keras)

        if self.folder is None:
            return None
        facts = _facts(extractor, images)
        try:
            arrays, stored = read_arrays(self._path(facts))
        except NetworkError:
            return None
        return np.asarray(arrays["features"], np.float32) if stored == facts and "features" in arrays else None

    def features(
        self, extractor: Extractor, images: Images, compute: Callable[[Images], Floats] | None = None
    ) -> Floats:
        """Return float32 features [N, D], from disk where they are there, else computed and stored.

        Args:
            extractor: The network.
            images: uint8 [N, H, W, C].
            compute: What to call instead of the extractor (to show progress).
        """
        from medsynth.training.checkpoint import write_arrays  # noqa: PLC0415

        found = self.read(extractor, images)
        if found is None:
            found = (compute or extractor)(images)
            if self.folder is not None:
                facts = _facts(extractor, images)
                write_arrays(self._path(facts), {"features": found}, facts)
        return found

    def _path(self, facts: dict[str, Any]) -> Path:
        key = hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:16]
        return Path(self.folder or ".") / f"features-{facts['extractor']}-n{facts['num_images']}-{key}.safetensors"


def _facts(extractor: Extractor, images: Images) -> dict[str, Any]:
    return {
        "extractor": extractor.name,
        "extractor_sha256": extractor.digest,
        "num_features": extractor.size,
        "images_sha256": images_digest(images),
        "num_images": len(images),
    }
