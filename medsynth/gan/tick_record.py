"""What a training says of its ticks: stats.jsonl, and events for TensorBoard."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from medsynth.files import write_text

STATS_NAME = "stats.jsonl"


class TickRecord:
    """Scalars and pictures over time: stats.jsonl, and events for TensorBoard.

    Args:
        folder: The results folder.
        tick: Lines of later ticks, which a killed run may have left, are dropped.
    """

    def __init__(self, folder: Path, tick: int) -> None:
        self.path = folder / STATS_NAME
        self._writer = tf.summary.create_file_writer(str(folder))
        if self.path.is_file():
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            write_text(self.path, "".join(line for line in lines if _tick_of(line) <= tick))

    def add(self, images_seen: int, scalars: Mapping[str, float], picture: Path) -> None:
        """Add a tick's scalars and its picture."""
        with self.path.open("a", encoding="utf-8") as file:
            # JSON knows no NaN.
            finite = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
            file.write(json.dumps({"images_seen": images_seen, **finite}) + "\n")
        with self._writer.as_default(step=images_seen):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
            pixels = tf.io.decode_png(tf.io.read_file(str(picture)))
            tf.summary.image("fakes", pixels[tf.newaxis])
        self._writer.flush()


def _tick_of(line: str) -> float:
    """Return the tick of a line of stats.jsonl; infinity where the line was cut off."""
    try:
        return float(json.loads(line)["Progress/tick"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
