"""What a grid's yaml may say, and the grids that come with the suite."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.comparison import published_rows
from benchmark.grid.spec import GRIDS_FOLDER, BenchmarkSpec, known_grids, read_grid
from benchmark.grid.stages import RAW, In, build_stages
from build_dataset.commands import COMMANDS
from GAN_cpd.config import presets as cpd_presets
from GAN_prog.config import presets as prog_presets
from medsynth.errors import DataError, UsageError

SMALL: dict[str, Any] = {
    "name": "small",
    "phantom": ["--patients", 10],
    "resolution": 8,
    "seeds": [1],
    "benchmarks": {"classes": {"command": "create_class_from_xray", "settings": [2]}},
    "gans": {"GAN_prog": {"kimg": 1}},
    "classifier": {"epochs": 1},
}


def write(path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    content = yaml.safe_load(yaml.safe_dump(SMALL))
    change(content)
    target = path / "grid.yaml"
    target.write_text(yaml.safe_dump(content))
    return str(target)


def test_the_small_grid_of_these_tests_can_be_read(tmp_path: Path) -> None:
    spec = read_grid(write(tmp_path, lambda grid: None))
    assert spec.benchmarks == (BenchmarkSpec("classes", "create_class_from_xray", (), (2,), (0,), (0,)),)
    assert spec.nn_options is None
    assert [stage.name for stage in build_stages(spec)] == [
        "raw",
        "classes/dataset",
        "classes/verify",
        "classes-2/seed-1/real/classifier",
        "classes-2/seed-1/real/classifier-test",
        "classes-2/seed-1/GAN_prog/train",
        "classes-2/seed-1/GAN_prog/inference",
        "classes-2/seed-1/GAN_prog/classifier",
        "classes-2/seed-1/GAN_prog/classifier-test",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda grid: grid.pop("seeds"), r"The key seeds is missing"),
        (lambda grid: grid.update(seeds=[]), r"seeds must be at least one seed"),
        (lambda grid: grid.update(seeds=[1, 1]), r"seeds must be a list without repeats.*Received: \[1, 1\]"),
        (lambda grid: grid.update(seeds="1"), r"seeds must be a list of whole numbers"),
        (lambda grid: grid.update(resolutoin=8), r"Did you mean resolution\?.*Received: resolutoin"),
        (lambda grid: grid.update(resolution=9), r"resolution must be a power of two"),
        (lambda grid: grid.update(resolution=True), r"resolution must be a whole number"),
        (lambda grid: grid.update(name="a/b"), r"name must be letters, digits"),
        (lambda grid: grid.update(modality="skin"), r"modality must be one of chest, brain"),
        (lambda grid: grid.update(modality="chest"), r"A phantom is no published data"),
        (lambda grid: grid.update(benchmarks={}), r"at least one benchmark"),
        (lambda grid: grid["benchmarks"].update(sizes={}), r"A benchmark is one of resolution, classes, samples"),
        (lambda grid: grid["benchmarks"]["classes"].update(settings=[]), r"settings must be at least one number"),
        (lambda grid: grid["benchmarks"]["classes"].update(train_images=[1, 2]), r"list of 1 numbers"),
        (lambda grid: grid.update(gans={}), r"at least one GAN"),
        (lambda grid: grid["gans"].update(GAN_joint={"kimg": 1}), r"A GAN is one of GAN_prog, GAN_cpd"),
        (lambda grid: grid["gans"]["GAN_prog"].update(kimg=0), r"gans\.GAN_prog\.kimg must be a number above 0"),
        (lambda grid: grid["gans"]["GAN_prog"].update(kimg={16: 1}), r"a number for each resolution, also for 8"),
        (lambda grid: grid["gans"]["GAN_prog"].update(options="--x"), r"a list of words"),
        (lambda grid: grid["classifier"].update(epoch=3), r"Did you mean epochs\?.*classifier\.epoch"),
        (lambda grid: grid.update(metrics="kid,foo"), r"metrics: Unknown metric\..*Known metrics: fid.*Received: foo"),
        (
            lambda grid: grid["benchmarks"]["classes"].update(settings=[3, 99], options=["--classes", "6,3"]),
            r"benchmarks\.classes\.settings must be numbers that --classes of .*options holds, 6, 3\. Received: 99",
        ),
        (
            lambda grid: grid["benchmarks"].update(
                samples={"command": "create_samples_from_xray", "settings": [7], "options": ["--train-per-class=8,9"]}
            ),
            r"benchmarks\.samples\.settings must be numbers that --train-per-class of .* Received: 7",
        ),
        (lambda grid: grid.update(classifier=[1]), r"classifier must be a mapping"),
    ],
)
def test_a_wrong_grid_is_refused_and_the_key_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    name = write(tmp_path, change)
    with pytest.raises(DataError, match=message) as error:
        read_grid(name)
    assert name in str(error.value)


def test_files_that_are_no_yaml_and_unknown_grids_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: [1")
    with pytest.raises(DataError, match="not valid yaml"):
        read_grid(str(path))
    path.write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(DataError, match="a text file in UTF-8"):
        read_grid(str(path))
    with pytest.raises(UsageError, match=r"A grid is one of demo, published-brain, published-chest, smoke"):
        read_grid("nothing")


@pytest.mark.parametrize("name", known_grids())
def test_the_grids_of_the_suite_can_be_read(name: str) -> None:
    spec = read_grid(name)
    assert spec.name == name
    stages = build_stages(spec)
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names)
    known = {RAW} if spec.phantom is None else set()
    for stage in stages:
        used = {part.stage for part in (*stage.arguments, *stage.links.values()) if isinstance(part, In)}
        for need in (*stage.needs, *(one for one in used if one not in (stage.name, "code"))):
            assert need in known, f"{stage.name} comes before {need}"
        known.add(stage.name)


@pytest.mark.parametrize("modality", ["chest", "brain"])
def test_the_published_grids_are_those_of_the_published_tables(modality: str) -> None:
    spec = read_grid(f"published-{modality}")
    ours = {(spec.modality, one.name, setting) for one in spec.benchmarks for setting in one.settings}
    theirs = {(row.modality, row.benchmark, row.setting) for row in published_rows() if row.modality == modality}
    assert len(theirs) >= 13
    assert ours == theirs | {(modality, "resolution", resolution) for resolution in (32, 64, 128)}
    for one in spec.benchmarks:
        if one.name == "resolution":
            continue
        numbers = COMMANDS[one.command].benchmark
        num_classes = {"chest": 3, "brain": 6}[modality]
        sizes = [per * num_classes for per in numbers.train_per_class]
        if one.name == "classes":
            assert one.settings == tuple(numbers.classes)
            sizes = [per * count for per, count in zip(numbers.train_per_class, numbers.classes, strict=True)]
        assert one.train_images == tuple(sizes)


@pytest.mark.parametrize(("gan", "presets"), [("GAN_prog", prog_presets), ("GAN_cpd", cpd_presets)])
@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_the_published_grids_train_as_long_and_on_as_many_gpus_as_published(
    gan: str, presets: Callable[[int], dict[str, Any]], resolution: int
) -> None:
    for modality in ("chest", "brain"):
        (spec,) = (one for one in read_grid(f"published-{modality}").gans if one.name == gan)
        schedule = presets(resolution)["published"].schedule
        assert spec.options == ()  # so the preset is the default one, which is the published
        assert spec.kimg_at(resolution) == schedule.total_kimg
        assert spec.gpus_at(resolution) == schedule.num_gpus


def test_the_folder_of_the_grids_is_the_one_that_is_read() -> None:
    assert {path.stem for path in GRIDS_FOLDER.glob("*.yaml")} == set(known_grids())
