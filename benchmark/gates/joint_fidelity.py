"""The fidelity gate of GAN_joint: is the synthetic table like the real one, and are the images like real ones?

The table's figures are those of `GAN_joint/test.py analyse`, each held against the floor: what real held-out rows score
in place of as many synthetic ones. Images are judged as those of the other GANs are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmark.gates.fidelity import KEY, judge_fidelity
from benchmark.gates.inputs import VerdictInputs
from benchmark.gates.joint_inputs import ANALYSIS, METRICS_JSON, of_pairs
from benchmark.gates.model import Gate, Measure, Outcome, combine, decide
from medsynth.data.wording import listed
from medsynth.errors import DataError
from medsynth.files import read_json

QUESTION = "Is the synthetic table like the real one, and are the images like real ones?"
TABLE, TABLE_FLOOR = "table, as measured", "table, floor: held-out real rows in place of the synthetic ones"
_SYNTHETIC, _SMALL, _FLOOR = "synthetic", "synthetic_as_few_rows", "held_out_real"
_ROWS = "held-out rows"
# Which shortfall decides by which threshold, and what it is called.
_SHORTFALLS = {
    "columns_mean": ("table_columns_margin", "columns"),
    "pairs_mean": ("table_pairs_margin", "pairs of columns"),
    "correlation_similarity": ("table_correlation_margin", "correlations"),
}
_DETECTION = {
    "detection_auc_logistic_regression": "logistic regression",
    "detection_auc_gradient_boosting": "gradient boosting",
}
_NO_FEATURES = "There are no features to compare images by; name some with --features and --weights."
_TITLES = {
    "columns_mean": "columns: similarity, mean",
    "ks_complement": "columns of numbers: KS complement, mean",
    "tv_complement": "other columns: TV complement, mean",
    "pairs_mean": "pairs of columns: similarity, mean",
    "correlation_similarity": "pairs of numbers: correlation similarity, mean",
    "contingency_similarity": "other pairs: contingency similarity, mean",
} | {metric: f"detection AUC, {name}" for metric, name in _DETECTION.items()}
Scores = dict[tuple[str, str], Mapping[str, Any]]


def judge_joint_fidelity(inputs: VerdictInputs, thresholds: Mapping[str, float]) -> Gate:
    """Judge how synthetic rows and images compare with real ones that the GAN has not seen.

    Args:
        inputs: What is judged.
        thresholds: The section `fidelity` of the thresholds.

    Returns:
        The gate; insufficient where there are no held-out rows, or no features to compare images by.

    Raises:
        DataError: Damaged results or data.
        NetworkError: Weights that are missing, damaged or of another network.
    """
    if not inputs.held_out:
        reason = "Real held-out rows that the GAN has not seen are needed, and there are none."
        return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, reason)
    table = judge_table(_read_scores(inputs), thresholds)
    images = judge_fidelity(of_pairs(inputs), thresholds)
    measures = [*table, *images.measures]
    notes = [
        "The table's figures compare as many synthetic rows as there are held-out ones with the train rows (mean over "
        "ten draws), and the held-out rows with the same train rows. The interval of a difference is that of two "
        "independent figures; both hold the same train rows, so it is rather too wide.",
        *(f"Images: {note}" for note in images.notes),
    ]
    commands = tuple(images.commands)
    if inputs.extractor is None:
        commands = (f"{inputs.command} --features NAME --weights PATH",)
    if not any(one.outcome is not None for one in images.measures):
        measures.append(_open_images(_NO_FEATURES if inputs.extractor is None else images.reason))
    outcome = combine(measures)
    return replace(
        images, question=QUESTION, outcome=outcome, reason=_reason(outcome, measures),
        measures=measures, notes=notes, commands=commands,
    )  # fmt: skip


def judge_table(scores: Scores, thresholds: Mapping[str, float]) -> list[Measure]:
    """Return the table's figures: those that decide, then all as they were measured.

    Args:
        scores: (table, metric) -> a mean or a figure of the whole table, as metrics.json has it.
        thresholds: The section `fidelity`.
    """
    measures = [
        _shortfall(metric, title, scores, thresholds[threshold])
        for metric, (threshold, title) in _SHORTFALLS.items()
        if (_FLOOR, metric) in scores and scores[_FLOOR, metric]["value"] is not None
    ]
    for metric, name in _DETECTION.items():
        measures.append(_detection(metric, name, scores.get((_SYNTHETIC, metric), {}), thresholds["detection_auc"]))
    for table, group, ending in (
        (_SMALL, TABLE, ""),
        (_SYNTHETIC, TABLE, "_all_rows"),
        (_FLOOR, TABLE_FLOOR, "_floor"),
    ):
        for (one, metric), score in scores.items():
            is_repeated = table == _SYNTHETIC and (_SMALL, metric) in scores
            # Without a title: copies and closest rows, which are the privacy gate's.
            title = _TITLES.get(metric, "")
            if one == table and title and score["value"] is not None:
                more = ", all rows" if is_repeated else ""
                measures.append(
                    Measure(f"table_{metric}{ending}", f"{title}{more}", score["value"], score["low"], score["high"],
                            score["num_rows"], "rows", group=group)
                )  # fmt: skip
    return measures


def _read_scores(inputs: VerdictInputs) -> Scores:
    path = inputs.out_dir / ANALYSIS / METRICS_JSON
    try:
        return {
            (one["table"], one["metric"]): one for one in read_json(path)["metrics"] if one["columns"] in ([], ["mean"])
        }
    except (KeyError, TypeError) as error:
        raise DataError("Metrics as analyse writes them were expected here.", received=error, path=path) from None


def _shortfall(metric: str, title: str, scores: Scores, threshold: float) -> Measure:
    """Return how far a mean lies below the floor."""
    floor = scores[_FLOOR, metric]
    # Where there are fewer synthetic than held-out rows nothing was drawn.
    made, spread = scores.get((_SMALL, metric), scores[_SYNTHETIC, metric]), scores[_SYNTHETIC, metric]
    num, key = floor["num_rows"], f"table_{metric}_shortfall"
    name = f"{title}: how far the table's similarity to the train rows lies below that of real held-out rows"
    if made["value"] is None or None in (floor["low"], floor["high"], spread["low"], spread["high"]):
        return Measure(key, name, None, None, None, num, _ROWS, threshold, "at most", Outcome.INSUFFICIENT,
                       "There are too few rows for an interval.")  # fmt: skip
    value = floor["value"] - made["value"]
    half = math.hypot(floor["high"] - floor["low"], spread["high"] - spread["low"]) / 2
    outcome, more = decide(value, value - half, value + half, threshold, "at most", num)
    reason = f"{made['value']:.3f} against {floor['value']:.3f}."
    return Measure(
        key, name, value, value - half, value + half, num, _ROWS, threshold, "at most", outcome, reason, more
    )


def _detection(metric: str, name: str, score: Mapping[str, Any], threshold: float) -> Measure:
    """Return how well a classifier tells synthetic rows from train rows."""
    title = f"AUC of {name} that tells synthetic rows from real ones"
    num = int(score.get("num_rows", 0))
    if score.get("low") is None or score.get("high") is None:
        return Measure(f"table_{metric}", title, None, None, None, num, "rows of each table", threshold, "at most",
                       Outcome.INSUFFICIENT, "There are too few rows for detection.")  # fmt: skip
    value, low, high = score["value"], score["low"], score["high"]
    outcome, more = decide(value, low, high, threshold, "at most", num)
    return Measure(f"table_{metric}", title, value, low, high, num, "rows of each table", threshold, "at most", outcome,
                   more_needed=more)  # fmt: skip


def _open_images(reason: str) -> Measure:
    return Measure("images", "images by features of a network", None, None, None, 0, "images of each set",
                   outcome=Outcome.INSUFFICIENT, reason=reason)  # fmt: skip


def _reason(outcome: Outcome, measures: Sequence[Measure]) -> str:
    """Return why the gate says what it says."""
    titles = [
        one.title.split(":", maxsplit=1)[0].split(",", maxsplit=1)[0] for one in measures if one.outcome is outcome
    ]
    if outcome is Outcome.PASS:
        return "Table and images are shown to be as near to real ones as the limits ask for."
    if outcome is Outcome.FAIL:
        return f"Shown to be worse than the limits allow: {listed(titles)}."
    return f"Open: {listed(titles)}."
