"""Attribution maps against maps recorded from the original, of a network that is one logistic layer."""

import re

import numpy as np
import pytest

from tests.golden_files import golden_files

FILES = golden_files("classifier*.npz")
PATTERN = re.compile(r"cxpl/map_ds(\d+)_log([01])_norm([01])")


def cases() -> list:
    found = []
    for path in FILES:
        with np.load(path) as data:
            found += [pytest.param(path, name, id=f"{path.stem}-{name}") for name in data.files if PATTERN.match(name)]
    if not found:
        raise FileNotFoundError("no golden array cxpl/map_ds*")
    return found


def logistic(weights: np.ndarray, shape: tuple[int, ...]):
    import keras

    inputs = keras.Input(shape, dtype="float64")
    flat = keras.layers.Flatten(dtype="float64")(inputs)
    dense = keras.layers.Dense(weights.shape[1], activation="sigmoid", use_bias=False, dtype="float64")
    network = keras.Model(inputs, dense(flat))
    dense.set_weights([weights])
    return network


@pytest.mark.parametrize(("path", "name"), cases())
def test_maps_match_the_original(path, name):
    from medsynth.classify.attribution.maps import MaskedScores, attribution_map, binary_cross_entropy, exact_effects

    tile, log, normalise = map(int, PATTERN.fullmatch(name).groups())
    with np.load(path) as data:
        images, truth, weights, expected, losses = (
            data[key] for key in ("cxpl/x", "cxpl/y", "cxpl/logit_weights", name, "cxpl/bce")
        )
    assert len(np.unique(expected)) > len(images), "a map says something"
    # 7 does not divide the number of tiles: the last call is filled up, and nothing is dropped.
    scores = MaskedScores(logistic(weights, images.shape[1:]), tile, tiles_per_call=7, near_tile=False)
    assert scores.tiles_per_side**2 % scores.tiles_per_call
    for image, labels, map_, loss in zip(images, truth.astype(np.float64), expected, losses, strict=True):
        np.testing.assert_allclose(binary_cross_entropy(labels, scores.whole(image)), loss, rtol=1e-9)
        effects = exact_effects(scores, image, labels)
        found = attribution_map(effects, tile, log=bool(log), normalise=bool(normalise))
        np.testing.assert_allclose(found, map_, rtol=1e-6, atol=1e-12)
