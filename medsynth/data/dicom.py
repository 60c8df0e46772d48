"""DICOM files to pixels: a grey image or a clip per file, read so that a hostile or broken file does no harm.

The declared size is checked before anything is decoded, for compressed files a second time in the
codestream. What is read of a header, and how it is kept from messages: medsynth.data.dicom_header.
Section numbers are those of DICOM PS3.3 unless another part is named.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.errors import DataError, DependencyError

try:
    from pydicom import Dataset, uid
    from pydicom.encaps import get_frame
    from pydicom.pixels.decoders.base import get_decoder
except ImportError as _error:
    raise DependencyError(
        "DICOM files need pydicom, which is an extra: pip install -e '.[dicom]'", received=_error
    ) from None

from medsynth.data.dicom_header import (
    JPEG,
    JPEG_2000,
    JPEG_LS,
    UNCOMPRESSED,
    DicomHeader,
    failures_named,
    parse_header,
    read_elements,
)

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as in medsynth.data.images
_JPEG_TABLES = {0xC4, 0xCC, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}  # and restarts, comments, application data
_JPEG_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}

_RUN_LENGTHS = re.compile(r"RLE segment contains non-conformant padding - (\d+) vs\. (\d+) bytes")

# One stated decoder for each lossy form, so that a file gives the same pixels wherever this runs.
_PLUGINS = {
    **dict.fromkeys(JPEG + JPEG_LS, ("pylibjpeg", "pylibjpeg-libjpeg")),
    **dict.fromkeys(JPEG_2000, ("pylibjpeg", "pylibjpeg-openjpeg")),
    uid.JPEGBaseline8Bit: ("pillow", "pillow"),
}


@dataclass(frozen=True)
class DicomSlice:
    """A grey image in the units of its header.

    Attributes:
        header: What the pixels are.
        values: float32 [H, W], finite, stored value x slope + intercept (Hounsfield units for CT).
            Padding has the lowest value outside the padding.
        is_padding: bool [H, W], the pixels outside the image.
    """

    header: DicomHeader
    values: npt.NDArray[np.float32]
    is_padding: npt.NDArray[np.bool_]

    def shown(self, centre: float, width: float) -> npt.NDArray[np.float64]:
        """Return the image as a viewer shows it with this window, float64 [H, W] in [0, 1]; padding is 0.

        MONOCHROME1 is inverted after the window, as section C.7.6.3.1.2 asks.
        """
        return self._as_displayed(apply_window(self.values, centre, width))

    def shown_by_header(self) -> npt.NDArray[np.float64]:
        """Return the image with the header's window, or its full range where there is none; see `shown`."""
        if self.header.window is not None:
            return self.shown(*self.header.window)
        return self.shown_from(float(self.values.min()), float(self.values.max()))

    def shown_from(self, black: float, white: float) -> npt.NDArray[np.float64]:
        """Return the image with these values as black and white, float64 [H, W] in [0, 1]; see `shown`."""
        values = self.values.astype(np.float64)
        return self._as_displayed(np.clip((values - black) / ((white - black) or 1.0), 0.0, 1.0))

    def _as_displayed(self, grey: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        grey = 1 - grey if self.header.is_inverted else grey
        return np.where(self.is_padding, 0.0, grey)


def apply_window(values: npt.NDArray[Any], centre: float, width: float) -> npt.NDArray[np.float64]:
    """Return (values - centre) / width + 0.5, clipped to [0, 1].

    Section C.11.2.1.3.2, LINEAR_EXACT: centre - width/2 becomes 0, centre + width/2 becomes 1. The
    standard's default, LINEAR (C.11.2.1.2.1), counts grey levels of whole numbers and lies half a
    unit beside it.

    Args:
        values: Any shape, in rescaled units.
        centre: The value that becomes 0.5.
        width: Units from black to white, above 0.
    """
    with np.errstate(over="ignore"):
        return np.clip((values.astype(np.float64) - centre) / width + 0.5, 0.0, 1.0)


def read_header(path: Path) -> DicomHeader:
    """Read and check a file's header; its pixels are not touched.

    Raises:
        DataError: No DICOM file, or one that cannot be read here; names the file.
    """
    with failures_named(path):
        return parse_header(read_elements(path, with_pixels=False))


def read_clip_header(path: Path) -> DicomHeader:
    """Read and check the header of a file of one or more frames; its pixels are not touched.

    Raises:
        DataError: No DICOM file, or one that cannot be read here; names the file.
    """
    with failures_named(path):
        dataset = read_elements(path, with_pixels=False, is_clip=True)
        return parse_header(dataset, is_clip=True)


def read_slice(path: Path) -> DicomSlice:
    """Read a grey image in rescaled units.

    Raises:
        DataError: No DICOM file, several frames, colour, larger than LARGEST_IMAGE_BYTES, damaged,
            or compressed in a way that is not supported or not installed; names the file.
    """
    with failures_named(path):
        dataset = read_elements(path, with_pixels=True)
        header = parse_header(dataset)
        if header.is_colour:
            raise DataError("A grey image was expected (MONOCHROME1 or MONOCHROME2).", received="a colour image")
        return _rescale(header, _decode(dataset, header))


def read_grey_dicom(path: Path) -> npt.NDArray[np.float64]:
    """Read any image as grey, float64 [H, W] in [0, 1]: a radiograph as its header says to show it.

    The header's window is used (linear; a sigmoid or a lookup table is not), or the full range
    where it has none. MONOCHROME1 is inverted, padding is 0, and colour becomes luma.

    Raises:
        DataError: As for `read_slice`, but for colour of 8 bits.
    """
    with failures_named(path):
        dataset = read_elements(path, with_pixels=True)
        header = parse_header(dataset)
        pixels = _decode(dataset, header)
        if header.is_colour:
            return pixels @ np.array(_LUMA) / 255  # [H, W, 3] -> [H, W]
        return _rescale(header, pixels).shown_by_header()


class DicomClip:
    """A file of one or more frames, decoded one at a time.

    Args:
        path: The file.

    Raises:
        DataError: As for `read_grey_dicom`, but for several frames.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with failures_named(path):
            self._dataset = read_elements(path, with_pixels=True, is_clip=True)
            if len(self._dataset) == 0:  # what pydicom gives where compressed pixels have no end
                raise DataError("The pixel data is cut off; put a whole copy in its place.", received="no element")
            self.header = parse_header(self._dataset, is_clip=True)
            self._black_and_white = self._find_range()

    def frame(self, number: int) -> npt.NDArray[np.uint8]:
        """Return frame `number` (from 0), uint8 [H, W], or RGB [H, W, 3].

        Grey is shown with the header's window; without one, 8 bits as they are stored, and more from the lowest to the
        highest value of the whole clip, so that one grey means the same in every frame.

        Raises:
            DataError: Damaged or cut off; names the file and the frame.
        """
        with failures_named(self.path), _frame_named(number, self.header):
            pixels = _decode(self._dataset, self.header, number)
            if self.header.is_colour:
                return pixels
            image = _rescale(self.header, pixels)
            grey = (
                image.shown_by_header() if self._black_and_white is None else image.shown_from(*self._black_and_white)
            )
            return (255 * grey + 0.5).astype(np.uint8)

    def _find_range(self) -> tuple[float, float] | None:
        """Return the values that are black and white, or None where the header says so or there is colour."""
        header = self.header
        if header.is_colour or header.window is not None:
            return None
        if header.bits_stored <= 8 and not header.is_signed:
            return header.intercept, header.intercept + header.slope * (2**header.bits_stored - 1)
        ends = []
        for number in range(header.num_frames):
            with _frame_named(number, header):
                values = _rescale(header, _decode(self._dataset, header, number)).values
            ends.append((float(values.min()), float(values.max())))
        return min(low for low, _ in ends), max(high for _, high in ends)


@contextlib.contextmanager
def _frame_named(number: int, header: DicomHeader) -> Iterator[None]:
    """Put the frame in front of what is wrong with it."""
    try:
        yield
    except DataError as error:
        place = f"Frame {number + 1} of {header.num_frames}: {error.expected}"
        raise DataError(place if header.num_frames > 1 else error.expected, received=error.received) from None


def _decode(dataset: Dataset, header: DicomHeader, number: int = 0) -> npt.NDArray[Any]:
    """Return the stored values of a frame, [H, W] or, for colour, RGB [H, W, 3]; unused bits are left as they are."""
    content = dataset.get("PixelData")
    if not content:
        raise DataError("The file has no pixel data, or ends before it.", received="nothing")
    syntax = header.transfer_syntax
    if syntax in UNCOMPRESSED:
        _require_all_bytes(header, content)
    decoder = get_decoder(syntax)
    plugin, package = _PLUGINS.get(syntax, ("", ""))
    if plugin and plugin not in decoder.available_plugins:
        raise DataError(
            f"{syntax.name} needs {package}, which is an extra: pip install -e '.[dicom]'",
            received="a file compressed so",
        )
    options: dict[str, Any] = {} if syntax in JPEG_2000 else {"correct_unused_bits": False}
    try:
        if syntax in _PLUGINS:
            _require_declared_size(header, get_frame(content, number, number_of_frames=header.num_frames))
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            pixels, _ = decoder.as_array(
                dataset, index=number, raw=not header.is_colour, decoding_plugin=plugin, **options
            )
        _require_no_more_runs(header, [str(remark.message) for remark in remarks])
    except (DataError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of a decoder written in Rust is no Exception
        raise DataError(
            f"The pixel data is damaged or not {syntax.name}; put a whole copy in its place.",
            received=type(error).__name__,
        ) from None
    return pixels


def _require_all_bytes(header: DicomHeader, content: bytes) -> None:
    """Refuse pixel data of another length than the header's size has.

    Longer data belongs to a larger image, of which the decoder would take the beginning without a word. Padding is
    allowed: a byte that makes the length even (PS3.5 section 8.1.1), or any number of zeros.
    """
    num_bytes = len(content)
    num_samples = {"YBR_FULL_422": 2, "MONOCHROME1": 1, "MONOCHROME2": 1}.get(header.photometric, 3)
    expected = header.rows * header.columns * num_samples * header.num_frames * header.bits_allocated // 8
    if num_bytes < expected:
        raise DataError(
            "The pixel data is cut off; put a whole copy in its place.", received=f"{num_bytes:,} of {expected:,} bytes"
        )
    if num_bytes > expected + expected % 2 and any(content[expected:]):
        raise DataError(
            f"The header declares {header.rows} x {header.columns} pixels, {expected:,} bytes, and the pixel data is "
            "of a larger image; put a correct copy in its place.",
            received=f"{num_bytes:,} bytes",
        )


def _require_no_more_runs(header: DicomHeader, remarks: list[str]) -> None:
    """Refuse run lengths that hold a row or more beyond the header's size, of which pydicom only remarks."""
    for found, expected in (map(int, lengths) for remark in remarks for lengths in _RUN_LENGTHS.findall(remark)):
        if found - expected >= header.columns:
            raise DataError(
                f"The header declares {header.rows} x {header.columns} pixels, and the run-length encoded data is of a "
                "larger image; put a correct copy in its place.",
                received=f"{found:,} bytes where {expected:,} were expected",
            )


def _require_declared_size(header: DicomHeader, frame: bytes) -> None:
    """Refuse a codestream whose own size is not the header's, before a decoder makes room for it."""
    size = _jpeg_2000_size if header.transfer_syntax in JPEG_2000 else _jpeg_size
    rows, columns, num_samples, bits = size(frame)
    num_declared = 3 if header.is_colour else 1
    if (rows, columns, num_samples) != (header.rows, header.columns, num_declared) or bits > header.bits_allocated:
        raise DataError(
            f"The header declares {header.rows} x {header.columns} pixels of {num_declared} samples with at most "
            f"{header.bits_allocated} bits, and the compressed image must have the same.",
            received=f"{rows} x {columns} of {num_samples} with {bits} bits",
        )


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int, int]:
    """Return height, width, samples and bits of a JPEG 2000 codestream (ISO/IEC 15444-1 section A.5.1, SIZ)."""
    if not frame.startswith(b"\xff\x4f\xff\x51"):
        raise ValueError("no codestream")
    width, height, left, top = (int.from_bytes(frame[start : start + 4], "big") for start in range(8, 24, 4))
    return height - top, width - left, int.from_bytes(frame[40:42], "big"), (frame[42] & 0x7F) + 1


def _jpeg_size(frame: bytes) -> tuple[int, int, int, int]:
    """Return height, width, samples and bits of a JPEG or JPEG-LS frame (ISO/IEC 10918-1 section B.2.2, SOF)."""
    position = 2
    while frame[position] == 0xFF and frame[position + 1] in _JPEG_TABLES:
        position += 2 + int.from_bytes(frame[position + 2 : position + 4], "big")
    if not frame.startswith(b"\xff\xd8") or frame[position] != 0xFF or frame[position + 1] not in _JPEG_FRAMES:
        raise ValueError("no frame header")
    height, width = (int.from_bytes(frame[start : start + 2], "big") for start in (position + 5, position + 7))
    return height, width, frame[position + 9], frame[position + 4]


def _rescale(header: DicomHeader, stored: npt.NDArray[Any]) -> DicomSlice:
    """Return stored values as a slice: padding marked, unused bits dropped, wrapping undone, rescaled."""
    is_padding = _within(stored, header.padding)  # writers put padding into unused bits too
    stored = _without_unused_bits(header, stored)
    is_padding |= _within(stored, header.padding)
    if is_padding.all():
        raise DataError("Pixels were expected.", received="nothing but padding")
    if header.wraps_at_4096:
        stored = (stored.astype(np.int32) + 1000) % 4096 - 1000
    with np.errstate(over="ignore", invalid="ignore"):
        values = (stored.astype(np.float64) * header.slope + header.intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(
            "RescaleSlope and RescaleIntercept must give finite pixels.",
            received=f"slope {header.slope:g}, intercept {header.intercept:g}",
        )
    return DicomSlice(header, np.where(is_padding, values[~is_padding].min(), values), is_padding)


def _within(stored: npt.NDArray[Any], ends: tuple[int, int] | None) -> npt.NDArray[np.bool_]:
    if ends is None:
        return np.zeros(stored.shape, bool)
    return (stored >= ends[0]) & (stored <= ends[1])


def _without_unused_bits(header: DicomHeader, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Drop the bits above BitsStored and extend the sign (PS3.5 section 8.1.1).

    Decoders of JPEG-LS and JPEG 2000 have done so by the precision in the codestream.
    """
    shift = header.bits_allocated - header.bits_stored
    if shift == 0 or header.transfer_syntax in JPEG_LS + JPEG_2000:
        return stored
    return (stored << shift) >> shift
