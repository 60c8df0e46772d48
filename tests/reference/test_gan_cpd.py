"""GAN_cpd against numbers recorded from the original: outputs, every loss, gradients."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from GAN_cpd.loss import ConditionalLoss, LossConfig
from GAN_cpd.networks import Discriminator, Generator
from medsynth.gan.loss_protocols import Level
from tests.golden_files import golden_files

FILES = golden_files("gan_cpd_*.npz")
LEVEL = Level(0, tf.constant(0.0))


class Golden:
    """One golden file, and both networks with its weights."""

    def __init__(self, path: Path) -> None:
        self.arrays = dict(np.load(path, allow_pickle=False))
        meta = json.loads(str(self.arrays["meta"]))
        names = ("resolution", "num_channels", "label_size", "fmap_base", "fmap_max")
        config = {name: meta[name] for name in names}
        self.networks = {
            "G": Generator(**config, architecture=meta["G_architecture"]),
            "D": Discriminator(**config, architecture=meta["D_architecture"]),
        }
        for letter, network in self.networks.items():
            network.build()
            for name, variable in self.variables(letter).items():
                assert variable.shape == self.arrays[f"var/{name}"].shape
                variable.assign(self.arrays[f"var/{name}"])

    def variables(self, letter: str) -> dict:
        """Map the original's variable names, as the file has them, to ours."""
        layers = {layer.name: layer for layer in self.networks[letter].layers}
        found = {}
        for key in self.arrays:
            match = re.fullmatch(rf"var/({letter}/(.+)/(weight|bias):0)", key)
            if not match:
                continue
            name, scope, attribute = match.groups()
            if norm := re.fullmatch(r"(.+)/PixelNorm/(beta|gamma)", scope):
                scope, attribute = f"{norm[1]}_norm", f"{norm[2]}_{attribute}"
            for theirs, ours in (("ToRGB", "to_rgb"), ("FromRGB", "from_rgb")):
                scope = scope.replace(f"/{theirs}", f"_{ours}")
            found[name] = getattr(layers[scope.lower().replace("/", "_")], attribute)
        assert len(found) == len(self.networks[letter].variables), "a variable on either side has no partner"
        return found

    def image(self, name: str) -> tf.Tensor:
        return tf.constant(self.arrays[name].transpose(0, 2, 3, 1))  # NCHW -> NHWC

    def losses(self, letter: str, config: LossConfig) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Return a loss, and its gradients in the order of `variables`."""
        arrays = {name: tf.constant(self.arrays[name]) for name in self.arrays if name != "meta"}
        networks, loss = (self.networks["G"], self.networks["D"]), ConditionalLoss(config)
        variables = list(self.variables(letter).values())
        with tf.GradientTape() as tape:
            if letter == "G":
                terms = loss.generator(*networks, arrays["loss/G_latents"], arrays["loss/random_labels"], LEVEL)
            else:
                terms = loss.discriminator(
                    *networks, self.image("images"), arrays["labels"], arrays["latents"], arrays["loss/mix"], LEVEL
                )
        return terms.total, tape.gradient(terms.total, [variable.value for variable in variables])


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def close(ours: tf.Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)


def test_outputs_match(golden: Golden) -> None:
    images = golden.networks["G"](golden.arrays["latents"], golden.arrays["labels"])
    close(tf.transpose(images, (0, 3, 1, 2)), golden.arrays["G_out"])
    close(golden.networks["D"](golden.image("images"), golden.arrays["labels"]), golden.arrays["D_scores"])


def config_of(name: str) -> LossConfig:
    """Return the settings that a recorded loss is of: `D_logistic_r_g1_100_g2_0` and the like."""
    if match := re.fullmatch(r"D_logistic_r_g1_(\d+)_g2_(\d+)", name):
        return LossConfig(discriminator="logistic_r", gamma_1=float(match[1]), gamma_2=float(match[2]))
    letter, kind = name.split("_", 1)
    return LossConfig(generator=kind) if letter == "G" else LossConfig(discriminator=kind)


def recorded(golden: Golden, prefix: str) -> list[str]:
    return [key.removeprefix(prefix) for key in golden.arrays if re.match(rf"{prefix}(G|D)_(?!latents)", key)]


def test_every_loss_matches(golden: Golden) -> None:
    names = recorded(golden, "loss/")
    assert {"G_wgan", "G_logistic_ns", "D_wgangp", "D_logistic", "D_hinge", "D_hinge_gp"} < set(names)
    assert any(name.startswith("D_logistic_r") for name in names)
    for name in names:
        total, _ = golden.losses(name[0], config_of(name))
        close(total, golden.arrays[f"loss/{name}"].mean())


@pytest.mark.parametrize("name", ["G_wgan", "D_wgangp"])
def test_gradients_match(golden: Golden, name: str) -> None:
    _, gradients = golden.losses(name[0], config_of(name))
    num_nonzero = 0
    for variable, gradient in zip(golden.variables(name[0]), gradients, strict=True):
        expected = golden.arrays[f"grad/{name}/{variable}"]
        scale = np.abs(expected).max()
        num_nonzero += scale > 0
        ours = np.zeros_like(expected) if gradient is None else gradient.numpy()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-3 * scale, err_msg=variable)
    assert num_nonzero > len(gradients) // 2
