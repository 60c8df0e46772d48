"""A user's table as text: any usual separator and encoding, every cell as text, every row with its line."""

import codecs
import csv
import itertools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from medsynth.data.wording import counted, quoted
from medsynth.errors import DataError

Cells = npt.NDArray[np.object_]
Marks = npt.NDArray[np.bool_]

SEPARATORS = ("\t", ";", "|", ",")  # the later one stands inside cells more often
DECIMALS = (".", ",")
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CERTAIN_ENCODINGS = ("utf-8", "utf-16")  # other bytes are not mistaken for these
_NUM_SAMPLE_LINES = 50
_LEAST_SHARE_ALIKE = 0.9  # of the sample lines that a separator cuts as it cuts the first
_NUM_BYTES_AT_ONCE = 1 << 20
# What Excel reads, and some programs write for it, above the names of the columns.
_SEPARATOR_LINE = re.compile(r'"?sep=([^"\r\n])"?\s*', re.IGNORECASE)
_CHARACTER_OF_NO_TEXT = re.compile(r"[\x00-\x08]")


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
        names: Its columns, all different but for those without a name.
        header_line: The line of the file that names them.
        cells: str [N, columns].
        lines: int64 [N], the line of the file in which each row starts.
    """

    path: Path
    form: TableForm
    names: tuple[str, ...]
    header_line: int
    cells: Cells
    lines: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know where the encoding is a guess, in sentences."""
        if self.form.encoding in _CERTAIN_ENCODINGS:
            return ()
        return (f"{self.path.name} is not in UTF-8, and is read as {self.form.encoding}; see that words are right.",)

    def column(self, name: str) -> Cells:
        """Return the cells of a column, str [N]."""
        return np.asarray(self.cells[:, self.names.index(name)])

    def refuse(self, wrong: Marks, expected: str, cells: Cells, column: str | None = None) -> None:
        """Raise for the first row that is marked in `wrong` [N].

        Args:
            wrong: Marks.
            expected: What was expected, a sentence.
            cells: What the rows say, [N], of which the message shows one.
            column: Their column, for the message.

        Raises:
            DataError: There is one; names file and line.
        """
        if not wrong.any():
            return
        row, num_others = int(np.argmax(wrong)), int(np.count_nonzero(wrong)) - 1
        place = f"Line {self.lines[row]}" if column is None else f"Line {self.lines[row]}, column {column!r}"
        others = f", and {counted(num_others, 'more row')}" if num_others else ""
        raise DataError(f"{place}: {expected}", received=f"{quoted(cells[row])}{others}", path=self.path)


def detect_form(path: Path) -> TableForm:
    """Find out how a table is written.

    UTF-8 and UTF-16 are certain. Other bytes are taken for Windows' Cyrillic (cp1251) where most of
    them stand side by side, as in words of that script, else for Western European (cp1252, which
    holds all letters of latin-1). The separator is the one that a first line `sep=;` names, or else the one that
    cuts the first lines into equally many cells.

    Raises:
        DataError: Missing, or no table.
    """
    table = read_text_table(path)
    return replace(table.form, decimal=_detect_decimal(table))


def read_text_table(path: Path, form: TableForm | None = None, *, verbatim: bool = False) -> TextTable:
    """Read a table whose first line with content names its columns. Quotes are those of RFC 4180.

    Lines without content are passed over, and so is a first line `sep=;`, as Excel knows it.

    Args:
        path: The file.
        form: How it is written; None: separator and encoding are detected, see `detect_form`.
        verbatim: Leave cells as they stand, and columns without a name. Otherwise cells come without the spaces
            around them, names on one line, a column without a name is called by its number (`column 3`), and
            separators behind the last cell are passed over.

    Raises:
        DataError: Missing or unreadable, another encoding, two columns of one name, a row that is longer or
            shorter than the first, or no row at all; names file and line.
    """
    if form is None:
        encoding = _detect_encoding(path)
        form = TableForm(_detect_separator(path, encoding), encoding)
    with _open_text(path, form.encoding) as file:
        rows = _rows(file, form.separator, path)
        header_line, header = next(rows, (1, []))
        names = _column_names(header, header_line, path, verbatim=verbatim)
        cells: list[str] = []
        words: dict[str, str] = {}  # equal cells become one string, which saves most of the memory
        lines: list[int] = []
        for line, row in rows:
            found = row if verbatim else _tidy(row, len(names))
            if len(found) != len(names):
                raise DataError(
                    f"Line {line} must have {counted(len(names), 'cell')}, as line {header_line} has "
                    f"(separator {form.separator!r}).",
                    received=counted(len(row), "cell"),
                    path=path,
                )
            cells += map(words.setdefault, found, found)
            lines.append(line)
    if not verbatim:
        _require_text(words, path)
    if not lines:
        raise DataError("The table has no rows.", received="names of columns alone", path=path)
    texts = np.array(cells, object).reshape(len(lines), -1)
    return TextTable(path, form, names, header_line, texts, np.array(lines, np.int64))


@contextmanager
def _open_text(path: Path, encoding: str) -> Iterator[TextIO]:
    """Open a table as text with its line breaks, and say what is wrong with it where reading fails."""
    try:
        is_utf_8 = codecs.lookup(encoding).name == "utf-8"
        with path.open(encoding="utf-8-sig" if is_utf_8 else encoding, newline="") as file:
            yield file
    except FileNotFoundError:
        raise DataError("A table was expected here.", received="no such file", path=path) from None
    except OSError as error:
        raise DataError("A table was expected here.", received=error.strerror, path=path) from None
    except UnicodeError:
        raise _encoding_error(path, encoding) from None
    except (LookupError, ValueError) as error:
        raise DataError("The encoding of the table is none that is known.", received=error, path=path) from None


def _encoding_error(path: Path, encoding: str) -> DataError:
    """Return the error that names the first line that is not in this encoding."""
    content = path.read_bytes()
    start = 0
    try:
        content.decode(encoding)
    except UnicodeDecodeError as error:
        start = error.start
    except UnicodeError:  # UTF-16 without its mark, which has no place
        pass
    line = content.count(b"\n", 0, start) + 1
    return DataError(
        f'Line {line} is not in {encoding}; set "encoding" where it is a setting (such as to cp1251 or latin-1), or '
        f"save the table in {encoding}.",
        received=f"bytes {content[start : start + 4]!r}",
        path=path,
    )


def _detect_encoding(path: Path) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open_text(path, "latin-1") as text:
        file = text.buffer
        first = file.read(4)
        for mark, encoding in _BYTE_ORDER_MARKS:
            if first.startswith(mark):
                return encoding
        try:
            decoder.decode(first)
            while chunk := file.read(_NUM_BYTES_AT_ONCE):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
            return _guess_encoding(file.read())
    return "utf-8"


def _guess_encoding(content: bytes) -> str:
    runs = re.findall(rb"[\x80-\xff]+", content)
    num_beside_another = sum(len(run) for run in runs if len(run) > 1)
    if 2 * num_beside_another > sum(map(len, runs)) and _decodes(content, "cp1251"):
        return "cp1251"
    return "cp1252" if _decodes(content, "cp1252") else "latin-1"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _detect_separator(path: Path, encoding: str) -> str:
    with _open_text(path, encoding) as file:
        if match := _SEPARATOR_LINE.fullmatch(file.readline()):
            return match[1]
    candidates = []
    for place, separator in enumerate(SEPARATORS):
        with _open_text(path, encoding) as file:
            try:
                counts = [
                    len(row)
                    for row in itertools.islice(filter(None, csv.reader(file, delimiter=separator)), _NUM_SAMPLE_LINES)
                ]
            except csv.Error:
                continue
        if counts and counts[0] > 1:
            is_even = np.mean([count == counts[0] for count in counts]) >= _LEAST_SHARE_ALIKE
            # Where none cuts evenly, the table is damaged; its first line has most cells by its own separator.
            candidates.append((not is_even, 0 if is_even else -counts[0], place, separator))
    return min(candidates, default=(False, 0, 0, ","))[-1]


def _detect_decimal(table: TextTable) -> str:
    words = set(table.cells.ravel())
    num_points = sum(re.fullmatch(r"[+-]?\d*\.\d+", word) is not None for word in words)
    # Three digits behind a comma may be thousands, and show nothing.
    num_commas = sum(re.fullmatch(r"[+-]?\d+,(\d{1,2}|\d{4,})", word) is not None for word in words)
    return "," if num_commas > num_points else "."


def _rows(file: TextIO, separator: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row with content."""
    first = file.readline()
    num_before = 1 if _SEPARATOR_LINE.fullmatch(first) else 0
    line = num_before + 1
    try:
        reader = csv.reader(itertools.chain([] if num_before else [first], file), delimiter=separator, strict=True)
        for row in reader:
            if any(map(str.strip, row)):
                yield line, row
            line = num_before + reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"The file is no readable table from line {line} on.", received=error, path=path) from None


def _tidy(row: list[str], num_columns: int) -> list[str]:
    """Return a row's cells without the spaces around them, and without what separators behind the last cell add."""
    cells = [cell.strip() for cell in row]
    return cells if any(cells[num_columns:]) else cells[:num_columns]


def _column_names(header: list[str], line: int, path: Path, *, verbatim: bool) -> tuple[str, ...]:
    if not header:
        raise DataError("Names of columns were expected in line 1.", received="an empty file", path=path)
    _require_text(header, path)
    names = [cell.strip() for cell in header]
    if not verbatim:
        while not names[-1]:
            names.pop()
        names = [" ".join(name.split()) or f"column {number}" for number, name in enumerate(names, start=1)]
    for number, name in enumerate(names, start=1):
        if name and name in names[: number - 1]:
            raise DataError(
                f"Line {line}: every column has its own name.",
                received=f"{quoted(name)} in columns {names.index(name) + 1} and {number}",
                path=path,
            )
    return tuple(names)


def _require_text(cells: Iterable[str], path: Path) -> None:
    odd = next(filter(_CHARACTER_OF_NO_TEXT.search, cells), None)
    if odd is not None:
        raise DataError(
            "The file is no table of text; save it as csv where it is one of Excel.", received=quoted(odd), path=path
        )
