"""What two splits of a dataset share: patients, images, copies of images."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from medsynth.data.audit_scan import ScannedDataset, ScannedSplit
from medsynth.data.near_duplicates import CopyFinder
from medsynth.progress import Progress

MOST_PARTNERS = 100


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
        exact: Pairs of images that are the same, pixel for pixel; of one image, MOST_PARTNERS pairs at most.
        near: Pairs of images that are copies of each other without being identical.
    """

    first: str
    second: str
    patients: tuple[str, ...] | None
    exact: tuple[Pair, ...] | None
    near: tuple[Pair, ...] | None

    @staticmethod
    def num_images(pairs: Iterable[Pair]) -> int:
        """Return how many images of the second split, which is the one to be held out, are in some pairs."""
        return len({pair.second for pair in pairs})


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
    order = np.argsort(first.images.digests, kind="stable")
    values, wanted = first.images.digests[order], second.images.digests
    starts, stops = np.searchsorted(values, wanted), np.searchsorted(values, wanted, side="right")
    found = np.flatnonzero((stops > starts) & ~second.images.is_constant)
    return tuple(
        Pair(int(partner), int(number))
        for number in found
        for partner in order[starts[number] : min(stops[number], starts[number] + MOST_PARTNERS)]
    )


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
