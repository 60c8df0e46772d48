"""Self-attention, over all tokens or within shifted windows, in operations of every Keras backend."""

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from classifier_segment.models.layers import dense, truncated_normal

# What a score loses where two places do not belong together, as in the published Swin transformer.
_APART = -100.0


def attend(qkv: Any, num_heads: int, bias: Any = None) -> Any:
    """Return softmax(q k^T / sqrt(d) + bias) v for tokens [..., T, 3C] as [..., T, C].

    Args:
        qkv: Queries, keys and values side by side, each of `num_heads` heads of d = C / heads numbers.
        num_heads: Of them.
        bias: Added to the scores [..., heads, T, T].

    Source: Vaswani et al. 2017, "Attention is all you need", https://arxiv.org/abs/1706.03762, equation 1.
    """
    *leading, num_tokens, width = ops.shape(qkv)
    size = width // (3 * num_heads)
    heads = ops.reshape(qkv, (*leading, num_tokens, 3, num_heads, size))  # [..., T, 3C] -> [..., T, 3, heads, d]
    queries, keys, values = (ops.swapaxes(heads[..., part, :, :], -3, -2) for part in range(3))  # [..., heads, T, d]
    scores = ops.matmul(queries * (1 / math.sqrt(size)), ops.swapaxes(keys, -2, -1))
    if bias is not None:
        scores = scores + ops.cast(bias, scores.dtype)
    seen = ops.matmul(ops.softmax(scores), values)
    # [..., heads, T, d] -> [..., T, heads, d] -> [..., T, C]
    return ops.reshape(ops.swapaxes(seen, -3, -2), (*leading, num_tokens, num_heads * size))


@keras.saving.register_keras_serializable("classifier_segment")
class Heads(keras.layers.Layer):
    """Attention over all tokens, between its two dense layers: [N, T, 3C] -> [N, T, C].

    Args:
        num_heads: A divisor of C.
        **options: Of Keras' layer.
    """

    def __init__(self, num_heads: int, **options: Any) -> None:
        super().__init__(**options)
        self.num_heads = num_heads

    def get_config(self) -> dict[str, Any]:
        """Return what builds the layer again."""
        return super().get_config() | {"num_heads": self.num_heads}

    def call(self, qkv: Any) -> Any:
        """Return what each token gathers."""
        return attend(qkv, self.num_heads)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return [N, T, C]."""
        return (*input_shape[:-1], (input_shape[-1] or 0) // 3)


@keras.saving.register_keras_serializable("classifier_segment")
class WindowAttention(keras.layers.Layer):
    """Attention within windows of WxW places, moved by `shift`: [N, H, W, C] -> [N, H, W, C].

    A side that is no multiple of the window is filled up with zeros, which take part, as in the published networks
    (at 224 pixels there are none). A window as large as a side is not moved along it.

    Args:
        num_heads: A divisor of C.
        window: Places a side.
        shift: Places by which the windows lie off those of the block before; 0 or window / 2.
        **options: Of Keras' layer; the dense layers in it are called name.qkv and name.proj.

    Source: Liu et al. 2021, "Swin Transformer", https://arxiv.org/abs/2103.14030, section 3.2 and equation 4.
    """

    def __init__(self, num_heads: int, window: int, shift: int, **options: Any) -> None:
        super().__init__(**options)
        self.num_heads, self.window, self.shift = num_heads, window, shift

    def get_config(self) -> dict[str, Any]:
        """Return what builds the layer again."""
        return super().get_config() | {"num_heads": self.num_heads, "window": self.window, "shift": self.shift}

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make all weights."""
        _, height, width, channels = input_shape
        self.sides = int(height or 0), int(width or 0)
        self.padded = tuple(-(-side // self.window) * self.window for side in self.sides)
        self.shifts = tuple(0 if side <= self.window else self.shift for side in self.padded)
        policy = {"dtype": self.dtype_policy}
        self.qkv = dense(3 * int(channels or 0), f"{self.name}.qkv", **policy)
        self.proj = dense(int(channels or 0), f"{self.name}.proj", **policy)
        for part in (self.qkv, self.proj):
            part.build((None, self.window**2, channels))
        self.table = self.add_weight(
            shape=((2 * self.window - 1) ** 2, self.num_heads),
            initializer=truncated_normal(),
            name="relative_position_bias_table",
        )
        self.positions = relative_positions(self.window)
        self.apart = places_apart(self.padded, self.window, self.shifts) if any(self.shifts) else None

    def call(self, inputs: Any) -> Any:
        """Return what each place gathers from its window."""
        (height, width), (full_height, full_width) = self.sides, self.padded
        x = ops.pad(inputs, ((0, 0), (0, full_height - height), (0, full_width - width), (0, 0)))
        x = _rolled(x, [-shift for shift in self.shifts])
        x = self.proj(attend(self.qkv(self._split(x)), self.num_heads, self._bias()))
        x = _rolled(self._joined(x), list(self.shifts))
        return x[:, :height, :width]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the inputs."""
        return input_shape

    def _bias(self) -> Any:
        num_places = self.window**2
        bias = ops.take(self.table, self.positions, axis=0)
        # [T * T, heads] -> [T, T, heads] -> [heads, T, T]
        bias = ops.transpose(ops.reshape(bias, (num_places, num_places, self.num_heads)), (2, 0, 1))
        if self.apart is None:
            return bias
        return bias + ops.cast(self.apart[:, None], bias.dtype)  # [windows, heads, T, T]

    def _split(self, x: Any) -> Any:
        rows, columns = (side // self.window for side in self.padded)
        # [N, H, W, C] -> [N, rows, w, columns, w, C] -> [N, rows, columns, w, w, C] -> [N, windows, T, C]
        x = ops.reshape(x, (-1, rows, self.window, columns, self.window, x.shape[-1]))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, rows * columns, self.window**2, x.shape[-1]))

    def _joined(self, x: Any) -> Any:
        rows, columns = (side // self.window for side in self.padded)
        # [N, windows, T, C] -> [N, rows, columns, w, w, C] -> [N, rows, w, columns, w, C] -> [N, H, W, C]
        x = ops.reshape(x, (-1, rows, columns, self.window, self.window, x.shape[-1]))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, *self.padded, x.shape[-1]))


def relative_positions(window: int) -> npt.NDArray[np.int32]:
    """Return, for all pairs of places of a window [T * T], the row of the bias table that their distance has."""
    rows, columns = (axis.ravel() for axis in np.mgrid[:window, :window])
    down, right = (axis[:, None] - axis[None] + window - 1 for axis in (rows, columns))
    return (down * (2 * window - 1) + right).ravel().astype(np.int32)


def places_apart(sides: tuple[int, ...], window: int, shifts: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return what is added to the scores [windows, T, T] of places that only the shift brought into one window."""
    # A side falls into what stays, what the last window keeps, and what came round from the other end.
    parts = [
        np.digitize(np.arange(side), (side - window, side - shift) if shift else (side, side + 1))
        for side, shift in zip(sides, shifts, strict=True)
    ]
    region = 3 * parts[0][:, None] + parts[1][None]
    rows, columns = (side // window for side in sides)
    windows = region.reshape(rows, window, columns, window).transpose(0, 2, 1, 3).reshape(-1, window**2)
    return np.where(windows[:, None] == windows[:, :, None], 0, _APART).astype(np.float32)


def _rolled(x: Any, shifts: list[int]) -> Any:
    return ops.roll(x, shifts, axis=(1, 2)) if any(shifts) else x
