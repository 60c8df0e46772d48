"""What the maps of the test images come to: a row per label and method, with intervals, and a remark in words."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.classify.explain.faithfulness import area_under
from medsynth.classify.explain.measure import Explanation
from medsynth.classify.explain.methods import METHODS, RANDOM_TITLES
from medsynth.metrics.intervals import Estimate, mean_estimate

ALL_LABELS = "all labels"
# Above this mean correlation with the maps of random weights, a map says little about what was learnt.
UNCHANGED = 0.5
# What an estimate cannot leave, so its interval is cut there.
_RANGES = {"deletion": (0.0, 1.0), "insertion": (0.0, 1.0), "rank_correlation": (-1.0, 1.0)}
_ESTIMATES = ("deletion", "insertion", "deletion_gain", "insertion_gain", "rank_correlation", "map_similarity")
_NOT_DEFINED = Estimate(math.nan)


def areas(curves: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the area under each curve, [N, K], for curves [N, K, S + 1]."""
    return np.array([[area_under(curve) for curve in row] for row in curves])


def table_rows(explanations: Sequence[Explanation], clusters: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each label and method, random maps included, and for all labels together.

    Every estimate is the mean over clusters (patients, or images where patients are not known) of a cluster's mean,
    with Student's 95 % interval over clusters. `deletion_gain` is the area of the random map of the same grain minus
    the method's, `insertion_gain` the method's minus the random map's: above 0 is better than random in both.

    Args:
        explanations: One per label.
        clusters: Cluster of every record of the split.
    """
    rows = [row for one in explanations for row in _rows(one.label, [one], clusters)]
    return rows + (_rows(ALL_LABELS, explanations, clusters) if len(explanations) > 1 else [])


def _rows(label: str, explanations: Sequence[Explanation], clusters: Sequence[str]) -> list[dict[str, Any]]:
    first = explanations[0]
    names = (*first.methods, *first.random_maps)
    of_image = [clusters[record] for one in explanations for record in one.records]
    deletion = np.concatenate([areas(one.deletion) for one in explanations])
    insertion = np.concatenate([areas(one.insertion) for one in explanations])
    correlation = np.concatenate([one.rank_correlation for one in explanations])
    similarity = np.concatenate([one.map_similarity for one in explanations])
    rows = []
    for number, name in enumerate(names):
        values = {"deletion": deletion[:, number], "insertion": insertion[:, number]}
        row = {"label": label, "method": name, "num_images": len(of_image), "num_clusters": len(set(of_image))}
        if name in METHODS:
            beside = names.index(METHODS[name].random)
            values |= {
                "deletion_gain": deletion[:, beside] - deletion[:, number],
                "insertion_gain": insertion[:, number] - insertion[:, beside],
                "rank_correlation": correlation[:, number],
                "map_similarity": similarity[:, number],
            }
            row["num_empty_maps"] = sum(int((np.ptp(one.maps[:, number], axis=(1, 2)) == 0).sum())
                                        for one in explanations)  # fmt: skip
        estimates = dict.fromkeys(_ESTIMATES, _NOT_DEFINED)
        estimates |= {key: _estimate(numbers, of_image, key) for key, numbers in values.items()}
        rows.append({**row, **estimates, "remark": _remark(name, estimates)})
    return rows


def _estimate(values: npt.NDArray[np.float64], clusters: Sequence[str], key: str) -> Estimate:
    defined = np.isfinite(values)
    if not defined.any():
        return _NOT_DEFINED
    of_cluster = np.unique(np.asarray(clusters)[defined], return_inverse=True)[1]
    estimate = mean_estimate(np.bincount(of_cluster, values[defined]) / np.bincount(of_cluster))
    return estimate.within(*_RANGES[key]) if key in _RANGES else estimate


def _remark(method: str, estimates: dict[str, Estimate]) -> str:
    """Return what a reader must know of a method, in words; empty where there is nothing."""
    if method not in METHODS:
        return ""
    remarks = []
    if estimates["rank_correlation"].value >= UNCHANGED:
        remarks.append("hardly changes with random weights: shows the image rather than what was learnt")
    if math.isnan(estimates["rank_correlation"].value):
        remarks.append("sanity check undefined: maps of a single value")
    if not any(estimates[key].low > 0 for key in ("deletion_gain", "insertion_gain")):
        remarks.append("not shown to be better than a random map")
    return "; ".join(remarks)


def rows_for_json(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with every estimate as value, low and high; None where one is not defined."""
    return [
        {key: _numbers(value) if isinstance(value, Estimate) else value for key, value in row.items()} for row in rows
    ]


def rows_for_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as csv in full precision; empty where a number is not defined."""
    columns = ["label", "method", "num_images", "num_clusters", "num_empty_maps"]
    columns += [name + end for name in _ESTIMATES for end in ("", "_low", "_high")] + ["remark"]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows_for_json(rows):
        flat: dict[str, Any] = {}
        for key, value in row.items():
            flat |= {key + end: value[part] for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))} \
                if isinstance(value, dict) else {key: value}  # fmt: skip
        writer.writerow(flat)
    return text.getvalue()


def probabilities(explanation: Explanation) -> dict[str, float]:
    """Return the mean probabilities of the label between which the curves run."""
    return {
        "whole_image": float(explanation.scores.mean()),
        "mean_grey": float(explanation.deletion[:, 0, -1].mean()),
        "blurred": float(explanation.insertion[:, 0, 0].mean()),
    }


def rows_for_reading(rows: Sequence[dict[str, Any]], unit: str, ends: Mapping[str, dict[str, float]]) -> str:
    """Return the rows as a text table with a heading per label.

    Args:
        rows: From `table_rows`.
        unit: `patients` or `images`: what the intervals are over.
        ends: `probabilities` of each label.
    """
    heading = (
        f"{'':22s}{'deletion':>22s}{'insertion':>22s}{'deletion gain':>24s}{'insertion gain':>24s}{'Spearman':>10s}"
    )
    lines = []
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [row for row in rows if row["label"] == label]
        lines += [
            "",
            f"{label}: {own[0]['num_images']} images, {own[0]['num_clusters']} {unit}{_between(ends.get(label))}",
        ]
        lines.append(heading)
        for row in own:
            title = METHODS[row["method"]].title if row["method"] in METHODS else RANDOM_TITLES[row["method"]]
            cells = [f"{title:22s}"]
            cells += [f"{_text(row[key]):>22s}" for key in ("deletion", "insertion")]
            cells += [f"{_text(row[key], '+'):>24s}" for key in ("deletion_gain", "insertion_gain")]
            correlation = row["rank_correlation"].value
            cells.append(f"{'' if math.isnan(correlation) else f'{correlation:.2f}':>10s}")
            lines.append(("".join(cells) + (f"  {row['remark']}" if row["remark"] else "")).rstrip())
    return "\n".join(lines[1:]) + "\n"


def _between(ends: dict[str, float] | None) -> str:
    """Return between which probabilities the curves of a label run, and a warning where they run the wrong way."""
    if ends is None:
        return ""
    image, grey, blurred = ends["whole_image"], ends["mean_grey"], ends["blurred"]
    text = f"; mean probability: whole {image:.3f}, grey {grey:.3f}, blurred {blurred:.3f}"
    if image <= max(grey, blurred):
        text += " (no lower without the image's content: the curves say little here)"
    return text


def _numbers(estimate: Estimate) -> dict[str, float | None]:
    parts = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: float(number) if math.isfinite(number) else None for name, number in parts.items()}


def _text(estimate: Estimate, sign: str = "") -> str:
    if math.isnan(estimate.value):
        return ""
    if math.isnan(estimate.low):
        return f"{estimate.value:{sign}.3f}"
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
