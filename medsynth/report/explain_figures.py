"""Sheets of attribution maps over the images that they explain."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.report.canvas import new_figure, save_png

_CELL, _LEFT, _TOP, _BOTTOM = 1.75, 1.0, 0.75, 0.45  # inches
_BRIGHTEST = 99.5  # percentile of a map at which the colour is full, so that single pixels do not hide the rest


def map_sheet(
    path: Path,
    images: npt.NDArray[np.uint8],
    maps: npt.NDArray[np.float32],
    *,
    columns: Sequence[str],
    rows: Sequence[str],
    cells: Sequence[Sequence[str]],
    title: str,
    note: str,
) -> None:
    """Write a PNG with a row per image: the image, then a map of each method laid over it.

    Only the positive part of a map is coloured, each from 0 to its own 99.5th percentile.

    Args:
        path: The .png file, written atomically.
        images: uint8 [N, D, D, 3].
        maps: float32 [N, M, D, D].
        columns: M names.
        rows: N names.
        cells: What stands below each map, [N][M].
        title: Above the sheet.
        note: Below it.
    """
    num_images, num_methods = maps.shape[:2]
    size = (_LEFT + _CELL * (num_methods + 1), _TOP + _BOTTOM + 1.12 * _CELL * num_images)
    figure = new_figure(*size)
    grid = figure.subplots(num_images, num_methods + 1, squeeze=False)
    for row in range(num_images):
        for column in range(num_methods + 1):
            axes = grid[row, column]
            axes.imshow(images[row])
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
            if column > 0:
                strength = positive_strength(maps[row, column - 1])
                axes.imshow(strength, cmap="inferno", vmin=0, vmax=1, alpha=0.75 * strength)
                axes.set_xlabel(cells[row][column - 1], fontsize=7, labelpad=2)
            if row == 0:
                axes.set_title(["image", *columns][column], fontsize=9)
        grid[row, 0].set_ylabel(rows[row], fontsize=7)
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=11)
    figure.supxlabel(note, x=0.01, horizontalalignment="left", fontsize=7, color="0.3")
    save_png(figure, path)


def positive_strength(attribution: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the positive part of a map [D, D] in [0, 1], full at its 99.5th percentile."""
    positive = np.maximum(attribution, 0)
    brightest = np.percentile(positive, _BRIGHTEST) or positive.max() or 1.0
    strength: npt.NDArray[np.float32] = np.clip(positive / brightest, 0, 1).astype(np.float32)
    return strength
