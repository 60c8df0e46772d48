"""The images that cxpl.py explains: those that test/nn_files/nn_path_and_labels.csv names, with their labels."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from medsynth.classify.data import SplitData, read_split
from medsynth.data.images import ImageForm, prepare_image, read_image
from medsynth.data.labels import LabelMatrix, read_label_table, read_labelled_paths, record_order
from medsynth.data.tfrecords import Images
from medsynth.errors import DataError, UsageError
from medsynth.files import atomic_path, make_folder, write_text
from medsynth.networks.trained_classifier import TrainedClassifier

FOLDER, TABLE, SOURCES = "nn_files", "nn_path_and_labels.csv", "sources.csv"


@dataclass(frozen=True)
class ListedImages:
    """Images with their labels, in the rows of the table.

    Attributes:
        names: As the table has them.
        truth: 0 or 1, [N, L].
        pixels: uint8 [D, D, 1 or 3] each.
    """

    names: tuple[str, ...]
    truth: LabelMatrix
    pixels: list[Images]

    def __len__(self) -> int:
        return len(self.names)


def read_listed_images(folder: Path, trained: TrainedClassifier, *, prepare: bool) -> ListedImages:
    """Read the images that nn_path_and_labels.csv names (columns Path, then the network's labels).

    A path that is not absolute is taken from the folder of the table.

    Args:
        folder: nn_files.
        trained: The classifier, which says size and labels.
        prepare: Bring images of another size or depth to the network's as build_dataset and the classifier do; else
            they are refused, as nothing is resized in the original.

    Raises:
        DataError: No table, no rows, other labels than the network's, or an image that is missing, damaged or of
            another size; names the line of the table.
    """
    path = folder / TABLE
    if not path.is_file():
        raise DataError(
            "A table of the images to explain was expected here, with the columns Path and the labels; write one, or "
            "let --from-test N make it of the first N test images.",
            received="no such file",
            path=path,
        )
    table = read_labelled_paths(path)
    trained.require_labels(table.names, path)
    if not table.paths:
        raise DataError("At least one image must be named.", received="a header alone", path=path)
    pixels = []
    for number, name in enumerate(table.paths):
        origin = f"line {number + 2} of {TABLE}"
        try:
            pixels.append(_read_pixels(folder / name, trained, prepare=prepare))
        except DataError as error:
            raise DataError(
                f"{error.expected} It is named in {origin}.", received=error.received, path=folder / name
            ) from None
    return ListedImages(table.paths, table.values, pixels)


def _read_pixels(path: Path, trained: TrainedClassifier, *, prepare: bool) -> Images:
    """Return an image as uint8 [D, D, 1 or 3]."""
    size = trained.image_dimension
    pixels = read_image(path, 3)
    if (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    if pixels.shape[:2] == (size, size) and pixels.dtype == np.uint8:
        return pixels
    if not prepare:
        height, width = pixels.shape[:2]
        raise DataError(
            f"The network sees images of {size}x{size} pixels of 8 bits, and nothing is resized; add --prepare to "
            "bring them to that as build_dataset and the classifier do.",
            received=f"{width}x{height} pixels, {pixels.dtype}",
        )
    return as_the_network_sees(prepare_image(pixels, ImageForm(trained.resolution))[None], trained)[0]


def as_the_network_sees(records: Images, trained: TrainedClassifier) -> Images:
    """Return records [N, R, R, C] resized to [N, D, D, C] by the network's own rule, rounded to 8 bits."""
    from medsynth.networks.imagenet_input import (  # noqa: PLC0415  (loads TensorFlow)
        IMAGENET_MEAN,
        IMAGENET_STANDARD_DEVIATION,
        preprocess,
    )

    normalised = preprocess(records, trained.image_dimension, trained.resize).numpy()
    pixels = 255 * (normalised * IMAGENET_STANDARD_DEVIATION + IMAGENET_MEAN)
    # [N, D, D, 3] -> [N, D, D, C]
    return np.rint(pixels).clip(0, 255).astype(np.uint8)[..., : records.shape[-1]]


@dataclass(frozen=True)
class FirstTestImages:
    """The first images of a test split, in the rows of its csv, to be listed for cxpl.py.

    Attributes:
        folder: nn_files.
        data: The split.
        trained: The classifier.
        num_images: How many.
    """

    folder: Path
    data: SplitData
    trained: TrainedClassifier
    num_images: int

    @classmethod
    def open(cls, folder: Path, test_split: Path, trained: TrainedClassifier, num_images: int) -> "FirstTestImages":
        """Check that they can be listed.

        Args:
            folder: nn_files.
            test_split: data_dir/test.
            trained: The classifier.
            num_images: How many.

        Raises:
            UsageError: A table is there already, or there are fewer images.
            DataError: No such split, or other labels than the network's.
        """
        if (folder / TABLE).is_file():
            raise UsageError(
                "The images to explain are chosen already; leave --from-test away to use them, or delete the table.",
                received="--from-test",
                path=folder / TABLE,
            )
        data = read_split(test_split, trained.resolution)
        trained.require_labels(data.names, test_split)
        if not 1 <= num_images <= len(data):
            raise UsageError(f"--from-test takes 1 to {len(data)} images.", received=num_images, path=test_split)
        return cls(folder, data, trained, num_images)

    def write(self) -> None:
        """Write the images as the network sees them: a PNG file each, the table, and sources.csv with their names."""
        table = read_label_table(self.data.folder)
        names = [f"test_{row:05d}.png" for row in range(self.num_images)]
        make_folder(self.folder)
        for name, image in zip(names, _records_of_rows(self.data, self.num_images), strict=True):
            pixels = as_the_network_sees(image[None], self.trained)[0]
            with atomic_path(self.folder / name) as temporary:
                Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(temporary, format="PNG")
        sources = zip(names, table.paths, strict=False)
        write_text(self.folder / SOURCES, _csv(("Path", "Source"), sources))
        labels = table.values[: self.num_images].astype(np.float64).tolist()
        rows = [(name, *row) for name, row in zip(names, labels, strict=True)]
        write_text(self.folder / TABLE, _csv(("Path", *self.data.names), rows))


def _records_of_rows(data: SplitData, num_images: int) -> Images:
    """Return the images of the first rows of a split's csv, [N, R, R, C]."""
    record_of_row = np.argsort(record_order(len(data)))
    return data.records.read(record_of_row[:num_images])


def _csv(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()
