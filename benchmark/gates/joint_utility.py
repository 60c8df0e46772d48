"""The utility gate of GAN_joint: does a predictor learn as much from synthetic patients as from real ones?

`GAN_joint/test.py predict` trains two predictors of the targets on image and row, alike but for their patients,
and leaves what either says of each real held-out row. They are judged as two classifiers of images are. What `joint`
found of the pairing of image and row is shown beside it and decides nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmark.gates.inputs import VerdictInputs
from benchmark.gates.joint_inputs import (
    JOINT,
    PREDICT,
    RESULTS_JSON,
    evidence_commands,
    has_targets,
    of_pairs,
    read_columns,
    read_rows,
)
from benchmark.gates.model import Gate, Measure, Outcome
from benchmark.gates.utility import KEY, judge_predictions
from medsynth.classify.evaluation.predictions import Predictions, read_predictions
from medsynth.data.labels import read_label_table, record_order
from medsynth.data.wording import counted
from medsynth.errors import DataError
from medsynth.files import read_json

QUESTION = "Does a predictor learn as much from the synthetic patients as from the real ones?"
PAIRING = "image and row: matched against shuffled pairs (AUROC)"
_TESTS = ("real_on_real", "synthetic_on_real")
_UNITS = {"real_on_real": "held-out pairs", "synthetic_on_real": "held-out pairs", "control": "held-out pairs"}
_TITLES = {
    "real_on_real": "trained on real, on real held-out pairs: the ceiling",
    "real_on_synthetic": "trained on real, on synthetic pairs",
    "synthetic_on_synthetic": "trained on one half of the synthetic, on the other",
    "synthetic_on_real": "trained on synthetic, on real held-out pairs",
    "control": "trained on real pairs shuffled beforehand: the control",
}


def judge_joint_utility(inputs: VerdictInputs, thresholds: Mapping[str, float]) -> Gate:
    """Judge what the synthetic patients are worth for prediction; trains nothing.

    Args:
        inputs: What is judged.
        thresholds: The section `utility` of the thresholds.

    Returns:
        The gate. Where the results of `predict` are missing it is insufficient, and `commands` say what to run.

    Raises:
        DataError: Damaged results, or results on other rows than those of the export.
    """
    pairing, pairing_commands = _pairing(inputs)
    if not has_targets(inputs):
        reason = "No column of the table is a target, so there is nothing to predict."
        return Gate(KEY, QUESTION, Outcome.NOT_APPLICABLE, reason, pairing, commands=pairing_commands)
    if not inputs.held_out:
        reason = "Real held-out rows that the GAN has not seen are needed, and there are none."
        return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, reason, pairing)
    commands = evidence_commands(inputs, PREDICT)
    if commands:
        reason = "There is no predictor trained on real and none trained on synthetic patients yet."
        return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, reason, pairing, commands=(*commands, *pairing_commands))
    results = [read_predictions(inputs.out_dir / PREDICT / test) for test in _TESTS]
    _require_current(inputs, results[0])
    gate = judge_predictions(inputs, results, thresholds)
    notes = [*gate.notes, _learnt_from(results[0].facts)]
    return replace(gate, question=QUESTION, measures=[*gate.measures, *pairing], notes=notes, commands=pairing_commands)


def _require_current(inputs: VerdictInputs, result: Predictions) -> None:
    """Refuse predictions of other rows than the held-out ones that were exported.

    Raises:
        DataError: They are.
    """
    split = of_pairs(inputs).held_out_splits[0]
    paths = read_label_table(split).paths
    targets = [column for column in read_columns(inputs) if column.kind == "target"]
    rows = read_rows(split)
    is_same = result.paths == paths and result.names == tuple(column.name for column in targets)
    if is_same:
        truth = result.truth[record_order(len(paths))]
        is_same = all((truth[:, place] == rows[:, one.columns][:, 0]).all() for place, one in enumerate(targets))
    if not is_same:
        raise DataError(
            "The predictors were tested on other rows than the table's held-out ones are now; remove the folder and "
            "run the same command again.",
            received=f"{counted(len(result.paths), 'row')} of other content",
            path=inputs.out_dir / PREDICT,
        )


def _learnt_from(facts: Mapping[str, Any]) -> str:
    counts = facts.get("pairs", {})
    return (
        f"The predictors learnt from {counts.get('real_train', 0) + counts.get('real_validation', 0):,} real and "
        f"{counts.get('synthetic', 0):,} synthetic patients, some of them to stop in time; both see image and row."
    )


def _pairing(inputs: VerdictInputs) -> tuple[list[Measure], tuple[str, ...]]:
    """Return what `joint` found, or the command that finds it."""
    if not inputs.held_out:
        return [], ()
    commands = evidence_commands(inputs, JOINT)
    if commands:
        return [], commands
    tests = read_json(inputs.out_dir / JOINT / RESULTS_JSON)["matched_versus_shuffled"]["tests"]
    measures = []
    for test in tests:
        auc, name = test["auc"], test["name"]
        measures.append(
            Measure(f"pairing_{name}", _TITLES.get(name, test["trained_and_tested_on"]), auc["value"], auc["low"],
                    auc["high"], auc["n"], _UNITS.get(name, "synthetic pairs"), group=PAIRING, reason=auc["note"])
        )  # fmt: skip
    return measures, ()
