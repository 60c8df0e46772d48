"""What a grid holds: grid.json, and cells.csv with a row per tested classifier."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsynth.data.labels import read_csv
from medsynth.data.wording import listed
from medsynth.errors import DataError, UsageError
from medsynth.files import read_json

GRID, CELLS = "grid.json", "cells.csv"
REAL = "real"
BENCHMARKS = ("classes", "samples", "resolution")
MODALITIES = ("chest", "brain", "")
DONE = "done"
STATUSES = (DONE, "failed", "missing")
_COLUMNS = ("benchmark", "setting", "trained_on", "seed", "status", "test_folder")


@dataclass(frozen=True)
class Cell:
    """A classifier of the grid.

    Attributes:
        benchmark: One of BENCHMARKS.
        setting: Number of classes, samples per class, or resolution.
        trained_on: `real`, or the GAN.
        seed: Of its training.
        status: One of STATUSES.
        folder: With its predictions.csv and results.json; None unless it is done.
    """

    benchmark: str
    setting: int
    trained_on: str
    seed: int
    status: str
    folder: Path | None = None

    @property
    def title(self) -> str:
        """The cell as messages name it."""
        return f"{self.benchmark} {self.setting:,}, {self.trained_on}, seed {self.seed}"


@dataclass(frozen=True)
class Grid:
    """A grid and its cells.

    Attributes:
        folder: With grid.json and cells.csv.
        name: Of the grid.
        modality: `chest` or `brain`; empty where no published figure is of the same data.
        resolution: Of the images, in the benchmarks of classes and samples.
        seeds: Of every training.
        gans: In the order of tables and bars.
        cells: Every combination of the settings with real, the GANs and the seeds, once.
    """

    folder: Path
    name: str
    modality: str
    resolution: int
    seeds: tuple[int, ...]
    gans: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """What classifiers were trained on, `real` first."""
        return REAL, *self.gans

    @property
    def benchmarks(self) -> tuple[str, ...]:
        """The benchmarks that it has cells of."""
        return tuple(name for name in BENCHMARKS if any(cell.benchmark == name for cell in self.cells))

    @property
    def not_done(self) -> tuple[Cell, ...]:
        """Cells without a result."""
        return tuple(cell for cell in self.cells if cell.status != DONE)


def require_one_kind(folders: Sequence[Path], options: Sequence[str]) -> bool:
    """Return whether one grid was given, rather than tested classifiers.

    Args:
        folders: As given.
        options: Of --published, --margin and --gap-margin those that were given.

    Raises:
        UsageError: A grid beside something else, or an option that does not belong.
    """
    grids = [folder for folder in folders if (folder / GRID).is_file()]
    if grids and len(folders) > 1:
        raise UsageError("A grid is compared alone.", received=f"{len(folders)} folders, among them {grids[0]}")
    unfit = [name for name in options if (name == "--published") == bool(grids)]
    if unfit:
        kind = "a grid, which names its own published rows" if grids else "tested classifiers; it is for a grid"
        raise UsageError(f"{unfit[0]} says nothing about {kind}.", received=" ".join(map(str, folders)))
    return bool(grids)


def read_grid(folder: Path) -> Grid:
    """Read a grid.

    Raises:
        DataError: A file is missing or not of its form; names file and line or key.
    """
    facts = read_json(folder / GRID)
    path = folder / GRID
    name, modality, resolution, seeds, gans = (
        _fact(facts, key, path) for key in ("name", "modality", "resolution", "seeds", "gans")
    )
    if modality not in MODALITIES:
        raise DataError("modality is chest, brain or empty.", received=repr(modality), path=path)
    if not isinstance(resolution, int) or not _all(seeds, int) or not _all(gans, str):
        raise DataError(
            "resolution is a number, seeds is a list of numbers, and gans a list of names.",
            received=f"{resolution!r}, {seeds!r}, {gans!r}",
            path=path,
        )
    cells = _read_cells(folder, seeds, (REAL, *gans))
    return Grid(folder, str(name), modality, resolution, tuple(seeds), tuple(gans), cells)


def _fact(facts: Any, key: str, path: Path) -> Any:
    if not isinstance(facts, dict) or key not in facts:
        raise DataError(f"A grid has a {key}.", received="none", path=path)
    return facts[key]


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, kind) for value in values)


def _read_cells(folder: Path, seeds: Sequence[int], sources: Sequence[str]) -> tuple[Cell, ...]:
    path = folder / CELLS
    frame = read_csv(path, dtype=str, keep_default_na=False)
    if list(frame.columns) != list(_COLUMNS) or frame.empty:
        raise DataError(
            f"Rows with the columns {', '.join(_COLUMNS)} were expected.",
            received=f"{len(frame)} rows of {', '.join(map(str, frame.columns))}",
            path=path,
        )
    found = [_cell(folder, row, line) for line, row in enumerate(frame.to_dict("records"), start=2)]
    for line, cell in enumerate(found, start=2):
        known = cell.benchmark in BENCHMARKS and cell.trained_on in sources and cell.seed in seeds
        if not known or cell.status not in STATUSES or cell.setting < 1:
            raise DataError(
                f"Line {line}: a benchmark ({', '.join(BENCHMARKS)}), a setting, what grid.json names in gans "
                f"({', '.join(sources)}) and seeds ({', '.join(map(str, seeds))}), and a status "
                f"({', '.join(STATUSES)}) were expected.",
                received=f"{cell.title}, {cell.status}",
                path=path,
            )
    repeated = [title for title, count in Counter(cell.title for cell in found).items() if count > 1]
    if repeated:
        raise DataError("Every classifier has one row.", received=listed(repeated), path=path)
    return _completed(found, seeds, sources)


def _cell(folder: Path, row: dict[Any, Any], line: int) -> Cell:
    try:
        setting, seed = int(row["setting"]), int(row["seed"])
    except ValueError as error:
        raise DataError(
            f"Line {line}: setting and seed are whole numbers.", received=error, path=folder / CELLS
        ) from None
    is_done = row["status"] == DONE
    if is_done and not row["test_folder"]:
        raise DataError(f"Line {line}: what is done has a test_folder.", received="none", path=folder / CELLS)
    place = folder / row["test_folder"] if is_done else None
    return Cell(row["benchmark"], setting, row["trained_on"], seed, row["status"], place)


def _completed(found: Sequence[Cell], seeds: Sequence[int], sources: Sequence[str]) -> tuple[Cell, ...]:
    """Return the cells in the order of tables; those of a setting that have no row are missing."""
    known = {(cell.benchmark, cell.setting, cell.trained_on, cell.seed): cell for cell in found}
    places = sorted({(BENCHMARKS.index(cell.benchmark), cell.setting) for cell in found})
    keys = [(BENCHMARKS[place], setting, source, seed)
            for place, setting in places for source in sources for seed in seeds]  # fmt: skip
    return tuple(known.get(key, Cell(*key, "missing")) for key in keys)
