"""run.py on a grid of one setting, from made-up radiographs to the table."""

import csv
import json
import re
from pathlib import Path

import pytest

from tests.commands import refused, run_script

SCRIPT = "benchmark/run.py"
GRID = """
name: tiny
phantom: [--patients, 300, --seed, 3]
resolution: 8
seeds: [1]
benchmarks:
  classes:
    command: create_class_from_xray
    settings: [2]
    options: [--image-size, 8, --classes, "2", --train-per-class, "20", --valid-per-class, 6, --test-per-class, 10,
              --split, 0.25]
    train_images: [40]
    test_images: [20]
gans:
  GAN_prog:
    kimg: 0.2
    options: [--preset, cpu, --set, network.fmap_base=32, --set, network.fmap_max=8 OPTION]
classifier:
  epochs: 1
  options: [--set, image_dimension=32, --set, epochs=1, --set, batch_size=8]
"""


def write_grid(folder: Path, option: str = "") -> Path:
    path = folder / "tiny.yaml"
    path.write_text(GRID.replace(" OPTION", option))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a grid's file, and its folder: begun with weights that the GAN does not find, then run to its end."""
    folder = tmp_path_factory.mktemp("grid")
    out = folder / "out"
    wrong = write_grid(folder, ", --set, stopping.features=inception-keras, --set, stopping.weights=none.h5")
    broken = run_script(SCRIPT, wrong, "--out", out, "--jobs", "2", "--cpus", "1", timeout=900)
    assert broken.returncode == 2
    message = broken.stderr
    assert "Traceback" not in message
    assert "classes-2/seed-1/GAN_prog/train failed: exit code 2" in message
    assert "The weights for --features inception-keras were expected here" in message  # the GAN's own words, in its log
    assert "not run for want of it: classes-2/seed-1/GAN_prog/classifier" in message
    assert "1 failed, 3 not run for want of them" in message
    assert (out / "failures.txt").is_file()
    cells = {row["trained_on"]: row for row in csv.DictReader((out / "cells.csv").open())}
    assert (cells["real"]["status"], cells["GAN_prog"]["status"]) == ("done", "failed")

    grid = write_grid(folder)
    done = run_script(SCRIPT, grid, "--out", out, "--jobs", "2", "--cpus", "1", timeout=900)
    assert done.returncode == 0, done.stderr
    assert "9 of 9 stages done, 4 of them now" in done.stdout
    return grid, out


def test_every_classifier_is_tested_on_the_same_images(finished: tuple[Path, Path]) -> None:
    _, out = finished
    assert not (out / "failures.txt").exists()
    rows = list(csv.DictReader((out / "cells.csv").open()))
    assert [row["status"] for row in rows] == ["done", "done"]
    facts = [json.loads((out / row["test_folder"] / "results.json").read_text()) for row in rows]
    assert [one["trained_on"] for one in facts] == ["real", "prog-GAN"]
    tested = [(out / row["test_folder"] / "test.csv").read_text() for row in rows]
    assert tested[0] == tested[1]
    assert len(tested[0].splitlines()) == 21


def test_table_and_figures_are_there(finished: tuple[Path, Path]) -> None:
    _, out = finished
    assert "Grid tiny: 2 of 2 classifiers tested, 1 seed (1)" in (out / "grid.txt").read_text()
    assert (out / "grid_classes.png").stat().st_size > 10_000


def test_the_same_command_runs_nothing_more(finished: tuple[Path, Path]) -> None:
    grid, out = finished
    events = (out / "events.jsonl").read_text()
    table = (out / "grid.csv").read_text()
    done = run_script(SCRIPT, grid, "--out", out, "--jobs", "2", "--cpus", "1")
    assert done.returncode == 0, done.stderr
    assert "9 of 9 stages done, 0 of them now" in done.stdout
    assert (out / "events.jsonl").read_text() == events
    assert (out / "grid.csv").read_text() == table


def test_the_plan_runs_nothing_and_knows_the_cost(finished: tuple[Path, Path]) -> None:
    grid, out = finished
    plan = run_script(SCRIPT, grid, "--out", out, "--plan")
    assert "9 stages, 9 done, 0 to run." in plan.stdout
    elsewhere = run_script(SCRIPT, grid, "--out", out.parent / "new", "--plan", "--rates", out)
    assert "9 stages, 0 done, 9 to run." in elsewhere.stdout
    assert "Images per second, measured on finished stages: GAN_prog " in elsewhere.stdout
    assert not (out.parent / "new").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("metrics: kidd", "Did you mean kid?"),
        ("nn: [--set, num_plantet=1]", "Did you mean nn.num_planted?"),
        ("seeds: [1]\nmodality: brain", "A phantom is no published data"),
    ],
)
def test_what_a_late_stage_would_refuse_is_refused_at_once(tmp_path: Path, option: str, message: str) -> None:
    grid = write_grid(tmp_path)
    text = grid.read_text()
    grid.write_text((text.replace("seeds: [1]\n", "") if "seeds" in option else text) + option + "\n")
    assert message in refused(SCRIPT, grid, "--plan")


@pytest.mark.parametrize("more", [["--plan"], []])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fmap_max=8", "fmap_mox=8", "GAN_prog/train cannot be run.*Did you mean network.fmap_max.*network.fmap_mox"),
        ("--split, 0.25", "--split, 0.75", "classes/dataset cannot be run.*--split is a fraction.*Received: 0.75"),
    ],
)
def test_commands_judge_their_options_before_the_first_stage(
    tmp_path: Path, more: list[str], old: str, new: str, message: str
) -> None:
    grid = write_grid(tmp_path)
    assert old in grid.read_text()
    grid.write_text(grid.read_text().replace(old, new))
    assert re.search(message, refused(SCRIPT, grid, "--out", tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()


def test_another_grids_folder_and_other_code_are_named(finished: tuple[Path, Path], tmp_path: Path) -> None:
    _, out = finished
    assert "holds another grid than smoke" in refused(SCRIPT, "smoke", "--out", out, "--plan")
    for path in (out / "records").glob("*.json"):
        (tmp_path / "records").mkdir(exist_ok=True)
        record = json.loads(path.read_text())
        (tmp_path / "records" / path.name).write_text(json.dumps(record | {"code": "older"}))
    (tmp_path / "stages").symlink_to(out / "stages")
    plan = run_script(SCRIPT, finished[0], "--out", tmp_path, "--plan")
    assert "9 stages, 0 done, 9 to run." in plan.stdout
    assert "9 more are finished under another version of the code" in plan.stdout


def test_a_synthetic_classifiers_folder_is_complete_as_results(finished: tuple[Path, Path]) -> None:
    _, out = finished
    cells = {row["trained_on"]: Path(row["test_folder"]) for row in csv.DictReader((out / "cells.csv").open())}
    results, data = out / cells["GAN_prog"].parents[1], out / cells["real"].parents[1]
    assert {path.name for path in results.iterdir()} >= {"inference", "network-final", "classification_results"}
    found = run_script("classifier_fake/nn.py", "nn", "classifier_fake", data, results, "8", "--dry-run")
    assert found.returncode == 0, found.stderr
    assert "20 held-out real ones of test, against 40 training images" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "A grid is one of demo, published-brain, published-chest, smoke"),
        (["published-chest"], "is for data of your own; name their folder by --data"),
        (["published-chest", "--data", "missing"], "A folder with the raw data was expected here"),
        (["smoke", "--data", "."], "draws its own data"),
        (["smoke", "--only", "gan"], "--only takes names of stages, with * for any part"),
        (["smoke", "--jobs", "0"], "--jobs is at least 1"),
        (["smoke", "--jobs", "0", "--plan"], "--jobs is at least 1"),
        (["smoke", "--cpus", "0"], "--cpus is at least 1"),
        (["smoke", "--plan", "--rates", "."], "--rates is the folder of a grid that was run"),
        (["smoke", "--ray", "127.0.0.1:1"], "Ray"),
    ],
)
def test_what_cannot_be_run_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refused(SCRIPT, *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
