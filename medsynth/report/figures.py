"""Figures of results, drawn without a display and readable for the colour-blind."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.report.canvas import new_figure, save_png
from medsynth.report.grids import image_sheet

# Okabe and Ito 2008, "Color Universal Design": told apart with every common colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
_ROW_HEIGHT, _FRAME_HEIGHT = 0.42, 2.3  # inches


@dataclass(frozen=True)
class Series:
    """One classifier's values, a row of the figure each.

    Attributes:
        name: For the legend.
        values: AUROC in [0, 1], NaN where there is none, [R].
        low: Lower ends of the intervals, NaN where there is none, [R].
        high: Upper ends, [R].
    """

    name: str
    values: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def comparison_figure(
    path: Path,
    row_names: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    note: str,
    published: Sequence[float | None] = (),
) -> None:
    """Write a dot plot of AUROC with 95 % intervals, a row per label and the mean last, as PNG.

    Args:
        path: The .png file, written atomically.
        row_names: R names; the last row is the mean.
        series: One per classifier, R values each.
        title: Above the figure.
        note: Below it: what the intervals are, and what a reader must know.
        published: Published mean of each series, drawn hollow on the last row; None where there is none.
    """
    rows = np.arange(len(row_names), dtype=np.float64)
    figure = new_figure(8.0, _FRAME_HEIGHT + _ROW_HEIGHT * len(rows))
    axes = figure.add_subplot()
    axes.axvline(0.5, color="0.55", linewidth=1, linestyle="--", zorder=0)
    axes.axhline(rows[-1] - 0.5, color="0.8", linewidth=1, zorder=0)
    offsets = (np.arange(len(series)) - (len(series) - 1) / 2) * 0.6 / max(len(series), 2)
    for number, (one, offset) in enumerate(zip(series, offsets, strict=True)):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        axes.hlines(rows + offset, one.low, one.high, color=colour, linewidth=1.6)
        axes.plot(one.values, rows + offset, linestyle="none", marker=marker, color=colour, label=one.name)
        known = published[number] if number < len(published) else None
        if known is not None:
            axes.plot(
                [known],
                [rows[-1] + offset],
                linestyle="none",
                marker=marker,
                markersize=10,
                markerfacecolor="none",
                color=colour,
                label=f"{one.name}, published",
            )
    drawn = np.concatenate([np.concatenate([one.values, one.low]) for one in series])
    lowest = np.nanmin(drawn) if np.isfinite(drawn).any() else 0.5
    axes.set_xlim(min(0.45, lowest - 0.03), 1.01)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.set_yticks(rows, row_names)
    axes.set_xlabel("AUROC on real test images (dashed: chance)")
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=11)
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2, frameon=False, fontsize=9)
    figure.supxlabel(_wrapped(note), x=0.01, horizontalalignment="left", fontsize=8, color="0.3")
    save_png(figure, path)


def _wrapped(text: str) -> str:
    """Break lines that are longer than the figure is wide."""
    return "\n".join(textwrap.fill(line, 125) for line in text.splitlines())


def save_side_by_side(
    path: Path, real: npt.NDArray[np.uint8], fake: npt.NDArray[np.uint8], row_names: Sequence[str]
) -> None:
    """Write real images on the left and synthetic ones on the right, a row per label, as PNG.

    Args:
        path: The .png file, written atomically.
        real: uint8 [R * K, H, W, C], K images of each of the R labels.
        fake: Like `real`; image i was made with the labels of real image i.
        row_names: R names.
    """
    num_columns = len(real) // len(row_names)
    figure = new_figure(2 + 1.1 * num_columns, 0.7 + 0.55 * len(row_names))
    height = real.shape[1]
    for axes, images, title in zip(
        figure.subplots(1, 2), (real, fake), ("real", "synthetic, the same labels"), strict=True
    ):
        sheet = image_sheet(images, num_columns)
        axes.imshow(sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    first = figure.axes[0]
    first.set_yticks((np.arange(len(row_names)) + 0.5) * height, row_names)
    first.tick_params(length=0)
    save_png(figure, path)
