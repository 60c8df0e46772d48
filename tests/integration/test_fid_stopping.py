"""FID in training: measured at its ticks, the best networks kept, an end once it no longer falls."""

import json
from pathlib import Path

import pytest

from medsynth.files import read_json
from tests.commands import refused, run_script
from tests.toy_data import write_toy_dataset

SETTINGS = {
    "network.fmap_base": 64,
    "network.fmap_max": 8,
    "network.precision": "float32",
    "schedule.total_kimg": 1.6,
    "schedule.minibatch_base": 8,
    "schedule.default_tick_kimg": 0.064,
    "trainer.max_grid_images": 8,
    "stopping.features": "random",
    "stopping.every_ticks": 2,
    "stopping.patience": 2,
    "stopping.minimum_kimg": 0.2,
    "stopping.num_images": 48,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_dataset(tmp_path_factory.mktemp("data"), resolution=16)


def arguments(dataset: Path, results: Path, **changes: object) -> list[object]:
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ["GAN_cpd/train.py", "train", dataset, results, 3, 16, "--preset", "cpu", *options]


def test_the_best_networks_are_kept_and_the_training_ends_early(dataset: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    # At this rate nothing is ever learnt, so that the first value stays the lowest.
    done = run_script(
        *arguments(
            dataset, results, schedule__generator_learning_rate=1e-20, schedule__discriminator_learning_rate=1e-20
        )
    )
    assert done.returncode == 0, done.stderr
    ticks = [json.loads(line) for line in (results / "stats.jsonl").read_text().splitlines()]
    measured = [(tick["Progress/tick"], tick["Metrics/fid"]) for tick in ticks if "Metrics/fid" in tick]
    assert [number for number, _ in measured] == list(range(4, 4 + 2 * len(measured), 2)), "every second from 0.2 kimg"
    values = [value for _, value in measured]
    best = values.index(min(values))
    assert best == len(values) - 3, "two values after the best end the training"
    assert len(ticks) == measured[-1][0] < 25, "before the end of the schedule"
    facts = read_json(results / "network-final" / "network.json")
    assert facts["chosen_by"] == "FID"
    assert facts["fid"] == pytest.approx(min(values))
    assert facts["images_seen"] == ticks[measured[best][0] - 1]["images_seen"]
    assert (results / "_training-done.txt").exists()
    assert f"(the best by FID, {min(values):.2f})" in done.stdout
    assert "random" in done.stdout, "features that mean nothing are called so"


def test_missing_weights_are_said_before_training(dataset: Path, tmp_path: Path) -> None:
    changes = {"stopping__features": "inception-2015", "stopping__weights": str(tmp_path / "nowhere.pb")}
    line = refused(*arguments(dataset, tmp_path / "results", **changes))
    assert "nowhere.pb" in line
    assert not (tmp_path / "results").exists()
    dry = run_script(*arguments(dataset, tmp_path / "results", stopping__features="inception-2015"), "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "no weights for inception-2015 (--set stopping.weights=PATH): FID is not measured" in dry.stdout


def test_settings_that_do_not_go_together_are_refused(dataset: Path, tmp_path: Path) -> None:
    def line(**changes: object) -> str:
        return refused(*arguments(dataset, tmp_path / "results", **changes))

    assert "loss.discriminator=wgangp has no term for loss.gamma_1" in line(loss__gamma_1=3.0)
    assert "augment.probability has no effect with augment.mode=off" in line(augment__probability=0.5)
    assert "stopping.features is none, swd or one of" in line(stopping__features="pixels", stopping__weights="x")
    assert not (tmp_path / "results").exists()
