import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from build_dataset.splits import (
    SPLIT_NAMES,
    rank_combinations,
    rows_above_limit,
    split_patients,
    stratified_cut,
)
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError

LABELS = arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=st.sampled_from([0.0, 1.0]))


def labels_of(counts: dict[tuple[int, ...], int]) -> np.ndarray:
    return np.array([pattern for pattern, count in counts.items() for _ in range(count)], np.float32)


def test_combinations_rank_by_count_and_ties_by_the_larger_pattern() -> None:
    labels = labels_of({(0, 0, 1): 2, (1, 0, 0): 2, (0, 1, 1): 3, (0, 1, 0): 2})
    combinations = rank_combinations(labels)
    assert combinations.patterns.tolist() == [[0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert combinations.counts.tolist() == [3, 2, 2, 2]
    assert combinations.of_row.tolist() == [3, 3, 1, 1, 0, 0, 0, 2, 2]


@given(LABELS)
def test_ranking_loses_no_row(labels: np.ndarray) -> None:
    combinations = rank_combinations(labels)
    np.testing.assert_array_equal(combinations.patterns[combinations.of_row], labels)
    np.testing.assert_array_equal(np.bincount(combinations.of_row), combinations.counts)
    keys = [(-count, *(-pattern).tolist()) for count, pattern in
            zip(combinations.counts, combinations.patterns.astype(int), strict=True)]  # fmt: skip
    assert keys == sorted(set(keys))


def test_a_combination_needs_more_images_than_the_limit() -> None:
    combinations = rank_combinations(labels_of({(0, 1): 3, (1, 0): 4, (1, 1): 5}))
    assert rows_above_limit(combinations, 2).tolist() == list(range(12))
    assert rows_above_limit(combinations, 3).tolist() == list(range(3, 12))
    assert rows_above_limit(combinations, 4).tolist() == list(range(7, 12))
    with pytest.raises(DataError, match=r"more than 5 times.*--limit.*Received: 3 combinations.* 5 images"):
        rows_above_limit(combinations, 5)


def test_patients_split_as_published() -> None:
    # The rule in its own words: sorted ids, shuffled, int(0.8 n) and int(0.9 n).
    patients = np.array([f"{number:05d}" for number in np.random.RandomState(0).randint(0, 60, 300)])
    ids = sorted(set(patients))
    assert 10 < len(ids) <= 60
    np.random.RandomState(100).shuffle(ids)
    low, high = int(0.8 * len(ids)), int(0.9 * len(ids))
    expected = dict(zip(SPLIT_NAMES, (ids[:low], ids[low:high], ids[high:]), strict=True))
    splits = split_patients(patients, 0.1, 100)
    for name, members in expected.items():
        assert splits[name].tolist() == np.flatnonzero(np.isin(patients, members)).tolist()


@given(
    st.lists(st.integers(0, 30).map(str), min_size=40, max_size=80),
    st.floats(0.15, 0.35),
    st.integers(0, 2**32 - 1),
)
def test_no_patient_is_in_two_splits(ids: list[str], fraction: float, seed: int) -> None:
    patients = np.array(ids)
    try:
        splits = split_patients(patients, fraction, seed)
    except DataError:
        assert len(set(ids)) < 8
        return
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(ids)))
    for one, other in itertools.combinations(splits.values(), 2):
        assert not set(patients[one]) & set(patients[other])
    num_patients = len(set(ids))
    for name in ("valid", "test"):
        assert abs(len(set(patients[splits[name]])) - fraction * num_patients) < 2


def test_another_seed_gives_another_split() -> None:
    patients = np.arange(100).astype(str)
    first, again, other = (split_patients(patients, 0.1, seed)["test"].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("fraction", [0.0, 0.5, -0.1, float("nan")])
def test_an_impossible_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(UsageError, match="--split"):
        split_patients(np.arange(100).astype(str), fraction, 1)


def test_too_few_patients_are_refused() -> None:
    with pytest.raises(DataError, match=r"No patient is left for valid.*Received: 5 patients"):
        split_patients(np.arange(5).astype(str), 0.1, 1)


def test_a_cut_keeps_the_proportions() -> None:
    labels = labels_of({(1, 0, 0): 600, (0, 1, 0): 300, (0, 0, 1): 100})
    kept = stratified_cut(labels, 100, 7, split="test")
    assert len(set(kept.tolist())) == 100
    assert labels[kept].sum(axis=0).tolist() == [60, 30, 10]
    assert kept.tolist() != sorted(kept.tolist())


def test_the_number_kept_rounds_as_published() -> None:
    # n - ceil(n * (1 - kept/n)) in floating point; a margin lifts it where it falls short.
    short = [n for n in range(40, 400) if n - np.ceil(n * (1 - 30 / n)) == 29]
    assert short
    labels = np.tile(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), (short[0], 1))[: short[0]]
    assert len(stratified_cut(labels, 30, 1, split="valid")) == 29
    assert len(stratified_cut(labels, 30, 1, split="test", margin=0.00005)) == 30


@pytest.mark.parametrize("num_kept", [0, 50])
def test_a_cut_that_cuts_nothing_keeps_the_order(num_kept: int) -> None:
    labels = labels_of({(1, 0): 49, (0, 1): 1})
    assert stratified_cut(labels, num_kept, 1, split="test").tolist() == list(range(50))


@pytest.mark.parametrize(
    ("counts", "num_kept", "sentence"),
    [
        (
            {(1, 0): 9},
            10,
            r"test split has fewer images than --test-val-samples 10; give at most 9.*9 images",
        ),
        ({(1, 0): 19, (0, 1): 1}, 10, r"cannot be cut.*--test-val-samples 10.*the rarest with 1"),
        ({(1, 0): 10, (0, 1): 10, (1, 1): 10}, 2, r"cannot be cut.*30 images of 3 combinations"),
        ({(1, 0): 10, (0, 1): 10, (1, 1): 10}, 29, r"cannot be cut.*30 images of 3 combinations"),
    ],
)
def test_an_impossible_cut_is_refused(counts: dict, num_kept: int, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        stratified_cut(labels_of(counts), num_kept, 1, split="test")


def test_a_negative_cut_is_refused() -> None:
    with pytest.raises(UsageError, match="--test-val-samples"):
        stratified_cut(labels_of({(1, 0): 9}), -1, 1, split="test")


def test_combinations_agree_with_a_plain_count() -> None:
    labels = np.random.RandomState(3).randint(0, 2, (5000, 14)) * np.random.RandomState(4).randint(0, 2, (5000, 14))
    counts = pd.Series(map(tuple, labels.tolist())).value_counts()
    combinations = rank_combinations(labels)
    assert len(counts) > 1000
    assert dict(zip(map(tuple, combinations.patterns.tolist()), combinations.counts, strict=True)) == counts.to_dict()


@pytest.mark.parametrize(
    ("number", "noun", "text"), [(1, "patient", "1 patient"), (0, "image", "0 images"), (1200, "copy", "1,200 copies")]
)
def test_numbers_agree_with_what_they_count(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text
