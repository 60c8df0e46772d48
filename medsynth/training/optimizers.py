"""Adam as GAN training needs it: it skips non-finite steps and can be started afresh."""

from collections.abc import Sequence

import keras
import tensorflow as tf


class SkippingAdam(keras.optimizers.Adam):
    """Adam that leaves everything as it was where a gradient is NaN or infinite.

    Weights, moments and the step count that corrects their bias all stay, as if
    the step had not been asked for. It is done by masking, not by branching,
    since a branch cannot hold an update under a distribution strategy.

    Source: Kingma & Ba 2015, https://arxiv.org/abs/1412.6980; the rule for
    non-finite gradients is that of Karras et al. 2018's code.
    """

    def apply_if_finite(
        self, gradients: Sequence[tf.Tensor | None], variables: Sequence[keras.Variable], loss: tf.Tensor
    ) -> tf.Tensor:
        """Update `variables`, unless the loss or a gradient is not finite.

        Args:
            gradients: One per variable; None where the loss does not depend on it, which
                leaves the variable and its moments alone.
            variables: The variables.
            loss: The scalar that the gradients are of.

        Returns:
            Whether the step was done, a boolean scalar.
        """
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        checks = [tf.math.is_finite(loss)] + [tf.reduce_all(tf.math.is_finite(g)) for g, _ in pairs]
        finite = tf.reduce_all(tf.stack(checks))
        self._step_is_finite = finite
        before = tf.identity(self.iterations.value)
        # Zeros keep NaN out of the arithmetic that the mask then discards.
        self.apply([tf.where(finite, g, tf.zeros_like(g)) for g, _ in pairs], [v for _, v in pairs])
        self.iterations.assign(before + tf.cast(finite, before.dtype))
        return finite

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Update one variable and its moments, masked."""
        finite, weight = self._step_is_finite, tf.convert_to_tensor(variable)
        step = tf.cast(self.iterations.value + 1, variable.dtype)
        beta_1, beta_2 = tf.cast(self.beta_1, variable.dtype), tf.cast(self.beta_2, variable.dtype)
        momentum = self._momentums[self._get_variable_index(variable)]
        velocity = self._velocities[self._get_variable_index(variable)]
        rate = tf.cast(learning_rate, variable.dtype) * tf.sqrt(1 - beta_2**step) / (1 - beta_1**step)
        new_momentum = beta_1 * momentum.value + (1 - beta_1) * gradient
        new_velocity = beta_2 * velocity.value + (1 - beta_2) * tf.square(gradient)
        change = rate * new_momentum / (tf.sqrt(new_velocity) + self.epsilon)
        momentum.assign(tf.where(finite, new_momentum, momentum.value))
        velocity.assign(tf.where(finite, new_velocity, velocity.value))
        variable.assign(tf.where(finite, weight - change, weight))

    def start_afresh(self) -> None:
        """Set the moments and the step count to zero; the learning rate stays."""
        for variable in (*self._momentums, *self._velocities):
            variable.assign(tf.zeros(variable.shape, variable.dtype))
        self.iterations.assign(0)
