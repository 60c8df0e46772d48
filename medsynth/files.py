"""Files that are either whole or absent, and clear words when a disk says no."""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.errors import DataError, RunFolderError

_WRITE_ERRORS = {
    errno.ENOSPC: "No space is left on the disk; free some and run the same command again.",
    errno.EDQUOT: "The disk quota is used up; free some space and run the same command again.",
    errno.EFBIG: "Files may not grow so large here; raise the limit (ulimit -f) or choose another disk.",
    errno.EACCES: "No permission to write here; choose another folder or change its permissions.",
    errno.EPERM: "No permission to write here; choose another folder or change its permissions.",
    errno.EROFS: "This file system is read-only; choose another folder.",
    errno.ENOTDIR: "A folder was expected where a file lies.",
    errno.ENAMETOOLONG: "The name is too long for this file system; choose a shorter one.",
    errno.ELOOP: "Symbolic links here lead back to themselves; choose another folder.",
    errno.EEXIST: "A folder was expected where a file lies.",
}


def explain_os_error(error: OSError) -> RunFolderError | None:
    """Return the user-facing error for a failed write, or None where it is no such thing."""
    sentence = _WRITE_ERRORS.get(error.errno or 0)
    if sentence is None:
        return None
    return RunFolderError(sentence, received=error.strerror, path=error.filename)


@contextlib.contextmanager
def explained_writes(path: Path) -> Iterator[None]:
    """Raise a failed write as an error that names `path`.

    Raises:
        RunFolderError: No space, no permission or a read-only disk.
    """
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        explained = explain_os_error(error)
        if explained is None:
            raise
        raise explained from error


def make_folder(path: Path) -> Path:
    """Create `path` with its parents and return it.

    Raises:
        RunFolderError: It cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    except OSError as error:
        error.filename = error.filename or str(path)
        other = RunFolderError("No folder can be made here; choose another place.", received=error.strerror, path=path)
        raise explain_os_error(error) or other from error
    return path


def flush(path: Path) -> None:
    """Force the contents of a file, or the entries of a folder, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it becomes `path`, on failure it vanishes.

    The temporary name keeps the ending of `path`, since some libraries choose the form by it.
    What is written may be a file or a folder; a folder replaces an older one of that name.

    Raises:
        RunFolderError: No space, no permission or a read-only disk.
    """
    temporary = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        with explained_writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if temporary.is_dir():
                for entry in temporary.iterdir():
                    flush(entry)
            flush(temporary)
            if path.is_dir():
                shutil.rmtree(path)
            temporary.replace(path)
            flush(path.parent)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left half-written beside `path` (see `atomic_path`)."""
    for leftover in path.parent.glob(f".*.partial.{glob.escape(path.name)}"):
        process_id = leftover.name.split(".")[1]
        if not process_id.isdigit() or _is_running(int(process_id)):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _is_running(process_id: int) -> bool:
    """Return whether another process of that number runs on this machine."""
    if process_id == os.getpid():
        return False
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically (UTF-8)."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused, as JSON has neither."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_array(path: Path, values: npt.ArrayLike) -> None:
    """Write a .npy file atomically; arrays of Python objects are refused."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: It is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))  # editors on Windows put a mark in front
    except FileNotFoundError:
        raise DataError("A JSON file was expected here.", received="no such file", path=path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError("The file is not valid JSON.", received=error, path=path) from None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_folder(path: Path, what: str) -> Path:
    """Return `path` if it is an existing folder.

    Args:
        path: The folder.
        what: What it should hold, for the message ("the prepared dataset").

    Raises:
        DataError: It does not exist or is not a folder.
    """
    try:
        is_folder = path.is_dir()
        received = "a file" if path.is_file() else "no such folder"
    except OSError as error:  # such as a name that is too long
        is_folder, received = False, str(error.strerror)
    if not is_folder:
        raise DataError(f"A folder with {what} was expected here.", received=received, path=path)
    return path
