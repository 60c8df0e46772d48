"""What GAN_dcgan hands to the scripts that all GAN applications share."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from GAN_dcgan.command_line import EPOCHS_KEY, TABLE_KEY
from GAN_dcgan.config import PUBLISHED_EPOCHS, DataConfig, DcganConfig, presets
from GAN_dcgan.frame_data import CACHE_FOLDER, FrameData, WithoutLabels
from GAN_dcgan.frames import FrameList, find_frames
from GAN_dcgan.loss import DcganLoss
from GAN_dcgan.networks import Discriminator, Generator
from GAN_dcgan.observer import Observer
from medsynth.config import choose_preset, override
from medsynth.data.frame_folder import COMMAND, TABLE_NAME, is_frame_folder
from medsynth.data.manifest import DataReport
from medsynth.data.tfrecords import available_resolutions
from medsynth.data.training_images import TrainingImages
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError
from medsynth.gan.application import GanApplication, open_dataset
from medsynth.runs import require_own_folder
from medsynth.training.precision import dtype_policy

_DATA = "data."


def build_networks(
    config: DcganConfig, resolution: int, num_channels: int, num_labels: int
) -> tuple[Generator, Discriminator]:
    """Build both networks with fresh weights; there are no labels."""
    network = config.network
    size: dict[str, Any] = {
        "resolution": resolution,
        "num_channels": num_channels,
        "dtype": dtype_policy(network.precision),
    }
    networks = (
        Generator(**size, features=network.generator_features, latent_size=network.latent_size, name="generator"),
        Discriminator(
            **size,
            features=network.discriminator_features,
            num_levels=network.discriminator_levels,
            norm=network.discriminator_norm,
            head=network.head,
            stddev_group_size=network.stddev_group_size,
            name="discriminator",
        ),
    )
    for built in networks:
        built.build()
    return networks


def build_loss(config: DcganConfig) -> DcganLoss:
    """Build the losses.

    Raises:
        UsageError: Settings do not go together.
    """
    config.require_sense()
    return DcganLoss(config.loss)


# As far as it does not depend on what it is trained on.
APPLICATION = GanApplication(
    name="DCGAN",
    presets=lambda resolution: presets(resolution, num_frames=1),
    build_networks=build_networks,
    build_loss=build_loss,
    generator_classes={"Generator": Generator},
    group_size=1,
    observer=Observer,
)


def application_for(arguments: argparse.Namespace) -> GanApplication:
    """Find the frames of a training, and return the application that trains on them.

    The frames come first, since the length of the published training follows from their number.

    Args:
        arguments: As `GAN_dcgan.command_line.train_arguments` returns them.

    Raises:
        MedsynthError: The frames cannot be found or split, or are too few.
    """
    table = _own_table(arguments)
    source = _source(arguments, table)
    for note in source.notes:
        print(note)
    epochs = PUBLISHED_EPOCHS if arguments.epochs is None else arguments.epochs
    offered = presets(arguments.resolution, source.num_images, epochs, table)
    config = override(choose_preset(offered, arguments.preset), arguments.overrides)
    _require_a_batch(source.num_images, config.schedule.minibatch_base, arguments.data_dir)
    if not _sets(arguments.overrides, EPOCHS_KEY):
        _require_a_batch_of_epochs(source.num_images, config.schedule.minibatch_base, epochs)
    return dataclasses.replace(
        APPLICATION,
        presets=lambda _: offered,
        open_data=source.open,
        group_size=config.network.stddev_group_size,
    )


def _own_table(arguments: argparse.Namespace) -> str:
    """Return the table that a folder of frames has of its own and that is to be used, or nothing."""
    if _sets(arguments.overrides, TABLE_KEY) or not is_frame_folder(arguments.data_dir):
        return ""
    print(
        f"{COMMAND} made this folder, and its {TABLE_NAME} says whose each frame is: used as by --table {TABLE_NAME} "
        f"(--set {TABLE_KEY}= goes by the files' names instead)."
    )
    return TABLE_NAME


def _sets(overrides: Sequence[str], key: str) -> bool:
    return any(text.startswith(f"{key}=") for text in overrides)


def _source(arguments: argparse.Namespace, table: str) -> "_Dataset | _Frames":
    given = [text for text in arguments.overrides if text.startswith(_DATA)]
    if arguments.data_dir.is_dir() and available_resolutions(arguments.data_dir / "train"):
        if override(DcganConfig(), given).data != DataConfig():
            raise UsageError(
                "A dataset made by build_dataset is split already and has its own names, so settings of frames have no "
                "effect; leave them out.",
                received=", ".join(given),
            )
        return _Dataset(arguments)
    data_config = override(DcganConfig(data=DataConfig(table=table)), given).data
    if not data_config.table:
        require_own_folder(arguments.results_dir, [arguments.data_dir], nor_below=True)
    return _Frames(find_frames(arguments.data_dir, data_config), arguments.results_dir / CACHE_FOLDER)


class _Dataset:
    """The train split of a dataset made by build_dataset."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._opened = open_dataset(
            arguments.data_dir,
            arguments.resolution,
            override(DcganConfig(), [f"schedule.initial_resolution={arguments.resolution}"]),
            arguments.random_seed,
            arguments.allow_leak,
        )
        self.num_images = self._opened[0].num_images
        self.notes = (f"{counted(self.num_images, 'image')} of {arguments.data_dir / 'train'}; labels are not used.",)

    def open(self, *_: Any) -> tuple[TrainingImages, DataReport]:
        """Return the images."""
        images, report = self._opened
        return WithoutLabels(images), report


class _Frames:
    """Frames of a folder or of a table."""

    def __init__(self, frames: FrameList, cache_dir: Path) -> None:
        self._frames, self._cache_dir = frames, cache_dir
        self.num_images, self.notes = len(frames.train), frames.notes

    def open(self, _: Path, resolution: int, __: Any, seed: int, ___: bool) -> tuple[TrainingImages, DataReport]:
        """Read the frames."""
        data = FrameData(self._frames, resolution, seed=seed, cache_dir=self._cache_dir)
        return data, DataReport(warnings=self._frames.warnings)


def _require_a_batch(num_images: int, batch_size: int, data_dir: Path) -> None:
    if num_images < batch_size:
        raise DataError(
            f"A batch takes {batch_size} different images (--batch-size).",
            received=counted(num_images, "image"),
            path=data_dir,
        )


def _require_a_batch_of_epochs(num_images: int, batch_size: int, epochs: float) -> None:
    if round(epochs * num_images) < batch_size:
        raise UsageError(
            f"A training takes a batch of {batch_size} images at least (--batch-size): more of --epochs, or smaller "
            "batches.",
            received=f"{epochs:g} epochs of {counted(num_images, 'image')}",
        )
