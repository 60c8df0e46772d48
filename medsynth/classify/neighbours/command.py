"""What nn.py does: the nearest training images of synthetic ones, and whether they are too near.

Data and settings are read and checked before TensorFlow is loaded.
"""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medsynth.classify.config import NeighboursConfig, apply_overrides, read_config
from medsynth.classify.data import SplitData, read_split
from medsynth.classify.experiment import REAL, fake_results_folder, inference_folder, real_results_folder
from medsynth.classify.neighbours.memorisation import MINIMUM_HELD_OUT, Numbers
from medsynth.classify.testing import require_as_trained
from medsynth.config import flatten
from medsynth.data.labels import read_label_table, read_patients, record_order
from medsynth.data.wording import counted
from medsynth.errors import DataError, NetworkError, RunFolderError
from medsynth.files import make_folder, read_json
from medsynth.networks.trained_classifier import BEST_WEIGHTS, TrainedClassifier, read_classifier
from medsynth.runs import CONFIG_NAME

RESULTS_FOLDER, CACHE_FOLDER = "nn", "features"
_SPLITS = {"test": ("test",), "all": ("test", "valid", "train")}
_SEED = 0


@dataclass(frozen=True)
class ImageSplit:
    """A split as the search needs it.

    Attributes:
        data: Images and labels, in record order.
        paths: The source path of every record.
        patients: The patient of every record, counted from 0; a number of its own where patients are not known.
        patient_names: Those in the split; None where they are not known.
    """

    data: SplitData
    paths: tuple[str, ...]
    patients: Numbers
    patient_names: frozenset[str] | None

    @classmethod
    def read(cls, folder: Path, resolution: int) -> "ImageSplit":
        """Open a split.

        Raises:
            DataError: Missing or damaged files.
        """
        data = read_split(folder, resolution)
        paths = read_label_table(folder).paths
        order = record_order(len(paths))
        names = read_patients(folder, paths)
        in_order = tuple(paths[row] for row in order)
        if names is None:
            return cls(data, in_order, np.arange(len(order)), None)
        _, patients = np.unique(np.asarray(names)[order], return_inverse=True)
        return cls(data, in_order, patients, frozenset(names))

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.data.folder.name


@dataclass(frozen=True)
class Comparands:
    """Everything that a run of nn.py reads.

    Attributes:
        config: [NN].
        classifier: Whose features are compared.
        classifier_origin: Where it was found, for the results.
        train: The real training images.
        held_out: Real images of other patients.
        synthetic: Splits of inference/, `test` first.
        notes: What a reader must know, a sentence each.
    """

    config: NeighboursConfig
    classifier: TrainedClassifier
    classifier_origin: str
    train: ImageSplit
    held_out: ImageSplit
    synthetic: tuple[ImageSplit, ...]
    notes: tuple[str, ...]


def run(
    model_dir: Path, data_dir: Path, results_dir: Path, *, resolution: int, overrides: list[str], dry_run: bool
) -> None:
    """Search the nearest training images and write results_dir/classification_results/nn.

    Args:
        model_dir: The folder of config.ini; [NN] is used.
        data_dir: Real images: `train`, and the held-out split.
        results_dir: A GAN's results, with inference/.
        resolution: Of the records to read.
        overrides: `key=value` each.
        dry_run: Check everything, and stop before the first image.

    Raises:
        MedsynthError: No classifier, or data that do not fit it or each other.
    """
    folder = fake_results_folder(results_dir) / RESULTS_FOLDER
    comparands = read_comparands(model_dir, data_dir, results_dir, resolution, overrides)
    num_synthetic = sum(len(split.data) for split in comparands.synthetic)
    print(
        f"{num_synthetic:,} synthetic images and {len(comparands.held_out.data):,} held-out real ones of "
        f"{comparands.held_out.name}, against {len(comparands.train.data):,} training images, by the features of "
        f"{comparands.classifier.weights} ({comparands.classifier_origin})"
    )
    for note in comparands.notes:
        print(f"note: {note}", file=sys.stderr)
    if dry_run:
        return

    from medsynth.classify.neighbours.results import search_and_write  # noqa: PLC0415  (loads TensorFlow)

    print("building the network", flush=True)
    # Real images' features are the same for every GAN, so they lie with the real classifier's results.
    real_cache = make_folder(real_results_folder(data_dir, resolution) / CACHE_FOLDER)
    print(search_and_write(comparands, make_folder(folder), real_cache, folder / CACHE_FOLDER, seed=_SEED))


def read_comparands(
    model_dir: Path, data_dir: Path, results_dir: Path, resolution: int, overrides: list[str]
) -> Comparands:
    """Read and check what is to be compared; loads no TensorFlow.

    Raises:
        MedsynthError: As `run`.
    """
    config = apply_overrides(read_config(model_dir), overrides, "nn")
    train = ImageSplit.read(data_dir / "train", resolution)
    held_out = ImageSplit.read(data_dir / config.nn.held_out, resolution)
    inference = inference_folder(results_dir)
    synthetic = tuple(ImageSplit.read(inference / name, resolution) for name in _SPLITS[config.nn.synthetic])

    folder = fake_results_folder(results_dir) / RESULTS_FOLDER
    settings = {key: value for key, value in flatten(config).items() if key.startswith("train.")}
    classifier, origin, notes = find_classifier(
        folder,
        real_results_folder(data_dir, resolution),
        settings | {"data.labels": list(train.data.names), "resolution": resolution},
        use_best_weights=config.test.use_best_weights,
    )
    require_as_trained(classifier, config, overrides, resolution)
    for split in (train, held_out, *synthetic):
        classifier.require_labels(split.data.names, split.data.folder)
        _require_same_form(split, train)
    notes += _require_other_patients(train, held_out)
    if len(held_out.data) < MINIMUM_HELD_OUT:
        raise DataError(
            f"A 5th percentile needs {MINIMUM_HELD_OUT} held-out real images or more.",
            received=counted(len(held_out.data), "image"),
            path=held_out.data.folder,
        )
    notes += _notes_on_gan(results_dir, train, resolution)
    if classifier.settings.get("data.train_images_sha256", train.data.records.digest) != train.data.records.digest:
        notes.append(f"The classifier was not trained on exactly the images of {train.data.folder} as they are now.")
    return Comparands(config.nn, classifier, origin, train, held_out, synthetic, tuple(notes))


def find_classifier(
    nn_folder: Path, real_results: Path, settings: dict[str, object], *, use_best_weights: bool
) -> tuple[TrainedClassifier, str, list[str]]:
    """Return the classifier whose features are compared, where it was found, and notes.

    Weights that lie in `nn_folder`, where the original wanted them put by hand, come first; else the results of the
    real classifier are used where they are. A file of weights does not say how images enter the network: that is
    taken from the real classifier's training, or else from config.ini.

    Args:
        nn_folder: results_dir/classification_results/nn.
        real_results: Of the real classifier.
        settings: Of config.ini and the data, as a training's config.json would have them.
        use_best_weights: Which of two files to prefer.

    Raises:
        NetworkError: No weights in either place.
    """
    placed = _placed_weights(nn_folder, str(settings["train.output_weights_name"]), use_best_weights=use_best_weights)
    if placed is None:
        trained = _real_classifier(real_results, nn_folder, use_best_weights=use_best_weights)
        notes = [] if trained.is_finished else ["The training of the real classifier was not finished."]
        return trained, "the real classifier's results", notes
    try:
        trained = read_classifier(real_results, use_best_weights=use_best_weights)
    except (RunFolderError, NetworkError):
        unknown = {"trained_on": REAL, "initialisation": "initialisation unknown", "random_seed": 0}
        note = f"{placed} comes without its settings: image_dimension and resize are those of config.ini."
        return TrainedClassifier(nn_folder, unknown | settings, placed), "put there by hand", [note]
    used = dataclasses.replace(trained, weights=placed)
    if used.weights_digest() == trained.weights_digest():
        return used, "put there by hand, the same as the real classifier's", []
    note = f"{placed} differs from {trained.weights}; image size and resizing are taken from the latter's training."
    return used, "put there by hand", [note]


def _real_classifier(results: Path, nn_folder: Path, *, use_best_weights: bool) -> TrainedClassifier:
    try:
        return read_classifier(results, use_best_weights=use_best_weights)
    except RunFolderError as error:
        raise NetworkError(
            "The nearest neighbours are those of the real classifier: train it with classifier_real/train.py, or "
            f"put its {BEST_WEIGHTS} into {nn_folder}.",
            received=error.received,
            path=error.path,
        ) from None


def _placed_weights(folder: Path, last_name: str, *, use_best_weights: bool) -> Path | None:
    names = (BEST_WEIGHTS, last_name) if use_best_weights else (last_name, BEST_WEIGHTS)
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _require_same_form(split: ImageSplit, train: ImageSplit) -> None:
    if split.data.records.shape != train.data.records.shape:
        raise DataError(
            f"The training images are of shape {train.data.records.shape}; all others must be, too.",
            received=f"shape {split.data.records.shape}",
            path=split.data.records.path,
        )


def _require_other_patients(train: ImageSplit, held_out: ImageSplit) -> list[str]:
    """Refuse held-out images of patients in the training data; return a note where that cannot be known.

    Raises:
        DataError: They share patients: then the held-out images lie too near, and copies would pass.
    """
    if train.patient_names is None or held_out.patient_names is None:
        return ["Patients are not known, so that those of held-out images may be in the training data, too."]
    shared = sorted(train.patient_names & held_out.patient_names)
    if shared:
        raise DataError(
            f"Held-out images must be of other patients than the training images, or copies would pass unnoticed; "
            f"{', '.join(shared[:3])}{' and others' if len(shared) > 3 else ''} are in both. Split the data by patient "
            "(build_dataset does), or give --set held_out=valid.",
            received=counted(len(shared), "patient") + " in both",
            path=held_out.data.folder,
        )
    return []


def _notes_on_gan(results_dir: Path, train: ImageSplit, resolution: int) -> list[str]:
    """Return a note where the GAN says that it was trained on other images than data_dir/train."""
    path = results_dir / CONFIG_NAME
    settings = read_json(path) if path.is_file() else None
    if not isinstance(settings, dict) or settings.get("resolution") != resolution:
        return []
    digest = settings.get("data.images_sha256")
    if digest is None or digest == train.data.records.digest:
        return []
    return [
        f"The images that the GAN of {results_dir} was trained on are not exactly those of {train.data.folder} now; "
        "copies of images that are not there any more cannot be found."
    ]
