"""One adversarial training step: a discriminator update, the average, a generator update.

Random numbers are stateless: they depend on (seed, step, purpose) alone, so
that a resumed training draws what the undisturbed one would have drawn.
"""

import enum
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from medsynth.config import require_range
from medsynth.gan.augment import AugmentConfig, adjusted_probability, augment, score_sign_mean
from medsynth.gan.layers import downscale2d, upscale2d
from medsynth.training.checkpoint import named_variables
from medsynth.training.optimizers import SkippingAdam


class Level(NamedTuple):
    """Level of detail: its whole part (which layers run) and its fraction (a scalar tensor)."""

    stage: int
    fade: Any


class LossTerms(NamedTuple):
    """A loss (float32 scalar) and the scalars worth showing, by name.

    A discriminator's also has its scores [N, 1], which adaptive augmentation watches.
    """

    total: tf.Tensor
    metrics: dict[str, tf.Tensor]
    real_scores: tf.Tensor | None = None
    fake_scores: tf.Tensor | None = None


class AdversarialLoss(Protocol):
    """What an application's loss.py provides."""

    @property
    def scores_have_a_zero(self) -> bool:
        """Whether a score of 0 separates real from fake; not so in a Wasserstein loss, where only differences count."""

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
        gradient_scale: tf.Tensor | float = 1.0,
    ) -> LossTerms:
        """Return the discriminator's loss for a batch of real images and their labels.

        `gradient_scale` multiplies scores before their gradients with respect to images are taken,
        and divides those gradients: float16 needs it.
        """


# A loss multiplied by its scale, scalars to show, and the variables to differentiate it by.
_Terms = tuple[tf.Tensor, dict[str, tf.Tensor], list[keras.Variable]]


class _Purpose(enum.IntEnum):
    """Keeps the random streams of a step apart."""

    MIRROR = 0
    DISCRIMINATOR_LATENTS = 1
    MIX = 2
    GENERATOR_LATENTS = 3
    DISCRIMINATOR_AUGMENT = 4
    GENERATOR_AUGMENT = 5


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
        networks: All weights built, in the scope of the strategy.
        loss: The application's losses.
        config: Adam and averaging.
        seed: Of every random draw.
        mirror: Whether half of the real images are flipped left to right.
        augmentation: How real and synthetic images are altered on their way to the discriminator.
        strategy: Of the devices that share each minibatch; the one in scope where not given.
    """

    def __init__(
        self,
        networks: Networks,
        loss: AdversarialLoss,
        config: OptimiserConfig,
        *,
        seed: int,
        mirror: bool,
        augmentation: AugmentConfig | None = None,
        strategy: tf.distribute.Strategy | None = None,
    ) -> None:
        self.networks, self.loss, self.config = networks, loss, config
        self.seed, self.mirror = seed, mirror
        self.augmentation = augmentation or AugmentConfig()
        self.strategy = strategy or tf.distribute.get_strategy()
        scales_loss = networks.generator.compute_dtype == "float16"
        with self.strategy.scope():
            self.optimisers = {
                name: SkippingAdam(
                    network.trainable_variables,
                    beta_1=config.beta_1,
                    beta_2=config.beta_2,
                    epsilon=config.epsilon,
                    scales_loss=scales_loss,
                )
                for name, network in (
                    ("generator_adam", networks.generator),
                    ("discriminator_adam", networks.discriminator),
                )
            }
            # How often images are altered, and the sum of the scores' signs since that was last adjusted.
            self._probability = keras.Variable(np.float32(self.augmentation.probability), trainable=False)
            self._signs = keras.Variable(np.float32(0), trainable=False)
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
        # An optimiser's variables have no names of their own, but an order.
        for name, optimiser in self.optimisers.items():
            found |= {f"{name}/{i:03d}-{variable.name}": variable for i, variable in enumerate(optimiser.variables)}
        if self.augmentation.mode == "adaptive":
            found |= {"augment/probability": self._probability, "augment/signs": self._signs}
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
        stop: bool = False,
    ) -> dict[str, tf.Tensor]:
        """Do a discriminator step, update the average, do a generator step.

        Args:
            images: uint8 [N, r, r, C] real images at the resolution of `stage`, the global minibatch.
            labels: [N, L] of the real images.
            generator_labels: [N, L] for the generator's step.
            step: Number of this step from the start of training; seeds the random draws.
            stage: Whole part of the level of detail.
            fade: Its fraction.
            learning_rates: Of the generator's and of the discriminator's optimiser.
            stop: Whether this process was asked to stop.

        Returns:
            Scalars by name, over all devices; `skipped` counts the non-finite updates among the
            two, `stop` is above 0 where any process was asked to stop.
        """
        num_local = len(images) // self._num_replicas

        def share(context: tf.distribute.experimental.ValueContext) -> tuple[tf.Tensor, ...]:
            first = context.replica_id_in_sync_group * num_local
            rows = slice(first, first + num_local)
            arrays = (images[rows], labels[rows], generator_labels[rows], np.float32(stop))
            return tuple(tf.constant(array) for array in arrays)

        outcome: dict[str, tf.Tensor] = self._graph(
            self.strategy.experimental_distribute_values_from_function(share),
            step=tf.constant(step, tf.int64),
            stage=stage,
            fade=tf.constant(fade, tf.float32),
            learning_rates=tf.constant(learning_rates, tf.float32),
        )
        return outcome

    def _run(
        self, shares: Any, step: tf.Tensor, stage: int, fade: tf.Tensor, learning_rates: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        level = Level(stage, fade)

        # Discriminator.
        gradients, metrics = self._differentiate(self._discriminator_terms, shares, step, level)
        done = self._update("discriminator_adam", gradients, metrics["discriminator"], learning_rates[1])
        if self.augmentation.mode == "adaptive":
            metrics["augment_probability"] = self._adjust_augmentation(metrics["augment_signs"], shares, step)

        # The average follows the generator as it was before its own update.
        keep = self.config.average_decay
        pairs = zip(self.networks.average.variables, self.networks.generator.variables, strict=True)
        for average, current in pairs:
            self.strategy.extended.update(
                average.value, lambda mine, other: mine.assign(other + (mine - other) * keep), args=(current.value,)
            )

        # Generator.
        gradients, more = self._differentiate(self._generator_terms, shares, step, level)
        done += self._update("generator_adam", gradients, more["generator"], learning_rates[0])
        return metrics | more | {"skipped": 2 - done}

    def _discriminator_terms(self, share: Any, random: "_Random", level: Level) -> _Terms:
        images, labels, _, stop = share
        networks, scale = self.networks, self.optimisers["discriminator_adam"].loss_scale()
        reals = prepare_reals(images, networks.generator.resolution, level.fade)
        if self.mirror:
            coin = random.uniform(_Purpose.MIRROR, (1, 1, 1))
            reals = tf.where(coin < 0.5, reals, tf.reverse(reals, axis=[2]))
        terms = self.loss.discriminator(
            networks.generator,
            self._augmented(random, _Purpose.DISCRIMINATOR_AUGMENT),
            reals,
            labels,
            random.normal(_Purpose.DISCRIMINATOR_LATENTS, (networks.generator.latent_size,)),
            random.uniform(_Purpose.MIX, (1, 1, 1)),
            level,
            scale,
        )
        metrics = {"discriminator": terms.total, "stop": stop, **terms.metrics}
        if self.augmentation.mode == "adaptive":
            has_zero = self.loss.scores_have_a_zero
            metrics["augment_signs"] = score_sign_mean(terms.real_scores, terms.fake_scores, has_zero)
        return terms.total * scale, metrics, networks.discriminator.trainable_variables

    def _generator_terms(self, share: Any, random: "_Random", level: Level) -> _Terms:
        _, _, labels, _ = share
        networks, scale = self.networks, self.optimisers["generator_adam"].loss_scale()
        latents = random.normal(_Purpose.GENERATOR_LATENTS, (networks.generator.latent_size,))
        discriminator = self._augmented(random, _Purpose.GENERATOR_AUGMENT)
        terms = self.loss.generator(networks.generator, discriminator, latents, labels, level)
        metrics = {"generator": terms.total, **terms.metrics}
        return terms.total * scale, metrics, networks.generator.trainable_variables

    def _augmented(self, random: "_Random", purpose: _Purpose) -> Callable[..., Any]:
        """Return the discriminator, seeing each batch altered in its own way if augmentation is on."""
        discriminator: Callable[..., Any] = self.networks.discriminator
        if self.augmentation.mode == "off":
            return discriminator
        calls = itertools.count()

        def judge(images: tf.Tensor, *more: Any, **level: Any) -> Any:
            key = tf.random.experimental.stateless_fold_in(random.key(purpose), next(calls))
            place = {"first": random.first, "num_global": random.num_global}
            return discriminator(
                augment(images, self._probability.value, key, self.augmentation, **place), *more, **level
            )

        return judge

    def _adjust_augmentation(self, signs: tf.Tensor, shares: Any, step: tf.Tensor) -> tf.Tensor:
        """Add a step's mean sign to the sum and, every few steps, move the probability; return it."""
        interval = self.augmentation.interval
        num_images = self.strategy.experimental_local_results(shares)[0][0].shape[0] * self._num_replicas
        total = self._signs.value + signs
        is_due = tf.equal((step + 1) % interval, 0)
        moved = adjusted_probability(
            self._probability.value, total / interval, num_images * interval, self.augmentation
        )
        self._probability.assign(tf.where(is_due, moved, self._probability.value))
        self._signs.assign(tf.where(is_due, 0.0, total))
        return tf.identity(self._probability.value)

    @property
    def _num_replicas(self) -> int:
        return int(self.strategy.num_replicas_in_sync)

    def _differentiate(
        self, terms_of: Callable[..., _Terms], shares: Any, step: tf.Tensor, level: Level
    ) -> tuple[list[Any], dict[str, tf.Tensor]]:
        """Return a loss's gradients, added up over the devices, and its scalars, averaged over them."""
        num_replicas = self._num_replicas
        names: list[str] = []
        variables: list[keras.Variable] = []

        def on_each_device(share: Any) -> tuple[dict[int, tf.Tensor], tf.Tensor]:
            random = _Random(self.seed, step, share[0].shape[0])
            with tf.GradientTape() as tape:
                total, metrics, variables[:] = terms_of(share, random, level)
                total = total / num_replicas
            gradients = tape.gradient(total, [variable.value for variable in variables])
            names[:] = metrics
            scalars = tf.stack([tf.cast(metrics[name], tf.float32) for name in names]) / num_replicas
            return {number: g for number, g in enumerate(gradients) if g is not None}, scalars

        found, scalars = self.strategy.run(on_each_device, args=(shares,))
        numbers = sorted(found)
        summed = self.strategy.extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, [(found[number], variables[number].value) for number in numbers]
        )
        gradients: list[Any] = [None] * len(variables)
        for number, gradient in zip(numbers, summed, strict=True):
            gradients[number] = gradient
        means = self.strategy.reduce(tf.distribute.ReduceOp.SUM, scalars, axis=None)
        return gradients, dict(zip(names, tf.unstack(means, num=len(names)), strict=True))

    def _update(self, name: str, gradients: list[Any], loss: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        """Apply gradients to one network and return 1 if that was done, else 0."""
        return tf.cast(self.optimisers[name].apply_if_finite(gradients, loss, learning_rate), tf.int32)


class _Random:
    """Draws for the images of one device, out of those for the global minibatch.

    However many devices share a minibatch, each image gets the same numbers.

    Args:
        seed: Of the training.
        step: Number of the step.
        num_local: Images of this device.
    """

    def __init__(self, seed: int, step: tf.Tensor, num_local: int) -> None:
        context = tf.distribute.get_replica_context()
        self.seed, self.step, self.num_local = seed, step, num_local
        self.num_global = context.num_replicas_in_sync * num_local
        self.first = context.replica_id_in_sync_group * num_local

    def normal(self, purpose: _Purpose, shape: tuple[int, ...]) -> tf.Tensor:
        """Return standard normal numbers [num_local, *shape]."""
        return self._share(tf.random.stateless_normal, purpose, shape)

    def uniform(self, purpose: _Purpose, shape: tuple[int, ...]) -> tf.Tensor:
        """Return uniform numbers in [0, 1), [num_local, *shape]."""
        return self._share(tf.random.stateless_uniform, purpose, shape)

    def key(self, purpose: _Purpose) -> tf.Tensor:
        """Return the seed of a purpose, int64 [2]."""
        return tf.stack([tf.constant(self.seed, tf.int64), self.step * len(_Purpose) + int(purpose)])

    def _share(self, draw: Callable[..., tf.Tensor], purpose: _Purpose, shape: tuple[int, ...]) -> tf.Tensor:
        numbers = draw((self.num_global, *shape), self.key(purpose))
        return numbers[self.first :][: self.num_local]
