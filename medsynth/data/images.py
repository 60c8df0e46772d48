"""Image files to pixels of one size and range."""

import contextlib
import functools
import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
from PIL import Image, ImageOps
from skimage.transform import resize

from medsynth.errors import DataError, UsageError

Images = npt.NDArray[np.uint8]

IMAGE_FITS = ("stretch", "pad", "crop", "exact")
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
# Pillow clips these to 8 bits when asked for grey, so they are read with their own depth.
_DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # Pillow's own limit
_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP")  # of TIFF files the first page is taken, of JPEG files the main picture
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG_END = b"IEND\xaeB`\x82"  # the last chunk's name and checksum
_DICOM_PREAMBLE = 128  # bytes before "DICM" (DICOM PS3.10, section 7.1)


@dataclass(frozen=True)
class ImageSource:
    """An image file and the place that named it.

    Attributes:
        path: The file.
        origin: Where it is listed ("line 12 of train.csv"), for messages.
    """

    path: Path
    origin: str


def read_image(path: Path, num_channels: int = 1) -> npt.NDArray[Any]:
    """Read an image file: uint8, or float64 in the file's units for more than 8 bits.

    Colour becomes luma (ITU-R 601-2, as Pillow defines it) where one channel is asked for; grey is
    repeated where three are. Transparency is ignored. Where EXIF says that a picture lies on its side (cameras do so),
    it is set upright. A DICOM file is read by `medsynth.data.dicom`.

    Args:
        path: PNG, JPEG, TIFF, DICOM or whatever else Pillow reads.
        num_channels: 1 or 3.

    Returns:
        Pixels [H, W, num_channels].

    Raises:
        DataError: Missing, unreadable, truncated, no image, an animation, too large, or negative or non-finite pixels.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError("An image was expected here.", received="no such file", path=path) from None
    except OSError as error:
        raise DataError("The image cannot be read.", received=error.strerror, path=path) from None
    if content[_DICOM_PREAMBLE : _DICOM_PREAMBLE + 4] == b"DICM":
        from medsynth.data.dicom import read_grey_dicom  # noqa: PLC0415 - pydicom is slow to load and seldom needed

        pixels = read_grey_dicom(path)
    else:
        pixels = _decode(content, path, num_channels)
    if pixels.dtype != np.uint8:
        _require_finite(pixels, path)
    if pixels.ndim == 2:
        pixels = pixels[..., None]  # [H, W] -> [H, W, 1]
    return np.repeat(pixels, num_channels, axis=2) if pixels.shape[2] < num_channels else pixels


def _require_finite(pixels: npt.NDArray[Any], path: Path) -> None:
    """Refuse NaN, infinite and negative pixels: black is 0, and the brightest pixel becomes 255."""
    found = [
        f"{np.count_nonzero(marks):,} {word}"
        for word, marks in (("NaN", np.isnan(pixels)), ("infinite", np.isinf(pixels)))
        if marks.any()
    ]
    if found:
        raise DataError("Pixels must be finite; repair the picture.", received=" and ".join(found), path=path)
    if pixels.min() < 0:
        raise DataError(
            "Pixels must not be negative, since black is 0. Where they are Hounsfield units or other signed numbers, "
            "choose a window, or add what makes the lowest one 0, and save them again.",
            received=f"values from {pixels.min():g} to {pixels.max():g}",
            path=path,
        )


def _decode(content: bytes, path: Path, num_channels: int) -> npt.NDArray[Any]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.format == "PNG":
                _require_whole_png(content)
            if image.format in _ANIMATED_FORMATS:
                _require_one_frame(image, path)
            if image.mode in _DEEP_MODES:
                return np.asarray(_upright(image), np.float64)
            return np.asarray(_upright(image).convert("L" if num_channels == 1 else "RGB"))
    except Image.DecompressionBombError as error:
        raise _too_large(path, error) from None
    except _DECODING_ERRORS as error:
        if isinstance(error, Image.UnidentifiedImageError):
            if content.startswith(_TIFF_STARTS):
                return _decode_rare_tiff(content, path)
            error = OSError(f"{len(content)} bytes")
        raise DataError(
            "The file is truncated, damaged or no image; put a whole copy in its place.",
            received=error,
            path=path,
        ) from None


def _too_large(path: Path, received: object) -> DataError:
    return DataError(
        "The picture declares more pixels than any that is read here (a decompression bomb, a small file that fills "
        "the memory, does so); make it smaller.",
        received=received,
        path=path,
    )


def _upright(image: Image.Image) -> Image.Image:
    """Return a picture as its EXIF orientation says to show it; one whose EXIF cannot be read as it is."""
    with contextlib.suppress(*_DECODING_ERRORS, KeyError, TypeError):
        return ImageOps.exif_transpose(image)
    return image


def _decode_rare_tiff(content: bytes, path: Path) -> npt.NDArray[np.float64]:
    """Read the first page of a grey TIFF file that Pillow does not know, such as one of 64-bit floating point."""
    import tifffile  # noqa: PLC0415 - slow to load and seldom needed

    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            page = file.pages[0]
            num_pixels, kind = math.prod(page.shape), f"{page.dtype} pixels of shape {page.shape}"
            is_grey = len(page.shape) == 2 and page.dtype is not None and page.dtype.kind in "uif"
            if is_grey and num_pixels <= _MOST_PIXELS:
                return np.asarray(page.asarray(), np.float64)
    except Exception as error:  # whatever tifffile meets in a damaged file
        raise DataError(
            "The file is truncated, damaged or no image; put a whole copy in its place.",
            received=f"{type(error).__name__}, {len(content)} bytes",
            path=path,
        ) from None
    if num_pixels > _MOST_PIXELS:
        raise _too_large(path, f"{num_pixels:,} pixels, limit {_MOST_PIXELS:,}")
    raise DataError("TIFF files are read in grey, or in colour of 8 or 16 bits; save it so.", received=kind, path=path)


def _require_whole_png(content: bytes) -> None:
    """Raise where the file is cut off or a checksum is wrong; Pillow reads no further than the last pixel."""
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    if _PNG_END not in content:
        raise OSError("the end of the file is missing")


def _require_one_frame(image: Image.Image, path: Path) -> None:
    num_frames = getattr(image, "n_frames", 1)
    if num_frames > 1:
        raise DataError(
            "One picture was expected, and this file is a clip; dataset_tool.py create_from_video makes pictures of an "
            "animated GIF's frames.",
            received=f"{num_frames:,} frames",
            path=path,
        )


@dataclass(frozen=True)
class ImageForm:
    """What every image of a dataset becomes.

    Attributes:
        size: Pixels a side; a power of two.
        num_channels: 1 (grey) or 3 (RGB).
        fit: What becomes of a picture of another shape: "stretch" it (published), "pad" it to a square
            with zeros, "crop" its middle, or "exact", which refuses any other size.
    """

    size: int
    num_channels: int = 1
    fit: str = "stretch"


def prepare_image(pixels: npt.NDArray[Any], form: ImageForm) -> Images:
    """Turn pixels [H, W, C] into uint8 [size, size, C] whose largest value is 255.

    scikit-image's resize with its defaults (bilinear; a Gaussian against aliasing where it shrinks),
    divided by the maximum, times 255, truncated. An image that is zero everywhere has no maximum to
    divide by and stays zero.

    Raises:
        UsageError: An unknown `form.fit`.
        DataError: Another size than the form's, where that must be exact.
    """
    height, width = pixels.shape[:2]
    if form.fit == "exact" and (height, width) != (form.size, form.size):
        raise DataError(f"Images of {form.size}x{form.size} pixels were expected.", received=f"{width}x{height} pixels")
    if form.fit == "pad":
        pixels = _pad_to_square(pixels)
    elif form.fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    elif form.fit not in IMAGE_FITS:
        raise UsageError(f"--fit is one of {', '.join(IMAGE_FITS)}.", received=form.fit)
    values = pixels.astype(np.float64) if form.fit == "exact" else resize_pixels(pixels, form.size)
    brightest = values.max()
    if brightest == 0:
        return np.zeros(values.shape, np.uint8)
    values /= brightest
    values *= 255
    return values.astype(np.uint8)


def _pad_to_square(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    height, width = pixels.shape[:2]
    side = max(height, width)
    before = (side - height) // 2, (side - width) // 2
    after = side - height - before[0], side - width - before[1]
    return np.pad(pixels, [(before[0], after[0]), (before[1], after[1]), (0, 0)])


def resize_pixels(pixels: npt.NDArray[Any], size: int) -> npt.NDArray[np.float64]:
    """Return `pixels` [H, W, C] stretched to float64 [size, size, C], as scikit-image's resize does by default."""
    height, width, num_channels = pixels.shape
    rows, columns = _resize_matrix(height, size), _resize_matrix(width, size)
    # [H, W, C] -> [W, H, C] -> [W, H*C] -> [size, H*C]: the columns, of all channels at once
    values = columns @ pixels.swapaxes(0, 1).reshape(width, -1)
    # [size, H*C] -> [size, H, C] -> [H, size, C] -> [H, size*C] -> [size, size*C]: the rows
    values = rows @ values.reshape(size, height, num_channels).swapaxes(0, 1).reshape(height, -1)
    return np.asarray(values).reshape(size, size, num_channels)


@functools.lru_cache(maxsize=64)
def _resize_matrix(length: int, size: int) -> scipy.sparse.csr_array:
    """Return what scikit-image's resize does to a line of `length` pixels, as a matrix [size, length].

    Its filter and its interpolation are linear and act on each axis alone, so resizing the unit
    vectors gives the matrix, and a product of two sparse matrices the resized image: the same to
    rounding, several times faster. (Its clipping changes nothing, as no weight is negative.)
    """
    if length == size:
        return scipy.sparse.csr_array(np.eye(size))
    return scipy.sparse.csr_array(resize(np.eye(length), (size, length)))


def load_image(source: ImageSource, form: ImageForm) -> Images:
    """Read `source` and return it as uint8 [size, size, num_channels], brightest value 255.

    Raises:
        DataError: It cannot be read; names the file and where it is listed.
    """
    try:
        return prepare_image(read_image(source.path, form.num_channels), form)
    except DataError as error:
        expected = f"{error.expected} It is named in {source.origin}."
        raise DataError(expected, received=error.received, path=source.path) from None
