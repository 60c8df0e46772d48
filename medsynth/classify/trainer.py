"""Training and scoring of a classifier."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from medsynth.classify.callbacks import (
    HISTORY,
    AfterEpoch,
    Patience,
    ShowProgress,
    StopWhenDiverged,
    class_weights,
)
from medsynth.classify.config import TrainConfig
from medsynth.classify.data import SplitData, evaluation_batches, training_batches
from medsynth.data.pyramid import ImagePyramid
from medsynth.files import read_json
from medsynth.networks.densenet import build_densenet121
from medsynth.networks.trained_classifier import BEST_WEIGHTS, TrainedClassifier
from medsynth.networks.weights import load_weights
from medsynth.progress import Progress
from medsynth.runs import RunFolder
from medsynth.training.checkpoint import TrainingState, named_variables
from medsynth.training.distribution import mirrored


def build_classifier(
    config: TrainConfig,
    num_labels: int,
    seed: int,
    backbone_weights: Path | None,
    strategy: tf.distribute.Strategy | None = None,
) -> keras.Model:
    """Return the network with weights from the file, and the rest (or all) drawn from the seed.

    Args:
        config: [TRAIN].
        num_labels: L.
        seed: Of the weights.
        backbone_weights: File with ImageNet weights, or None.
        strategy: Of the devices that share the training; that of num_gpus where not given.

    Raises:
        UsageError: Fewer GPUs than num_gpus.
        NetworkError: The file is damaged or of another network.
    """
    strategy = strategy or mirrored(config.num_gpus)
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        return build_densenet121(
            config.image_dimension,
            num_labels,
            precision=config.precision,
            batch_norm_momentum=config.batch_norm_momentum,
            backbone_weights=backbone_weights,
        )


def weighted_binary_cross_entropy(weights: npt.NDArray[np.float64]) -> Any:
    """Return a Keras loss: binary cross-entropy with weights [L, 2] for negatives and positives, mean over [N, L]."""
    negative, positive = (keras.ops.convert_to_tensor(column, "float32") for column in weights.T)

    def loss(truth: Any, scores: Any) -> Any:
        clipped = keras.ops.clip(scores, 1e-7, 1 - 1e-7)
        terms = positive * truth * keras.ops.log(clipped) + negative * (1 - truth) * keras.ops.log1p(-clipped)
        return -keras.ops.mean(terms, axis=-1)

    return loss


@dataclass
class ClassifierTrainer:
    """One training in one folder.

    Attributes:
        run: The results folder, entered.
        network: As `build_classifier` returns it.
        config: [TRAIN].
        train_data: The training split.
        valid_data: The validation split.
        earlier: best mean AUROC and history of a training that this one continues.
    """

    run: RunFolder
    network: keras.Model
    config: TrainConfig
    train_data: ImagePyramid
    valid_data: SplitData
    earlier: tuple[float, list[dict[str, Any]]] = (0.0, [])

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch: int(min(images, samples_per_epoch) / batch)."""
        return min(self.train_data.num_images, self.config.samples_per_epoch) // self.config.batch_size

    def start_from_trained_weights(self) -> None:
        """Begin with the weights, the best value and the history that an earlier training left in the folder.

        Raises:
            NetworkError: It left no weights, or those of another network.
            DataError: It left no readable history.
        """
        name = BEST_WEIGHTS if self.config.use_best_weights else self.config.output_weights_name
        load_weights(self.network, self.run.path / name)
        history = read_json(self.run.path / HISTORY)
        self.earlier = (max(row["val_mean_auroc"] for row in history), history)
        self.run.log(f"starting from {name} of the training in this folder")

    def train(self) -> dict[str, Any]:
        """Train until patience or epochs run out and return the last epoch's row of history.json.

        A training that was stopped goes on from its last whole epoch, bit for bit.

        Raises:
            DivergenceError: The loss became NaN or infinite; best_weights.h5 is kept.
        """
        config = self.config
        with self.network.distribute_strategy.scope():
            optimizer = keras.optimizers.Adam(config.initial_learning_rate)
            # XLA is off: on CPUs it made these networks tens of times slower.
            self.network.compile(optimizer=optimizer, loss=self._loss(), jit_compile=False)
            optimizer.build(self.network.trainable_variables)

        # Restore: the same command goes on from the last whole epoch.
        state = TrainingState(self.run.path, self._variables(optimizer))
        facts, damaged = state.restore()
        for line in damaged:
            self.run.log(f"passed over a damaged state: {line}")
        best, history = self.earlier
        patience, first_epoch = Patience(config.initial_learning_rate, best), 0
        if facts is not None:
            patience, first_epoch, history = Patience(**facts["patience"]), facts["epoch"], facts["history"]
            self.run.log(f"going on after epoch {first_epoch}")
        if (facts is None or not facts["stopped"]) and first_epoch < config.epochs:
            self._fit(state, patience, first_epoch, history)

        state.remove()
        return history[-1]

    def _fit(self, state: TrainingState, patience: Patience, first_epoch: int, history: list[dict[str, Any]]) -> None:
        config, steps = self.config, self.steps_per_epoch
        images_per_epoch = steps * config.batch_size
        progress = Progress(
            "train classifier", config.epochs * images_per_epoch, "images", done=first_epoch * images_per_epoch
        )
        show = ShowProgress(progress, config.batch_size)
        after_epoch = AfterEpoch(self.run, config, self.valid_data, state, steps, patience, history, show)
        self.network.fit(
            training_batches(self.train_data, config, first_epoch * steps, config.epochs * steps),
            initial_epoch=first_epoch,
            epochs=config.epochs,
            steps_per_epoch=steps,
            shuffle=False,  # the batches come in their order already
            verbose=0,
            callbacks=[
                StopWhenDiverged(self.run.path),
                show,
                after_epoch,
                keras.callbacks.TensorBoard(self.run.path / "logs", write_graph=False),
            ],
        )
        progress.close(f"best validation mean AUROC {after_epoch.patience.best:.4f}")

    def _loss(self) -> Any:
        if self.config.class_weighting == "none":
            return "binary_crossentropy"
        labels = self.train_data.labels
        weights = class_weights(len(labels), labels.sum(axis=0), self.config.positive_weights_multiply)
        return weighted_binary_cross_entropy(weights)

    def _variables(self, optimizer: Any) -> dict[str, keras.Variable]:
        moments = {f"optimizer/{number}": variable for number, variable in enumerate(optimizer.variables)}
        return {**named_variables(self.network), **moments}


def score(
    trained: TrainedClassifier, network: keras.Model, data: SplitData, batch_size: int
) -> npt.NDArray[np.float32]:
    """Return the scores of all images of a split in record order, [N, L] in [0, 1].

    Args:
        trained: Says how images are prepared.
        network: The classifier, with its weights.
        data: The split.
        batch_size: Images per step.
    """
    network.jit_compile = False  # the default for a network that was not compiled for training is XLA
    progress = Progress(f"score {data.folder.name}", len(data), "images")
    show = keras.callbacks.LambdaCallback(
        on_predict_batch_end=lambda batch, logs: progress.update(min((batch + 1) * batch_size, len(data)))
    )
    batches = evaluation_batches(data, trained.image_dimension, trained.resize, batch_size, len(data))
    scores: npt.NDArray[np.float32] = network.predict(batches, verbose=0, callbacks=[show])[: len(data)]
    progress.close()
    return scores
