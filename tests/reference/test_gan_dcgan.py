"""GAN_dcgan against numbers recorded from the original: outputs, and three training steps of the suite's own step.

The original flattens channels first before its dense layer, this suite channels last: the rows of that kernel are put
into the other order on their way in and out, and nothing else is.

Adam's first step moves every weight by its whole rate, in the direction of its gradient: where that is small, the
rounding of the recorded one shows. In double precision the generator's second loss is 5e-5 from the recorded one, the
third 1.9e-4, its last kernel 5.5e-5; gradients with 3e-6 of their largest value added at random move them as far. The
discriminator's kernel is 1e-6 from the recorded one, and 4e-5 where epsilon is added as Keras adds it.
"""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from GAN_dcgan.config import DcganOptimiser
from GAN_dcgan.loss import DcganLoss
from GAN_dcgan.networks import Discriminator, Generator
from medsynth.gan.draws import Draws
from medsynth.gan.layers import LEAKY_RELU_SLOPE
from medsynth.gan.steps import AdversarialStep, Networks
from medsynth.networks.batch_norm import GlobalBatchNormalization
from tests.golden_files import golden_files

FILES = golden_files("gan_dcgan_*.npz")
NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


class Golden:
    """One golden file, both networks with its first weights, and the layers under the original's names."""

    def __init__(self, path: Path) -> None:
        self.arrays = dict(np.load(path, allow_pickle=False))
        self.meta = meta = json.loads(str(self.arrays["meta"]))
        size = {"resolution": meta["image_size"], "num_channels": self.arrays["reals_every"].shape[-1]}
        keras.utils.set_random_seed(0)
        self.generator = Generator(
            **size, features=meta["generator_features"], latent_size=meta["latent"], name="generator"
        )
        self.discriminator = Discriminator(**size, features=meta["discriminator_features"], name="discriminator")
        for network in (self.generator, self.discriminator):
            network.build()
        generator = [layer for pair in zip(self.generator.convs, self.generator.norms, strict=True) for layer in pair]
        discriminator = [*self.discriminator.convs, *self.discriminator.norms, self.discriminator.logit]
        self.layers = {"G": [*generator, self.generator.image], "D": discriminator}
        for key in self.keys("w0"):
            self.variable(key).assign(self.ours(key))

    def keys(self, when: str) -> list[str]:
        return [key for key in self.arrays if key.startswith(f"{when}/")]

    def layer(self, key: str) -> keras.layers.Layer:
        """Return the layer of `w0/G/main.3.weight`: layers without weights count there, too."""
        letter, number = re.fullmatch(r"\w+/([GD])/main\.(\d+)\.\w+", key).groups()
        known = {re.fullmatch(r"w0/[GD]/main\.(\d+)\.\w+", name)[1] for name in self.keys(f"w0/{letter}")}
        return self.layers[letter][sorted(map(int, known)).index(int(number))]

    def variable(self, key: str) -> keras.Variable:
        layer = self.layer(key)
        name = key.rsplit(".", 1)[1]
        return getattr(layer, NAMES[name] if isinstance(layer, GlobalBatchNormalization) else "kernel")

    def ours(self, key: str) -> np.ndarray:
        """Return a recorded array as this suite lays it out."""
        values = self.arrays[key]
        if self.layer(key) is not self.discriminator.logit or not self.arrays["linear_flatten_is_channels_first"]:
            return values
        side, channels = self.meta["image_size"] // 4, 2 * self.meta["discriminator_features"]
        # [C*s*s, 1] -> [C, s, s, 1] -> [s, s, C, 1] -> [s*s*C, 1]
        return values.reshape(channels, side, side, 1).transpose(1, 2, 0, 3).reshape(-1, 1)


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    keras.backend.clear_session()
    return Golden(request.param)


def test_all_weights_are_recorded(golden: Golden) -> None:
    found = [golden.variable(key) for key in golden.keys("w0")]
    trainable = golden.generator.trainable_variables + golden.discriminator.trainable_variables
    assert {id(variable) for variable in found} == {id(variable) for variable in trainable}
    assert len(found) == len(trainable)


def test_numbers_of_parameters(golden: Golden) -> None:
    sizes = []
    for network_class in (Generator, Discriminator):
        network = network_class(golden.meta["image_size"])
        network.build()
        sizes.append(sum(int(np.prod(variable.shape)) for variable in network.trainable_variables))
    assert sizes == golden.arrays["params"].tolist()


def test_images_match(golden: Golden) -> None:
    expected = golden.arrays["G_eval_out"]
    images = golden.generator(golden.arrays["noise"][0, : len(expected)])
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-5)
    norm, meta = golden.generator.norms[0], golden.meta
    assert (norm.epsilon, norm.momentum) == (meta["bn_epsilon"], meta["bn_momentum_keras"])
    assert meta["negative_slope"] == LEAKY_RELU_SLOPE


def test_training_steps_match(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays, meta = golden.arrays, golden.meta
    noise = tf.Variable(arrays["noise"][0])
    monkeypatch.setattr(Draws, "normal", lambda *_: tf.identity(noise))
    step = AdversarialStep(
        Networks(golden.generator, golden.discriminator, golden.generator),
        DcganLoss(),
        DcganOptimiser(meta["beta1"], meta["beta2"], meta["adam_epsilon"], average_decay=0),
        seed=1,
        mirror=False,
    )
    assert step.config.corrects_before_epsilon
    # The step takes pixels from 0 to 255; these lie between two of them.
    reals = (arrays["reals_every"].astype(np.float32) + 1) * 127.5
    rows = np.zeros((reals.shape[1], 0), np.float32)
    assert len(reals) == len(arrays["losses_real_fake_G"]) == 3
    for number, expected in enumerate(arrays["losses_real_fake_G"]):
        noise.assign(arrays["noise"][number])
        outcome = step(reals[number], rows, rows, step=number, stage=0, fade=0.0, learning_rates=(meta["lr"],) * 2)
        found = [float(outcome[name]) for name in ("discriminator_real", "discriminator_fake", "generator")]
        rtol = 1e-4 if number == 0 else 4e-4
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-5, err_msg=f"step {number}")
        assert float(outcome["skipped"]) == 0
    for key in golden.keys("end"):
        values, first = golden.ours(key), f"w0{key.removeprefix('end')}"
        if first in arrays:
            # Three steps of Adam move a weight by three times its rate at most: they must have, and by that much.
            assert np.abs(values - golden.ours(first)).max() > meta["lr"]
        atol = meta["lr"] / 2 if first in arrays and "/G/" in key else 1e-5
        rtol = 1e-4
        if key.endswith("running_var"):
            rtol, atol = 0, 5e-6  # the biased variance is 1.7e-5 from it
        np.testing.assert_allclose(golden.variable(key), values, rtol=rtol, atol=atol, err_msg=key)
