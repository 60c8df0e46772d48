"""cxpl.py of both classifiers, called as a user calls it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import refused, run_script
from tests.tiny_classifier import write_classifier
from tests.toy_data import LABELS, write_toy_split

REAL, FAKE = "classifier_real/cxpl.py", "classifier_fake/cxpl.py"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A dataset with a real classifier, the same classifier in a GAN's results, and its network."""
    data_dir, results_dir = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("results")
    write_toy_split(data_dir / "test", 9)
    results = data_dir / "classification_results_res_16"
    network = write_classifier(results, LABELS)
    shutil.copytree(results, results_dir / "classification_results")
    return data_dir, results_dir, network


def succeed(*arguments: object) -> str:
    done = run_script(*arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_real_maps_are_those_of_masked_images(folders):
    from medsynth.classify.attribution.maps import MaskedScores, attribution_map, exact_effects
    from medsynth.networks.imagenet_input import preprocess

    data_dir, _, network = folders
    output = succeed(REAL, "cxpl", "classifier_real", data_dir, 16, "--from-test", 3)
    assert "3 attribution maps" in output
    assert "192 tiles" in output
    test = data_dir / "classification_results_res_16" / "test"
    truth, inputs, maps = (np.load(test / "cxpl" / f"{name}_nn.npy") for name in ("y_cx", "x_cx", "attr"))
    assert (truth.shape, inputs.shape, maps.shape) == ((3, 3), (3, 32, 32, 3), (3, 32, 32, 1))
    names = sorted(path.name for path in (test / "cxpl").iterdir())
    assert names == ["attr_nn.npy", "cxpl.json", "index.png", "overlay_0000.png", "overlay_0001.png",
                     "overlay_0002.png", "x_cx_nn.npy", "y_cx_nn.npy"]  # fmt: skip
    facts = json.loads((test / "cxpl" / "cxpl.json").read_text())
    # 64 tiles in calls of 10, for each of 3 images.
    assert (facts["network_calls"], facts["tiles"], facts["coarse_to_fine"]) == (21, 192, False)
    scores = MaskedScores(network, 4, 16, near_tile=False)
    for number in range(3):
        with Image.open(test / "nn_files" / f"test_{number:05d}.png") as image:
            pixels = np.asarray(image)[None, ..., None]
        np.testing.assert_allclose(inputs[number], preprocess(pixels, 32).numpy()[0], atol=1e-6)
        expected = attribution_map(exact_effects(scores, inputs[number], truth[number].astype(np.float64)), 4)
        assert expected.max() > 1e-5, "the map says something"
        # Two ways of adding up in float32, of a loss near 1.
        np.testing.assert_allclose(maps[number], expected, rtol=0, atol=2e-6)


def test_fake_maps_with_other_settings(folders):
    data_dir, results_dir, _ = folders
    arguments = (FAKE, "cxpl", "classifier_fake", results_dir, "--from-test", 2, "--data-dir", data_dir)
    settings = ("normalise=true", "log_transform=true", "downsample_factor=8", "precision=mixed_bfloat16")
    succeed(*arguments, "--coarse-to-fine", *(word for one in settings for word in ("--set", one)))
    folder = results_dir / "classification_results" / "test" / "cxpl"
    maps = np.load(folder / "attr_nn.npy")
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)), 1)
    np.testing.assert_array_equal(maps[:, ::8, ::8], maps[:, 7::8, 7::8])
    facts = json.loads((folder / "cxpl.json").read_text())
    assert (facts["precision"], facts["coarse_to_fine"], facts["tiles"]) == ("mixed_bfloat16", True, 32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((16,), ["nn_path_and_labels.csv", "--from-test N", "no such file"]),
        ((16, "--from-test", 10), ["1 to 9 images", "10"]),
        ((64,), ["train.py"]),
        ((16, "--set", "downsample_factor=5"), ["must divide the 32 pixels", "5"]),
        ((16, "--set", "computed_share=1.5"), ["at most 1"]),
        ((16, "--set", "image_dimension=64"), ["fixed when the classifier was trained"]),
    ],
)
def test_mistakes_are_answered(tmp_path, folders, arguments, words):
    data_dir = tmp_path / "data"
    shutil.copytree(folders[0], data_dir, ignore=shutil.ignore_patterns("nn_files", "cxpl"))
    line = refused(REAL, "cxpl", "classifier_real", data_dir, *arguments)
    for word in words:
        assert word in line


def test_missing_weights_are_named(tmp_path, folders):
    data_dir = tmp_path / "data"
    shutil.copytree(folders[0], data_dir)
    weights = data_dir / "classification_results_res_16" / "train" / "best_weights.h5"
    weights.unlink()
    line = refused(REAL, "cxpl", "classifier_real", data_dir, 16)
    assert f"{weights}: " in line


def test_a_synthetic_classifier_must_be_told_where_the_real_images_are(folders):
    line = refused(FAKE, "cxpl", "classifier_fake", folders[1], "--from-test", 2)
    assert "--data-dir" in line


def test_nothing_is_written_in_a_dry_run(tmp_path: Path, folders):
    data_dir = tmp_path / "data"
    shutil.copytree(folders[0], data_dir, ignore=shutil.ignore_patterns("nn_files", "cxpl"))
    before = sorted(data_dir.rglob("*"))
    assert "would map" in succeed(REAL, "cxpl", "classifier_real", data_dir, 16, "--from-test", 3, "--dry-run")
    assert sorted(data_dir.rglob("*")) == before
