"""What two splits of a dataset share: patients, images, copies of images."""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.data.audit_scan import ScannedDataset, ScannedSplit
from medsynth.data.near_duplicates import CopyFinder
from medsynth.progress import Progress


@dataclass(frozen=True)
class Pair:
    """Two records of different splits that show the same image.

    Attributes:
        first: Record number in the first split.
        second: Record number in the second split.
        similarity: Of the pixels, at most 1; 1 for identical ones.
        mirrored: Whether one is the mirror image of the other.
    """

    first: int
    second: int
    similarity: float = 1.0
    mirrored: bool = False


@dataclass(frozen=True)
class Overlap:
    """What two splits share; None where it could not be looked for.

    Attributes:
        first: Name of the first split.
        second: Name of the second split.
        patients: Those in both, sorted.
        exact: Per image of the smaller split that is also in the larger one, pixel for pixel, one pair.
        near: The same for images that are copies of another one without being identical.
    """

    first: str
    second: str
    patients: tuple[str, ...] | None
    exact: tuple[Pair, ...] | None
    near: tuple[Pair, ...] | None


def find_overlaps(dataset: ScannedDataset) -> tuple[Overlap, ...]:
    """Compare every two splits."""
    finder = _copy_finder(dataset)
    overlaps = []
    for first, second in itertools.combinations(dataset.splits.values(), 2):
        exact = _exact_pairs(first, second)
        overlaps.append(
            Overlap(
                first.folder.name,
                second.folder.name,
                _shared_patients(first, second),
                exact,
                None if finder is None else _near_pairs(finder, first, second),
            )
        )
    return tuple(overlaps)


def _shared_patients(first: ScannedSplit, second: ScannedSplit) -> tuple[str, ...] | None:
    if first.patients is None or second.patients is None:
        return None
    return tuple(sorted(set(first.patients) & set(second.patients)))


def _copy_finder(dataset: ScannedDataset) -> CopyFinder | None:
    sets = [one for split in dataset.splits.values() if (one := split.image_set()) is not None]
    return CopyFinder(sets) if len(sets) > 1 else None


def _exact_pairs(first: ScannedSplit, second: ScannedSplit) -> tuple[Pair, ...] | None:
    """Find images in both by a digest of 64 bits; a false alarm among 10^6 images has a chance of 10^-8.

    Constant images are a finding of their own, and not compared.
    """
    if first.images is None or second.images is None:
        return None
    swapped = len(first.images.digests) < len(second.images.digests)
    few, many = (first.images, second.images) if swapped else (second.images, first.images)
    places = _first_places(few.digests, many.digests)
    found = np.flatnonzero((places >= 0) & ~few.is_constant)
    pairs = [(int(number), int(places[number])) for number in found]
    return tuple(Pair(*(pair if swapped else pair[::-1])) for pair in pairs)


def _first_places(wanted: npt.NDArray[np.uint64], available: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return where each wanted value stands first among the available ones; -1 where it does not."""
    values, places = np.unique(available, return_index=True)
    nearest = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return np.where(values[nearest] == wanted, places[nearest], -1)


def _near_pairs(finder: CopyFinder, first: ScannedSplit, second: ScannedSplit) -> tuple[Pair, ...] | None:
    one, other = first.image_set(), second.image_set()
    if one is None or other is None or first.images is None or second.images is None:
        return None
    swapped = len(one.hashes) < len(other.hashes)
    queries, keys = (one, other) if swapped else (other, one)
    progress = Progress(f"comparing {first.folder.name} and {second.folder.name}", len(queries.hashes), "images")
    matches = finder.find(queries, keys, advance=progress.advance)
    progress.close()
    pairs = []
    for match in matches:
        numbers = (match.query, match.key) if swapped else (match.key, match.query)
        if first.images.digests[numbers[0]] != second.images.digests[numbers[1]]:
            pairs.append(Pair(*numbers, match.similarity, match.mirrored))
    return tuple(pairs)
