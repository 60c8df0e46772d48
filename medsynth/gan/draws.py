"""Random numbers of a training step: stateless, and the same however many devices share a minibatch."""

import enum
from collections.abc import Callable

import tensorflow as tf

# Fixed: another number of them would change what every seed gives.
_STREAMS_OF_A_SEED = 6


class Purpose(enum.IntEnum):
    """Keeps the random streams of a step apart."""

    MIRROR = 0
    DISCRIMINATOR_LATENTS = 1
    MIX = 2
    GENERATOR_LATENTS = 3
    DISCRIMINATOR_AUGMENT = 4
    GENERATOR_AUGMENT = 5
    DROPOUT = 6


class Draws:
    """Draws for the images of one device, out of those for the global minibatch.

    However many devices share a minibatch, each image gets the same numbers.

    Args:
        seed: Of the training, 0 to 2^32 - 1.
        step: Number of the step.
        num_local: Images of this device.
    """

    def __init__(self, seed: int, step: tf.Tensor, num_local: int) -> None:
        context = tf.distribute.get_replica_context()
        self.seed, self.step, self.num_local = seed, step, num_local
        self.num_global = context.num_replicas_in_sync * num_local
        self.first = context.replica_id_in_sync_group * num_local

    def normal(self, purpose: Purpose, shape: tuple[int, ...]) -> tf.Tensor:
        """Return standard normal numbers [num_local, *shape]."""
        return self._share(tf.random.stateless_normal, self.key(purpose), shape)

    def uniform(self, purpose: Purpose, shape: tuple[int, ...], call: int | None = None) -> tf.Tensor:
        """Return uniform numbers in [0, 1), [num_local, *shape]; others for every `call` of a purpose."""
        key = self.key(purpose)
        if call is not None:
            key = tf.random.experimental.stateless_fold_in(key, call)
        return self._share(tf.random.stateless_uniform, key, shape)

    def key(self, purpose: Purpose) -> tf.Tensor:
        """Return the seed of a purpose, int64 [2]."""
        further, stream = divmod(int(purpose), _STREAMS_OF_A_SEED)
        seed = tf.constant(self.seed + further * 2**32, tf.int64)
        return tf.stack([seed, self.step * _STREAMS_OF_A_SEED + stream])

    def _share(self, draw: Callable[..., tf.Tensor], key: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
        return draw((self.num_global, *shape), key)[self.first :][: self.num_local]
