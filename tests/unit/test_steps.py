"""The optimiser's mask for non-finite steps, and what a step changes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from GAN_prog.application import APPLICATION, build_networks
from GAN_prog.config import NetworkConfig, ProgressiveConfig, presets
from medsynth.errors import UsageError
from medsynth.gan.augment import AugmentConfig
from medsynth.gan.losses import label_cross_entropy
from medsynth.gan.schedule import (
    RemainingTime,
    ScheduleConfig,
    check_schedule,
    num_devices_to_use,
    schedule_at,
)
from medsynth.gan.steps import AdversarialStep, Networks, OptimiserConfig
from medsynth.training.optimizers import SkippingAdam


def adam_pair() -> tuple[SkippingAdam, keras.Variable, keras.optimizers.Adam, keras.Variable]:
    ours, theirs = keras.Variable([1.0, -2.0]), keras.Variable([1.0, -2.0])
    options = {"beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-8}
    reference = keras.optimizers.Adam(0.1, **options)
    reference.build([theirs])
    return SkippingAdam([ours], **options), ours, reference, theirs


def test_finite_steps_are_adams_own_and_others_leave_no_trace() -> None:
    ours, weight, theirs, expected = adam_pair()
    apply = tf.function(lambda gradient, loss: ours.apply_if_finite([gradient], loss, 0.1))
    for gradient, loss in (
        ([0.3, -0.1], 1.0),
        ([np.nan, 0.2], 1.0),
        ([0.1, np.inf], 1.0),
        ([0.1, 0.2], np.nan),
        ([0.2, 0.4], 2.0),
    ):
        is_finite = bool(np.isfinite([*gradient, loss]).all())
        before = [variable.numpy() for variable in ours.variables]
        assert bool(apply(tf.constant(gradient), tf.constant(loss))) is is_finite
        if is_finite:
            theirs.apply([tf.constant(gradient)], [expected])
        else:
            for variable, value in zip(ours.variables, before, strict=True):
                np.testing.assert_array_equal(variable, value)
        np.testing.assert_allclose(weight, expected, rtol=1e-6)
    assert int(ours.iterations) == 2


def test_starting_afresh_forgets_the_moments() -> None:
    ours, _, _, _ = adam_pair()
    ours.apply_if_finite([tf.constant([1.0, 1.0])], tf.constant(0.0), 0.1)
    assert any(np.any(variable.numpy() != 0) for variable in ours._velocities)
    ours.start_afresh()
    assert all(np.all(variable.numpy() == 0) for variable in (*ours._momentums, *ours._velocities))
    assert int(ours.iterations) == 0


def test_the_loss_scale_follows_the_published_rule() -> None:
    weight = keras.Variable([1.0])
    optimiser = SkippingAdam([weight], beta_1=0.0, beta_2=0.99, epsilon=1e-8, scales_loss=True)
    plain_weight = keras.Variable([1.0])
    plain = SkippingAdam([plain_weight], beta_1=0.0, beta_2=0.99, epsilon=1e-8)
    assert float(optimiser.loss_scale()) == 2.0**64
    assert float(plain.loss_scale()) == 1.0
    assert not bool(optimiser.apply_if_finite([tf.constant([np.inf])], tf.constant(1.0), 0.1))
    assert float(optimiser.loss_scale()) == 2.0**63
    assert float(weight[0]) == 1.0
    gradient = tf.constant([0.25])
    assert bool(optimiser.apply_if_finite([gradient * optimiser.loss_scale()], tf.constant(1.0), 0.1))
    plain.apply_if_finite([gradient], tf.constant(1.0), 0.1)
    assert float(weight[0]) == float(plain_weight[0]) < 1.0
    np.testing.assert_allclose(optimiser.loss_scale(), 2.0**63.0005, rtol=1e-5)
    assert optimiser.variables[1].name == "log2_loss_scale", "a resumed training keeps its scale"


def tiny_step(
    seed: int = 1, mirror: bool = False, augmentation: AugmentConfig | None = None, precision: str = "float32"
) -> AdversarialStep:
    keras.utils.set_random_seed(seed)
    config = ProgressiveConfig(network=NetworkConfig(fmap_base=64, fmap_max=8, precision=precision))
    pairs = [build_networks(config, 16, 1, 3) for _ in range(2)]
    return AdversarialStep(
        Networks(*pairs[0], pairs[1][0]),
        APPLICATION.build_loss(config),
        OptimiserConfig(average_decay=0.5),
        seed=seed,
        mirror=mirror,
        augmentation=augmentation,
    )


def run(step: AdversarialStep, number: int = 0, stage: int = 0, fade: float = 0.0, images=None) -> dict[str, float]:
    images = np.arange(8 * 256, dtype=np.uint8).reshape(8, 16, 16, 1)[:, :: 2**stage, :: 2**stage]
    labels = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
    outcome = step(images, labels, labels, step=number, stage=stage, fade=fade, learning_rates=(1e-3, 1e-3))
    return {name: float(value) for name, value in outcome.items()}


def test_a_step_moves_the_layers_of_its_stage_and_no_others() -> None:
    step = tiny_step()
    before = {name: variable.numpy() for name, variable in step.variables().items()}
    assert run(step, stage=1, fade=0.25)["skipped"] == 0
    moved = {name for name, variable in step.variables().items() if (variable.numpy() != before[name]).any()}
    assert {"generator/8x8_conv1/weight", "discriminator/from_rgb_4x4/weight", "average/to_rgb_8x8/weight"} <= moved
    assert not {name for name in moved if "16x16" in name and name.startswith(("generator", "discriminator"))}


def test_the_average_follows_the_generator_as_it_was_before_its_update() -> None:
    step = tiny_step()
    name = "4x4_conv/weight"
    old_average, old_generator = (step.variables()[f"{which}/{name}"].numpy() for which in ("average", "generator"))
    assert (old_average != old_generator).any()
    run(step)
    np.testing.assert_allclose(step.variables()[f"average/{name}"], (old_average + old_generator) / 2, atol=1e-6)
    assert (step.variables()[f"generator/{name}"].numpy() != old_generator).any()


def test_random_draws_depend_on_seed_and_step_alone() -> None:
    first, same, other = run(tiny_step(), 3), run(tiny_step(), 3), run(tiny_step(), 4)
    assert first == same
    assert first["discriminator"] != other["discriminator"]
    assert run(tiny_step(mirror=True), 3)["discriminator"] != first["discriminator"]


def test_a_broken_network_is_skipped_and_counted() -> None:
    step = tiny_step()
    weight = step.variables()["discriminator/4x4_dense1/bias"]
    weight.assign(np.full(weight.shape, np.nan))
    before = {name: variable.numpy() for name, variable in step.variables().items() if not name.startswith("average")}
    assert run(step)["skipped"] == 2
    after = step.variables()
    for name, value in before.items():
        if "learning_rate" not in name:
            np.testing.assert_array_equal(after[name], value, err_msg=name)


def test_an_image_without_labels_adds_nothing_to_the_label_loss() -> None:
    logits = tf.constant([[1.0, 2.0], [0.5, -1.0]])
    empty = label_cross_entropy(tf.zeros((2, 2)), logits)
    half = label_cross_entropy(tf.constant([[1.0, 1.0], [0.0, 0.0]]), logits)
    assert float(empty) == 0.0
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = label_cross_entropy(tf.constant([[1.0, 1.0], [0.0, 0.0]]), logits)
    gradient = tape.gradient(loss, logits).numpy()
    assert (gradient[1] == 0).all()
    assert (gradient[0] != 0).all()
    expected = 0.5 * -np.mean(np.log(np.exp([1.0, 2.0]) / np.exp([1.0, 2.0]).sum()))
    assert float(half) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initial_resolution": 6}, "initial_resolution is a power of two"),
        ({"initial_resolution": 64}, "initial_resolution is a power of two from 4 to the final 32"),
        ({"minibatch_by_resolution": {16: 6}}, "at 16x16 it is not. Received: 6 images"),
        ({"minibatch_base": 3, "num_gpus": 4}, "Received: 0 images on 4"),
        ({"total_kimg": 0.0}, "total_kimg must be above 0"),
        ({"training_kimg": -1.0}, "training_kimg must be 0 or more"),
        ({"training_kimg": 0.0, "transition_kimg": 0.0}, "Growing needs"),
        ({"generator_learning_rate": 0.0}, "generator_learning_rate must be above 0"),
        ({"tick_kimg": {32: 0.0}}, "tick_kimg must be above 0"),
    ],
)
def test_schedules_that_cannot_be_trained_are_refused(changes: dict, message: str) -> None:
    check_schedule(ScheduleConfig(), 32)
    with pytest.raises(UsageError, match=message):
        check_schedule(ScheduleConfig(**changes), 32)


@pytest.mark.parametrize("resolution", [8, 32, 64, 128])
def test_every_preset_is_usable(resolution: int) -> None:
    for name, config in presets(resolution).items():
        check_schedule(config.schedule, resolution)
        end = schedule_at(config.schedule, resolution, round(config.schedule.total_kimg * 1000))
        assert (end.lod, end.resolution) == (0.0, resolution), name


def test_the_time_left_foresees_that_larger_images_take_longer() -> None:
    config = ScheduleConfig(total_kimg=3.0, initial_resolution=8, training_kimg=1.0, transition_kimg=0.0)
    remaining = RemainingTime(config, 32)
    assert remaining.seconds(0) is None
    remaining.add(8, 0.01)
    assert remaining.seconds(0) == pytest.approx(10 + 30 + 90, rel=0.02)
    remaining.add(16, 0.02)
    assert remaining.seconds(1000) == pytest.approx(20 + 60, rel=0.02)
    assert remaining.seconds(3000) == 0


def test_augmentation_alters_what_the_discriminator_sees() -> None:
    plain, altered, again = (
        run(tiny_step(augmentation=config)) for config in (None, *[AugmentConfig(mode="fixed", probability=1.0)] * 2)
    )
    assert altered == again
    assert altered["skipped"] == 0
    assert altered["mixed_norms"] != pytest.approx(plain["mixed_norms"], rel=1e-3)
    assert altered["generator"] != pytest.approx(plain["generator"], rel=1e-3)


def test_the_probability_follows_the_discriminator_every_few_steps() -> None:
    # 8 images a step, 2 steps an adjustment: 16 images of 80 for the way from 0 to 1.
    config = AugmentConfig(mode="adaptive", probability=0.5, speed_kimg=0.08, interval=2)
    step = tiny_step(augmentation=config)
    outcomes = [run(step, number) for number in range(6)]
    probabilities = [outcome["augment_probability"] for outcome in outcomes]
    assert probabilities[0] == 0.5
    for first in (1, 3):
        signs = np.mean([outcome["augment_signs"] for outcome in outcomes[first - 1 : first + 1]])
        before = probabilities[first - 1]
        assert probabilities[first] == pytest.approx(np.clip(before + 0.2 * np.sign(signs - 0.6), 0, 1))
        assert probabilities[first + 1] == probabilities[first], "between two adjustments it stays"
    names = set(step.variables())
    assert {"augment/probability", "augment/signs"} <= names, "a resumed training keeps them"


def test_a_schedule_for_many_devices_runs_on_fewer() -> None:
    schedule = ScheduleConfig(
        num_gpus=8, minibatch_base=64, minibatch_by_resolution={16: 96}, initial_resolution=8, training_kimg=1.0
    )
    # 96 images on 8 devices are 12 each, on 6 are 16; 64 cannot be shared by 7, 6, 5 or 3.
    found = [num_devices_to_use(schedule, 16, available) for available in (1, 2, 3, 4, 7, 8, 16)]
    assert found == [1, 2, 2, 4, 4, 8, 8]
    assert schedule_at(schedule, 16, 10**9).minibatch == 96, "whatever it runs on"


def test_float16_finds_its_loss_scale_and_then_trains_as_float32_does() -> None:
    step = tiny_step(precision="mixed_float16")
    assert step.networks.generator.pixel_norm_epsilon == 1e-4
    outcomes = [run(step, number) for number in range(60)]
    skipped = [outcome["skipped"] for outcome in outcomes]
    assert skipped[0] == 2, "2^64 is too much for float16"
    first = skipped.index(0)
    assert 20 < first < 60
    assert sum(skipped[first:]) <= 3
    # Nothing moves before a step is done, so until then the scores are those of float32 on the same draws.
    moved = next(number for number, count in enumerate(skipped) if count < 2)
    expected = run(tiny_step(), moved)
    for name in ("real_scores", "fake_scores", "label_penalty_reals"):
        assert outcomes[moved][name] == pytest.approx(expected[name], rel=0.02, abs=0.005), name
    assert all(np.isfinite(value) for value in outcomes[-1].values())
