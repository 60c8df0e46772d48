"""Training batches at every resolution, as a pure function of how many images were seen."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.data.labels import read_split_labels, require_positives, require_split
from medsynth.data.order import PassOrder
from medsynth.data.tfrecords import Images, RecordFile, available_resolutions, record_path
from medsynth.errors import DataError


class ImagePyramid:
    """A split's images at all resolutions up to one, with their labels.

    The n-th image of a training is fixed by (seed, n); see `medsynth.data.order.PassOrder`.

    Args:
        split_folder: For example data_dir/train.
        resolution: Finest resolution, a power of two.
        smallest_resolution: Coarsest one that will be asked for.
        seed: Of the order.

    Attributes:
        label_names: The label columns.
        labels: float32 [N, L] in record order.
        num_images: N.
        num_channels: 1 or 3.
        images_digest: Of the finest records' checksums; other images have another one.

    Raises:
        DataError: Missing folder, damaged record, a resolution that the data
            does not have, differing counts, or a label without a positive.
    """

    def __init__(self, split_folder: Path, resolution: int, *, smallest_resolution: int, seed: int) -> None:
        require_split(split_folder)
        self.split_folder, self.resolution, self.seed = split_folder, resolution, seed
        split = read_split_labels(split_folder)
        require_positives(split.names, split.values, split_folder)
        self.label_names, self.labels = split.names, split.values
        self._files: dict[int, RecordFile] = {}
        while resolution >= smallest_resolution:
            self._files[resolution] = open_records(split_folder, resolution, expected_num=len(self.labels))
            resolution //= 2
        self.num_images = len(self.labels)
        self.num_channels = self._files[self.resolution].shape[2]
        self.images_digest = self._files[self.resolution].digest
        self._order = PassOrder(self.num_images, seed)

    def batch(self, images_seen: int, size: int, resolution: int) -> tuple[Images, npt.NDArray[np.float32]]:
        """Return the next images and their labels.

        Args:
            images_seen: Real images used before.
            size: Images in the batch.
            resolution: Which level.

        Returns:
            uint8 [size, resolution, resolution, C] and float32 [size, L].
        """
        indices = self._order.next(images_seen, size)
        return self._files[resolution].read(indices), self.labels[indices]

    def random_labels(self, step: int, size: int) -> npt.NDArray[np.float32]:
        """Draw label rows with replacement from the training labels: float32 [size, L], fixed by (seed, step)."""
        return self.labels[self._order.draw(step, size)]

    def first_images(self, size: int) -> tuple[Images, npt.NDArray[np.float32]]:
        """Return the first images in record order (cyclic), at full resolution, and their labels."""
        indices = np.arange(size) % self.num_images
        return self._files[self.resolution].read(indices), self.labels[indices]


def open_records(split_folder: Path, resolution: int, *, expected_num: int | None = None) -> RecordFile:
    """Open a split's records of one resolution.

    Args:
        split_folder: For example data_dir/train.
        resolution: A power of two.
        expected_num: Number of label rows, where known.

    Raises:
        DataError: There are none of that resolution (the message lists those that
            there are), their images have another size, or their number differs
            from the labels'.
    """
    log2 = resolution.bit_length() - 1
    available = available_resolutions(split_folder)
    if log2 not in available:
        sizes = ", ".join(f"{2**r}" for r in available) or "none"
        raise DataError(
            f"The data has no images of {resolution}x{resolution}. Resolutions in this folder: {sizes}.",
            received=f"resolution {resolution}",
            path=split_folder,
        )
    records = RecordFile(record_path(split_folder, log2))
    if records.shape[:2] != (resolution, resolution):
        raise DataError(
            f"The file's name says {resolution}x{resolution}.",
            received=f"images of {records.shape[1]}x{records.shape[0]}",
            path=records.path,
        )
    if expected_num is not None and len(records) != expected_num:
        raise DataError(
            f"There are {expected_num} rows of labels, and there must be as many records.",
            received=f"{len(records)} records",
            path=records.path,
        )
    return records
