"""A trained generator as a folder that can be given away: weights, description, checksums, model card.

Nothing in it is code or pickled, and nothing in it names a file, an image or a patient of the
training data: what the card says is picked value by value, never copied as a whole.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medsynth.errors import NetworkError, RunFolderError, UsageError
from medsynth.files import atomic_path, flush, remove_leftovers, write_json, write_text
from medsynth.gan.checksums import CHECKSUMS_NAME, list_checksums, verify_bundle
from medsynth.gan.gallery import write_grid
from medsynth.gan.model_card import CARD_JSON, describe
from medsynth.gan.model_card_text import card_text
from medsynth.gan.trained import TrainedGenerator, open_generator
from medsynth.gan.trainer import FINAL_FOLDER
from medsynth.training.checkpoint import save_networks

CARD_NAME = "model_card.md"
GRID_NAME = "samples.png"

_AVERAGE = "average"
_NUM_SAMPLES = 8  # of each label
# What of network.json is passed on.
_FACTS = ("application", "label_names", "resolution", "random_seed", "images_seen", "chosen_by", "fid")


def export_bundle(
    classes: Mapping[str, type],
    results_dir: Path,
    bundle_dir: Path,
    *,
    data_dir: Path | None = None,
    snapshot: int | None = None,
    licence: str = "",
) -> dict[str, Any]:
    """Write a release bundle; the folder appears when it is complete.

    Args:
        classes: The application's `generator_classes`.
        results_dir: Of the training.
        bundle_dir: A new or empty folder.
        data_dir: The dataset that the network was trained on; its manifest.json says how many images it
            has and what its audit found.
        snapshot: The NNNNNN (kimg) of a snapshot; the final network where not given.
        licence: Under which the bundle is given away.

    Returns:
        What model_card.json holds.

    Raises:
        NetworkError: No such network, or one that is still growing.
        DataError: Settings, manifest or metrics are missing, damaged or of another dataset.
        RunFolderError: `bundle_dir` is not free or cannot be written.
    """
    _require_free(bundle_dir)
    generate = open_generator(classes, results_dir, snapshot)
    if generate.lod > 0:
        raise NetworkError(
            f"The network was still growing to {generate.network.resolution}x{generate.network.resolution}; export a "
            "later one.",
            received=f"{generate.kimg:.1f} kimg, level of detail {generate.lod:.2f}",
            path=results_dir,
        )
    card = describe(generate, results_dir, snapshot, data_dir, licence)
    facts = {key: generate.facts[key] for key in _FACTS if key in generate.facts}
    remove_leftovers(bundle_dir)
    with atomic_path(bundle_dir) as partial:
        save_networks(partial / FINAL_FOLDER, {_AVERAGE: generate.network}, facts)
        write_grid(generate, partial / GRID_NAME, range(_NUM_SAMPLES))
        write_json(partial / CARD_JSON, card)
        write_text(partial / CARD_NAME, card_text(card))
        write_text(partial / CHECKSUMS_NAME, list_checksums(partial))
        flush(partial / FINAL_FOLDER)
    return card


def load_generator(bundle_dir: Path | str, classes: Mapping[str, type]) -> TrainedGenerator:
    """Load the generator of a release bundle, after all its files were held against SHA256SUMS.

    Args:
        bundle_dir: As `export_bundle` wrote it.
        classes: The application's `generator_classes`; no other class is built.

    Returns:
        The generator: `generate(range(8), "Edema")` makes eight images.

    Raises:
        NetworkError: A file is missing or has changed.
    """
    bundle = Path(bundle_dir)
    verify_bundle(bundle)
    return open_generator(classes, bundle)


def _require_free(bundle_dir: Path) -> None:
    if bundle_dir.name in ("", ".."):
        raise UsageError("A bundle needs a folder with a name of its own.", received=bundle_dir)
    is_file = bundle_dir.exists() and not bundle_dir.is_dir()
    entries = sorted(entry.name for entry in bundle_dir.iterdir()) if bundle_dir.is_dir() else []
    if is_file or entries or bundle_dir.is_mount():
        raise RunFolderError(
            "A bundle is written to a new or empty folder.",
            received="a file" if is_file else ", ".join(entries[:4]) or "a mount point",
            path=bundle_dir,
        )


def run(classes: Mapping[str, type], arguments: argparse.Namespace) -> None:
    """Do what the command line of an application's export.py asks for.

    Args:
        classes: The application's `generator_classes`.
        arguments: As the parser of `command_line.export_parser` reads them.

    Raises:
        MedsynthError: Whatever is wrong with them.
    """
    card = export_bundle(
        classes,
        arguments.results_dir,
        arguments.bundle_dir,
        data_dir=arguments.data_manifest,
        snapshot=arguments.snapshot,
        licence=arguments.license,
    )
    print(f"wrote {arguments.bundle_dir}")
    for name, is_missing in (
        ("what it was trained on (--data-manifest)", card["data"] is None),
        ("quality (metrics)", not card["metrics"]),
        ("privacy", not card["privacy_measured"]),
        ("the licence (--license)", card["licence"] is None),
    ):
        if is_missing:
            print(f"not known, and the model card says so: {name}")
