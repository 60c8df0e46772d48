"""One label's images: their maps, what deletion, insertion and random weights say of them, and the file of it all."""

import dataclasses
import json
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medsynth.classify.config import ExplainConfig
from medsynth.classify.explain import methods
from medsynth.classify.explain.faithfulness import (
    blurred,
    deletion_curve,
    insertion_curve,
    map_similarity,
    random_map,
    rank_correlation,
)
from medsynth.files import atomic_path

Floats = npt.NDArray[np.float32]
_FACTS = "facts"
_NOISE, _RANDOM_MAP, _TIES = range(3)  # streams of random numbers


class Network(Protocol):
    """What is asked of `medsynth.classify.explain.explainer.Explainer`."""

    @property
    def removed(self) -> Floats:
        """The image [D, D, 3] in which nothing is left."""

    def map_of(self, method: str, image: Floats, label: int, seed: int) -> Floats:
        """Return a map [D, D]."""

    def probabilities(self, images: Floats, label: int) -> npt.NDArray[np.float64]:
        """Return the probabilities of a label, [N]."""

    def random_weights(self, seed: int) -> AbstractContextManager[None]:
        """Draw the weights anew for a while."""

    def completeness_gap(self, image: Floats, label: int, attribution: Floats) -> float:
        """Return by what share integrated gradients miss their sum."""


@dataclass(frozen=True)
class Explanation:
    """The maps of one label's images and what was measured on them.

    Attributes:
        label: Its name.
        methods: M names, keys of `METHODS`.
        random_maps: R names, keys of `RANDOM_TITLES`.
        records: Positions of the images in the records, [N].
        scores: Probabilities of the label, [N].
        maps: float32 [N, M, D, D].
        deletion: Probabilities while pixels are removed, [N, M + R, S + 1]; the random maps last.
        insertion: Probabilities while pixels are put in, [N, M + R, S + 1].
        rank_correlation: Spearman's between the maps and those of random weights, [N, M].
        map_similarity: SSIM between the same, [N, M].
        completeness_gap: Of integrated gradients, [N]; NaN where they were not asked for.
    """

    label: str
    methods: tuple[str, ...]
    random_maps: tuple[str, ...]
    records: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    maps: npt.NDArray[np.float32]
    deletion: npt.NDArray[np.float64]
    insertion: npt.NDArray[np.float64]
    rank_correlation: npt.NDArray[np.float64]
    map_similarity: npt.NDArray[np.float64]
    completeness_gap: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """What to compute for one label.

    Attributes:
        label: Its name.
        number: Its number.
        records: Positions of the images in the records, [N].
        methods: Keys of `METHODS`.
        config: [XPLAIN].
    """

    label: str
    number: int
    records: npt.NDArray[np.int64]
    methods: tuple[str, ...]
    config: ExplainConfig

    def generator(self, record: int, stream: int) -> np.random.Generator:
        """Return the random numbers of an image: fixed by seed, image and purpose."""
        return np.random.default_rng((self.config.random_seed, int(record), stream))


def explain_images(network: Network, task: Task, images: Floats, advance: Callable[[float], None]) -> Explanation:
    """Compute the maps of a label's images and all that is measured on them.

    Args:
        network: The classifier.
        task: Label, records, methods and settings.
        images: [N, D, D, 3] in [0, 255].
        advance: Is told how many passes of the network were done.
    """
    maps = _maps(network, task, images, advance)
    with network.random_weights(task.config.random_seed):
        of_random_weights = _maps(network, task, images, advance)
    deletion, insertion = _curves(network, task, images, maps, advance)
    pairs = [list(zip(*of_image, strict=True)) for of_image in zip(maps, of_random_weights, strict=True)]
    gaps = np.full(len(images), np.nan)
    if methods.INTEGRATED_GRADIENTS in task.methods:
        place = task.methods.index(methods.INTEGRATED_GRADIENTS)
        gaps[:] = [
            network.completeness_gap(image, task.number, own[place]) for image, own in zip(images, maps, strict=True)
        ]
    return Explanation(
        label=task.label,
        methods=task.methods,
        random_maps=methods.random_maps_of(task.methods),
        records=task.records,
        scores=deletion[:, 0, 0],
        maps=maps,
        deletion=deletion,
        insertion=insertion,
        rank_correlation=np.array([[rank_correlation(*pair) for pair in row] for row in pairs]),
        map_similarity=np.array([[map_similarity(*pair) for pair in row] for row in pairs]),
        completeness_gap=gaps,
    )


def _maps(network: Network, task: Task, images: Floats, advance: Callable[[float], None]) -> Floats:
    """Return the maps of all images by all methods, [N, M, D, D]."""
    rows = []
    for image, record in zip(images, task.records, strict=True):
        noise_seed = int(task.generator(record, _NOISE).integers(2**32))
        row = []
        for method in task.methods:
            row.append(network.map_of(method, image, task.number, noise_seed))
            advance(methods.passes_of_map(method, task.config, len(image)))
        rows.append(row)
    return np.array(rows, np.float32)


def _curves(
    network: Network, task: Task, images: Floats, maps: Floats, advance: Callable[[float], None]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return deletion and insertion curves, [N, M + R, S + 1] each; the random maps last."""
    config, dimension = task.config, images.shape[1]
    grain = {methods.RANDOM_PATCHES: config.occlusion_patch, methods.RANDOM_PIXELS: 1}

    def scores(changed: Floats) -> npt.NDArray[np.float64]:
        advance(len(changed))
        return network.probabilities(changed, task.number)

    deletion, insertion = [], []
    for image, record, own in zip(images, task.records, maps, strict=True):
        rng = task.generator(record, _RANDOM_MAP)
        beside = [random_map(dimension, grain[name], rng) for name in methods.random_maps_of(task.methods)]
        start = blurred(image, config.insertion_blur * dimension)
        ties = [task.generator(record, _TIES) for _ in range(2)]
        everything = [*own, *beside]
        steps = config.faithfulness_steps
        deletion.append([deletion_curve(image, network.removed, one, scores, steps, ties[0]) for one in everything])
        insertion.append([insertion_curve(image, start, one, scores, steps, ties[1]) for one in everything])
    return np.array(deletion), np.array(insertion)


def write_explanation(path: Path, explanation: Explanation, facts: dict[str, Any]) -> None:
    """Write an explanation as .npz, atomically, with what it depends on.

    Args:
        path: The file.
        explanation: Arrays, and names as text.
        facts: Anything that JSON can hold.
    """
    arrays = {field.name: np.asarray(getattr(explanation, field.name)) for field in dataclasses.fields(explanation)}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **{_FACTS: np.array(json.dumps(facts))}, **arrays)


def read_explanation(path: Path, facts: dict[str, Any]) -> Explanation | None:
    """Return what `write_explanation` wrote, or None where it is not there, not whole, or depends on something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            if json.loads(str(file[_FACTS])) != json.loads(json.dumps(facts)):
                return None
            arrays = {field.name: file[field.name] for field in dataclasses.fields(Explanation)}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
    names = {key: tuple(map(str, arrays[key])) for key in ("methods", "random_maps")}
    return Explanation(**arrays | names | {"label": str(arrays["label"])})
