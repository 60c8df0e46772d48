"""The results folder of one training, or another long job: whose it is, its lock, its settings, its log."""

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from medsynth.config import describe_differences
from medsynth.errors import RunFolderError, UsageError
from medsynth.files import make_folder, read_json, write_json, write_text

CONFIG_NAME = "config.json"
DONE_NAME = "_training-done.txt"
LOCK_NAME = ".training.lock"
LOG_NAME = "log.txt"
# A run that failed before it had anything to keep leaves only these, and binds nobody to its settings.
_OWN_FILES = (CONFIG_NAME, LOCK_NAME, LOG_NAME)


def require_own_folder(out_dir: Path, inputs: Sequence[Path], *, nor_below: bool = False) -> None:
    """Refuse to write results between what they are made from.

    Args:
        out_dir: Of the results.
        inputs: The folders that are read.
        nor_below: Whether they are read to any depth, so that results below them would be read the next time.

    Raises:
        UsageError: `out_dir` is one of them, or is below one that is read to any depth.
    """
    place = out_dir.resolve()
    for folder in (one.resolve() for one in inputs):
        if place == folder or (nor_below and place.is_relative_to(folder)):
            received = "the same folder" if place == folder else f"a folder below {folder}"
            raise UsageError(
                "Results need a folder of their own, not one that is read from.", received=received, path=out_dir
            )


class RunFolder:
    """A results folder, held by one process for the time of a training.

    Entering it takes the lock (released by the system even after kill -9),
    compares the settings with those of an earlier run in the same folder, and
    opens log.txt. The same settings mean: go on with that run.

    Args:
        path: The folder; made where it does not exist.
        settings: Everything that the result depends on, as a flat dictionary
            that JSON can hold.
        done_name: The file that says that it came to its end.

    Raises:
        RunFolderError: Another run holds it, it was begun with other
            settings (the message says which), or it cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, done_name: str = DONE_NAME) -> None:
        self.path, self.done_name = path, done_name
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._lock: TextIO | None = None
        self._log: TextIO | None = None

    @property
    def is_done(self) -> bool:
        """Whether an earlier run in this folder came to its end."""
        return (self.path / self.done_name).is_file()

    def __enter__(self) -> Self:
        make_folder(self.path)
        self._lock = (self.path / LOCK_NAME).open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "another process"
            self._lock.close()
            raise RunFolderError(
                "Another run is going on in this folder; wait for it or choose another folder.",
                received=holder,
                path=self.path,
            ) from None
        try:
            self._claim()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _claim(self) -> None:
        if self._lock is None:
            raise RuntimeError("the lock is taken first")
        # Whoever holds the lock is alone here, so these are what a killed run had half written.
        for leftover in self.path.glob(".*partial.*"):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()}")
        self._lock.flush()
        config_path = self.path / CONFIG_NAME
        has_results = any(entry.name not in _OWN_FILES for entry in self.path.iterdir())
        if config_path.exists() and has_results:
            before = read_json(config_path)
            if not isinstance(before, dict):
                raise RunFolderError("The settings of a run were expected here.", received=before, path=config_path)
            difference = describe_differences(before, self.settings)
            if difference:
                raise RunFolderError(
                    "This folder holds a run with other settings; choose another folder or the same settings.",
                    received=difference,
                    path=self.path,
                )
        else:
            if any(self.path.glob("training-state-*")):
                raise RunFolderError(
                    f"The states of a training lie here without its settings; put its {CONFIG_NAME} back, or choose "
                    "another folder.",
                    received=f"no {CONFIG_NAME}",
                    path=self.path,
                )
            write_json(config_path, self.settings)
        self._log = (self.path / LOG_NAME).open("a", encoding="utf-8")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._log, self._lock):
            if stream is not None:
                stream.close()
        self._log = self._lock = None

    def log(self, line: str, stream: TextIO | None = None) -> None:
        """Print a line, and add it to log.txt."""
        print(line, file=stream or sys.stdout, flush=True)
        if self._log is not None:
            self._log.write(line + "\n")
            self._log.flush()

    def mark_done(self, summary: str) -> None:
        """Write the one sign that a training is finished, _training-done.txt or `done_name`."""
        write_text(self.path / self.done_name, f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {summary}\n")

    def mark_undone(self) -> None:
        """Take the sign away, before a finished training is continued."""
        (self.path / self.done_name).unlink(missing_ok=True)


class FollowedRun:
    """The results folder as the other processes of a training on several hosts see it: they write nothing there.

    Args:
        path: The folder, on a disk that all hosts share.
        name: Who says what is printed, such as `worker 1`.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name

    @property
    def is_done(self) -> bool:
        """Whether an earlier run in this folder came to its end."""
        return (self.path / DONE_NAME).is_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def log(self, line: str, stream: TextIO | None = None) -> None:
        """Print a line with the name in front of it."""
        print(f"{self.name}: {line}", file=stream or sys.stdout, flush=True)
