"""Everything a user can get wrong: one clear message, exit code 2, nothing half-written."""

import errno
import os
import resource
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from build_dataset import records
from medsynth.errors import DataError, MedsynthError, RunFolderError, UsageError
from tests.integration.chest_folder import (
    OPTIONS,
    contents,
    create_from_xray,
    first_image,
    make_chest_folder,
    table_path,
)

Damage = Callable[[Path], None]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return make_chest_folder(tmp_path / "raw")


def run_tool(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "build_dataset.dataset_tool", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def assert_refused(kind: type[MedsynthError], sentence: str, target: Path, raw: Path, **options: object) -> None:
    before = sorted(path.name for path in target.parent.iterdir())
    with pytest.raises(kind, match=sentence) as caught:
        create_from_xray(target, raw, **(OPTIONS | options))
    assert "Received: " in str(caught.value)
    kept = [f".{target.name}.building"] if "What is written is kept" in str(caught.value) else []
    assert sorted(path.name for path in target.parent.iterdir()) == sorted(before + kept)


def change_table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Damage:
    def damage(raw: Path) -> None:
        change(pd.read_csv(table_path(raw))).to_csv(table_path(raw), index=False)

    return damage


def truncate(raw: Path) -> None:
    image = first_image(raw)
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) * 3 // 4])


def without_patient(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[4, "Path"] = "CheXpert-v1.0-small/train/somebody/view1_frontal.jpg"
    return table


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no table": (lambda raw: table_path(raw).unlink(), r"train\.csv: A table was expected.*no such file"),
    "empty table": (lambda raw: table_path(raw).write_text("") and None, r"train\.csv: Names of columns were expected"),
    "no finding column": (change_table(lambda t: t.drop(columns="Edema")), r"train\.csv: .*Edema is missing"),
    "no path column": (change_table(lambda t: t.drop(columns="Path")), r"train\.csv: .*; Path is missing"),
    "no frontal image": (
        change_table(lambda t: t.assign(Path=t["Path"].str.replace("frontal", "lateral"))),
        r"train\.csv: Frontal images .* were expected\. Received: none in 120 rows",
    ),
    "no patient": (change_table(without_patient), r"Line 6: a path names its patient.*Received: .*somebody"),
    "missing image": (
        lambda raw: first_image(raw).unlink(),
        r"patient00001/study1/view1_frontal\.jpg: .*line 2 of .*train\.csv\. Received: 1 missing of 120 images",
    ),
    "truncated image": (
        truncate,
        r"patient00001/study1/view1_frontal\.jpg: .*line 2 of .*train\.csv\. What is written is kept.*truncated",
    ),
    "no image": (
        lambda raw: first_image(raw).write_text("not an image") and None,
        r"patient00001/study1/view1_frontal\.jpg: .*no image.*line 2 of .*train\.csv",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_input(raw: Path, tmp_path: Path, name: str) -> None:
    damage, sentence = DAMAGES[name]
    damage(raw)
    assert_refused(DataError, sentence, tmp_path / "out", raw)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_truncated_image_ends_the_command(raw: Path, tmp_path: Path, workers: int) -> None:
    truncate(raw)
    result = run_tool("create_from_xray", tmp_path / "out", raw, "--limit", 5, "--test-val-samples", 0,
                      "--image-size", 16, "--workers", workers)  # fmt: skip
    assert result.returncode == 2
    assert f"{first_image(raw)}: The file is truncated" in result.stderr
    assert "What is written is kept" in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.building", "raw"]


def test_a_missing_folder(tmp_path: Path) -> None:
    result = run_tool("create_from_xray", tmp_path / "out", tmp_path / "nowhere")
    assert result.returncode == 2
    assert f"{tmp_path}/nowhere: A folder with CheXpert-v1.0-small was expected here" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"limit": 40}, DataError, r"more than 40 times; give a lower --limit\. .*3 combinations, .* 40 images"),
        ({"limit": -1}, UsageError, "--limit"),
        ({"test_val_samples": 4000}, DataError, r"fewer images than --test-val-samples 4000; give at most 12"),
        ({"test_val_samples": 2}, DataError, r"cannot be cut to --test-val-samples 2 .*12 images of 3 combinations"),
        ({"test_val_samples": -1}, UsageError, "--test-val-samples"),
        ({"split": 0.5}, UsageError, "--split"),
        ({"split": 0.001}, DataError, "No patient is left for valid"),
        ({"image_size": 100}, UsageError, r"--image-size is a power of two from 4 to 4096\. Received: 100"),
        ({"image_size": 2}, UsageError, "--image-size"),
        ({"seed": -1}, UsageError, "--seed"),
        ({"num_workers": 0}, UsageError, "--workers"),
    ],
)
def test_impossible_options(
    raw: Path, tmp_path: Path, options: dict[str, object], kind: type[MedsynthError], sentence: str
) -> None:
    assert_refused(kind, sentence, tmp_path / "out", raw, **options)


@pytest.mark.parametrize("option", ["--image-size=100", "--limit=many", "--seed=-1", "--split=2", "--speed=1"])
def test_impossible_command_lines(raw: Path, tmp_path: Path, option: str) -> None:
    result = run_tool("create_from_xray", tmp_path / "out", raw, "--limit=0", option)
    assert result.returncode == 2
    assert option.partition("=")[0] in result.stderr
    assert "Traceback" not in result.stderr


def test_a_finished_dataset_is_not_touched(raw: Path, tmp_path: Path) -> None:
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    description = (tmp_path / "out/dataset.json").read_bytes()
    assert_refused(RunFolderError, r"finished dataset.*--overwrite.*create_from_xray", tmp_path / "out", raw)
    assert (tmp_path / "out/dataset.json").read_bytes() == description


def test_a_failed_overwrite_keeps_the_old_dataset(raw: Path, tmp_path: Path) -> None:
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    records = (tmp_path / "out/train/train-r04.tfrecords").read_bytes()
    truncate(raw)
    assert_refused(DataError, "truncated", tmp_path / "out", raw, overwrite=True)
    assert (tmp_path / "out/train/train-r04.tfrecords").read_bytes() == records


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_things_is_not_touched(raw: Path, tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work")
    assert_refused(RunFolderError, r"empty or new folder.*thesis\.txt", tmp_path / "out", raw, overwrite=overwrite)
    assert (tmp_path / "out/thesis.txt").read_text() == "years of work"


def test_other_things_beside_a_dataset_are_not_touched(raw: Path, tmp_path: Path) -> None:
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    (tmp_path / "out/thesis.txt").write_text("years of work")
    assert_refused(RunFolderError, r"more than one.*thesis\.txt", tmp_path / "out", raw, overwrite=True)
    assert (tmp_path / "out/thesis.txt").exists()


def test_a_file_is_no_target(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    assert_refused(RunFolderError, r"out: A folder .* Received: a file", tmp_path / "out", raw)


def test_a_mount_point_is_no_target(raw: Path) -> None:
    with pytest.raises(RunFolderError, match=r"/proc: .*mount point"):
        create_from_xray("/proc", raw, **OPTIONS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(raw: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert_refused(RunFolderError, "No permission to write", locked / "out", raw)


def test_a_refused_write_is_explained(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert_refused(RunFolderError, r"No permission to write here.*Permission denied", tmp_path / "out", raw)


def test_a_disk_that_is_too_small(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(records.shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 1000, 1000))
    sentence = r"No space is left on the disk.*its records need 0\.1 MB.*Received: 0\.0 MB free"
    assert_refused(RunFolderError, sentence, tmp_path / "out", raw)


def test_a_disk_that_fills_up(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def fill_up(*_: object) -> int:
        written.append(1)
        if len(written) == 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(*_)  # type: ignore[arg-type]

    pwrite = os.pwrite
    monkeypatch.setattr(records.os, "pwrite", fill_up)
    with pytest.raises(RunFolderError, match=r"r0\d\.tfrecords: No space is left on the disk; free some"):
        create_from_xray(tmp_path / "out", raw, **OPTIONS)
    assert len(written) == 50
    assert not (tmp_path / "out").exists()
    # With space again, the same command goes on, and what it makes is what an undisturbed one makes.
    create_from_xray(tmp_path / "out", raw, **OPTIONS)
    create_from_xray(tmp_path / "undisturbed", raw, **OPTIONS)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


def test_a_limit_on_file_sizes_ends_the_command(raw: Path, tmp_path: Path) -> None:
    # The kernel refuses the write itself here, so this is what a full disk looks like from outside.
    result = run_tool(
        "create_from_xray", tmp_path / "out", raw, "--limit", 5, "--test-val-samples", 0, "--image-size", 16,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )  # fmt: skip
    assert result.returncode == 2, result.stderr
    assert "Files may not grow so large here" in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
