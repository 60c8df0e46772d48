"""Causal attribution maps: how much worse a classifier becomes when a tile of the image is masked.

Source: the causal objective of Schwab and Karlen 2019, "CXPlain", https://arxiv.org/abs/1910.12336, as Schuette et al.
2021 use it: no explanation model is trained, the objective itself is the map.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from medsynth.classify.attribution.near_tile import NearTile

Floats = npt.NDArray[np.float64]
Tiles = npt.NDArray[np.int64]
Advance = Callable[[int], None]

EPSILON = 1e-7


def binary_cross_entropy(truth: Floats, scores: npt.NDArray[np.floating]) -> Floats:
    """Return the binary cross-entropy, averaged over the labels, as published, [...].

    Scores are clipped to [1e-7, 1 - 1e-7], and 1e-7 is added once more inside the logarithms.

    Args:
        truth: 0 or 1, [..., L].
        scores: In [0, 1], [..., L].
    """
    clipped = np.clip(scores.astype(np.float64), EPSILON, 1 - EPSILON)
    logs = truth * np.log(clipped + EPSILON) + (1 - truth) * np.log(1 - clipped + EPSILON)
    return np.asarray(-logs.mean(axis=-1))


def tile_effects(truth: Floats, whole: npt.NDArray[np.floating], masked: npt.NDArray[np.floating]) -> Floats:
    """Return by how much masking each tile raises the cross-entropy, [T]; negative where it lowers it.

    Args:
        truth: 0 or 1, [L].
        whole: Scores of the whole image, [L].
        masked: Scores with each tile masked, [T, L].
    """
    return binary_cross_entropy(truth, masked) - binary_cross_entropy(truth, whole)


def attribution_map(effects: Floats, tile: int, *, log: bool = False, normalise: bool = False) -> Floats:
    """Return the published map, [D, D, 1], D = n * tile: max(effect, 1e-7) of each pixel's tile.

    Args:
        effects: Of the n x n tiles, [n, n].
        tile: Pixels a side of a tile.
        log: Take log(1 + effect).
        normalise: Divide by the sum of the map, so that it becomes 1.
    """
    values = np.maximum(effects, EPSILON)
    if log:
        values = np.log1p(values)
    # [n, n] -> [D, D] -> [D, D, 1]
    pixels = values.repeat(tile, axis=0).repeat(tile, axis=1)[..., None]
    return pixels / pixels.sum() if normalise else pixels


class MaskedScores:
    """A network's scores of an image with its tiles masked one at a time.

    Masked copies are made in the graph, a fixed number a call; the last call is filled up.

    Args:
        network: Normalised images [N, D, D, 3] to scores [N, L].
        tile: Pixels a side of a tile; D is a multiple of it.
        tiles_per_call: Masked copies in a call.
        near_tile: Compute each layer only where the tile changes it (`NearTile`); else whole masked images. The scores
            are the same to rounding.
    """

    def __init__(self, network: keras.Model, tile: int, tiles_per_call: int, *, near_tile: bool = True) -> None:
        self.network, self.tile, self.tiles_per_call = network, tile, tiles_per_call
        self.tiles_per_side = network.input_shape[1] // tile
        self._near = NearTile(network, tile) if near_tile else None
        self._whole = tf.function(lambda image: network(image, training=False), autograph=False)
        self._masked = tf.function(self._scores_near if near_tile else self._scores_of_copies, autograph=False)
        self.num_calls = 0

    def whole(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the scores of an image [D, D, 3] as it is, [L]."""
        return np.asarray(self._whole(tf.constant(image[None]))[0])

    def masked(self, image: npt.NDArray[Any], tiles: Tiles | None = None, advance: Advance | None = None) -> Any:
        """Return the scores of an image with one tile set to 0, [T, L].

        Args:
            image: Normalised, [D, D, 3].
            tiles: Which ones, row by row from 0; all of them where not given.
            advance: Called after each call with the number of tiles done in it.
        """
        if tiles is None:
            tiles = np.arange(self.tiles_per_side**2)
        batch = tf.constant(image[None])
        known = self._near.whole(batch) if self._near else batch
        scores = []
        for block in blocks_of(tiles, self.tiles_per_call):
            rows, columns = np.divmod(block.astype(np.int32), np.int32(self.tiles_per_side))
            scores.append(self._masked(known, tf.constant(rows), tf.constant(columns)).numpy())
            self.num_calls += 1
            if advance is not None:
                advance(min(self.tiles_per_call, len(tiles) - (len(scores) - 1) * self.tiles_per_call))
        return np.concatenate(scores)[: len(tiles)]

    def _scores_near(self, known: list[Any], rows: Any, columns: Any) -> Any:
        if self._near is None:
            raise ValueError("no near-tile network was asked for")
        return self._near.masked(known, rows, columns)

    def _scores_of_copies(self, image: Any, rows: Any, columns: Any) -> Any:
        return self.network(masked_copies(image, rows, columns, self.tile), training=False)


def blocks_of(tiles: Tiles, size: int) -> list[Tiles]:
    """Return tiles [T] in blocks of exactly `size`; the last tile fills the last block up."""
    padded = np.pad(tiles, (0, math.ceil(len(tiles) / size) * size - len(tiles)), mode="edge")
    return list(padded.reshape(-1, size))


def masked_copies(image: Any, rows: Any, columns: Any, tile: int) -> Any:
    """Return copies [B, D, D, C] of an image [1, D, D, C], each with one tile set to 0.

    Args:
        image: Any number type.
        rows: Of the tiles, int32 [B].
        columns: int32 [B].
        tile: Pixels a side.
    """
    own = tf.range(image.shape[1]) // tile
    is_masked = (own[None, :] == rows[:, None])[:, :, None] & (own[None, :] == columns[:, None])[:, None, :]
    return tf.where(is_masked[..., None], tf.zeros([], image.dtype), image)


def exact_effects(
    scores: MaskedScores, image: npt.NDArray[np.float32], truth: Floats, advance: Advance | None = None
) -> Floats:
    """Return the effect of masking every tile of an image, [n, n].

    Args:
        scores: The network.
        image: Normalised, [D, D, 3].
        truth: 0 or 1, [L].
        advance: Called with the number of tiles done.
    """
    effects = tile_effects(truth, scores.whole(image), scores.masked(image, advance=advance))
    # [n*n] -> [n, n]
    return effects.reshape(scores.tiles_per_side, -1)
