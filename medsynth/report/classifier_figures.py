"""ROC, precision-recall and calibration curves of a classifier: one figure of each kind, a panel per label."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.report.canvas import new_figure, save_png, wrapped_lines
from medsynth.report.figures import COLOURS

Floats = npt.NDArray[np.float64]
_MOST_COLUMNS = 4
_PANEL_WIDTH, _PANEL_HEIGHT = 2.9, 3.6  # inches
_GREY = "0.6"


@dataclass(frozen=True)
class CurvePanel:
    """The curve of one label.

    Attributes:
        label: Its name.
        legend: Figures, number of images and of positives, in a line or two.
        x: In [0, 1], [P]; empty where there is no curve.
        y: In [0, 1], [P].
        low: Lower ends of intervals of y, [P]; None where there are none.
        high: Upper ends.
        point: The operating point as (x, y).
        chance: The level of a classifier that knows nothing, drawn across; None draws the diagonal.
        is_sufficient: Whether the label has enough cases; others are drawn in grey.
    """

    label: str
    legend: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    point: tuple[float, float] | None = None
    chance: float | None = None
    is_sufficient: bool = True


def curves_figure(
    path: Path, panels: Sequence[CurvePanel], *, title: str, x_name: str, y_name: str, note: str, steps: bool = False
) -> None:
    """Write a panel per label as PNG, at most four in a row.

    Args:
        path: The .png file, written atomically.
        panels: At least one.
        title: Above the figure.
        x_name: Below the panels.
        y_name: Beside them.
        note: Below the figure: what the intervals are, and what a reader must know.
        steps: Whether y jumps at each x, rather than going there straight.
    """
    num_columns = min(_MOST_COLUMNS, len(panels))
    num_rows = -(-len(panels) // num_columns)
    width = max(6.5, 0.4 + _PANEL_WIDTH * num_columns)
    lines = wrapped_lines(note, width)
    figure = new_figure(width, 0.9 + 0.13 * len(lines) + _PANEL_HEIGHT * num_rows)
    figure.set_layout_engine("constrained", h_pad=0.1)
    all_axes = np.atleast_1d(figure.subplots(num_rows, num_columns)).ravel()
    for axes, panel in zip(all_axes, panels, strict=False):
        _draw_panel(axes, panel, steps=steps)
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    for number, axes in enumerate(all_axes[: len(panels)]):
        if number % num_columns == 0:
            axes.set_ylabel(y_name, fontsize=9)
        if number + num_columns >= len(panels):
            axes.set_xlabel(x_name, fontsize=9)
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=11)
    figure.supxlabel("\n".join(lines), x=0.01, horizontalalignment="left", fontsize=7.5, color="0.3")
    save_png(figure, path)


def _draw_panel(axes: Any, panel: CurvePanel, *, steps: bool) -> None:
    colour = COLOURS[0] if panel.is_sufficient else _GREY
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.tick_params(labelsize=8)
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(panel.label, fontsize=9.5, fontweight="bold", loc="left", pad=34)
    if len(panel.x):
        across = [0, 1] if panel.chance is None else [panel.chance, panel.chance]
        axes.plot([0, 1], across, color="0.55", linewidth=1, linestyle="--", zorder=1)
    else:
        axes.text(0.5, 0.5, "one class only", ha="center", va="center", fontsize=9, color=_GREY)
    if panel.low is not None and panel.high is not None:
        axes.vlines(panel.x, panel.low, panel.high, color=colour, linewidth=1.2, alpha=0.6)
    style = {"drawstyle": "steps-pre"} if steps else {}
    marker = {} if panel.low is None else {"marker": "o", "markersize": 3.5}
    axes.plot(panel.x, panel.y, color=colour, linewidth=1.5, label=panel.legend, clip_on=False, **style, **marker)
    if panel.point is not None:
        axes.plot(*panel.point, linestyle="none", marker="o", markersize=6, color=COLOURS[1], clip_on=False)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.04, 1.0), borderaxespad=0.1, handlelength=1.0, frameon=False, fontsize=7.5
    )
