"""Patients' ids of DICOM headers: copied where they are pseudonyms, hashed with a secret key where they are not."""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from medsynth.errors import RunFolderError, UsageError
from medsynth.files import explained_writes, make_folder

PATIENT_IDS = ("hash", "keep")
KEY_BYTES = 32
_HASH_DIGITS = 16  # two of a million patients share a hash with probability 3e-8


def no_key(key_file: str | Path | None) -> bytes:
    """Return the key of ids that are kept: none.

    Raises:
        UsageError: A key's file is named all the same.
    """
    if key_file is not None:
        raise UsageError("--key-file is for --patient-ids hash.", received="--patient-ids keep")
    return b""


def read_or_make_key(key_file: str | Path | None, out: Path) -> bytes:
    """Return the key in `key_file`, or a new one that is not written yet.

    Raises:
        UsageError: No file is named, it is in `out`, or holds something else.
    """
    if key_file is None:
        raise UsageError(
            "--patient-ids hash needs --key-file: a file outside the output folder, made if it does not exist, "
            "to be kept secret. Where the ids are pseudonyms already, as in RSNA's data, give --patient-ids keep.",
            received="no --key-file",
        )
    path = Path(key_file)
    if path.resolve().is_relative_to(out):
        raise UsageError("The key must not lie in the output folder, where it could be shared.", received=path)
    try:
        with path.open("rb") as file:
            key = file.read(KEY_BYTES + 1)
    except FileNotFoundError:
        return secrets.token_bytes(KEY_BYTES)
    except OSError as error:
        raise UsageError(f"--key-file {path} cannot be read.", received=error.strerror) from None
    if len(key) != KEY_BYTES:
        size = "more" if len(key) > KEY_BYTES else f"{len(key)} bytes"
        raise UsageError(f"--key-file {path} must hold {KEY_BYTES} random bytes, or not exist yet.", received=size)
    return key


def keep_key(path: Path, key: bytes) -> None:
    """Write a new key, readable by its owner alone; a file that is there is left as it is."""
    make_folder(path.resolve().parent)
    # Not through a temporary name: a key that another process has written meanwhile must survive.
    with explained_writes(path), contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(descriptor)
    if path.read_bytes() != key:
        raise RunFolderError("Another process made this key; run the same command again.", received="a key", path=path)


def hashed(key: bytes, text: str) -> str:
    """Return 16 hexadecimal digits of HMAC-SHA256 in place of an id."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:_HASH_DIGITS]
