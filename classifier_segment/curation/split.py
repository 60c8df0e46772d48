"""Which image is for training, validation and test: as published, or by whole groups such as patients."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from classifier_segment.coco import CocoDataset, ImageRecord
from medsynth.data.group_split import stratified_groups
from medsynth.data.labels import read_csv
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError

SPLIT_NAMES = ("train", "val", "test")
PUBLISHED_SHARES, PUBLISHED_SEED = (0.70, 0.15), 42
_IMAGE_COLUMNS = ("image", "file_name", "path", "file", "filename")


@dataclass(frozen=True)
class Shares:
    """Parts of the images; the rest is for the test.

    Attributes:
        train: Above 0.
        val: 0 or more; both together at most 1.
    """

    train: float = PUBLISHED_SHARES[0]
    val: float = PUBLISHED_SHARES[1]

    def require(self) -> None:
        """Refuse what are no shares.

        Raises:
            UsageError: They are none, such as 70 in place of 0.7.
        """
        if not (self.train > 0 and self.val >= 0 and self.train + self.val <= 1):
            raise UsageError(
                "--train-perc and --val-perc are shares such as 0.7 and 0.15, together at most 1; "
                "the test gets what is left.",
                received=f"{self.train:g} and {self.val:g}",
            )


def split_by_class(dataset: CocoDataset, shares: Shares, seed: int) -> dict[str, CocoDataset]:
    """Split as published: image by image, every class in the same shares.

    The images of each class, classes in the order in which they come first, are shuffled by Python's random.Random
    with one seed; whole numbers are rounded down, and the test gets the rest. Images without a class are left out.

    Args:
        dataset: To be split.
        shares: Of train and val.
        seed: From 0 on; 42 is published.

    Returns:
        The parts by name; the paths of their files lie beside the dataset's.
    """
    shares.require()
    buckets: defaultdict[int, list[ImageRecord]] = defaultdict(list)
    for image in dataset.images:
        number = dataset.class_of(image)
        if number is not None:
            buckets[number].append(image)
    shuffler = random.Random(seed)
    parts: dict[str, list[ImageRecord]] = {name: [] for name in SPLIT_NAMES}
    for images in buckets.values():
        shuffler.shuffle(images)
        num_train, num_val = int(len(images) * shares.train), int(len(images) * shares.val)
        parts["train"] += images[:num_train]
        parts["val"] += images[num_train : num_train + num_val]
        parts["test"] += images[num_train + num_val :]
    return _parts(dataset, parts)


def split_by_group(
    dataset: CocoDataset, groups: Mapping[int, str], shares: Shares, seed: int
) -> dict[str, CocoDataset]:
    """Split whole groups, so that images of a patient, or copies of an image, never lie on two sides.

    How: `medsynth.data.group_split.stratified_groups`. Images without a class are left out.

    Args:
        dataset: To be split.
        groups: Each image's, by its id.
        shares: Of train and val; none of the three may be 0.
        seed: From 0 on.

    Raises:
        UsageError: A share of 0.
        DataError: Fewer than three groups.
    """
    shares.require()
    all_shares = (shares.train, shares.val, 1 - shares.train - shares.val)
    if min(all_shares) < 1e-9:
        raise UsageError(
            "Whole groups are dealt to three parts, none of which may be empty.",
            received=f"shares of {', '.join(f'{share:g}' for share in all_shares)}",
        )
    images = [image for image in dataset.images if dataset.class_of(image) is not None]
    names = [groups[image.id] for image in images]
    if len(set(names)) < len(SPLIT_NAMES):
        raise DataError(
            "Train, val and test need at least one group each.",
            received=counted(len(set(names)), "group"),
            path=dataset.path,
        )
    classes = [category.id for category in dataset.categories]
    labels = np.array([[dataset.class_of(image) == number for number in classes] for image in images])
    split_of_image = stratified_groups(names, labels, all_shares, seed)
    parts = {
        name: [image for image, split in zip(images, split_of_image, strict=True) if split == number]
        for number, name in enumerate(SPLIT_NAMES)
    }
    return _parts(dataset, parts)


def _parts(dataset: CocoDataset, parts: Mapping[str, Sequence[ImageRecord]]) -> dict[str, CocoDataset]:
    return {name: dataset.with_images(images, dataset.path.with_name(f"{name}.json")) for name, images in parts.items()}


def groups_of_field(dataset: CocoDataset, field: str) -> dict[int, str]:
    """Return each image's group from a field of its record, such as `patient_id`, by image id.

    Raises:
        DataError: An image has none.
    """
    groups = {}
    for image in dataset.images:
        value = image.fields.get(field)
        if not isinstance(value, str | int) or not str(value).strip():
            fields = ", ".join(image.fields)
            raise DataError(
                f"Image {image.id} needs a field {field!r} with the name of its group (--groups names a table "
                "instead).",
                received=f"the fields {fields}" if value is None else repr(value),
                path=dataset.path,
            )
        groups[image.id] = str(value)
    return groups


def groups_of_table(dataset: CocoDataset, table: Path, column: str) -> dict[int, str]:
    """Return each image's group from a csv file, by image id.

    Args:
        dataset: Its images are looked up by file name; the table may have folders in front of it.
        table: With a column `image`, `file_name`, `path`, `file` or `filename`.
        column: With the groups.

    Raises:
        DataError: A column is missing, an image is not listed, or twice with different groups, or has no group.
    """
    rows = read_csv(table, dtype=str, keep_default_na=False)
    image_column = next((name for name in _IMAGE_COLUMNS if name in rows.columns), None)
    for wanted, is_there in (
        (f"{column!r} (--group-by)", column in rows.columns),
        (f"for the images ({', '.join(_IMAGE_COLUMNS)})", image_column is not None),
    ):
        if not is_there:
            received = ", ".join(map(str, rows.columns))
            raise DataError(f"A column {wanted} was expected.", received=received, path=table)
    of_path: defaultdict[str, set[str]] = defaultdict(set)
    of_name: defaultdict[str, set[str]] = defaultdict(set)
    for cell, group in zip(rows[image_column], rows[column], strict=True):
        of_path[cell].add(group)
        of_name[PurePosixPath(cell).name].add(group)
    groups = {}
    for image in dataset.images:
        found = of_path.get(image.file_name) or of_name.get(PurePosixPath(image.file_name).name, set())
        if len(found) != 1 or "" in found:
            raise DataError(
                f"One group for {image.file_name} was expected in column {column!r}.",
                received=", ".join(sorted(found)) or "none",
                path=table,
            )
        groups[image.id] = found.pop()
    return groups


def shared_groups(parts: Mapping[str, CocoDataset], groups: Mapping[int, str]) -> int:
    """Return how many groups have images in more than one part."""
    parts_of_group: defaultdict[str, set[str]] = defaultdict(set)
    for name, part in parts.items():
        for image in part.images:
            parts_of_group[groups[image.id]].add(name)
    return sum(len(names) > 1 for names in parts_of_group.values())
