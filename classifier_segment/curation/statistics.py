"""Pictures of a COCO dataset: classes, sizes, and a sheet of images with their outlines."""

from pathlib import Path

import cv2
import numpy as np

from classifier_segment.coco import CocoDataset, ImageRecord, read_coco_image
from medsynth.data.images import Images
from medsynth.report.canvas import new_figure, save_png
from medsynth.report.dataset_figures import contact_sheet_figure, images_per_class_figure
from medsynth.report.figures import COLOURS

_SHEET_COLUMNS, _THUMBNAIL_SIZE = 8, 144
_OUTLINE = (0, 230, 255)  # RGB; no tissue has it


def write_figures(dataset: CocoDataset, counts: dict[str, int], images: Path, folder: Path) -> list[Path]:
    """Write classes.png, sizes.png and images.png into a folder.

    Args:
        dataset: What is shown.
        counts: Images of each class.
        images: Where the image files lie.
        folder: For the figures.

    Raises:
        DataError: One of the shown images cannot be read.
    """
    paths = [folder / name for name in ("classes.png", "sizes.png", "images.png")]
    split = dataset.path.stem
    images_per_class_figure(paths[0], {split: counts}, {split: len(dataset.images)})
    _sizes_figure(paths[1], dataset)
    rows, names = [], []
    for category in dataset.categories:
        members = [image for image in dataset.images if dataset.class_of(image) == category.id]
        if members:
            step = max(1, len(members) // _SHEET_COLUMNS)
            chosen = members[::step][:_SHEET_COLUMNS]
            row = [outlined_thumbnail(dataset, image, images) for image in chosen]
            rows += row + [np.zeros_like(row[0])] * (_SHEET_COLUMNS - len(row))
            names.append(category.name)
    if rows:
        contact_sheet_figure(paths[2], np.stack(rows), names, title=f"{split}: images and all of their outlines")
    return paths if rows else paths[:2]


def outlined_thumbnail(dataset: CocoDataset, image: ImageRecord, folder: Path) -> Images:
    """Return an image, padded to a square, with its outlines: uint8 [144, 144, 3]."""
    side = max(image.height, image.width)
    square = np.zeros((side, side, 3), np.uint8)
    square[: image.height, : image.width] = read_coco_image(folder, image)
    mask = np.zeros((side, side), np.uint8)
    mask[: image.height, : image.width] = dataset.mask_of(image, "all")
    size = (_THUMBNAIL_SIZE, _THUMBNAIL_SIZE)
    small = cv2.resize(square, size, interpolation=cv2.INTER_AREA)
    edges, _ = cv2.findContours(cv2.resize(mask, size), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(small, edges, -1, _OUTLINE, 1), np.uint8)


def _sizes_figure(path: Path, dataset: CocoDataset) -> None:
    """Write the sizes of images, and the share of each that is lesion."""
    figure = new_figure(8.0, 3.6)
    left, right = figure.subplots(1, 2)
    left.scatter(
        [image.width for image in dataset.images], [image.height for image in dataset.images],
        s=9, alpha=0.5, color=COLOURS[0], linewidths=0,
    )  # fmt: skip
    left.set_xlabel("width of the image, pixels")
    left.set_ylabel("height, pixels")
    for number, category in enumerate(dataset.categories):
        shares = [
            100 * float(dataset.mask_of(image, "all").mean())
            for image in dataset.images
            if image.id in dataset.of_image and dataset.class_of(image) == category.id
        ]
        if shares:
            colour = COLOURS[number % len(COLOURS)]
            right.hist(shares, bins=np.linspace(0, 100, 26), histtype="step", color=colour, label=category.name)
    right.set_xlabel("% of the image that is lesion")
    right.set_ylabel("images")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    save_png(figure, path)
