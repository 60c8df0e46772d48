"""Attribution maps from a fraction of the network calls: a coarse grid, an estimate between, and the peaks.

1. Coarse: the effect of every fifth tile in both directions is computed.
2. Estimate: what masking a tile changes behind the second pooling block of DenseNet is computed for every tile, which
   near the tile costs little; what follows of it is taken from the gradient of the cross-entropy there.
3. The difference of both at the computed tiles is smoothed over their neighbours and added to the estimate.
4. Fine: of the tiles not computed yet, those that seem to matter most, that is, whose effect seems largest, are
   computed. Steps 3 and 4 are repeated, four rounds in all, until the wanted share of the tiles is computed.

Effects below 1e-7 are 1e-7 in the map, whatever they are. So large negative effects need no precision, and the rounds
work down from the largest positive ones.
"""

import math
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from medsynth.classify.attribution.maps import EPSILON, Advance, Floats, MaskedScores, Tiles, blocks_of, tile_effects
from medsynth.classify.attribution.near_tile import NearTile

ESTIMATED_FROM = "pool2_pool"
COARSE_STEP = 5
NUM_ROUNDS = 4
_SMOOTHING = 1.5  # standard deviation of the weights of neighbours, in tiles


class CoarseToFine:
    """Attribution maps that compute only some of the tiles.

    Args:
        scores: A DenseNet.
        computed_share: Share of the tiles to compute, the coarse ones among them, in (0, 1].
        tiles_per_call: Of the estimate, whose copies are small.

    Attributes:
        num_computed: Tiles computed so far.
    """

    def __init__(self, scores: MaskedScores, computed_share: float, tiles_per_call: int = 32) -> None:
        network = scores.network
        self.scores, self.computed_share, self.tiles_per_call = scores, computed_share, tiles_per_call
        self.num_computed = 0
        middle = network.get_layer(ESTIMATED_FROM).output
        self._head, self._tail = keras.Model(network.inputs, middle), keras.Model(middle, network.outputs[0])
        self._near = NearTile(network, scores.tile, ESTIMATED_FROM)
        self._gradient_at = tf.function(self._gradient, autograph=False)
        self._estimate_of = tf.function(self._estimate, autograph=False)

    def effects(self, image: npt.NDArray[np.float32], truth: Floats, advance: Advance | None = None) -> Floats:
        """Return the effect of masking each tile of an image, [n, n]; most of them estimated.

        Args:
            image: Normalised, [D, D, 3].
            truth: 0 or 1, [L].
            advance: Called with the number of tiles computed.
        """
        side = self.scores.tiles_per_side
        whole = self.scores.whole(image)
        effects = np.full(side**2, np.nan)

        def compute(tiles: Tiles) -> None:
            if len(tiles):
                effects[tiles] = tile_effects(truth, whole, self.scores.masked(image, tiles, advance))

        estimates = self.estimates(image, truth)
        compute(coarse_tiles(side))
        wanted = math.ceil(self.computed_share * side**2)
        for rounds_left in range(NUM_ROUNDS, 0, -1):
            left = wanted - int(np.isfinite(effects).sum())
            compute(most_important(corrected(estimates, effects), effects, max(left, 0) // rounds_left))
        self.num_computed += int(np.isfinite(effects).sum())
        # [n * n] -> [n, n]
        return corrected(estimates, effects).reshape(side, side)

    def estimates(self, image: npt.NDArray[np.float32], truth: Floats) -> Floats:
        """Return the linear estimate of every tile's effect, [n * n]."""
        side = self.scores.tiles_per_side
        batch = tf.constant(image[None])
        whole = self._near.whole(batch)
        activations, gradient = self._gradient_at(batch, tf.constant(truth[None], tf.float32))
        estimates = []
        for block in blocks_of(np.arange(side**2), self.tiles_per_call):
            rows, columns = np.divmod(block.astype(np.int32), np.int32(side))
            estimates.append(self._estimate_of(whole, activations, gradient, tf.constant(rows), tf.constant(columns)))
        return np.concatenate(estimates)[: side**2].astype(np.float64)

    def _gradient(self, image: Any, truth: Any) -> tuple[Any, Any]:
        """Return the activations [1, H, W, C] of an image, and the gradient of its cross-entropy by them."""
        activations = self._head(image, training=False)
        with tf.GradientTape() as tape:
            tape.watch(activations)
            scores = tf.cast(self._tail(activations, training=False), tf.float32)
            clipped = tf.clip_by_value(scores, EPSILON, 1 - EPSILON)
            loss = -tf.reduce_mean(truth * tf.math.log(clipped) + (1 - truth) * tf.math.log1p(-clipped))
        return activations, tape.gradient(loss, activations)

    def _estimate(self, whole: list[Any], activations: Any, gradient: Any, rows: Any, columns: Any) -> Any:
        """Return gradient times change, added up over the window, float32 [B]."""
        masked = self._near.masked(whole, rows, columns)
        change = tf.cast(masked - self._near.cut(activations, rows, columns), tf.float32)
        return tf.reduce_sum(change * tf.cast(self._near.cut(gradient, rows, columns), tf.float32), axis=(1, 2, 3))


def coarse_tiles(side: int) -> Tiles:
    """Return the tiles of the coarse grid: every fifth row and column, from the first."""
    lines = np.arange(0, side, COARSE_STEP)
    return (lines[:, None] * side + lines[None, :]).ravel()


def corrected(estimates: Floats, effects: Floats) -> Floats:
    """Return effects [T]: those that are known, and the estimates of the others, shifted as their neighbours need it.

    The shift is the mean difference of the known tiles, weighted by a Gaussian of the distance.

    Args:
        estimates: Of all T = n * n tiles.
        effects: NaN where they are not known.
    """
    side = math.isqrt(len(effects))
    is_known = np.isfinite(effects)
    difference = np.where(is_known, effects - estimates, 0.0)

    def smoothed(values: Floats) -> Floats:
        # The grid is so fine that no tile is further than the filter reaches (4 standard deviations) from a known one.
        return gaussian_filter(values.reshape(side, side), _SMOOTHING, mode="constant").ravel()

    shift = smoothed(difference) / smoothed(is_known.astype(np.float64))
    return np.where(is_known, effects, estimates + shift)


def most_important(guess: Floats, effects: Floats, number: int) -> Tiles:
    """Return the `number` tiles of the largest `guess` among those whose effect is NaN, in their order."""
    order = np.argsort(-np.where(np.isfinite(effects), -np.inf, guess), kind="stable")
    return np.sort(order[: min(number, int(np.isnan(effects).sum()))])
