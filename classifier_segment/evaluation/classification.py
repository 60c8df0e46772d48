"""How good a classifier of several classes is: metrics with intervals, and the confusion matrix."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier_segment.evaluation.estimates import (
    METRICS_JSON,
    Estimates,
    Resamples,
    digest_of,
    draw_resamples,
    require_length,
)
from medsynth.classify.evaluation.evaluate import NUM_RESAMPLES
from medsynth.classify.evaluation.statistics import Floats, divide, weighted_auroc
from medsynth.classify.evaluation.summary import cell, table_lines
from medsynth.errors import DataError
from medsynth.files import write_text
from medsynth.report.matrices import confusion_figure

CONFUSION_CSV, CONFUSION_PNG = "confusion_matrix.csv", "confusion_matrix.png"
# Names of metrics, as in metrics.json, and for people.
TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc_macro": "AUROC, macro (one against the rest)",
    "precision_macro": "precision, macro",
    "recall_macro": "recall, macro",
    "f1_macro": "F1, macro",
    "precision_micro": "precision, micro",
    "recall_micro": "recall, micro",
    "f1_micro": "F1, micro",
}
OF_CLASS = {"auroc": "AUROC", "precision": "precision", "recall": "recall", "f1": "F1"}
_TOLERANCE = 1e-3  # of a row's sum; half precision is not finer


@dataclass(frozen=True)
class ClassificationReport:
    """What a test of a classifier found.

    Attributes:
        class_names: L names.
        truth: Class of every example, [N].
        predicted: The class of the highest probability, the first of equal ones, [N].
        estimates: Every metric by the names of `TITLES`, and `<metric>/<class>` for each of `OF_CLASS`.
    """

    class_names: tuple[str, ...]
    truth: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    estimates: Estimates

    @cached_property
    def confusion(self) -> npt.NDArray[np.int64]:
        """Numbers of examples, [L, L]: rows are the true class, columns the predicted one."""
        counts = np.zeros((len(self.class_names),) * 2, np.int64)
        np.add.at(counts, (self.truth, self.predicted), 1)
        return counts

    @property
    def num_examples(self) -> int:
        """N."""
        return len(self.truth)

    @property
    def num_of_class(self) -> dict[str, int]:
        """Examples of every class, by its name."""
        return dict(zip(self.class_names, self.confusion.sum(axis=1).tolist(), strict=True))

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Return value, low and high of every metric, as JSON holds them; None where undefined."""
        return self.estimates.metrics()

    def notes(self) -> list[str]:
        """Return what a reader of the figures must know, a sentence each."""
        notes = self.estimates.notes()
        absent = [name for name, count in self.num_of_class.items() if count == 0]
        if absent:
            notes.append(
                f"Absent from the test, so without figures and left out of the macro means: {', '.join(absent)}."
            )
        if len(self.class_names) - len(absent) < 2:
            notes.append("One class only, so no AUROC is defined.")
        notes.append("With one class an example, micro precision, recall and F1 equal the accuracy.")
        return notes

    def describe(self) -> str:
        """Return a short text for the log: a table of all metrics, one of the classes, and the notes."""
        header = ["class", "n", *(f"{title} [95 %]" for title in OF_CLASS.values())]
        rows = [
            [name, str(count), *(cell(self.estimates.interval(f"{metric}/{name}")) for metric in OF_CLASS)]
            for name, count in self.num_of_class.items()
        ]
        lines = [f"{self.num_examples:,} examples", "", *self.estimates.lines(TITLES), ""]
        return "\n".join([*lines, *table_lines([header, *rows]), "", *self.notes()]) + "\n"

    def write(self, folder: Path) -> None:
        """Write confusion_matrix.csv and .png, resamples.npy and metrics.json (last) into a folder."""
        (folder / METRICS_JSON).unlink(missing_ok=True)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["true class", *self.class_names])
        writer.writerows([name, *row] for name, row in zip(self.class_names, self.confusion.tolist(), strict=True))
        write_text(folder / CONFUSION_CSV, text.getvalue())
        accuracy = cell(self.estimates.interval("accuracy"))
        balanced = cell(self.estimates.interval("balanced_accuracy"))
        confusion_figure(
            folder / CONFUSION_PNG,
            self.class_names,
            self.confusion,
            title=f"{self.num_examples:,} test examples",
            note=f"accuracy {accuracy}, balanced {balanced}\n{self.estimates.resamples.sentence}",
        )
        facts: dict[str, Any] = {
            "num_examples": self.num_examples,
            "num_of_class": self.num_of_class,
            "confusion": self.confusion.tolist(),
            "notes": self.notes(),
        }
        self.estimates.write(folder, facts, test=self.test)

    @property
    def test(self) -> str:
        """Digest of truth and groups; another one means another test."""
        return digest_of(self.estimates.resamples, self.truth)


def classification_report(
    truth: npt.ArrayLike,
    probabilities: npt.ArrayLike,
    class_names: Sequence[str],
    clusters: Sequence[str] | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
) -> ClassificationReport:
    """Return every metric of a classifier with its 95 % interval from resampled groups of examples.

    Macro means are over the classes that the test has. Precision counts 0 where a class is never predicted. A resample
    that lacks a class leaves the figures of that class, and macro means, undefined, and is left out there.

    Args:
        truth: Class of every example, integers [N].
        probabilities: Of every class, [N, L]; rows add up to 1.
        class_names: L names.
        clusters: What every example belongs to, N texts: a patient, copies of an image, an image with several
            annotations. Each example is its own where not given, and the intervals are then too narrow if it is not.
        num_resamples: Of the bootstrap.

    Raises:
        DataError: Probabilities that are none, as a network gives that has diverged.
        ValueError: Arguments that do not belong together.

    Source: Sokolova and Lapalme 2009, "A systematic analysis of performance measures for classification tasks",
    table 3; Hanley and McNeil 1982 (AUROC); Efron and Tibshirani 1993, section 13.3 (intervals).
    """
    labels, values = np.asarray(truth).astype(np.int64), np.asarray(probabilities, np.float64)
    names = tuple(class_names)
    require_length("rows of probabilities", values, len(labels))
    if values.shape != (len(labels), len(names)) or labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(f"classes and probabilities of {len(names)} classes were expected, not {values.shape}")
    wrong = np.flatnonzero(~np.isfinite(values).all(axis=1) | ~(np.abs(values.sum(axis=1) - 1) < _TOLERANCE))
    if len(wrong):
        raise DataError(
            "Probabilities of the classes add up to 1; other numbers mean that the network has diverged.",
            received=f"{np.array2string(values[wrong[0]], precision=4)} for example {wrong[0]}",
        )
    predicted = values.argmax(axis=1)
    resamples = draw_resamples(clusters, len(labels), num_resamples)
    sampled = _sampled(labels, predicted, values, names, resamples)
    return ClassificationReport(names, labels, predicted, Estimates(sampled, resamples))


def _sampled(
    truth: npt.NDArray[np.int64],
    predicted: npt.NDArray[np.int64],
    probabilities: Floats,
    names: tuple[str, ...],
    resamples: Resamples,
) -> dict[str, Floats]:
    """Return every metric on all examples and on the resamples, [1 + R] each."""
    numbers = np.arange(len(names))
    is_true, is_called = truth[:, None] == numbers, predicted[:, None] == numbers
    num_true, num_called = resamples.sum(is_true), resamples.sum(is_called)  # [1 + R, L]
    hits = resamples.sum(is_true & is_called)
    has_class = num_true > 0
    of_class = {
        "auroc": np.stack([_auroc(is_true[:, one], probabilities[:, one], resamples) for one in numbers], axis=1),
        "precision": np.where(has_class, np.nan_to_num(divide(hits, num_called)), np.nan),
        "recall": divide(hits, num_true),
        "f1": np.where(has_class, divide(2 * hits, num_true + num_called), np.nan),
    }
    macro = {name: values[:, has_class[0]].mean(axis=1) for name, values in of_class.items()}
    accuracy = divide(hits.sum(axis=1), num_true.sum(axis=1))
    sampled = {
        "accuracy": accuracy,
        "balanced_accuracy": macro["recall"],
        **{f"{name}_macro": values for name, values in macro.items()},
        **{f"{name}_micro": accuracy for name in ("precision", "recall", "f1")},
    }
    per_class = {
        f"{metric}/{name}": values[:, column]
        for column, name in enumerate(names)
        for metric, values in of_class.items()
    }
    return {name: sampled[name] for name in TITLES} | per_class


def _auroc(is_true: npt.NDArray[np.bool_], scores: Floats, resamples: Resamples) -> Floats:
    return weighted_auroc(is_true.astype(np.float64), scores, resamples.weights)
