"""Grids of made-up predictions whose AUROC is known: what benchmark/run.py leaves, without a training."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from benchmark.grid_report.measure import TRAINED_ON, Group, Setting, Sweep
from medsynth.classify.evaluation.evaluate import resample_weights
from medsynth.classify.evaluation.predictions import write_predictions
from medsynth.classify.evaluation.statistics import weighted_auroc
from medsynth.data.labels import LabelTable

SHARED = 0.7  # how far apart images are in what all networks find hard
GANS = ("GAN_prog", "GAN_cpd")
Key = tuple[str, int, str]  # benchmark, setting, trained_on


def binormal_scores(
    rng: np.random.Generator, truth: np.ndarray, auroc: float, hardness: np.ndarray, spread: float
) -> np.ndarray:
    """Scores of a network whose AUROC in the population is `auroc`, give or take the chance of its training.

    truth [N, L], hardness [N, L] (standard normal, the same for all networks), spread: of the AUROC over seeds.
    """
    reached = np.clip(auroc + spread * rng.normal(), 0.02, 0.98)
    distance = norm.ppf(reached) * np.sqrt(2 * (1 + SHARED**2))
    return np.asarray(distance * truth + SHARED * hardness + rng.normal(size=truth.shape))


def make_test(num_images: int, num_labels: int, seed: int = 0, prefix: str = "x") -> tuple[LabelTable, np.ndarray]:
    """A test set of two images a patient, and how hard its images are, [N, L]."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((num_images, num_labels)) < 0.4).astype(np.float32)
    truth[:12], truth[12:24] = 1, 0
    paths = tuple(f"{prefix}/patient{i // 2:05d}/view{i % 2}_frontal.jpg" for i in range(num_images))
    return LabelTable(paths, tuple(f"finding {i}" for i in range(num_labels)), truth), rng.normal(size=truth.shape)


def write_test(folder: Path, table: LabelTable, scores: np.ndarray, facts: Mapping[str, Any]) -> None:
    """Leave what a comparison reads of a tested classifier."""
    folder.mkdir(parents=True)
    write_predictions(folder / "predictions.csv", table, None, scores.astype(np.float32))
    (folder / "results.json").write_text(json.dumps(facts))


def make_grid(
    folder: Path,
    aurocs: Mapping[Key, float],
    *,
    seeds: Sequence[int] = (1, 2, 3),
    gans: Sequence[str] = GANS,
    spread: float = 0.003,
    num_images: Callable[[str, int], int] = lambda benchmark, setting: 400,
    num_labels: int = 2,
    modality: str = "",
    statuses: Mapping[tuple[str, int, str, int], str] | None = None,
    seed: int = 0,
) -> Path:
    """Write a grid: a classifier per key and seed, with the population's mean AUROC that `aurocs` says.

    statuses: What became of classifiers that are not done; those called "" have no row at all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng, rows = np.random.default_rng(seed), []
    for (benchmark, setting, source), auroc in aurocs.items():
        name = benchmark if benchmark == "samples" else f"{benchmark}_{setting}"
        # In the samples benchmark all settings have one test.
        test_seed = sum(map(ord, name)) + 1000 * seed
        table, hardness = make_test(num_images(benchmark, setting), num_labels, test_seed, name)
        for one in seeds:
            status = (statuses or {}).get((benchmark, setting, source, one), "done")
            place = f"cells/{benchmark}_{setting}/{source}_{one}/test"
            if status == "done":
                facts = {"trained_on": TRAINED_ON[source], "initialisation": "random initialisation",
                         "training_finished": True, "random_seed": one, "weights_sha256": place}  # fmt: skip
                scores = binormal_scores(rng, table.values, auroc, hardness, spread)
                write_test(folder / place, table, scores, facts)
            if status:
                rows.append([benchmark, setting, source, one, status, place if status == "done" else ""])
    facts = {"name": "made up", "modality": modality, "resolution": 32, "seeds": [*seeds], "gans": [*gans]}
    (folder / "grid.json").write_text(json.dumps(facts))
    with (folder / "cells.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("benchmark", "setting", "trained_on", "seed", "status", "test_folder"))
        writer.writerows(rows)
    return folder


def power_law(size: Any, level: float, factor: float, exponent: float) -> Any:
    """The mean AUROC at a size, or at several, of a made-up learning curve."""
    return level - factor * np.asarray(size, np.float64) ** -exponent


def draw_group(
    rng: np.random.Generator,
    truth: np.ndarray,
    hardness: np.ndarray,
    weights: np.ndarray,
    auroc: float,
    spread: float,
    num_seeds: int,
) -> Group:
    """Classifiers of a known AUROC, in memory. truth and hardness [N], weights of resamples [R, N]."""
    rows = []
    for _ in range(num_seeds):
        scores = binormal_scores(rng, truth, auroc, hardness, spread)
        rows.append(weighted_auroc(truth, scores, np.concatenate([np.ones((1, len(truth))), weights])))
    stacked = np.stack(rows)
    return Group(tuple(range(num_seeds)), stacked[:, 0], stacked[:, 1:])


def draw_sweep(
    rng: np.random.Generator,
    benchmark: str,
    aurocs: Mapping[int, Mapping[str, float]],
    *,
    num_images: int = 120,
    num_seeds: int = 3,
    spread: float = 0.01,
    num_resamples: int = 80,
    has_one_test: bool = True,
) -> Sweep:
    """A sweep of classifiers of a known AUROC, in memory: on one test, or on one of its own for every setting."""
    settings, test = [], None
    for number, (value, by_source) in enumerate(aurocs.items()):
        if test is None or not has_one_test:
            truth = rng.permutation(np.arange(num_images) % 2).astype(np.float64)
            weights = resample_weights(np.arange(num_images), num_resamples, int(rng.integers(2**31)) + number)
            test = truth, rng.normal(size=num_images), weights
        groups = {source: draw_group(rng, *test, auroc, spread, num_seeds) for source, auroc in by_source.items()}
        settings.append(Setting(value, groups, num_images, num_images, 1))
    return Sweep(benchmark, tuple(settings), "patients", has_one_test, num_resamples)
