"""Fewer classes: several old ones become a new one, the others are dropped."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import yaml

from classifier_segment.coco import LABEL_FIELD, Category, CocoDataset, ImageRecord
from medsynth.errors import DataError

CLASS_MAPS = Path(__file__).parents[1] / "class_maps"

ClassMap = Mapping[str, tuple[str, ...]]


def read_class_map(name: str) -> ClassMap:
    """Return new classes with the old ones that become each, in the order of the file.

    Args:
        name: A map that is shipped (`oral`), or a yaml file: `new: [old, old]`, a line each.

    Raises:
        DataError: No such map, no yaml, or an old class that stands there twice.
    """
    shipped = {path.stem: path for path in sorted(CLASS_MAPS.glob("*.yaml"))}
    path = shipped.get(name, Path(name))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"A map of classes is a yaml file, or one of {', '.join(shipped)}.", received=error.strerror, path=path
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError("The file is not valid yaml.", received=" ".join(str(error).split()), path=path) from None
    if not isinstance(content, dict) or not content or not all(_is_row(*row) for row in content.items()):
        raise DataError(
            "A line for each new class was expected, `new: [old, old]`, names of text.", received=content, path=path
        )
    olds = [old for row in content.values() for old in row]
    twice = sorted({old for old in olds if olds.count(old) > 1})
    if twice:
        raise DataError("An old class becomes one new class.", received=f"{', '.join(twice)} in several", path=path)
    return {new: tuple(row) for new, row in content.items()}


def _is_row(new: object, olds: object) -> bool:
    return isinstance(new, str) and isinstance(olds, list) and bool(olds) and all(isinstance(old, str) for old in olds)


def simplify(dataset: CocoDataset, classes: ClassMap, path: Path) -> CocoDataset:
    """Give a dataset new classes: ids from 1 on, in the order of the map.

    Annotations of other classes are dropped, and so are images that are left without any class.

    Args:
        dataset: With the old ones.
        classes: As from `read_class_map`.
        path: Of the new file.

    Raises:
        DataError: None of the old classes is in the dataset.
    """
    new_of_old = {old: new for new, olds in classes.items() for old in olds}
    ids = {new: number for number, new in enumerate(classes, 1)}
    if not any(category.name in new_of_old for category in dataset.categories):
        raise DataError(
            f"One class at least of {', '.join(new_of_old)} was expected (--classes names another map).",
            received=", ".join(category.name for category in dataset.categories) or "no category",
            path=dataset.path,
        )
    annotations = []
    for annotation in dataset.annotations:
        new = new_of_old.get(dataset.names[annotation.category_id])
        if new is not None:
            fields = {**annotation.fields, "category_id": ids[new]}
            annotations.append(replace(annotation, category_id=ids[new], fields=fields))
    annotated = {annotation.image_id for annotation in annotations}
    images = (_relabelled(image, new_of_old) for image in dataset.images)
    kept = tuple(image for image in images if image.id in annotated or LABEL_FIELD in image.fields)
    return replace(
        dataset,
        path=path,
        categories=tuple(Category(ids[new], new, {"id": ids[new], "name": new}) for new in classes),
        images=kept,
        annotations=tuple(annotations),
    )


def _relabelled(image: ImageRecord, new_of_old: Mapping[str, str]) -> ImageRecord:
    """Return an image whose field `label`, if it has one, names the new class; without it where there is none."""
    fields = {name: value for name, value in image.fields.items() if name != LABEL_FIELD}
    new = new_of_old.get(image.fields.get(LABEL_FIELD, ""))
    return replace(image, fields=fields if new is None else {**fields, LABEL_FIELD: new})
