"""The training loop of classifier_segment: what it writes, when it ends, and how it goes on."""

import csv
import itertools
import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier_segment import building, trainer
from classifier_segment.building import augmentation_of, build_task, data_settings
from classifier_segment.data import Examples, SegmentData
from classifier_segment.hydra_main import compose
from classifier_segment.models.resnet import ResNet
from classifier_segment.models.segmenters import SegmenterSizes, build_segmenter
from classifier_segment.records import HISTORY, STEPS, StepRecords, Trackers
from classifier_segment.runs import BEST_WEIGHTS, LAST_WEIGHTS
from classifier_segment.settings import Settings
from classifier_segment.trainer import Position, TrainingPlan, remove_states, train
from medsynth.data.phantom_lesions import create_phantom_lesions
from medsynth.errors import DivergenceError
from medsynth.interrupts import StoppedError
from medsynth.runs import RunFolder
from tests.golden_files import golden_files
from tests.tiny_segment import weights_in

SIZE = 32
NUM_EXAMPLES, BATCH = 10, 4  # three steps an epoch, the last one of two images
SALIENCY = ["preset=scratch", f"data.resize={SIZE}", "experiment=saliency_differentiable", "train.max_epochs=3"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> SegmentData:
    folder = create_phantom_lesions(tmp_path_factory.mktemp("data") / "phantom", 9, 1, num_workers=1, image_size=64)
    found = SegmentData(folder / "train.json", data_settings(compose(SALIENCY)))
    assert len(found.records) >= NUM_EXAMPLES
    return found


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(building.DESIGNS, "resnet_small", lambda: ResNet(width=4))
    small = SegmenterSizes(width=4, depths=(1, 1, 1, 1), hidden=8)
    monkeypatch.setattr(building, "build_segmenter", lambda name, size, sizes: build_segmenter(name, size, sizes=small))


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than the epochs here."""
    monkeypatch.setattr(trainer, "draw_history", lambda *_: None)


def plan_of(data: SegmentData, num_examples: int = NUM_EXAMPLES, **changes: Any) -> TrainingPlan:
    every = data.examples("image")
    chosen = np.resize(np.arange(len(every)), num_examples)
    examples = Examples(every.image[chosen], every.label[chosen])
    plan = TrainingPlan(
        train=data,
        train_examples=examples,
        val=data,
        val_examples=Examples(every.image[:5], every.label[:5]),
        batch_size=BATCH,
        max_epochs=3,
        patience=20,
        seed=4,
        augmentation=augmentation_of(Settings()),
    )
    return replace(plan, **changes)


class Counter:
    """A task whose weight is the number of its steps, and whose losses are given.

    Args:
        losses: Of validation, epoch by epoch.
        step_loss: Of a step, by its number from 1.
    """

    def __init__(self, losses: Sequence[float], step_loss: Callable[[int], float] = lambda _: 1.0) -> None:
        images = keras.Input((1,))
        self.network = keras.Model(images, keras.layers.Dense(1, kernel_initializer="zeros")(images))
        self.optimizer = keras.optimizers.SGD(0.5)
        self.losses, self.step_loss, self.num_validated = losses, step_loss, 0

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        kernel = self.network.trainable_variables[0]
        kernel.assign_add([[1.0]])
        return {
            "loss": tf.constant(self.step_loss(int(kernel[0, 0]))),
            "accuracy": tf.constant(0.5),
        }

    def validation_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        # Five images in batches of four: the mean over images is the loss that was given.
        first = batch["label"].shape[0] == BATCH
        loss = self.losses[self.num_validated]
        self.num_validated += not first
        return {"loss": tf.constant(loss + (0.25 if first else -1.0))}


def run_training(folder: Path, task: Any, plan: TrainingPlan) -> Position:
    trackers = Trackers(folder, "test", {}, tensorboard=False, wandb=False)
    with RunFolder(folder, {"seed": plan.seed}) as run:
        return train(run, task, plan, trackers)


def num_steps_of(path: Path) -> float:
    """What a `Counter` had counted when its weights were written."""
    (value,) = (value for value in weights_in(path).values() if value.shape == (1, 1))
    return float(value[0, 0])


def rows(folder: Path) -> list[dict[str, float]]:
    with (folder / STEPS).open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


# Epochs.


@pytest.mark.parametrize(
    ("losses", "patience", "num_epochs", "best"),
    [
        ([3.0, 1.0, 2.0, 1.0, 0.5, 9.0], 2, 4, 2),
        ([3.0, 1.0, 2.0, 1.0, 0.5, 9.0], 3, 6, 5),
        ([5.0, 4.0, 3.0, 2.0, 1.0, 0.0], 1, 6, 6),
        ([-1.0, -0.5, -0.5, -0.5, -0.5, -0.5], 1, 2, 1),
    ],
)
@pytest.mark.usefixtures("without_pictures")
def test_patience_and_the_best_weights(
    data: SegmentData, tmp_path: Path, losses: list[float], patience: int, num_epochs: int, best: int
) -> None:
    task = Counter(losses)
    position = run_training(tmp_path, task, plan_of(data, max_epochs=6, patience=patience))
    assert (position.epoch, position.best_epoch) == (num_epochs, best)
    assert position.best_loss == pytest.approx(losses[best - 1])
    assert num_steps_of(tmp_path / BEST_WEIGHTS) == 3 * best
    assert num_steps_of(tmp_path / LAST_WEIGHTS) == 3 * num_epochs
    history = json.loads((tmp_path / HISTORY).read_text())
    assert [row["epoch"] for row in history] == list(range(1, num_epochs + 1))
    assert [row["val_loss"] for row in history] == pytest.approx(losses[:num_epochs])
    assert len(rows(tmp_path)) == 3 * num_epochs


def test_means_of_an_epoch_are_over_its_images(data: SegmentData, tmp_path: Path) -> None:
    run_training(tmp_path, Counter([1.0, 1.0], step_loss=float), plan_of(data, max_epochs=2))
    found = rows(tmp_path)
    assert [row["images"] for row in found] == [4, 4, 2, 4, 4, 2]
    assert [row["step"] for row in found] == [1, 2, 3, 4, 5, 6]
    history = json.loads((tmp_path / HISTORY).read_text())
    assert [row["loss"] for row in history] == pytest.approx([(4 * 1 + 4 * 2 + 2 * 3) / 10, (16 + 20 + 12) / 10])
    assert history[0]["learning_rate"] == 0.5
    assert (tmp_path / "losses.png").stat().st_size > 1000


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.usefixtures("without_pictures")
def test_a_diverging_loss_ends_the_training_and_the_best_weights_stay(
    data: SegmentData, tmp_path: Path, bad: float
) -> None:
    task = Counter([2.0, 1.0, 1.0], step_loss=lambda number: bad if number > 7 else 1.0)
    with pytest.raises(DivergenceError, match=r"lower train.lr.* Received: loss (nan|inf) in epoch 3") as caught:
        run_training(tmp_path, task, plan_of(data))
    assert str(caught.value).startswith(f"{tmp_path}: ")
    assert num_steps_of(tmp_path / BEST_WEIGHTS) == 6


@pytest.mark.usefixtures("without_pictures")
def test_a_diverging_validation_loss_is_said(data: SegmentData, tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match="The validation loss is no finite number"):
        run_training(tmp_path, Counter([2.0, float("nan")]), plan_of(data))
    assert num_steps_of(tmp_path / BEST_WEIGHTS) == 3
    assert len(json.loads((tmp_path / HISTORY).read_text())) == 1


def test_every_step_of_a_saliency_training_has_both_terms_and_both_norms(data: SegmentData, undisturbed: Path) -> None:
    found = rows(undisturbed)
    assert list(found[0]) == [
        "step", "loss", "cross_entropy", "overlap", "cross_entropy_norm", "overlap_norm", "accuracy", "images",
        "learning_rate",
    ]  # fmt: skip
    assert len(found) == 9
    for row in found:
        assert row["loss"] == pytest.approx(0.7 * row["cross_entropy"] - 0.3 * row["overlap"], abs=1e-5)
        assert row["cross_entropy_norm"] > 0
        assert row["overlap_norm"] > 0


# Learning rates.


class Silent:
    """A task's optimiser, counting; its network is left alone."""

    def __init__(self, task: Any) -> None:
        self.network, self.optimizer = task.network, task.optimizer

    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        self.optimizer.iterations.assign_add(1)
        return {"loss": tf.constant(1.0)}

    def validation_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"loss": tf.constant(1.0)}


def recorded(path: Path, pattern: str) -> tuple[list[float], np.ndarray]:
    with np.load(path) as file:
        (found,) = ((match, file[name]) for name in file.files if (match := re.fullmatch(pattern, name)))
    return [float(text) for text in found[0].groups()], found[1]


@pytest.mark.parametrize("path", golden_files("classifier_segment*.npz"), ids=lambda path: path.stem)
@pytest.mark.usefixtures("without_pictures")
def test_the_rates_of_a_classifiers_steps_are_the_recorded_ones(data: SegmentData, tmp_path: Path, path: Path) -> None:
    (period, start, end), expected = recorded(path, r"lr/cosine_tmax(\d+)_lr([\d.e-]+)_etamin([\d.e-]+)_per_step")
    overrides = [f"train.max_epochs={period:.0f}", f"train.lr_last={end}", "model.weights=resnet_small"]
    settings = compose([*overrides, f"data.resize={SIZE}"])
    assert settings.learning_rate == start, "the published rate is the default"
    assert settings.train.lr_last == end
    # As many steps as recorded, in one epoch.
    plan = plan_of(data, len(expected), batch_size=1, max_epochs=1, augmentation=None)
    run_training(tmp_path, Silent(build_task(settings, plan.steps_per_epoch)), plan)
    np.testing.assert_allclose([row["learning_rate"] for row in rows(tmp_path)], expected, rtol=1e-5)


@pytest.mark.parametrize("path", golden_files("classifier_segment*.npz"), ids=lambda path: path.stem)
@pytest.mark.usefixtures("without_pictures")
def test_the_rates_of_a_segmenters_steps_are_the_recorded_ones(data: SegmentData, tmp_path: Path, path: Path) -> None:
    (highest, epochs, steps), expected = recorded(path, r"lr/one_cycle_max([\d.e-]+)_epochs(\d+)_steps(\d+)")
    settings = compose(["task=s", f"train.max_epochs={epochs:.0f}", f"data.resize={SIZE}"])
    assert settings.learning_rate == highest, "the published rate is the default"
    plan = plan_of(data, int(steps), batch_size=1, max_epochs=int(epochs))
    assert plan.steps_per_epoch == steps
    run_training(tmp_path, Silent(build_task(settings, plan.steps_per_epoch)), plan)
    np.testing.assert_allclose(
        [row["learning_rate"] for row in rows(tmp_path)], expected, rtol=1e-5, atol=1e-7 * highest
    )


# Going on.


@pytest.fixture(scope="module")
def built() -> tuple[Any, list[np.ndarray]]:
    """A task as a training builds it, compiled once, and the variables that it begins with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(building.DESIGNS, "resnet_small", lambda: ResNet(width=4))
        keras.utils.set_random_seed(4)
        task = build_task(compose(SALIENCY), 3)
    return task, [np.array(variable) for variable in trainer._variables(task).values()]


class Fresh:
    """The task as a new process has it.

    Args:
        built: See there.
        at: What is called before a step, or a validation, with its number from 1.
        before: train_step or validation_step.
    """

    def __init__(
        self, built: tuple[Any, list[np.ndarray]], at: Callable[[int], None] | None = None, before: str = "train_step"
    ) -> None:
        task, first = built
        self.network, self.optimizer = task.network, task.optimizer
        self.train_step, self.validation_step = task.train_step, task.validation_step
        for variable, value in zip(trainer._variables(task).values(), first, strict=True):
            variable.assign(value)
        if at is not None:
            original, numbers = getattr(task, before), itertools.count(1)

            def step(batch: dict[str, tf.Tensor]) -> Any:
                at(next(numbers))
                return original(batch)

            setattr(self, before, step)


def dying_at(number: int) -> Callable[[int], None]:
    def at(current: int) -> None:
        if current == number:
            raise KeyboardInterrupt

    return at


@pytest.fixture(scope="module")
def undisturbed(data: SegmentData, built: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "draw_history", lambda *_: None)
        run_training(folder, Fresh(built), plan_of(data))
    return folder


def require_same_end(folder: Path, undisturbed: Path) -> None:
    for name in (BEST_WEIGHTS, LAST_WEIGHTS):
        expected, found = weights_in(undisturbed / name), weights_in(folder / name)
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=f"{name}: {key}")
    for name in (STEPS, HISTORY):
        assert (folder / name).read_text() == (undisturbed / name).read_text()


class Asked:
    """Stands for a request to stop that comes with a step."""

    at, num_steps, signal_number = 0, 0, 15

    def __enter__(self) -> "Asked":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @classmethod
    def count(cls, _: int) -> None:
        cls.num_steps += 1

    @property
    def is_made(self) -> bool:
        return 0 < self.at <= self.num_steps


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("stops", [(1,), (2, 5)])
def test_a_training_that_is_asked_to_stop_goes_on_bit_for_bit(
    data: SegmentData,
    built: Any,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stops: tuple[int, ...],
) -> None:
    monkeypatch.setattr(trainer, "StopRequest", Asked)
    monkeypatch.setattr(Asked, "num_steps", 0)
    for stop in stops:
        monkeypatch.setattr(Asked, "at", stop)
        with pytest.raises(StoppedError, match=f"the state at epoch {1 + stop // 3}, batch {stop % 3} is saved"):
            run_training(tmp_path, Fresh(built, Asked.count), plan_of(data))
        assert len(rows(tmp_path)) == stop
    monkeypatch.setattr(Asked, "at", 0)
    run_training(tmp_path, Fresh(built, Asked.count), plan_of(data))
    require_same_end(tmp_path, undisturbed)
    assert Asked.num_steps == 9, "no step is done twice"


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("before", "number", "between_states", "kept"),
    [
        ("train_step", 5, 300, 3),
        ("train_step", 5, 0, 3),
        ("train_step", 2, 300, 0),
        ("validation_step", 1, 0, 3),
        ("validation_step", 1, 300, 0),
    ],
)
def test_a_training_that_dies_goes_on_from_its_last_state(
    data: SegmentData,
    built: Any,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    number: int,
    between_states: int,
    kept: int,
) -> None:
    # With a state at every look at the losses, there is one after the last step of an epoch, too.
    monkeypatch.setattr(trainer, "_SECONDS_BETWEEN_STATES", between_states)
    with pytest.raises(KeyboardInterrupt):
        run_training(tmp_path, Fresh(built, dying_at(number), before), plan_of(data))
    assert bool(list(tmp_path.glob("training-state-*"))) == bool(kept)
    assert len(rows(tmp_path) if kept else []) == kept
    assert run_training(tmp_path, Fresh(built), plan_of(data)).epoch == 3
    require_same_end(tmp_path, undisturbed)


@pytest.mark.usefixtures("without_pictures")
def test_a_training_that_has_ended_keeps_its_state_until_it_is_told(
    data: SegmentData, built: Any, tmp_path: Path, undisturbed: Path
) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    assert run_training(tmp_path, Fresh(built, dying_at(1)), plan_of(data)).epoch == 3
    require_same_end(tmp_path, undisturbed)
    remove_states(tmp_path)
    assert not list(tmp_path.glob("training-state-*"))


def test_rows_of_steps_that_were_lost_are_dropped(tmp_path: Path) -> None:
    records = StepRecords(tmp_path, 0)
    for number in range(5):
        records.add({"loss": 0.1 * number, "images": 4.0, "learning_rate": 1e-3 / 7})
    records.write()
    again = StepRecords(tmp_path, 3)
    assert again.rows == records.rows[:3]
    assert StepRecords(tmp_path, 0).rows == []
