"""The experiments' table as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from classifier_segment.evaluation.differences import SeedTable
from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS, MARKERS

_PANEL_WIDTH, _HEIGHT, _PER_EXPERIMENT = 2.6, 1.5, 0.42  # inches


def draw_table(path: Path, tables: Sequence[tuple[Mapping[str, str], SeedTable]], title: str) -> None:
    """Write means over seeds with their intervals: a row of panels for each table, a panel for each metric.

    Args:
        path: The .png file, written atomically.
        tables: Titles of metrics, and the table.
        title: Above the figure.
    """
    experiments = list(dict.fromkeys(row.experiment for _, table in tables for row in table.rows))
    columns = max(len({row.metric for row in table.rows}) for _, table in tables)
    height = _HEIGHT + _PER_EXPERIMENT * len(experiments)
    figure = new_figure(1.5 + _PANEL_WIDTH * columns, height * len(tables))
    grid = figure.subplots(len(tables), columns, squeeze=False)
    for panels, (titles, table) in zip(grid, tables, strict=True):
        metrics = list(dict.fromkeys(row.metric for row in table.rows))
        for column, axes in enumerate(panels):
            if column >= len(metrics):
                axes.set_axis_off()
                continue
            for row in (row for row in table.rows if row.metric == metrics[column]):
                place, both = experiments.index(row.experiment), row.mean
                look = {"color": COLOURS[place % len(COLOURS)], "zorder": 2}
                for interval, width in ((both.with_images, 1.2), (both.over_seeds, 3.2)):
                    if np.isfinite(interval.low):
                        axes.plot([interval.low, interval.high], [place, place], linewidth=width, alpha=0.55, **look)
                axes.plot(both.over_seeds.value, place, MARKERS[place % len(MARKERS)], markersize=6, **look)
            axes.set_title(titles.get(metrics[column], metrics[column]), fontsize=9)
            axes.set_yticks(
                range(len(experiments)), experiments if column == 0 else [""] * len(experiments), fontsize=8
            )
            axes.set_ylim(len(experiments) - 0.5, -0.5)
            axes.set_xlim(-0.02, 1.02)
            axes.grid(color="0.92", axis="x")
            axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}: mean over seeds; thick: seeds alone, thin: seeds and test images (95 %)", fontsize=10)
    save_png(figure, path)
