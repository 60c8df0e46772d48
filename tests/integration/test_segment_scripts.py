"""The scripts of classifier_segment as the published README calls them, and what they say to bad input."""

import json
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from classifier_segment.coco import read_coco
from tests.coco_files import annotation, balanced, document, image, write, write_images
from tests.commands import ROOT, call, refused, run_script

SCRIPTS = "classifier_segment/scripts"


def as_published(*arguments: object) -> str:
    """Call `cd classifier_segment && python -m scripts.NAME ...` and return what it prints."""
    result = call([sys.executable, "-m", *map(str, arguments)], cwd=ROOT / "classifier_segment")
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset with the oral classes and two others."""
    names = ("neoplastica", "ALU", "traumatica_acuta", "altro")
    images = [image(number, patient_id=f"p{number // 2}") for number in range(1, 25)]
    lesions = [annotation(number, number, 1 + number // 2 % 4) for number in range(1, 25)]
    content = document(images, lesions, info={"year": 2022})
    content["categories"] = [{"id": number, "name": name, "color": "#fff"} for number, name in enumerate(names, 1)]
    write_images(tmp_path / "oral1", images)
    write(tmp_path / "coco_dataset.json", content)
    return tmp_path


def test_the_published_calls(folder: Path) -> None:
    checked = as_published("scripts.check-dataset", "--dataset", folder / "coco_dataset.json")
    assert checked.endswith("all 24 images can be read, and every record fits.\n")
    as_published("scripts.simplify-dataset", "--folder", folder)
    simple = read_coco(folder / "dataset.json")
    assert [(one.id, one.name) for one in simple.categories] == [(1, "neoplastic"), (2, "aphthous"), (3, "traumatic")]
    assert len(simple.images) == 18
    assert simple.others == {"info": {"year": 2022}}
    assert "may be on both sides" in as_published("scripts.split-dataset", "--folder", folder)
    assert [len(read_coco(folder / f"{part}.json").images) for part in ("train", "val", "test")] == [12, 0, 6]
    printed = as_published("scripts.dataset-stats", "--dataset", folder / "train.json")
    assert "neoplastic" in printed
    stats = folder / "train_stats"
    assert json.loads((stats / "stats.json").read_text())["images_of_class"] == {
        "neoplastic": 4, "aphthous": 4, "traumatic": 4
    }  # fmt: skip
    for name in ("classes.png", "sizes.png", "images.png"):
        with Image.open(stats / name) as picture:
            assert min(picture.size) > 100


def test_options_of_the_split(folder: Path) -> None:
    run_script(f"{SCRIPTS}/simplify-dataset.py", "--folder", folder)
    split = [f"{SCRIPTS}/split-dataset.py", "--folder", folder]
    result = run_script(*split, "--train-perc", 0.5, "--val-perc", 0.25, "--seed", 7, "--group-by", "patient_id")
    assert result.returncode == 0, result.stderr
    assert "none is divided" in result.stdout
    patients = [
        {one.fields["patient_id"] for one in read_coco(folder / f"{part}.json").images}
        for part in ("train", "val", "test")
    ]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 10
    (folder / "groups.csv").write_text("image,who\n" + "".join(f"oral1/{n}.png,{n % 5}\n" for n in range(1, 25)))
    result = run_script(*split, "--group-by", "who", "--groups", "groups.csv")  # in the folder, as --dataset is
    assert result.returncode == 0, result.stderr
    assert "5 groups of 18 images" in result.stdout


def test_a_split_without_a_class_is_said(folder: Path) -> None:
    run_script(f"{SCRIPTS}/simplify-dataset.py", "--folder", folder)
    result = run_script(f"{SCRIPTS}/split-dataset.py", "--folder", folder)
    assert "warning: no image of neoplastic, aphthous, traumatic in val" in result.stdout


def test_check_lists_every_problem(tmp_path: Path) -> None:
    path = balanced(tmp_path, 6)
    check = [f"{SCRIPTS}/check-dataset.py", "--workers", 1, "--dataset", path]
    (tmp_path / "images" / "2.png").unlink()
    os.truncate(tmp_path / "images" / "4.png", 200)
    Image.new("RGB", (16, 20)).save(tmp_path / "images" / "5.png")
    result = run_script(*check)
    assert result.returncode == 2
    assert "Received: 3 problems" in result.stderr
    for number, words in ((2, "no such file"), (4, "truncated"), (5, "Received: 16x20")):
        (line,) = [line for line in result.stdout.splitlines() if line.startswith(f"image {number} ")]
        assert words in line
    content = json.loads(path.read_text())
    content["annotations"] += [annotation(1, 2, 2), annotation(9, 77, 1), annotation(10, 1, 1, [[1, 2, 3, 4]])]
    write(path, content)
    result = run_script(*check)
    assert "Received: 3 problems" in result.stderr
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == [
        "annotation 1", "annotation 9", "annotation 10, polygon 1"
    ]  # fmt: skip


def test_bad_input_is_one_line(folder: Path) -> None:
    simplify, split, check, stats = (
        f"{SCRIPTS}/{name}.py" for name in ("simplify-dataset", "split-dataset", "check-dataset", "dataset-stats")
    )
    assert "no such file" in refused(split, "--folder", folder)
    assert "no such file" in refused(check, "--dataset", folder / "absent.json")
    assert "no such folder" in refused(check, "--dataset", folder / "coco_dataset.json", "--images", "elsewhere")
    assert "one of oral" in refused(simplify, "--folder", folder, "--classes", "skin")
    run_script(simplify, "--folder", folder)
    assert "--train-perc" in refused(split, "--folder", folder, "--train-perc", 70, "--val-perc", 15)
    assert "field 'clinic'" in refused(split, "--folder", folder, "--group-by", "clinic")
    assert "--group-by" in refused(split, "--folder", folder, "--groups", folder / "groups.csv")
    text = (folder / "dataset.json").read_text()
    (folder / "dataset.json").write_text(text[: len(text) // 2])
    assert "not valid JSON" in refused(split, "--folder", folder)
    assert "not valid JSON" in refused(stats, "--dataset", folder / "dataset.json")
    assert not (folder / "train.json").exists()
