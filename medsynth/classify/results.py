"""The files of a tested classifier: predictions.csv, results.json, roc_char.npy, test.log."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medsynth.classify.evaluate import MINIMUM_CASES, aurocs, roc_curve, sufficient_labels
from medsynth.data.labels import LabelTable, patients_in_paths, read_csv
from medsynth.errors import DataError
from medsynth.files import atomic_path, read_json, write_json, write_text

PREDICTIONS, RESULTS, ROC, LOG = "predictions.csv", "results.json", "roc_char.npy", "test.log"
SCORE_SUFFIX, PATIENT = " score", "Patient"


def write_results(
    folder: Path,
    table: LabelTable,
    patients: Sequence[str] | None,
    scores: npt.NDArray[np.float32],
    facts: dict[str, Any],
) -> str:
    """Write what a test leaves, and return the text of test.log.

    - predictions.csv: Path, Patient where it is known, then truth `<label>` and score `<label> score` of every label,
      in the rows of the test csv, scores in full precision.
    - results.json: `facts`, and per label AUROC, images and positives.
    - roc_char.npy: float64 [L, 3, T]: true-positive rate, false-positive rate, threshold;
      labels with fewer points are filled up with NaN.
    - test.log: the same for reading.

    Args:
        folder: results/test.
        table: Paths and truth.
        patients: Of every row; None where they are not known.
        scores: [N, L] in the rows of `table`.
        facts: What else results.json says.
    """
    columns: dict[str, Any] = {"Path": table.paths}
    if patients is not None:
        columns[PATIENT] = patients
    for number, name in enumerate(table.names):
        columns[name] = table.values[:, number]
        columns[name + SCORE_SUFFIX] = scores[:, number].astype(np.float64)
    with atomic_path(folder / PREDICTIONS) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False, lineterminator="\n")

    curves = [roc_curve(table.values[:, number], scores[:, number]) for number in range(len(table.names))]
    padded = np.full((len(curves), 3, max(curve.shape[1] for curve in curves)), np.nan)
    for curve, row in zip(curves, padded, strict=True):
        row[:, : curve.shape[1]] = curve
    with atomic_path(folder / ROC) as temporary, temporary.open("wb") as file:
        np.save(file, padded, allow_pickle=False)

    summary = summarise(table, scores)
    write_json(folder / RESULTS, facts | summary)
    text = _describe(facts, summary)
    write_text(folder / LOG, text)
    return text


def summarise(table: LabelTable, scores: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Return the AUROC of every label and their mean over the sufficient ones, for results.json.

    `flipped_as_published` is the mean in which values under 0.5 count as 1 - value, as the published
    code reports it, over all labels with both classes. It flatters a bad classifier and is given for
    comparison with the published table alone.
    """
    values, sufficient = aurocs(table.values, scores), sufficient_labels(table.values)
    defined = values[np.isfinite(values)]
    labels = {
        name: {
            "auroc": float(value) if np.isfinite(value) else None,
            "num_images": len(table.paths),
            "num_positives": int((table.values[:, number] > 0).sum()),
            "in_mean": bool(sufficient[number]),
        }
        for number, (name, value) in enumerate(zip(table.names, values, strict=True))
    }
    return {
        "num_images": len(table.paths),
        "labels": labels,
        "mean_auroc": float(values[sufficient].mean()) if sufficient.any() else None,
        "num_labels_in_mean": int(sufficient.sum()),
        "labels_left_out": [name for name, ok in zip(table.names, sufficient, strict=True) if not ok],
        "flipped_as_published": float(np.maximum(defined, 1 - defined).mean()) if len(defined) else None,
    }


def _describe(facts: dict[str, Any], summary: dict[str, Any]) -> str:
    lines = [
        f"trained on {facts['trained_on']} images, {facts['initialisation']}, {facts['weights']}, "
        f"tested on {summary['num_images']} real images"
    ]
    for name, row in summary["labels"].items():
        value = "undefined" if row["auroc"] is None else f"{row['auroc']:.4f}"
        note = "" if row["in_mean"] else f"  insufficient (fewer than {MINIMUM_CASES} cases), left out of the mean"
        lines.append(f"{name}: {value}  ({row['num_positives']} positives){note}")
    mean = "undefined" if summary["mean_auroc"] is None else f"{summary['mean_auroc']:.4f}"
    lines.append(f"mean AUROC over {summary['num_labels_in_mean']} labels: {mean}")
    if summary["labels_left_out"]:
        lines.append(f"left out of the mean: {', '.join(summary['labels_left_out'])}")
    if facts.get("allowed_leaks"):
        lines.append(f"train and test of the data share {', '.join(facts['allowed_leaks'])}: too good to be true")
    if not facts["training_finished"]:
        lines.append("the training of these weights was not finished")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Predictions:
    """A tested classifier, as read back.

    Attributes:
        folder: Where it lies.
        facts: results.json.
        paths: Of the test images.
        patients: Of the test images; None where they are not known.
        names: Labels.
        truth: 0 or 1, [N, L].
        scores: [N, L].
    """

    folder: Path
    facts: dict[str, Any]
    paths: tuple[str, ...]
    patients: tuple[str, ...] | None
    names: tuple[str, ...]
    truth: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]


def read_predictions(folder: Path) -> Predictions:
    """Read results.json and predictions.csv of a tested classifier.

    Raises:
        DataError: Missing, or not of the form that `write_results` makes.
    """
    facts = read_json(folder / RESULTS)
    path = folder / PREDICTIONS
    frame = read_csv(path, dtype=str, keep_default_na=False)
    # Every label has two columns, so an even number of them means that patients are named.
    has_patients = frame.shape[1] % 2 == 0
    first = ["Path", PATIENT] if has_patients else ["Path"]
    names = tuple(frame.columns[len(first) :: 2])
    expected = [*first, *(column for name in names for column in (name, name + SCORE_SUFFIX))]
    if not names or list(frame.columns) != expected:
        raise DataError(
            f"The columns must be Path, perhaps {PATIENT}, then <label> and <label>{SCORE_SUFFIX} of every label.",
            received=", ".join(map(str, frame.columns)),
            path=path,
        )
    try:
        numbers = (
            frame.iloc[:, len(first) :].to_numpy(object).astype(np.float64)
        )  # exact; pandas' own parser may not be
    except ValueError as error:
        raise DataError("Truth and scores are numbers.", received=error, path=path) from None
    truth, scores = numbers[:, 0::2], numbers[:, 1::2]
    wrong = np.flatnonzero(~np.isfinite(scores).all(axis=1) | ~np.isin(truth, (0, 1)).all(axis=1))
    if len(wrong) or not isinstance(facts, dict) or "trained_on" not in facts:
        place = f"line {wrong[0] + 2} of {PREDICTIONS}" if len(wrong) else RESULTS
        raise DataError("Truth is 0 or 1, scores are finite numbers, and results.json says trained_on.",
                        received=place, path=folder)  # fmt: skip
    paths = tuple(frame["Path"])
    patients = tuple(frame[PATIENT]) if has_patients else patients_in_paths(paths)
    return Predictions(folder, facts, paths, patients, names, truth, scores)
