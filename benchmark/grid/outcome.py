"""What a grid leaves beside its stages: grid.json, cells.csv, and the list of what failed."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmark.grid.scheduler import Resolver, State
from benchmark.grid.spec import GridSpec
from benchmark.grid.stages import Stage
from medsynth.files import atomic_path, write_json

GRID_NAME, CELLS_NAME = "grid.json", "cells.csv"


def write_outcome(spec: GridSpec, stages: Sequence[Stage], state: State, resolver: Resolver) -> None:
    """Write grid.json and cells.csv.

    cells.csv has a row for each test of a classifier: benchmark, setting, trained_on, seed, status (done, failed,
    missing) and test_folder below the grid's folder, where it is done.

    Args:
        spec: The grid.
        stages: All of it.
        state: How far it is.
        resolver: Of the same stages.
    """
    write_json(
        resolver.grid_dir / GRID_NAME,
        {
            **{field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)
               if field.name not in ("benchmarks", "gans")},
            "benchmarks": {one.name: dataclasses.asdict(one) for one in spec.benchmarks},
            "gans": [gan.name for gan in spec.gans],
            "gan_settings": {gan.name: dataclasses.asdict(gan) for gan in spec.gans},
        },
    )  # fmt: skip
    rows = []
    for stage in stages:
        if stage.cell is None:
            continue
        is_done = stage.name in state.done
        status = "failed" if stage.name in state.failed or stage.name in state.blocked else "missing"
        rows.append({
            "benchmark": stage.cell.benchmark,
            "setting": stage.cell.setting,
            "trained_on": stage.cell.trained_on,
            "seed": stage.cell.seed,
            "status": "done" if is_done else status,
            "test_folder": resolver.test_folder(stage) if is_done else "",
        })  # fmt: skip
    with atomic_path(resolver.grid_dir / CELLS_NAME) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")


def describe_failures(state: State, grid_dir: Path) -> str:
    """Return every failed stage with the last lines of its log, and what it held up."""
    lines = []
    for name, failure in state.failed.items():
        held_up = sorted(stage for stage, culprit in state.blocked.items() if culprit == name)
        lines.append(f"{name} failed: {failure.reason}")
        lines += [f"    {line}" for line in failure.last_lines]
        lines.append(f"    ({failure.log.relative_to(grid_dir)})")
        if held_up:
            lines.append(f"    not run for want of it: {', '.join(held_up)}")
    return "\n".join(lines)
