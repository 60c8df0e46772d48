"""A classifier of the targets from image and factors: on real held-out and on synthetic rows, and taught by either."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from GAN_joint.evidence import networks
from GAN_joint.evidence.pairs import FEWEST, VALIDATION_SHARE, Evidence, Pairs
from GAN_joint.evidence.scoring import (
    DECISION_METRICS,
    Resampled,
    Score,
    Statistic,
    auroc_of,
    class_note,
    mean_of,
    resample,
    smaller_class,
    weighted_decisions,
)
from GAN_joint.evidence.training import NetworkStore, Recipe, predict
from medsynth.classify.evaluation.statistics import Floats, youden_threshold

REAL, SYNTHETIC = "predictor-real", "predictor-synthetic"
REAL_ON_REAL, REAL_ON_SYNTHETIC, SYNTHETIC_ON_REAL = "real_on_real", "real_on_synthetic", "synthetic_on_real"
# What each was trained on, and tested on.
TESTS = {
    REAL_ON_REAL: ("real", "held-out"),
    REAL_ON_SYNTHETIC: ("real", "synthetic"),
    SYNTHETIC_ON_REAL: ("synthetic", "held-out"),
}
DIFFERENCE = "synthetic_minus_real"  # of the two trainings, on real held-out rows
MEAN = "mean"
AUC = "auc"
HALF, CHOSEN = "0.5", "validation"
PUBLISHED_CSV = Path(__file__).parents[2] / "benchmark" / "published" / "coronarography2023.csv"


@dataclass(frozen=True)
class Figure:
    """One figure of a predictor.

    Attributes:
        test: REAL_ON_REAL, REAL_ON_SYNTHETIC, SYNTHETIC_ON_REAL or DIFFERENCE.
        target: A target, or MEAN.
        metric: AUC or one of DECISION_METRICS.
        threshold: "" for AUC, else HALF or CHOSEN (Youden's on the validation rows).
        level: The threshold itself; NaN for AUC and means.
        score: With interval and number of rows.
    """

    test: str
    target: str
    metric: str
    threshold: str
    level: float
    score: Score


@dataclass(frozen=True)
class PredictionResults:
    """Everything that `test.py predict` found.

    Attributes:
        figures: All of them.
        targets: Their names.
        in_mean: Those that the means are over: both classes among real held-out and synthetic rows.
        num_factors: Encoded columns that the predictor sees beside the image.
        networks: Facts of every training, by name.
        counts: Pairs of each part.
        notes: What a reader must know, in sentences.
        truth: Of each test, 0 or 1, [N, T].
        probabilities: As predicted, [N, T].
        held_out_groups: Of every real held-out row, [N], from 0: rows of one group are of one patient.
    """

    figures: tuple[Figure, ...]
    targets: tuple[str, ...]
    in_mean: tuple[str, ...]
    num_factors: int
    networks: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, int]
    notes: tuple[str, ...]
    truth: Mapping[str, Floats]
    probabilities: Mapping[str, Floats]
    held_out_groups: npt.NDArray[np.int64]

    def figure(self, test: str, target: str, metric: str, threshold: str = "") -> Figure:
        """Return one of the figures."""
        wanted = test, target, metric, threshold
        (found,) = (one for one in self.figures if (one.test, one.target, one.metric, one.threshold) == wanted)
        return found


@dataclass(frozen=True)
class _Test:
    """A predictor on rows that it has not seen: truth, probabilities and thresholds ([N, T], [N, T], [T])."""

    pairs: Pairs
    truth: Floats
    probabilities: Floats
    thresholds: Floats


def read_published() -> dict[str, Any]:
    """Return the published row: its target, and auc, accuracy, precision, recall and f1 as numbers."""
    with PUBLISHED_CSV.open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    return {name: value if name == "target" else float(value) for name, value in row.items()}


def measure(evidence: Evidence, store: NetworkStore, seed: int) -> PredictionResults:
    """Train both predictors and compute every figure."""
    targets = tuple(evidence.targets)
    columns = np.array(list(evidence.targets.values()))
    factors = np.setdiff1d(np.arange(len(evidence.encoder.names)), columns)
    taught_by = {
        REAL: (evidence.train, evidence.valid),
        SYNTHETIC: evidence.synthetic.split(VALIDATION_SHARE, seed),
    }
    tests = {}
    for name, network, pairs in (
        (REAL_ON_REAL, REAL, evidence.held_out),
        (REAL_ON_SYNTHETIC, REAL, evidence.synthetic),
        (SYNTHETIC_ON_REAL, SYNTHETIC, evidence.held_out),
    ):
        train, valid = taught_by[network]
        predictor = _trained_predictor(store, network, train, valid, factors, columns)
        thresholds = [
            youden_threshold(valid.rows[:, column], probabilities)
            for column, probabilities in zip(columns, _probabilities(predictor, valid, factors).T, strict=True)
        ]
        probabilities = _probabilities(predictor, pairs, factors)
        tests[name] = _Test(pairs, pairs.rows[:, columns].astype(np.float64), probabilities, np.array(thresholds))
    in_mean = tuple(
        target
        for number, target in enumerate(targets)
        if all(smaller_class(tests[name].truth[:, number]) for name in (REAL_ON_REAL, REAL_ON_SYNTHETIC))
    )
    figures: list[Figure] = []
    aucs = {}
    for name, test in tests.items():
        found, aucs[name] = _figures(name, test, targets, in_mean, seed)
        figures += found
    figures += _differences(aucs[SYNTHETIC_ON_REAL], aucs[REAL_ON_REAL], tests[REAL_ON_REAL], targets, in_mean)
    return PredictionResults(
        tuple(figures),
        targets,
        in_mean,
        len(factors),
        dict(store.facts),
        evidence.counts(),
        (*evidence.notes, *_notes(tests, targets, in_mean), *store.notes()),
        {name: test.truth for name, test in tests.items()},
        {name: test.probabilities for name, test in tests.items()},
        evidence.held_out.groups,
    )


def _trained_predictor(
    store: NetworkStore,
    name: str,
    train: Pairs,
    valid: Pairs,
    factors: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
) -> keras.Model:
    return store.trained(
        Recipe(
            name,
            lambda: networks.build_predictor(train.images.shape[1], len(factors), len(columns)),
            keras.losses.BinaryCrossentropy(from_logits=True),
            len(train),
            lambda indices, _: (_inputs(train.take(indices), factors), train.rows[indices][:, columns]),
            (_inputs(valid, factors), valid.rows[:, columns]),
        )
    )


def _inputs(pairs: Pairs, factors: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    inputs: dict[str, npt.NDArray[Any]] = {"images": pairs.images}
    return inputs | {"rows": pairs.rows[:, factors]} if len(factors) else inputs


def _probabilities(predictor: keras.Model, pairs: Pairs, factors: npt.NDArray[np.int64]) -> Floats:
    probabilities: Floats = 1 / (1 + np.exp(-predict(predictor, _inputs(pairs, factors))))
    return probabilities


def _figures(
    name: str, test: _Test, targets: Sequence[str], in_mean: Sequence[str], seed: int
) -> tuple[list[Figure], dict[str, Resampled]]:
    """Return every figure of a test; and the resampled AUC of each target and of the mean, by name."""
    of_target: dict[tuple[str, str, str], Statistic] = {}
    levels: dict[tuple[str, str], float] = {}
    for number, target in enumerate(targets):
        truth, probabilities = test.truth[:, number], test.probabilities[:, number]
        of_target[target, AUC, ""] = auroc_of(truth, probabilities)
        for threshold, level in ((HALF, 0.5), (CHOSEN, float(test.thresholds[number]))):
            levels[target, threshold] = level
            for metric in DECISION_METRICS:
                of_target[target, metric, threshold] = _decision(truth, probabilities, level, metric)
    of_mean = {
        (MEAN, *kind): mean_of([of_target[target, *kind] for target in in_mean])
        for kind in dict.fromkeys(key[1:] for key in of_target)
        if in_mean
    }
    statistics = of_target | of_mean
    # The same seed for every test: two predictors on the same rows are compared on the same resamples.
    resampled = dict(zip(statistics, resample(list(statistics.values()), test.pairs.groups, seed), strict=True))
    notes = {target: class_note(test.truth[:, number]) for number, target in enumerate(targets)}
    notes[MEAN] = _note_of_mean([notes[target] for target in in_mean])
    figures = []
    for target in (*targets, MEAN):
        for metric, threshold in dict.fromkeys(key[1:] for key in of_target):
            found = resampled.get((target, metric, threshold), Resampled(math.nan, np.empty(0)))
            # Without positives accuracy could still be had, but a target of one class says nothing of a predictor.
            if notes[target] == "one class only":
                found = Resampled(math.nan, found.values)
            level = levels.get((target, threshold), math.nan)
            note = notes[target] or _why_undefined(found, target, has_level=not threshold or math.isfinite(level))
            figures.append(Figure(name, target, metric, threshold, level, found.score(len(test.pairs), note)))
    return figures, {
        target: resampled[target, AUC, ""] for target in (*targets, MEAN) if (target, AUC, "") in resampled
    }


def _decision(truth: Floats, probabilities: Floats, level: float, metric: str) -> Statistic:
    if math.isnan(level):
        return lambda weights: np.full(len(weights), np.nan)
    place = DECISION_METRICS.index(metric)
    return lambda weights: weighted_decisions(truth, probabilities >= level, weights)[place]


def _note_of_mean(notes: Sequence[str]) -> str:
    if not notes:
        return "no target has both classes"
    return f"fewer than {FEWEST} of a class of some target" if any(notes) else ""


def _why_undefined(found: Resampled, target: str, *, has_level: bool) -> str:
    if math.isfinite(found.value):
        return ""
    if target == MEAN:
        return "undefined for some target"
    return "nothing called positive" if has_level else "one class among the validation rows"


def _differences(
    taught_by_synthetic: Mapping[str, Resampled],
    taught_by_real: Mapping[str, Resampled],
    test: _Test,
    targets: Sequence[str],
    in_mean: Sequence[str],
) -> list[Figure]:
    """Return the AUC of the predictor taught by synthetic pairs minus that of the one taught by real pairs."""
    notes = {target: class_note(test.truth[:, number]) for number, target in enumerate(targets)}
    notes[MEAN] = _note_of_mean([notes[target] for target in in_mean])
    figures = []
    for target, one in taught_by_synthetic.items():
        other = taught_by_real[target]
        difference = Resampled(one.value - other.value, one.values - other.values)
        figures.append(Figure(DIFFERENCE, target, AUC, "", math.nan, difference.score(len(test.pairs), notes[target])))
    return figures


def _notes(tests: Mapping[str, _Test], targets: Sequence[str], in_mean: Sequence[str]) -> list[str]:
    notes = []
    for name, where in ((REAL_ON_REAL, "real held-out"), (REAL_ON_SYNTHETIC, "synthetic")):
        truth = tests[name].truth
        constant = [target for number, target in enumerate(targets) if not smaller_class(truth[:, number])]
        if constant:
            notes.append(
                f"{', '.join(constant)}: one class only among the {where} rows; undefined, and left out of the means."
            )
    if in_mean:
        notes.append(f"Means are over {', '.join(in_mean)}.")
    return notes
