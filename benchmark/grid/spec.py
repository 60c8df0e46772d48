"""What a grid's yaml file says: data, benchmarks with their settings, GANs, seeds."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medsynth.config import nearest
from medsynth.errors import DataError, UsageError
from medsynth.metrics.catalogue import parse_metrics

GRIDS_FOLDER = Path(__file__).resolve().parents[1] / "grids"
BENCHMARKS = ("resolution", "classes", "samples")
GANS = ("GAN_prog", "GAN_cpd")
MODALITIES = ("chest", "brain")
# The option whose numbers a benchmark's settings are chosen from.
_MADE_BY = {"classes": "--classes", "samples": "--train-per-class"}


@dataclass(frozen=True)
class BenchmarkSpec:
    """One benchmark of the grid.

    Attributes:
        name: resolution, classes or samples.
        command: Of build_dataset/dataset_tool.py.
        options: Of that command.
        settings: Numbers of classes, training images per class, or resolutions.
        test_images: In the test set of a setting, for the cost estimate; 0 where that is not known.
        train_images: In the training set of each setting, for the cost estimate; 0 where that is not known.
    """

    name: str
    command: str
    options: tuple[str, ...]
    settings: tuple[int, ...]
    train_images: tuple[int, ...]
    test_images: tuple[int, ...]


@dataclass(frozen=True)
class GanSpec:
    """One GAN of the grid.

    Attributes:
        name: Its application's folder.
        kimg: Thousands of images that it is trained on; where that depends on the resolution, by resolution.
        options: Of its train.py.
        gpus: That its training takes; where that depends on the resolution, by resolution.
    """

    name: str
    kimg: float | dict[int, float]
    options: tuple[str, ...]
    gpus: int | dict[int, int]

    def kimg_at(self, resolution: int) -> float:
        """Return how many thousand images it is trained on."""
        return self.kimg[resolution] if isinstance(self.kimg, dict) else self.kimg

    def gpus_at(self, resolution: int) -> int:
        """Return how many GPUs its training takes."""
        return self.gpus[resolution] if isinstance(self.gpus, dict) else self.gpus


@dataclass(frozen=True)
class GridSpec:
    """A whole grid.

    Attributes:
        name: For titles and the results folder.
        modality: chest or brain where the data are those of the published tables, else empty.
        phantom: Options of create_phantom; None where the raw data are the user's.
        resolution: Of the images; that of the resolution benchmark is its setting.
        seeds: Of GANs and classifiers.
        benchmarks: At least one.
        gans: At least one.
        classifier_options: Of the classifiers' train.py.
        epochs: Of the classifiers, for the cost estimate.
        classifier_gpus: That a classifier takes.
        nn_options: Of nn.py; None leaves the nearest neighbours out.
        metrics: Of evaluate.py, with commas; empty leaves them out.
        metrics_options: More for evaluate.py.
    """

    name: str
    modality: str
    phantom: tuple[str, ...] | None
    resolution: int
    seeds: tuple[int, ...]
    benchmarks: tuple[BenchmarkSpec, ...]
    gans: tuple[GanSpec, ...]
    classifier_options: tuple[str, ...]
    epochs: int
    classifier_gpus: int
    nn_options: tuple[str, ...] | None
    metrics: str
    metrics_options: tuple[str, ...]


def known_grids() -> list[str]:
    """Return the names of the grids that come with the suite."""
    return sorted(path.stem for path in GRIDS_FOLDER.glob("*.yaml"))


def read_grid(name: str) -> GridSpec:
    """Read a grid: one of `known_grids()`, or a yaml file.

    Raises:
        UsageError: There is no such grid.
        DataError: The file is not as it must be; the message names the key.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else GRIDS_FOLDER / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError("A grid is a text file in UTF-8.", received=error, path=path) from None
    except OSError:
        raise UsageError(
            f"A grid is one of {', '.join(known_grids())}, or a yaml file (docs/benchmark.md).", received=name
        ) from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError("The grid is not valid yaml.", received=" ".join(str(error).split()), path=path) from None
    return _grid(_Reader(content, path, ""))


class _Reader:
    """A mapping of the file, of which every key must be asked for."""

    def __init__(self, content: object, path: Path, place: str) -> None:
        if not isinstance(content, dict):
            what = place.rstrip(".") or "The grid"
            raise DataError(f"{what} must be a mapping of keys.", received=repr(content), path=path)
        self.content: dict[Any, Any] = content
        self.path, self.place = path, place
        self._known: list[str] = []

    def fail(self, key: str, expected: str, received: object) -> DataError:
        """Return the error about a key."""
        return DataError(f"{self.place}{key} must be {expected}.", received=repr(received), path=self.path)

    def take(self, key: str, default: object = ...) -> Any:
        """Return the value of a key."""
        self._known += [] if key in self._known else [key]
        if key in self.content:
            return self.content[key]
        if default is ...:
            raise DataError(f"The key {self.place}{key} is missing.", received="no such key", path=self.path)
        return default

    def part(self, key: str) -> "_Reader":
        """Return a mapping below this one."""
        return _Reader(self.take(key), self.path, f"{self.place}{key}.")

    def integer(self, key: str, default: object = ..., *, least: int = 0) -> int:
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.fail(key, f"a whole number from {least}", value)
        return value

    def integers(self, key: str, default: object = ..., *, least: int = 1) -> tuple[int, ...]:
        values = self.take(key, default)
        is_list = isinstance(values, list | tuple)
        if not is_list or not all(isinstance(one, int) and one >= least for one in values):
            raise self.fail(key, f"a list of whole numbers from {least}", values)
        if len(set(values)) < len(values) and key in ("seeds", "settings"):
            raise self.fail(key, "a list without repeats", values)
        return tuple(values)

    def by_resolution(self, key: str, resolutions: list[int], default: object = ...) -> Any:
        """Return a number, or a mapping that has one for each resolution; above 0 unless there is a default."""
        value = self.take(key, default)
        numbers = value.values() if isinstance(value, dict) else [value]
        least = 0 if default is not ... else 1e-9
        if not all(isinstance(one, int | float) and not isinstance(one, bool) and one >= least for one in numbers):
            raise self.fail(key, f"a number {'from' if least == 0 else 'above'} 0, or one by resolution", value)
        missing = [one for one in resolutions if isinstance(value, dict) and one not in value]
        if missing:
            raise self.fail(key, f"a number for each resolution, also for {missing[0]}", value)
        return value

    def text(self, key: str, default: object = ...) -> str:
        value = self.take(key, default)
        if not isinstance(value, str):
            raise self.fail(key, "text", value)
        return value

    def options(self, key: str, default: object = ()) -> tuple[str, ...]:
        """Return options of a command: a list of words and numbers."""
        values = self.take(key, default)
        if not isinstance(values, list | tuple) or not all(isinstance(one, str | int | float) for one in values):
            raise self.fail(key, "a list of words as on a command line", values)
        return tuple(map(str, values))

    def close(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self.content:
            if key not in self._known:
                hint = nearest(str(key), self._known)
                raise DataError(
                    f"Unknown key.{hint} Known here: {', '.join(self._known)}.",
                    received=f"{self.place}{key}",
                    path=self.path,
                )


def _grid(reader: _Reader) -> GridSpec:
    name = reader.text("name")
    if not re.fullmatch(r"[\w.-]+", name):
        raise reader.fail("name", "letters, digits, -, _ and . alone", name)
    modality = reader.text("modality", "")
    if modality not in ("", *MODALITIES):
        raise reader.fail("modality", f"one of {', '.join(MODALITIES)}, or left out", modality)
    phantom = reader.options("phantom") if "phantom" in reader.content else None
    resolution = reader.integer("resolution", least=4)
    classifier = reader.part("classifier")
    benchmarks = _benchmarks(reader.part("benchmarks"))
    resolutions = {resolution} | {one for part in benchmarks if part.name == "resolution" for one in part.settings}
    spec = GridSpec(
        name=name,
        modality=modality,
        phantom=phantom,
        resolution=resolution,
        seeds=reader.integers("seeds", least=0),
        benchmarks=benchmarks,
        gans=_gans(reader.part("gans"), sorted(resolutions)),
        classifier_options=classifier.options("options"),
        epochs=classifier.integer("epochs", least=1),
        classifier_gpus=classifier.integer("gpus", 0),
        nn_options=reader.options("nn") if "nn" in reader.content else None,
        metrics=_metrics(reader),
        metrics_options=reader.options("metrics_options"),
    )
    reader.take("nn", ()), reader.take("phantom", ())
    classifier.close()
    reader.close()
    unfit = [one for one in resolutions if one & (one - 1)]
    if unfit:
        raise reader.fail("resolution", "a power of two", unfit[0])
    if not spec.seeds:
        raise reader.fail("seeds", "at least one seed", spec.seeds)
    if phantom is not None and modality:
        raise DataError(
            "A phantom is no published data: leave modality out.", received=f"modality: {modality}", path=reader.path
        )
    return spec


def _benchmarks(reader: _Reader) -> tuple[BenchmarkSpec, ...]:
    found = []
    for name in list(reader.content):
        part = reader.part(str(name))
        if name not in BENCHMARKS:
            raise DataError(f"A benchmark is one of {', '.join(BENCHMARKS)}.", received=name, path=reader.path)
        settings = part.integers("settings")
        counts = [part.integers(key, (0,) * len(settings), least=0) for key in ("train_images", "test_images")]
        for key, count in zip(("train_images", "test_images"), counts, strict=True):
            if len(count) != len(settings):
                raise part.fail(key, f"a list of {len(settings)} numbers, one for each of settings", list(count))
        found.append(BenchmarkSpec(name, part.text("command"), part.options("options"), settings, *counts))
        part.close()
        if not settings:
            raise part.fail("settings", "at least one number", settings)
        _require_made(part, found[-1])
    if not found:
        raise DataError("A grid needs at least one benchmark.", received="none", path=reader.path)
    return tuple(found)


def _require_made(part: _Reader, benchmark: BenchmarkSpec) -> None:
    """Refuse settings that the dataset's options leave out; where they do not name any, its command has its own."""
    option = _MADE_BY.get(benchmark.name, "")
    words = [word for one in benchmark.options for word in one.split("=", 1)]
    given = [value for name, value in itertools.pairwise(words) if option and name == option]
    made = given[-1].split(",") if given else []
    if not made or not all(one.strip().isdecimal() for one in made):  # what is no number is the command's to refuse
        return
    missing = sorted(set(benchmark.settings) - set(map(int, made)))
    if missing:
        expected = f"numbers that {option} of {part.place}options holds, {', '.join(made)}"
        raise part.fail("settings", expected, missing[0])


def _metrics(reader: _Reader) -> str:
    names = reader.text("metrics", "")
    try:
        if names:
            parse_metrics(names)
    except UsageError as error:
        raise DataError(f"metrics: {error.expected}", received=error.received, path=reader.path) from None
    return names


def _gans(reader: _Reader, resolutions: list[int]) -> tuple[GanSpec, ...]:
    found = []
    for name in list(reader.content):
        if name not in GANS:
            raise DataError(f"A GAN is one of {', '.join(GANS)}.", received=name, path=reader.path)
        part = reader.part(str(name))
        kimg, gpus = part.by_resolution("kimg", resolutions), part.by_resolution("gpus", resolutions, 0)
        found.append(GanSpec(name, kimg, part.options("options"), gpus))
        part.close()
    if not found:
        raise DataError("A grid needs at least one GAN.", received="none", path=reader.path)
    return tuple(found)
