"""Runs a command that ends when the process that wanted it ends, however that ends.

python leash.py LOCK command...

A grid that is killed with -9 cannot stop its commands; they would go on, and the next run would find their folders
taken. So each command is started by this process, which waits for the end of its own standard input: that is closed
when the grid ends, whatever the reason. A line on it means: stop the command gently (SIGTERM). While it runs it holds
a lock, on which the command's next start waits.

What wants it may kill its children as it ends (a worker of Ray does), which would leave the command without anyone to
end it. So the process that holds the leash is a grandchild; the child between only hands on its exit status.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

_SECONDS_TO_STOP = 120


def main(lock: str, command: list[str]) -> int:
    """Run the command under the lock and return its exit status."""
    with Path(lock).open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        # A group of its own, so that its workers end with it.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        threading.Thread(target=_watch, args=(process,), daemon=True).start()
        code = process.wait()
        _signal(process, signal.SIGKILL)  # what the command may have left behind
    return code if code >= 0 else 128 - code


def _as_grandchild() -> None:
    """Go on in a process of its own session; this one waits for that one's end and ends with its status."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        os._exit(code if code >= 0 else 128 - code)
    os.setsid()


def _watch(process: "subprocess.Popen[bytes]") -> None:
    # Unbuffered: another thread's end would otherwise wait for this one's lock at exit.
    if os.read(0, 1):
        _signal(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_SECONDS_TO_STOP)
    _signal(process, signal.SIGKILL)


def _signal(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        # The grid decides, over standard input. No SIG_IGN: the command would inherit it.
        signal.signal(number, lambda *_: None)
    _as_grandchild()
    sys.exit(main(sys.argv[1], sys.argv[2:]))
