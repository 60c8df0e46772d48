"""A grid's figures beside the published ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.comparison import PUBLISHED_COLUMNS, PublishedRow, published_rows
from benchmark.grid_report.cells import Grid
from benchmark.grid_report.measure import TRAINED_ON, Setting, Sweep, estimate_mean
from medsynth.classify.evaluation.seeds import SeedInterval

# Columns of the published table by what a classifier was trained on.
COLUMNS = {source: PUBLISHED_COLUMNS[name] for source, name in TRAINED_ON.items()}
READING_ERROR = 0.003  # the published values were read off a figure


@dataclass(frozen=True)
class Beside:
    """One of our figures beside the published one.

    Attributes:
        benchmark: What was varied.
        setting: Which one.
        trained_on: `real`, or the GAN.
        ours: With its interval.
        num_seeds: That it is a mean of.
        published: Without an interval: none was published.
        mismatch: How the test differs from the published one; empty where it does not seem to.
    """

    benchmark: str
    setting: int
    trained_on: str
    ours: SeedInterval
    num_seeds: int
    published: float
    mismatch: str

    @property
    def deviation(self) -> float:
        """Ours minus the published value."""
        return self.ours.value - self.published

    @property
    def deviates(self) -> bool | None:
        """Whether the published value, give or take its reading error, is outside our interval; None without one."""
        if not np.isfinite(self.ours.low):
            return None
        return not self.ours.low - READING_ERROR <= self.published <= self.ours.high + READING_ERROR


def published_values(modality: str, benchmark: str) -> dict[int, PublishedRow]:
    """Return the published rows of a benchmark by setting; none where the modality is empty or was not published."""
    return {row.setting: row for row in published_rows() if (row.modality, row.benchmark) == (modality, benchmark)}


def beside_published(grid: Grid, sweeps: Sequence[Sweep]) -> list[Beside]:
    """Return all figures that have a published one: first those that deviate, the largest deviation first."""
    found = []
    for sweep in sweeps:
        rows = published_values(grid.modality, sweep.benchmark)
        for setting in sweep.settings:
            if setting.value in rows:
                found += _of_setting(sweep.benchmark, setting, rows[setting.value], grid)
    deviating = sorted((one for one in found if one.deviates), key=lambda one: -abs(one.deviation))
    return deviating + [one for one in found if not one.deviates]


def _of_setting(benchmark: str, setting: Setting, row: PublishedRow, grid: Grid) -> list[Beside]:
    mismatch = row.mismatch(setting.num_images, grid.resolution)
    return [
        Beside(
            benchmark,
            setting.value,
            source,
            estimate_mean(setting.groups[source]),
            len(setting.groups[source].seeds),
            row.means[COLUMNS[source]],
            mismatch,
        )
        for source in grid.sources
        if source in setting.groups and source in COLUMNS
    ]
