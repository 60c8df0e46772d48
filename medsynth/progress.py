"""One line that says how far a long job is and when it will end."""

import sys
import time
from typing import TextIO


def format_duration(seconds: float) -> str:
    """Return a duration as people say it: `42s`, `3m 05s`, `2h 10m`, `1d 03h`."""
    total = round(seconds)
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m {total % 60:02d}s"
    if total < 86400:
        return f"{total // 3600}h {total // 60 % 60:02d}m"
    return f"{total // 86400}d {total // 3600 % 24:02d}h"


class Progress:
    """A progress line with rate and ETA on a terminal; one plain line now and then elsewhere.

    Args:
        label: What is being done, in a word or three.
        total: Units of work in all.
        unit: The name of one unit, in the plural ("images").
        done: Units that an earlier run had finished already; they do not count for the rate.
        stream: Where to write; standard error by default.
        seconds_between_lines: How often a line is written where `stream` is no terminal.
    """

    def __init__(
        self,
        label: str,
        total: float,
        unit: str,
        *,
        done: float = 0,
        stream: TextIO | None = None,
        seconds_between_lines: float = 15.0,
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.stream = stream if stream is not None else sys.stderr
        self._done = self._first = done
        self._is_terminal = self.stream.isatty()
        self._pause = 0.2 if self._is_terminal else seconds_between_lines
        self._start = self._last = time.monotonic()
        self._width = 0

    def update(self, done: float, note: str = "", *, seconds_left: float | None = None) -> None:
        """Say that `done` units are finished.

        Args:
            done: Units finished in all.
            note: Shown behind the numbers.
            seconds_left: A better estimate than the mean rate so far gives, where units differ in cost.
        """
        self._done = done
        now = time.monotonic()
        if now - self._last >= self._pause:
            self._last = now
            self._write(self._line(now, note, seconds_left))

    def advance(self, units: float = 1, note: str = "") -> None:
        """Say that `units` more are finished."""
        self.update(self._done + units, note)

    def close(self, note: str = "") -> None:
        """Write the last line, with the time taken."""
        seconds = time.monotonic() - self._start
        self._write(f"{self.label}: {_count(self._done)} {self.unit} in {format_duration(seconds)} {note}".rstrip())
        if self._is_terminal:
            self.stream.write("\n")
            self.stream.flush()

    def _line(self, now: float, note: str, seconds_left: float | None) -> str:
        seconds = max(now - self._start, 1e-9)
        rate = (self._done - self._first) / seconds
        if seconds_left is None and rate > 0:
            seconds_left = (self.total - self._done) / rate
        left = "unknown" if seconds_left is None else format_duration(seconds_left)
        share = min(self._done / self.total, 1.0) if self.total else 1.0
        counts = f"{_count(self._done)}/{_count(self.total)}"
        line = f"{self.label}: {share:4.0%} {counts} {self.unit}  {rate:,.{1 if rate >= 0.05 else 3}f}/s  ETA {left}"
        return f"{line}  {note}" if note else line

    def _write(self, line: str) -> None:
        if self._is_terminal:
            self.stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()


def _count(units: float) -> str:
    """Return a number of units; those of a short job in parts (0.13 kimg), else whole."""
    return f"{units:,.0f}" if units >= 10 or float(units).is_integer() else f"{units:,.2f}"
