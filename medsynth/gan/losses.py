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


def logistic_generator(fake_scores: tf.Tensor) -> tf.Tensor:
    """E[log(1 - sigmoid(D(fake)))] = -E[softplus(D(fake))] (Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661)."""
    return -tf.reduce_mean(tf.nn.softplus(fake_scores))


def logistic_generator_non_saturating(fake_scores: tf.Tensor) -> tf.Tensor:
    """-E[log sigmoid(D(fake))] = E[softplus(-D(fake))] (Goodfellow et al. 2014, section 3)."""
    return tf.reduce_mean(tf.nn.softplus(-fake_scores))


def logistic_discriminator(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """-E[log sigmoid(D(real))] - E[log(1 - sigmoid(D(fake)))] (Goodfellow et al. 2014, equation 1)."""
    return tf.reduce_mean(tf.nn.softplus(fake_scores)) + tf.reduce_mean(tf.nn.softplus(-real_scores))


def hinge_discriminator(real_scores: tf.Tensor, fake_scores: tf.Tensor) -> tf.Tensor:
    """E[max(0, 1 - D(real))] + E[max(0, 1 + D(fake))] (Miyato et al. 2018, https://arxiv.org/abs/1802.05957)."""
    return tf.reduce_mean(tf.nn.relu(1.0 - real_scores)) + tf.reduce_mean(tf.nn.relu(1.0 + fake_scores))


def _image_gradients(
    scores_of: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, scale: tf.Tensor | float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the scores [N, 1] of images [N, H, W, C] and the gradients of their sum, float32 [N, H, W, C]."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        scores = scores_of(images)
        total = tf.reduce_sum(scores) * scale
    return scores, tf.cast(tape.gradient(total, images), tf.float32) / scale


def gradient_square(
    scores_of: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, scale: tf.Tensor | float = 1.0
) -> tf.Tensor:
    """E[||grad_x D(x)||^2], the zero-centred penalty R1 (at real images) or R2 (at fakes), without its weight.

    Args:
        scores_of: Maps images to scores [N, 1].
        images: float32 [N, H, W, C], or whatever else is judged, [N, ...].
        scale: Loss scaling for the inner gradient, a power of two; 1 leaves it out.

    Source: Mescheder et al. 2018, https://arxiv.org/abs/1801.04406, equation 9.
    """
    return scores_and_gradient_square(scores_of, images, scale)[1]


def scores_and_gradient_square(
    scores_of: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, scale: tf.Tensor | float = 1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the scores [N, 1], and `gradient_square` of the same pass.

    Args:
        scores_of: As there.
        images: As there.
        scale: As there.
    """
    scores, gradients = _image_gradients(scores_of, images, scale)
    return scores, tf.reduce_mean(tf.reduce_sum(tf.square(gradients), axis=tuple(range(1, len(images.shape)))))


def gradient_penalty(
    scores_of: Callable[[tf.Tensor], tf.Tensor],
    reals: tf.Tensor,
    fakes: tf.Tensor,
    mix: tf.Tensor,
    target: float = 1.0,
    scale: tf.Tensor | float = 1.0,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """E[(||grad_x D(x)|| - target)^2] / target^2 at x = real + (fake - real) * mix.

    Args:
        scores_of: Maps images to scores [N, 1]; each score may depend on its own image only,
            up to minibatch statistics.
        reals: float32 [N, H, W, C].
        fakes: Like `reals`.
        mix: [N, 1, 1, 1] in [0, 1].
        target: The norm aimed at.
        scale: Loss scaling for the inner gradient, a power of two; 1 leaves it out.

    Returns:
        The penalty (without its weight), the scores of the mixed images [N, 1], and the
        norms of their gradients over all pixels [N].

    Source: Gulrajani et al. 2017, https://arxiv.org/abs/1704.00028, equation 3.
    """
    mixed_scores, gradients = _image_gradients(scores_of, reals + (fakes - reals) * mix, scale)
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
