"""The losses of every batch: exact over stops and kills, none twice and none lost."""

import csv
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import tensorflow as tf

from medsynth.errors import RunFolderError
from medsynth.files import write_array, write_text
from medsynth.report.loss_figures import LossSeries, save_loss_curves

CSV_NAME, PNG_NAME, EVENTS_FOLDER = "losses.csv", "losses.png", "losses"
ARRAY_NAME = "{network}_losses.npy"
DECAY = 0.98  # of the smoothed losses, a batch


@dataclass(frozen=True)
class Row:
    """A batch.

    Attributes:
        step: Its number from 0.
        images_seen: Real images after it.
        generator: Its loss.
        discriminator: Its loss, the sum of the next two.
        discriminator_real: Of the real frames.
        discriminator_fake: Of the synthetic ones.
        generator_smoothed: Mean of `generator` so far, weighted DECAY^(batches ago); batches that are not finite are
            left out.
        discriminator_smoothed: The same of `discriminator`.
    """

    step: int
    images_seen: int
    generator: float
    discriminator: float
    discriminator_real: float
    discriminator_fake: float
    generator_smoothed: float = math.nan
    discriminator_smoothed: float = math.nan


_NAMES = tuple(field.name for field in fields(Row))
_LOSSES, _SMOOTHED = _NAMES[2:6], ("generator", "discriminator")


class LossCurves:
    """Writes losses.csv as the training goes, and at each tick losses.png, two .npy files and TensorBoard events.

    The csv is the truth: after a stop or a kill it is cut to the batches of the state, and the rest is made of it.

    Args:
        folder: The results folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / CSV_NAME
        self._rows: list[Row] = []
        self._num_kept = 0
        self._means = {name: _Smoothed() for name in _SMOOTHED}

    def restore(self, num_steps: int) -> None:
        """Read the losses of the first steps, and drop later ones that a killed run left.

        Raises:
            RunFolderError: Some are missing.
        """
        rows = self._read(num_steps)
        if rows and len(rows) < num_steps:
            raise RunFolderError(
                f"The losses of {num_steps} batches were expected here; put the file back, or delete it to go on "
                "without them.",
                received=f"{len(rows)} batches",
                path=self.path,
            )
        shutil.rmtree(self.folder / EVENTS_FOLDER, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(self.folder / EVENTS_FOLDER))
        for row in rows:
            self._append(row)
        write_text(self.path, ",".join(_NAMES) + "\n" + "".join(map(_line, self._rows)))
        self._write_events(0)
        self._num_kept = len(self._rows)

    def add(self, step: int, images_seen: int, values: Mapping[str, float]) -> None:
        """Take the losses of a step."""
        self._append(Row(step, images_seen, *(_loss(values[name]) for name in _LOSSES)))

    def keep(self) -> None:
        """Put all losses on disk."""
        if self._num_kept == len(self._rows):
            return
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(map(_line, self._rows[self._num_kept :]))
            file.flush()
            os.fsync(file.fileno())
        self._write_events(self._num_kept)
        self._num_kept = len(self._rows)

    def draw(self) -> None:
        """Write the .npy files and the figure of all losses so far."""
        arrays = {name: np.array([getattr(row, name) for row in self._rows], np.float64) for name in _NAMES}
        for name in _SMOOTHED:
            write_array(self.folder / ARRAY_NAME.format(network=name), arrays[name].astype(np.float32))
        series = [LossSeries(name, arrays[name], arrays[f"{name}_smoothed"]) for name in _SMOOTHED]
        note = f"pale: each batch; bold: mean of those before, weighted {DECAY}^batches ago"
        save_loss_curves(self.folder / PNG_NAME, arrays["images_seen"] / 1000, series, note)

    def _append(self, row: Row) -> None:
        means = [self._means[name].add(getattr(row, name)) for name in _SMOOTHED]
        self._rows.append(Row(*astuple(row)[: -len(means)], *means))

    def _read(self, num_steps: int) -> list[Row]:
        """Return the rows of the first steps; a line that was cut off ends them."""
        if not self.path.is_file():
            return []
        rows: list[Row] = []
        with self.path.open(encoding="utf-8", errors="replace", newline="") as file:
            for cells in csv.DictReader(file):
                if len(rows) == num_steps:
                    break
                try:
                    row = Row(int(cells["step"]), int(cells["images_seen"]), *(_loss(cells[name]) for name in _LOSSES))
                except (KeyError, TypeError, ValueError):
                    break
                rows.append(row)
        return rows

    def _write_events(self, first: int) -> None:
        with self._writer.as_default():
            for row in self._rows[first:]:
                for name in _NAMES[2:]:
                    tf.summary.scalar(f"Batch/{name}", getattr(row, name), step=row.images_seen)
        self._writer.flush()


class _Smoothed:
    """A mean in which every value counts DECAY times as much as the next one."""

    def __init__(self) -> None:
        self._sum = self._weight = 0.0

    def add(self, value: float) -> float:
        if math.isfinite(value):
            self._sum = DECAY * self._sum + (1 - DECAY) * value
            self._weight = DECAY * self._weight + (1 - DECAY)
        return self._sum / self._weight if self._weight else math.nan


def _line(row: Row) -> str:
    return f"{row.step},{row.images_seen}," + ",".join(f"{value:.9g}" for value in astuple(row)[2:]) + "\n"


def _loss(value: str | float) -> float:
    """Return a loss as float32 has it, which the nine digits of the csv give back exactly."""
    return float(np.float32(value))
