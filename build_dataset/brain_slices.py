"""One head CT slice from a DICOM file to a PNG file. Worker processes load this module and little else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.transform import resize

from medsynth.data.dicom import DicomHeader, DicomSlice, read_header, read_slice
from medsynth.data.images import read_image
from medsynth.errors import DataError
from medsynth.files import atomic_path

# Centre and width of each grey channel, in Hounsfield units.
_BRAIN, _SUBDURAL, _BONE = (40, 80), (80, 200), (600, 2800)
WINDOWS = {"brain": (_BRAIN,), "subdural": (_SUBDURAL,), "bone": (_BONE,), "stack": (_BRAIN, _SUBDURAL, _BONE)}


@dataclass(frozen=True)
class SliceTask:
    """Some slices for one process: the files to read and the PNG files to write."""

    files: Sequence[tuple[Path, Path]]
    window: str
    image_size: int
    allow_burned_in: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a slice: the patient, or the reason why it failed."""

    patient: str = ""
    reason: str = ""
    is_inverted: bool = False


def prepare_slices(task: SliceTask) -> list[Outcome]:
    """Write the PNG files of a task that are not there yet or damaged, and return what became of each."""
    return [_prepare_slice(source, target, task) for source, target in task.files]


def _prepare_slice(source: Path, target: Path, task: SliceTask) -> Outcome:
    """Write one PNG file, unless it is there and whole, and return the patient."""
    try:
        header = read_header(source)
        _require_usable(header, task.allow_burned_in)
        if not _is_whole(target):
            pixels = picture(read_slice(source), task.window, task.image_size)
            with atomic_path(target) as temporary:
                Image.fromarray(pixels).save(temporary, "PNG")
    except DataError as error:
        return Outcome(reason=f"{error.expected} Received: {error.received}")
    return Outcome(header.patient_id, is_inverted=header.is_inverted)


def _is_whole(path: Path) -> bool:
    """Return whether a PNG file is there, with the checksums of all its parts right."""
    try:
        read_image(path)
    except DataError:
        return False
    return True


def _require_usable(header: DicomHeader, allow_burned_in: bool) -> None:
    if not header.patient_id:
        raise DataError("A PatientID is needed to keep patients in one split.", received="none that can be read")
    if not header.has_rescale:
        raise DataError("RescaleIntercept is needed to have Hounsfield units.", received="none")
    if header.has_burned_in_annotation and not allow_burned_in:
        raise DataError(
            "The header says that text is burned into the pixels, which may name the patient; "
            "--allow-burned-in takes such files.",
            received="BurnedInAnnotation YES",
        )


def picture(image: DicomSlice, window: str, size: int) -> npt.NDArray[np.uint8]:
    """Return a slice as uint8 [size, size], or [size, size, 3] for the stack of three windows."""
    channels = [image.shown(centre, width) for centre, width in WINDOWS[window]]
    grey = np.stack(channels, axis=-1)  # [H, W, C]
    height, width, _ = grey.shape
    longest = max(height, width)
    inner = max(1, round(height * size / longest)), max(1, round(width * size / longest))
    resized = resize(grey, inner, anti_aliasing=True)
    square = np.zeros((size, size, len(channels)))
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    square[top : top + inner[0], left : left + inner[1]] = resized
    pixels = np.rint(np.clip(square, 0, 1) * 255).astype(np.uint8)
    return pixels[..., 0] if len(channels) == 1 else pixels
