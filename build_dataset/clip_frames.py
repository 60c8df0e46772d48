"""Which part of a clip's picture is ultrasound, and which of its frames are kept: functions of arrays."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import convex_hull_image

from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError

Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

NONE, AUTO = "none", "auto"
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R 601-2, as in medsynth.data.images
_BLACK = 10  # grey level
_LEAST_MOVEMENT = 1.5  # grey levels from frame to frame, on average
_LEAST_SHARE = 0.05  # of the picture
_COLOUR = 40  # grey levels between the channels of a pixel that is meant to be coloured
_LEAST_COLOURED = 0.001  # of the pixels
_EPSILON = 1e-6  # s


@dataclass(frozen=True)
class Margins:
    """What is cut off each side: a number of pixels, or a share of the side (0.1 for 10 %).

    Attributes:
        sides: Top, right, bottom, left: (number, whether it is a share).
    """

    sides: tuple[tuple[float, bool], ...]


def parse_crop(text: str) -> Margins | str:
    """Return what --crop asks for: NONE, AUTO, or margins.

    Args:
        text: "none", "auto", one margin for every side, or four: top, right, bottom, left. A margin is a number of
            pixels, or per cent of the side: "40" or "8%".

    Raises:
        UsageError: Anything else.
    """
    if text in (NONE, AUTO):
        return text
    parts = [re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", part) for part in text.split(",")]
    if len(parts) not in (1, 4) or not all(parts):
        raise UsageError(
            "--crop is none, auto, a margin (40 pixels, or 8%), or four of them: top,right,bottom,left.", received=text
        )
    sides = [(float(part[1]) / (100 if part[2] else 1), bool(part[2])) for part in parts if part]
    if any(number >= 1 for number, is_share in sides if is_share):
        raise UsageError("--crop leaves something: margins are below 100%.", received=text)
    if any(not number.is_integer() for number, is_share in sides if not is_share):
        raise UsageError("--crop takes whole pixels.", received=text)
    return Margins(tuple(sides * 4 if len(sides) == 1 else sides))


@dataclass(frozen=True)
class Region:
    """The part of a picture that is kept.

    Attributes:
        rows: First row and the one behind the last.
        columns: The same across.
        mask: bool of that size, False where it becomes black; None for nowhere.
        found: What it is, in words.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    mask: Mask | None
    found: str

    def cut(self, frame: Grey) -> Grey:
        """Return the region of a frame [H, W]."""
        part = frame[slice(*self.rows), slice(*self.columns)]
        return part if self.mask is None else np.where(self.mask, part, 0).astype(np.uint8)


@dataclass(frozen=True)
class Survey:
    """What a first look at all frames of a clip shows.

    Attributes:
        num_frames: At least 1.
        movement: float32 [H, W], the mean absolute difference between neighbouring frames, grey levels.
        mean: float32 [H, W], of all frames.
        is_coloured: Some frame holds coloured pixels (Doppler, or coloured letters).
    """

    num_frames: int
    movement: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    is_coloured: bool


def to_grey(frame: npt.NDArray[np.uint8]) -> Grey:
    """Return a frame, grey [H, W] or RGB [H, W, 3], as grey: colour becomes luma."""
    return frame if frame.ndim == 2 else (frame @ _LUMA + 0.5).astype(np.uint8)


def survey(frames: Iterable[npt.NDArray[np.uint8]]) -> Survey:
    """Look at all frames of a clip.

    Args:
        frames: Grey [H, W] or RGB [H, W, 3].

    Raises:
        DataError: There is none, or one has another size than the first.
    """
    num_frames, is_coloured = 0, False
    before: Grey | None = None
    for frame in frames:
        grey = to_grey(frame)
        if before is None:
            total = np.zeros(grey.shape, np.float32)
            movement = np.zeros(grey.shape, np.float32)
        elif grey.shape != before.shape:
            raise DataError(
                "Frames of one size were expected in a clip; cut it where the size changes.",
                received=f"{_size(grey)} in frame {num_frames + 1} after {_size(before)}",
            )
        else:
            movement += np.abs(grey.astype(np.int16) - before)
        total += grey
        is_coloured = is_coloured or _is_coloured(frame)
        before = grey
        num_frames += 1
    if num_frames == 0:
        raise DataError("A clip has frames.", received="none")
    movement /= max(num_frames - 1, 1)
    total /= num_frames
    return Survey(num_frames, movement, total, is_coloured)


def _size(frame: Grey) -> str:
    return f"{frame.shape[1]}x{frame.shape[0]} pixels"


def _is_coloured(frame: npt.NDArray[np.uint8]) -> bool:
    if frame.ndim == 2:
        return False
    return bool((np.ptp(frame, axis=2) > _COLOUR).mean() > _LEAST_COLOURED)


def find_region(crop: Margins | str, seen: Survey) -> Region:
    """Return the part of a clip that is kept.

    "auto" takes the largest connected part that changes from frame to frame or is bright and thicker than letters are,
    and what lies in its convex hull. Outside of it, letters beside the fan become black; inside, they stay.

    Raises:
        UsageError: Margins that leave nothing.
        DataError: No such part.
    """
    height, width = seen.mean.shape
    if isinstance(crop, Margins):
        lengths = (height, width, height, width)
        cut = [
            round(number * length) if is_share else int(number)
            for (number, is_share), length in zip(crop.sides, lengths, strict=True)
        ]
        top, right, bottom, left = cut
        if top + bottom >= height or left + right >= width:
            raise UsageError(
                f"--crop leaves something of {width}x{height} pixels.",
                received=f"margins of {top}, {right}, {bottom}, {left} pixels",
            )
        return Region((top, height - bottom), (left, width - right), None, "the margins that were given")
    if crop == NONE:
        return Region((0, height), (0, width), None, "all")
    return _fan(seen)


def _fan(seen: Survey) -> Region:
    side = min(seen.mean.shape)
    size = max(1, round(0.015 * side))
    moving = ndimage.gaussian_filter(seen.movement, size) > _LEAST_MOVEMENT
    # The skin hardly moves: what is bright belongs to the part that moves where the two touch.
    marks = np.pad(moving | _thick(seen.mean > _BLACK, side), 2 * size)
    part = _largest(ndimage.binary_closing(marks, iterations=size))[2 * size : -2 * size, 2 * size : -2 * size]
    if part.mean() < _LEAST_SHARE:
        raise DataError(
            "--crop auto found neither a part that changes nor a bright one; give margins, or --crop none.",
            received=f"{counted(seen.num_frames, 'frame')} with a mean of {seen.mean.mean():.0f} of 255",
        )
    hull = convex_hull_image(part)
    rows, columns = (np.flatnonzero(hull.any(axis=axis)) for axis in (1, 0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    is_moving = (moving & part).mean() >= _LEAST_SHARE * part.mean()
    found = "the part that changes" if is_moving else "the bright part; nothing changes"
    return Region((top, bottom), (left, right), hull[top:bottom, left:right], found)


def _thick(marks: Mask, side: int) -> Mask:
    """Return marks without letters, which no square of 3 % of the picture fits into."""
    width = max(3, round(0.03 * side))
    return np.asarray(ndimage.binary_opening(marks, np.ones((width, width), bool)))


def _largest(marks: Mask) -> Mask:
    """Return the largest connected part, with its holes filled."""
    labels, count = ndimage.label(marks)
    if count == 0:
        return marks
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(labels == int(np.argmax(sizes))))


@dataclass(frozen=True)
class Choice:
    """Which frames are kept.

    Attributes:
        every: Every k-th frame is looked at.
        frames_per_second: At most so many of a second; 0 for all.
        most: At most so many of a clip, evenly spread; 0 for all.
        drop_below: A frame is dropped that differs less from the one kept before it: the mean absolute difference over
            the pixels that are not black in both, grey levels.
    """

    every: int = 1
    frames_per_second: float = 0.0
    most: int = 0
    drop_below: float = 1.0


@dataclass(frozen=True)
class Chosen:
    """The frames that are kept, by number from 0, and how many were dropped as nearly identical."""

    frames: tuple[int, ...]
    num_duplicates: int


def choose(frames: Iterable[tuple[Grey, float | None]], choice: Choice) -> Chosen:
    """Choose among the frames of a clip, in their order.

    Args:
        frames: Cut to the region, with their times in s.
        choice: How.

    Raises:
        DataError: Times are needed and not known.
    """
    kept: list[int] = []
    last: Grey | None = None
    num_duplicates = 0
    for number, frame in _sampled(frames, choice):
        if last is not None and difference(frame, last) < choice.drop_below:
            num_duplicates += 1
            continue
        kept.append(number)
        last = frame
    if choice.most and len(kept) > choice.most:
        places = np.linspace(0, len(kept) - 1, choice.most).round().astype(int)
        kept = [kept[place] for place in places]
    return Chosen(tuple(kept), num_duplicates)


def _sampled(frames: Iterable[tuple[Grey, float | None]], choice: Choice) -> Iterator[tuple[int, Grey]]:
    slot = -1
    for number, (frame, seconds) in enumerate(frames):
        if choice.frames_per_second:
            if seconds is None:
                raise DataError("--fps needs a clip that says how fast it runs; give --every.", received="no rate")
            own = int((seconds + _EPSILON) * choice.frames_per_second)
            if own == slot:
                continue
            slot = own
        elif number % choice.every:
            continue
        yield number, frame


def difference(one: Grey, other: Grey) -> float:
    """Return the mean absolute difference of two frames over the pixels that are not black in both, grey levels."""
    shown = (one > _BLACK) | (other > _BLACK)
    if not shown.any():
        return 0.0
    return float(np.abs(one[shown].astype(np.int16) - other[shown]).mean())
