"""SHA256SUMS of a release bundle."""

import re
from pathlib import Path, PurePosixPath

from medsynth.errors import NetworkError
from medsynth.files import sha256_of
from medsynth.gan.trainer import FINAL_FOLDER
from medsynth.training.checkpoint import NETWORK_JSON

CHECKSUMS_NAME = "SHA256SUMS"
_LOADED = (f"{FINAL_FOLDER}/average.safetensors", f"{FINAL_FOLDER}/{NETWORK_JSON}")
_CHECKSUM_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")  # as sha256sum writes it


def verify_bundle(bundle_dir: Path) -> None:
    """Hold every file that SHA256SUMS lists against its checksum.

    Files that were added later (synthetic images in inference/) are not looked at.

    Raises:
        NetworkError: A file is missing or has changed, or SHA256SUMS is damaged; names the file.
    """
    for name, expected in _read_checksums(bundle_dir / CHECKSUMS_NAME).items():
        path = bundle_dir / name
        if not path.is_file():
            raise NetworkError("A file of the bundle was expected here.", received="no such file", path=path)
        found = sha256_of(path)
        if found != expected:
            raise NetworkError(
                f"The file has changed since the bundle was made: its sha256 was {expected}.", received=found, path=path
            )


def _read_checksums(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise NetworkError("The bundle's checksums were expected here.", received="no such file", path=path) from None
    except UnicodeDecodeError as error:
        raise NetworkError("The checksums are damaged.", received=error, path=path) from None
    found = {}
    for number, line in enumerate(lines, start=1):
        match = _CHECKSUM_LINE.fullmatch(line)
        if match is None or PurePosixPath(match[2]).is_absolute() or ".." in PurePosixPath(match[2]).parts:
            raise NetworkError(f"Line {number} is no checksum and name of a file.", received=line[:100], path=path)
        found[match[2]] = match[1]
    missing = [name for name in _LOADED if name not in found]
    if missing:
        raise NetworkError("The network must be among the checksums.", received=f"no {', '.join(missing)}", path=path)
    return found


def list_checksums(folder: Path) -> str:
    """Return SHA256SUMS for every file of a folder, sorted by name."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names)
