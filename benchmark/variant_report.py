"""What several settings of one GAN score over seeds: a table, a csv file, a figure of values and one of samples."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.stats import ttest_ind

from medsynth.metrics.catalogue import METRICS, metric_of_row
from medsynth.metrics.intervals import CONFIDENCE, Estimate, mean_estimate
from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS

_PANEL_COLUMNS, _PANEL_SIZE = 4, (2.6, 2.4)  # inches
_SAMPLE_HEIGHT, _SAMPLE_WIDTH = 0.8, 10.0


@dataclass(frozen=True)
class Variant:
    """Settings of a training.

    Attributes:
        name: Of its folder, and in tables.
        options: Of train.py.
    """

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What came out of a training.

    Attributes:
        variant: Its settings' name.
        seed: Of the training.
        kimg: Thousands of real images that it saw.
        minutes: That it took, with what it wrote and measured on its way.
        num_images: Of each set in the comparison.
        rows: By metric: value, low, high and floor, the last three perhaps None.
        samples: Picture of some of its images.
    """

    variant: str
    seed: int
    kimg: float
    minutes: float
    num_images: int
    rows: dict[str, dict[str, Any]]
    samples: Path


@dataclass(frozen=True)
class _Summary:
    """A metric of a variant over its seeds."""

    values: npt.NDArray[np.float64]
    mean: Estimate
    difference: Estimate | None  # to the first variant


def table_text(outcomes: Sequence[Outcome], variants: Sequence[Variant]) -> str:
    """Return the table: a row per metric, a column per variant.

    With several seeds, mean and interval are those over seeds (Student's t), and a star says that the difference to the
    first variant has an interval without 0 (Welch's t). With one seed, the interval is that of the images.

    Args:
        outcomes: Of every variant with the same seeds.
        variants: In the order of the columns.
    """
    seeds = sorted({outcome.seed for outcome in outcomes})
    names = [variant.name for variant in variants]
    metrics = list(outcomes[0].rows)
    cells = [["", *names, "real images"]]
    cells.append(["kimg", *(_range(outcomes, name, "kimg", ".1f") for name in names), ""])
    cells.append(["minutes", *(_range(outcomes, name, "minutes", ".1f") for name in names), ""])
    for metric in metrics:
        floor = outcomes[0].rows[metric].get("floor")
        summaries = [_summarise(outcomes, name, names[0], metric) for name in names]
        cells.append([metric, *map(_cell, summaries), "" if floor is None else f"{floor:.3f}"])
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    about = f"n = {outcomes[0].num_images:,} images of each set; 'real images': as many other real ones. " + (
        f"Mean of {len(seeds)} seeds [95 % over seeds]; *: differs from {names[0]} (95 %, Welch)."
        if len(seeds) > 1
        else f"One seed ({seeds[0]}) [95 % over images]: another training would give other figures."
    )
    commands = [f"{variant.name}: {' '.join(variant.options)}" for variant in variants]
    return "\n".join([about, *commands, "", *lines]) + "\n"


def results_csv(outcomes: Sequence[Outcome]) -> str:
    """Return a row per variant, seed and metric; values in full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("variant", "seed", "kimg", "minutes", "n", "metric", "value", "low", "high", "floor"))
    for outcome in outcomes:
        for metric, row in outcome.rows.items():
            numbers = ("" if row.get(key) is None else row[key] for key in ("value", "low", "high", "floor"))
            head = (outcome.variant, outcome.seed, outcome.kimg, round(outcome.minutes, 3), outcome.num_images)
            writer.writerow((*head, metric, *numbers))
    return text.getvalue()


def draw_values(path: Path, outcomes: Sequence[Outcome], variants: Sequence[Variant]) -> None:
    """Write a panel per metric as PNG: a dot per seed, mean and interval per variant, real images dashed."""
    names, metrics = [variant.name for variant in variants], list(outcomes[0].rows)
    num_rows = -(-len(metrics) // _PANEL_COLUMNS)
    width, height = _PANEL_SIZE
    figure = new_figure(_PANEL_COLUMNS * width, num_rows * (height + 0.12 * len(names)))
    for number, metric in enumerate(metrics):
        axes = figure.add_subplot(num_rows, _PANEL_COLUMNS, number + 1)
        for place, name in enumerate(names):
            summary = _summarise(outcomes, name, names[0], metric)
            colour = COLOURS[0] if place == 0 else COLOURS[1]
            axes.hlines(place, summary.mean.low, summary.mean.high, color=colour, linewidth=1.8)
            axes.plot(summary.values, [place] * len(summary.values), "o", color=colour, markersize=3.5, alpha=0.5)
            axes.plot([summary.mean.value], [place], "|", color=colour, markersize=12)
        floor = outcomes[0].rows[metric].get("floor")
        if floor is not None:
            axes.axvline(floor, color="0.45", linestyle="--", linewidth=1)
        axes.set_yticks(range(len(names)), names if number % _PANEL_COLUMNS == 0 else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        known = METRICS[metric_of_row(metric)]
        axes.set_title(f"{metric} ({known.better})", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(axis="x", color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
    has_floor = any(row.get("floor") is not None for row in outcomes[0].rows.values())
    note = "dots: seeds; bar: mean and 95 % interval" + ("; dashed: as many other real images" if has_floor else "")
    figure.supxlabel(note, fontsize=8, color="0.3")
    save_png(figure, path)


def draw_samples(path: Path, outcomes: Sequence[Outcome], variants: Sequence[Variant]) -> None:
    """Write samples of every training as PNG, a row each, those of a variant together."""
    order = {variant.name: number for number, variant in enumerate(variants)}
    outcomes = sorted(outcomes, key=lambda outcome: (order[outcome.variant], outcome.seed))
    figure = new_figure(_SAMPLE_WIDTH, _SAMPLE_HEIGHT * len(outcomes))
    for number, outcome in enumerate(outcomes):
        axes = figure.add_subplot(len(outcomes), 1, number + 1)
        with Image.open(outcome.samples) as picture:
            axes.imshow(np.asarray(picture), cmap="gray", vmin=0, vmax=255, aspect="equal")
        axes.set_ylabel(f"{outcome.variant}\nseed {outcome.seed}", fontsize=7, rotation=0, ha="right", va="center")
        axes.set_xticks([])
        axes.set_yticks([])
    save_png(figure, path)


def _summarise(outcomes: Sequence[Outcome], name: str, reference: str, metric: str) -> _Summary:
    values, of_reference = (
        np.array([outcome.rows[metric]["value"] for outcome in outcomes if outcome.variant == variant], np.float64)
        for variant in (name, reference)
    )
    if len(values) == 1:
        (row,) = (outcome.rows[metric] for outcome in outcomes if outcome.variant == name)
        low, high = (math.nan if row.get(key) is None else row[key] for key in ("low", "high"))
        return _Summary(values, Estimate(float(values[0]), low, high), None)
    difference = None
    if name != reference:
        test = ttest_ind(values, of_reference, equal_var=False)
        interval = test.confidence_interval(CONFIDENCE)
        difference = Estimate(float(values.mean() - of_reference.mean()), float(interval.low), float(interval.high))
    mean = mean_estimate(values)
    # No metric but KID can be negative.
    return _Summary(values, mean if metric.startswith("kid") else mean.within(0.0), difference)


def _cell(summary: _Summary) -> str:
    mean, difference = summary.mean, summary.difference
    star = " *" if difference is not None and (difference.low > 0 or difference.high < 0) else ""
    return f"{mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]{star}"


def _range(outcomes: Sequence[Outcome], name: str, attribute: str, form: str) -> str:
    values = sorted(getattr(outcome, attribute) for outcome in outcomes if outcome.variant == name)
    low, high = format(values[0], form), format(values[-1], form)
    return low if low == high else f"{low}-{high}"
