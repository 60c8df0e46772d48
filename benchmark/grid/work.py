"""One stage's command, run to its end on whatever machine: folder, links, log, record."""

import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from benchmark.grid.keys import Key, Record, describe_products
from benchmark.grid.stages import CODE, In, Stage
from benchmark.steps import ROOT
from medsynth.errors import MedsynthError
from medsynth.files import make_folder

LOGS, LOCKS, EVENTS = "logs", "locks", "events.jsonl"
_LEASH = Path(__file__).parent / "leash.py"
_LAST_LINES = 12


@dataclass(frozen=True)
class Task:
    """A stage that is ready to run.

    Attributes:
        stage: The stage.
        key: What it is made from.
        grid_dir: The grid's folder, absolute.
        folders: The folder below grid_dir of every stage that it names, its own among them; RAW's may be absolute.
        environment: Further variables for the command.
    """

    stage: Stage
    key: Key
    grid_dir: Path
    folders: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def home(self) -> str:
        """The folder below grid_dir in which it works."""
        return self.folders[self.stage.home or self.stage.name]

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.grid_dir / LOGS / f"{self.stage.name.replace('/', '.')}.log"

    def path(self, part: In) -> str:
        """Return a path in a stage's folder, below grid_dir, in which the command runs."""
        folder = str(ROOT) if part.stage == CODE else self.folders[part.stage]
        return f"{folder}/{part.below}" if part.below else folder

    def command(self) -> list[str]:
        """Return what is run, in grid_dir."""
        arguments = [self.path(part) if isinstance(part, In) else part for part in self.stage.arguments]
        return [sys.executable, str(ROOT / self.stage.script), *arguments]


@dataclass(frozen=True)
class Failure:
    """A stage that ended with an error.

    Attributes:
        stage: Its name.
        reason: Exit code, or what was wrong.
        log: Where its output lies.
        last_lines: Of the log.
    """

    stage: str
    reason: str
    log: Path
    last_lines: tuple[str, ...]


def run_task(task: Task, started: Callable[[IO[bytes]], None] = lambda leash: None) -> Record | Failure:
    """Run a stage's command; the same command in the same folder goes on where an earlier attempt was killed.

    Args:
        task: What to run.
        started: Is called with the standard input of the process that holds the command: a byte on it stops the
            command gently, and its end kills it.
    """
    stage = task.stage
    try:
        folder = make_folder(task.grid_dir / task.home)
        for name in (LOGS, LOCKS):
            make_folder(task.grid_dir / name)
        _make_links(task, folder)
        attempt = _note_start(task)
        start = time.monotonic()
        code = _run(task, started)
        seconds = time.monotonic() - start
        if code:
            return _failure(task, f"exit code {code}")
        files = describe_products(folder, stage)
    except MedsynthError as error:
        return _failure(task, str(error))
    _note(task, "done")
    return Record(
        stage=stage.name,
        kind=stage.kind,
        inputs=task.key.inputs,
        code=task.key.code,
        folder=task.home,
        files=files,
        seconds=round(seconds, 2),
        attempts=attempt,
        num_images=stage.num_images,
    )


def _make_links(task: Task, folder: Path) -> None:
    """Link what the stage reads into its folder, by relative paths, so that the grid's folder can be moved."""
    for name, part in task.stage.links.items():
        target, link = task.grid_dir / task.path(part), folder / name
        if target.exists() and not link.is_symlink():
            link.symlink_to(os.path.relpath(target, folder))


def _run(task: Task, started: Callable[[IO[bytes]], None]) -> int:
    lock = task.grid_dir / LOCKS / f"{task.stage.name.replace('/', '.')}.lock"
    command = task.command()
    with task.log.open("ab") as log:
        log.write(f"\n$ {shlex.join(command[1:])}\n".encode())
        log.flush()
        process = subprocess.Popen(
            [sys.executable, str(_LEASH), str(lock), *command],
            cwd=task.grid_dir,
            env={**os.environ, **task.environment},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    with cast("IO[bytes]", process.stdin) as leash:
        started(leash)
        return process.wait()


def _failure(task: Task, reason: str) -> Failure:
    _note(task, "failed")
    lines = task.log.read_text(errors="replace").splitlines() if task.log.is_file() else []
    return Failure(task.stage.name, reason, task.log, tuple(lines[-_LAST_LINES:]))


_EVENTS_LOCK = threading.Lock()


def _note(task: Task, event: str) -> None:
    line = {"time": time.strftime("%Y-%m-%d %H:%M:%S"), "stage": task.stage.name, "event": event, "key": task.key.whole}
    # One short write to a file opened for appending is whole, also between processes.
    with _EVENTS_LOCK, (task.grid_dir / EVENTS).open("a") as file:
        file.write(json.dumps(line) + "\n")


def _note_start(task: Task) -> int:
    """Note that the stage starts, and return how often it has with this key, this time included."""
    _note(task, "start")
    return sum(
        event["event"] == "start" and event["stage"] == task.stage.name and event["key"] == task.key.whole
        for event in read_events(task.grid_dir)
    )


def read_events(grid_dir: Path) -> list[dict[str, str]]:
    """Return what happened in a grid so far: time, stage, event (start, done, failed) and key of each."""
    path = grid_dir / EVENTS
    events = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:  # a machine that lost its power in the middle of a line
            continue
    return events
