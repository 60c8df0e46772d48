"""What a training step asks of an application's losses."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import tensorflow as tf


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


# Draws uniform numbers in [0, 1) of a shape for each image of a device: [*shape] -> [N, *shape].
Draw = Callable[[Sequence[int]], tf.Tensor]


@runtime_checkable
class SimultaneousLoss(Protocol):
    """What an application's loss.py provides whose networks are both updated from one pass."""

    @property
    def scores_have_a_zero(self) -> bool:
        """As in `AdversarialLoss`."""

    def both(
        self, generator: Any, discriminator: Any, reals: tf.Tensor, labels: tf.Tensor, latents: tf.Tensor, draw: Draw
    ) -> tuple[LossTerms, LossTerms]:
        """Return the discriminator's and the generator's loss, of the same fakes.

        `draw` gives the dropout masks their numbers; each call gives new ones.
        """


@runtime_checkable
class SharedFakesLoss(Protocol):
    """What an application's loss.py provides whose networks are updated one after the other, on the same fakes.

    The discriminator is updated first; its new weights judge the fakes that it was trained on, for the generator.
    """

    @property
    def scores_have_a_zero(self) -> bool:
        """As in `AdversarialLoss`."""

    def fakes(self, generator: Any, latents: tf.Tensor) -> tf.Tensor:
        """Return the fakes of a step, [N, S, S, C]; called once a step."""

    def of_discriminator(self, discriminator: Any, reals: tf.Tensor, fakes: tf.Tensor) -> LossTerms:
        """Return the discriminator's loss."""

    def of_generator(self, discriminator: Any, fakes: tf.Tensor) -> LossTerms:
        """Return the generator's loss, by the updated discriminator."""


GanLoss = AdversarialLoss | SimultaneousLoss | SharedFakesLoss
