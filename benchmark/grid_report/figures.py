"""The figure of the paper: mean AUROC against the setting, real as a line with its band, GANs as bars.

Source: Schuette et al. 2021, doi:10.1038/s41746-021-00507-3, the figure of its benchmarks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.grid_report.cells import DONE, REAL, Grid
from benchmark.grid_report.measure import Setting, Sweep, estimate_mean
from benchmark.grid_report.published import COLUMNS, published_values
from benchmark.grid_report.tables import SETTING_TITLES, status_of
from medsynth.data.wording import counted
from medsynth.report.canvas import new_figure, save_png, wrapped_lines
from medsynth.report.figures import COLOURS, MARKERS

_CHANCE = 0.5
_HEADROOM = 0.015  # of the axis, so that a mark at 1 is whole
_ALL_BARS = 0.72  # of the distance of two settings
_HATCHES = ("", "///", "...", "xxx")
_LINE = 0.15  # inches, of a caption
_DIAMOND: dict[str, Any] = {
    "linestyle": "none",
    "marker": "D",
    "markersize": 5.5,
    "markerfacecolor": "white",
    "markeredgewidth": 1.6,
}


def colours_of(grid: Grid) -> dict[str, str]:
    """Return the colour of `real` and of every GAN."""
    return {source: COLOURS[place % len(COLOURS)] for place, source in enumerate(grid.sources)}


def title_of(grid: Grid) -> str:
    """Return what stands above a grid's figures."""
    return f"{grid.name} ({grid.modality})" if grid.modality else grid.name


def draw_sweep(path: Path, grid: Grid, sweep: Sweep) -> None:
    """Write the figure of a benchmark as PNG."""
    num_settings = len(sweep.settings)
    width = max(6.5, 1.6 + 1.15 * num_settings)
    note = wrapped_lines(_caption(grid, sweep), width)
    figure = new_figure(width, 4.4 + _LINE * len(note))
    axes = figure.add_subplot()
    for place, gan in enumerate(grid.gans):
        _draw_bars(axes, grid, sweep, gan, place)
    _draw_real(axes, grid, sweep)
    _draw_published(axes, grid, sweep)
    axes.axhline(_CHANCE, color="0.45", linewidth=1, linestyle="--", zorder=1)
    axes.set_xticks(range(num_settings), [_tick(sweep, setting) for setting in sweep.settings])
    axes.set_xlim(-0.6, num_settings - 0.4)
    lowest = _lowest(axes)
    axes.set_ylim(lowest, 1 + _HEADROOM * (1 - lowest))
    axes.set_xlabel(SETTING_TITLES[sweep.benchmark])
    axes.set_ylabel("mean AUROC on real test images")
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    num_entries = len(axes.get_legend_handles_labels()[0])
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        ncols=num_entries if num_entries < 4 or width > 9 else 2,
        frameon=False,
        fontsize=8.5,
    )
    resolution = "" if sweep.benchmark == "resolution" else f", {grid.resolution}x{grid.resolution}"
    figure.suptitle(f"{title_of(grid)}{resolution}", x=0.01, horizontalalignment="left", fontsize=11)
    figure.supxlabel("\n".join(note), x=0.01, horizontalalignment="left", fontsize=7.5, color="0.3")
    save_png(figure, path)


def _lowest(axes: Any) -> float:
    """Return where the axis begins: a little under chance, or under what lies below."""
    return min(_CHANCE - 0.03, float(axes.dataLim.y0) - 0.02)


def _tick(sweep: Sweep, setting: Setting) -> str:
    value = f"{setting.value:,}"
    return value if sweep.has_one_test or not setting.num_images else f"{value}\nn = {setting.num_images:,}"


def _bar_place(grid: Grid, place: int) -> tuple[float, float]:
    """Return offset and width of a GAN's bars."""
    width = _ALL_BARS / len(grid.gans)
    return (place - (len(grid.gans) - 1) / 2) * width, width


def _draw_bars(axes: Any, grid: Grid, sweep: Sweep, gan: str, place: int) -> None:
    offset, width = _bar_place(grid, place)
    colour, label = colours_of(grid)[gan], f"trained on {gan}"
    for number, setting in enumerate(sweep.settings):
        status = status_of(grid, sweep.benchmark, setting.value, gan)
        if gan in setting.groups:
            found = estimate_mean(setting.groups[gan])
            axes.bar(
                [number + offset],
                [found.value - _CHANCE],
                width=0.92 * width,
                bottom=_CHANCE,
                facecolor=_lighter(colour),
                edgecolor=colour,
                hatch=_HATCHES[place % len(_HATCHES)],
                linewidth=1,
                zorder=2,
                label=label,
            )
            axes.vlines(number + offset, found.low, found.high, color="0.1", linewidth=1.4, zorder=5)
            label = "_"  # one entry in the legend
        if status != DONE:
            _say(axes, number + offset, status)


def _lighter(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return 0.45 + 0.55 * red, 0.45 + 0.55 * green, 0.45 + 0.55 * blue


def _say(axes: Any, x: float, words: str) -> None:
    """Write what is missing at its place."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85}
    axes.text(
        x, _CHANCE + 0.01, words, rotation=90, ha="center", va="bottom", fontsize=8, color="0.15", bbox=box, zorder=6
    )


def _draw_real(axes: Any, grid: Grid, sweep: Sweep) -> None:
    colour = colours_of(grid)[REAL]
    found = [estimate_mean(one.groups[REAL]) if REAL in one.groups else None for one in sweep.settings]
    nothing = float("nan")
    columns = [[nothing] * 3 if one is None else [one.value, one.low, one.high] for one in found]
    values, low, high = np.array(columns, np.float64).T
    x = np.arange(len(values))
    axes.fill_between(x, low, high, color=colour, alpha=0.22, linewidth=0, zorder=1.5)  # behind the bars
    axes.vlines(x, low, high, color=colour, linewidth=1.4, zorder=4)  # a band shows nothing beside a gap
    axes.plot(
        x, values, color=colour, marker=MARKERS[0], markersize=5, linewidth=1.8, zorder=4, label="trained on real"
    )
    for number, setting in enumerate(sweep.settings):
        status = status_of(grid, sweep.benchmark, setting.value, REAL)
        if status != DONE:
            axes.text(number, 0.995, f"{REAL}: {status}", ha="center", va="top", fontsize=8, color="0.15", zorder=6)


def _draw_published(axes: Any, grid: Grid, sweep: Sweep) -> None:
    rows = published_values(grid.modality, sweep.benchmark)
    offsets: Mapping[str, float] = {REAL: -0.13} | {
        gan: _bar_place(grid, place)[0] + (place - (len(grid.gans) - 1) / 2) * 0.25 * _bar_place(grid, place)[1]
        for place, gan in enumerate(grid.gans)
    }
    if rows:
        axes.plot([], [], label="published, in the same colours", **_DIAMOND, markeredgecolor="0.2")
    for number, setting in enumerate(sweep.settings):
        for source, offset in offsets.items():
            if setting.value in rows and source in COLUMNS:
                axes.plot(
                    [number + offset],
                    [rows[setting.value].means[COLUMNS[source]]],
                    markeredgecolor=colours_of(grid)[source],
                    zorder=7,
                    **_DIAMOND,
                )


def _caption(grid: Grid, sweep: Sweep) -> str:
    tested = [one for one in sweep.settings if one.groups]
    labels = sorted({one.num_labels for one in tested})
    parts = []
    if not tested:
        return "Nothing of this benchmark is tested."
    seeds = counted(len(grid.seeds), "seed")
    holds = f"{sweep.clusters} and seeds" if len(grid.seeds) > 1 else f"the choice of {sweep.clusters} alone: one seed"
    parts.append(f"Mean AUROC over labels and {seeds}; band and error bars: 95 % intervals over {holds}.")
    if sweep.has_one_test:
        one = tested[0]
        people = f" of {counted(one.num_clusters, 'patient')}" if sweep.clusters == "patients" else ""
        parts.append(f"All settings: the same {one.num_images:,} real test images{people}, {labels[0]} labels.")
    else:
        people = ", ".join(f"{one.num_clusters:,}" for one in tested)
        of_patients = f" of {people} patients" if sweep.clusters == "patients" else ""
        parts.append(f"n: real test images{of_patients}; each setting has its own test and labels "
                     f"({', '.join(f'{one.num_labels}' for one in tested)} in the mean).")  # fmt: skip
    num_random = sum(one.num_random for one in tested)
    if num_random:
        num = sum(len(one.facts) for one in tested)
        parts.append(f"Random initialisation (no ImageNet weights): {num_random:,} of {counted(num, 'classifier')}.")
    if grid.modality and published_values(grid.modality, sweep.benchmark):
        parts.append("Diamonds: Schuette et al. 2021, read off a figure to 0.003.")
    parts.append("Dashed: chance.")
    return " ".join(parts)
