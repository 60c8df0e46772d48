"""Calls the suite's scripts as a user does."""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def script_command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / script), *map(str, arguments)]


def call(command: list[str], cwd: Path | None = None, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Call a command in a process that loads everything itself."""
    environment = {**os.environ, **ENVIRONMENT}
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False, env=environment
    )


class ScriptProcess:
    """A script in a process in which TensorFlow is loaded already (tests/script_server.py); used as a Popen.

    Args:
        script: Its path in the repository.
        arguments: Its own.
        cwd: Folder that it runs in.
        environment: Further variables.
    """

    def __init__(
        self, script: str, *arguments: object, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
    ) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="script")
        self.command = script_command(script, *arguments)
        self.returncode: int | None = None
        outputs = {name: str(Path(self.folder.name, name)) for name in ("out", "err")}
        self.pid = _ask(
            start={
                "script": self.command[1],
                "arguments": self.command[2:],
                "cwd": str(cwd),
                "environment": {**os.environ, **ENVIRONMENT, **(environment or {})},
                **outputs,
            }
        )

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = _ask(poll=self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for its end, and return what it wrote to standard output and error; kill it after so many seconds."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise subprocess.TimeoutExpired(self.command, timeout)
            time.sleep(0.005)
        out, err = (Path(self.folder.name, name).read_text() for name in ("out", "err"))
        return out, err


def _ask(**request: Any) -> Any:
    server = _script_server()
    assert server.stdin is not None
    assert server.stdout is not None
    print(json.dumps(request), file=server.stdin, flush=True)
    return json.loads(server.stdout.readline())


@cache
def _script_server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.script_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )
    atexit.register(server.kill)
    return server


def run_script(
    script: str, *arguments: object, cwd: Path = ROOT, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Call a script and wait for its end."""
    process = ScriptProcess(script, *arguments, cwd=cwd)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(process.command, process.poll() or 0, out, err)


def refused(script: str, *arguments: object) -> str:
    """Call a script that must end with code 2 and one clear line, and return that line."""
    result = run_script(script, *arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    (line,) = [line for line in result.stderr.splitlines() if ": error: " in line]
    return line
