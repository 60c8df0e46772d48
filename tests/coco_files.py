"""Small COCO datasets for tests: plain pictures, square outlines."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("a", "b", "c")
SQUARE = [4, 4, 11, 4, 11, 11, 4, 11]  # x, y of its corners


def image(number: int, width: int = 20, height: int = 16, **fields: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.png", "width": width, "height": height, **fields}


def annotation(number: int, image_id: int, category_id: int, outline: Any = None, **fields: Any) -> dict[str, Any]:
    segmentation = [SQUARE] if outline is None else outline
    return {"id": number, "image_id": image_id, "category_id": category_id, "segmentation": segmentation, **fields}


def document(images: Sequence[dict[str, Any]], annotations: Sequence[dict[str, Any]], **others: Any) -> dict[str, Any]:
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)]
    return {"images": list(images), "annotations": list(annotations), "categories": categories, **others}


def write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_images(folder: Path, images: Sequence[dict[str, Any]]) -> None:
    """Write each image's file: noise from 1 to 255, so that nothing is black, fixed by its id."""
    folder.mkdir(parents=True, exist_ok=True)
    for fields in images:
        rng = np.random.default_rng(fields["id"])
        pixels = rng.integers(1, 256, (fields["height"], fields["width"], 3), np.uint8)
        Image.fromarray(pixels).save(folder / fields["file_name"])


def balanced(folder: Path, num_images: int = 12, name: str = "dataset.json", **fields: Any) -> Path:
    """Write a dataset whose classes take turns, an annotation an image, and its images."""
    images = [image(number, **fields) for number in range(1, num_images + 1)]
    annotations = [annotation(number, number, 1 + number % len(NAMES)) for number in range(1, num_images + 1)]
    write_images(folder / "images", images)
    return write(folder / name, document(images, annotations))
