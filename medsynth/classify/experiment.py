"""What train.py of classifier_real and classifier_fake does, and where their results lie.

Data and settings are read and checked before TensorFlow is loaded, so that a
mistake in either is answered at once.
"""

import hashlib
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medsynth.classify.config import ClassifierConfig, apply_overrides, copy_config, read_config
from medsynth.classify.data import SplitData, read_split
from medsynth.config import flatten
from medsynth.data.labels import DESCRIPTION_NAME
from medsynth.data.manifest import ALLOWED_LEAKS, DataReport, refuse_leaks
from medsynth.data.pyramid import ImagePyramid
from medsynth.errors import DataError, NetworkError, UsageError
from medsynth.files import atomic_path, read_json
from medsynth.networks.trained_classifier import BEST_WEIGHTS, TRAIN_FOLDER
from medsynth.runs import CONFIG_NAME, RunFolder

REAL = "real"
INFERENCE = "inference"  # in a GAN's results
# In dataset.json of a dataset whose training images are not real ones alone: their names, the first one REAL.
TRAINING_IMAGES, JOINED = "training_images", " + "
# Settings that change where a training starts or what it prints, not which training it is.
_NOT_COMPARED = ("train.path_model_base_weights", "train.use_trained_model_weights", "train.use_best_weights",
                 "train.show_model_summary")  # fmt: skip


def real_results_folder(data_dir: Path, resolution: int) -> Path:
    """Return where the real classifier's results lie."""
    return data_dir / f"classification_results_res_{resolution}"


def fake_results_folder(results_dir: Path) -> Path:
    """Return where the synthetic classifier's results lie."""
    return results_dir / "classification_results"


def inference_folder(results_dir: Path) -> Path:
    """Return the folder of the synthetic dataset in a GAN's results.

    Raises:
        DataError: There is none.
    """
    folder = results_dir / INFERENCE
    if not folder.is_dir():
        raise DataError(
            "The GAN's results must hold the synthetic images in inference/; run test.py of the GAN first.",
            received="no such folder",
            path=folder,
        )
    return folder


def name_of_images(data_dir: Path) -> str:
    """Return what the training images of a dataset are, as tables show it: what its dataset.json says, or "real"."""
    path = data_dir / DESCRIPTION_NAME
    description = read_json(path) if path.is_file() else None
    name = description.get(TRAINING_IMAGES) if isinstance(description, dict) else None
    return name if isinstance(name, str) else REAL


def is_joined_with_real(trained_on: str) -> bool:
    """Return whether a classifier's training images were real, or some of them: its validation images then are."""
    return trained_on.split(JOINED, maxsplit=1)[0] == REAL


def name_of_gan(results_dir: Path) -> str:
    """Return the name of the application that made the synthetic images, or "synthetic" where nothing says it."""
    for path in (results_dir / CONFIG_NAME, results_dir / INFERENCE / "generator.json"):
        if path.is_file():
            description = read_json(path)
            for key in ("application", "app"):
                if isinstance(description, dict) and isinstance(description.get(key), str):
                    return str(description[key])
    return "synthetic"


def report_of_gan(results_dir: Path, *, allow_leak: bool) -> DataReport:
    """Return what the GAN of these results found about its data; the classifier learns from it at second hand.

    Raises:
        DataError: It was trained although train and test share something, and that is not allowed here.
    """
    path = results_dir / CONFIG_NAME
    config = read_json(path) if path.is_file() else {}
    leaks = tuple(map(str, config.get(ALLOWED_LEAKS, ()))) if isinstance(config, dict) else ()
    refuse_leaks(leaks, results_dir, "The images were made by a GAN whose data", allow_leak=allow_leak)
    return DataReport(allowed_leaks=leaks)


@dataclass(frozen=True)
class TrainingRequest:
    """What train.py was asked for.

    Attributes:
        model_dir: The folder of config.ini.
        splits_dir: Holds `train` and `valid`.
        results: The classifier's results folder; `train` is made in it.
        seed: Of weights, order of images and flips.
        resolution: Of the records to read.
        trained_on: Where the images come from, as tables show it.
        overrides: `key=value` each.
        data_report: What the audit of the data found.
    """

    model_dir: Path
    splits_dir: Path
    results: Path
    seed: int
    resolution: int
    trained_on: str
    overrides: list[str]
    data_report: DataReport = field(default_factory=DataReport)


def train(request: TrainingRequest, *, dry_run: bool = False) -> None:
    """Train a classifier, or say that it is trained.

    Raises:
        MedsynthError: Unusable settings, data or folder, or a loss that is not finite.
    """
    config = apply_overrides(read_config(request.model_dir), request.overrides, "train")
    train_folder = request.splits_dir / "train"
    train_data = ImagePyramid(
        train_folder, request.resolution, smallest_resolution=request.resolution, seed=request.seed
    )
    valid_data = read_split(request.splits_dir / "valid", request.resolution)
    _require_fitting(config, train_data, valid_data)
    backbone = _backbone_weights(config, request.model_dir)
    settings = _settings(config, request, train_data, valid_data, backbone)
    if config.train.use_trained_model_weights:
        _require_earlier_training(config, request.results / TRAIN_FOLDER)

    from medsynth.classify.trainer import ClassifierTrainer, build_classifier  # noqa: PLC0415

    if dry_run:
        for line in request.data_report.lines():
            print(line)
        network = build_classifier(config.train, len(train_data.label_names), request.seed, backbone)
        for key, value in {**settings, "parameters": f"{network.count_params():,}"}.items():
            print(f"{key:40s} {value}")
        return
    with RunFolder(request.results / TRAIN_FOLDER, settings) as run:
        if run.is_done and not config.train.use_trained_model_weights:
            run.log(f"{run.path} holds the finished training of these settings; nothing to do.")
            return
        for line in request.data_report.lines():
            run.log(line, sys.stderr)
        run.log(_initialisation_line(config, request.model_dir, backbone))
        undefined = _labels_of_one_class(valid_data)
        if undefined:
            run.log(
                f"all {len(valid_data)} validation images agree on {', '.join(undefined)}: their AUROC counts as 0 in "
                "the validation mean, as published (a test leaves such labels out)"
            )
        network = build_classifier(config.train, len(train_data.label_names), request.seed, backbone)
        trainer = ClassifierTrainer(run, network, config.train, train_data, valid_data)
        if config.train.use_trained_model_weights:
            trainer.start_from_trained_weights()
            run.mark_undone()
        if config.train.show_model_summary:
            network.summary(print_fn=run.log)
        copy_config(request.model_dir, run.path)
        for split in (train_folder, valid_data.folder):
            with atomic_path(run.path / f"{split.name}.csv") as temporary:
                shutil.copyfile(split / f"{split.name}.csv", temporary)
        last = trainer.train()
        run.mark_done(f"epoch {last['epoch'] + 1}, validation mean AUROC {last['val_mean_auroc']:.4f} in the last one")


def _require_earlier_training(config: ClassifierConfig, folder: Path) -> None:
    """Refuse use_trained_model_weights where nothing was trained before."""
    path = folder / (BEST_WEIGHTS if config.train.use_best_weights else config.train.output_weights_name)
    if not path.is_file():
        raise NetworkError(
            "use_trained_model_weights goes on from the weights of an earlier training in this results folder; train "
            "once without it.",
            received="no such file",
            path=path,
        )


def _labels_of_one_class(data: SplitData) -> list[str]:
    """Return the labels that all or none of the images have."""
    counts = data.labels.sum(axis=0)
    return [name for name, count in zip(data.names, counts, strict=True) if count in (0, len(data))]


def _require_fitting(config: ClassifierConfig, train_data: ImagePyramid, valid_data: SplitData) -> None:
    if valid_data.names != train_data.label_names:
        raise DataError(
            f"Training and validation must have the same labels; training has {', '.join(train_data.label_names)}.",
            received=", ".join(valid_data.names),
            path=valid_data.folder,
        )
    images = min(train_data.num_images, config.train.samples_per_epoch)
    if config.train.batch_size > images:
        raise UsageError(
            f"An epoch has {images} images, less than one batch; lower batch_size.",
            received=f"batch_size={config.train.batch_size}",
        )


def _backbone_weights(config: ClassifierConfig, model_dir: Path) -> Path | None:
    """Return the file with ImageNet weights, or None where there is none."""
    path = model_dir / config.train.path_model_base_weights
    return path if config.train.path_model_base_weights and path.is_file() else None


def _initialisation(backbone: Path | None) -> str:
    if backbone is None:
        return "random initialisation"
    return f"pre-trained weights sha256 {hashlib.sha256(backbone.read_bytes()).hexdigest()[:16]}"


def _initialisation_line(config: ClassifierConfig, model_dir: Path, backbone: Path | None) -> str:
    if backbone is not None:
        return f"initial weights: {backbone}"
    wanted = (model_dir / config.train.path_model_base_weights).resolve()
    return f"no ImageNet weights at {wanted}: random initialisation, and every result is marked so"


def _settings(
    config: ClassifierConfig,
    request: TrainingRequest,
    train_data: ImagePyramid,
    valid_data: SplitData,
    backbone: Path | None,
) -> dict[str, Any]:
    """Return what the trained weights depend on: config.json of the training's folder."""
    chosen = {
        key: value
        for key, value in flatten(config).items()
        if (key == "base_model_name" or key.startswith("train.")) and key not in _NOT_COMPARED
    }
    return {
        "trained_on": request.trained_on,
        "initialisation": _initialisation(backbone),
        "random_seed": request.seed,
        "resolution": request.resolution,
        "data.labels": list(train_data.label_names),
        "data.num_train_images": train_data.num_images,
        "data.num_valid_images": len(valid_data),
        "data.train_images_sha256": train_data.images_digest,
        "data.valid_images_sha256": valid_data.records.digest,
        "data.train_labels_sha256": hashlib.sha256(train_data.labels.tobytes()).hexdigest(),
        "data.valid_labels_sha256": hashlib.sha256(valid_data.labels.tobytes()).hexdigest(),
        **request.data_report.settings(),
        **chosen,
    }
