"""Metrics of one or several networks: a table to read, a table for programs, and a figure of their course."""

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS

_COLUMNS_OF_PANELS = 3
_AIMS = {"lower": "lower is better", "higher": "higher is better", "as real": "best near that of real images"}


@dataclass(frozen=True)
class MetricRow:
    """One metric of one network.

    Attributes:
        network: Its folder's name.
        kimg: Thousands of real images that it had seen.
        metric: Short name, as on the command line.
        title: Name for people.
        better: `lower`, `higher` or `as real`.
        value: Of `num_images` synthetic images.
        low: Lower end of the 95 % interval; NaN where there is none.
        high: Upper end.
        num_images: Images of each set.
        floor: What as many real images score in place of the synthetic ones; NaN where it was not asked for.
        extractor: Label of the features, or `pixels`.
    """

    network: str
    kimg: float
    metric: str
    title: str
    better: str
    value: float
    low: float
    high: float
    num_images: int
    floor: float
    extractor: str


def metrics_csv(rows: Sequence[MetricRow]) -> str:
    """Return the rows as csv; values in full precision, empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("network", "kimg", "metric", "value", "low", "high", "n", "floor", "better", "extractor"))
    for row in rows:
        numbers = ("" if math.isnan(number) else repr(float(number)) for number in (row.value, row.low, row.high))
        floor = "" if math.isnan(row.floor) else repr(float(row.floor))
        writer.writerow((row.network, row.kimg, row.metric, *numbers, row.num_images, floor, row.better, row.extractor))
    return text.getvalue()


def metrics_text(rows: Sequence[MetricRow], heading: Sequence[str]) -> str:
    """Return the rows as text, a paragraph per metric, its networks in the order of `rows`.

    Args:
        rows: At least one.
        heading: Lines above.
    """
    lines = list(heading)
    for metric in dict.fromkeys(row.metric for row in rows):
        chosen = [row for row in rows if row.metric == metric]
        first = chosen[0]
        lines += ["", f"{first.title} ({metric}; {_AIMS[first.better]}; {first.extractor})"]
        if not math.isnan(first.floor):
            lines.append(
                f"  {'real images':26s} {'':>9s}  {_number(first.floor):>10s}  {'':24s} n {first.num_images:,}"
            )
        for row in chosen:
            interval = "" if math.isnan(row.low) else f"[{_number(row.low)}, {_number(row.high)}]"
            lines.append(
                f"  {row.network:26s} {row.kimg:>9.1f}  {_number(row.value):>10s}  {interval:24s} n {row.num_images:,}"
            )
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def metrics_figure(path: Path, rows: Sequence[MetricRow], *, title: str) -> None:
    """Write each metric over the images seen in training as PNG: values, 95 % intervals, and the floor dashed.

    Args:
        path: The .png file, written atomically.
        rows: Of several networks, in any order.
        title: Above the figure.
    """
    metrics = list(dict.fromkeys(row.metric for row in rows))
    num_columns = min(_COLUMNS_OF_PANELS, len(metrics))
    num_rows = -(-len(metrics) // num_columns)
    figure = new_figure(1.0 + 3.6 * num_columns, 0.8 + 2.7 * num_rows)
    panels = np.atleast_1d(figure.subplots(num_rows, num_columns)).ravel()
    for panel, metric in zip(panels, metrics, strict=False):
        chosen = sorted((row for row in rows if row.metric == metric), key=lambda row: row.kimg)
        kimg = [row.kimg for row in chosen]
        values = np.array([row.value for row in chosen])
        # Jackknife and Student's t put the value within its interval; where it is not known there is no bar.
        below = values - [row.low for row in chosen]
        above = [row.high for row in chosen] - values
        panel.errorbar(
            kimg, values, np.maximum([below, above], 0), marker="o", markersize=4, capsize=3, color=COLOURS[0],
            label="synthetic",
        )  # fmt: skip
        if not math.isnan(chosen[0].floor):
            panel.axhline(chosen[0].floor, color=COLOURS[1], linestyle="--", linewidth=1.2, label="real")
        panel.set_title(f"{chosen[0].title}\n{_AIMS[chosen[0].better]}, n {chosen[0].num_images:,}", fontsize=9)
        panel.set_xlabel("kimg")
        panel.grid(color="0.92")
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize=8)
    for panel in panels[len(metrics) :]:
        panel.set_axis_off()
    features = ", ".join(dict.fromkeys(row.extractor for row in rows))
    width = round(28 * num_columns + 8)  # characters that fit
    lines = [*textwrap.wrap(title, width), *textwrap.wrap(f"features: {features}", width)]
    figure.suptitle("\n".join(lines), fontsize=9)
    save_png(figure, path)
