"""Classifiers on the same real test images: table, csv, JSON and figure.

The first result is the reference (the classifier trained on real images); the
others are compared with it. AUROC is never flipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medsynth.classify.evaluate import MINIMUM_CASES, Evaluation, Interval, cluster_images, evaluate
from medsynth.classify.results import PREDICTIONS, RESULTS, Predictions, read_predictions
from medsynth.data.labels import read_csv
from medsynth.errors import DataError, UsageError
from medsynth.files import atomic_path, make_folder, write_json, write_text
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
_PUBLISHED_COLUMNS = {"real": "real", "prog-GAN": "prog_gan", "cpD-GAN": "cpd_gan"}
_RANDOM = "random initialisation"


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


def read_published(selection: str) -> PublishedRow:
    """Return the published row named `modality,benchmark,setting`.

    Raises:
        UsageError: There is none; the message lists those there are.
    """
    table = read_csv(PUBLISHED_CSV)
    for row in table.itertuples(index=False):
        if f"{row.modality},{row.benchmark},{row.setting}" == selection.replace(" ", ""):
            means = {name: float(getattr(row, name)) for name in _PUBLISHED_COLUMNS.values()}
            return PublishedRow(str(row.modality), str(row.benchmark), int(str(row.setting)), means)
    known = [
        f"{modality},{benchmark},{{{','.join(map(str, rows['setting']))}}}"
        for (modality, benchmark), rows in table.groupby(["modality", "benchmark"], sort=False)
    ]
    raise UsageError(
        f"--published takes modality,benchmark,setting of a published row: {'; '.join(known)}.", received=selection
    )


def require_same_rows(results: Sequence[Predictions]) -> None:
    """Refuse results that are not on the same test images, with the same labels and truth, in the same order.

    Raises:
        DataError: Names the first difference.
    """
    first = results[0]
    for other in results[1:]:
        only_first, only_other = set(first.paths) - set(other.paths), set(other.paths) - set(first.paths)
        if other.names != first.names:
            problem = f"labels {', '.join(other.names)} against {', '.join(first.names)}"
        elif only_first or only_other:
            examples = ", ".join(f"for example {min(paths)}" for paths in (only_first, only_other) if paths)
            problem = f"{len(only_other)} rows only here, {len(only_first)} only there, {examples}"
        elif len(other.paths) != len(first.paths):
            problem = f"{len(other.paths)} rows against {len(first.paths)}"
        elif other.paths != first.paths:
            row = next(i for i, paths in enumerate(zip(other.paths, first.paths, strict=True)) if len(set(paths)) > 1)
            problem = f"another order from line {row + 2} on"
        elif (other.truth != first.truth).any():
            problem = f"other truth in line {np.argwhere(other.truth != first.truth)[0][0] + 2}"
        else:
            continue
        raise DataError(
            f"Results are compared on the same test images alone, and these differ from those of {first.folder}.",
            received=problem,
            path=other.folder,
        )


@dataclass(frozen=True)
class Comparison:
    """What was compared and what came out.

    Attributes:
        results: The first is the reference.
        names: Of the results, for tables.
        evaluation: Numbers and intervals.
        clusters: What was resampled: patients or images.
        num_clusters: How many.
        published: The published row, where one was chosen.
    """

    results: list[Predictions]
    names: list[str]
    evaluation: Evaluation
    clusters: str
    num_clusters: int
    published: PublishedRow | None

    @property
    def published_means(self) -> list[float | None]:
        """Published mean of every result, None where there is none."""
        if self.published is None:
            return [None] * len(self.results)
        columns = [_PUBLISHED_COLUMNS.get(str(result.facts["trained_on"])) for result in self.results]
        return [self.published.means[column] if column else None for column in columns]

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers must know, a sentence each."""
        first = self.results[0]
        positives = (first.truth > 0).sum(axis=0).astype(int)
        left_out = [f"{name} ({count} positives)" for name, count, ok in
                    zip(first.names, positives, self.evaluation.sufficient, strict=True) if not ok]  # fmt: skip
        notes = [
            f"{len(first.paths)} real test images; 95 % intervals from resampling {self.num_clusters} {self.clusters}.",
            f"Mean over {int(self.evaluation.sufficient.sum())} labels.",
        ]
        if left_out:
            notes.append(f"Insufficient (fewer than {MINIMUM_CASES} positives or negatives), left out of the mean: "
                         f"{len(left_out)}: {', '.join(left_out)}.")  # fmt: skip
        random = [name for name, result in zip(self.names, self.results, strict=True)
                  if result.facts.get("initialisation") == _RANDOM]  # fmt: skip
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
    clusters, kind = cluster_images(results[0].patients, len(results[0].paths))
    evaluation = evaluate(
        results[0].truth, [result.scores for result in results], clusters, num_resamples=num_resamples, seed=seed
    )
    return Comparison(results, _names(results), evaluation, kind, int(clusters.max()) + 1, row)


def _names(results: Sequence[Predictions]) -> list[str]:
    """Return what each was trained on, numbered where several are alike."""
    plain = [str(result.facts["trained_on"]) for result in results]
    return [
        f"{name} ({plain[: number + 1].count(name)})" if plain.count(name) > 1 else name
        for number, name in enumerate(plain)
    ]


def _cell(estimate: Interval) -> str:
    if not np.isfinite(estimate.value):
        return "undefined"
    if not np.isfinite(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def format_table(comparison: Comparison) -> str:
    """Return the comparison as text: a row per label, then the mean, the published row and the notes."""
    evaluation, first, names = comparison.evaluation, comparison.results[0], comparison.names
    header = [
        "label",
        "n",
        "positives",
        *(f"{name} [95 %]" for name in names),
        *(f"{names[0]} - {name}" for name in names[1:]),
    ]
    lines = [header]
    for number, label in enumerate(first.names):
        values = [_cell(row[number]) for row in (*evaluation.labels, *evaluation.label_differences[1:])]
        if not evaluation.sufficient[number]:
            values = ["insufficient"] * len(values)
        lines.append([label, str(len(first.paths)), str(int(first.truth[:, number].sum())), *values])
    means = [_cell(one) for one in (*evaluation.means, *evaluation.mean_differences[1:])]
    lines.append([f"mean of {int(evaluation.sufficient.sum())}", str(len(first.paths)), "", *means])
    if comparison.published is not None:
        known = comparison.published_means
        shown = ["-" if value is None else f"{value:.3f}" for value in known]
        gaps = ["-" if value is None or known[0] is None else f"{known[0] - value:.3f}" for value in known[1:]]
        lines.append(["published mean", "", "", *shown, *gaps])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "-+-".join("-" * width for width in widths))
    return "\n".join([*text, "", *comparison.notes]) + "\n"


def _records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one flat record per label and classifier, and per mean; None where a number does not exist."""
    evaluation, first = comparison.evaluation, comparison.results[0]
    records = []
    for number, (name, result) in enumerate(zip(comparison.names, comparison.results, strict=True)):
        cells = [*zip(evaluation.labels[number], evaluation.label_differences[number], strict=True),
                 (evaluation.means[number], evaluation.mean_differences[number])]  # fmt: skip
        for row, (estimate, difference) in enumerate(cells):
            is_mean = row == len(first.names)
            ok = is_mean or bool(evaluation.sufficient[row])
            records.append({
                "trained_on": name,
                "label": "mean" if is_mean else first.names[row],
                "num_images": len(first.paths),
                "num_positives": None if is_mean else int(first.truth[:, row].sum()),
                "status": "ok" if ok else "insufficient",
                "auroc": _number(estimate.value),
                "low": _number(estimate.low),
                "high": _number(estimate.high),
                "reference_minus_this": _number(difference.value),
                "difference_low": _number(difference.low),
                "difference_high": _number(difference.high),
                "num_resamples": estimate.num_resamples,
                "published_mean": comparison.published_means[number] if is_mean else None,
                "initialisation": result.facts.get("initialisation"),
            })  # fmt: skip
    return records


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write comparison.txt, comparison.csv, comparison.json and comparison.png into `folder`."""
    make_folder(folder)
    write_text(folder / "comparison.txt", format_table(comparison))
    records = _records(comparison)
    with atomic_path(folder / "comparison.csv") as temporary:
        pd.DataFrame(records).to_csv(temporary, index=False, lineterminator="\n")
    write_json(folder / "comparison.json", {
        "results": [{"name": name, "folder": str(result.folder), **result.facts}
                    for name, result in zip(comparison.names, comparison.results, strict=True)],
        "resampled": comparison.clusters,
        "num_resampled": comparison.num_clusters,
        "notes": comparison.notes,
        "rows": records,
    })  # fmt: skip
    _draw(comparison, folder / "comparison.png")


def _draw(comparison: Comparison, path: Path) -> None:
    evaluation, first = comparison.evaluation, comparison.results[0]
    rows = [name if ok else f"{name}\n(insufficient)" for name, ok in
            zip(first.names, evaluation.sufficient, strict=True)]  # fmt: skip
    series = []
    for number, name in enumerate(comparison.names):
        estimates = [*evaluation.labels[number], evaluation.means[number]]
        columns = np.array([[one.value, one.low, one.high] for one in estimates])
        columns[:-1][~evaluation.sufficient] = np.nan
        series.append(Series(f"trained on {name}", *columns.T))
    note = "\n".join(comparison.notes)
    comparison_figure(path, [*rows, "mean"], series, title="What a classifier learns from each training set",
                      note=note, published=comparison.published_means)  # fmt: skip
