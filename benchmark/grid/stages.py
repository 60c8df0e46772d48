r"""The graph of a grid: every stage is one of the suite's commands, in a folder of its own.

dataset -> verify -> GAN -> inference -> synthetic classifier -> its test
                \-> real classifier -> its test;  nn and metrics need both

A classifier's folder holds links to what it reads, under the names that the commands expect: so a synthetic
classifier's folder is complete as the results folder of its GAN, and that of a real one as a dataset.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.grid.spec import BenchmarkSpec, GanSpec, GridSpec
from medsynth.app import CHECK_SETTINGS

REAL = "real"
RAW, CODE = "raw", "code"
_ANY_PATH, _ANY_SEED = "any", "0"  # where a command checks its settings alone


@dataclass(frozen=True)
class In:
    """A path in the folder of a stage.

    Attributes:
        stage: Its name; RAW may be the user's raw data, CODE is the repository.
        below: Path below that folder.
    """

    stage: str
    below: str = ""


@dataclass(frozen=True)
class Cell:
    """Which result of the grid a test of a classifier is.

    Attributes:
        benchmark: resolution, classes or samples.
        setting: Its number.
        trained_on: `real`, or the GAN's application.
        seed: Of GAN and classifier.
        below: The test's folder below that of its stage.
    """

    benchmark: str
    setting: int
    trained_on: str
    seed: int
    below: str


@dataclass(frozen=True)
class Stage:
    """One command.

    Attributes:
        name: Unique, such as `classes-6/seed-1/GAN_prog/train`.
        kind: Stages of a kind cost about the same for an image: `GAN_prog`, `classifier`, ...
        script: Relative to the repository.
        arguments: Text, and paths in stages' folders.
        products: Patterns below its folder: the files that later stages read, by whose content these are keyed.
        needs: Stages that must be finished.
        home: The stage in whose folder it works; empty for one of its own.
        links: What its own folder links to, by name.
        num_images: That it goes through, for the cost estimate; 0 where that is not known.
        gpus: That it takes.
        cell: The result that it ends with, if it is a test.
        checked_as: Arguments by which its command checks its settings without data; empty where it cannot.
    """

    name: str
    kind: str
    script: str
    arguments: tuple[str | In, ...]
    products: tuple[str, ...]
    needs: tuple[str, ...] = ()
    home: str = ""
    links: dict[str, In] = field(default_factory=dict)
    num_images: int = 0
    gpus: int = 0
    cell: Cell | None = None
    checked_as: tuple[str, ...] = ()


def build_stages(spec: GridSpec) -> list[Stage]:
    """Return all stages of a grid, each after those that it needs."""
    stages = []
    if spec.phantom is not None:
        stages.append(
            Stage(
                name=RAW,
                kind="phantom",
                script="build_dataset/dataset_tool.py",
                arguments=("create_phantom", In(RAW), *spec.phantom),
                products=("*/train.csv", "*/phantom.json"),
                checked_as=("create_phantom", _ANY_PATH, *spec.phantom, CHECK_SETTINGS),
            )
        )
    for benchmark in spec.benchmarks:
        stages += _dataset(spec, benchmark)
        for place, setting in enumerate(benchmark.settings):
            for seed in spec.seeds:
                stages += _Setting(spec, benchmark, place, setting, seed).stages()
    return stages


def _dataset(spec: GridSpec, benchmark: BenchmarkSpec) -> list[Stage]:
    name = f"{benchmark.name}/dataset"
    raw = () if spec.phantom is None else (RAW,)
    num_images = sum(benchmark.train_images) + sum(benchmark.test_images)
    make = Stage(
        name=name,
        kind="dataset",
        script="build_dataset/dataset_tool.py",
        arguments=(benchmark.command, In(name), In(RAW), *benchmark.options),
        products=("**/*.csv", "**/*.labels", "**/*.tfrecords"),
        needs=raw,
        num_images=num_images,
        checked_as=(benchmark.command, _ANY_PATH, _ANY_PATH, *benchmark.options, CHECK_SETTINGS),
    )
    check = Stage(
        name=f"{benchmark.name}/verify",
        kind="verify",
        script="build_dataset/dataset_tool.py",
        arguments=("verify", In(name)),
        products=("**/manifest.json",),
        needs=(name,),
        home=name,
        num_images=num_images,
    )
    return [make, check]


@dataclass(frozen=True)
class _Setting:
    """The stages of one setting of a benchmark with one seed."""

    spec: GridSpec
    benchmark: BenchmarkSpec
    place: int
    setting: int
    seed: int

    @property
    def resolution(self) -> int:
        return self.setting if self.benchmark.name == "resolution" else self.spec.resolution

    @property
    def prefix(self) -> str:
        return f"{self.benchmark.name}-{self.setting}/seed-{self.seed}"

    @property
    def numbers(self) -> tuple[str, str]:
        return str(self.seed), str(self.resolution)

    def data(self, below: str = "") -> In:
        """Return a path in the setting's dataset."""
        folder = "" if self.benchmark.name == "resolution" else f"{self.setting}/"
        return In(f"{self.benchmark.name}/dataset", f"{folder}{below}".rstrip("/"))

    @property
    def ready(self) -> tuple[str, str]:
        return f"{self.benchmark.name}/dataset", f"{self.benchmark.name}/verify"

    def stages(self) -> Iterator[Stage]:
        real = f"{self.prefix}/real"
        yield from self.classifier(
            f"{real}/classifier",
            REAL,
            links={name: self.data(name) for name in ("train", "valid", "test", "manifest.json", "dataset.json")},
            results=f"classification_results_res_{self.resolution}",
            needs=self.ready,
        )
        for gan in self.spec.gans:
            yield from self.gan(gan, f"{self.prefix}/{gan.name}", f"{real}/classifier")

    def gan(self, gan: GanSpec, prefix: str, real: str) -> Iterator[Stage]:
        train, inference, classifier = f"{prefix}/train", f"{prefix}/inference", f"{prefix}/classifier"
        kimg, gpus = gan.kimg_at(self.resolution), gan.gpus_at(self.resolution)
        options = (*gan.options, "--set", f"schedule.total_kimg={kimg:g}")
        network = {name: In(train, name) for name in ("network-final", "config.json")}
        num_train, num_test = self.benchmark.train_images[self.place], self.benchmark.test_images[self.place]
        yield Stage(
            name=train,
            kind=gan.name,
            script=f"{gan.name}/train.py",
            arguments=("train", self.data(), In(train), *self.numbers, *options),
            products=("network-final/*",),
            needs=self.ready,
            num_images=round(kimg * 1000),
            gpus=gpus,
            checked_as=("train", _ANY_PATH, _ANY_PATH, _ANY_SEED, self.numbers[1], *options, CHECK_SETTINGS),
        )
        yield Stage(
            name=inference,
            kind="inference",
            script=f"{gan.name}/test.py",
            arguments=("test", self.data(), In(inference), *self.numbers),
            products=("inference/**/*.tfrecords", "inference/**/*.csv", "inference/**/*.labels"),
            needs=(*self.ready, train),
            links=network,
            num_images=num_train + num_test,
            gpus=min(gpus, 1),
        )
        yield from self.classifier(
            classifier,
            gan.name,
            links=network | {"inference": In(inference, "inference")},
            results="classification_results",
            needs=(*self.ready, train, inference),
        )
        both = (*self.ready, classifier, real)
        if self.spec.nn_options is not None:
            yield Stage(
                name=f"{prefix}/nn",
                kind="nn",
                script="classifier_fake/nn.py",
                arguments=(
                    *("nn", In(CODE, "classifier_fake"), In(real), In(classifier), str(self.resolution)),
                    *self.spec.nn_options,
                ),
                products=("classification_results/nn/nn.json",),
                needs=both,
                home=classifier,
                num_images=num_train + 2 * num_test,
                gpus=self.spec.classifier_gpus,
            )
        if self.spec.metrics:
            arguments: tuple[str | In, ...] = (
                *("metrics", In(classifier), self.data(), "--metrics", self.spec.metrics, "--features", "densenet"),
                *("--weights", In(real, f"classification_results_res_{self.resolution}")),
                *self.spec.metrics_options,
            )
            yield Stage(
                name=f"{prefix}/metrics",
                kind="metrics",
                script=f"{gan.name}/evaluate.py",
                arguments=arguments,
                products=("metrics/*.json",),
                needs=both,
                home=classifier,
                num_images=3 * num_test,
                gpus=self.spec.classifier_gpus,
            )

    def classifier(
        self, name: str, trained_on: str, *, links: dict[str, In], results: str, needs: tuple[str, ...]
    ) -> Iterator[Stage]:
        """Yield training and test of a classifier."""
        app = "classifier_real" if trained_on == REAL else "classifier_fake"
        yield Stage(
            name=name,
            kind="classifier",
            script=f"{app}/train.py",
            arguments=("train", In(CODE, app), In(name), *self.numbers, *self.spec.classifier_options),
            products=(f"{results}/train/*.h5", f"{results}/train/config.json"),
            needs=needs,
            links=links,
            num_images=self.spec.epochs * self.benchmark.train_images[self.place],
            gpus=self.spec.classifier_gpus,
        )
        data = In(name) if trained_on == REAL else self.data()
        yield Stage(
            name=f"{name}-test",
            kind="test",
            script=f"{app}/test.py",
            arguments=("test", In(CODE, app), *((data,) if trained_on == REAL else (data, In(name))), *self.numbers),
            products=(f"{results}/test/predictions.csv", f"{results}/test/results.json"),
            needs=(*needs, name),
            home=name,
            num_images=self.benchmark.test_images[self.place],
            gpus=self.spec.classifier_gpus,
            cell=Cell(self.benchmark.name, self.setting, trained_on, self.seed, f"{results}/test"),
        )


def needed_by(stages: list[Stage], chosen: set[str]) -> set[str]:
    """Return the chosen stages and all that they need."""
    by_name = {stage.name: stage for stage in stages}
    found: set[str] = set()
    todo = list(chosen)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += by_name[name].needs
    return found


def folder_of(stage: Stage, key: str) -> Path:
    """Return a stage's own folder below the grid's: its name, and the start of the key of what it is made from."""
    return Path("stages", stage.name.replace("/", "."), key[:12])
