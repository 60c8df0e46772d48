"""The published learning rates, by step.

Source: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983, equation 5 (cosine); Smith and Topin 2018,
https://arxiv.org/abs/1708.07120 (one cycle), in the form of torch.optim.lr_scheduler.OneCycleLR.
"""

import math
from typing import Any

import keras
from keras import ops

_FIRST_PART, _START_DIVISOR, _END_DIVISOR = 0.3, 25.0, 1e4
_HIGH_BETA_1, _LOW_BETA_1 = 0.95, 0.85


@keras.saving.register_keras_serializable("classifier_segment")
class CosineSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that swings between `start` and `end` as a cosine, `period` steps each way, for ever.

    As published, start 4e-6, end 1e-5 and the period are the epochs, though it is a number of steps: the rate rises.

    Args:
        start: Rate of the first step.
        end: Rate after `period` steps.
        period: Steps.
    """

    def __init__(self, start: float = 4e-6, end: float = 1e-5, period: int = 100) -> None:
        self.start, self.end, self.period = start, end, period

    def get_config(self) -> dict[str, Any]:
        """Return what builds the schedule again."""
        return {"start": self.start, "end": self.end, "period": self.period}

    def __call__(self, step: Any) -> Any:
        """Return the rate of step number `step`, counted from 0."""
        return _between(self.start, self.end, ops.cast(step, "float32") / self.period)


class _Cycle(keras.optimizers.schedules.LearningRateSchedule):
    """From a first value to a second one in 30 % of the steps, from there to a third one in the rest, as cosines."""

    def __init__(self, num_steps: int) -> None:
        self.num_steps = num_steps

    def get_config(self) -> dict[str, Any]:
        """Return what builds the schedule again."""
        return {"num_steps": self.num_steps}

    def _value(self, step: Any, first: float, second: float, third: float) -> Any:
        turn, last = _FIRST_PART * self.num_steps - 1, float(self.num_steps - 1)
        step = ops.minimum(ops.cast(step, "float32"), last)
        up = _between(first, second, step / turn)
        down = _between(second, third, (step - turn) / (last - turn))
        return ops.where(step <= turn, up, down)


@keras.saving.register_keras_serializable("classifier_segment")
class OneCycleSchedule(_Cycle):
    """A rate that rises from highest / 25 to `highest`, and falls to highest / 250,000.

    The original takes one step of it in an epoch, though it is sized in steps, and so stays far below the highest rate.
    Here it goes on with every step.

    Args:
        highest: As published, 0.01.
        num_steps: Of the whole training, from 4; later steps keep the last rate.
    """

    def __init__(self, highest: float = 0.01, num_steps: int = 1000) -> None:
        super().__init__(num_steps)
        self.highest = highest

    def get_config(self) -> dict[str, Any]:
        """Return what builds the schedule again."""
        return super().get_config() | {"highest": self.highest}

    def __call__(self, step: Any) -> Any:
        """Return the rate of step number `step`, counted from 0."""
        start = self.highest / _START_DIVISOR
        return self._value(step, start, self.highest, start / _END_DIVISOR)


@keras.saving.register_keras_serializable("classifier_segment")
class OneCycleBeta(_Cycle):
    """Adam's beta_1 beside `OneCycleSchedule`: from 0.95 down to 0.85, and back.

    Args:
        num_steps: Of the whole training.
    """

    def __call__(self, step: Any) -> Any:
        """Return beta_1 of step number `step`, counted from 0."""
        return self._value(step, _HIGH_BETA_1, _LOW_BETA_1, _HIGH_BETA_1)


@keras.saving.register_keras_serializable("classifier_segment")
class CyclingAdam(keras.optimizers.Adam):
    """Keras' Adam with a beta_1 of each step, which also corrects the bias, as in torch.

    Args:
        cycle: beta_1 by step.
        **options: Of Adam.
    """

    def __init__(self, cycle: OneCycleBeta, **options: Any) -> None:
        super().__init__(**options)
        self.cycle = cycle

    @property
    def beta_1(self) -> Any:
        """Of the step that comes next."""
        return self.cycle(self.iterations) if hasattr(self, "cycle") else None

    @beta_1.setter
    def beta_1(self, value: float) -> None:
        """Leave it: Adam's own constructor sets a constant."""

    def get_config(self) -> dict[str, Any]:
        """Return what builds the optimiser again."""
        config = super().get_config() | {"cycle": keras.saving.serialize_keras_object(self.cycle)}
        del config["beta_1"]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "CyclingAdam":
        """Return the optimiser of such a configuration."""
        cycle = keras.saving.deserialize_keras_object(config["cycle"], custom_objects)
        return super().from_config(config | {"cycle": cycle}, custom_objects)


def _between(start: float, end: float, share: Any) -> Any:
    return end + (start - end) * (1 + ops.cos(math.pi * share)) / 2
