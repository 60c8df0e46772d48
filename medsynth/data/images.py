"""Image files to grey pixels of one size, by several processes where asked.

The order of images never depends on the number of processes, and only a few
images per process are held at any time.
"""

import io
import multiprocessing
import os
import signal
import struct
import zlib
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.transform import resize

from medsynth.errors import DataError, UsageError

GreyImage = npt.NDArray[np.uint8]

_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
# Pillow clips these to 8 bits when asked for grey, so they are read with their own depth.
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk's name and checksum
_IMAGES_PER_TASK = 16
_TASKS_AHEAD_PER_WORKER = 4
_TASKS_WORTH_PROCESSES = 8  # below, starting processes takes longer than the work


@dataclass(frozen=True)
class ImageSource:
    """An image file and the place that named it.

    Attributes:
        path: The file.
        origin: Where it is listed ("line 12 of train.csv"), for messages.
    """

    path: Path
    origin: str


def available_cpus() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_grey(path: Path) -> npt.NDArray[Any]:
    """Read an image file as grey: uint8 [H, W], or float64 [H, W] in the file's units for more than 8 bits.

    Colour becomes luma (ITU-R 601-2, as Pillow defines it); transparency is ignored.

    Raises:
        DataError: Missing, unreadable, truncated, no image, or negative or non-finite pixels.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError("An image was expected here.", received="no such file", path=path) from None
    except OSError as error:
        raise DataError("The image cannot be read.", received=error.strerror, path=path) from None
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "PNG":
                _require_whole_png(content)
            if image.mode not in _DEEP_MODES:
                return np.asarray(image.convert("L"))
            pixels = np.asarray(image, np.float64)
    except (*_DECODING_ERRORS, Image.DecompressionBombError) as error:
        received = f"{len(content)} bytes" if isinstance(error, Image.UnidentifiedImageError) else error
        raise DataError(
            "The file is truncated, damaged or no image; put a whole copy in its place.",
            received=received,
            path=path,
        ) from None
    if not np.isfinite(pixels).all() or pixels.min() < 0:
        raise DataError("Pixels must be finite and not negative.", received=f"minimum {pixels.min()}", path=path)
    return pixels


def _require_whole_png(content: bytes) -> None:
    """Raise where the file is cut off or a checksum is wrong; Pillow reads no further than the last pixel."""
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    if _PNG_END not in content:
        raise OSError("the end of the file is missing")


def resize_to_full_range(image: npt.NDArray[Any], size: int) -> GreyImage:
    """Resize a grey image [H, W] to uint8 [size, size] whose brightest pixel is 255.

    scikit-image's resize (bilinear; a Gaussian against aliasing where it shrinks), divided by the
    maximum, times 255, truncated. An image that is zero everywhere has no maximum to divide by and
    stays zero.
    """
    resized = resize(image, (size, size))
    brightest = resized.max()
    if brightest == 0:
        return np.zeros((size, size), np.uint8)
    return (resized / brightest * 255).astype(np.uint8)


def load_image(source: ImageSource, size: int) -> GreyImage:
    """Read `source` and return it as uint8 [size, size], brightest pixel 255.

    Raises:
        DataError: It cannot be read; names the file and where it is listed.
    """
    try:
        return resize_to_full_range(read_grey(source.path), size)
    except DataError as error:
        expected = f"{error.expected} It is named in {source.origin}."
        raise DataError(expected, received=error.received, path=source.path) from None


def require_files(sources: Sequence[ImageSource]) -> None:
    """Refuse a list with missing files before any long work.

    Raises:
        DataError: Names the first missing file, where it is listed, and how many are missing.
    """
    missing = [source for source in sources if not source.path.is_file()]
    if missing:
        raise DataError(
            f"An image was expected here; it is named in {missing[0].origin}.",
            received=f"{len(missing)} missing of {len(sources)} images",
            path=missing[0].path,
        )


def load_images(sources: Sequence[ImageSource], size: int, num_workers: int) -> Generator[GreyImage, None, None]:
    """Yield every image as uint8 [size, size], in the order of `sources`.

    Args:
        sources: The files.
        size: Pixels a side.
        num_workers: Processes that read and resize; 1 works in this process.

    Raises:
        DataError: An image cannot be read; the first one in the order of `sources` is named.
        UsageError: `num_workers` is below 1, or a process was killed from outside.
    """
    if num_workers < 1:
        raise UsageError("--workers is the number of processes, at least 1.", received=num_workers)
    starts = range(0, len(sources), _IMAGES_PER_TASK)
    tasks = [sources[start : start + _IMAGES_PER_TASK] for start in starts]
    if num_workers == 1 or len(tasks) < _TASKS_WORTH_PROCESSES:
        yield from (load_image(source, size) for source in sources)
    else:
        yield from _load_in_processes(tasks, size, num_workers)


def _load_task(sources: Sequence[ImageSource], size: int) -> list[GreyImage]:
    return [load_image(source, size) for source in sources]


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent, which ends its workers without a traceback from each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _load_in_processes(
    tasks: list[Sequence[ImageSource]], size: int, num_workers: int
) -> Generator[GreyImage, None, None]:
    # spawn: a forked copy of a process that runs threads (TensorFlow, BLAS) may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, context, initializer=_ignore_interrupt)
    waiting: deque[Future[list[GreyImage]]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(_load_task, task, size))
            if len(waiting) > _TASKS_AHEAD_PER_WORKER * num_workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UsageError(
            "A process that reads images ended from outside (killed, or out of memory); "
            "run the same command again with fewer --workers.",
            received=error,
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
