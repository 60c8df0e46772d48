"""The picture of a reader study: every reader's accuracy, and the images that fooled most of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsynth.classify.evaluation.evaluate import Interval
from medsynth.data.images import read_image
from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS

_MOST_SHOWN, _MOST_LETTERS = 8, 24
_WIDTH, _ROW_HEIGHT, _IMAGE_HEIGHT = 9.0, 0.42, 1.55  # inches


@dataclass(frozen=True)
class Mistaken:
    """An image that readers were wrong about.

    Attributes:
        picture: Its file.
        item: Its name.
        num_wrong: Readers who were wrong.
        num_answers: Readers who answered.
    """

    picture: Path
    item: str
    num_wrong: int
    num_answers: int


def draw_study(
    path: Path,
    accuracies: Sequence[tuple[str, Interval, str]],
    chance: float,
    margin: float,
    real: Sequence[Mistaken],
    synthetic: Sequence[Mistaken],
) -> None:
    """Write the figure as PNG.

    Args:
        path: The .png file, written atomically.
        accuracies: Name, share and count of right answers, a row each, from above.
        chance: What guessing gives.
        margin: Around chance, drawn as a band.
        real: Real images taken for synthetic, those most often mistaken first; the first few are shown.
        synthetic: Synthetic images taken for real.
    """
    heights = [1.3 + _ROW_HEIGHT * len(accuracies), *(_IMAGE_HEIGHT for part in (real, synthetic) if part)]
    figure = new_figure(_WIDTH, sum(heights) + 0.3 * len(heights))
    parts = np.ravel(figure.subfigures(len(heights), 1, height_ratios=heights))
    _draw_accuracies(parts[0], accuracies, chance, margin)
    shown = [
        (title, part)
        for title, part in (("Real images taken for synthetic", real), ("Synthetic images taken for real", synthetic))
        if part
    ]
    for subfigure, (title, part) in zip(parts[1:], shown, strict=True):
        _draw_images(subfigure, title, part)
    save_png(figure, path)


def _draw_accuracies(
    figure: Any, accuracies: Sequence[tuple[str, Interval, str]], chance: float, margin: float
) -> None:
    axes = figure.subplots()
    rows = np.arange(len(accuracies))
    axes.axvspan(chance - margin, chance + margin, color="0.92", zorder=0, label=f"chance +- {margin:g} (margin)")
    axes.axvline(chance, color="0.4", linewidth=1, linestyle="--", zorder=1, label="chance")
    colours = [COLOURS[1] if len(rows) > 1 and row == len(rows) - 1 else COLOURS[0] for row in rows]
    low, high = (np.array([getattr(one, end) for _, one, _ in accuracies]) for end in ("low", "high"))
    axes.hlines(rows, low, high, color=colours, linewidth=1.8)
    axes.scatter([one.value for _, one, _ in accuracies], rows, color=colours, s=36, zorder=3)
    axes.set_yticks(rows, [f"{name[:_MOST_LETTERS]}\n{count}" for name, _, count in accuracies])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(min(0.0, float(low.min())), 1.02)
    axes.set_xlabel("share of right answers, with 95 % interval")
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)


def _draw_images(figure: Any, title: str, mistaken: Sequence[Mistaken]) -> None:
    more = f" (the first {_MOST_SHOWN} of {len(mistaken)})" if len(mistaken) > _MOST_SHOWN else ""
    figure.suptitle(f"{title}{more}: item, and readers who were wrong", x=0.01, horizontalalignment="left", fontsize=10)
    all_axes = figure.subplots(1, _MOST_SHOWN)
    for axes in all_axes:
        axes.set_axis_off()
    for axes, one in zip(all_axes, mistaken, strict=False):
        axes.imshow(read_image(one.picture, 3), interpolation="nearest")
        axes.set_title(f"{one.item.removeprefix('item_')}: {one.num_wrong} of {one.num_answers}", fontsize=8, pad=2)
