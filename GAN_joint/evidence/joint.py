"""Does image i fit row i? Two answers, each beside what real pairs reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from GAN_joint.encoding import EncodedColumn, RowEncoder
from GAN_joint.evidence import networks
from GAN_joint.evidence.pairs import FEWEST, VALIDATION_SHARE, Evidence, Pairs, Rows, can_be_moved
from GAN_joint.evidence.scoring import (
    Resampled,
    Score,
    Statistic,
    auroc_of,
    class_note,
    mean_of,
    ratio_of,
    resample,
    smaller_class,
    weighted_correlation,
    weighted_r2,
)
from GAN_joint.evidence.training import (
    NetworkStore,
    Recipe,
    matched_first,
    matching_batches,
    predict,
    with_wrong_rows,
)
from medsynth.classify.evaluation.statistics import Floats
from medsynth.data.wording import counted

R2, CORRELATION, AUROC = "R2", "r", "AUROC"
METRICS = {"number": (R2, CORRELATION)}  # by kind; of all others the AUROC
CHANCE = {R2: 0.0, CORRELATION: 0.0, AUROC: 0.5}
# Rows of others that an image is held against: in a test, and in training, where more of them teach faster.
NUM_WRONG, NUM_WRONG_TRAINING = 4, 7
REAL, SYNTHETIC, CONTROL = "matcher-real", "matcher-synthetic", "matcher-control"


@dataclass(frozen=True)
class FactorResult:
    """How well a column is read from images.

    Attributes:
        column: Its name.
        kind: "number", "binary", "target" or "category".
        metric: R2 or correlation (r) of numbers, AUROC of the others; of a category the mean over its values, each
            against the rest.
        ceiling: On real held-out pairs.
        synthetic: On synthetic pairs.
        ratio: The synthetic value's distance to chance in shares of the ceiling's; None where the ceiling is not better
            than chance.
    """

    column: str
    kind: str
    metric: str
    ceiling: Score
    synthetic: Score
    ratio: Score | None


@dataclass(frozen=True)
class MatchResult:
    """How well matched pairs are told from shuffled ones.

    Attributes:
        name: Short.
        title: For people.
        meaning: What the number says.
        num_train: Pairs that the network was trained on; 0 where it was not trained.
        score: AUROC; 0.5 is chance.
    """

    name: str
    title: str
    meaning: str
    num_train: int
    score: Score


@dataclass(frozen=True)
class JointResults:
    """Everything that `test.py joint` found.

    Attributes:
        factors: By column; two of a column of numbers.
        matches: Matched against shuffled pairs, the ceiling first.
        networks: Facts of every training, by name.
        counts: Pairs of each part.
        notes: What a reader must know, in sentences.
        read_held_out: Real held-out rows as read from their images, [N, K]: see `as_read`.
        read_synthetic: Synthetic rows as read from their images.
    """

    factors: tuple[FactorResult, ...]
    matches: tuple[MatchResult, ...]
    networks: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, int]
    notes: tuple[str, ...]
    read_held_out: Floats
    read_synthetic: Floats


def measure(evidence: Evidence, store: NetworkStore, seed: int) -> JointResults:
    """Train the networks and compute every figure."""
    read_held_out, read_synthetic = read_rows(evidence, store)
    truth = (evidence.held_out, read_held_out), (evidence.synthetic, read_synthetic)
    factors = factor_results(evidence.encoder, *truth, seed)
    matches = match_results(evidence, store, seed)
    return JointResults(
        factors,
        matches,
        dict(store.facts),
        evidence.counts(),
        (*evidence.notes, *_own_notes(evidence), *store.notes()),
        read_held_out,
        read_synthetic,
    )


def _own_notes(evidence: Evidence) -> list[str]:
    if len(evidence.held_out) < FEWEST:
        few = counted(len(evidence.held_out), "real held-out row")
        return [
            f"{few} are too few for intervals, so nothing is concluded from the ceiling (test_share in schema.json)."
        ]
    return []


def read_rows(evidence: Evidence, store: NetworkStore) -> tuple[Floats, Floats]:
    """Train the reader on real train pairs, and read held-out and synthetic images: [N, K] each, see `as_read`."""
    columns, train, valid = evidence.encoder.column_slices, evidence.train, evidence.valid
    scale = networks.NumberScale.fit(columns, train.rows)
    size, num_columns = train.images.shape[1], train.rows.shape[1]
    recipe = Recipe(
        "reader",
        lambda: networks.build_reader(size, num_columns),
        networks.reading_loss(columns),
        len(train),
        lambda indices, _: (train.images[indices], scale.standardised(train.rows[indices])),
        (valid.images, scale.standardised(valid.rows)),
    )
    network = store.trained(recipe)
    held_out, synthetic = (predict(network, pairs.images) for pairs in (evidence.held_out, evidence.synthetic))
    return as_read(held_out, columns, scale), as_read(synthetic, columns, scale)


def as_read(outputs: Floats, columns: Mapping[str, EncodedColumn], scale: networks.NumberScale) -> Floats:
    """Return the reader's outputs as encoded rows, [N, K]: numbers from 0 to 1, probabilities for all others."""
    read = outputs * scale.deviation + scale.mean
    for column in columns.values():
        part = read[:, column.columns]
        if column.kind == "category":
            shifted = np.exp(part - part.max(axis=1, keepdims=True))
            read[:, column.columns] = shifted / shifted.sum(axis=1, keepdims=True)
        elif column.kind != "number":
            read[:, column.columns] = 1 / (1 + np.exp(-part))
    return read


def factor_results(
    encoder: RowEncoder, ceiling: tuple[Pairs, Floats], synthetic: tuple[Pairs, Floats], seed: int
) -> tuple[FactorResult, ...]:
    """Score every column on real held-out and on synthetic pairs.

    Args:
        encoder: Says what the columns are.
        ceiling: Real held-out pairs, and their rows as read from the images, [N, K].
        synthetic: Synthetic pairs, likewise.
        seed: Of the resamples.
    """
    columns = encoder.column_slices
    kinds = [(name, metric) for name, one in columns.items() for metric in METRICS.get(one.kind, (AUROC,))]
    found = []
    for number, (pairs, read) in enumerate((ceiling, synthetic)):
        others = (synthetic, ceiling)[number][0].rows
        statistics: list[Statistic] = []
        notes: list[str] = []
        for column in columns.values():
            parts = pairs.rows[:, column.columns].astype(np.float64), read[:, column.columns]
            if column.kind == "number":
                some, note = _number_statistics(*parts)
            else:
                some, note = _class_statistic(*parts, others[:, column.columns])
            statistics += some
            notes += [note] * len(some)
        resampled = resample(statistics, pairs.groups, seed + number)
        found.append([(one, one.score(len(pairs), note)) for one, note in zip(resampled, notes, strict=True)])
    return tuple(
        FactorResult(name, columns[name].kind, metric, real[1], made[1], _ratio(real, made, CHANCE[metric]))
        for (name, metric), real, made in zip(kinds, *found, strict=True)
    )


def _number_statistics(truth: Floats, read: Floats) -> tuple[list[Statistic], str]:
    """Return R2 and correlation of a column of numbers, [N, 1] each, and why they have no interval or no value."""
    note = f"fewer than {FEWEST} rows" if len(truth) < FEWEST else ""
    said, seen = truth[:, 0], read[:, 0]
    return [
        lambda weights: weighted_r2(said, seen, weights),
        lambda weights: weighted_correlation(said, seen, weights),
    ], "the same in all rows" if np.ptp(said) == 0 else note


def _class_statistic(truth: Floats, read: Floats, others: Rows) -> tuple[list[Statistic], str]:
    """Return the AUROC of a column of words, [N, width] each, and why it has no interval or no value.

    Of a category, the values count that have rows enough both here and in `others`, so that both means are over the
    same ones.
    """
    width = truth.shape[1]
    fewest = np.array([min(smaller_class(truth[:, k]), smaller_class(others[:, k])) for k in range(width)])
    chosen, note = np.flatnonzero(fewest >= FEWEST), ""
    if width == 1:
        chosen, note = np.array([0]), class_note(truth[:, 0])
    elif len(chosen) == 0:
        # Without a value that has rows enough: those that can be scored at all, and no interval.
        chosen = np.flatnonzero(fewest > 0)
        note = f"fewer than {FEWEST} rows of every value, here or in the other set" if len(chosen) else "one class only"
    if len(chosen) == 0:
        return [lambda weights: np.full(len(weights), np.nan)], note
    return [mean_of([auroc_of(truth[:, k], read[:, k]) for k in chosen])], note


def _ratio(real: tuple[Resampled, Score], made: tuple[Resampled, Score], chance: float) -> Score | None:
    if not real[1].is_above(chance) or not made[1].is_defined:
        return None
    return ratio_of(made[0], real[0], chance).score(made[1].num, made[1].note)


def match_results(evidence: Evidence, store: NetworkStore, seed: int) -> tuple[MatchResult, ...]:
    """Tell matched from shuffled pairs: real and synthetic ones, and real ones that were shuffled beforehand."""
    half = len(evidence.synthetic) // 2
    first = evidence.synthetic.take(np.arange(half))
    second = evidence.synthetic.take(np.arange(half, len(evidence.synthetic)))
    learned = {
        REAL: (evidence.train, evidence.valid),
        SYNTHETIC: first.split(VALIDATION_SHARE, seed),
    }
    tests = [
        (
            *("real_on_real", "real, on real held-out pairs", REAL, evidence.held_out),
            "the ceiling: what real images and rows say of each other, as far as this network finds it",
        ),
        (
            *("real_on_synthetic", "real, on synthetic pairs", REAL, evidence.synthetic),
            "whether synthetic pairs fit by what holds of real ones: at the ceiling's value as well, at 0.5 not at all",
        ),
        (
            *("synthetic_on_synthetic", "first half of the synthetic, on the second", SYNTHETIC, second),
            "whether synthetic images and rows depend on each other at all, be it as real ones do or not",
        ),
        (
            *("synthetic_on_real", "first half of the synthetic, on real held-out pairs", SYNTHETIC, evidence.held_out),
            "whether what synthetic pairs teach holds of real ones",
        ),
    ]
    if all(can_be_moved(part.groups) for part in (evidence.train, evidence.valid, evidence.held_out)):
        learned[CONTROL] = (evidence.train.with_rows_moved(seed), evidence.valid.with_rows_moved(seed))
        tests.append(
            (
                *("control", "real, shuffled beforehand", CONTROL, evidence.held_out.with_rows_moved(seed)),
                "the control: nothing can be found, so the interval should hold 0.5",
            )
        )
    results = []
    for name, title, network, tested, meaning in tests:
        score = match_score(store, network, learned[network], tested, evidence.encoder.column_slices, seed)
        results.append(MatchResult(name, title, meaning, len(learned[network][0]), score))
    return tuple(results)


def match_score(
    store: NetworkStore,
    name: str,
    parts: tuple[Pairs, Pairs],
    tested: Pairs,
    columns: Mapping[str, EncodedColumn],
    seed: int,
) -> Score:
    """Train a matcher, or take the one that is trained, and return its AUROC on pairs it has not seen.

    Every tested image stands with its own row and with 4 rows of others, by permutations that the seed fixes and that
    leave no row in its place. Images are resampled, each with all of its pairs.

    Args:
        store: Keeps networks.
        name: Of the network.
        parts: Pairs to train on, and for validation.
        tested: Pairs to test on.
        columns: What the rows hold.
        seed: Of which row goes to which image, and of the resamples.
    """
    if not all(can_be_moved(part.groups) for part in (*parts, tested)):
        return Score(float("nan"), num=len(tested), note="one group has more than half of the rows")
    network = store.trained(_matcher_recipe(name, parts, columns, seed))
    scores = predict(network, with_wrong_rows(tested, NUM_WRONG, seed), "pair")
    statistic = auroc_of(matched_first(len(tested), NUM_WRONG), scores)
    note = f"fewer than {FEWEST} pairs" if len(tested) < FEWEST else ""
    return resample([statistic], tested.groups, seed)[0].score(len(tested), note)


def _matcher_recipe(name: str, parts: tuple[Pairs, Pairs], columns: Mapping[str, EncodedColumn], seed: int) -> Recipe:
    train, valid = parts
    size, num_columns = train.images.shape[1], train.rows.shape[1]
    scale = networks.NumberScale.fit(columns, train.rows)
    batches = matching_batches(train, NUM_WRONG_TRAINING, seed)

    def truth(rows: Rows, num_wrong: int) -> dict[str, Rows]:
        return {"pair": matched_first(len(rows), num_wrong), "row": scale.standardised(rows)}

    return Recipe(
        name,
        lambda: networks.build_matcher(size, num_columns),
        {"pair": networks.matching_loss, "row": networks.reading_loss(columns)},
        len(train),
        lambda indices, epoch: (batches(indices, epoch), truth(train.rows[indices], NUM_WRONG_TRAINING)),
        (with_wrong_rows(valid, NUM_WRONG, seed), truth(valid.rows, NUM_WRONG)),
        monitor="val_pair_loss",
    )
