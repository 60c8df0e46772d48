"""Training of the small networks: seeded, stopped by validation, and kept, so that an interrupted command goes on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from GAN_joint.evidence.pairs import Indices, Pairs, derangement
from medsynth.data.order import PassOrder
from medsynth.errors import DivergenceError
from medsynth.files import read_json, write_json
from medsynth.networks.weights import load_weights, save_weights
from medsynth.progress import Progress

Arrays = Mapping[str, npt.NDArray[Any]] | npt.NDArray[Any]
# Of which images, in which epoch: inputs and truth.
MakeBatch = Callable[[Indices, int], tuple[Arrays, Arrays]]

NETWORKS_FOLDER = "networks"
_BATCH_SIZE, _LEAST_STEPS = 32, 20
_LEARNING_RATE = 1e-3
_PATIENCE = 10  # epochs; a matcher may take several until it has found the first sign
_PREDICTED_AT_ONCE = 256
_VALIDATION_STREAM = 2**31  # apart from the epochs' seeds


class EpochBatches(keras.utils.PyDataset):
    """Batches of a training; the n-th image is fixed by (seed, n).

    All batches are of one size. An epoch of a small set goes through it several times, so that an epoch is at least
    20 steps of training.

    Args:
        num_images: To choose from.
        make: Makes a batch.
        seed: Of the order.
    """

    def __init__(self, num_images: int, make: MakeBatch, seed: int) -> None:
        super().__init__()
        self._order, self._make, self._epoch = PassOrder(num_images, seed), make, 0
        self._num_steps = max(_LEAST_STEPS, round(num_images / _BATCH_SIZE))

    def __len__(self) -> int:
        return self._num_steps

    def __getitem__(self, index: int) -> tuple[Arrays, Arrays]:
        images_seen = (self._epoch * self._num_steps + index) * _BATCH_SIZE
        return self._make(self._order.next(images_seen, _BATCH_SIZE), self._epoch)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's images."""
        self._epoch += 1


@dataclass(frozen=True)
class Recipe:
    """A network and what it is trained on.

    Attributes:
        name: Of its files.
        build: Makes the network, after the seed is set.
        loss: Of Keras.
        num_images: Of the train part.
        make: Makes a batch of them.
        validation: Inputs and truth.
        monitor: The loss on them that decides which epoch is best.
    """

    name: str
    build: Callable[[], keras.Model]
    loss: Any
    num_images: int
    make: MakeBatch
    validation: tuple[Arrays, Arrays]
    monitor: str = "val_loss"


class NetworkStore:
    """Trains networks once: those that an earlier run finished are read from disk.

    Args:
        folder: Of the results.
        seed: Of weights, order and dropout.
        epochs: At most.
    """

    def __init__(self, folder: Path, seed: int, epochs: int) -> None:
        self.folder, self.seed, self.epochs = folder / NETWORKS_FOLDER, seed, epochs
        self.facts: dict[str, dict[str, Any]] = {}
        self._networks: dict[str, keras.Model] = {}

    def trained(self, recipe: Recipe) -> keras.Model:
        """Return the trained network, with the weights of its best epoch.

        Raises:
            DivergenceError: The loss is not finite.
        """
        if recipe.name in self._networks:
            return self._networks[recipe.name]
        keras.utils.set_random_seed(self.seed)
        network = recipe.build()
        weights, facts = self.folder / f"{recipe.name}.weights.h5", self.folder / f"{recipe.name}.json"
        if facts.is_file():  # it is written after the weights
            load_weights(network, weights)
        else:
            found = self._fit(network, recipe)
            save_weights(network, weights)
            write_json(facts, found)
        self.facts[recipe.name] = read_json(facts)
        self._networks[recipe.name] = network
        return network

    def notes(self) -> list[str]:
        """Return what a reader must know of the trainings, in sentences."""
        limits = [name for name, facts in self.facts.items() if facts["is_best_at_the_limit"]]
        return [
            f"Network {name} was still getting better in its last epoch; more --epochs may help." for name in limits
        ]

    def _fit(self, network: keras.Model, recipe: Recipe) -> dict[str, Any]:
        progress = Progress(f"training {recipe.name}", self.epochs, "epochs")

        def show(epoch: int, logs: Mapping[str, float]) -> None:
            if not np.isfinite(logs["loss"]):
                raise DivergenceError(
                    "The training diverged; run again with another --seed.",
                    received=f"loss {logs['loss']} of network {recipe.name} in epoch {epoch + 1}",
                )
            progress.update(epoch + 1, f"validation loss {logs[recipe.monitor]:.4f}")

        stopping = keras.callbacks.EarlyStopping(
            recipe.monitor, mode="min", patience=_PATIENCE, restore_best_weights=True
        )
        # XLA is slow on processors, and not everything that it does can be repeated to the bit.
        network.compile(keras.optimizers.Adam(_LEARNING_RATE), recipe.loss, jit_compile=False)
        history = network.fit(
            EpochBatches(recipe.num_images, recipe.make, self.seed),
            validation_data=recipe.validation,
            validation_batch_size=_PREDICTED_AT_ONCE,
            epochs=self.epochs,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=show), stopping],
            verbose=0,
        ).history
        progress.close()
        losses = history[recipe.monitor]
        best = int(np.argmin(losses))
        return {
            "epochs": len(losses),
            "best_epoch": best + 1,
            "validation_loss": losses[best],
            "is_best_at_the_limit": len(losses) == self.epochs and best == self.epochs - 1,
            "num_train": recipe.num_images,
            "num_parameters": network.count_params(),
        }


def repeatable_devices() -> None:
    """Make GPUs compute the same bits each time; processors do so anyway."""
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def predict(network: keras.Model, inputs: Arrays, output: str | None = None) -> npt.NDArray[np.float64]:
    """Return a network's output, float64 [N, ...]; the one of that name where there are several."""
    outputs = network.predict(inputs, batch_size=_PREDICTED_AT_ONCE, verbose=0)
    return np.asarray(outputs if output is None else outputs[output], np.float64)


def with_wrong_rows(pairs: Pairs, num_wrong: int, seed: int) -> dict[str, npt.NDArray[Any]]:
    """Return images with their own row first and rows of others behind it.

    Returns:
        "images" uint8 [N, D, D, 1] and "rows" float32 [N, 1 + num_wrong, K].
    """
    rng, groups = np.random.default_rng((seed, _VALIDATION_STREAM)), pairs.groups
    wrong = [pairs.rows[derangement(groups, rng)] for _ in range(num_wrong)]
    return {"images": pairs.images, "rows": np.stack([pairs.rows, *wrong], axis=1)}


def matching_batches(pairs: Pairs, num_wrong: int, seed: int) -> Callable[[Indices, int], dict[str, npt.NDArray[Any]]]:
    """Return what makes the inputs of a matcher: images with their own row first and some of others behind it.

    The others change every epoch.
    """
    groups = pairs.groups
    moved: dict[int, list[Indices]] = {}

    def make(indices: Indices, epoch: int) -> dict[str, npt.NDArray[Any]]:
        if epoch not in moved:
            moved.clear()
            rng = np.random.default_rng((seed, epoch))
            moved[epoch] = [derangement(groups, rng) for _ in range(num_wrong)]
        rows = [pairs.rows[indices], *(pairs.rows[others[indices]] for others in moved[epoch])]
        return {"images": pairs.images[indices], "rows": np.stack(rows, axis=1)}

    return make


def matched_first(num_images: int, num_wrong: int) -> npt.NDArray[np.float32]:
    """Return the truth of `with_wrong_rows`: 1 for an image's own row, 0 for the others, [N, 1 + num_wrong]."""
    return np.tile(np.array([1] + [0] * num_wrong, np.float32), (num_images, 1))
