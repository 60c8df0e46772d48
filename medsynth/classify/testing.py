"""What test.py of classifier_real and classifier_fake does."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from medsynth.classify.config import ClassifierConfig, apply_overrides, read_config
from medsynth.classify.data import SplitData, read_split
from medsynth.classify.experiment import is_joined_with_real
from medsynth.config import flatten
from medsynth.data.labels import read_label_table, read_patients, record_order
from medsynth.data.manifest import ALLOWED_LEAKS
from medsynth.errors import DataError, UsageError
from medsynth.files import atomic_path, make_folder
from medsynth.networks.trained_classifier import TrainedClassifier, read_classifier

TEST_FOLDER = "test"


def test(
    model_dir: Path,
    test_split: Path,
    valid_split: Path,
    results: Path,
    *,
    seed: int,
    resolution: int,
    overrides: list[str],
    dry_run: bool,
) -> None:
    """Score the real test images with a trained classifier and write results/test.

    The classifier's validation images are scored, too: they decide on the operating point.

    Args:
        model_dir: The folder of config.ini; [TEST] is used, the network is the training's.
        test_split: data_dir/test.
        valid_split: What the trainer validated on: data_dir/valid, or results_dir/inference/valid.
        results: The classifier's results folder.
        seed: Noted in results.json; scoring draws nothing, and resamples are those of benchmark/compare.py.
        resolution: Must be the training's.
        overrides: `key=value` each.
        dry_run: Check everything, and stop before scoring.

    Raises:
        MedsynthError: No training here, or one that does not fit the data.
    """
    config = apply_overrides(read_config(model_dir), overrides, "test")
    trained = read_classifier(results, use_best_weights=config.test.use_best_weights)
    require_as_trained(trained, config, overrides, resolution)
    data = _read_split_for(trained, test_split)
    if not valid_split.is_dir():
        raise DataError(
            "The operating point is chosen on the images that the classifier was validated on, which were expected "
            "here; make them again as they were.",
            received="no such folder",
            path=valid_split,
        )
    valid = _read_split_for(trained, valid_split)
    if dry_run:
        print(
            f"would score {len(data)} images of {test_split} and {len(valid)} of {valid_split} with {trained.weights}"
        )
        return

    from medsynth.classify.evaluation.operating_points import choose_operating_points  # noqa: PLC0415
    from medsynth.classify.evaluation.predictions import PREDICTIONS_VALID, RESULTS, write_predictions  # noqa: PLC0415
    from medsynth.classify.evaluation.results import write_results  # noqa: PLC0415
    from medsynth.classify.trainer import score  # noqa: PLC0415

    folder = make_folder(results / TEST_FOLDER)
    (folder / RESULTS).unlink(missing_ok=True)  # of an earlier test, whose files are overwritten one by one
    network = trained.build()

    def score_in_csv_order(split: SplitData) -> Any:
        scores = score(trained, network, split, config.test.batch_size)
        in_csv_order = scores.copy()
        in_csv_order[record_order(len(scores))] = scores
        return in_csv_order

    valid_table, valid_scores = read_label_table(valid_split), score_in_csv_order(valid)
    write_predictions(folder / PREDICTIONS_VALID, valid_table, None, valid_scores)
    points = choose_operating_points(
        valid_table.values,
        valid_scores,
        _describe_validation(trained),
        as_in_training=_is_validation_of_training(trained, valid),
    )
    table, scores = read_label_table(test_split), score_in_csv_order(data)
    with atomic_path(folder / "test.csv") as temporary:
        shutil.copyfile(test_split / f"{test_split.name}.csv", temporary)
    patients = read_patients(test_split, table.paths)
    facts = _facts(trained, seed)
    print(write_results(folder, table, patients, scores, facts, points=points, num_resamples=config.test.num_resamples))


def _read_split_for(trained: TrainedClassifier, split: Path) -> SplitData:
    """Open a split and check that its labels are the network's."""
    data = read_split(split, trained.resolution)
    trained.require_labels(data.names, split)
    return data


def _describe_validation(trained: TrainedClassifier) -> str:
    """Say what the trainer validated on."""
    source = trained.settings["trained_on"]
    if is_joined_with_real(source):
        return "real validation images"
    return f"synthetic validation images ({source}), all that its trainer had"


def _is_validation_of_training(trained: TrainedClassifier, valid: SplitData) -> bool | None:
    """Return whether images and labels are those of the training; None where its settings do not say."""
    now = {
        "data.valid_images_sha256": valid.records.digest,
        "data.valid_labels_sha256": hashlib.sha256(valid.labels.tobytes()).hexdigest(),
    }
    then = [trained.settings.get(key) for key in now]
    return None if None in then else then == list(now.values())


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
        "weights_sha256": trained.weights_digest(),
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
