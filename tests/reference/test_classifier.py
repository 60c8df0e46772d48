"""Preprocessing and class weights of the classifiers against numbers recorded from the original."""

import re

import numpy as np
import pytest

from tests.golden_files import golden_files

FILES = golden_files("classifier*.npz")


def cases(prefix: str) -> list:
    found = []
    for path in FILES:
        with np.load(path) as data:
            names = [name for name in data.files if name.startswith(prefix)]
        found += [pytest.param(path, name, id=f"{path.stem}-{name}") for name in names]
    if not found:
        raise FileNotFoundError(f"no golden array {prefix}*")
    return found


@pytest.mark.parametrize(("path", "name"), cases("preprocess/in"))
def test_preprocess_matches_the_original(path, name):
    from medsynth.networks.imagenet_input import preprocess

    size = re.fullmatch(r"preprocess/in(\d+)", name).group(1)
    with np.load(path) as data:
        image = data[name]
        (expected_name,) = (key for key in data.files if key.startswith(f"preprocess/out{size}_every_"))
        expected, total = data[expected_name], data[f"preprocess/out{size}_sum"]
    step = int(re.search(r"every_(\d+)", expected_name).group(1))
    assert image.dtype == np.uint8
    # [C, H, W] -> [1, H, W, C]
    output = preprocess(image.transpose(1, 2, 0)[None], expected.shape[0] * step).numpy()[0]
    np.testing.assert_allclose(output[::step, ::step], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(output.sum(dtype=np.float64), total, rtol=1e-4)


@pytest.mark.parametrize(("path", "name"), cases("class_weights/neg_pos"))
def test_class_weights_match_the_original(path, name):
    from medsynth.classify.callbacks import class_weights

    with np.load(path) as data:
        total, positives, multiply = (data[f"class_weights/{key}"] for key in ("total", "positive", "multiply"))
        np.testing.assert_allclose(class_weights(int(total), positives, float(multiply)), data[name], rtol=1e-12)
