"""The losses of every batch: what is on disk after a kill, and what becomes of it."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from tensorflow.python.summary.summary_iterator import summary_iterator

from GAN_dcgan.loss_curves import DECAY, LossCurves
from medsynth.errors import RunFolderError

NUM = 30


def losses(step: int) -> dict[str, float]:
    values = np.random.default_rng(step).random(3).astype(np.float32)
    real, fake, generator = map(float, values)
    found = {"generator": generator, "discriminator_real": real, "discriminator_fake": fake, "real_scores": 7.0}
    return found | {"discriminator": real + fake if step != 4 else math.nan}


def write(folder: Path, first: int, stop: int, *, restore: int, keep: bool = True) -> LossCurves:
    curves = LossCurves(folder)
    curves.restore(restore)
    for step in range(first, stop):
        curves.add(step, 8 * (step + 1), losses(step))
    if keep:
        curves.keep()
        curves.draw()
    return curves


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    write(tmp_path / "whole", 0, NUM, restore=0)
    return tmp_path / "whole"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()


def test_every_batch_has_a_row(whole: Path) -> None:
    rows = list(csv.DictReader((whole / "losses.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(NUM))
    assert [int(row["images_seen"]) for row in rows] == [8 * (step + 1) for step in range(NUM)]
    stored = np.load(whole / "generator_losses.npy")
    expected = np.array([losses(step)["generator"] for step in range(NUM)], np.float32)
    np.testing.assert_array_equal(stored, expected)
    np.testing.assert_array_equal([np.float32(row["generator"]) for row in rows], expected)
    weights = DECAY ** np.arange(NUM)[::-1]
    assert float(rows[-1]["generator_smoothed"]) == pytest.approx(np.average(expected, weights=weights))
    assert np.isnan(np.load(whole / "discriminator_losses.npy")).sum() == 1
    assert all(math.isfinite(float(row["discriminator_smoothed"])) for row in rows), "NaN is left out of the mean"
    assert (whole / "losses.png").stat().st_size > 5000


@pytest.mark.parametrize("cut", [0, 3, 40])
def test_a_killed_run_leaves_no_batch_twice_and_none_out(whole: Path, tmp_path: Path, cut: int) -> None:
    killed = tmp_path / "killed"
    write(killed, 0, 25, restore=0)
    path = killed / "losses.csv"
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) - cut])  # killed as it wrote
    write(killed, 20, NUM, restore=20)
    assert files(killed) == files(whole)
    events = [event for file in (killed / "losses").iterdir() for event in summary_iterator(str(file))]
    steps = [e.step for e in events for v in e.summary.value if v.tag == "Batch/generator"]
    assert steps == [8 * (step + 1) for step in range(NUM)]


def test_nothing_is_kept_before_a_state_asks_for_it(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    write(killed, 0, 5, restore=0, keep=False)
    assert len((killed / "losses.csv").read_text().splitlines()) == 1


def test_losses_that_are_gone_are_named(tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    write(killed, 0, 10, restore=0)
    with pytest.raises(RunFolderError, match=r"The losses of 12 batches .* Received: 10 batches"):
        LossCurves(killed).restore(12)
    (killed / "losses.csv").unlink()
    write(killed, 12, 14, restore=12)
    assert len(np.load(killed / "generator_losses.npy")) == 2
