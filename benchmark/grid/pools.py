"""Where stages run: processes of this machine, which share its GPUs, or the machines of a Ray cluster."""

import contextlib
import os
import queue
import socket
import subprocess
import threading
from typing import IO, Any, Protocol

from benchmark.grid.keys import Record
from benchmark.grid.stages import Stage
from benchmark.grid.work import Failure, Task, run_task
from benchmark.steps import ROOT, thread_limits
from medsynth.errors import DependencyError, UsageError
from medsynth.parallel import available_cpus

_RETRIES = 3
_SECONDS_TO_ANSWER = 10


class Pool(Protocol):
    """Runs tasks."""

    def check(self, stages: list[Stage]) -> None:
        """Refuse stages that can never run here.

        Raises:
            UsageError: One needs more than there is.
        """

    def has_room(self, stage: Stage) -> bool:
        """Return whether a stage could start now."""

    def submit(self, task: Task) -> None:
        """Start a task."""

    def wait(self) -> Record | Failure | None:
        """Return the next task that ends; None after a second without one."""

    def stop(self) -> None:
        """Stop what runs, gently where that is possible."""


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [one for one in chosen.split(",") if one.strip() not in ("", "-1")]
    try:
        found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(number) for number, line in enumerate(found.stdout.splitlines()) if line.startswith("GPU")]


class LocalPool:
    """Processes of this machine.

    Args:
        num_jobs: Stages at once; they share the cores evenly.
        gpus: GPUs to share; a stage has those that it asks for to itself. Without any, stages run on the processor.
        num_threads: Of each stage; None shares the cores evenly.
    """

    def __init__(self, num_jobs: int, gpus: list[str], num_threads: int | None = None) -> None:
        if num_jobs < 1:
            raise UsageError("--jobs is at least 1.", received=num_jobs)
        self.num_jobs = num_jobs
        self.num_gpus = len(gpus)
        self.num_threads = num_threads or max(available_cpus() // num_jobs, 1)
        self._free = list(gpus)
        self._running: dict[str, list[str]] = {}
        self._leashes: dict[str, IO[bytes]] = {}
        self._ended: queue.SimpleQueue[tuple[str, Record | Failure | BaseException]] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def check(self, stages: list[Stage]) -> None:
        """See `Pool`."""
        most = max(stages, key=lambda stage: stage.gpus)
        if 0 < self.num_gpus < most.gpus:
            raise UsageError(
                f"{most.name} takes {most.gpus} GPUs; give a grid with fewer, or more GPUs.",
                received=f"{self.num_gpus} here",
            )

    def _gpus(self, stage: Stage) -> int:
        return stage.gpus if self.num_gpus else 0

    def has_room(self, stage: Stage) -> bool:
        """See `Pool`."""
        return len(self._running) < self.num_jobs and self._gpus(stage) <= len(self._free)

    def submit(self, task: Task) -> None:
        """See `Pool`."""
        name = task.stage.name
        taken, self._free = self._free[: self._gpus(task.stage)], self._free[self._gpus(task.stage) :]
        self._running[name] = taken
        variables = thread_limits(self.num_threads) | dict(task.environment)
        if self.num_gpus:
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(taken)
        limited = Task(task.stage, task.key, task.grid_dir, task.folders, variables)
        threading.Thread(target=self._work, args=(limited,), daemon=True).start()

    def _work(self, task: Task) -> None:
        name = task.stage.name

        def keep(leash: IO[bytes]) -> None:
            with self._lock:
                self._leashes[name] = leash

        try:
            self._ended.put((name, run_task(task, keep)))
        except BaseException as error:  # raised again by `wait`, in the thread that waits
            self._ended.put((name, error))

    def wait(self) -> Record | Failure | None:
        """See `Pool`."""
        try:
            name, result = self._ended.get(timeout=1.0)
        except queue.Empty:
            return None
        self._free += self._running.pop(name)
        with self._lock:
            self._leashes.pop(name, None)
        if isinstance(result, BaseException):
            raise result
        return result

    def stop(self) -> None:
        """Have every command save its state and end, and wait for it."""
        with self._lock:
            for leash in self._leashes.values():
                with contextlib.suppress(OSError, ValueError):
                    leash.write(b"\n")
                    leash.flush()
        while self._running:
            self.wait()


def _no_cluster(address: str, received: object) -> DependencyError:
    return DependencyError(
        f"No Ray cluster could be reached at {address}; start one (ray start --head).", received=received
    )


def _require_answer(address: str) -> None:
    """Refuse an address HOST:PORT at which nothing answers; Ray itself would try for minutes.

    Raises:
        DependencyError: Nothing does.
    """
    host, has_port, port = address.removeprefix("ray://").rpartition(":")
    if has_port and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()
        except OSError as error:
            raise _no_cluster(address, error) from None


class RayPool:
    """The machines of a Ray cluster, which share the grid's folder and this repository under the same paths.

    A task whose worker dies is started again, elsewhere, up to three times, and goes on where it was.

    Args:
        address: Of the cluster; `auto` for the one that this machine belongs to.
        num_threads: Cores of each stage.

    Raises:
        DependencyError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, address: str, num_threads: int = 1) -> None:
        # Nothing of what runs here is told to anybody; it must be said before Ray is loaded.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray  # noqa: PLC0415  (an extra)
        except ImportError:
            raise DependencyError(
                "--ray needs Ray: pip install -e '.[cluster]'.", received="an environment without ray"
            ) from None
        self._ray: Any = ray
        self.num_threads = num_threads
        _require_answer(address)
        variables = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
        try:
            ray.init(address=address, runtime_env={"env_vars": variables}, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise _no_cluster(address, first) from None
        self._running: dict[Any, Task] = {}

    def check(self, stages: list[Stage]) -> None:
        """See `Pool`."""
        resources = self._ray.cluster_resources()
        most = max(stages, key=lambda stage: stage.gpus)
        num_gpus = int(resources.get("GPU", 0))
        if 0 < num_gpus < most.gpus:
            raise UsageError(f"{most.name} takes {most.gpus} GPUs.", received=f"{num_gpus} in the cluster")

    def has_room(self, stage: Stage) -> bool:
        """Return True: Ray keeps the queue."""
        del stage
        return True

    def submit(self, task: Task) -> None:
        """See `Pool`."""
        has_gpus = self._ray.cluster_resources().get("GPU", 0) > 0
        limited = Task(
            task.stage, task.key, task.grid_dir, task.folders, thread_limits(self.num_threads) | dict(task.environment)
        )
        remote = self._ray.remote(run_task).options(
            num_cpus=self.num_threads,
            num_gpus=task.stage.gpus if has_gpus else 0,
            max_retries=_RETRIES,
            name=task.stage.name,
        )
        self._running[remote.remote(limited)] = task

    def wait(self) -> Record | Failure | None:
        """See `Pool`."""
        over, _ = self._ray.wait(list(self._running), num_returns=1, timeout=1.0)
        if not over:
            return None
        ended = over[0]
        task = self._running.pop(ended)
        try:
            result: Record | Failure = self._ray.get(ended)
        except self._ray.exceptions.RayError as error:
            reason = f"its worker was lost {_RETRIES + 1} times: {str(error).strip().splitlines()[0]}"
            return Failure(task.stage.name, reason, task.log, ())
        return result

    def stop(self) -> None:
        """Cancel what runs; a command ends with its worker."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        self._ray.shutdown()
