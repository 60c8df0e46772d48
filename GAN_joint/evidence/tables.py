"""Scores as text, csv and JSON."""

import csv
import io
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from GAN_joint.evidence.scoring import Score
from medsynth.classify.evaluation.evaluate import NUM_RESAMPLES
from medsynth.files import write_json, write_text

JSON_NAME, CSV_NAME, REPORT_NAME = "results.json", "results.csv", "report.txt"
WIDTH = 110
INTERVALS = (
    f"95 % intervals from {NUM_RESAMPLES:,} resamples of the tested rows. They hold the trained network fixed: another "
    "training (--seed) moves the values too."
)


def write_files(out_dir: Path, table: str, report: str, values: Mapping[str, Any]) -> None:
    """Write results.csv, report.txt and results.json."""
    write_text(out_dir / CSV_NAME, table)
    write_text(out_dir / REPORT_NAME, report)
    write_json(out_dir / JSON_NAME, values)


def score_text(score: Score | None, digits: int = 3) -> str:
    """Return `0.812 [0.771, 0.850]`; `0.812 *` where there are too few rows for an interval; a dash where undefined."""
    if score is None or not score.is_defined:
        return "-"
    text = f"{score.value:.{digits}f}"
    return f"{text} [{score.low:.{digits}f}, {score.high:.{digits}f}]" if math.isfinite(score.low) else f"{text} *"


def score_json(score: Score | None) -> dict[str, Any] | None:
    """Return a score as JSON holds it, null for what is undefined."""
    if score is None:
        return None
    numbers = {"value": score.value, "low": score.low, "high": score.high}
    return {**{name: json_number(value) for name, value in numbers.items()}, "n": score.num, "note": score.note}


def json_number(value: float) -> float | None:
    """Return a number, or None for NaN and infinity, which JSON lacks."""
    return float(value) if math.isfinite(value) else None


def csv_cells(score: Score) -> tuple[object, ...]:
    """Return value, low, high, n and note; empty where undefined."""
    numbers = (repr(float(value)) if math.isfinite(value) else "" for value in (score.value, score.low, score.high))
    return (*numbers, score.num, score.note)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows as csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, columns aligned on the left."""
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

    return [line(header), line(["-" * width for width in widths]), *map(line, rows)]


def paragraph(text: str, indent: str = "") -> list[str]:
    """Return a text as lines of the report's width."""
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=" " * len(indent))


def footnotes(scores: Iterable[tuple[str, Score | None]]) -> list[str]:
    """Return a line for each reason why scores are undefined or have no interval, with what they are of."""
    reasons: dict[str, list[str]] = {}
    for name, score in scores:
        if score is not None and score.note and name not in reasons.setdefault(score.note, []):
            reasons[score.note].append(name)
    lines = [f"* {note}: {', '.join(names)}" for note, names in reasons.items()]
    return [line for text in lines for line in paragraph(text)]
