"""Files are whole or absent, and a failed write says what to do."""

import errno
import io
import json
import re
from pathlib import Path

import pytest

from medsynth.errors import DataError, MedsynthError, RunFolderError, UsageError
from medsynth.files import atomic_path, make_folder, read_json, require_folder, write_json, write_text
from medsynth.progress import Progress, format_duration


def test_an_error_names_place_expectation_and_finding() -> None:
    error = UsageError("A number was expected.", received="'x'", path="a.csv")
    assert str(error) == "a.csv: A number was expected. Received: 'x'"
    assert isinstance(error, MedsynthError)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="halfway"), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError("halfway")
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


def test_a_failed_folder_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "network"
    for content in ("old", "new"):
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            (temporary / "weights").write_text(content)
    assert (folder / "weights").read_text() == "new"
    with pytest.raises(KeyError), atomic_path(folder) as temporary:
        temporary.mkdir()
        (temporary / "weights").write_text("broken")
        raise KeyError
    assert (folder / "weights").read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["network"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "No space is left"),
        (errno.EACCES, "No permission"),
        (errno.EROFS, "This file system is read-only"),
        (errno.ENAMETOOLONG, "The name is too long"),
        (errno.ELOOP, "Symbolic links"),
    ],
)
def test_disk_errors_are_explained(tmp_path: Path, number: int, words: str) -> None:
    path = tmp_path / "file"
    with pytest.raises(RunFolderError, match=f"{re.escape(str(path))}: {words}"), atomic_path(path):
        raise OSError(number, "as the system says it")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_one_clear_error() -> None:
    with pytest.raises(RunFolderError, match=r"/proc/new: No folder can be made here.*Received: No such file"):
        make_folder(Path("/proc/new"))
    with pytest.raises(RunFolderError, match="The name is too long"):
        make_folder(Path("/tmp") / ("x" * 300))
    with pytest.raises(DataError, match=r"A folder with images was expected here\. Received: File name too long"):
        require_folder(Path("x" * 300), "images")


def test_other_system_errors_are_not_disguised(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Interrupted") as caught, atomic_path(tmp_path / "file"):
        raise OSError(errno.EINTR, "Interrupted")
    assert not isinstance(caught.value, MedsynthError)


def test_a_folder_where_a_file_lies_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "")
    with pytest.raises(RunFolderError, match=r"A folder was expected where a file lies"):
        make_folder(tmp_path / "file" / "below")
    with pytest.raises(DataError, match=r"the dataset was expected here. Received: a file"):
        require_folder(tmp_path / "file", "the dataset")
    with pytest.raises(DataError, match="no such folder"):
        require_folder(tmp_path / "nothing", "the dataset")


def test_json_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(DataError, match="not valid JSON"):
        read_json(tmp_path / "x.json")
    with pytest.raises(DataError, match="no such file"):
        read_json(tmp_path / "y.json")
    write_json(tmp_path / "z.json", {"a": [1, 2]})
    assert json.loads((tmp_path / "z.json").read_text()) == {"a": [1, 2]}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59, "59s"), (61, "1m 01s"), (3600 * 2 + 660, "2h 11m"), (90000, "1d 01h")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_progress_counts_only_this_run_for_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("medsynth.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    progress = Progress("train", 100, "kimg", done=50, stream=stream)
    now[0] += 20
    progress.update(60)
    assert stream.getvalue() == "train:  60% 60/100 kimg  0.5/s  ETA 1m 20s\n"
    now[0] += 5
    progress.update(61)
    assert stream.getvalue().count("\n") == 1, "within the pause nothing is written"


def test_json_with_a_mark_in_front_is_read(tmp_path: Path) -> None:
    (tmp_path / "windows.json").write_text('{"a": 1}', encoding="utf-8-sig")
    assert (tmp_path / "windows.json").read_bytes().startswith(b"\xef\xbb\xbf")
    assert read_json(tmp_path / "windows.json") == {"a": 1}
