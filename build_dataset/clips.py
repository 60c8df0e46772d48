"""Clips of ultrasound to frames: mp4 and avi by ffmpeg, animated GIF by Pillow, multi-frame DICOM by pydicom.

Decoders make do with what is left of a file that was cut off, so whether its container is whole is checked first.
"""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageSequence

from medsynth.errors import DataError, DependencyError

Frame = npt.NDArray[np.uint8]

MP4_ENDINGS, AVI_ENDINGS, GIF_ENDINGS, DICOM_ENDINGS = (
    (".mp4", ".m4v", ".mov"),
    (".avi",),
    (".gif",),
    (".dcm", ".dicom"),
)
CLIP_ENDINGS = (*MP4_ENDINGS, *AVI_ENDINGS, *GIF_ENDINGS, *DICOM_ENDINGS)
_DICOM_PREAMBLE = 128
_SIZE = re.compile(r"Stream #\d.*Video: .*?, (\d+x\d+)[ ,]")
_CHANGED_SIZE = re.compile(r"Reconfiguring filter graph because video parameters changed to .*?, (\d+x\d+)\b")
_DAMAGED = "The clip is truncated or damaged; put a whole copy in its place."


class Clip(Protocol):
    """A clip that can be read several times."""

    @property
    def has_burned_in_annotation(self) -> bool:
        """Whether the file's header says that text is part of the pixels."""
        ...

    def frames(self) -> Iterator[tuple[Frame, float | None]]:
        """Yield each frame, uint8 grey [H, W] or RGB [H, W, 3], with its time in s where that is known.

        Raises:
            DataError: Truncated or damaged; names the file.
        """
        ...


def is_clip(path: Path) -> bool:
    """Return whether a file looks like a clip: by its ending, or as DICOM by its beginning where it has none."""
    if path.suffix.lower() in CLIP_ENDINGS:
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # DICOM files are often named by numbers with dots
        return False
    try:
        with path.open("rb") as file:
            return file.read(_DICOM_PREAMBLE + 4)[_DICOM_PREAMBLE:] == b"DICM"
    except OSError:
        return False


def open_clip(path: Path) -> Clip:
    """Open a clip by its ending; one without a known ending as DICOM.

    Raises:
        DataError: Missing, truncated, damaged, or of a form that is not read here; names the file.
        DependencyError: ffmpeg or another decoder is missing.
    """
    if not path.is_file():
        raise DataError("A clip was expected here.", received="no such file", path=path)
    ending = path.suffix.lower()
    if ending in GIF_ENDINGS:
        return GifClip(path)
    if ending in MP4_ENDINGS + AVI_ENDINGS:
        return VideoClip(path)
    if is_clip(path):
        from build_dataset.dicom_clips import DicomFile  # noqa: PLC0415 - pydicom is slow to load and not always needed

        return DicomFile(path)
    raise DataError(
        "An mp4, mov, avi, animated GIF or DICOM file was expected.", received=ending or "no ending", path=path
    )


@dataclass(frozen=True)
class GifClip:
    """An animated GIF."""

    path: Path
    has_burned_in_annotation: bool = False

    def __post_init__(self) -> None:
        with _opened(self.path) as file:
            _require_whole_gif(file, self.path)

    def frames(self) -> Iterator[tuple[Frame, float | None]]:
        """Yield the frames as they are shown; see `Clip.frames`."""
        seconds = 0.0
        try:
            with Image.open(self.path) as image:
                for picture in ImageSequence.Iterator(image):
                    shown = picture.convert("RGB")
                    duration = picture.info.get("duration", 0)
                    yield np.asarray(shown), seconds
                    seconds += duration / 1000
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, Image.DecompressionBombError) as error:
            raise DataError(_DAMAGED, received=error, path=self.path) from None


class VideoClip:
    """What ffmpeg reads: mp4, mov and avi with whatever codec.

    Args:
        path: The file.

    Raises:
        DataError: No such file, or none of these.
        DependencyError: ffmpeg is missing.
    """

    has_burned_in_annotation = False

    def __init__(self, path: Path) -> None:
        self._path = path
        with _opened(path) as file:
            require = _require_whole_avi if path.suffix.lower() in AVI_ENDINGS else _require_whole_mp4
            require(file, path)
        self._frames_per_second = _frames_per_second(path)

    def frames(self) -> Iterator[tuple[Frame, float | None]]:
        """Yield the frames, RGB; see `Clip.frames`. Times follow from the mean rate."""
        command = [
            *(_ffmpeg().get_ffmpeg_exe(), "-nostdin", "-nostats", "-v", "level+info"),
            *("-xerror", "-err_detect", "explode", "-i", str(self._path), "-map", "0:v:0", "-fps_mode", "passthrough"),
            *("-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "-"),
        ]
        rate = self._frames_per_second
        with tempfile.TemporaryFile() as remarks:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=remarks)
            try:
                for number, pixels in enumerate(_pictures(process.stdout)):
                    yield pixels, number / rate if rate else None
                is_whole = process.wait() == 0
            finally:
                process.kill()
                process.wait()
                if process.stdout:
                    process.stdout.close()
            remarks.seek(0)
            self._refuse(remarks.read().decode("utf-8", "replace"), is_whole)

    def _refuse(self, remarks: str, is_whole: bool) -> None:
        """Raise for what ffmpeg has met on its way, as it says."""
        if not is_whole:
            errors = [line for line in remarks.splitlines() if "[error]" in line or "[fatal]" in line]
            raise DataError(_DAMAGED, received=_plain(errors[:1], self._path), path=self._path)
        # It scales every frame to the size of the first.
        first, changed = _SIZE.search(remarks), _CHANGED_SIZE.findall(remarks)
        if first and any(size != first[1] for size in changed):
            raise DataError(
                "Frames of one size were expected in a clip; cut it where the size changes.",
                received=f"{next(size for size in changed if size != first[1])} pixels after {first[1]}",
                path=self._path,
            )


def _pictures(stream: IO[bytes] | None) -> Iterator[Frame]:
    """Yield the PPM pictures of a stream up to the first that is not whole; the exit code tells why."""
    while stream and stream.readline() == b"P6\n":
        width, height = (int(number) for number in stream.readline().split())
        stream.readline()  # the largest value, 255
        content = stream.read(width * height * 3)
        if len(content) < width * height * 3:
            return
        yield np.frombuffer(content, np.uint8).reshape(height, width, 3)


def _ffmpeg() -> Any:
    try:
        import imageio_ffmpeg  # noqa: PLC0415  (optional)
    except ImportError as error:
        raise DependencyError(
            "mp4, mov and avi files need ffmpeg: pip install -e '.[video]' brings one.", received=error
        ) from None
    return imageio_ffmpeg


def _frames_per_second(path: Path) -> float:
    """Return the mean rate of a video, 0 where it is not known."""
    reader = _ffmpeg().read_frames(str(path))
    try:
        return float(next(reader).get("fps") or 0)
    except (OSError, RuntimeError, KeyError, IndexError, ValueError) as error:
        raise DataError(_DAMAGED, received=_plain(str(error).splitlines()[-1:], path), path=path) from None
    finally:
        reader.close()


def _plain(lines: list[str], path: Path) -> str:
    """Return a line of ffmpeg's for a message, without the file that is named anyhow."""
    text = " ".join(lines).replace(str(path), path.name).strip()
    return text[:200] or "no frame"


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError("The clip cannot be read.", received=error.strerror, path=path) from None


def _cut_off(path: Path, found: int, expected: int | None = None) -> DataError:
    more = "" if expected is None else f" of {expected:,}"
    return DataError(_DAMAGED, received=f"the file ends after {found:,}{more} bytes", path=path)


def _require_whole_mp4(file: IO[bytes], path: Path) -> None:
    """Walk the boxes of the file's top level (ISO/IEC 14496-12 section 4.2): each says how long it is."""
    size, position, kinds = os.fstat(file.fileno()).st_size, 0, set()
    while position < size:
        file.seek(position)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # to the end of the file
            length = size - position
        if length < 8 or position + length > size:
            raise _cut_off(path, size, position + length if length >= 8 else None)
        kinds.add(kind)
        position += length
    if not {b"moov", b"moof"} & kinds:
        raise DataError(_DAMAGED, received=f"no index in {size:,} bytes", path=path)


def _require_whole_avi(file: IO[bytes], path: Path) -> None:
    """Walk the RIFF chunks: each says how long it is, and a recorder writes the lengths last."""
    size, position = os.fstat(file.fileno()).st_size, 0
    while position < size:
        file.seek(position)
        head = file.read(8)
        if position == 0 and head[:4] != b"RIFF":
            raise DataError(_DAMAGED, received="no RIFF file", path=path)
        if head[:4] != b"RIFF":
            return  # what some programs append
        length = 8 + int.from_bytes(head[4:8], "little")
        if length <= 8 or position + length > size:
            raise _cut_off(path, size, position + length if length > 8 else None)
        position += length + length % 2
    if position == 0:
        raise _cut_off(path, 0)


def _require_whole_gif(file: IO[bytes], path: Path) -> None:
    """Walk the blocks of a GIF to its trailer (GIF89a section 27), which Pillow does not ask for."""
    content = file.read()
    if content[:6] not in (b"GIF87a", b"GIF89a"):
        raise DataError(_DAMAGED, received=f"no GIF in {len(content):,} bytes", path=path)
    try:
        position = 13 + _colour_bytes(content[10])
        while content[position] != 0x3B:
            if content[position] == 0x2C:  # an image: descriptor, colours, code size
                position += 10 + _colour_bytes(content[position + 9]) + 1
            elif content[position] == 0x21:  # an extension: its kind
                position += 2
            else:
                raise DataError(_DAMAGED, received=f"no block at byte {position:,}", path=path)
            while content[position]:
                position += 1 + content[position]
            position += 1
    except IndexError:
        raise _cut_off(path, len(content)) from None


def _colour_bytes(flags: int) -> int:
    """Return how long the table of colours is that follows a descriptor with these flags."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0
