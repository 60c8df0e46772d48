"""The training loop of classifiers and segmenters."""

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import keras
import tensorflow as tf

from classifier_segment.data import Augmentation, Examples, SegmentData, batches, training_batches
from classifier_segment.records import HISTORY, StepRecords, Trackers, draw_history
from classifier_segment.runs import BEST_WEIGHTS, LAST_WEIGHTS
from classifier_segment.tasks import Task
from medsynth.errors import DivergenceError
from medsynth.files import write_json
from medsynth.interrupts import StoppedError, StopRequest
from medsynth.networks.weights import save_weights
from medsynth.progress import Progress
from medsynth.runs import RunFolder
from medsynth.training.checkpoint import TrainingState

_STEPS_BETWEEN_LOOKS = 10  # at the losses: a look waits for the device
_SECONDS_BETWEEN_STATES = 300


@dataclass(frozen=True)
class TrainingPlan:
    """How long, and on what.

    Attributes:
        train: Where the training's pictures are.
        train_examples: What is shown.
        val: Where the validation's pictures are.
        val_examples: What is shown.
        batch_size: Of a step.
        max_epochs: At most.
        patience: Epochs without a lower validation loss that end the training.
        seed: Of order and maps.
        augmentation: Of training images.
    """

    train: SegmentData
    train_examples: Examples
    val: SegmentData
    val_examples: Examples
    batch_size: int
    max_epochs: int
    patience: int
    seed: int
    augmentation: Augmentation | None

    @property
    def steps_per_epoch(self) -> int:
        """Batches, the last one with what is left."""
        return math.ceil(len(self.train_examples) / self.batch_size)


@dataclass
class Position:
    """How far a training is: what a stopped one goes on from, beside its variables.

    Attributes:
        epoch: Whole epochs.
        batch: Steps of the epoch that has begun.
        best_loss: Lowest validation loss; infinity before the first.
        best_epoch: Epoch that had it, from 1.
        history: A row for each whole epoch.
    """

    epoch: int = 0
    batch: int = 0
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)

    def is_last(self, plan: TrainingPlan) -> bool:
        """Whether the training is over."""
        return self.epoch >= plan.max_epochs or self.epoch - self.best_epoch >= plan.patience


def train(run: RunFolder, task: Task, plan: TrainingPlan, trackers: Trackers) -> Position:
    """Train until patience or epochs run out; a training that was stopped goes on, with the same weights bit for bit.

    In the folder: best.weights.h5 and last.weights.h5, steps.csv, history.json, losses.png.

    Raises:
        DivergenceError: The loss is NaN or infinite; the weights of the best epoch so far are kept.
        StoppedError: SIGTERM or Ctrl-C; the state is saved.
    """
    # Restore: the same command goes on from the last state.
    state = TrainingState(run.path, _variables(task))
    facts, damaged = state.restore()
    for line in damaged:
        run.log(f"passed over a damaged state: {line}")
    position = Position(**facts["position"]) if facts is not None else Position()
    if facts is not None:
        run.log(f"going on after epoch {position.epoch}, batch {position.batch}")
    records = StepRecords(run.path, num_kept=position.epoch * plan.steps_per_epoch + position.batch)
    loop = _Loop(run, task, plan, trackers, state, records, position)

    with StopRequest() as stop:
        while not position.is_last(plan):
            loop.train_epoch(stop)
            loop.finish_epoch()
    loop.progress.close(f"best validation loss {position.best_loss:.4f}, epoch {position.best_epoch}")
    return position


def remove_states(folder: Path) -> None:
    """Delete what a training goes on from; only when it is tested, too, or a test that failed would train anew."""
    TrainingState(folder, {}).remove()


class _Loop:
    """What the epochs of a training share; see `train`."""

    def __init__(
        self,
        run: RunFolder,
        task: Task,
        plan: TrainingPlan,
        trackers: Trackers,
        state: TrainingState,
        records: StepRecords,
        position: Position,
    ) -> None:
        self.run, self.task, self.plan, self.trackers = run, task, plan, trackers
        self.state, self.records, self.position = state, records, position
        per_epoch = len(plan.train_examples)
        done = position.epoch * per_epoch + position.batch * plan.batch_size
        self.progress = Progress("train", plan.max_epochs * per_epoch, "images", done=done)
        self.note = ""
        self._last_save = time.monotonic()

    def train_epoch(self, stop: StopRequest) -> None:
        """Show every example once, or what is left of them."""
        plan, position = self.plan, self.position
        pending: list[tuple[float, dict[str, tf.Tensor]]] = []
        for batch in training_batches(
            plan.train,
            plan.train_examples,
            batch_size=plan.batch_size,
            seed=plan.seed,
            epoch=position.epoch,
            augmentation=plan.augmentation,
            first_batch=position.batch,
        ):
            rate = float(keras.ops.convert_to_numpy(self.task.optimizer.learning_rate))
            num_images = int(batch["label"].shape[0])
            pending.append((rate, self.task.train_step(batch) | {"images": num_images}))
            position.batch += 1
            self.progress.advance(num_images, self.note)
            is_end = position.batch == plan.steps_per_epoch
            if len(pending) == _STEPS_BETWEEN_LOOKS or is_end or stop.is_made:
                self._record(pending)
                pending = []
            if stop.is_made and not is_end:
                self._save()
                raise StoppedError(stop.signal_number or 0, f"epoch {position.epoch + 1}, batch {position.batch}")
            if time.monotonic() - self._last_save > _SECONDS_BETWEEN_STATES and not pending:
                self._save()

    def _record(self, pending: list[tuple[float, dict[str, tf.Tensor]]]) -> None:
        for rate, scalars in pending:
            row = {name: float(value) for name, value in scalars.items()} | {"learning_rate": rate}
            if not math.isfinite(row["loss"]):
                raise DivergenceError(
                    "The loss is no finite number any more; lower train.lr. The weights of the best epoch so far are "
                    "kept, if an epoch had ended.",
                    received=f"loss {row['loss']} in epoch {self.position.epoch + 1}",
                    path=self.run.path,
                )
            self.records.add(row)
            self.trackers.log(self.records.num_steps, {f"step/{name}": value for name, value in row.items()})

    def finish_epoch(self) -> None:
        """Validate, keep the best weights, write what the epoch gave, and save the state to go on from."""
        plan, position = self.plan, self.position
        validation = validate(self.task, plan.val, plan.val_examples, plan.batch_size)
        row = {"epoch": position.epoch + 1.0, **self.records.epoch_means(plan.steps_per_epoch)}
        row |= {f"val_{name}": value for name, value in validation.items()}
        if not math.isfinite(row["val_loss"]):
            raise DivergenceError(
                "The validation loss is no finite number any more; lower train.lr.",
                received=f"loss {row['val_loss']} in epoch {position.epoch + 1}",
                path=self.run.path,
            )
        position.history.append(row)
        position.epoch, position.batch = position.epoch + 1, 0
        save_weights(self.task.network, self.run.path / LAST_WEIGHTS)
        is_best = row["val_loss"] < position.best_loss
        if is_best:
            position.best_loss, position.best_epoch = row["val_loss"], position.epoch
            save_weights(self.task.network, self.run.path / BEST_WEIGHTS)
        write_json(self.run.path / HISTORY, position.history)
        draw_history(self.run.path, position.history)
        self.trackers.log(self.records.num_steps, {f"epoch/{name}": value for name, value in row.items()})
        shown = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("epoch", "images"))
        self.run.log(f"epoch {position.epoch}/{plan.max_epochs}: {shown}{' (best)' if is_best else ''}")
        self.note = f"epoch {position.epoch} done, best validation loss {position.best_loss:.4f}"
        self._save()

    def _save(self) -> None:
        self.records.write()  # before the state: rows that a state does not know of are dropped
        per_epoch = len(self.plan.train_examples)
        images_seen = self.position.epoch * per_epoch + self.position.batch * self.plan.batch_size
        self.state.save(images_seen, {"position": asdict(self.position)})
        self._last_save = time.monotonic()


def validate(task: Task, data: SegmentData, examples: Examples, batch_size: int) -> dict[str, float]:
    """Return the means over examples of a validation step's scalars."""
    totals: dict[str, float] = {}
    for batch in batches(data, examples, batch_size=batch_size):
        num_images = int(batch["label"].shape[0])
        for name, value in task.validation_step(batch).items():
            totals[name] = totals.get(name, 0.0) + num_images * float(value)
    return {name: total / len(examples) for name, total in totals.items()}


def _variables(task: Task) -> dict[str, keras.Variable]:
    """Return all that a step changes; numbered, since layers of nested networks share names."""
    network = {f"network/{number}": variable for number, variable in enumerate(task.network.variables)}
    return network | {f"optimizer/{number}": variable for number, variable in enumerate(task.optimizer.variables)}
