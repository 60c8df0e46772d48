"""Settings of one GAN compared over seeds: the order of work, how long each is trained, resuming, and the table.

The commands themselves are stood in for; what they are called with is looked at.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmark import variants
from benchmark.steps import StepFailedError
from benchmark.variant_report import Outcome, Variant, draw_samples, draw_values, results_csv, table_text
from benchmark.variants import Request, compare_variants, parse_variant
from medsynth.errors import RunFolderError, UsageError
from medsynth.runs import DONE_NAME

SECONDS = {"published": 2.0, "slow": 6.0}  # of a tick in a trial, a kimg each


class Commands:
    """Stands in for the scripts: writes what they would, and remembers their arguments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.failing: str | None = None
        self.refused: str | None = None
        monkeypatch.setattr(variants._Session, "_run", lambda _, log, *call: self.run(log, *map(str, call)))

    def run(self, log: Path, script: str, *arguments: str) -> None:
        self.calls.append((script, *arguments))
        if self.refused and self.refused in " ".join(arguments):
            raise StepFailedError("failed", received="exit code 2")
        if "--dry-run" in arguments:
            return
        log.write_text("said\n")
        if self.failing and self.failing in " ".join(arguments):
            raise StepFailedError("failed", received="exit code 1")
        if "train.py" in script:
            self.train(Path(arguments[2]), arguments)
        elif "evaluate.py" in script:
            self.evaluate(Path(arguments[1]), "-nofloor" if "--no-floor" in arguments else "")
        else:
            Image.fromarray(np.zeros((8, 32), np.uint8)).save(arguments[2])

    def train(self, folder: Path, arguments: tuple[str, ...]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        seconds = SECONDS[folder.parent.name]
        ticks = [
            {
                "Timing/sec_per_tick": 100 * seconds if tick == 0 else seconds,
                "Timing/total_hours": 0.1,
                "Progress/kimg": 7.0,
            }
            for tick in range(4)
        ]
        (folder / "stats.jsonl").write_text("".join(json.dumps(tick) + "\n" for tick in ticks))
        (folder / DONE_NAME).touch()

    def evaluate(self, folder: Path, end: str) -> None:
        seed = int(folder.name.removeprefix("seed-"))
        value = {"published": 0.2, "slow": 0.6}[folder.parent.name] + 0.01 * seed
        row = {"value": value, "low": value - 0.1, "high": value + 0.1, "floor": 0.9}
        record = {
            "settings": {"n": 50},
            "networks": {"network-final": {"rows": {"coverage": row, "kid": {**row, "floor": None}}}},
        }
        (folder / "metrics").mkdir(exist_ok=True)
        (folder / "metrics" / f"densenet-train-n50-seed1{end}.json").write_text(json.dumps(record))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(monkeypatch)


def request(tmp_path: Path, **changes: Any) -> Request:
    given = {
        "out_dir": tmp_path / "out",
        "data_dir": tmp_path / "data",
        "resolution": 16,
        "variants": (Variant("published", ("--preset", "published")), parse_variant("slow=--set 'loss.gamma_1=1'")),
        "options": ("--batch-size", "8"),
        "minutes": 2.0,
        "num_seeds": 2,
        "num_jobs": 1,
        "metrics": "coverage,kid",
        "features": "densenet",
        "weights": None,
        "split": "train",
    }
    return Request(**(given | changes))


def trainings(commands: Commands) -> list[str]:
    return [
        "/".join(Path(call[3]).parts[-2:])
        for call in commands.calls
        if "train.py" in call[0] and "--dry-run" not in call
    ]


def test_each_variant_is_trained_as_long_as_fits_into_the_minutes(commands: Commands, tmp_path: Path) -> None:
    text = compare_variants(request(tmp_path))
    seeds = [f"{name}/seed-{seed}" for seed in (1, 2) for name in ("published", "slow")]
    assert trainings(commands) == ["published/trial", "slow/trial", *seeds]
    kimg = {name: 2 * 60 / seconds for name, seconds in SECONDS.items()}
    for call in commands.calls:
        if "train.py" not in call[0] or "trial" in call[3] or "--dry-run" in call:
            continue
        name = Path(call[3]).parent.name
        assert f"schedule.total_kimg={kimg[name]}" in call
        assert ("loss.gamma_1=1" in call) == (name == "slow")
        assert call[4:6] == (Path(call[3]).name.removeprefix("seed-"), "16")
        assert "--batch-size" in call
    assert (tmp_path / "out" / "table.txt").read_text() == text
    assert len(list(csv.DictReader((tmp_path / "out" / "results.csv").open()))) == 2 * 2 * 2
    for picture in ("collapse.png", "samples.png"):
        with Image.open(tmp_path / "out" / picture) as image:
            assert image.width > 300


def test_it_goes_on_where_it_stopped_and_can_be_added_to(commands: Commands, tmp_path: Path) -> None:
    commands.failing = "slow/seed-1"
    with pytest.raises(StepFailedError):
        compare_variants(request(tmp_path))
    commands.failing, before = None, trainings(commands)
    assert "slow/seed-2" not in before
    commands.calls.clear()
    compare_variants(request(tmp_path))
    assert "published/trial" not in trainings(commands)
    assert "published/seed-1" not in trainings(commands), "finished before"
    assert "slow/seed-1" in trainings(commands)
    commands.calls.clear()
    compare_variants(request(tmp_path, num_seeds=3))
    assert trainings(commands) == ["published/seed-3", "slow/seed-3"]
    compare_variants(request(tmp_path / "other", with_floor=False))
    with pytest.raises(RunFolderError, match="minutes"):
        compare_variants(request(tmp_path, minutes=3.0))


def test_every_variant_is_checked_before_the_first_trial_and_a_failed_check_binds_nobody(
    commands: Commands, tmp_path: Path
) -> None:
    commands.refused = "loss.gamma_1=1"
    with pytest.raises(StepFailedError):
        compare_variants(request(tmp_path))
    assert [(Path(call[3]).parent.name, call[-1]) for call in commands.calls] == [
        ("published", "--dry-run"),
        ("slow", "--dry-run"),
    ]
    assert all("schedule.total_kimg=1.0" in call for call in commands.calls), "the shortest that may come"
    commands.refused = None
    compare_variants(request(tmp_path, options=("--batch-size", "4")))
    commands.calls.clear()
    compare_variants(request(tmp_path, options=("--batch-size", "4")))
    assert not [call for call in commands.calls if "train.py" in call[0]]


def test_no_variant_is_trained_for_longer_than_the_minutes(commands: Commands, tmp_path: Path) -> None:
    assert SECONDS["published"] < 0.05 * 60 < SECONDS["slow"], "the premise"
    with pytest.raises(UsageError, match=r"enough for 1 kimg .*; slow takes 0\.1 minutes for that\. Received: 0\.05"):
        compare_variants(request(tmp_path, minutes=0.05))
    assert trainings(commands) == ["published/trial", "slow/trial"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variants": (Variant("a", ()), Variant("a", ("x",)))}, "name of its own"),
        ({"num_seeds": 0}, "--seeds"),
        ({"minutes": -1.0}, "--minutes"),
        ({"minutes": float("nan")}, "--minutes"),
        ({"num_jobs": 0}, "--jobs"),
    ],
)
def test_requests_that_make_no_sense_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        request(tmp_path, **changes)


def test_variants_are_read_as_a_shell_would() -> None:
    assert parse_variant("published") == Variant("published", ("--preset", "published"))
    assert parse_variant("a-b=--set x=1 --set 'y=2 3'") == Variant("a-b", ("--set", "x=1", "--set", "y=2 3"))
    for text in ("a/b=--x", "=--x", "", "a='"):
        with pytest.raises(UsageError):
            parse_variant(text)


def outcomes(values: dict[str, list[float]]) -> list[Outcome]:
    return [
        Outcome(
            name,
            seed,
            10.0 + seed,
            5.0,
            50,
            {"coverage": {"value": value, "low": 0.0, "high": 1.0, "floor": 0.9}},
            Path(),
        )
        for name, of_name in values.items()
        for seed, value in enumerate(of_name, 1)
    ]


def test_the_interval_is_that_over_seeds_and_a_star_says_what_differs() -> None:
    found = outcomes({"a": [0.1, 0.2, 0.3], "same": [0.15, 0.2, 0.25], "more": [0.7, 0.8, 0.9]})
    text = table_text(found, [Variant(name, ()) for name in ("a", "same", "more")])
    (line,) = [line for line in text.splitlines() if line.startswith("coverage")]
    half = 4.302653 * 0.1 / np.sqrt(3)  # Student's t of two degrees of freedom
    assert half > 0.2
    assert f"0.200 [0.000, {0.2 + half:.3f}]" in line, "no coverage is negative"
    assert f"0.800 [{0.8 - half:.3f}, {0.8 + half:.3f}] *" in line
    assert line.count("*") == 1
    assert line.endswith("0.900")
    assert "Mean of 3 seeds" in text
    assert "11.0-13.0" in text


def test_one_seed_has_the_interval_of_its_images() -> None:
    text = table_text(outcomes({"a": [0.5]}), [Variant("a", ("--preset", "a"))])
    assert "0.500 [0.000, 1.000]" in text
    assert "another training would give other figures" in text
    assert "a: --preset a" in text


def test_files_hold_every_value(tmp_path: Path) -> None:
    found = outcomes({"a": [0.1234567, 0.2]})
    rows = list(csv.DictReader(results_csv(found).splitlines()))
    assert float(rows[0]["value"]) == 0.1234567
    sample = tmp_path / "sample.png"
    Image.fromarray(np.full((8, 64), 255, np.uint8)).save(sample)
    shown = [Outcome(one.variant, one.seed, one.kimg, one.minutes, 50, one.rows, sample) for one in found]
    draw_samples(tmp_path / "samples.png", shown, [Variant("a", ())])
    draw_values(tmp_path / "values.png", shown, [Variant("a", ())])
    with Image.open(tmp_path / "samples.png") as image:
        assert (np.asarray(image.convert("L")) < 100).mean() < 0.1, "white samples stay white"


def test_a_failing_command_names_its_log(tmp_path: Path) -> None:
    session = variants._Session(request(tmp_path))
    log = tmp_path / "x.log"
    with pytest.raises(StepFailedError, match=r"x\.log.*exit code 2") as caught:
        session._run(log, "GAN_dcgan/train.py", "no-such-command")
    assert "error" in str(caught.value)
