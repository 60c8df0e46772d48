"""Work over several processes: results in order, a bounded number in flight, a clear word when one is killed."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from medsynth.errors import UsageError

Task = TypeVar("Task")
Result = TypeVar("Result")

_TASKS_AHEAD_PER_WORKER = 4


def available_cpus() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_workers(num_workers: int) -> None:
    """Refuse a number of processes below one.

    Raises:
        UsageError: It is.
    """
    if num_workers < 1:
        raise UsageError("--workers is the number of processes, at least 1.", received=num_workers)


def _ignore_interrupt() -> None:
    """Leave Ctrl-C to the parent, which ends its workers without a traceback from each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], num_workers: int
) -> Generator[Result, None, None]:
    """Yield function(task) for every task, in the order of the tasks.

    At most a few tasks a worker are begun before their turn, so memory does not grow with their
    number. Close the generator to end the workers early.

    Args:
        function: At the top level of a module; it and its results are pickled between processes.
        tasks: Taken one at a time, as workers become free.
        num_workers: Processes; 1 works in this one.

    Raises:
        UsageError: `num_workers` is below 1, or a process was killed from outside.
        Exception: What `function` raised, for the first such task in their order.
    """
    require_workers(num_workers)
    if num_workers == 1:
        yield from map(function, tasks)
        return
    # spawn: a forked copy of a process that runs threads (TensorFlow, BLAS) may hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, context, initializer=_ignore_interrupt)
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > _TASKS_AHEAD_PER_WORKER * num_workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise UsageError(
            "A worker process ended from outside (killed, or out of memory); "
            "run the same command again with fewer --workers.",
            received=error,
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)
