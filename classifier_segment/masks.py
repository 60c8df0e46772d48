"""Outlines to masks: polygons, and run-length encoded masks as COCO has them.

Form: https://cocodataset.org/#format-data (Lin et al. 2014, "Microsoft COCO: Common Objects in Context").
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]
Polygon = tuple[float, ...]

_FIRST_CHARACTER, _BITS_PER_CHARACTER = 48, 5
_VALUE_BITS, _SIGN_BIT, _CONTINUES_BIT = 0x1F, 0x10, 0x20


@dataclass(frozen=True)
class RunLengths:
    """A mask as lengths of runs of zeros and ones in turn, zeros first, column by column.

    Attributes:
        height: Pixels.
        width: Pixels.
        counts: Lengths; they add up to height * width.
        is_compressed: Whether the file has them as text.
    """

    height: int
    width: int
    counts: tuple[int, ...]
    is_compressed: bool = False

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return sum(self.counts[1::2])

    def mask(self) -> Mask:
        """Return uint8 [height, width], 0 or 1."""
        values = np.arange(len(self.counts)) % 2
        columns = np.repeat(values, self.counts).astype(np.uint8)
        return columns.reshape(self.width, self.height).T  # [H*W] -> [W, H] -> [H, W]


def read_run_lengths(segmentation: dict[str, Any], height: int, width: int) -> RunLengths:
    """Return the run lengths of a `segmentation` that is an object with `size` and `counts`.

    Args:
        segmentation: As in the file; `counts` is a list (uncompressed) or text (compressed).
        height: Of the image, pixels.
        width: Of the image, pixels.

    Raises:
        ValueError: It does not describe a mask of that size; the message is a full sentence.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        raise ValueError(f"A mask's size [height, width] is that of its image, [{height}, {width}].")
    is_compressed = isinstance(counts, str)
    if isinstance(counts, str):
        lengths = _decompress(counts)
    elif isinstance(counts, list) and all(type(length) is int for length in counts):
        lengths = counts
    else:
        raise ValueError("A mask's counts are a list of whole numbers, or text.")
    if any(length < 0 for length in lengths) or sum(lengths) != height * width:
        raise ValueError(f"The counts of a mask add up to its {height * width:,} pixels; none is negative.")
    return RunLengths(height, width, tuple(lengths), is_compressed)


def _decompress(text: str) -> list[int]:
    """Return the lengths that COCO's text stands for.

    Five bits a character, the lowest first; from the third length on the difference to the last but one.

    Raises:
        ValueError: It is cut off, or has other characters.
    """
    lengths: list[int] = []
    value = num_bits = 0
    for character in text:
        code = ord(character) - _FIRST_CHARACTER
        if not 0 <= code <= _VALUE_BITS | _CONTINUES_BIT:
            raise ValueError(f"Compressed counts have characters from '0' to 'o' only, not {character!r}.")
        value |= (code & _VALUE_BITS) << num_bits
        num_bits += _BITS_PER_CHARACTER
        if code & _CONTINUES_BIT:
            continue
        if code & _SIGN_BIT:
            value -= 1 << num_bits
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = num_bits = 0
    if num_bits:
        raise ValueError("The compressed counts end in the middle of a number.")
    return lengths


def draw_polygons(polygons: Iterable[Polygon], height: int, width: int) -> Mask:
    """Draw filled polygons, their outlines included, as uint8 [height, width], 0 or 1.

    What lies outside of the image is cut off. Polygons that overlap add up: none is a hole.

    Args:
        polygons: x, y, x, y, ... in pixels, the middle of the first pixel being 0, 0.
        height: Pixels.
        width: Pixels.
    """
    mask = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        points = np.rint(np.asarray(polygon, np.float64).reshape(-1, 2)).astype(np.int32)  # [2*P] -> [P, 2]
        cv2.fillPoly(mask, [points], 1)
    return mask


def is_partly_outside(polygon: Polygon, height: int, width: int) -> bool:
    """Return whether a polygon leaves its image, by more than the half pixel that rounding allows."""
    horizontal, vertical = _coordinates(polygon)
    return bool(
        horizontal.min() < -1 or vertical.min() < -1 or horizontal.max() > width + 0.5 or vertical.max() > height + 0.5
    )


def is_outside(polygon: Polygon, height: int, width: int) -> bool:
    """Return whether no pixel of the image is within a polygon."""
    return not draw_polygons([polygon], height, width).any()


def _coordinates(polygon: Sequence[float]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    points = np.asarray(polygon, np.float64)
    return points[0::2], points[1::2]
