"""simplify-dataset and split-dataset against what the original scripts made of the same file."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import run_script
from tests.golden_files import golden_files

CASES = golden_files("coco_splits*/coco_dataset.json")
PARTS = ("dataset", "train", "val", "test")


def ids(path: Path) -> dict[str, Any]:
    """Return what the recorded files hold: ids in the order of the file."""
    content = json.loads(path.read_text())
    return {
        "image_ids": [image["id"] for image in content["images"]],
        "annotations": [[one["id"], one["image_id"], one["category_id"]] for one in content["annotations"]],
        "categories": [[category["id"], category["name"]] for category in content["categories"]],
    }


@pytest.mark.parametrize("source", CASES, ids=lambda path: path.parent.name)
def test_ids_are_those_of_the_original(source: Path, tmp_path: Path) -> None:
    shutil.copy(source, tmp_path)
    for script in ("simplify-dataset", "split-dataset"):
        result = run_script(f"classifier_segment/scripts/{script}.py", "--folder", tmp_path)
        assert result.returncode == 0, result.stderr
    recorded = {part: json.loads((source.parent / f"expected_{part}.json").read_text()) for part in PARTS}
    assert all(len(part["image_ids"]) > 0 for part in recorded.values())
    for part in PARTS:
        assert ids(tmp_path / f"{part}.json") == recorded[part], part


@pytest.mark.parametrize("source", CASES, ids=lambda path: path.parent.name)
def test_records_keep_their_other_fields(source: Path, tmp_path: Path) -> None:
    shutil.copy(source, tmp_path)
    run_script("classifier_segment/scripts/simplify-dataset.py", "--folder", tmp_path)
    before = {one["id"]: one for one in json.loads(source.read_text())["annotations"]}
    after = json.loads((tmp_path / "dataset.json").read_text())["annotations"]
    assert after
    for one in after:
        assert {**one, "category_id": 0} == {**before[one["id"]], "category_id": 0}
