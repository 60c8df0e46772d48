"""What a column seems to be, by its name and by what stands in it. The user has the last word."""

from collections import Counter
from collections.abc import Iterable

import numpy as np

from GAN_joint.columns import Column, is_missing, is_number, plain_word
from GAN_joint.identifying import identifying_reason, plain_name
from medsynth.data.text_table import Cells, TextTable
from medsynth.data.wording import listed_in_quotes, quoted

STENOSIS_COLUMNS = ("trunk_st", "LAD_st", "lcx_stenosis", "RCA_stenosis")
DROPPED_COLUMN = "number_of_affected_coronary_artery"  # what the targets add up to; FIO, the name, identifies
STENOSIS_THRESHOLD = 50.0  # per cent

_MOST_VALUES = 30  # of a category
_MOST_DECIMALS = 4  # more are computed (weight by height squared), and say nothing
_LEAST_SHARE_OF_NUMBERS = 0.5
_WORDS_OF_ZERO = (
    *("0", "n", "no", "false", "f", "normal", "negative", "neg", "absent", "none", "healthy", "female"),
    *("нет", "норма", "отсутствует", "ж"),
)
_TARGETS = ("target", "outcome", "diagnosis", "cath", "lad", "lcx", "rca", "trunk", "lm")


def guess_column(table: TextTable, name: str) -> Column:
    """Return what a column of a table seems to be, with a note where the user should look at it."""
    words = _words(table.column(name))
    distinct = Counter(words)
    if len(distinct) < 2:
        value = f"constant, {quoted(words[0])} in every row that says anything" if words else "empty"
        return Column(name, "drop", note=value)
    reason = identifying_reason(name, words)
    if reason is not None:
        return Column(name, "identifier", note=reason)
    if name in STENOSIS_COLUMNS and not distinct.keys() <= {"0", "1"}:
        return Column(name, "target", threshold=STENOSIS_THRESHOLD)
    if len(distinct) == 2:
        zero, one = in_order(distinct)
        return Column(name, "target" if plain_name(name) in _TARGETS else "binary", zero=zero, one=one)
    num_numbers = sum(count for word, count in distinct.items() if is_number(word, table.form.decimal))
    if num_numbers >= _LEAST_SHARE_OF_NUMBERS * len(words):
        return _number_column(table, name)
    return _text_column(name, in_order(distinct))


def published_column(table: TextTable, name: str) -> Column:
    """Return what the published preprocessing makes of a column: a target, dropped, or else a number.

    Source: the training notebook of coronarography.ai (2023). A column that is constant, identifies people or
    holds something other than numbers is guessed.
    """
    if name == DROPPED_COLUMN:
        return Column(name, "drop", note="dropped in the published preprocessing")
    guess = guess_column(table, name)
    is_numeric = all(is_number(word, table.form.decimal) for word in _words(table.column(name)))
    if guess.kind in ("drop", "identifier") or not is_numeric:
        return guess
    if name in STENOSIS_COLUMNS:
        return Column(name, "target", threshold=STENOSIS_THRESHOLD)
    return _number_column(table, name)


def in_order(words: Iterable[str]) -> tuple[str, ...]:
    """Return words with those that say "no" or "normal" first, numbers by value, others by the alphabet."""
    return tuple(sorted(words, key=lambda word: (word.casefold() not in _WORDS_OF_ZERO, _value(word), word.casefold())))


def _value(word: str) -> float:
    return float(word.replace(",", ".")) if is_number(word, ".") or is_number(word, ",") else 0.0


def _words(cells: Cells) -> list[str]:
    return [plain_word(word) for word in cells[~is_missing(cells)]]


def _number_column(table: TextTable, name: str) -> Column:
    cells = table.column(name)
    is_word = np.array([not is_number(word, table.form.decimal) for word in cells], bool) & ~is_missing(cells)
    note = None
    if is_word.any():
        row = int(np.argmax(is_word))
        note = f"line {table.lines[row]} says {quoted(cells[row])}, which is no number; correct it in the table"
    return Column(name, "number", decimals=_num_decimals(cells, table.form.decimal), note=note)


def _num_decimals(cells: Cells, decimal: str) -> int | None:
    """Return the most decimals that any number has, without zeros at its end; None where powers of ten are used."""
    words = {word for word in cells if is_number(word, decimal)}
    if any("e" in word.lower() for word in words):
        return None
    fractions = [word.partition(decimal)[2].rstrip("0") for word in words]
    return min(max(map(len, fractions), default=0), _MOST_DECIMALS)


def _text_column(name: str, values: tuple[str, ...]) -> Column:
    if len(values) > _MOST_VALUES:
        return Column(name, "drop", note=f"{len(values):,} different texts, too many for a category")
    alike = [value for value in values if sum(value.casefold() == other.casefold() for other in values) > 1]
    note = (
        f"{listed_in_quotes(alike)} differ in their case alone; give them one spelling in the table" if alike else None
    )
    return Column(name, "category", values=values, note=note)
