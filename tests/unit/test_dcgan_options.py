"""What GAN_dcgan has against its collapse: each option does what it says, and all of them together train."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from GAN_dcgan.application import build_loss, build_networks
from GAN_dcgan.config import DcganConfig, presets
from GAN_dcgan.loss import DcganLoss, LossConfig
from GAN_dcgan.networks import Discriminator
from medsynth.config import override
from medsynth.errors import UsageError
from medsynth.gan.augment import check_augment
from medsynth.gan.schedule import check_schedule
from medsynth.gan.steps import AdversarialStep, Networks

SIZE, NUM = 16, 8


def discriminator(**options: Any) -> Discriminator:
    keras.utils.set_random_seed(4)
    network = Discriminator(SIZE, 3, **options, name="discriminator")
    network.build()
    return network


def frames(seed: int = 0, num: int = NUM, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (num, size, size, 1)).astype(np.float32)


def losses(config: LossConfig, network: Any) -> dict[str, float]:
    terms = DcganLoss(config).of_discriminator(network, tf.constant(frames(1)), tf.constant(frames(2)))
    return {"total": float(terms.total), **{name: float(value) for name, value in terms.metrics.items()}}


def test_without_options_it_is_the_published_network() -> None:
    config = DcganConfig().network
    assert (config.discriminator_levels, config.discriminator_norm, config.head) == (2, "batch", "flatten")
    assert config.stddev_group_size == 1
    _, built = build_networks(override(DcganConfig(), ["schedule.initial_resolution=128"]), 128, 1, 0)
    assert sum(int(np.prod(variable.shape)) for variable in built.trainable_variables) == 263_424
    assert DcganLoss().config == LossConfig(gamma_1=0, real_target=1)


def test_label_smoothing_is_the_cross_entropy_with_another_target() -> None:
    network = discriminator()
    target = 0.9
    scores = np.asarray(network(frames(1), training=True))
    p = 1 / (1 + np.exp(-scores))
    expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    found = losses(LossConfig(real_target=target), network)
    assert found["discriminator_real"] == pytest.approx(expected, rel=1e-5)
    plain = losses(LossConfig(), network)
    assert found["discriminator_fake"] == plain["discriminator_fake"], "of the fakes nothing is smoothed"
    assert found["discriminator_real"] != pytest.approx(plain["discriminator_real"], rel=1e-3)


def test_r1_is_half_gamma_times_the_squared_gradient_at_real_frames() -> None:
    network = discriminator(norm="spectral", head="average")
    reals = tf.constant(frames(1))
    with tf.GradientTape() as tape:
        tape.watch(reals)
        scores = network(reals)
    square = float(tf.reduce_mean(tf.reduce_sum(tape.gradient(scores, reals) ** 2, axis=(1, 2, 3))))
    vectors = [layer.singular_vector.numpy() for layer in (*network.convs, network.logit)]
    plain, found = losses(LossConfig(), network), {}
    for layer, vector in zip((*network.convs, network.logit), vectors, strict=True):
        layer.singular_vector.assign(vector)
    found = losses(LossConfig(gamma_1=3.0), network)
    assert square > 1e-6
    # The real pass comes after one more iteration than the gradient above.
    assert found["r1_penalty"] == pytest.approx(square, rel=0.5)
    assert found["total"] - plain["total"] == pytest.approx(1.5 * found["r1_penalty"], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_each_pass_of_the_discriminator_is_done_once(norm: str) -> None:
    """R1 takes its gradient from the pass that gives the scores, so that nothing moves twice."""
    for gamma in (0.0, 1.0):
        network, calls = discriminator(norm=norm), []

        def judge(images: Any, network: Any = network, calls: list = calls, **options: Any) -> Any:
            calls.append(options)
            return network(images, **options)

        losses(LossConfig(gamma_1=gamma), judge)
        assert calls == [{"training": True}] * 2


@pytest.mark.parametrize(("levels", "maps"), [(1, [3]), (2, [3, 6])])
def test_levels_halve_the_size(levels: int, maps: list[int]) -> None:
    network = discriminator(num_levels=levels)
    assert [conv.kernel.shape[-1] for conv in network.convs] == maps
    assert network.logit.kernel.shape[0] == (SIZE >> levels) ** 2 * maps[-1]
    assert len(network.norms) == levels - 1
    with pytest.raises(ValueError, match="no discriminator of 3 levels"):
        Discriminator(SIZE, 3, num_levels=3)
    deep = Discriminator(256, 2, num_levels=6)
    deep.build()
    assert [conv.kernel.shape[-1] for conv in deep.convs] == [2, 4, 8, 16, 16, 16]


def test_an_average_does_not_know_the_place() -> None:
    """With stride 4 in all, a shift by four pixels of something in the middle moves the last maps by one place."""
    images = np.full((2, 32, 32, 1), -1.0, np.float32)
    images[0, 12:16, 12:16] = 1
    images[1, 16:20, 16:20] = 1
    found = {}
    for head in ("flatten", "average"):
        keras.utils.set_random_seed(4)
        network = Discriminator(32, 3, head=head, norm="none")
        network.build()
        found[head] = np.asarray(network(images))[:, 0]
    assert found["average"][0] == pytest.approx(found["average"][1], rel=1e-4)
    assert found["flatten"][0] != pytest.approx(found["flatten"][1], rel=1e-2)


def test_the_standard_deviation_lets_it_see_that_all_frames_are_alike() -> None:
    network = discriminator(stddev_group_size=4, norm="none")
    different, alike = frames(1), np.repeat(frames(1, num=2), 4, axis=0)
    plain = discriminator(norm="none")
    weights = [network.logit.kernel.shape[0], plain.logit.kernel.shape[0]]
    assert weights == [(SIZE // 4) ** 2 * 7, (SIZE // 4) ** 2 * 6]
    whole, shuffled = np.asarray(network(different)), np.asarray(network(different[::-1].copy()))
    alone = np.asarray(network(np.concatenate([different[:1], alike[1:]])))
    assert not np.allclose(whole[0], alone[0]), "the score of a frame depends on the others of its group"
    np.testing.assert_allclose(np.sort(whole[:, 0]).sum(), np.sort(shuffled[:, 0]).sum(), rtol=1e-3)
    np.testing.assert_allclose(plain(different)[0], plain(np.concatenate([different[:1], alike[1:]]))[0], rtol=1e-4)


@pytest.mark.parametrize("norm", ["spectral", "none"])
def test_without_batch_normalisation_frames_are_judged_apart(norm: str) -> None:
    network = discriminator(norm=norm)
    assert not network.norms
    assert all(layer.use_bias for layer in (*network.convs, network.logit))
    one, other = frames(1), frames(2)
    mixed = np.concatenate([one[:1], other[1:]])
    vectors = [variable.numpy() for variable in network.non_trainable_variables]
    first = np.asarray(network(one, training=True))[0]
    for variable, value in zip(network.non_trainable_variables, vectors, strict=True):
        variable.assign(value)
    np.testing.assert_allclose(network(mixed, training=True)[0], first, rtol=1e-4)


@pytest.mark.parametrize(
    ("norm", "head", "stddev", "gamma", "precision"),
    [
        *itertools.product(["batch", "spectral", "none"], ["flatten", "average"], [False, True], [1.0], ["float32"]),
        ("spectral", "average", True, 1.0, "mixed_bfloat16"),
        ("batch", "flatten", True, 1.0, "mixed_bfloat16"),
    ],
)
def test_any_combination_trains(norm: str, head: str, stddev: bool, gamma: float, precision: str) -> None:
    settings = {
        "network.discriminator_norm": norm,
        "network.head": head,
        "network.minibatch_stddev": str(stddev).lower(),
        "network.precision": precision,
        "network.generator_features": 2,
        "network.discriminator_features": 2,
        "loss.gamma_1": gamma,
        "loss.real_target": 0.9,
        "schedule.minibatch_base": NUM,
    }
    config = override(presets(SIZE, 100)["published"], [f"{key}={value}" for key, value in settings.items()])
    keras.utils.set_random_seed(1)
    generator, network = build_networks(config, SIZE, 1, 0)
    step = AdversarialStep(
        Networks(generator, network, generator), build_loss(config), config.optimiser, seed=1, mirror=False
    )
    before = [variable.numpy() for variable in network.trainable_variables]
    rows = np.zeros((NUM, 0), np.float32)
    images = np.random.default_rng(0).integers(0, 256, (NUM, SIZE, SIZE, 1), dtype=np.uint8)
    outcome = step(images, rows, rows, step=0, stage=0, fade=0.0, learning_rates=(1e-3, 1e-3))
    assert float(outcome["skipped"]) == 0
    assert float(outcome["r1_penalty"]) > 0
    for variable, old in zip(network.trainable_variables, before, strict=True):
        assert not np.array_equal(variable.numpy(), old), variable.path
    again = Discriminator.from_config(network.get_config())
    again.build()
    assert [variable.shape for variable in again.variables] == [variable.shape for variable in network.variables]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["loss.real_target=0.5"], "above 0.5"),
        (["loss.real_target=1.01"], "at most 1"),
        (["loss.gamma_1=-1"], "loss.gamma_1"),
        (["network.discriminator_levels=0"], "network.discriminator_levels"),
        (["network.discriminator_levels=3"], "can be halved 2 times, down to 4x4. Received: 3"),
        (["network.head=max"], "flatten, average"),
        (["network.discriminator_norm=layer"], "batch, spectral, none"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_loss(override(presets(SIZE, 100)["published"], settings))
    assert words in str(caught.value)


def test_a_minibatch_that_has_no_whole_groups_is_refused() -> None:
    config = override(presets(SIZE, 100)["published"], ["schedule.minibatch_base=6", "network.minibatch_stddev=true"])
    with pytest.raises(UsageError, match="multiple"):
        check_schedule(config.schedule, SIZE, config.network.stddev_group_size)


@pytest.mark.parametrize(("size", "levels"), [(16, 2), (64, 4), (128, 5), (256, 6)])
def test_the_stable_preset(size: int, levels: int) -> None:
    config, published = presets(size, 1000)["stable"], presets(size, 1000)["published"]
    build_loss(config)
    check_schedule(config.schedule, size, config.network.stddev_group_size)
    check_augment(config.augment, num_channels=1)
    assert config.network.discriminator_levels == levels
    assert config.schedule.total_kimg == published.schedule.total_kimg
    assert config.augment.transforms == ("translation", "colour", "cutout")
    assert (config.schedule.default_tick_kimg, published.schedule.default_tick_kimg) == (4, 1)
    assert presets(size, 50_000)["stable"].schedule.default_tick_kimg == 50
