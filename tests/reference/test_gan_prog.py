"""GAN_prog against numbers recorded from the original: outputs, losses and gradients."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from GAN_prog.loss import LossConfig, ProgressiveLoss
from GAN_prog.networks import Discriminator, Generator
from medsynth.gan.loss_protocols import Level
from medsynth.gan.schedule import growth_stage
from tests.golden_files import golden_files

FILES = golden_files("gan_prog_*.npz")


class Golden:
    """One golden file, and both networks with its weights."""

    def __init__(self, path: Path) -> None:
        self.arrays = dict(np.load(path, allow_pickle=False))
        self.meta = json.loads(str(self.arrays["meta"]))
        names = ("resolution", "num_channels", "label_size", "fmap_base", "fmap_max")
        config = {name: self.meta[name] for name in names}
        self.networks = {"G": Generator(**config), "D": Discriminator(**config)}
        for letter, network in self.networks.items():
            network.build()
            for name, variable in self.variables(letter).items():
                variable.assign(self.arrays[f"var/{name}"])

    def variables(self, letter: str) -> dict:
        """Map the original's variable names, as the file has them, to ours."""
        log2 = self.networks[letter].resolution_log2
        layers = {layer.name: layer for layer in self.networks[letter].layers}

        def layer_name(scope: str) -> str:
            if match := re.fullmatch(r"(ToRGB|FromRGB)_lod(\d+)", scope):
                resolution = 2 ** (log2 - int(match[2]))
                return f"{'to_rgb' if match[1] == 'ToRGB' else 'from_rgb'}_{resolution}x{resolution}"
            return scope.lower().replace("/", "_")

        found = {}
        for key in self.arrays:
            if match := re.fullmatch(rf"var/({letter}/(.+)/(weight|bias):0)", key):
                found[match[1]] = getattr(layers[layer_name(match[2])], match[3])
        assert len(found) == len(self.networks[letter].variables), "a variable on either side has no partner"
        return found

    def lods(self, prefix: str) -> list[float]:
        return [float(key.removeprefix(prefix)) for key in self.arrays if key.startswith(prefix)]


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(request.param)


def level(lod: float) -> Level:
    stage, _ = growth_stage(lod)
    return Level(stage, tf.constant(lod - stage, tf.float32))


def close(ours: tf.Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)


def test_outputs_match_at_every_level_of_detail(golden: Golden) -> None:
    lods = golden.lods("G_out/lod")
    assert any(lod != int(lod) for lod in lods), "the file has a level in mid-fade"
    for lod in lods:
        images = golden.networks["G"](golden.arrays["latents"], golden.arrays["labels"], **level(lod)._asdict())
        close(tf.transpose(images, (0, 3, 1, 2)), golden.arrays[f"G_out/lod{lod:g}"])
        scores, logits = golden.networks["D"](golden.arrays["images"].transpose(0, 2, 3, 1), **level(lod)._asdict())
        close(scores, golden.arrays[f"D_scores/lod{lod:g}"])
        close(logits, golden.arrays[f"D_labels/lod{lod:g}"])


def losses(golden: Golden, letter: str) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Return the loss, and its gradients in the order of `Golden.variables`."""
    arrays, networks = golden.arrays, golden.networks
    loss = ProgressiveLoss(LossConfig())
    variables = list(golden.variables(letter).values())
    with tf.GradientTape() as tape:
        if letter == "G":
            terms = loss.generator(
                networks["G"],
                networks["D"],
                tf.constant(arrays["loss/G_latents"]),
                tf.constant(arrays["loss/random_labels"]),
                level(float(arrays["loss/lod"])),
            )
        else:
            terms = loss.discriminator(
                networks["G"],
                networks["D"],
                tf.constant(arrays["loss/reals"].transpose(0, 2, 3, 1)),
                tf.constant(arrays["loss/real_labels"]),
                tf.constant(arrays["loss/D_latents"]),
                tf.constant(arrays["loss/mix"]),
                level(float(arrays["loss/lod"])),
            )
    return terms.total, tape.gradient(terms.total, [variable.value for variable in variables])


@pytest.mark.parametrize("letter", ["G", "D"])
def test_mean_losses_and_their_gradients_match(golden: Golden, letter: str) -> None:
    total, gradients = losses(golden, letter)
    close(total, golden.arrays[f"loss/{letter}"].mean())
    num_nonzero = 0
    for name, gradient in zip(golden.variables(letter), gradients, strict=True):
        expected = golden.arrays[f"grad/{name}"]
        scale = np.abs(expected).max()
        num_nonzero += scale > 0
        # A layer that this level of detail does not run has no gradient; the original has zeros.
        ours = np.zeros_like(expected) if gradient is None else gradient.numpy()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-3 * scale, err_msg=name)
    assert num_nonzero > len(gradients) // 2
