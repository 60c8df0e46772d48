"""Rows of risk factors with their images, split and encoded, in memory."""

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from GAN_joint.columns import Schema, is_missing
from GAN_joint.encoding import RowEncoder
from GAN_joint.identifying import identifying_reason, names_people
from GAN_joint.matching import ImageFolder, match_by_column, match_by_order
from GAN_joint.rows import read_rows, require_same_columns
from GAN_joint.schema import read_schema
from medsynth.data.group_split import held_out_groups
from medsynth.data.images import Images, ImageSource, read_image, resize_pixels
from medsynth.data.order import PassOrder
from medsynth.data.text_table import Cells, Marks, TextTable, read_text_table
from medsynth.data.wording import counted, quoted
from medsynth.errors import DataError, UsageError
from medsynth.files import sha256_of
from medsynth.parallel import available_cpus, ordered_map
from medsynth.progress import Progress

Part = Literal["train", "test", "all"]

SMALLEST_IMAGE, LARGEST_IMAGE, IMAGE_STEP = 64, 512, 8
_LEAST_TRAIN_GROUPS = 2
_NUM_IMAGES_PER_WORKER = 500  # fewer are read sooner than a process has started


@dataclass(frozen=True)
class PairedRows:
    """A data folder's rows, checked and matched, without the pixels.

    Attributes:
        data_dir: The folder.
        schema: Of the table.
        frame: The kept columns in real units, [N] rows in the order of the table, missing values filled in.
        images: The image of each row.
        is_test: Which rows are kept from training, [N].
        encoder: Fitted on the train rows.
        notes: What the user should know, in sentences.
    """

    data_dir: Path
    schema: Schema
    frame: pd.DataFrame
    images: tuple[ImageSource, ...]
    is_test: Marks
    encoder: RowEncoder
    notes: tuple[str, ...]

    @property
    def train_rows_digest(self) -> str:
        """SHA-256 of the train rows in real units, whatever their order."""
        lines = self.frame[~self.is_test].to_csv(index=False, header=False, lineterminator="\n").splitlines()
        return hashlib.sha256("\n".join([*self.frame.columns, *sorted(lines)]).encode()).hexdigest()

    def rows_of(self, part: Part) -> npt.NDArray[np.int64]:
        """Return the numbers of the rows in a part, ascending.

        Raises:
            DataError: There are none.
        """
        chosen = {"train": ~self.is_test, "test": self.is_test, "all": np.ones(len(self.is_test), bool)}[part]
        if not chosen.any():
            raise DataError(
                f'No row is in the {part} part; "test_share" in schema.json says how many are kept for the test.',
                received=f"test_share {self.schema.test_share:g} of {counted(len(chosen), 'row')}",
                path=self.data_dir,
            )
        return np.flatnonzero(chosen)


def read_paired_rows(data_dir: Path) -> PairedRows:
    """Read schema and table, match images with rows, check everything but pixels, and split.

    Raises:
        DataError: Whatever does not fit; names file, line and column.
    """
    schema = read_schema(data_dir)
    table = read_text_table(data_dir / schema.table, schema.form)
    require_same_columns(schema, table)
    folder = ImageFolder(data_dir / schema.images)
    column = schema.match_images_by.column
    names = match_by_order(table, folder) if column is None else match_by_column(table, column, folder)
    is_test = _split(schema, table, names)
    frame = read_rows(schema, table)
    encoder = RowEncoder.fit(schema, frame[~is_test])
    sources = tuple(
        ImageSource(folder.path / name, f"line {line} of {table.path}")
        for name, line in zip(names, table.lines, strict=True)
    )
    notes = (*_notes(schema, table, names, frame, is_test), *_shared_images_notes(sources, is_test))
    return PairedRows(data_dir, schema, encoder.complete(frame), sources, is_test, encoder, notes)


class PairedData:
    """Pairs of an image and a row of risk factors, in the form of `medsynth.data.pyramid.ImagePyramid`.

    The n-th pair of a training is fixed by (seed, n); see `medsynth.data.order.PassOrder`. Images become grey,
    stretched to a square; see `load_grey`.

    Args:
        data_dir: With schema.json, the table and the folder of images.
        image_size: Pixels a side, from 64 to 512 in steps of 8.
        seed: Of the order; the split has its own in schema.json.
        part: "train", "test" or "all" of the rows.

    Attributes:
        schema: Of the table.
        encoder: Fitted on the train rows, whatever the part.
        frame: The kept columns of this part in real units, [N] rows.
        names: The image file of each row.
        labels: The encoded rows, float32 [N, K] in [0, 1].
        label_names: The K encoded columns.
        images: uint8 [N, H, W, 1].
        num_images: N.
        num_channels: 1.
        images_digest: Other pixels, or another order, have another one.
        train_rows_digest: See `PairedRows`.
        split_folder: `data_dir`.
        notes: What the user should know, in sentences.

    Raises:
        UsageError: An image size that cannot be.
        DataError: See `read_paired_rows`; an image that cannot be read.
    """

    num_channels = 1

    def __init__(self, data_dir: Path, image_size: int, *, seed: int, part: Part = "train") -> None:
        check_image_size(image_size)
        pairs = read_paired_rows(data_dir)
        rows = pairs.rows_of(part)
        self.split_folder, self.resolution, self.seed = data_dir, image_size, seed
        self.schema, self.encoder, self.notes = pairs.schema, pairs.encoder, pairs.notes
        self.train_rows_digest = pairs.train_rows_digest
        self.frame = pairs.frame.iloc[rows].reset_index(drop=True)
        sources = [pairs.images[row] for row in rows]
        folder = data_dir / self.schema.images
        self.names = tuple(source.path.relative_to(folder).as_posix() for source in sources)
        self.labels, self.label_names = self.encoder.encode(self.frame), self.encoder.names
        self.images = read_images(sources, image_size)
        self.num_images = len(rows)
        self.images_digest = hashlib.sha256(self.images.tobytes()).hexdigest()
        self._order = PassOrder(self.num_images, seed)

    def batch(self, images_seen: int, size: int, resolution: int) -> tuple[Images, npt.NDArray[np.float32]]:
        """Return the next images and their rows.

        Args:
            images_seen: Real images used before.
            size: Pairs in the batch.
            resolution: `image_size`; there is no other.

        Returns:
            uint8 [size, H, W, 1] and float32 [size, K].

        Raises:
            DataError: Another resolution.
        """
        if resolution != self.resolution:
            raise DataError(
                f"These images have been read as {self.resolution}x{self.resolution}.",
                received=f"resolution {resolution}",
                path=self.split_folder,
            )
        indices = self._order.next(images_seen, size)
        return self.images[indices], self.labels[indices]

    def random_labels(self, step: int, size: int) -> npt.NDArray[np.float32]:
        """Draw encoded rows with replacement: float32 [size, K], fixed by (seed, step)."""
        return self.labels[self._order.draw(step, size)]

    def first_images(self, size: int) -> tuple[Images, npt.NDArray[np.float32]]:
        """Return the first images in the order of the table (cyclic), and their rows."""
        indices = np.arange(size) % self.num_images
        return self.images[indices], self.labels[indices]


def check_image_size(image_size: int) -> None:
    """Refuse an image size that the networks do not have.

    Raises:
        UsageError: Not from 64 to 512, or no multiple of 8.
    """
    if not SMALLEST_IMAGE <= image_size <= LARGEST_IMAGE or image_size % IMAGE_STEP:
        raise UsageError(
            f"The image size is a multiple of {IMAGE_STEP} from {SMALLEST_IMAGE} to {LARGEST_IMAGE}.",
            received=image_size,
        )


def read_images(sources: Sequence[ImageSource], image_size: int) -> Images:
    """Read images as uint8 [N, image_size, image_size, 1], in parallel where they are many.

    Raises:
        DataError: One cannot be read; names the file, and the line that lists it.
    """
    images = np.empty((len(sources), image_size, image_size, 1), np.uint8)
    num_workers = max(1, min(available_cpus(), len(sources) // _NUM_IMAGES_PER_WORKER))
    progress = Progress("reading images", len(sources), "images")
    load = functools.partial(load_grey, image_size=image_size)
    for number, image in enumerate(ordered_map(load, sources, num_workers)):
        images[number] = image
        progress.advance()
    progress.close()
    return images


def load_grey(source: ImageSource, image_size: int) -> Images:
    """Read an image as uint8 [image_size, image_size, 1].

    Values of 8 bits stay what they are, as published; of others the largest becomes 255.

    Raises:
        DataError: It cannot be read; names the file, and the line that lists it.
    """
    try:
        pixels = read_image(source.path)
    except DataError as error:
        expected = f"{error.expected} It is named in {source.origin}."
        raise DataError(expected, received=error.received, path=source.path) from None
    values = resize_pixels(pixels, image_size)
    if pixels.dtype != np.uint8:
        values *= 255 / max(values.max(), np.finfo(np.float64).tiny)
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _split(schema: Schema, table: TextTable, names: Sequence[str]) -> Marks:
    """Return which rows are kept for the test, [N]: whole groups, `test_share` of them.

    Raises:
        DataError: A row without a group, or too few groups.
    """
    groups: Cells = np.array(names, object)
    if schema.group_column is not None:
        groups = table.column(schema.group_column)
        expected = 'a group was expected, since "group_column" names it.'
        table.refuse(is_missing(groups), expected, groups, schema.group_column)
    held_out = held_out_groups(groups, schema.test_share, schema.split_seed)
    num_groups, num_test = len(set(groups)), len(held_out)
    if num_groups - num_test < _LEAST_TRAIN_GROUPS:
        what = f"different values of {quoted(schema.group_column)}" if schema.group_column else "rows"
        raise DataError(
            f"At least {_LEAST_TRAIN_GROUPS} {what} are needed for the training, beside {num_test} for the test "
            f'("test_share" {schema.test_share:g}).',
            received=f"{num_groups} in all",
            path=table.path,
        )
    return np.array([group in held_out for group in groups], bool)


def _shared_images_notes(sources: Sequence[ImageSource], is_test: Marks) -> list[str]:
    """Return how many test images are copies, byte for byte, of train images, as a sentence where there are any."""
    sizes = [source.path.stat().st_size for source in sources]
    in_both = {size for size, is_of_test in zip(sizes, is_test, strict=True) if is_of_test}
    in_both &= {size for size, is_of_test in zip(sizes, is_test, strict=True) if not is_of_test}
    digests = [sha256_of(source.path) if size in in_both else "" for source, size in zip(sources, sizes, strict=True)]
    of_train = {digest for digest, is_of_test in zip(digests, is_test, strict=True) if digest and not is_of_test}
    num_copies = sum(digest in of_train for digest, is_of_test in zip(digests, is_test, strict=True) if is_of_test)
    if not num_copies:
        return []
    return [
        f"{counted(num_copies, 'test row')} of {np.count_nonzero(is_test):,} have an image that a train row has, too; "
        'name the column that says which rows share an image as "group_column" in schema.json.'
    ]


def _notes(
    schema: Schema, table: TextTable, names: Sequence[str], frame: pd.DataFrame, is_test: Marks
) -> tuple[str, ...]:
    notes = [f"{table.path.name}: {counted(len(table), 'row')}, {np.count_nonzero(is_test):,} of them for the test."]
    if schema.match_images_by.column is None:
        notes.append(f"Images are matched in the order of their names: line {table.lines[0]} with {names[0]}.")
    num_missing = int(frame.isna().to_numpy().sum())
    if num_missing:
        notes.append(f"{counted(num_missing, 'missing value')} filled in, by what the train rows say.")
    for column in schema.kept:
        words = frame[column.name][~is_test].dropna()
        if words.nunique() < 2:
            notes.append(f"Column {quoted(column.name)} says {quoted(str(words.iloc[0]))} in every train row.")
        cells = [cell for cell in table.column(column.name) if cell]
        reason = identifying_reason(column.name, cells) if column.kind == "number" else None
        if reason:
            notes.append(
                f"Column {quoted(column.name)} is read into the training as a number, and seems to identify people "
                f"({reason}); give it kind identifier in schema.json if it does."
            )
    for column in schema.of_kind("identifier"):
        people = Counter(table.column(column.name))
        if schema.group_column is None and names_people(column.name) and max(people.values()) > 1:
            most = quoted(people.most_common(1)[0][0])
            notes.append(
                f"{most} of column {quoted(column.name)} has several rows, which may lie in both train and test; set "
                '"group_column" in schema.json.'
            )
    return tuple(notes)
