"""Refuses options that a stage's command would refuse hours later, by asking that command before the first one starts.

A command that takes --check-settings judges its own command line: with its parser and its settings, without data. What
only data, files or devices can tell is left to the stage: whether raw data hold images enough, which columns a table
has, where the weights of `stopping.weights` lie, and how many GPUs there are.
"""

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from benchmark.grid.stages import Stage
from benchmark.steps import ROOT, StepFailedError
from medsynth.app import EXIT_USER_ERROR
from medsynth.errors import UsageError
from medsynth.parallel import available_cpus

_ERROR, _RECEIVED = ": error: ", " Received: "


def check_commands(stages: Sequence[Stage], done: Collection[str]) -> None:
    """Ask the commands of stages whether their options can be used; commands with the same options are asked once.

    Args:
        stages: Of the grid, or those that were chosen.
        done: Names of those that are finished, whose options have proved themselves.

    Raises:
        UsageError: A command refuses its options; names the first stage, and what the command says.
        StepFailedError: A command could not be asked.
    """
    proved = {(stage.script, stage.checked_as) for stage in stages if stage.name in done}
    first: dict[tuple[str, tuple[str, ...]], Stage] = {}
    for stage in stages:
        if stage.checked_as and (stage.script, stage.checked_as) not in proved:
            first.setdefault((stage.script, stage.checked_as), stage)
    pool = ThreadPoolExecutor(max_workers=available_cpus())
    try:
        for stage, ended in zip(first.values(), pool.map(_ask, first.values()), strict=True):
            if ended.returncode:
                _refuse(stage, ended)
    finally:
        pool.shutdown(cancel_futures=True)


def _ask(stage: Stage) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / stage.script), *stage.checked_as]
    # Nothing is computed, so a GPU is left to those who do.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _refuse(stage: Stage, ended: "subprocess.CompletedProcess[str]") -> None:
    lines = ended.stderr.splitlines()
    said = next((line for line in reversed(lines) if _ERROR in line), "")
    if ended.returncode != EXIT_USER_ERROR or not said:
        raise StepFailedError(
            f"{stage.script} could not be asked whether it takes the options of {stage.name}.",
            received=f"exit code {ended.returncode}: {lines[-1] if lines else 'nothing said'}",
        )
    expected, _, received = said.partition(_ERROR)[2].rpartition(_RECEIVED)
    expected = expected or f"{stage.script} does not take them."  # what a parser says has one part
    raise UsageError(
        f"The stage {stage.name} cannot be run with its options in the grid: {expected}", received=received
    )
