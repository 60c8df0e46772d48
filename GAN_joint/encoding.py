"""Rows of a table as vectors of numbers from 0 to 1, and back."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from GAN_joint.columns import Column, Kind, Schema, encoded_names, plain_word
from medsynth.config import from_json, to_json
from medsynth.data.text_table import Marks
from medsynth.data.wording import listed_in_quotes, quoted
from medsynth.errors import DataError, MedsynthError

Rows = npt.NDArray[np.float32]
_VERSION = 1


class EncodedColumn(NamedTuple):
    """Where a column of the table stands in an encoded row.

    Attributes:
        kind: "binary", "category", "number" or "target".
        columns: Its slice of the K encoded columns.
    """

    kind: Kind
    columns: slice


@dataclass(frozen=True)
class FittedColumn:
    """A kept column, and what was learnt of it from the train rows.

    Attributes:
        column: As the schema has it.
        low: Of a number: what becomes 0; the schema's minimum, or else the train rows'.
        high: What becomes 1; the schema's maximum, or else the train rows'.
        fill: What a missing value becomes: the median, or the place of the most frequent word in `column.words`.
    """

    column: Column
    low: float = 0.0
    high: float = 1.0
    fill: float = 0.0

    @property
    def width(self) -> int:
        """The number of encoded columns."""
        return len(encoded_names(self.column))


@dataclass(frozen=True)
class RowEncoder:
    """Turns rows in real units into vectors [K] from 0 to 1, and back.

    A number is scaled so that the lowest is 0 and the highest 1, a binary or a target is 0 or 1, and a category
    has one column for each of its values, of which one is 1.

    Attributes:
        fitted: One for each kept column, in the order of the schema.
        imputes: Whether missing values are filled in; otherwise they are refused.
        version: Of the form of its file.
    """

    fitted: tuple[FittedColumn, ...]
    imputes: bool = False
    version: int = _VERSION

    @classmethod
    def fit(cls, schema: Schema, frame: pd.DataFrame) -> "RowEncoder":
        """Learn ranges, medians and most frequent words from rows.

        Args:
            schema: Of the table.
            frame: The train rows, [N, kept columns] or more columns; a missing value is NaN.

        Raises:
            DataError: A number is the same in all of these rows, or missing in all of them.
        """
        return cls(tuple(_fit_column(column, frame) for column in schema.kept), schema.missing == "impute")

    @property
    def names(self) -> tuple[str, ...]:
        """The K encoded columns; that of a category's value is named `VHD=mild`."""
        return tuple(name for fitted in self.fitted for name in encoded_names(fitted.column))

    @property
    def column_slices(self) -> dict[str, EncodedColumn]:
        """Kind and slice of the K encoded columns, by name of the table's column."""
        stops = list(itertools.accumulate(fitted.width for fitted in self.fitted))
        return {
            fitted.column.name: EncodedColumn(fitted.column.kind, slice(stop - fitted.width, stop))
            for fitted, stop in zip(self.fitted, stops, strict=True)
        }

    def encode(self, frame: pd.DataFrame) -> Rows:
        """Encode rows in real units; a number beyond the range counts as its end.

        Args:
            frame: [N, kept columns] or more columns, as the table or `decode` gives them.

        Returns:
            float32 [N, K] in [0, 1].

        Raises:
            DataError: A column is missing, or a cell does not fit it; names the row (from 0) and the column.
        """
        parts = [_encode_column(fitted, values) for fitted, values in self._values(frame)]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def decode(self, rows: npt.ArrayLike) -> pd.DataFrame:
        """Return encoded rows in real units: words, and numbers in their range, rounded to their decimals.

        The same rows give the same types and, written as csv, the same bytes.

        Args:
            rows: [N, K], such as a generator's output; a category is its largest value, and a binary or
                target is 1 from 0.5 on.

        Raises:
            DataError: Another number of columns, or values that are not finite.
        """
        values = np.asarray(rows, np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise DataError(f"Rows of {len(self.names)} values were expected.", received=f"shape {values.shape}")
        if not np.isfinite(values).all():
            raise DataError("Rows must be finite.", received=f"{np.count_nonzero(~np.isfinite(values))} that are not")
        parts = [values[:, place.columns] for place in self.column_slices.values()]
        return _frame([(fitted, _decode(fitted, part)) for fitted, part in zip(self.fitted, parts, strict=True)])

    def complete(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return rows with the types that `decode` gives, numbers rounded, and missing values filled in.

        Raises:
            DataError: See `encode`.
        """
        return _frame(self._values(frame))

    def wrong_cells(self, frame: pd.DataFrame) -> Iterator[tuple[str, Marks, str]]:
        """Yield what `encode` would refuse: a column, its wrong rows [N], and what was expected, a sentence."""
        for fitted in self.fitted:
            _, wrong, expected = _read_cells(fitted.column, frame[fitted.column.name])
            if wrong.any():
                yield fitted.column.name, wrong, f"{expected}."

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return to_json(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], path: Path | None = None) -> "RowEncoder":
        """Return the encoder that `to_json` described.

        Args:
            values: What `to_json` returned.
            path: The file it was read from, for messages.

        Raises:
            DataError: It is none.
        """
        try:
            encoder = from_json(cls, values)
        except (MedsynthError, TypeError, AttributeError) as error:
            raise DataError("This describes no encoding of rows.", received=error, path=path) from None
        if encoder.version != _VERSION:
            raise DataError(f"Only version {_VERSION} of this file is known.", received=encoder.version, path=path)
        return encoder

    def _values(self, frame: pd.DataFrame) -> list[tuple[FittedColumn, npt.NDArray[np.float64]]]:
        """Return every kept column with its numbers, or the places of its words, float64 [N]."""
        lacking = [fitted.column.name for fitted in self.fitted if fitted.column.name not in frame]
        if lacking:
            raise DataError("Rows need every column of the schema.", received=f"no column {listed_in_quotes(lacking)}")
        return [(fitted, self._complete_column(fitted, frame)) for fitted in self.fitted]

    def _complete_column(self, fitted: FittedColumn, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        values = _codes_or_numbers(fitted.column, frame[fitted.column.name])
        missing = np.isnan(values)
        if missing.any() and not self.imputes:
            _refuse_cell(fitted.column, frame, missing, "a value was expected")
        values[missing] = fitted.fill
        if fitted.column.decimals is not None:
            values = _rounded(values, fitted.column.decimals)
        return values


def _fit_column(column: Column, frame: pd.DataFrame) -> FittedColumn:
    values = _codes_or_numbers(column, frame[column.name])
    known = values[~np.isnan(values)]
    if len(known) == 0:
        raise DataError(f"Column {quoted(column.name)} needs a value in some train row.", received="none")
    if column.kind != "number":
        return FittedColumn(column, fill=float(np.bincount(known.astype(np.int64)).argmax()))
    if column.decimals is not None:
        known = _rounded(known, column.decimals)
    low = float(known.min()) if column.minimum is None else column.minimum
    high = float(known.max()) if column.maximum is None else column.maximum
    if low >= high:
        raise DataError(
            f"Column {quoted(column.name)} is the same in all {len(known)} train rows. In schema.json, give it kind "
            'drop, or its "minimum" and "maximum", or the split another "split_seed".',
            received=f"{low:g}",
        )
    return FittedColumn(column, low, high, float(np.median(known)))


def _codes_or_numbers(column: Column, cells: "pd.Series[Any]") -> npt.NDArray[np.float64]:
    """Return a column's numbers, or the places of its words among `column.words`; NaN where it is missing."""
    values, wrong, expected = _read_cells(column, cells)
    if wrong.any():
        _refuse_cell(column, cells.to_frame(), wrong, expected)
    return values


def _read_cells(column: Column, cells: "pd.Series[Any]") -> tuple[npt.NDArray[np.float64], Marks, str]:
    """Return what `_codes_or_numbers` does, which cells are wrong, and what was expected of them."""
    missing = cells.isna().to_numpy(bool)
    if column.kind == "number":
        values = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, copy=True)
        wrong, expected = ~np.isfinite(values) & ~missing, "a finite number was expected"
    else:
        places = {plain_word(word.strip()): float(place) for place, word in enumerate(column.words)}
        known = {cell: places.get(plain_word(str(cell).strip())) for cell in cells[~missing].unique()}
        values = np.array([known.get(cell) for cell in cells], np.float64)  # None becomes NaN
        wrong, expected = np.isnan(values) & ~missing, f"one of {listed_in_quotes(column.words)} was expected"
    return values, wrong, expected


def _refuse_cell(column: Column, frame: pd.DataFrame, wrong: Marks, expected: str) -> None:
    row = int(np.argmax(wrong))
    cell = quoted(str(frame[column.name].iloc[row]))
    raise DataError(f"Row {row} (from 0), column {quoted(column.name)}: {expected}.", received=cell)


def _encode_column(fitted: FittedColumn, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a column's numbers or places of words, [N], encoded: [N, width]."""
    if fitted.column.kind == "category":
        return np.eye(fitted.width)[values.astype(np.int64)]
    scaled = (values - fitted.low) / (fitted.high - fitted.low)
    return scaled.clip(0, 1)[:, None]  # [N] -> [N, 1]


def _decode(fitted: FittedColumn, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a column's numbers, or the places of its words, [N], of its part of encoded rows [N, width]."""
    if fitted.column.kind == "category":
        return rows.argmax(axis=1).astype(np.float64)
    if fitted.column.kind != "number":
        return (rows[:, 0] >= 0.5).astype(np.float64)
    values = fitted.low + rows[:, 0] * (fitted.high - fitted.low)
    if fitted.column.decimals is not None:
        values = _rounded(values, fitted.column.decimals)
    return values.clip(fitted.low, fitted.high)


def _rounded(values: npt.NDArray[np.float64], decimals: int) -> npt.NDArray[np.float64]:
    return np.round(values, decimals) + 0.0  # no -0.0, which csv would show


def _frame(columns: list[tuple[FittedColumn, npt.NDArray[np.float64]]]) -> pd.DataFrame:
    return pd.DataFrame({fitted.column.name: _typed(fitted.column, values) for fitted, values in columns})


def _typed(column: Column, values: npt.NDArray[np.float64]) -> "pd.Series[Any]":
    """Return numbers or places of words as a table shows them: int64 where all are whole by their kind."""
    if column.kind == "number":
        return pd.Series(values, dtype=np.int64 if column.decimals == 0 else np.float64)
    places = values.astype(np.int64)
    if column.kind != "category" and all(word.isdecimal() and str(int(word)) == word for word in column.words):
        return pd.Series(np.array(column.words, np.int64)[places])
    return pd.Series(np.array(column.words, object)[places], dtype="str")
