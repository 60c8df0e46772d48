"""Losses of the progressive GAN: Wasserstein with gradient penalty, drift term and label classifier.

Source: Schuette et al. 2021, after Karras et al. 2018, appendix A.1, with the
auxiliary classifier of Odena et al. 2017.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from medsynth.gan.loss_protocols import Level, LossTerms
from medsynth.gan.losses import (
    epsilon_penalty,
    gradient_penalty,
    label_cross_entropy,
    wasserstein_discriminator,
    wasserstein_generator,
)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms.

    Attributes:
        gradient_penalty_weight: Of the gradient penalty.
        gradient_norm_target: The norm that the penalty aims at.
        epsilon_penalty_weight: Of the drift term.
        label_weight: Of the label cross-entropies, in both losses.
    """

    gradient_penalty_weight: float = 10.0
    gradient_norm_target: float = 1.0
    epsilon_penalty_weight: float = 0.001
    label_weight: float = 1.0


class ProgressiveLoss:
    """The two losses of a training step.

    Args:
        config: Weights of the terms.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    @property
    def scores_have_a_zero(self) -> bool:
        """Whether a score of 0 separates real from fake: no, in a Wasserstein loss only differences count."""
        return False

    def generator(
        self, generator: Any, discriminator: Any, latents: tf.Tensor, labels: tf.Tensor, level: Level
    ) -> LossTerms:
        """Return -E[score(fake)] + CE(labels, fake label logits).

        Args:
            generator: Maps latents and labels to images.
            discriminator: Maps images to scores and label logits.
            latents: [N, latent_size].
            labels: [N, L], drawn from the training labels.
            level: Level of detail.
        """
        fakes = generator(latents, labels, **level._asdict())
        scores, logits = discriminator(fakes, **level._asdict())
        loss = wasserstein_generator(scores)
        metrics = {}
        if labels.shape[1]:
            metrics["label_penalty_generator"] = label_cross_entropy(labels, logits)
            loss += self.config.label_weight * metrics["label_penalty_generator"]
        return LossTerms(loss, metrics)

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
        """Return E[score(fake)] - E[score(real)] + gradient penalty + drift term + both label terms.

        Args:
            generator: Maps latents and labels to images.
            discriminator: Maps images to scores and label logits.
            reals: float32 [N, R, R, C] in [-1, 1].
            labels: [N, L] of the reals; the fakes are made with them too.
            latents: [N, latent_size].
            mix: [N, 1, 1, 1] uniform in [0, 1].
            level: Level of detail.
            gradient_scale: Loss scaling for gradients with respect to images.
        """
        config = self.config
        fakes = tf.stop_gradient(generator(latents, labels, **level._asdict()))
        real_scores, real_logits = discriminator(reals, **level._asdict())
        fake_scores, fake_logits = discriminator(fakes, **level._asdict())
        penalty, mixed_scores, norms = gradient_penalty(
            lambda images: discriminator(images, **level._asdict())[0],
            reals,
            fakes,
            mix,
            config.gradient_norm_target,
            gradient_scale,
        )
        drift = epsilon_penalty(real_scores)
        loss = wasserstein_discriminator(real_scores, fake_scores)
        loss += config.gradient_penalty_weight * penalty + config.epsilon_penalty_weight * drift
        metrics = {
            "real_scores": tf.reduce_mean(real_scores),
            "fake_scores": tf.reduce_mean(fake_scores),
            "mixed_scores": tf.reduce_mean(mixed_scores),
            "mixed_norms": tf.reduce_mean(norms),
            "epsilon_penalty": drift,
        }
        if labels.shape[1]:
            metrics["label_penalty_reals"] = label_cross_entropy(labels, real_logits)
            metrics["label_penalty_fakes"] = label_cross_entropy(labels, fake_logits)
            loss += config.label_weight * (metrics["label_penalty_reals"] + metrics["label_penalty_fakes"])
        return LossTerms(loss, metrics, real_scores, fake_scores)
