"""What create_from_xray does beyond the recorded calls."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from build_dataset import writing
from build_dataset.chest import FINDINGS
from build_dataset.commands import create
from build_dataset.writing import WriteOptions, format_result
from medsynth.data.labels import read_split_labels, record_order
from medsynth.data.tfrecords import RecordFile, available_resolutions, encode_record, is_whole_record, record_path
from medsynth.errors import RunFolderError
from tests.integration.chest_folder import (
    COMBINATIONS,
    OPTIONS,
    contents,
    create_from_xray,
    make_chest_folder,
    table_path,
)

ROOT = Path(__file__).resolve().parents[2]
SPLITS = ("train", "valid", "test")
WAYS = {
    "in its folder": (["dataset_tool.py"], ROOT / "build_dataset"),
    "from the root": (["build_dataset/dataset_tool.py"], ROOT),
    "as a module": (["-m", "build_dataset.dataset_tool"], ROOT),
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_chest_folder(tmp_path_factory.mktemp("raw"))


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def count_whole(records: Path, size: int) -> tuple[int, int]:
    """Return how many records of a file are whole, and how many it has room for."""
    length = len(encode_record(np.zeros((size, size, 1), np.uint8)))
    content = records.read_bytes()
    whole = [is_whole_record(content[start : start + length]) for start in range(0, len(content), length)]
    return sum(whole), len(whole)


@pytest.mark.parametrize("way", WAYS)
def test_runs_in_three_ways(raw: Path, tmp_path: Path, way: str) -> None:
    script, folder = WAYS[way]
    options = ["--limit", "5", "--test-val-samples", "0", "--image-size", "16", "--workers", "1"]
    result = subprocess.run(
        [sys.executable, *script, "create_from_xray", tmp_path / "out", raw, *options],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
    splits = json.loads((tmp_path / "out/dataset.json").read_text())["splits"]
    table = [line.split() for line in result.stdout.splitlines()]
    assert table[0] == list(SPLITS)
    assert table[1] == ["images", *(str(splits[name]["images"]) for name in SPLITS)]
    assert table[2] == ["patients", *(str(splits[name]["patients"]) for name in SPLITS)]
    assert [" ".join(line[:-3]) for line in table[3:]] == list(FINDINGS)


def test_workers_change_nothing(raw: Path, tmp_path: Path) -> None:
    options = OPTIONS | {"limit": 0}
    create_from_xray(tmp_path / "one", raw, **options, num_workers=1)
    create_from_xray(tmp_path / "two", raw, **options, num_workers=2)
    assert len(contents(tmp_path / "one")) == 1 + 3 * (3 + 3)  # dataset.json; three resolutions, labels, csv, patients
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_records_labels_and_csv_belong_together(raw: Path, tmp_path: Path) -> None:
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    expected = pd.read_csv(table_path(raw)).set_index("Path")[list(FINDINGS)].fillna(0)
    num_images = 0
    for name in SPLITS:
        folder = tmp_path / "out" / name
        table = pd.read_csv(folder / f"{name}.csv")
        labels = read_split_labels(folder)
        assert available_resolutions(folder) == [2, 3, 4]
        assert labels.names == FINDINGS
        names_in_raw = [path.removeprefix(f"{raw}/") for path in table["Path"]]
        np.testing.assert_array_equal(expected.loc[names_in_raw], table[list(FINDINGS)])
        assert len(RecordFile(record_path(folder, 4))) == len(table) == len(labels.values)
        np.testing.assert_array_equal(labels.values, table[list(FINDINGS)].to_numpy()[record_order(len(table))])
        num_images += len(table)
    assert num_images == len(expected)


def test_lower_levels_are_means_of_the_full_one(raw: Path, tmp_path: Path) -> None:
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    records = {level: RecordFile(record_path(tmp_path / "out/test", level)) for level in (4, 2)}
    numbers = range(len(records[4]))
    full = records[4].read(numbers).astype(float)
    # [n, 16, 16, 1] -> [n, 4, 4, 4, 4], the mean of each 4x4 block
    means = full.reshape(len(full), 4, 4, 4, 4).mean(axis=(2, 4))
    assert np.abs(records[2].read(numbers)[..., 0] - means).max() <= 0.5


def test_empty_labels_can_be_dropped(raw: Path, tmp_path: Path) -> None:
    description = create_from_xray(tmp_path / "out", raw, **OPTIONS, drop_empty_labels=True)
    used = {name for combination in COMBINATIONS for name in combination}
    assert description["label_names"] == [name for name in FINDINGS if name in used]
    for name in SPLITS:
        assert read_split_labels(tmp_path / "out" / name).values.shape[1] == len(used) < len(FINDINGS)


def test_uncertain_counts_as_present_and_other_views_are_left_out(raw: Path, tmp_path: Path) -> None:
    table = pd.read_csv(table_path(raw))
    table.loc[0, list(FINDINGS)] = np.nan
    table.loc[0, "Edema"] = -1.0
    table.loc[1, list(FINDINGS)] = 0.0
    table.loc[2, "Path"] = table.loc[2, "Path"].replace("view1_frontal", "view1_lateral")
    table.loc[3, "Path"] = table.loc[3, "Path"].replace("view1", "view3")
    other = tmp_path / "raw"
    table_path(other).parent.mkdir(parents=True)
    (other / "CheXpert-v1.0-small/train").symlink_to(raw / "CheXpert-v1.0-small/train")
    table.to_csv(table_path(other), index=False)
    description = create_from_xray(tmp_path / "out", other, **(OPTIONS | {"limit": 0}))
    splits = description["splits"].values()
    assert sum(split["images"] for split in splits) == len(table) - 3
    assert sum(split["positives"]["Edema"] for split in splits) == 1


def test_a_finished_dataset_is_replaced_only_when_asked(raw: Path, tmp_path: Path) -> None:
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    before = contents(tmp_path / "out")
    create_from_xray(tmp_path / "out", raw, **OPTIONS, seed=5, overwrite=True)
    after = contents(tmp_path / "out")
    assert before.keys() == after.keys()
    assert before["train/train.csv"] != after["train/train.csv"]


def test_an_empty_folder_is_a_target(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    assert (tmp_path / "out/dataset.json").is_file()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_killed_build_goes_on_and_ends_the_same(raw: Path, tmp_path: Path, num_workers: int) -> None:
    options = ["--limit", "0", "--test-val-samples", "0", "--image-size", "256", "--workers", str(num_workers)]
    command = [sys.executable, "-m", "build_dataset.dataset_tool", "create_from_xray"]
    running = subprocess.Popen([*command, tmp_path / "out", raw, *options], start_new_session=True)
    # The smallest level of an image is written last, so this image is whole.
    records = record_path(tmp_path / ".out.building/train", 2)
    wait_until(lambda: records.exists() and count_whole(records, 4)[0] > 0)
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    num_whole, num_records = count_whole(records, 4)
    assert 0 < num_whole < num_records  # the premise: killed in the middle
    assert not (tmp_path / "out").exists()

    resumed = subprocess.run([*command, tmp_path / "out", raw, *options], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "kept from before" in resumed.stderr
    undisturbed = [*command, tmp_path / "undisturbed", raw, *options]
    subprocess.run(undisturbed, capture_output=True, check=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "undisturbed"]


@pytest.mark.parametrize("damage", ["flip a byte", "zero the end"])
def test_a_damaged_record_of_an_unfinished_build_is_written_again(raw: Path, tmp_path: Path, damage: str) -> None:
    create_from_xray(tmp_path / "undisturbed", raw, **OPTIONS)
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "write_labels", interrupt)  # all records are there by then
        create_from_xray(tmp_path / "out", raw, **OPTIONS)
    records = record_path(tmp_path / ".out.building/train", 4)
    content = bytearray(records.read_bytes())
    if damage == "flip a byte":
        content[len(content) // 2] ^= 1
    else:
        content[-100:] = bytes(100)
    records.write_bytes(content)
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


def test_an_unfinished_build_of_other_settings_is_refused(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "write_labels", interrupt)
        create_from_xray(tmp_path / "out", raw, **OPTIONS)
    with pytest.raises(RunFolderError, match=r"unfinished dataset.*--overwrite.*Received: .*seed.*5") as caught:
        create_from_xray(tmp_path / "out", raw, **OPTIONS, seed=5)
    received = str(caught.value.received)
    assert "arguments.seed: 100 -> 5; " in received
    assert "image_size" not in received, "the same in both"
    assert len(received) < 200
    plan = tmp_path / ".out.building" / "plan.json"
    for content in ("{", "[]"):
        plan.write_text(content)
        with pytest.raises(RunFolderError, match=r"plan\.json: An unfinished dataset .*forget it with --overwrite"):
            create_from_xray(tmp_path / "out", raw, **OPTIONS)
    create_from_xray(tmp_path / "out", raw, **OPTIONS, seed=5, overwrite=True)
    assert json.loads((tmp_path / "out/dataset.json").read_text())["seed"] == 5


def test_two_builds_of_one_target_exclude_each_other(raw: Path, tmp_path: Path) -> None:
    def build_again(*_: object) -> None:
        with pytest.raises(RunFolderError, match="Another process is building this dataset"):
            create_from_xray(tmp_path / "out", raw, **OPTIONS)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "write_labels", build_again)
        create_from_xray(tmp_path / "out", raw, **OPTIONS)


def test_images_without_any_finding_are_counted(raw: Path, tmp_path: Path) -> None:
    table = pd.read_csv(table_path(raw))
    table.loc[:4, FINDINGS] = None
    table.loc[5:6, "Path"] = table.loc[5:6, "Path"].str.replace("frontal", "lateral")
    table.to_csv(table_path(raw), index=False)
    description = create_from_xray(tmp_path / "out", raw, **OPTIONS)
    assert sum(split["images"] for split in description["splits"].values()) == 113
    assert description["notes"] == [
        "Rows that are no first or second frontal view, left out: 2 of 120.",
        "Frontal images with no finding at all (not even 'No Finding'), left out: 5 of 118.",
    ]
    assert format_result(description).splitlines()[-2:] == description["notes"]


def test_labels_alone_are_the_same_labels(raw: Path, tmp_path: Path) -> None:
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    bare = tmp_path / "bare"
    table_path(bare).parent.mkdir(parents=True)
    table_path(bare).write_bytes(table_path(raw).read_bytes())  # no image is there, and none is missed
    description = create("create_from_xray", tmp_path / "labels", bare, WriteOptions(labels_only=True), **OPTIONS)
    assert description["labels_only"]
    names = [f"{name}/{name}{end}" for name in SPLITS for end in (".csv", "-rxx.labels", "-patients.txt")]
    assert sorted(contents(tmp_path / "labels")) == sorted([*names, "dataset.json", "manifest.json"])
    manifest = json.loads((tmp_path / "labels/manifest.json").read_text())
    assert not [finding for finding in manifest["findings"] if finding["severity"] == "error"]
    for name in names:
        written = (tmp_path / "labels" / name).read_bytes().replace(str(bare).encode(), str(raw).encode())
        assert written == (tmp_path / "out" / name).read_bytes()


def test_the_phantom_is_read_as_any_raw_folder(tmp_path: Path) -> None:
    tool = [sys.executable, ROOT / "build_dataset/dataset_tool.py"]
    drawn = subprocess.run(
        [*tool, "create_phantom", tmp_path / "raw", "--patients", "40", "--seed", "3", "--workers", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    description = create_from_xray(tmp_path / "out", tmp_path / "raw", **(OPTIONS | {"limit": 0}))
    assert sum(split["patients"] for split in description["splits"].values()) > 30
