"""One adversarial training step: discriminator, average and generator, in one of the orders of `loss_protocols`.

Random numbers are stateless: they depend on (seed, step, purpose) alone, so
that a resumed training draws what the undisturbed one would have drawn.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from medsynth.config import require_range
from medsynth.gan.augment import AugmentConfig, adjusted_probability, augment, score_sign_mean
from medsynth.gan.draws import Draws, Purpose
from medsynth.gan.loss_protocols import (
    AdversarialLoss,
    GanLoss,
    Level,
    LossTerms,
    SharedFakesLoss,
    SimultaneousLoss,
)
from medsynth.gan.reals import prepare_reals
from medsynth.training.checkpoint import named_variables
from medsynth.training.optimizers import SkippingAdam

# A loss multiplied by its scale, and the variables to differentiate it by.
_Objective = tuple[tf.Tensor, list[keras.Variable]]
# What a pass is differentiated for, and scalars to show.
_Terms = tuple[list[_Objective], dict[str, tf.Tensor]]


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam's settings, for both networks, and the averaging of the generator.

    Attributes:
        beta_1: Decay of the mean of gradients.
        beta_2: Decay of the mean of their squares.
        epsilon: Added to the root of that.
        average_decay: Share that the generator's average keeps per step; 0 does without one.
    """

    # No setting but a formula; see `SkippingAdam`.
    corrects_before_epsilon: ClassVar[bool] = False

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
        average: Like the generator, with averaged weights; it makes the pictures. The generator itself where there
            is no average.
    """

    generator: Any
    discriminator: Any
    average: Any

    def named(self) -> dict[str, Any]:
        """Return the networks by the names that they are stored under; what makes the pictures is the average."""
        named = {"discriminator": self.discriminator, "average": self.average}
        return named if self.average is self.generator else {"generator": self.generator, **named}


@dataclass(frozen=True)
class _Fakes:
    """The fakes of one device, and the tape that knows how they were made."""

    images: tf.Tensor
    tape: tf.GradientTape


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
        loss: GanLoss,
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
                    corrects_before_epsilon=config.corrects_before_epsilon,
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
        """Update the discriminator, the average and the generator.

        With a `SimultaneousLoss` both networks' gradients are those before either update; with a `SharedFakesLoss`
        the updated discriminator judges the fakes that it was trained on.

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
        if isinstance(self.loss, SimultaneousLoss):
            return self._run_both(self.loss, shares, step, level, learning_rates)
        if isinstance(self.loss, SharedFakesLoss):
            return self._run_on_same_fakes(self.loss, shares, step, level, learning_rates)

        terms_of: Callable[..., _Terms] = functools.partial(self._discriminator_terms, self.loss)
        (gradients,), metrics = self._differentiate(terms_of, shares, step, level)
        done = self._end_discriminator(gradients, metrics, shares, step, learning_rates)
        terms_of = functools.partial(self._generator_terms, self.loss)
        (gradients,), more = self._differentiate(terms_of, shares, step, level)
        done += self._update("generator_adam", gradients, more["generator"], learning_rates[0])
        return metrics | more | {"skipped": 2 - done}

    def _run_both(
        self, loss: SimultaneousLoss, shares: Any, step: tf.Tensor, level: Level, learning_rates: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        terms_of = functools.partial(self._both_terms, loss)
        (of_discriminator, of_generator), metrics = self._differentiate(terms_of, shares, step, level)
        done = self._end_discriminator(of_discriminator, metrics, shares, step, learning_rates)
        done += self._update("generator_adam", of_generator, metrics["generator"], learning_rates[0])
        return metrics | {"skipped": 2 - done}

    def _run_on_same_fakes(
        self, loss: SharedFakesLoss, shares: Any, step: tf.Tensor, level: Level, learning_rates: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        made = self.strategy.run(functools.partial(self._make_fakes, loss), args=(shares, step))
        terms_of: Callable[..., _Terms] = functools.partial(self._discriminator_terms_of_fakes, loss)
        (gradients,), metrics = self._differentiate(terms_of, shares, step, level, made)
        done = self._end_discriminator(gradients, metrics, shares, step, learning_rates)
        terms_of = functools.partial(self._generator_terms_of_fakes, loss)
        (gradients,), more = self._differentiate(terms_of, shares, step, level, made, continues=True)
        done += self._update("generator_adam", gradients, more["generator"], learning_rates[0])
        return metrics | more | {"skipped": 2 - done}

    def _end_discriminator(
        self, gradients: list[Any], metrics: dict[str, Any], shares: Any, step: tf.Tensor, learning_rates: tf.Tensor
    ) -> tf.Tensor:
        """Update the discriminator, what depends on it, and the average; return 1 if the former was done, else 0."""
        done = self._update("discriminator_adam", gradients, metrics["discriminator"], learning_rates[1])
        if self.augmentation.mode == "adaptive":
            metrics["augment_probability"] = self._adjust_augmentation(metrics["augment_signs"], shares, step)
        # The average follows the generator as it was before its own update.
        self._update_average()
        return done

    def _update_average(self) -> None:
        keep = self.config.average_decay
        if self.networks.average is self.networks.generator:
            return
        pairs = zip(self.networks.average.variables, self.networks.generator.variables, strict=True)
        for average, current in pairs:
            self.strategy.extended.update(
                average.value, lambda mine, other: mine.assign(other + (mine - other) * keep), args=(current.value,)
            )

    def _discriminator_terms(self, loss: AdversarialLoss, share: Any, draws: Draws, level: Level) -> _Terms:
        images, labels, _, stop = share
        networks, scale = self.networks, self.optimisers["discriminator_adam"].loss_scale()
        terms = loss.discriminator(
            networks.generator,
            self._augmented(draws, Purpose.DISCRIMINATOR_AUGMENT),
            self._reals(images, draws, level),
            labels,
            draws.normal(Purpose.DISCRIMINATOR_LATENTS, (networks.generator.latent_size,)),
            draws.uniform(Purpose.MIX, (1, 1, 1)),
            level,
            scale,
        )
        objective = (terms.total * scale, networks.discriminator.trainable_variables)
        return [objective], self._discriminator_metrics(terms, stop)

    def _generator_terms(self, loss: AdversarialLoss, share: Any, draws: Draws, level: Level) -> _Terms:
        _, _, labels, _ = share
        networks, scale = self.networks, self.optimisers["generator_adam"].loss_scale()
        latents = draws.normal(Purpose.GENERATOR_LATENTS, (networks.generator.latent_size,))
        discriminator = self._augmented(draws, Purpose.GENERATOR_AUGMENT)
        terms = loss.generator(networks.generator, discriminator, latents, labels, level)
        objective = (terms.total * scale, networks.generator.trainable_variables)
        return [objective], {"generator": terms.total, **terms.metrics}

    def _both_terms(self, loss: SimultaneousLoss, share: Any, draws: Draws, level: Level) -> _Terms:
        images, labels, _, stop = share
        networks = self.networks
        calls = itertools.count()
        of_discriminator, of_generator = loss.both(
            networks.generator,
            self._augmented(draws, Purpose.DISCRIMINATOR_AUGMENT),
            self._reals(images, draws, level),
            labels,
            draws.normal(Purpose.DISCRIMINATOR_LATENTS, (networks.generator.latent_size,)),
            lambda shape: draws.uniform(Purpose.DROPOUT, tuple(shape), next(calls)),
        )
        scales = [self.optimisers[f"{name}_adam"].loss_scale() for name in ("discriminator", "generator")]
        objectives = [
            (of_discriminator.total * scales[0], networks.discriminator.trainable_variables),
            (of_generator.total * scales[1], networks.generator.trainable_variables),
        ]
        metrics = self._discriminator_metrics(of_discriminator, stop)
        return objectives, metrics | {"generator": of_generator.total, **of_generator.metrics}

    def _make_fakes(self, loss: SharedFakesLoss, share: Any, step: tf.Tensor) -> "_Fakes":
        draws = Draws(self.seed, step, share[0].shape[0])
        generator = self.networks.generator
        tape = tf.GradientTape(persistent=True)
        with tape:
            images = loss.fakes(generator, draws.normal(Purpose.DISCRIMINATOR_LATENTS, (generator.latent_size,)))
        return _Fakes(images, tape)

    def _discriminator_terms_of_fakes(
        self, loss: SharedFakesLoss, share: Any, draws: Draws, level: Level, made: "_Fakes"
    ) -> _Terms:
        images, _, _, stop = share
        discriminator = self._augmented(draws, Purpose.DISCRIMINATOR_AUGMENT)
        terms = loss.of_discriminator(discriminator, self._reals(images, draws, level), made.images)
        scale = self.optimisers["discriminator_adam"].loss_scale()
        objective = (terms.total * scale, self.networks.discriminator.trainable_variables)
        return [objective], self._discriminator_metrics(terms, stop)

    def _generator_terms_of_fakes(
        self, loss: SharedFakesLoss, _: Any, draws: Draws, __: Level, made: "_Fakes"
    ) -> _Terms:
        terms = loss.of_generator(self._augmented(draws, Purpose.GENERATOR_AUGMENT), made.images)
        scale = self.optimisers["generator_adam"].loss_scale()
        objective = (terms.total * scale, self.networks.generator.trainable_variables)
        return [objective], {"generator": terms.total, **terms.metrics}

    def _reals(self, images: tf.Tensor, draws: Draws, level: Level) -> tf.Tensor:
        """Return stored images as the discriminator takes them."""
        reals = prepare_reals(images, self.networks.generator.resolution, level.fade)
        if self.mirror:
            coin = draws.uniform(Purpose.MIRROR, (1, 1, 1))
            reals = tf.where(coin < 0.5, reals, tf.reverse(reals, axis=[2]))
        return reals

    def _discriminator_metrics(self, terms: LossTerms, stop: tf.Tensor) -> dict[str, tf.Tensor]:
        metrics = {"discriminator": terms.total, "stop": stop, **terms.metrics}
        if self.augmentation.mode == "adaptive":
            has_zero = self.loss.scores_have_a_zero
            metrics["augment_signs"] = score_sign_mean(terms.real_scores, terms.fake_scores, has_zero)
        return metrics

    def _augmented(self, draws: Draws, purpose: Purpose) -> Callable[..., Any]:
        """Return the discriminator, seeing each batch altered in its own way if augmentation is on."""
        discriminator: Callable[..., Any] = self.networks.discriminator
        if self.augmentation.mode == "off":
            return discriminator
        calls = itertools.count()

        def judge(images: tf.Tensor, *more: Any, **level: Any) -> Any:
            key = tf.random.experimental.stateless_fold_in(draws.key(purpose), next(calls))
            place = {"first": draws.first, "num_global": draws.num_global}
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
        self,
        terms_of: Callable[..., _Terms],
        shares: Any,
        step: tf.Tensor,
        level: Level,
        *made: Any,
        continues: bool = False,
    ) -> tuple[list[list[Any]], dict[str, tf.Tensor]]:
        """Return the gradients of each loss, added up over the devices, and the scalars, averaged over them.

        `terms_of` also gets what each device has `made` before; a pass that `continues` it differentiates through it.
        """
        num_replicas = self._num_replicas
        names: list[str] = []
        variables: list[keras.Variable] = []
        counts: list[int] = []

        def on_each_device(share: Any, *made: Any) -> tuple[dict[int, tf.Tensor], tf.Tensor]:
            draws = Draws(self.seed, step, share[0].shape[0])
            tape = made[0].tape if continues else tf.GradientTape(persistent=True)
            with tape:
                objectives, metrics = terms_of(share, draws, level, *made)
                totals = [total / num_replicas for total, _ in objectives]
            counts[:] = [len(of_network) for _, of_network in objectives]
            variables[:] = [variable for _, of_network in objectives for variable in of_network]
            gradients = [
                gradient
                for total, (_, of_network) in zip(totals, objectives, strict=True)
                for gradient in tape.gradient(total, [variable.value for variable in of_network])
            ]
            names[:] = metrics
            scalars = tf.stack([tf.cast(metrics[name], tf.float32) for name in names]) / num_replicas
            return {number: g for number, g in enumerate(gradients) if g is not None}, scalars

        found, scalars = self.strategy.run(on_each_device, args=(shares, *made))
        numbers = sorted(found)
        summed = self.strategy.extended.batch_reduce_to(
            tf.distribute.ReduceOp.SUM, [(found[number], variables[number].value) for number in numbers]
        )
        gradients: list[Any] = [None] * len(variables)
        for number, gradient in zip(numbers, summed, strict=True):
            gradients[number] = gradient
        means = self.strategy.reduce(tf.distribute.ReduceOp.SUM, scalars, axis=None)
        rest = iter(gradients)
        by_loss = [list(itertools.islice(rest, count)) for count in counts]
        return by_loss, dict(zip(names, tf.unstack(means, num=len(names)), strict=True))

    def _update(self, name: str, gradients: list[Any], loss: tf.Tensor, learning_rate: tf.Tensor) -> tf.Tensor:
        """Apply gradients to one network and return 1 if that was done, else 0."""
        return tf.cast(self.optimisers[name].apply_if_finite(gradients, loss, learning_rate), tf.int32)
