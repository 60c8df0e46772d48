"""A dataset small enough for a test: bright blobs whose place depends on the label."""

from pathlib import Path

import numpy as np

from medsynth.data.labels import LabelTable, record_order, write_label_table
from medsynth.data.tfrecords import RecordWriter, downscale_levels, record_path, write_labels

LABELS = ("No Finding", "Cardiomegaly", "Pleural Effusion")


def write_toy_split(
    folder: Path, num_images: int = 64, resolution: int = 16, seed: int = 0, names: tuple[str, ...] = LABELS
) -> None:
    """Write a split with records at every resolution, labels and csv, two studies per patient."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(len(names), size=num_images)
    labels = np.eye(len(names), dtype=np.float32)[classes]
    rows, columns = np.mgrid[:resolution, :resolution] / resolution
    centres = (classes + 0.5) / len(names)
    images = 40 + 180 * np.exp(-40 * ((rows - 0.5) ** 2 + (columns - centres[:, None, None]) ** 2))
    images = (images + rng.normal(0, 8, images.shape)).clip(0, 255)[..., None]
    folder.mkdir(parents=True)
    paths = tuple(
        f"raw/CheXpert-v1.0-small/train/patient{i // 2:05d}/study{i % 2 + 1}/view1_frontal.jpg"
        for i in range(num_images)
    )
    write_label_table(folder, LabelTable(paths, names, labels))
    order = record_order(num_images)
    write_labels(folder, labels[order])
    log2 = resolution.bit_length() - 1
    levels = [list(downscale_levels(images[i], log2)) for i in order]
    for number, level_log2 in enumerate(range(log2, 1, -1)):
        with RecordWriter(record_path(folder, level_log2)) as writer:
            for level in levels:
                writer.write(level[number])


def write_toy_dataset(root: Path, num_images: int = 64, resolution: int = 16) -> Path:
    """Write train, valid and test."""
    for seed, split in enumerate(("train", "valid", "test")):
        write_toy_split(root / split, num_images, resolution, seed)
    return root
