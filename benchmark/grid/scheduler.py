"""Runs a grid's stages in the order that their needs allow; what fails holds up only what needs it."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.grid.costs import Costs
from benchmark.grid.keys import Key, Record, Records, key_of, raw_digest
from benchmark.grid.pools import Pool
from benchmark.grid.stages import RAW, Stage, folder_of
from benchmark.grid.work import Failure, Task
from medsynth.interrupts import StoppedError, StopRequest
from medsynth.progress import Progress, format_duration


@dataclass
class State:
    """How far a grid is.

    Attributes:
        done: Records of the finished stages.
        failed: What went wrong.
        blocked: Stages that cannot run, and the failed one that each needs.
        fresh: Stages that were run now, rather than found finished.
    """

    done: dict[str, Record] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)


class Resolver:
    """Knows keys and folders of stages whose needs are finished.

    Args:
        grid_dir: The grid's folder.
        stages: All of the grid's.
        raw_dir: The user's raw data; None where a stage makes them.
    """

    def __init__(self, grid_dir: Path, stages: list[Stage], raw_dir: Path | None) -> None:
        self.grid_dir = grid_dir.resolve()
        self.stages = {stage.name: stage for stage in stages}
        self._folders: dict[str, str] = {}
        self._contents: dict[str, str] = {}
        if raw_dir is not None:
            self._folders[RAW] = os.path.relpath(raw_dir.resolve(), self.grid_dir)
            self._contents[RAW] = raw_digest(raw_dir)

    def key(self, stage: Stage) -> Key:
        """Return the key of a stage, and remember its folder."""
        key = key_of(stage, self._contents)
        if not stage.home:
            self._folders[stage.name] = folder_of(stage, key.whole).as_posix()
        return key

    def task(self, stage: Stage, key: Key) -> Task:
        """Return what runs a stage."""
        return Task(stage, key, self.grid_dir, dict(self._folders), {})

    def finish(self, record: Record) -> None:
        """Remember what a stage made."""
        self._contents[record.stage] = record.content
        if not self.stages[record.stage].home:
            self._folders[record.stage] = record.folder

    def test_folder(self, stage: Stage) -> str:
        """Return where a finished test lies, below the grid's folder."""
        below = stage.cell.below if stage.cell else ""
        return f"{self._folders[stage.home or stage.name]}/{below}".rstrip("/")


def survey(stages: list[Stage], resolver: Resolver, records: Records) -> dict[str, Record]:
    """Return the records of all stages that are finished, as far as that can be known without running any."""
    found: dict[str, Record] = {}
    for stage in stages:
        if all(name in found for name in stage.needs):
            record = records.find(stage, resolver.key(stage))
            if record is not None:
                found[stage.name] = record
                resolver.finish(record)
    return found


def run_stages(
    stages: list[Stage],
    resolver: Resolver,
    records: Records,
    pool: Pool,
    costs: Costs,
    log: Callable[[str], None],
) -> State:
    """Run every stage that is not finished.

    Args:
        stages: Each after those that it needs.
        resolver: Of the same stages.
        records: Of the grid's folder.
        pool: Where they run.
        costs: What stages are expected to take.
        log: Is given a line for every stage that starts or ends.

    Raises:
        StoppedError: Somebody asked for it (Ctrl-C, SIGTERM); what ran has saved its state as far as it can.
    """
    state, todo = State(), {stage.name: stage for stage in stages}
    progress = Progress(f"{len(stages)} stages", len(stages), "stages")
    running: dict[str, float] = {}
    weights = _remaining(stages, costs)
    try:
        with StopRequest() as request:
            while True:
                _start_ready(todo, state, resolver, records, pool, running, weights, log)
                _show(progress, state, running, stages, costs)
                if not running:
                    break
                if request.signal_number is not None:
                    log("stopping: what runs saves its state")
                    raise StoppedError(request.signal_number, f"{len(state.done)} of {len(stages)} stages")
                result = pool.wait()
                if result is not None:
                    _take(result, time.monotonic() - running.pop(result.stage), state, resolver, records, costs, log)
    except BaseException:
        pool.stop()
        raise
    finally:
        progress.close()
    return state


def _take(
    result: Record | Failure,
    seconds: float,
    state: State,
    resolver: Resolver,
    records: Records,
    costs: Costs,
    log: Callable[[str], None],
) -> None:
    """Note how a stage ended."""
    name = result.stage
    if isinstance(result, Failure):
        state.failed[name] = result
        log(f"FAILED {name} after {format_duration(seconds)}: {result.reason}; see {result.log}")
        return
    records.write(result)
    resolver.finish(result)
    costs.learn(result)
    state.done[name] = result
    state.fresh.append(name)
    log(f"done {name} in {format_duration(seconds)}")


def _start_ready(
    todo: dict[str, Stage],
    state: State,
    resolver: Resolver,
    records: Records,
    pool: Pool,
    running: dict[str, float],
    weights: Mapping[str, float],
    log: Callable[[str], None],
) -> None:
    """Note what is finished or blocked, and start what can start, the longest way to the end first."""
    has_changed = True
    while has_changed:
        has_changed = False
        for stage in sorted(todo.values(), key=lambda one: -weights[one.name]):
            culprit = next((state.blocked.get(name, name) for name in stage.needs
                            if name in state.failed or name in state.blocked), None)  # fmt: skip
            if culprit is not None:
                state.blocked[stage.name] = culprit
            elif not all(name in state.done for name in stage.needs):
                continue
            else:
                key = resolver.key(stage)
                record = records.find(stage, key)
                if record is not None:
                    state.done[stage.name] = record
                    resolver.finish(record)
                elif pool.has_room(stage):
                    log(f"start {stage.name}")
                    pool.submit(resolver.task(stage, key))
                    running[stage.name] = time.monotonic()
                else:
                    continue
            del todo[stage.name]
            has_changed = True


def _remaining(stages: list[Stage], costs: Costs) -> dict[str, float]:
    """Return for each stage the seconds of the longest way from its start to the end of the grid."""
    weights: dict[str, float] = {}
    for stage in reversed(stages):
        after = [weights[other.name] for other in stages if stage.name in other.needs and other.name in weights]
        seconds = costs.seconds(stage)
        weights[stage.name] = (1.0 if seconds is None else seconds) + max(after, default=0.0)
    return weights


def _show(progress: Progress, state: State, running: Mapping[str, float], stages: list[Stage], costs: Costs) -> None:
    over = len(state.done) + len(state.failed) + len(state.blocked)
    left = [stage for stage in stages if stage.name not in state.done | state.failed | state.blocked]
    now = time.monotonic()
    elapsed = {name: now - start for name, start in running.items()}
    seconds = costs.left(left, elapsed, max(len(running), 1))
    note = f"running: {', '.join(running)}" if running else ""
    progress.update(over, note, seconds_left=seconds)
