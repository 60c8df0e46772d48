"""Frames to an mp4 file, whole or absent."""

import contextlib
import importlib.util
import math
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.errors import DependencyError, RunFolderError, UsageError
from medsynth.files import atomic_path, remove_leftovers
from medsynth.progress import Progress

Frame = npt.NDArray[np.uint8]

MAX_FRAMES = 100_000  # the latents of an interpolation are held in memory
_QUALITY = 8  # of 10: no visible loss, a few MB a minute


def count_frames(seconds: float, fps: float) -> int:
    """Return how many frames a video has.

    Raises:
        UsageError: Not a positive, finite length and rate, less than one frame or more than 100,000.
    """
    for name, value in (("--seconds", seconds), ("--fps", fps)):
        if not 0 < value < math.inf:
            raise UsageError(f"{name} must be above 0.", received=value)
    num_frames = round(seconds * fps)
    if not 1 <= num_frames <= MAX_FRAMES:
        raise UsageError(f"--seconds times --fps must give 1 to {MAX_FRAMES:,} frames.", received=f"{num_frames:,}")
    return num_frames


def require_video(path: Path) -> None:
    """Make sure, before any work is done, that a video can be written to `path`.

    Raises:
        UsageError: It does not end in .mp4.
        DependencyError: imageio-ffmpeg or ffmpeg itself is missing.
    """
    if path.suffix.lower() != ".mp4":
        raise UsageError("A video's name ends in .mp4.", received=path.name)
    try:
        if importlib.util.find_spec("imageio_ffmpeg") is None:
            raise RuntimeError("no imageio-ffmpeg")
        _ffmpeg().get_ffmpeg_version()
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        raise DependencyError(
            "Videos need ffmpeg: pip install -e '.[video]' brings one; an ffmpeg of your own is named by "
            "IMAGEIO_FFMPEG_EXE.",
            received=error,
        ) from None


def write_video(path: Path, frames: Iterable[Frame], *, fps: float, num_frames: int, comment: str) -> None:
    """Write frames as H.264 in an mp4 file, atomically, with a progress line.

    Args:
        path: The .mp4 file.
        frames: uint8 [H, W, C], grey or RGB, all of one size; an odd width or height, which H.264
            cannot hold, gets a black line more.
        fps: Frames a second.
        num_frames: How many there are.
        comment: Kept in the file's metadata.

    Raises:
        UsageError, DependencyError: As `require_video`.
        RunFolderError: ffmpeg could not write it.
    """
    require_video(path)
    remove_leftovers(path)
    with atomic_path(path) as temporary:
        with contextlib.closing(Progress("video", num_frames, "frames")) as progress:
            _encode(temporary, _counted(frames, progress), fps, comment)
        # ffmpeg's exit code is not passed on; a file that was cut off has no index and cannot be counted.
        with _explained():
            num_written, _ = _ffmpeg().count_frames_and_secs(str(temporary))
        if num_written != num_frames:
            raise _not_written(f"{num_written:,} of {num_frames:,} frames")


def _ffmpeg() -> Any:
    import imageio_ffmpeg  # noqa: PLC0415  (optional)

    return imageio_ffmpeg


def _counted(frames: Iterable[Frame], progress: Progress) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        progress.advance()


def _encode(path: Path, frames: Iterable[Frame], fps: float, comment: str) -> None:
    import imageio.v2 as imageio  # noqa: PLC0415  (optional)

    writer = imageio.get_writer(
        path,
        format="FFMPEG",
        mode="I",
        fps=fps,
        quality=_QUALITY,
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-metadata", f"comment={comment}", "-movflags", "+faststart"],
    )
    try:
        for frame in frames:
            with _explained():
                writer.append_data(_even_rgb(frame))
    finally:
        writer.close()


def _even_rgb(frame: Frame) -> Frame:
    """Return a frame [H, W, C] as RGB with an even number of rows and columns."""
    padded = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)))
    return padded.repeat(3, axis=2) if padded.shape[2] == 1 else padded


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Raise what ffmpeg's wrapper raises, a command line and all, as one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise _not_written(str(error).partition("\n")[0]) from error


def _not_written(received: str) -> RunFolderError:
    return RunFolderError("ffmpeg could not write the video. Is the disk full?", received=received)
