"""What phantoms share: whether a folder holds the one that is asked for, and drawing by several processes."""

import contextlib
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from medsynth.errors import RunFolderError
from medsynth.files import explained_writes, read_json
from medsynth.parallel import ordered_map
from medsynth.progress import Progress

DESCRIPTION_NAME = "phantom.json"
Row = TypeVar("Row")


def is_finished(
    folder: Path,
    wanted: Mapping[str, Any],
    overwrite: bool,
    *,
    table_name: str,
    other_names: Collection[str],
    pictures: Callable[[Mapping[str, Any]], Iterable[Path]],
) -> bool:
    """Return whether `folder` already holds exactly this phantom.

    Args:
        folder: New, empty, or with a phantom.
        wanted: What phantom.json shall hold, beside the table's checksum `table_sha256`.
        overwrite: Another phantom may be replaced.
        table_name: The table in the folder.
        other_names: What else lies in the folder, beside the table and phantom.json.
        pictures: Returns the files that a phantom of this description has; called when the table is whole.

    Raises:
        RunFolderError: It is a file or a mount point, or holds something else that may not be replaced.
    """
    found = _description(folder)
    if found is None:
        return False
    if overwrite:
        own = {table_name, DESCRIPTION_NAME, *other_names}
        others = sorted(entry.name for entry in folder.iterdir() if entry.name not in own)
        if others:
            raise RunFolderError(
                "--overwrite replaces a phantom, and this folder holds more than one; move the rest away.",
                received=", ".join(others[:4]),
                path=folder,
            )
        return False
    hint = "This folder holds another phantom; choose another folder, or replace it with --overwrite."
    differing = [f"{key} {found.get(key)}" for key in wanted if found.get(key) != wanted[key]]
    if differing:
        raise RunFolderError(hint, received=f"a phantom with {', '.join(differing)}", path=folder)
    table = folder / table_name
    is_whole = table.is_file() and hashlib.sha256(table.read_bytes()).hexdigest() == found["table_sha256"]
    if not is_whole or not all(path.is_file() and path.stat().st_size > 0 for path in pictures(found)):
        raise RunFolderError(hint, received="a phantom whose table or images were changed", path=folder)
    return True


def draw_in_parts(
    write: Callable[[tuple[Any, ...]], list[Row]],
    numbers: range,
    *,
    folder: Path,
    others: tuple[Any, ...],
    patients_per_task: int,
    num_workers: int,
) -> Iterator[Row]:
    """Draw the patients, some at a time in each process, and yield what stands in the table, in their order.

    Args:
        write: Called with (folder, numbers of some patients, *others); writes their pictures and returns their rows.
            At the top level of a module.
        numbers: Of all patients.
        folder: Where the pictures go.
        others: What else `write` needs.
        patients_per_task: More of them make fewer and longer tasks.
        num_workers: Processes.
    """
    tasks = [numbers[first : first + patients_per_task] for first in range(0, len(numbers), patients_per_task)]
    work = ((folder, task, *others) for task in tasks)
    progress = Progress("drawing the phantom", len(numbers), "patients")
    with contextlib.closing(ordered_map(write, work, min(num_workers, len(tasks)))) as done:
        for task, rows in zip(tasks, done, strict=True):
            yield from rows
            progress.advance(len(task))
    progress.close()


def _description(folder: Path) -> dict[str, Any] | None:
    """Return the description of the phantom in `folder`, or None where the folder is empty or missing.

    Raises:
        RunFolderError: It is a file or a mount point, or holds anything else.
    """
    with explained_writes(folder):
        is_mount, is_folder, exists = folder.is_mount(), folder.is_dir(), folder.exists()
    if is_mount or (exists and not is_folder):
        found = "a mount point" if is_mount else "a file"
        raise RunFolderError("A phantom needs a folder of its own; name a new one.", received=found, path=folder)
    entries = sorted(entry.name for entry in folder.iterdir()) if is_folder else []
    if not entries:
        return None
    description = read_json(folder / DESCRIPTION_NAME) if DESCRIPTION_NAME in entries else None
    if not isinstance(description, dict) or "table_sha256" not in description:
        raise RunFolderError(
            "An empty or new folder was expected here; choose another one, or empty it.",
            received=", ".join(entries[:4]),
            path=folder,
        )
    return description
