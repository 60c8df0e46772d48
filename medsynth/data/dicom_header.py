"""The header of a DICOM file: what the pixels depend on, checked before they are touched.

Only the elements named in `_ELEMENTS` are read at all: no name, date or comment is ever in memory,
and no message quotes the text of an element. Section numbers are those of DICOM PS3.3 unless
another part is named (https://dicom.nema.org/medical/dicom/current/output/html/part03.html).
"""

import contextlib
import itertools
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom import uid
from pydicom.multival import MultiValue

from medsynth.errors import DataError

LARGEST_FILE_BYTES = 256 * 2**20
LARGEST_CLIP_FILE_BYTES = 2 * 2**30  # multi-frame, of which one frame is decoded at a time
LARGEST_IMAGE_BYTES = 128 * 2**20  # decoded; a mammogram of 6000 x 4700 pixels has 56 MB

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

# Ways to store pixels (PS3.5 section 10), by what decodes them.
UNCOMPRESSED = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
RLE = (uid.RLELossless,)
JPEG = tuple(uid.JPEGTransferSyntaxes)
JPEG_LS = tuple(uid.JPEGLSTransferSyntaxes)
JPEG_2000 = tuple(uid.JPEG2000TransferSyntaxes)

_ELEMENTS = (
    *("Modality", "PatientID", "BurnedInAnnotation", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "WindowCenter", "WindowWidth"),
    *("RescaleIntercept", "RescaleSlope", "FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"),
    "PixelData",
)
_PREFIX_OFFSET, _PREFIX = 128, b"DICM"  # PS3.10 section 7.1


@dataclass(frozen=True)
class DicomHeader:
    """What is read of a file's header.

    Attributes:
        transfer_syntax: How the pixels are stored (PS3.5 section 10).
        rows: Height in pixels.
        columns: Width in pixels.
        bits_allocated: Bits a stored value takes: 8, 16 or 32.
        bits_stored: Bits of them that are used.
        is_signed: Whether stored values are two's complement.
        photometric: One of `GREY` or `COLOUR`.
        slope: Units per stored value; 1 where the header has none.
        intercept: Units of the stored value 0; 0 where the header has none.
        has_rescale: Whether the header gives an intercept, without which values have no unit.
        padding: Lowest and highest stored value that mark pixels outside the image, or None.
        window: Centre and width, in rescaled units, to show the image with (the first, where
            there are several), or None where there is none that can be used.
        is_ct: Whether the modality is CT.
        patient_id: Stripped; empty where there is none.
        has_burned_in_annotation: Whether the header says that text is part of the pixels.
        num_frames: Images in the file, one after the other in time.
        seconds: When each frame of a clip was taken, from the first on, or None where that is not known.
    """

    transfer_syntax: uid.UID
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    photometric: str
    slope: float
    intercept: float
    has_rescale: bool
    padding: tuple[int, int] | None
    window: tuple[float, float] | None
    is_ct: bool
    patient_id: str
    has_burned_in_annotation: bool
    num_frames: int = 1
    seconds: tuple[float, ...] | None = None

    @property
    def is_colour(self) -> bool:
        """Whether there are three samples per pixel."""
        return self.photometric in COLOUR

    @property
    def is_inverted(self) -> bool:
        """Whether low values are to be shown bright (MONOCHROME1, section C.7.6.3.1.2)."""
        return self.photometric == "MONOCHROME1"

    @property
    def wraps_at_4096(self) -> bool:
        """Whether negative values were stored as 12 bits without a sign.

        A CT slice of 12 unsigned bits whose intercept is above -100 cannot hold air (-1000 HU). In
        RSNA's slices of that kind air stands at 3096 and above: the value modulo 4096. Source: J.
        Howard, "Cleaning the data for rapid prototyping" (RSNA Intracranial Hemorrhage 2019).
        """
        return self.is_ct and self.bits_stored == 12 and not self.is_signed and self.intercept > -100


@contextlib.contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """Raise whatever fails as a DataError that names the file.

    pydicom's warnings, log lines and exceptions may quote elements of the header, and so a patient:
    they are kept from the screen, and of an exception only its type is told.
    """
    log = logging.getLogger("pydicom")
    propagates = log.propagate
    log.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError as error:
        raise DataError(error.expected, received=error.received, path=path) from None
    except FileNotFoundError:
        raise DataError("A DICOM file was expected here.", received="no such file", path=path) from None
    except OSError as error:
        raise DataError(
            "The file cannot be read.", received=error.strerror or type(error).__name__, path=path
        ) from None
    except Exception as error:
        raise DataError(
            "The header is damaged, or of a form that is not read here.", received=type(error).__name__, path=path
        ) from None
    finally:
        log.propagate = propagates


def read_elements(path: Path, *, with_pixels: bool, is_clip: bool = False) -> pydicom.FileDataset:
    """Read the elements of `_ELEMENTS`, after the checks that need no parsing."""
    largest_bytes = LARGEST_CLIP_FILE_BYTES if is_clip else LARGEST_FILE_BYTES
    if not path.is_file():
        raise DataError("A DICOM file was expected here.", received="a folder" if path.is_dir() else "no such file")
    if (num_bytes := path.stat().st_size) > largest_bytes:
        raise DataError(f"DICOM files of at most {largest_bytes:,} bytes are read.", received=f"{num_bytes:,}")
    with path.open("rb") as file:
        start = file.read(_PREFIX_OFFSET + len(_PREFIX))
    if start[_PREFIX_OFFSET:] != _PREFIX:
        raise DataError(
            "The file is no DICOM file: the letters DICM were expected at byte 128.", received=f"{num_bytes:,} bytes"
        )
    # Asked for first, since reading a deflated file would inflate it, however large it becomes.
    _require_known_syntax(pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID"))
    return pydicom.dcmread(path, stop_before_pixels=not with_pixels, specific_tags=list(_ELEMENTS))


def _require_known_syntax(syntax: Any) -> None:
    if syntax in (*UNCOMPRESSED, *RLE, *JPEG, *JPEG_LS, *JPEG_2000):
        return
    is_standard = isinstance(syntax, uid.UID) and syntax.is_transfer_syntax and not syntax.is_private
    raise DataError(
        "Uncompressed pixels, RLE, JPEG, JPEG-LS or JPEG 2000 were expected.",
        received=syntax.name if is_standard else "no transfer syntax" if syntax is None else "another transfer syntax",
    )


def parse_header(dataset: pydicom.FileDataset, *, is_clip: bool = False) -> DicomHeader:
    """Check what the pixels depend on, the declared size first.

    Args:
        dataset: As from `read_elements`.
        is_clip: There may be several frames, which are decoded one at a time.

    Raises:
        DataError: The first element that is missing, absurd or not supported.
    """
    rows, columns = (_whole(dataset, keyword, range(1, 2**16)) for keyword in ("Rows", "Columns"))
    num_samples = _whole(dataset, "SamplesPerPixel", (1, 3))
    bits_allocated = _whole(dataset, "BitsAllocated", (8, 16, 32))
    num_frames = _whole(dataset, "NumberOfFrames", range(1, 2**31), default=1)
    num_bytes = rows * columns * num_samples * (1 if is_clip else num_frames) * bits_allocated // 8
    if num_bytes > LARGEST_IMAGE_BYTES:
        raise DataError(
            f"Images of at most {LARGEST_IMAGE_BYTES:,} bytes are decoded.",
            received=f"{num_bytes:,} bytes declared ({num_frames} frames of {rows} x {columns})",
        )
    if num_frames != 1 and not is_clip:
        raise DataError("One image per file was expected.", received=f"a multi-frame file of {num_frames} frames")
    bits_stored = _whole(dataset, "BitsStored", range(1, bits_allocated + 1))
    _whole(dataset, "HighBit", (bits_stored - 1,), default=bits_stored - 1)
    is_signed = bool(_whole(dataset, "PixelRepresentation", (0, 1)))
    photometric = _photometric(dataset, num_samples)
    if num_samples == 3 and bits_stored != 8:
        raise DataError("Colour of 8 bits was expected.", received=f"{bits_stored} bits")
    slope = _real(dataset, "RescaleSlope", default=1.0)
    if slope == 0:
        raise DataError("RescaleSlope must not be 0.", received=slope)
    return DicomHeader(
        transfer_syntax=dataset.file_meta.TransferSyntaxUID,
        rows=rows,
        columns=columns,
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        is_signed=is_signed,
        photometric=photometric,
        slope=slope,
        intercept=_real(dataset, "RescaleIntercept", default=0.0),
        has_rescale=_element(dataset, "RescaleIntercept") is not None,
        padding=_padding_range(dataset, is_signed),
        window=_window(dataset),
        is_ct=_text(dataset, "Modality").upper() == "CT",
        patient_id=_text(dataset, "PatientID"),
        has_burned_in_annotation=_text(dataset, "BurnedInAnnotation").upper() == "YES",
        num_frames=num_frames,
        seconds=_frame_seconds(dataset, num_frames) if is_clip else None,
    )


def _frame_seconds(dataset: pydicom.FileDataset, num_frames: int) -> tuple[float, ...] | None:
    """Return when each frame was taken: by the times between them (ms) or by a rate, or None where there is neither.

    Section C.7.6.5 (Cine), and 0008,2144 of section C.7.6.5.1.
    """
    vector = _element(dataset, "FrameTimeVector")
    steps = [_number(value) for value in vector] if isinstance(vector, MultiValue) else []
    if len(steps) == num_frames and all(math.isfinite(step) and step >= 0 for step in steps):
        return tuple(value / 1000 for value in itertools.accumulate([0.0, *steps[1:]]))
    period = _number(_element(dataset, "FrameTime")) / 1000
    rates = [_number(_element(dataset, name)) for name in ("CineRate", "RecommendedDisplayFrameRate")]
    for seconds in (period, *(1 / rate for rate in rates if rate > 0)):
        if math.isfinite(seconds) and seconds > 0:
            return tuple(seconds * frame for frame in range(num_frames))
    return None


def _element(dataset: pydicom.FileDataset, keyword: str) -> Any:
    """Return an element's value, or None where it is missing or empty."""
    try:
        value = dataset.get(keyword)
    except Exception as error:  # pydicom converts a value when it is asked for
        raise DataError(f"{keyword} cannot be read.", received=type(error).__name__) from None
    return None if isinstance(value, str | bytes | Sequence) and len(value) == 0 else value


def _number(value: Any) -> float:
    """Return an element's value as a number, or NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _whole(
    dataset: pydicom.FileDataset, keyword: str, allowed: range | tuple[int, ...], default: int | None = None
) -> int:
    """Return a whole number of the header that must be one of `allowed`."""
    value = _element(dataset, keyword)
    if value is None:
        if default is not None:
            return default
        raise DataError(f"{keyword} is missing in the header.", received="nothing")
    number = _number(value)
    if not number.is_integer() or int(number) not in allowed:
        if isinstance(allowed, range):
            expected = f"from {allowed.start} to {allowed.stop - 1}"
        else:
            expected = ", ".join(map(str, allowed[:-1])) + " or " * (len(allowed) > 1) + str(allowed[-1])
        raise DataError(f"{keyword} must be {expected}.", received=_quotable(number))
    return int(number)


def _real(dataset: pydicom.FileDataset, keyword: str, default: float) -> float:
    """Return a finite number of the header."""
    value = _element(dataset, keyword)
    if value is None:
        return default
    number = _number(value)
    if not math.isfinite(number):
        raise DataError(f"{keyword} must be a finite number.", received=_quotable(number))
    return number


def _quotable(number: float) -> str:
    return "no number" if math.isnan(number) else f"{number:g}"


def _text(dataset: pydicom.FileDataset, keyword: str) -> str:
    """Return a text of the header, stripped; empty where it is missing, not one text, or not readable."""
    value = _element(dataset, keyword)
    text = value.strip(" \0") if isinstance(value, str) else ""
    return text if text.isprintable() and "\ufffd" not in text else ""


def _photometric(dataset: pydicom.FileDataset, num_samples: int) -> str:
    text = _text(dataset, "PhotometricInterpretation")
    allowed = GREY if num_samples == 1 else COLOUR
    if text not in allowed:
        known = text in (*GREY, *COLOUR, "PALETTE COLOR")
        raise DataError(
            f"PhotometricInterpretation must be one of {', '.join(allowed)} with {num_samples} samples per pixel.",
            received=text if known else "another value" if text else "nothing",
        )
    return text


def _window(dataset: pydicom.FileDataset) -> tuple[float, float] | None:
    """Return the first centre and width, or None unless both are numbers and the width is above 0."""
    try:
        elements = _element(dataset, "WindowCenter"), _element(dataset, "WindowWidth")
    except DataError:
        return None
    centre, width = (_number(value[0] if isinstance(value, MultiValue) else value) for value in elements)
    return (centre, width) if math.isfinite(centre) and math.isfinite(width) and width > 0 else None


def _padding_range(dataset: pydicom.FileDataset, is_signed: bool) -> tuple[int, int] | None:
    """Return the lowest and the highest stored value that is padding (section C.7.5.1.1.2), or None.

    Both elements have 16 bits, and some writers give them the other sign than the pixels: -2000
    stands as 63536. They are read modulo 65536, in the range of the pixels.
    """
    value = _element(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = _element(dataset, "PixelPaddingRangeLimit")
    ends = []
    for end in (value, value if limit is None else limit):
        number = _number(end)
        if not number.is_integer() or not -(2**15) <= number < 2**16:
            raise DataError(
                "PixelPaddingValue and PixelPaddingRangeLimit must be whole numbers of 16 bits.",
                received=_quotable(number),
            )
        stored = int(number) % 2**16
        ends.append(stored - 2**16 if is_signed and stored >= 2**15 else stored)
    return min(ends), max(ends)
