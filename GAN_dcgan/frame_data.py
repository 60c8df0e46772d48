"""The frames' pixels: decoded once, in memory or, where they are many, in a file that is mapped into it."""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from GAN_dcgan.decoding import load_frame
from GAN_dcgan.frames import Frame, FrameList
from medsynth.data.images import Images
from medsynth.data.order import PassOrder
from medsynth.data.training_images import Floats, TrainingImages
from medsynth.errors import DataError
from medsynth.files import atomic_path, make_folder, read_json, remove_leftovers, write_json
from medsynth.parallel import available_cpus, ordered_map
from medsynth.progress import Progress

CACHE_FOLDER = "cache"  # of a training's results
_MOST_BYTES_IN_MEMORY = 2**28
_NUM_FRAMES_PER_WORKER = 500  # fewer are read sooner than a process has started


def _no_rows(size: int) -> Floats:
    return np.zeros((size, 0), np.float32)


class FrameData:
    """Frames in the form of `medsynth.data.training_images.TrainingImages`, without labels.

    The n-th frame of a training is fixed by (seed, n); see `medsynth.data.order.PassOrder`.

    Args:
        frames: Those of `frames.train` are read.
        resolution: Pixels a side.
        seed: Of the order.
        cache_dir: For what is too large for memory.

    Attributes:
        frames: As given.
        images: uint8 [N, H, W, 1].
        num_images: N.
        num_channels: 1.
        images_digest: Other pixels, or another order, have another one.

    Raises:
        DataError: A frame cannot be read; names it.
    """

    num_channels = 1
    label_names: tuple[str, ...] = ()

    def __init__(self, frames: FrameList, resolution: int, *, seed: int, cache_dir: Path) -> None:
        self.frames, self.resolution = frames, resolution
        self.num_images = len(frames.train)
        self.labels = _no_rows(self.num_images)
        self.images, self.images_digest = read_frames(frames.train, resolution, cache_dir)
        self._order = PassOrder(self.num_images, seed)

    def batch(self, images_seen: int, size: int, resolution: int) -> tuple[Images, Floats]:
        """Return the next frames, uint8 [size, H, W, 1], and no labels, float32 [size, 0]."""
        if resolution != self.resolution:
            raise ValueError(f"frames of {self.resolution} pixels, not {resolution}")
        return np.asarray(self.images[self._order.next(images_seen, size)]), _no_rows(size)

    def random_labels(self, step: int, size: int) -> Floats:
        """Return no labels: float32 [size, 0]."""
        return _no_rows(size)

    def first_images(self, size: int) -> tuple[Images, Floats]:
        """Return frames from all over the list, since neighbours are alike; cyclic where there are not as many."""
        places = np.arange(size) % self.num_images
        if size < self.num_images:
            places = np.arange(size) * self.num_images // size
        return np.asarray(self.images[places]), _no_rows(size)


class WithoutLabels:
    """Training images of a dataset made by build_dataset, without its labels.

    Args:
        data: The images.
    """

    label_names: tuple[str, ...] = ()

    def __init__(self, data: TrainingImages) -> None:
        self._data = data
        self.num_images, self.num_channels = data.num_images, data.num_channels
        self.images_digest, self.labels = data.images_digest, _no_rows(data.num_images)

    def batch(self, images_seen: int, size: int, resolution: int) -> tuple[Images, Floats]:
        """Return the next images, uint8 [size, resolution, resolution, C], and no labels, float32 [size, 0]."""
        return self._data.batch(images_seen, size, resolution)[0], _no_rows(size)

    def random_labels(self, step: int, size: int) -> Floats:
        """Return no labels: float32 [size, 0]."""
        return _no_rows(size)

    def first_images(self, size: int) -> tuple[Images, Floats]:
        """Return the first images in stored order (cyclic), and no labels."""
        return self._data.first_images(size)[0], _no_rows(size)


def read_frames(frames: Sequence[Frame], size: int, cache_dir: Path) -> tuple[Images, str]:
    """Decode frames: uint8 [N, size, size, 1], and a digest of their pixels.

    More than 256 MB are written to a file in `cache_dir` and read from there as they are needed; it serves every
    training on the same files.

    Raises:
        DataError: A frame cannot be read; names it.
        RunFolderError: The file cannot be written.
    """
    shape = (len(frames), size, size, 1)
    if np.prod(shape) <= _MOST_BYTES_IN_MEMORY:
        images = np.empty(shape, np.uint8)
        return images, _fill(images, frames, size)
    path = make_folder(cache_dir) / f"frames-{size}-{_files_digest(frames)[:16]}.npy"
    facts_path = path.with_suffix(".json")
    if path.is_file() and facts_path.is_file():
        return _map(path, shape), str(read_json(facts_path)["images_sha256"])
    remove_leftovers(path)
    with atomic_path(path) as temporary:
        written: Any = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        digest = _fill(written, frames, size)
        written.flush()
    write_json(facts_path, {"images_sha256": digest, "shape": shape})
    return _map(path, shape), digest


def _map(path: Path, shape: tuple[int, ...]) -> Images:
    try:
        images: Images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError("The decoded frames are damaged; delete this file.", received=error, path=path) from None
    if images.shape != shape or images.dtype != np.uint8:
        raise DataError("The decoded frames are others; delete this file.", received=images.shape, path=path)
    return images


def _files_digest(frames: Sequence[Frame]) -> str:
    """Return a digest of the files' names, sizes and dates."""
    digest = hashlib.sha256()
    for frame in frames:
        try:
            state = frame.source.path.stat()
        except OSError as error:
            raise DataError(
                f"A frame was expected here. It is named in {frame.source.origin}.",
                received=error.strerror,
                path=frame.source.path,
            ) from None
        digest.update(json.dumps([frame.name, state.st_size, state.st_mtime_ns]).encode())
    return digest.hexdigest()


def _fill(images: npt.NDArray[np.uint8], frames: Sequence[Frame], size: int) -> str:
    """Decode frames into `images` [N, size, size, 1], and return a digest of them."""
    digest = hashlib.sha256()
    num_workers = max(1, min(available_cpus(), len(frames) // _NUM_FRAMES_PER_WORKER))
    progress = Progress("reading frames", len(frames), "frames")
    load = functools.partial(load_frame, size=size)
    for number, image in enumerate(ordered_map(load, [frame.source for frame in frames], num_workers)):
        images[number] = image
        digest.update(image.tobytes())
        progress.advance()
    progress.close()
    return digest.hexdigest()
