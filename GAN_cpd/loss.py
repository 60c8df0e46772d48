"""Losses of cpD-GAN: three for the generator, five for the discriminator, in any pairing.

Source: Schuette et al. 2021; the default pair is that of Gulrajani et al. 2017 with the drift
term of Karras et al. 2018.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

import tensorflow as tf

from medsynth.config import require_range
from medsynth.errors import UsageError
from medsynth.gan.loss_protocols import Level, LossTerms
from medsynth.gan.losses import (
    epsilon_penalty,
    gradient_penalty,
    gradient_square,
    hinge_discriminator,
    logistic_discriminator,
    logistic_generator,
    logistic_generator_non_saturating,
    wasserstein_discriminator,
    wasserstein_generator,
)

GeneratorLoss = Literal["wgan", "logistic", "logistic_ns"]
DiscriminatorLoss = Literal["wgangp", "logistic", "logistic_r", "hinge", "hinge_gp"]

_GENERATOR = {
    "wgan": wasserstein_generator,
    "logistic": logistic_generator,
    "logistic_ns": logistic_generator_non_saturating,
}
_DISCRIMINATOR = {
    "wgangp": wasserstein_discriminator,
    "logistic": logistic_discriminator,
    "logistic_r": logistic_discriminator,
    "hinge": hinge_discriminator,
    "hinge_gp": hinge_discriminator,
}
# Which weights a discriminator's loss reads.
_WEIGHTS: dict[str, tuple[str, ...]] = {
    "wgangp": ("gradient_penalty_weight", "gradient_norm_target", "epsilon_penalty_weight"),
    "logistic": (),
    "logistic_r": ("gamma_1", "gamma_2"),
    "hinge": (),
    "hinge_gp": ("gradient_penalty_weight", "gradient_norm_target"),
}


@dataclass(frozen=True)
class LossConfig:
    """Which losses, and the weights of their terms.

    Attributes:
        generator: `wgan`, `logistic` (saturating) or `logistic_ns` (non-saturating).
        discriminator: `wgangp`, `logistic`, `logistic_r` (with R1 and R2), `hinge` or `hinge_gp`.
        gradient_penalty_weight: Of the gradient penalty (wgangp, hinge_gp).
        gradient_norm_target: The norm that it aims at.
        epsilon_penalty_weight: Of the drift term (wgangp).
        gamma_1: Twice the weight of the squared gradient at real images, R1 (logistic_r).
        gamma_2: Twice the weight of the squared gradient at fakes, R2 (logistic_r).
    """

    generator: GeneratorLoss = "wgan"
    discriminator: DiscriminatorLoss = "wgangp"
    gradient_penalty_weight: float = 10.0
    gradient_norm_target: float = 1.0
    epsilon_penalty_weight: float = 0.001
    gamma_1: float = 10.0
    gamma_2: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self)[2:]:
            require_range(f"loss.{field.name}", getattr(self, field.name), 0)
        if self.gradient_norm_target == 0:
            raise UsageError("loss.gradient_norm_target must be above 0.", received=self.gradient_norm_target)


class ConditionalLoss:
    """The two losses of a training step.

    Args:
        config: Which losses, and the weights of their terms.

    Raises:
        UsageError: A weight was changed that the discriminator's loss does not read.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config
        for field in fields(config)[2:]:
            value = getattr(config, field.name)
            if value != field.default and field.name not in _WEIGHTS[config.discriminator]:
                raise UsageError(
                    f"loss.discriminator={config.discriminator} has no term for loss.{field.name}.", received=value
                )

    @property
    def scores_have_a_zero(self) -> bool:
        """Whether a score of 0 separates real from fake, as it does not where only differences count."""
        return self.config.discriminator != "wgangp"

    def generator(
        self, generator: Any, discriminator: Any, latents: tf.Tensor, labels: tf.Tensor, level: Level
    ) -> LossTerms:
        """Return the configured generator loss.

        Args:
            generator: Maps latents and labels to images.
            discriminator: Maps images and labels to scores.
            latents: [N, latent_size].
            labels: [N, L], drawn from the training labels.
            level: Level of detail, always 0 here.
        """
        fakes = generator(latents, labels, **level._asdict())
        scores = discriminator(fakes, labels, **level._asdict())
        return LossTerms(_GENERATOR[self.config.generator](scores), {})

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
        """Return the configured discriminator loss with its penalties.

        Args:
            generator: Maps latents and labels to images.
            discriminator: Maps images and labels to scores.
            reals: float32 [N, R, R, C] in [-1, 1].
            labels: [N, L] of the reals; the fakes are made with them too.
            latents: [N, latent_size].
            mix: [N, 1, 1, 1] uniform in [0, 1].
            level: Level of detail, always 0 here.
            gradient_scale: Loss scaling for gradients with respect to images.
        """
        config, kind = self.config, self.config.discriminator

        def scores_of(images: tf.Tensor) -> tf.Tensor:
            scores: tf.Tensor = discriminator(images, labels, **level._asdict())
            return scores

        fakes = tf.stop_gradient(generator(latents, labels, **level._asdict()))
        real_scores, fake_scores = scores_of(reals), scores_of(fakes)
        loss = _DISCRIMINATOR[kind](real_scores, fake_scores)
        metrics = {"real_scores": tf.reduce_mean(real_scores), "fake_scores": tf.reduce_mean(fake_scores)}
        if kind in ("wgangp", "hinge_gp"):
            penalty, mixed_scores, norms = gradient_penalty(
                scores_of, reals, fakes, mix, config.gradient_norm_target, gradient_scale
            )
            loss += config.gradient_penalty_weight * penalty
            metrics |= {"mixed_scores": tf.reduce_mean(mixed_scores), "mixed_norms": tf.reduce_mean(norms)}
        if kind == "wgangp":
            metrics["epsilon_penalty"] = epsilon_penalty(real_scores)
            loss += config.epsilon_penalty_weight * metrics["epsilon_penalty"]
        if kind == "logistic_r":
            for name, gamma, images in (("r1", config.gamma_1, reals), ("r2", config.gamma_2, fakes)):
                if gamma > 0:
                    metrics[f"{name}_penalty"] = gradient_square(scores_of, images, gradient_scale)
                    loss += 0.5 * gamma * metrics[f"{name}_penalty"]
        return LossTerms(loss, metrics, real_scores, fake_scores)
