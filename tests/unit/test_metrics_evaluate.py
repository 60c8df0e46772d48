"""Metrics by name: what may be asked for, and that the same distribution scores at the floor, another one above."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medsynth.errors import DataError, MedsynthError, NetworkError, UsageError
from medsynth.metrics import sliced_wasserstein
from medsynth.metrics.catalogue import METRICS, MetricsRequest, metric_of_row, parse_metrics
from medsynth.metrics.evaluate import ImageSet, evaluate, metric_groups
from medsynth.metrics.features import load_extractor
from medsynth.metrics.intervals import block_numbers, block_slices, jackknife_estimate, mean_estimate

CHOICES = {
    "metrics": ("fid",),
    "features": "random",
    "weights": None,
    "num_images": 100,
    "split": "test",
    "snapshots": "final",
    "seed": 1,
}


def request(**changes: Any) -> MetricsRequest:
    return MetricsRequest(**(CHOICES | changes))


def blobs(num_images: int, seed: int, width: float = 0.2) -> np.ndarray:
    """Bright blobs at random places of 16x16 pixels."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16] / 16
    places = rng.uniform(0.3, 0.7, (2, num_images, 1, 1))
    distances = (rows - places[0]) ** 2 + (columns - places[1]) ** 2
    images = 30 + 200 * np.exp(-distances / width**2) + rng.normal(0, 8, (num_images, 16, 16))
    return images.clip(0, 255).astype(np.uint8)[..., None]


def image_set(images: np.ndarray) -> ImageSet:
    extractor = load_extractor("random")
    return ImageSet(images, extractor(images), extractor.class_weights)


@pytest.fixture(scope="module")
def sets() -> dict[str, ImageSet]:
    return {
        "real": image_set(blobs(144, 0)),
        "other": image_set(blobs(144, 1)),
        "alike": image_set(blobs(144, 2)),
        "shifted": image_set(blobs(144, 3, width=0.32)),
    }


@pytest.fixture(scope="module")
def found(sets: dict[str, ImageSet]) -> dict[str, dict[str, Any]]:
    names = tuple(METRICS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sliced_wasserstein, "DIRECTIONS_PER_REPEAT", 16)
        return {name: evaluate(names, sets["real"], sets[name], seed=4) for name in ("other", "alike", "shifted")}


def test_every_metric_has_a_value_and_an_interval_around_it(found: dict[str, dict[str, Any]]) -> None:
    assert set(found["alike"]) == set(METRICS)
    for name, one in found["alike"].items():
        assert math.isfinite(one.value), name
        assert one.low <= one.value <= one.high, name
    assert all(metric_of_row(name) in METRICS for name in found["alike"])


@pytest.mark.parametrize("name", METRICS)
def test_another_draw_scores_at_the_floor_and_another_distribution_beyond_it(
    found: dict[str, dict[str, Any]], name: str
) -> None:
    floor, alike, shifted = (found[key][name] for key in ("other", "alike", "shifted"))
    assert max(alike.low, floor.low) <= min(alike.high, floor.high)
    if METRICS[name].better == "lower":
        assert shifted.value > floor.value
        assert name == "kid_subsets" or shifted.low > floor.value
    elif METRICS[name].better == "higher":
        assert shifted.high < floor.value
    else:
        assert abs(shifted.value - floor.value) > abs(alike.value - floor.value)


def test_a_set_against_itself_scores_at_the_floor_or_better(sets: dict[str, ImageSet]) -> None:
    itself = evaluate(("fid", "kid", "precision", "coverage"), sets["real"], sets["real"], num_blocks=0)
    assert itself["fid"].value == pytest.approx(0.0, abs=1e-9)
    assert itself["kid"].value < 0, "unbiased, and nothing is nearer than a copy"
    assert (itself["precision"].value, itself["coverage"].value) == (1.0, 1.0)
    assert math.isnan(itself["fid"].low)


def test_only_what_was_asked_for_is_returned(sets: dict[str, ImageSet]) -> None:
    assert list(evaluate(("fid_infinity",), sets["real"], sets["alike"], num_blocks=0)) == ["fid_infinity"]
    assert set(evaluate(("recall", "ms_ssim"), sets["real"], sets["alike"], num_blocks=0)) == {"recall", "ms_ssim"}
    assert metric_groups(("density", "fid", "precision")) == [("fid",), ("density", "precision")]
    everything = [name for group in metric_groups(tuple(METRICS)) for name in group]
    assert sorted(everything) == sorted(METRICS)


def test_pixels_need_no_features(sets: dict[str, ImageSet]) -> None:
    bare = [ImageSet(sets[name].images, np.zeros((0, 0), np.float32)) for name in ("real", "alike")]
    assert set(evaluate(("swd", "ms_ssim"), *bare, num_blocks=0)) == {"swd", "ms_ssim"}
    with pytest.raises(ValueError, match="class weights"):
        evaluate(("is",), *bare)


def test_names_are_read_once_each_and_unknown_ones_refused() -> None:
    assert parse_metrics("fid, kid,fid") == ("fid", "kid")
    with pytest.raises(UsageError, match="Did you mean precision"):
        parse_metrics("fid,precison")
    with pytest.raises(UsageError, match="at least one"):
        parse_metrics(" ,")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"features": "vgg"}, UsageError, "one of inception-2015"),
        ({"features": "inception-2015"}, UsageError, "nothing is downloaded"),
        ({"features": "densenet", "weights": Path("nowhere")}, NetworkError, "nowhere/train/best_weights.h5"),
        ({"num_images": 47}, UsageError, "--num is at least 48. Received: 47"),
        ({"split": "tset"}, UsageError, "train, valid, test"),
        ({"snapshots": "last"}, UsageError, "final or all"),
    ],
)
def test_what_cannot_be_done_is_refused(changes: dict[str, Any], error: type[MedsynthError], words: str) -> None:
    with pytest.raises(error, match=words):
        request(**changes)


def test_features_without_classes_give_no_inception_score(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "best_weights.h5").write_bytes(b"")
    assert request(features="densenet", weights=tmp_path).needs_features
    with pytest.raises(UsageError, match=r"is needs features with class probabilities.*Received: --features densenet"):
        request(features="densenet", weights=tmp_path, metrics=("fid", "is"))


def test_pixel_metrics_ask_for_no_weights() -> None:
    assert not request(features="inception-2015", metrics=("swd", "ms_ssim")).needs_features


def test_how_many_images_are_compared(tmp_path: Path) -> None:
    assert request().require_fitting(1000, 16, tmp_path) == 100
    assert request().require_fitting(150, 16, tmp_path) == 75
    assert request(with_floor=False).require_fitting(150, 16, tmp_path) == 100
    with pytest.raises(DataError, match=r"at least 2 x 48 .*Received: 95 images"):
        request().require_fitting(95, 16, tmp_path)
    with pytest.raises(UsageError, match=r"at least 16x16 pixels\. Received: 8x8"):
        request(metrics=("swd",)).require_fitting(1000, 8, tmp_path)


@pytest.mark.parametrize(("num_images", "num_blocks"), [(12, 12), (100, 12), (7, 3)])
def test_blocks_share_the_images_evenly(num_images: int, num_blocks: int) -> None:
    slices = block_slices(num_images, num_blocks)
    sizes = [part.stop - part.start for part in slices]
    assert (slices[0].start, slices[-1].stop, sum(sizes), len(sizes)) == (0, num_images, num_images, num_blocks)
    assert max(sizes) - min(sizes) <= 1
    numbers = block_numbers(num_images, num_blocks)
    assert all((numbers[part] == number).all() for number, part in enumerate(slices))


def test_jackknife_of_a_mean_is_the_interval_of_the_mean_of_blocks() -> None:
    """For a mean the jackknife must give the classical standard error."""
    blocks = np.random.default_rng(5).normal(size=(12, 30)).mean(axis=1)
    without = (blocks.sum() - blocks) / 11
    ours, classical = jackknife_estimate(float(blocks.mean()), without), mean_estimate(blocks)
    assert (ours.low, ours.high) == pytest.approx((classical.low, classical.high), rel=1e-12)
    assert ours.within(0.0).low >= 0.0
    assert math.isnan(jackknife_estimate(1.0, []).low)
    assert math.isnan(mean_estimate([1.0]).high)
