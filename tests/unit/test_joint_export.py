"""Pairs for other programs: images, rows and groups belong together, and nobody is named."""

from pathlib import Path

import numpy as np
import pytest

from GAN_joint.evidence.exported import PAIRS_JSON, ROWS_NAME, export_pairs
from GAN_joint.evidence.pairs import EvidenceRequest, Pairs, read_evidence
from GAN_joint.paired_data import read_paired_rows
from medsynth.data.labels import read_label_table, read_patients, record_order
from medsynth.data.pyramid import open_records
from medsynth.errors import MedsynthError
from medsynth.files import read_json
from tests.joint_files import edit_schema
from tests.toy_pairs import write_synthetic, write_toy_pairs

REQUEST = EvidenceRequest(max_images=50, image_size=32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(data_dir, synthetic_dir, out_dir)."""
    root = tmp_path_factory.mktemp("export")
    data_dir = write_toy_pairs(root / "data", 60)
    digest = read_paired_rows(data_dir).train_rows_digest
    synthetic = write_synthetic(root / "synthetic", write_toy_pairs(root / "other", 60, seed=1), train_rows=digest)
    export_pairs(data_dir, synthetic, root / "out", REQUEST)
    return data_dir, synthetic, root / "out"


def read_back(split: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images and rows of a split, both in the csv's order."""
    rows = np.load(split / ROWS_NAME, allow_pickle=False)
    order = record_order(len(rows))
    images = np.empty((len(rows), 32, 32, 1), np.uint8)
    images[order] = open_records(split, 32).read(range(len(rows)))
    return images, rows


def as_set(images: np.ndarray, rows: np.ndarray) -> set[bytes]:
    return {image.tobytes() + row.tobytes() for image, row in zip(images, rows, strict=True)}


def test_images_and_rows_are_those_that_joint_and_predict_see(folders: tuple[Path, Path, Path]) -> None:
    data_dir, synthetic, out = folders
    evidence = read_evidence(data_dir, synthetic, REQUEST)
    parts: dict[str, tuple[Pairs, ...]] = {
        "real/train": (evidence.train, evidence.valid),
        "real/test": (evidence.held_out,),
        "synthetic/train": (evidence.synthetic,),
    }
    for name, pairs in parts.items():
        expected = set().union(*(as_set(one.images, one.rows) for one in pairs))
        assert as_set(*read_back(out / name)) == expected
        assert len(expected) == sum(map(len, pairs)) > 10
    found = read_json(out / PAIRS_JSON)
    assert found["pairs"]["real_held_out"] == len(evidence.held_out)
    assert [one["name"] for one in found["columns"]] == ["age", "sex", "pain", "LAD_st"]
    assert found["columns"][2] == {"name": "pain", "kind": "category", "first": 2, "stop": 5}
    assert found["is_trained_on_these_rows"]
    assert (found["num_held_out_images_of_train"], found["num_held_out_names_of_train"]) == (0, 0)


def test_nobody_is_named(folders: tuple[Path, Path, Path]) -> None:
    out = folders[2]
    texts = [path.read_text() for path in out.rglob("*") if path.suffix in (".csv", ".txt", ".json")]
    assert len(texts) >= 6
    assert not any("Person" in text or ".png" in text for text in texts)


def test_groups_are_patients_and_shared_images_are_counted(tmp_path: Path) -> None:
    data_dir = write_toy_pairs(tmp_path / "data", 60)
    table = data_dir / "table.csv"
    # Every name stands twice.
    lines = table.read_text().splitlines()
    lines[1:] = [";".join([*cells[:1], f"Person {row // 2}", *cells[2:]])
                 for row, line in enumerate(lines[1:]) for cells in [line.split(";")]]  # fmt: skip
    table.write_text("\n".join(lines) + "\n")
    images = sorted((data_dir / "images").iterdir())
    for image in images[1:]:
        image.write_bytes(images[0].read_bytes())
    synthetic = write_synthetic(tmp_path / "synthetic", data_dir)
    export_pairs(data_dir, synthetic, tmp_path / "alone", REQUEST)
    alone = read_json(tmp_path / "alone" / PAIRS_JSON)
    # Twelve of the sixty rows are held out; the other row of each name lies in train, but for chance.
    assert 6 <= alone["num_held_out_names_of_train"] <= 12
    assert alone["num_held_out_images_of_train"] == alone["pairs"]["real_held_out"] == 12
    assert not alone["is_trained_on_these_rows"]

    edit_schema(data_dir, lambda values: values.update(group_column="patient name"))
    export_pairs(data_dir, synthetic, tmp_path / "grouped", REQUEST)
    assert read_json(tmp_path / "grouped" / PAIRS_JSON)["num_held_out_names_of_train"] == 0
    people = {}
    for name in ("train", "test"):
        split = tmp_path / "grouped" / "real" / name
        people[name] = read_patients(split, read_label_table(split).paths)
        assert people[name] is not None
        assert len(people[name] or ()) == 2 * len(set(people[name] or ()))
    assert not set(people["train"] or ()) & set(people["test"] or ())


def test_does_without_held_out_rows(tmp_path: Path) -> None:
    data_dir = write_toy_pairs(tmp_path / "data", 40)
    synthetic = write_synthetic(tmp_path / "synthetic", data_dir)
    edit_schema(data_dir, lambda values: values.update(test_share=0))
    export_pairs(data_dir, synthetic, tmp_path / "out", REQUEST)
    assert not (tmp_path / "out" / "real" / "test").exists()
    assert len(read_back(tmp_path / "out" / "real" / "train")[1]) == 40


def test_refuses_a_size_that_records_cannot_have(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    with pytest.raises(MedsynthError, match=r"a power of two.*48"):
        export_pairs(*folders[:2], tmp_path / "out", EvidenceRequest(image_size=48))
