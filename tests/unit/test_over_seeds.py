"""Several runs of the demo summed up."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmark.over_seeds import format_runs, read_runs
from medsynth.errors import DataError, UsageError


def write_run(folder: Path, seed: int, *values: float, names: tuple[str, ...] = ("real", "prog-GAN")) -> Path:
    rows = [{"label": "A", "trained_on": name, "auroc": 0.1} for name in names]
    rows += [{"label": "mean", "trained_on": n, "auroc": v} for n, v in zip(names, values, strict=True)]
    results = [{"random_seed": seed, "num_labels_in_mean": 7} for _ in names]
    folder.mkdir()
    (folder / "comparison.json").write_text(json.dumps({"rows": rows, "results": results}))
    return folder


def test_means_and_intervals_over_runs(tmp_path: Path) -> None:
    fakes = (0.45, 0.55, 0.53)
    folders = [write_run(tmp_path / str(i), i, 0.99, value) for i, value in enumerate(fakes)]
    runs = read_runs(folders)
    assert runs.seeds == (0, 1, 2)
    low, high = stats.ttest_1samp(fakes, 0.5).confidence_interval(0.95)
    lines = format_runs(runs).splitlines()
    mean = np.mean(fakes)
    assert lines[3].split() == f"trained on prog-GAN 0.450 0.550 0.530 {mean:.3f} [{low:.3f}, {high:.3f}]".split()
    assert lines[4].startswith("real - prog-GAN")
    assert " 0.540 " in lines[4]


def test_runs_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "first", 1, 0.9, 0.8)
    with pytest.raises(UsageError, match="at least two"):
        read_runs([first])
    with pytest.raises(UsageError, match="a seed of its own"):
        read_runs([first, write_run(tmp_path / "again", 1, 0.9, 0.7)])
    with pytest.raises(DataError, match="A finished demo"):
        read_runs([first, tmp_path / "none"])
    with pytest.raises(DataError, match="the same classifiers, real, prog-GAN"):
        read_runs([first, write_run(tmp_path / "cpd", 2, 0.9, 0.7, names=("real", "cpD-GAN"))])
    with pytest.raises(DataError, match="No label of this run"):
        read_runs([first, write_run(tmp_path / "nan", 3, 0.9, float("nan"))])
    (tmp_path / "first" / "comparison.json").write_text("[]")
    with pytest.raises(DataError, match="not a comparison"):
        read_runs([first, first])
