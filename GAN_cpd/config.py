"""Settings of cpD-GAN: the published table, and one for a laptop."""

from dataclasses import dataclass, field

from GAN_cpd.loss import LossConfig
from GAN_cpd.networks import Architecture
from medsynth.config import require_range
from medsynth.gan.schedule import ScheduleConfig
from medsynth.gan.settings import TrainingConfig
from medsynth.gan.steps import OptimiserConfig
from medsynth.gan.stopping import StoppingConfig
from medsynth.gan.trainer import TrainerConfig
from medsynth.processor import fastest_precision
from medsynth.training.precision import Precision

DEFAULT_PRESET = "published"


@dataclass(frozen=True)
class NetworkConfig:
    """Size and architecture of both networks.

    Attributes:
        fmap_base: Overall multiplier of the feature maps.
        fmap_max: Most feature maps of a layer; the latents have min(fmap_base, fmap_max) numbers.
        generator_architecture: `skip`, `resnet` or `orig`.
        discriminator_architecture: `skip`, `resnet` or `orig`.
        precision: float32, mixed_bfloat16 or mixed_float16.
    """

    fmap_base: int = 16384
    fmap_max: int = 512
    generator_architecture: Architecture = "skip"
    discriminator_architecture: Architecture = "resnet"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("fmap_base", "fmap_max"):
            require_range(f"network.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class ConditionalConfig(TrainingConfig):
    """Everything that a training of GAN_cpd can be set to, in groups."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)


# Resolution: GPUs it was run on, kimg in all, kimg before the first FID.
# Source: Schuette et al. 2021, configuration of the published runs.
_PUBLISHED = {32: ((1, 2, 4), 12000.0, 7000.0), 64: ((4, 8), 14000.0, 7000.0), 128: ((8,), 16000.0, 9000.0)}


def _published(resolution: int, num_gpus: int) -> ConditionalConfig:
    _, total_kimg, minimum_fid_kimg = _PUBLISHED[resolution]
    return ConditionalConfig(
        schedule=ScheduleConfig(
            total_kimg=total_kimg,
            initial_resolution=resolution,
            num_gpus=num_gpus,
            minibatch_base=64,
            minibatch_by_resolution={resolution: 256},
            generator_learning_rate=0.005,
            discriminator_learning_rate=0.005,
        ),
        stopping=StoppingConfig(features="inception-2015", minimum_kimg=minimum_fid_kimg),
    )


def _cpu(resolution: int) -> ConditionalConfig:
    """Small networks and a short schedule: minutes on two cores, not days on a GPU.

    The number format is the one in which this machine's processor is fastest.
    """
    return ConditionalConfig(
        network=NetworkConfig(fmap_base=512, fmap_max=48, precision=fastest_precision()),
        # Few steps want larger ones and a faster average.
        optimiser=OptimiserConfig(average_decay=0.99),
        schedule=ScheduleConfig(
            total_kimg=80.0,
            initial_resolution=resolution,
            minibatch_base=32,
            generator_learning_rate=0.003,
            discriminator_learning_rate=0.003,
            tick_kimg={},
            default_tick_kimg=4.0,
        ),
        trainer=TrainerConfig(max_grid_images=128),
    )


def presets(resolution: int) -> dict[str, ConditionalConfig]:
    """Return the presets that a resolution has, by name.

    `published` is the published one on the fewest GPUs, `published-Ngpu` the one on N.

    Args:
        resolution: Width and height of the images, a power of two from 4.
    """
    found: dict[str, ConditionalConfig] = {}
    if resolution in _PUBLISHED:
        num_gpus = _PUBLISHED[resolution][0]
        found[DEFAULT_PRESET] = _published(resolution, min(num_gpus))
        found |= {f"published-{count}gpu": _published(resolution, count) for count in num_gpus}
    return found | {"cpu": _cpu(resolution)}
