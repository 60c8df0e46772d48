"""Copies of training images by their pixels: the audit's search for near duplicates, on synthetic images.

A network's features change with brightness, gamma and crops, so that a re-windowed copy can lie as far off as any image
(docs/neighbours.md gives the rates). The search of `medsynth.data.near_duplicates` does not see brightness and contrast
at all, but wants the same details at the same places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.data.near_duplicates import CopyFinder, ImageSet, perceptual_hashes, thumbnail_side, thumbnails
from medsynth.data.tfrecords import Images, RecordFile
from medsynth.progress import Progress

Numbers = npt.NDArray[np.int64]
_IMAGES_PER_BLOCK = 256


@dataclass(frozen=True)
class PixelCopies:
    """Which of N images are copies of training images.

    Attributes:
        originals: The record of the most similar original, int64 [N]; -1 where there is none.
        similarities: Of the pixels, at most 1, float64 [N]; 0 where there is none.
    """

    originals: Numbers
    similarities: npt.NDArray[np.float64]

    @classmethod
    def none(cls, num_images: int) -> "PixelCopies":
        """Return what is known of images that were not searched."""
        return cls(np.full(num_images, -1, np.int64), np.zeros(num_images))

    @property
    def is_copy(self) -> npt.NDArray[np.bool_]:
        """Which are copies, [N]."""
        return self.originals >= 0


class PixelSearch:
    """The training images, ready to be searched for originals.

    Args:
        train: The training images.
        held_out: Other real images; what is usual in either counts little in a comparison.
    """

    def __init__(self, train: RecordFile, held_out: RecordFile) -> None:
        self._side = thumbnail_side(train.shape[0])
        self._train = self._of_records(train, "train")
        self._finder = CopyFinder([self._train, self._of_records(held_out, "held-out images")])

    @staticmethod
    def can_compare(records: RecordFile) -> bool:
        """Whether images of this size show enough to be told apart."""
        return thumbnail_side(records.shape[0]) > 0

    def in_records(self, records: RecordFile, name: str) -> PixelCopies:
        """Return which images of a record file are copies."""
        return self._copies(self._of_records(records, name))

    def in_images(self, images: Images) -> PixelCopies:
        """Return which images [N, H, W, C] are copies."""
        pictures = thumbnails(images, self._side)
        return self._copies(ImageSet(perceptual_hashes(pictures), lambda numbers: pictures[numbers]))

    def _copies(self, queries: ImageSet) -> PixelCopies:
        num_images = len(queries.hashes)
        originals, similarities = np.full(num_images, -1, np.int64), np.zeros(num_images)
        for match in self._finder.find(queries, self._train):
            if match.similarity > similarities[match.query]:
                # Rounding can lift an exact copy a little above 1.
                originals[match.query], similarities[match.query] = match.key, min(match.similarity, 1.0)
        return PixelCopies(originals, similarities)

    def _of_records(self, records: RecordFile, name: str) -> ImageSet:
        progress = Progress(f"thumbnails of {name}", len(records), "images")
        hashes = []
        for images in records.batches(_IMAGES_PER_BLOCK):
            hashes.append(perceptual_hashes(thumbnails(images, self._side)))
            progress.advance(len(images))
        progress.close()
        return ImageSet(np.concatenate(hashes), _reader(records, self._side))


def _reader(records: RecordFile, side: int) -> Callable[[Numbers], npt.NDArray[np.float32]]:
    return lambda numbers: thumbnails(records.read(numbers), side)
