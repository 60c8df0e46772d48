"""The side of GAN_prog and GAN_cpd in gan_step.py: the step of medsynth.gan.steps, as a training runs it."""

import json
import sys
from importlib import import_module
from typing import Any

import keras
import numpy as np
import rivals
import tensorflow as tf
from safetensors.numpy import save_file

from medsynth.config import override
from medsynth.gan.application import GanApplication
from medsynth.gan.loss_protocols import Level
from medsynth.gan.steps import AdversarialStep, Networks
from medsynth.training.checkpoint import named_variables


def load_application(name: str) -> GanApplication:
    """Return GAN_prog's or GAN_cpd's application, for `prog` or `cpd`."""
    application: GanApplication = import_module(f"GAN_{name}.application").APPLICATION
    return application


def main() -> None:
    """Serve the orders `steps` and `prove`."""
    size, precision = json.loads(sys.argv[1]), sys.argv[2]
    resolution, num_labels, num_images = size["resolution"], size["num_labels"], size["num_images"]
    keras.utils.set_random_seed(1)
    application = load_application(size["app"])
    settings = {key: size[key] for key in ("fmap_base", "fmap_max")}
    settings["precision"] = "mixed_bfloat16" if precision == "bfloat16" else precision
    config = override(
        application.presets(resolution)["published"], [f"network.{key}={value}" for key, value in settings.items()]
    )
    generator, discriminator = application.build_networks(config, resolution, 1, num_labels)
    average, _ = application.build_networks(config, resolution, 1, num_labels)
    loss = application.build_loss(config)
    train = AdversarialStep(Networks(generator, discriminator, average), loss, config.optimiser, seed=1, mirror=False)
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (num_images, resolution, resolution, 1), dtype=np.uint8)
    labels = (random.random((num_images, num_labels)) < 0.3).astype(np.float32)
    labels[:, 0] = np.maximum(labels[:, 0], labels.sum(axis=1) == 0)  # every image has a label

    def step() -> None:
        scalars = train(images, labels, labels, step=0, stage=0, fade=0.0, learning_rates=(1e-3, 1e-3))
        float(scalars["discriminator"]), float(scalars["generator"])

    def differentiate(name: str, variables: list[keras.Variable], *given: Any) -> tuple[tf.Tensor, list[tf.Tensor]]:
        @tf.function(autograph=False)  # a graph, as in training: its fused operations round otherwise than eager ones
        def run(*given: Any) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape() as tape:
                total = getattr(loss, name)(generator, discriminator, *given).total
            return total, tape.gradient(total, [v.value for v in variables], unconnected_gradients="zero")

        return run(*given)

    def prove(path: str) -> None:
        """Write weights, inputs, losses and gradients of both networks."""
        inputs = {
            "reals": images / np.float32(127.5) - 1,
            "labels": labels,
            "latents": random.standard_normal((num_images, generator.latent_size), dtype=np.float32),
            "mix": random.random((num_images, 1, 1, 1), dtype=np.float32),
        }
        arrays = {f"input/{name}": value for name, value in inputs.items()}
        networks = {"generator": generator, "discriminator": discriminator}
        for name, network in networks.items():
            for key, variable in named_variables(network).items():
                if key.endswith("bias"):  # zeros would hide a bias at the wrong place
                    variable.assign(0.1 * random.standard_normal(variable.shape))
                arrays[f"weight/{name}/{key}"] = variable.numpy()
        inputs = {name: tf.constant(value) for name, value in inputs.items()}

        level = Level(0, tf.constant(0.0))
        given = {
            "generator": (inputs["latents"], inputs["labels"], level),
            "discriminator": (*inputs.values(), level),
        }
        for name, network in networks.items():
            variables = named_variables(network)
            total, gradients = differentiate(name, list(variables.values()), *given[name])
            arrays[f"loss/{name}"] = total.numpy()
            arrays |= {f"gradient/{name}/{key}": g.numpy() for key, g in zip(variables, gradients, strict=True)}
        save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path)

    rivals.serve({"steps": rivals.timed_steps(step), "prove": prove})


if __name__ == "__main__":
    main()
