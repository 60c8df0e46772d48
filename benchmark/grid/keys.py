"""What a stage depends on, as a key; and the record that it is finished.

A stage's key is made of its command, the content of what the stages before it made, the raw data's tables, and the
version of the code. So a stage runs again when any of these differs, and only then.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmark.grid.stages import RAW, In, Stage
from benchmark.steps import ROOT
from medsynth.errors import DataError
from medsynth.files import read_json, sha256_of, write_json

RECORDS = "records"
_LIBRARIES = ("tensorflow", "keras", "numpy", "scikit-image", "pillow")


def digest_of(value: object) -> str:
    """Return the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def code_version(application: str) -> str:
    """Return what tells the code behind an application's scripts from any other: its files, medsynth's, libraries."""
    digest = hashlib.sha256()
    for folder in (ROOT / application, ROOT / "medsynth"):
        for path in sorted((*folder.rglob("*.py"), *folder.rglob("*.ini"))):
            digest.update(f"{path.relative_to(ROOT)}\n".encode())
            digest.update(path.read_bytes())
    for name in _LIBRARIES:
        try:
            digest.update(f"{name} {version(name)}\n".encode())
        except PackageNotFoundError:
            digest.update(f"{name} is missing\n".encode())
    return digest.hexdigest()


def raw_digest(raw_dir: Path) -> str:
    """Return what tells raw data from other ones: their tables. Images of one name are taken to be the same.

    Raises:
        DataError: No table.
    """
    tables = sorted((*raw_dir.glob("*.csv"), *raw_dir.glob("*/*.csv")))
    if not tables:
        raise DataError("Raw data with a csv file were expected here.", received="none", path=raw_dir)
    return digest_of({path.relative_to(raw_dir).as_posix(): sha256_of(path) for path in tables})


@dataclass(frozen=True)
class Key:
    """What a stage is made from.

    Attributes:
        inputs: Digest of command, data and settings.
        code: Digest of the code.
    """

    inputs: str
    code: str

    @property
    def whole(self) -> str:
        """Of both."""
        return digest_of([self.inputs, self.code])


def key_of(stage: Stage, contents: Mapping[str, str]) -> Key:
    """Return a stage's key.

    Args:
        stage: The stage.
        contents: Digests of what the stages that it needs made, and RAW's of raw data of the user's own.
    """
    arguments = [list(asdict(part).values()) if isinstance(part, In) else part for part in stage.arguments]
    inputs = {
        "script": stage.script,
        "arguments": arguments,
        "links": {name: list(asdict(link).values()) for name, link in stage.links.items()},
        "needs": {name: contents[name] for name in stage.needs},
        "raw": contents.get(RAW) if stage.kind == "dataset" else None,
    }
    return Key(digest_of(inputs), code_version(stage.script.partition("/")[0]))


@dataclass(frozen=True)
class Record:
    """That a stage is finished.

    Attributes:
        stage: Its name.
        kind: Of the stage.
        inputs: See `Key`.
        code: See `Key`.
        folder: Below the grid's.
        files: Size, time of change in nanoseconds and SHA-256 of every product, by its path below the folder.
        seconds: That the command ran, of the last attempt.
        attempts: How often it was started.
        num_images: That it went through.
    """

    stage: str
    kind: str
    inputs: str
    code: str
    folder: str
    files: dict[str, tuple[int, int, str]]
    seconds: float
    attempts: int
    num_images: int

    @property
    def content(self) -> str:
        """Digest of the products."""
        return digest_of({name: sha for name, (_, _, sha) in self.files.items()})


def find_products(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files below a folder that the patterns name; folders that are links are entered."""
    return sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def describe_products(folder: Path, stage: Stage) -> dict[str, tuple[int, int, str]]:
    """Return size, time and digest of every product.

    Raises:
        DataError: A pattern names no file: the command said that it was done, and is not.
    """
    for pattern in stage.products:
        if not find_products(folder, [pattern]):
            raise DataError(
                f"The command ended well, but left none of the files {pattern}.", received="no such file", path=folder
            )
    found = {}
    for path in find_products(folder, stage.products):
        status = path.stat()
        found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime_ns, sha256_of(path))
    return found


class Records:
    """The records in a grid's folder, one file a stage.

    Args:
        grid_dir: The grid's folder.
        any_code: Take what other versions of the code made.
    """

    def __init__(self, grid_dir: Path, *, any_code: bool = False) -> None:
        self.grid_dir, self.any_code = grid_dir, any_code

    def path(self, name: str) -> Path:
        """Return where a stage's record lies."""
        return self.grid_dir / RECORDS / f"{name.replace('/', '.')}.json"

    def read(self, name: str) -> Record | None:
        """Return a stage's record, whatever its key; None where there is none that can be read."""
        path = self.path(name)
        try:
            content: Any = read_json(path)
            files = {str(key): tuple(value) for key, value in content.pop("files").items()}
            return Record(**content, files=files)
        except (DataError, TypeError, KeyError, AttributeError):
            return None

    def find(self, stage: Stage, key: Key) -> Record | None:
        """Return the record of a stage that is finished, made from exactly this, and whose files are as they were."""
        record = self.read(stage.name)
        if record is None or record.inputs != key.inputs or (record.code != key.code and not self.any_code):
            return None
        return record if self._is_whole(record) else None

    def write(self, record: Record) -> None:
        """Say that a stage is finished."""
        write_json(self.path(record.stage), asdict(record))

    def _is_whole(self, record: Record) -> bool:
        folder = self.grid_dir / record.folder
        for name, (size, changed, digest) in record.files.items():
            path = folder / name
            try:
                status = path.stat()
            except OSError:
                return False
            if status.st_size != size:
                return False
            # A copy of the grid's folder has other times, and the same bytes.
            if status.st_mtime_ns != changed and sha256_of(path) != digest:
                return False
        return True
