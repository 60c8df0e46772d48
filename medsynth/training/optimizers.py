"""Adam as GAN training needs it: it skips non-finite steps, can be started afresh, and scales losses.

Everything here runs in the cross-replica context of tf.distribute: gradients come in added up over
all devices, and every device's copy of a weight gets the same update.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# Karras et al. 2018 scale float16 losses by 2^64 at first, by 2^0.0005 more after every finite step, and
# by half after one that was not.
_FIRST_LOG2_SCALE, _LOG2_INCREASE, _LOG2_DECREASE = 64.0, 0.0005, 1.0


class SkippingAdam:
    """Adam that leaves everything as it was where a gradient is NaN or infinite.

    Weights, moments and the step count that corrects their bias all stay, as if
    the step had not been asked for. It is done by masking, not by branching,
    since a branch cannot hold an update under a distribution strategy.

    Made in the scope of the strategy that the weights belong to.

    Args:
        weights: The variables to train.
        beta_1: Decay of the mean of gradients.
        beta_2: Decay of the mean of their squares.
        epsilon: Added to the root of that.
        corrects_before_epsilon: Whether that root has its bias corrected before epsilon is added (the paper's
            algorithm 1, and PyTorch) or not (the form at the end of its section 2, and Keras).
        scales_loss: Whether gradients come multiplied by `loss_scale()`, as float16 needs it.

    Source: Kingma & Ba 2015, https://arxiv.org/abs/1412.6980; the rules for non-finite gradients
    and for the scale are those of Karras et al. 2018's code.
    """

    def __init__(
        self,
        weights: Sequence[keras.Variable],
        *,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        corrects_before_epsilon: bool = False,
        scales_loss: bool = False,
    ) -> None:
        self.weights = list(weights)
        self._strategy = tf.distribute.get_strategy()
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.corrects_before_epsilon = corrects_before_epsilon
        self.iterations = keras.Variable(np.zeros((), np.int64), trainable=False, name="iterations", dtype="int64")
        self._momentums, self._velocities = (
            [keras.Variable(np.zeros(v.shape, np.float32), trainable=False, name=f"{v.name}_{kind}") for v in weights]
            for kind in ("momentum", "velocity")
        )
        self._log2_scale: keras.Variable | None = None
        if scales_loss:
            self._log2_scale = keras.Variable(np.float32(_FIRST_LOG2_SCALE), trainable=False, name="log2_loss_scale")

    @property
    def variables(self) -> list[keras.Variable]:
        """Everything that a step changes besides the weights, always in the same order."""
        scale = [] if self._log2_scale is None else [self._log2_scale]
        return [self.iterations, *scale, *self._momentums, *self._velocities]

    def loss_scale(self) -> tf.Tensor:
        """Return what the loss is to be multiplied by before its gradients are taken: 1 without scaling."""
        return tf.constant(1.0) if self._log2_scale is None else tf.pow(2.0, self._log2_scale.value)

    def apply_if_finite(self, gradients: Sequence[Any], loss: tf.Tensor, learning_rate: tf.Tensor | float) -> tf.Tensor:
        """Update the weights, unless the loss or a gradient is not finite.

        Args:
            gradients: One per weight, of the scaled loss, added up over devices; None where the
                loss does not depend on the weight, which leaves it and its moments alone.
            loss: The unscaled loss.
            learning_rate: Of this step.

        Returns:
            Whether the step was done, a boolean scalar.
        """
        strategy = self._strategy
        present = [(number, gradient) for number, gradient in enumerate(gradients) if gradient is not None]
        # The sums are the same on every device, so one of them decides.
        checks = [tf.reduce_all(tf.math.is_finite(strategy.experimental_local_results(g)[0])) for _, g in present]
        finite = tf.reduce_all(tf.stack([tf.math.is_finite(loss), *checks]))
        step = tf.cast(self.iterations.value + 1, tf.float32)
        correction = tf.sqrt(1 - self.beta_2**step)
        rate = tf.cast(learning_rate, tf.float32) * correction / (1 - self.beta_1**step)
        # rate / correction * m / (root / correction + epsilon), with the fraction multiplied out.
        epsilon = self.epsilon * (correction if self.corrects_before_epsilon else tf.ones_like(correction))
        unscale = None if self._log2_scale is None else tf.pow(2.0, -self._log2_scale.value)
        for number, gradient in present:
            state = (self._momentums[number].value, self._velocities[number].value)
            strategy.extended.update(
                self.weights[number].value, self._update_one, args=(gradient, *state, rate, epsilon, finite, unscale)
            )
        self.iterations.assign(self.iterations.value + tf.cast(finite, tf.int64))
        if self._log2_scale is not None:
            change = tf.where(finite, _LOG2_INCREASE, -_LOG2_DECREASE)
            self._log2_scale.assign(self._log2_scale.value + change)
        return finite

    def _update_one(
        self,
        weight: tf.Variable,
        gradient: tf.Tensor,
        momentum: tf.Variable,
        velocity: tf.Variable,
        rate: tf.Tensor,
        epsilon: tf.Tensor,
        finite: tf.Tensor,
        unscale: tf.Tensor | None,
    ) -> None:
        """Update one device's copy of one weight and its moments."""
        # Zeros keep NaN out of the arithmetic that the mask then discards.
        gradient = tf.where(finite, gradient, tf.zeros_like(gradient))
        if unscale is not None:
            gradient = gradient * unscale
        new_momentum = self.beta_1 * momentum + (1 - self.beta_1) * gradient
        new_velocity = self.beta_2 * velocity + (1 - self.beta_2) * tf.square(gradient)
        change = rate * new_momentum / (tf.sqrt(new_velocity) + epsilon)
        momentum.assign(tf.where(finite, new_momentum, momentum))
        velocity.assign(tf.where(finite, new_velocity, velocity))
        weight.assign(tf.where(finite, weight - change, weight))

    def start_afresh(self) -> None:
        """Set the moments and the step count to zero; the loss scale stays."""
        for variable in (*self._momentums, *self._velocities):
            variable.assign(np.zeros(variable.shape, np.float32))
        self.iterations.assign(0)
