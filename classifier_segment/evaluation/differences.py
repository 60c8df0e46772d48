"""Experiments with several seeds on the same test images: means over seeds, and differences to a baseline.

A difference is paired by seed: the baseline's run of the same seed begins with the same weights and sees the images in
the same order, so what the seed does to both cancels. Every figure has two intervals. One is Student's t over the
seeds: it speaks of other seeds on just these test images. The other also holds the choice of the test images.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from classifier_segment.evaluation.estimates import METRICS_JSON, RESAMPLES, Estimates
from medsynth.classify.evaluation.evaluate import Interval, interval
from medsynth.classify.evaluation.seeds import mean_over_seeds
from medsynth.classify.evaluation.statistics import Floats
from medsynth.classify.evaluation.summary import number, table_lines
from medsynth.data.wording import counted, did_you_mean
from medsynth.errors import DataError, UsageError
from medsynth.files import read_json, write_json, write_text
from medsynth.metrics.intervals import mean_estimate


class Report(Protocol):
    """What the reports of this folder have in common."""

    @property
    def estimates(self) -> Estimates:
        """Every metric."""

    @property
    def test(self) -> str:
        """Digest of the test."""


@dataclass(frozen=True)
class SeedRun:
    """What the test of one run found.

    Attributes:
        experiment: Runs of one experiment differ in their seed alone.
        seed: Of the training.
        values: By the metric's name; NaN where undefined.
        resampled: The same on resampled images, [R] each; NaN where undefined.
        test: Digest of the test.
    """

    experiment: str
    seed: int
    values: Mapping[str, float]
    resampled: Mapping[str, Floats]
    test: str


def run_of(report: Report, experiment: str, seed: int) -> SeedRun:
    """Return what `compare_runs` needs of a report."""
    sampled = report.estimates.sampled
    is_single = report.estimates.resamples.num_clusters < 2
    values = {name: float(row[0]) for name, row in sampled.items()}
    resampled = {name: np.full(len(row) - 1, np.nan) if is_single else row[1:] for name, row in sampled.items()}
    return SeedRun(experiment, seed, values, resampled, report.test)


def read_run(folder: Path, experiment: str, seed: int) -> SeedRun:
    """Return what `compare_runs` needs of a report that was written into a folder.

    Raises:
        DataError: There is none, or its files do not fit together.
    """
    path = folder / METRICS_JSON
    facts = read_json(path)
    try:
        rows = np.load(folder / RESAMPLES, allow_pickle=False)
        metrics = {name: one["value"] for name, one in facts["metrics"].items()}
        values = {name: float("nan") if value is None else float(value) for name, value in metrics.items()}
        if rows.ndim != 2 or len(rows) != len(values):
            raise ValueError(f"{RESAMPLES} is {rows.shape}, not a row for each of {len(values)} metrics")
        if facts["intervals"]["num_resampled"] < 2:
            rows = np.full(rows.shape, np.nan)
        test = str(facts["test_sha256"])
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise DataError(
            "The metrics of a test, and their resamples beside them, were expected; test again.",
            received=f"{type(error).__name__}: {error}",
            path=path,
        ) from None
    return SeedRun(experiment, seed, values, dict(zip(values, rows, strict=True)), test)


@dataclass(frozen=True)
class Figure:
    """A mean over seeds, or of differences, with both intervals.

    Attributes:
        over_seeds: Student's t over the seeds; no interval with one seed.
        with_images: The interval that also holds the choice of test images; with one seed that choice alone.
    """

    over_seeds: Interval
    with_images: Interval

    def columns(self, name: str) -> dict[str, float | None]:
        """Return value and ends of the intervals, as JSON and csv hold them."""
        both = {"": self.over_seeds, "_with_images": self.with_images}
        ends = {
            f"{name}_{end}{form}": number(getattr(one, end)) for form, one in both.items() for end in ("low", "high")
        }
        return {name: number(self.over_seeds.value), **ends}

    def cells(self, sign: str = "") -> list[str]:
        """Return the two cells of a text table; sign "+" marks positive values, too."""
        if not np.isfinite(self.over_seeds.value):
            return ["undefined", ""]
        ends = [
            f"[{one.low:{sign}.3f}, {one.high:{sign}.3f}]" if np.isfinite(one.low) else ""
            for one in (self.over_seeds, self.with_images)
        ]
        return [f"{self.over_seeds.value:{sign}.3f} {ends[0]}".rstrip(), ends[1]]


@dataclass(frozen=True)
class Comparison:
    """One metric of one experiment.

    Attributes:
        metric: Its name.
        experiment: Its name.
        seeds: Of its runs, ascending.
        mean: Over the seeds.
        paired_seeds: Those that the baseline has, too.
        difference: This experiment minus the baseline, over the paired seeds; None for the baseline itself, and where
            no seed is paired.
    """

    metric: str
    experiment: str
    seeds: tuple[int, ...]
    mean: Figure
    paired_seeds: tuple[int, ...]
    difference: Figure | None

    def record(self) -> dict[str, Any]:
        """Return a flat record, for csv and JSON; None where a number does not exist."""
        nothing = Figure(Interval(float("nan")), Interval(float("nan")))
        return {
            "metric": self.metric,
            "experiment": self.experiment,
            "num_seeds": len(self.seeds),
            "seeds": " ".join(map(str, self.seeds)),
            **self.mean.columns("value"),
            "num_pairs": len(self.paired_seeds),
            **(self.difference or nothing).columns("difference"),
        }


@dataclass(frozen=True)
class SeedTable:
    """All experiments beside each other.

    Attributes:
        baseline: Name of the experiment that the others are compared with.
        rows: Metric by metric, the experiments in the order of their first runs.
    """

    baseline: str
    rows: tuple[Comparison, ...]

    def records(self) -> list[dict[str, Any]]:
        """Return a flat record for each row."""
        return [row.record() for row in self.rows]

    def notes(self) -> list[str]:
        """Return what a reader of the figures must know, a sentence each."""
        notes = [
            "First interval: Student's t over the seeds, on just these test images. Second: seeds and the choice of "
            "test images (Obuchowski and Rockette 1995, Hillis 2007; groups of images resampled). Both 95 %.",
            f"Differences are to {self.baseline}, run by run of the same seed.",
        ]
        num_seeds = {row.experiment: len(row.seeds) for row in self.rows}
        single = [name for name, count in num_seeds.items() if count == 1]
        if single:
            notes.append(f"One seed only, so its chance is NOT in the intervals: {', '.join(single)}.")
        unpaired = [
            f"{row.experiment} ({counted(len(row.paired_seeds), 'pair')} of {counted(len(row.seeds), 'seed')})"
            for row in self.rows
            if row.metric == self.rows[0].metric and len(row.paired_seeds) < len(row.seeds)
        ]
        if unpaired:
            notes.append(f"Some seeds have no run of {self.baseline}: {', '.join(unpaired)}.")
        return notes

    def describe(self, titles: Mapping[str, str] | None = None) -> str:
        """Return a text table for each metric, and the notes.

        Args:
            titles: Of metrics, for people; their names where not given.
        """
        lines = []
        for metric in dict.fromkeys(row.metric for row in self.rows):
            header = [(titles or {}).get(metric, metric), "seeds", "mean [seeds]", "[seeds and images]"]
            table = [[*header, f"minus {self.baseline} [seeds]", "[seeds and images]"]]
            for row in self.rows:
                if row.metric == metric:
                    difference = row.difference.cells("+") if row.difference else ["", ""]
                    table.append([row.experiment, str(len(row.seeds)), *row.mean.cells(), *difference])
            lines += [*table_lines(table), ""]
        return "\n".join([*lines, *self.notes()]) + "\n"

    def write(self, folder: Path, stem: str = "experiments", titles: Mapping[str, str] | None = None) -> None:
        """Write <stem>.csv, <stem>.txt and <stem>.json into a folder."""
        text = io.StringIO()
        pd.DataFrame(self.records()).astype(object).to_csv(text, index=False, lineterminator="\n")
        write_text(folder / f"{stem}.csv", text.getvalue())
        write_text(folder / f"{stem}.txt", self.describe(titles))
        write_json(folder / f"{stem}.json", {"baseline": self.baseline, "rows": self.records(), "notes": self.notes()})


def compare_runs(runs: Sequence[SeedRun], baseline: str, metrics: Sequence[str]) -> SeedTable:
    """Return means over seeds and differences to a baseline, paired by seed.

    Args:
        runs: Of all experiments, tested on the same images.
        baseline: Name of the experiment that the others are compared with.
        metrics: Names, such as the keys of `classification.TITLES`.

    Raises:
        UsageError: An unknown baseline or metric, or two runs of an experiment with one seed.
        DataError: Runs that were tested on different images.
    """
    experiments: dict[str, dict[int, SeedRun]] = {}
    for run in runs:
        of_seed = experiments.setdefault(run.experiment, {})
        if run.seed in of_seed:
            raise UsageError("Each run of an experiment has a seed of its own.", received=f"seed {run.seed} twice")
        of_seed[run.seed] = run
    if baseline not in experiments:
        raise UsageError(
            f"The baseline is one of {', '.join(experiments)}.{did_you_mean(baseline, experiments)}", received=baseline
        )
    _require_comparable(runs, metrics)
    rows = [
        _compare(metric, name, of_seed, experiments[baseline], is_baseline=name == baseline)
        for metric in metrics
        for name, of_seed in experiments.items()
    ]
    return SeedTable(baseline, tuple(rows))


def _require_comparable(runs: Sequence[SeedRun], metrics: Sequence[str]) -> None:
    first = runs[0]
    for run in runs:
        if run.test != first.test:
            raise DataError(
                "All runs are compared on the same test: the same images, classes and masks in one order, the same "
                f"groups and number of resamples as {first.experiment}, seed {first.seed}.",
                received=f"another test of {run.experiment}, seed {run.seed}",
            )
        missing = [metric for metric in metrics if metric not in run.values]
        if missing:
            raise UsageError(
                f"Metrics of these runs are {', '.join(run.values)}.{did_you_mean(missing[0], run.values)}",
                received=missing[0],
            )


def _compare(
    metric: str, name: str, of_seed: Mapping[int, SeedRun], of_baseline: Mapping[int, SeedRun], *, is_baseline: bool
) -> Comparison:
    seeds = tuple(sorted(of_seed))
    paired = tuple(seed for seed in seeds if seed in of_baseline)
    values, resampled = _values([of_seed[seed] for seed in seeds], metric)
    difference = None
    if paired and not is_baseline:
        own, others = (_values([group[seed] for seed in paired], metric) for group in (of_seed, of_baseline))
        difference = _figure(own[0] - others[0], own[1] - others[1])
    return Comparison(metric, name, seeds, _figure(values, resampled), paired, difference)


def _values(runs: Sequence[SeedRun], metric: str) -> tuple[Floats, Floats]:
    """Return a metric's values, [K], and resampled ones, [K, R]."""
    return np.array([run.values[metric] for run in runs]), np.stack([run.resampled[metric] for run in runs])


def _figure(values: Floats, resampled: Floats) -> Figure:
    """Return the mean of values [K] with both intervals, from resampled ones [K, R]."""
    over_seeds = mean_estimate(values)
    # Of paired differences, too: seed by seed they are values of K networks on the same images.
    with_images = mean_over_seeds(values, resampled) if len(values) > 1 else interval(values[0], resampled[0])
    return Figure(Interval(over_seeds.value, over_seeds.low, over_seeds.high), with_images)
