"""The joint GAN's step: both networks from one pass, dropout from the step's own draws, no average."""

import itertools
import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from GAN_joint.application import build_loss
from GAN_joint.config import JointConfig, NetworkConfig
from GAN_joint.loss import JointLoss, LossConfig
from GAN_joint.networks import DROPOUT, Discriminator, Generator, Pairing
from medsynth.errors import UsageError
from medsynth.gan.draws import Draws, Purpose
from medsynth.gan.schedule import ScheduleConfig, check_schedule, schedule_at
from medsynth.gan.steps import AdversarialStep, Networks, OptimiserConfig, prepare_reals
from medsynth.networks.batch_norm import GlobalBatchNormalization

SIZE, NUM_COLUMNS, NUM_PAIRS, SEED = 16, 3, 6, 4
ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
RATE = 1e-3


def networks(pairing: Pairing = "sum") -> tuple[Generator, Discriminator]:
    keras.utils.set_random_seed(2)
    sizes: dict[str, Any] = {"resolution": SIZE, "num_columns": NUM_COLUMNS, "width": 0.03}
    generator = Generator(**sizes, latent_size=5, name="generator")
    built = generator, Discriminator(**sizes, pairing=pairing, name="discriminator")
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


@pytest.mark.parametrize(("pairing", "can_tell"), [("sum", False), ("projection", True)])
def test_the_published_discriminator_cannot_tell_what_belongs_together(pairing: Pairing, can_tell: bool) -> None:
    """Two images and two rows have the same sum of logits either way round: any pairing of them is as good."""
    _, discriminator = networks(pairing)
    images, rows = pairs()
    reals = prepare_reals(images, SIZE, 0.0)
    matched, swapped = (tf.reduce_sum(discriminator(reals, each)).numpy() for each in (rows, rows[::-1]))
    assert np.ptp(discriminator(reals, rows)) > 0.01, "it tells pairs apart"
    assert (abs(matched - swapped) > 1e-3) == can_tell, "and rounding is below 1e-5"


def test_terms_that_the_published_loss_lacks_are_added_to_the_discriminators() -> None:
    generator, discriminator = networks("projection")
    images, rows = pairs()
    reals, labels = prepare_reals(images, SIZE, 0.0), tf.constant(rows)
    latents = tf.random.stateless_normal((NUM_PAIRS, 5), (1, 2))

    def losses(**weights: float) -> tuple[Any, Any]:
        return JointLoss(LossConfig(**weights)).both(generator, discriminator, reals, labels, latents, None)

    plain, of_generator = losses()
    changed, same = losses(mismatched=0.25, gamma_1=3.0)
    assert of_generator.total == same.total
    entropy = keras.losses.BinaryCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        tape.watch((reals, labels))
        real_scores = discriminator(reals, labels)
    gradients = tape.gradient(real_scores, (reals, labels))
    square = sum(float(tf.reduce_sum(each**2)) for each in gradients) / NUM_PAIRS
    wrong_scores = discriminator(reals, rows[[1, 0, 3, 2, 5, 4]])
    zeros = tf.zeros_like(real_scores)
    expected = entropy(zeros + 1, real_scores) + 3.0 / 2 * square
    expected += 0.75 * entropy(zeros, plain.fake_scores) + 0.25 * entropy(zeros, wrong_scores)
    np.testing.assert_allclose(changed.total, expected, rtol=1e-5)
    assert abs(changed.total - plain.total) > 0.01
    assert not np.allclose(wrong_scores, real_scores, atol=1e-3)


@pytest.mark.parametrize(
    ("pairing", "schedule", "words"),
    [
        ("sum", {}, "cannot tell whether image and row belong together"),
        ("projection", {"minibatch_base": 9}, "even on every GPU. Received: 9 images on 1"),
        ("projection", {"minibatch_base": 10, "num_gpus": 2}, "Received: 10 images on 2"),
        ("projection", {"minibatch_by_resolution": {16: 3}}, "Received: 3 images on 1"),
    ],
)
def test_swapped_rows_need_a_discriminator_that_sees_them_and_pairs_to_swap(
    pairing: Pairing, schedule: dict[str, Any], words: str
) -> None:
    def config(**changes: Any) -> JointConfig:
        options = {"minibatch_base": 8, "initial_resolution": SIZE} | changes
        return JointConfig(
            network=NetworkConfig(pairing=pairing), loss=LossConfig(mismatched=0.5), schedule=ScheduleConfig(**options)
        )

    with pytest.raises(UsageError, match=re.escape(words)):
        build_loss(config(**schedule))
    if pairing == "projection":
        build_loss(config(minibatch_base=8, num_gpus=2))


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
