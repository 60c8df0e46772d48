"""Every error that a user can cause.

One base class, so that the command line can tell a mistake in the input (one
clear line, exit code 2) from a fault in the program (a traceback).
"""

from pathlib import Path
from typing import Any


class MedsynthError(Exception):
    """Something that the user can put right.

    Args:
        expected: What was expected or what went wrong, naming the file, record
            or setting and, where there is one, the remedy. A full sentence.
        received: What was found instead. It ends the message.
        path: The file or folder it is about; put in front of the message.
    """

    def __init__(self, expected: str, *, received: object, path: Path | str | None = None) -> None:
        place = f"{path}: " if path is not None else ""
        super().__init__(f"{place}{expected} Received: {received}")
        self.expected, self.received, self.path = expected, received, path

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross from worker processes; the default would call __init__ with one argument.
        return _rebuild, (type(self), self.expected, str(self.received), self.path)


def _rebuild(kind: type[MedsynthError], expected: str, received: str, path: Path | str | None) -> MedsynthError:
    return kind(expected, received=received, path=path)


class UsageError(MedsynthError):
    """A command line, setting or preset that cannot be used."""


class DataError(MedsynthError):
    """Input data that is missing, damaged or does not fit together."""


class RunFolderError(MedsynthError):
    """A results folder that belongs to another run, is in use, or cannot be written."""


class NetworkError(MedsynthError):
    """Stored network weights that are missing, damaged or of another architecture."""


class DivergenceError(MedsynthError):
    """A training that produces NaN or infinite losses."""


class DistributionError(MedsynthError):
    """A training on several hosts that lost one of them, or cannot reach it."""


class DependencyError(MedsynthError):
    """A library that is needed and not installed, or installed from elsewhere."""
