"""Tables of counts as pictures: how often two things go together, shaded by shares of the row."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.report.canvas import new_figure, save_png, wrapped_lines

_SHADES = "Blues"  # one hue from light to dark: readable for the colour-blind and in grey
_DARK = 0.6  # from this share on letters are white


def shaded_counts(
    axes: Any,
    shares: npt.NDArray[np.float64],
    texts: Sequence[Sequence[str]],
    *,
    font_size: float,
) -> Any:
    """Draw a table, shaded by shares [R, C] in [0, 1], with a text in each place.

    Returns:
        The image, for a colour bar; it is in percent.
    """
    image = axes.imshow(100 * shares, cmap=_SHADES, vmin=0, vmax=100)
    for row, column in np.ndindex(*shares.shape):
        colour = "white" if shares[row, column] > _DARK else "black"
        axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=font_size, color=colour)
    return image


def confusion_figure(
    path: Path, class_names: Sequence[str], counts: npt.NDArray[np.int64], *, title: str, note: str
) -> None:
    """Write a confusion matrix as PNG: numbers, and shares of the row, which the shade shows too.

    Args:
        path: The .png file, written atomically.
        class_names: L names.
        counts: [L, L]; rows are the true class, columns the predicted one.
        title: Above the figure.
        note: Below it.
    """
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    size = 1.6 + 0.95 * len(class_names)
    width = max(5.6, size + 2.0)
    lines = wrapped_lines(note, width)
    figure = new_figure(width, size + 0.8 + 0.13 * len(lines))
    axes = figure.add_subplot()
    texts = [
        [f"{count:,}\n{100 * share:.0f} %" if total else "0" for count, share in zip(row, row_shares, strict=True)]
        for row, row_shares, total in zip(counts, shares, totals, strict=True)
    ]
    image = shaded_counts(axes, shares, texts, font_size=9)
    axes.set_xticks(range(len(class_names)), class_names, rotation=30, horizontalalignment="right", fontsize=9)
    rows = [f"{name}\n(n {total:,})" for name, total in zip(class_names, totals, strict=True)]
    axes.set_yticks(range(len(class_names)), rows, fontsize=9)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    figure.colorbar(image, shrink=0.8, label="% of the true class")
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=11)
    figure.supxlabel("\n".join(lines), x=0.01, horizontalalignment="left", fontsize=7.5, color="0.3")
    save_png(figure, path)
