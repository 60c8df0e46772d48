"""Settings of the DCGAN: the published table, and one against its collapse."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from GAN_dcgan.loss import LossConfig
from GAN_dcgan.networks import FIRST_SIZE, DiscriminatorNorm, Head
from medsynth.config import require_range
from medsynth.errors import UsageError
from medsynth.gan.augment import AugmentConfig
from medsynth.gan.schedule import ScheduleConfig
from medsynth.gan.settings import TrainingConfig
from medsynth.gan.steps import OptimiserConfig
from medsynth.gan.stopping import StoppingConfig
from medsynth.gan.trainer import TrainerConfig

DEFAULT_PRESET, PUBLISHED_EPOCHS = "published", 10.0
ANY = "any"
_STDDEV_GROUP = 4
_SHORTEST_TICK_KIMG = 4.0
_NEVER = 10**9  # measurements without improvement that end a training
# Batch normalisation's stored statistics cannot take back a step that float16's loss scaling skips.
Precision = Literal["float32", "mixed_bfloat16"]


@dataclass(frozen=True)
class NetworkConfig:
    """Size of both networks.

    Attributes:
        latent_size: Numbers of a latent.
        generator_features: Multiplier of the generator's channels.
        discriminator_features: Multiplier of the discriminator's.
        precision: float32 or mixed_bfloat16.
        discriminator_levels: The discriminator's convolutions, each of which halves the size.
        discriminator_norm: What keeps it in bounds: batch (published), spectral or none.
        head: What its last layer sees: flatten (published), every place of the last feature maps, or average, the mean
            of each map.
        minibatch_stddev: Whether it sees the standard deviation of groups of four (Karras et al. 2018,
            https://arxiv.org/abs/1710.10196, section 3).
    """

    latent_size: int = 100
    generator_features: int = 64
    discriminator_features: int = 64
    precision: Precision = "float32"
    discriminator_levels: int = 2
    discriminator_norm: DiscriminatorNorm = "batch"
    head: Head = "flatten"
    minibatch_stddev: bool = False

    def __post_init__(self) -> None:
        for name in ("latent_size", "generator_features", "discriminator_features", "discriminator_levels"):
            require_range(f"network.{name}", getattr(self, name), 1)

    @property
    def stddev_group_size(self) -> int:
        """Samples of a group of the minibatch standard deviation; 1 without it."""
        return _STDDEV_GROUP if self.minibatch_stddev else 1


@dataclass(frozen=True)
class DataConfig:
    """Which frames are trained on; none of it counts for a dataset made by build_dataset.

    Attributes:
        filename_filter: Part of the path below the folder that a frame must have; all have the empty one.
        image_extension: Ending of the frames' names without the dot, several with commas between, or any.
        table: csv file, relative to the folder, that lists the frames instead; none where empty.
        file_column: Its column of paths, relative to itself.
        group_column: Its column of groups, such as patients.
        held_out_share: Of the groups, kept from training.
        split_seed: Of which groups those are.
    """

    filename_filter: str = ""
    image_extension: str = "png"
    table: str = ""
    file_column: str = "path"
    group_column: str = "group_id"
    held_out_share: float = 0.0
    split_seed: int = 0

    def __post_init__(self) -> None:
        require_range("data.held_out_share", self.held_out_share, 0, below=1)
        require_range("data.split_seed", self.split_seed, 0)
        if not self.image_extension.strip(". ,"):
            raise UsageError("data.image_extension names an ending, such as png.", received=repr(self.image_extension))


@dataclass(frozen=True)
class DcganOptimiser(OptimiserConfig):
    """Adam as PyTorch computes it."""

    corrects_before_epsilon: ClassVar[bool] = True


@dataclass(frozen=True)
class DcganConfig(TrainingConfig):
    """Everything that a training of GAN_dcgan can be set to, in groups."""

    optimiser: OptimiserConfig = field(default_factory=DcganOptimiser)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def require_sense(self) -> None:
        """Refuse settings that do not go together.

        Raises:
            UsageError: More levels than the frames can be halved.
        """
        resolution, num_levels = self.schedule.initial_resolution, self.network.discriminator_levels
        if resolution >> num_levels < FIRST_SIZE:
            raise UsageError(
                f"network.discriminator_levels: {resolution}x{resolution} frames can be halved "
                f"{(resolution // FIRST_SIZE).bit_length() - 1} times, down to {FIRST_SIZE}x{FIRST_SIZE}.",
                received=num_levels,
            )


def presets(
    resolution: int, num_frames: int, epochs: float = PUBLISHED_EPOCHS, table: str = ""
) -> dict[str, DcganConfig]:
    """Return the presets by name.

    Args:
        resolution: Width and height of the frames.
        num_frames: Of the training; an epoch is as many images.
        epochs: Passes over the frames.
        table: That the folder of frames has of its own; see `DataConfig`.
    """
    published = replace(_published(resolution, num_frames / 1000, epochs), data=DataConfig(table=table))
    return {DEFAULT_PRESET: published, "stable": _stable(published)}


def _published(resolution: int, epoch_kimg: float, epochs: float) -> DcganConfig:
    """Return the published training; a tick is an epoch."""
    return DcganConfig(
        optimiser=DcganOptimiser(beta_1=0.7, beta_2=0.999, epsilon=1e-8, average_decay=0.0),
        schedule=ScheduleConfig(
            total_kimg=epochs * epoch_kimg,
            initial_resolution=resolution,
            minibatch_base=64,
            max_minibatch_per_gpu={},
            generator_learning_rate=0.0002,
            discriminator_learning_rate=0.0002,
            tick_kimg={},
            default_tick_kimg=epoch_kimg,
        ),
        # Chooses the best networks, and ends nothing.
        stopping=StoppingConfig(features="swd", every_ticks=1, patience=_NEVER, minimum_kimg=0.0, num_images=128),
        # An epoch of a few hundred frames is a few batches, and is to end where it ends.
        trainer=TrainerConfig(minibatch_repeats=1, max_grid_images=32),
    )


def _stable(published: DcganConfig) -> DcganConfig:
    """Return what of all settings tried kept most kinds of frames (docs/collapse.md); as long as the published one."""
    schedule = published.schedule
    num_levels = (schedule.initial_resolution // FIRST_SIZE).bit_length() - 1
    return replace(
        published,
        network=NetworkConfig(discriminator_levels=num_levels, minibatch_stddev=True),
        optimiser=replace(published.optimiser, average_decay=0.99),
        # What Zhao et al. 2020 (https://arxiv.org/abs/2006.10738) alter frames by: colour, translation, cutout.
        augment=AugmentConfig(mode="fixed", probability=0.3, quarter_turns=False, geometry=False, cutout=True),
        # Twice the steps in the same time. A tick measures and draws for two seconds, as long as many an epoch takes.
        schedule=replace(
            schedule, minibatch_base=32, default_tick_kimg=max(schedule.default_tick_kimg, _SHORTEST_TICK_KIMG)
        ),
    )
