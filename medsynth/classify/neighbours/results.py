"""The search of nn.py and its files: nn.json, nn.csv, held_out.csv, nn.log, pictures and the published arrays."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from medsynth.classify.neighbours.command import Comparands, ImageSplit
from medsynth.classify.neighbours.memorisation import Comparison, PixelCounts, compare, false_alarms, verdict
from medsynth.classify.neighbours.pixel_copies import PixelCopies, PixelSearch
from medsynth.classify.neighbours.planted_copies import describe_detections, find_planted
from medsynth.classify.neighbours.search import Neighbours
from medsynth.classify.neighbours.training_images import Found, TrainingImages
from medsynth.data.tfrecords import RecordFile
from medsynth.files import atomic_path, write_array, write_json, write_text
from medsynth.metrics.cache import FeatureCache
from medsynth.metrics.features import classifier_extractor
from medsynth.networks.imagenet_input import IMAGENET_MEAN, IMAGENET_STANDARD_DEVIATION, preprocess
from medsynth.networks.trained_classifier import TrainedClassifier
from medsynth.report.neighbour_figures import Panel, ShownNeighbour, ShownQuery, distances_figure, neighbours_figure

RESULTS, TABLE, HELD_OUT_TABLE, LOG = "nn.json", "nn.csv", "held_out.csv", "nn.log"
PICTURE, HISTOGRAMS = "nn.png", "distances.png"
_NUM_SHOWN = 10
_IMAGES_PER_BLOCK = 32


def search_and_write(comparands: Comparands, folder: Path, real_cache: Path, fake_cache: Path, *, seed: int) -> str:
    """Search, compare, write everything into `folder`, and return the text of nn.log.

    Args:
        comparands: What is compared.
        folder: results_dir/classification_results/nn.
        real_cache: Keeps features of real images.
        fake_cache: Keeps features of synthetic images.
        seed: Of the intervals and of what is planted.

    Raises:
        MedsynthError: Unusable weights, features that are not finite, or a disk that is full.
    """
    config, train, held_out = comparands.config, comparands.train, comparands.held_out
    reals = FeatureCache(real_cache)
    training = TrainingImages(
        classifier_extractor(comparands.classifier),
        train.data.records,
        train.patients,
        reals,
        num_neighbours=config.num_neighbours,
        compare_mirrored=config.compare_mirrored,
    )
    held_out_found = training.near_records(held_out.data.records, reals, f"held-out {held_out.name}")
    found = [
        training.near_records(split.data.records, FeatureCache(fake_cache), f"synthetic {split.name}")
        for split in comparands.synthetic
    ]
    (folder / RESULTS).unlink(missing_ok=True)  # of an earlier run; it is written last
    write_published(folder, comparands, found[0].direct)
    pixels = None
    if PixelSearch.can_compare(train.data.records):
        pixels = PixelSearch(train.data.records, held_out.data.records)
    copies = [_pixel_copies(pixels, split) for split in comparands.synthetic]
    held_out_copies = _pixel_copies(pixels, held_out)

    distances = np.concatenate([one.distances for one in found])
    ratios = np.concatenate([one.ratios for one in found])
    of_distances = compare(distances, held_out_found.distances, held_out.patients, seed=seed)
    of_ratios = compare(ratios, held_out_found.ratios, held_out.patients, seed=seed)
    thresholds = (of_distances, of_ratios)
    detections = []
    if config.num_planted:
        detections = find_planted(
            training, reals, pixels, held_out_found, thresholds, num_planted=config.num_planted, seed=seed
        )
    alarms = false_alarms(held_out_found.distances, held_out.patients, seed=seed) if held_out.patients.any() else None

    counts = None
    if pixels is not None:
        counts = PixelCounts(sum(int(one.is_copy.sum()) for one in copies), int(held_out_copies.is_copy.sum()))
    sentences = verdict(of_distances, of_ratios, counts)

    write_table(folder / TABLE, comparands.synthetic, found, copies, train, thresholds)
    write_table(folder / HELD_OUT_TABLE, [held_out], [held_out_found], [held_out_copies], train, thresholds)
    shown = shown_queries(train, comparands.synthetic, found, copies, of_distances.threshold)
    neighbours_figure(folder / PICTURE, shown, title=_TITLE)
    distances_figure(
        folder / HISTOGRAMS,
        [
            Panel("cosine distance to the nearest training image", distances, held_out_found.distances,
                  of_distances.threshold),
            Panel("that distance over the one to the nearest training image of another patient", ratios,
                  held_out_found.ratios, of_ratios.threshold),
        ],
    )  # fmt: skip
    facts = _facts(comparands, training.extractor.label)
    lines = [
        f"features: {facts['features']}, {facts['weights']} ({facts['weights_origin']}), sha256 "
        f"{facts['weights_sha256']}",
        f"{facts['num_synthetic']:,} synthetic images, {facts['num_held_out']:,} held-out real ones of "
        f"{held_out.name}, {facts['num_train']:,} training images",
        f"median distance to the nearest training image: synthetic {of_distances.median:.3g}, held-out "
        f"{of_distances.median_held_out:.3g} (5th percentile {of_distances.threshold:.3g})",
        *sentences,
        *describe_detections(detections, alarms),
        *(f"note: {note}" for note in comparands.notes),
    ]
    text = "\n".join(lines) + "\n"
    write_text(folder / LOG, text)
    write_json(
        folder / RESULTS,
        facts
        | {
            "distance": dataclasses.asdict(of_distances),
            "ratio": dataclasses.asdict(of_ratios),
            "false_alarms_on_other_half": None if alarms is None else dataclasses.asdict(alarms),
            "planted": [dataclasses.asdict(one) for one in detections],
            "pixel_copies": None if counts is None else dataclasses.asdict(counts),
            "verdict": sentences,
        },
    )
    return text


def _pixel_copies(search: PixelSearch | None, split: ImageSplit) -> PixelCopies:
    if search is None:
        return PixelCopies.none(len(split.paths))
    return search.in_records(split.data.records, f"{split.data.folder.parent.name}/{split.name}")


_TITLE = "Synthetic images (left) and their nearest training images by cosine distance, the most suspicious first"


def _facts(comparands: Comparands, features: str) -> dict[str, Any]:
    """Return what nn.json says of its inputs."""
    classifier = comparands.classifier
    return {
        "features": features,
        "weights": str(classifier.weights),
        "weights_sha256": classifier.weights_digest(),
        "weights_origin": comparands.classifier_origin,
        "settings": dataclasses.asdict(comparands.config),
        "resolution": comparands.train.data.records.shape[0],
        "num_train": len(comparands.train.data),
        "num_held_out": len(comparands.held_out.data),
        "num_held_out_patients": int(comparands.held_out.patients.max()) + 1,
        "num_synthetic": sum(len(split.data) for split in comparands.synthetic),
        "train_records_sha256": comparands.train.data.records.digest,
        "held_out_records_sha256": comparands.held_out.data.records.digest,
        "synthetic_records_sha256": [split.data.records.digest for split in comparands.synthetic],
        "notes": list(comparands.notes),
    }


def write_published(folder: Path, comparands: Comparands, direct: Neighbours) -> None:
    """Write the original's files for the first images of inference/test, [n, D, D, 3] in [0, 1] float32.

    - real_inf.npy: the synthetic images, whatever its name says, in record order; real_inf_label.npy: their labels
    - nn_images.npy: the nearest training image of each; cosdistance_minimum.npy: its distance, [n, 1]

    Args:
        folder: results_dir/classification_results/nn.
        comparands: What was compared.
        direct: Of inference/test, mirror images left aside.
    """
    synthetic, train = comparands.synthetic[0].data, comparands.train.data
    num_images = min(comparands.config.number_nn_compute, len(synthetic))
    _save_inputs(folder / "real_inf.npy", synthetic.records, np.arange(num_images), comparands.classifier)
    _save_inputs(folder / "nn_images.npy", train.records, direct.numbers[:num_images, 0], comparands.classifier)
    for name, values in (
        ("real_inf_label", synthetic.labels[:num_images]),
        ("cosdistance_minimum", direct.distances[:num_images, :1]),
    ):
        write_array(folder / f"{name}.npy", values)


def _save_inputs(
    path: Path, records: RecordFile, numbers: npt.NDArray[np.int64], classifier: TrainedClassifier
) -> None:
    """Write images as the network sees them, but in [0, 1], a block in memory at a time."""
    side = classifier.image_dimension
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(numbers), side, side, 3)}
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(numbers), _IMAGES_PER_BLOCK):
            images = records.read(numbers[start : start + _IMAGES_PER_BLOCK])
            inputs = np.asarray(preprocess(images, side, classifier.resize))
            values = inputs * np.array(IMAGENET_STANDARD_DEVIATION, np.float32) + np.array(IMAGENET_MEAN, np.float32)
            file.write(values.clip(0, 1).astype("<f4").tobytes())


def write_table(
    path: Path,
    splits: Sequence[ImageSplit],
    found: Sequence[Found],
    copies: Sequence[PixelCopies],
    train: ImageSplit,
    thresholds: tuple[Comparison, Comparison],
) -> None:
    """Write a row per image: where it stands, whether it was flagged, and its neighbours.

    Columns: Split, Record, Path; Flagged (by distance), FlaggedByRatio, Ratio; PixelCopyOf (a training image's path, or
    nothing), PixelSimilarity; then for each neighbour Neighbour<k> (source path), Record<k>, Distance<k>, Mirrored<k>.

    Args:
        path: The csv file.
        splits: Where the images come from.
        found: Of each split.
        copies: Of each split.
        train: The training images.
        thresholds: Of distances and of ratios.
    """
    train_paths = np.array(train.paths, object)
    frames = []
    for split, one, copy in zip(splits, found, copies, strict=True):
        columns: dict[str, Any] = {
            "Split": split.name,
            "Record": np.arange(len(split.paths)),
            "Path": split.paths,
            "Flagged": (one.distances < thresholds[0].threshold).astype(int),
            "FlaggedByRatio": (one.ratios < thresholds[1].threshold).astype(int),
            "Ratio": one.ratios,
            "PixelCopyOf": np.where(copy.is_copy, train_paths[copy.originals], ""),
            "PixelSimilarity": copy.similarities,
        }
        for place in range(one.neighbours.numbers.shape[1]):
            numbers = one.neighbours.numbers[:, place]
            columns |= {
                f"Neighbour{place + 1}": train_paths[numbers],
                f"Record{place + 1}": numbers,
                f"Distance{place + 1}": one.neighbours.distances[:, place],
                f"Mirrored{place + 1}": one.neighbours.mirrored[:, place].astype(int),
            }
        frames.append(pd.DataFrame(columns))
    with atomic_path(path) as temporary:
        pd.concat(frames).to_csv(temporary, index=False, lineterminator="\n")


def shown_queries(
    train: ImageSplit,
    synthetic: Sequence[ImageSplit],
    found: Sequence[Found],
    copies: Sequence[PixelCopies],
    threshold: float,
) -> list[ShownQuery]:
    """Return some synthetic images with their neighbours: copies by pixels, then those nearest to a training image.

    Args:
        train: The training images.
        synthetic: Splits of synthetic images.
        found: Of each of them.
        copies: Of each of them.
        threshold: Distance below which an image is flagged.
    """
    distances = np.concatenate([one.distances for one in found])
    is_copy = np.concatenate([one.is_copy for one in copies])
    splits = np.repeat(np.arange(len(found)), [len(one.distances) for one in found])
    rows = np.concatenate([np.arange(len(one.distances)) for one in found])
    shown = []
    for place in np.lexsort((distances, ~is_copy))[:_NUM_SHOWN]:
        number, row = int(splits[place]), int(rows[place])
        split, neighbours = synthetic[number], found[number].neighbours
        images = train.data.records.read(neighbours.numbers[row])
        caption = [f"{split.name} {row}", f"ratio {found[number].ratios[row]:.2f}"]
        if distances[place] < threshold:
            caption.append("flagged")
        if is_copy[place]:
            caption.append("copy by pixels")
        shown.append(
            ShownQuery(
                split.data.records.read([row])[0],
                "\n".join(caption),
                [
                    ShownNeighbour(image[:, ::-1] if is_mirrored else image, float(distance), bool(is_mirrored))
                    for image, distance, is_mirrored in zip(
                        images, neighbours.distances[row], neighbours.mirrored[row], strict=True
                    )
                ],
            )
        )
    return shown
