"""Settings of the joint GAN: the published table, and one for a laptop."""

from dataclasses import dataclass, field
from typing import Literal

from GAN_joint.loss import LossConfig
from GAN_joint.networks import DROPOUT, Pairing
from medsynth.config import require_range
from medsynth.errors import UsageError
from medsynth.gan.schedule import ScheduleConfig, schedule_at
from medsynth.gan.settings import TrainingConfig
from medsynth.gan.steps import OptimiserConfig
from medsynth.gan.trainer import TrainerConfig
from medsynth.processor import fastest_precision

DEFAULT_PRESET = "published"
_EPOCHS, _EPOCHS_A_TICK, _TICKS_A_SNAPSHOT = 5000, 50, 10
# Batch normalisation's stored statistics cannot take back a step that float16's loss scaling skips.
Precision = Literal["float32", "mixed_bfloat16"]


@dataclass(frozen=True)
class NetworkConfig:
    """Size of both networks.

    Attributes:
        width: Factor of the published numbers of channels and units.
        latent_size: Numbers of a latent.
        precision: float32 or mixed_bfloat16.
        pairing: How image and row meet in the discriminator. sum, as published: its logit is one term of the image plus
            one of the row, which cannot tell whether they belong together. projection: the inner product of a
            projection of each is added.
        dropout: Share of the discriminator's units that a step leaves out.
    """

    width: float = 1.0
    latent_size: int = 100
    precision: Precision = "float32"
    pairing: Pairing = "sum"
    dropout: float = DROPOUT

    def __post_init__(self) -> None:
        if not 0 < self.width <= 8:
            raise UsageError("network.width must be above 0 and at most 8.", received=self.width)
        require_range("network.latent_size", self.latent_size, 1)
        require_range("network.dropout", self.dropout, 0, below=1)


@dataclass(frozen=True)
class JointConfig(TrainingConfig):
    """Everything that a training of GAN_joint can be set to, in groups."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)

    def require_sense(self) -> None:
        """Refuse settings that do not go together.

        Raises:
            UsageError: Rows cannot be swapped, or to no effect.
        """
        if self.loss.mismatched == 0:
            return
        if self.network.pairing == "sum":
            raise UsageError(
                "loss.mismatched needs network.pairing=projection: as published, the discriminator cannot tell whether "
                "image and row belong together.",
                received=self.loss.mismatched,
            )
        num_gpus = max(self.schedule.num_gpus, 1)
        minibatch = schedule_at(self.schedule, self.schedule.initial_resolution, images_seen=0).minibatch
        if minibatch % (2 * num_gpus):
            raise UsageError(
                "loss.mismatched swaps the rows of neighbours, so that the minibatch must be even on every GPU.",
                received=f"{minibatch} images on {num_gpus} GPU(s)",
            )


def presets(resolution: int, num_pairs: int) -> dict[str, JointConfig]:
    """Return the presets by name.

    Args:
        resolution: Width and height of the images.
        num_pairs: Of the training; an epoch of the published schedule is as many images.
    """
    return {DEFAULT_PRESET: _published(resolution, num_pairs), "cpu": _cpu(resolution)}


def _published(resolution: int, num_pairs: int) -> JointConfig:
    """Return the published training; a state holds a gigabyte, so a tick is not an epoch but fifty."""
    epoch_kimg = num_pairs / 1000
    return JointConfig(
        optimiser=OptimiserConfig(beta_1=0.9, beta_2=0.999, epsilon=1e-7, average_decay=0.0),
        schedule=_schedule(
            resolution, _EPOCHS * epoch_kimg, minibatch=10, rate=0.0001, tick_kimg=_EPOCHS_A_TICK * epoch_kimg
        ),
        trainer=TrainerConfig(max_grid_images=16, snapshot_ticks=_TICKS_A_SNAPSHOT),
    )


def _cpu(resolution: int) -> JointConfig:
    """Small networks, a short schedule (minutes on two cores), and what makes image and row belong together."""
    narrow: Precision = "mixed_bfloat16" if fastest_precision() == "mixed_bfloat16" else "float32"
    return JointConfig(
        # With dropout and without R1 the discriminator soon tells all pairs apart by their pixels, and nothing else is
        # learnt (docs/joint_evidence.md).
        network=NetworkConfig(width=0.25, precision=narrow, pairing="projection", dropout=0.0),
        loss=LossConfig(mismatched=0.5, gamma_1=0.1),
        # Radford et al. 2016 (https://arxiv.org/abs/1511.06434), section 4: less momentum, a larger step.
        optimiser=OptimiserConfig(beta_1=0.5, beta_2=0.999, epsilon=1e-7, average_decay=0.99),
        schedule=_schedule(resolution, 80.0, minibatch=32, rate=0.0002, tick_kimg=4.0),
        trainer=TrainerConfig(max_grid_images=32),
    )


def _schedule(resolution: int, total_kimg: float, *, minibatch: int, rate: float, tick_kimg: float) -> ScheduleConfig:
    return ScheduleConfig(
        total_kimg=total_kimg,
        initial_resolution=resolution,
        minibatch_base=minibatch,
        max_minibatch_per_gpu={},
        generator_learning_rate=rate,
        discriminator_learning_rate=rate,
        tick_kimg={},
        default_tick_kimg=tick_kimg,
    )
