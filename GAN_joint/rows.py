"""The table's rows as values, or one clear error: file, line and column."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from GAN_joint.columns import Column, Schema, is_missing, is_number, plain_word
from GAN_joint.identifying import reason_of_digits
from medsynth.data.text_table import Cells, Marks, TextTable, detect_form
from medsynth.data.wording import did_you_mean, listed_in_quotes, quoted
from medsynth.errors import DataError

_LEAST_ROWS_TO_JUDGE = 20


def require_same_columns(schema: Schema, table: TextTable) -> None:
    """Refuse a table whose columns are not those of the schema, in whatever order.

    Raises:
        DataError: Names the column, and the nearest one that there is.
    """
    listed_names = [column.name for column in schema.columns]
    lacking = [name for name in listed_names if name not in table.names]
    unlisted = [name for name in table.names if name not in listed_names]
    if lacking:
        form = detect_form(table.path)
        other = "" if form == table.form else f" The table seems to have {form}, and schema.json says {table.form}."
        raise DataError(
            f"schema.json lists column {quoted(lacking[0])}, and the table must have it."
            f"{did_you_mean(lacking[0], unlisted)}{other}",
            received=f"columns {listed_in_quotes(table.names)}",
            path=table.path,
        )
    if unlisted:
        raise DataError(
            f"schema.json lists every column of the table; add {quoted(unlisted[0])} to it, with kind drop where it is "
            "not to be used.",
            received=f"{listed_in_quotes(unlisted)} not listed",
            path=table.path,
        )


def read_rows(schema: Schema, table: TextTable) -> pd.DataFrame:
    """Return the kept columns, [N, columns]: float64 for a number, words for everything else.

    Missing values, where the schema allows them, are NaN. A target with a threshold says "0" or "1".

    Raises:
        DataError: A cell that does not fit its column, a missing value where these are refused, a column
            that is constant, or one that identifies people; names file, line and column.
    """
    columns: dict[str, Any] = {}
    for column in schema.kept:
        cells = table.column(column.name)
        missing = is_missing(cells) & ~np.isin(cells, np.array(column.words, object))  # a value may be called NA
        if schema.missing == "refuse":
            table.refuse(
                missing,
                'a value was expected. Complete it, drop the column, or set "missing": "impute" in schema.json.',
                cells,
                column.name,
            )
        _refuse_identifying(column, cells[~missing], table)
        if column.kind == "number" or column.threshold is not None:
            numbers = _read_numbers(column, cells, missing, table)
            columns[column.name] = numbers if column.kind == "number" else _above(numbers, column, missing)
        else:
            columns[column.name] = _read_words(column, cells, missing, table)
        _refuse_constant(column, columns[column.name][~missing], table)
    return pd.DataFrame(columns)


def _read_numbers(column: Column, cells: Cells, missing: Marks, table: TextTable) -> npt.NDArray[np.float64]:
    decimal = table.form.decimal
    known = {cell: _number(cell, decimal) for cell in set(cells[~missing])}
    numbers = np.array([known.get(cell, math.nan) for cell in cells], np.float64)
    is_text = np.isnan(numbers) & ~missing
    other = "," if decimal == "." else "."
    has_other = is_text.any() and is_number(str(cells[int(np.argmax(is_text))]), other)
    hint = f' The decimal sign is {decimal!r}; change "decimal" in schema.json where it is {other!r}.'
    table.refuse(is_text, f"a number was expected.{hint if has_other else ''}", cells, column.name)
    low = -math.inf if column.minimum is None else column.minimum
    high = math.inf if column.maximum is None else column.maximum
    outside = (numbers < low) | (numbers > high)
    expected = f"a number from {low:g} to {high:g} was expected, as schema.json says."
    table.refuse(outside, expected, cells, column.name)
    return numbers


def _number(cell: str, decimal: str) -> float:
    """Return a cell's number, or NaN where it is none."""
    number = float(cell.replace(decimal, ".")) if is_number(cell, decimal) else math.nan
    return number if math.isfinite(number) else math.nan


def _above(numbers: npt.NDArray[np.float64], column: Column, missing: Marks) -> Cells:
    words = np.array(column.words, object)[(numbers >= float(column.threshold or 0)).astype(np.int64)]
    words[missing] = None
    return words


def _read_words(column: Column, cells: Cells, missing: Marks, table: TextTable) -> Cells:
    known = {plain_word(word.strip()): word for word in column.words}
    words = np.array([known.get(plain_word(cell)) for cell in cells], object)
    unknown = np.array([word is None for word in words], bool) & ~missing
    if unknown.any():
        cell = str(cells[int(np.argmax(unknown))])
        more = " Make it a category where there are more." if column.kind == "binary" else ""
        expected = f"one of {listed_in_quotes(column.words)} was expected.{did_you_mean(cell, column.words)}{more}"
        table.refuse(unknown, expected, cells, column.name)
    words[missing] = None
    return words


def _refuse_constant(column: Column, values: Sequence[Any] | npt.NDArray[Any], table: TextTable) -> None:
    distinct = set(values)
    if len(distinct) < 2:
        found = f"{quoted(str(next(iter(distinct))))} in every row" if distinct else "no value in any row"
        above = f" (1 from {column.threshold:g} on)" if column.threshold is not None else ""
        raise DataError(
            f"Column {quoted(column.name)}{above} is constant and teaches nothing; give it kind drop in schema.json.",
            received=found,
            path=table.path,
        )


def _refuse_identifying(column: Column, cells: Cells, table: TextTable) -> None:
    """Refuse what is likely to identify people, though the schema reads it as a feature."""
    remedy = "identifies people; give it kind identifier in schema.json"
    num_distinct = len(set(cells))
    is_text = column.kind == "category" and not all(is_number(cell, table.form.decimal) for cell in set(cells))
    is_nearly_unique = 2 * num_distinct > len(cells) >= _LEAST_ROWS_TO_JUDGE
    if is_text and num_distinct > 2 and (num_distinct == len(cells) or is_nearly_unique):
        raise DataError(
            f"Column {quoted(column.name)}, a category with about as many values as rows, {remedy}.",
            received=f"{num_distinct} different texts in {len(cells)} rows",
            path=table.path,
        )
    if column.kind == "number" and (column.minimum is None or column.maximum is None) and len(cells):
        reason = reason_of_digits(list(cells))
        if reason is not None:
            raise DataError(
                f"Column {quoted(column.name)} ({reason}) {remedy}. Where it is a measurement, say so by its "
                '"minimum" and "maximum".',
                received=f"{quoted(cells[0])} and others",
                path=table.path,
            )
