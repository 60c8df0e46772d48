"""Several devices and processes: the same losses as one, one that dies, one that is asked to stop."""

import json
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from medsynth.errors import UsageError
from medsynth.training.distribution import available_devices, mirrored
from tests.commands import ScriptProcess, run_script
from tests.toy_data import write_toy_dataset

NUM_STEPS = 20
OPTIONS = {
    "network.fmap_base": 64,
    "network.fmap_max": 8,
    "network.precision": "float32",
    "schedule.total_kimg": 1.28,
    "schedule.num_gpus": 2,
    "schedule.minibatch_base": 8,
    "schedule.default_tick_kimg": 0.16,
    "trainer.max_grid_images": 8,
}


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(script: str, *arguments: object, environment: str = "TF_CONFIG") -> list[ScriptProcess]:
    """Start a script as two processes that work together, as TF_CONFIG or Slurm would have it."""
    ports = free_ports(2)
    if environment == "slurm":
        base = next(port for port in range(ports[0], 65000) if is_free(port) and is_free(port + 1))
    workers = []
    for index in range(2):
        if environment == "TF_CONFIG":
            cluster = {"worker": [f"localhost:{port}" for port in ports]}
            config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            more = {"TF_CONFIG": json.dumps(config)}
        else:
            more = {
                "SLURM_STEP_NUM_TASKS": "2",
                "SLURM_STEP_NODELIST": "localhost",
                "SLURM_STEP_TASKS_PER_NODE": "2",
                "SLURM_PROCID": str(index),
                "MEDSYNTH_PORT": str(base),
            }
        workers.append(ScriptProcess(script, *arguments, environment=more))
    return workers


def is_free(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("localhost", port)) != 0


def outputs(workers: list[ScriptProcess], timeout: float = 240) -> list[tuple[int, str, str]]:
    try:
        texts = [worker.communicate(timeout) for worker in workers]
        return [(worker.poll(), *both) for worker, both in zip(workers, texts, strict=True)]
    finally:
        for worker in workers:
            worker.kill()


STEPS = "tests/distributed_steps.py"


@pytest.fixture(scope="module")
def one_device() -> dict[str, list[dict[str, float]]]:
    result = run_script(STEPS, "one")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def require_same(ours: dict[str, list[dict[str, float]]], expected: dict[str, list[dict[str, float]]]) -> None:
    assert ours.keys() == expected.keys()
    assert len(expected) == 8
    for name, steps in expected.items():
        assert len(steps) == NUM_STEPS
        for loss in ("generator", "discriminator"):
            values = np.array([step[loss] for step in steps])
            assert np.ptp(values) > 1e-3, "the losses change from step to step"
            np.testing.assert_allclose([step[loss] for step in ours[name]], values, rtol=1e-4, err_msg=name)


def test_two_devices_of_one_host_compute_what_one_does(one_device: dict) -> None:
    result = run_script(STEPS, "mirrored")
    assert result.returncode == 0, result.stderr
    require_same(json.loads(result.stdout.splitlines()[-1]), one_device)


def test_two_processes_compute_what_one_does(one_device: dict) -> None:
    for code, out, err in outputs(start_workers(STEPS, "worker")):
        assert code == 0, err
        require_same(json.loads(out.splitlines()[-1]), one_device)


def test_tasks_of_slurm_find_each_other_and_agree_with_the_chief() -> None:
    for code, out, err in outputs(start_workers(STEPS, "agree", environment="slurm")):
        assert code == 0, err
        assert json.loads(out.splitlines()[-1]) == [2, 10.0]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_dataset(tmp_path_factory.mktemp("data"), resolution=16)


def train_command(dataset: Path, results: Path) -> tuple[str, *tuple[object, ...]]:
    settings = [part for key, value in OPTIONS.items() for part in ("--set", f"{key}={value}")]
    return "GAN_cpd/train.py", "train", dataset, results, 3, 16, "--preset", "cpu", *settings


def wait_for_ticks(results: Path, number: int, workers: list[ScriptProcess]) -> None:
    deadline = time.monotonic() + 200
    log = results / "log.txt"
    while not (log.exists() and log.read_text().count("tick ") >= number):
        assert time.monotonic() < deadline
        assert all(worker.poll() is None for worker in workers), [worker.communicate() for worker in workers]
        time.sleep(0.01)


def test_a_worker_that_dies_stops_the_others_and_the_job_resumes(dataset: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    command = train_command(dataset, results)
    workers = start_workers(*command)
    wait_for_ticks(results, 2, workers)
    workers[1].kill()
    code, _, err = outputs(workers, timeout=120)[0]
    assert code == 2, err
    assert "Worker 0 stopped because" in err
    assert "they go on from the last saved state" in err
    assert "Traceback" not in err
    assert not (results / "_training-done.txt").exists()

    # Again, and this time one of them is asked to stop: both do, with the state saved.
    workers = start_workers(*command)
    wait_for_ticks(results, 4, workers)
    workers[1].send_signal(signal.SIGTERM)
    for code, _, err in outputs(workers, timeout=120):
        assert code == 143, err
        assert "is saved, and the same command goes on from it" in err

    for code, out, err in outputs(start_workers(*command)):
        assert code == 0, err
        assert "going on from" in out
    assert (results / "_training-done.txt").exists()
    assert (results / "network-final" / "network.json").is_file()


def test_devices_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert available_devices(1) == available_devices(8) >= 1
    cluster = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(cluster))
    num_devices = 2 * max(len(tf.config.list_physical_devices("GPU")), 1)
    assert available_devices(num_devices) == num_devices
    with pytest.raises(UsageError, match=f"The 2 processes of the cluster have {num_devices} devices"):
        available_devices(1)
    of_another = json.dumps({**cluster, "task": {"type": "worker", "index": 2}})
    for broken in ("{", '{"cluster": {"worker": ["a:1"]}}', of_another):
        monkeypatch.setenv("TF_CONFIG", broken)
        with pytest.raises(UsageError, match="TF_CONFIG must read"):
            available_devices(2)
    # Tasks of one Slurm step share a training only where it is for several devices.
    monkeypatch.delenv("TF_CONFIG")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert available_devices(1) == num_devices // 2
    assert available_devices(num_devices) == num_devices


def test_a_classifiers_step_is_the_same_on_two_devices(tmp_path: Path) -> None:
    """Loss, gradients and batch statistics; the sum instead of the mean of the gradients would differ by 1."""
    done = run_script("tests/distributed_classifier.py", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    difference = json.loads(done.stdout.splitlines()[-1])
    assert difference["loss"] < 1e-5
    assert difference["statistics"] < 1e-5
    # At 32x32 the last blocks normalise eight numbers each, which enlarges rounding.
    assert difference["gradients"] < 0.03


def test_more_gpus_than_there_are_are_refused() -> None:
    with pytest.raises(UsageError, match="sees 0 GPU"):
        mirrored(2)
