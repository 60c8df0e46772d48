"""What a release bundle knows of itself: model_card.json.

Only values that are picked one by one reach the card: numbers, plain words, and the labels that the
network itself knows. So no path, image or patient of the training data can.

Source: Mitchell et al. 2019, "Model Cards for Model Reporting", https://arxiv.org/abs/1810.03993.
"""

import hashlib
import importlib.metadata
import json
import math
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medsynth.data.labels import read_split_labels
from medsynth.data.manifest import EXACT, FORM_VERSION, MANIFEST_NAME, NEAR, PATIENTS, verify_hint
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import labels_path
from medsynth.errors import DataError
from medsynth.files import read_json, sha256_of
from medsynth.gan.metrics_record import METRICS_FOLDER
from medsynth.gan.sampling import SPLITS
from medsynth.gan.trained import TrainedGenerator, network_folder
from medsynth.runs import CONFIG_NAME

CARD_JSON = "model_card.json"
PRIVACY_PREFIX = "privacy"  # metrics whose names begin so say how much of the training images comes out again

_CARD_VERSION = 1
_LIBRARIES = ("medsynth", "tensorflow", "keras", "numpy")
_SETTING_GROUPS = ("network.", "loss.", "optimiser.", "schedule.", "trainer.", "stopping.", "augment.")
_WORD = re.compile(r"[A-Za-z0-9_+-]{1,40}")
_PATH_SETTINGS = ("stopping.weights",)  # even where they look like a word
_PHRASE = re.compile(r"[A-Za-z0-9 .,;:+()=-]{1,120}")
_PAIRS = ("train-valid", "train-test", "valid-test")
_METRIC_NUMBERS = ("value", "low", "high", "n", "floor")
OVERLAPS = {PATIENTS: "patients", EXACT: "identical images", NEAR: "near duplicates"}


def describe(
    generate: TrainedGenerator, results_dir: Path, snapshot: int | None, data_dir: Path | None, licence: str
) -> dict[str, Any]:
    """Return what model_card.json holds.

    Args:
        generate: The generator.
        results_dir: Of its training: config.json, and metrics/*.json where something was measured.
        snapshot: Which of its networks this is; None for the final one.
        data_dir: The dataset with its manifest.json; None where nothing is to be said of it.
        licence: Of the bundle; may be empty.

    Raises:
        DataError: A file is missing, damaged or of another dataset.
    """
    settings = _read_object(results_dir / CONFIG_NAME)
    network, facts = generate.network, generate.facts
    metrics = read_metrics(results_dir / METRICS_FOLDER, network_folder(results_dir, snapshot))
    return {
        "card_version": _CARD_VERSION,
        "application": str(facts.get("application")),
        "package": type(network).__module__.partition(".")[0],
        "resolution": network.resolution,
        "num_channels": network.num_channels,
        "latent_size": network.latent_size,
        "labels": list(generate.label_names),
        "num_parameters": int(network.count_params()),
        "kimg": generate.kimg,
        "chosen_by": _word(facts.get("chosen_by")) if snapshot is None else "exporter",
        "fid_when_chosen": _number(facts.get("fid")) if snapshot is None else None,
        "random_seed": _number(facts.get("random_seed")),
        "training": training_settings(settings),
        "data": None if data_dir is None else data_facts(data_dir, settings, generate.label_names),
        "metrics": metrics,
        "privacy_measured": any(str(entry["metric"]).startswith(PRIVACY_PREFIX) for entry in metrics),
        "licence": licence.strip() or None,
        "made_with": {
            "python": platform.python_version(),
            **{name: version for name in _LIBRARIES if (version := _version(name))},
        },
    }


def training_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a training that are numbers, flags or single words; texts may be paths."""
    return {
        key: value
        for key, value in settings.items()
        if key.startswith(_SETTING_GROUPS) and key not in _PATH_SETTINGS and _is_plain(value)
    }


def data_facts(data_dir: Path, settings: Mapping[str, Any], label_names: Sequence[str]) -> dict[str, Any]:
    """Return counts, seed and audit of a dataset from its manifest.json.

    Args:
        data_dir: The dataset.
        settings: The training's config.json, which must be of this dataset.
        label_names: The generator's labels; counts of others are left out.

    Raises:
        DataError: No manifest, a damaged one, or one of another dataset.
    """
    path = data_dir / MANIFEST_NAME
    if not path.is_file():
        raise DataError(f"The dataset was never audited. {verify_hint(data_dir)}", received="no such file", path=path)
    manifest = _read_object(path)
    if manifest.get("form_version") != FORM_VERSION:
        raise DataError(
            f"The manifest is of another version of this suite. {verify_hint(data_dir)}",
            received=manifest.get("form_version"),
            path=path,
        )
    try:
        splits = {
            name: _split_facts(split, label_names)
            for name in SPLITS
            if (split := manifest["splits"].get(name)) is not None
        }
        facts = {
            "source": _word(manifest["made_by"].get("command")),
            "seed": _number(manifest["made_by"].get("seed")),
            "splits": splits,
            "audit": {
                "num_errors": _number(manifest["num_errors"]),
                "num_warnings": _number(manifest["num_warnings"]),
                "overlaps": {
                    pair: {kind: _number(shared.get(kind)) for kind in OVERLAPS}
                    for pair in _PAIRS
                    if (shared := manifest["overlaps"].get(pair)) is not None
                },
            },
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"The manifest is damaged. {verify_hint(data_dir)}", received=f"{type(error).__name__}: {error}", path=path
        ) from None
    _require_same_data(data_dir, settings, splits.get("train", {}).get("images"))
    return facts


def _require_same_data(data_dir: Path, settings: Mapping[str, Any], num_images: int | None) -> None:
    """Refuse a dataset with other training images or labels than the training's settings say."""
    received = "" if num_images == settings.get("data.num_images") else f"{num_images} training images"
    train = data_dir / "train"
    resolution, images = settings.get("resolution"), settings.get("data.images_sha256")
    if not received and isinstance(resolution, int) and open_records(train, resolution).digest != images:
        received = "other images"
    if not received and labels_path(train).is_file():
        digest = hashlib.sha256(read_split_labels(train).values.tobytes()).hexdigest()
        received = "" if digest == settings.get("data.labels_sha256") else "other labels"
    if received:
        raise DataError(
            f"The dataset that the network was trained on was expected: {settings.get('data.num_images')} training "
            f"images, labels with the sha256 {settings.get('data.labels_sha256')}.",
            received=received,
            path=data_dir,
        )


def _split_facts(split: Mapping[str, Any], label_names: Sequence[str]) -> dict[str, Any]:
    positives = split["positives"] or {}
    return {
        "images": _number(split["images"]),
        "patients": _number(split["patients"]),
        "positives": {name: _number(positives.get(name)) for name in label_names},
    }


def read_metrics(folder: Path, network: Path) -> list[dict[str, Any]]:
    """Return what was measured of a network, from every .json file of a folder, in the order of their names.

    A file is as evaluate.py writes it, and is used as far as it is of this network's present weights. Or it
    holds one entry, or a list of them, with metric, value, and if known low, high, n, floor, split and
    extractor. Numbers and words are picked; whatever else is said is left out.

    Args:
        folder: results_dir/metrics; may be missing.
        network: The network's folder.

    Raises:
        DataError: A file is damaged.
    """
    found = []
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        try:
            entries = _recorded(content, network) if _is_record(content) else content
            entries = entries if isinstance(entries, list) else [entries]
            found += [_metric(entry) for entry in entries]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            received = f"{type(error).__name__}: {error}"
            raise DataError("Metrics, with names and values, were expected.", received=received, path=path) from None
    return found


def _is_record(content: Any) -> bool:
    return isinstance(content, dict) and "networks" in content


def _recorded(content: dict[str, Any], network: Path) -> list[dict[str, Any]]:
    """Return the entries of a network in a file of evaluate.py; metrics that came out undefined are left out."""
    entry = content["networks"].get(network.name)
    if entry is None or entry["sha256"] != sha256_of(network / "average.safetensors"):
        return []
    shared = {key: content["settings"][key] for key in ("n", "split")}
    return [shared | {"metric": name} | row for name, row in entry["rows"].items() if row["value"] is not None]


def _metric(entry: dict[str, Any]) -> dict[str, Any]:
    metric, numbers = _word(entry["metric"]), {key: _number(entry.get(key)) for key in _METRIC_NUMBERS}
    if metric is None or numbers["value"] is None:
        raise ValueError(f"a word and a number are needed, not {json.dumps(entry)[:100]}")
    words = {"split": _word(entry.get("split")), "extractor": _phrase(entry.get("extractor"))}
    return {"metric": metric, **numbers, **words}


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError("A JSON object was expected here.", received=type(content).__name__, path=path)
    return content


def _version(name: str) -> str | None:
    # The CPU build of TensorFlow is a package of another name.
    for package in (name, f"{name}-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _number(value: Any) -> int | float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else None


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _phrase(value: Any) -> str | None:
    """Return a few words, but nothing with a slash or a backslash in it."""
    return value if isinstance(value, str) and _PHRASE.fullmatch(value) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_word(key) is not None and _is_plain(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(_is_plain(inner) for inner in value)
    return value is None or isinstance(value, bool) or _number(value) is not None or _word(value) is not None
