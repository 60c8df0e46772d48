"""Classifiers on the same real test images: table, csv, JSON and figure.

The first result is the reference (the classifier trained on real images); the
others are compared with it, in every metric of `medsynth.classify.evaluation.evaluate`. AUROC
is never flipped. Several seeds of one training are also summed up (`seeds_on_one_test`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark.seeds_on_one_test import SeedGroup, groups_of_seeds, notes_on_seeds, seed_records, seeds_table
from medsynth.classify.evaluation.evaluate import MEAN, METRICS, MINIMUM_CASES, Evaluation, cluster_images, evaluate
from medsynth.classify.evaluation.predictions import (
    PREDICTIONS,
    RESULTS,
    Predictions,
    read_predictions,
    require_same_rows,
)
from medsynth.classify.evaluation.summary import Resampling, cell, describe_columns, number, table_lines
from medsynth.data.labels import read_csv
from medsynth.errors import DataError, UsageError
from medsynth.files import atomic_path, make_folder, write_json, write_text
from medsynth.progress import Progress
from medsynth.report.figures import Series, comparison_figure

PUBLISHED_CSV = Path(__file__).parent / "published" / "schuette2021_mean_auroc.csv"
_PUBLISHED_RESOLUTION = 32
# Images per class times classes; the samples benchmark has one test set of 3 (chest) or 6 (brain) classes.
_TEST_IMAGES: dict[tuple[str, str], Callable[[int], int]] = {
    ("chest", "classes"): lambda num_classes: 170 * num_classes,
    ("brain", "classes"): lambda num_classes: 200 * num_classes,
    ("chest", "samples"): lambda _: 750 * 3,
    ("brain", "samples"): lambda _: 500 * 6,
}
# Column of the published table by what a classifier was trained on.
PUBLISHED_COLUMNS = {"real": "real", "prog-GAN": "prog_gan", "cpD-GAN": "cpd_gan"}
RANDOM = "random initialisation"


def find_test_folder(folder: Path) -> Path:
    """Return the folder with predictions.csv: the given one, or its only classification_results*/test.

    Raises:
        DataError: None or several.
    """
    if (folder / PREDICTIONS).is_file() or (folder / RESULTS).is_file():
        return folder
    inside = [folder / "test", *sorted(folder.glob("classification_results*/test"))]
    found = [path for path in inside if (path / PREDICTIONS).is_file()]
    if len(found) != 1:
        received = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise DataError(
            "A tested classifier was expected here: predictions.csv, or one classification_results*/test with it "
            "(run test.py of the classifier, or name one folder).",
            received=received,
            path=folder,
        )
    return found[0]


@dataclass(frozen=True)
class PublishedRow:
    """A row of the published table.

    Attributes:
        modality: chest or brain.
        benchmark: classes or samples.
        setting: Number of classes, or samples per class.
        means: Mean AUROC by column.
    """

    modality: str
    benchmark: str
    setting: int
    means: dict[str, float]

    def mismatch(self, num_images: int, resolution: object) -> str:
        """Say how a test set differs from the published one of this row; empty where it does not seem to.

        Args:
            num_images: Images of the test set.
            resolution: Of its images.
        """
        expected = _TEST_IMAGES[self.modality, self.benchmark](self.setting)
        differences = []
        if num_images != expected:
            differences.append(f"{num_images:,} test images where {expected:,} were published")
        if resolution is not None and resolution != _PUBLISHED_RESOLUTION:
            differences.append(f"resolution {resolution} where {_PUBLISHED_RESOLUTION} was published")
        return ", ".join(differences)


def published_rows() -> list[PublishedRow]:
    """Return the published table."""
    return [
        PublishedRow(
            str(row.modality),
            str(row.benchmark),
            int(str(row.setting)),
            {name: float(getattr(row, name)) for name in PUBLISHED_COLUMNS.values()},
        )
        for row in read_csv(PUBLISHED_CSV).itertuples(index=False)
    ]


def read_published(selection: str) -> PublishedRow:
    """Return the published row named `modality,benchmark,setting`.

    Raises:
        UsageError: There is none; the message lists those there are.
    """
    known: dict[str, list[str]] = {}
    for row in published_rows():
        place = f"{row.modality},{row.benchmark}"
        if f"{place},{row.setting}" == selection.replace(" ", ""):
            return row
        known.setdefault(place, []).append(str(row.setting))
    listed = "; ".join(f"{place},{{{','.join(settings)}}}" for place, settings in known.items())
    raise UsageError(f"--published takes modality,benchmark,setting of a published row: {listed}.", received=selection)


@dataclass(frozen=True)
class Comparison:
    """What was compared and what came out.

    Attributes:
        results: The first is the reference.
        names: Of the results, for tables.
        evaluation: Numbers and intervals.
        resampling: What the intervals come from.
        published: The published row, where one was chosen.
    """

    results: list[Predictions]
    names: list[str]
    evaluation: Evaluation
    resampling: Resampling
    published: PublishedRow | None

    @property
    def published_means(self) -> list[float | None]:
        """Published mean of every result, None where there is none."""
        if self.published is None:
            return [None] * len(self.results)
        columns = [PUBLISHED_COLUMNS.get(str(result.facts["trained_on"])) for result in self.results]
        return [self.published.means[column] if column else None for column in columns]

    @property
    def groups(self) -> list[SeedGroup]:
        """Results that differ in their seed alone; empty where there are none."""
        return groups_of_seeds([result.facts for result in self.results])

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers must know, a sentence each."""
        first = self.results[0]
        positives = (first.truth > 0).sum(axis=0).astype(int)
        left_out = [f"{name} ({count} positives)" for name, count, ok in
                    zip(first.names, positives, self.evaluation.sufficient, strict=True) if not ok]  # fmt: skip
        notes = [
            f"{len(first.paths)} real test images; {self.resampling.sentence}",
            f"Mean over {int(self.evaluation.sufficient.sum())} labels.",
        ]
        if left_out:
            notes.append(f"Insufficient (fewer than {MINIMUM_CASES} positives or negatives), left out of the mean: "
                         f"{len(left_out)}: {', '.join(left_out)}.")  # fmt: skip
        notes += self._notes_on_points
        if not self.groups and len({str(result.facts["trained_on"]) for result in self.results}) < len(self.results):
            notes.append(
                "Not summed up over seeds: results trained on the same differ in more than the seed, or not in it."
            )
        random = [name for name, result in zip(self.names, self.results, strict=True)
                  if result.facts.get("initialisation") == RANDOM]  # fmt: skip
        if random:
            notes.append(f"Random initialisation (no ImageNet weights): {', '.join(random)}.")
        unfinished = [name for name, result in zip(self.names, self.results, strict=True)
                      if not result.facts.get("training_finished", True)]  # fmt: skip
        if unfinished:
            notes.append(f"Training not finished: {', '.join(unfinished)}.")
        if self.published is None:
            notes.append("No published row for this setting.")
        else:
            row = self.published
            notes.append(f"Published: {row.modality}, {row.benchmark}, {row.setting} (Schuette et al. 2021, 32x32, "
                         "read off a figure to 0.003; there, values under 0.5 counted as 1 - value).")  # fmt: skip
            mismatch = row.mismatch(len(self.results[0].paths), self.results[0].facts.get("resolution"))
            if mismatch:
                notes.append(f"NOT THE PUBLISHED TEST: {mismatch}.")
        return notes

    @property
    def _notes_on_points(self) -> list[str]:
        """Where the thresholds come from."""
        without = [name for name, result in zip(self.names, self.results, strict=True)
                   if np.isnan(result.thresholds).all()]  # fmt: skip
        if without:
            return [f"No thresholds (tested before they were chosen; run test.py again): {', '.join(without)}. "
                    "So there is no sensitivity and no specificity."]  # fmt: skip
        chosen = [f"{name} on {result.facts['operating_point']['chosen_on']}"
                  for name, result in zip(self.names, self.results, strict=True)
                  if isinstance(result.facts.get("operating_point"), dict)]  # fmt: skip
        return [f"Thresholds of sensitivity and specificity were chosen: {'; '.join(chosen)}."]


def compare(
    folders: Sequence[Path], *, published: str | None = None, num_resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Read tested classifiers and compare them on their common test images.

    Args:
        folders: At least one; the first is the reference.
        published: `modality,benchmark,setting` of a published row.
        num_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: Missing results, or results on different test images.
        UsageError: An unknown published row.
    """
    row = read_published(published) if published else None
    results = [read_predictions(find_test_folder(folder)) for folder in folders]
    require_same_rows(results)
    first = results[0]
    clusters, kind = cluster_images(first.patients, len(first.paths))
    progress = Progress("resample", len(results) * len(first.names), "labels")
    evaluation = evaluate(
        first.truth,
        [result.scores for result in results],
        clusters,
        thresholds=[result.thresholds for result in results],
        num_resamples=num_resamples,
        seed=seed,
        progress=progress,
    )
    progress.close()
    resampling = Resampling(kind, int(clusters.max()) + 1, num_resamples)
    return Comparison(results, _names(results), evaluation, resampling, row)


def _names(results: Sequence[Predictions]) -> list[str]:
    """Return what each was trained on, numbered where several are alike."""
    plain = [str(result.facts["trained_on"]) for result in results]
    return [
        f"{name} ({plain[: number + 1].count(name)})" if plain.count(name) > 1 else name
        for number, name in enumerate(plain)
    ]


def format_table(comparison: Comparison) -> str:
    """Return the comparison as text.

    AUROC with a row per label, the mean and the published row; the means of all metrics; where there are several seeds,
    the same over the seeds; the notes.
    """
    lines = [*table_lines(_auroc_table(comparison)), "", *table_lines(_means_table(comparison))]
    if comparison.groups:
        seeds = seeds_table(comparison.evaluation, comparison.groups)
        lines += ["", *table_lines(seeds), "", *notes_on_seeds(comparison.groups)]
    return "\n".join([*lines, "", *comparison.notes]) + "\n"


def _auroc_table(comparison: Comparison) -> list[list[str]]:
    evaluation, first, names = comparison.evaluation, comparison.results[0], comparison.names
    others = range(1, len(names))
    rows = [[
        "label",
        "n",
        "positives",
        *(f"{name} [95 %]" for name in names),
        *(f"{names[0]} - {name}" for name in names[1:]),
    ]]  # fmt: skip
    for column, label in enumerate((*first.names, f"mean of {evaluation.num_in_mean('auroc')}")):
        is_mean = column == len(first.names)
        values = [cell(evaluation.estimate("auroc", number, column)) for number in range(len(names))]
        values += [cell(evaluation.difference("auroc", number, column)) for number in others]
        if not is_mean and not evaluation.sufficient[column]:
            values = ["insufficient"] * len(values)
        positives = "" if is_mean else str(int(first.truth[:, column].sum()))
        rows.append([label, str(len(first.paths)), positives, *values])
    if comparison.published is not None:
        known = comparison.published_means
        shown = ["-" if value is None else f"{value:.3f}" for value in known]
        gaps = ["-" if value is None or known[0] is None else f"{known[0] - value:.3f}" for value in known[1:]]
        rows.append(["published mean", "", "", *shown, *gaps])
    return rows


def _means_table(comparison: Comparison) -> list[list[str]]:
    evaluation, names = comparison.evaluation, comparison.names
    rows = [[
        "mean over labels",
        "labels",
        *(f"{name} [95 %]" for name in names),
        *(f"{names[0]} - {name}" for name in names[1:]),
    ]]  # fmt: skip
    for metric, facts in METRICS.items():
        values = [cell(evaluation.estimate(metric, number, MEAN)) for number in range(len(names))]
        values += [cell(evaluation.difference(metric, number, MEAN)) for number in range(1, len(names))]
        rows.append([facts.title, str(evaluation.num_in_mean(metric)), *values])
    return rows


def _records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one flat record per label and classifier, and per mean; None where a number does not exist."""
    evaluation, first = comparison.evaluation, comparison.results[0]
    records = []
    for position, (name, result) in enumerate(zip(comparison.names, comparison.results, strict=True)):
        for column, label in enumerate((*first.names, "mean")):
            is_mean = column == len(first.names)
            ok = is_mean or bool(evaluation.sufficient[column])
            estimate = evaluation.estimate("auroc", position, column)
            difference = evaluation.difference("auroc", position, column)
            records.append({
                "trained_on": name,
                "label": label,
                "num_images": len(first.paths),
                "num_positives": None if is_mean else int(first.truth[:, column].sum()),
                "status": "ok" if ok else "insufficient",
                "resampled": comparison.resampling.clusters,
                "auroc": number(estimate.value),
                "low": number(estimate.low),
                "high": number(estimate.high),
                "reference_minus_this": number(difference.value),
                "difference_low": number(difference.low),
                "difference_high": number(difference.high),
                "num_resamples": estimate.num_resamples,
                "published_mean": comparison.published_means[position] if is_mean else None,
                "initialisation": result.facts.get("initialisation"),
                "threshold": None if is_mean else number(result.thresholds[column]),
                **_other_metrics(evaluation, position, column),
            })  # fmt: skip
    return records


def _other_metrics(evaluation: Evaluation, position: int, column: int) -> dict[str, float | None]:
    """Return the metrics beside AUROC, and the reference's minus this one's, as columns."""
    columns: dict[str, float | None] = {}
    for metric in list(METRICS)[1:]:
        columns |= describe_columns(evaluation.estimate(metric, position, column), metric)
        columns |= describe_columns(evaluation.difference(metric, position, column), f"{metric}_reference_minus_this")
    return columns


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write comparison.txt, comparison.csv, comparison.json and comparison.png into `folder`.

    Where there are several seeds, also comparison_over_seeds.csv.
    """
    make_folder(folder)
    write_text(folder / "comparison.txt", format_table(comparison))
    records = _records(comparison)
    over_seeds = seed_records(comparison.evaluation, comparison.groups, comparison.results[0].names)
    _write_csv(folder / "comparison.csv", records)
    if over_seeds:
        _write_csv(folder / "comparison_over_seeds.csv", over_seeds)
    write_json(folder / "comparison.json", {
        "results": [{"name": name, "folder": str(result.folder), **result.facts}
                    for name, result in zip(comparison.names, comparison.results, strict=True)],
        "resampled": comparison.resampling.clusters,
        "num_resampled": comparison.resampling.num_clusters,
        "num_resamples": comparison.resampling.num_resamples,
        "notes": comparison.notes,
        "rows": records,
        "over_seeds": over_seeds,
    })  # fmt: skip
    _draw(comparison, folder / "comparison.png")


def _write_csv(path: Path, records: list[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary:
        pd.DataFrame(records).to_csv(temporary, index=False, lineterminator="\n")


def _draw(comparison: Comparison, path: Path) -> None:
    evaluation, first = comparison.evaluation, comparison.results[0]
    rows = [name if ok else f"{name}\n(insufficient)" for name, ok in
            zip(first.names, evaluation.sufficient, strict=True)]  # fmt: skip
    series = []
    for position, name in enumerate(comparison.names):
        estimates = [evaluation.estimate("auroc", position, column) for column in range(len(rows) + 1)]
        columns = np.array([[one.value, one.low, one.high] for one in estimates])
        columns[:-1][~evaluation.sufficient] = np.nan
        series.append(Series(f"trained on {name}", *columns.T))
    note = "\n".join(comparison.notes)
    comparison_figure(path, [*rows, "mean"], series, title="What a classifier learns from each training set",
                      note=note, published=comparison.published_means)  # fmt: skip
