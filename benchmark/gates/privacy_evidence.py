"""What the privacy gate judges by: distances to training images, attacks, copies by pixels, and planted copies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.gates.inputs import VerdictInputs
from medsynth.classify.evaluation.evaluate import Interval
from medsynth.classify.neighbours.candidates import (
    NUM_FOLDS,
    BothSides,
    Candidates,
    Features,
    calibrated_auc,
    measure_candidates,
)
from medsynth.classify.neighbours.command import ImageSplit
from medsynth.classify.neighbours.membership import Attack, bootstrapped_auc, measure_attack
from medsynth.classify.neighbours.memorisation import (
    MINIMUM_HELD_OUT,
    Comparison,
    Floats,
    Numbers,
    compare,
    false_alarms,
)
from medsynth.classify.neighbours.pixel_copies import PixelCopies, PixelSearch
from medsynth.classify.neighbours.pixel_features import pixel_extractor
from medsynth.classify.neighbours.planted_copies import Detection, find_planted
from medsynth.classify.neighbours.training_images import Found, TrainingImages, computed_features
from medsynth.data.derived_splits import write_union
from medsynth.data.labels import record_order
from medsynth.data.tfrecords import RecordFile
from medsynth.files import make_folder
from medsynth.metrics.cache import FeatureCache
from medsynth.metrics.features import Extractor, load_extractor

FOLDER = "privacy"
NUM_PLANTED = 50
FEWEST_IMAGES = 2 * MINIMUM_HELD_OUT  # for either half of the patients
FEWEST_PATIENTS = NUM_FOLDS
_NUM_NEIGHBOURS = 3


@dataclass(frozen=True)
class PrivacyData:
    """The three kinds of images, each of them one split.

    Attributes:
        train: What the GAN learnt from.
        held_out: Real images of other patients.
        synthetic: What is to be shared.
    """

    train: ImageSplit
    held_out: ImageSplit
    synthetic: ImageSplit

    @property
    def num_held_out_patients(self) -> int:
        """How many patients the held-out images are of; images where patients are not known."""
        return int(self.held_out.patients.max()) + 1


@dataclass(frozen=True)
class Space:
    """What two attacks find by one way to compare images.

    Attributes:
        name: `features` or `pixels`.
        label: Of the features, for people.
        members: Training images and their distances.
        controls: Held-out images and theirs.
        plain: The attack that has the synthetic images alone.
        calibrated: The attack that has real images of others, too.
    """

    name: str
    label: str
    members: Candidates
    controls: Candidates
    plain: Attack
    calibrated: Attack


@dataclass(frozen=True)
class Evidence:
    """Everything that was measured.

    Attributes:
        found: What lies nearest to the synthetic images, by the first space.
        held_out_found: The same of the held-out images.
        distances: Of both, compared.
        ratios: Of both, compared.
        alarms: Share of held-out images below the threshold of the other half of the patients.
        copies: Synthetic images that are copies by their pixels; None where images are too small.
        held_out_copies: The same of the held-out images.
        planted: How many planted copies of each kind were found.
        spaces: Features, where there are any, then pixels.
    """

    found: Found
    held_out_found: Found
    distances: Comparison
    ratios: Comparison
    alarms: Interval
    copies: PixelCopies | None
    held_out_copies: PixelCopies | None
    planted: list[Detection]
    spaces: tuple[Space, ...]


def read_data(inputs: VerdictInputs) -> PrivacyData:
    """Open the images; several splits of a kind are joined in out_dir/privacy."""
    synthetic = [inputs.synthetic_dir / name for name in inputs.synthetic]
    return PrivacyData(
        ImageSplit.read(inputs.data_dir / "train", inputs.resolution),
        _joined(inputs, "held-out", inputs.held_out_splits),
        _joined(inputs, "synthetic", synthetic),
    )


def _joined(inputs: VerdictInputs, name: str, folders: Sequence[Path]) -> ImageSplit:
    if len(folders) == 1:
        return ImageSplit.read(folders[0], inputs.resolution)
    target = inputs.out_dir / FOLDER / name
    write_union(target, folders)
    return ImageSplit.read(target, inputs.resolution)


def has_enough_held_out(data: PrivacyData) -> bool:
    """Whether there are as many held-out images and patients as any figure needs."""
    return len(data.held_out.data) >= FEWEST_IMAGES and data.num_held_out_patients >= FEWEST_PATIENTS


def gather(inputs: VerdictInputs, data: PrivacyData) -> Evidence:
    """Measure everything; features are kept in out_dir/privacy/features.

    Raises:
        NetworkError: Unusable weights, or features that are not finite.
    """
    cache = feature_cache(inputs)
    extractors = space_extractors(inputs)
    training = TrainingImages(
        next(iter(extractors.values())),
        data.train.data.records,
        data.train.patients,
        cache,
        num_neighbours=_NUM_NEIGHBOURS,
        compare_mirrored=True,
    )
    held_out_found = training.near_records(data.held_out.data.records, cache, "held-out images")
    found = training.near_records(data.synthetic.data.records, cache, "synthetic images")
    patients = data.held_out.patients
    thresholds = (
        compare(found.distances, held_out_found.distances, patients, seed=inputs.seed),
        compare(found.ratios, held_out_found.ratios, patients, seed=inputs.seed),
    )
    pixels = None
    if PixelSearch.can_compare(data.train.data.records):
        pixels = PixelSearch(data.train.data.records, data.held_out.data.records)
    planted = find_planted(
        training, cache, pixels, held_out_found, thresholds, num_planted=NUM_PLANTED, seed=inputs.seed
    )
    return Evidence(
        found,
        held_out_found,
        *thresholds,
        false_alarms(held_out_found.distances, patients, seed=inputs.seed),
        None if pixels is None else pixels.in_records(data.synthetic.data.records, "synthetic images"),
        None if pixels is None else pixels.in_records(data.held_out.data.records, "held-out images"),
        planted,
        tuple(
            attack(name, extractor, cache, data, data.synthetic.data.records, seed=inputs.seed)
            for name, extractor in extractors.items()
        ),
    )


def feature_cache(inputs: VerdictInputs) -> FeatureCache:
    """Return where this gate keeps features."""
    return FeatureCache(make_folder(inputs.out_dir / FOLDER / "features"))


def space_extractors(inputs: VerdictInputs) -> dict[str, Extractor]:
    """Return the ways to compare images: by features, where there is a network, and by pixels."""
    extractors = {}
    if inputs.extractor is not None:
        extractors["features"] = load_extractor(inputs.extractor.name, inputs.extractor.weights)
    return extractors | {"pixels": pixel_extractor(inputs.resolution)}


def attack(
    name: str, extractor: Extractor, cache: FeatureCache, data: PrivacyData, synthetic: RecordFile, *, seed: int
) -> Space:
    """Attack membership in the training data with some synthetic images.

    Args:
        name: Of the space.
        extractor: What images are compared by.
        cache: Keeps features.
        data: Training and held-out images.
        synthetic: The images that the attacker has.
        seed: Of folds, halves and intervals.
    """

    def sides(records: RecordFile, what: str) -> BothSides:
        return BothSides(
            computed_features(cache, extractor, records, what),
            computed_features(cache, extractor, records, f"{what}, mirrored", mirrored=True),
        )

    return attacked_space(
        name,
        extractor.label,
        (computed_features(cache, extractor, data.train.data.records, "train"), data.train.patients),
        (sides(data.held_out.data.records, "held-out images"), data.held_out.patients),
        sides(synthetic, "synthetic images"),
        seed=seed,
    )


def attacked_space(
    name: str,
    label: str,
    members: tuple[Iterable[Features], Numbers],
    controls: tuple[BothSides, Numbers],
    synthetic: BothSides,
    *,
    seed: int,
) -> Space:
    """Attack membership in the training data by one way to compare; see `measure_candidates`.

    Args:
        name: Of the space.
        label: Of the features, for people.
        members: Features of the training images, and the patient of each.
        controls: Features of the held-out images, and the patient of each.
        synthetic: Features of the images that the attacker has.
        seed: Of folds, halves and intervals.
    """
    inside, outside = measure_candidates(members, controls, synthetic, seed=seed)
    return Space(
        name,
        label,
        inside,
        outside,
        measure_attack(
            inside.plain, outside.plain, bootstrapped_auc(inside.plain, outside.plain, seed=seed), seed=seed
        ),
        measure_attack(inside.calibrated, outside.calibrated, calibrated_auc(inside, outside, seed=seed), seed=seed),
    )


def held_out_percentile(evidence: Evidence, percent: float) -> float:
    """Return the distance to a training image that so many per cent of the held-out images do not exceed."""
    return float(np.percentile(evidence.held_out_found.distances, percent, method="inverted_cdf"))


def synthetic_values(inputs: VerdictInputs, values: Floats, name: str) -> Floats:
    """Return the values of one synthetic split, in its record order, out of those of all synthetic images [N]."""
    if len(inputs.synthetic) == 1:
        return values
    in_rows = np.empty_like(values)
    in_rows[record_order(len(values))] = values
    first = 0
    for split, facts in inputs.synthetic.items():  # the order in which they were joined
        if split == name:
            return in_rows[first : first + facts.num_images][record_order(facts.num_images)]
        first += facts.num_images
    raise ValueError(f"there is no synthetic split {name}")
