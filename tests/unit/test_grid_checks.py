"""Options that a command refuses are refused before the first stage; here by the dataset builder, which is quick."""

import dataclasses

import pytest

from benchmark.grid import checks
from benchmark.grid.checks import check_commands
from benchmark.grid.spec import known_grids, read_grid
from benchmark.grid.stages import Stage, build_stages
from benchmark.steps import StepFailedError
from medsynth.errors import UsageError


def dataset(*options: str, command: str = "create_class_from_xray") -> Stage:
    """Return the dataset stage of a grid with these options."""
    spec = read_grid("smoke")
    benchmark = dataclasses.replace(spec.benchmarks[0], command=command, options=options)
    stages = build_stages(dataclasses.replace(spec, benchmarks=(benchmark,)))
    return next(stage for stage in stages if stage.kind == "dataset")


GOOD = ("--classes", "3,2", "--train-per-class", "32,32")


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (dataset("--classes", "3,2"), "--train-per-class needs one number for each of --classes.*6 numbers for 2"),
        (dataset(*GOOD, "--spilt", "0.2"), "dataset_tool.py does not take them.*unrecognized arguments: --spilt 0.2"),
        (dataset(command="create_class"), "invalid choice: 'create_class'"),
    ],
)
def test_options_are_refused_and_the_stage_named(stage: Stage, message: str) -> None:
    with pytest.raises(UsageError, match=f"The stage classes/dataset cannot be run with its options.*{message}"):
        check_commands([stage], done=())


def test_options_of_the_phantom_are_refused() -> None:
    spec = dataclasses.replace(read_grid("smoke"), phantom=("--patients", "0"))
    with pytest.raises(UsageError, match=r"The stage raw cannot be run.*1 to 99999 patients\. Received: 0"):
        check_commands(build_stages(spec)[:1], done=())


def test_good_options_pass() -> None:
    check_commands([dataset(*GOOD)], done=())


def test_what_is_done_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_ask", lambda stage: pytest.fail(f"{stage.name} was asked"))
    stage = dataset("--spilt", "0.2")
    again = dataclasses.replace(stage, name="the same options elsewhere")
    check_commands([stage, again], done={stage.name})


def test_a_command_that_breaks_down_is_named() -> None:
    stage = dataclasses.replace(dataset(*GOOD), script="no/such.py")
    with pytest.raises(StepFailedError, match=r"no/such\.py could not be asked .* of classes/dataset"):
        check_commands([stage], done=())


@pytest.mark.parametrize("name", known_grids())
def test_every_dataset_and_gan_of_a_grid_is_asked_once_for_each_resolution(name: str) -> None:
    spec = read_grid(name)
    stages = build_stages(spec)
    asked = [stage for stage in stages if stage.checked_as]
    assert [
        stage for stage in stages if stage.kind in ("phantom", "dataset", *(gan.name for gan in spec.gans))
    ] == asked
    resolutions = {spec.resolution} | {
        setting for one in spec.benchmarks if one.name == "resolution" for setting in one.settings
    }
    trainings = {(stage.script, stage.checked_as) for stage in asked if stage.kind.startswith("GAN")}
    assert len(trainings) == len(spec.gans) * len(resolutions)
