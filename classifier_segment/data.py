"""COCO datasets to batches of images, masks and classes.

Every image is read once at the start: shorter side to the size, middle cut out, as uint8. What fits into memory stays
there. The order and the maps of a training depend on (seed, epoch, place in the epoch) alone, so batch i of epoch e is
the same whatever came before, and however many threads work.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from classifier_segment.augment import AffineSettings, apply_transforms, draw_transforms, fill_black
from classifier_segment.coco import ImageRecord, image_folder, read_coco, read_coco_image, require_rule
from medsynth.data.images import Images
from medsynth.data.order import PassOrder
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError
from medsynth.progress import Progress

UNITS = ("annotation", "image")
_AFFINE_STREAM = 2  # beside those of medsynth.data.order
_MEMORY_LIMIT = 2**30  # bytes


@dataclass(frozen=True)
class DataSettings:
    """How a dataset becomes examples.

    Attributes:
        image_size: Pixels a side.
        outlines: Which are drawn: "largest" (published) or "all"; see `CocoDataset.mask_of`.
        unannotated: Whether images without annotation whose record names their class are examples, with an empty
            mask. Images without any class never are.
        image_folder: See `coco.image_folder`.
        memory_limit: Bytes of images that are kept; others are read again in every epoch.
        num_threads: That read and map.
    """

    image_size: int = 224
    outlines: str = "largest"
    unannotated: bool = True
    image_folder: str = ""
    memory_limit: int = _MEMORY_LIMIT
    num_threads: int = 2

    def require(self) -> None:
        """Refuse what cannot be used.

        Raises:
            UsageError: A size or number of threads below 1, or an unknown rule of drawing.
        """
        require_rule(self.outlines)
        for name in ("image_size", "num_threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is 1 or more.", received=getattr(self, name))


@dataclass(frozen=True)
class Examples:
    """What a network is shown, one example after the other.

    Attributes:
        image: int64 [N], numbers of images in `SegmentData.records`.
        label: int64 [N], numbers of classes in `SegmentData.class_names`.
    """

    image: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class DataFacts:
    """What a run writes down about a dataset.

    Attributes:
        path: The COCO file.
        class_names: In the order of their numbers.
        num_images: With a class.
        images_of_class: By name.
        annotations_of_class: By name; examples of the unit "annotation".
        num_left_out: Images without any class, or without annotation where those are not wanted.
        num_empty_masks: Images in which nothing is outlined.
        digest: SHA-256 of images, masks and classes as they are shown; another one means other data.
    """

    path: str
    class_names: tuple[str, ...]
    num_images: int
    images_of_class: Mapping[str, int]
    annotations_of_class: Mapping[str, int]
    num_left_out: int
    num_empty_masks: int
    digest: str


class SegmentData:
    """A COCO dataset, read and checked.

    Args:
        path: The COCO file.
        settings: How it becomes examples.

    Attributes:
        records: The images that have a class, in the order of the file.
        class_names: C names, in the order of the file.
        facts: To be written down.

    Raises:
        DataError: The file does not fit together, or an image is missing, damaged or of another size.
        UsageError: Settings that cannot be used.
    """

    def __init__(self, path: Path, settings: DataSettings) -> None:
        settings.require()
        self.settings, self.coco = settings, read_coco(path)
        self.class_names = tuple(category.name for category in self.coco.categories)
        self._number = {category.id: number for number, category in enumerate(self.coco.categories)}
        self.records = [image for image in self.coco.images if self._is_wanted(image)]
        if not self.records:
            raise DataError(
                "Images with a class were expected.", received=counted(len(self.coco.images), "image"), path=path
            )
        self._folder = image_folder(path, settings.image_folder)
        size = settings.image_size
        num_kept = min(len(self.records), settings.memory_limit // (4 * size * size))
        self._kept = np.empty((num_kept, size, size, 4), np.uint8)
        self.facts = self._read_all()

    def _is_wanted(self, image: ImageRecord) -> bool:
        is_annotated = image.id in self.coco.of_image
        return self.coco.class_of(image) is not None and (is_annotated or self.settings.unannotated)

    def examples(self, unit: str) -> Examples:
        """Return the examples.

        Args:
            unit: "annotation": one for each, with its class (whole and masked classification as published); an image
                without annotation counts once. "image": one for each, with the image's class (saliency and
                segmentation).

        Raises:
            UsageError: Another unit.
        """
        if unit not in UNITS:
            raise UsageError(f"Examples are one of {', '.join(UNITS)}.", received=unit)
        pairs = []
        for number, image in enumerate(self.records):
            annotations = self.coco.of_image.get(image.id, ()) if unit == "annotation" else ()
            classes = [annotation.category_id for annotation in annotations] or [self._class_of(image)]
            pairs += [(number, self._number[category_id]) for category_id in classes]
        images, labels = np.array(pairs, np.int64).T
        return Examples(images, labels)

    def _class_of(self, image: ImageRecord) -> int:
        number = self.coco.class_of(image)
        if number is None:  # never: such images are no records
            raise DataError("An image with a class was expected.", received=image.file_name, path=self.coco.path)
        return number

    def picture(self, number: int) -> Images:
        """Return image `number` of `records` and its mask (0 or 255) as a fourth channel: uint8 [S, S, 4]."""
        return self._kept[number] if number < len(self._kept) else self._read(number)

    def _read(self, number: int) -> Images:
        image = self.records[number]
        pixels = read_coco_image(self._folder, image)
        mask = 255 * self.coco.mask_of(image, self.settings.outlines)
        size = self.settings.image_size
        return np.dstack([fit(pixels, size), np.where(fit(mask, size) > 127, np.uint8(255), np.uint8(0))])

    def _read_all(self) -> DataFacts:
        """Read every image once, so that a damaged one is found at once, and keep what fits."""
        digest = hashlib.sha256()
        num_empty = 0
        progress = Progress(f"reading {self.coco.path.name}", len(self.records), "images")
        with ThreadPoolExecutor(self.settings.num_threads) as pool:
            for number, picture in enumerate(pool.map(self._read, range(len(self.records)))):
                if number < len(self._kept):
                    self._kept[number] = picture
                digest.update(picture.tobytes())
                num_empty += not picture[..., 3].any()
                progress.advance()
        progress.close()
        counts = {}
        for unit in UNITS:
            examples = self.examples(unit)
            digest.update(np.stack([examples.image, examples.label]).tobytes())
            found = Counter(examples.label.tolist())
            counts[unit] = {name: found[number] for number, name in enumerate(self.class_names)}
        digest.update("\n".join(self.class_names).encode())
        return DataFacts(
            path=str(self.coco.path),
            class_names=self.class_names,
            num_images=len(self.records),
            images_of_class=counts["image"],
            annotations_of_class=counts["annotation"],
            num_left_out=len(self.coco.images) - len(self.records),
            num_empty_masks=num_empty,
            digest=digest.hexdigest(),
        )


def fit(pixels: Images, size: int) -> Images:
    """Resize the shorter side to `size`, bilinear with antialiasing, and cut the middle out.

    Args:
        pixels: uint8 [H, W] or [H, W, 3].
        size: Pixels.

    Returns:
        uint8 [size, size] or [size, size, 3].
    """
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    new_size = max(size, int(size * width / shorter)), max(size, int(size * height / shorter))
    resized = np.asarray(Image.fromarray(pixels).resize(new_size, Image.Resampling.BILINEAR))
    top, left = round((new_size[1] - size) / 2), round((new_size[0] - size) / 2)
    return resized[top : top + size, left : left + size]


def require_same_classes(train: SegmentData, *others: SegmentData) -> None:
    """Refuse splits that do not fit together.

    Raises:
        DataError: Another list of classes than in training, or a class without an example in training.
    """
    for other in others:
        if other.class_names != train.class_names:
            raise DataError(
                f"The classes of the training, {', '.join(train.class_names)}, were expected in this order.",
                received=", ".join(other.class_names) or "none",
                path=other.coco.path,
            )
        unseen = [name for name in train.class_names if other.facts.images_of_class[name] and not _has(train, name)]
        if unseen:
            raise DataError(
                f"Class {unseen[0]!r} has no example in {train.coco.path}, so a network cannot learn it; split anew.",
                received=counted(other.facts.images_of_class[unseen[0]], "image") + " of it",
                path=other.coco.path,
            )
    empty = [name for name in train.class_names if not _has(train, name)]
    if empty:
        raise DataError(
            "Every category needs an example in training; take it out of the list (scripts.simplify-dataset does).",
            received=f"none of {', '.join(empty)}",
            path=train.coco.path,
        )


def _has(data: SegmentData, name: str) -> bool:
    return data.facts.images_of_class[name] > 0


@dataclass(frozen=True)
class Augmentation:
    """What a training does to its images.

    Attributes:
        affine: Ranges of the random maps.
        fills_black: Whether black pixels get the mean of the others afterwards (published for segmentation).
    """

    affine: AffineSettings = field(default_factory=AffineSettings)
    fills_black: bool = False


def training_batches(
    data: SegmentData,
    examples: Examples,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    augmentation: Augmentation | None,
    first_batch: int = 0,
) -> tf.data.Dataset:
    """Return the batches of an epoch of training, every example once.

    The order, and each example's map, follow from (seed, epoch) and its place in the epoch alone.

    Args:
        data: Where the pictures are.
        examples: To be shown.
        batch_size: Of all but the last one, which has what is left.
        seed: From 0 on.
        epoch: From 0 on.
        augmentation: None shows the images as they are.
        first_batch: From 0 on; a training that goes on in the middle of an epoch starts there.

    Returns:
        Elements as from `batches`.
    """
    order = PassOrder(len(examples), seed).next(epoch * len(examples), len(examples))
    first = first_batch * batch_size
    transforms = None
    if augmentation is not None:
        rng = np.random.default_rng((seed, _AFFINE_STREAM, epoch))
        transforms = draw_transforms(rng, len(order), data.settings.image_size, augmentation.affine)[first:]
    chosen = Examples(examples.image[order][first:], examples.label[order][first:])
    fills_black = augmentation is not None and augmentation.fills_black
    return batches(data, chosen, batch_size=batch_size, transforms=transforms, fills_black=fills_black)


def batches(
    data: SegmentData,
    examples: Examples,
    *,
    batch_size: int,
    transforms: npt.NDArray[np.float32] | None = None,
    fills_black: bool = False,
) -> tf.data.Dataset:
    """Return examples in their order, in batches of which the last one has what is left.

    Args:
        data: Where the pictures are.
        examples: To be shown.
        batch_size: 1 or more.
        transforms: A map for each example, [N, 8], as from `draw_transforms`; none leaves the pictures as they are.
        fills_black: Whether black pixels get the mean of the others.

    Returns:
        Elements with `image`, float32 [B, S, S, 3] in [0, 1]; `mask`, float32 [B, S, S, 1], 0 or 1; `label`, int32
        [B]; and `record`, int32 [B], the image's number in `data.records`.
    """
    size, num_threads = data.settings.image_size, data.settings.num_threads

    def read(number: tf.Tensor) -> tf.Tensor:
        picture = tf.numpy_function(lambda one: data.picture(int(one)), [number], tf.uint8)
        return tf.ensure_shape(picture, [size, size, 4])

    def finish(element: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        pictures = element["picture"]
        if "transform" in element:
            pictures = apply_transforms(pictures, element["transform"])
        values = tf.cast(pictures, tf.float32) / 255
        images = fill_black(values[..., :3]) if fills_black else values[..., :3]
        return {"image": images, "mask": values[..., 3:], "label": element["label"], "record": element["record"]}

    columns: dict[str, npt.NDArray[Any]] = {
        "record": examples.image.astype(np.int32),
        "label": examples.label.astype(np.int32),
    }
    if transforms is not None:
        columns["transform"] = transforms
    dataset = tf.data.Dataset.from_tensor_slices(columns)
    dataset = dataset.map(
        lambda element: {**element, "picture": read(element["record"])}, num_threads, deterministic=True
    )
    return dataset.batch(batch_size).map(finish, num_threads, deterministic=True).prefetch(2)
