"""The joint GAN's step: both networks from one pass, dropout from the step's own draws, no average."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from GAN_joint.loss import JointLoss
from GAN_joint.networks import DROPOUT, Discriminator, Generator
from medsynth.gan.draws import Draws, Purpose
from medsynth.gan.schedule import ScheduleConfig, check_schedule, schedule_at
from medsynth.gan.steps import AdversarialStep, Networks, OptimiserConfig, prepare_reals
from medsynth.networks.batch_norm import GlobalBatchNormalization

SIZE, NUM_COLUMNS, NUM_PAIRS, SEED = 16, 3, 6, 4
ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
RATE = 1e-3


def networks() -> tuple[Generator, Discriminator]:
    keras.utils.set_random_seed(2)
    sizes: dict[str, Any] = {"resolution": SIZE, "num_columns": NUM_COLUMNS, "width": 0.03}
    built = Generator(**sizes, latent_size=5, name="generator"), Discriminator(**sizes, name="discriminator")
    for network in built:
        network.build()
    return built


def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (NUM_PAIRS, SIZE, SIZE, 1), dtype=np.uint8)
    return images, rng.random((NUM_PAIRS, NUM_COLUMNS), np.float32)


def test_a_step_is_one_pass_and_adam_on_both_networks() -> None:
    generator, discriminator = networks()
    step = AdversarialStep(
        Networks(generator, discriminator, generator),
        JointLoss(),
        OptimiserConfig(**ADAM, average_decay=0),
        seed=SEED,
        mirror=False,
    )
    expected = networks()
    optimisers = [keras.optimizers.Adam(RATE, **ADAM) for _ in expected]
    images, rows = pairs()
    for number in range(3):
        outcome = step(images, rows, rows, step=number, stage=0, fade=0.0, learning_rates=(RATE, RATE))
        draws, calls = Draws(SEED, tf.constant(number, tf.int64), NUM_PAIRS), itertools.count()

        def draw(shape: Any, draws: Draws = draws, calls: Any = calls) -> tf.Tensor:
            return draws.uniform(Purpose.DROPOUT, tuple(shape), next(calls))

        with tf.GradientTape(persistent=True) as tape:
            fakes = expected[0](draws.normal(Purpose.DISCRIMINATOR_LATENTS, (5,)), training=True)
            real_scores = expected[1](prepare_reals(images, SIZE, 0.0), rows, draw=draw)
            fake_scores = expected[1](*fakes, draw=draw)
            entropy = keras.losses.BinaryCrossentropy(from_logits=True)
            ones, zeros = tf.ones_like(real_scores), tf.zeros_like(real_scores)
            losses = [entropy(ones, fake_scores), entropy(ones, real_scores) + entropy(zeros, fake_scores)]
        for network, loss, optimiser in zip(expected, losses, optimisers, strict=True):
            weights = network.trainable_variables
            optimiser.apply(tape.gradient(loss, [weight.value for weight in weights]), weights)
        np.testing.assert_allclose([outcome["generator"], outcome["discriminator"]], losses, rtol=1e-4)
    assert float(outcome["skipped"]) == 0
    for ours, theirs in zip((generator, discriminator), expected, strict=True):
        for weight, other in zip(ours.variables, theirs.variables, strict=True):
            # Adam divides by the gradient's size: where that is rounding, so is the direction of the step.
            np.testing.assert_allclose(weight, other, rtol=0, atol=0.1 * RATE, err_msg=weight.path)


def test_without_an_average_the_generator_makes_the_pictures() -> None:
    generator, discriminator = networks()
    trained = Networks(generator, discriminator, generator)
    assert trained.named() == {"discriminator": discriminator, "average": generator}
    step = AdversarialStep(trained, JointLoss(), OptimiserConfig(average_decay=0), seed=1, mirror=False)
    assert len(step.variables()) == len({id(variable) for variable in step.variables().values()})


def test_dropout_keeps_a_share_and_the_mean() -> None:
    _, discriminator = networks()
    images, rows = pairs()
    reals = prepare_reals(images, SIZE, 0.0)
    shapes: list[tuple[int, ...]] = []

    def nothing_dropped(shape: Any) -> tf.Tensor:
        shapes.append(tuple(shape))
        return tf.ones((NUM_PAIRS, *shape))

    scaled = discriminator(reals, rows, draw=nothing_dropped)
    assert len(shapes) == 9, "behind four convolutions, four dense layers and the joint one"
    assert not np.allclose(scaled, discriminator(reals, rows)), "what is kept is scaled up"
    all_dropped = discriminator(reals, rows, draw=lambda shape: tf.zeros((NUM_PAIRS, *shape)))
    np.testing.assert_array_equal(all_dropped, np.broadcast_to(discriminator.logit.bias, (NUM_PAIRS, 1)))
    assert DROPOUT == 0.3


@pytest.mark.parametrize("shape", [(7, 4), (5, 3, 3, 4)])
def test_on_one_device_batch_normalisation_is_keras_own(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    ours, theirs = GlobalBatchNormalization(), keras.layers.BatchNormalization()
    for training in (True, True, False):
        np.testing.assert_allclose(ours(x, training=training), theirs(x, training=training), rtol=1e-5, atol=1e-6)
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)
    assert not np.allclose(ours.moving_mean, 0)


@pytest.mark.parametrize("size", [64, 72, 200, 512])
def test_sizes_that_are_no_powers_of_two_have_a_schedule(size: int) -> None:
    config = ScheduleConfig(initial_resolution=size, minibatch_base=10, max_minibatch_per_gpu={}, total_kimg=1)
    check_schedule(config, size, group_size=1)
    point = schedule_at(config, size, 500)
    assert (point.resolution, point.lod, point.minibatch) == (size, 0, 10)
