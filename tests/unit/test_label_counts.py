"""Texture by number of labels, and a linear classifier on all images and on those of one label."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.label_counts import count_labels, format_counts, texture
from medsynth.data.labels import LabelTable, record_order, write_label_table
from medsynth.data.tfrecords import write_split
from medsynth.errors import DataError
from medsynth.files import write_json

NAMES, SIZE, NUM = ("Left", "Top", "Rough"), 16, 240


def write_part(folder: Path, seed: int, *, more_is_rough: bool) -> None:
    """Images whose texture rises or falls with their number of labels, and which show nothing else."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((NUM, len(NAMES)), np.float32)
    for row in labels:
        row[rng.choice(len(NAMES), rng.integers(1, 4), replace=False)] = 1
    counts = labels.sum(axis=1)
    strength = 10 * (counts if more_is_rough else 4 - counts)
    stripes = np.where(np.arange(SIZE) % 2, 1, -1) * strength[:, None, None, None] / 2  # [N, 1, 1, W]
    images = 120 + stripes.transpose(0, 1, 3, 2) + rng.normal(0, 1, (NUM, SIZE, SIZE, 1))
    order = record_order(NUM)
    write_split(folder, images[order], labels[order], SIZE.bit_length() - 1)
    write_label_table(folder, LabelTable(tuple(f"p{i}/a.png" for i in range(NUM)), NAMES, labels))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_part(folder / "gan" / "inference" / "train", 0, more_is_rough=True)
    write_part(folder / "dataset" / "train", 1, more_is_rough=False)
    write_part(folder / "dataset" / "test", 2, more_is_rough=False)
    write_json(folder / "gan" / "config.json", {"resolution": SIZE})
    return folder


def test_texture_is_the_difference_of_neighbours() -> None:
    images = np.zeros((2, 4, 4))
    images[1, :, ::2] = 6
    np.testing.assert_array_equal(texture(images), [0, 6])


def test_a_count_that_shows_the_wrong_way_round_is_found(demo: Path) -> None:
    found = count_labels(demo)
    np.testing.assert_allclose(found.synthetic, [10, 20, 30], atol=1.5)
    np.testing.assert_allclose(found.real, [30, 20, 10], atol=1.5)
    assert found.all_images < 0.3, "more labels look like fewer"
    assert 0.3 < found.one_label < 0.7, "without the count there is nothing to go by"


def test_the_table_has_the_interval_over_demos(demo: Path) -> None:
    found = count_labels(demo)
    assert "over" not in format_counts([found])
    lines = format_counts([found, found]).splitlines()
    assert (
        lines[-2]
        == f"all images: mean {found.all_images:.3f} [{found.all_images:.3f}, {found.all_images:.3f}] over 2 demos"
    )
    assert lines[1].startswith(found.name)


def test_an_unfinished_demo_is_named(demo: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"A finished demo was expected.*no gan/inference/train"):
        count_labels(tmp_path)
