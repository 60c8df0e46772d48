"""Nearest neighbours against brute force and scikit-learn, and the statistics of memorisation."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from medsynth.classify.evaluation.evaluate import proportion
from medsynth.classify.neighbours import pixel_copies, planted_copies, search
from medsynth.classify.neighbours.memorisation import (
    PixelCounts,
    compare,
    false_alarms,
    ratios,
    threshold_of,
    verdict,
)
from medsynth.classify.neighbours.search import Neighbours, nearest_neighbours, nearest_of_either
from medsynth.classify.neighbours.training_images import TrainingImages
from medsynth.data import alterations
from medsynth.data.tfrecords import RecordFile, RecordWriter
from medsynth.errors import DataError, NetworkError
from medsynth.metrics import cache
from medsynth.metrics.features import Extractor, load_extractor


def features(num_images: int, size: int = 24, seed: int = 0, num_kinds: int = 6) -> np.ndarray:
    """Vectors [N, size] around a few directions, not negative, as features behind a ReLU are."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(num_kinds, size))
    vectors = directions[rng.integers(num_kinds, size=num_images)] + 0.4 * rng.normal(size=(num_images, size))
    return np.maximum(vectors, 0).astype(np.float32) * rng.uniform(0.5, 3, (num_images, 1)).astype(np.float32)


def brute_force(queries: np.ndarray, references: np.ndarray, num_neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers and distances [N, K], float64, of equally near ones the lower number first."""
    first, second = (values.astype(np.float64) for values in (queries, references))
    first, second = (values / np.linalg.norm(values, axis=1, keepdims=True) for values in (first, second))
    distances = 0.5 * ((first[:, None] - second[None]) ** 2).sum(axis=2)
    numbers = np.argsort(distances, axis=1, kind="stable")[:, :num_neighbours]
    return numbers, np.take_along_axis(distances, numbers, axis=1)


def parts(values: np.ndarray, size: int) -> list[np.ndarray]:
    return [values[start : start + size] for start in range(0, len(values), size)]


@pytest.mark.parametrize("num_neighbours", [1, 2, 5])
@pytest.mark.parametrize(("query_size", "reference_size"), [(1000, 1000), (7, 33), (40, 1)])
def test_search_finds_what_brute_force_finds(monkeypatch, num_neighbours, query_size, reference_size):
    monkeypatch.setattr(search, "_QUERIES_PER_BLOCK", 16)
    monkeypatch.setattr(search, "_REFERENCES_PER_BLOCK", 50)
    monkeypatch.setattr(search, "_PAIRS_PER_BLOCK", 9)
    queries, references = features(60, seed=1), features(170, seed=2)
    done: list[int] = []
    found = nearest_neighbours(
        parts(queries, query_size), parts(references, reference_size), num_neighbours, advance=done.append
    )
    numbers, distances = brute_force(queries, references, num_neighbours)
    np.testing.assert_array_equal(found.numbers, numbers)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-12)
    assert sum(done) == 60 * 170
    assert not found.mirrored.any()


def test_search_agrees_with_scikit_learn():
    queries, references = features(200, size=128, seed=3), features(3000, size=128, seed=4)
    found = nearest_neighbours([queries], parts(references, 1024), 4)
    model = NearestNeighbors(n_neighbors=4, metric="cosine", algorithm="brute").fit(references.astype(np.float64))
    distances, numbers = model.kneighbors(queries.astype(np.float64))
    np.testing.assert_array_equal(found.numbers, numbers)
    np.testing.assert_allclose(found.distances, distances, atol=1e-12)


@pytest.mark.parametrize("part_size", [41, 2000])
@pytest.mark.parametrize("num_copies", [2, 15])
def test_of_equally_near_references_the_first_counts(num_copies, part_size):
    queries, references = features(30, seed=5), features(90, seed=6)
    repeated = np.concatenate([references] * num_copies)
    found = nearest_neighbours(parts(queries, 11), parts(repeated, part_size), 3)
    numbers, distances = brute_force(queries, repeated, 3)
    assert (np.ptp(distances[:, :2], axis=1) == 0).all(), "the nearest are equally near"
    np.testing.assert_array_equal(found.numbers, numbers)
    assert (np.ptp(found.distances[:, : min(num_copies, 3)], axis=1) == 0).all()


def test_a_copy_has_distance_zero_and_is_told_from_what_is_almost_one():
    references = features(500, size=1024, seed=7)
    almost = references[100:140] * (1 + 1e-5 * np.random.default_rng(0).normal(size=(40, 1024))).astype(np.float32)
    found = nearest_neighbours([references[100:140] * 2], parts(np.concatenate([almost, references]), 64), 2)
    np.testing.assert_array_equal(found.numbers, np.stack([np.arange(140, 180), np.arange(40)], axis=1))
    assert (found.distances[:, 0] == 0).all()
    assert (found.distances[:, 1] > 0).all()
    assert found.distances[:, 1].max() < 1e-9, "float32 could not tell these from 0"


def test_fewer_references_than_neighbours_are_all_returned():
    found = nearest_neighbours([features(5, seed=1)], [features(3, seed=2)], 10)
    assert np.sort(found.numbers, axis=1).tolist() == [[0, 1, 2]] * 5
    assert np.isfinite(found.distances).all()


def test_vectors_of_zeros_lie_at_distance_one():
    zeros = np.zeros((1, 24), np.float32)
    found = nearest_neighbours([zeros, features(2, seed=1)], [zeros, features(1, seed=2)], 2)
    assert found.distances[0].tolist() == [1, 1]
    assert found.numbers[0].tolist() == [0, 1]
    assert found.distances[1].max() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(value):
    damaged = features(10)
    damaged[3, 5] = value
    with pytest.raises(NetworkError, match="1 of 10 images"):
        nearest_neighbours([features(4)], [damaged], 2)
    with pytest.raises(NetworkError, match="finite"):
        nearest_neighbours([damaged], [features(4)], 2)


def test_both_orientations_together_are_the_nearest_of_either():
    queries, mirrored, references = features(50, seed=1), features(50, seed=2), features(80, seed=3)
    mirrored[:10] = queries[:10]
    found = nearest_of_either(*(nearest_neighbours([values], [references], 4) for values in (queries, mirrored)))
    all_distances = np.stack([_all_distances(values, references) for values in (queries, mirrored)])
    expected = np.argsort(all_distances.min(axis=0), axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(found.numbers, expected)
    rows = np.arange(50)[:, None]
    np.testing.assert_allclose(found.distances, all_distances.min(axis=0)[rows, expected], rtol=1e-12)
    np.testing.assert_array_equal(found.mirrored, (all_distances[1] < all_distances[0])[rows, expected])
    assert 0.2 < found.mirrored[10:].mean() < 0.8
    assert not found.mirrored[:10].any(), "where both are alike, the image as it is counts"


def _all_distances(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    numbers, distances = brute_force(queries, references, len(references))
    return np.take_along_axis(distances, np.argsort(numbers, axis=1), axis=1)


def exponential(num_images: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).exponential(size=num_images)


@pytest.mark.parametrize("num_images", [20, 53, 100, 1000])
def test_threshold_is_the_percentile(num_images):
    values = exponential(num_images, 0)
    assert threshold_of(values) == np.quantile(values, 0.05, method="inverted_cdf")
    assert (values < threshold_of(values)).mean() < 0.05 <= (values <= threshold_of(values)).mean()


def test_images_like_the_held_out_ones_are_flagged_as_expected():
    rates, covered, chances = [], [], []
    for seed in range(150):
        held_out, values = exponential(200, 2 * seed), exponential(300, 2 * seed + 1)
        found = compare(values, held_out, np.arange(200), num_resamples=300)
        rates.append(found.share.value)
        covered.append(found.share.low <= 0.05 <= found.share.high)
        chances.append(found.below_all_chance)
        assert found.num_flagged == (values < found.threshold).sum()
    assert np.mean(rates) == pytest.approx(found.expected, abs=0.005)
    assert 0.9 <= np.mean(covered) <= 0.99
    assert np.mean(np.array(chances) < 0.1) <= 0.13


def test_intervals_grow_with_the_images_of_a_patient():
    values = exponential(2000, 1)
    patients = np.random.default_rng(0).exponential(size=100)
    alike = np.repeat(patients, 20) * (1 + 1e-3 * exponential(2000, 2))
    order = np.random.default_rng(3).permutation(2000)
    by_patient, by_image = (
        compare(values, alike[order], clusters).share for clusters in (order // 20, np.arange(2000))
    )
    assert by_patient.high - by_patient.low > 2 * (by_image.high - by_image.low)


def test_few_copies_among_images_that_lie_far_off_are_noticed():
    held_out, values = 1 + exponential(500, 0), 3 + exponential(1000, 1)
    values[:5] = 0.1
    found = compare(values, held_out, np.arange(500))
    assert (found.num_flagged, found.num_below_all) == (5, 5)
    assert found.share.high < found.expected, "the share alone says that all is well"
    assert found.below_all_chance == pytest.approx((2 / 3) ** 5, rel=0.01)
    assert found.below_all_expected == pytest.approx(1000 / 501)
    by_patient = compare(values, held_out, np.arange(500) // 2)
    assert by_patient.below_all_chance == pytest.approx(0.8**5, rel=0.01), "images of a patient count once"


@pytest.mark.parametrize(("change", "words"), [
    (lambda values: values, "No sign of copies"),
    (lambda values: np.where(np.arange(len(values)) % 4 == 0, 0.001, values), "More than expected"),
    (lambda values: values + 1, "Fewer than expected"),
    (lambda values: np.where(np.arange(len(values)) < 12, 0.0, values + 1), "Few, but nearer than chance"),
])  # fmt: skip
def test_the_verdict_says_what_was_found(change, words):
    held_out, values = 0.01 + exponential(300, 3), 0.01 + exponential(300, 4)
    usual = compare(exponential(300, 5), exponential(300, 6), np.arange(300))
    lines = verdict(compare(change(values), held_out, np.arange(300)), usual)
    assert words in lines[-1]
    assert "would be expected if they were as new as images of other patients" in lines[0]
    usual_alone = verdict(usual, usual, PixelCounts(2, 0))
    assert "2 synthetic images are copies" in usual_alone[-2]
    assert "There are copies" in usual_alone[-1]
    assert verdict(usual, usual, PixelCounts(0, 1))[-1] == verdict(usual, usual)[-1]


def test_nobody_flagged_still_has_an_upper_limit():
    found = compare(exponential(60, 1) + 10, exponential(100, 0), np.arange(100))
    assert found.share.value == 0
    assert found.share.low < 1e-4
    assert 0.02 < found.share.high < 0.08


def test_a_handful_of_held_out_images_is_refused():
    with pytest.raises(DataError, match=r"20 held-out real images or more\. Received: 19"):
        compare(exponential(50, 1), exponential(19, 0), np.arange(19))


def test_false_alarms_are_those_of_patients_that_the_threshold_has_not_seen():
    found = false_alarms(exponential(4000, 0), np.arange(4000) // 4)
    assert found.low < 0.05 < found.high
    two_halves = np.r_[np.zeros(500), np.ones(500)]
    halves = np.arange(1000) // 500
    assert false_alarms(two_halves, halves).value == 0.5, "all of the nearer patient, none of the other"


def test_ratio_is_to_the_nearest_image_of_another_patient():
    numbers = np.array([[0, 1, 2], [2, 3, 0], [0, 1, 4], [5, 6, 7]])
    distances = np.array([[0.1, 0.2, 0.4], [0.3, 0.4, 0.6], [0.1, 0.2, 0.3], [0.0, 0.0, 0.0]])
    neighbours = Neighbours(numbers, distances, np.zeros((4, 3), bool))
    patients = np.array([0, 0, 1, 2, 0, 3, 4, 5])
    np.testing.assert_allclose(ratios(neighbours, patients), [0.1 / 0.4, 0.3 / 0.4, 0.1 / 0.3, 1.0])


@pytest.mark.parametrize(("hits", "low", "high"), [(0, 0.0, 0.0711), (50, 0.9289, 1.0), (25, 0.3553, 0.6447)])
def test_exact_intervals(hits, low, high):
    found = proportion(hits, 50)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def write_records(path: Path, seed: int = 0, num_images: int = 21, num_channels: int = 1) -> RecordFile:
    rng = np.random.default_rng(seed)
    with RecordWriter(path) as writer:
        for _ in range(num_images):
            writer.write(rng.integers(0, 256, (16, 16, num_channels), dtype=np.uint8))
    return RecordFile(path)


def test_features_of_records_are_computed_once_and_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "RECORDS_PER_PART", 8)
    records, extractor = write_records(tmp_path / "a.tfrecords"), load_extractor("random", block_size=4)
    store, computed = cache.FeatureCache(tmp_path / "cache"), []

    def of(file: RecordFile, *, mirrored: bool = False, network: Extractor = extractor) -> list[np.ndarray]:
        computed.clear()
        return list(cache.RecordFeatures(store, network, file, mirrored, computed.append))

    images = records.read(range(21))
    first = of(records)
    assert [len(part) for part in first] == [8, 8, 5]
    assert sum(computed) == 21
    np.testing.assert_array_equal(np.concatenate(first), extractor(images))
    np.testing.assert_array_equal(np.concatenate(of(records)), extractor(images))
    assert not computed
    np.testing.assert_array_equal(np.concatenate(of(records, mirrored=True)), extractor(images[:, :, ::-1]))
    assert sum(computed) == 21
    of(write_records(tmp_path / "b.tfrecords", seed=1))
    assert sum(computed) == 21, "other images"
    of(records, network=dataclasses.replace(extractor, digest="other"))
    assert sum(computed) == 21, "other weights"
    of(records, network=dataclasses.replace(extractor, label="input 64x64"))
    assert sum(computed) == 21, "another input"


def test_a_run_that_was_stopped_goes_on_at_its_part(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "RECORDS_PER_PART", 8)
    records, extractor = write_records(tmp_path / "a.tfrecords"), load_extractor("random", block_size=4)
    computed: list[int] = []
    features = cache.RecordFeatures(cache.FeatureCache(tmp_path / "cache"), extractor, records, advance=computed.append)
    iterator = iter(features)
    next(iterator)
    next(iterator)
    first, second = sorted((tmp_path / "cache").iterdir())
    first.write_bytes(first.read_bytes()[:-3])
    computed.clear()
    np.testing.assert_array_equal(np.concatenate(list(features)), extractor(records.read(range(21))))
    assert sum(computed) == 8 + 5, "what was damaged, and what was not begun"
    assert second.exists()


def test_parts_are_full_blocks_of_every_extractor():
    assert all(cache.RECORDS_PER_PART % size == 0 for size in (32, 64, 256))


@pytest.mark.parametrize("num_channels", [1, 3])
@pytest.mark.parametrize("name", planted_copies.ALTERATIONS)
def test_alterations_keep_the_form_and_change_the_pixels(name, num_channels):
    rows, columns = np.mgrid[:32, :32]
    image = np.stack([60 + 3 * rows + columns, 90 + columns, 200 - 3 * rows][:num_channels], axis=-1).astype(np.uint8)
    altered = planted_copies.ALTERATIONS[name](image, np.random.default_rng(3))
    assert (altered.shape, altered.dtype) == (image.shape, np.uint8)
    assert (altered == image).all() == (name == "identical")
    again = planted_copies.ALTERATIONS[name](image, np.random.default_rng(3))
    np.testing.assert_array_equal(altered, again)


@pytest.mark.parametrize(("up", "left"), [(2, -1), (0, 3), (-1, 0)])
def test_shifting_repeats_the_edge(up, left):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 1), dtype=np.uint8)
    rows, columns = (np.arange(9) + up).clip(0, 8), (np.arange(7) + left).clip(0, 6)
    np.testing.assert_array_equal(alterations.shifted(image, up, left), image[rows][:, columns])


def patterns(num_images: int, seed: int) -> np.ndarray:
    """Different smooth images [N, 32, 32, 1]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (num_images, 7, 7, 1), dtype=np.uint8)
    return np.stack([alterations.resized(image, 32, 32) for image in coarse])


def write_patterns(path: Path, images: np.ndarray) -> RecordFile:
    with RecordWriter(path) as writer:
        for image in images:
            writer.write(image)
    return RecordFile(path)


def test_pixels_tell_copies_that_are_brighter_from_other_images(tmp_path):
    train, held_out = patterns(60, 0), patterns(40, 1)
    search = pixel_copies.PixelSearch(
        write_patterns(tmp_path / "train", train), write_patterns(tmp_path / "test", held_out)
    )
    queries = patterns(20, 2)
    queries[4] = train[33][:, ::-1]
    queries[9] = (train[8] * 0.6 + 20).astype(np.uint8)
    found = search.in_images(queries)
    assert np.flatnonzero(found.is_copy).tolist() == [4, 9]
    assert found.originals[[4, 9]].tolist() == [33, 8]
    assert found.similarities[4] == pytest.approx(1, abs=1e-4)
    in_records = search.in_records(write_patterns(tmp_path / "synthetic", queries), "synthetic")
    np.testing.assert_array_equal(in_records.originals, found.originals)
    assert not pixel_copies.PixelSearch.can_compare(write_records(tmp_path / "small"))


def test_planted_copies_are_found_and_counted(tmp_path):
    train = write_patterns(tmp_path / "train", patterns(60, 0))
    others = write_patterns(tmp_path / "test", patterns(50, 1))
    store = cache.FeatureCache(tmp_path / "cache")
    shares = {}
    for compare_mirrored in (True, False):
        training = TrainingImages(
            load_extractor("random"), train, np.arange(60), store, num_neighbours=3, compare_mirrored=compare_mirrored
        )
        held_out = training.near_records(others, store, "test")
        thresholds = tuple(compare(values, values, np.arange(50)) for values in (held_out.distances, held_out.ratios))
        found = planted_copies.find_planted(training, store, None, held_out, thresholds, num_planted=30, seed=1)
        shares[compare_mirrored] = {one.alteration: one for one in found}
        assert all(one.by_pixels is None and one.num_planted == 30 for one in found)
        text = "\n".join(planted_copies.describe_detections(found, None))
        assert "mirrored, jpeg 75" in text
    identical = [shares[both]["identical"] for both in (True, False)]
    for one in identical:
        assert (one.by_distance.value, one.by_ratio.value, one.nearer_than_all.value, one.original_found.value) == (
            1,
        ) * 4
        assert (one.by_distance.low, one.by_distance.high) == (pytest.approx(0.884, abs=1e-3), 1)
    assert shares[True]["mirrored"].by_distance.value == 1
    assert shares[False]["mirrored"].by_distance.value < 0.5, "so mirror images are compared"
