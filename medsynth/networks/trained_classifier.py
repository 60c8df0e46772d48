"""A classifier that train.py of classifier_real or classifier_fake left on disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsynth.errors import DataError, NetworkError, RunFolderError
from medsynth.files import read_json, sha256_of
from medsynth.runs import CONFIG_NAME, DONE_NAME

TRAIN_FOLDER = "train"
BEST_WEIGHTS = "best_weights.h5"
DEFAULT_RESIZE = "tf1_corner"  # of trainings from before there was a choice, too
_NEEDED = {
    "trained_on": str,
    "initialisation": str,
    "random_seed": int,
    "resolution": int,
    "data.labels": list,
    "train.image_dimension": int,
    "train.precision": str,
    "train.output_weights_name": str,
}


@dataclass(frozen=True)
class TrainedClassifier:
    """The description of a trained classifier; the network is built when asked for.

    Attributes:
        folder: Of its training.
        settings: What config.json there says.
        weights: The file with the weights to use.
    """

    folder: Path
    settings: dict[str, Any]
    weights: Path

    @property
    def label_names(self) -> tuple[str, ...]:
        """The L labels."""
        return tuple(self.settings["data.labels"])

    @property
    def image_dimension(self) -> int:
        """D, pixels a side that the network sees."""
        return int(self.settings["train.image_dimension"])

    @property
    def resolution(self) -> int:
        """Pixels a side of the records that it was trained on."""
        return int(self.settings["resolution"])

    @property
    def resize(self) -> str:
        """How records become D x D, as `medsynth.networks.imagenet_input.preprocess` takes it."""
        return str(self.settings.get("train.resize", DEFAULT_RESIZE))

    @property
    def description(self) -> str:
        """What outputs call it."""
        resize = "" if self.resize == DEFAULT_RESIZE else f" by {self.resize}"
        return (
            f"DenseNet-121 trained on {self.settings['trained_on']} images, {self.settings['initialisation']}, "
            f"input {self.image_dimension}x{self.image_dimension}{resize}"
        )

    @property
    def is_finished(self) -> bool:
        """Whether the training came to its end."""
        return (self.folder / DONE_NAME).is_file()

    def weights_digest(self) -> str:
        """Return the SHA-256 of the weights' file, hexadecimal."""
        return sha256_of(self.weights)

    def build(self, precision: str | None = None) -> Any:
        """Return the keras.Model with its weights: normalised images [N, D, D, 3] -> probabilities [N, L].

        Args:
            precision: float32 or mixed_bfloat16; the training's own where not given.

        Raises:
            NetworkError: The weights are missing, damaged or of another network.
        """
        from medsynth.networks.densenet import build_densenet121  # noqa: PLC0415  (loads TensorFlow)
        from medsynth.networks.weights import load_weights  # noqa: PLC0415

        network = build_densenet121(
            self.image_dimension, len(self.label_names), precision=precision or self.settings["train.precision"]
        )
        load_weights(network, self.weights)
        return network

    def require_labels(self, names: tuple[str, ...], path: Path) -> None:
        """Refuse data with other labels than the network's.

        Args:
            names: Of the data.
            path: Where they were found.

        Raises:
            DataError: They differ, or stand in another order.
        """
        if names != self.label_names:
            raise DataError(
                f"The classifier was trained on the labels {', '.join(self.label_names)}; the data must have the same, "
                "in this order.",
                received=", ".join(names),
                path=path,
            )


def read_classifier(results: Path, *, use_best_weights: bool = True) -> TrainedClassifier:
    """Read what a training left in `results`/train; loads no TensorFlow.

    Args:
        results: data_dir/classification_results_res_<resolution>, or results_dir/classification_results.
        use_best_weights: best_weights.h5 rather than the weights of the last epoch.

    Raises:
        RunFolderError: No classifier was trained here.
        NetworkError: It left no weights, or settings of another form.
    """
    folder = results / TRAIN_FOLDER
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise RunFolderError(
            "There is no trained classifier here; run train.py of this classifier first.",
            received=f"no {CONFIG_NAME}",
            path=folder,
        )
    settings = read_json(path)
    known = settings if isinstance(settings, dict) else {}
    wrong = [key for key, kind in _NEEDED.items() if not isinstance(known.get(key), kind)]
    if wrong:
        raise NetworkError(
            f"The settings of a classifier's training were expected here, with {', '.join(wrong)}.",
            received=", ".join(known) or "none of these",
            path=path,
        )
    weights = folder / (BEST_WEIGHTS if use_best_weights else settings["train.output_weights_name"])
    if not weights.is_file():
        raise NetworkError(
            "The classifier's weights were expected here; its training may have been stopped before its first epoch "
            "ended.",
            received="no such file",
            path=weights,
        )
    return TrainedClassifier(folder, settings, weights)
