"""What a classifier said of every test image: predictions.csv, with results.json beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medsynth.data.labels import PATIENT, SCORE_SUFFIX, LabelTable, patients_in_paths, read_csv
from medsynth.errors import DataError
from medsynth.files import atomic_path, read_json

PREDICTIONS, RESULTS = "predictions.csv", "results.json"
PREDICTIONS_VALID = "predictions_valid.csv"


def write_predictions(
    path: Path, table: LabelTable, patients: Sequence[str] | None, scores: npt.NDArray[np.float32]
) -> None:
    """Write Path, Patient where it is known, then truth `<label>` and score `<label> score` of every label.

    Args:
        path: The csv file.
        table: Paths and truth.
        patients: Of every row; None where they are not known.
        scores: [N, L] in the rows of `table`; written in full precision.
    """
    columns: dict[str, Any] = {"Path": table.paths}
    if patients is not None:
        columns[PATIENT] = patients
    for number, name in enumerate(table.names):
        columns[name] = table.values[:, number]
        columns[name + SCORE_SUFFIX] = scores[:, number].astype(np.float64)
    with atomic_path(path) as temporary:
        pd.DataFrame(columns).to_csv(temporary, index=False, lineterminator="\n")


@dataclass(frozen=True)
class Predictions:
    """A tested classifier.

    Attributes:
        folder: Where its files lie.
        facts: What results.json says.
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

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """The operating point of every label, [L]; NaN where results.json says none, as older ones do.

        Raises:
            DataError: It says something else than a number.
        """
        labels = self.facts.get("labels")
        rows = [labels.get(name) if isinstance(labels, dict) else None for name in self.names]
        found = [row.get("threshold") if isinstance(row, dict) else None for row in rows]
        wrong = [one for one in found if one is not None and not isinstance(one, int | float)]
        if wrong:
            raise DataError("A threshold is a number.", received=repr(wrong[0]), path=self.folder / RESULTS)
        return np.array([np.nan if one is None else one for one in found], np.float64)


def read_predictions(folder: Path) -> Predictions:
    """Read results.json and predictions.csv of a tested classifier.

    Raises:
        DataError: Missing, or not of the form that a test writes.
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
