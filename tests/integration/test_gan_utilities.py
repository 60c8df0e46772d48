"""generate.py and export.py as a user calls them, the bundle in test.py, and the documents' example."""

import os
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from medsynth.data.labels import read_split_labels
from medsynth.files import read_json
from tests.commands import ROOT, call, refused, run_script
from tests.tiny_gan import LABELS, RESOLUTION, write_results
from tests.toy_data import write_toy_split

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, results: Path) -> Path:
    folder = tmp_path_factory.mktemp("out") / "bundle"
    result = run_script("GAN_prog/export.py", "export", results, folder, "--license", "CC0-1.0")
    assert result.returncode == 0, result.stderr
    assert "not known, and the model card says so: privacy" in result.stdout
    assert "licence" not in result.stdout
    return folder


def python_block(page: Path) -> str:
    (block,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert 3 <= len([line for line in block.splitlines() if line]) <= 5
    return str(block)


@pytest.mark.parametrize("page", ["docs/utilities.md", "model_card.md"])
def test_the_example_runs_as_it_stands(bundle: Path, page: str) -> None:
    block = python_block(bundle / page if page == "model_card.md" else ROOT / page)
    result = call([sys.executable, "-c", block + "print(images.shape, images.dtype, images.std() > 5)"], bundle.parent)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[0] == f"(8, {RESOLUTION}, {RESOLUTION}, 1) uint8 True"


def test_a_bundle_makes_a_synthetic_dataset_and_images(bundle: Path, tmp_path: Path) -> None:
    for seed, split in enumerate(SPLITS):
        write_toy_split(tmp_path / "data" / split, num_images=12, seed=seed, names=LABELS)
    result = run_script("GAN_prog/test.py", "test", tmp_path / "data", bundle, 1, RESOLUTION)
    assert result.returncode == 0, result.stderr
    for split in SPLITS:
        assert read_split_labels(bundle / "inference" / split).values.shape == (12, 3)
    arguments = ("images", bundle, tmp_path / "out", "--num", 2, "--seed", 5, "--labels", "Edema")
    result = run_script("GAN_prog/generate.py", *arguments)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["seed000005.png", "seed000006.png"]
    with Image.open(tmp_path / "out" / "seed000005.png") as image:
        assert image.size == (RESOLUTION, RESOLUTION)
        assert "Synthetic" in image.text["Description"]
    # inference/ and its like do not stand in the way of the checksums.
    assert read_json(bundle / "inference" / "generator.json")["num_images"] == dict.fromkeys(SPLITS, 12)
    assert "inference" not in (bundle / "SHA256SUMS").read_text()


def test_refusals_are_one_line(results: Path, tmp_path: Path) -> None:
    line = refused("GAN_prog/generate.py", "images", results, tmp_path / "out", "--labels", "Oedema")
    assert line.endswith("Unknown label. This generator knows No Finding, Cardiomegaly, Edema. Received: Oedema")
    line = refused("GAN_prog/export.py", "export", tmp_path / "nowhere", tmp_path / "bundle")
    assert "network-final: A folder with a trained network was expected here." in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", ["generate.py", "export.py"])
def test_help_answers_without_tensorflow(script: str) -> None:
    path = os.fspath(ROOT / "GAN_prog" / script)
    # None makes an import fail: whoever loads TensorFlow for --help is found.
    code = (
        "import runpy, sys; sys.modules['tensorflow'] = sys.modules['keras'] = None; "
        f"sys.argv = ['{script}', '--help']; runpy.run_path({path!r}, run_name='__main__')"
    )
    result = call([sys.executable, "-c", code])
    assert result.returncode == 0, result.stderr
    assert f"python3 {script}" in result.stdout
