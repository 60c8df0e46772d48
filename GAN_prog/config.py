"""Settings of the progressive GAN: the published table, and one for a laptop."""

from dataclasses import dataclass, field

from GAN_prog.loss import LossConfig
from medsynth.config import require_range
from medsynth.errors import UsageError
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
    """Size of both networks.

    Attributes:
        fmap_base: Overall multiplier of the feature maps.
        fmap_max: Most feature maps of a layer; the latents have min(fmap_base, fmap_max) numbers.
        precision: float32, mixed_bfloat16 (faster where the processor has instructions for it) or mixed_float16.
    """

    fmap_base: int = 8192
    fmap_max: int = 512
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("fmap_base", "fmap_max"):
            require_range(f"network.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class ProgressiveConfig(TrainingConfig):
    """Everything that a training of GAN_prog can be set to, in groups."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)


# Resolution: GPUs it was run on, kimg of a training phase (a fade takes as long), kimg in all, kimg before the first
# FID.
# Source: Schuette et al. 2021, configuration of the published runs.
_PUBLISHED = {
    32: ((1, 2, 4), 1400.0, 12000.0, 7000.0),
    64: ((2, 4, 8), 1000.0, 14000.0, 7000.0),
    128: ((2, 4, 8), 1000.0, 16000.0, 9000.0),
}
_PUBLISHED_MINIBATCH = {8: 256, 16: 128, 32: 64, 64: 32, 128: 16}


def _published(resolution: int, num_gpus: int) -> ProgressiveConfig:
    _, phase_kimg, total_kimg, minimum_fid_kimg = _PUBLISHED[resolution]
    return ProgressiveConfig(
        schedule=ScheduleConfig(
            total_kimg=total_kimg,
            initial_resolution=8,
            training_kimg=phase_kimg,
            transition_kimg=phase_kimg,
            num_gpus=num_gpus,
            minibatch_base=4 * num_gpus,
            minibatch_by_resolution={r: n for r, n in _PUBLISHED_MINIBATCH.items() if r <= resolution},
        ),
        stopping=StoppingConfig(features="inception-2015", minimum_kimg=minimum_fid_kimg),
    )


def _cpu(resolution: int) -> ProgressiveConfig:
    """Small networks and a short schedule: minutes on two cores, not days on a GPU.

    The number format is the one in which this machine's processor is fastest.
    """
    tick_kimg = {4 * 2**i: 4.0 for i in range(9)}
    return ProgressiveConfig(
        network=NetworkConfig(fmap_base=512, fmap_max=48, precision=fastest_precision()),
        # Few steps want larger ones and a faster average.
        optimiser=OptimiserConfig(average_decay=0.99),
        schedule=ScheduleConfig(
            total_kimg=80.0,
            initial_resolution=8,
            training_kimg=8.0,
            transition_kimg=8.0,
            minibatch_base=32,
            minibatch_by_resolution={4: 64, 8: 64, 16: 64, 32: 32},
            generator_learning_rate=0.003,
            discriminator_learning_rate=0.003,
            tick_kimg=tick_kimg,
        ),
        trainer=TrainerConfig(max_grid_images=128),
    )


def presets(resolution: int) -> dict[str, ProgressiveConfig]:
    """Return the presets that a resolution has, by name.

    `published` is the published one on the fewest GPUs, `published-Ngpu` the one on N.

    Args:
        resolution: Width and height of the images, a power of two from 8.

    Raises:
        UsageError: Below 8.
    """
    if resolution < 8:
        raise UsageError("The networks grow from 8x8; give a resolution of 8 or more.", received=resolution)
    found: dict[str, ProgressiveConfig] = {}
    if resolution in _PUBLISHED:
        num_gpus = _PUBLISHED[resolution][0]
        found[DEFAULT_PRESET] = _published(resolution, min(num_gpus))
        found |= {f"published-{count}gpu": _published(resolution, count) for count in num_gpus}
    return found | {"cpu": _cpu(resolution)}
