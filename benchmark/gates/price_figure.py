"""The picture of the price of privacy."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS, MARKERS

_PANELS = (
    ("attack_auc", "AUC of the attack", "0.5: a coin", 0.5),
    ("auroc", "mean AUROC of a classifier\non real test images", "", None),
)


def draw_price(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw images left, attack and utility over ever stricter filters, as PNG.

    Args:
        path: The .png file, written atomically.
        rows: A filter each, with `percentile`, `num_kept`, `num_images`, and `attack_auc` and `auroc` with `_low` and
            `_high`; None where there is none.
    """
    figure = new_figure(7.5, 6.5)
    places = np.arange(len(rows))
    axes = figure.subplots(3, 1, sharex=True)
    shares = [100 * row["num_kept"] / max(row["num_images"], 1) for row in rows]
    axes[0].bar(places, shares, 0.5, color=COLOURS[5])
    for place, share, row in zip(places, shares, rows, strict=True):
        axes[0].annotate(f"{row['num_kept']:,}", (place, share), ha="center", va="bottom", fontsize=8)
    axes[0].set_ylim(0, 115)
    axes[0].set_ylabel("% of the synthetic\ntraining images left")
    for number, (name, label, line, at) in enumerate(_PANELS):
        _draw_values(axes[number + 1], places, rows, name, number)
        axes[number + 1].set_ylabel(label)
        if at is not None:
            axes[number + 1].axhline(at, color="0.3", linestyle="--", linewidth=1, label=line)
            axes[number + 1].legend(frameon=False, fontsize=8)
    axes[2].set_xticks(places, [_filter_name(row["percentile"]) for row in rows])
    axes[2].set_xlabel("synthetic images dropped: nearer to a training image than ... of held-out ones")
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
    save_png(figure, path)


def _draw_values(axes: Any, places: Any, rows: Sequence[dict[str, Any]], name: str, number: int) -> None:
    """Draw the values that there are, with their intervals."""
    known = [place for place, row in zip(places, rows, strict=True) if row[name] is not None]
    if not known:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color="0.3")
        return
    axes.plot(known, [rows[place][name] for place in known], color=COLOURS[number], marker=MARKERS[number])
    for place in known:
        low, high = rows[place][f"{name}_low"], rows[place][f"{name}_high"]
        if low is not None and high is not None:
            axes.vlines(place, low, high, color=COLOURS[number], linewidth=1.6)


def _filter_name(percentile: float | None) -> str:
    return "no filter" if percentile is None else f"{percentile:g} %"
