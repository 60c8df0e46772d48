"""Terms that GAN losses are made of. Each is a mean over the batch, a float32 scalar.

`scores` are a discriminator's raw outputs for images, high for real ones.
"""

from collections.abc import Callable

import tensorflow as tf


def wasserstein_generator(fake_scores: tf.Tensor) -> tf.Tensor:
    """-E[D(fake)] (Arjovsky et al. 2017, https://arxiv.org/abs/1701.07875, algorithm 1)."""
    return -tf.reduce_mean(fake_scores)


def wasserstein_discriminator(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """E[D(fake)] - E[D(real)] (Arjovsky et al. 2017, algorithm 1)."""
    return tf.reduce_mean(fake_scores) - tf.reduce_mean(real_scores)


def gradient_penalty(
    scores_of: Callable[[tf.Tensor], tf.Tensor],
    reals: tf.Tensor,
    fakes: tf.Tensor,
    mix: tf.Tensor,
    target: float = 1.0,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """E[(||grad_x D(x)|| - target)^2] / target^2 at x = real + (fake - real) * mix.

    Args:
        scores_of: Maps images to scores [N, 1]; each score may depend on its own image only,
            up to minibatch statistics.
        reals: float32 [N, H, W, C].
        fakes: Like `reals`.
        mix: [N, 1, 1, 1] in [0, 1].
        target: The norm aimed at.

    Returns:
        The penalty (without its weight), the scores of the mixed images [N, 1], and the
        norms of their gradients over all pixels [N].

    Source: Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3.
    """
    mixed = reals + (fakes - reals) * mix
    with tf.GradientTape() as tape:
        tape.watch(mixed)
        mixed_scores = scores_of(mixed)
        total = tf.reduce_sum(mixed_scores)
    gradients = tf.cast(tape.gradient(total, mixed), tf.float32)
    norms = tf.sqrt(tf.reduce_sum(tf.square(gradients), axis=(1, 2, 3)))
    penalty = tf.reduce_mean(tf.square(norms - target)) / target**2
    return penalty, mixed_scores, norms


def epsilon_penalty(real_scores: tf.Tensor) -> tf.Tensor:
    """E[D(real)^2], which keeps scores from drifting (Karras et al. 2018, appendix A.1)."""
    return tf.reduce_mean(tf.square(real_scores))


def label_cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Softmax cross-entropy between multi-hot labels, divided by their sum, and logits.

    An image without any label adds nothing.

    Args:
        labels: [N, L], 0 or 1.
        logits: [N, L].

    Source: the auxiliary classifier of Odena et al. 2017, https://arxiv.org/abs/1610.09585,
    for several labels at once.
    """
    sums = tf.reduce_sum(labels, axis=1)
    shares = tf.math.divide_no_nan(labels, sums[:, tf.newaxis])
    losses = tf.nn.softmax_cross_entropy_with_logits(shares, logits)
    # Without labels the loss is 0 already, but its gradient is not: the operation takes shares to add up to 1.
    return tf.reduce_mean(tf.where(sums > 0, losses, tf.zeros_like(losses)))
