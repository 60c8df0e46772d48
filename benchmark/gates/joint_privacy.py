"""The privacy gate of GAN_joint: do synthetic patients give away whose images or rows the GAN has learnt from?

Images are judged as those of the other GANs are. Rows alone, and images with their rows, are judged by the same
figures, attacks and thresholds, since a patient may be given away by either, or by both only.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.gates.inputs import VerdictInputs
from benchmark.gates.joint_inputs import Rows, TableColumn, of_pairs, read_columns, read_rows
from benchmark.gates.joint_spaces import (
    NUMBER,
    Planted,
    Sets,
    Vectors,
    exact_copies,
    gather_evidence,
    pair_vectors,
    row_vectors,
    usual_distance,
)
from benchmark.gates.model import Gate, Measure, Outcome, combine
from benchmark.gates.privacy import copies_outcome, judge_evidence, judge_privacy, reason_for
from benchmark.gates.privacy_evidence import (
    NUM_PLANTED,
    Evidence,
    PrivacyData,
    feature_cache,
    has_enough_held_out,
    read_data,
    space_extractors,
)
from medsynth.classify.evaluation.evaluate import proportion
from medsynth.classify.neighbours.training_images import computed_features
from medsynth.data.alterations import jpeg
from medsynth.data.tfrecords import Images, RecordFile
from medsynth.metrics.cache import FeatureCache
from medsynth.metrics.features import Extractor

QUESTION = "Do the synthetic patients give away whose images or rows the GAN has learnt from?"
ROWS, PAIRS = "rows", "pairs"
_HEADINGS = {ROWS: "rows of the table", PAIRS: "images with their rows"}
_IDENTICAL, _MOVED, _OTHER_COLUMN = "identical", "numbers moved by 1 %", "one column of another row"
_RESAVED = "image as jpeg 75, numbers moved by 1 %"
_MOVE = 0.01


def judge_joint_privacy(inputs: VerdictInputs, thresholds: Mapping[str, float]) -> Gate:
    """Judge whether synthetic patients are nearer to the training patients than new patients would be.

    Args:
        inputs: What is judged. What is computed once is kept in inputs.out_dir.
        thresholds: The section `privacy` of the thresholds.

    Returns:
        The gate; never a pass where there are no held-out rows, or where it is not known that they are of others.

    Raises:
        DataError: Damaged data.
        NetworkError: Weights that are missing, damaged or of another network.
    """
    exported = of_pairs(inputs)
    gate = dataclasses.replace(judge_privacy(exported, thresholds), question=QUESTION)
    if not inputs.held_out:
        reason = "Real held-out rows that the GAN has not seen are needed, and there are none."
        return dataclasses.replace(gate, reason=reason)
    data = read_data(exported)
    if not has_enough_held_out(data):
        return gate
    columns = read_columns(inputs)
    rows = {one: read_rows(getattr(data, one).data.folder) for one in ("train", "held_out", "synthetic")}
    row_sets = _row_sets(data, rows, columns, inputs.seed)
    pair_sets, image_label = _pair_sets(exported, data, row_sets)
    evidence = {
        ROWS: gather_evidence(ROWS, "columns of the table", row_sets, seed=inputs.seed),
        PAIRS: gather_evidence(PAIRS, f"{image_label} and columns", pair_sets, seed=inputs.seed),
    }
    measures = [
        dataclasses.replace(one, reason=" ".join(inputs.notes))
        if one.key == "held_out_patients" and one.outcome is Outcome.INSUFFICIENT
        else one
        for one in gate.measures
    ]
    for name, one in evidence.items():
        found = judge_evidence(one, thresholds, data.num_held_out_patients)
        if name == ROWS:
            found.insert(0, _copies(one, thresholds))
            found = _without_blind_search(found, one)
        measures += [_under_heading(measure, name) for measure in found]
    outcome = combine(measures)
    notes = [
        *gate.notes,
        "Rows are compared by the mean over their columns: for numbers 1 minus the cosine of a quarter turn times the "
        "difference in shares of the range, elsewhere 0 for equal and 1 for different values. Images with rows are "
        "compared by the sum of both distances, each in units of the median that held-out ones have to the nearest "
        "training one.",
    ]
    return dataclasses.replace(
        gate, outcome=outcome, reason=reason_for(outcome, measures), measures=measures, notes=notes
    )


def _row_sets(data: PrivacyData, rows: Mapping[str, Rows], columns: Sequence[TableColumn], seed: int) -> Sets:
    vectors = {name: row_vectors(one, columns) for name, one in rows.items()}
    chosen = _chosen(len(rows["train"]), seed)
    originals = rows["train"][chosen]
    rng = np.random.default_rng(seed)
    copies = {
        _IDENTICAL: originals,
        _MOVED: _moved(originals, columns, rng),
        _OTHER_COLUMN: _with_column_of_another(originals, rows["train"], columns, rng),
    }
    return Sets(
        **vectors,
        train_patients=data.train.patients,
        held_out_patients=data.held_out.patients,
        planted={name: Planted(row_vectors(one, columns), chosen) for name, one in copies.items()},
    )


def _pair_sets(inputs: VerdictInputs, data: PrivacyData, row_sets: Sets) -> tuple[Sets, str]:
    """Return pairs as vectors, and what images are compared by: features, or pixels where there are none."""
    cache, extractor = feature_cache(inputs), next(iter(space_extractors(inputs).values()))
    images = {
        name: _image_vectors(cache, extractor, getattr(data, name).data.records, name)
        for name in ("train", "held_out", "synthetic")
    }
    scales = (
        usual_distance(images["train"], images["held_out"]),
        usual_distance(row_sets.train, row_sets.held_out),
    )
    vectors = {name: pair_vectors(one, getattr(row_sets, name), scales) for name, one in images.items()}
    chosen = row_sets.planted[_IDENTICAL].originals
    originals = data.train.data.records.read(chosen)
    resaved = np.stack([jpeg(image, 75) for image in originals])
    planted = {
        _IDENTICAL: (originals, row_sets.planted[_IDENTICAL]),
        _RESAVED: (resaved, row_sets.planted[_MOVED]),
    }
    sets = Sets(
        **vectors,
        train_patients=data.train.patients,
        held_out_patients=data.held_out.patients,
        planted={
            name: Planted(pair_vectors(_stack_vectors(cache, extractor, stack), copies.vectors, scales), chosen)
            for name, (stack, copies) in planted.items()
        },
    )
    return sets, extractor.label


def _image_vectors(cache: FeatureCache, extractor: Extractor, records: RecordFile, name: str) -> Vectors:
    direct, mirrored = (
        np.concatenate(list(computed_features(cache, extractor, records, name.replace("_", "-"), mirrored=is_mirrored)))
        for is_mirrored in (False, True)
    )
    return Vectors(direct, mirrored)


def _stack_vectors(cache: FeatureCache, extractor: Extractor, images: Images) -> Vectors:
    return Vectors(cache.features(extractor, images), cache.features(extractor, images[:, :, ::-1]))


def _chosen(num_rows: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(num_rows, min(NUM_PLANTED, num_rows), replace=False))


def _moved(rows: Rows, columns: Sequence[TableColumn], rng: np.random.Generator) -> Rows:
    """Return rows whose numbers are off by 1 % of their range, up or down."""
    moved = rows.copy()
    for column in columns:
        if column.kind == NUMBER:
            moved[:, column.columns] += rng.choice([-_MOVE, _MOVE], (len(rows), 1)).astype(np.float32)
    return moved.clip(0, 1)


def _with_column_of_another(rows: Rows, train: Rows, columns: Sequence[TableColumn], rng: np.random.Generator) -> Rows:
    changed = rows.copy()
    for row in changed:
        column = columns[int(rng.integers(len(columns)))].columns
        row[column] = train[rng.integers(len(train)), column]
    return changed


def _copies(evidence: Evidence, thresholds: Mapping[str, float]) -> Measure:
    """Return the share of synthetic rows that equal a training row; held-out rows say how many do by chance."""
    copies, controls = (exact_copies(one.distances) for one in (evidence.found, evidence.held_out_found))
    limit = proportion(int(controls.sum()), len(controls)).high
    share = proportion(int(copies.sum()), len(copies))
    outcome = copies_outcome(share, limit, int(controls.sum()), thresholds)
    reason = (
        f"{int(copies.sum()):,} of {len(copies):,} synthetic rows, {int(controls.sum()):,} of {len(controls):,} "
        "held-out ones, the upper end of whose interval is the limit."
    )
    return Measure("row_copies", "synthetic rows that equal a training row", share.value, share.low, share.high,
                   len(copies), "synthetic rows", limit, "at most", outcome, reason)  # fmt: skip


def _without_blind_search(measures: Sequence[Measure], evidence: Evidence) -> list[Measure]:
    """Return the figures; where one in twenty held-out rows equals a training row, without what rows cannot show."""
    if not exact_copies(np.array([evidence.distances.threshold]))[0]:
        return list(measures)
    reason = "One held-out row in twenty equals a training row, so that an equal row gives nobody away by itself."
    return [
        dataclasses.replace(one, outcome=Outcome.NOT_APPLICABLE, reason=reason, more_needed=None)
        if one.key == f"planted {_IDENTICAL}"
        else one
        for one in measures
    ]


def _under_heading(measure: Measure, name: str) -> Measure:
    """Return a figure of the privacy gate in the words of rows or pairs, with a key of its own."""
    things = {ROWS: "row", PAIRS: "pair"}[name]

    def reworded(text: str) -> str:
        return text.replace("image and row", "\0").replace("image", things).replace("\0", "image and row")

    key = measure.key if measure.key.endswith(name) or measure.key == "row_copies" else f"{measure.key}_{name}"
    heading = _HEADINGS[name] + (f": {measure.group}" if measure.group else "")
    return dataclasses.replace(
        measure, key=key, title=reworded(measure.title), unit=reworded(measure.unit), reason=reworded(measure.reason),
        group=heading,
    )  # fmt: skip
