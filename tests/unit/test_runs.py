"""A results folder belongs to one configuration, and to one process at a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from medsynth.errors import RunFolderError
from medsynth.runs import RunFolder

HOLD = """
import sys, time
from pathlib import Path
from medsynth.runs import RunFolder
with RunFolder(Path(sys.argv[1]), {"a": 1}):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_same_settings_go_on_and_others_are_refused(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", {"a": 1, "sizes": {8: 2}}) as run:
        run.log("first")
        assert not run.is_done
        run.mark_done("2 steps")
    with RunFolder(tmp_path / "run", {"sizes": {8: 2}, "a": 1}) as run:
        run.log("second")
        assert run.is_done
    assert (tmp_path / "run" / "log.txt").read_text() == "first\nsecond\n"
    with pytest.raises(RunFolderError, match=r"other settings.*Received: a: 1 -> 2"):
        RunFolder(tmp_path / "run", {"a": 2, "sizes": {8: 2}}).__enter__()
    with RunFolder(tmp_path / "run", {"a": 1, "sizes": {8: 2}}):
        pass  # the refusal left no lock behind


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=f"Another run is going on.*process {holder.pid}"):
            RunFolder(tmp_path, {"a": 1}).__enter__()
    finally:
        holder.kill()
        holder.wait()
    with RunFolder(tmp_path, {"a": 1}) as run:
        assert run.path == tmp_path


def test_what_a_killed_run_had_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".123.partial.network-final").mkdir()
    (tmp_path / ".123.partial.network-final" / "average.safetensors").write_text("half")
    (tmp_path / ".123.partial.training-state-000000010.safetensors").write_text("half")
    (tmp_path / "training-state-000000005.safetensors").write_text("whole")
    (tmp_path / "config.json").write_text('{"a": 1}')
    with RunFolder(tmp_path, {"a": 1}):
        names = {path.name for path in tmp_path.iterdir()}
    assert "training-state-000000005.safetensors" in names
    assert not [name for name in names if "partial" in name]


def test_states_without_their_settings_are_refused(tmp_path: Path) -> None:
    """Or a training with other settings would go on from them."""
    (tmp_path / "training-state-000000005.safetensors").write_text("whole")
    with (
        pytest.raises(RunFolderError, match=r"without its settings; put its config\.json back"),
        RunFolder(tmp_path, {}),
    ):
        pass
    assert not (tmp_path / "config.json").exists()


def test_a_run_that_left_nothing_binds_nobody(tmp_path: Path) -> None:
    with RunFolder(tmp_path, {"seed": 1}) as run:
        run.log("failed before there was anything to keep")
    with RunFolder(tmp_path, {"seed": 2}):
        pass
    assert json.loads((tmp_path / "config.json").read_text()) == {"seed": 2}
    (tmp_path / "network-final").mkdir()
    with pytest.raises(RunFolderError, match=r"other settings.*seed: 2 -> 3"), RunFolder(tmp_path, {"seed": 3}):
        pass
