"""What a training leaves to look at: every step's scalars, every epoch's, curves, TensorBoard and Weights & Biases."""

import csv
import importlib
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from medsynth.errors import DependencyError
from medsynth.files import write_text
from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS

STEPS, HISTORY, CURVES = "steps.csv", "history.json", "losses.png"
TENSORBOARD_FOLDER = "tensorboard"


class StepRecords:
    """steps.csv: a row for every step, written whole each time, so that no row is half there.

    Args:
        folder: Of the run.
        num_kept: Rows of an earlier part of this training that count; later ones belong to steps that were lost.
    """

    def __init__(self, folder: Path, num_kept: int) -> None:
        self.path = folder / STEPS
        self.rows: list[dict[str, float]] = []
        if num_kept and self.path.is_file():
            with self.path.open(newline="") as file:
                for row in csv.DictReader(file):
                    self.rows.append({name: float(value) for name, value in row.items() if name != "step"})
            self.rows = self.rows[:num_kept]

    @property
    def num_steps(self) -> int:
        """So far."""
        return len(self.rows)

    def add(self, row: dict[str, float]) -> None:
        """Take the scalars of a step."""
        self.rows.append(row)

    def epoch_means(self, num_steps: int) -> dict[str, float]:
        """Return the means of the last `num_steps` steps over their images; of the learning rate, the last one."""
        rows = self.rows[-num_steps:]
        images = np.array([row["images"] for row in rows])
        names = [name for name in rows[0] if name not in ("images", "learning_rate")]
        means = {name: float(np.average([row[name] for row in rows], weights=images)) for name in names}
        return means | {"learning_rate": rows[-1]["learning_rate"]}

    def write(self) -> None:
        """Write the file."""
        if not self.rows:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", *self.rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows({"step": number, **row} for number, row in enumerate(self.rows, 1))
        write_text(self.path, text.getvalue())


class Trackers:
    """TensorBoard and Weights & Biases, where they are wanted.

    Args:
        folder: Of the run.
        name: Of the run, for Weights & Biases.
        settings: Of the run, likewise.
        tensorboard: Whether to write folder/tensorboard.
        wandb: Whether to send to wandb.ai.

    Raises:
        DependencyError: wandb is not installed.
    """

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any], *, tensorboard: bool, wandb: bool) -> None:
        self._writers: list[_Writer] = []
        if wandb:
            self._writers.append(_Wandb(folder, name, settings))
        if tensorboard:
            self._writers.append(_TensorBoard(folder / TENSORBOARD_FOLDER))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hand scalars on."""
        for writer in self._writers:
            writer.log(step, values)

    def close(self) -> None:
        """Write what is still held back."""
        for writer in self._writers:
            writer.close()


class _Writer(Protocol):
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Take the scalars of a step."""

    def close(self) -> None:
        """Finish."""


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        import tensorflow as tf  # noqa: PLC0415  (reports are read without it)

        self._summary, self._writer = tf.summary, tf.summary.create_file_writer(str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        with self._writer.as_default():
            for name, value in values.items():
                self._summary.scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        require_wandb()
        wandb: Any = importlib.import_module("wandb")  # an extra, which type checks cannot count on
        self._run = wandb.init(project="classifier_segment", name=name, config=dict(settings), dir=str(folder))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


def require_wandb() -> None:
    """Stop with the remedy where wandb is not installed.

    Raises:
        DependencyError: It is not.
    """
    if importlib.util.find_spec("wandb") is None:
        raise DependencyError(
            "log.wandb=true needs Weights & Biases: pip install -e '.[wandb]'; it sends the figures of a run to "
            "wandb.ai unless WANDB_MODE=offline.",
            received="an environment without wandb",
        )


def draw_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write losses.png: each scalar's training and validation curve over the epochs, a panel each."""
    names = [name for name in history[0] if f"val_{name}" in history[0]]
    epochs = [row["epoch"] for row in history]
    figure = new_figure(4.2 * len(names), 3.4)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for number, (label, key) in enumerate((("training", name), ("validation", f"val_{name}"))):
            values = [row[key] for row in history]
            axes.plot(epochs, values, color=COLOURS[number], label=label, marker="." if len(epochs) < 30 else "")
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    save_png(figure, folder / CURVES)
