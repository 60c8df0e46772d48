"""A step of each kind of network of classifier_segment, on made-up photographs."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier_segment import building
from classifier_segment.building import build_task, open_classifier
from classifier_segment.data import DataSettings, SegmentData, batches
from classifier_segment.hydra_main import compose
from classifier_segment.inputs import ClassifierInput
from classifier_segment.losses import CEntIoU
from classifier_segment.models.classifier import Classifier
from classifier_segment.models.resnet import ResNet
from classifier_segment.models.segmenters import SegmenterSizes, build_segmenter
from classifier_segment.saliency import SaliencyNetwork
from classifier_segment.tasks import CrossEntropyTask, SaliencyTask, SegmentationTask
from medsynth.data.phantom_lesions import create_phantom_lesions
from tests.tiny_segment import tiny_classifier

SIZE, WEIGHT = 32, 0.7
SCRATCH = ("preset=scratch", f"data.resize={SIZE}")


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tf.Tensor]:
    folder = create_phantom_lesions(tmp_path_factory.mktemp("data") / "phantom", 6, 1, num_workers=1, image_size=64)
    data = SegmentData(folder / "train.json", DataSettings(image_size=SIZE))
    first = next(iter(batches(data, data.examples("image"), batch_size=6)))
    assert first["image"].shape == (6, SIZE, SIZE, 3)
    assert set(first["label"].numpy()) == {0, 1, 2}
    assert first["mask"].numpy().any(axis=(1, 2, 3)).all()
    return first


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever settings ask for."""
    monkeypatch.setitem(building.DESIGNS, "resnet_small", lambda: ResNet(width=4))
    small = SegmenterSizes(width=4, depths=(1, 1, 1, 1), hidden=8)
    monkeypatch.setattr(building, "build_segmenter", lambda name, size, sizes: build_segmenter(name, size, sizes=small))


def made(name: str = "resnet_small") -> tuple[Classifier, ClassifierInput]:
    """A classifier with the same weights and dropout each time."""
    keras.utils.set_random_seed(3)
    classifier = tiny_classifier(name, SIZE)
    return classifier, ClassifierInput(classifier.preprocessing, resizes=False)


def saliency_task(form: str, weight: float, rate: float = 0.1) -> SaliencyTask:
    classifier, prepare = made()
    loss = CEntIoU(form, weight)
    optimizer = keras.optimizers.SGD(rate)
    return SaliencyTask(SaliencyNetwork(classifier), classifier.network, optimizer, prepare, loss, "layer", SIZE)


def plain_task(name: str = "resnet_small", rate: float = 0.1) -> CrossEntropyTask:
    classifier, prepare = made(name)
    return CrossEntropyTask(classifier.network, keras.optimizers.SGD(rate), prepare, SIZE)


def values(variables: list[Any]) -> list[np.ndarray]:
    return [np.array(variable) for variable in variables]


def step(task: Any, batch: dict[str, tf.Tensor]) -> tuple[dict[str, float], list[np.ndarray]]:
    """Do a training step; return its scalars, and how far it moved every weight."""
    before = values(task.network.trainable_variables)
    scalars = {name: float(value) for name, value in task.train_step(batch).items()}
    after = values(task.network.trainable_variables)
    return scalars, [new - old for new, old in zip(after, before, strict=True)]


def farthest(moves: list[np.ndarray]) -> float:
    return max(float(np.abs(move).max()) for move in moves)


# The saliency loss.


def test_the_differentiable_overlap_alone_moves_the_weights_and_the_published_one_does_not(batch) -> None:
    scalars, moves = step(saliency_task("differentiable", 0.0), batch)
    assert farthest(moves) > 1e-5
    assert scalars["overlap_norm"] > 0
    assert scalars["cross_entropy_norm"] == 0
    scalars, moves = step(saliency_task("published", 0.0), batch)
    assert farthest(moves) == 0
    assert (scalars["overlap_norm"], scalars["cross_entropy_norm"]) == (0, 0)
    assert scalars["overlap"] > 0, "there was something to learn from"


def test_the_overlap_grows_where_it_alone_is_trained(batch) -> None:
    task = saliency_task("differentiable", 0.0, rate=1.0)
    found = [step(task, batch)[0]["overlap"] for _ in range(12)]
    assert found[-1] > found[0] + 0.02


def test_a_published_step_is_a_plain_one_of_a_smaller_rate(batch) -> None:
    published, moves = step(saliency_task("published", WEIGHT, rate=1.0), batch)
    plain, expected = step(plain_task(rate=WEIGHT), batch)
    assert published["cross_entropy"] == pytest.approx(plain["loss"], rel=1e-5)
    assert published["accuracy"] == plain["accuracy"]
    assert farthest(expected) > 1e-3
    for move, one in zip(moves, expected, strict=True):
        np.testing.assert_allclose(move, one, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("form", ["published", "differentiable"])
def test_a_saliency_step_says_what_its_loss_is_made_of(form: str, batch) -> None:
    scalars, moves = step(saliency_task(form, WEIGHT), batch)
    assert list(scalars) == [
        "loss", "cross_entropy", "overlap", "cross_entropy_norm", "overlap_norm", "accuracy"
    ]  # fmt: skip
    expected = WEIGHT * scalars["cross_entropy"] - (1 - WEIGHT) * scalars["overlap"]
    assert scalars["loss"] == pytest.approx(expected, abs=1e-6)
    assert 0 < scalars["overlap"] < 1
    assert scalars["cross_entropy_norm"] > 0
    assert (scalars["overlap_norm"] > 0) == (form == "differentiable")
    assert farthest(moves) > 0


def test_validation_changes_nothing_and_has_the_terms_of_the_test_mode(batch) -> None:
    task = saliency_task("differentiable", WEIGHT)
    before = values(task.network.variables)
    found = {name: float(value) for name, value in task.validation_step(batch).items()}
    for variable, value in zip(task.network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    images = task.prepare.images(batch["image"])
    masks = task.prepare.masks(batch["mask"])
    passed = task.saliency(images, batch["label"])
    terms = task.loss(passed.logits, batch["label"], passed.maps((SIZE, SIZE)), masks)
    expected = {name: float(value) for name, value in terms._asdict().items()}
    expected["accuracy"] = np.mean(np.argmax(task.network(images), axis=1) == batch["label"].numpy())
    assert found == pytest.approx(expected, abs=1e-5)


# The others.


def test_validation_of_a_plain_classifier_is_its_cross_entropy(batch) -> None:
    task = plain_task()
    logits = np.asarray(task.network(task.prepare.images(batch["image"])), np.float64)
    labels = batch["label"].numpy()
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = {name: float(value) for name, value in task.validation_step(batch).items()}
    assert found["loss"] == pytest.approx(-np.log(shares[np.arange(6), labels]).mean(), rel=1e-4)
    assert found["accuracy"] == pytest.approx(np.mean(logits.argmax(axis=1) == labels))


def test_a_plain_step_of_a_transformer_with_tables(batch) -> None:
    # The gradient of Swin's table comes as slices.
    scalars, moves = step(plain_task("swin_s"), batch)
    assert np.isfinite(scalars["loss"])
    assert farthest(moves) > 0


def test_segmentation_is_scored_pixel_by_pixel(batch) -> None:
    images = keras.Input((SIZE, SIZE, 3))
    network = keras.Model(images, keras.layers.Conv2D(1, 1)(images))
    task = SegmentationTask(network, keras.optimizers.SGD(1.0), SIZE)
    logits = np.asarray(network(batch["image"]), np.float64)
    masks = batch["mask"].numpy()
    chances = 1 / (1 + np.exp(-logits))
    expected = -(masks * np.log(chances) + (1 - masks) * np.log(1 - chances)).mean()
    marked = logits > 0
    dice = 2 * (marked * masks).sum() / (marked.sum() + masks.sum())
    found = {name: float(value) for name, value in task.validation_step(batch).items()}
    assert found == pytest.approx({"loss": expected, "dice": dice}, rel=1e-4)
    losses = [step(task, batch)[0]["loss"] for _ in range(5)]
    assert losses[0] == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < losses[0]


def test_without_a_lesion_dice_is_0_and_nothing_is_nan(batch) -> None:
    images = keras.Input((SIZE, SIZE, 3))
    network = keras.Model(images, keras.layers.Conv2D(1, 1, bias_initializer=lambda *_, **__: -100.0)(images))
    task = SegmentationTask(network, keras.optimizers.SGD(0.0), SIZE)
    empty = {**batch, "mask": tf.zeros_like(batch["mask"])}
    assert float(task.validation_step(empty)["dice"]) == 0
    for form in ("published", "differentiable"):
        scalars, _ = step(saliency_task(form, WEIGHT), empty)
        assert all(map(np.isfinite, scalars.values())), scalars
        assert scalars["overlap"] == 0


# From settings.


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [
        ([], CrossEntropyTask),
        (["classification_mode=saliency"], SaliencyTask),
        (["task=s"], SegmentationTask),
    ],
)
@pytest.mark.usefixtures("small_networks")
def test_a_step_in_bfloat16_keeps_weights_in_float32(overrides: list[str], kind: type, batch) -> None:
    task = build_task(compose([*SCRATCH, "train.precision=mixed_bfloat16", *overrides]), 3)
    assert isinstance(task, kind)
    layers = [layer for layer in task.network._flatten_layers() if isinstance(layer, keras.layers.Conv2D)]
    assert sum(layer.compute_dtype == "bfloat16" for layer in layers) > 3
    scalars, moves = step(task, batch)
    assert np.isfinite(scalars["loss"])
    assert farthest(moves) > 0
    assert {variable.dtype for variable in task.network.trainable_variables} == {"float32"}
    assert keras.config.dtype_policy().name == "float32", "as it was before"


@pytest.mark.usefixtures("small_networks")
def test_settings_reach_the_task() -> None:
    settings = compose([*SCRATCH, "classification_mode=saliency", "loss.weight=0.4", "loss.norms_at=weights"])
    task = build_task(settings, 3)
    assert (task.loss, task.norms_at) == (CEntIoU("differentiable", 0.4), "weights")
    assert task.optimizer.epsilon == 1e-8
    assert not task.prepare.resizes
    parts = open_classifier(compose([*SCRATCH, "model.resizes=true", "loss.explains=log_probability"]))
    assert parts.prepare.resizes
    assert parts.saliency._explains == "log_probability"
    assert parts.pictures._explains == "logit", "as the published pictures"


@pytest.mark.parametrize(("period", "expected"), [("epochs", 10), ("training", 70)])
@pytest.mark.usefixtures("small_networks")
def test_the_period_of_the_cosine(period: str, expected: int) -> None:
    task = build_task(compose([*SCRATCH, "train.max_epochs=10", f"train.lr_period={period}"]), 7)
    schedule = task.optimizer._learning_rate
    assert (schedule.start, schedule.end, schedule.period) == (1e-3, 1e-5, expected)


@pytest.mark.usefixtures("small_networks")
def test_the_cycle_spans_the_training() -> None:
    def cycle(epochs: int, steps: int) -> Callable:
        return build_task(compose(["task=s", f"data.resize={SIZE}", f"train.max_epochs={epochs}"]), steps).optimizer

    optimizer = cycle(10, 7)
    assert (optimizer._learning_rate.num_steps, optimizer._learning_rate.highest) == (70, 0.01)
    assert optimizer.cycle.num_steps == 70
    assert cycle(1, 1).cycle.num_steps == 4, "a cycle has no fewer"


def test_batches_have_the_form_that_steps_are_made_for(batch) -> None:
    task = plain_task()
    smaller = {name: value[:2] for name, value in batch.items()}
    assert float(task.validation_step(batch)["loss"]) != float(task.validation_step(smaller)["loss"])
    assert task.validation_step.experimental_get_tracing_count() == 1
