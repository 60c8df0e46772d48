"""Pictures of two or three tables: the distribution of every column, and distances to the closest row.

Tables are drawn in the order and the colours of `Shown`; every function writes PNG files.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from GAN_joint.analysis.tables import BINARY, CATEGORY, NUMBER, TARGET, Floats, Table, encode_tables, shown_codes
from medsynth.classify.evaluation.evaluate import proportion
from medsynth.data.wording import counted
from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS

TABLE_COLOURS = {"real": COLOURS[0], "held-out real": COLOURS[5], "synthetic": COLOURS[1]}
PANELS_PER_FIGURE = 12
_NAMES_IN_PANELS = {"real": "real", "held-out real": "held out", "synthetic": "synthetic"}
_PANELS_PER_ROW = 4
_SHARES_PER_FIGURE = 16
# More rows change nothing that the eye can see in a violin.
_ROWS_PER_VIOLIN = 10_000
_MOST_BARS = 8


@dataclass(frozen=True)
class Shown:
    """The tables of a figure.

    Attributes:
        real: Real rows that the generator was trained on.
        synthetic: Synthetic rows.
        held_out: Real rows that it was not trained on; None where there are none.
        kinds: Kind of every column.
    """

    real: pd.DataFrame
    synthetic: pd.DataFrame
    held_out: pd.DataFrame | None
    kinds: Mapping[str, str]

    def tables(self) -> dict[str, Table]:
        """Return the tables by the names of the legend, in the order in which they are drawn."""
        frames = {"real": self.real, "held-out real": self.held_out, "synthetic": self.synthetic}
        return encode_tables({name: frame for name, frame in frames.items() if frame is not None}, self.kinds)


def number_figures(folder: Path, shown: Shown, scores: Mapping[str, str] | None = None) -> list[Path]:
    """Write violins of every column of numbers, twelve to a file.

    Args:
        folder: Gets `numbers_1.png` and so on.
        shown: The tables.
        scores: A line below the name of a column, such as its KS complement.
    """
    tables = shown.tables()
    names = next(iter(tables.values())).number_names
    paths: list[Path] = []
    for part in _parts(len(names), PANELS_PER_FIGURE):
        path = folder / f"numbers_{len(paths) + 1}.png"
        figure, panels = _panels(len(part), 2.7)
        for place, axes in zip(part, panels, strict=False):
            _draw_violins(axes, {name: table.numbers[:, place] for name, table in tables.items()})
            _name_panel(axes, names[place], (scores or {}).get(names[place], ""))
        pause = ". " if len(part) > 2 else "\n"
        title = f"Columns of numbers: {_sizes(tables)} rows{pause}Thick bars: quartiles; white: median"
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
        save_png(figure, path)
        paths.append(path)
    return paths


def share_figures(folder: Path, shown: Shown, scores: Mapping[str, str] | None = None) -> list[Path]:
    """Write bars of every binary column and target: the share of their second value, sixteen columns to a file.

    Args:
        folder: Gets `shares_1.png` and so on.
        shown: The tables.
        scores: Text to the right of a column's bars.
    """
    tables = shown.tables()
    places = [place for place, name in enumerate(_word_names(shown)) if shown.kinds[name] in (BINARY, TARGET)]
    paths: list[Path] = []
    for part in _parts(len(places), _SHARES_PER_FIGURE):
        path = folder / f"shares_{len(paths) + 1}.png"
        _draw_shares(path, tables, [places[one] for one in part], scores or {})
        paths.append(path)
    return paths


def category_figures(folder: Path, shown: Shown, scores: Mapping[str, str] | None = None) -> list[Path]:
    """Write bars of every category, twelve to a file.

    Args:
        folder: Gets `categories_1.png` and so on.
        shown: The tables.
        scores: A line below the name of a column.
    """
    tables = shown.tables()
    names = _word_names(shown)
    places = [place for place, name in enumerate(names) if shown.kinds[name] == CATEGORY]
    paths: list[Path] = []
    for part in _parts(len(places), PANELS_PER_FIGURE):
        path = folder / f"categories_{len(paths) + 1}.png"
        figure, panels = _panels(len(part), 3.1)
        for one, axes in zip(part, panels, strict=False):
            _draw_category(axes, tables, places[one])
            _name_panel(axes, names[places[one]], (scores or {}).get(names[places[one]], ""))
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)
        figure.suptitle("Categories: % of the rows, with 95 % intervals", x=0.01, ha="left", fontsize=9.5)
        save_png(figure, path)
        paths.append(path)
    return paths


def closest_records_figure(path: Path, synthetic: Floats, held_out: Floats, threshold: float) -> Path:
    """Write histograms of the distances to the closest training row.

    Args:
        path: The .png file, written atomically.
        synthetic: Of synthetic rows, [M].
        held_out: Of held-out real rows, [H]; may be empty.
        threshold: Their 5th percentile; NaN where there is none.
    """
    figure = new_figure(7.2, 3.4)
    axes = figure.add_subplot()
    both = np.concatenate([synthetic, held_out])
    fewest = min(len(some) for some in (synthetic, held_out) if len(some))
    edges = np.linspace(0, max(both.max(), 1e-9), int(np.clip(fewest // 6, 12, 50)) + 1)
    for values, name in ((held_out, "held-out real"), (synthetic, "synthetic")):
        if len(values) == 0:
            continue
        weights, colour = np.full(len(values), 100 / len(values)), TABLE_COLOURS[name]
        axes.hist(values, edges, weights=weights, histtype="stepfilled", alpha=0.25, color=colour)
        label = f"{name} ({counted(len(values), 'row')})"
        axes.hist(values, edges, weights=weights, histtype="step", linewidth=1.6, color=colour, label=label)
    if np.isfinite(threshold):
        axes.axvline(threshold, color="0.3", linestyle="--", linewidth=1, label="5th percentile of the held-out rows")
    axes.set_xlabel("distance to the closest training row (mean share of a column's range)", fontsize=9)
    axes.set_ylabel("% of the rows", fontsize=9)
    axes.set_xlim(0, edges[-1])
    plain_axes(axes)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8.5, columnspacing=1.2)
    save_png(figure, path)
    return path


def _panels(num_panels: int, height: float) -> tuple[Any, list[Any]]:
    """Return a figure of so many panels, four to a row, and the panels."""
    num_columns = min(_PANELS_PER_ROW, num_panels)
    num_rows = -(-num_panels // num_columns)
    figure = new_figure(max(2.5 * num_columns, 5.0), 0.5 + height * num_rows)
    figure.get_layout_engine().set(h_pad=0.08, w_pad=0.06)
    panels = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for axes in panels[num_panels:]:
        axes.set_axis_off()
    return figure, panels


def _parts(num_items: int, most: int) -> list[range]:
    """Share items among as few files as possible, as evenly as possible."""
    num_parts = -(-num_items // most)
    ends = [num_items * number // max(num_parts, 1) for number in range(num_parts + 1)]
    return [range(start, stop) for start, stop in itertools.pairwise(ends)]


def plain_axes(axes: Any) -> None:
    """Leave out what a panel does not need."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _name_panel(axes: Any, name: str, score: str) -> None:
    axes.set_title(shortened(name, 30), fontsize=9.5, fontweight="bold", loc="left", pad=14)
    axes.text(0, 1.02, score, transform=axes.transAxes, fontsize=7.5, color="0.35", va="bottom")


def _draw_violins(axes: Any, values: Mapping[str, Floats]) -> None:
    places = np.arange(len(values))
    # One bandwidth for all (Scott's rule for the smallest table): else more rows would look rougher.
    bandwidth = min(map(len, values.values())) ** -0.2
    for place, (name, some) in zip(places, values.items(), strict=True):
        colour = TABLE_COLOURS[name]
        few = some if len(some) <= _ROWS_PER_VIOLIN else np.quantile(some, np.linspace(0, 1, _ROWS_PER_VIOLIN))
        for body in axes.violinplot([few], [place], widths=0.8, showextrema=False, bw_method=bandwidth)["bodies"]:
            body.set(facecolor=colour, edgecolor=colour, alpha=0.45)
        low, middle, high = np.quantile(some, (0.25, 0.5, 0.75))
        axes.vlines(place, some.min(), some.max(), color=colour, linewidth=0.8)
        axes.vlines(place, low, high, color=colour, linewidth=5)
        axes.plot([place], [middle], marker="o", markersize=3, color="white")
    axes.set_xticks(places, [_NAMES_IN_PANELS[name] for name in values])
    plain_axes(axes)


def _draw_shares(path: Path, tables: Mapping[str, Table], places: list[int], scores: Mapping[str, str]) -> None:
    first = next(iter(tables.values()))
    rows, thickness = np.arange(len(places), dtype=np.float64), 0.8 / len(tables)
    figure = new_figure(7.6, 1.2 + 0.42 * len(places))
    axes = figure.add_subplot()
    labels, codes = [], []
    for place in places:
        name, words = first.word_names[place], first.words[place]
        codes.append(shown_codes(first.kinds[name], words)[0])
        word = words[codes[-1]]
        labels.append(f"{shortened(name, 34)}{'' if word == '1' else f' = {word}'}")
    for number, (name, table) in enumerate(tables.items()):
        hits = [int((table.codes[:, place] == code).sum()) for place, code in zip(places, codes, strict=True)]
        shares = _shares_with_errors(hits, len(table))
        axes.barh(
            rows + (number - (len(tables) - 1) / 2) * thickness, shares[0], thickness * 0.92, xerr=shares[1:],
            color=TABLE_COLOURS[name], error_kw={"elinewidth": 0.8, "ecolor": "0.25"}, label=_legend(name, table),
        )  # fmt: skip
    for row, place in zip(rows, places, strict=True):
        score = scores.get(first.word_names[place], "")
        axes.text(1.01, row, score, transform=axes.get_yaxis_transform(), va="center", fontsize=7.5, color="0.35")
    axes.set_yticks(rows, labels)
    axes.set_ylim(rows[-1] + 0.5, -0.5)
    axes.set_xlim(0, min(100, axes.get_xlim()[1]))
    axes.set_xlabel("% of the rows, with 95 % intervals", fontsize=9)
    axes.grid(axis="x", color="0.93")
    axes.set_axisbelow(True)
    plain_axes(axes)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8.5)
    save_png(figure, path)


def _draw_category(axes: Any, tables: Mapping[str, Table], place: int) -> None:
    words = next(iter(tables.values())).words[place]
    totals = sum(np.bincount(table.codes[:, place], minlength=len(words)) / len(table) for table in tables.values())
    shown = np.arange(len(words))
    if len(words) > _MOST_BARS:  # the most frequent, and the rest together
        shown = np.sort(np.argsort(-totals, kind="stable")[: _MOST_BARS - 1])
    names = [shortened(words[code], 14) for code in shown]
    bars, thickness = np.arange(len(shown) + (len(shown) < len(words)), dtype=np.float64), 0.8 / len(tables)
    for number, (name, table) in enumerate(tables.items()):
        counts = np.bincount(table.codes[:, place], minlength=len(words))
        hits = [int(count) for count in counts[shown]]
        if len(shown) < len(words):
            hits.append(len(table) - sum(hits))
        shares = _shares_with_errors(hits, len(table))
        axes.bar(
            bars + (number - (len(tables) - 1) / 2) * thickness, shares[0], thickness * 0.92, yerr=shares[1:],
            color=TABLE_COLOURS[name], error_kw={"elinewidth": 0.8, "ecolor": "0.25"}, label=_legend(name, table),
        )  # fmt: skip
    if len(shown) < len(words):
        names.append(f"{len(words) - len(shown)} others")
    long = max(map(len, names)) * len(names) > 22
    axes.set_xticks(bars, names, rotation=40 if long else 0, ha="right" if long else "center")
    axes.set_ylim(0)
    plain_axes(axes)


def _shares_with_errors(hits: list[int], num_rows: int) -> Floats:
    """Return shares in per cent, and how far their exact intervals reach below and above: [3, n]."""
    found = [proportion(number, num_rows) for number in hits]
    return 100 * np.array([[one.value, one.value - one.low, one.high - one.value] for one in found]).T


def shortened(name: str, length: int) -> str:
    """Return a name of at most `length` characters."""
    return name if len(name) <= length else f"{name[: length - 1]}…"


def _word_names(shown: Shown) -> list[str]:
    return [name for name, kind in shown.kinds.items() if kind != NUMBER]


def row_count(table: Table) -> str:
    """Return a table's number of rows, for a legend."""
    return f"{len(table):,}"


def _legend(name: str, table: Table) -> str:
    return f"{name} ({row_count(table)} rows)"


def _sizes(tables: Mapping[str, Table]) -> str:
    return ", ".join(f"{row_count(table)} {name}" for name, table in tables.items())
