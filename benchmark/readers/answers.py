"""The tables that readers send back, held against the study that they were made for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmark.readers.sheets import COLUMNS, CONFIDENCES, REAL, SYNTHETIC
from benchmark.readers.study import StudyKey
from medsynth.data.text_table import Cells, TextTable, read_text_table
from medsynth.data.wording import counted, listed, quoted
from medsynth.errors import DataError

Floats = npt.NDArray[np.float64]
# Any beginning of a word will do, as `synth`; nothing is no answer.
_WORDS = {
    word[:length]: value for word, value in ((REAL, 1.0), (SYNTHETIC, 0.0)) for length in range(1, len(word) + 1)
} | {"": np.nan}
_LEVELS = {str(value): float(value) for value, _ in CONFIDENCES} | {"": np.nan}
_CONFIDENCE = f"a confidence is {', '.join(f'{value} ({word})' for value, word in CONFIDENCES)} or nothing"
# Spreadsheets may give whole numbers decimals.
_NO_DECIMALS = re.compile(r"^(\d+)[.,]0+$")
_CUT_CONFIDENCE = re.compile(rb",\d+,\d+[ \t]*\r?$", re.MULTILINE)
# A browser puts (1) behind a name that it has saved before.
_NAME = re.compile(r"(?:answers[-_ ])?(.*?)(?: ?\(\d+\))?", re.IGNORECASE)


@dataclass(frozen=True)
class Answers:
    """What all readers of a study have said.

    Attributes:
        readers: Their names.
        called_real: [J, N], 1 where reader j called item i real, 0 where synthetic, NaN where nothing was said.
        confidence: [J, N], 1 to 3; NaN where none was given.
    """

    readers: tuple[str, ...]
    called_real: Floats
    confidence: Floats


def read_answers(paths: Sequence[Path], key: StudyKey) -> Answers:
    """Read the tables of all readers, a file each.

    Columns `item` and `answer` (real or synthetic, or their first letters) are needed, `study` and `confidence` are
    used where they are there. A missing row or an empty answer counts as no answer. Separators and encodings are those
    that spreadsheets write, and so is `3,0` or `3.0` for 3.

    Raises:
        DataError: A table that is unreadable, of another study, of the same reader as another, without any answer, or
            with an unknown item, an item twice, another word or another confidence; names file and line.
    """
    names: list[str] = []
    called, confidences = [], []
    for path in paths:
        name = reader_name(path)
        if name in names:
            raise DataError(
                "Every reader has one table, answers-NAME.csv; this reader's name came before.",
                received=f"{quoted(name)} again, first in {paths[names.index(name)]}",
                path=path,
            )
        names.append(name)
        one = _read_one(path, key)
        called.append(one[0])
        confidences.append(one[1])
    return Answers(tuple(names), np.stack(called), np.stack(confidences))


def reader_name(path: Path) -> str:
    """Return the NAME of answers-NAME.csv; of another file its name without the ending."""
    match = _NAME.fullmatch(path.stem)
    return (match[1].strip() if match else "") or path.stem


def _read_one(path: Path, key: StudyKey) -> tuple[Floats, Floats]:
    """Return called_real and confidence of one table, [N] each."""
    table = _read_table(path)
    columns = {name.casefold(): name for name in table.names}
    for needed in COLUMNS[1:3]:
        if needed not in columns:
            raise DataError(
                f"The columns {', '.join(COLUMNS[1:3])} were expected.", received=listed(table.names), path=path
            )
    _require_study(table, columns, key)
    rows = _find_items(table, columns["item"], key)
    called, confidence = (np.full(len(key.items), np.nan) for _ in range(2))
    called[rows] = _translate(table, columns["answer"], _WORDS, f"{REAL} or {SYNTHETIC} was expected.")
    if "confidence" in columns:
        confidence[rows] = _translate(table, columns["confidence"], _LEVELS, f"{_CONFIDENCE}; write it so.")
    if np.isnan(called).all():
        raise DataError("An answer was expected.", received=f"{counted(len(table), 'row')} without one", path=path)
    return called, np.where(np.isnan(called), np.nan, confidence)


def _read_table(path: Path) -> TextTable:
    """Read a table, and say so where decimal commas may have cut its confidences in two.

    Raises:
        DataError: It is no table.
    """
    try:
        return read_text_table(path)
    except DataError as error:
        if not path.is_file() or not _CUT_CONFIDENCE.search(path.read_bytes()):
            raise
        raise DataError(
            f"{error.expected} A decimal comma adds a cell: {_CONFIDENCE}.", received=error.received, path=path
        ) from None


def _require_study(table: TextTable, columns: dict[str, str], key: StudyKey) -> None:
    if "study" in columns:
        studies = table.column(columns["study"])
        wrong = ~np.isin(studies, (key.name, ""))
        table.refuse(wrong, f"Answers to {key.name} of {key.folder} were expected.", studies, columns["study"])


def _find_items(table: TextTable, column: str, key: StudyKey) -> npt.NDArray[np.int64]:
    """Return the number of every row's item, [rows]."""
    items: Cells = np.array([item.casefold().removesuffix(".png") for item in table.column(column)], object)
    numbers = {item: number for number, item in enumerate(key.items)}
    unknown = np.array([item not in numbers for item in items], bool)
    expected = f"an item of the study, {key.items[0]} to {key.items[-1]}, was expected."
    table.refuse(unknown, expected, table.column(column), column)
    first = {item: row for row, item in reversed(list(enumerate(items)))}
    again = np.array([first[item] != row for row, item in enumerate(items)], bool)
    table.refuse(again, "every item has one row.", table.column(column), column)
    return np.array([numbers[item] for item in items], np.int64)


def _translate(table: TextTable, column: str, known: dict[str, float], expected: str) -> Floats:
    """Return the numbers that a column's words stand for, [rows]."""
    cells = table.column(column)
    words = [_NO_DECIMALS.sub(r"\1", cell.casefold()) for cell in cells]
    table.refuse(np.array([word not in known for word in words], bool), expected, cells, column)
    return np.array([known[word] for word in words])
