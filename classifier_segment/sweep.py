"""The experiments as one Hydra multirun, and the table of what came out."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from classifier_segment.evaluation import classification, pointing
from classifier_segment.evaluation.differences import SeedRun, SeedTable, compare_runs, read_run
from classifier_segment.evaluation.figures import draw_table
from classifier_segment.hydra_main import compose
from classifier_segment.runs import Run, find_done, test_folder
from classifier_segment.settings import Settings
from classifier_segment.training import data_digests, read_training_data
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError
from medsynth.files import make_folder

FOLDER = "experiments"
CLASS_METRICS = ("accuracy", "balanced_accuracy", "auroc_macro", "f1_macro")
SALIENCY_METRICS = ("iou", "soft_iou", "pointing", "energy")
_TRAIN = Path(__file__).with_name("train.py")


@dataclass(frozen=True)
class Sweep:
    """What is trained.

    Attributes:
        experiments: Of config/experiment.
        backbones: Values of model.weights; none takes that of the settings.
        seeds: Of every combination.
        baseline: The experiment that others are compared with.
        overrides: Of all runs.
    """

    experiments: tuple[str, ...]
    backbones: tuple[str, ...]
    seeds: tuple[int, ...]
    baseline: str
    overrides: tuple[str, ...]

    def require(self) -> None:
        """Refuse what cannot be compared.

        Raises:
            UsageError: An unknown experiment, one twice, or a baseline that is not trained.
        """
        known = sorted(path.stem for path in (Path(__file__).parent / "config" / "experiment").glob("*.yaml"))
        for name in (*self.experiments, self.baseline):
            if name not in known:
                raise UsageError(f"Experiments are {', '.join(known)}.", received=name)
        if self.baseline not in self.experiments:
            raise UsageError("The baseline is one of --experiments.", received=self.baseline)
        for name, values in (
            ("--experiments", self.experiments),
            ("--backbones", self.backbones),
            ("--seeds", self.seeds),
        ):
            if len(set(values)) < len(values):
                raise UsageError(f"{name} has one thing twice.", received=",".join(map(str, values)))
        of_sweep = {"task", "experiment", "seed", "classification_mode", "loss.form"}
        if self.backbones:
            of_sweep.add("model.weights")
        for override in self.overrides:
            if override.partition("=")[0].lstrip("+") in of_sweep:
                raise UsageError("experiments.py sets this by itself; leave it out.", received=override)

    def combinations(self) -> Iterator[tuple[str, str, int]]:
        """Yield (experiment, backbone, seed); the backbone is empty where the settings have it."""
        yield from product(self.experiments, self.backbones or ("",), self.seeds)


def run_sweep(sweep: Sweep) -> None:
    """Train what is missing, and write and print the tables.

    Raises:
        UsageError: Settings that cannot be used.
        DataError: Runs failed (the table of the others is written all the same), or were not tested on the same images.
    """
    sweep.require()
    overrides = [*_hydra_free(sweep.overrides)]
    first = compose([*overrides, f"experiment={sweep.baseline}", *_pinned(sweep, "1")])
    if not Path(first.data.test).is_file():
        raise DataError("A test set is needed to compare on.", received="no such file", path=first.data.test)
    digests = data_digests(*read_training_data(first))
    pinned = _pinned(sweep, _segmenter(sweep, first, digests))
    missing = [one for one in sweep.combinations() if _run_of(overrides, pinned, one, digests) is None]
    if missing:
        print(f"{counted(len(missing), 'run')} of {len(list(sweep.combinations()))} to be trained", flush=True)
        _call(
            "--multirun",
            *sweep.overrides,
            *pinned,
            f"experiment={','.join(sweep.experiments)}",
            *([f"model.weights={','.join(sweep.backbones)}"] if sweep.backbones else []),
            f"seed={','.join(map(str, sweep.seeds))}",
        )
    found = {one: _run_of(overrides, pinned, one, digests) for one in sweep.combinations()}
    _compare(sweep, first, {one: run for one, run in found.items() if run is not None})
    failed = [one for one, run in found.items() if run is None]
    if failed:
        raise DataError(
            f"{counted(len(failed), 'run')} failed and {'is' if len(failed) == 1 else 'are'} not in the table; the "
            "reasons are above. The same command tries them again.",
            received="; ".join(" ".join(map(str, one)) for one in failed),
        )


def _pinned(sweep: Sweep, segmenter_version: str) -> list[str]:
    """Return what all classifiers have: images as examples, so that all are tested on the same ones."""
    given = {override.partition("=")[0] for override in sweep.overrides}
    pinned = {"task": "c", "data.unit": "image", "segmenter.version": segmenter_version}
    if "masked" not in sweep.experiments:
        del pinned["segmenter.version"]
    return [f"{key}={value}" for key, value in pinned.items() if key not in given]


def _hydra_free(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that a run depends on; launchers are of no concern to it."""
    return [override for override in overrides if not override.lstrip("+").startswith("hydra")]


def _segmenter(sweep: Sweep, first: Settings, digests: Mapping[str, str]) -> str:
    """Return the version of the segmenter for masked runs, after training it where there is none."""
    given = [override for override in sweep.overrides if override.startswith("segmenter.version=")]
    if "masked" not in sweep.experiments:
        return ""
    if given:
        return given[0].partition("=")[2]
    wanted = [*sweep.overrides, "task=s", "data.unit=image", f"seed={sweep.seeds[0]}"]
    run = find_done(compose(_hydra_free(wanted)), digests)
    if run is None:
        print("training the segmenter for masked runs", flush=True)
        _call(*_hydra_free(wanted))
        run = find_done(compose(_hydra_free(wanted)), digests)
    if run is None:
        raise DataError(
            "The segmenter for masked runs could not be trained; the reason is above.",
            received="no finished run",
            path=Path(first.results_dir) / "segmentation",
        )
    return str(run.version)


def _run_of(
    overrides: Sequence[str], pinned: Sequence[str], combination: tuple[str, str, int], digests: Mapping[str, str]
) -> Run | None:
    experiment, backbone, seed = combination
    own = [f"experiment={experiment}", f"seed={seed}", *([f"model.weights={backbone}"] if backbone else [])]
    return find_done(compose([*overrides, *pinned, *own]), digests)


def _call(*arguments: str) -> None:
    command = [sys.executable, str(_TRAIN), *arguments]
    print(f"python3 train.py {' '.join(arguments)}", flush=True)
    subprocess.run(command, check=False)  # which runs failed is seen by what is there


def _compare(sweep: Sweep, first: Settings, found: Mapping[tuple[str, str, int], Run]) -> None:
    """Write a table for each backbone, of classes and of saliency."""
    folder = make_folder(Path(first.results_dir) / FOLDER)
    for backbone in sweep.backbones or ("",):
        runs = {(name, seed): run for (name, of, seed), run in found.items() if of == backbone}
        if not any(name == sweep.baseline for name, _ in runs):
            continue
        tables = [
            (part, titles, _table(runs, sweep.baseline, first, part, metrics))
            for part, titles, metrics in (
                ("classes", classification.TITLES, CLASS_METRICS),
                ("saliency", pointing.TITLES, SALIENCY_METRICS),
            )
        ]
        stem = f"{backbone}_" if backbone else ""
        for part, titles, table in tables:
            table.write(folder, f"{stem}{part}", titles)
            print(f"\n{backbone or first.model.weights}, {part}\n{table.describe(titles)}")
        path = folder / f"{stem}experiments.png"
        draw_table(path, [(titles, table) for _, titles, table in tables], backbone or first.model.weights)
        print(f"tables and picture: {path}")


def _table(
    runs: Mapping[tuple[str, int], Run], baseline: str, first: Settings, part: str, metrics: Sequence[str]
) -> SeedTable:
    rows: list[SeedRun] = [read_run(test_folder(run, first) / part, name, seed) for (name, seed), run in runs.items()]
    return compare_runs(rows, baseline, metrics)
