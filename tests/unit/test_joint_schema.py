"""schema.json is guessed from any usual table, flags what identifies people, and refuses what contradicts itself."""

import codecs
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from GAN_joint.columns import Column
from GAN_joint.schema import Proposal, propose_schema, read_schema, schema_path, write_schema
from medsynth.data.text_table import TableForm, detect_form, read_text_table
from medsynth.errors import DataError, MedsynthError, UsageError
from tests.joint_files import (
    HEADER,
    edit_column,
    edit_schema,
    risk_table,
    table_text,
    write_images,
    write_joint_folder,
)

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MEDSYNTH_DATA", ROOT / ".." / "shared" / "data"))
TABULAR = DATA / "ecg" / "tabular" / "z_alizadeh_sani_ext.csv"


def propose(folder: Path, columns: dict[str, list[str]], preset: str = "guess", **options: Any) -> Proposal:
    """Return what is proposed for some columns beside one of images."""
    num_rows = len(next(iter(columns.values())))
    names = [f"p{row}.png" for row in range(num_rows)]
    table = [["image", *columns], *map(list, zip(names, *columns.values(), strict=True))]
    return propose_schema(write_joint_folder(folder, table, schema=False), preset, **options)


def guess(folder: Path, cells: list[str], name: str = "thing", preset: str = "guess") -> Column:
    (_, column) = propose(folder, {name: cells}, preset).schema.columns
    return column


# The form of the table.

TEXT = table_text(risk_table())
FORMS = {
    "semicolon": (TEXT.encode(), ";", "utf-8"),
    "comma": (TEXT.replace(";", ",").encode(), ",", "utf-8"),
    "tab": (TEXT.replace(";", "\t").encode(), "\t", "utf-8"),
    "bar": (TEXT.replace(";", "|").encode(), "|", "utf-8"),
    "byte order mark": (codecs.BOM_UTF8 + TEXT.encode(), ";", "utf-8"),
    "utf-16": (TEXT.encode("utf-16"), ";", "utf-16"),
    "utf-8 beyond ascii": (TEXT.replace("Zurich", "Zürich").encode(), ";", "utf-8"),
    "latin-1": (TEXT.replace("Zurich", "Zürich").encode("latin-1"), ";", "cp1252"),
    "bytes that cp1252 lacks": (TEXT.replace("Zurich", "Z\x81rich").encode("latin-1"), ";", "latin-1"),
    "cp1251": (TEXT.replace("Ivanov", "Иванов").replace("Zurich", "Цюрих").encode("cp1251"), ";", "cp1251"),
    "lines of Windows": (TEXT.replace("\n", "\r\n").encode(), ";", "utf-8"),
    "no line break at the end": (TEXT.rstrip("\n").encode(), ";", "utf-8"),
}


@pytest.mark.parametrize("case", FORMS)
def test_separator_and_encoding_are_detected_and_stated(tmp_path: Path, case: str) -> None:
    content, separator, encoding = FORMS[case]
    write_joint_folder(tmp_path, schema=False)
    (tmp_path / "table.csv").write_bytes(content)
    schema, notes = propose_schema(tmp_path)
    assert (schema.separator, schema.encoding, schema.decimal) == (separator, encoding, ".")
    assert [column.name for column in schema.columns] == HEADER
    assert repr(separator) in notes[0]
    assert f"encoding {encoding}" in notes[0]
    write_schema(tmp_path, schema)
    table = read_text_table(tmp_path / "table.csv", read_schema(tmp_path).form)
    assert table.cells.shape == (12, 10)
    assert set(table.column("site")) == {
        {"cp1251": "Цюрих", "latin-1": "Zürich", "utf-8 beyond ascii": "Zürich"}.get(
            case, "Z\x81rich" if encoding == "latin-1" else "Zurich"
        )
    }


@pytest.mark.parametrize(
    ("cells", "decimal"),
    [
        (["54,5", "61,25", "70"], ","),
        (["54.5", "61.25", "70"], "."),
        (["7,100", "13,000", "9,200"], "."),  # thousands
        (["12.05.1960", "13.06.1961", "14.07.1962"], "."),
    ],
)
def test_a_decimal_comma_is_told_from_thousands(tmp_path: Path, cells: list[str], decimal: str) -> None:
    assert propose(tmp_path, {"Weight": cells}).schema.decimal == decimal


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("Weight, kg;Length, cm\n54,5;164\n60;170,5\n", ";"),
        ('a,b,c\n1,"x;y",3\n4,"z;w",6\n', ","),
        ("a;b,c;d\n1;2,0;3\n4;5,5;6\n", ";"),
        ("a\n1\n2\n", ","),
    ],
)
def test_a_separator_is_told_from_what_stands_in_cells(tmp_path: Path, text: str, separator: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    assert detect_form(path).separator == separator


def test_quotes_blank_lines_and_separators_at_the_end_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text('\nname;"two\nlines";c;\n"a;b";" x ";"say ""no""";\n\n;;;\nd;"e\nf";g\n')
    table = read_text_table(path, TableForm(";"))
    assert table.names == ("name", "two lines", "c")
    assert table.cells.tolist() == [["a;b", "x", 'say "no"'], ["d", "e\nf", "g"]]
    assert table.lines.tolist() == [4, 7], "the lines of the file, not the numbers of the rows"


NO_TABLES = {
    "nothing": (b"", r"table.csv: Names of columns were expected in line 1\. Received: an empty file"),
    "blank lines": (b"\n\n", r"Names of columns were expected"),
    "header alone": (b"a;b\n", r"table.csv: The table has no rows"),
    "one column twice": (b"a;b;a\n1;2;3\n", r"Line 1: every column has its own name. Received: 'a' in columns 1 and 3"),
    "a longer row": (b"a;b\n1;2\n1;2;3\n", r"Line 3 must have 2 cells, as line 1 has.*Received: 3 cells"),
    "a shorter row": (b"a;b\n1;2\n\n1\n", r"Line 4 must have 2 cells.*Received: 1 cell$"),
    "an open quote": (b'a;b\n1;2\n"1;2\n', r"no readable table from line 3 on"),
    "a workbook": (b"PK\x03\x04\0\0", r"no table of text; save it as csv"),
}


@pytest.mark.parametrize("case", NO_TABLES)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, case: str) -> None:
    content, message = NO_TABLES[case]
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_text_table(path, TableForm(";"))


def test_another_encoding_than_the_schema_says_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("a;b\n1;2\nü;3\n".encode("latin-1"))
    with pytest.raises(DataError, match=r'Line 3 is not in utf-8; set "encoding".*xfc'):
        read_text_table(path, TableForm(";", "utf-8"))


# What a column is.

TEN = [str(number) for number in range(10)]
GUESSES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "zeros and ones": (["1", "0", "1", "1"], {"kind": "binary", "zero": "0", "one": "1"}),
    "as pandas writes them": (["1.0", "0.0", "1.0", "1.0"], {"kind": "binary", "zero": "0", "one": "1"}),
    "yes and no": (["Y", "N", "N", "Y"], {"kind": "binary", "zero": "N", "one": "Y"}),
    "a misspelt sex": (["Male", "Fmale", "Male"], {"kind": "binary", "zero": "Fmale", "one": "Male"}),
    "normal stands for 0": (["CAD", "Normal", "CAD"], {"kind": "binary", "zero": "Normal", "one": "CAD"}),
    "words": (["mild", "N", "Severe", "N"], {"kind": "category", "values": ("N", "mild", "Severe")}),
    "whole numbers": (["54", "66", "50", "54"], {"kind": "number", "decimals": 0}),
    "decimals": (["1.0", "1.25", "0.9", "1.0"], {"kind": "number", "decimals": 2}),
    "computed": (["20.077334919", "26.838647645", "37.1"], {"kind": "number", "decimals": 4}),
    "powers of ten": (["1e3", "2e4", "1e3", "3e-7"], {"kind": "number", "decimals": None}),
    "gaps": (["54", "", "NA", "60", "61"], {"kind": "number", "decimals": 0}),
    "constant": (["N"] * 4, {"kind": "drop", "note": "constant, 'N' in every row that says anything"}),
    "empty": ([""] * 4, {"kind": "drop", "note": "empty"}),
    "different texts": (["came by car", "walks", "no phone", "tired"], {"kind": "identifier"}),
    "names, one of them twice": (
        [*(f"Anna{chr(97 + row)} Smith" for row in range(11)), "Annaa Smith"],
        {"kind": "identifier", "note": "it looks like names of people"},
    ),
    "record numbers": (["0042017", "0042055", "0041002", "0043000"], {"kind": "identifier"}),
    "dates": (["12.05.1960", "01.02.1970", "12.05.1960"], {"kind": "identifier"}),
    "dates of digits": (["19600512", "19700201", "19600512"], {"kind": "identifier"}),
    "a count of rows": ([str(3 * row) for row in range(12)], {"kind": "identifier", "note": "it counts the rows"}),
    "many texts": ([f"text {row % 31}" for row in range(93)], {"kind": "drop"}),
}


@pytest.mark.parametrize("case", GUESSES)
def test_kinds_are_guessed(tmp_path: Path, case: str) -> None:
    cells, expected = GUESSES[case]
    column = guess(tmp_path, cells)
    assert {name: getattr(column, name) for name in expected} == expected


@pytest.mark.parametrize("name", ["FIO", "Patient ID", "surname", "Date of birth", "MRN", "Фамилия"])
def test_a_name_may_tell_that_a_column_identifies(tmp_path: Path, name: str) -> None:
    cells = ["1", "2", "2", "4"]
    assert guess(tmp_path / "a", cells).kind == "number", "the cells alone are harmless"
    assert guess(tmp_path / "b", cells, name).kind == "identifier"


def test_text_in_a_column_of_numbers_is_pointed_out(tmp_path: Path) -> None:
    column = guess(tmp_path, ["54", "66", "about 50", "54"])
    assert (column.kind, column.note) == (
        "number",
        "line 4 says 'about 50', which is no number; correct it in the table",
    )


def test_spellings_that_differ_in_case_are_pointed_out(tmp_path: Path) -> None:
    column = guess(tmp_path, ["Y", "y", "N", "Y"])
    assert column.values == ("N", "Y", "y")
    assert "'Y', 'y' differ in their case alone" in str(column.note)


def test_notes_name_every_column_to_look_at(tmp_path: Path) -> None:
    notes = propose_schema(write_joint_folder(tmp_path, schema=False)).notes
    assert "Column 'FIO' is proposed as identifier: its name says that it identifies a person." in notes
    assert "Column 'site' is proposed as drop: constant, 'Zurich' in every row that says anything." in notes
    assert "Images of images are matched by column 'image'." in notes
    assert not any("Age" in note for note in notes)


def test_missing_values_are_pointed_out(tmp_path: Path) -> None:
    notes = propose(tmp_path, {"Age": ["54", "", "NA", "60", "61"], "Sex": ["M", "F", "M", "M", "F"]}).notes
    assert [note for note in notes if "lacks" in note] == [
        'Column \'Age\' lacks 2 values, which is refused unless "missing" is "impute".'
    ]


def test_people_with_several_rows_stay_together(tmp_path: Path) -> None:
    ages = {"Age": ["40", "50", "60", "40"]}
    assert propose(tmp_path / "a", {"patient": ["a", "b", "c", "d"], **ages}).schema.group_column is None
    assert propose(tmp_path / "b", {"patient": ["a", "b", "a", "d"], **ages}).schema.group_column == "patient"


def test_the_published_preprocessing(tmp_path: Path) -> None:
    columns = {
        "FIO": ["Ivanov I.", "Petrov P.", "Sidorov S."],
        "Sex": ["0", "1", "0"],
        "number_of_affected_coronary_artery": ["0", "1", "2"],
        **{name: ["0", "49", "75"] for name in ("trunk_st", "LAD_st", "lcx_stenosis", "RCA_stenosis")},
        "Age": ["50", "60", "70"],
    }
    kinds = {column.name: column for column in propose(tmp_path, columns, "published").schema.columns}
    assert kinds["FIO"].kind == "identifier"
    assert kinds["number_of_affected_coronary_artery"].kind == "drop"
    assert kinds["Sex"] == Column("Sex", "number", decimals=0)
    assert kinds["RCA_stenosis"] == Column("RCA_stenosis", "target", threshold=50)
    assert propose(tmp_path / "guess", columns).schema.of_kind("binary")[0].name == "Sex"


def test_an_unknown_preset_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean published"):
        propose(tmp_path, {"Age": ["1", "2"]}, "publishd")


def test_images_are_matched_by_order_only_when_asked_for(tmp_path: Path) -> None:
    table = [row[1:] for row in risk_table()]
    write_images(tmp_path / "images", [row[0] for row in risk_table()[1:]])
    (tmp_path / "table.csv").write_text(table_text(table))
    schema, notes = propose_schema(tmp_path)
    assert schema.match_images_by.column == "image"
    assert any("No column names the images" in note for note in notes)
    write_schema(tmp_path, schema)
    with pytest.raises(DataError, match=r"column 'image' names the images.*Received: no column of kind image"):
        read_schema(tmp_path)
    schema, notes = propose_schema(tmp_path, file_name_order=True)
    write_schema(tmp_path, schema)
    assert json.loads(schema_path(tmp_path).read_text())["match_images_by"] == "file_name_order"
    assert read_schema(tmp_path).match_images_by.column is None
    assert any("order of their names" in note for note in notes)


def test_folder_and_table_of_other_names_are_found(tmp_path: Path) -> None:
    write_joint_folder(tmp_path, schema=False)
    (tmp_path / "images").rename(tmp_path / "scans")
    (tmp_path / "table.csv").rename(tmp_path / "patients.tsv")
    schema = propose_schema(tmp_path).schema
    assert (schema.table, schema.images) == ("patients.tsv", "scans")
    (tmp_path / "more.csv").write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match=r"One table was expected.*'more.csv', 'patients.tsv'"):
        propose_schema(tmp_path)


@pytest.mark.skipif(not TABULAR.is_file(), reason="no real table of risk factors (MEDSYNTH_DATA)")
def test_the_real_table(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(TABULAR.read_bytes())
    write_images(tmp_path / "images", ["a.png"], (8, 8))
    columns = {column.name: column for column in propose_schema(tmp_path, file_name_order=True).schema.columns}
    assert len(columns) == 60
    assert columns["patient_row"].kind == "identifier"
    assert columns["Sex"].words == ("Fmale", "Male")
    assert columns["Obesity"].words == ("N", "Y")
    assert columns["DM"].words == ("0", "1")
    assert columns["VHD"].words == ("N", "mild", "Moderate", "Severe")
    assert [name for name, column in columns.items() if column.kind == "drop"] == ["CHF", "Exertional CP"]
    assert [name for name, column in columns.items() if column.kind == "target"] == ["LAD", "LCX", "RCA", "Cath"]


# The file.


def test_a_schema_survives_its_file_one_column_a_line(tmp_path: Path) -> None:
    write_joint_folder(tmp_path, schema=False)
    schema = propose_schema(tmp_path).schema
    write_schema(tmp_path, schema)
    text = schema_path(tmp_path).read_text(encoding="utf-8")
    assert read_schema(tmp_path) == schema
    assert '    {"name": "Age", "kind": "number", "minimum": null, "maximum": null, "decimals": 0},\n' in text
    assert '    {"name": "LAD_st", "kind": "target", "threshold": 50},\n' in text
    assert len(text.splitlines()) == 11 + 1 + len(HEADER) + 3


def test_an_edited_schema_is_not_replaced_unasked(tmp_path: Path) -> None:
    schema = read_schema(write_joint_folder(tmp_path))
    before = schema_path(tmp_path).read_bytes()
    with pytest.raises(UsageError, match=r"schema.json: There is a schema here"):
        write_schema(tmp_path, schema, may_replace=False)
    assert schema_path(tmp_path).read_bytes() == before


def test_numbers_as_words_are_taken(tmp_path: Path) -> None:
    write_joint_folder(tmp_path)
    edit_column(tmp_path, "Smoker", zero=0, one=1)
    edit_column(tmp_path, "VHD", kind="category", values=["N", 1, 2.5])
    columns = {column.name: column for column in read_schema(tmp_path).columns}
    assert columns["Smoker"].words == ("0", "1")
    assert columns["VHD"].words == ("N", "1", "2.5")


def column_of(values: dict[str, Any], name: str) -> dict[str, Any]:
    return next(column for column in values["columns"] if column["name"] == name)


FAULTS: dict[str, tuple[Any, str]] = {
    "unknown kind": (
        lambda v: column_of(v, "VHD").update(kind="categorical"),
        r"schema.json: Column 'VHD': unknown kind. Did you mean 'category'\? Known kinds: binary",
    ),
    "no kind": (lambda v: column_of(v, "VHD").pop("kind"), "Column 'VHD': unknown kind.*Received: None"),
    "kind that is a list": (lambda v: column_of(v, "VHD").update(kind=["a"]), "Column 'VHD': unknown kind"),
    "no name": (lambda v: column_of(v, "VHD").pop("name"), '"columns", entry 7: a column with a "name"'),
    "no columns": (lambda v: v.pop("columns"), 'A schema with a list of "columns"'),
    "unknown setting": (lambda v: v.update(seperator=";"), "Unknown setting of Schema. Did you mean separator"),
    "unknown setting of a column": (
        lambda v: column_of(v, "Age").update(digits=1),
        "Column 'Age': Unknown setting of Column",
    ),
    "setting of another kind": (
        lambda v: column_of(v, "Age").update(threshold=5),
        "Column 'Age': a column of kind number has no such setting. Received: 'threshold'",
    ),
    "version": (lambda v: v.update(version=9), "Only version 1.*Received: 9"),
    "column twice": (lambda v: v["columns"].append(v["columns"][2]), "listed once. Received: 'Age' more than once"),
    "no column kept": (
        lambda v: [column.clear() or column.update(name=str(i), kind="drop") for i, column in enumerate(v["columns"])],
        "Some column must be binary",
    ),
    "binary without one": (lambda v: column_of(v, "Sex").pop("one"), 'Column \'Sex\': "zero" and "one" say'),
    "binary of one word": (lambda v: column_of(v, "Sex").update(one="Fmale"), "two different words"),
    "category of one value": (lambda v: column_of(v, "VHD").update(values=["N"]), "2 words or more"),
    "category with a value twice": (lambda v: column_of(v, "VHD").update(values=["1", "1.0"]), "all different"),
    "values that are a text": (lambda v: column_of(v, "VHD").update(values="N,mild"), "Column 'VHD': values takes"),
    "target without anything": (lambda v: column_of(v, "LAD_st").pop("threshold"), "Column 'LAD_st':.*\"threshold\""),
    "target with both": (lambda v: column_of(v, "LAD_st").update(zero="0", one="1"), 'either "threshold"'),
    "range upside down": (
        lambda v: column_of(v, "Age").update(minimum=90, maximum=10),
        'Column \'Age\': "minimum" is below "maximum". Received: 90 and 10',
    ),
    "limit off the decimals": (lambda v: column_of(v, "Age").update(minimum=0.5), '"minimum" has no more decimals'),
    "negative decimals": (lambda v: column_of(v, "Age").update(decimals=-1), '"decimals" is from 0 to 12'),
    "limit that is NaN": (lambda v: column_of(v, "Age").update(minimum=float("nan")), "finite number"),
    "limit that is text": (lambda v: column_of(v, "Age").update(minimum="10"), "Column 'Age': minimum takes"),
    "share": (lambda v: v.update(test_share=1), '"test_share" is 0 or more and below 1'),
    "seed": (lambda v: v.update(split_seed=-1), '"split_seed" is 0 or more'),
    "separator": (lambda v: v.update(separator=";;"), '"separator" is one character'),
    "decimal": (lambda v: v.update(decimal="·"), '"decimal" is'),
    "encoding": (lambda v: v.update(encoding="utf-9"), "encoding.*known. Received: 'utf-9'"),
    "encoding that makes no text": (lambda v: v.update(encoding="base64"), "encoding.*known"),
    "missing": (lambda v: v.update(missing="ignore"), "missing takes one of refuse, impute"),
    "match": (lambda v: v.update(match_images_by="name"), "match_images_by takes a value"),
    "match by a column that is none": (
        lambda v: v.update(match_images_by={"column": "picture"}),
        "column 'picture' names the images.*Received: 'image' of kind image",
    ),
    "match by order, and a column": (
        lambda v: v.update(match_images_by="file_name_order"),
        "no column is of kind image",
    ),
    "group": (lambda v: v.update(group_column="FI"), "\"group_column\" names a column. Did you mean 'FIO'"),
    "names that collide": (
        lambda v: column_of(v, "Age").update(name="VHD=mild"),
        "A value of a category is named as another column is; rename it. Received: VHD=mild",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_schema_that_contradicts_itself_is_refused(tmp_path: Path, fault: str) -> None:
    read_schema(write_joint_folder(tmp_path))  # usable before
    edit, message = FAULTS[fault]
    edit_schema(tmp_path, edit)
    with pytest.raises(DataError, match=message) as caught:
        read_schema(tmp_path)
    assert str(caught.value).startswith(str(schema_path(tmp_path)))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b'{"version": 1,\n "columns"', r"not valid JSON.*line 2"), (b"\xff", "not valid JSON"), (b"[]", "A schema with")],
)
def test_a_damaged_schema_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    write_joint_folder(tmp_path)
    schema_path(tmp_path).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_schema(tmp_path)


def test_any_part_of_a_schema_that_is_cut_off_is_one_clear_error(tmp_path: Path) -> None:
    write_joint_folder(tmp_path)
    content = schema_path(tmp_path).read_bytes()
    for length in np.linspace(0, len(content) - 2, 25).astype(int):
        schema_path(tmp_path).write_bytes(content[:length])
        with pytest.raises(MedsynthError):
            read_schema(tmp_path)


def test_what_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"schema.json: Make a schema with `train.py schema data_dir` first"):
        read_schema(tmp_path)
    with pytest.raises(DataError, match="A folder with"):
        read_schema(tmp_path / "none")
    with pytest.raises(DataError, match=r"table.csv: A table was expected here"):
        propose_schema(tmp_path)
    (tmp_path / "table.csv").write_text("a;b\n1;2\n")
    with pytest.raises(DataError, match=r"A folder of images was expected; call it images. Received: none"):
        propose_schema(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"images: Images were expected here"):
        propose_schema(tmp_path)
