"""The nearest neighbours of feature vectors by cosine distance, exact, in blocks.

Cosine distance: 1 - u.v / (|u| |v|), in [0, 2]. Every query is compared with every reference by a product of matrices
in float32; the few that may be among the nearest are measured again in float64 from the vectors themselves. So copies
have distance 0 rather than a rounding error, and equal vectors equal distances.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.errors import NetworkError

Floats = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

_QUERIES_PER_BLOCK, _REFERENCES_PER_BLOCK = 1024, 4096  # 16 MiB of similarities
_PAIRS_PER_BLOCK = 1024
# Rounding of a float32 product of unit vectors stays far below this (about 1e-6 with 1,024 features).
_ROUNDING = 1e-5
_SPARE_CANDIDATES = 16  # that are measured again, beside the neighbours wanted, in case rounding misplaced one


@dataclass(frozen=True)
class Neighbours:
    """The K nearest references of N queries, the nearest first; of equally near ones the lower number first.

    Attributes:
        numbers: Of the references, counted over all their parts, int64 [N, K].
        distances: float64 [N, K].
        mirrored: Whether the query's mirror image is meant, bool [N, K].
    """

    numbers: Numbers
    distances: Distances
    mirrored: npt.NDArray[np.bool_]

    def __getitem__(self, rows: slice) -> "Neighbours":
        return Neighbours(self.numbers[rows], self.distances[rows], self.mirrored[rows])


def nearest_neighbours(
    queries: Iterable[Floats],
    references: Iterable[Floats],
    num_neighbours: int,
    *,
    advance: Callable[[int], object] = lambda num_pairs: None,
) -> Neighbours:
    """Find the nearest references of every query.

    What is in memory at a time is a part of each set, and the result. A vector of zeros has no direction: its distance
    to any other is 1.

    Args:
        queries: Parts [n, D] of the queries.
        references: Parts [m, D] of the references; gone through once for every part of the queries.
        num_neighbours: K; where there are fewer references, all of them are returned.
        advance: Called with the number of further pairs that were compared.

    Raises:
        NetworkError: A feature is NaN or infinite.
        ValueError: There is no query or no reference.
    """
    found = [_nearest_of_part(part, references, num_neighbours, advance) for part in queries]
    distances = np.concatenate([distances for distances, _ in found])
    numbers = np.concatenate([numbers for _, numbers in found])
    num_found = int(np.isfinite(distances[0]).sum())
    if num_found == 0:
        raise ValueError("there are no references")
    distances, numbers = distances[:, :num_found], numbers[:, :num_found]
    return Neighbours(numbers, distances, np.zeros(numbers.shape, np.bool_))


def nearest_of_either(direct: Neighbours, mirrored: Neighbours) -> Neighbours:
    """Join what was found for the queries and for their mirror images; each reference counts once, as it is nearer.

    Args:
        direct: Of the queries.
        mirrored: Of their mirror images; as many neighbours.
    """
    distances = np.concatenate([direct.distances, mirrored.distances], axis=1)
    numbers = np.concatenate([direct.numbers, mirrored.numbers], axis=1)
    is_mirrored = np.concatenate([direct.mirrored, ~mirrored.mirrored], axis=1)
    # By reference, and for each the nearer orientation first: the second one is dropped.
    order = np.lexsort((distances, numbers), axis=1)
    distances, numbers, is_mirrored = _taken(order, distances, numbers, is_mirrored)
    distances[:, 1:][numbers[:, 1:] == numbers[:, :-1]] = np.inf
    order = np.lexsort((numbers, distances), axis=1)[:, : direct.numbers.shape[1]]
    distances, numbers, is_mirrored = _taken(order, distances, numbers, is_mirrored)
    return Neighbours(numbers, distances, is_mirrored)


def _taken(order: Numbers, *arrays: npt.NDArray) -> tuple[npt.NDArray, ...]:
    return tuple(np.take_along_axis(array, order, axis=1) for array in arrays)


@dataclass(frozen=True)
class _Vectors:
    """Vectors [n, D] as they are, and of length 1 (zeros stay zeros)."""

    raw: Floats
    units: Floats
    norms: Distances

    @classmethod
    def of(cls, raw: Floats) -> "_Vectors":
        norms = np.sqrt(np.einsum("nd,nd->n", raw, raw, dtype=np.float64))
        if not np.isfinite(norms).all():
            raise NetworkError(
                "The network's features must be finite numbers; its weights are damaged, or its training diverged.",
                received=f"NaN or infinity in {np.count_nonzero(~np.isfinite(norms)):,} of {len(norms):,} images",
            )
        norms = np.where(norms > 0, norms, 1.0)
        return cls(raw, raw / norms.astype(np.float32)[:, None], norms)

    def __getitem__(self, rows: slice) -> "_Vectors":
        return _Vectors(self.raw[rows], self.units[rows], self.norms[rows])


def _nearest_of_part(
    part: Floats, references: Iterable[Floats], num_neighbours: int, advance: Callable[[int], object]
) -> tuple[Distances, Numbers]:
    """Return distances and numbers [n, K] of one part's nearest references; infinity where there are fewer."""
    queries = _Vectors.of(part)
    best = np.full((len(part), num_neighbours), np.inf), np.full((len(part), num_neighbours), -1, np.int64)
    first_reference = 0
    for reference_part in references:
        vectors = _Vectors.of(reference_part)
        for start in range(0, len(reference_part), _REFERENCES_PER_BLOCK):
            keys = vectors[start : start + _REFERENCES_PER_BLOCK]
            for first in range(0, len(part), _QUERIES_PER_BLOCK):
                rows = slice(first, first + _QUERIES_PER_BLOCK)
                _improve((best[0][rows], best[1][rows]), queries[rows], keys, first_reference + start)
                advance(len(queries.raw[rows]) * len(keys.raw))
        first_reference += len(reference_part)
    return best


def _improve(best: tuple[Distances, Numbers], queries: _Vectors, keys: _Vectors, first_number: int) -> None:
    """Put the keys that are nearer than what is known into `best` (distances and numbers, [q, K])."""
    distances, numbers = best
    num_neighbours = distances.shape[1]
    similarities = queries.units @ keys.units.T
    needed = 1 - distances[:, -1] - _ROUNDING  # -infinity at first
    hit = np.flatnonzero(similarities.max(axis=1) > needed)
    if len(hit) == 0:
        return
    num_candidates = min(num_neighbours + _SPARE_CANDIDATES, len(keys.raw))
    similar = similarities[hit]
    chosen = np.argpartition(similar, len(keys.raw) - num_candidates, axis=1)[:, -num_candidates:]
    chosen.sort(axis=1)  # so that of equally near ones the lower number comes first
    rows, places = np.nonzero(np.take_along_axis(similar, chosen, axis=1) > needed[hit, None])
    measured = np.full(chosen.shape, np.inf)
    measured[rows, places] = _pair_distances(queries, keys, hit[rows], chosen[rows, places])
    # Earlier keys have lower numbers and stand first, and the sort is stable.
    all_distances = np.concatenate([distances[hit], measured], axis=1)
    all_numbers = np.concatenate([numbers[hit], chosen + first_number], axis=1)
    order = np.argsort(all_distances, axis=1, kind="stable")[:, :num_neighbours]
    distances[hit], numbers[hit] = _taken(order, all_distances, all_numbers)


def _pair_distances(queries: _Vectors, keys: _Vectors, query_rows: Numbers, key_rows: Numbers) -> Distances:
    """Return the cosine distances of pairs in float64, [p]; between equal vectors exactly 0."""
    found = np.empty(len(query_rows))
    for start in range(0, len(query_rows), _PAIRS_PER_BLOCK):
        pairs = slice(start, start + _PAIRS_PER_BLOCK)
        # Half the squared distance of unit vectors is 1 - cosine, without the cancellation of two numbers near 1.
        ours, theirs = (
            vectors.raw[rows[pairs]] / vectors.norms[rows[pairs], None]
            for vectors, rows in ((queries, query_rows), (keys, key_rows))
        )
        difference = ours - theirs
        halves = 0.5 * np.einsum("pd,pd->p", difference, difference)
        is_zero = ~ours.any(axis=1) | ~theirs.any(axis=1)
        found[pairs] = np.where(is_zero, 1.0, halves)
    return found
