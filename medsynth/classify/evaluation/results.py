"""The files of a tested classifier: predictions.csv, roc_char.npy, results.csv, test.log, the curves, results.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medsynth.classify.evaluation.curves import draw_curves
from medsynth.classify.evaluation.evaluate import NUM_RESAMPLES, cluster_images, evaluate
from medsynth.classify.evaluation.operating_points import OperatingPoints
from medsynth.classify.evaluation.predictions import PREDICTIONS, RESULTS, Predictions, write_predictions
from medsynth.classify.evaluation.statistics import roc_curve
from medsynth.classify.evaluation.summary import Resampling, format_results, summarise
from medsynth.data.labels import LabelTable
from medsynth.files import atomic_path, write_array, write_json, write_text
from medsynth.progress import Progress

RESULTS_CSV, ROC, LOG = "results.csv", "roc_char.npy", "test.log"


def write_results(
    folder: Path,
    table: LabelTable,
    patients: Sequence[str] | None,
    scores: npt.NDArray[np.float32],
    facts: dict[str, Any],
    *,
    points: OperatingPoints | None = None,
    num_resamples: int = NUM_RESAMPLES,
) -> str:
    """Evaluate a test, write its files, and return the text of test.log.

    - predictions.csv: see `write_predictions`, in the rows of the test csv.
    - roc_char.npy: float64 [L, 3, T]: true-positive rate, false-positive rate, threshold;
      labels with fewer points are filled up with NaN.
    - results.csv: every metric with its interval, a row per label and one for the mean.
    - test.log: the same for reading.
    - roc.png, precision_recall.png, calibration.png: see `draw_curves`.
    - results.json: `facts`, and every metric with intervals, thresholds and notes. Written last: where it is, all is.

    Args:
        folder: results/test.
        table: Paths and truth.
        patients: Of every row; None where they are not known.
        scores: [N, L] in the rows of `table`.
        facts: What else results.json says.
        points: Thresholds; without them there is no sensitivity and no specificity.
        num_resamples: Of the bootstrap.
    """
    # Of an earlier test; without it nobody takes the files of two tests for one.
    (folder / RESULTS).unlink(missing_ok=True)
    write_predictions(folder / PREDICTIONS, table, patients, scores)
    curves = [roc_curve(table.values[:, number], scores[:, number]) for number in range(len(table.names))]
    padded = np.full((len(curves), 3, max(curve.shape[1] for curve in curves)), np.nan)
    for curve, row in zip(curves, padded, strict=True):
        row[:, : curve.shape[1]] = curve
    write_array(folder / ROC, padded)

    clusters, kind = cluster_images(patients, len(table.paths))
    progress = Progress("resample", len(table.names), "labels")
    evaluation = evaluate(
        table.values,
        [scores],
        clusters,
        thresholds=None if points is None else [points.thresholds],
        num_resamples=num_resamples,
        progress=progress,
    )
    progress.close()
    resampling = Resampling(kind, int(clusters.max()) + 1, num_resamples)
    summary = summarise(table, scores, evaluation, points, resampling)
    with atomic_path(folder / RESULTS_CSV) as temporary:
        rows = [*summary["labels"].values(), summary["mean"]]
        pd.DataFrame(rows).astype(object).to_csv(temporary, index=False, lineterminator="\n")
    text = format_results(facts, summary)
    write_text(folder / LOG, text)
    results = facts | summary
    known = None if patients is None else tuple(patients)
    truth = table.values.astype(np.float64)
    draw_curves(Predictions(folder, results, table.paths, known, table.names, truth, scores.astype(np.float64)))
    write_json(folder / RESULTS, results)
    return text
