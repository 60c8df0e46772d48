"""Losses of the DCGAN: binary cross-entropy, real and synthetic frames apart.

Source: Szabo 2023, after Radford et al. 2016 (https://arxiv.org/abs/1511.06434) and Goodfellow et al. 2014
(https://arxiv.org/abs/1406.2661), the generator's loss in its non-saturating form (section 3).
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from medsynth.config import require_range
from medsynth.errors import UsageError
from medsynth.gan.loss_protocols import LossTerms
from medsynth.gan.losses import logistic_generator_non_saturating, scores_and_gradient_square


@dataclass(frozen=True)
class LossConfig:
    """What the published loss does not have.

    Attributes:
        gamma_1: Twice the weight of R1, the squared gradient at real frames (Mescheder et al. 2018,
            https://arxiv.org/abs/1801.04406, equation 9).
        real_target: What the discriminator is to say of real frames, as a probability; below 1 is one-sided label
            smoothing (Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section 3.4).
    """

    gamma_1: float = 0.0
    real_target: float = 1.0

    def __post_init__(self) -> None:
        require_range("loss.gamma_1", self.gamma_1, 0)
        if not 0.5 < self.real_target <= 1:
            raise UsageError("loss.real_target is above 0.5 and at most 1.", received=self.real_target)


class DcganLoss:
    """Cross-entropy of the discriminator's logits.

    D = BCE(t, D(real)) + BCE(0, D(fake)) + gamma_1 / 2 * R1, the real and the synthetic batch normalised each by its
    own statistics; G = BCE(1, D'(fake)), D' being the updated discriminator and the fakes the same.

    Args:
        config: The target t and the weight; as published by default, 1 and 0.
    """

    scores_have_a_zero = True

    def __init__(self, config: LossConfig | None = None) -> None:
        self.config = config or LossConfig()

    def fakes(self, generator: Any, latents: tf.Tensor) -> tf.Tensor:
        """Return the synthetic images [N, S, S, C] of latents [N, latent_size]."""
        return generator(latents, training=True)

    def of_discriminator(self, discriminator: Any, reals: tf.Tensor, fakes: tf.Tensor) -> LossTerms:
        """Return the discriminator's loss.

        Args:
            discriminator: Of this application, perhaps behind augmentation.
            reals: [N, S, S, C] in [-1, 1].
            fakes: The same shape.
        """

        def scores_of(images: tf.Tensor) -> tf.Tensor:
            scores: tf.Tensor = discriminator(images, training=True)
            return scores

        metrics: dict[str, tf.Tensor] = {}
        penalty: tf.Tensor | float = 0.0
        if self.config.gamma_1 > 0:
            real_scores, metrics["r1_penalty"] = scores_and_gradient_square(scores_of, reals)
            penalty = self.config.gamma_1 / 2 * metrics["r1_penalty"]
        else:
            real_scores = scores_of(reals)
        fake_scores = scores_of(fakes)
        # -t log p - (1 - t) log(1 - p) of p = sigmoid(score).
        of_reals = tf.reduce_mean(tf.nn.softplus(-real_scores) + (1 - self.config.real_target) * real_scores)
        of_fakes = tf.reduce_mean(tf.nn.softplus(fake_scores))
        metrics |= {
            "discriminator_real": of_reals,
            "discriminator_fake": of_fakes,
            "real_scores": tf.reduce_mean(real_scores),
            "fake_scores": tf.reduce_mean(fake_scores),
        }
        return LossTerms(of_reals + of_fakes + penalty, metrics, real_scores, fake_scores)

    def of_generator(self, discriminator: Any, fakes: tf.Tensor) -> LossTerms:
        """Return the generator's loss by the updated discriminator."""
        return LossTerms(logistic_generator_non_saturating(discriminator(fakes, training=True)), {})
