"""The pictures of a tested classifier."""

from collections.abc import Callable
from typing import Any

import numpy as np

from medsynth.classify.evaluation.calibration import reliability
from medsynth.classify.evaluation.evaluate import METRICS, cluster_images, resample_weights, sufficient_labels
from medsynth.classify.evaluation.predictions import Predictions
from medsynth.classify.evaluation.statistics import are_probabilities, precision_recall_curve, roc_curve
from medsynth.classify.evaluation.summary import cell, estimate_in
from medsynth.report.classifier_figures import CurvePanel, curves_figure

ROC_FIGURE, PRECISION_RECALL_FIGURE, CALIBRATION_FIGURE = "roc.png", "precision_recall.png", "calibration.png"
_EMPTY = np.empty(0)


def draw_curves(result: Predictions) -> None:
    """Write roc.png, precision_recall.png and calibration.png into the folder of a tested classifier.

    A panel per label; calibration only where scores are probabilities.
    """
    facts = result.facts
    about = f"trained on {facts['trained_on']} images, {len(result.paths):,} real test images"
    note = "\n".join(
        [*facts["notes"][:1], *(["Grey: too few cases for an interval."] * bool(facts["labels_left_out"]))]
    )

    def draw(name: str, panel: Callable[[int], CurvePanel], title: str, more: str, **options: Any) -> None:
        panels = [panel(label) for label in range(len(result.names))]
        curves_figure(result.folder / name, panels, title=f"{title}: {about}", note=f"{note}\n{more}", **options)

    draw(
        ROC_FIGURE,
        lambda label: _roc_panel(result, label),
        "ROC",
        f"Dot: the threshold chosen on {facts['operating_point']['chosen_on']}." if facts["operating_point"] else "",
        x_name="1 - specificity",
        y_name="sensitivity",
    )
    draw(
        PRECISION_RECALL_FIGURE,
        lambda label: _precision_recall_panel(result, label),
        "Precision and recall",
        "Dashed: the share of positives, which a classifier that knows nothing reaches.",
        x_name="recall (sensitivity)",
        y_name="precision",
        steps=True,
    )
    if not are_probabilities(result.scores):
        return
    by_patient = facts["intervals"]["resampled"] == "patients"
    clusters, _ = cluster_images(result.patients if by_patient else None, len(result.paths))
    weights = resample_weights(clusters, facts["intervals"]["num_resamples"], seed=0)
    draw(
        CALIBRATION_FIGURE,
        lambda label: _calibration_panel(result, label, weights),
        "Calibration",
        "Each dot is a bin of as many images as the next. On the dashed line scores are probabilities.",
        x_name="mean score of the bin",
        y_name="share of positives",
    )


def _has_both(result: Predictions, label: int) -> bool:
    return bool(sufficient_labels(result.truth[:, label : label + 1], minimum=1)[0])


def _panel(result: Predictions, label: int, metric: str, x: Any, y: Any, **more: Any) -> CurvePanel:
    name, row = result.names[label], result.facts["labels"][result.names[label]]
    counts = f"n {row['num_images']:,}, {row['num_positives']:,} positives"
    legend = f"{METRICS[metric].title} {cell(estimate_in(row, metric))}\n{counts}"
    return CurvePanel(name, legend, x, y, is_sufficient=row["in_mean"], **more)


def _roc_panel(result: Predictions, label: int) -> CurvePanel:
    if not _has_both(result, label):
        return _panel(result, label, "auroc", _EMPTY, _EMPTY)
    row = result.facts["labels"][result.names[label]]
    hits, false_alarms, _ = roc_curve(result.truth[:, label], result.scores[:, label])
    point = None if row["sensitivity"] is None else (1 - row["specificity"], row["sensitivity"])
    return _panel(result, label, "auroc", false_alarms, hits, point=point)


def _precision_recall_panel(result: Predictions, label: int) -> CurvePanel:
    if not _has_both(result, label):
        return _panel(result, label, "average_precision", _EMPTY, _EMPTY)
    truth = result.truth[:, label]
    precision, recall, _ = precision_recall_curve(truth, result.scores[:, label])
    # Average precision is the area of these steps: a precision holds from the recall before to its own.
    x, y = np.r_[0, recall], np.r_[precision[:1], precision]
    return _panel(result, label, "average_precision", x, y, chance=float((truth > 0).mean()))


def _calibration_panel(result: Predictions, label: int, weights: Any) -> CurvePanel:
    if not _has_both(result, label):
        return _panel(result, label, "ece", _EMPTY, _EMPTY)
    curve = reliability(result.truth[:, label], result.scores[:, label], weights)
    return _panel(result, label, "ece", curve.mean_scores, curve.shares, low=curve.low, high=curve.high)
