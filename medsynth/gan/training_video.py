"""A training as a video, from the pictures and the log that it left."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from medsynth.data.images import read_image
from medsynth.errors import DataError, UsageError
from medsynth.files import require_folder
from medsynth.progress import format_duration
from medsynth.report.captions import CAPTION_HEIGHT, caption_below, enlarge
from medsynth.report.video import Frame, count_frames, require_video, write_video
from medsynth.runs import LOG_NAME

_PICTURE = re.compile(r"fakes(\d{6,})\.png")
_TICK = re.compile(r"tick (\d+) +kimg ([\d.]+) .*sec/tick ([\d.]+)")
_SCREEN = (720, 1280)  # rows, columns; small pictures are enlarged to about this size
_COMMENT = "Synthetic: made by a generative model in the course of its training (medsynth); not images of patients."
_COLOUR_MODES = ("RGB", "RGBA", "P")


def write_training_video(
    results_dir: Path, path: Path, *, seconds: float = 20.0, fps: float = 30.0, time_warp: float = 1.5
) -> None:
    """Write a video of a training from its fakesNNNNNN.png and log.txt.

    At video time t of T it shows the picture nearest to training time (t / T)^time_warp of the whole, so
    that with a warp above 1 the beginning, in which most changes, is slower. Pictures are not blended: every
    frame is what the network made.

    Args:
        results_dir: Of the training, finished or not.
        path: The .mp4 file.
        seconds: Length.
        fps: Frames a second.
        time_warp: The exponent, above 0.

    Raises:
        DataError: Missing or damaged log or pictures.
        UsageError: A number out of range.
        DependencyError: ffmpeg is missing.
        RunFolderError: The file cannot be written.
    """
    require_video(path)
    num_frames = count_frames(seconds, fps)
    if not 0 < time_warp < np.inf:
        raise UsageError("--time-warp is above 0.", received=time_warp)
    pictures = find_pictures(results_dir)
    kimg, log_seconds = read_log(results_dir / LOG_NAME)
    times = np.interp(list(pictures), kimg, log_seconds)
    shown = shown_pictures(times, num_frames, time_warp)
    write_video(path, _frames(pictures, times, shown), fps=fps, num_frames=num_frames, comment=_COMMENT)


def find_pictures(results_dir: Path) -> dict[int, Path]:
    """Return the fakesNNNNNN.png of a training by NNNNNN (kimg), in rising order.

    Raises:
        DataError: There are none.
    """
    require_folder(results_dir, "a training")
    matches = [(_PICTURE.fullmatch(path.name), path) for path in results_dir.iterdir()]
    found = {int(match[1]): path for match, path in matches if match}
    if not found:
        raise DataError("Pictures fakesNNNNNN.png were expected here.", received="none", path=results_dir)
    return dict(sorted(found.items()))


def read_log(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return kimg [T] and seconds of training [T] at its start and after each tick, from a training's log.

    A run that was killed repeats the ticks since its last state when it goes on; the later lines count.

    Raises:
        DataError: Missing, or without a single tick.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError("The log of a training was expected here.", received="no such file", path=path) from None
    except UnicodeDecodeError as error:
        raise DataError("The log is damaged.", received=error, path=path) from None
    ticks: dict[int, tuple[float, float]] = {}
    for match in filter(None, map(_TICK.match, lines)):
        number = int(match[1])
        ticks = {tick: value for tick, value in ticks.items() if tick < number}
        ticks[number] = float(match[2]), float(match[3])
    if not ticks:
        raise DataError("Lines of ticks were expected in the log.", received=f"{len(lines)} other lines", path=path)
    kimg, seconds = zip(*ticks.values(), strict=True)
    return np.array([0.0, *kimg]), np.cumsum([0.0, *seconds])


def shown_pictures(times: npt.NDArray[np.float64], num_frames: int, time_warp: float) -> npt.NDArray[np.int64]:
    """Return which picture [F] each frame shows: the nearest to training time (t / T)^time_warp of the whole.

    Args:
        times: When the pictures were made, in seconds of training, rising, [P].
        num_frames: F.
        time_warp: The exponent.
    """
    moments = np.linspace(0.0, 1.0, num_frames) ** time_warp * times[-1]
    middles = (times[1:] + times[:-1]) / 2
    return np.searchsorted(middles, moments, side="right")


def _frames(pictures: dict[int, Path], times: npt.NDArray[np.float64], shown: npt.NDArray[np.int64]) -> Iterator[Frame]:
    """Yield a frame for each entry of `shown`, a picture with its kimg and time below it."""
    names = list(pictures.items())
    size, last, frame = None, -1, np.zeros((0, 0, 1), np.uint8)
    for number in shown.tolist():
        if number != last:
            kimg, path = names[number]
            picture = _read_picture(path)
            size = size or picture.shape
            if picture.shape != size:
                raise DataError(
                    f"Pictures of {size[1]}x{size[0]} were expected, as before it.",
                    received=f"{picture.shape[1]}x{picture.shape[0]}",
                    path=path,
                )
            zoom = max(min((_SCREEN[0] - CAPTION_HEIGHT) // size[0], _SCREEN[1] // size[1]), 1)
            frame = caption_below(enlarge(picture, zoom), f"{kimg:,} kimg, {format_duration(times[number])}")
            last = number
        yield frame


def _read_picture(path: Path) -> Frame:
    with Image.open(path) as picture:
        num_channels = 3 if picture.mode in _COLOUR_MODES else 1
    return np.asarray(read_image(path, num_channels), np.uint8)
