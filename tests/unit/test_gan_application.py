"""A GAN training within one process: which settings go together, and what is on disk when it stops early."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from GAN_cpd.application import APPLICATION as CPD
from GAN_prog.application import APPLICATION as PROG
from medsynth.data.pyramid import ImagePyramid
from medsynth.errors import DataError, DivergenceError, NetworkError, UsageError
from medsynth.gan import trainer
from medsynth.gan.application import GanApplication, Training, check_settings, prepare_training
from medsynth.interrupts import StoppedError
from medsynth.training.checkpoint import read_arrays
from tests.toy_data import write_toy_dataset

RESOLUTION = 16
SMALL = {
    "network.fmap_base": 64,
    "network.fmap_max": 8,
    "network.precision": "float32",
    "schedule.total_kimg": 0.064,
    "schedule.minibatch_base": 8,
    "schedule.tick_kimg": {},
    "schedule.default_tick_kimg": 0.032,
    "trainer.max_grid_images": 8,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_dataset(tmp_path_factory.mktemp("data"), resolution=RESOLUTION)


def prepare(dataset: Path, application: GanApplication = CPD, **changes: Any) -> Training:
    return prepare_training(application, dataset, 3, RESOLUTION, "cpu", assignments(changes))


def assignments(changes: dict[str, Any]) -> list[str]:
    """Return the small settings with some changed, as --set takes them."""
    settings = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule__initial_resolution": 8}, "cpD-GAN does not grow, so schedule.initial_resolution cannot be set"),
        ({"schedule__training_kimg": 1.0}, "cpD-GAN does not grow, so schedule.training_kimg cannot be set"),
        ({"schedule__total_kimg": 1e-9}, r"must hold one minibatch at least, 0\.008"),
        ({"schedule__total_kimg": 0.007}, "must hold one minibatch"),
        ({"schedule__generator_learning_rate": 1e38}, "must be above 0 and at most 1"),
        ({"schedule__minibatch_by_resolution": {33: 8}}, "minibatch_by_resolution is by resolution, a power of two"),
        ({"schedule__minibatch_base": 0}, "must be 1 or more on each of 1 device"),
        ({"stopping__features": "xyz"}, "stopping.features is none, swd or one of inception-2015"),
        ({"stopping__weights": "/nowhere"}, "stopping.weights has no effect with stopping.features=none"),
        ({"augment__target": 0.3}, "augment.target has no effect"),
    ],
)
def test_settings_without_sense_are_refused(dataset: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(dataset, **changes)
    with pytest.raises(UsageError, match=message):
        check_settings(CPD, RESOLUTION, "cpu", assignments(changes))


def test_weights_are_looked_for_beside_the_data(dataset: Path) -> None:
    changes = {"stopping__features": "inception-keras", "stopping__weights": "/nowhere.h5"}
    with pytest.raises(NetworkError, match=r"/nowhere\.h5: The weights for --features inception-keras"):
        prepare(dataset, **changes)
    assert check_settings(CPD, RESOLUTION, "cpu", assignments(changes)).stopping.weights == "/nowhere.h5"


def test_a_growing_gan_takes_what_the_other_refuses(dataset: Path) -> None:
    assert prepare(dataset, PROG, schedule__initial_resolution=4).config.schedule.initial_resolution == 4


def test_what_will_not_happen_is_said(dataset: Path) -> None:
    notes = "\n".join(prepare(dataset, stopping__features="random").notes())
    assert "FID is never measured: stopping.minimum_kimg=7000 is more than schedule.total_kimg=0.064" in notes
    assert "ticks are shorter than 1 kimg" in notes
    assert not prepare(dataset, schedule__default_tick_kimg=4.0).notes()


def test_fid_needs_two_images(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def with_one_image(*arguments: Any, **options: Any) -> ImagePyramid:
        data = ImagePyramid(*arguments, **options)
        data.num_images = 1
        return data

    monkeypatch.setattr("medsynth.gan.application.ImagePyramid", with_one_image)
    with pytest.raises(DataError, match=r"needs 2 training images or more\. Received: 1 image"):
        prepare(dataset, stopping__features="random")


def test_a_stop_among_skipped_steps_is_saved_too(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """float16 begins with steps that only find its loss scale; the message says that the state is saved."""
    monkeypatch.setattr(trainer.StopRequest, "is_made", property(lambda request: True))
    training = prepare(dataset, network__precision="mixed_float16", trainer__minibatch_repeats=1)
    with pytest.raises(StoppedError, match=r"the state at 0\.0 kimg is saved") as raised:
        training.run(tmp_path)
    assert raised.value.exit_code == 128 + signal.SIGTERM
    (state,) = tmp_path.glob("training-state-*.safetensors")
    facts = read_arrays(state)[1]
    assert (facts["images_seen"], facts["num_skipped_in_a_row"], facts["num_skipped"]) == (8, 1, 2)


def test_a_training_that_learnt_nothing_is_not_called_finished(dataset: Path, tmp_path: Path) -> None:
    training = prepare(
        dataset,
        network__precision="mixed_float16",
        stopping__features="random",
        stopping__minimum_kimg=0.0,
        stopping__every_ticks=1,
    )
    with pytest.raises(DivergenceError, match=r"before a single update was finite.*16 skipped updates in 8 steps"):
        training.run(tmp_path)
    assert not (tmp_path / "_training-done.txt").exists()
    assert not (tmp_path / "network-final").exists(), "nor was FID measured of it"


@pytest.mark.parametrize("damage", [b"\xff\xfe\n", b"[]\n", b'{"Progress/tick": []}\n'])
def test_a_damaged_side_file_does_not_stop_a_training(dataset: Path, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "stats.jsonl").write_bytes(damage)
    prepare(dataset).run(tmp_path)
    lines = (tmp_path / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["Progress/tick"] for line in lines] == [1, 2]
