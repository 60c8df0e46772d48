"""The datasets' form on disk: one TFRecord file per resolution, checked record by record.

This is the only module that knows images as [C, H, W]; everywhere else they
are [H, W, C]. It needs no TensorFlow: the files are what tf.io.TFRecordWriter
and tf.train.Example make (tests/unit/test_tfrecords.py holds them against each
other), but a dataset builder's worker processes start in a tenth of the time,
and a training can read records in any order, which an exact resume needs.

A file is a sequence of records, each `length` (uint64, little endian), masked
CRC32C of the length, `length` bytes, masked CRC32C of those. Source:
https://www.tensorflow.org/tutorials/load_data/tfrecord (format) and
https://protobuf.dev/programming-guides/encoding (message).
"""

import contextlib
import functools
import hashlib
import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import google_crc32c
import numpy as np
import numpy.typing as npt

from medsynth.errors import DataError
from medsynth.files import atomic_path, make_folder, remove_leftovers, write_array

Images = npt.NDArray[np.uint8]

_MASK_DELTA = 0xA282EAD8
_HEADER_BYTES, _FOOTER_BYTES = 12, 4
SMALLEST_RESOLUTION_LOG2 = 2


def record_path(split_folder: Path, resolution_log2: int) -> Path:
    """Return the file that holds a split's images of 2^`resolution_log2` pixels a side."""
    return split_folder / f"{split_folder.name}-r{resolution_log2:02d}.tfrecords"


def labels_path(split_folder: Path) -> Path:
    """Return the file that holds a split's labels (.npy, float32 [N, L])."""
    return split_folder / f"{split_folder.name}-rxx.labels"


def _masked_crc(data: bytes | memoryview) -> int:
    crc = int(google_crc32c.value(bytes(data)))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _message(field: int, content: bytes) -> bytes:
    """Encode a length-delimited protobuf field."""
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def encode_example(image: Images) -> bytes:
    """Serialise an image [H, W, C], uint8, as a tf.train.Example with `shape` [C, H, W] and `data`."""
    before, after = _around_pixels(image.shape)
    return b"".join((before, image.transpose(2, 0, 1).tobytes(), after))


@functools.lru_cache(maxsize=64)
def _around_pixels(image_shape: tuple[int, int, int]) -> tuple[bytes, bytes]:
    """Return what stands before and behind the pixels of every Example of that shape [H, W, C]."""
    height, width, num_channels = image_shape
    pixels = bytes(height * width * num_channels)
    # Feature { bytes_list = 1 | int64_list = 3 }, each with `value` = 1; int64 values are packed.
    data = _message(1, _message(1, pixels))
    shape = _message(3, _message(1, b"".join(_varint(size) for size in (num_channels, height, width))))
    data_entry, shape_entry = (
        _message(1, _message(1, key) + _message(2, feature)) for key, feature in ((b"data", data), (b"shape", shape))
    )
    whole = _message(1, data_entry + shape_entry)
    return whole[: -len(pixels) - len(shape_entry)], shape_entry


def encode_record(image: Images) -> bytes:
    """Return an image [H, W, C], uint8, as it stands in a file: length, checksum, Example, checksum."""
    example = encode_example(image)
    length = struct.pack("<Q", len(example))
    return b"".join((length, struct.pack("<I", _masked_crc(length)), example, struct.pack("<I", _masked_crc(example))))


def is_whole_record(data: bytes) -> bool:
    """Return whether `data` is one record, with the right length and checksums."""
    if len(data) < _HEADER_BYTES + _FOOTER_BYTES:
        return False
    length, length_crc = struct.unpack_from("<QI", data)
    example = data[_HEADER_BYTES:-_FOOTER_BYTES]
    return (
        length == len(example)
        and _masked_crc(data[:8]) == length_crc
        and _masked_crc(example) == struct.unpack("<I", data[-_FOOTER_BYTES:])[0]
    )


def _read_varint(data: Any, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _fields(data: Any, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yield (field number, start, stop) of every length-delimited field between two positions."""
    position = start
    while position < stop:
        tag, position = _read_varint(data, position)
        if tag & 7 != 2:
            raise ValueError(f"wire type {tag & 7} where 2 was expected")
        length, position = _read_varint(data, position)
        if position + length > stop:
            raise ValueError("a field reaches beyond its message")
        yield tag >> 3, position, position + length
        position += length


def _locate(data: Any, start: int, stop: int) -> tuple[tuple[int, ...], int, int]:
    """Return (shape, start, stop) of the pixels in the Example between two positions."""
    shape: tuple[int, ...] = ()
    pixels = (0, 0)
    for _, features_start, features_stop in _fields(data, start, stop):
        for _, entry_start, entry_stop in _fields(data, features_start, features_stop):
            (_, *key), (_, *feature) = list(_fields(data, entry_start, entry_stop))[:2]
            ((_, list_start, list_stop),) = _fields(data, *feature)
            ((_, value_start, value_stop),) = _fields(data, list_start, list_stop)
            if data[key[0] : key[1]] == b"shape":
                sizes, position = [], value_start
                while position < value_stop:
                    size, position = _read_varint(data, position)
                    sizes.append(size)
                shape = tuple(sizes)
            elif data[key[0] : key[1]] == b"data":
                pixels = (value_start, value_stop)
    return shape, *pixels


class RecordWriter:
    """Writes images of one resolution; the file appears under its name only when complete.

    Args:
        path: The .tfrecords file.
    """

    def __init__(self, path: Path) -> None:
        self._context = atomic_path(path)
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._file = self._context.__enter__().open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure: OSError | None = None
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:  # the last buffer may not fit the disk
                if value is None:
                    failure = error
                    kind, value, trace = type(error), error, error.__traceback__
        self._context.__exit__(kind, value, trace)
        if failure is not None:  # one that atomic_path has no words for, and left to the caller
            raise failure

    def write(self, image: Images) -> None:
        """Append an image [H, W, C], uint8."""
        if self._file is None:
            raise RuntimeError("RecordWriter is used in a with statement")
        self._file.write(encode_record(image))


class RecordFile:
    """Random access to the images of one .tfrecords file.

    Opening it checks every record: both checksums, the message, and that all
    images have one shape. Pixels stay on disk (memory-mapped) until read.

    Args:
        path: The .tfrecords file.

    Attributes:
        shape: (height, width, channels) of every image.
        digest: SHA-256 of all checksums; files with other images, or in another order, have another one.

    Raises:
        DataError: Missing, empty, truncated or damaged; names file, record
            number (from 0) and byte offset.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                if size == 0:
                    raise DataError("The file holds no records.", received="0 bytes", path=path)
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise DataError("A TFRecord file was expected here.", received="no such file", path=path) from None
        offsets, shapes, checksums = [], [], hashlib.sha256()
        for shape, offset, checksum in self._scan(size):
            shapes.append(shape)
            offsets.append(offset)
            checksums.update(checksum)
        self.digest = checksums.hexdigest()
        self.shape: tuple[int, int, int] = (shapes[0][1], shapes[0][2], shapes[0][0])
        self._stored_shape = shapes[0]
        for number, shape in enumerate(shapes):
            if shape != shapes[0]:
                raise self._damaged(f"Record {number} has another shape than record 0, {shapes[0]}.", shape)
        self._offsets = np.asarray(offsets, np.int64)
        self._pixels = np.frombuffer(self._map, np.uint8)

    def __len__(self) -> int:
        return len(self._offsets)

    def part(self, start: int, stop: int) -> Self:
        """Return records `start` to `stop` (exclusive) of this file, to be sent to another process.

        Only the place of these records crosses; there the file is mapped anew, and not checked again.
        """
        part = type(self).__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._offsets = self._offsets[start:stop]
        return part

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_map", "_pixels")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pixels = np.memmap(self.path, np.uint8, "r")

    def read(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Images:
        """Return the images of these record numbers as uint8 [n, H, W, C]."""
        starts = self._offsets[np.asarray(indices, np.int64)]
        # Rows of a view of every stretch of an image's length are copied whole, many times faster than byte by byte.
        pixels = np.lib.stride_tricks.sliding_window_view(self._pixels, int(np.prod(self.shape)))[starts]
        # [n, C*H*W] -> [n, C, H, W] -> [n, H, W, C]
        return np.ascontiguousarray(pixels.reshape(-1, *self._stored_shape).transpose(0, 2, 3, 1))

    def batches(self, size: int) -> Iterator[Images]:
        """Yield all images in record order, `size` at a time; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self.read(range(start, min(start + size, len(self))))

    def _damaged(self, sentence: str, received: object) -> DataError:
        remedy = "The file is damaged; make it again with the command that made it."
        return DataError(f"{sentence} {remedy}", received=received, path=self.path)

    def _scan(self, size: int) -> Iterator[tuple[tuple[int, ...], int, bytes]]:
        """Check every record and yield its (shape [C, H, W], offset of its pixels, checksum)."""
        position = number = 0
        while position < size:
            where = f"Record {number} at byte {position}"
            header = self._map[position : position + _HEADER_BYTES]
            if len(header) < _HEADER_BYTES:
                raise self._damaged(f"{where} is cut off.", f"{size} bytes")
            length, length_crc = struct.unpack("<QI", header)
            if _masked_crc(header[:8]) != length_crc:
                raise self._damaged(f"{where} has a wrong checksum of its length.", f"length {length}")
            start = position + _HEADER_BYTES
            stop = start + length
            if stop + _FOOTER_BYTES > size:
                raise self._damaged(f"{where} is cut off: it needs {length + 16} bytes.", f"{size - position} bytes")
            (crc,) = struct.unpack_from("<I", self._map, stop)
            if _masked_crc(self._map[start:stop]) != crc:
                raise self._damaged(f"{where} has a wrong checksum.", f"{crc:#010x} stored with it")
            try:
                shape, pixel_start, pixel_stop = _locate(self._map, start, stop)
            except (ValueError, IndexError) as error:
                raise self._damaged(f"{where} is no tf.train.Example with shape and data.", error) from None
            if len(shape) != 3 or np.prod(shape) != pixel_stop - pixel_start or 0 in shape:
                raise self._damaged(
                    f"{where} should hold C x H x W bytes of pixels.",
                    f"shape {list(shape)} and {pixel_stop - pixel_start} bytes",
                )
            yield shape, pixel_start, self._map[stop : stop + _FOOTER_BYTES]
            position = stop + _FOOTER_BYTES
            number += 1


def downscale_levels(image: npt.NDArray[Any], resolution_log2: int) -> Iterator[Images]:
    """Yield the image at every resolution from its own down to 4x4, as uint8.

    Each level is the 2x2 mean of the level above *before* that one was rounded,
    then rounded half to even and clipped to [0, 255] (Karras et al. 2018).

    Args:
        image: [H, W, C] with H = W = 2^resolution_log2, values in [0, 255].
        resolution_log2: log2 of its resolution.
    """
    level = image.astype(np.float32)
    for log2 in range(resolution_log2, SMALLEST_RESOLUTION_LOG2 - 1, -1):
        if log2 < resolution_log2:
            level = (level[0::2, 0::2] + level[0::2, 1::2] + level[1::2, 0::2] + level[1::2, 1::2]) * np.float32(0.25)
        yield np.rint(level).clip(0, 255).astype(np.uint8)


def write_labels(split_folder: Path, labels: npt.NDArray[Any]) -> None:
    """Write labels [N, L] as float32 beside the records, atomically."""
    write_array(labels_path(split_folder), labels.astype(np.float32))


def read_labels(split_folder: Path) -> npt.NDArray[np.float32]:
    """Read a split's labels, float32 [N, L].

    Raises:
        DataError: Missing, not a .npy file of a matrix, or not finite.
    """
    path = labels_path(split_folder)
    try:
        labels = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError("A file with labels was expected here.", received="no such file", path=path) from None
    except (ValueError, EOFError, OSError) as error:
        raise DataError("The file holds no readable .npy matrix.", received=error, path=path) from None
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.number):
        raise DataError("Labels form a numeric matrix [N, L].", received=f"{labels.dtype} {labels.shape}", path=path)
    if not np.isfinite(labels).all():
        raise DataError("Labels must be finite numbers.", received="NaN or infinity", path=path)
    return labels.astype(np.float32)


def write_split(
    split_folder: Path, images: Iterable[npt.NDArray[Any]], labels: npt.NDArray[Any], resolution_log2: int
) -> None:
    """Write a split's records at `resolution_log2` alone, in the order given, and its labels.

    Args:
        split_folder: For example target_dir/train; its name is in the file names.
        images: N images [H, W, C] with values in [0, 255].
        labels: [N, L].
        resolution_log2: log2 of the images' resolution.
    """
    make_folder(split_folder)
    with RecordWriter(record_path(split_folder, resolution_log2)) as writer:
        for image in images:
            writer.write(np.rint(image).clip(0, 255).astype(np.uint8))
    write_labels(split_folder, labels)


@contextlib.contextmanager
def atomic_split(target: Path) -> Iterator[Path]:
    """Yield a folder for a split's files; on success it becomes `target`, on failure it vanishes.

    It bears the split's name, as its files do. What killed processes left of earlier attempts is removed.

    Raises:
        RunFolderError: No space, no permission or a read-only disk.
    """
    remove_leftovers(target)
    with atomic_path(target) as partial:
        folder = make_folder(partial / target.name)
        yield folder
        for file in sorted(folder.iterdir()):
            file.replace(partial / file.name)
        folder.rmdir()


def available_resolutions(split_folder: Path) -> list[int]:
    """Return log2 of the resolutions that the split has records of, ascending."""
    return sorted(
        int(path.stem[-2:])
        for path in split_folder.glob(f"{split_folder.name}-r*.tfrecords")
        if path.stem[-2:].isdigit()
    )
