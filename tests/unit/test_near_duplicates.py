"""Copies of images are found, images of different people are not."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsynth.data import alterations, near_duplicates, phantom
from medsynth.data.alterations import RESAVED, Alteration
from medsynth.data.near_duplicates import (
    CopyFinder,
    ImageSet,
    mirrored_hashes,
    perceptual_hashes,
    thumbnail_side,
    thumbnails,
)

DATA = Path(os.environ.get("MEDSYNTH_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
NIH = DATA / "chest_nih_in_chexpert_layout" / "CheXpert-v1.0-small" / "train"
PNEUMONIA = DATA / "pneumonia_28px" / "pneumoniamnist_dev.npz"


def resized(image: np.ndarray, side: int) -> np.ndarray:
    return alterations.resized(image[..., None], side, side)[..., 0]


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return alterations.jpeg(image[..., None], quality)[..., 0]


def image_set(images: np.ndarray) -> ImageSet:
    """Return images [N, H, H] as the audit would."""
    side = thumbnail_side(images.shape[1])
    assert side
    whole = images[..., None]
    return ImageSet(perceptual_hashes(thumbnails(whole, side)), lambda numbers: thumbnails(whole[numbers], side))


def detection_rate(images: np.ndarray, alteration: Alteration, num_copies: int) -> float:
    """Plant altered copies of some images, look for them among all, and return the share whose original is found."""
    rng = np.random.default_rng(7)
    chosen = rng.choice(len(images), num_copies, replace=False)
    keys = image_set(images)
    copies = image_set(np.stack([alteration(images[number][..., None], rng)[..., 0] for number in chosen]))
    matches = CopyFinder([keys]).find(copies, keys)
    # Identical originals are matches, too, but one copy counts once.
    found = {match.query for match in matches if (images[match.key] == images[chosen[match.query]]).all()}
    return len(found) / num_copies


def false_alarms(images: np.ndarray, patients: np.ndarray) -> list[tuple[int, int]]:
    """Look for every image among those of four fifths of the other patients; return pairs that are not identical."""
    names = np.unique(patients)
    fold = np.random.default_rng(3).integers(5, size=len(names))[np.searchsorted(names, patients)]
    found = []
    for number in range(5):
        few, many = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        queries, keys = image_set(images[few]), image_set(images[many])
        pairs = [(few[match.query], many[match.key]) for match in CopyFinder([queries, keys]).find(queries, keys)]
        found += [pair for pair in pairs if (images[pair[0]] != images[pair[1]]).any()]
    return found


@pytest.fixture(scope="module")
def made_up() -> tuple[np.ndarray, np.ndarray]:
    """About 280 phantom images [N, 64, 64] and their patients."""
    images, patients = [], []
    for number in range(1, 151):
        patient = phantom.draw_patient(number, seed=4)
        for study in range(1, len(patient.findings) + 1):
            (_, content), *_ = phantom.draw_study(patient, study, seed=4)
            images.append(resized(np.asarray(Image.open(io.BytesIO(content))), 64))
            patients.append(number)
    assert len(images) > 250
    return np.stack(images), np.array(patients)


@pytest.mark.parametrize("name", RESAVED)
def test_copies_are_found(made_up, name: str) -> None:
    assert detection_rate(made_up[0], RESAVED[name], 60) >= 0.95


def test_different_patients_are_not_copies(made_up) -> None:
    images, patients = made_up
    assert len(false_alarms(images, patients)) <= len(images) // 100


def test_a_match_says_which_whom_and_how(made_up) -> None:
    images, _ = made_up
    keys = image_set(images[:50])
    queries = image_set(np.stack([images[100], images[7][:, ::-1], images[9]]))
    first, second = CopyFinder([keys, queries]).find(queries, keys)
    assert (first.query, first.key, first.mirrored) == (1, 7, True)
    assert (second.query, second.key, second.mirrored) == (2, 9, False)
    assert first.similarity == pytest.approx(1, abs=1e-4)


def test_every_copy_is_found_however_many_there_are(made_up) -> None:
    images, _ = made_up
    copies = [jpeg(images[7][:, ::-1] if number % 3 == 0 else images[7], 60 + number) for number in range(30)]
    keys, queries = image_set(np.stack([*images[:50], *copies])), image_set(np.stack([images[100], images[7]]))
    found = CopyFinder([keys, queries]).find(queries, keys)
    expected = {7: False} | {50 + number: number % 3 == 0 for number in range(30)}
    assert {match.key: match.mirrored for match in found if match.query == 1} == expected
    assert [match.similarity for match in found] == sorted((match.similarity for match in found), reverse=True)
    assert len(found) == len(expected) > 4 * near_duplicates._NUM_CANDIDATES, "each pair once"


def test_the_hash_of_the_mirror_image_is_known_without_it(made_up) -> None:
    pictures = made_up[0][:20].astype(np.float32)
    hashes = perceptual_hashes(pictures)
    mirrored = perceptual_hashes(pictures[:, :, ::-1])
    assert np.abs(hashes - mirrored).max() > 0.1, "these images are not symmetric"
    np.testing.assert_allclose(mirrored_hashes(hashes), mirrored, atol=1e-5)


def test_brightness_and_contrast_leave_the_hash_alone(made_up) -> None:
    pictures = made_up[0][:20].astype(np.float32)
    np.testing.assert_allclose(perceptual_hashes(0.5 * pictures + 20), perceptual_hashes(pictures), atol=1e-5)


def test_thumbnails_are_means() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    expected = images.astype(float).reshape(3, 64, 2, 64, 2, 3).mean(axis=(2, 4, 5))
    np.testing.assert_allclose(thumbnails(images, 64), expected, rtol=1e-5)


@pytest.mark.parametrize(("side", "expected"), [(16, 0), (32, 32), (64, 64), (256, 64)])
def test_images_too_small_to_tell_are_left_out(side: int, expected: int) -> None:
    assert thumbnail_side(side) == expected


@pytest.mark.parametrize("num_images", [1, 2, 3])
def test_flat_images_and_tiny_sets_do_no_harm(made_up, num_images: int) -> None:
    flat = np.full((2, 64, 64), 80, np.uint8)
    queries, keys = image_set(np.concatenate([flat, made_up[0][:num_images]])), image_set(flat)
    assert CopyFinder([queries, keys]).find(queries, keys) == []


def test_candidates_are_the_nearest_few_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(5, 8))
    vectors = directions[rng.integers(5, size=240)] + 0.3 * rng.normal(size=(240, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    queries, keys = vectors[:40], vectors[40:]
    monkeypatch.setattr(near_duplicates, "_KEYS_PER_BLOCK", 32)
    rows, numbers = near_duplicates._candidates(queries, keys, near_duplicates._NUM_CANDIDATES)
    similar = queries @ keys.T
    for row in range(len(queries)):
        nearest = np.argsort(-similar[row])[: near_duplicates._NUM_CANDIDATES]
        expected = {int(key) for key in nearest if similar[row, key] > near_duplicates._LEAST_HASH_SIMILARITY}
        assert set(numbers[rows == row].tolist()) == expected
    assert len(rows) > 100, "there was something to choose"


def test_the_blocks_of_a_search_do_not_change_it(made_up, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = made_up
    keys, queries = image_set(images), image_set(images[:40, :, ::-1])
    whole = CopyFinder([keys]).find(queries, keys)
    done: list[int] = []
    for name, size in (("_QUERIES_PER_BLOCK", 16), ("_KEYS_PER_BLOCK", 50), ("_PAIRS_PER_BLOCK", 7)):
        monkeypatch.setattr(near_duplicates, name, size)
    in_blocks = CopyFinder([keys]).find(queries, keys, advance=done.append)
    assert [(match.query, match.key) for match in whole] == [(match.query, match.key) for match in in_blocks]
    assert (len(whole), done) == (40, [16, 16, 8])


@pytest.fixture(scope="module")
def real() -> tuple[np.ndarray, np.ndarray]:
    if not NIH.is_dir():
        pytest.skip(f"no real radiographs in {NIH}; MEDSYNTH_DATA names another folder")
    files = sorted(NIH.rglob("*.jpg"))
    images = np.stack([resized(np.asarray(Image.open(file).convert("L")), 64) for file in files])
    return images, np.array([file.relative_to(NIH).parts[0] for file in files])


@pytest.mark.parametrize("name", ["mirrored", "jpeg 75", "jpeg 50", "shifted by a pixel", "gamma"])
def test_copies_of_real_images_are_found(real, name: str) -> None:
    assert detection_rate(real[0], RESAVED[name], 200) >= 0.95


def test_real_images_of_different_patients_are_not_copies(real) -> None:
    images, patients = real
    assert len(np.unique(patients)) > 100
    assert len(false_alarms(images, patients)) <= len(images) / 1000


def test_small_real_images_without_known_patients() -> None:
    if not PNEUMONIA.is_file():
        pytest.skip(f"no real radiographs in {PNEUMONIA}; MEDSYNTH_DATA names another folder")
    with np.load(PNEUMONIA) as arrays:
        images = np.stack([resized(image, 32) for image in arrays["train_images"]])
    assert detection_rate(images, RESAVED["mirrored, jpeg 75"], 200) >= 0.95
    assert len(false_alarms(images, np.arange(len(images)))) <= len(images) / 1000
