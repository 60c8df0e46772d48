"""Run folders by version number: results_dir/classification/version_0, version_1, ...

A training takes the next free number. The same settings and data again mean the same run: one that was stopped goes on,
one that came to its end stays as it is (without a seed of its own, another run begins).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from classifier_segment.settings import SEGMENTATION, Settings, deciding, settings_of
from medsynth.config import describe_differences, flatten
from medsynth.errors import RunFolderError, UsageError
from medsynth.files import make_folder, read_json, write_json
from medsynth.runs import CONFIG_NAME, DONE_NAME

BEST_WEIGHTS, LAST_WEIGHTS = "best.weights.h5", "last.weights.h5"
RUN_NAME = "run.json"
_VERSION = re.compile(r"version_(\d+)")
_FOUND = "found."  # in config.json: what was found in the data, beside what was set


@dataclass(frozen=True)
class Run:
    """A run's folder and what it was begun with.

    Attributes:
        path: The folder.
        settings: Of the training.
        seed: That was drawn or set.
        class_names: In the order of the network's outputs.
    """

    path: Path
    settings: Settings
    seed: int
    class_names: tuple[str, ...]

    @property
    def version(self) -> int:
        """Its number."""
        return version_of(self.path)

    @property
    def is_done(self) -> bool:
        """Whether its training came to its end."""
        return (self.path / DONE_NAME).is_file()


def version_of(path: Path) -> int:
    """Return the number in a run folder's name."""
    match = _VERSION.fullmatch(path.name)
    return int(match[1]) if match else -1


def versions(folder: Path) -> list[Path]:
    """Return the run folders of results_dir/{classification,segmentation}, by number."""
    return sorted((path for path in folder.glob("version_*") if version_of(path) >= 0), key=version_of)


def test_folder(run: Run, settings: Settings) -> Path:
    """Return where the results of testing on settings.data.test go: test, or test_<name> for another file."""
    stem = Path(settings.data.test).stem
    return run.path / ("test" if stem == "test" else f"test_{stem}")


def recorded(settings: Settings, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what config.json of a run holds: what was set, and what was found in the data."""
    return deciding(settings) | {f"{_FOUND}{key}": value for key, value in found.items()}


def folder_for(settings: Settings, found: Mapping[str, Any]) -> Path:
    """Return the folder that a training with these settings belongs to; a new one where there is none.

    Args:
        settings: Of the training.
        found: Digests of its data.

    Raises:
        RunFolderError: No folder can be made.
    """
    parent = Path(settings.results_dir) / settings.kind
    wanted = recorded(settings, found)
    for path in versions(parent):
        is_done = (path / DONE_NAME).is_file()
        if is_done and settings.seed < 0:
            continue
        if (path / CONFIG_NAME).is_file() and read_json(path / CONFIG_NAME) == wanted:
            return path
    return _next_folder(parent)


def find_done(settings: Settings, found: Mapping[str, Any]) -> Run | None:
    """Return the newest run with these settings whose training came to its end; None without any.

    Args:
        settings: Of the training.
        found: Digests that its data must have; of others that it noted, any.
    """
    wanted = recorded(settings, found)
    for path in reversed(versions(Path(settings.results_dir) / settings.kind)):
        if (path / DONE_NAME).is_file() and (path / CONFIG_NAME).is_file():
            values = read_json(path / CONFIG_NAME)
            if isinstance(values, dict) and _without_other_digests(values, wanted) == wanted:
                return _read(path)
    return None


def _without_other_digests(values: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in wanted or not key.startswith(_FOUND)}


def _next_folder(parent: Path) -> Path:
    make_folder(parent)
    number = max(map(version_of, versions(parent)), default=-1) + 1
    while True:
        try:
            (parent / f"version_{number}").mkdir()
        except FileExistsError:  # another training took it meanwhile
            number += 1
        else:
            return parent / f"version_{number}"


def begin(path: Path, settings: Settings, class_names: tuple[str, ...], *, seed_of: int | None = None) -> Run:
    """Write down, or read again, a run's seed and classes.

    Args:
        path: The run folder, held.
        settings: Of the training.
        class_names: Of its data.
        seed_of: Instead of one drawn, for tests.
    """
    file = path / RUN_NAME
    if not file.is_file():
        drawn = seed_of if seed_of is not None else int(np.random.default_rng().integers(2**31))
        seed = settings.seed if settings.seed >= 0 else drawn
        write_json(file, {"seed": seed, "class_names": class_names, "settings": flatten(settings)})
    return _read(path)


def open_run(results_dir: str | Path, kind: str, version: int) -> Run:
    """Return a run by its number, to test it or to use its network.

    Args:
        results_dir: Where all runs are.
        kind: CLASSIFICATION or SEGMENTATION.
        version: Its number.

    Raises:
        UsageError: There is no such run; the message lists those that are there.
        RunFolderError: Its settings or weights are missing or damaged.
    """
    parent = Path(results_dir) / kind
    path = parent / f"version_{version}"
    if not path.is_dir():
        there = [str(version_of(one)) for one in versions(parent)]
        name = "segmenter.version or checkpoint.version" if kind == SEGMENTATION else "checkpoint.version"
        raise UsageError(f"{name} is the number of a {kind} run in {parent}; there {_are(there)}.", received=version)
    for name in (CONFIG_NAME, RUN_NAME, BEST_WEIGHTS):
        if not (path / name).is_file():
            raise RunFolderError(
                "This run has not come so far that it can be used; train it to its end.",
                received=f"no {name}",
                path=path,
            )
    run = _read(path)
    values = read_json(path / CONFIG_NAME)
    own = {key: value for key, value in dict(values or {}).items() if not key.startswith(_FOUND)}
    if own != json.loads(json.dumps(deciding(run.settings))):
        raise RunFolderError(
            f"{CONFIG_NAME} and {RUN_NAME} of a run hold the same settings; one was changed.",
            received=describe_differences(own, deciding(run.settings)),
            path=path,
        )
    return run


def _read(path: Path) -> Run:
    facts = read_json(path / RUN_NAME)
    kinds = {"seed": int, "class_names": list, "settings": dict}
    if not isinstance(facts, dict) or not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
        raise RunFolderError("Seed, classes and settings were expected here.", received=facts, path=path / RUN_NAME)
    try:
        settings = settings_of(facts["settings"])
    except UsageError as error:
        raise RunFolderError(
            f"The settings of a run were expected here. {error.expected}", received=error.received, path=path / RUN_NAME
        ) from None
    return Run(path, settings, facts["seed"], tuple(facts["class_names"]))


def _are(names: list[str]) -> str:
    return f"are {', '.join(names)}" if names else "is none yet"
