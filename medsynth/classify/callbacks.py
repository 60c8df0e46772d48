"""What happens after each epoch: validation, the best weights, patience, and the state to go on from."""

import io
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from medsynth.classify.config import TrainConfig
from medsynth.classify.data import SplitData, evaluation_batches
from medsynth.classify.evaluation.evaluate import aurocs
from medsynth.errors import DivergenceError
from medsynth.files import write_json, write_text
from medsynth.networks.trained_classifier import BEST_WEIGHTS
from medsynth.networks.weights import copy_weights, save_weights
from medsynth.progress import Progress
from medsynth.runs import RunFolder
from medsynth.training.checkpoint import TrainingState

STATISTICS = ".training_stats.json"
HISTORY = "history.json"


@dataclass(frozen=True)
class Patience:
    """Counters of epochs without a new best, as published.

    A new best resets both. `patience_reduce_lr` epochs without one multiply the
    learning rate by `reduce_lr`, down to `min_lr`, and that counter restarts;
    `patience` epochs without one end the training.

    Attributes:
        learning_rate: The one to use next.
        best: Best mean AUROC so far.
        epochs_without_best: Towards the end of training.
        epochs_without_reduction: Towards the next reduction.
    """

    learning_rate: float
    best: float = 0.0
    epochs_without_best: int = 0
    epochs_without_reduction: int = 0

    def after_epoch(self, mean_auroc: float, config: TrainConfig) -> "Patience":
        """Return the counters after an epoch with this mean AUROC."""
        if mean_auroc > self.best:
            return replace(self, best=mean_auroc, epochs_without_best=0, epochs_without_reduction=0)
        counted = replace(
            self,
            epochs_without_best=self.epochs_without_best + 1,
            epochs_without_reduction=self.epochs_without_reduction + 1,
        )
        if counted.epochs_without_reduction < config.patience_reduce_lr:
            return counted
        # A rate that was set below the floor stays where it is.
        reduced = min(self.learning_rate, max(self.learning_rate * config.reduce_lr, config.min_lr))
        return replace(counted, learning_rate=reduced, epochs_without_reduction=0)


def class_weights(total: int, positives: Any, multiply: float) -> Any:
    """Return the loss weights of negatives and positives, float64 [L, 2]: w0 = p / ((T - p) m + p), w1 = 1 - w0.

    Args:
        total: T, training images.
        positives: p, positives of each label, [L].
        multiply: m.
    """
    counts = np.asarray(positives, np.float64)
    negative = counts / ((total - counts) * multiply + counts)
    return np.stack([negative, 1 - negative], axis=1)


class StopWhenDiverged(keras.callbacks.Callback):
    """Ends the training at the first loss that is NaN or infinite; best_weights.h5 stays as it is.

    Args:
        folder: The results folder, for the message.
        every: Steps between looks at the loss (a look waits for the device).
    """

    def __init__(self, folder: Path, every: int = 10) -> None:
        super().__init__()
        self.folder, self.every = folder, every

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the epoch's running mean loss, which stays NaN once a step was."""
        if batch % self.every == 0:
            self._check(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Look at the epoch's mean loss."""
        self._check(logs)

    def _check(self, logs: dict[str, Any] | None) -> None:
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            raise DivergenceError(
                "The loss is no finite number any more; lower initial_learning_rate and start in another folder. "
                f"Where an epoch had ended before, {BEST_WEIGHTS} is kept.",
                received=f"loss {loss}",
                path=self.folder,
            )


class ShowProgress(keras.callbacks.Callback):
    """Moves a progress line on by a batch at a time."""

    def __init__(self, progress: Progress, batch_size: int) -> None:
        super().__init__()
        self.progress, self.batch_size, self.note = progress, batch_size, ""

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Count the images of a step."""
        self.progress.advance(self.batch_size, self.note)


class AfterEpoch(keras.callbacks.Callback):
    """Validates, keeps the best weights, moves the patience counters, and saves the state.

    Files in the run's folder: the weights of the last epoch, best_weights.h5,
    val_aurocs_tr.csv (Epoch from 0, AUROC of every label on the validation
    images with 0 where it is undefined, and their mean), best_auroc.log,
    .training_stats.json (the best epoch's numbers) and history.json.

    Args:
        run: The run's folder.
        config: [TRAIN].
        valid: The validation split.
        state: What a stopped training goes on from.
        steps_per_epoch: To count images.
        patience: The counters to begin with.
        history: Rows of earlier epochs, for history.json.
        progress: Is given the epoch's outcome to show.
    """

    def __init__(
        self,
        run: RunFolder,
        config: TrainConfig,
        valid: SplitData,
        state: TrainingState,
        steps_per_epoch: int,
        patience: Patience,
        history: list[dict[str, Any]],
        progress: ShowProgress,
    ) -> None:
        super().__init__()
        self.run, self.config, self.valid, self.state, self.progress = run, config, valid, state, progress
        self.steps_per_epoch, self.patience, self.history = steps_per_epoch, patience, history

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Run all of it."""
        config = self.config
        batches = evaluation_batches(
            self.valid, config.image_dimension, config.resize, config.batch_size, len(self.valid)
        )
        scores = self.model.predict(batches, verbose=0)[: len(self.valid)]
        truth = self.valid.labels
        by_label = dict(zip(self.valid.names, np.nan_to_num(aurocs(truth, scores), nan=0.0).tolist(), strict=True))
        mean = float(np.mean(list(by_label.values())))
        clipped = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)
        row = {
            "epoch": epoch,
            "loss": float((logs or {})["loss"]),
            "val_loss": float(-np.mean(truth * np.log(clipped) + (1 - truth) * np.log1p(-clipped))),
            "learning_rate": self.patience.learning_rate,
            "val_auroc": by_label,
            "val_mean_auroc": mean,
        }
        self.history.append(row)
        # The first epoch leaves weights to test with, even where no label can be judged.
        is_best = mean > self.patience.best or len(self.history) == 1
        self._write(row, is_best)
        self.patience = self.patience.after_epoch(mean, self.config)
        self.run.log(
            f"epoch {epoch + 1}/{self.config.epochs}: loss {row['loss']:.4f}, validation loss {row['val_loss']:.4f}, "
            f"validation mean AUROC {mean:.4f}{' (best)' if is_best else ''}, "
            f"learning rate {row['learning_rate']:.3g}"
        )
        self.progress.note = f"epoch {epoch + 1} done, best mean AUROC {self.patience.best:.3f}"
        if logs is not None:  # what TensorBoard shows
            logs.update({"val_loss": row["val_loss"], "val_mean_auroc": mean})
        self.model.optimizer.learning_rate.assign(self.patience.learning_rate)
        is_last = self.patience.epochs_without_best >= self.config.patience
        facts = {"epoch": epoch + 1, "stopped": is_last, "patience": asdict(self.patience), "history": self.history}
        self.state.save((epoch + 1) * self.steps_per_epoch * self.config.batch_size, facts)
        self.model.stop_training = is_last

    def _write(self, row: dict[str, Any], is_best: bool) -> None:
        folder = self.run.path
        weights = folder / self.config.output_weights_name
        save_weights(self.model, weights)
        write_json(folder / HISTORY, self.history)
        write_text(folder / "val_aurocs_tr.csv", self._table())
        if is_best:
            copy_weights(weights, folder / BEST_WEIGHTS)
            write_json(folder / STATISTICS, {"best_mean_auroc": row["val_mean_auroc"], **row})
            with (folder / "best_auroc.log").open("a", encoding="utf-8") as file:
                print(f"epoch {row['epoch']}: mean AUROC {row['val_mean_auroc']:.6f}", file=file)
                for name, value in row["val_auroc"].items():
                    print(f"  {name}: {value:.6f}", file=file)

    def _table(self) -> str:
        """Return the history as csv; written whole each time, so a stopped training leaves no half row."""
        import pandas as pd  # noqa: PLC0415

        rows = [
            {"Epoch": row["epoch"], **row["val_auroc"], "Mean_auroc": row["val_mean_auroc"]} for row in self.history
        ]
        text = io.StringIO()
        pd.DataFrame(rows).to_csv(text, index=False, lineterminator="\n")
        return text.getvalue()
