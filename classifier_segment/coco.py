"""COCO files (images, annotations with outlines, categories) as typed records.

Form: https://cocodataset.org/#format-data. A file is read whole or not at all: whatever does not fit together is an
error that names the record. `scripts/check-dataset.py` lists all of them, and whether the image files can be read.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from classifier_segment.masks import Mask, Polygon, RunLengths, draw_polygons, read_run_lengths
from medsynth.data.images import Images, read_image
from medsynth.errors import DataError, UsageError
from medsynth.files import read_json, require_folder, write_json

Fields = Mapping[str, Any]

LISTS = ("images", "annotations", "categories")
IMAGE_FOLDERS = ("oral1", "images")  # tried in this order beside the json file; the first one is published
OUTLINE_RULES = ("largest", "all")
LABEL_FIELD = "label"  # of an image record: the class of an image without annotation
_FARTHEST = 1e6  # pixels


@dataclass(frozen=True)
class Problem:
    """Something in a file that does not fit.

    Attributes:
        record: Which one, such as `annotation 12`.
        expected: A full sentence.
        received: What was found instead.
    """

    record: str
    expected: str
    received: object

    def __str__(self) -> str:
        return f"{self.record}: {self.expected} Received: {self.received}"


@dataclass(frozen=True)
class Category:
    """A class.

    Attributes:
        id: As in the file.
        name: Not empty.
        fields: The whole record.
    """

    id: int
    name: str
    fields: Fields


@dataclass(frozen=True)
class ImageRecord:
    """An image.

    Attributes:
        id: As in the file.
        file_name: Path below the image folder.
        height: Pixels.
        width: Pixels.
        fields: The whole record.
    """

    id: int
    file_name: str
    height: int
    width: int
    fields: Fields


@dataclass(frozen=True)
class Annotation:
    """A lesion: its class and outline.

    Attributes:
        id: As in the file.
        image_id: Of the image that it lies in.
        category_id: Its class.
        polygons: x, y, x, y, ... each; three points or more.
        run_lengths: In place of polygons; or None.
        fields: The whole record.
    """

    id: int
    image_id: int
    category_id: int
    polygons: tuple[Polygon, ...]
    run_lengths: RunLengths | None
    fields: Fields


@dataclass(frozen=True)
class CocoDataset:
    """What a COCO file says.

    Attributes:
        path: The file.
        categories: In the order of the file.
        images: Likewise.
        annotations: Likewise.
        others: What else stands in the file, such as `info` and `licenses`.
    """

    path: Path
    categories: tuple[Category, ...]
    images: tuple[ImageRecord, ...]
    annotations: tuple[Annotation, ...]
    others: Fields

    @cached_property
    def of_image(self) -> Mapping[int, tuple[Annotation, ...]]:
        """The annotations of each image that has any, by its id, in the order of the file."""
        found: defaultdict[int, list[Annotation]] = defaultdict(list)
        for annotation in self.annotations:
            found[annotation.image_id].append(annotation)
        return {image_id: tuple(annotations) for image_id, annotations in found.items()}

    @cached_property
    def names(self) -> Mapping[int, str]:
        """The categories' names by id."""
        return {category.id: category.name for category in self.categories}

    def class_of(self, image: ImageRecord) -> int | None:
        """Return an image's class: the id of its most frequent category, of several the lowest.

        An image without annotation has the class that its field `label` names, if it does; else None.
        """
        counts = Counter(annotation.category_id for annotation in self.of_image.get(image.id, ()))
        if counts:
            return min(counts, key=lambda category_id: (-counts[category_id], category_id))
        label = image.fields.get(LABEL_FIELD)
        return next((category.id for category in self.categories if category.name == label), None)

    def mask_of(self, image: ImageRecord, rule: str) -> Mask:
        """Draw an image's mask, uint8 [height, width], 0 or 1; empty where it has no outline.

        Args:
            image: One of this dataset.
            rule: "largest": of the first annotation, the polygon with the most points (published);
                "all": every outline of every annotation.

        Raises:
            UsageError: Another rule.
        """
        require_rule(rule)
        annotations = self.of_image.get(image.id, ())
        chosen = annotations if rule == "all" else [_largest(annotation) for annotation in annotations[:1]]
        polygons = [polygon for annotation in chosen for polygon in annotation.polygons]
        mask = draw_polygons(polygons, image.height, image.width)
        for annotation in chosen:
            if annotation.run_lengths is not None:
                mask |= annotation.run_lengths.mask()
        return mask

    def with_images(self, images: Iterable[ImageRecord], path: Path) -> "CocoDataset":
        """Return a part of this dataset: some images, in the order given, and theirs of the annotations."""
        kept = tuple(images)
        annotations = tuple(annotation for image in kept for annotation in self.of_image.get(image.id, ()))
        return replace(self, path=path, images=kept, annotations=annotations)

    def write(self) -> None:
        """Write the file, atomically, every record with all of its fields."""
        records = {name: [dict(record.fields) for record in getattr(self, name)] for name in LISTS}
        write_json(self.path, {**self.others, **records})


def require_rule(rule: str) -> None:
    """Refuse an unknown rule of drawing.

    Raises:
        UsageError: It is.
    """
    if rule not in OUTLINE_RULES:
        raise UsageError(f"The outlines to be drawn are one of {', '.join(OUTLINE_RULES)}.", received=rule)


def _largest(annotation: Annotation) -> Annotation:
    """Return an annotation with no polygon but the first of those with the most points."""
    return replace(annotation, polygons=tuple(sorted(annotation.polygons, key=len, reverse=True)[:1]))


def image_folder(json_path: Path, folder: str = "") -> Path:
    """Return where the images of a COCO file lie.

    Args:
        json_path: The file.
        folder: Relative to the file's own folder; by default the first of IMAGE_FOLDERS that exists there, else the
            file's own folder.

    Raises:
        DataError: `folder` does not exist.
    """
    if folder:
        return require_folder(json_path.parent / folder, "the images")
    tried = (json_path.parent / name for name in IMAGE_FOLDERS)
    return next((path for path in tried if path.is_dir()), json_path.parent)


def read_coco_image(folder: Path, image: ImageRecord) -> Images:
    """Return an image's pixels, uint8 [height, width, 3], upright as its EXIF says.

    Of more than 8 bits, the brightest pixel becomes 255.

    Args:
        folder: Of the images.
        image: Its record.

    Raises:
        DataError: Missing, damaged, or of another size than its record says, so that outlines would not fit.
    """
    path = folder / image.file_name
    pixels = read_image(path, 3)
    if pixels.shape[:2] != (image.height, image.width):
        is_turned = pixels.shape[:2] == (image.width, image.height)
        hint = "; images are read upright, as their EXIF says, and outlines must be drawn on the upright one"
        hint = hint if is_turned else ""
        raise DataError(
            f"{image.width}x{image.height} pixels were expected, as its record says{hint}.",
            received=f"{pixels.shape[1]}x{pixels.shape[0]}",
            path=path,
        )
    return pixels if pixels.dtype == np.uint8 else (255 * pixels / max(pixels.max(), 1e-12)).astype(np.uint8)


def read_coco(path: Path) -> CocoDataset:
    """Read a COCO file.

    Raises:
        DataError: Missing, truncated, no JSON, or with records that do not fit together; names the first of them.
    """
    document = read_document(path)
    problems = list(find_problems(document))
    if problems:
        first = problems[0]
        rest = f" ({len(problems):,} such problems; scripts.check-dataset lists all.)" if len(problems) > 1 else ""
        raise DataError(f"{first.record}: {first.expected}{rest}", received=first.received, path=path)
    return typed(document, path)


def read_document(path: Path) -> dict[str, Any]:
    """Return a COCO file's object with its three lists; nothing in them has been looked at.

    Raises:
        DataError: Missing, truncated, or another form.
    """
    document = read_json(path)
    lacking = [name for name in LISTS if not isinstance(document, dict) or not isinstance(document.get(name), list)]
    if lacking:
        raise DataError(
            f"A COCO file is an object with the lists {', '.join(LISTS)}.",
            received=f"no list {', '.join(lacking)}",
            path=path,
        )
    return dict(document)


def typed(document: Mapping[str, Any], path: Path) -> CocoDataset:
    """Return the records of an object in which `find_problems` finds none."""
    images = tuple(
        ImageRecord(fields["id"], fields["file_name"], fields["height"], fields["width"], fields)
        for fields in document["images"]
    )
    by_id = {image.id: image for image in images}
    return CocoDataset(
        path=path,
        categories=tuple(Category(fields["id"], fields["name"], fields) for fields in document["categories"]),
        images=images,
        annotations=tuple(_annotation(fields, by_id[fields["image_id"]]) for fields in document["annotations"]),
        others={name: value for name, value in document.items() if name not in LISTS},
    )


def _annotation(fields: Fields, image: ImageRecord) -> Annotation:
    outline = fields.get("segmentation") or []
    polygons: tuple[Polygon, ...] = ()
    run_lengths = None
    if isinstance(outline, dict):
        run_lengths = read_run_lengths(outline, image.height, image.width)
    else:
        polygons = tuple(tuple(map(float, polygon)) for polygon in outline)
    return Annotation(fields["id"], fields["image_id"], fields["category_id"], polygons, run_lengths, fields)


def find_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield everything that does not fit in a COCO file's object, in the order of its lists."""
    sound: dict[str, list[Fields]] = {}
    for name, kind in (("categories", "category"), ("images", "image"), ("annotations", "annotation")):
        sound[name] = yield from _sound_records(document[name], kind)
    yield from _category_problems(sound["categories"])
    sizes: dict[int, tuple[int, int]] = {}
    yield from _image_problems(sound["images"], {fields.get("name") for fields in sound["categories"]}, sizes)
    known = {fields["id"] for fields in sound["images"]}
    categories = {fields["id"] for fields in sound["categories"]}
    for fields in sound["annotations"]:
        record = f"annotation {fields['id']}"
        if fields.get("image_id") not in known:
            yield Problem(record, "Its image_id is that of an image in the file.", fields.get("image_id"))
        elif fields["image_id"] in sizes:
            yield from _outline_problems(record, fields.get("segmentation"), *sizes[fields["image_id"]])
        if fields.get("category_id") not in categories:
            yield Problem(record, "Its category_id is that of a category in the file.", fields.get("category_id"))


def _sound_records(records: Sequence[Any], kind: str) -> Generator[Problem, None, list[Fields]]:
    """Yield what is wrong with the ids of a list, and return the records whose id can be used, once each."""
    sound: dict[int, Fields] = {}
    for place, fields in enumerate(records):
        number = fields.get("id") if isinstance(fields, dict) else None
        if type(number) is not int:
            received = fields if not isinstance(fields, dict) else f"id {number!r}"
            yield Problem(f"{kind} at place {place}", "A record is an object with a whole number `id`.", received)
        elif number in sound:
            yield Problem(f"{kind} {number}", "An id stands once in its list.", f"it again at place {place}")
        else:
            sound[number] = fields
    return list(sound.values())


def _category_problems(categories: Iterable[Fields]) -> Iterator[Problem]:
    found: dict[str, int] = {}
    for fields in categories:
        name = fields.get("name")
        if not isinstance(name, str) or not name.strip():
            yield Problem(f"category {fields['id']}", "A category has a name that is not empty.", repr(name))
        elif name in found:
            yield Problem(f"category {fields['id']}", f"Category {found[name]} has this name already.", repr(name))
        else:
            found[name] = fields["id"]


def _image_problems(
    images: Iterable[Fields], class_names: set[Any], sizes: dict[int, tuple[int, int]]
) -> Iterator[Problem]:
    """Yield what is wrong with images, and put the (height, width) of those that have one into `sizes`."""
    named: dict[str, int] = {}
    for fields in images:
        record, name = f"image {fields['id']}", fields.get("file_name")
        if not isinstance(name, str) or not name.strip():
            yield Problem(record, "An image has a file_name.", repr(name))
        elif PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield Problem(record, "A file_name stays within the image folder.", name)
        elif name in named:
            yield Problem(record, f"Image {named[name]} has this file_name already.", name)
        else:
            named[name] = fields["id"]
        size = fields.get("height"), fields.get("width")
        if all(type(length) is int and length > 0 for length in size):
            sizes[fields["id"]] = size  # type: ignore[assignment]
        else:
            yield Problem(record, "Height and width are whole numbers above 0.", f"{size[0]!r} and {size[1]!r}")
        label = fields.get(LABEL_FIELD)
        if label is not None and label not in class_names:
            yield Problem(record, f"The field `{LABEL_FIELD}` names a category of the file.", repr(label))


def _outline_problems(record: str, outline: Any, height: int, width: int) -> Iterator[Problem]:
    if outline is None or outline == []:
        return  # a class without an outline; check-dataset counts them
    if isinstance(outline, dict):
        try:
            read_run_lengths(outline, height, width)
        except ValueError as error:
            yield Problem(record, str(error), str(outline)[:80])
        return
    if not isinstance(outline, list):
        yield Problem(record, "A segmentation is a list of polygons, or an object with size and counts.", outline)
        return
    for number, polygon in enumerate(outline, 1):
        place = f"{record}, polygon {number}"
        if not isinstance(polygon, list) or not all(_is_coordinate(value) for value in polygon):
            yield Problem(place, "A polygon is a list of finite numbers x, y, x, y, ...", str(polygon)[:80])
        elif len(polygon) % 2:
            yield Problem(place, "A polygon has as many x as y.", f"{len(polygon)} numbers")
        elif len(polygon) < 6:
            yield Problem(place, "A polygon has three points or more.", f"{len(polygon) // 2}")


def _is_coordinate(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) <= _FARTHEST
