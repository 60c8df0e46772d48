"""A process that has TensorFlow loaded, and forks itself for every script that a test calls.

python -m tests.script_server

Loading TensorFlow takes six seconds of a slow processor, and the tests call scripts some 150 times. A script called
so runs in a process of its own, as `__main__`, with its own arguments, folder, environment, output and exit status;
only the libraries are there already. Nothing of the suite is, so that what a script loads is what it needs.

Reads one request a line from standard input, as JSON, and answers with a line: `start` gives the number of a new
process, `poll` its return code as subprocess has it, or null while it runs.
"""

import json
import os
import runpy
import signal
import sys
import threading
from typing import Any

import tensorflow as tf

LOADED = tf.keras.__name__  # TensorFlow loads Keras when first asked for it


def become(script: str, arguments: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """Run a script in this process, and end it."""
    for descriptor, name in ((1, out), (2, err)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)
    code: Any = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.main_thread():
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def poll(child: int) -> int | None:
    """Return a process's return code, or None while it runs."""
    ended, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def main() -> None:
    """Serve until standard input is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer: int | None = os.fork()
            if answer == 0:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                become(**request["start"])
        else:
            answer = poll(request["poll"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
