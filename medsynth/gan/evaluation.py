"""Metrics of the networks in a GAN's results folder, on images that they make with the labels of real ones."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.data.labels import patient_numbers, read_label_table, read_patients, read_split_labels, require_split
from medsynth.data.order import grouped_order
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import Images
from medsynth.errors import DataError, NetworkError
from medsynth.files import require_folder
from medsynth.gan.application import GanApplication
from medsynth.gan.metrics_record import METRICS_FOLDER, MetricsRecord, RealImages
from medsynth.gan.sampling import Floats, draw_latents
from medsynth.gan.trained import SNAPSHOT_PREFIX, TrainedGenerator, find_snapshots, open_generator
from medsynth.gan.trainer import FINAL_FOLDER
from medsynth.metrics.cache import FeatureCache
from medsynth.metrics.catalogue import ALL, MetricsRequest, parse_metrics
from medsynth.metrics.evaluate import ImageSet, evaluate, metric_groups
from medsynth.metrics.features import Extractor, features_with_progress, load_extractor
from medsynth.progress import Progress

CACHE_FOLDER = "cache"
_BLOCK_SIZE = 64  # images per call of the generator


def evaluate_networks(
    application: GanApplication, data_dir: Path, results_dir: Path, request: MetricsRequest
) -> tuple[str, list[Path]]:
    """Compute metrics of one or all networks of a training and write them to results_dir/metrics.

    A metric of a network that is there already, from the same weights and images, is not computed again; so a run
    that was stopped goes on, and more metrics or snapshots can be added.

    Args:
        application: Which GAN.
        data_dir: A dataset made by build_dataset.
        results_dir: Of the training.
        request: What to compute.

    Returns:
        The table as text, and the files that were written.

    Raises:
        MedsynthError: No network, no data, other labels or resolution, too few images, or no weights.
    """
    networks = find_networks(results_dir, request.snapshots)
    first = _open(application, networks[0])
    reals = draw_reals(data_dir / request.split, first, request)
    extractor = load_extractor(request.features, request.weights) if request.needs_features else None
    record = MetricsRecord(results_dir / METRICS_FOLDER, application.name, request, reals)
    for line in record.note(extractor):
        print(line, file=sys.stderr)
    work = {folder: record.missing(folder, request.metrics, extractor) for folder in networks}
    num_todo = sum(bool(missing) for missing in work.values())
    print(
        f"{num_todo} of {len(networks)} networks to evaluate, {len(reals.images):,} images each; the rest is in "
        f"{record.path}",
        file=sys.stderr,
    )
    if num_todo:
        progress = Progress("metrics", num_todo * len(reals.images), "synthetic images")
        session = _Session(request, reals, extractor, record, progress)
        for folder, missing in work.items():
            if missing:
                session.evaluate(_open(application, folder), folder, missing)
        progress.close()
    return record.write([folder.name for folder in networks], request.metrics)


def find_networks(results_dir: Path, which: str) -> list[Path]:
    """Return the folders of the networks: network-final, or every snapshot, the newest first.

    Raises:
        DataError: No such results folder.
        NetworkError: It holds no such network.
    """
    require_folder(results_dir, "the results of a GAN's training")
    found = find_snapshots(results_dir)[::-1] if which == ALL else [*results_dir.glob(FINAL_FOLDER)]
    if not found:
        wanted = f"{SNAPSHOT_PREFIX}NNNNNN" if which == ALL else FINAL_FOLDER
        raise NetworkError(f"A folder {wanted} was expected here.", received="no such folder", path=results_dir)
    return found


def _open(application: GanApplication, folder: Path) -> TrainedGenerator:
    number = folder.name.removeprefix(SNAPSHOT_PREFIX)
    return open_generator(application.generator_classes, folder.parent, int(number) if number.isdigit() else None)


def draw_reals(split_folder: Path, generator: TrainedGenerator, request: MetricsRequest) -> RealImages:
    """Draw the real images of a comparison, the same ones for the same seed.

    Patients are drawn, and their images taken together: so the images of the floor are of other patients (but for
    one at most, where every image is used), and an interval leaves out whole patients.

    Raises:
        DataError: No images of the generator's resolution, channels or labels, or too few.
    """
    require_split(split_folder)
    split = read_split_labels(split_folder)
    if generator.label_names and split.names != generator.label_names:
        raise DataError(
            f"The network was trained with the labels {', '.join(generator.label_names)}; the data must have the same.",
            received=", ".join(split.names),
            path=split_folder,
        )
    network = generator.network
    records = open_records(split_folder, network.resolution, expected_num=len(split.values))
    if records.shape[2] != network.num_channels:
        raise DataError(
            f"The network makes images of {network.num_channels} channel(s); the data must have as many.",
            received=f"{records.shape[2]} channel(s)",
            path=records.path,
        )
    num_images = request.require_fitting(len(records), network.resolution, split_folder)
    patients = read_patients(split_folder, read_label_table(split_folder).paths)
    groups = None if patients is None else patient_numbers(patients, len(records))
    order = grouped_order(groups, len(records), request.seed)
    chosen = order[:num_images]
    labels = split.values[chosen] if generator.label_names else np.zeros((num_images, 0), np.float32)
    return RealImages(
        images=records.read(chosen),
        labels=labels,
        others=records.read(order[-num_images:]) if request.with_floor else None,
        num_in_split=len(records),
        grouped_by="image" if groups is None else "patient",
        groups=None if groups is None else groups[chosen],
        other_groups=None if groups is None else groups[order[-num_images:]],
    )


class _Session:
    """Evaluates one network after the other on the same real images."""

    def __init__(
        self,
        request: MetricsRequest,
        reals: RealImages,
        extractor: Extractor | None,
        record: MetricsRecord,
        progress: Progress,
    ) -> None:
        self.request, self.extractor, self.record, self.progress = request, extractor, record, progress
        self.reals = reals
        cache = FeatureCache(record.path.parent / CACHE_FOLDER)
        self.real = self._image_set(reals.images, reals.groups, "real images", cache)
        self.other = None
        if reals.others is not None:
            self.other = self._image_set(reals.others, reals.other_groups, "other real images", cache)

    def evaluate(self, generator: TrainedGenerator, folder: Path, missing: Sequence[str]) -> None:
        """Make a network's images, compute the metrics that are missing, and record each group at once."""
        fake = self._generate(generator, folder.name)
        for group in metric_groups(missing):
            self.progress.advance(0, f"{folder.name}: {', '.join(group)}")
            if self.other is not None and not self.record.has_floor(group, self.extractor):
                floor = evaluate(group, self.real, self.other, seed=self.request.seed, num_blocks=0)
                self.record.add_floor({name: one.value for name, one in floor.items()}, self.extractor)
            found = evaluate(group, self.real, fake, seed=self.request.seed)
            rows = {name: {"value": one.value, "low": one.low, "high": one.high} for name, one in found.items()}
            self.record.add(folder, generator.kimg, rows, self.extractor)

    def _generate(self, generator: TrainedGenerator, name: str) -> ImageSet:
        latents = draw_latents(self.request.seed, len(self.reals.labels), generator.network.latent_size)
        blocks, features = [], []
        for block in generator.sampler(_BLOCK_SIZE)(latents, self.reals.labels):
            blocks.append(block)
            if self.extractor is not None:
                features.append(self.extractor(block))
            self.progress.advance(len(block), name)
        weights = None if self.extractor is None else self.extractor.class_weights
        return ImageSet(np.concatenate(blocks), _joined(features), weights)

    def _image_set(
        self, images: Images, groups: npt.NDArray[np.int64] | None, what: str, cache: FeatureCache
    ) -> ImageSet:
        """Return real images with their features; these count as progress of their own where they are not cached."""
        if self.extractor is None:
            return ImageSet(images, _joined([]), groups=groups)
        extractor = self.extractor

        def compute(images: Images) -> Floats:
            return features_with_progress(extractor, images, what)

        return ImageSet(images, cache.features(extractor, images, compute), extractor.class_weights, groups)


def _joined(blocks: list[Floats]) -> Floats:
    return np.concatenate(blocks) if blocks else np.zeros((0, 0), np.float32)


def run(application: GanApplication, arguments: argparse.Namespace) -> None:
    """Carry out the command metrics, and print the table.

    Args:
        application: Which GAN.
        arguments: As `medsynth.gan.command_line.evaluate_parser` parses them.
    """
    request = MetricsRequest(
        metrics=parse_metrics(arguments.metrics),
        features=arguments.features,
        weights=arguments.weights,
        num_images=arguments.num,
        split=arguments.split,
        snapshots=arguments.snapshots,
        seed=arguments.seed,
        with_floor=not arguments.no_floor,
    )
    text, paths = evaluate_networks(application, arguments.data_dir, arguments.results_dir, request)
    print(text + "\nwritten: " + ", ".join(map(str, paths)))
