"""The results of `test.py predict` as files."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from GAN_joint.evidence.exported import held_out_names
from GAN_joint.evidence.figures import MOST_PANELS, Bar, Panel, Reading, bars_figure, reading_of, readings_figure
from GAN_joint.evidence.predict import (
    AUC,
    CHOSEN,
    DIFFERENCE,
    HALF,
    MEAN,
    REAL,
    REAL_ON_REAL,
    REAL_ON_SYNTHETIC,
    SYNTHETIC,
    SYNTHETIC_ON_REAL,
    TESTS,
    PredictionResults,
    read_published,
)
from GAN_joint.evidence.scoring import DECISION_METRICS
from GAN_joint.evidence.tables import (
    INTERVALS,
    csv_cells,
    csv_text,
    footnotes,
    json_number,
    paragraph,
    score_json,
    score_text,
    text_table,
    write_files,
)
from medsynth.classify.evaluation.predictions import PREDICTIONS, RESULTS, write_predictions
from medsynth.data.labels import LabelTable
from medsynth.files import make_folder, write_json

BARS_NAME, RELIABILITY_NAME = "predict.png", "reliability.png"
MEANING = (
    "A classifier sees the image and the factors (no target among them) and predicts the targets. Thresholds: 0.5, and "
    "the one that Youden's index chose for each target on validation rows of the kind that it was trained "
    "on. Means are over the targets with both classes in both sets."
)
COMPARABLE = (
    "Published: the authors' own predictor, which is not public, on 1,500,000 synthetic patients of their GAN, for one "
    "summary of coronary damage, after training on their hospital's patients. Its threshold is not stated.",
    "Comparable in kind, not in size: real -> synthetic, the mean over targets. Patients, targets, "
    "classifier and number of rows are all others, so a higher or lower figure ranks neither GAN.",
    "On synthetic rows the truth is what the GAN made: a high figure says that its images, factors and targets fit as "
    "real ones do, and nothing of a diagnosis. Only figures on real held-out rows speak of patients; none of that "
    "kind was published.",
    "Synthetic -> held-out says what the synthetic pairs teach; hold it against real -> held-out, the same rows, and "
    "mind the numbers of train rows.",
)


def write_results(out_dir: Path, results: PredictionResults) -> str:
    """Write predict.png, reliability.png, results.csv, results.json and report.txt, and return the report."""
    _draw_bars(out_dir / BARS_NAME, results)
    _draw_reliability(out_dir / RELIABILITY_NAME, results)
    report = report_text(results)
    _write_predictions(out_dir, results)
    write_files(out_dir, results_csv(results), report, results_json(results))
    return report


def _write_predictions(out_dir: Path, results: PredictionResults) -> None:
    """Write what either predictor says of each real held-out row, as a tested classifier's folder each."""
    for test in (REAL_ON_REAL, SYNTHETIC_ON_REAL):
        folder, truth = make_folder(out_dir / test), results.truth[test]
        table = LabelTable(held_out_names(len(truth)), results.targets, truth.astype(np.float32))
        groups = [f"{group:06d}" for group in results.held_out_groups]
        write_predictions(folder / PREDICTIONS, table, groups, results.probabilities[test].astype(np.float32))
        facts = {"trained_on": TESTS[test][0], "initialisation": "random initialisation"}
        write_json(folder / RESULTS, facts | {"pairs": dict(results.counts)})


def results_json(results: PredictionResults) -> dict[str, Any]:
    """Return everything but the predictions themselves."""
    return {
        "pairs": dict(results.counts),
        "meaning": MEANING,
        "targets": list(results.targets),
        "means_over": list(results.in_mean),
        "num_factors": results.num_factors,
        "figures": [
            {
                "test": one.test,
                "target": one.target,
                "metric": one.metric,
                "threshold": one.threshold,
                "level": json_number(one.level),
                **(score_json(one.score) or {}),
            }
            for one in results.figures
        ],
        "published": read_published(),
        "comparable": list(COMPARABLE),
        "networks": {name: dict(facts) for name, facts in results.networks.items()},
        "notes": list(results.notes),
    }


def results_csv(results: PredictionResults) -> str:
    """Return a line for each figure; the published ones last."""
    rows: list[tuple[object, ...]] = [
        (one.test, one.target, one.metric, one.threshold, json_number(one.level), *csv_cells(one.score))
        for one in results.figures
    ]
    published = read_published()
    rows += [
        ("published", published["target"], metric, "", None, published[metric], "", "", 1_500_000, "")
        for metric in (AUC, *DECISION_METRICS)
    ]
    return csv_text(("test", "target", "metric", "threshold", "level", "value", "low", "high", "n", "note"), rows)


def report_text(results: PredictionResults) -> str:
    """Return tables for people."""
    counts, published = results.counts, read_published()
    lines = [
        "Prediction of the targets from image and factors",
        f"Real pairs: {counts['real_train']:,} train, {counts['real_validation']:,} validation, "
        f"{counts['real_held_out']:,} held out. Synthetic pairs: {counts['synthetic']:,}.",
        f"Trained on {results.networks[REAL]['num_train']:,} real rows, and another on "
        f"{results.networks[SYNTHETIC]['num_train']:,} synthetic ones (the others are for validation).",
        *(line for note in results.notes for line in paragraph(note, "note: ")),
        "",
        *paragraph(MEANING),
        "",
        "AUC",
        *_auc_table(results, published),
    ]
    for threshold, title in ((HALF, "At threshold 0.5"), (CHOSEN, "At the threshold chosen on validation rows")):
        lines += ["", title, *_decision_table(results, threshold, published)]
    lines += footnotes(
        (f"{one.target} ({' -> '.join(TESTS[one.test])})", one.score) for one in results.figures if one.test in TESTS
    )
    lines += ["", "What can be compared, and what cannot"]
    lines += [line for text in COMPARABLE for line in paragraph(text, "- ")]
    return "\n".join([*lines, "", *paragraph(f"In brackets: {INTERVALS}")]) + "\n"


def _auc_table(results: PredictionResults, published: dict[str, Any]) -> list[str]:
    heads = [f"{' -> '.join(parts)} (n {len(results.truth[test]):,})" for test, parts in TESTS.items()]
    known = {one.target: one.score for one in results.figures if one.test == DIFFERENCE}
    rows = []
    for target in (*results.targets, MEAN):
        cells = [score_text(results.figure(test, target, AUC).score) for test in TESTS]
        rows.append((target, *cells, score_text(known.get(target))))
    rows.append(("published", "-", f"{published[AUC]:.2f}", "-", "-"))
    return [
        *text_table(("target", *heads, "difference"), rows),
        "trained on -> tested on; difference: of the two trainings on held-out rows, synthetic minus real",
    ]


def _decision_table(results: PredictionResults, threshold: str, published: dict[str, Any]) -> list[str]:
    rows = []
    for test, parts in TESTS.items():
        for target in (*results.targets, MEAN):
            figures = [results.figure(test, target, metric, threshold) for metric in DECISION_METRICS]
            level = "-" if math.isnan(figures[0].level) else f"{figures[0].level:.2f}"
            rows.append((*parts, target, level, *(score_text(one.score) for one in figures)))
    rows.append(
        ("published", "synthetic", "damage", "unknown", *(f"{published[metric]:.2f}" for metric in DECISION_METRICS))
    )
    return text_table(("trained on", "tested on", "target", "threshold", *DECISION_METRICS), rows)


def _draw_bars(path: Path, results: PredictionResults) -> None:
    published = read_published()
    panels = []
    for metric, threshold, title, chance in (
        (AUC, "", "AUC", 0.5),
        ("f1", CHOSEN, "F1 at the threshold chosen on validation rows", 0.0),
    ):
        bars = tuple(
            Bar(target, tuple(results.figure(test, target, metric, threshold).score for test in TESTS))
            for target in (*results.targets, MEAN)
        )
        lines = {"published, on the authors' synthetic patients": published[metric]}
        panels.append(
            Panel(
                title,
                metric.upper(),
                chance,
                tuple(f"trained on {one}, tested on {other}" for one, other in TESTS.values()),
                bars,
                lines,
            )
        )
    bars_figure(path, panels, title="Prediction of the targets from image and factors", note=f"Black bars: {INTERVALS}")


def _draw_reliability(path: Path, results: PredictionResults) -> None:
    readings = []
    for number, target in enumerate(results.targets[:MOST_PANELS]):
        curves = {
            name: reading_of(results.probabilities[test][:, number], results.truth[test][:, number])
            for name, test in (("real held-out", REAL_ON_REAL), ("synthetic", REAL_ON_SYNTHETIC))
        }
        readings.append(Reading(target, curves))
    readings_figure(
        path,
        readings,
        title="How reliable the predictor's probabilities are (trained on real rows)",
        x_name="predicted probability",
        y_name="share of positives",
        note="Bins of equally many rows; bars: share +- 1.96 standard errors. Dashed: probabilities that are true.",
    )
