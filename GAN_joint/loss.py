"""Losses of the joint GAN: binary cross-entropy of both networks, from one pass.

Source: coronarography.ai 2023, after Goodfellow et al. 2014 (https://arxiv.org/abs/1406.2661), the generator's loss in
its non-saturating form (section 3).
"""

from typing import Any

import tensorflow as tf

from medsynth.gan.loss_protocols import Draw, LossTerms
from medsynth.gan.losses import logistic_discriminator, logistic_generator_non_saturating


class JointLoss:
    """Cross-entropy of the logits of real and synthetic pairs.

    D = BCE(1, D(real)) + BCE(0, D(fake)); G = BCE(1, D(fake)), of the same fakes.
    """

    scores_have_a_zero = True

    def both(
        self, generator: Any, discriminator: Any, reals: tf.Tensor, labels: tf.Tensor, latents: tf.Tensor, draw: Draw
    ) -> tuple[LossTerms, LossTerms]:
        """Return the discriminator's and the generator's loss.

        Args:
            generator: Of this application.
            discriminator: Of this application, perhaps behind augmentation.
            reals: Real images [N, S, S, C] in [-1, 1].
            labels: Their rows [N, K] in [0, 1].
            latents: [N, latent_size].
            draw: For dropout.
        """
        images, rows = generator(latents, training=True)
        real_scores = discriminator(reals, labels, draw=draw)
        fake_scores = discriminator(images, rows, draw=draw)
        of_discriminator = LossTerms(
            logistic_discriminator(real_scores, fake_scores),
            {"real_scores": tf.reduce_mean(real_scores), "fake_scores": tf.reduce_mean(fake_scores)},
            real_scores,
            fake_scores,
        )
        return of_discriminator, LossTerms(logistic_generator_non_saturating(fake_scores), {})
