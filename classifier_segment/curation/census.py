"""What is in a COCO dataset, in numbers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from classifier_segment.coco import Annotation, CocoDataset, ImageRecord
from classifier_segment.masks import is_outside, is_partly_outside


@dataclass(frozen=True)
class Census:
    """Numbers of a dataset.

    Attributes:
        num_images: All of them.
        images_of_class: By name, in the order of the file; see `CocoDataset.class_of`.
        annotations_of_class: Likewise.
        oddities: What a reader may not expect, with its number, 0 as well; the keys are words for people.
    """

    num_images: int
    images_of_class: Mapping[str, int]
    annotations_of_class: Mapping[str, int]
    oddities: Mapping[str, int]

    @property
    def empty_classes(self) -> tuple[str, ...]:
        """Categories without any image."""
        return tuple(name for name, number in self.images_of_class.items() if number == 0)


def take_census(dataset: CocoDataset) -> Census:
    """Count a dataset; no image file is opened."""
    of_images = Counter(dataset.class_of(image) for image in dataset.images)
    of_annotations = Counter(annotation.category_id for annotation in dataset.annotations)
    return Census(
        num_images=len(dataset.images),
        images_of_class={category.name: of_images[category.id] for category in dataset.categories},
        annotations_of_class={category.name: of_annotations[category.id] for category in dataset.categories},
        oddities=_oddities(dataset),
    )


def _oddities(dataset: CocoDataset) -> dict[str, int]:
    of_image = dataset.of_image
    bare = [image for image in dataset.images if image.id not in of_image]
    num_labelled = sum(dataset.class_of(image) is not None for image in bare)
    found: Counter[str] = Counter()
    images = {image.id: image for image in dataset.images}
    for annotation in dataset.annotations:
        found.update(_of_annotation(annotation, images[annotation.image_id]))
    return {
        "images without annotation": len(bare) - num_labelled,
        "images without annotation whose field `label` names their class": num_labelled,
        "images with several annotations": sum(len(annotations) > 1 for annotations in of_image.values()),
        "images with annotations of several classes": sum(
            len({annotation.category_id for annotation in annotations}) > 1 for annotations in of_image.values()
        ),
        **{name: found[name] for name in _OF_ANNOTATIONS},
    }


_OF_ANNOTATIONS = (
    "annotations without outline",
    "annotations of several polygons",
    "polygons partly outside of their image",
    "polygons wholly outside of their image",
    "run-length masks, uncompressed",
    "run-length masks, compressed",
)


def _of_annotation(annotation: Annotation, image: ImageRecord) -> Counter[str]:
    without, several, partly, wholly, uncompressed, compressed = _OF_ANNOTATIONS
    found: Counter[str] = Counter()
    if annotation.run_lengths is not None:
        found[compressed if annotation.run_lengths.is_compressed else uncompressed] += 1
    elif not annotation.polygons:
        found[without] += 1
    elif len(annotation.polygons) > 1:
        found[several] += 1
    for polygon in annotation.polygons:
        if is_partly_outside(polygon, image.height, image.width):
            found[wholly if is_outside(polygon, image.height, image.width) else partly] += 1
    return found


def format_census(census: Census) -> str:
    """Return a table of classes, and a line for every oddity that there is."""
    width = max(len("class"), *(len(name) for name in census.images_of_class), 0)
    lines = [f"{'class':<{width}}  {'images':>8}  {'annotations':>11}"]
    for name, number in census.images_of_class.items():
        lines.append(f"{name:<{width}}  {number:>8,}  {census.annotations_of_class[name]:>11,}")
    totals = census.num_images, sum(census.annotations_of_class.values())
    lines.append(f"{'all':<{width}}  {totals[0]:>8,}  {totals[1]:>11,}")
    lines += [f"{name}: {number:,}" for name, number in census.oddities.items() if number]
    return "\n".join(lines)
