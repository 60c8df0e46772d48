"""The classifiers that the verdict compares: the joined training set, the commands, and what is run."""

import importlib
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.gates import augmented
from benchmark.gates import classifiers as module
from benchmark.gates.augmented import augmented_dir, is_augmented_current, write_augmented
from benchmark.gates.classifiers import BOTH, REAL, SYNTHETIC, classifiers, commands_for, train_missing
from benchmark.gates.inputs import Request, VerdictInputs, read_inputs
from benchmark.steps import Step
from classifier_real import train
from medsynth.classify import experiment
from medsynth.classify.experiment import is_joined_with_real, name_of_images
from medsynth.data.labels import read_label_table, read_patients
from medsynth.data.pyramid import open_records
from medsynth.errors import DataError
from medsynth.files import write_json, write_text
from tests.verdict_files import write_dataset, write_results


@pytest.fixture
def inputs(tmp_path: Path) -> VerdictInputs:
    places = write_results(tmp_path / "gan", application="prog-GAN"), write_dataset(tmp_path / "data")
    return read_inputs(Request(*places))


class Runs:
    """Takes the place of `run_step`: notes the command and leaves its files."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, ...]] = []

    def __call__(self, step: Step) -> None:
        self.commands.append(tuple(map(str, step.command)))
        write_text(step.result, "{}")
        if step.result.name == "results.json":
            write_text(step.result.with_name("predictions.csv"), "")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr(module, "run_step", made)
    return made


def test_joins_real_and_synthetic_training_images(inputs: VerdictInputs) -> None:
    folder = write_augmented(inputs)
    assert folder == inputs.results_dir / "real_and_synthetic"
    joined = read_label_table(folder / "train")
    sources = [read_label_table(place / "train") for place in (inputs.data_dir, inputs.synthetic_dir)]
    assert len(joined.paths) == len(sources[0].paths) + len(sources[1].paths) == 64
    np.testing.assert_array_equal(joined.values, np.concatenate([source.values for source in sources]))
    for name in ("valid", "test"):
        assert read_label_table(folder / name).paths == read_label_table(inputs.data_dir / name).paths
        assert open_records(folder / name, 16).digest == inputs.real[name].digest
    paths = read_label_table(folder / "test").paths
    assert read_patients(folder / "test", paths) == read_patients(inputs.data_dir / "test", paths) is not None
    assert name_of_images(folder) == "real + prog-GAN"
    assert is_joined_with_real("real + prog-GAN")
    assert is_joined_with_real("real")
    assert not is_joined_with_real("prog-GAN")
    assert name_of_images(inputs.data_dir) == "real"


def test_joins_again_only_where_the_images_are_others(inputs: VerdictInputs) -> None:
    folder = write_augmented(inputs)
    records = folder / "train" / "train-r04.tfrecords"
    before = records.stat().st_mtime_ns
    write_augmented(inputs)
    assert records.stat().st_mtime_ns == before
    others = replace(
        inputs, synthetic={**inputs.synthetic, "train": replace(inputs.synthetic["train"], digest="other")}
    )
    assert not is_augmented_current(others)
    write_augmented(others)
    assert records.stat().st_mtime_ns > before


def test_a_set_that_was_not_finished_is_not_taken_for_whole(
    inputs: VerdictInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_augmented(inputs)
    others = replace(
        inputs, synthetic={**inputs.synthetic, "train": replace(inputs.synthetic["train"], digest="other")}
    )
    monkeypatch.setattr(augmented, "write_union", lambda *_: (_ for _ in ()).throw(OSError("stopped")))
    with pytest.raises(OSError, match="stopped"):
        write_augmented(others)
    assert not is_augmented_current(inputs)
    assert not is_augmented_current(others)


def test_a_classifier_of_both_is_not_called_real(inputs: VerdictInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[experiment.TrainingRequest] = []
    monkeypatch.setattr(experiment, "train", lambda request, **_: requests.append(request))
    for folder in (write_augmented(inputs), inputs.data_dir):
        train.main(train.build_parser().parse_args(["train", "classifier_real", str(folder), "1", "16"]))
    assert [request.trained_on for request in requests] == ["real + prog-GAN", "real"]


def test_trains_what_is_missing_with_the_settings_of_what_is_there(inputs: VerdictInputs, runs: Runs) -> None:
    real = classifiers(inputs)[REAL]
    settings = {"random_seed": 5, "train.epochs": 3, "train.resize": "half_pixel", "initialisation": "random"}
    write_json(real.results / "train" / "config.json", settings)
    write_text(real.train.result, "done\n")
    train_missing(inputs)
    assert [command[:2] for command in runs.commands] == [
        ("classifier_real/test.py", "test"),
        ("classifier_fake/train.py", "train"),
        ("classifier_fake/test.py", "test"),
        ("classifier_real/train.py", "train"),
        ("classifier_real/test.py", "test"),
    ]
    options = ("5", "16", "--set", "train.epochs=3", "--set", "train.resize=half_pixel")
    assert runs.commands[1][3:] == (str(inputs.results_dir), *options)
    assert runs.commands[3][3:] == (str(augmented_dir(inputs)), *options)
    assert is_augmented_current(inputs)
    num_before = len(runs.commands)
    train_missing(inputs)
    assert len(runs.commands) == num_before, "what is there is not trained again"


def test_a_test_that_was_not_finished_is_run_alone(inputs: VerdictInputs, runs: Runs) -> None:
    train_missing(inputs)
    synthetic = classifiers(inputs)[SYNTHETIC]
    (synthetic.test_folder / "predictions.csv").unlink()
    runs.commands.clear()
    train_missing(inputs)
    assert [command[0] for command in runs.commands] == ["classifier_fake/test.py"]


@pytest.mark.parametrize("key", [REAL, SYNTHETIC, BOTH])
def test_refuses_a_classifier_of_images_that_have_changed(inputs: VerdictInputs, runs: Runs, key: str) -> None:
    if key == BOTH:
        write_augmented(inputs)
    found = classifiers(inputs)[key]
    write_json(found.results / "train" / "config.json", {"data.train_images_sha256": "of others"})
    with pytest.raises(DataError, match="remove its folder") as error:
        train_missing(inputs)
    assert str(found.results) in str(error.value)
    assert not runs.commands


def test_commands_name_scripts_from_the_repository(inputs: VerdictInputs) -> None:
    lines = commands_for(inputs, list(classifiers(inputs).values()))
    assert len(lines) == 5
    for line in lines[:4]:
        script, *arguments = shlex.split(line)[1:]
        module_of_script = importlib.import_module(script.removesuffix(".py").replace("/", "."))
        parsed = module_of_script.build_parser().parse_args(arguments)
        assert parsed.model_dir == Path("classifier_real")
        assert parsed.resolution == 16
    assert lines[4].startswith("python3 benchmark/verdict.py")
