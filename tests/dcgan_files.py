"""Frames small enough for a test: clips of a bright bar, each clip of its own width."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medsynth.files import write_text


def write_frames(folder: Path, num_clips: int = 4, frames_a_clip: int = 10, size: tuple[int, int] = (40, 32)) -> Path:
    """Write clip<c>/frame_<n>.png, `size` wide and high, and labels.csv, in which two clips are one patient."""
    rows = ["path,group_id"]
    for clip in range(num_clips):
        place = folder / f"clip{clip}"
        place.mkdir(parents=True)
        for number in range(frames_a_clip):
            pixels = np.full((size[1], size[0]), 20 * clip + 20, np.uint8)
            pixels[:, 2 * number : 2 * number + 4 + 3 * clip] = 255
            Image.fromarray(pixels).save(place / f"frame_{number:04d}.png")
            rows.append(f"clip{clip}/frame_{number:04d}.png,patient{clip // 2}")
    write_text(folder / "labels.csv", "\n".join(rows) + "\n")
    return folder


def touch(folder: Path, names: Sequence[str]) -> Path:
    """Make empty files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder
