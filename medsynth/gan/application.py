"""What the GAN applications' scripts do, once an application has said what is its own."""

import argparse
import functools
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import keras
import tensorflow as tf

from medsynth.config import choose_preset, flatten, override
from medsynth.data.manifest import DataReport, check_manifest
from medsynth.data.pyramid import ImagePyramid
from medsynth.data.tfrecords import Images
from medsynth.data.training_images import TrainingImages
from medsynth.errors import DataError, NetworkError, UsageError
from medsynth.gan.augment import AugmentConfig, check_augment
from medsynth.gan.loss_protocols import GanLoss
from medsynth.gan.observer import TrainingObserver
from medsynth.gan.sampling import Floats, draw_latents, make_sampler, sample_all, write_inference
from medsynth.gan.schedule import ScheduleConfig, check_schedule, num_devices_to_use, schedule_at
from medsynth.gan.steps import AdversarialStep, Networks, OptimiserConfig
from medsynth.gan.stopping import SWD_FEATURES, FidStopping, StoppingConfig, check_stopping, require_stopping_weights
from medsynth.gan.trained import open_generator
from medsynth.gan.trainer import GanTrainer, TrainerConfig
from medsynth.metrics.features import RANDOM, load_extractor
from medsynth.metrics.fid_watcher import FidWatcher
from medsynth.metrics.sliced_wasserstein import sliced_wasserstein_estimates
from medsynth.runs import FollowedRun, RunFolder
from medsynth.training.distribution import Distribution, available_devices, start_distribution

METRICS_CACHE = Path("metrics") / "cache"


def open_dataset(
    data_dir: Path, resolution: int, config: Any, seed: int, allow_leak: bool
) -> tuple[ImagePyramid, DataReport]:
    """Open data_dir/train of a dataset made by build_dataset.

    Raises:
        DataError: It cannot be trained on, or shares patients or images with its test and `allow_leak` is not set.
    """
    report = check_manifest(data_dir, allow_leak=allow_leak)
    smallest = config.schedule.initial_resolution
    return ImagePyramid(data_dir / "train", resolution, smallest_resolution=smallest, seed=seed), report


class GanConfig(Protocol):
    """An application's settings: a `TrainingConfig` with `network` and `loss`, which are its own."""

    network: Any
    loss: Any
    optimiser: OptimiserConfig
    schedule: ScheduleConfig
    trainer: TrainerConfig
    stopping: StoppingConfig
    augment: AugmentConfig


@dataclass(frozen=True)
class GanApplication:
    """What makes one application different from another.

    Attributes:
        name: As tables show it.
        presets: Maps a resolution to the settings that it offers, by name.
        build_networks: Makes a generator and a discriminator from the settings, the resolution,
            the number of channels and the number of labels.
        build_loss: Makes the losses from the settings.
        generator_classes: The classes that a stored generator may be of, by name.
        is_progressive: Whether the networks grow from schedule.initial_resolution.
        open_data: Opens what is trained on: of (data_dir, resolution, settings, seed, allow_leak), the images and
            what an audit found of them.
        group_size: Images whose standard deviation the discriminator sees; 1 where it does not.
        facts: What its stored networks say of themselves besides what all networks say.
        observer: Makes what writes more in a results folder, of its path and the data; None where nothing does.
    """

    name: str
    presets: Callable[[int], dict[str, Any]]
    build_networks: Callable[[Any, int, int, int], tuple[Any, Any]]
    build_loss: Callable[[Any], GanLoss]
    generator_classes: Mapping[str, type]
    is_progressive: bool = False
    open_data: Callable[[Path, int, Any, int, bool], tuple[TrainingImages, DataReport]] = open_dataset
    group_size: int = 4
    facts: Mapping[str, Any] = field(default_factory=dict)
    observer: Callable[[Path, Any], TrainingObserver] | None = None


@dataclass(frozen=True)
class Training:
    """A training whose data and settings have been found usable.

    Attributes:
        application: Which GAN.
        config: Its settings.
        data: The training images.
        seed: Of weights, order of images, latents.
        resolution: Of the images.
        data_report: What the audit of the data found.
        num_devices: Devices that share it; at most those that the schedule is for.
    """

    application: GanApplication
    config: GanConfig
    data: TrainingImages
    seed: int
    resolution: int
    data_report: DataReport = field(default_factory=DataReport)
    num_devices: int = 1

    def settings(self) -> dict[str, Any]:
        """Return everything that the result depends on, flat: what config.json holds."""
        return {
            "application": self.application.name,
            "random_seed": self.seed,
            "resolution": self.resolution,
            "data.num_images": self.data.num_images,
            "data.num_channels": self.data.num_channels,
            "data.labels": list(self.data.label_names),
            "data.images_sha256": self.data.images_digest,
            "data.labels_sha256": hashlib.sha256(self.data.labels.tobytes()).hexdigest(),
            **self.data_report.settings(),
            **flatten(self.config),
        }

    def build_step(self, strategy: tf.distribute.Strategy | None = None) -> AdversarialStep:
        """Build the networks with weights drawn from the seed, and the training step.

        Args:
            strategy: Of the devices that share the training; the default one where not given.
        """
        strategy = strategy or tf.distribute.get_strategy()
        keras.utils.set_random_seed(self.seed)
        arguments = (self.config, self.resolution, self.data.num_channels, len(self.data.label_names))
        with strategy.scope():
            generator, discriminator = self.application.build_networks(*arguments)
            average = generator
            if self.config.optimiser.average_decay > 0:
                average, _ = self.application.build_networks(*arguments)
                average.set_weights(generator.get_weights())
        return AdversarialStep(
            Networks(generator, discriminator, average),
            self.application.build_loss(self.config),
            self.config.optimiser,
            seed=self.seed,
            mirror=self.config.trainer.mirror,
            augmentation=self.config.augment,
            strategy=strategy,
        )

    def describe(self) -> str:
        """Return the settings, the size of the networks and the schedule, a line each."""
        networks = self.build_step().networks
        lines = [*self.data_report.lines(), *self.notes()]
        lines += [f"{key:45s} {value}" for key, value in self.settings().items()]
        for name, network in (("generator", networks.generator), ("discriminator", networks.discriminator)):
            lines.append(f"{name + ' parameters':45s} {network.count_params():,}")
        num_lines = 10
        for i in range(num_lines + 1):
            images = round(self.config.schedule.total_kimg * 1000 * i / num_lines)
            point = schedule_at(self.config.schedule, self.resolution, images)
            lines.append(
                f"at {images / 1000:8.1f} kimg: {point.resolution}x{point.resolution}, lod {point.lod:.2f}, "
                f"minibatch {point.minibatch}"
            )
        return "\n".join(lines)

    def run(self, results_dir: Path) -> None:
        """Train in `results_dir`, or say that an earlier run there is finished.

        Raises:
            MedsynthError: The folder, the data or the losses do not allow it.
        """
        distribution = start_distribution(self.num_devices)
        with self._folder(results_dir, distribution) as folder, distribution.explained():
            if folder.is_done:
                folder.log(f"{results_dir} holds the finished training of these settings; nothing to do.")
                return
            for line in (*self.data_report.lines(), *self.notes()):
                folder.log(line, sys.stderr)
            if distribution.num_replicas > 1:
                folder.log(f"training on {distribution.describe()}")
            facts = {
                "application": self.application.name,
                "label_names": list(self.data.label_names),
                "resolution": self.resolution,
                "random_seed": self.seed,
                **self.application.facts,
            }
            GanTrainer(
                folder,
                self.build_step(distribution.strategy),
                self.data,
                self.config.schedule,
                self.config.trainer,
                facts,
                distribution,
                self._build_stopping(folder),
                self._build_observer(folder),
            ).train()

    def _folder(self, results_dir: Path, distribution: Distribution) -> RunFolder | FollowedRun:
        if distribution.is_chief:
            return RunFolder(results_dir, self.settings())
        return FollowedRun(results_dir, f"worker {distribution.worker}")

    def notes(self) -> list[str]:
        """Say where a training differs from what its settings seem to promise, a line each."""
        lines = []
        stopping, num_wanted = self.config.stopping, self.config.schedule.num_gpus
        if stopping.features not in ("none", SWD_FEATURES, RANDOM) and not stopping.weights:
            lines.append(
                f"no weights for {stopping.features} (--set stopping.weights=PATH): FID is not measured, the training "
                "runs to the end of its schedule, and the last networks are the final ones"
            )
        if stopping.features != "none" and stopping.minimum_kimg > self.config.schedule.total_kimg:
            lines.append(
                f"FID is never measured: stopping.minimum_kimg={stopping.minimum_kimg:g} is more than "
                f"schedule.total_kimg={self.config.schedule.total_kimg:g}"
            )
        if min(self.config.schedule.default_tick_kimg, *self.config.schedule.tick_kimg.values(), 1.0) < 1:
            lines.append(
                "ticks are shorter than 1 kimg, and files are named by whole kimg: of a kimg's pictures and snapshots "
                "the last ones stay"
            )
        if self.num_devices < num_wanted:
            lines.append(
                f"the schedule is that of {num_wanted} GPUs: its minibatches are kept, on {self.num_devices} device(s)"
            )
        return lines

    def _build_stopping(self, folder: RunFolder | FollowedRun) -> FidStopping | None:
        """Compute the real images' part of FID; the other processes of a training only hear its values."""
        stopping = self.config.stopping
        needs_weights = stopping.features not in (SWD_FEATURES, RANDOM)
        if stopping.features == "none" or (needs_weights and not stopping.weights):
            return None
        if isinstance(folder, FollowedRun):
            return FidStopping(stopping, lambda _: 0.0)
        reals, labels = self.data.first_images(min(stopping.num_images, self.data.num_images))
        if stopping.features == SWD_FEATURES:
            return FidStopping(stopping, self._swd_from(reals, labels))
        extractor = load_extractor(stopping.features, Path(stopping.weights) if stopping.weights else None)
        watcher = FidWatcher(extractor, reals, folder.path / METRICS_CACHE)
        folder.log(f"FID on {len(reals):,} images, {watcher.label}, every {stopping.every_ticks} ticks")

        fakes_of = self._fakes_like(labels)
        return FidStopping(stopping, lambda generator: watcher.value(fakes_of(generator)))

    def _swd_from(self, reals: Images, labels: Floats) -> Callable[[Any], float]:
        fakes_of = self._fakes_like(labels)

        def measure(generator: Any) -> float:
            fakes = fakes_of(generator)
            return sliced_wasserstein_estimates(reals, fakes, seed=self.seed, num_blocks=0)["swd"].value

        return measure

    def _fakes_like(self, labels: Floats) -> Callable[[Any], Images]:
        """Return what makes a generator's image for every label row, always of the same latents."""
        sampler_of = functools.cache(make_sampler)  # a graph per generator, not per measurement

        def make(generator: Any) -> Images:
            latents = draw_latents(self.seed, len(labels), generator.latent_size)
            return sample_all(sampler_of(generator), latents, labels)

        return make

    def _build_observer(self, folder: RunFolder | FollowedRun) -> TrainingObserver | None:
        if self.application.observer is None or isinstance(folder, FollowedRun):
            return None
        return self.application.observer(folder.path, self.data)


def prepare_training(
    application: GanApplication,
    data_dir: Path,
    seed: int,
    resolution: int,
    preset: str,
    overrides: list[str],
    *,
    allow_leak: bool = False,
) -> Training:
    """Read the settings and open the data, so that whatever is wrong with them is said at once.

    Args:
        application: Which GAN.
        data_dir: What the application's `open_data` reads.
        seed: 0 to 2^32 - 1.
        resolution: Of the images.
        preset: Name of the settings to start from.
        overrides: `key=value` each.
        allow_leak: Train although train and test of the data share patients or images.

    Raises:
        MedsynthError: Unusable settings or data.
    """
    config = check_settings(application, resolution, preset, overrides)
    num_available = available_devices(config.schedule.num_gpus)
    num_devices = num_devices_to_use(config.schedule, resolution, num_available, application.group_size)
    require_stopping_weights(config.stopping)
    data, data_report = application.open_data(data_dir, resolution, config, seed, allow_leak)
    check_augment(config.augment, data.num_channels)
    if config.stopping.features != "none" and data.num_images < 2:
        raise DataError(
            "FID (stopping.features) needs 2 training images or more.",
            received=f"{data.num_images} image",
            path=data_dir,
        )
    return Training(application, config, data, seed, resolution, data_report, num_devices)


def check_settings(application: GanApplication, resolution: int, preset: str, overrides: list[str]) -> GanConfig:
    """Read the settings, and refuse those that no data could be trained with.

    What depends on data, devices or files is left to `prepare_training`: the number of channels, GPUs, and the weights
    that `stopping.weights` names.

    Args:
        application: Which GAN.
        resolution: Of the images.
        preset: Name of the settings to start from.
        overrides: `key=value` each.

    Raises:
        UsageError: Names the setting.
    """
    chosen = choose_preset(application.presets(resolution), preset)
    config: GanConfig = override(chosen, overrides)
    if not application.is_progressive:
        _refuse_growing(application, config.schedule, chosen.schedule)
    check_schedule(config.schedule, resolution, application.group_size)
    application.build_loss(config)  # refuses settings that do not go together
    check_stopping(config.stopping)
    check_augment(config.augment, num_channels=1)  # every transform can be applied to grey images
    return config


def _refuse_growing(application: GanApplication, schedule: ScheduleConfig, preset: ScheduleConfig) -> None:
    """Refuse the settings of a growing schedule where the networks have one resolution throughout."""
    for name in ("initial_resolution", "training_kimg", "transition_kimg"):
        if getattr(schedule, name) != getattr(preset, name):
            raise UsageError(
                f"{application.name} does not grow, so schedule.{name} cannot be set.", received=getattr(schedule, name)
            )


def run_inference(
    application: GanApplication, data_dir: Path, results_dir: Path, seed: int, resolution: int
) -> dict[str, int]:
    """Generate a synthetic dataset with results_dir/network-final, one image per row of `data_dir`.

    Args:
        application: Which GAN.
        data_dir: The dataset whose label rows are used.
        results_dir: Of the training; `inference` is written into it.
        seed: Of the latents.
        resolution: Checked against the network's.

    Returns:
        The number of images by split.

    Raises:
        MedsynthError: No network, one of another resolution, or other labels.
    """
    trained = open_generator(application.generator_classes, results_dir)
    generator, facts = trained.network, trained.facts
    if generator.resolution != resolution:
        raise UsageError(
            f"The network in {results_dir} makes images of {generator.resolution}x{generator.resolution}.",
            received=f"resolution {resolution}",
        )
    if trained.lod > 0:
        raise NetworkError(
            "The training ended before the networks had grown to full resolution; train with a longer "
            "schedule.total_kimg.",
            received=f"level of detail {trained.lod:.2f}",
            path=results_dir,
        )
    return write_inference(
        data_dir,
        results_dir,
        generator,
        seed=seed,
        label_names=tuple(facts["label_names"]),
        facts={"application": facts["application"], "images_seen": facts["images_seen"]},
    )


def train(application: GanApplication, arguments: argparse.Namespace) -> None:
    """Carry out the command train: check data and settings, then train, or say what would run.

    With `check_settings`, which the GANs trained on datasets of build_dataset have, it stops before the data.
    """
    if getattr(arguments, "check_settings", False):
        check_settings(application, arguments.resolution, arguments.preset, arguments.overrides)
        return
    training = prepare_training(
        application,
        arguments.data_dir,
        arguments.random_seed,
        arguments.resolution,
        arguments.preset,
        arguments.overrides,
        allow_leak=arguments.allow_leak,
    )
    if arguments.dry_run:
        print(training.describe())
        return
    training.run(arguments.results_dir)


def generate_dataset(application: GanApplication, arguments: argparse.Namespace) -> None:
    """Carry out the command test: a synthetic image for every row of the dataset."""
    counts = run_inference(
        application, arguments.data_dir, arguments.results_dir, arguments.random_seed, arguments.resolution
    )
    print("generated " + ", ".join(f"{split} {count:,}" for split, count in counts.items()))
