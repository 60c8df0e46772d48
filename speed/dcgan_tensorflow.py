"""The side of GAN_dcgan in dcgan_step.py: the published training's own step."""

import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import rivals
import tensorflow as tf
from proof import Arrays
from safetensors.numpy import save_file

from GAN_dcgan.application import APPLICATION
from medsynth.config import override
from medsynth.gan.application import Training
from medsynth.gan.draws import Draws, Purpose
from medsynth.gan.steps import AdversarialStep
from medsynth.training.checkpoint import named_variables

SEED, RATE = 1, 2e-4
NUM_PROVEN = 2  # the first step of Adam hides both decays
LOSSES = ("discriminator_real", "discriminator_fake", "generator")


def build_step(size: dict[str, Any], precision: str) -> AdversarialStep:
    """Return the step of a training on grey images, as train.py builds it."""
    settings = {
        "precision": "mixed_bfloat16" if precision == "bfloat16" else precision,
        "latent_size": size["latent_size"],
        "generator_features": size["features"],
        "discriminator_features": size["features"],
    }
    config = override(
        APPLICATION.presets(size["resolution"])["published"],
        [f"network.{name}={value}" for name, value in settings.items()],
    )
    data: Any = SimpleNamespace(num_channels=1, label_names=())  # all that a step depends on
    return Training(APPLICATION, config, data, SEED, size["resolution"]).build_step()


def prove(train: AdversarialStep, images: np.ndarray, path: str) -> None:
    """Write weights, a batch for each step, and the losses and everything changed by these steps.

    Args:
        train: Fresh.
        images: uint8 [steps, N, S, S, 1].
        path: Of the file.
    """
    random = np.random.default_rng(2)
    networks = {"generator": train.networks.generator, "discriminator": train.networks.discriminator}
    arrays = {"input/images": images}
    for name, network in networks.items():
        for key, variable in named_variables(network).items():
            if key.endswith("beta"):  # zeros would hide a shift at the wrong place
                variable.assign(0.1 * random.standard_normal(variable.shape))
            arrays[f"weight/{name}/{key}"] = variable.numpy()

    shape, latents = (train.networks.generator.latent_size,), []
    for number, batch in enumerate(images):
        draws = Draws(SEED, tf.constant(number, tf.int64), len(batch))
        latents.append(draws.normal(Purpose.DISCRIMINATOR_LATENTS, shape))
        scalars = run(train, batch, number)
        arrays |= {f"loss/{number}/{name}": scalars[name].numpy() for name in LOSSES}
        for name, network in networks.items():
            momentums, velocities = moments(train, name)
            # Adam's first average of gradients is the gradient, times a constant.
            arrays |= {f"{'momentum' if number else 'gradient'}/{name}/{key}": m for key, m in momentums.items()}
            arrays |= {f"velocity/{name}/{key}": v for key, v in velocities.items()}
            arrays |= {f"end/{name}/{key}": variable.numpy() for key, variable in named_variables(network).items()}
    arrays["input/latents"] = np.stack(latents)
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)


def moments(train: AdversarialStep, name: str) -> tuple[Arrays, Arrays]:
    """Return what Adam keeps of a network: averages of its gradients and of their squares, by weight."""
    network = getattr(train.networks, name)
    by_identity = {id(variable): key for key, variable in named_variables(network).items()}
    keys = [by_identity[id(variable)] for variable in network.trainable_variables]
    _, *both = (variable.numpy() for variable in train.optimisers[f"{name}_adam"].variables)
    first, second = both[: len(keys)], both[len(keys) :]
    return dict(zip(keys, first, strict=True)), dict(zip(keys, second, strict=True))


def run(train: AdversarialStep, images: np.ndarray, number: int) -> dict[str, tf.Tensor]:
    """Do one step, and return its scalars."""
    no_labels = np.zeros((len(images), 0), np.float32)
    return train(images, no_labels, no_labels, step=number, stage=0, fade=0.0, learning_rates=(RATE, RATE))


def main() -> None:
    """Serve the orders `steps` and `prove`."""
    size, precision = json.loads(sys.argv[1]), sys.argv[2]
    train = build_step(size, precision)
    shape = (NUM_PROVEN, size["num_images"], size["resolution"], size["resolution"], 1)
    images = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)

    def step() -> None:
        scalars = run(train, images[0], 0)
        float(scalars["discriminator"]), float(scalars["generator"])

    rivals.serve({"steps": rivals.timed_steps(step), "prove": lambda path: prove(train, images, path)})


if __name__ == "__main__":
    main()
