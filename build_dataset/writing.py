"""From chosen rows to a dataset folder: records at every resolution, labels, csv, description.

A dataset grows in a hidden folder beside its target and takes the target's name when all of it is
there. A build that was killed goes on with the same command.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from build_dataset.records import Layout, UniqueImages, reserve, write_records
from build_dataset.rows import ImageRows
from medsynth.config import describe_differences
from medsynth.data.images import ImageForm
from medsynth.data.labels import DESCRIPTION_NAME, write_label_table, write_patients
from medsynth.data.manifest import MANIFEST_NAME
from medsynth.data.tfrecords import (
    SMALLEST_RESOLUTION_LOG2,
    write_labels,
)
from medsynth.errors import DataError, RunFolderError, UsageError
from medsynth.files import explained_writes, flush, make_folder, read_json, remove_leftovers, write_json
from medsynth.parallel import require_workers

_AUDIT_PICTURES = "verify_"  # what the command verify leaves beside its manifest
_PLAN_NAME = "plan.json"
_LARGEST_RESOLUTION = 4096
_LIBRARIES = ("medsynth", "numpy", "pandas", "pillow", "scikit-image", "scikit-learn", "scipy")


@dataclass(frozen=True)
class WriteOptions:
    """How a dataset is written; its content does not depend on it, but for `labels_only`.

    Attributes:
        num_workers: Processes that read images and write records.
        overwrite: Replace a finished dataset, and forget an unfinished one.
        labels_only: Write csv, labels and patients without reading an image.
    """

    num_workers: int = 1
    overwrite: bool = False
    labels_only: bool = False


def require_resolution(image_size: int) -> int:
    """Return log2 of `image_size`.

    Raises:
        UsageError: It is not a power of two from 4 to 4096.
    """
    if not 4 <= image_size <= _LARGEST_RESOLUTION or image_size & (image_size - 1):
        raise UsageError(f"--image-size is a power of two from 4 to {_LARGEST_RESOLUTION}.", received=image_size)
    return image_size.bit_length() - 1


def require_free_target(
    target: Path,
    overwrite: bool,
    *,
    description_name: str = DESCRIPTION_NAME,
    other_names: Collection[str] = (),
) -> None:
    """Refuse a target folder that holds anything, but for a finished dataset that may be overwritten.

    Args:
        target: The folder.
        overwrite: Whether a dataset there may be replaced.
        description_name: The file by which a finished dataset is known.
        other_names: What may lie in its folder beside that, the manifest and the splits.

    Raises:
        RunFolderError: Says what is there and what to do.
    """
    with explained_writes(target):
        is_file, is_mount, is_folder = target.is_file(), target.is_mount(), target.is_dir()
    if is_file:
        raise RunFolderError("A folder for the dataset was expected here.", received="a file", path=target)
    if is_mount:
        raise RunFolderError(
            "A dataset replaces its folder as a whole, which a mount point cannot be; name a folder in it.",
            received="a mount point",
            path=target,
        )
    entries = sorted(entry.name for entry in target.iterdir()) if is_folder else []
    if not entries:
        return
    if description_name not in entries:
        raise RunFolderError(
            "An empty or new folder was expected here; choose another one, or empty it.",
            received=", ".join(entries[:4]),
            path=target,
        )
    description = read_json(target / description_name)
    if not overwrite:
        raise RunFolderError(
            "This folder holds a finished dataset; choose another folder, or replace it with --overwrite.",
            received=f"a dataset made by {description.get('command')}",
            path=target,
        )
    own = {
        description_name,
        MANIFEST_NAME,
        *other_names,
        *(Path(folder).parts[0] for folder in description.get("splits", {})),
    }
    others = [entry for entry in entries if entry not in own and not entry.startswith(_AUDIT_PICTURES)]
    if others:
        raise RunFolderError(
            "--overwrite replaces a dataset, and this folder holds more than one; move the rest away.",
            received=", ".join(others[:4]),
            path=target,
        )


def write_dataset(
    target: Path,
    splits: Mapping[str, ImageRows],
    *,
    command: str,
    arguments: Mapping[str, Any],
    form: ImageForm,
    options: WriteOptions,
    remarks: Mapping[str, Any],
) -> dict[str, Any]:
    """Read, resize and write all images of a dataset; the folder appears when it is complete.

    Args:
        target: The dataset's folder.
        splits: Rows by folder below `target`, whose last part is the split's name ("train",
            "20/train").
        command: What made it, for dataset.json.
        arguments: All that the content depends on, as JSON can hold it, for dataset.json.
        form: What an image becomes.
        options: How it is written.
        remarks: More for dataset.json.

    Returns:
        What dataset.json holds.

    Raises:
        DataError: An image is missing or damaged. What is written already is kept, so that the same
            command goes on from there.
        RunFolderError: `target` is not free or cannot be written, or an unfinished dataset with other
            settings lies beside it.
    """
    require_workers(options.num_workers)
    target = target.resolve()
    resolution_log2 = require_resolution(form.size)
    require_free_target(target, options.overwrite)
    description = _describe(splits, command, arguments, form, options) | dict(remarks)
    make_folder(target.parent)
    remove_leftovers(target)
    building = target.with_name(f".{target.name}.building")
    with claimed(building, _fingerprint(splits, description), options.overwrite):
        folders = tuple(make_folder(building / folder) for folder in splits)
        if not options.labels_only:
            layout = Layout(folders, form, resolution_log2)
            images = UniqueImages(list(splits.values()))
            images.require_files()
            reserve(layout, [len(rows) for rows in splits.values()])
            with _remark_on_what_is_kept():
                write_records(layout, images, options.num_workers)
        for folder, rows in zip(folders, splits.values(), strict=True):
            write_labels(folder, rows.in_record_order().labels)
            write_label_table(folder, rows.label_table())
            write_patients(folder, rows.patients)
        write_json(building / DESCRIPTION_NAME, description)
        put_in_place(building, target)
    return description


@contextlib.contextmanager
def claimed(building: Path, plan: dict[str, Any], forget: bool, worth_keeping: str = "*.tfrecords") -> Iterator[None]:
    """Hold the folder of an unfinished dataset alone, after a check that it is this very one.

    Args:
        building: The folder.
        plan: All that the result depends on, as JSON gives it back.
        forget: Clear what another command left.
        worth_keeping: Name of the files that a failed build is kept for.

    Raises:
        RunFolderError: Another process holds it, or it was begun with another plan.
    """
    descriptor = os.open(make_folder(building), os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released by the system even after kill -9
        except BlockingIOError:
            raise RunFolderError(
                "Another process is building this dataset; wait for it or choose another folder.",
                received="a lock on it",
                path=building,
            ) from None
        if forget:
            for entry in building.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        plan_path = building / _PLAN_NAME
        if plan_path.exists():
            difference = describe_differences(_flat(_read_plan(plan_path)), _flat(plan))
            if difference:
                raise RunFolderError(
                    "An unfinished dataset with other settings lies here; delete it, give the same settings, or "
                    "forget it with --overwrite.",
                    received=difference,
                    path=building,
                )
        try:
            write_json(plan_path, plan)
            yield
        except BaseException:
            if not any(building.rglob(worth_keeping)):
                shutil.rmtree(building, ignore_errors=True)  # nothing in it is worth keeping
            raise
    finally:
        os.close(descriptor)


def _read_plan(path: Path) -> dict[str, Any]:
    """Return the plan of an unfinished dataset.

    Raises:
        RunFolderError: It is damaged; says what to do.
    """
    try:
        plan = read_json(path)
    except DataError as error:
        plan, received = None, error.received
    else:
        received = type(plan).__name__
    if not isinstance(plan, dict):
        raise RunFolderError(
            "An unfinished dataset lies here, and what it was to become cannot be read; forget it with --overwrite.",
            received=received,
            path=path,
        )
    return plan


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan as one dictionary whose differences are short to tell."""
    flat: dict[str, Any] = {}
    for key, value in plan.items():
        flat |= {f"{key}.{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {key: value}
    rows = flat.pop("rows_sha256", None)
    return flat | {"images, labels and patients of the table (sha256)": str(rows)[:8]}


def _fingerprint(splits: Mapping[str, ImageRows], description: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the records depend on, as JSON would give it back."""
    digest = hashlib.sha256()
    for folder, rows in splits.items():
        digest.update(folder.encode())
        digest.update("\n".join(rows.files).encode())
        digest.update(np.ascontiguousarray(rows.labels).tobytes())
        digest.update("\n".join(rows.patients).encode())
    plan = {"rows_sha256": digest.hexdigest()} | {
        key: description[key] for key in ("command", "arguments", "form", "labels_only", "library_versions")
    }
    return dict(json.loads(json.dumps(plan)))


@contextlib.contextmanager
def _remark_on_what_is_kept() -> Iterator[None]:
    """Add to the error of a damaged image that the work before it is not lost."""
    try:
        yield
    except DataError as error:
        raise DataError(
            f"{error.expected} What is written is kept: the same command goes on from there.",
            received=error.received,
            path=error.path,
        ) from error


def put_in_place(building: Path, target: Path) -> None:
    """Give the finished dataset its name, in place of an older one."""
    with explained_writes(target):
        (building / _PLAN_NAME).unlink()
        flush(building)
        if target.is_dir():
            shutil.rmtree(target)
        building.replace(target)
        flush(target.parent)


def _describe(
    splits: Mapping[str, ImageRows],
    command: str,
    arguments: Mapping[str, Any],
    form: ImageForm,
    options: WriteOptions,
) -> dict[str, Any]:
    return {
        "command": command,
        "arguments": dict(arguments),
        "seed": arguments["seed"],
        "form": asdict(form),
        "labels_only": options.labels_only,
        "label_names": list(dict.fromkeys(name for rows in splits.values() for name in rows.label_names)),
        "resolutions": [2**level for level in range(SMALLEST_RESOLUTION_LOG2, form.size.bit_length())],
        "splits": {
            folder: {
                "images": len(rows),
                "patients": len(pd.unique(rows.patients)),
                "positives": dict(zip(rows.label_names, _positives(rows), strict=True)),
            }
            for folder, rows in splits.items()
        },
        "library_versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
    }


def _positives(rows: ImageRows) -> list[int]:
    counts: npt.NDArray[np.int64] = rows.labels.sum(axis=0, dtype=np.int64)
    return [int(count) for count in counts]


def format_summary(description: Mapping[str, Any]) -> str:
    """Return images, patients and positives per label of every split as a table."""
    splits = description["splits"]
    names = description["label_names"]
    lines = [("", *splits)]
    lines += [(count, *(f"{split[count]:,}" for split in splits.values())) for count in ("images", "patients")]
    lines += [(name, *(f"{split['positives'].get(name, 0):,}" for split in splits.values())) for name in names]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    )


def format_result(description: Mapping[str, Any]) -> str:
    """Return what a dataset command says at its end."""
    lines = [format_summary(description)]
    published = description.get("published_split")
    if published == "same":
        lines.append("These are the published splits, row by row.")
    elif published:
        lines.append(f"This is the published table, but these are not the published splits: {published}.")
    if description["labels_only"]:
        lines.append("No image was read: csv files and labels alone were written.")
    lines += description.get("notes", [])
    return "\n".join(lines)
