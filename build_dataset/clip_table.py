"""Which clips there are: those that a table names with patients and labels, or every one in the folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build_dataset.clips import is_clip
from build_dataset.folder import (
    PATH_NAMES,
    PATIENT_NAMES,
    find_column,
    find_table,
    label_columns,
    tables_in,
)
from medsynth.data.names import read_files, read_names
from medsynth.data.patient_ids import warning_of_likeness, without_decimals
from medsynth.data.text_table import TextTable, read_text_table
from medsynth.data.wording import counted, listed
from medsynth.errors import DataError, UsageError

FRAME_COLUMNS = ("path", "group_id", "clip", "frame", "time_s")  # of the table of frames, before the labels
_CLIP_NAMES = ("clip", "video", *PATH_NAMES)


@dataclass(frozen=True)
class ListedClip:
    """A clip that is asked for.

    Attributes:
        name: Of its own, fit for a folder.
        file: Below the folder of the clips.
        patient: As the table spells it; empty where no table says so.
        labels: Cells of the label columns, as they stand.
        origin: What lists it ("line 3 of clips.csv"), empty without a table.
    """

    name: str
    file: str
    patient: str
    labels: tuple[str, ...]
    origin: str


@dataclass(frozen=True)
class ClipList:
    """Clips in the order of their table, or of their names, and what the user should know of it."""

    clips: tuple[ListedClip, ...]
    label_names: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def list_clips(raw: Path, csv: str, path_column: str, patient_column: str, labels: Sequence[str]) -> ClipList:
    """Read the table in a folder of clips, or list the folder where it holds no csv file.

    Args:
        raw: The folder.
        csv: Name of the table; empty: the only csv file, if there is one.
        path_column: Column of the clips; empty: one of a usual name.
        patient_column: Column of the patients; empty: one of a usual name, or none.
        labels: Label columns, kept as they are; empty: every column of zeros and ones.

    Raises:
        UsageError, DataError: A column, cell or clip that is wrong or missing; names the line.
    """
    found = _clips_in(raw)
    if csv or tables_in(raw):
        table = read_text_table(find_table(raw, csv), verbatim=True)
        return _from_table(raw, found, table, path_column, patient_column, labels)
    if path_column or patient_column or labels:
        raise DataError(
            "--path-column, --patient-column and --labels need a csv file in the folder.", received="none", path=raw
        )
    if not found:
        raise DataError("Clips (mp4, avi, gif, DICOM) were expected here.", received="none", path=raw)
    clips = tuple(ListedClip(name, file, "", (), "") for name, file in zip(_names(found), found, strict=True))
    return ClipList(clips, (), (), ())


def _clips_in(raw: Path) -> list[str]:
    """Return the files below a folder that look like clips, sorted."""
    found = []
    for folder, folders, files in os.walk(raw, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [Path(folder, name) for name in files if name[0] != "." and is_clip(Path(folder, name))]
    return sorted(path.relative_to(raw).as_posix() for path in found)


def _from_table(
    raw: Path, found: Sequence[str], table: TextTable, path_column: str, patient_column: str, labels: Sequence[str]
) -> ClipList:
    path_name = find_column(table, path_column, _CLIP_NAMES, "--path-column")
    if path_name is None:
        raise DataError(
            "Which column names the clips? Say so with --path-column, or call it clip.",
            received=f"columns {listed(table.names)}",
            path=table.path,
        )
    patient_name = find_column(table, patient_column, PATIENT_NAMES, "--patient-column")
    columns = label_columns(table, labels, (path_name, patient_name))
    if taken := set(columns) & set(FRAME_COLUMNS):
        raise UsageError(
            f"A label column is not named {', '.join(FRAME_COLUMNS)}, as those of the frames are; rename it.",
            received=listed(sorted(taken)),
        )
    files = read_files(table, path_name, str(raw))
    patients = None if patient_name is None else without_decimals(read_names(table, patient_name, "a patient"))
    clips = tuple(
        ListedClip(
            name=name,
            file=file,
            patient="" if patients is None else patients[row],
            labels=tuple(table.column(column)[row].strip() for column in columns),
            origin=f"line {table.lines[row]} of {table.path.name}",
        )
        for row, (name, file) in enumerate(zip(_names(files.tolist()), files.tolist(), strict=True))
    )
    notes = [*table.notes]
    if not_named := sorted(set(found) - {clip.file for clip in clips}):
        many = counted(len(not_named), "clip")
        notes.append(f"{many} of the folder that {table.path.name} does not name, left out: {listed(not_named)}.")
    unused = [name for name in table.names if name and name not in (path_name, patient_name, *columns)]
    if unused:
        notes.append(f"Columns of the table that were not used: {listed(unused)}.")
    warning = None if patients is None else warning_of_likeness(patients)
    return ClipList(clips, tuple(columns), tuple(notes), (warning,) if warning else ())


def _names(files: Sequence[str]) -> list[str]:
    """Return a name for each clip: its path without the ending, in one word, with a number where that is taken."""
    names: list[str] = []
    taken: set[str] = set()
    for file in files:
        plain = os.path.splitext(file)[0].replace("/", "__").lstrip(".") or "clip"
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
