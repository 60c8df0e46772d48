"""Pictures of the evidence: bars with intervals, and how far what was read or predicted can be relied on."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from GAN_joint.evidence.scoring import Score
from medsynth.classify.evaluation.calibration import equal_mass_bins
from medsynth.classify.evaluation.statistics import Floats, Numbers
from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS, MARKERS

MOST_PANELS = 12
_PANELS_PER_ROW = 4
_GREY = "0.55"
_BAR_HEIGHT, _HEAD_HEIGHT = 0.18, 0.75  # inches, of a bar and of a panel's title and axis
_WIDTH = 8.5


@dataclass(frozen=True)
class Bar:
    """A name and its scores, one for each series."""

    name: str
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class Panel:
    """Bars of one unit.

    Attributes:
        title: Above it.
        unit: Below it.
        chance: Where bars begin.
        series: Names of the bars' scores; the first panel's are the legend.
        bars: From top to bottom.
        lines: Further values, drawn across, by name.
    """

    title: str
    unit: str
    chance: float
    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    lines: Mapping[str, float] | None = None


def bars_figure(path: Path, panels: Sequence[Panel], *, title: str, note: str) -> None:
    """Write panels of horizontal bars with 95 % intervals, one below the other, as PNG.

    Args:
        path: The .png file, written atomically.
        panels: At least one.
        title: Above the figure.
        note: Below it.
    """
    heights = [_HEAD_HEIGHT + _BAR_HEIGHT * sum(len(bar.scores) + 0.6 for bar in panel.bars) for panel in panels]
    lines = textwrap.wrap(note, 125)
    figure = new_figure(_WIDTH, sum(heights) + 0.9 + 0.16 * len(lines))
    all_axes = np.atleast_1d(figure.subplots(len(panels), 1, height_ratios=heights))
    for axes, panel in zip(all_axes, panels, strict=True):
        _draw_bars(axes, panel)
    figure.legend(
        *all_axes[0].get_legend_handles_labels(),
        loc="outside upper left",
        alignment="left",
        ncols=2,
        fontsize=8.5,
        frameon=False,
        title=title,
        title_fontsize=11,
    )
    _add_note(figure, lines)
    save_png(figure, path)


def _draw_bars(axes: Any, panel: Panel) -> None:
    position, ticks = 0.0, []
    for bar in panel.bars:
        ticks.append(position + (len(bar.scores) - 1) / 2)
        for number, score in enumerate(bar.scores):
            _draw_bar(axes, position, score, panel.chance, COLOURS[number])
            position += 1
        position += 0.6
    axes.axvline(panel.chance, color="0.2", linewidth=1)
    for number, (name, value) in enumerate((panel.lines or {}).items()):
        axes.axvline(value, color=COLOURS[3], linewidth=1.2, linestyle=("--", ":")[number % 2], label=name)
    axes.set_yticks(ticks, [bar.name for bar in panel.bars], fontsize=8.5)
    axes.set_ylim(position - 0.6 - 0.4, -0.6)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, panel.chance - 0.02), max(high, panel.chance + 0.1))
    axes.tick_params(axis="x", labelsize=8.5)
    axes.set_xlabel(f"{panel.unit} (black line: chance)", fontsize=8.5)
    axes.set_title(panel.title, fontsize=10, loc="left", fontweight="bold")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for name, colour in zip(panel.series, COLOURS, strict=False):
        if name:
            axes.barh([np.nan], [np.nan], color=colour, label=name)


def _draw_bar(axes: Any, position: float, score: Score, chance: float, colour: str) -> None:
    if not score.is_defined:
        axes.text(chance, position, " undefined", va="center", fontsize=7.5, color=_GREY)
        return
    has_interval = np.isfinite(score.low)
    axes.barh(position, score.value - chance, left=chance, height=0.8, color=colour, alpha=1 if has_interval else 0.35)
    if has_interval:
        axes.plot([score.low, score.high], [position, position], color="0.1", linewidth=1.3)
    else:
        axes.text(
            max(score.value, chance), position, " too few rows for an interval", va="center", fontsize=7, color=_GREY
        )


@dataclass(frozen=True)
class Curve:
    """What rows say by what was read: B bins of equally many pairs.

    Attributes:
        read: Mean of what was read, [B].
        said: Mean of what the rows say, [B].
        error: 1.96 standard errors of it, [B]; 0 for a bin of one.
    """

    read: Floats
    said: Floats
    error: Floats


@dataclass(frozen=True)
class Reading:
    """A panel: one column, a curve for each set of pairs."""

    name: str
    curves: Mapping[str, Curve]


def reading_of(read: Numbers, said: Numbers) -> Curve:
    """Return what rows say by what was read, [N] each, in bins of 20 pairs or more."""
    bins = equal_mass_bins(read)
    sizes = np.bincount(bins)
    means = np.bincount(bins, said) / sizes
    variance = np.bincount(bins, (said - means[bins]) ** 2) / np.maximum(sizes - 1, 1)
    return Curve(np.bincount(bins, read) / sizes, means, 1.96 * np.sqrt(variance / sizes))


def readings_figure(
    path: Path, readings: Sequence[Reading], *, title: str, x_name: str, y_name: str, note: str
) -> None:
    """Write a panel per column, at most 12, as PNG.

    Args:
        path: The .png file, written atomically.
        readings: Panels; none writes an empty figure with title and note.
        title: Above the figure.
        x_name: Below the panels.
        y_name: Beside them.
        note: Below the figure.
    """
    shown = readings[:MOST_PANELS]
    num_columns = min(_PANELS_PER_ROW, max(1, len(shown)))
    num_rows = -(-max(1, len(shown)) // num_columns)
    width = max(6.5, 2.6 * num_columns + 0.4)
    lines = textwrap.wrap(note, round(14.5 * width))
    figure = new_figure(width, 2.5 * num_rows + 0.7 + 0.16 * len(lines))
    all_axes = np.atleast_1d(figure.subplots(num_rows, num_columns)).ravel()
    for number, (axes, reading) in enumerate(zip(all_axes, shown, strict=False)):
        _draw_reading(axes, reading)
        if number % num_columns == 0:
            axes.set_ylabel(y_name, fontsize=8.5)
        if number + num_columns >= len(shown):
            axes.set_xlabel(x_name, fontsize=8.5)
    for axes in all_axes[len(shown) :]:
        axes.set_axis_off()
    if shown:
        figure.legend(*all_axes[0].get_legend_handles_labels(), loc="upper right", ncols=3, frameon=False, fontsize=8.5)
    figure.suptitle(title, x=0.01, horizontalalignment="left", fontsize=11)
    _add_note(figure, lines)
    save_png(figure, path)


def _draw_reading(axes: Any, reading: Reading) -> None:
    for number, (name, curve) in enumerate(reading.curves.items()):
        style = {"color": COLOURS[number], "marker": MARKERS[number], "markersize": 3.5, "linewidth": 1.1}
        axes.errorbar(curve.read, curve.said, curve.error, elinewidth=0.9, label=name, **style)
    ends = [*axes.get_xlim(), *axes.get_ylim()]
    axes.plot([min(ends), max(ends)], [min(ends), max(ends)], color=_GREY, linestyle="--", linewidth=0.9, zorder=0)
    axes.set_xlim(min(ends), max(ends))
    axes.set_ylim(min(ends), max(ends))
    axes.set_title(reading.name, fontsize=9, loc="left", fontweight="bold")
    axes.tick_params(labelsize=8)
    axes.grid(color="0.93")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _add_note(figure: Any, lines: Sequence[str]) -> None:
    figure.supxlabel("\n".join(lines), x=0.01, horizontalalignment="left", fontsize=7.5, color="0.3")
