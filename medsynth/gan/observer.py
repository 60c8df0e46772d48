"""What a training tells an application that writes more than every GAN of the suite."""

from collections.abc import Mapping
from typing import Protocol

from medsynth.data.tfrecords import Images


class TrainingObserver(Protocol):
    """What an application writes of its own as a training goes; only the process that writes files has one."""

    def restore(self, num_steps: int, num_ticks: int) -> None:
        """Forget what came after so many steps and ticks; called once, before the first step."""

    def add(self, step: int, images_seen: int, values: Mapping[str, float]) -> None:
        """Take the scalars of a step, numbered from 0, after which `images_seen` images were seen."""

    def keep(self) -> None:
        """Put everything on disk: a state is about to be saved, and what is not on disk would be lost to it."""

    def end_tick(self, tick: int, fakes: Images, num_columns: int) -> None:
        """Show the pictures of a tick, numbered from 1, uint8 [N, R, R, C], laid out in so many columns."""
