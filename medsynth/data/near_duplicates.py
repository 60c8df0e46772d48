"""Images that are copies of each other, though not pixel for pixel: mirrored, re-compressed, brighter, shifted.

Radiographs resemble each other strongly, so images are compared by their cosine transform, every frequency measured
against what is usual in the data: what all images share counts nothing, and rare details count much. Two stages: a
perceptual hash of every image, its lowest frequencies (pHash: Zauner 2010, "Implementation and Benchmarking of
Perceptual Image Hash Functions", section 3.2.1, with numbers in place of bits), finds the few most similar ones; then
their pixels decide, by as many frequencies as a re-compressed copy keeps, at small shifts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.fft import dct

from medsynth.data.tfrecords import Images

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

LARGEST_SIDE, SMALLEST_SIDE = 64, 32  # pixels of a thumbnail
SIMILARITY_OF_COPIES = 0.94  # docs/build_dataset.md gives the rates of detection and of false alarms

_HASH_FREQUENCIES = 10  # a side
_DETAIL_FREQUENCIES = 3 / 8  # a side, per pixel of the thumbnail's side
_LARGEST_SHIFT = 1  # pixels of a thumbnail
_LEAST_HASH_SIMILARITY = 0.6  # below, pixels are not compared
_NUM_CANDIDATES = 4  # per image and orientation, at first
_MOST_CANDIDATES = 256
_QUERIES_PER_BLOCK, _KEYS_PER_BLOCK, _PAIRS_PER_BLOCK = 1024, 4096, 512
_SAMPLE_SIZE = 4096  # images that tell what is usual
_FLAT = 0.5  # grey levels of standard deviation below which there is nothing to compare


@dataclass(frozen=True)
class ImageSet:
    """The images of a split, as far as the search needs them.

    Attributes:
        hashes: float32 [N, F], from `perceptual_hashes`.
        read: Returns the thumbnails [n, side, side] of these numbers; the same side in every set of a search.
    """

    hashes: Floats
    read: Callable[[Numbers], Floats]


@dataclass(frozen=True)
class Match:
    """An image and the image of another set that it is a copy of.

    Attributes:
        query: Its number in the first set.
        key: The other's number in the second set.
        similarity: Of the pixels, at most 1.
        mirrored: Whether one is the mirror image of the other.
    """

    query: int
    key: int
    similarity: float
    mirrored: bool


@dataclass(frozen=True)
class Usual:
    """What is usual in the data: mean and standard deviation of every frequency.

    Attributes:
        mean: float32 [F].
        spread: float32 [F], above 0.
    """

    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, spectra: Floats) -> "Usual":
        """Measure spectra [N, F]."""
        return cls(spectra.mean(axis=0), np.maximum(spectra.std(axis=0), 1e-6))

    def unusual(self, spectra: Floats) -> Floats:
        """Return what is unusual about spectra [n, F], as vectors of length 1; spectra of flat images stay zero."""
        vectors = (spectra - self.mean) / self.spread
        vectors[~spectra.any(axis=1)] = 0
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), np.float32)


def thumbnail_side(side: int) -> int:
    """Return the side of the thumbnails of square images; 0 where they are too small to tell copies apart."""
    return min(side, LARGEST_SIDE) if side >= SMALLEST_SIDE else 0


def thumbnails(images: Images, side: int) -> Floats:
    """Reduce square images [n, H, W, C] to grey ones, float32 [n, side, side] in [0, 255], by their means."""
    num_images, height, _, channels = images.shape
    factor = height // side
    # [n, H, W, C] -> [n, side, factor, side, factor * C]
    blocks = images.reshape(num_images, side, factor, side, factor * channels)
    return blocks.mean(axis=(2, 4), dtype=np.float32)


@cache
def _used_frequencies(num_frequencies: int) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return which of [num_frequencies, same] are used, and what a mirror image makes of each: 1 or -1."""
    row, column = np.mgrid[:num_frequencies, :num_frequencies]
    used = (row + column > 0) & (row + column < num_frequencies)
    # cos(pi (2 x + 1) v / 2 N) at the mirrored place N - 1 - x is (-1)^v times that at x.
    return used, np.where(column[used] % 2 == 1, -1, 1).astype(np.float32)


def _spectra(pictures: Floats, num_frequencies: int) -> Floats:
    """Return low frequencies of pictures [n, side, side], free of brightness and contrast, as float32 [n, F].

    An image without contrast gives zeros.
    """
    side = pictures.shape[-1]
    basis = dct(np.eye(side, dtype=np.float32), axis=0, norm="ortho")[:num_frequencies]
    used, _ = _used_frequencies(num_frequencies)
    # [k, side] x [n, side, side] x [side, k] -> [n, k, k]
    spectra = np.asarray((basis @ pictures @ basis.T)[:, used], np.float32)
    contrast = pictures.std(axis=(1, 2))
    scale = np.where(contrast > _FLAT, 1 / (side * np.maximum(contrast, _FLAT)), 0)
    return spectra * scale.astype(np.float32)[:, None]


def perceptual_hashes(pictures: Floats) -> Floats:
    """Return the hashes of thumbnails [n, side, side], float32 [n, F]: 216 bytes each."""
    return _spectra(pictures, _HASH_FREQUENCIES)


def mirrored_hashes(hashes: Floats) -> Floats:
    """Return the hashes that the mirror images have."""
    return hashes * _used_frequencies(_HASH_FREQUENCIES)[1]


def _details(pictures: Floats, down: int = 0, right: int = 0) -> Floats:
    """Return spectra of the middle of thumbnails [n, side, side], moved by some pixels."""
    side, margin = pictures.shape[-1], _LARGEST_SHIFT
    rows, columns = (slice(margin + step, side - margin + step) for step in (down, right))
    return _spectra(pictures[:, rows, columns], round(side * _DETAIL_FREQUENCIES))


class CopyFinder:
    """Finds copies among the images of a dataset.

    Args:
        sets: All of its images; a sample of them tells what is usual.
    """

    def __init__(self, sets: Sequence[ImageSet]) -> None:
        step = 1 + sum(len(one.hashes) for one in sets) // _SAMPLE_SIZE
        samples = [(one, np.arange(0, len(one.hashes), step)) for one in sets]
        self._usual_hashes = Usual.of(np.concatenate([one.hashes[numbers] for one, numbers in samples]))
        details = [
            _details(one.read(numbers[start : start + _PAIRS_PER_BLOCK]))
            for one, numbers in samples
            for start in range(0, len(numbers), _PAIRS_PER_BLOCK)
        ]
        self._usual_details = Usual.of(np.concatenate(details))

    def find(
        self, queries: ImageSet, keys: ImageSet, *, advance: Callable[[int], None] = lambda images: None
    ) -> list[Match]:
        """Return every pair of an image of `queries` and a copy of it in `keys`, by query, the most similar first.

        Time grows with the product of both numbers; memory with their sum. Of an image with very many copies,
        _MOST_CANDIDATES at most are found in each orientation.

        Args:
            queries: The images that are looked up; better the smaller set.
            keys: Where they are looked for.
            advance: Called with the number of further queries that are done.
        """
        unusual_keys = self._usual_hashes.unusual(keys.hashes)
        matches: list[Match] = []
        for start in range(0, len(queries.hashes), _QUERIES_PER_BLOCK):
            block = queries.hashes[start : start + _QUERIES_PER_BLOCK]
            hashes = self._usual_hashes.unusual(np.concatenate([block, mirrored_hashes(block)]))
            best: dict[tuple[int, int], Match] = {}
            rows, num_candidates = np.arange(len(hashes)), _NUM_CANDIDATES
            while len(rows):
                of_rows, numbers = _candidates(hashes[rows], unusual_keys, num_candidates)
                is_mirrored, query_numbers = rows[of_rows] >= len(block), start + rows[of_rows] % len(block)
                similarities = self._similarities(queries, keys, query_numbers, numbers, is_mirrored)
                is_copy = similarities >= SIMILARITY_OF_COPIES
                for place in np.flatnonzero(is_copy):
                    pair = int(query_numbers[place]), int(numbers[place])
                    match = Match(*pair, float(similarities[place]), bool(is_mirrored[place]))
                    if pair not in best or match.similarity > best[pair].similarity:
                        best[pair] = match
                # Where every candidate is a copy, there may be more of them.
                num_copies = np.bincount(of_rows[is_copy], minlength=len(rows))
                rows = rows[num_copies == num_candidates]
                num_candidates *= 4
                if num_candidates > _MOST_CANDIDATES:
                    break
            matches += sorted(best.values(), key=lambda match: (match.query, -match.similarity, match.key))
            advance(len(block))
        return matches

    def _similarities(
        self,
        queries: ImageSet,
        keys: ImageSet,
        query_numbers: Numbers,
        key_numbers: Numbers,
        is_mirrored: npt.NDArray[np.bool_],
    ) -> Floats:
        """Return the similarity of pairs of images [n], the first mirrored where it is marked."""
        parts = [np.empty(0, np.float32)]
        for first in range(0, len(query_numbers), _PAIRS_PER_BLOCK):
            chosen = slice(first, first + _PAIRS_PER_BLOCK)
            pictures = queries.read(query_numbers[chosen])
            pictures = np.where(is_mirrored[chosen, None, None], pictures[:, :, ::-1], pictures)
            parts.append(self.pixel_similarity(pictures, keys.read(key_numbers[chosen])))
        return np.concatenate(parts)

    def pixel_similarity(self, first: Floats, second: Floats) -> Floats:
        """Return how alike the pixels of two stacks of thumbnails [n, side, side] are: [n], -1 to 1.

        It is the correlation of what is unusual about them, the best over shifts of a pixel.
        """
        own = self._usual_details.unusual(_details(first))
        shifts = range(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1)
        others = [self._usual_details.unusual(_details(second, down, right)) for down in shifts for right in shifts]
        return np.max([np.einsum("nf,nf->n", own, other) for other in others], axis=0)


def _candidates(queries: Floats, keys: Floats, num_candidates: int) -> tuple[Numbers, Numbers]:
    """Return (rows of `queries`, rows of `keys`) of the most similar few of every query, vectors of length 1."""
    scores = np.full((len(queries), num_candidates), _LEAST_HASH_SIMILARITY, np.float32)
    numbers = np.full(scores.shape, -1, np.int64)
    for start in range(0, len(keys), _KEYS_PER_BLOCK):
        similar = queries @ keys[start : start + _KEYS_PER_BLOCK].T
        hit = np.flatnonzero(similar.max(axis=1) > scores.min(axis=1))
        if len(hit) == 0:
            continue
        found = np.broadcast_to(np.arange(start, start + similar.shape[1]), (len(hit), similar.shape[1]))
        all_scores = np.concatenate([scores[hit], similar[hit]], axis=1)
        all_numbers = np.concatenate([numbers[hit], found], axis=1)
        top = np.argpartition(all_scores, -num_candidates, axis=1)[:, -num_candidates:]
        scores[hit] = np.take_along_axis(all_scores, top, axis=1)
        numbers[hit] = np.take_along_axis(all_numbers, top, axis=1)
    rows, places = np.nonzero(numbers >= 0)
    return rows, numbers[rows, places]
