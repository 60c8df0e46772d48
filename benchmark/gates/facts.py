"""What a verdict was made of, for the page and for verdict.json."""

import dataclasses
import importlib.metadata
import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.gates.inputs import SplitFacts, VerdictInputs
from benchmark.gates.model import Gate, Measure
from benchmark.gates.overall import Overall
from benchmark.gates.thresholds import Threshold

FORM_VERSION = 1  # of verdict.json; raise it whenever readers of the old form would go wrong
_PACKAGES = ("medsynth", "tensorflow", "tensorflow-cpu", "keras", "numpy", "scipy", "scikit-learn")
_LIMITS = (
    "A pass of privacy means that no memorisation was found by these attacks at the power that the page states. It is "
    "no guarantee of anonymity, and no legal opinion.",
    "It speaks of these synthetic images alone: not of others that the same GAN could make, and not of its weights, "
    "which an attacker can do more with.",
    "Intervals hold the choice of patients, not the chance of a training: another seed gives other images. Only "
    "several seeds show how much (benchmark/seeds.py).",
    "Held-out patients come from the same source as those trained on. Patients of another hospital, scanner or "
    "year may fare otherwise.",
    "A finding, a subgroup or a rare patient that no table names was not looked at.",
    "Each interval is held against its threshold on its own. Where many figures decide, one may fail by chance.",
)


@dataclass(frozen=True)
class Facts:
    """Everything about a verdict beside its gates.

    Attributes:
        overall: What the gates say together.
        inputs: What was judged.
        thresholds: Gate -> name -> number and reason.
        thresholds_path: The user's own file of them; None for the committed ones.
        made_at: Local time, ISO 8601 to the minute, with its offset.
        versions: Name -> version of what computed it.
        command: What was called, so that it can be called again.
        shows_private_pictures: Whether pictures of real patients are on the page.
        limits: What a verdict does not say, a sentence or two each.
    """

    overall: Overall
    inputs: VerdictInputs
    thresholds: Mapping[str, Mapping[str, Threshold]]
    thresholds_path: Path | None
    made_at: str
    versions: Mapping[str, str]
    command: str
    shows_private_pictures: bool = True
    limits: tuple[str, ...] = _LIMITS


def now() -> str:
    """Return the local time, ISO 8601 to the minute, with its offset."""
    return time.strftime("%Y-%m-%dT%H:%M%z")


def find_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that figures depend on, where they are installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def as_json(gates: Sequence[Gate], facts: Facts) -> dict[str, Any]:
    """Return verdict.json; docs/verdict.md describes it. Figures that are not finite numbers become null."""
    inputs = facts.inputs
    extractor = inputs.extractor
    return {
        "form_version": FORM_VERSION,
        "made_at": facts.made_at,
        "command": facts.command,
        "overall": {
            "outcome": facts.overall.outcome.value,
            "headline": facts.overall.headline,
            "sentence": facts.overall.sentence,
        },
        "judged": {
            "application": inputs.application,
            "resolution": inputs.resolution,
            "labels": list(inputs.label_names),
            "data_dir": str(inputs.data_dir),
            "results_dir": str(inputs.results_dir),
            "real": _splits_as_json(inputs.real),
            "synthetic": _splits_as_json(inputs.synthetic),
            "held_out": list(inputs.held_out),
            "patients_known": inputs.patients_known,
            "features": None if extractor is None else extractor.name,
            "feature_weights": None if extractor is None or extractor.weights is None else str(extractor.weights),
            "metadata": None if inputs.metadata is None else str(inputs.metadata),
            "seed": inputs.seed,
            "notes": list(inputs.notes),
        },
        "gates": [_gate_as_json(gate) for gate in gates],
        "thresholds": {
            "file": None if facts.thresholds_path is None else str(facts.thresholds_path),
            "gates": {
                gate: {name: dataclasses.asdict(threshold) for name, threshold in section.items()}
                for gate, section in facts.thresholds.items()
            },
        },
        "limits": list(facts.limits),
        "versions": dict(facts.versions),
    }


def _splits_as_json(splits: Mapping[str, SplitFacts]) -> dict[str, Any]:
    return {
        name: {"num_images": split.num_images, "num_patients": split.num_patients, "images_sha256": split.digest}
        for name, split in splits.items()
    }


def _gate_as_json(gate: Gate) -> dict[str, Any]:
    return {
        "key": gate.key,
        "question": gate.question,
        "outcome": gate.outcome.value,
        "reason": gate.reason,
        "measures": [_measure_as_json(measure) for measure in gate.measures],
        "notes": list(gate.notes),
        "pictures": [
            {"key": picture.key, "title": picture.title, "caption": picture.caption, "is_private": picture.is_private}
            for picture in gate.pictures
        ],
        "commands": list(gate.commands),
    }


def _measure_as_json(measure: Measure) -> dict[str, Any]:
    values = {name: _finite(value) for name, value in dataclasses.asdict(measure).items()}
    return values | {"outcome": None if measure.outcome is None else measure.outcome.value}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
