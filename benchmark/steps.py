"""The suite's own commands, run as a user would run them."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from medsynth.errors import MedsynthError

ROOT = Path(__file__).resolve().parents[1]
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


class StepFailedError(MedsynthError):
    """A command ended with an error, which it has printed itself."""


@dataclass(frozen=True)
class Step:
    """A command of a chain.

    Attributes:
        title: What it does, for the person who watches.
        command: Script, relative to the root, and its arguments.
        result: The file that it writes last.
    """

    title: str
    command: tuple[str | Path, ...]
    result: Path


def run_step(step: Step) -> None:
    """Run a command and wait for its end.

    Raises:
        StepFailedError: It failed.
    """
    script, *arguments = step.command
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise StepFailedError(
            f"The step '{step.title}' failed; its own message stands above. Mend it and run the same command again: it "
            "goes on from here.",
            received=f"exit code {code} of {script}",
        )


def thread_limits(num_threads: int) -> dict[str, str]:
    """Return variables that keep a command to so many threads."""
    return dict.fromkeys(_THREAD_VARIABLES, str(num_threads))
