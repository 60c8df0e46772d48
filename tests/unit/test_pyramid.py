"""Batches are a pure function of (seed, images seen), and data that does not fit together is refused."""

from pathlib import Path

import numpy as np
import pytest

from medsynth.data import tfrecords
from medsynth.data.labels import LabelTable, read_label_table, write_label_table
from medsynth.data.pyramid import ImagePyramid
from medsynth.errors import DataError
from tests.toy_data import write_toy_split


@pytest.fixture
def split(tmp_path: Path) -> Path:
    write_toy_split(tmp_path / "train", num_images=24)
    return tmp_path / "train"


def pyramid(split: Path, resolution: int = 16, smallest: int = 8, seed: int = 5) -> ImagePyramid:
    return ImagePyramid(split, resolution, smallest_resolution=smallest, seed=seed)


def test_each_pass_shows_every_image_once_in_a_new_order(split: Path) -> None:
    data = pyramid(split)
    passes = [np.concatenate([data.batch(start, 8, 16)[0] for start in range(k * 24, k * 24 + 24, 8)]) for k in (0, 1)]
    everything = data.batch(0, 24, 16)[0]
    for images in passes:
        assert {image.tobytes() for image in images} == {image.tobytes() for image in everything}
    assert (passes[0] != passes[1]).any()


def test_batches_depend_on_seed_and_count_alone(split: Path) -> None:
    for start, size in ((0, 5), (20, 10), (1000, 30)):
        images, labels = pyramid(split).batch(start, size, 16)
        again, again_labels = pyramid(split).batch(start, size, 16)
        np.testing.assert_array_equal(images, again)
        np.testing.assert_array_equal(labels, again_labels)
        assert images.shape == (size, 16, 16, 1)
        assert (pyramid(split, seed=6).batch(start, size, 16)[0] != images).any()


def test_images_keep_their_labels_at_every_level(split: Path) -> None:
    data = pyramid(split)
    for resolution in (8, 16):
        images, labels = data.batch(0, 24, resolution)
        brightest = images.astype(float).sum(axis=(1, 3)).argmax(axis=1) * 3 // resolution
        assert (brightest == labels.argmax(axis=1)).mean() > 0.9


def test_drawn_labels_are_rows_of_the_data_in_their_shares(split: Path) -> None:
    data = pyramid(split)
    drawn = data.random_labels(0, 6000)
    np.testing.assert_allclose(drawn.mean(axis=0), data.labels.mean(axis=0), atol=0.03)
    assert (data.random_labels(1, 6000) != drawn).any()


def change_labels(split: Path, change) -> None:
    table = read_label_table(split)
    write_label_table(split, LabelTable(table.paths, table.names, change(table.values)))


def zero_column(split: Path) -> None:
    table = read_label_table(split)
    values = table.values.copy()
    values[:, 1] = 0
    write_label_table(split, LabelTable(table.paths, table.names, values))
    stored = tfrecords.read_labels(split)
    stored[:, 1] = 0
    tfrecords.write_labels(split, stored)


FAULTS = {
    "no labels": (lambda s: tfrecords.labels_path(s).unlink(), "no such file"),
    "no csv": (lambda s: (s / "train.csv").unlink(), "train.csv: A csv file was expected"),
    "csv without path": (
        lambda s: (s / "train.csv").write_text("A,B\n1.0,0.0\n"),
        "first column must be Path",
    ),
    "label that is neither 0 nor 1": (
        lambda s: (s / "train.csv").write_text("Path,A\na.jpg,1.0\nb.jpg,0.5\n"),
        "line 3, column 'A' is neither",
    ),
    "fewer labels than rows": (
        lambda s: tfrecords.write_labels(s, tfrecords.read_labels(s)[:-1]),
        "has 24 rows.*Received: 23 rows",
    ),
    "labels of other images": (
        lambda s: tfrecords.write_labels(s, tfrecords.read_labels(s)[::-1]),
        "Labels and csv disagree",
    ),
    "a label without positives": (zero_column, "no positives for Cardiomegaly"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_data_that_does_not_fit_together_is_refused(split: Path, fault: str) -> None:
    pyramid(split)  # usable before
    damage, message = FAULTS[fault]
    damage(split)
    with pytest.raises(DataError, match=message):
        pyramid(split)


def test_records_and_labels_of_different_number_are_refused(split: Path) -> None:
    path = tfrecords.record_path(split, 4)
    size = path.stat().st_size // 24
    path.write_bytes(path.read_bytes()[: 23 * size])
    with pytest.raises(DataError, match=r"There are 24 rows of labels.*Received: 23 records"):
        pyramid(split)


def test_a_resolution_that_the_data_lacks_lists_those_it_has(split: Path) -> None:
    with pytest.raises(DataError, match=r"no images of 32x32. Resolutions in this folder: 4, 8, 16"):
        pyramid(split, resolution=32)
    tfrecords.record_path(split, 3).rename(split / "train-r05.tfrecords")
    with pytest.raises(DataError, match=r"name says 32x32. Received: images of 8x8"):
        pyramid(split, resolution=32, smallest=32)


def test_other_images_are_told_from_these_though_their_labels_are_the_same(split: Path, tmp_path: Path) -> None:
    before = pyramid(split)
    images, labels = before.first_images(24)
    images[7, 3, 3] ^= 1
    other = tmp_path / "other" / "train"
    tfrecords.write_split(other, images, labels, 4)
    write_label_table(other, read_label_table(split))
    after = pyramid(other, smallest=16)
    np.testing.assert_array_equal(before.labels, after.labels)
    assert before.images_digest == pyramid(split).images_digest != after.images_digest
