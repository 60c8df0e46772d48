"""What a GAN is trained on, whatever holds it."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from medsynth.data.tfrecords import Images

Floats = npt.NDArray[np.float32]


class TrainingImages(Protocol):
    """What a training shows its discriminator: images, each with a row of numbers (labels, or a table's row).

    The n-th image of a training is fixed by its seed and n.
    """

    label_names: tuple[str, ...]
    labels: Floats
    num_images: int
    num_channels: int
    images_digest: str

    def batch(self, images_seen: int, size: int, resolution: int) -> tuple[Images, Floats]:
        """Return the next images, uint8 [size, resolution, resolution, C], and their rows, float32 [size, L]."""

    def random_labels(self, step: int, size: int) -> Floats:
        """Draw rows for the generator: float32 [size, L]."""

    def first_images(self, size: int) -> tuple[Images, Floats]:
        """Return the first images in stored order (cyclic), at full resolution, and their rows."""
