"""The price of privacy: synthetic training images too near to a real one are dropped, the rest trains a classifier.

Everything lies in out_dir/filtered, a folder for each filter in the form of a GAN's results; what is done is not done
again.
"""

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.gates.augmented import link_split
from benchmark.gates.classifiers import SYNTHETIC, Classifier, classifiers
from benchmark.gates.inputs import VerdictInputs
from benchmark.gates.model import Measure, Picture
from benchmark.gates.price_figure import draw_price
from benchmark.gates.privacy_evidence import (
    Evidence,
    PrivacyData,
    feature_cache,
    held_out_percentile,
    space_extractors,
    synthetic_values,
)
from benchmark.steps import Step, run_step
from medsynth.classify.evaluation.evaluate import Interval
from medsynth.classify.evaluation.predictions import RESULTS
from medsynth.classify.evaluation.summary import estimate_in
from medsynth.classify.experiment import INFERENCE, fake_results_folder
from medsynth.classify.neighbours.candidates import BothSides, calibrated_auc, measure_candidates
from medsynth.classify.neighbours.command import ImageSplit
from medsynth.classify.neighbours.training_images import computed_features
from medsynth.classify.testing import TEST_FOLDER
from medsynth.data.derived_splits import write_subset
from medsynth.data.wording import counted, listed
from medsynth.files import atomic_path, make_folder, read_json, write_json
from medsynth.networks.trained_classifier import TRAIN_FOLDER
from medsynth.runs import DONE_NAME

FOLDER, TABLE, PICTURE = "filtered", "price_of_privacy.csv", "price_of_privacy.png"
GROUP = "after filtering"
_FILTER_JSON, _GENERATOR_JSON = "filter.json", "generator.json"
_TRAIN = "train"
# From fewer images the attack says how training and held-out images differ in themselves, not what is learnt by heart.
FEWEST_LEFT = 100
_THRESHOLD_NAME = "filter_percentile_"
Kept = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Point:
    """One filter, and what is left.

    Attributes:
        name: Of its folder; `none` for no filter.
        percentile: Of the held-out images' distances; None for no filter.
        threshold: That distance, below which synthetic images are dropped.
        num_kept: Synthetic training images left.
        num_images: Synthetic training images before.
        attack_auc: Of the calibrated membership attack that has the images that are left.
        auroc: Mean over labels of a classifier that learnt from them, on real test images; None where there is none.
        remark: Why there is none.
    """

    name: str
    percentile: float | None
    threshold: float
    num_kept: int
    num_images: int
    attack_auc: Interval
    auroc: Interval | None
    remark: str = ""


@dataclass(frozen=True)
class Price:
    """The curve.

    Attributes:
        points: No filter first, then ever stricter ones.
        measures: For the gate; they decide nothing.
        pictures: The curve.
        notes: What a reader must know.
    """

    points: list[Point]
    measures: list[Measure]
    pictures: list[Picture]
    notes: list[str]


def price_of_privacy(
    inputs: VerdictInputs, data: PrivacyData, evidence: Evidence, thresholds: Mapping[str, float]
) -> Price:
    """Filter the synthetic training images more and more strictly, attack and train on what is left, draw the curve.

    Leaves out_dir/filtered/<filter>/inference, the classifier's results beside it, price_of_privacy.csv and .png.

    Args:
        inputs: What is judged.
        data: The same images, open.
        evidence: Distances to the training images.
        thresholds: The section `privacy`: filter_percentile_1 and so on.

    Raises:
        StepFailedError: A classifier could not be trained or tested; it has said why.
    """
    source = inputs.synthetic_split(_TRAIN)
    if source is None:
        return Price([], [], [], ["There are no synthetic training images, so nothing is filtered."])
    split = ImageSplit.read(source, inputs.resolution)
    distances = synthetic_values(inputs, evidence.found.distances, _TRAIN)
    percentiles = [value for name, value in thresholds.items() if name.startswith(_THRESHOLD_NAME)]
    attacker = _Attacker(inputs, data, split)
    points: list[Point] = []
    for percentile in (None, *sorted(percentiles)):
        threshold = 0.0 if percentile is None else held_out_percentile(evidence, percentile)
        kept = distances >= threshold
        name = "none" if percentile is None else f"below-percentile-{percentile:g}"
        same = next((point for point in points if point.num_kept == kept.sum()), None)
        if same is not None:  # stricter filters keep subsets, so as many images are the same images
            points.append(dataclasses.replace(same, name=name, percentile=percentile, threshold=threshold))
            continue
        left = int(kept.sum())
        if left < FEWEST_LEFT:
            nothing, remark = Interval(float("nan")), f"{counted(left, 'image')} left, fewer than {FEWEST_LEFT}"
            points.append(Point(name, percentile, threshold, left, len(kept), nothing, None, remark))
            continue
        auroc, remark = _utility(inputs, split, name, threshold, kept)
        found = attacker.auc(kept)
        points.append(Point(name, percentile, threshold, left, len(kept), found, auroc, remark))
    return _price(make_folder(inputs.out_dir / FOLDER), points)


class _Attacker:
    """Attacks with any part of the synthetic training images.

    Args:
        inputs: What is judged.
        data: Training and held-out images.
        split: The synthetic training images.
    """

    def __init__(self, inputs: VerdictInputs, data: PrivacyData, split: ImageSplit) -> None:
        self._data, self._seed = data, inputs.seed
        self._cache, self._extractor = feature_cache(inputs), next(iter(space_extractors(inputs).values()))
        self._synthetic = [np.concatenate(list(side)) for side in self._both(split, "synthetic training images")]
        self._held_out = BothSides(*self._both(data.held_out, "held-out images"))
        self._train = computed_features(self._cache, self._extractor, data.train.data.records, _TRAIN)

    def auc(self, kept: Kept) -> Interval:
        """Return the AUC of the calibrated attack that has the marked images."""
        found = measure_candidates(
            (self._train, self._data.train.patients),
            (self._held_out, self._data.held_out.patients),
            BothSides(*([side[kept]] for side in self._synthetic)),
            seed=self._seed,
        )
        return calibrated_auc(*found, seed=self._seed)

    def _both(self, split: ImageSplit, name: str) -> list[Any]:
        records = split.data.records
        return [
            computed_features(self._cache, self._extractor, records, name, mirrored=mirrored)
            for mirrored in (False, True)
        ]


def _utility(
    inputs: VerdictInputs, split: ImageSplit, name: str, threshold: float, kept: Kept
) -> tuple[Interval | None, str]:
    """Return the mean AUROC of a classifier that learnt from the images that are left, or why there is none."""
    if not inputs.label_names:
        return None, "images without labels"
    lost = [
        label for label, count in zip(split.data.names, split.data.labels[kept].sum(axis=0), strict=True) if not count
    ]
    if lost:
        return None, f"no positive left for {listed(lost)}"
    unfiltered = classifiers(inputs)[SYNTHETIC]
    steps = (unfiltered.train, unfiltered.test)
    results = unfiltered.results
    if not kept.all():
        folder = inputs.out_dir / FOLDER / name
        _write_filtered(inputs, folder, split, threshold, kept)
        results = fake_results_folder(folder)
        steps = _steps_for(unfiltered, inputs.results_dir, folder)
    for step in steps:
        if not step.result.is_file():
            print(f"\n{step.title} (filter: {name})", flush=True)
            run_step(step)
    return estimate_in(read_json(results / TEST_FOLDER / RESULTS)["mean"], "auroc"), ""


def _steps_for(classifier: Classifier, results_dir: Path, folder: Path) -> tuple[Step, Step]:
    """Return the commands of the synthetic classifier for another folder of synthetic images."""
    results = fake_results_folder(folder)
    ends = (results / TRAIN_FOLDER / DONE_NAME, results / TEST_FOLDER / RESULTS)
    train, test = (
        Step(step.title, tuple(folder if part == results_dir else part for part in step.command), end)
        for step, end in zip((classifier.train, classifier.test), ends, strict=True)
    )
    return train, test


def _write_filtered(inputs: VerdictInputs, folder: Path, split: ImageSplit, threshold: float, kept: Kept) -> None:
    """Write the images that are left and link the other splits, unless that was done of the same images."""
    facts = {
        "synthetic_records_sha256": split.data.records.digest,
        "train_records_sha256": inputs.real[_TRAIN].digest,
        "threshold": threshold,
        "num_kept": int(kept.sum()),
    }
    path = folder / _FILTER_JSON
    if path.is_file() and read_json(path) == facts:
        return
    if folder.exists():
        shutil.rmtree(folder)  # of other images, and so are the classifier's results in it
    inference = make_folder(folder / INFERENCE)
    write_subset(split.data.folder, inference / _TRAIN, kept)
    for name in inputs.synthetic:
        if name != _TRAIN:
            link_split(inference / name, inputs.synthetic_dir / name)
    write_json(inference / _GENERATOR_JSON, {"application": inputs.application})
    write_json(path, facts)


def _price(folder: Path, points: list[Point]) -> Price:
    rows = [_row(point) for point in points]
    with atomic_path(folder / TABLE) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
    draw_price(folder / PICTURE, rows)
    said = "; ".join(
        f"{row['filter']}: {row['num_kept']:,} of {row['num_images']:,} left"
        + ("" if row["attack_auc"] is None else f", attack {row['attack_auc']:.3f}")
        + ("" if row["auroc"] is None else f", AUROC {row['auroc']:.3f}")
        for row in rows
    )
    picture = Picture(
        "price_of_privacy",
        "The price of privacy",
        "What is left, what an attacker gets out of it, and what a classifier learns from it, after dropping every "
        "synthetic training image nearer to a real one than a percentile of held-out images is. Bars are 95 % "
        "intervals; one training each, whose own chance they do not hold.",
        f"Curves over ever stricter filters. {said}.",
        (folder / PICTURE).read_bytes(),
    )
    notes = [
        f"Filter {point.name}: {'neither attack nor classifier' if point.num_kept < FEWEST_LEFT else 'no classifier'}, "
        f"{point.remark}."
        for point in points
        if point.remark
    ]
    notes.append(
        "The attack after filtering has the synthetic training images alone, that of the gate all synthetic images; so "
        "the two differ where there is no filter, too."
    )
    notes.append(
        "A filter moves distances to training images and nothing else: it takes copies out, not what a network has "
        "learnt of a patient in other images, and the filtered set is to be judged again before it is shared."
    )
    return Price(points, _measures(points), [picture], notes)


def _row(point: Point) -> dict[str, Any]:
    auroc = Interval(float("nan")) if point.auroc is None else point.auroc
    values = {
        "attack_auc": point.attack_auc.value, "attack_auc_low": point.attack_auc.low,
        "attack_auc_high": point.attack_auc.high, "auroc": auroc.value, "auroc_low": auroc.low,
        "auroc_high": auroc.high,
    }  # fmt: skip
    return {
        "filter": point.name,
        "percentile": point.percentile,
        "threshold": point.threshold,
        "num_kept": point.num_kept,
        "num_images": point.num_images,
        **{name: value if np.isfinite(value) else None for name, value in values.items()},
        "remark": point.remark,
    }


def _measures(points: list[Point]) -> list[Measure]:
    measures = []
    for point in points:
        what = "no filter" if point.percentile is None else f"without those below percentile {point.percentile:g}"
        for key, title, one in (
            ("attack_auc", "AUC of the membership attack", point.attack_auc),
            ("auroc", "mean AUROC of a classifier", point.auroc),
        ):
            if one is not None and np.isfinite(one.value):
                measures.append(
                    Measure(f"{key}_{point.name}", f"{title}, {what}", one.value, one.low, one.high, point.num_kept,
                            "synthetic images", group=GROUP)
                )  # fmt: skip
    return measures
