"""Stages of a grid: run once, again only when what they are made from changes, whatever is killed in between."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.grid.costs import Costs
from benchmark.grid.keys import Record, Records
from benchmark.grid.outcome import describe_failures
from benchmark.grid.plan import format_plan
from benchmark.grid.pools import LocalPool
from benchmark.grid.scheduler import Resolver, survey
from benchmark.grid.stages import needed_by
from benchmark.grid.work import read_events
from medsynth.errors import UsageError
from tests.grid_graph import SCRIPT, diamond, product_of, run_graph, stage

ROOT = Path(__file__).parents[2]


def starts(grid_dir: Path) -> list[str]:
    return [event["stage"] for event in read_events(grid_dir) if event["event"] == "start"]


def test_stages_run_after_those_that_they_need_and_read_their_products(tmp_path: Path) -> None:
    state = run_graph(tmp_path, diamond())
    assert not state.failed
    assert product_of(state, tmp_path, "bottom") == "bottom left top right top"
    order = starts(tmp_path)
    assert sorted(order) == ["alone", "bottom", "left", "right", "top"]
    assert order.index("top") < min(order.index("left"), order.index("right"))
    assert order[-1] == "bottom" or order[-2:] == ["bottom", "alone"]


def test_finished_stages_do_not_run_again(tmp_path: Path) -> None:
    run_graph(tmp_path, diamond())
    again = run_graph(tmp_path, diamond())
    assert again.fresh == []
    assert len(again.done) == 5
    assert len(starts(tmp_path)) == 5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"left": ("--seconds", "0.01")}, ["left"], id="another option with the same product"),
        pytest.param({"left": ("--upper",)}, ["bottom", "left"], id="another product"),
        pytest.param({"bottom": ("--upper",)}, ["bottom"], id="the last"),
    ],
)
def test_a_change_runs_what_depends_on_it_and_no_more(
    tmp_path: Path, change: dict[str, tuple[str, ...]], expected: list[str]
) -> None:
    run_graph(tmp_path, diamond())
    state = run_graph(tmp_path, diamond(**change))
    assert sorted(state.fresh) == expected


@pytest.mark.parametrize("damage", ["removed", "truncated", "same size"])
def test_a_stage_whose_product_was_damaged_runs_again(tmp_path: Path, damage: str) -> None:
    before = run_graph(tmp_path, diamond())
    path = tmp_path / before.done["left"].folder / "product.txt"
    text = path.read_text()
    path.unlink() if damage == "removed" else path.write_text(text[:2] if damage == "truncated" else text.upper())
    state = run_graph(tmp_path, diamond())
    assert state.fresh == ["left"]
    assert product_of(state, tmp_path, "left") == text


def test_a_grid_folder_can_be_moved(tmp_path: Path) -> None:
    run_graph(tmp_path / "here", diamond())
    shutil.copytree(tmp_path / "here", tmp_path / "there")  # with other times of change
    shutil.rmtree(tmp_path / "here")
    state = run_graph(tmp_path / "there", diamond())
    assert state.fresh == []
    assert product_of(state, tmp_path / "there", "bottom") == "bottom left top right top"


def test_results_of_another_version_of_the_code_count_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_graph(tmp_path, diamond())
    monkeypatch.setattr("benchmark.grid.keys.code_version", lambda application: f"newer {application}")
    resolver, records = Resolver(tmp_path, diamond(), None), Records(tmp_path.resolve())
    assert survey(diamond(), resolver, records) == {}
    assert run_graph(tmp_path, diamond(), any_code=True).fresh == []


def test_a_failure_holds_up_only_what_needs_it(tmp_path: Path) -> None:
    state = run_graph(tmp_path, diamond(left=("--fail",)))
    assert set(state.done) == {"top", "right", "alone"}
    assert set(state.failed) == {"left"}
    assert state.blocked == {"bottom": "left"}
    text = describe_failures(state, tmp_path.resolve())
    assert "left failed: exit code 1" in text
    assert "it was told to fail. Received: --fail" in text
    assert "working on left" in text
    assert "not run for want of it: bottom" in text
    mended = run_graph(tmp_path, diamond())
    assert sorted(mended.fresh) == ["bottom", "left"]


def test_a_command_that_leaves_no_product_has_failed(tmp_path: Path) -> None:
    empty = stage("empty")
    broken = type(empty)(**{**vars(empty), "products": ("other-*.txt",)})
    state = run_graph(tmp_path, [broken])
    assert "left none of the files other-*.txt" in state.failed["empty"].reason


def wait_for(path: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def is_running(process_id: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{process_id}/stat").read_text().split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(process_id: int) -> list[int]:
    tasks = Path(f"/proc/{process_id}/task").glob("*/children")
    return [int(number) for task in tasks for number in task.read_text().split()]


def start_driver(grid_dir: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.grid_graph", str(grid_dir)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(
    ("number", "has_children_killed"),
    [(signal.SIGKILL, False), (signal.SIGKILL, True), (signal.SIGTERM, False)],
    ids=["killed", "killed with its children, as Ray does", "stopped"],
)
def test_a_grid_that_is_killed_takes_its_commands_along_and_goes_on(
    tmp_path: Path, number: signal.Signals, has_children_killed: bool
) -> None:
    driver = start_driver(tmp_path)
    wait_for(tmp_path / "events.jsonl")
    end = time.monotonic() + 60
    while "left" not in starts(tmp_path) and time.monotonic() < end:
        time.sleep(0.02)
    (folder,) = (tmp_path / "stages" / "left").iterdir()
    wait_for(folder / "pid.txt")
    child = int((folder / "pid.txt").read_text())
    assert is_running(child)
    children = children_of(driver.pid)
    assert children
    driver.send_signal(number)
    for process_id in children if has_children_killed else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
    driver.wait(60)
    assert driver.returncode != 0
    end = time.monotonic() + 20
    while is_running(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_running(child), "the command outlived its grid"
    assert not (folder / "product.txt").exists()

    again = start_driver(tmp_path)
    assert again.wait(120) == 0
    found = starts(tmp_path)
    assert found.count("top") == 1, "a finished stage ran again"
    assert found.count("left") == 2
    assert found.count("bottom") == 1
    slow = ("--seconds", "3")
    state = run_graph(tmp_path, diamond(left=slow, right=slow, bottom=slow))
    assert state.fresh == []
    assert product_of(state, tmp_path, "bottom") == "bottom left top right top"


def test_each_stage_has_the_gpus_that_it_takes_to_itself(tmp_path: Path) -> None:
    together = tmp_path / "together"
    wanted = {"one": 1, "two": 1, "both": 2}
    stages = [stage(name, options=("--until", str(together)), gpus=gpus) for name, gpus in wanted.items()]
    pool = LocalPool(3, ["4", "7"], 1)
    pool.check(stages)
    submitted = []
    original = pool.submit

    def submit(task: object) -> None:
        original(task)  # type: ignore[arg-type]
        submitted.append(pool.has_room(stages[2]))
        if len(submitted) == 2:
            together.write_text("go")

    pool.submit = submit  # type: ignore[method-assign]
    state = run_graph(tmp_path, stages, pool)
    assert not state.failed
    assert submitted[:2] == [False, False], "a stage that takes both GPUs had room beside another one"
    seen = {name: (tmp_path / record.folder / "gpus.txt").read_text() for name, record in state.done.items()}
    assert {seen["one"], seen["two"]} == {"4", "7"}
    assert sorted(seen["both"].split(",")) == ["4", "7"]


@pytest.mark.parametrize(("gpus", "is_refused"), [([], False), (["0"], True), (["0", "1"], False)])
def test_a_stage_that_takes_more_gpus_than_there_are_is_refused(gpus: list[str], is_refused: bool) -> None:
    pool = LocalPool(1, gpus)
    if not is_refused:
        pool.check([stage("wide", gpus=2)])
        return
    with pytest.raises(UsageError, match=r"wide takes 2 GPUs.*Received: 1 here"):
        pool.check([stage("wide", gpus=2)])


def test_only_what_is_chosen_and_needed() -> None:
    assert needed_by(diamond(), {"left"}) == {"left", "top"}
    assert needed_by(diamond(), {"bottom", "alone"}) == {"top", "left", "right", "bottom", "alone"}


def record(kind: str, num_images: int, seconds: float, attempts: int = 1) -> Record:
    return Record("name", kind, "", "", "", {}, seconds, attempts, num_images)


def test_costs_are_fitted_to_start_up_and_rate() -> None:
    costs = Costs()
    costs.learn(record("joined", 100, 15.0))
    assert costs.line("joined") == (0.0, pytest.approx(0.15))
    costs.learn(record("joined", 300, 25.0))
    assert costs.line("joined") == (pytest.approx(10.0), pytest.approx(0.05))
    costs.learn(record("joined", 900, 1.0, attempts=2))  # killed in between: its seconds are not all
    assert costs.seconds(stage("a")) == pytest.approx(10.5)
    assert costs.line("other") is None


def test_the_plan_says_what_is_done_what_it_costs_and_what_is_not_known(tmp_path: Path) -> None:
    stages = [*diamond(), stage("new", "bottom", kind="unmeasured")]
    state = run_graph(tmp_path, diamond())
    costs = Costs()
    costs.learn_all(Records(tmp_path))
    resolver = Resolver(tmp_path, stages, None)
    text = format_plan(stages, survey(stages, resolver, Records(tmp_path.resolve())), costs, 2)
    rows = {line.split("|")[0].strip(): line for line in text.splitlines() if "|" in line}
    assert "took" in rows["bottom"]
    assert "done" in rows["bottom"]
    assert "ready" in rows["new"]
    assert "6 stages, 5 done, 1 to run." in text
    assert "Not measured yet, and not in the estimate: unmeasured" in text
    assert len(state.fresh) == 5


def test_the_scripts_of_the_tests_are_there() -> None:
    assert (ROOT / SCRIPT).is_file()
