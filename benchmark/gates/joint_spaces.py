"""Rows, and images with rows, as vectors that the privacy gate's searches and attacks compare by cosine distance.

A column becomes a vector of length 1: a number at the share s of its range (cos(pi s / 2), sin(pi s / 2)), the value of
any other column a place of its own. So the cosine distance of two rows is the mean over the columns of 1 - cos of the
difference for numbers, and of 0 or 1 for equal or different values elsewhere: like Gower's (1971, doi:10.2307/2528823),
but that small differences of numbers count less. The vector of a pair joins those of its image and of its row, each of
such a length that the distance of two pairs is the sum of both distances, each in units of what held-out pairs usually
have to the nearest training pair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.gates.joint_inputs import Rows, TableColumn
from benchmark.gates.privacy_evidence import Evidence, attacked_space
from medsynth.classify.evaluation.evaluate import proportion
from medsynth.classify.neighbours.candidates import BothSides, Features
from medsynth.classify.neighbours.memorisation import Floats, Numbers, compare, false_alarms, ratios
from medsynth.classify.neighbours.planted_copies import Detection
from medsynth.classify.neighbours.search import nearest_neighbours, nearest_of_either
from medsynth.classify.neighbours.training_images import Found

NUMBER = "number"
_NUM_NEIGHBOURS = 3
_COPY = 1e-9  # cosine distances are squared: equal to four or five digits of a range


@dataclass(frozen=True)
class Vectors:
    """Vectors of some images or rows, and of their mirror images.

    Attributes:
        direct: [N, D].
        mirrored: [N, D]; the same where there is nothing to mirror.
    """

    direct: Features
    mirrored: Features

    @property
    def both_sides(self) -> BothSides:
        """In the form of the attacks."""
        return BothSides([self.direct], [self.mirrored])


@dataclass(frozen=True)
class Planted:
    """Copies of training rows or pairs that are to be found.

    Attributes:
        vectors: Of the copies.
        originals: Which training rows they are of, [n].
    """

    vectors: Vectors
    originals: Numbers


@dataclass(frozen=True)
class Sets:
    """What is compared, by one kind of vectors.

    Attributes:
        train: Of what the GAN learnt from.
        held_out: Of real ones of others.
        synthetic: Of what is to be shared.
        train_patients: Of every training row, counted from 0.
        held_out_patients: Of every held-out row, counted from 0.
        planted: By what was done to them.
    """

    train: Vectors
    held_out: Vectors
    synthetic: Vectors
    train_patients: Numbers
    held_out_patients: Numbers
    planted: Mapping[str, Planted]


def row_vectors(rows: Rows, columns: Sequence[TableColumn]) -> Vectors:
    """Return encoded rows [N, K] in [0, 1] as vectors of length 1."""
    parts: list[npt.NDArray[np.floating]] = []
    for column in columns:
        values = rows[:, column.columns].astype(np.float64)  # [N, width]
        if column.kind == NUMBER:
            values = np.hstack([np.cos(np.pi / 2 * values), np.sin(np.pi / 2 * values)])
        elif values.shape[1] == 1:
            values = np.hstack([1 - values, values])
        parts.append(values)
    vectors = (np.hstack(parts) / np.sqrt(len(columns))).astype(np.float32)
    return Vectors(vectors, vectors)


def pair_vectors(images: Vectors, rows: Vectors, scales: tuple[float, float]) -> Vectors:
    """Return the vectors of pairs, whose distance is the mean of both distances, weighted by 1 / scale.

    Args:
        images: Of the images; an image without any contrast counts as far from all others.
        rows: Of the rows.
        scales: Usual distances of images and of rows, above 0.
    """
    image, row = (np.sqrt(1 / scale) for scale in scales)

    def joined(pixels: Features, values: Features) -> Features:
        norms = np.linalg.norm(pixels.astype(np.float64), axis=1, keepdims=True)
        units = np.divide(pixels, norms, out=np.zeros(pixels.shape), where=norms > 0)
        return np.hstack([image * units, row * values]).astype(np.float32)

    return Vectors(joined(images.direct, rows.direct), joined(images.mirrored, rows.mirrored))


def usual_distance(train: Vectors, held_out: Vectors) -> float:
    """Return the median distance of held-out rows to the nearest training row; their mean, or 1, where that is 0."""
    distances = _nearest(train, held_out, 1)[0].distances[:, 0]
    return float(np.median(distances)) or float(distances.mean()) or 1.0


def gather_evidence(name: str, label: str, sets: Sets, *, seed: int) -> Evidence:
    """Measure everything that the privacy gate judges by, in one space.

    Args:
        name: Of the space: `rows` or `pairs`.
        label: For people.
        sets: What is compared.
        seed: Of every draw.
    """
    train, patients = sets.train, sets.held_out_patients
    held_out, found = (_found(train, one, sets.train_patients) for one in (sets.held_out, sets.synthetic))
    distances = compare(found.distances, held_out.distances, patients, seed=seed)
    of_ratios = compare(found.ratios, held_out.ratios, patients, seed=seed)
    detections = []
    for alteration, planted in sets.planted.items():
        copies = _found(train, planted.vectors, sets.train_patients)
        marks = {
            "by_distance": copies.distances < distances.threshold,
            "by_ratio": copies.ratios < of_ratios.threshold,
            "nearer_than_all": copies.distances < held_out.distances.min(),
            "original_found": copies.neighbours.numbers[:, 0] == planted.originals,
        }
        num = len(planted.originals)
        shares = {key: proportion(int(mark.sum()), num) for key, mark in marks.items()}
        detections.append(Detection(alteration, num, **shares, by_pixels=None))
    space = attacked_space(
        name,
        label,
        ([train.direct], sets.train_patients),
        (sets.held_out.both_sides, patients),
        sets.synthetic.both_sides,
        seed=seed,
    )
    alarms = false_alarms(held_out.distances, patients, seed=seed)
    return Evidence(found, held_out, distances, of_ratios, alarms, None, None, detections, (space,))


def _nearest(train: Vectors, queries: Vectors, num_neighbours: int) -> list:
    sides = [queries.direct] if queries.mirrored is queries.direct else [queries.direct, queries.mirrored]
    return [nearest_neighbours([side], [train.direct], num_neighbours) for side in sides]


def _found(train: Vectors, queries: Vectors, patients: Numbers) -> Found:
    direct, *mirrored = _nearest(train, queries, _NUM_NEIGHBOURS)
    neighbours = nearest_of_either(direct, mirrored[0]) if mirrored else direct
    return Found(neighbours, direct, ratios(neighbours, patients))


def exact_copies(distances: Floats) -> npt.NDArray[np.bool_]:
    """Return which of the distances [N] to the nearest training row are those of an equal row."""
    return distances <= _COPY
