"""The training images as a network's features, and which of them lie nearest to other images."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medsynth.classify.neighbours.memorisation import Floats, Numbers, ratios
from medsynth.classify.neighbours.search import Neighbours, nearest_neighbours, nearest_of_either
from medsynth.data.tfrecords import Images, RecordFile
from medsynth.metrics.cache import FeatureCache, RecordFeatures
from medsynth.metrics.features import Extractor
from medsynth.progress import Progress

Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Found:
    """What lies nearest to N images.

    Attributes:
        neighbours: The nearest training images, in either orientation where mirror images are compared.
        direct: Those of the images as they are.
        ratios: See `medsynth.classify.neighbours.memorisation.ratios`, [N].
    """

    neighbours: Neighbours
    direct: Neighbours
    ratios: Floats

    @property
    def distances(self) -> Floats:
        """To the nearest training image, [N]."""
        return self.neighbours.distances[:, 0]


class TrainingImages:
    """The training images, ready to be compared with others.

    Args:
        extractor: The network.
        records: The images.
        patients: Of every record, counted from 0; numbers of their own where patients are not known.
        cache: Keeps the features.
        num_neighbours: How many are found for each image.
        compare_mirrored: Whether the mirror image of each is compared, too.

    Attributes:
        features: Of every record, computed.
    """

    def __init__(
        self,
        extractor: Extractor,
        records: RecordFile,
        patients: Numbers,
        cache: FeatureCache,
        *,
        num_neighbours: int,
        compare_mirrored: bool,
    ) -> None:
        self.extractor, self.records, self.patients = extractor, records, patients
        self.num_neighbours = num_neighbours
        self._orientations = (False, True) if compare_mirrored else (False,)
        self.features = computed_features(cache, extractor, records, "train")

    def near_records(self, records: RecordFile, cache: FeatureCache, name: str) -> Found:
        """Find what lies nearest to every image of a record file.

        Args:
            records: Of the size that the network takes.
            cache: Keeps their features.
            name: For the progress lines.
        """
        sides = []
        for is_mirrored in self._orientations:
            shown = f"{name}, mirrored" if is_mirrored else name
            sides.append(computed_features(cache, self.extractor, records, shown, mirrored=is_mirrored))
        return self._found(sides, len(records), name)

    def near_images(self, stacks: Collection[Images], cache: FeatureCache, name: str) -> Found:
        """Find what lies nearest to every image of some stacks [n, H, W, C], one after the other."""
        num_images = sum(map(len, stacks))
        progress = Progress(f"features of {name}", len(self._orientations) * num_images, "images")
        sides = []
        for is_mirrored in self._orientations:
            parts = []
            for stack in stacks:
                parts.append(cache.features(self.extractor, stack[:, :, ::-1] if is_mirrored else stack))
                progress.advance(len(stack))
            sides.append(parts)
        progress.close()
        return self._found(sides, num_images, name)

    def _found(self, sides: Collection[Iterable[Features]], num_images: int, name: str) -> Found:
        num_pairs = len(sides) * num_images * len(self.records)
        progress = Progress(f"comparing {name} with train", num_pairs, "pairs")
        direct, *mirrored = (
            nearest_neighbours(side, self.features, self.num_neighbours, advance=progress.advance) for side in sides
        )
        progress.close()
        neighbours = nearest_of_either(direct, mirrored[0]) if mirrored else direct
        return Found(neighbours, direct, ratios(neighbours, self.patients))


def computed_features(
    cache: FeatureCache, extractor: Extractor, records: RecordFile, name: str, *, mirrored: bool = False
) -> RecordFeatures:
    """Go through the features of a record file once, so that those that are missing are computed with progress.

    Args:
        cache: Keeps the features.
        extractor: The network.
        records: The images.
        name: For the progress line.
        mirrored: Of their mirror images instead.
    """
    progress = Progress(f"features of {name}", len(records), "images")
    num_computed = num_done = 0

    def advance(num_images: int) -> None:
        nonlocal num_computed
        num_computed += num_images
        progress.advance(num_images)

    features = RecordFeatures(cache, extractor, records, mirrored, advance)
    for part in features:
        num_done += len(part)
        progress.update(num_done)
    progress.close(f"({num_computed:,} computed, {len(records) - num_computed:,} read from {cache.folder})")
    return features
