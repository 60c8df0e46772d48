"""The DCGAN's step: two discriminator passes, one update, then the generator through it on the same fakes."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from GAN_dcgan.config import DcganConfig, DcganOptimiser, presets
from GAN_dcgan.loss import DcganLoss
from GAN_dcgan.networks import Discriminator, Generator
from medsynth.gan.augment import AugmentConfig
from medsynth.gan.schedule import check_schedule
from medsynth.gan.steps import AdversarialStep, Networks, OptimiserConfig
from medsynth.networks.batch_norm import GlobalBatchNormalization
from medsynth.training.optimizers import SkippingAdam

SIZE, NUM, RATE = 16, 6, 1e-3


def networks(dtype: str = "float32") -> tuple[Generator, Discriminator]:
    keras.utils.set_random_seed(2)
    sizes: dict[str, Any] = {"resolution": SIZE, "features": 2, "dtype": dtype}
    built = Generator(**sizes, latent_size=5, name="generator"), Discriminator(**sizes, name="discriminator")
    for network in built:
        network.build()
    return built


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (NUM, SIZE, SIZE, 1), dtype=np.uint8)


class Counted(DcganLoss):
    """Counts what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def fakes(self, generator: Any, latents: tf.Tensor) -> tf.Tensor:
        self.calls.append("fakes")
        return super().fakes(generator, latents)

    def of_discriminator(self, discriminator: Any, reals: tf.Tensor, fakes: tf.Tensor) -> Any:
        self.calls.append("discriminator")
        return super().of_discriminator(discriminator, reals, fakes)

    def of_generator(self, discriminator: Any, fakes: tf.Tensor) -> Any:
        self.calls.append("generator")
        return super().of_generator(discriminator, fakes)


def make_step(loss: Any = None, **options: Any) -> AdversarialStep:
    generator, discriminator = networks(options.pop("dtype", "float32"))
    return AdversarialStep(
        Networks(generator, discriminator, generator),
        loss or DcganLoss(),
        DcganOptimiser(0.7, 0.999, 1e-8, average_decay=0),
        seed=4,
        mirror=False,
        **options,
    )


def run(step: AdversarialStep, number: int = 0, rates: tuple[float, float] = (RATE, RATE)) -> dict[str, float]:
    rows = np.zeros((NUM, 0), np.float32)
    outcome = step(images(number), rows, rows, step=number, stage=0, fade=0.0, learning_rates=rates)
    return {name: float(value) for name, value in outcome.items()}


def test_the_generator_runs_once_and_each_pass_moves_the_statistics() -> None:
    loss = Counted()
    step = make_step(loss)
    inputs: dict[str, list[np.ndarray]] = {"generator": [], "discriminator": []}
    for name, network, norm in (
        ("generator", step.networks.generator, step.networks.generator.norms[0]),
        ("discriminator", step.networks.discriminator, step.networks.discriminator.norms[0]),
    ):
        watch(norm, inputs[name])
        assert network.compute_dtype == "float32"
    tf.config.run_functions_eagerly(True)
    try:
        run(step)
    finally:
        tf.config.run_functions_eagerly(False)
    assert loss.calls == ["fakes", "discriminator", "generator"]
    assert [len(found) for found in inputs.values()] == [1, 3]
    for name, norm in (
        ("generator", step.networks.generator.norms[0]),
        ("discriminator", step.networks.discriminator.norms[0]),
    ):
        mean, variance = 0.0, 1.0
        for x in inputs[name]:
            flat = x.reshape(-1, x.shape[-1])
            mean, variance = 0.9 * mean + 0.1 * flat.mean(axis=0), 0.9 * variance + 0.1 * flat.var(axis=0, ddof=1)
        np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(norm.moving_variance, variance, rtol=1e-5)


def watch(norm: GlobalBatchNormalization, inputs: list[np.ndarray]) -> None:
    """Keep what a layer is called with."""
    original = norm.call

    def call(x: Any, training: bool = False) -> Any:
        inputs.append(np.asarray(x))
        return original(x, training=training)

    norm.call = call


def test_the_generator_is_judged_by_the_updated_discriminator() -> None:
    still, moved = run(make_step(), rates=(RATE, 1e-20)), run(make_step(), rates=(RATE, 0.05))
    for name in ("discriminator", "discriminator_real", "discriminator_fake"):
        assert still[name] == pytest.approx(moved[name], rel=1e-6), "the same fakes before any update"
    assert still["generator"] != pytest.approx(moved["generator"], rel=1e-3)
    assert still["discriminator"] == pytest.approx(still["discriminator_real"] + still["discriminator_fake"])


def test_adaptive_augmentation_and_an_average_go_with_it() -> None:
    outcome = run(make_step(augmentation=AugmentConfig(mode="adaptive", probability=0.5)))
    assert outcome["skipped"] == 0
    assert 0 <= outcome["augment_probability"] <= 1
    generator, discriminator = networks()
    average, _ = networks()
    step = AdversarialStep(
        Networks(generator, discriminator, average),
        DcganLoss(),
        DcganOptimiser(average_decay=0.5),
        seed=4,
        mirror=False,
    )
    first = average.convs[0].kernel.numpy()
    run(step, 0, (0.05, 0.05))
    run(step, 1, (0.05, 0.05))
    assert not np.array_equal(average.convs[0].kernel.numpy(), first)
    assert not np.array_equal(average.convs[0].kernel.numpy(), generator.convs[0].kernel.numpy())


def test_bfloat16_steps_are_near_float32s() -> None:
    wide, narrow = (make_step(dtype=dtype) for dtype in ("float32", "mixed_bfloat16"))
    for number in range(2):
        expected, found = run(wide, number), run(narrow, number)
        assert found["skipped"] == 0
        for name in ("discriminator", "generator"):
            assert found[name] == pytest.approx(expected[name], rel=0.05), name
    assert narrow.networks.generator.convs[0].kernel.dtype == "float32"


@pytest.mark.parametrize(("size", "levels"), [(16, 2), (64, 4), (128, 5), (256, 6)])
def test_sizes_add_levels_in_the_same_pattern(size: int, levels: int) -> None:
    generator, discriminator = Generator(size, 4, latent_size=3), Discriminator(size, 4)
    generator.build()
    discriminator.build()
    assert [conv.filters for conv in generator.convs] == [32, 16, 8, 4, 2, 1][:levels]
    shape = (2, size, size, 1)
    assert generator(np.zeros((2, 3), np.float32)).shape == shape
    assert discriminator(np.zeros(shape, np.float32)).shape == (2, 1)


def test_weights_start_as_published() -> None:
    keras.utils.set_random_seed(1)
    generator, discriminator = Generator(64), Discriminator(64)
    generator.build()
    discriminator.build()
    for conv in (*generator.convs[:3], discriminator.convs[1]):
        values = conv.kernel.numpy()
        assert abs(values.mean()) < 1e-3
        assert values.std() == pytest.approx(0.02, rel=0.02)
    gamma = generator.norms[0].gamma.numpy()
    assert gamma.mean() == pytest.approx(1, abs=0.005)
    assert gamma.std() == pytest.approx(0.02, rel=0.15)
    assert not generator.norms[0].beta.numpy().any()
    kernel = discriminator.logit.kernel.numpy()
    bound = 1 / np.sqrt(kernel.size)
    assert bound * 0.99 < np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / np.sqrt(3), rel=0.02), "uniform"


@pytest.mark.parametrize("shape", [(7, 4), (2, 3, 3, 4)])
def test_the_stored_variance_is_unbiased_and_normalising_is_not(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    plain, ours = GlobalBatchNormalization(momentum=0.9), GlobalBatchNormalization(momentum=0.9, unbiased=True)
    np.testing.assert_allclose(ours(x, training=True), plain(x, training=True))
    variance = x.reshape(-1, 4).var(axis=0, ddof=1)
    np.testing.assert_allclose(ours.moving_variance, 0.9 + 0.1 * variance, rtol=1e-5)
    np.testing.assert_allclose(plain.moving_variance, 0.9 + 0.1 * x.reshape(-1, 4).var(axis=0), rtol=1e-5)
    assert GlobalBatchNormalization.from_config(ours.get_config()).unbiased


@pytest.mark.parametrize("corrects", [False, True])
def test_where_adam_adds_epsilon(corrects: bool) -> None:
    rate, beta_1, beta_2, epsilon = 0.1, 0.7, 0.999, 1e-3  # as large as some gradients
    weight = keras.Variable([1.0, 1.0])
    adam = SkippingAdam([weight], beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, corrects_before_epsilon=corrects)
    expected, m, v = np.ones(2), np.zeros(2), np.zeros(2)
    for t, gradient in enumerate(([1e-3, 0.5], [2e-3, -0.1], [-1e-3, 0.2]), 1):
        assert bool(adam.apply_if_finite([tf.constant(gradient)], tf.constant(0.0), rate))
        m = beta_1 * m + (1 - beta_1) * np.array(gradient)
        v = beta_2 * v + (1 - beta_2) * np.array(gradient) ** 2
        root = np.sqrt(1 - beta_2**t)
        divisor = np.sqrt(v) / root + (epsilon if corrects else epsilon / root)
        expected -= rate / (1 - beta_1**t) * m / divisor
        np.testing.assert_allclose(weight, expected, rtol=1e-5)


@pytest.mark.parametrize("size", [16, 64, 128, 256])
def test_the_published_preset(size: int) -> None:
    config = presets(size, 1000)["published"]
    check_schedule(config.schedule, size, group_size=1)
    assert config.schedule.total_kimg == 10
    assert config.schedule.default_tick_kimg == 1
    assert presets(size, 1000, epochs=13)["published"].schedule.total_kimg == 13
    assert config.optimiser == DcganOptimiser(0.7, 0.999, 1e-8, 0.0)
    assert config.optimiser.corrects_before_epsilon
    assert not OptimiserConfig.corrects_before_epsilon
    assert DcganConfig().network.generator_features == 64
