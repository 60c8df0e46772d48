"""The groups of settings that every GAN application has."""

from dataclasses import dataclass, field

from medsynth.gan.augment import AugmentConfig
from medsynth.gan.schedule import ScheduleConfig
from medsynth.gan.steps import OptimiserConfig
from medsynth.gan.stopping import StoppingConfig
from medsynth.gan.trainer import TrainerConfig


@dataclass(frozen=True)
class TrainingConfig:
    """What a training can be set to, whatever is trained; an application adds `network` and `loss`.

    Attributes:
        optimiser: Adam, and the averaging of the generator.
        schedule: What happens after how many images.
        trainer: The loop.
        stopping: FID, and an end before that of the schedule.
        augment: What the discriminator sees instead of the images as they are.
    """

    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
