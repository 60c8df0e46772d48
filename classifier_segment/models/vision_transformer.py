"""Vision transformer, ViT-B/16.

Source: Dosovitskiy et al. 2021, "An image is worth 16x16 words", https://arxiv.org/abs/2010.11929, equations 1 to 4.
Layers bear torchvision's names, by which `convert_weights` finds them.
"""

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from classifier_segment.models.attention import Heads
from classifier_segment.models.layers import LayerNormalization, dense, perceptron

_EPSILON = 1e-6


@keras.saving.register_keras_serializable("classifier_segment")
class ClassToken(keras.layers.Layer):
    """Puts one learned token before the others: [N, T, C] -> [N, T + 1, C]."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the token."""
        self.token = self.add_weight(shape=(1, 1, input_shape[-1]), initializer="zeros", name="class_token")

    def call(self, tokens: Any) -> Any:
        """Return all tokens."""
        first = ops.broadcast_to(ops.cast(self.token, tokens.dtype), (ops.shape(tokens)[0], 1, tokens.shape[-1]))
        return ops.concatenate([first, tokens], axis=1)


@keras.saving.register_keras_serializable("classifier_segment")
class PositionEmbedding(keras.layers.Layer):
    """Adds what is learned about each position: [N, T, C] -> [N, T, C]."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the embedding."""
        start = keras.initializers.RandomNormal(stddev=0.02)
        self.embedding = self.add_weight(shape=(1, *input_shape[1:]), initializer=start, name="pos_embedding")

    def call(self, tokens: Any) -> Any:
        """Return the sums."""
        return tokens + ops.cast(self.embedding, tokens.dtype)


@dataclass(frozen=True)
class VisionTransformer:
    """Images [N, D, D, 3] -> the class token [N, width].

    Attributes:
        patch: Pixels a side of a patch; D is a multiple.
        depth: Blocks.
        num_heads: A divisor of the width.
        width: Numbers of a token.
        hidden: Units between the two dense layers of a block.
    """

    patch: int = 16
    depth: int = 12
    num_heads: int = 12
    width: int = 768
    hidden: int = 3072

    @property
    def saliency_layer(self) -> str:
        """The patch projection."""
        return "conv_proj"

    @property
    def map_layer(self) -> str:
        """The same one."""
        return self.saliency_layer

    def backbone(self, image_dimension: int) -> keras.Model:
        """Return the network up to the class token behind the last normalisation."""
        images = keras.Input((image_dimension, image_dimension, 3), name="images")
        start = keras.initializers.LecunNormal()
        x = keras.layers.Conv2D(self.width, self.patch, self.patch, kernel_initializer=start, name="conv_proj")(images)
        x = keras.layers.Reshape((-1, self.width), name="tokens")(x)  # [N, h, w, C] -> [N, h * w, C]
        x = PositionEmbedding(name="encoder")(ClassToken(name="class_token")(x))
        for number in range(self.depth):
            x = self._block(x, f"encoder.layers.encoder_layer_{number}")
        x = LayerNormalization(epsilon=_EPSILON, name="encoder.ln")(x)
        return keras.Model(images, x[:, 0], name="backbone")  # [N, T + 1, C] -> [N, C]

    def imagenet_head(self, features: Any, num_classes: int) -> Any:
        """Return logits [N, L]."""
        return keras.layers.Dense(num_classes, name="heads.head", dtype="float32")(features)

    def _block(self, x: Any, name: str) -> Any:
        y = LayerNormalization(epsilon=_EPSILON, name=f"{name}.ln_1")(x)
        y = dense(3 * self.width, f"{name}.self_attention.in_proj")(y)
        y = Heads(self.num_heads, name=f"{name}.self_attention")(y)
        x = x + dense(self.width, f"{name}.self_attention.out_proj")(y)
        y = LayerNormalization(epsilon=_EPSILON, name=f"{name}.ln_2")(x)
        return x + perceptron(y, self.hidden, (f"{name}.mlp.0", f"{name}.mlp.3"))
