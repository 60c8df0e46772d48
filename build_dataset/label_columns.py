"""What stands in a table's label columns: zeros and ones, class numbers, or words.

A column whose non-empty cells are at least half zeros and ones (or true and false, yes and no) is a label, and every
other value in it is a mistake that only the user can put right.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from medsynth.data.names import stripped
from medsynth.data.text_table import Cells, Marks, TextTable
from medsynth.data.wording import counted, listed
from medsynth.errors import DataError

Labels = npt.NDArray[np.float32]
Column = tuple[tuple[str, ...], Labels]  # names of the labels that a column gives, and their values [N, labels]

MISSING_RULES = ("error", "absent", "drop")
_WORDS_OF_TRUTH = {**dict.fromkeys(("true", "t", "yes", "y"), 1.0), **dict.fromkeys(("false", "f", "no", "n"), 0.0)}
_ZERO_OR_ONE = re.compile(r"[01](?:[.,]0+)?")
_EMPTY = ("", "na", "n/a", "nan", "null")
_MOST_WORDS = 30
_LEAST_SHARE = 0.5  # of zeros and ones among the cells of a label


def is_label(cells: Cells) -> bool:
    """Return whether at least half of the cells that are not empty are zeros and ones."""
    words = stripped(cells)
    truth = _truth(words)[~_is_empty(words)]
    return len(truth) > 0 and bool(np.count_nonzero(~np.isnan(truth)) >= _LEAST_SHARE * len(truth))


def refuse_other_values(table: TextTable, place: str, cells: Cells) -> None:
    """Refuse a cell that is neither 0 nor 1 in a column that is a label.

    Args:
        table: For the message.
        place: The column, for the message ("column 'mass'").
        cells: The column, [N].

    Raises:
        DataError: Names the first line with another value, that value, and what to do.
    """
    words = stripped(cells)
    is_empty, is_other = _is_empty(words), np.isnan(_truth(words))
    wrong = is_other & ~is_empty
    if not wrong.any():
        return
    is_uncertain = np.array([_number(word) == -1 for word in words[wrong]]).any()
    uncertain = (
        '; what -1 means ("uncertain" in CheXpert) is yours to decide: write 1, 0 or nothing (--missing-labels)'
        if is_uncertain
        else ""
    )
    table.refuse(
        wrong,
        f"{place} is a label, since {np.count_nonzero(~is_other):,} of its {np.count_nonzero(~is_empty):,} cells are "
        f"0 or 1 ({listed([*_WORDS_OF_TRUTH])} count as such), and so must the others be; correct the cell, or choose "
        f"the label columns with --labels{uncertain}.",
        words.to_numpy(),
    )


def read_label_column(table: TextTable, column: str, missing_labels: str) -> Column:
    """Return the labels that one column gives, and their values [N, labels], NaN in a row to be dropped.

    Zeros and ones are one label, of the column's name. Class numbers (whole, none below 0) give `<column> <number>`
    each, and words a label each.

    Raises:
        DataError: Another value beside zeros and ones, a number that is no class number, a single value or very many
            different ones, or an empty cell under "error"; names column and line.
    """
    words = stripped(table.column(column))
    is_empty = _is_empty(words)
    if missing_labels == "error":
        table.refuse(is_empty, f"a label is expected in column {column!r} (see --missing-labels).", words.to_numpy())
    kinds = set(words[~is_empty])
    are_numbers = all(_number(kind) is not None for kind in kinds)
    _refuse_words_among_class_numbers(table, column, words, kinds)
    if is_label(words.to_numpy()) and not (are_numbers and all(map(_is_whole, kinds))):
        refuse_other_values(table, f"column {column!r}", words.to_numpy())
    if kinds and all(not math.isnan(_truth_of(kind)) for kind in kinds):
        names: tuple[str, ...] = (column,)
        values = _truth(words).astype(np.float32)[:, None]
    else:
        if are_numbers:
            words = _class_numbers(table, column, words, is_empty)
        names, values = _one_label_each(words, is_empty, column, table.path)
    values[is_empty] = 0.0 if missing_labels == "absent" else np.nan
    return names, values


def _refuse_words_among_class_numbers(table: TextTable, column: str, words: "pd.Series[str]", kinds: set[str]) -> None:
    """Refuse yes, no and their like where the other cells are class numbers: neither a label of its own nor a 1."""
    others = {kind for kind in kinds if kind.lower() not in _WORDS_OF_TRUTH}
    if all(map(_is_whole, others)) and not all(map(_ZERO_OR_ONE.fullmatch, others)):
        table.refuse(
            words.isin(kinds - others).to_numpy(bool),
            f"column {column!r} holds class numbers (whole, none below 0) elsewhere, so one is expected here too; "
            f"{listed([*_WORDS_OF_TRUTH])} stand for 1 and 0 in columns of zeros and ones alone.",
            words.to_numpy(),
        )


def _class_numbers(table: TextTable, column: str, words: "pd.Series[str]", is_empty: Marks) -> "pd.Series[str]":
    """Return a column of class numbers, each in its shortest form."""
    wrong = ~words.map({word: _is_whole(word) for word in set(words)}).to_numpy(bool) & ~is_empty
    table.refuse(
        wrong,
        f"column {column!r} holds numbers, and zeros and ones, or class numbers such as 0, 1, 2 (whole, none below 0) "
        "were expected; correct the cell or leave the column out of --labels.",
        words.to_numpy(),
    )
    return words.map({word: "" if (number := _number(word)) is None else f"{number:.0f}" for word in set(words)})


def _one_label_each(words: "pd.Series[str]", is_empty: Marks, column: str, path: Path) -> Column:
    """Return a label for each of the different words of a column."""
    kinds = sorted(set(words[~is_empty]), key=lambda word: (_number(word) or 0, word))
    _require_words(kinds, column, path)
    has_number = any(_number(kind) is not None for kind in kinds)
    names = tuple(f"{column} {kind}" for kind in kinds) if has_number else tuple(kinds)
    return names, np.stack([(words == kind).to_numpy(np.float32) for kind in kinds], axis=1)


def _is_empty(words: "pd.Series[str]") -> Marks:
    return words.str.lower().isin(_EMPTY).to_numpy(bool)


def _truth(words: "pd.Series[str]") -> npt.NDArray[np.float64]:
    """Return 0 and 1, [N]; NaN for another cell."""
    known = {word: _truth_of(word) for word in set(words)}
    return np.asarray(words.map(known).to_numpy(np.float64))


def _truth_of(word: str) -> float:
    if _ZERO_OR_ONE.fullmatch(word):
        return float(word[0])
    return _WORDS_OF_TRUTH.get(word.lower(), math.nan)


def _number(word: str) -> float | None:
    try:
        return float(word.replace(",", "."))
    except ValueError:
        return None


def _is_whole(word: str) -> bool:
    number = _number(word)
    return number is not None and number >= 0 and number.is_integer()


def _require_words(words: Sequence[str], column: str, path: Path) -> None:
    """Refuse a column with a single word or very many, and words that differ in their case alone."""
    if not 2 <= len(words) <= _MOST_WORDS:
        raise DataError(
            f"Column {column!r} is no label: zeros and ones, or 2 to {_MOST_WORDS} different words, were expected.",
            received=f"{counted(len(words), 'different value')}{', among them ' if words else ''}{listed(words[:4])}",
            path=path,
        )
    alike = [word for word in words if sum(word.casefold() == other.casefold() for other in words) > 1]
    if alike:
        raise DataError(
            f"The words of column {column!r} differ in more than their case, since each becomes a label.",
            received=listed(alike),
            path=path,
        )
