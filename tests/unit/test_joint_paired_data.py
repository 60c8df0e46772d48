"""Images and rows belong together, batches are a function of (seed, images seen), and what does not fit is refused."""

import codecs
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from GAN_joint.paired_data import PairedData, read_paired_rows
from GAN_joint.schema import propose_schema, write_schema
from medsynth.data.order import PassOrder
from medsynth.errors import DataError, UsageError
from tests.joint_files import (
    HEADER,
    edit_column,
    edit_schema,
    edit_table,
    risk_table,
    table_text,
    write_images,
    write_joint_folder,
)

ROOT = Path(__file__).parents[2]
ECG = Path(os.environ.get("MEDSYNTH_DATA", ROOT / ".." / "shared" / "data")) / "ecg"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_joint_folder(tmp_path / "data")


def paired(folder: Path, size: int = 64, seed: int = 5, part: Any = "train") -> PairedData:
    return PairedData(folder, size, seed=seed, part=part)


def bar_of(image: np.ndarray) -> int:
    """Return the number of the image, by the place of its white bar (tests/joint_files.py)."""
    brightest = image[:, :, 0].astype(float).sum(axis=0).argmax()
    return int((brightest + 0.5) * 40 / image.shape[1]) // 3


# Pairs.


def test_every_row_has_its_own_image(folder: Path) -> None:
    data = paired(folder, part="all")
    assert data.images.shape == (12, 64, 64, 1)
    assert data.images.dtype == np.uint8
    assert (data.num_images, data.num_channels, data.split_folder) == (12, 1, folder)
    for row, name in enumerate(data.names):
        assert name == f"ecg{row:02d}.png"
        assert bar_of(data.images[row]) == row
        assert data.frame["Weight"][row] == 60 + row * 1.5
    assert list(data.frame) == [name for name in HEADER if name not in ("image", "FIO", "site")]
    assert data.label_names == data.encoder.names
    np.testing.assert_array_equal(data.labels, data.encoder.encode(data.frame))


def test_rows_in_another_order_keep_images_and_sides(folder: Path, tmp_path: Path) -> None:
    header, *rows = risk_table()
    other = write_joint_folder(tmp_path / "other", [header, *rows[::-1]])
    write_images(other / "images", [row[0] for row in rows])
    for part in ("train", "test"):
        one, two = paired(folder, part=part), paired(other, part=part)
        assert one.names == two.names[::-1]
        np.testing.assert_array_equal(one.images, two.images[::-1])
        np.testing.assert_array_equal(one.labels, two.labels[::-1])


def test_train_and_test_share_nothing_and_are_all(folder: Path) -> None:
    train, test, everything = (paired(folder, part=part) for part in ("train", "test", "all"))
    assert test.num_images == round(0.2 * 12)
    assert set(train.names) | set(test.names) == set(everything.names)
    assert not set(train.names) & set(test.names)
    assert train.encoder == test.encoder == everything.encoder
    edit_schema(folder, lambda values: values.update(split_seed=7))
    assert set(paired(folder, part="test").names) != set(test.names)


def test_the_encoder_has_seen_the_train_rows_alone(folder: Path) -> None:
    train, test = paired(folder), paired(folder, part="test")
    before = train.encoder
    line = next(line for line in (folder / "table.csv").read_text().splitlines() if test.names[0] in line)
    edit_table(folder, lambda text: text.replace(line, line.replace(f";{line.split(';')[3]};", ";999.5;")))
    after = paired(folder, part="test")
    assert after.frame["Weight"].max() == 999.5
    assert after.encoder == before
    assert after.labels.max() == 1


def test_images_that_train_and_test_share_are_noted(folder: Path) -> None:
    assert not [note for note in read_paired_rows(folder).notes if "have an image" in note]
    for path in (folder / "images").iterdir():
        if path.name != "ecg00.png":
            shutil.copyfile(folder / "images" / "ecg00.png", path)
    pairs = read_paired_rows(folder)
    (note,) = [note for note in pairs.notes if "have an image" in note]
    num_test = int(pairs.is_test.sum())
    assert f"{num_test} test rows of {num_test} have an image that a train row has" in note


def test_numbers_that_count_the_rows_are_noted(tmp_path: Path) -> None:
    table = [list(row) for row in risk_table()]
    table[0].append("entry")
    for number, row in enumerate(table[1:]):
        row.append(str(1000 + number))
    folder = write_joint_folder(tmp_path / "data", table)
    edit_schema(
        folder,
        lambda values: values["columns"].__setitem__(
            -1, {"name": "entry", "kind": "number", "minimum": None, "maximum": None, "decimals": 0}
        ),
    )
    (note,) = [note for note in read_paired_rows(folder).notes if "seems to identify people" in note]
    assert "'entry'" in note
    assert "it counts the rows" in note


def test_groups_are_not_torn_apart(tmp_path: Path) -> None:
    header, *rows = risk_table()
    for number, row in enumerate(rows):
        row[1] = f"person {number // 3}"
    folder = write_joint_folder(tmp_path / "data", [header, *rows])
    pairs = read_paired_rows(folder)
    assert pairs.schema.group_column == "FIO", "proposed, since people have several rows"
    assert pairs.is_test.sum() == 3
    assert len({row[1] for row, is_test in zip(rows, pairs.is_test, strict=True) if is_test}) == 1
    edit_schema(folder, lambda values: values.update(group_column=None))
    assert any("may lie in both train and test" in note for note in read_paired_rows(folder).notes)


def test_no_row_is_kept_from_training_where_the_share_is_0(folder: Path) -> None:
    edit_schema(folder, lambda values: values.update(test_share=0))
    assert paired(folder).num_images == 12
    with pytest.raises(DataError, match=r"No row is in the test part.*Received: test_share 0 of 12 rows"):
        paired(folder, part="test")


# The order.


def test_the_order_of_images_is_the_recorded_one() -> None:
    order = PassOrder(7, seed=5)
    # Recorded from medsynth.data.pyramid of commit 2065651, before the order had a class of its own.
    assert order.next(5, 6).tolist() == [5, 0, 4, 0, 2, 3]
    assert order.draw(3, 6).tolist() == [3, 2, 3, 5, 0, 6]


def test_each_pass_shows_every_pair_once_in_a_new_order(folder: Path) -> None:
    data = paired(folder)
    num = data.num_images
    assert num == 10
    seen = [data.batch(start, num, 64)[1] for start in (0, num)]
    for rows in seen:
        np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(data.labels, axis=0))
    assert (seen[0] != seen[1]).any()


def test_batches_depend_on_seed_and_count_alone_and_keep_pairs(folder: Path) -> None:
    data = paired(folder)
    for start, size in ((0, 4), (8, 7), (1000, 25)):
        images, rows = data.batch(start, size, 64)
        again, again_rows = paired(folder).batch(start, size, 64)
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(rows, again_rows)
        weights = data.encoder.decode(rows)["Weight"]
        assert [bar_of(image) for image in images] == [(weight - 60) / 1.5 for weight in weights]
    assert (paired(folder, seed=6).batch(0, 10, 64)[0] != data.batch(0, 10, 64)[0]).any()


def test_drawn_and_first_rows(folder: Path) -> None:
    data = paired(folder)
    drawn = data.random_labels(3, 50)
    assert {row.tobytes() for row in drawn} <= {row.tobytes() for row in data.labels}
    np.testing.assert_array_equal(drawn, paired(folder).random_labels(3, 50))
    assert (data.random_labels(4, 50) != drawn).any()
    images, rows = data.first_images(13)
    np.testing.assert_array_equal(images, data.images[[*range(10), 0, 1, 2]])
    np.testing.assert_array_equal(rows[10:], data.labels[:3])


def test_another_resolution_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"read as 64x64. Received: resolution 32"):
        paired(folder).batch(0, 2, 32)


def test_other_images_have_another_digest(folder: Path) -> None:
    before = paired(folder).images_digest
    assert before == paired(folder, seed=9).images_digest
    write_images(folder / "images", list(reversed(paired(folder, part="all").names)))
    assert before != paired(folder).images_digest


# Images.


@pytest.mark.parametrize(
    ("size", "mode", "ending"),
    [((40, 24), "L", "png"), ((30, 90), "RGB", "jpg"), ((64, 64), "RGBA", "png"), ((70, 65), "P", "gif")],
)
def test_images_of_any_shape_and_colour_become_grey_squares(tmp_path: Path, size: Any, mode: str, ending: str) -> None:
    table = risk_table()
    for row in table[1:]:
        row[0] = row[0].replace("png", ending)
    write_joint_folder(tmp_path, table, schema=False)
    for path in (tmp_path / "images").iterdir():
        Image.linear_gradient("L").resize(size).convert(mode).save(path)
    write_schema(tmp_path, propose_schema(tmp_path).schema)
    images = paired(tmp_path, 72).images
    assert images.shape == (10, 72, 72, 1)
    assert images.max() < 255, "8-bit values stay what they are, and these lose some by smoothing and JPEG"
    assert images.max() > 240
    assert (np.diff(images[0, ::8, 36, 0].astype(int)) > 0).all(), "dark above, light below"


@pytest.mark.parametrize(("dtype", "brightest"), [(np.uint8, 120), (np.uint16, 255)])
def test_the_scale_of_images_of_8_bits_is_kept(tmp_path: Path, dtype: Any, brightest: int) -> None:
    write_joint_folder(tmp_path)
    for path in (tmp_path / "images").iterdir():
        Image.fromarray(np.full((64, 64), 120, dtype)).save(path)
    assert set(np.unique(paired(tmp_path, 64).images)) == {brightest}


@pytest.mark.parametrize("size", [0, 56, 63, 65, 100, 520, -64])
def test_other_image_sizes_are_refused_before_anything_is_read(tmp_path: Path, size: int) -> None:
    with pytest.raises(UsageError, match=f"a multiple of 8 from 64 to 512. Received: {size}"):
        paired(tmp_path / "nothing", size)


@pytest.mark.parametrize("size", [64, 200, 512])
def test_image_sizes_of_the_networks_are_taken(folder: Path, size: int) -> None:
    assert paired(folder, size, part="test").images.shape == (2, size, size, 1)


NAMES: dict[str, Callable[[str], str]] = {
    "name": lambda name: name,
    "without ending": lambda name: name.removesuffix(".png"),
    "folder in front": lambda name: f"images/{name}",
    "slashes of Windows": lambda name: f"images\\{name}",
    "dot in front": lambda name: f"./{name}",
}


@pytest.mark.parametrize("case", NAMES)
def test_cells_may_name_images_in_usual_ways(folder: Path, case: str) -> None:
    before = paired(folder).images_digest
    for number in range(12):
        name = f"ecg{number:02d}.png"
        (folder / "table.csv").write_text(
            (folder / "table.csv").read_text().replace(f"{name};", f"{NAMES[case](name)};")
        )
    assert paired(folder).images_digest == before


def test_images_in_folders_below(folder: Path) -> None:
    (folder / "images" / "a").mkdir()
    for path in list((folder / "images").glob("*.png")):
        path.rename(path.parent / "a" / path.name)
    (folder / "images" / "Thumbs.db").write_bytes(b"no image")
    (folder / "images" / ".hidden.png").write_bytes(b"no image")
    edit_table(folder, lambda text: text.replace("ecg", "a/ecg"))
    assert paired(folder).names[0].startswith("a/ecg")


def test_images_in_the_order_of_their_names(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(1, 13)]
    write_images(tmp_path / "images", names)
    (tmp_path / "table.csv").write_text(table_text([row[1:] for row in risk_table()]))
    write_schema(tmp_path, propose_schema(tmp_path, file_name_order=True).schema)
    data = paired(tmp_path, part="all")
    assert data.names == tuple(names), "2 before 10"
    assert [bar_of(image) for image in data.images] == list(range(12))
    assert any("line 2 with 1.png" in note for note in data.notes)
    (tmp_path / "images" / "7.png").unlink()
    with pytest.raises(DataError, match=r"as many images as rows of .*table.csv, 12. Received: 11 images"):
        paired(tmp_path)


# Tables of other forms give the same pairs.

WAYS: dict[str, tuple[Callable[[str], bytes], dict[str, Any]]] = {
    "comma": (lambda text: text.replace(";", ",").encode(), {"separator": ","}),
    "tab": (lambda text: text.replace(";", "\t").encode(), {"separator": "\t"}),
    "bar": (lambda text: text.replace(";", "|").encode(), {"separator": "|"}),
    "byte order mark": (lambda text: codecs.BOM_UTF8 + text.encode(), {}),
    "decimal comma": (lambda text: text.replace(".0;", ",0;").replace(".5;", ",5;").encode(), {"decimal": ","}),
    "quotes": (lambda text: text.replace("Ivanov0 I.I.", '"Ivanov0; ""I.I."""').encode(), {}),
    "blank lines": (lambda text: text.replace("\n", "\n\n;;\n").encode(), {}),
    "separators at the end": (lambda text: text.replace("\n", ";\n").encode(), {}),
    "lines of Windows": (lambda text: text.replace("\n", "\r\n").encode(), {}),
    "latin-1": (lambda text: text.replace("Zurich", "Zürich").encode("latin-1"), {"encoding": "latin-1"}),
    "cp1251": (lambda text: text.replace("Ivanov", "Иванов").encode("cp1251"), {"encoding": "cp1251"}),
    "other order of columns": (
        lambda text: "".join(";".join(line.split(";")[::-1]) + "\n" for line in text.splitlines()).encode(),
        {},
    ),
    "numbers as pandas writes them": (lambda text: text.replace(";0;", ";0.0;").replace(";1;", ";1.0;").encode(), {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_tables_of_any_form_give_the_same_rows(folder: Path, way: str) -> None:
    before = paired(folder)
    write, changes = WAYS[way]
    content = write((folder / "table.csv").read_text())
    assert content != (folder / "table.csv").read_bytes()
    (folder / "table.csv").write_bytes(content)
    edit_schema(folder, lambda values: values.update(changes))
    after = paired(folder)
    assert after.frame.to_csv() == before.frame.to_csv()
    np.testing.assert_array_equal(after.labels, before.labels)
    np.testing.assert_array_equal(after.images, before.images)


# Missing values.


@pytest.mark.parametrize("mark", ["", "NA", "nan", "?", "n/a"])
def test_missing_values_are_refused_or_filled_in(folder: Path, mark: str) -> None:
    edit_table(folder, lambda text: text.replace(";60.0;Fmale;", f";{mark};Fmale;"))
    with pytest.raises(DataError, match=r'table.csv: Line 2, column \'Weight\': a value was expected.*"impute"'):
        paired(folder)
    edit_schema(folder, lambda values: values.update(missing="impute"))
    train, everything = paired(folder), paired(folder, part="all")
    known = train.frame["Weight"][[name != "ecg00.png" for name in train.names]]
    assert everything.frame["Weight"][0] == pytest.approx(known.median(), abs=0.05)
    assert "1 missing value filled in, by what the train rows say." in train.notes


def test_a_value_may_be_called_na(folder: Path) -> None:
    edit_table(folder, lambda text: text.replace(";N;", ";NA;"))
    edit_column(folder, "VHD", values=["NA", "mild", "Severe"])
    assert (paired(folder, part="all").frame["VHD"] == "NA").sum() == 4


# What is refused.


def replace(old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: edit_table(folder, lambda text: text.replace(old, new))


def column(name: str, **settings: Any) -> Callable[[Path], None]:
    return lambda folder: edit_column(folder, name, **settings)


def keep_rows(number: int) -> Callable[[Path], None]:
    def keep(folder: Path) -> None:
        edit_table(folder, lambda text: "".join(text.splitlines(keepends=True)[: number + 1]))
        for path in sorted((folder / "images").iterdir())[number:]:
            path.unlink()

    return keep


def record_numbers(folder: Path) -> None:
    edit_table(folder, lambda text: text.replace("Ivanov", "4200").replace(" I.I.", "77"))
    edit_column(folder, "FIO", kind="number", decimals=0)


def birth_dates(folder: Path) -> None:
    edit_table(
        folder,
        lambda text: "".join(
            line.replace(line.split(";")[1], "FIO" if number == 0 else f"1960{number % 3 + 1:02d}11", 1)
            for number, line in enumerate(text.splitlines(keepends=True))
        ),
    )
    edit_column(folder, "FIO", kind="number", decimals=0)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "row without image": (
        lambda f: (f / "images" / "ecg03.png").unlink(),
        r"table.csv: Line 5, column 'image': there is no such image in .*images. Did you mean 'ecg\d\d.png'\? "
        r"Received: 'ecg03.png'",
    ),
    "row that names no image": (replace("ecg03.png;", ";"), r"Line 5, column 'image': every row needs an image"),
    "image without row": (
        lambda f: shutil.copy(f / "images" / "ecg03.png", f / "images" / "more.png"),
        r"images: Every image needs a row in .*table.csv.*Received: 1 image without a row: 'more.png'",
    ),
    "image named twice": (
        replace("ecg03.png", "ecg02.png"),
        r"Line 5, column 'image': an image belongs to one row, and line 4 names this one, too. Received: 'ecg02.png'",
    ),
    "image named in two ways": (replace("ecg03.png", "images/ecg02"), r"Line 5.*line 4 names this one, too"),
    "image elsewhere": (replace("ecg03.png", "../images/ecg03.png"), r"Line 5, column 'image': there is no such image"),
    "damaged image": (
        lambda f: (f / "images" / "ecg03.png").write_bytes(b"\x89PNG nothing"),
        r"ecg03.png: The file is truncated, damaged or no image.*It is named in line 5 of .*table.csv",
    ),
    "no images": (
        lambda f: [path.unlink() for path in (f / "images").iterdir()],
        r"images: Images were expected here. Received: none",
    ),
    "no folder of images": (lambda f: (f / "images").rename(f / "scans"), r"images: A folder with images was expected"),
    "no table": (lambda f: (f / "table.csv").unlink(), r"table.csv: A table was expected here. Received: no such file"),
    "no schema": (lambda f: (f / "schema.json").unlink(), r"schema.json: Make a schema with"),
    "column twice": (replace("Weight", "Age"), r"Line 1: every column has its own name. Received: 'Age' in columns 3"),
    "column that the table lacks": (
        replace("Weight", "Wieght"),
        r"table.csv: schema.json lists column 'Weight', and the table must have it. Did you mean 'Wieght'",
    ),
    "column that the schema lacks": (
        lambda f: edit_schema(f, lambda v: v["columns"].pop(2)),
        r"table.csv: schema.json lists every column of the table; add 'Age'.*Received: 'Age' not listed",
    ),
    "other separator than the schema says": (
        lambda f: edit_schema(f, lambda v: v.update(separator=",")),
        r"The table seems to have separator ';', .*schema.json says separator ','",
    ),
    "text in a column of numbers": (
        replace(";60.0;Fmale", ";about 60;Fmale"),
        r"table.csv: Line 2, column 'Weight': a number was expected. Received: 'about 60'",
    ),
    "other decimal sign": (
        replace(";60.0;Fmale", ";60,0;Fmale"),
        r"Line 2, column 'Weight': a number was expected. The decimal sign is '.'; change \"decimal\"",
    ),
    "infinite number": (replace(";60.0;Fmale", ";1e999;Fmale"), r"Line 2, column 'Weight': a number was expected"),
    "text in a target with a threshold": (
        replace("Zurich;9;", "Zurich;high;"),
        r"Line 3, column 'LAD_st': a number was expected. Received: 'high'",
    ),
    "number below": (
        column("Age", minimum=45, decimals=0),
        r"Line 2, column 'Age': a number from 45 to inf was expected, as schema.json says. Received: '40', and",
    ),
    "number above": (column("Age", maximum=50, decimals=0), r"column 'Age': a number from -inf to 50 was expected"),
    "binary with three values": (
        replace("ecg01.png;Ivanov1 I.I.;43;61.5;Male", "ecg01.png;Ivanov1 I.I.;43;61.5;Other"),
        r"Line 3, column 'Sex': one of 'Fmale', 'Male' was expected.*category where there are more. Received: 'Other'",
    ),
    "category value not listed": (
        column("VHD", values=["N", "mild", "Sever"]),
        r"Line 4, column 'VHD': one of 'N', 'mild', 'Sever' was expected. Did you mean 'Sever'\? "
        r"Received: 'Severe', and 3 more rows",
    ),
    "target of other words": (column("Cath", zero="No", one="CAD"), r"Line 2, column 'Cath': one of 'No', 'CAD'"),
    "constant number": (
        lambda f: edit_table(f, lambda text: text.replace("Zurich", "5")) or edit_column(f, "site", kind="number"),
        r"table.csv: Column 'site' is constant and teaches nothing; give it kind drop in schema.json. Received: '5.0'",
    ),
    "constant word": (
        column("site", kind="binary", zero="Zurich", one="Bern"),
        r"Column 'site' is constant.*kind drop.*Received: 'Zurich' in every row",
    ),
    "target that no row reaches": (
        column("LAD_st", threshold=101),
        r"Column 'LAD_st' \(1 from 101 on\) is constant.*Received: '0' in every row",
    ),
    "names as a category": (
        column("FIO", kind="category", values=[f"Ivanov{row} I.I." for row in range(12)]),
        r"Column 'FIO', a category with about as many values as rows, identifies people; give it kind identifier.*"
        r"Received: 12 different texts in 12 rows",
    ),
    "record numbers as a number": (
        record_numbers,
        r"Column 'FIO' \(another long number in every row.*\) identifies people; give it kind identifier",
    ),
    "dates of birth as a number": (birth_dates, r"Column 'FIO' \(dates.*\) identifies people"),
    "no rows": (keep_rows(0), r"table.csv: The table has no rows"),
    "one row": (
        keep_rows(1),
        r"At least 2 rows are needed for the training, beside 1 for the test.*Received: 1 in all",
    ),
    "fewer rows than a split holds": (keep_rows(2), r"At least 2 rows are needed.*Received: 2 in all"),
    "share that leaves too few": (
        lambda f: edit_schema(f, lambda v: v.update(test_share=0.95)),
        r"At least 2 rows are needed for the training, beside 11 for the test.*Received: 12 in all",
    ),
    "row without a group": (
        lambda f: replace("Ivanov4 I.I.", "")(f) or edit_schema(f, lambda v: v.update(group_column="FIO")),
        r"Line 6, column 'FIO': a group was expected",
    ),
    "one group": (
        lambda f: edit_schema(f, lambda v: v.update(group_column="site")),
        r"At least 2 different values of 'site' are needed.*Received: 1 in all",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_together_is_refused(folder: Path, fault: str) -> None:
    read_paired_rows(folder)  # usable before
    damage, message = FAULTS[fault]
    damage(folder)
    with pytest.raises(DataError, match=message):
        paired(folder, part="all")


def test_record_numbers_are_taken_where_limits_say_that_they_measure(folder: Path) -> None:
    record_numbers(folder)
    edit_column(folder, "FIO", kind="number", minimum=1e5, maximum=1e8, decimals=0)
    assert paired(folder).frame["FIO"].min() > 1e5


def test_a_number_that_is_constant_among_the_train_rows_is_refused(folder: Path) -> None:
    test = paired(folder, part="test").names[0]
    lines = [line.split(";") for line in (folder / "table.csv").read_text().splitlines()]
    for line in lines[1:]:
        line[7] = "8" if line[0] == test else "9"
    (folder / "table.csv").write_text(table_text(lines))
    edit_column(folder, "site", kind="number", decimals=0)
    with pytest.raises(DataError, match=r"Column 'site' is the same in all 10 train rows.*Received: 9"):
        paired(folder)
    edit_column(folder, "site", kind="binary", zero="8", one="9")
    assert "Column 'site' says '9' in every train row." in paired(folder).notes


def test_pairs_are_read_without_tensorflow(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from GAN_joint.paired_data import PairedData; "
        f"PairedData(Path({str(folder)!r}), 64, seed=1); "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, env=environment).returncode == 0


@pytest.mark.skipif(not ECG.is_dir(), reason="no real ECG images and risk factors (MEDSYNTH_DATA)")
def test_real_scans_and_rows(tmp_path: Path) -> None:
    """Rows and scans are of different people; row i is paired with scan i, since nothing else pairs them."""
    scans = sorted((ECG / "scans").glob("*.jpg"))[:12]
    lines = (ECG / "tabular" / "z_alizadeh_sani_ext.csv").read_text().splitlines()
    assert len(scans) == 12
    (tmp_path / "images").mkdir()
    for scan in scans:
        shutil.copy(scan, tmp_path / "images")
    rows = [f"{scan.stem},{line}" for scan, line in zip(scans, lines[1:], strict=False)]
    (tmp_path / "table.csv").write_text("\n".join([f"image,{lines[0]}", *rows]) + "\n")
    write_schema(tmp_path, propose_schema(tmp_path).schema)
    data = paired(tmp_path, 200)
    assert data.images.shape == (10, 200, 200, 1)
    assert data.images.mean() > 128, "white paper"
    assert data.encoder.decode(data.labels).to_csv() == data.frame.to_csv()
