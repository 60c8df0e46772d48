"""Raw tables as text: every cell as it stands, every row with its line, and a clear error for what is no table."""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from medsynth.data.wording import counted
from medsynth.errors import DataError

Cells = npt.NDArray[np.object_]

_SEPARATORS = ",;\t"  # the first wins where a header has no other
# Whatever ends a line for str.splitlines among them, since a dataset's patients stand one a line.
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST_SHOWN, _MOST_SHOWN = 120, 20


@dataclass(frozen=True)
class TextTable:
    """A csv file as text.

    Attributes:
        path: The file.
        names: Its columns, distinct but for those without a name.
        cells: str [N, columns].
        lines: int64 [N], the line of the file that each row starts in.
    """

    path: Path
    names: tuple[str, ...]
    cells: Cells
    lines: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> Cells:
        """Return the cells of a column, [N]."""
        return self.cells[:, self.names.index(name)]

    def refuse(self, wrong: npt.NDArray[np.bool_], sentence: str, cells: Cells) -> None:
        """Raise for the first row that is marked in `wrong` [N], showing its cell of `cells` [N].

        Raises:
            DataError: There is one; names file and line.
        """
        if wrong.any():
            row = int(np.argmax(wrong))
            others = (
                f", and {counted(int(np.count_nonzero(wrong)) - 1, 'more row')}" if np.count_nonzero(wrong) > 1 else ""
            )
            raise DataError(
                f"Line {self.lines[row]}: {sentence}.", received=f"{quoted(cells[row])}{others}", path=self.path
            )


def read_table(path: Path) -> TextTable:
    """Read a csv file in UTF-8, whose first line names its columns.

    Cells are separated by comma, semicolon or tab: by the one that gives the first line most cells.
    Rows without any content are left out. Quotes are those of RFC 4180.

    Raises:
        DataError: Missing or unreadable, not UTF-8, two columns of one name, a row that is longer or
            shorter than the first line, or no row at all; names file and line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _parse(file, path)
    except FileNotFoundError:
        raise DataError("A csv file was expected here.", received="no such file", path=path) from None
    except OSError as error:
        raise DataError("A csv file was expected here.", received=error.strerror, path=path) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"The file is no readable csv: line {_first_undecodable_line(path)} is not in UTF-8. Save it as such.",
            received=f"byte {error.object[error.start]:#04x}",
            path=path,
        ) from None


def quoted(cell: str) -> str:
    """Return a cell for a message: in quotes, on one line, cut where it is long."""
    return repr(cell if len(cell) <= _LONGEST_SHOWN else f"{cell[:_LONGEST_SHOWN]}...")


def listed(names: Sequence[str]) -> str:
    """Return names for a message, the first of them where they are many."""
    shown = [name if name.isprintable() and len(name) <= _LONGEST_SHOWN else quoted(name) for name in names]
    more = [f"and {len(names) - _MOST_SHOWN:,} more"] if len(names) > _MOST_SHOWN else []
    return ", ".join(shown[:_MOST_SHOWN] + more)


def has_control_characters(cells: Cells) -> npt.NDArray[np.bool_]:
    """Return which of some names [N] hold a line break or another control character."""
    return np.array([_CONTROL_CHARACTER.search(cell) is not None for cell in cells], bool)


def _parse(file: TextIO, path: Path) -> TextTable:
    header = file.readline()
    reader = csv.reader(itertools.chain([header], file), delimiter=_separator(header), strict=True)
    cells: list[str] = []
    words: dict[str, str] = {}  # equal cells become one string, which saves most of the memory
    lines: list[int] = []
    line = 1
    try:
        names = _require_names(next(reader, []), path)
        line = reader.line_num + 1
        for row in reader:
            if any(row):
                if len(row) != len(names):
                    raise DataError(
                        f"Line {line}: {len(names)} cells were expected, as line 1 has them.",
                        received=counted(len(row), "cell"),
                        path=path,
                    )
                cells += map(words.setdefault, row, row)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"The file is no readable csv from line {line} on.", received=error, path=path) from None
    if not lines:
        raise DataError("The table has no rows.", received="names of columns alone", path=path)
    return TextTable(path, names, np.array(cells, object).reshape(len(lines), -1), np.array(lines, np.int64))


def _separator(header: str) -> str:
    """Return the separator that cuts a line into most cells."""

    def num_cells(separator: str) -> int:
        try:
            return len(next(csv.reader([header], delimiter=separator), []))
        except csv.Error:
            return 0

    return max(_SEPARATORS, key=num_cells)


def _require_names(row: list[str], path: Path) -> tuple[str, ...]:
    names = tuple(name.strip() for name in row)
    if not any(names):
        raise DataError(
            "The file is no readable csv: names of columns were expected in line 1.", received="none", path=path
        )
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataError("Every column has its own name.", received=f"{listed(twice)} more than once", path=path)
    return names


def _first_undecodable_line(path: Path) -> int:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8-sig")
            except UnicodeDecodeError:
                return number
    return 1
