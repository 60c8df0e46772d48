"""A dataset and a GAN's results for the verdict: small, of the right form, with patients of each split's own."""

import shutil
from pathlib import Path

import numpy as np

from medsynth.data.labels import LabelTable, read_label_table, write_label_table, write_patients
from medsynth.data.tfrecords import write_labels
from medsynth.files import write_json
from tests.toy_data import write_toy_dataset, write_toy_split

SPLITS = ("train", "valid", "test")


def write_dataset(root: Path, num_images: int = 32, resolution: int = 16) -> Path:
    """Write a dataset, two images a patient, no patient in two splits."""
    write_toy_dataset(root, num_images, resolution)
    for split in SPLITS:
        write_patients(root / split, [f"{split}-{number // 2}" for number in range(num_images)])
    return root


def write_results(root: Path, num_images: int = 32, resolution: int = 16, application: str | None = None) -> Path:
    """Write results_dir/inference with images that are no copies of `write_dataset`'s."""
    for seed, split in enumerate(SPLITS, start=10):
        write_toy_split(root / "inference" / split, num_images, resolution, seed)
    if application is not None:
        write_json(root / "inference" / "generator.json", {"application": application})
    return root


def drop(folder: Path) -> Path:
    """Remove a folder."""
    shutil.rmtree(folder)
    return folder


def write_unlabelled_results(root: Path, num_images: int = 32, resolution: int = 16) -> Path:
    """Write results_dir/inference/train with images that have no labels, by nobody knows whom."""
    write_results(root, num_images, resolution)
    for split in SPLITS:
        folder = root / "inference" / split
        no_labels = np.zeros((num_images, 0), np.float32)
        write_label_table(folder, LabelTable(read_label_table(folder).paths, (), no_labels))
        write_labels(folder, no_labels)
    return root
