"""What each dataset command is made of: a source, a benchmark, and the published numbers."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from build_dataset.benchmarks import Benchmark, Classes, Dealt, Resolution, Samples
from build_dataset.brain import BrainSource
from build_dataset.chest import ChestSource
from build_dataset.folder import FolderSource
from build_dataset.published import NUM_ROWS, compare_with_published
from build_dataset.writing import (
    WriteOptions,
    format_result,
    require_free_target,
    require_resolution,
    write_dataset,
)
from medsynth.data.audit import verify
from medsynth.data.images import ImageForm
from medsynth.errors import DataError, UsageError
from medsynth.parallel import require_workers

DEFAULT_OPTIONS = WriteOptions()


class Source(Protocol):
    """Reads raw rows and deals them to train, valid and test; a frozen dataclass of its numbers."""

    def check(self) -> None:
        """Refuse numbers that no data fit."""
        ...

    def deal(self, raw_dir: str) -> Dealt:
        """Return the rows, dealt."""
        ...

    def form(self) -> ImageForm:
        """Return what an image becomes."""
        ...


@dataclass(frozen=True)
class Command:
    """A dataset command with the published numbers as defaults.

    Attributes:
        help: What it does, in a line.
        source: Where rows come from.
        benchmark: Which of them a dataset takes.
        has_published_splits: Whether its splits of the full CheXpert are known.
    """

    help: str
    source: Any
    benchmark: Any
    has_published_splits: bool = False


# Several sets of classes or sizes: which of them are published, and with how many images each.
_CHEST_CLASSES = Classes((20, 15, 10, 6, 4, 2), (1450, 1600, 2000, 2300, 3900, 6300), 190, 170)
_CHEST_SAMPLES = Samples((5950, 4500, 3000, 1500, 1000, 500, 400, 200), 750, 750)
_BRAIN_CLASSES = Classes((10, 8, 6, 4, 2), (2500, 3120, 4170, 6250, 12500), 300, 200)
_BRAIN_SAMPLES = Samples((5400, 4500, 3000, 1500, 1000, 500, 300, 100), 500, 500)

COMMANDS = {
    "create_from_xray": Command(
        "chest radiographs laid out as CheXpert-v1.0-small: resolution benchmark",
        ChestSource(limit=256),
        Resolution(),
        has_published_splits=True,
    ),
    "create_class_from_xray": Command(
        "the same: classes benchmark",
        ChestSource(limit=None, num_classes=max(_CHEST_CLASSES.classes)),
        _CHEST_CLASSES,
        has_published_splits=True,
    ),
    "create_samples_from_xray": Command(
        "the same: samples benchmark",
        ChestSource(limit=7400),
        _CHEST_SAMPLES,
        has_published_splits=True,
    ),
    "create_from_brain": Command(
        "head CT slices as prepare_brain leaves them: resolution benchmark", BrainSource(), Resolution()
    ),
    "create_class_from_brain": Command("the same: classes benchmark", BrainSource(), _BRAIN_CLASSES),
    "create_samples_from_brain": Command("the same: samples benchmark", BrainSource(num_classes=6), _BRAIN_SAMPLES),
    "create_from_folder": Command(
        "your own images and a csv file: resolution benchmark", FolderSource(), Resolution(test_val_samples=0)
    ),
    "create_class_from_folder": Command("the same: classes benchmark", FolderSource(), Classes((2,), (100,), 20, 20)),
    "create_samples_from_folder": Command("the same: samples benchmark", FolderSource(), Samples((100, 50), 20, 20)),
}


def settings_of(command: Command) -> dict[str, Any]:
    """Return every number that a command can be given, with its default."""
    return _fields(command.source) | _fields(command.benchmark)


def _fields(part: Any) -> dict[str, Any]:
    return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}


def create(
    name: str, target_dir: str | Path, raw_dir: str | Path, options: WriteOptions = DEFAULT_OPTIONS, **settings: Any
) -> dict[str, Any]:
    """Run a dataset command.

    Args:
        name: A key of COMMANDS.
        target_dir: The dataset's folder; new or empty.
        raw_dir: The folder with the raw table and images.
        options: How it is written.
        settings: Numbers that differ from the published ones; see `settings_of`.

    Returns:
        What dataset.json holds.

    Raises:
        UsageError: An unknown setting, or one out of its range.
        DataError: Missing or damaged input, or too little of it.
        RunFolderError: `target_dir` is not free, or cannot be written.
    """
    command = COMMANDS[name]
    source, benchmark = check_settings(name, **settings)
    require_free_target(Path(target_dir).resolve(), options.overwrite)
    with _named(raw_dir):
        dealt = source.deal(str(raw_dir))
        splits = benchmark.choose(dealt)
    remarks: dict[str, Any] = {}
    rows = dealt.splits["train"]
    if rows.notes:
        remarks["notes"] = list(rows.notes)
    if rows.warnings:
        remarks["warnings"] = list(rows.warnings)
    if not rows.patients_known:
        remarks["patients_known"] = False
    for warning in rows.warnings:
        print(f"warning: {rows.table}: {warning}", file=sys.stderr, flush=True)
    if command.has_published_splits and rows.num_listed == NUM_ROWS:
        remarks["published_split"] = compare_with_published(name, splits)
    arguments = {"raw_dir": str(raw_dir)} | _fields(source) | _fields(benchmark)
    description = write_dataset(
        Path(target_dir),
        splits,
        command=name,
        arguments=arguments,
        form=source.form(),
        options=options,
        remarks=remarks,
    )
    if options.labels_only:  # no image to look at: the audit costs nothing
        verify(Path(target_dir), num_workers=options.num_workers)
    return description


def check_settings(name: str, **settings: Any) -> tuple[Source, Benchmark]:
    """Return what a dataset command is made of, and refuse settings that no raw data fit.

    What only the raw data can tell is left to `create`: columns of a table, and whether there are images enough.

    Args:
        name: A key of COMMANDS.
        settings: Numbers that differ from the published ones; see `settings_of`.

    Raises:
        UsageError: An unknown setting, or one out of its range.
    """
    command = COMMANDS[name]
    unknown = set(settings) - set(settings_of(command))
    if unknown:
        raise UsageError(f"{name} has the settings {', '.join(settings_of(command))}.", received=", ".join(unknown))
    source: Source = _with(command.source, settings)
    benchmark: Benchmark = _with(command.benchmark, settings)
    if isinstance(source, ChestSource) and isinstance(benchmark, Classes) and source.limit is None:
        source = dataclasses.replace(source, num_classes=max(benchmark.classes, default=0))
    require_resolution(source.form().size)
    source.check()
    benchmark.check()
    return source, benchmark


def create_command(name: str, arguments: dict[str, Any], num_workers: int) -> None:
    """Carry out a dataset command as it was called: check its settings, and unless that is all, make the dataset.

    Args:
        name: A key of COMMANDS.
        arguments: target_dir, raw_dir, overwrite, labels_only, check_settings, and the command's own settings.
        num_workers: Processes.

    Raises:
        MedsynthError: See `create`.
    """
    own = ("target_dir", "raw_dir", "overwrite", "labels_only", "check_settings")
    settings = {key: value for key, value in arguments.items() if key not in own}
    require_workers(num_workers)
    if arguments["check_settings"]:
        check_settings(name, **settings)
        return
    options = WriteOptions(num_workers, overwrite=arguments["overwrite"], labels_only=arguments["labels_only"])
    print(format_result(create(name, arguments["target_dir"], arguments["raw_dir"], options, **settings)))


@contextlib.contextmanager
def _named(raw_dir: str | Path) -> Iterator[None]:
    """Put the raw folder in front of an error about its data that names no file, such as too few images."""
    try:
        yield
    except DataError as error:
        if error.path is not None:
            raise
        raise DataError(error.expected, received=error.received, path=raw_dir) from None


def _with(part: Any, settings: Mapping[str, Any]) -> Any:
    own = {key: value for key, value in settings.items() if key in _fields(part)}
    return dataclasses.replace(part, **own)
