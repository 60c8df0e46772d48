"""What test.py of classifier_real and classifier_fake does."""

import json
import shutil
from pathlib import Path
from typing import Any

from medsynth.classify.config import ClassifierConfig, apply_overrides, read_config
from medsynth.classify.data import read_split
from medsynth.config import flatten
from medsynth.data.labels import read_label_table, read_patients, record_order
from medsynth.data.manifest import ALLOWED_LEAKS
from medsynth.errors import UsageError
from medsynth.files import atomic_path, make_folder
from medsynth.networks.trained_classifier import TrainedClassifier, read_classifier

TEST_FOLDER = "test"


def test(
    model_dir: Path,
    test_split: Path,
    results: Path,
    *,
    seed: int,
    resolution: int,
    overrides: list[str],
    dry_run: bool,
) -> None:
    """Score the real test images with a trained classifier and write results/test.

    Args:
        model_dir: The folder of config.ini; [TEST] is used, the network is the training's.
        test_split: data_dir/test.
        results: The classifier's results folder.
        seed: Noted in results.json; scoring draws nothing.
        resolution: Must be the training's.
        overrides: `key=value` each.
        dry_run: Check everything, and stop before scoring.

    Raises:
        MedsynthError: No training here, or one that does not fit the data.
    """
    config = apply_overrides(read_config(model_dir), overrides, "test")
    trained = read_classifier(results, use_best_weights=config.test.use_best_weights)
    require_as_trained(trained, config, overrides, resolution)
    data = read_split(test_split, resolution)
    trained.require_labels(data.names, test_split)
    table = read_label_table(test_split)
    if dry_run:
        print(f"would score {len(data)} images of {test_split} with {trained.weights}")
        return

    from medsynth.classify.results import write_results  # noqa: PLC0415
    from medsynth.classify.trainer import score  # noqa: PLC0415

    scores = score(trained, trained.build(), data, config.test.batch_size)
    in_csv_order = scores.copy()
    in_csv_order[record_order(len(scores))] = scores
    folder = make_folder(results / TEST_FOLDER)
    with atomic_path(folder / "test.csv") as temporary:
        shutil.copyfile(test_split / f"{test_split.name}.csv", temporary)
    facts = _facts(trained, seed)
    print(write_results(folder, table, read_patients(test_split, table.paths), in_csv_order, facts))


def _facts(trained: TrainedClassifier, seed: int) -> dict[str, Any]:
    """Return what results.json says of the classifier."""
    settings = trained.settings
    return {
        "trained_on": settings["trained_on"],
        "initialisation": settings["initialisation"],
        "random_seed": settings["random_seed"],
        "test_random_seed": seed,
        "resolution": trained.resolution,
        "image_dimension": trained.image_dimension,
        "weights": trained.weights.name,
        "allowed_leaks": settings.get(ALLOWED_LEAKS, []),
        "training_finished": trained.is_finished,
    }


def require_as_trained(
    trained: TrainedClassifier, config: ClassifierConfig, overrides: list[str], resolution: int
) -> None:
    """Refuse another resolution, or a --set that contradicts the training.

    Args:
        trained: The classifier.
        config: Settings with the overrides applied.
        overrides: `key=value` each.
        resolution: Asked for.

    Raises:
        UsageError: Names the setting and what it was in training.
    """
    if resolution != trained.resolution:
        raise UsageError(
            f"The classifier was trained on images of {trained.resolution} pixels.",
            received=f"resolution {resolution}",
        )
    settings, chosen = trained.settings, flatten(config)
    for assignment in overrides:
        key = assignment.partition("=")[0]
        for name in (key, f"train.{key}"):
            if f"test.{key}" in chosen or name not in settings or name not in chosen:
                continue
            if json.loads(json.dumps(chosen[name])) != settings[name]:
                raise UsageError(
                    f"{name} was fixed when the classifier was trained: {settings[name]}.", received=assignment
                )
