"""A GAN training killed anywhere goes on by the same command, and ends with the same weights bit for bit.

KILL_POINTS is the number of random points of each application: 1 by default, 10 in `make test-slow`.
"""

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from medsynth.training.checkpoint import read_arrays
from tests.commands import ScriptProcess, run_script
from tests.toy_data import write_toy_dataset
from tests.toy_pairs import write_toy_pairs

RESOLUTION, SEED = {"GAN_prog": 16, "GAN_cpd": 16, "GAN_joint": 64, "GAN_dcgan": 16}, 3
NUM_POINTS = int(os.environ.get("KILL_POINTS", "1"))
COMMON = {
    "network.precision": "float32",
    "schedule.minibatch_base": 8,
    "schedule.default_tick_kimg": 0.064,
    "schedule.tick_kimg": "{}",
    "trainer.snapshot_ticks": 4,
    "trainer.max_grid_images": 32,
}
PYRAMID = {"network.fmap_base": 64, "network.fmap_max": 8}
APPS = {
    # Grows from 8x8 to 16x16, and every reset of Adam falls on the end of a tick: a kill may fall on it, too.
    "GAN_prog": {
        **PYRAMID,
        "schedule.total_kimg": 1.6,
        "schedule.training_kimg": 0.608,
        "schedule.transition_kimg": 0.608,
        "schedule.minibatch_by_resolution": "{}",
    },
    "GAN_cpd": {
        **PYRAMID,
        "schedule.total_kimg": 1.6,
        "loss.discriminator": "logistic_r",
        "loss.generator": "logistic_ns",
    },
    # Dropout, batch normalisation, swapped rows, adaptive augmentation.
    "GAN_joint": {
        "network.width": 0.02,
        "network.dropout": 0.3,
        "loss.gamma_1": 0,
        "schedule.total_kimg": 1.6,
        "augment.mode": "adaptive",
    },
    # Both orders of its own: the step's, and the losses of every batch on disk.
    "GAN_dcgan": {
        "network.generator_features": 1,
        "network.discriminator_features": 2,
        "schedule.total_kimg": 1.6,
        "optimiser.average_decay": 0.9,
        "stopping.num_images": 8,
    },
}


def arguments(app: str, dataset: Path, results: Path) -> tuple[object, ...]:
    settings = [part for key, value in (COMMON | APPS[app]).items() for part in ("--set", f"{key}={value}")]
    preset = "published" if app == "GAN_dcgan" else "cpu"
    return (f"{app}/train.py", "train", dataset, results, SEED, RESOLUTION[app], "--preset", preset, *settings)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all applications can train on: splits of images, and pairs of images and rows."""
    folder = write_toy_dataset(tmp_path_factory.mktemp("data"), resolution=16)
    return write_toy_pairs(folder)


def ticks(results: Path) -> list[int]:
    return [json.loads(line)["images_seen"] for line in (results / "stats.jsonl").read_text().splitlines()]


def final_weights(results: Path) -> dict[str, np.ndarray]:
    found = {}
    for name in ("generator", "discriminator", "average"):
        arrays, _ = read_arrays(results / "network-final" / f"{name}.safetensors")
        found |= {f"{name}/{key}": value for key, value in arrays.items()}
    return found | {path.name: np.load(path) for path in results.glob("*_losses.npy")}


def wait_for(path: Path, process: ScriptProcess) -> None:
    deadline = time.monotonic() + 200
    while not path.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def start(app: str, dataset: Path, results: Path) -> ScriptProcess:
    """Start a training and wait until its first steps are near."""
    process = ScriptProcess(*arguments(app, dataset, results))
    wait_for(results / "fakes000000.png", process)
    return process


@pytest.fixture(scope="module", params=APPS)
def undisturbed(
    request: pytest.FixtureRequest, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, np.ndarray], float]:
    """The application, the weights that it ends with, and the seconds from its first picture to its end."""
    results = tmp_path_factory.mktemp(request.param) / "results"
    process = start(request.param, dataset, results)
    begin = time.monotonic()
    _, err = process.communicate()
    assert process.returncode == 0, err
    return request.param, final_weights(results), time.monotonic() - begin


def require_same_end(undisturbed: tuple[str, dict[str, np.ndarray], float], dataset: Path, results: Path) -> str:
    """Run the same command again and compare the weights; return what it printed."""
    app, expected, _ = undisturbed
    again = run_script(*arguments(app, dataset, results))
    assert again.returncode == 0, again.stderr
    weights = final_weights(results)
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)
    assert ticks(results) == list(range(64, 1601, 64)), "one line a tick, none of them twice"
    return again.stdout


@pytest.mark.parametrize("point", range(NUM_POINTS))
def test_a_run_killed_at_a_random_point_ends_with_the_same_weights(
    undisturbed: tuple, dataset: Path, tmp_path: Path, point: int
) -> None:
    app, _, seconds = undisturbed
    draw = random.Random(f"{app} {point} {os.environ.get('KILL_SEED', '')}")
    results = tmp_path / "results"
    process = start(app, dataset, results)
    delay = draw.uniform(0, 0.95) * seconds
    time.sleep(delay)
    was_running = process.poll() is None
    process.kill()
    process.communicate()
    states = sorted(path.name for path in results.glob("training-state-*"))
    is_done = (results / "_training-done.txt").exists()
    print(f"{app}: killed after {delay:.2f} of {seconds:.2f} s, running: {was_running}, states: {states}")
    # A kill may also come between the sign that a training is done and the end of its process.
    assert was_running or is_done
    out = require_same_end(undisturbed, dataset, results)
    assert ("going on from" in out) == (bool(states) and not is_done)


def test_a_run_asked_to_stop_saves_its_state_at_once(undisturbed: tuple, dataset: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = start(undisturbed[0], dataset, results)
    wait_for(results / "stats.jsonl", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 143, err
    assert "stopped by SIGTERM; the state at" in err
    assert "Traceback" not in err
    assert not (results / "_training-done.txt").exists()
    assert "going on from" in require_same_end(undisturbed, dataset, results)


def test_a_truncated_state_is_passed_over_for_the_one_before(undisturbed: tuple, dataset: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    process = start(undisturbed[0], dataset, results)
    deadline = time.monotonic() + 200
    while len(states := sorted(results.glob("training-state-*.safetensors"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()
    newest = sorted(results.glob("training-state-*.safetensors"))[-1]
    assert len(states) == 2
    newest.write_bytes(newest.read_bytes()[:-100])
    out = require_same_end(undisturbed, dataset, results)
    assert "passed over a damaged state" in out
    assert newest.name in out
