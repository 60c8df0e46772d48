"""What a test found: rows for programs, tables and sentences for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medsynth.classify.evaluation.calibration import count_bins
from medsynth.classify.evaluation.evaluate import ECE, METRICS, MINIMUM_CASES, Evaluation, Interval
from medsynth.classify.evaluation.operating_points import RULE, OperatingPoints
from medsynth.classify.evaluation.statistics import are_probabilities
from medsynth.data.labels import LabelTable
from medsynth.data.wording import counted

Row = dict[str, Any]
# Metrics that are read together, and one more column of the rows beside them.
_TABLES: tuple[tuple[tuple[str, ...], str | None], ...] = (
    (("auroc", "average_precision"), None),
    (("sensitivity", "specificity"), "threshold"),
    (("brier", ECE), "ece_by_chance"),
)
_MORE_TITLES = {"threshold": "threshold", "ece_by_chance": "by chance"}


@dataclass(frozen=True)
class Resampling:
    """What the intervals come from.

    Attributes:
        clusters: "patients" or "images".
        num_clusters: How many were drawn from.
        num_resamples: R.
    """

    clusters: str
    num_clusters: int
    num_resamples: int

    @property
    def sentence(self) -> str:
        """What a reader of an interval must know."""
        text = f"95 % intervals from {self.num_resamples:,} resamples of {self.num_clusters:,} {self.clusters}"
        if self.clusters == "patients":
            return f"{text}."
        return f"{text}: patients are not known. Where a patient has several images, the intervals are too narrow."


def number(value: float) -> float | None:
    """Return a figure as JSON and csv hold it: None where it is undefined."""
    return float(value) if np.isfinite(value) else None


def cell(estimate: Interval) -> str:
    """Return an estimate as tables show it, such as `0.812 [0.790, 0.833]`."""
    if not np.isfinite(estimate.value):
        return "undefined"
    if not np.isfinite(estimate.low):
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a text table, the first row its header."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [" | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-+-".join("-" * width for width in widths), *lines[1:]]


def describe_columns(estimate: Interval, name: str) -> Row:
    """Return value and interval of a metric as columns."""
    return {name: number(estimate.value), f"{name}_low": number(estimate.low), f"{name}_high": number(estimate.high)}


def estimate_in(row: Row, metric: str) -> Interval:
    """Return the estimate of a metric that a row holds, as `describe_columns` wrote it."""
    value, low, high = (
        float("nan") if row[name] is None else float(row[name]) for name in (metric, f"{metric}_low", f"{metric}_high")
    )
    return Interval(value, low, high)


def result_rows(
    table: LabelTable, evaluation: Evaluation, points: OperatingPoints | None, resampling: Resampling
) -> list[Row]:
    """Return a flat row for every label and one for the mean, for results.csv and results.json; None where undefined.

    Args:
        table: The test images.
        evaluation: Of one classifier.
        points: Its thresholds; None where none were chosen.
        resampling: What the intervals come from.
    """
    rows = []
    for column, name in enumerate((*table.names, "mean")):
        is_mean = column == len(table.names)
        has_point = points is not None and not is_mean
        rows.append({
            "label": name,
            "num_images": len(table.paths),
            "num_positives": None if is_mean else int((table.values[:, column] > 0).sum()),
            "in_mean": None if is_mean else bool(evaluation.sufficient[column]),
            "resampled": resampling.clusters,
            **{key: value for metric in METRICS
               for key, value in describe_columns(evaluation.estimate(metric, 0, column), metric).items()},
            "ece_by_chance": number(_mean_or_nan(evaluation.chance[0, column])),
            "threshold": number(points.thresholds[column]) if points and has_point else None,
            "threshold_chosen_on": points.chosen_on if points else None,
            "num_validation_images": points.num_images if points else None,
            "num_validation_positives": int(points.num_positives[column]) if points and has_point else None,
        })  # fmt: skip
    return rows


def _mean_or_nan(values: Any) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def summarise(
    table: LabelTable,
    scores: Any,
    evaluation: Evaluation,
    points: OperatingPoints | None,
    resampling: Resampling,
) -> dict[str, Any]:
    """Return what results.json says beside the facts of the classifier.

    `flipped_as_published` is the mean in which values under 0.5 count as 1 - value, as the published
    code reports it, over all labels with both classes. It flatters a bad classifier and is given for
    comparison with the published table alone.

    Args:
        table: The test images.
        scores: [N, L] in the rows of `table`.
        evaluation: Of this classifier alone.
        points: Its thresholds; None where none were chosen.
        resampling: What the intervals come from.
    """
    *rows, mean = result_rows(table, evaluation, points, resampling)
    aurocs = np.array([row["auroc"] for row in rows if row["auroc"] is not None])
    return {
        "num_images": len(table.paths),
        "labels": {row["label"]: row for row in rows},
        "mean": mean,
        "mean_auroc": mean["auroc"],
        "num_labels_in_mean": int(evaluation.sufficient.sum()),
        "num_labels_in_mean_of": {metric: evaluation.num_in_mean(metric) for metric in METRICS},
        "labels_left_out": [row["label"] for row in rows if not row["in_mean"]],
        "flipped_as_published": float(np.maximum(aurocs, 1 - aurocs).mean()) if len(aurocs) else None,
        "intervals": {
            "confidence": 0.95,
            "resampled": resampling.clusters,
            "num_resampled": resampling.num_clusters,
            "num_resamples": resampling.num_resamples,
        },
        "operating_point": None if points is None else {
            "rule": RULE,
            "chosen_on": points.chosen_on,
            "num_images": points.num_images,
            "as_in_training": points.as_in_training,
            "fixed_in_resamples": True,
        },
        "calibration_bins": {"kind": "equal mass", "num_bins": count_bins(len(table.paths))},
        "notes": _notes(table, scores, evaluation, points, resampling),
    }  # fmt: skip


def _notes(
    table: LabelTable, scores: Any, evaluation: Evaluation, points: OperatingPoints | None, resampling: Resampling
) -> list[str]:
    """Return what a reader of the figures must know, a sentence or two each."""
    notes = [resampling.sentence, *_notes_on_labels(table, evaluation, resampling), *_notes_on_points(table, points)]
    if are_probabilities(scores):
        notes.append(
            f"Calibration error: {counted(count_bins(len(table.paths)), 'bin')} of equal mass. 'By chance' is what a "
            "calibrated classifier measures on so few images; no more than that is no sign of a wrong probability."
        )
    else:
        notes.append("Scores outside [0, 1] are no probabilities: no Brier score and no calibration error.")
    return notes


def _notes_on_labels(table: LabelTable, evaluation: Evaluation, resampling: Resampling) -> list[str]:
    notes = []
    positives = (table.values > 0).sum(axis=0).astype(int)
    has_both = (positives > 0) & (positives < len(table.paths))
    undefined = [name for name, both in zip(table.names, has_both, strict=True) if not both]
    few = [f"{name} ({count} positives)" for name, count, both, ok in
           zip(table.names, positives, has_both, evaluation.sufficient, strict=True) if both and not ok]  # fmt: skip
    if undefined:
        notes.append(f"One class only, so nothing is defined, and left out of the mean: {', '.join(undefined)}.")
    if few:
        notes.append(
            f"Insufficient (fewer than {MINIMUM_CASES} positives or negatives), without intervals and left out of the "
            f"mean: {', '.join(few)}."
        )
    estimates = [(name, metric, evaluation.estimate(metric, 0, column))
                 for column, name in enumerate(table.names) for metric in METRICS]  # fmt: skip
    partial = {
        name: one.num_resamples for name, _, one in estimates if 0 < one.num_resamples < resampling.num_resamples
    }
    if partial:
        counts = ", ".join(f"{name} ({count:,} resamples kept)" for name, count in partial.items())
        notes.append(f"Some resamples lacked a class and were left out for: {counts}.")
    flat = [f"{METRICS[metric].title} of {name}" for name, metric, one in estimates if one.low == one.high]
    if flat:
        notes.append(f"No resample differed, which does not make the value certain: {', '.join(flat)}.")
    return notes


def _notes_on_points(table: LabelTable, points: OperatingPoints | None) -> list[str]:
    if points is None:
        return ["No operating point was chosen: no sensitivity and no specificity."]
    notes = [
        f"Sensitivity and specificity at the threshold with the {RULE}. Chosen on {points.num_images:,} "
        f"{points.chosen_on} (predictions_valid.csv), and held fixed in the resamples."
    ]
    missing = [name for name, value in zip(table.names, points.thresholds, strict=True) if np.isnan(value)]
    if missing:
        notes.append(f"One class only among the validation images, so no threshold: {', '.join(missing)}.")
    few = [name for name, count in zip(table.names, points.num_positives, strict=True)
           if 0 < count < points.num_images and min(count, points.num_images - count) < MINIMUM_CASES]  # fmt: skip
    if few:
        notes.append(f"Thresholds from fewer than {MINIMUM_CASES} validation cases of a class: {', '.join(few)}.")
    if points.as_in_training is False:
        notes.append("These are NOT the validation images of the training: they were changed since.")
    return notes


def format_results(facts: dict[str, Any], summary: dict[str, Any]) -> str:
    """Return the text of test.log.

    Args:
        facts: Of the classifier.
        summary: As `summarise` returns it.
    """
    lines = [
        f"trained on {facts['trained_on']} images, {facts['initialisation']}, {facts['weights']}, "
        f"tested on {summary['num_images']} real images"
    ]
    rows = [*summary["labels"].values(), summary["mean"]]
    for metrics, more in _TABLES:
        header = ["label", "positives", *(f"{METRICS[metric].title} [95 %]" for metric in metrics)]
        mean_name = f"mean of {summary['num_labels_in_mean_of'][metrics[0]]}"
        cells = [_text_row(row, metrics, more, mean_name) for row in rows]
        lines += ["", *table_lines([header + ([_MORE_TITLES[more]] if more else []), *cells])]
    lines += ["", *summary["notes"]]
    if facts.get("allowed_leaks"):
        lines.append(f"train and test of the data share {', '.join(facts['allowed_leaks'])}: too good to be true")
    if not facts["training_finished"]:
        lines.append("the training of these weights was not finished")
    return "\n".join(lines) + "\n"


def _text_row(row: Row, metrics: Sequence[str], more: str | None, mean_name: str) -> list[str]:
    """Return a row of a table: label, positives, the metrics, and perhaps one more column."""
    is_mean = row["in_mean"] is None
    positives = "" if is_mean else str(row["num_positives"])
    name = mean_name if is_mean else row["label"] + ("" if row["in_mean"] else " (insufficient)")
    extra = [] if more is None else ["" if row[more] is None else f"{row[more]:.4f}"]
    return [name, positives, *(cell(estimate_in(row, metric)) for metric in metrics), *extra]
