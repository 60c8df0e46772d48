"""Losses of the DCGAN: binary cross-entropy, real and synthetic frames apart.

Source: Szabo 2023, after Radford et al. 2016 (https://arxiv.org/abs/1511.06434) and Goodfellow et al. 2014
(https://arxiv.org/abs/1406.2661), the generator's loss in its non-saturating form (section 3).
"""

from typing import Any

import tensorflow as tf

from medsynth.gan.loss_protocols import LossTerms
from medsynth.gan.losses import logistic_generator_non_saturating


class DcganLoss:
    """Cross-entropy of the discriminator's logits.

    D = BCE(1, D(real)) + BCE(0, D(fake)), the real and the synthetic batch normalised each by its own statistics;
    G = BCE(1, D'(fake)), D' being the updated discriminator and the fakes the same.
    """

    scores_have_a_zero = True

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
        real_scores = discriminator(reals, training=True)
        fake_scores = discriminator(fakes, training=True)
        of_reals = tf.reduce_mean(tf.nn.softplus(-real_scores))
        of_fakes = tf.reduce_mean(tf.nn.softplus(fake_scores))
        metrics = {
            "discriminator_real": of_reals,
            "discriminator_fake": of_fakes,
            "real_scores": tf.reduce_mean(real_scores),
            "fake_scores": tf.reduce_mean(fake_scores),
        }
        return LossTerms(of_reals + of_fakes, metrics, real_scores, fake_scores)

    def of_generator(self, discriminator: Any, fakes: tf.Tensor) -> LossTerms:
        """Return the generator's loss by the updated discriminator."""
        return LossTerms(logistic_generator_non_saturating(discriminator(fakes, training=True)), {})
