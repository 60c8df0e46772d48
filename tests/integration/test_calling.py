"""Every script runs in three ways: in its folder, by its path, and as a module."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, call, script_command
from tests.test_architecture import SCRIPTS

IDS = [str(path.relative_to(ROOT)) for path in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=IDS)
def test_three_ways_of_calling_give_the_same_help(script: Path, tmp_path: Path) -> None:
    module = ".".join(script.relative_to(ROOT).with_suffix("").parts)
    ways = [
        call([sys.executable, script.name, "--help"], cwd=script.parent),
        call([sys.executable, str(script.relative_to(ROOT)), "--help"], cwd=ROOT),
        call([sys.executable, "-m", module, "--help"], cwd=tmp_path),
    ]
    for result in ways:
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith("usage: ")
    assert len({result.stdout for result in ways}) == 1


def copy_package(target: Path, *names: str) -> Path:
    for name in ("medsynth", *names):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def test_a_second_clone_that_would_run_the_first_ones_code_is_refused(tmp_path: Path) -> None:
    clone = copy_package(tmp_path / "clone", "build_dataset")
    result = call(
        [sys.executable, str(clone / "build_dataset" / "dataset_tool.py"), "create_phantom", "x"], cwd=tmp_path
    )
    assert result.returncode == 2
    assert f"This script belongs to {clone}" in result.stderr
    assert f"pip install -e '{clone}[cpu]'" in result.stderr


def test_an_environment_without_tensorflow_is_told_so(tmp_path: Path) -> None:
    # A finder that hides tensorflow stands for an environment in which it is not installed.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'tensorflow':\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'tensorflow' else real(name, *a)\n"
    )
    result = subprocess.run(
        script_command("GAN_prog/train.py", "train", "a", "b", 1, 32),
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert result.returncode == 2
    assert "TensorFlow is needed. Install it with pip install -e '.[cpu]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "a", "b", "-1", "32"), "a seed from 0 to 4294967295 was expected. Received: -1"),
        (("train", "a", "b", "1", "33"), "a power of two from 4 to 4096 was expected. Received: 33"),
        (("train", "a", "b", "1"), "the following arguments are required: resolution"),
        (("tain", "a", "b", "1", "32"), "invalid choice: 'tain'"),
    ],
)
def test_mistakes_in_the_call_answer_at_once(arguments: tuple[str, ...], words: str) -> None:
    result = call(script_command("GAN_prog/train.py", *arguments), timeout=20)
    assert result.returncode == 2
    assert words in result.stderr
