"""Users' tables as text: what is detected, what a form changes, and what a verbatim reading leaves as it stands."""

import codecs
from pathlib import Path

import numpy as np
import pytest

from medsynth.data.text_table import TableForm, TextTable, detect_form, read_text_table
from medsynth.errors import DataError


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ":"])
@pytest.mark.parametrize("first", ["sep={}", "SEP={}", '"sep={}"'])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_first_line_may_name_the_separator(
    tmp_path: Path, separator: str, first: str, end: str, encoding: str
) -> None:
    # Another separator would cut the lines as evenly.
    rows = [["a;x", "b,y"], ["1;2", "3,4"], ["5;6", "7,8"]]
    lines = [first.format(separator), *(separator.join(f'"{cell}"' for cell in row) for row in rows)]
    path = written(tmp_path, end.join([*lines, ""]).encode(encoding))
    assert detect_form(path).separator == separator
    for table in (read_text_table(path), read_text_table(path, TableForm(separator, encoding)),
                  read_text_table(path, verbatim=True)):  # fmt: skip
        assert table.names == ("a;x", "b,y")
        assert table.cells.tolist() == rows[1:]
        assert (table.header_line, table.lines.tolist()) == (2, [3, 4])


def test_a_separator_line_is_none_elsewhere(tmp_path: Path) -> None:
    table = read_text_table(written(tmp_path, "a;b\nsep=;\n1;2\n"))
    assert table.cells.tolist() == [["sep=", ""], ["1", "2"]]


ODD = " a ;;b\tc  d;\n 1 ;x;2 ; \n3;;4;y\n ; ;;\n"


def test_verbatim_leaves_cells_and_nameless_columns(tmp_path: Path) -> None:
    path = written(tmp_path, ODD)
    table = read_text_table(path, verbatim=True)
    assert table.names == ("a", "", "b\tc  d", "")
    assert table.cells.tolist() == [[" 1 ", "x", "2 ", " "], ["3", "", "4", "y"]]
    path.write_text(ODD.replace("4;y", "4;"))
    table = read_text_table(path)
    assert table.names == ("a", "column 2", "b c d")
    assert table.cells.tolist() == [["1", "x", "2"], ["3", "", "4"]]


@pytest.mark.parametrize("verbatim", [True, False])
@pytest.mark.parametrize(("row", "is_longer"), [("1,2,", False), ("1,2,3", True)])
def test_a_longer_row(tmp_path: Path, row: str, is_longer: bool, verbatim: bool) -> None:
    path = written(tmp_path, f"a,b\n1,2\n{row}\n")
    if verbatim or is_longer:
        with pytest.raises(DataError, match=r"Line 3 must have 2 cells, as line 1 has.*Received: 3 cells"):
            read_text_table(path, verbatim=verbatim)
    else:
        assert read_text_table(path).cells.tolist() == [["1", "2"]] * 2


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("a,b\nx,ü\n".encode(), "utf-8"),
        (codecs.BOM_UTF8 + b"a,b\nx,y\n", "utf-8"),
        ("a,b\nx,ü\n".encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + "a,b\nx,ü\n".encode("utf-16-be"), "utf-16"),
        ("a,b\nx,Zürich\n".encode("latin-1"), "cp1252"),
        ("a,b\nx,Цюрих\n".encode("cp1251"), "cp1251"),
        (b"a,b\nx,\x81\n", "latin-1"),
        (("a,b\n" + "x,ü\n" * 300_000).encode(), "utf-8"),  # cut within a character, as it is read in pieces
    ],
    ids=["utf-8", "mark", "utf-16", "big endian", "cp1252", "cp1251", "latin-1", "long"],
)
def test_only_guessed_encodings_are_pointed_out(tmp_path: Path, content: bytes, encoding: str) -> None:
    table = read_text_table(written(tmp_path, content))
    assert table.form.encoding == encoding
    guessed = encoding in ("cp1252", "cp1251", "latin-1")
    assert [f"is read as {encoding}" in note for note in table.notes] == [True] * guessed


@pytest.mark.parametrize(
    ("text", "separator"), [("a|b\n1|2\n", "|"), ("path,labels\na.png,x|y\nb.png,x\n", ","), ("a\n1;2\n", ",")]
)
def test_separators(tmp_path: Path, text: str, separator: str) -> None:
    assert read_text_table(written(tmp_path, text)).form.separator == separator


def test_a_damaged_table_is_cut_as_its_first_line_is(tmp_path: Path) -> None:
    path = written(tmp_path, "path,a;b,c\n1,2,3\n3,4,5\n6\n")  # no separator cuts nine lines of ten alike
    with pytest.raises(DataError, match=r"Line 4 must have 3 cells, as line 1 has \(separator ','\)"):
        read_text_table(path)


def test_the_first_wrong_row_is_named(tmp_path: Path) -> None:
    table = read_text_table(written(tmp_path, f'a,b\n"1\n2",x\n\n3,{"y" * 200}\n4,z\n'))
    assert isinstance(table, TextTable)
    table.refuse(np.zeros(3, bool), "never said.", table.column("b"), "b")
    with pytest.raises(DataError) as caught:
        table.refuse(np.array([False, True, True]), "an x was expected.", table.column("b"), "b")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/table.csv: Line 5, column 'b': an x was expected. Received: 'yyy")
    assert message.endswith("...', and 1 more row")
    assert len(message) < 300
    with pytest.raises(DataError, match=r"Line 6: an x was expected\. Received: '4'$"):
        table.refuse(np.array([False, False, True]), "an x was expected.", table.column("a"))
