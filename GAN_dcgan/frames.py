"""Which frames there are, which of them belong together, and which are kept from training; no pixels."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from GAN_dcgan.config import ANY, DataConfig
from medsynth.data.group_split import held_out_groups
from medsynth.data.images import ImageSource
from medsynth.data.names import read_files, read_names
from medsynth.data.patient_ids import warning_of_likeness, without_decimals
from medsynth.data.text_table import TextTable, read_text_table
from medsynth.data.wording import counted, did_you_mean, listed
from medsynth.errors import DataError, UsageError
from medsynth.files import require_folder

_EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "gif", "webp", "pgm", "dcm")
# Of `clip12_f0003` or `clip12-frame_3`: what tells the frames of a clip apart.
_FRAME_NUMBER = re.compile(r"[\s_\-.]*(?:frame|f)?[\s_\-]*\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Frame:
    """An image file, and what it belongs to.

    Attributes:
        source: The file.
        name: Its path below the folder, or as the table has it.
        group: Frames of a group are alike: all of them are trained on, or none.
    """

    source: ImageSource
    name: str
    group: str


@dataclass(frozen=True)
class FrameList:
    """The frames of a training.

    Attributes:
        train: To be trained on.
        held_out: Kept from training.
        notes: What the user should know, in sentences.
        warnings: What in the table is likely to be a mistake, in sentences.
    """

    train: tuple[Frame, ...]
    held_out: tuple[Frame, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def find_frames(data_dir: Path, config: DataConfig) -> FrameList:
    """Find the frames of a folder or of a table, and split them by group.

    Args:
        data_dir: A folder; or a csv file, which then is the table.
        config: Filter, extension, table, columns, share.

    Raises:
        DataError: No frames, a table that cannot be used, or too few groups to hold any out.
        UsageError: Settings that have no effect together.
    """
    table = data_dir if data_dir.suffix.lower() == ".csv" else data_dir / config.table if config.table else None
    table_notes: tuple[str, ...] = ()
    if table is None:
        frames, how = _frames_of_folder(data_dir, config), "folder, and name without the number at its end"
    else:
        rows = read_text_table(table)
        frames, how = _frames_of_table(rows, config), f"column {config.group_column!r} of {table.name}"
        table_notes = rows.notes
    groups = Counter(frame.group for frame in frames)
    held_out = held_out_groups(groups, config.held_out_share, config.split_seed)
    if len(held_out) == len(groups):
        raise _all_held_out(len(groups), how, config.held_out_share, data_dir)
    train = tuple(frame for frame in frames if frame.group not in held_out)
    rest = tuple(frame for frame in frames if frame.group in held_out)
    notes = [f"{counted(len(frames), 'frame')} of {counted(len(groups), 'group')}, by {how}.", *table_notes]
    if rest:
        notes.append(f"Held out: {counted(len(rest), 'frame')} of {counted(len(held_out), 'group')}.")
        if table is None:
            notes.append(
                "Nothing here tells patients apart, so a patient's clips may be on both sides; a table with groups can "
                "(--table)."
            )
    likeness = None if table is None else warning_of_likeness(groups)
    return FrameList(train, rest, tuple(notes), (likeness,) if likeness else ())


def _all_held_out(num_groups: int, how: str, share: float, data_dir: Path) -> DataError:
    """Return the error that says why no group is left to train on."""
    never_split = f"since frames of a group are never split (groups by {how})"
    if num_groups == 1:
        expected = f"To hold groups out takes two of them at least, {never_split}."
    else:
        expected = (
            f"A share of {share:g} (--held-out) of {num_groups} groups is all of them, {never_split}, and one at least "
            "is to be trained on; give a smaller share."
        )
    return DataError(expected, received=counted(num_groups, "group"), path=data_dir)


def clip_of(name: str) -> str:
    """Return what a frame's path says of its clip: folder, and name without the number at its end."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{_FRAME_NUMBER.sub('', file.rpartition('.')[0])}"


def _frames_of_folder(folder: Path, config: DataConfig) -> list[Frame]:
    require_folder(folder, "frames, a table of them, or a dataset made by build_dataset")
    wanted = _endings(config.image_extension)
    names = sorted(_files_below(folder))
    chosen = [name for name in names if name.lower().endswith(wanted) and config.filename_filter in name]
    if not chosen:
        raise _nothing_found(folder, names, config)
    return [Frame(ImageSource(folder / name, str(folder)), name, clip_of(name)) for name in chosen]


def _endings(image_extension: str) -> tuple[str, ...]:
    names = [part.strip().lower().lstrip(".") for part in image_extension.split(",")]
    return tuple(f".{name}" for name in (_EXTENSIONS if ANY in names else filter(None, names)))


def _files_below(folder: Path) -> Iterator[str]:
    for place, _, files in os.walk(folder):
        below = Path(place).relative_to(folder)
        yield from ((below / file).as_posix() for file in files if not file.startswith("."))


def _nothing_found(folder: Path, names: Sequence[str], config: DataConfig) -> DataError:
    endings = Counter(Path(name).suffix.lower().lstrip(".") or "no ending" for name in names)
    found = ", ".join(f"{count:,} {ending}" for ending, count in endings.most_common(5))
    wanted = f"{config.image_extension} (--image-extension)"
    if config.filename_filter:
        wanted += f" and with {config.filename_filter!r} in their path below the folder (--filename-filter)"
    return DataError(
        f"No frames were found. They are files of any depth ending in {wanted}.",
        received=f"{counted(len(names), 'file')}{f': {found}' if found else ''}",
        path=folder,
    )


def _frames_of_table(rows: TextTable, config: DataConfig) -> list[Frame]:
    if config.image_extension != DataConfig.image_extension:
        raise UsageError(
            f"The table {rows.path.name} names the files, so --image-extension has no effect; leave it out.",
            received=config.image_extension,
        )
    for option, column in (("--file-column", config.file_column), ("--group-column", config.group_column)):
        if column not in rows.names:
            raise DataError(
                f"A column {column!r} was expected ({option} names another).{did_you_mean(column, rows.names)}",
                received=listed(rows.names),
                path=rows.path,
            )
    folder = rows.path.parent
    files = read_files(rows, config.file_column, str(folder), only_below=False)
    groups = without_decimals(read_names(rows, config.group_column, "a group"))
    frames = [
        Frame(ImageSource(folder / name, f"line {line} of {rows.path.name}"), name, group)
        for line, name, group in zip(rows.lines.tolist(), files, groups, strict=True)
        if config.filename_filter in name
    ]
    if not frames:
        raise DataError(
            f"No frames were found: no row with {config.filename_filter!r} in its path (--filename-filter).",
            received=counted(len(rows), "row"),
            path=rows.path,
        )
    return frames
