"""Tables of the same columns, checked and turned into arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medsynth.errors import DataError, UsageError

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

NUMBER, BINARY, CATEGORY, TARGET = "number", "binary", "category", "target"
KINDS = (NUMBER, BINARY, CATEGORY, TARGET)
# A column of more values than this is text or a key, no category.
_MOST_WORDS = 1000
_NAMES_SHOWN = 5


@dataclass(frozen=True)
class Table:
    """A table as arrays. Tables encoded together have the same columns and words.

    Attributes:
        kinds: Kind of every column, in order.
        numbers: Columns of kind number, float64 [N, P].
        codes: The other columns, [N, Q]: places in their words.
        words: The values of each of the Q columns, in any of the tables that were encoded together.
    """

    kinds: Mapping[str, str]
    numbers: Floats
    codes: Numbers
    words: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def number_names(self) -> tuple[str, ...]:
        """Names of the P columns of numbers."""
        return tuple(name for name, kind in self.kinds.items() if kind == NUMBER)

    @property
    def word_names(self) -> tuple[str, ...]:
        """Names of the Q other columns."""
        return tuple(name for name, kind in self.kinds.items() if kind != NUMBER)

    def take(self, rows: Numbers) -> "Table":
        """Return the table of these rows."""
        return Table(self.kinds, self.numbers[rows], self.codes[rows], self.words)

    def indicators(self) -> tuple[tuple[str, ...], Floats]:
        """Return every column as numbers: names, and values [N, D].

        Numbers stay as they are, binary columns and targets become 0 or 1 (named after the value that is 1), and
        categories a column of 0 and 1 for each value. They keep the order of the table's columns.
        """
        numbers, words = iter(range(self.numbers.shape[1])), iter(range(self.codes.shape[1]))
        names: list[str] = []
        columns: list[Floats] = []
        for name, kind in self.kinds.items():
            if kind == NUMBER:
                names.append(name)
                columns.append(self.numbers[:, next(numbers)])
                continue
            place = next(words)
            for code in shown_codes(kind, self.words[place]):
                names.append(indicator_name(name, self.words[place][code]))
                columns.append((self.codes[:, place] == code).astype(np.float64))
        return tuple(names), np.stack(columns, axis=1)


def shown_codes(kind: str, words: tuple[str, ...]) -> range:
    """Return the values of which a share says all: the second of a binary column or target, all of a category."""
    return range(len(words) - 1, len(words)) if kind != CATEGORY else range(len(words))


def indicator_name(name: str, word: str) -> str:
    """Return the name of a column's value: `Sex = Male`, and `Smoker` alone where the value is 1."""
    return name if word == "1" else f"{name} = {word}"


def encode_tables(frames: Mapping[str, pd.DataFrame], kinds: Mapping[str, str]) -> dict[str, Table]:
    """Check tables against each other and turn them into arrays of one form.

    Args:
        frames: By a name for messages ("real train rows"). Their columns are those of `kinds`, in any order.
        kinds: Kind of every column: number, binary, category or target.

    Raises:
        UsageError: An unknown kind, or no column at all.
        DataError: A table without rows, columns that lack or are too many, missing or infinite values, text in a
            column of numbers, a binary column of more than two values, a category of more than 1,000.
    """
    _require_kinds(kinds)
    for name, frame in frames.items():
        _require_columns(name, frame, kinds)
    numbers = {name: _numbers(name, frame, kinds) for name, frame in frames.items()}
    codes: dict[str, list[Numbers]] = {name: [] for name in frames}
    words = []
    for column, kind in kinds.items():
        if kind == NUMBER:
            continue
        found = {name: _words(frame[column]) for name, frame in frames.items()}
        known = _sorted_words({word for _, values in found.values() for word in values})
        _require_few_words(column, kind, known)
        words.append(known)
        for name, (places, values) in found.items():
            codes[name].append(np.array([known.index(word) for word in values], np.int64)[places])
    return {
        name: Table(dict(kinds), numbers[name], _stacked(codes[name], len(frame)), tuple(words))
        for name, frame in frames.items()
    }


def _require_kinds(kinds: Mapping[str, str]) -> None:
    for column, kind in kinds.items():
        if kind not in KINDS:
            raise UsageError(f"Column {column!r} needs one of the kinds {', '.join(KINDS)}.", received=kind)
    if not kinds:
        raise UsageError("There is no column to analyse.", received="no column of a kind that is compared")


def _require_columns(name: str, frame: pd.DataFrame, kinds: Mapping[str, str]) -> None:
    columns = list(frame.columns)
    missing, extra = [one for one in kinds if one not in columns], [one for one in columns if one not in kinds]
    repeated = [one for one in dict.fromkeys(columns) if columns.count(one) > 1]
    if missing or extra or repeated:
        lists = (("missing", missing), ("not in the schema", extra), ("more than once", repeated))
        received = "; ".join(f"{what}: {_listed([str(one) for one in some])}" for what, some in lists if some)
        raise DataError(f"The {name} must have the columns of the schema, each once.", received=received)
    if len(frame) == 0:
        raise DataError(f"The {name} must not be empty.", received="no row")
    for column in kinds:
        empty = frame[column].isna().to_numpy()
        if empty.any():
            raise DataError(
                f"Column {column!r} of the {name} has missing values; impute them or leave the rows out.",
                received=f"{int(empty.sum()):,} of {len(frame):,}, the first in row {int(empty.argmax()) + 1:,}",
            )


def _numbers(name: str, frame: pd.DataFrame, kinds: Mapping[str, str]) -> Floats:
    columns = []
    for column in (column for column, kind in kinds.items() if kind == NUMBER):
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
        bad = ~np.isfinite(values)
        if bad.any():
            row = int(bad.argmax())
            raise DataError(
                f"Column {column!r} of the {name} must hold finite numbers; row {row + 1:,} does not.",
                received=repr(frame[column].iloc[row]),
            )
        columns.append(values)
    return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0))


def _words(series: "pd.Series[Any]") -> tuple[Numbers, list[str]]:
    """Return the place of every row's value in the values that occur, and these as words."""
    places, values = pd.factorize(series)
    return places.astype(np.int64), [_word(value) for value in values]


def _word(value: object) -> str:
    """Return one word for the same value however it is stored: 1, 1.0, True and "1" are all `1`."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _sorted_words(words: set[str]) -> tuple[str, ...]:
    try:
        values = {word: float(word) for word in words}
    except ValueError:
        return tuple(sorted(words))
    if not np.isfinite(list(values.values())).all():
        return tuple(sorted(words))
    return tuple(sorted(words, key=lambda word: (values[word], word)))


def _require_few_words(column: str, kind: str, words: tuple[str, ...]) -> None:
    if kind == CATEGORY and len(words) > _MOST_WORDS:
        raise DataError(
            f"Column {column!r} has too many values for a category, at most {_MOST_WORDS:,}; is it a number, or a key?",
            received=f"{len(words):,} values",
        )
    if kind != CATEGORY and len(words) > 2:
        raise DataError(
            f"Column {column!r} is of kind {kind} and must not have more than two values in all tables together.",
            received=_listed([repr(word) for word in words]),
        )


def _stacked(columns: list[Numbers], num_rows: int) -> Numbers:
    return np.stack(columns, axis=1) if columns else np.empty((num_rows, 0), np.int64)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
