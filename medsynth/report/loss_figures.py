"""Losses over a training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS


@dataclass(frozen=True)
class LossSeries:
    """One loss.

    Attributes:
        name: For the legend.
        values: [N], a batch each; NaN where there is none.
        smoothed: [N].
    """

    name: str
    values: npt.NDArray[np.float64]
    smoothed: npt.NDArray[np.float64]


def save_loss_curves(path: Path, kimg: npt.NDArray[np.float64], series: Sequence[LossSeries], note: str) -> None:
    """Write loss curves as PNG: each batch pale, the smoothed curve over it.

    Args:
        path: The .png file, written atomically.
        kimg: Thousands of images seen after each batch, [N].
        series: A colour each.
        note: Below the axis: how they were smoothed.
    """
    figure = new_figure(8.0, 4.5)
    axes = figure.add_subplot()
    for number, one in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(kimg, one.values, color=colour, linewidth=0.6, alpha=0.3)
        axes.plot(kimg, one.smoothed, color=colour, linewidth=1.6, label=one.name)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"thousands of real images shown\n{note}")
    axes.set_ylabel("loss (binary cross-entropy)")
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    save_png(figure, path)
