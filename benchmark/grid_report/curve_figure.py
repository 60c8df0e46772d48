"""The figure of learning curves: mean AUROC against samples per class, and against classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.grid_report.cells import Grid
from benchmark.grid_report.curve_files import CLASSES, SAMPLES, Curve
from benchmark.grid_report.figures import colours_of, title_of
from benchmark.grid_report.measure import estimate_mean
from benchmark.grid_report.tables import SETTING_TITLES
from medsynth.data.wording import counted
from medsynth.report.canvas import new_figure, save_png, wrapped_lines
from medsynth.report.figures import MARKERS

_PANEL_WIDTH, _PANEL_HEIGHT, _LINE = 5.6, 4.6, 0.15  # inches
_APART = 0.035  # of neighbouring sources, in doublings


def draw_curves(path: Path, grid: Grid, curves: Sequence[Curve]) -> None:
    """Write a panel per benchmark as PNG.

    Args:
        path: The .png file, written atomically.
        grid: With the names of the sources.
        curves: At least one.
    """
    width = _PANEL_WIDTH * len(curves) + (1.2 if len(curves) == 1 else 0)
    note = wrapped_lines(" ".join(_caption(grid, curve) for curve in curves), width)
    figure = new_figure(width, _PANEL_HEIGHT + _LINE * len(note))
    panels = np.atleast_1d(figure.subplots(1, len(curves), sharey=True))
    for axes, curve in zip(panels, curves, strict=True):
        for place, source in enumerate(grid.sources):
            _draw_source(axes, grid, curve, source, place)
        _finish(axes, curve)
    panels[0].set_ylabel("mean AUROC on real test images")
    handles, labels = panels[0].get_legend_handles_labels()
    panels[0].legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        ncols=3,
        frameon=False,
        fontsize=8.5,
    )
    figure.suptitle(f"{title_of(grid)}: learning curves", x=0.01, horizontalalignment="left", fontsize=11)
    figure.supxlabel("\n".join(note), x=0.01, horizontalalignment="left", fontsize=7.5, color="0.3")
    save_png(figure, path)


def _draw_source(axes: Any, grid: Grid, curve: Curve, source: str, place: int) -> None:
    colour, marker = colours_of(grid)[source], MARKERS[place % len(MARKERS)]
    found = {one.value: estimate_mean(one.groups[source]) for one in curve.sweep.settings if source in one.groups}
    shift = 2 ** ((place - (len(grid.sources) - 1) / 2) * _APART)
    x = np.array(list(found), np.float64) * shift
    values = np.array([[one.value, one.low, one.high] for one in found.values()], np.float64).reshape(-1, 3)
    line = "none" if source in curve.fits else ":"
    axes.vlines(x, values[:, 1], values[:, 2], color=colour, linewidth=1.5, zorder=4)
    axes.plot(
        x, values[:, 0], linestyle=line, linewidth=1, marker=marker, markersize=5.5, color=colour, zorder=5,
        label=f"trained on {source}",
    )  # fmt: skip
    if source in curve.fits:
        _draw_fit(axes, curve, source, colour, marker, shift)
    answer = curve.answer(source)
    if answer is not None and answer.setting in found:
        axes.plot([answer.setting * shift], [found[answer.setting].value], linestyle="none", marker="o", markersize=14,
                  markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.6, zorder=6)  # fmt: skip


def _draw_fit(axes: Any, curve: Curve, source: str, colour: str, marker: str, shift: float) -> None:
    fit, twice = curve.fits[source], 2 * curve.largest
    sizes = np.geomspace(curve.sweep.settings[0].value, twice, 60)
    band = [fit.at(float(size)) for size in sizes]
    inside = sizes <= curve.largest
    values = np.array([one.value for one in band])
    axes.fill_between(
        sizes, [one.low for one in band], [one.high for one in band], color=colour, alpha=0.12, linewidth=0
    )
    axes.plot(sizes[inside], values[inside], color=colour, linewidth=1.4, zorder=3)
    axes.plot(sizes[~inside], values[~inside], color=colour, linewidth=1.4, linestyle="--", zorder=3)
    end = fit.at(twice)
    axes.vlines(twice * shift, end.low, end.high, color=colour, linewidth=1.5, linestyle=":", zorder=4)
    axes.plot(
        [twice * shift], [end.value], marker=marker, markersize=6, markerfacecolor="white", color=colour, zorder=5
    )


def _finish(axes: Any, curve: Curve) -> None:
    benchmark = curve.sweep.benchmark
    ticks = [one.value for one in curve.sweep.settings]
    names = [f"{value:,}" for value in ticks]
    is_crowded = benchmark == SAMPLES and len(ticks) > 4
    if curve.fits:
        ticks.append(2 * curve.largest)
        names.append(f"{2 * curve.largest:,}")
        axes.axvspan(1.12 * curve.largest, 2.3 * curve.largest, color="0.5", alpha=0.12, linewidth=0, zorder=0)
        place = {"x": 1.6 * curve.largest, "y": 0.99, "transform": axes.get_xaxis_transform()}
        axes.text(s="extrapolated", ha="center", va="top", fontsize=8, color="0.3", **place)
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, names, rotation=60 if is_crowded else 0, fontsize=8.5)
    if is_crowded:
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")
    axes.set_xticks([], minor=True)
    axes.set_xlim(ticks[0] / 1.25, ticks[-1] * (1.15 if curve.fits else 1.25))
    axes.set_xlabel(f"{SETTING_TITLES[benchmark]} (log scale)")
    axes.grid(color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _caption(grid: Grid, curve: Curve) -> str:
    tested = [one for one in curve.sweep.settings if one.groups]
    if not tested:
        return f"Nothing of the benchmark of {curve.sweep.benchmark} is tested."
    images = sorted({one.num_images for one in tested})
    num = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}"
    seeds = counted(len(grid.seeds), "seed")
    holds = f"{curve.sweep.clusters} and {seeds}" if len(grid.seeds) > 1 else f"{curve.sweep.clusters} alone: {seeds}"
    text = f"{curve.sweep.benchmark.capitalize()}: n = {num} real test images; bars: 95 % intervals over {holds}."
    if curve.fits:
        text += " Curves: a - b * n^-c with 95 % bands; dashed and hollow, on grey: EXTRAPOLATED."
    shown = [one for one in curve.answers if one.setting is not None]
    if shown and curve.sweep.benchmark == SAMPLES:
        text += f" Ring: the smallest size shown to lose at most {shown[0].margin:g} against the largest."
    if shown and curve.sweep.benchmark == CLASSES:
        text += f" Ring: the most classes with a gap to real shown to be at most {shown[0].margin:g}."
    return text
