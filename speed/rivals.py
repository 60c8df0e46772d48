"""Two programs timed against each other: each in a process of its own, by turns, the others idle.

Standard library alone, since both sides import it, each in its own environment. A
worker script ends in `serve({...})`; the benchmark starts it as a `Rival` and
asks it over its standard input and output, one JSON line each way.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

BUSY_SHARE = 0.1


class Contender(Protocol):
    """What can compete: anything that takes timed turns.

    Attributes:
        name: Its row in the table.
        turns: Seconds per step, and the share of the cores that other programs took, turn by turn.
    """

    name: str
    turns: list[tuple[float, float]]

    def take_turn(self, num_steps: int) -> None:
        """Do `num_steps` steps, and add to `turns`."""
        ...

    def peak_mib(self) -> float:
        """Return the most memory it has held, in MiB."""
        ...


class Rival:
    """One worker process.

    Args:
        name: Its row in the table.
        command: Starts it.
    """

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.turns: list[tuple[float, float]] = []  # (what a turn took in seconds per step, share of others)
        # BLAS libraries may read these; both sides get every core of this process.
        environment = {**os.environ, "OMP_NUM_THREADS": str(num_cores()), "TF_CPP_MIN_LOG_LEVEL": "2"}
        # As medsynth sets it; a worker may load TensorFlow before medsynth.
        environment.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, order: str, **arguments: Any) -> Any:
        """Have the worker carry out an order and return its answer.

        Raises:
            SystemExit: The worker has died; its own message is on standard error.
        """
        try:
            self._process.stdin.write(json.dumps([order, arguments]) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise SystemExit(f"{self.name} ended during {order!r}, with exit code {self._process.wait()}.")
        return json.loads(answer)

    def take_turn(self, num_steps: int) -> None:
        """Time `num_steps` steps, and note what share of the cores other programs took meanwhile."""
        others, start = -busy_seconds() + self._own_seconds(), time.perf_counter()
        seconds = self.ask("steps", num_steps=num_steps)
        others += busy_seconds() - self._own_seconds()
        share = others / (time.perf_counter() - start) / num_cores()
        self.turns.append((seconds / num_steps, max(share, 0.0)))

    def peak_mib(self) -> float:
        """Return the most memory it has held, in MiB (VmHWM)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def end(self) -> None:
        """Let the worker go."""
        self._process.stdin.close()
        self._process.wait()

    def _own_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def busy_seconds() -> float:
    """Return what all programs together have used of all cores, in seconds."""
    user, nice, system, _, _, interrupt, soft_interrupt, stolen = (
        int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    )
    return (user + nice + system + interrupt + soft_interrupt + stolen) / os.sysconf("SC_CLK_TCK")


def compete(rivals: Sequence[Contender], num_rounds: int, num_steps: int, most_seconds: float) -> list[int]:
    """Give every rival a turn per round until `num_rounds` rounds were undisturbed or time is up.

    Returns:
        The rounds that count: the undisturbed ones; all where fewer than three were.
    """
    start, quiet = time.perf_counter(), []
    num_done = 0
    while len(quiet) < num_rounds and (num_done < 3 or time.perf_counter() - start < most_seconds):
        for rival in rivals:
            rival.take_turn(num_steps)
        worst = max(rival.turns[-1][1] for rival in rivals)
        if worst <= BUSY_SHARE:
            quiet.append(num_done)
        num_done += 1
        print(f"  round {num_done}: others took up to {worst:.0%} of the cores", file=sys.stderr)
    return quiet if len(quiet) >= 3 else list(range(num_done))


def contest(
    contenders: Sequence[Rival], peers: Sequence[Rival], num_images: int, num_rounds: int, most_seconds: float
) -> str:
    """Time all contenders by turns, end them, and return the table; the fastest peer is the one to beat.

    Args:
        contenders: Everything that is timed; the first says how many steps make a turn.
        peers: Those of them that ratios may be to.
        num_images: Of a step.
        num_rounds: Undisturbed rounds wanted.
        most_seconds: About what the timing may take.
    """
    for rival in contenders:
        rival.ask("steps", num_steps=2)  # tracing, first touch of memory
    seconds = contenders[0].ask("steps", num_steps=1)
    num_steps = max(1, round(1.5 / seconds))  # turns of a second or two
    rounds = compete(contenders, num_rounds, num_steps, most_seconds)
    peer = min(peers, key=lambda rival: statistics.median(rival.turns[i][0] for i in rounds))
    lines = [
        f"{len(rounds)} of {len(peer.turns)} rounds of {num_steps} steps count; ratios are to {peer.name}",
        table(contenders, rounds, num_images=num_images, peer=peer),
    ]
    if max(rival.turns[i][1] for rival in contenders for i in rounds) > BUSY_SHARE:
        lines.append("THE MACHINE WAS BUSY: other programs took part of the cores, so these figures prove nothing.")
    for rival in contenders:
        rival.end()
    return "\n".join(lines)


def start_sides(
    ours: Callable[[str], Rival], theirs: Callable[[str, str], Rival], precisions: Sequence[str]
) -> tuple[list[Rival], list[Rival]]:
    """Start everything that is timed of TensorFlow and PyTorch, and say which of it may be the one to beat.

    Args:
        ours: Starts the suite's side in a precision.
        theirs: Starts PyTorch's in a precision and a memory layout.
        precisions: float32, and what else is to be timed.

    Returns:
        All of it; PyTorch's float32 in both memory layouts, of which the faster counts.
    """
    peers = [theirs("float32", layout) for layout in ("channels_last", "contiguous")]
    others = [theirs(precision, "channels_last") for precision in precisions[1:]]
    return [*map(ours, precisions), *peers, *others], peers


def table(rivals: Sequence[Contender], rounds: list[int], num_images: int, peer: Contender) -> str:
    """Return one line per rival: images/s, ratio to `peer` within each round, peak memory."""
    lines = [
        "| side | images/s: median (min-max) | ratio: median of the rounds (min-max) | others' share of the cores "
        "| peak memory, MiB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rival in rivals:
        speeds = [num_images / rival.turns[i][0] for i in rounds]
        ratios = [peer.turns[i][0] / rival.turns[i][0] for i in rounds]
        share = statistics.mean(rival.turns[i][1] for i in rounds)
        lines.append(
            f"| {rival.name} | {spread(speeds, '.1f')} | {spread(ratios, '.2f')} | {share:.0%} "
            f"| {rival.peak_mib():,.0f} |"
        )
    return "\n".join(lines)


def spread(values: list[float], form: str) -> str:
    """Return median (minimum-maximum)."""
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def serve(orders: dict[str, Callable[..., Any]]) -> None:
    """Carry out orders from standard input until it ends; called by the worker scripts."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
    for line in sys.stdin:
        order, arguments = json.loads(line)
        print(json.dumps(orders[order](**arguments)), file=answers, flush=True)


def timed_steps(step: Callable[[], Any]) -> Callable[[int], float]:
    """Return the order `steps`: do so many, and return the seconds until all are finished.

    `step` must return only when its results exist.
    """

    def steps(num_steps: int) -> float:
        start = time.perf_counter()
        for _ in range(num_steps):
            step()
        return time.perf_counter() - start

    return steps
