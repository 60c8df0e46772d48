"""SIGTERM and Ctrl-C as a request that a training answers between two steps."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class StoppedError(Exception):
    """A training stopped because it was asked to, with its state saved.

    Args:
        signal_number: What asked.
        where: Up to which point all is saved.
    """

    def __init__(self, signal_number: int, where: str) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signal_number).name}; the state at {where} is saved, and the same command "
            "goes on from it"
        )
        self.exit_code = 128 + signal_number


class StopRequest:
    """Notes a SIGTERM or a Ctrl-C instead of ending the process; a second one ends it at once.

    Batch systems send SIGTERM some time before they kill. Entering takes over the
    handlers of the main thread, leaving restores them.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def is_made(self) -> bool:
        """Whether somebody asked this process to stop."""
        return self.signal_number is not None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            raise KeyboardInterrupt
        self.signal_number = number
