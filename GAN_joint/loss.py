"""Losses of the joint GAN: binary cross-entropy of both networks, from one pass.

Source: coronarography.ai 2023, after Goodfellow et al. 2014 (https://arxiv.org/abs/1406.2661), the generator's loss in
its non-saturating form (section 3).
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from medsynth.config import require_range
from medsynth.gan.loss_protocols import Draw, LossTerms
from medsynth.gan.losses import gradient_square, logistic_discriminator, logistic_generator_non_saturating


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms that the published loss does not have.

    Attributes:
        mismatched: Share of real images with the row of another among what the discriminator is to call fake (Reed et
            al. 2016, https://arxiv.org/abs/1605.05396, algorithm 1, with 0.5); the rest are synthetic pairs. It learns
            sooner what belongs together, and the generator leans to pairs that fit better than real ones do.
        gamma_1: Twice the weight of R1, the squared gradient at real pairs.
    """

    mismatched: float = 0.0
    gamma_1: float = 0.0

    def __post_init__(self) -> None:
        require_range("loss.mismatched", self.mismatched, 0, below=1)
        require_range("loss.gamma_1", self.gamma_1, 0)


class JointLoss:
    """Cross-entropy of the logits of real and synthetic pairs.

    D = BCE(1, D(real)) + BCE(0, D(fake)); G = BCE(1, D(fake)), of the same fakes.

    Args:
        config: What is added to it; nothing by default.
    """

    scores_have_a_zero = True

    def __init__(self, config: LossConfig | None = None) -> None:
        self.config = config or LossConfig()

    def both(
        self, generator: Any, discriminator: Any, reals: tf.Tensor, labels: tf.Tensor, latents: tf.Tensor, draw: Draw
    ) -> tuple[LossTerms, LossTerms]:
        """Return the discriminator's and the generator's loss.

        Args:
            generator: Of this application.
            discriminator: Of this application, perhaps behind augmentation.
            reals: Real images [N, S, S, C] in [-1, 1]; N is even where `mismatched` is set.
            labels: Their rows [N, K] in [0, 1].
            latents: [N, latent_size].
            draw: For dropout.
        """
        images, rows = generator(latents, training=True)
        real_scores = discriminator(reals, labels, draw=draw)
        fake_scores = discriminator(images, rows, draw=draw)
        metrics = {"real_scores": tf.reduce_mean(real_scores), "fake_scores": tf.reduce_mean(fake_scores)}
        share, gamma = self.config.mismatched, self.config.gamma_1
        loss = logistic_discriminator(real_scores, fake_scores)
        if share > 0:
            # Neighbours swap rows: it is the same minibatch, however many devices share it.
            swapped = tf.reshape(tf.reverse(tf.reshape(labels, (-1, 2, labels.shape[1])), [1]), tf.shape(labels))
            wrong_scores = discriminator(reals, swapped, draw=draw)
            metrics["mismatched_scores"] = tf.reduce_mean(wrong_scores)
            # They take the place of a share of the fakes.
            loss += share * tf.reduce_mean(tf.nn.softplus(wrong_scores) - tf.nn.softplus(fake_scores))
        if gamma > 0:
            metrics["gradient_square"] = _gradient_square(discriminator, reals, labels)
            loss += gamma / 2 * metrics["gradient_square"]
        return (
            LossTerms(loss, metrics, real_scores, fake_scores),
            LossTerms(logistic_generator_non_saturating(fake_scores), {}),
        )


def _gradient_square(discriminator: Any, images: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Return the squared gradient with respect to both parts of a pair; nothing is dropped."""
    num_pixels, shape = images.shape[1] * images.shape[2] * images.shape[3], tf.shape(images)

    def scores_of(pairs: tf.Tensor) -> tf.Tensor:
        return discriminator(tf.reshape(pairs[:, :num_pixels], shape), pairs[:, num_pixels:])

    flat = tf.reshape(images, (-1, num_pixels))  # [N, S, S, C] -> [N, S*S*C]
    return gradient_square(scores_of, tf.concat([flat, rows], axis=1))
