"""Synthetic patients: images and rows in any number, each fixed by the seed and its own number alone."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from GAN_joint.application import ENCODER, GENERATOR_CLASSES
from GAN_joint.encoding import RowEncoder
from GAN_joint.synthetic import (
    DONE_NAME,
    IMAGE_COLUMN,
    IMAGES_FOLDER,
    TABLE_FOLDER,
    TRAIN_ROWS,
    SyntheticForm,
    form_settings,
    image_name,
    part_name,
    write_encoder,
    write_table,
)
from medsynth.data.tfrecords import Images, RecordWriter
from medsynth.files import remove_leftovers, sha256_of
from medsynth.gan.numbered import (
    GENERATOR_DIGEST,
    BlockSampler,
    aligned_parts,
    require_free_folder,
    require_numbers,
    write_image_files,
)
from medsynth.gan.sampling import Floats
from medsynth.gan.trained import AVERAGE, network_folder, open_generator
from medsynth.interrupts import StoppedError, StopRequest
from medsynth.parallel import available_cpus
from medsynth.progress import Progress
from medsynth.runs import RunFolder
from medsynth.training.distribution import mirrored
from medsynth.training.precision import dtype_policy


@dataclass(frozen=True)
class GenerationRequest:
    """Which patients to generate, and how.

    Attributes:
        seed: Together with a patient's number it fixes image and row.
        first: Number of the first one.
        num: How many.
        form: How they are kept.
        precision: Of the network.
        num_gpus: That share the blocks; what comes out does not depend on it.
        snapshot: The kimg of a snapshot; None for the final network.
    """

    seed: int
    first: int
    num: int
    form: SyntheticForm
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    num_gpus: int = 1
    snapshot: int | None = None

    def __post_init__(self) -> None:
        require_numbers(self.first, self.num)

    def parts(self) -> Iterator[range]:
        """Yield the patients of each part."""
        return aligned_parts(self.first, self.num)


class PairSampler(BlockSampler):
    """Makes the pairs of a trained joint generator, block by block; patients are its numbers."""

    def pairs(self, patients: range) -> Iterator[tuple[range, Images, Floats]]:
        """Yield patients, their images uint8 [n, S, S, C] and their rows [n, K], at most a block at a time."""
        yield from self.outputs(patients)


def generate(results_dir: Path, out_dir: Path, request: GenerationRequest) -> None:
    """Generate synthetic patients with a trained generator; the same command goes on where it was stopped.

    Writes out_dir/table/part-NNNNNNNNNN.csv (column image, then those of the real table in its units), images/,
    encoder.json and config.json. A part of the table is written after its images, so a part that is there is whole.

    Args:
        results_dir: Of a training.
        out_dir: New, empty, or of the same generation.
        request: Which patients, and how.

    Raises:
        MedsynthError: No such network, another generation in the folder, a full disk.
    """
    strategy = mirrored(request.num_gpus)
    with strategy.scope():
        policy = dtype_policy(request.precision)
        trained = open_generator(GENERATOR_CLASSES, results_dir, request.snapshot, dtype=policy)
    folder = network_folder(results_dir, request.snapshot)
    encoder = RowEncoder.from_json(trained.facts.get(ENCODER, {}), folder)
    settings = {
        "random_seed": request.seed,
        "first": request.first,
        "num": request.num,
        **form_settings(request.form),
        "precision": request.precision,
        GENERATOR_DIGEST: sha256_of(folder / f"{AVERAGE}.safetensors"),
        "mark": trained.mark(),
        TRAIN_ROWS: trained.facts.get(TRAIN_ROWS),
    }
    require_free_folder(out_dir, "patients")
    with RunFolder(out_dir, settings, done_name=DONE_NAME) as run:
        writer = PartWriter(out_dir, encoder, request.form)
        if run.is_done and all(map(writer.is_written, request.parts())):
            run.log(f"{out_dir} holds all {request.num:,} patients; nothing to do.")
            return
        write_encoder(out_dir, encoder)
        _generate_parts(PairSampler(trained.network, request.seed, strategy), request, writer)
        run.mark_done(f"{request.num:,} patients")
        run.log(f"{request.num:,} synthetic patients: {out_dir}")


def _generate_parts(sampler: PairSampler, request: GenerationRequest, writer: "PartWriter") -> None:
    parts = list(request.parts())
    left = [part for part in parts if not writer.is_written(part)]
    num_done = request.num - sum(map(len, left))
    progress = Progress("generate", request.num, "patients", done=num_done)

    def until_stopped(part: range, stop: StopRequest) -> Iterator[tuple[range, Images, Floats]]:
        for pairs in sampler.pairs(part):
            if stop.is_made:
                raise StoppedError(stop.signal_number or signal.SIGTERM, f"{num_done:,} patients")
            yield pairs
            progress.advance(len(pairs[0]))

    with StopRequest() as stop, writer:
        for part in left:
            writer.write(part, until_stopped(part, stop))
            num_done += len(part)
    progress.close()


class PartWriter:
    """Writes parts: images in several threads, then the rows.

    Args:
        folder: Of the synthetic patients.
        encoder: Decodes rows.
        form: How they are kept.
    """

    def __init__(self, folder: Path, encoder: RowEncoder, form: SyntheticForm) -> None:
        self.folder, self.encoder, self.form = folder, encoder, form

    def __enter__(self) -> "PartWriter":
        self._threads = ThreadPoolExecutor(available_cpus(), thread_name_prefix="images")
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def is_written(self, part: range) -> bool:
        """Whether an earlier run wrote this part, and it is still there."""
        images = self.folder / IMAGES_FOLDER / part_name(part.start)
        are_there = {
            "none": lambda: True,
            "tfrecords": lambda: images.with_suffix(".tfrecords").is_file(),
        }.get(self.form.images, lambda: images.is_dir() and len(list(images.iterdir())) == len(part))
        return self._table_path(part).is_file() and are_there()

    def write(self, part: range, pairs: Iterator[tuple[range, Images, Floats]]) -> None:
        """Write the images and rows of a part."""
        kind = self.form.images
        images = self.folder / IMAGES_FOLDER / part_name(part.start)
        for target in (images, images.with_suffix(".tfrecords"), self._table_path(part)):
            remove_leftovers(target)
        write_images = {"tfrecords": self._write_records, "none": self._write_no_images}.get(kind, self._write_files)
        rows = list(write_images(part, pairs))
        frame = self.encoder.decode(np.concatenate(rows))
        names = ["" if kind == "none" else image_name(part.start, number, kind) for number in part]
        frame.insert(0, IMAGE_COLUMN, names)
        write_table(self._table_path(part), frame)

    def _table_path(self, part: range) -> Path:
        return self.folder / TABLE_FOLDER / f"{part_name(part.start)}.{self.form.table}"

    def _write_no_images(self, part: range, pairs: Iterator[tuple[range, Images, Floats]]) -> Iterator[Floats]:
        yield from (rows for _, _, rows in pairs)

    def _write_records(self, part: range, pairs: Iterator[tuple[range, Images, Floats]]) -> Iterator[Floats]:
        path = self.folder / IMAGES_FOLDER / f"{part_name(part.start)}.tfrecords"
        with RecordWriter(path) as records:
            for _, images, rows in pairs:
                for image in images:
                    records.write(image)
                yield rows

    def _write_files(self, part: range, pairs: Iterator[tuple[range, Images, Floats]]) -> Iterator[Floats]:
        """Write a file per image."""
        folder = self.folder / IMAGES_FOLDER / part_name(part.start)

        def name_of(number: int) -> str:
            return Path(image_name(part.start, number, self.form.images)).name

        for _, _, rows in write_image_files(folder, pairs, name_of, self._threads):
            yield rows
