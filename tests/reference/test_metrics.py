"""Image metrics against numbers recorded from the original implementations."""

from pathlib import Path

import numpy as np
import pytest

from medsynth.metrics.frechet import fid, frechet_distance, moments
from medsynth.metrics.inception_score import inception_score
from medsynth.metrics.ms_ssim import ms_ssim, ssim_and_contrast
from medsynth.metrics.sliced_wasserstein import SCALE, draw_patches, laplacian_pyramid, sliced_distance
from tests.golden_files import golden_files

FILES = golden_files("metrics*.npz")
UPSAMPLED = "_upsampled"
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Arrays:
    path: Path = request.param
    return dict(np.load(path, allow_pickle=False))


def images(golden: Arrays, name: str) -> np.ndarray:
    """The file has [N, C, H, W]."""
    return golden[name].transpose(0, 2, 3, 1)


def close(ours: object, theirs: object) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def enlarged(golden: Arrays, key_start: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Return reals, fakes and the value of the key that begins so; its end says how much the images are enlarged."""
    (key,) = [key for key in golden if key.startswith(key_start + UPSAMPLED)]
    factor = int(key.split(UPSAMPLED)[1])
    both = (images(golden, name).repeat(factor, 1).repeat(factor, 2) for name in ("reals", "fakes"))
    return *both, float(golden[key])


def test_the_images_differ_and_every_array_is_tested(golden: Arrays) -> None:
    assert golden["reals"].dtype == golden["fakes"].dtype == np.uint8
    assert np.abs(golden["reals"].astype(int) - golden["fakes"]).mean() > 1
    known = ("noise", "reals", "fakes", "ms_ssim/", "ssim/", "cs/", "swd/", "fid/", "is/")
    assert [key for key in golden if not key.startswith(known)] == []


def test_frechet_distance_of_features(golden: Arrays) -> None:
    real, fake = golden["fid/act_real"], golden["fid/act_fake"]
    close(fid(real, fake), golden["fid/value"])
    close(frechet_distance(moments(fake), moments(real)), golden["fid/value"])
    close(fid(real, real), golden["fid/self"])


def test_inception_score_of_probabilities(golden: Arrays) -> None:
    mean, deviation = inception_score(golden["is/probabilities"], int(golden["is/splits"]))
    close(mean, golden["is/mean"])
    close(deviation, golden["is/std"])


def test_similarity_at_one_scale(golden: Arrays) -> None:
    similarity, contrast = ssim_and_contrast(images(golden, "reals"), images(golden, "fakes"))
    close(similarity, golden["ssim/reals_vs_fakes"])
    close(contrast, golden["cs/reals_vs_fakes"])


def test_similarity_at_five_scales(golden: Arrays) -> None:
    reals, fakes, expected = enlarged(golden, "ms_ssim/reals_vs_fakes")
    close(ms_ssim(reals, fakes).mean(), expected)
    close(ms_ssim(reals, reals).mean(), golden["ms_ssim/self"])


def test_similarity_of_pairs_of_fakes(golden: Arrays) -> None:
    """The original pairs every image of even number with the next one."""
    _, fakes, expected = enlarged(golden, "ms_ssim/api_pairs")
    close(ms_ssim(fakes[0::2], fakes[1::2]).mean(), expected)


def test_laplacian_pyramid(golden: Arrays) -> None:
    num_levels = len(golden["swd/resolutions"])
    levels = laplacian_pyramid(images(golden, "reals"), num_levels)
    assert [level.shape[1] for level in levels] == golden["swd/resolutions"].tolist()
    for number, level in enumerate(levels):
        expected = golden[f"swd/laplacian_level{number}"]
        close(level[: len(expected)].transpose(0, 3, 1, 2), expected)


def test_sliced_wasserstein_distance(golden: Arrays) -> None:
    rng = np.random.RandomState(int(golden["swd/np_random_seed"]))
    num_levels = len(golden["swd/resolutions"])

    def patches(name: str) -> list[np.ndarray]:
        return draw_patches(laplacian_pyramid(images(golden, name), num_levels), rng)

    real = patches("reals")
    assert [sliced_distance(level, level, rng) for level in real] == [0.0] * num_levels
    distances = [SCALE * sliced_distance(*both, rng) for both in zip(real, patches("fakes"), strict=True)]
    close([*distances, np.mean(distances)], golden["swd/values_x1e3"])


def test_noise_is_farther_from_the_reals_than_the_fakes_are(golden: Arrays) -> None:
    """Nothing is recorded for `noise`; it must be the worst of all."""
    reals, fakes, noise = (images(golden, name) for name in ("reals", "fakes", "noise"))
    assert (ms_ssim(reals, noise) < ms_ssim(reals, fakes)).all()
    levels = [draw_patches(laplacian_pyramid(side, 1), np.random.RandomState(0)) for side in (reals, fakes, noise)]
    near, far = (sliced_distance(levels[0][0], other[0], np.random.RandomState(1)) for other in levels[1:])
    assert far > near
