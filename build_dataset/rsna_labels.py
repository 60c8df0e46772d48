"""RSNA's stage_2_train.csv: six rows an image, `ID_<hex>_<type>,<0 or 1>`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from build_dataset.brain import IMAGE_ID, TYPES
from medsynth.data.labels import read_csv
from medsynth.errors import DataError

COLUMNS = ["ID", "Label"]
_ROW_NAME = f"a row is named ID_<hex>_<type>, with one of the types {', '.join(TYPES)}"
_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
_UNKNOWN = -1
_ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class SliceLabels:
    """The labels of every image.

    Attributes:
        images: ID_<hex>, in the order in which the table names them first.
        values: int8 [N, 6], 0 or 1, in the order of TYPES.
        num_duplicate_rows: Rows that stand there more than once and were dropped.
    """

    images: tuple[str, ...]
    values: npt.NDArray[np.int8]
    num_duplicate_rows: int


@dataclass(frozen=True)
class _Rows:
    """Rows of the table as numbers: image and type (their places in a list), label, line of the file."""

    images: npt.NDArray[np.int64]
    types: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int8]
    lines: npt.NDArray[np.int64]


def read_stage_2_labels(path: Path) -> SliceLabels:
    """Read the table, a million rows at a time.

    Rows may stand in any order and more than once.

    Raises:
        DataError: A row of another form, two rows that contradict each other, an image without all
            six types, or "any" that is not the maximum of the other five; names the line.
    """
    number_of: dict[str, int] = {}
    parts = [_parse(chunk, number_of, path) for chunk in _read_chunks(path)]
    if not number_of:
        raise DataError("Rows ID_<hex>_<type>,<0 or 1> were expected.", received="none", path=path)
    rows = _Rows(
        images=np.concatenate([part.images for part in parts]),
        types=np.concatenate([part.types for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        lines=np.concatenate([part.lines for part in parts]),
    )
    values = np.full((len(number_of), len(TYPES)), _UNKNOWN, np.int8)
    values[rows.images, rows.types] = rows.labels
    is_contradicted = values[rows.images, rows.types] != rows.labels
    _refuse_first(is_contradicted, rows, "another row of the same name has the other label", path)
    incomplete = (values == _UNKNOWN).any(axis=1)
    _refuse_first(incomplete[rows.images], rows, f"an image needs a row for each of {', '.join(TYPES)}", path)
    wrong_any = values[:, -1] != values[:, :-1].max(axis=1)
    _refuse_first(wrong_any[rows.images], rows, '"any" must be 1 where one of the other five is, and 0 elsewhere', path)
    return SliceLabels(tuple(number_of), values, len(rows.lines) - values.size)


def _read_chunks(path: Path) -> Iterator[pd.DataFrame]:
    """Yield the rows, as text, that are not blank; their index is the line of the file."""
    chunks: Any = read_csv(path, dtype=object, keep_default_na=False, skip_blank_lines=False, chunksize=_ROWS_AT_ONCE)
    with chunks:
        while True:
            try:
                chunk = next(chunks, None)
            except (pd.errors.ParserError, UnicodeDecodeError, ValueError) as error:
                raise DataError("The file is no readable csv.", received=error, path=path) from None
            if chunk is None:
                return
            # A third value in every row would become the index.
            if list(chunk.columns) != COLUMNS or not isinstance(chunk.index, pd.RangeIndex):
                raise DataError(
                    "Two columns, ID and Label as line 1 names them, were expected.",
                    received=", ".join(map(str, chunk.columns)),
                    path=path,
                )
            chunk.index += 2  # the first row stands in line 2
            yield chunk[(chunk["ID"] != "") | (chunk["Label"] != "")]


def _parse(chunk: pd.DataFrame, number_of: dict[str, int], path: Path) -> _Rows:
    """Return rows as numbers; images that are new get the next number."""
    cut = [name.rpartition("_") for name in chunk["ID"]]
    local_numbers, images = pd.factorize(np.array([image for image, _, _ in cut], object))
    types = pd.Index(TYPES).get_indexer(pd.Index([kind for _, _, kind in cut], dtype=object))
    labels = chunk["Label"].map(_LABELS)
    is_named = np.array([IMAGE_ID.fullmatch(image) is not None for image in images], bool)
    _refuse_cell(chunk["ID"][~is_named[local_numbers] | (types < 0)], _ROW_NAME, path)
    _refuse_cell(chunk["Label"][labels.isna()], "a label is 0 or 1", path)
    numbers = np.array([number_of.setdefault(image, len(number_of)) for image in images], np.int64)
    return _Rows(
        images=numbers[local_numbers],
        types=types.astype(np.int64),
        labels=labels.to_numpy().astype(np.int8),
        lines=chunk.index.to_numpy(np.int64),
    )


def _refuse_cell(wrong: "pd.Series[str]", sentence: str, path: Path) -> None:
    """Raise for the first of some cells."""
    if len(wrong):
        raise DataError(f"Line {wrong.index[0]}: {sentence}.", received=repr(wrong.iloc[0]), path=path)


def _refuse_first(wrong: npt.NDArray[np.bool_], rows: _Rows, sentence: str, path: Path) -> None:
    """Raise for the first row that is marked wrong."""
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(f"Line {rows.lines[row]}: {sentence}.", received=f"{int(wrong.sum()):,} such rows", path=path)
