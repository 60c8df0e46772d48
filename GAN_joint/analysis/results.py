"""What an analysis found: metrics of several tables, as rows for programs and as lines for people."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from GAN_joint.analysis.closest_records import ClosestRecords
from GAN_joint.analysis.detection import Detection
from GAN_joint.analysis.table_metrics import CONTINGENCY, CORRELATION, KS, TV, Similarities
from GAN_joint.analysis.tables import CATEGORY, Table
from medsynth.classify.evaluation.evaluate import Interval
from medsynth.data.wording import counted

SYNTHETIC, SMALL, FLOOR, UNRELATED = "synthetic", "synthetic_as_few_rows", "held_out_real", "synthetic_columns_shuffled"
DETECTION, MEDIAN_RATIO, SHARE_BELOW, COPIES = (
    *("detection_auc", "closest_median_ratio", "closest_share_below"),
    "exact_copies",
)
_NOTHING = Interval(float("nan"))
_VALUES_NAMED = 3


@dataclass(frozen=True)
class Comparison:
    """One table against the real rows that the generator was trained on.

    Attributes:
        num_rows: Of the table.
        columns: Scores of the columns; None where they say nothing new.
        pairs: Scores of the pairs of columns.
        detection: Classifiers' AUCs; None where that was not asked.
    """

    num_rows: int
    columns: Similarities | None
    pairs: Similarities
    detection: Detection | None


@dataclass(frozen=True)
class Analysis:
    """Everything that was measured.

    Attributes:
        num_train: Real rows that the generator was trained on.
        num_held_out: Real rows that it was not trained on; 0 where there are none.
        num_synthetic: Synthetic rows that were used.
        comparisons: By SYNTHETIC; SMALL, as many synthetic rows as there are held-out ones, the mean over several
            draws; FLOOR, the held-out real rows; UNRELATED, the synthetic rows with every column shuffled on its own.
            The middle two are absent where there are no held-out rows.
        closest: Distances to the closest training row.
        kinds: Kind of every column.
        seed: Of all draws.
        notes: What a reader must know, a sentence each.
    """

    num_train: int
    num_held_out: int
    num_synthetic: int
    comparisons: Mapping[str, Comparison]
    closest: ClosestRecords
    kinds: Mapping[str, str]
    seed: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class MetricRow:
    """A metric of one table.

    Attributes:
        table: SYNTHETIC, SMALL, FLOOR or UNRELATED.
        metric: Its name.
        columns: None, one or two names of columns; `mean` is a mean over all that have this metric.
        interval: The value.
        num_real: Real rows in it.
        num_rows: Rows of the table in it.
    """

    table: str
    metric: str
    columns: tuple[str, ...]
    interval: Interval
    num_real: int
    num_rows: int


@dataclass(frozen=True)
class SummaryRow:
    """A line of the summary.

    Attributes:
        title: For people.
        aim: What the value of a perfect generator would be.
        cells: By table.
    """

    title: str
    aim: str
    cells: Mapping[str, Interval]


def metric_rows(analysis: Analysis) -> Iterator[MetricRow]:
    """Yield every metric of every table."""
    train = analysis.num_train
    for table, comparison in analysis.comparisons.items():
        size = comparison.num_rows
        for what, similarities in (("columns", comparison.columns), ("pairs", comparison.pairs)):
            if similarities is None:
                continue
            for measure, mean in similarities.means.items():
                yield MetricRow(table, f"{what}_mean" if measure == "mean" else measure, ("mean",), mean, train, size)
            for score in similarities.scores:
                yield MetricRow(table, score.measure, score.columns, score.interval, train, size)
        if comparison.detection is not None:
            used = comparison.detection.num_rows
            for name, auc in comparison.detection.aucs.items():
                yield MetricRow(table, f"{DETECTION}_{name}", (), auc, used, used)
    closest, num_synthetic, num_held_out = analysis.closest, analysis.num_synthetic, analysis.num_held_out
    for metric, interval in ((MEDIAN_RATIO, closest.median_ratio), (SHARE_BELOW, closest.share_below)):
        yield MetricRow(SYNTHETIC, metric, (), interval, num_held_out, num_synthetic)
    yield MetricRow(SYNTHETIC, COPIES, (), closest.copies, train, num_synthetic)
    if num_held_out:
        yield MetricRow(FLOOR, COPIES, (), closest.copies_held_out, train, num_held_out)


def summary_rows(analysis: Analysis) -> list[SummaryRow]:
    """Return the means and the figures of whole tables."""
    rows = []
    for what, measure, title in (
        ("columns", KS, "columns of numbers: KS complement"),
        ("columns", TV, "other columns: TV complement"),
        ("pairs", CORRELATION, "pairs of numbers: correlation similarity"),
        ("pairs", CONTINGENCY, "other pairs: contingency similarity"),
        ("pairs", "mean", "all pairs: similarity"),
    ):
        found = {table: getattr(comparison, what) for table, comparison in analysis.comparisons.items()}
        cells = {table: one.means.get(measure, _NOTHING) for table, one in found.items() if one is not None}
        if any(math.isfinite(cell.value) for cell in cells.values()):
            rows.append(SummaryRow(f"{title}, mean", "held-out", cells))
    detected = {table: one.detection.aucs for table, one in analysis.comparisons.items() if one.detection is not None}
    for name in detected[SYNTHETIC]:
        cells = {table: aucs[name] for table, aucs in detected.items()}
        rows.append(SummaryRow(f"detection AUC, {name.replace('_', ' ')}", "0.5", cells))
    closest = analysis.closest
    if analysis.num_held_out:
        ratio = {SYNTHETIC: closest.median_ratio, FLOOR: Interval(1.0)}
        rows.append(SummaryRow("distance to the closest training row, median, over that of held-out rows", "1", ratio))
        below = {SYNTHETIC: closest.share_below, FLOOR: Interval(closest.share_expected)}
        rows.append(SummaryRow("share of rows nearer than 95 % of the held-out rows", "0.05", below))
    rows.append(SummaryRow("share of exact copies of training rows", "held-out", _copies(analysis)))
    return rows


def _copies(analysis: Analysis) -> dict[str, Interval]:
    cells = {SYNTHETIC: analysis.closest.copies}
    return cells | {FLOOR: analysis.closest.copies_held_out} if analysis.num_held_out else cells


def table_titles(analysis: Analysis) -> dict[str, str]:
    """Return the headings of the summary's tables, with their numbers of rows."""
    titles = {
        SYNTHETIC: "synthetic",
        SMALL: "synthetic, as few rows",
        FLOOR: "held-out real",
        UNRELATED: "synthetic, shuffled",
    }
    return {name: f"{titles[name]} (n {one.num_rows:,})" for name, one in analysis.comparisons.items()}


def summary_text(analysis: Analysis) -> str:
    """Return the summary as a short table for a terminal."""
    titles = table_titles(analysis)
    rows = summary_rows(analysis)
    first = max(len(row.title) for row in rows)
    widths = {name: max(len(title), 20) for name, title in titles.items()}
    heading = f"{counted(analysis.num_train, 'real row')}, {counted(len(analysis.kinds), 'column')}"
    lines = ["  ".join([heading.ljust(first), *(title.ljust(widths[name]) for name, title in titles.items())]).rstrip()]
    for row in rows:
        cells = [cell_text(row.cells.get(name, _NOTHING)).ljust(width) for name, width in widths.items()]
        lines.append("  ".join([row.title.ljust(first), *cells]).rstrip())
    lines += [f"note: {note}" for note in analysis.notes]
    return "\n".join(lines)


def cell_text(interval: Interval, digits: int = 3) -> str:
    """Return a value with its interval, `0.952 [0.941, 0.963]`; a dash where it is undefined."""
    if not math.isfinite(interval.value):
        return "–"
    text = f"{interval.value:.{digits}f}"
    if not math.isfinite(interval.low):
        return text
    return f"{text} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def table_notes(real: Table, synthetic: Table) -> list[str]:
    """Return what is odd about the columns: constant ones, values that lack, and values that no real row has."""
    notes = []
    for values, others, name in zip(real.numbers.T, synthetic.numbers.T, real.number_names, strict=True):
        notes += _constant_note(name, len(pd.unique(values)), len(pd.unique(others)))
    for place, name in enumerate(real.word_names):
        present, found = (set(table.codes[:, place]) for table in (real, synthetic))
        notes += _constant_note(name, len(present), len(found))
        if real.kinds[name] == CATEGORY or len(present) < 2:
            words = real.words[place]
            missing, new = ([words[code] for code in sorted(some)] for some in (present - found, found - present))
            if missing and len(found) > 1:
                notes.append(f"Column {name!r}: no synthetic row has {_named(missing)}.")
            if new:
                notes.append(f"Column {name!r}: no real training row has {_named(new)}, but synthetic rows do.")
    return notes


def _constant_note(name: str, num_real: int, num_synthetic: int) -> list[str]:
    if num_real == 1:
        return [f"Column {name!r} is constant in the real training rows; its correlations are undefined."]
    return (
        [f"Column {name!r} is constant in the synthetic rows, but not in the real ones."] if num_synthetic == 1 else []
    )


def _named(words: Sequence[str]) -> str:
    more = f" and {len(words) - _VALUES_NAMED} more values" if len(words) > _VALUES_NAMED else ""
    return ", ".join(repr(word) for word in words[:_VALUES_NAMED]) + more
