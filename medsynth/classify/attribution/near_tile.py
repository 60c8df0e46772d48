"""What a network makes of an image with one tile masked, computed only where the tile changes anything.

A masked tile of 4 x 4 pixels changes 5 x 5 values behind the first convolution of DenseNet-121, 16 x 16 of 56 x 56
behind its first block, and all of them only from the middle of the second block on. Everywhere else its activations
are those of the whole image, which are computed once. So every layer is evaluated on a window that holds what the
tile has changed. Nothing is approximated: results differ from those of a masked image by rounding alone.
"""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from medsynth.errors import NetworkError

Positions = npt.NDArray[np.int64]

# A window that must grow grows by this much more, so that not every layer copies it.
_SLACK = 6
# From this share of the map's side on, the whole map is as cheap.
_NEARLY_ALL = 0.85


@dataclass(frozen=True)
class Window:
    """Squares of a feature map, one for each tile; rows and columns have the same numbers.

    Attributes:
        length: Positions a side of the map.
        low: First position that a tile in row (or column) i of the grid changes, [n].
        high: Last one, [n].
        starts: First position of the window, [n].
        size: Positions a side of the window.
    """

    length: int
    low: Positions
    high: Positions
    starts: Positions
    size: int

    def covers(self, low: Positions, high: Positions) -> bool:
        """Return whether every window holds the positions from `low` to `high`, as far as the map has them."""
        return bool(
            (self.starts <= low.clip(0)).all() and (self.starts + self.size > high.clip(None, self.length - 1)).all()
        )

    def grown(self, low: Positions, high: Positions) -> "Window":
        """Return windows that hold the positions from `low` to `high` and some more, or the whole map."""
        size = int((high - low).max()) + 1 + _SLACK
        size += size % 2
        if size >= _NEARLY_ALL * self.length:
            return self.whole()
        # Even starts and sizes, so that pooling by two needs no other window.
        starts = ((low + high + 1 - size) // 2).clip(0, self.length - size) // 2 * 2
        return replace(self, starts=starts, size=size)

    def whole(self) -> "Window":
        """Return the window that is the whole map."""
        return replace(self, starts=np.zeros_like(self.starts), size=self.length)

    def is_at(self, other: "Window") -> bool:
        """Return whether both windows hold the same positions."""
        return self.size == other.size and bool((self.starts == other.starts).all())


@dataclass(frozen=True)
class _Step:
    """One layer.

    Attributes:
        layer: What is called.
        sources: Numbers of the steps whose outputs it takes.
        inputs: The windows of them that it needs; None where a tensor is no map.
        output: The window that it makes.
        num_wrong: Positions next to the window's edge, unless it is the map's, that the layer computes wrongly, since
            it lacks what lies beyond; the tile does not change them.
    """

    layer: Any
    sources: tuple[int, ...]
    inputs: tuple[Window | None, ...]
    output: Window | None
    num_wrong: int = 0


class NearTile:
    """A network, evaluated for an image with tiles masked one at a time.

    Args:
        network: Functional, of convolutions, poolings, batch normalisations and activations, then a global average and
            dense layers; normalised images [N, D, D, 3] to outputs [N, L].
        tile: Pixels a side of a tile; D is a multiple of it.
        last: Name of the layer to stop at; the network's last one where not given.

    Raises:
        NetworkError: The network has a layer of another kind.
    """

    def __init__(self, network: keras.Model, tile: int, last: str | None = None) -> None:
        self.steps = _plan(network, tile, last)
        kept = sorted(self._steps_whose_maps_are_needed())
        self._kept = {number: place for place, number in enumerate(kept)}
        clean = keras.Model(network.inputs, [self.steps[number].layer.output for number in kept])
        self._clean = tf.function(lambda image: clean(image, training=False), autograph=False)

    def _steps_whose_maps_are_needed(self) -> set[int]:
        needed = {number for number, step in enumerate(self.steps) if step.num_wrong}
        for step in self.steps:
            for source, window in zip(step.sources, step.inputs, strict=True):
                if window is not None and not window.is_at(_window_of(self.steps[source])):
                    needed.add(source)
        return needed

    def whole(self, image: Any) -> list[Any]:
        """Return what `masked` needs to know of the whole image [1, D, D, 3]: activations [1, H, W, C]."""
        return list(self._clean(image))

    def masked(self, whole: list[Any], rows: Any, columns: Any) -> Any:
        """Return the network's output for copies of the image with one tile of zeros each.

        Args:
            whole: From `whole`.
            rows: int32 [B], each tile's row in the grid of tiles.
            columns: int32 [B].

        Returns:
            The last layer's output, [B, L], or [B, w, w, C] in its window.
        """
        values: list[Any] = []
        last_use = {source: number for number, step in enumerate(self.steps) for source in step.sources}
        for number, step in enumerate(self.steps):
            if not step.sources:
                size = _window_of(step).size
                values.append(tf.zeros([tf.shape(rows)[0], size, size, step.layer.output.shape[-1]], step.layer.dtype))
                continue
            inputs = []
            for source, window in zip(step.sources, step.inputs, strict=True):
                value = values[source]
                if window is not None and not window.is_at(_window_of(self.steps[source])):
                    clean = whole[self._kept[source]]
                    value = _move(
                        value,
                        clean,
                        _Squares.of(_window_of(self.steps[source]), rows, columns),
                        _Squares.of(window, rows, columns),
                    )
                inputs.append(value)
            if isinstance(step.layer, keras.layers.ZeroPadding2D):
                result = tf.cast(inputs[0], step.layer.compute_dtype)  # another count of the same positions
            else:
                result = step.layer(inputs if len(inputs) > 1 else inputs[0], training=False)
            if step.num_wrong:
                result = _mend(
                    result, whole[self._kept[number]], _Squares.of(_window_of(step), rows, columns), step.num_wrong
                )
            values.append(result)
            for source in step.sources:
                if last_use[source] == number:
                    values[source] = None
        return values[-1]

    def cut(self, whole_map: Any, rows: Any, columns: Any) -> Any:
        """Return the windows of the last layer, [B, w, w, C], from a map of its size [1, H, W, C].

        Args:
            whole_map: Any number type.
            rows: As `masked` takes them.
            columns: Likewise.
        """
        return _cut(whole_map, _Squares.of(_window_of(self.steps[-1]), rows, columns))


def _window_of(step: _Step) -> Window:
    if step.output is None:
        raise ValueError(f"{step.layer.name} makes no map")
    return step.output


def _plan(network: keras.Model, tile: int, last: str | None) -> list[_Step]:
    """Return the layers in their order, with the windows in which they are evaluated."""
    steps: list[_Step] = []
    numbers: dict[int, int] = {}
    for layer in network.layers:
        given = layer.input if isinstance(layer.input, list | tuple) else [layer.input]
        sources = (
            tuple(numbers[id(tensor)] for tensor in given) if not isinstance(layer, keras.layers.InputLayer) else ()
        )
        steps.append(_step(layer, sources, [steps[source].output for source in sources], tile))
        numbers[id(layer.output)] = len(steps) - 1
        if layer.name == last:
            break
    return steps


def _step(layer: Any, sources: tuple[int, ...], windows: list[Window | None], tile: int) -> _Step:  # noqa: PLR0911  (one return per kind of layer)
    """Return how one layer is evaluated on windows."""
    if isinstance(layer, keras.layers.InputLayer):
        starts = np.arange(layer.output.shape[1] // tile) * tile
        return _Step(layer, (), (), Window(layer.output.shape[1], starts, starts + tile - 1, starts, tile))
    if isinstance(layer, keras.layers.Dense):
        return _Step(layer, sources, (None,), None)
    window = windows[0]
    if window is None:
        raise _unknown(layer)
    if isinstance(layer, keras.layers.GlobalAveragePooling2D):
        return _Step(layer, sources, (window.whole(),), None)
    if isinstance(layer, keras.layers.BatchNormalization | keras.layers.Activation | keras.layers.ReLU):
        return _Step(layer, sources, (window,), window)
    if isinstance(layer, keras.layers.ZeroPadding2D):
        (before, after), _ = layer.padding
        moved = replace(
            window,
            length=window.length + before + after,
            low=window.low + before,
            high=window.high + before,
            starts=window.starts + before,
        )
        return _Step(layer, sources, (window,), moved)
    if isinstance(layer, keras.layers.Concatenate):
        return _concatenation(layer, sources, [one for one in windows if one is not None])
    return _local(layer, sources, window)


def _concatenation(layer: Any, sources: tuple[int, ...], windows: list[Window]) -> _Step:
    widest = max(windows, key=lambda one: one.size)
    low = np.min([one.low for one in windows], axis=0)
    high = np.max([one.high for one in windows], axis=0)
    common = replace(widest, low=low, high=high)
    if not common.covers(low, high):
        common = common.whole()
    return _Step(layer, sources, (common,) * len(windows), common)


def _local(layer: Any, sources: tuple[int, ...], window: Window) -> _Step:
    """Convolutions and poolings."""
    if isinstance(layer, keras.layers.Conv2D):
        kernel, stride = layer.kernel_size[0], layer.strides[0]
    elif isinstance(layer, keras.layers.MaxPooling2D | keras.layers.AveragePooling2D):
        kernel, stride = layer.pool_size[0], layer.strides[0]
    else:
        raise _unknown(layer)
    if layer.padding == "same":
        reach = kernel // 2
        if stride != 1 or kernel % 2 == 0:
            raise _unknown(layer)
        low, high = (window.low - reach).clip(0), (window.high + reach).clip(None, window.length - 1)
        if not window.covers(low - reach, high + reach):
            window = window.grown(low - reach, high + reach)
        is_whole = window.size == window.length
        return _Step(layer, sources, (window,), replace(window, low=low, high=high), 0 if is_whole else reach)
    length = layer.output.shape[1]
    # Output o is computed from inputs o * stride to o * stride + kernel - 1.
    low = (-((kernel - 1 - window.low) // stride)).clip(0, length - 1)
    high = (window.high // stride).clip(0, length - 1)
    needed_low, needed_high = low * stride, high * stride + kernel - 1
    fits = (window.starts % stride == 0).all() and (window.size - kernel) % stride == 0
    if not (fits and window.covers(needed_low, needed_high)):
        size = int((high - low).max()) + 1
        starts = low.clip(0, length - size)
        window = replace(window, starts=starts * stride, size=(size - 1) * stride + kernel)
    size = (window.size - kernel) // stride + 1
    return _Step(layer, sources, (window,), Window(length, low, high, window.starts // stride, size))


def _unknown(layer: Any) -> NetworkError:
    return NetworkError(
        "Attribution maps know convolutions, poolings, batch normalisation, activations and dense layers.",
        received=f"{type(layer).__name__} {layer.name!r}",
    )


@dataclass(frozen=True)
class _Squares:
    """The window of each tile of a batch: first rows and columns, int32 [B], and size."""

    rows: Any
    columns: Any
    window: Window

    @staticmethod
    def of(window: Window, rows: Any, columns: Any) -> "_Squares":
        starts = tf.constant(window.starts, tf.int32)
        return _Squares(tf.gather(starts, rows), tf.gather(starts, columns), window)

    def positions(self) -> tuple[Any, Any]:
        """Return rows and columns of all positions, int32 [B, w] each."""
        steps = tf.range(self.window.size)[None, :]
        return self.rows[:, None] + steps, self.columns[:, None] + steps


def _cut(clean: Any, squares: _Squares) -> Any:
    """Return the squares [B, w, w, C] of a map [1, H, W, C]."""
    rows, columns = squares.positions()
    length, channels = squares.window.length, clean.shape[-1]
    index = rows[:, :, None] * length + columns[:, None, :]
    return tf.gather(tf.reshape(clean, [-1, channels]), index)


def _move(values: Any, clean: Any, old: _Squares, new: _Squares) -> Any:
    """Return the squares `new` of maps that hold `values` in the squares `old`, and are `clean` elsewhere.

    Args:
        values: [B, w, w, C].
        clean: [1, H, W, C].
        old: Where the values lie.
        new: What is wanted.
    """
    batch, channels = tf.shape(values)[0], clean.shape[-1]
    length, width = old.window.length, old.window.size
    rows, columns = new.positions()
    index_clean = rows[:, :, None] * length + columns[:, None, :]
    own_rows, own_columns = rows - old.rows[:, None], columns - old.columns[:, None]
    is_own = ((own_rows >= 0) & (own_rows < width))[:, :, None] & ((own_columns >= 0) & (own_columns < width))[
        :, None, :
    ]
    copies = tf.range(batch)[:, None, None]
    index_own = length * length + (copies * width + own_rows[:, :, None]) * width + own_columns[:, None, :]
    # [1, H, W, C] -> [H*W, C], [B, w, w, C] -> [B*w*w, C]
    rows_of_channels = tf.concat([tf.reshape(clean, [-1, channels]), tf.reshape(values, [-1, channels])], axis=0)
    return tf.gather(rows_of_channels, tf.where(is_own, index_own, index_clean))


def _mend(values: Any, clean: Any, squares: _Squares, num_wrong: int) -> Any:
    """Return `values` [B, w, w, C] with `num_wrong` positions at the windows' edges taken from `clean` [1, H, W, C].

    Edges of the window that are the map's edges are right as they are.
    """
    length, size = squares.window.length, squares.window.size
    rows, columns = squares.positions()

    def right(positions: Any, starts: Any) -> Any:
        first = tf.where(starts > 0, starts + num_wrong, 0)[:, None]
        stop = tf.where(starts + size < length, starts + size - num_wrong, length)[:, None]
        return (positions >= first) & (positions < stop)

    is_right = right(rows, squares.rows)[:, :, None] & right(columns, squares.columns)[:, None, :]
    return tf.where(is_right[..., None], values, _cut(clean, squares))
