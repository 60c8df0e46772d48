"""A grid on a local Ray cluster of two workers, one of which is lost in the middle."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmark.grid.pools import RayPool
from benchmark.grid.work import read_events
from medsynth.errors import DependencyError
from tests.grid_graph import diamond, product_of, run_graph

ray = pytest.importorskip("ray", reason="the extra `cluster` is not installed")


def _processes(grid_dir: Path, *names: str) -> list[int]:
    """Return the processes of stages whose commands have begun."""
    texts = [path.read_text() for name in names for path in (grid_dir / "stages" / name).glob("*/pid.txt")]
    return [int(text) for text in texts if text]


def _are_alive(processes: list[int]) -> bool:
    return all(Path(f"/proc/{number}").exists() for number in processes)


def _wait_until(holds: Callable[[], bool], end: float) -> bool:
    while not (held := holds()) and time.monotonic() < end:
        time.sleep(0.05)
    return held


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    # The head only keeps the books, as on a real cluster whose driver is a small machine.
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield found
    ray.shutdown()
    found.shutdown()


def test_the_grid_ends_complete_when_a_worker_is_killed(cluster: Any, tmp_path: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    go = tmp_path / "go"
    waiting = ("--until", str(go))
    stages = diamond(left=waiting, right=waiting)
    pool = RayPool(cluster.address)
    pool.check(stages)
    killed: list[str] = []

    def kill_one() -> None:
        end = time.monotonic() + 240
        try:
            if _wait_until(lambda: len(_processes(tmp_path, "left", "right")) == 2, end):
                processes = _processes(tmp_path, "left", "right")
                cluster.remove_node(nodes[0], allow_graceful=False)
                killed.append("node")
                # The lost machine's command ends a moment after it; with its input there, it would end whole before.
                _wait_until(lambda: not _are_alive(processes), end)
        finally:
            go.write_text("go")

    thread = threading.Thread(target=kill_one)
    thread.start()
    state = run_graph(tmp_path, stages, pool)
    thread.join()
    assert killed == ["node"], "both stages should have been running when a worker was lost"
    assert not state.failed
    assert product_of(state, tmp_path, "bottom") == "bottom left top right top"
    begun = [event["stage"] for event in read_events(tmp_path) if event["event"] == "start"]
    assert begun.count("top") == 1, "a finished stage ran again"
    assert begun.count("left") + begun.count("right") >= 3, "no stage was started again"


def test_a_cluster_that_is_not_there_is_named() -> None:
    with pytest.raises(DependencyError, match=r"No Ray cluster could be reached at 127\.0\.0\.1:1; start one"):
        RayPool("127.0.0.1:1")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DependencyError, match=r"pip install -e '\.\[cluster\]'"):
        RayPool("auto")
    assert subprocess.call([sys.executable, "-c", "import benchmark.grid.pools"], cwd=Path(__file__).parents[2]) == 0
