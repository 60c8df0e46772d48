"""The user's table as text: any usual separator and encoding, every cell as it stands, every row with its line."""

import codecs
import csv
import difflib
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.data.wording import counted
from medsynth.errors import DataError

Cells = npt.NDArray[np.object_]
Marks = npt.NDArray[np.bool_]

SEPARATORS = ("\t", ";", "|", ",")  # the later one stands inside cells more often
DECIMALS = (".", ",")
_MISSING = ("", "na", "n/a", "nan", "null", "<na>", "#n/a", "?")
_NUM_SAMPLE_LINES = 50
_LEAST_SHARE_ALIKE = 0.9  # of the sample lines that a separator cuts as it cuts the first
_LONGEST_SHOWN, _MOST_SHOWN = 80, 10
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class TableForm:
    """How a table is written.

    Attributes:
        separator: One character between cells.
        encoding: As Python names it.
        decimal: "." or ",".
    """

    separator: str = ","
    encoding: str = "utf-8"
    decimal: str = "."

    def __str__(self) -> str:
        return f"separator {self.separator!r}, encoding {self.encoding}, decimal sign {self.decimal!r}"


@dataclass(frozen=True)
class TextTable:
    """A table as text.

    Attributes:
        path: The file.
        form: How it is written.
        names: Its columns, all different.
        cells: str [N, columns], without the spaces around them.
        lines: int64 [N], the line of the file in which each row starts.
    """

    path: Path
    form: TableForm
    names: tuple[str, ...]
    cells: Cells
    lines: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> Cells:
        """Return the cells of a column, str [N]."""
        return np.asarray(self.cells[:, self.names.index(name)])

    def refuse(self, wrong: Marks, column: str, expected: str) -> None:
        """Raise for the first row that is marked in `wrong` [N].

        Raises:
            DataError: There is one; names file, line and column, and shows the cell.
        """
        if not wrong.any():
            return
        row, num_others = int(np.argmax(wrong)), int(np.count_nonzero(wrong)) - 1
        others = f", and {counted(num_others, 'more row')}" if num_others else ""
        raise DataError(
            f"Line {self.lines[row]}, column {column!r}: {expected}",
            received=f"{quoted(self.column(column)[row])}{others}",
            path=self.path,
        )


def is_missing(cells: Cells) -> Marks:
    """Return which cells [N] are empty, or say NA, n/a, NaN, null or `?`."""
    return np.array([cell.lower() in _MISSING for cell in cells], bool)


def quoted(cell: str) -> str:
    """Return a cell for a message: in quotes, on one line, cut where it is long."""
    return repr(cell if len(cell) <= _LONGEST_SHOWN else f"{cell[:_LONGEST_SHOWN]}...")


def listed(names: Sequence[str]) -> str:
    """Return names for a message, each in quotes, the first of them where they are many."""
    more = [f"and {len(names) - _MOST_SHOWN:,} more"] if len(names) > _MOST_SHOWN else []
    return ", ".join([*map(quoted, names[:_MOST_SHOWN]), *more])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean X?" for the known name that is most like `name`, or nothing."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {quoted(matches[0])}?" if matches else ""


def detect_form(path: Path) -> TableForm:
    """Find out how a table is written.

    UTF-8 and UTF-16 are certain. Other bytes are taken for Windows' Cyrillic (cp1251) where most of
    them stand side by side, as in words of that script, else for Western European (cp1252, which
    holds all letters of latin-1). The separator is the one that cuts the first lines into equally many cells.

    Raises:
        DataError: Missing, or no table.
    """
    content = _read_bytes(path)
    encoding = _detect_encoding(content)
    separator = _detect_separator(_decode(content, encoding, path))
    table = read_text_table(path, TableForm(separator, encoding))
    return TableForm(separator, encoding, _detect_decimal(table))


def read_text_table(path: Path, form: TableForm) -> TextTable:
    """Read a table whose first line with content names its columns. Quotes are those of RFC 4180.

    Lines without content are passed over, and so are separators behind the last cell. A column without a
    name is called by its number (`column 3`).

    Raises:
        DataError: Missing or unreadable, another encoding, two columns of one name, a row that is longer or
            shorter than the first, or no row at all; names file and line.
    """
    text = _decode(_read_bytes(path), form.encoding, path)
    rows = _rows(text, form.separator, path)
    header_line, header = next(rows, (1, []))
    if not header:
        raise DataError("Names of columns were expected in line 1.", received="an empty file", path=path)
    while header and not header[-1]:
        header = header[:-1]
    names = _distinct_names(header, header_line, path)
    cells: list[str] = []
    words: dict[str, str] = {}  # equal cells become one string, which saves most of the memory
    lines: list[int] = []
    for line, row in rows:
        if len(row) < len(names) or any(row[len(names) :]):
            raise DataError(
                f"Line {line} must have {counted(len(names), 'cell')}, as line {header_line} has "
                f"(separator {form.separator!r}).",
                received=counted(len(row), "cell"),
                path=path,
            )
        cells += map(words.setdefault, row[: len(names)], row)
        lines.append(line)
    if not lines:
        raise DataError("The table has no rows.", received="names of columns alone", path=path)
    return TextTable(path, form, names, np.array(cells, object).reshape(len(lines), -1), np.array(lines, np.int64))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError("A table was expected here.", received="no such file", path=path) from None
    except OSError as error:
        raise DataError("A table was expected here.", received=error.strerror, path=path) from None


def _decode(content: bytes, encoding: str, path: Path) -> str:
    try:
        is_utf_8 = codecs.lookup(encoding).name == "utf-8"
        text = content.decode("utf-8-sig" if is_utf_8 else encoding)  # with or without a byte order mark
    except (LookupError, ValueError) as error:
        if not isinstance(error, UnicodeError):
            raise DataError("The encoding of the table is none that is known.", received=error, path=path) from None
        start = error.start if isinstance(error, UnicodeDecodeError) else 0
        line = content.count(b"\n", 0, start) + 1
        raise DataError(
            f'Line {line} is not in {encoding}; set "encoding" in schema.json (such as utf-8, cp1251 or latin-1).',
            received=f"bytes {content[start : start + 4]!r}",
            path=path,
        ) from None
    if "\0" in text:
        raise DataError(
            "The file is no table of text; save it as csv where it is one of Excel.",
            received=f"it begins with {content[:4]!r}",
            path=path,
        )
    return text


def _detect_encoding(content: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        runs = re.findall(rb"[\x80-\xff]+", content)
        num_beside_another = sum(len(run) for run in runs if len(run) > 1)
        if 2 * num_beside_another > sum(map(len, runs)) and _decodes(content, "cp1251"):
            return "cp1251"
        return "cp1252" if _decodes(content, "cp1252") else "latin-1"
    return "utf-8"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _detect_separator(text: str) -> str:
    candidates = []
    for place, separator in enumerate(SEPARATORS):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            counts = [len(row) for row in itertools.islice(filter(None, reader), _NUM_SAMPLE_LINES)]
        except csv.Error:
            continue
        if counts and counts[0] > 1:
            is_even = np.mean([count == counts[0] for count in counts]) >= _LEAST_SHARE_ALIKE
            candidates.append((not is_even, place, separator))
    return min(candidates, default=(False, 0, ","))[2]


def _detect_decimal(table: TextTable) -> str:
    words = set(table.cells.ravel())
    num_points = sum(re.fullmatch(r"[+-]?\d*\.\d+", word) is not None for word in words)
    # Three digits behind a comma may be thousands, and show nothing.
    num_commas = sum(re.fullmatch(r"[+-]?\d+,(\d{1,2}|\d{4,})", word) is not None for word in words)
    return "," if num_commas > num_points else "."


def _rows(text: str, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row with content."""
    line = 1
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"The file is no readable table from line {line} on.", received=error, path=path) from None


def _distinct_names(header: list[str], line: int, path: Path) -> tuple[str, ...]:
    names = [" ".join(cell.split()) or f"column {number}" for number, cell in enumerate(header, start=1)]
    for number, name in enumerate(names, start=1):
        if name in names[: number - 1]:
            raise DataError(
                f"Line {line}: every column has its own name.",
                received=f"{quoted(name)} in columns {names.index(name) + 1} and {number}",
                path=path,
            )
    return tuple(names)
