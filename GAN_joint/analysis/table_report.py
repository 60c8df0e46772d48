"""The results of an analysis as files: metrics.json, metrics.csv, and a report that needs nothing beside itself."""

import base64
import csv
import html
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from GAN_joint.analysis.results import (
    FLOOR,
    SMALL,
    SYNTHETIC,
    Analysis,
    MetricRow,
    cell_text,
    metric_rows,
    summary_rows,
    table_titles,
)
from GAN_joint.analysis.table_metrics import CONTINGENCY, CORRELATION, Score
from medsynth.data.wording import counted
from medsynth.files import write_json, write_text

JSON_NAME, CSV_NAME, HTML_NAME = "metrics.json", "metrics.csv", "report.html"
_PAIRS_SHOWN = 15
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; margin: 1em 0; }
th, td { text-align: left; padding: 3px 12px 3px 0; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
th { border-bottom: 2px solid #888; } td.value { white-space: nowrap; }
figure { margin: 1.5em 0; } figure img { max-width: 100%; height: auto; }
figcaption, .note { color: #444; font-size: 13.5px; } .note { margin: 0.2em 0; }
@media print { h2, figure, tr { break-inside: avoid; } }
"""
_READING = (
    "Synthetic rows are compared with the real rows that the generator was trained on. Two finite tables of the same "
    "distribution score less than 1, the less the fewer rows they have. So hold “synthetic, as few rows” (the mean "
    "over several draws) against “held-out real”. “Synthetic, shuffled” are the synthetic rows with every column "
    "shuffled on its own: pair scores no higher than theirs say that nothing was learned of how columns depend on each "
    "other. In brackets: 95 % intervals from rows drawn with replacement; they say nothing of another training of the "
    "generator."
)


@dataclass(frozen=True)
class Figure:
    """A picture of the report.

    Attributes:
        path: The .png file.
        heading: The section that it belongs to.
        caption: Below it.
    """

    path: Path
    heading: str
    caption: str


def write_results(out_dir: Path, analysis: Analysis, figures: Sequence[Figure]) -> None:
    """Write metrics.json, metrics.csv and report.html, the report last.

    Args:
        out_dir: An existing folder.
        analysis: What was measured.
        figures: Pictures, those of one section one after the other.

    Raises:
        RunFolderError: No space, or no permission to write.
    """
    rows = list(metric_rows(analysis))
    write_json(out_dir / JSON_NAME, results_json(analysis, rows))
    write_text(out_dir / CSV_NAME, results_csv(rows))
    write_text(out_dir / HTML_NAME, report_html(analysis, figures))


def results_json(analysis: Analysis, rows: Sequence[MetricRow]) -> dict[str, Any]:
    """Return all metrics and what they were measured on, for JSON; undefined numbers are null."""
    closest = analysis.closest
    return {
        "rows": {
            "train": analysis.num_train,
            "held_out": analysis.num_held_out,
            "synthetic": analysis.num_synthetic,
        },
        "kinds": dict(analysis.kinds),
        "seed": analysis.seed,
        "notes": list(analysis.notes),
        "closest_records": {
            "median": closest.median,
            "median_held_out": _defined(closest.median_held_out),
            "threshold": _defined(closest.threshold),
            "share_expected": _defined(closest.share_expected),
            "num_copies": closest.num_copies,
            "num_copies_held_out": closest.num_copies_held_out,
        },
        "metrics": [
            {
                "table": row.table,
                "metric": row.metric,
                "columns": list(row.columns),
                "value": _defined(row.interval.value),
                "low": _defined(row.interval.low),
                "high": _defined(row.interval.high),
                "num_real": row.num_real,
                "num_rows": row.num_rows,
            }
            for row in rows
        ],
    }


def results_csv(rows: Sequence[MetricRow]) -> str:
    """Return all metrics as csv; values in full precision, empty where undefined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("table", "metric", "column", "column_2", "value", "low", "high", "num_real", "num_rows"))
    for row in rows:
        numbers = (_defined(number) for number in (row.interval.value, row.interval.low, row.interval.high))
        columns = (*row.columns, "", "")[:2]
        texts = ("" if number is None else repr(float(number)) for number in numbers)
        writer.writerow((row.table, row.metric, *columns, *texts, row.num_real, row.num_rows))
    return text.getvalue()


def report_html(analysis: Analysis, figures: Sequence[Figure]) -> str:
    """Return the report as one page of HTML: pictures are in it, and it loads nothing."""
    title = (
        f"{counted(analysis.num_synthetic, 'synthetic row')} against {counted(analysis.num_train, 'real row')} "
        f"({counted(len(analysis.kinds), 'column')})"
    )
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        *(f'<p class="note">{html.escape(note)}</p>' for note in analysis.notes),
        f"<h2>Summary</h2><p>{html.escape(_READING)}</p>",
        _summary_table(analysis),
    ]
    headings = list(dict.fromkeys(figure.heading for figure in figures))
    for heading in headings:
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        parts += [_figure(figure) for figure in figures if figure.heading == heading]
    parts += [
        "<h2>Every column</h2>",
        _columns_table(analysis),
        "<h2>The least similar pairs of columns</h2>",
        f"<p>Pairs of numbers and other pairs, {_PAIRS_SHOWN} of each. All are in metrics.csv.</p>",
        *(_pairs_table(analysis, measure) for measure in (CORRELATION, CONTINGENCY)),
        '<p class="note">Contingency similarity is that of the joint distribution, so a wrong column lowers all of its '
        "pairs. What its dependence adds shows beside the shuffled rows.</p>",
        f'<p class="note">Seed {analysis.seed}. Formulas and sources: docs/joint_analysis.md.</p>',
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _summary_table(analysis: Analysis) -> str:
    titles = table_titles(analysis)
    rows = [
        (row.title, *(cell_text(row.cells[name]) if name in row.cells else "" for name in titles), row.aim)
        for row in summary_rows(analysis)
    ]
    return _table(("", *titles.values(), "ideal"), rows)


def _columns_table(analysis: Analysis) -> str:
    names = [name for name in (SYNTHETIC, SMALL, FLOOR) if name in analysis.comparisons]
    titles = table_titles(analysis)
    found = [analysis.comparisons[name].columns for name in names]
    scores = [one.scores for one in found if one is not None]
    rows = [
        (case[0].columns[0], analysis.kinds[case[0].columns[0]], _measure(case[0]), *map(_score_text, case))
        for case in zip(*scores, strict=True)
    ]
    return _table(("column", "kind", "score", *(titles[name] for name in names)), rows)


def _pairs_table(analysis: Analysis, measure: str) -> str:
    """Return the least similar pairs that have this score; nothing where there are none."""
    names, titles = list(analysis.comparisons), table_titles(analysis)
    cases = list(zip(*(one.pairs.scores for one in analysis.comparisons.values()), strict=True))
    chosen = [case for case in cases if case[0].measure == measure and math.isfinite(case[0].interval.value)]
    worst = sorted(chosen, key=lambda case: case[0].interval.value)[:_PAIRS_SHOWN]
    rows = [(*case[0].columns, _measure(case[0]), *map(_score_text, case)) for case in worst]
    return _table(("column", "column", "score", *(titles[name] for name in names)), rows) if rows else ""


def _measure(score: Score) -> str:
    return score.measure.replace("_", " ").replace("ks ", "KS ").replace("tv ", "TV ")


def _score_text(score: Score) -> str:
    return cell_text(score.interval)


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<table>", "<tr>" + "".join(f"<th>{html.escape(_unbroken(cell))}</th>" for cell in heading) + "</tr>"]
    for row in rows:
        cells = (
            f'<td class="value">{html.escape(cell)}</td>' if cell[:1].isdigit() else f"<td>{html.escape(cell)}</td>"
            for cell in row
        )
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _unbroken(title: str) -> str:
    """Keep a number of rows in one line."""
    return title.replace("(n ", "(n\N{NO-BREAK SPACE}")


def _figure(figure: Figure) -> str:
    picture = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    caption = html.escape(figure.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{caption} ({html.escape(figure.path.name)})</figcaption></figure>"
    )


def _defined(number: float) -> float | None:
    return number if math.isfinite(number) else None
