"""What an audit leaves for trainings: leaks stop them, the rest is said."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsynth.classify.evaluation.results import write_results
from medsynth.classify.experiment import report_of_gan
from medsynth.data.audit import verify
from medsynth.data.labels import LabelTable, write_patients
from medsynth.data.manifest import ALLOWED_LEAKS, FORM_VERSION, MANIFEST_NAME, check_manifest
from medsynth.errors import DataError
from tests.commands import refused, run_script
from tests.toy_data import write_toy_split

NUM_IMAGES = 24
NAMES = ("train", "valid", "test")


def write_dataset(root: Path) -> Path:
    for seed, name in enumerate(NAMES):
        write_toy_split(root / name, NUM_IMAGES, 16, seed)
        write_patients(root / name, [f"{name}-{number}" for number in range(NUM_IMAGES)])
    return root


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_dataset(tmp_path_factory.mktemp("audited") / "data")
    verify(root)
    return root


@pytest.fixture
def dataset(audited: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(audited, tmp_path / "data"))


def change(dataset: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit the manifest."""
    path = dataset / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def share(first: str, second: str, **counts: int) -> Callable[[dict[str, Any]], object]:
    return lambda manifest: manifest["overlaps"][f"{first}-{second}"].update(counts)


def warnings_of(dataset: Path) -> tuple[str, ...]:
    report = check_manifest(dataset, allow_leak=False)
    assert report.allowed_leaks == ()
    assert report.settings() == {}
    return report.warnings


def test_the_manifest_holds_every_file_with_its_checksum(audited: Path) -> None:
    manifest = json.loads((audited / MANIFEST_NAME).read_text())
    files = [path for name in NAMES for path in (audited / name).iterdir()]
    assert len(manifest["files"]) == len(files) == 18
    for path in files:
        facts = manifest["files"][str(path.relative_to(audited))]
        assert facts == {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert str(audited) not in json.dumps(manifest)
    assert set(manifest["audited_with"]) == {"python", "medsynth", "numpy", "scipy"}


def test_the_manifest_says_how_the_dataset_was_made(dataset: Path) -> None:
    facts = {"command": "create_from_xray", "seed": 9, "arguments": {"limit": 3}, "library_versions": {"numpy": "2"}}
    (dataset / "dataset.json").write_text(json.dumps(facts))
    verify(dataset)
    manifest = json.loads((dataset / MANIFEST_NAME).read_text())
    assert manifest["made_by"] == facts
    assert "dataset.json" in manifest["files"]


def test_a_sound_dataset_gives_one_remark_on_its_small_images(dataset: Path, tmp_path: Path) -> None:
    (first, *others) = warnings_of(dataset)
    assert "could not look for near duplicates" in first
    moved = shutil.move(dataset, tmp_path / "elsewhere")
    assert warnings_of(Path(moved)) == (first, *others), "a moved dataset has not changed"
    change(Path(moved), lambda manifest: [one.update(near_duplicates=0) for one in manifest["overlaps"].values()])
    assert warnings_of(Path(moved)) == ()


def test_a_missing_manifest_gives_the_command_that_makes_it(tmp_path: Path) -> None:
    (warning,) = warnings_of(tmp_path)
    assert f"python3 build_dataset/dataset_tool.py verify {tmp_path}" in warning


@pytest.mark.parametrize(
    ("counts", "words"),
    [({"patients": 2}, "2 patients"), ({"exact_duplicates": 1204}, "1,204 identical images"),
     ({"patients": 1, "exact_duplicates": 3}, "1 patient, 3 identical images")],
)  # fmt: skip
def test_leaks_between_train_and_test_stop_a_training(dataset: Path, counts: dict[str, int], words: str) -> None:
    change(dataset, share("train", "test", **counts))
    with pytest.raises(DataError, match=f"--allow-leak. Received: {words}$"):
        check_manifest(dataset, allow_leak=False)
    report = check_manifest(dataset, allow_leak=True)
    first, *others = words.split(", ")
    assert report.settings() == {ALLOWED_LEAKS: [first, *others]}
    assert f"warning: train and test share {first}, allowed by --allow-leak" in report.lines()


@pytest.mark.parametrize(
    ("splits", "counts", "words"),
    [
        (("train", "test"), {"near_duplicates": 3}, "train and test share 3 near duplicates"),
        (("train", "valid"), {"patients": 4}, "train and valid share 4 patients"),
        (("valid", "test"), {"exact_duplicates": 1}, "valid and test share 1 identical image"),
        (("train", "test"), {"patients": None}, "could not look for patients in train-test"),
    ],
)
def test_lesser_leaks_are_warnings(dataset: Path, splits, counts, words: str) -> None:
    before = len(warnings_of(dataset))
    change(dataset, share(*splits, **counts))
    after = warnings_of(dataset)
    assert any(words in warning for warning in after)
    assert len(after) <= before + 1


def test_other_errors_of_the_audit_are_mentioned(dataset: Path) -> None:
    path = dataset / "test" / "test-r03.tfrecords"
    path.write_bytes(path.read_bytes()[:-1])
    verify(dataset)
    assert any(
        "found 1 error, the first in test/test-r03.tfrecords: Record 23" in line for line in warnings_of(dataset)
    )


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def flip_the_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("train/train.csv", flip_the_last_byte),
        ("test/test-rxx.labels", flip_the_last_byte),
        ("test/test-patients.txt", flip_the_last_byte),
        ("test/test-r04.tfrecords", grow),
        ("valid/valid-r02.tfrecords", Path.unlink),
        ("valid/valid-r05.tfrecords", Path.touch),
    ],
)
def test_a_change_since_the_audit_is_noticed(dataset: Path, name: str, edit) -> None:
    edit(dataset / name)
    changed = [warning for warning in warnings_of(dataset) if "changed since the audit" in warning]
    assert len(changed) == 1
    assert f"1 file changed since the audit, such as {name}." in changed[0]
    change(dataset, share("train", "test", patients=1))
    with pytest.raises(DataError, match="which has changed since its audit"):
        check_manifest(dataset, allow_leak=False)


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff"], ids=["empty", "cut off", "a list", "no text"])
def test_a_damaged_manifest_is_refused_with_the_remedy(dataset: Path, content: str) -> None:
    (dataset / MANIFEST_NAME).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"manifest.json: The manifest is damaged. Run python3 .* verify"):
        check_manifest(dataset, allow_leak=True)


@pytest.mark.parametrize("key", ["files", "overlaps", "findings"])
@pytest.mark.parametrize("value", [None, 3, {"train/train.csv": 1}], ids=["missing", "a number", "of another form"])
def test_a_manifest_of_another_form_is_refused(dataset: Path, key: str, value: object) -> None:
    change(dataset, lambda manifest: manifest.pop(key) if value is None else manifest.update({key: value}))
    with pytest.raises(DataError, match="The manifest is damaged"):
        check_manifest(dataset, allow_leak=True)


def test_a_manifest_of_another_version_is_not_believed(dataset: Path) -> None:
    change(dataset, share("train", "test", patients=1))
    change(dataset, lambda manifest: manifest.update(form_version=FORM_VERSION + 1))
    (warning,) = warnings_of(dataset)
    assert "another version" in warning


@pytest.fixture
def leaky(dataset: Path) -> Path:
    change(dataset, share("train", "test", patients=2))
    return dataset


def test_the_scripts_refuse_a_leak(leaky: Path, tmp_path: Path) -> None:
    line = refused("classifier_real/train.py", "train", "classifier_real", leaky, 1, 16)
    assert "Received: 2 patients" in line
    line = refused("GAN_prog/train.py", "train", leaky, tmp_path / "results", 1, 16, "--preset", "cpu")
    assert "Received: 2 patients" in line
    assert not (tmp_path / "results").exists()


def test_an_allowed_leak_is_part_of_the_gans_settings(leaky: Path, tmp_path: Path) -> None:
    done = run_script(
        *("GAN_prog/train.py", "train", leaky, tmp_path / "results", 1, 16),
        *("--preset", "cpu", "--allow-leak", "--dry-run"),
    )
    assert done.returncode == 0, done.stderr
    assert "train and test share 2 patients, allowed by --allow-leak" in done.stdout
    assert f"{ALLOWED_LEAKS:45s} ['2 patients']" in done.stdout


def test_a_classifier_on_synthetic_images_inherits_the_leak_of_its_gan(tmp_path: Path) -> None:
    assert report_of_gan(tmp_path, allow_leak=False).lines() == []
    (tmp_path / "config.json").write_text(json.dumps({"application": "prog-GAN"}))
    assert report_of_gan(tmp_path, allow_leak=False).lines() == []
    (tmp_path / "config.json").write_text(json.dumps({ALLOWED_LEAKS: ["2 patients"]}))
    with pytest.raises(DataError, match="made by a GAN whose data"):
        report_of_gan(tmp_path, allow_leak=False)
    assert report_of_gan(tmp_path, allow_leak=True).settings() == {ALLOWED_LEAKS: ["2 patients"]}


def test_results_show_an_allowed_leak(tmp_path: Path) -> None:
    truth = np.tile(np.array([[0.0], [1.0]], np.float32), (12, 1))
    table = LabelTable(tuple(map(str, range(24))), ("A",), truth)
    facts = {"trained_on": "real", "initialisation": "random", "weights": "w", "training_finished": True}
    assert "share" not in write_results(tmp_path, table, None, truth, facts | {"allowed_leaks": []})
    text = write_results(tmp_path, table, None, truth, facts | {"allowed_leaks": ["2 patients"]})
    assert "train and test of the data share 2 patients" in text
    assert json.loads((tmp_path / "results.json").read_text())["allowed_leaks"] == ["2 patients"]
