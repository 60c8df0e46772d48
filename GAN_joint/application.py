"""What GAN_joint hands to the scripts that all GAN applications share."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from GAN_joint.config import JointConfig, presets
from GAN_joint.loss import JointLoss
from GAN_joint.networks import Discriminator, Generator
from GAN_joint.paired_data import PairedData
from GAN_joint.synthetic import TRAIN_ROWS
from medsynth.data.manifest import DataReport
from medsynth.gan.application import GanApplication
from medsynth.training.precision import dtype_policy

NAME = "joint GAN"
GENERATOR_CLASSES = {"Generator": Generator}
ENCODER = "encoder"  # in network.json: what the numbers of a row mean


def build_networks(
    config: JointConfig, resolution: int, num_channels: int, num_columns: int
) -> tuple[Generator, Discriminator]:
    """Build both networks with fresh weights."""
    network = config.network
    size: dict[str, Any] = {
        "resolution": resolution,
        "num_columns": num_columns,
        "width": network.width,
        "num_channels": num_channels,
        "dtype": dtype_policy(network.precision),
    }
    networks = (
        Generator(**size, latent_size=network.latent_size, name="generator"),
        Discriminator(**size, pairing=network.pairing, dropout=network.dropout, name="discriminator"),
    )
    for built in networks:
        built.build()
    return networks


def build_loss(config: JointConfig) -> JointLoss:
    """Build the losses.

    Raises:
        UsageError: Settings do not go together.
    """
    config.require_sense()
    return JointLoss(config.loss)


def application_for(data_dir: Path, resolution: int, seed: int) -> GanApplication:
    """Read the pairs of a training, and return the application that trains on them.

    The pairs come first, since the length of the published training follows from their number.

    Raises:
        MedsynthError: Schema, table or images cannot be used.
    """
    # This pass fails on the discriminator's gradients (TensorFlow 2.21): it leaves the graph as it was, and says so.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    data = PairedData(data_dir, resolution, seed=seed)
    for note in data.notes:
        print(note)

    def open_data(*_: Any) -> tuple[PairedData, DataReport]:
        return data, DataReport()

    return GanApplication(
        name=NAME,
        presets=lambda resolution: presets(resolution, data.num_images),
        build_networks=build_networks,
        build_loss=build_loss,
        generator_classes=GENERATOR_CLASSES,
        open_data=open_data,
        group_size=1,
        facts={ENCODER: data.encoder.to_json(), TRAIN_ROWS: data.train_rows_digest},
    )
