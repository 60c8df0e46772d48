"""The two rules by which records become network inputs."""

import numpy as np
import pytest

from medsynth.networks.imagenet_input import preprocess


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, 16, 16, 1), np.uint8)


def test_half_pixel_keeps_a_mirrored_image_in_place(picture: np.ndarray) -> None:
    mirrored = preprocess(picture[:, :, ::-1], 56, "half_pixel").numpy()
    np.testing.assert_allclose(mirrored, preprocess(picture, 56, "half_pixel").numpy()[:, :, ::-1], atol=1e-5)


def test_the_published_rule_moves_it(picture: np.ndarray) -> None:
    """The reason for the option: under the corner rule an image and its mirror image do not match."""
    mirrored = preprocess(picture[:, :, ::-1], 56).numpy()
    assert np.abs(mirrored - preprocess(picture, 56).numpy()[:, :, ::-1]).max() > 0.5


@pytest.mark.parametrize("resize", ["tf1_corner", "half_pixel"])
def test_the_corner_of_the_image_is_the_corner_of_the_record(picture: np.ndarray, resize: str) -> None:
    output = preprocess(picture, 64, resize).numpy()[0, 0, 0]
    expected = (picture[0, 0, 0, 0] / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(output, expected, rtol=1e-5)
