"""reader_study.py as a user calls it: blinding, the key, and what comes of answers."""

import base64
import csv
import json
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.readers.draw import draw
from benchmark.readers.pools import read_pools
from benchmark.readers.sheets import item_names, study_name, write_page, write_pictures
from medsynth.data.labels import LabelTable, read_label_table, read_split_labels, write_label_table
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import write_split
from medsynth.errors import DataError
from tests.commands import refused, run_script
from tests.toy_data import write_toy_dataset

SCRIPT = "benchmark/reader_study.py"
NUM, RESOLUTION = 24, 16


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a dataset, and results of a GAN that made noisier images of the same labels."""
    root = tmp_path_factory.mktemp("readers")
    dataset, results = write_toy_dataset(root / "data"), root / "gan"
    folder = dataset / "test"
    labels = read_split_labels(folder)
    images = open_records(folder, RESOLUTION).read(np.arange(len(labels.values))).astype(float)
    noisy = images + np.random.default_rng(0).normal(0, 40, images.shape)
    write_split(results / "inference" / "test", noisy, labels.values, RESOLUTION.bit_length() - 1)
    write_label_table(results / "inference" / "test", read_label_table(folder))
    return dataset, results


@pytest.fixture(scope="module")
def study(data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studies") / "study"
    made = run_script(SCRIPT, "create", *data, out, "--num", NUM, "--form", "both", "--seed", 5)
    assert made.returncode == 0, made.stderr
    return out


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def png_chunks(content: bytes) -> list[tuple[bytes, int]]:
    chunks, position = [], 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        chunks.append((content[position + 4 : position + 8], length))
        position += length + 12
    return chunks


def test_half_are_real_labels_match_and_no_row_or_patient_comes_twice(data: tuple[Path, Path], study: Path) -> None:
    rows = read_rows(study / "key" / "key.csv")
    kinds = {kind: [row for row in rows if row["truth"] == kind] for kind in ("real", "synthetic")}
    assert [len(part) for part in kinds.values()] == [NUM // 2] * 2
    assert sorted(row["labels"] for row in kinds["real"]) == sorted(row["labels"] for row in kinds["synthetic"])
    assert len({row["number"] for row in rows}) == NUM, "one row of the data gives one image at most"
    patients = [re.findall(r"patient\d+", row["origin"])[0] for row in kinds["real"]]
    assert len(set(patients)) == NUM // 2
    assert [row["item"] for row in rows] == list(item_names(NUM))
    truths = [row["truth"] for row in rows]
    assert truths != sorted(truths), "shuffled"
    for row in rows:  # the key names the images that are shown
        folder = data[0] / "test" if row["truth"] == "real" else data[1] / "inference" / "test"
        shown = np.asarray(Image.open(study / "key" / "images" / f"{row['item']}.png"))
        np.testing.assert_array_equal(shown, open_records(folder, RESOLUTION).read([int(row["number"])])[0, ..., 0])


@pytest.mark.parametrize("share_real", [0.25, 0.75])
def test_other_shares_keep_labels_and_rows_apart(data: tuple[Path, Path], share_real: float) -> None:
    drawn = draw(read_pools(*data, "test"), NUM, share_real, 1)
    real = [item for item in drawn.items if item.is_real]
    synthetic = [item for item in drawn.items if not item.is_real]
    assert len(real) == NUM * share_real
    assert len(synthetic) == NUM - len(real)
    assert len({item.number for item in drawn.items}) == NUM
    assert {item.labels for item in synthetic} <= {item.labels for item in real}


def test_what_readers_get_says_nothing_of_the_truth(data: tuple[Path, Path], study: Path) -> None:
    reader = study / "reader"
    files = sorted(path for path in reader.rglob("*") if path.is_file())
    pictures = sorted((reader / "images").iterdir())
    assert len(pictures) == NUM
    assert len(files) == NUM + 3
    assert len({path.stat().st_mtime_ns for path in files}) == 1
    assert len({path.stat().st_size for path in pictures}) == 1, "a compressed file is the larger the noisier"
    assert len({tuple(png_chunks(path.read_bytes())) for path in pictures}) == 1
    assert {name for name, _ in png_chunks(pictures[0].read_bytes())} == {b"IHDR", b"IDAT", b"IEND"}
    assert len({(Image.open(path).mode, Image.open(path).size) for path in pictures}) == 1
    page = (reader / "index.html").read_text()
    shown = json.loads(re.findall(r'id="study">(.*)</script>', page)[0])
    assert len({len(source) for _, source in shown["items"]}) == 1
    facts = json.loads((study / "key" / "study.json").read_text())
    content = b"".join(path.read_bytes() for path in files)
    for secret in ("patient", "inference", str(data[0]), str(data[1]), "toy", f'"{facts["seed"]}"', "key.csv"):
        assert secret.encode() not in content, secret
    assert "http" not in page.replace("http-equiv", ""), "nothing is loaded from elsewhere"


def test_readers_files_depend_on_the_pictures_alone(study: Path, tmp_path: Path) -> None:
    """They are written again from the pictures, by functions that are never told which is which."""
    images = np.stack([np.asarray(Image.open(path)) for path in sorted((study / "key" / "images").iterdir())])[
        ..., None
    ]
    write_page(tmp_path, images)
    write_pictures(tmp_path, images)
    names = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(
        path.relative_to(study / "reader") for path in (study / "reader").rglob("*") if path.is_file()
    )
    for name in names:
        assert (tmp_path / name).read_bytes() == (study / "reader" / name).read_bytes()


def test_pictures_are_enlarged_without_smoothing_and_the_page_holds_the_same(study: Path) -> None:
    page = (study / "reader" / "index.html").read_text()
    shown = json.loads(re.findall(r'id="study">(.*)</script>', page)[0])
    for name, source in shown["items"]:
        small = np.asarray(Image.open(study / "key" / "images" / f"{name}.png"))
        large = np.asarray(Image.open(study / "reader" / "images" / f"{name}.png"))
        assert small.shape == (RESOLUTION, RESOLUTION)
        np.testing.assert_array_equal(large, small.repeat(32, axis=0).repeat(32, axis=1))
        assert base64.b64decode(source) == (study / "key" / "images" / f"{name}.png").read_bytes()


def test_the_seed_alone_does_not_give_the_order_away(data: tuple[Path, Path], tmp_path: Path) -> None:
    pools = read_pools(*data, "test")
    again, other = draw(pools, NUM, 0.5, 7), draw(pools, NUM, 0.5, 7)
    assert [item.number for item in again.items] == [item.number for item in other.items]
    other_gan = shutil.copytree(data[1], tmp_path / "gan")
    labels = read_split_labels(data[0] / "test").values
    write_split(other_gan / "inference" / "test", np.zeros((len(labels), 16, 16, 1)), labels, 4)
    changed = draw(read_pools(data[0], other_gan, "test"), NUM, 0.5, 7)
    assert [item.is_real for item in changed.items] != [item.is_real for item in again.items]


def test_two_studies_without_a_seed_differ(data: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        run_script(SCRIPT, "create", *data, tmp_path / name, "--num", 10)
    keys = [(tmp_path / name / "key" / "key.csv").read_text() for name in ("one", "two")]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("num_channels", [1, 3])
def test_folders_of_pictures_serve_too(tmp_path: Path, num_channels: int) -> None:
    generator = np.random.default_rng(3)
    for name in ("real", "made/images/part-0"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(6):
            pixels = generator.integers(0, 255, (8, 10, 3)).astype(np.uint8)
            pixels = pixels if num_channels == 3 else pixels[..., 0]
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png", pnginfo=None)
    drawn = draw(read_pools(tmp_path / "real", tmp_path / "made", "test"), 8, 0.5, 0)
    assert drawn.images.shape == (8, 8, 10, num_channels)
    for item, image in zip(drawn.items, drawn.images, strict=True):
        path = tmp_path / ("real" if item.is_real else "made") / item.origin
        np.testing.assert_array_equal(np.asarray(Image.open(path)).reshape(image.shape), image)
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "real" / "zz.png")
    with pytest.raises(DataError, match="All pictures of a study have one size"):
        draw(read_pools(tmp_path / "real", tmp_path / "made", "test"), 13, 0.54, 0)


def test_real_images_in_place_of_synthetic_ones_are_refused(data: tuple[Path, Path], tmp_path: Path) -> None:
    again = tmp_path / "again"
    (again / "inference").parent.mkdir()
    (again / "inference").symlink_to(data[0])
    message = refused(SCRIPT, "create", data[0], again, tmp_path / "study", "--num", NUM)
    assert "others than the real ones" in message
    assert message.endswith("Received: the folder of the real ones")
    assert not (tmp_path / "study").exists()
    shutil.copytree(data[0], tmp_path / "copy" / "inference")
    with pytest.raises(DataError, match=r"Received: the images of .* again"):
        read_pools(data[0], tmp_path / "copy", "test")
    pictures = tmp_path / "pictures"
    (pictures / "made").mkdir(parents=True)
    for number, folder in enumerate((pictures, pictures / "made")):
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(folder / "1.png")
    for real, synthetic in ((pictures, pictures / "made"), (pictures / "made", pictures)):
        with pytest.raises(DataError, match="Received: a folder that shares images with"):
            read_pools(real, synthetic, "test")
    with pytest.raises(DataError, match="Received: the folder of the real ones"):
        read_pools(pictures, pictures, "test")


def test_what_cannot_be_drawn_is_refused(data: tuple[Path, Path], study: Path, tmp_path: Path) -> None:
    assert "new folder" in refused(SCRIPT, "create", *data, study)
    assert "the study needs 50 images" in refused(SCRIPT, "create", *data, tmp_path / "a", "--num", 100).lower()
    assert "at least one real and one synthetic" in refused(
        SCRIPT, "create", *data, tmp_path / "a", "--num", 4, "--share-real", 0.01
    )
    (tmp_path / "empty").mkdir()
    assert "inference" in refused(SCRIPT, "create", data[0], tmp_path / "empty", tmp_path / "a")
    (tmp_path / "pictures").mkdir()
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(tmp_path / "pictures" / "1.png")
    below = tmp_path / "pictures" / "study"
    assert "folder of their own" in refused(SCRIPT, "create", data[0], tmp_path / "pictures", below, "--num", 2)
    other = tmp_path / "gan" / "inference" / "test"
    table, values = read_label_table(data[0] / "test"), read_split_labels(data[0] / "test").values
    rolled = np.roll(table.values, 1, axis=1)
    write_split(other, np.zeros((len(values), 16, 16, 1)), np.roll(values, 1, axis=1), 4)
    write_label_table(other, LabelTable(table.paths, table.names, rolled))
    assert "made with the labels of" in refused(SCRIPT, "create", data[0], tmp_path / "gan", tmp_path / "a")
    assert not (tmp_path / "a").exists()


def write_answers(study: Path, path: Path, skill: float, seed: int, separator: str = ",", mark: str = "") -> list[str]:
    """Write a reader's table, right with probability `skill`, and return its lines."""
    generator = np.random.default_rng(seed)
    rows = read_rows(study / "key" / "key.csv")
    name = json.loads((study / "key" / "study.json").read_text())["study"]
    lines = [separator.join(("study", "item", "answer", "confidence"))]
    for row in rows:
        words = ("real", "synthetic") if row["truth"] == "real" else ("synthetic", "real")
        is_right = generator.random() < skill
        lines.append(separator.join((name, row["item"], words[0 if is_right else 1], str(3 if is_right else 1))))
    path.write_text(mark + "\n".join(lines) + "\n", encoding="utf-8")
    return lines


def test_evaluation_finds_who_can_tell_them_apart(study: Path, tmp_path: Path) -> None:
    for name, skill in (("perfect", 1.0), ("good", 0.8), ("guess", 0.5)):
        write_answers(study, tmp_path / f"answers-{name}.csv", skill, 4)
    result = run_script(SCRIPT, "evaluate", study, *sorted(tmp_path.glob("*.csv")), "--out", tmp_path / "found")
    assert result.returncode == 0, result.stderr
    assert result.stdout == (tmp_path / "found" / "reader_study.txt").read_text()
    found = json.loads((tmp_path / "found" / "reader_study.json").read_text())
    readers = {row["reader"]: row for row in found["readers"]}
    assert list(readers) == ["good", "guess", "perfect"]
    assert readers["perfect"]["accuracy"] == 1
    assert readers["perfect"]["auc"] == 1
    assert readers["perfect"]["p_value"] == pytest.approx(2 * 0.5**NUM)
    assert found["pooled"]["num_answers"] == 3 * NUM
    assert found["conclusion"].startswith("Real and synthetic images can be told apart")
    assert "perfect (above chance)" in found["conclusions_on_readers"][0]
    assert len(found["agreement"]["pairs"]) == 3
    with Image.open(tmp_path / "found" / "reader_study.png") as picture:
        assert picture.size[0] > 1000
    assert len(read_rows(tmp_path / "found" / "reader_study.csv")) == 4
    items = read_rows(tmp_path / "found" / "reader_study_items.csv")
    wrong = sum(int(row["num_wrong"]) for row in items)
    assert wrong == 3 * NUM - sum(int(row["num_correct"]) for row in found["readers"])


def test_a_spreadsheets_table_counts_the_same(study: Path, tmp_path: Path) -> None:
    write_answers(study, tmp_path / "answers-a.csv", 0.7, 1)
    write_answers(study, tmp_path / "answers-b (1).csv", 0.7, 1, separator=";", mark="\ufeff")
    text = (tmp_path / "answers-b (1).csv").read_text()
    text = text.replace(";real;", ";Real ;").replace(";synthetic;", "; S;").replace(";3\n", ";3,00\n")
    (tmp_path / "answers-b (1).csv").write_text(text)
    out = tmp_path / "found"
    result = run_script(SCRIPT, "evaluate", study, *sorted(tmp_path.glob("*.csv")), "--out", out)
    assert result.returncode == 0, result.stderr
    one, other = json.loads((out / "reader_study.json").read_text())["readers"]
    assert other.pop("reader") == "b"
    assert one.pop("reader") == "a"
    assert one == other


def test_missing_rows_and_empty_answers_are_counted_as_missing(study: Path, tmp_path: Path) -> None:
    lines = write_answers(study, tmp_path / "answers-a.csv", 1.0, 1)
    lines[1] = re.sub(",(real|synthetic),3", ",,", lines[1])
    (tmp_path / "answers-a.csv").write_text("\n".join(lines[:-2]) + "\n")
    result = run_script(SCRIPT, "evaluate", study, tmp_path / "answers-a.csv", "--out", tmp_path / "found")
    assert result.returncode == 0, result.stderr
    assert f"a left 3 of {NUM} images without an answer" in result.stdout
    (row,) = json.loads((tmp_path / "found" / "reader_study.json").read_text())["readers"]
    assert (row["num_answers"], row["num_correct"]) == (NUM - 3, NUM - 3)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("item_002", "item_999", r"Line 3, column 'item': an item of the study, item_001 to item_024.*'item_999'"),
        ("item_002", "item_003", r"Line 4, column 'item': every item has one row.*'item_003'"),
        (",(real|synthetic),", ",fake,", r"Line 2, column 'answer': real or synthetic was expected.*'fake'"),
        (
            ",3\n",
            ",4\n",
            r"column 'confidence': a confidence is 1 \(a guess\), 2 .*, 3 .* or nothing; write it so.*'4'",
        ),
        (",3\n", ',"0,8"\n', r"Line 2, column 'confidence': a confidence is 1 \(a guess\), 2 .*'0,8'"),
        (",3\n", ",0,8\n", r"Line 2 must have 4 cells.*A decimal comma adds a cell: a confidence is 1 \(a guess\), 2"),
        ("study-[0-9a-f]+", "study-of-others", r"Answers to study-.*'study-of-others'"),
        ("item,answer", "item,verdict", r"The columns item, answer were expected"),
        (",(real|synthetic),", ",,", r"An answer was expected"),
    ],
)
def test_answers_that_cannot_be_used_are_refused(
    study: Path, tmp_path: Path, old: str, new: str, expected: str
) -> None:
    path = tmp_path / "answers-a.csv"
    write_answers(study, path, 1.0, 1)
    text = re.sub(old, new, path.read_text())
    assert text != path.read_text()
    path.write_text(text)
    line = refused(SCRIPT, "evaluate", study, path, "--out", tmp_path / "found")
    assert re.search(expected, line), line
    assert not (tmp_path / "found").exists()


def test_a_reader_has_one_table_and_a_study_a_key(study: Path, tmp_path: Path) -> None:
    write_answers(study, tmp_path / "answers-a.csv", 1.0, 1)
    shutil.copy(tmp_path / "answers-a.csv", tmp_path / "answers-a (2).csv")
    assert "this reader's name came before" in refused(SCRIPT, "evaluate", study, *sorted(tmp_path.glob("*.csv")))
    assert "key/key.csv" in refused(SCRIPT, "evaluate", tmp_path, tmp_path / "answers-a.csv")


def test_the_study_has_a_name_of_its_own(study: Path) -> None:
    images = np.zeros((3, 4, 4, 1), np.uint8)
    other = images.copy()
    other[2, 0, 0] = 1
    assert study_name(images) != study_name(other)
    assert (
        json.loads((study / "key" / "study.json").read_text())["study"]
        in (study / "reader" / "answers.csv").read_text()
    )


def test_a_dataset_in_place_of_results_is_named(data: tuple[Path, Path], tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    shutil.copytree(data[0], dataset)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(dataset / "verify_test.png")  # as verify leaves it
    message = refused(SCRIPT, "create", dataset, dataset, tmp_path / "out", "--num", NUM)
    assert "Results of a GAN, or a folder of synthetic pictures, were expected here" in message
