"""The results of `test.py joint` as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from GAN_joint.evidence.figures import MOST_PANELS, Bar, Panel, Reading, bars_figure, reading_of, readings_figure
from GAN_joint.evidence.joint import AUROC, CHANCE, CORRELATION, R2, FactorResult, JointResults
from GAN_joint.evidence.pairs import Evidence
from GAN_joint.evidence.tables import (
    INTERVALS,
    csv_cells,
    csv_text,
    footnotes,
    paragraph,
    score_json,
    score_text,
    text_table,
    write_files,
)

BARS_NAME, READING_NAME = "joint.png", "reading.png"
FACTORS_MEANING = (
    "A network was trained on real train pairs to read every column from the image. Ceiling: on real held-out pairs. "
    "Synthetic: the same network on synthetic pairs. Of numbers: R2, the share of the variance explained, and r, the "
    "correlation of what was read with what the row says; 0 is chance. AUROC of all others: 0.5 is chance; of a "
    "category, the mean over its values. Ratio: the synthetic value's distance to chance in shares of the ceiling's, "
    "given only where the whole interval of the ceiling is above chance: 1 means that synthetic images show the column "
    "as real ones do, above 1 more clearly than real ones, 0 not at all; but R2 comes out about as far below 0 as the "
    "ceiling is above it where rows were dealt to images at random. Of many columns, one in forty passes as better "
    "than chance by chance."
)
MATCHES_MEANING = (
    "A network was trained to tell images with their own row from images with the row of another (rows moved by "
    "permutations that leave none in place). AUROC: how often a matched pair scores above a shuffled one; 0.5: image "
    "and row have nothing to do with each other, as far as this network finds."
)


def write_results(out_dir: Path, evidence: Evidence, results: JointResults) -> str:
    """Write joint.png, reading.png, results.csv, results.json and report.txt, and return the report."""
    _draw_bars(out_dir / BARS_NAME, results)
    _draw_readings(out_dir / READING_NAME, evidence, results)
    report = report_text(results)
    write_files(out_dir, results_csv(results), report, results_json(results))
    return report


def results_json(results: JointResults) -> dict[str, Any]:
    """Return everything but the readings themselves."""
    return {
        "pairs": dict(results.counts),
        "factors": {
            "meaning": FACTORS_MEANING,
            "columns": [
                {
                    "column": one.column,
                    "kind": one.kind,
                    "metric": one.metric,
                    "chance": CHANCE[one.metric],
                    "ceiling": score_json(one.ceiling),
                    "synthetic": score_json(one.synthetic),
                    "ratio": score_json(one.ratio),
                }
                for one in results.factors
            ],
        },
        "matched_versus_shuffled": {
            "meaning": MATCHES_MEANING,
            "tests": [
                {
                    "name": one.name,
                    "trained_and_tested_on": one.title,
                    "meaning": one.meaning,
                    "num_train": one.num_train,
                    "auc": score_json(one.score),
                }
                for one in results.matches
            ],
        },
        "networks": {name: dict(facts) for name, facts in results.networks.items()},
        "notes": list(results.notes),
    }


def results_csv(results: JointResults) -> str:
    """Return a line for each figure."""
    rows: list[tuple[object, ...]] = []
    for one in results.factors:
        for where, score in (("real_held_out", one.ceiling), ("synthetic", one.synthetic), ("ratio", one.ratio)):
            if score is not None:
                rows.append(("factor", one.column, one.kind, where, one.metric, *csv_cells(score)))
    rows += [("matched_versus_shuffled", "", "", one.name, AUROC, *csv_cells(one.score)) for one in results.matches]
    return csv_text(("test", "column", "kind", "tested_on", "metric", "value", "low", "high", "n", "note"), rows)


def report_text(results: JointResults) -> str:
    """Return tables for people."""
    counts = results.counts
    lines = [
        "Do synthetic images and rows belong together?",
        f"Real pairs: {counts['real_train']:,} train, {counts['real_validation']:,} validation, "
        f"{counts['real_held_out']:,} held out. Synthetic pairs: {counts['synthetic']:,}.",
        *(line for note in results.notes for line in paragraph(note, "note: ")),
        "",
        "1. Matched against shuffled pairs",
        *paragraph(MATCHES_MEANING),
        "",
    ]
    matches = [
        (f"trained on {one.title}", f"{one.num_train:,}", f"{one.score.num:,}", score_text(one.score))
        for one in results.matches
    ]
    lines += text_table(("", "train pairs", "tested", "AUROC"), matches)
    lines += [line for one in results.matches for line in paragraph(f"{one.title}: {one.meaning}.", "  ")]
    lines += footnotes((one.title, one.score) for one in results.matches)
    lines += ["", "2. Columns read from the image", *paragraph(FACTORS_MEANING), "", *_summary(results.factors), ""]
    factors = [
        (one.column, one.kind, one.metric, score_text(one.ceiling), score_text(one.synthetic), score_text(one.ratio, 2))
        for one in sorted(results.factors, key=_by_metric_and_skill)
    ]
    lines += text_table(("column", "kind", "metric", "ceiling", "synthetic", "ratio"), factors)
    lines += footnotes(
        (f"{one.column} ({where})", score)
        for one in results.factors
        for where, score in (("ceiling", one.ceiling), ("synthetic", one.synthetic))
    )
    return "\n".join([*lines, "", *paragraph(f"In brackets: {INTERVALS}")]) + "\n"


def _summary(factors: Sequence[FactorResult]) -> list[str]:
    """Return how many columns can be read, and the median of the ratios of r and AUROC, which mean the same."""
    chosen = [one for one in factors if one.metric != R2]
    ratios = [one.ratio.value for one in chosen if one.ratio is not None]
    if not ratios:
        return paragraph(
            "On real held-out pairs no column is read better than chance, so nothing is said of the synthetic ones: "
            "either images and rows tell nothing of each other, or there are too few pairs to learn it."
        )
    return paragraph(
        f"{len(ratios)} of {len(chosen)} columns are read better than chance on real held-out pairs; the median of "
        f"their ratios is {np.median(ratios):.2f}."
    )


def _skill(one: FactorResult) -> float:
    """Return the ceiling's share of what is possible above chance; -1 where it is undefined."""
    chance = CHANCE[one.metric]
    return (one.ceiling.value - chance) / (1 - chance) if one.ceiling.is_defined else -1.0


def _by_metric_and_skill(one: FactorResult) -> tuple[int, float]:
    return (R2, CORRELATION, AUROC).index(one.metric), -_skill(one)


def _draw_bars(path: Path, results: JointResults) -> None:
    panels = []
    for metric, title in (
        (CORRELATION, "Numbers read from the image: correlation with what the row says"),
        (AUROC, "Other columns read from the image"),
    ):
        chosen = sorted((one for one in results.factors if one.metric == metric), key=_by_metric_and_skill)
        if chosen:
            scores = [(one.ceiling, one.synthetic) for one in chosen]
            bars = tuple(Bar(one.column, pair) for one, pair in zip(chosen, scores, strict=True))
            panels.append(Panel(title, metric, CHANCE[metric], ("real held-out (ceiling)", "synthetic"), bars))
    bars = tuple(Bar(one.title, (one.score,)) for one in results.matches)
    panels.append(Panel("Matched against shuffled pairs, trained on …", AUROC, 0.5, ("",), bars))
    bars_figure(path, panels, title="Do synthetic images and rows belong together?", note=f"Black bars: {INTERVALS}")


def _draw_readings(path: Path, evidence: Evidence, results: JointResults) -> None:
    """Draw how far what was read can be relied on, for the columns that are read best; categories are left out."""
    columns = evidence.encoder.column_slices
    fitted = {one.column.name: one for one in evidence.encoder.fitted}
    shown = (one for one in results.factors if one.kind != "category" and one.metric != R2)
    chosen = sorted(shown, key=lambda one: -_skill(one))
    readings: list[Reading] = []
    for one in chosen[:MOST_PANELS]:
        place, column = columns[one.column].columns.start, fitted[one.column]
        low, width = (column.low, column.high - column.low) if one.kind == "number" else (0.0, 1.0)
        curves = {}
        for name, pairs, read in (
            ("real held-out", evidence.held_out, results.read_held_out),
            ("synthetic", evidence.synthetic, results.read_synthetic),
        ):
            curves[name] = reading_of(low + width * read[:, place], low + width * pairs.rows[:, place])
        readings.append(Reading(one.column if one.kind == "number" else f"{one.column} (share)", curves))
    readings_figure(
        path,
        readings,
        title="What the rows say, by what was read from the image",
        x_name="read from the image",
        y_name="mean of the rows",
        note="Bins of equally many pairs; bars: mean +- 1.96 standard errors. Dashed: rows say what was read. Where "
        "synthetic pairs follow the real ones, the image tells the same in both; a level line: it tells nothing.",
    )
