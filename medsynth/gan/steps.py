"""One adversarial training step: a discriminator update, the average, a generator update.

Random numbers are stateless: they depend on (seed, step, purpose) alone, so
that a resumed training draws what the undisturbed one would have drawn.
"""

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from medsynth.config import require_range
from medsynth.gan.layers import downscale2d, upscale2d
from medsynth.training.checkpoint import named_variables
from medsynth.training.optimizers import SkippingAdam


class Level(NamedTuple):
    """Level of detail: its whole part (which layers run) and its fraction (a scalar tensor)."""

    stage: int
    fade: Any


class LossTerms(NamedTuple):
    """A loss (float32 scalar) and the scalars worth showing, by name."""

    total: tf.Tensor
    metrics: dict[str, tf.Tensor]


class AdversarialLoss(Protocol):
    """What an application's loss.py provides."""

    def generator(
        self, generator: Any, discriminator: Any, latents: tf.Tensor, labels: tf.Tensor, level: Level
    ) -> LossTerms:
        """Return the generator's loss for freshly drawn latents and labels."""

    def discriminator(
        self,
        generator: Any,
        discriminator: Any,
        reals: tf.Tensor,
        labels: tf.Tensor,
        latents: tf.Tensor,
        mix: tf.Tensor,
        level: Level,
    ) -> LossTerms:
        """Return the discriminator's loss for a batch of real images and their labels."""


class _Purpose(enum.IntEnum):
    """Keeps the random streams of a step apart."""

    MIRROR = 0
    DISCRIMINATOR_LATENTS = 1
    MIX = 2
    GENERATOR_LATENTS = 3


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam's settings, for both networks, and the averaging of the generator.

    Attributes:
        beta_1: Decay of the mean of gradients.
        beta_2: Decay of the mean of their squares.
        epsilon: Added to the root of that.
        average_decay: Share that the generator's average keeps per step.
    """

    beta_1: float = 0.0
    beta_2: float = 0.99
    epsilon: float = 1e-8
    average_decay: float = 0.999

    def __post_init__(self) -> None:
        for name in ("beta_1", "beta_2", "average_decay"):
            require_range(f"optimiser.{name}", getattr(self, name), 0, below=1)
        require_range("optimiser.epsilon", self.epsilon, 0)


@dataclass
class Networks:
    """The three networks of a training.

    Attributes:
        generator: Being trained.
        discriminator: Being trained.
        average: Like the generator, with averaged weights; it makes the pictures.
    """

    generator: Any
    discriminator: Any
    average: Any

    def named(self) -> dict[str, Any]:
        """Return the networks by the names that they are stored under."""
        return {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}


def prepare_reals(images: tf.Tensor, resolution: int, fade: tf.Tensor) -> tf.Tensor:
    """Turn stored images into network input at a level of detail.

    Args:
        images: uint8 [N, r, r, C] at the resolution in use.
        resolution: The networks' resolution, r times a power of two.
        fade: Weight of the 2x2-averaged copy, in [0, 1).

    Returns:
        float32 [N, resolution, resolution, C] in [-1, 1].

    Source: Karras et al. 2018, figure 2: real images fade as the networks do.
    """
    reals = tf.cast(images, tf.float32) * (2.0 / 255.0) - 1.0
    coarser = upscale2d(downscale2d(reals))
    reals = reals + (coarser - reals) * fade
    return upscale2d(reals, resolution // images.shape[1])


class AdversarialStep:
    """Trains both networks on one batch; one graph per growth stage.

    Args:
        networks: All weights built.
        loss: The application's losses.
        config: Adam and averaging.
        seed: Of every random draw.
        mirror: Whether half of the real images are flipped left to right.
    """

    def __init__(
        self, networks: Networks, loss: AdversarialLoss, config: OptimiserConfig, *, seed: int, mirror: bool
    ) -> None:
        self.networks, self.loss, self.config = networks, loss, config
        self.seed, self.mirror = seed, mirror
        self.optimisers = {
            name: SkippingAdam(0.0, beta_1=config.beta_1, beta_2=config.beta_2, epsilon=config.epsilon, name=name)
            for name in ("generator_adam", "discriminator_adam")
        }
        self.optimisers["generator_adam"].build(networks.generator.trainable_variables)
        self.optimisers["discriminator_adam"].build(networks.discriminator.trainable_variables)
        # Traced once per stage and minibatch: a graph holds the layers of its stage alone.
        self._graph = tf.function(self._run, autograph=False)

    def start_optimisers_afresh(self) -> None:
        """Forget both optimisers' moments, as is done whenever the growth stage changes."""
        for optimiser in self.optimisers.values():
            optimiser.start_afresh()

    def variables(self) -> dict[str, keras.Variable]:
        """Return everything that a step changes, by a name that is stable over runs."""
        found: dict[str, keras.Variable] = {}
        for name, network in self.networks.named().items():
            found |= {f"{name}/{key}": variable for key, variable in named_variables(network).items()}
        # Keras gives an optimiser's variables no names of their own, but keeps their order.
        for name, optimiser in self.optimisers.items():
            found |= {f"{name}/{i:03d}-{variable.name}": variable for i, variable in enumerate(optimiser.variables)}
        return found

    def __call__(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.float32],
        generator_labels: npt.NDArray[np.float32],
        *,
        step: int,
        stage: int,
        fade: float,
        learning_rates: tuple[float, float],
    ) -> dict[str, tf.Tensor]:
        """Do a discriminator step, update the average, do a generator step.

        Args:
            images: uint8 [N, r, r, C] real images at the resolution of `stage`.
            labels: [N, L] of the real images.
            generator_labels: [N, L] for the generator's step.
            step: Number of this step from the start of training; seeds the random draws.
            stage: Whole part of the level of detail.
            fade: Its fraction.
            learning_rates: Of the generator's and of the discriminator's optimiser.

        Returns:
            Scalars by name; `skipped` counts the non-finite updates among the two.
        """
        outcome: dict[str, tf.Tensor] = self._graph(
            images=tf.constant(images),
            labels=tf.constant(labels),
            generator_labels=tf.constant(generator_labels),
            step=tf.constant(step, tf.int64),
            stage=stage,
            fade=tf.constant(fade, tf.float32),
            learning_rates=tf.constant(learning_rates, tf.float32),
        )
        return outcome

    def _seed(self, step: tf.Tensor, purpose: _Purpose) -> tf.Tensor:
        return tf.stack([tf.constant(self.seed, tf.int64), step * len(_Purpose) + int(purpose)])

    def _run(
        self,
        images: tf.Tensor,
        labels: tf.Tensor,
        generator_labels: tf.Tensor,
        step: tf.Tensor,
        stage: int,
        fade: tf.Tensor,
        learning_rates: tf.Tensor,
    ) -> dict[str, tf.Tensor]:
        networks, level = self.networks, Level(stage, fade)
        num_images = images.shape[0]
        latents_shape = (num_images, networks.generator.latent_size)
        per_image = (num_images, 1, 1, 1)

        # Real images as the networks see them.
        reals = prepare_reals(images, networks.generator.resolution, fade)
        if self.mirror:
            coin = tf.random.stateless_uniform(per_image, self._seed(step, _Purpose.MIRROR))
            reals = tf.where(coin < 0.5, reals, tf.reverse(reals, axis=[2]))

        # Discriminator.
        latents = tf.random.stateless_normal(latents_shape, self._seed(step, _Purpose.DISCRIMINATOR_LATENTS))
        mix = tf.random.stateless_uniform(per_image, self._seed(step, _Purpose.MIX))
        with tf.GradientTape() as tape:
            terms = self.loss.discriminator(
                networks.generator, networks.discriminator, reals, labels, latents, mix, level
            )
        done = self._update("discriminator_adam", networks.discriminator, tape, terms.total, learning_rates[1])
        metrics = {"discriminator": terms.total, **terms.metrics}

        # The average follows the generator as it was before its own update.
        keep = self.config.average_decay
        for average, current in zip(networks.average.variables, networks.generator.variables, strict=True):
            average.assign(current.value + (average.value - current.value) * keep)

        # Generator.
        latents = tf.random.stateless_normal(latents_shape, self._seed(step, _Purpose.GENERATOR_LATENTS))
        with tf.GradientTape() as tape:
            terms = self.loss.generator(networks.generator, networks.discriminator, latents, generator_labels, level)
        done += self._update("generator_adam", networks.generator, tape, terms.total, learning_rates[0])
        return metrics | {"generator": terms.total, **terms.metrics, "skipped": 2 - done}

    def _update(
        self, name: str, network: Any, tape: tf.GradientTape, loss: tf.Tensor, learning_rate: tf.Tensor
    ) -> tf.Tensor:
        """Apply a loss's gradients to one network and return 1 if that was done, else 0."""
        optimiser = self.optimisers[name]
        optimiser.learning_rate.assign(learning_rate)
        variables = network.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        return tf.cast(optimiser.apply_if_finite(gradients, variables, loss), tf.int32)
