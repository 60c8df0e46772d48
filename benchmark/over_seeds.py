"""Several runs of one experiment with different seeds, summed up over the runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.errors import DataError, UsageError
from medsynth.files import read_json
from medsynth.metrics.intervals import mean_estimate


@dataclass(frozen=True)
class Runs:
    """Mean AUROC of every classifier in every run.

    Attributes:
        names: Of the runs' folders, K.
        seeds: Of the runs, K.
        classifiers: What each classifier was trained on, C; the first is the reference.
        values: Mean AUROC, [K, C].
        num_labels: Labels in the mean, K.
    """

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    classifiers: tuple[str, ...]
    values: npt.NDArray[np.float64]
    num_labels: tuple[int, ...]


def read_runs(folders: Sequence[Path]) -> Runs:
    """Read comparison.json of each folder.

    Raises:
        UsageError: Fewer than two runs, or one seed twice.
        DataError: A folder without one, a run without a mean, or with other classifiers than the first run.
    """
    if len(folders) < 2:
        raise UsageError("An interval over runs takes at least two of them.", received=len(folders))
    seeds, values, num_labels = [], [], []
    classifiers: tuple[str, ...] = ()
    for folder in folders:
        path = folder / "comparison.json"
        if not path.is_file():
            raise DataError("A finished demo, or what compare.py writes, was expected.", received="no file", path=path)
        comparison = read_json(path)
        try:
            means = [row for row in comparison["rows"] if row["label"] == "mean"]
            found = tuple(row["trained_on"] for row in means)
            values.append([float("nan" if row["auroc"] is None else row["auroc"]) for row in means])
            # The last seed is that of the synthetic images' classifier, which the GAN shares.
            seeds.append(int(comparison["results"][-1]["random_seed"]))
            num_labels.append(int(comparison["results"][0]["num_labels_in_mean"]))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            raise DataError("This is not a comparison as compare.py writes it.", received=error, path=path) from None
        classifiers = classifiers or found
        if found != classifiers:
            raise DataError(
                f"All runs must compare the same classifiers, {', '.join(classifiers)}.",
                received=", ".join(found),
                path=path,
            )
        if not np.isfinite(values[-1]).all():
            raise DataError("No label of this run had enough cases for a mean.", received=values[-1], path=path)
    if len(set(seeds)) < len(seeds):
        raise UsageError("Each run must have a seed of its own.", received=", ".join(map(str, seeds)))
    names = tuple(str(folder) for folder in folders)
    return Runs(names, tuple(seeds), classifiers, np.array(values), tuple(num_labels))


def format_runs(runs: Runs) -> str:
    """Return the table: a column per run, and the mean over the runs with its interval."""
    differences = runs.values[:, :1] - runs.values[:, 1:]
    rows = [(f"trained on {name}", column) for name, column in zip(runs.classifiers, runs.values.T, strict=True)]
    rows += [
        (f"{runs.classifiers[0]} - {name}", column)
        for name, column in zip(runs.classifiers[1:], differences.T, strict=True)
    ]
    width = max(len(name) for name, _ in rows)
    lines = [
        f"mean AUROC of {len(runs.seeds)} runs; labels in the mean: {', '.join(map(str, runs.num_labels))}",
        f"{'':{width}}  " + "  ".join(f"seed {seed:<4d}" for seed in runs.seeds) + "  mean [95 % over runs]",
    ]
    for name, column in rows:
        mean = mean_estimate(column)
        cells = "  ".join(f"{value:<9.3f}" for value in column)
        lines.append(f"{name:{width}}  {cells}  {mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]")
    return "\n".join(lines) + "\n"
