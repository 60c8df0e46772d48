"""What a training does after how many images: resolution, fading, minibatch, rates.

A pure function of the number of real images seen, so that a resumed training
follows the same path as an undisturbed one.
"""

import math
from dataclasses import dataclass, field

from medsynth.errors import UsageError

_PUBLISHED_TICK_KIMG = {4: 160, 8: 140, 16: 120, 32: 100, 64: 80, 128: 60, 256: 40, 512: 20, 1024: 10}


@dataclass(frozen=True)
class ScheduleConfig:
    """Settings of the schedule; one kimg is a thousand real images.

    Attributes:
        total_kimg: Length of the training.
        initial_resolution: Resolution to start from; the final one means no growing.
        training_kimg: Length of each phase at a constant resolution.
        transition_kimg: Length of each fade to the next resolution.
        num_gpus: Devices that the schedule is for; bounds the minibatch together with `max_minibatch_per_gpu`.
            Where there are fewer, fewer share the same minibatches.
        minibatch_base: Minibatch at resolutions that `minibatch_by_resolution` leaves out.
        minibatch_by_resolution: Minibatch over all devices, by resolution.
        max_minibatch_per_gpu: Upper bound by resolution.
        generator_learning_rate: Adam's rate.
        discriminator_learning_rate: Adam's rate.
        generator_learning_rate_by_resolution: Exceptions from it.
        discriminator_learning_rate_by_resolution: Exceptions from it.
        tick_kimg: Images between two status lines, by resolution.
        default_tick_kimg: The same at resolutions that `tick_kimg` leaves out.

    Source: Karras et al. 2018, https://arxiv.org/abs/1710.10196, appendix A.1; presets of
    Schuette et al. 2021, https://doi.org/10.1038/s41746-021-00507-3.
    """

    total_kimg: float = 12000.0
    initial_resolution: int = 8
    training_kimg: float = 600.0
    transition_kimg: float = 600.0
    num_gpus: int = 1
    minibatch_base: int = 4
    minibatch_by_resolution: dict[int, int] = field(default_factory=dict)
    max_minibatch_per_gpu: dict[int, int] = field(default_factory=lambda: {256: 16})
    generator_learning_rate: float = 0.001
    discriminator_learning_rate: float = 0.001
    generator_learning_rate_by_resolution: dict[int, float] = field(default_factory=dict)
    discriminator_learning_rate_by_resolution: dict[int, float] = field(default_factory=dict)
    tick_kimg: dict[int, float] = field(default_factory=lambda: {k: float(v) for k, v in _PUBLISHED_TICK_KIMG.items()})
    default_tick_kimg: float = 160.0


@dataclass(frozen=True)
class Point:
    """The schedule at one moment.

    Attributes:
        lod: Level of detail: 0 is the final resolution, 1 half of it; a fraction fades between.
        resolution: The finest resolution in use, final / 2^floor(lod).
        minibatch: Real images of a discriminator step, over all devices.
        generator_learning_rate: Adam's rate.
        discriminator_learning_rate: Adam's rate.
        tick_kimg: Images until the next status line, in thousands.
    """

    lod: float
    resolution: int
    minibatch: int
    generator_learning_rate: float
    discriminator_learning_rate: float
    tick_kimg: float

    @property
    def fade(self) -> float:
        """Weight of the next coarser resolution, in [0, 1)."""
        return self.lod - math.floor(self.lod)


def schedule_at(config: ScheduleConfig, final_resolution: int, images_seen: int) -> Point:
    """Return the schedule after `images_seen` real images.

    Args:
        config: The settings.
        final_resolution: Resolution of the networks; a power of two where they grow.
        images_seen: Real images shown to the discriminator so far.
    """
    kimg = images_seen / 1000.0
    phase_kimg = config.training_kimg + config.transition_kimg
    phase = math.floor(kimg / phase_kimg) if phase_kimg > 0 else 0
    into_phase = kimg - phase * phase_kimg
    lod = math.log2(final_resolution) - math.log2(config.initial_resolution) - phase
    if config.transition_kimg > 0:
        lod -= max(into_phase - config.training_kimg, 0.0) / config.transition_kimg
    lod = max(lod, 0.0)
    resolution = final_resolution // 2 ** math.floor(lod)
    return Point(
        lod=lod,
        resolution=resolution,
        minibatch=_minibatch(config, resolution),
        generator_learning_rate=config.generator_learning_rate_by_resolution.get(
            resolution, config.generator_learning_rate
        ),
        discriminator_learning_rate=config.discriminator_learning_rate_by_resolution.get(
            resolution, config.discriminator_learning_rate
        ),
        tick_kimg=config.tick_kimg.get(resolution, config.default_tick_kimg),
    )


def _minibatch(config: ScheduleConfig, resolution: int) -> int:
    minibatch = config.minibatch_by_resolution.get(resolution, config.minibatch_base)
    minibatch -= minibatch % config.num_gpus
    if resolution in config.max_minibatch_per_gpu:
        minibatch = min(minibatch, config.max_minibatch_per_gpu[resolution] * config.num_gpus)
    return minibatch


def _minibatches(config: ScheduleConfig, final_resolution: int) -> dict[int, int]:
    """Return the minibatch at every resolution that a training goes through."""
    num_stages = int(math.log2(final_resolution / config.initial_resolution)) + 1
    resolutions = [final_resolution // 2**stage for stage in reversed(range(num_stages))]
    return {resolution: _minibatch(config, resolution) for resolution in resolutions}


def _can_share(minibatch: int, num_devices: int, group_size: int) -> bool:
    share, rest = divmod(minibatch, num_devices)
    return rest == 0 and share >= 1 and (share <= group_size or share % group_size == 0)


def num_devices_to_use(config: ScheduleConfig, final_resolution: int, num_available: int, group_size: int = 4) -> int:
    """Return how many devices share a training: as many as its schedule is for, or fewer where there are fewer.

    The minibatches stay as the schedule has them, so each device takes a larger share.

    Args:
        config: A schedule that `check_schedule` has passed.
        final_resolution: Resolution of the networks.
        num_available: Devices that there are.
        group_size: Group of the minibatch standard deviation.
    """
    minibatches = _minibatches(config, final_resolution).values()
    for num_devices in range(min(config.num_gpus, num_available), 1, -1):
        if all(_can_share(minibatch, num_devices, group_size) for minibatch in minibatches):
            return num_devices
    return 1


def growth_stage(lod: float) -> tuple[int, int]:
    """Return (floor, ceil) of the level of detail; Adam starts afresh whenever it changes."""
    return math.floor(lod), math.ceil(lod)


class RemainingTime:
    """Estimates how long the rest of a training will take, although images get dearer as it grows.

    An image at a resolution costs what it cost there last. At a resolution not reached yet it
    is taken to cost three times as much as at the one below: four times the pixels, but some of
    the work does not depend on them.

    Args:
        config: The schedule.
        final_resolution: Of the networks.
    """

    _GROWTH, _NUM_POINTS = 3.0, 200

    def __init__(self, config: ScheduleConfig, final_resolution: int) -> None:
        self.config, self.final_resolution = config, final_resolution
        self._seconds_per_image: dict[int, float] = {}

    def add(self, resolution: int, seconds_per_image: float) -> None:
        """Note what an image took at a resolution just now."""
        known = self._seconds_per_image.get(resolution, seconds_per_image)
        self._seconds_per_image[resolution] = 0.8 * known + 0.2 * seconds_per_image

    def seconds(self, images_seen: int) -> float | None:
        """Return the estimate after `images_seen` images; None while nothing was noted."""
        if not self._seconds_per_image:
            return None
        left = max(self.config.total_kimg * 1000 - images_seen, 0.0)
        share = left / self._NUM_POINTS
        points = (images_seen + round(share * (i + 0.5)) for i in range(self._NUM_POINTS))
        return sum(share * self._cost(schedule_at(self.config, self.final_resolution, n).resolution) for n in points)

    def _cost(self, resolution: int) -> float:
        nearest = min(self._seconds_per_image, key=lambda known: abs(math.log2(known / resolution)))
        return float(self._seconds_per_image[nearest] * self._GROWTH ** math.log2(resolution / nearest))


def check_schedule(config: ScheduleConfig, final_resolution: int, group_size: int = 4) -> None:
    """Refuse settings that could not be trained with.

    Args:
        config: The settings.
        final_resolution: Resolution of the networks.
        group_size: Group of the minibatch standard deviation, which must divide every minibatch.

    Raises:
        UsageError: Names the setting.
    """
    if not 0 < config.total_kimg < math.inf:
        raise UsageError("schedule.total_kimg must be above 0.", received=config.total_kimg)
    for name in ("training_kimg", "transition_kimg"):
        if not (math.isfinite(getattr(config, name)) and getattr(config, name) >= 0):
            raise UsageError(f"schedule.{name} must be 0 or more.", received=getattr(config, name))
    start = config.initial_resolution
    is_power_of_two = start >= 4 and not start & (start - 1)
    if start > final_resolution or (start < final_resolution and not is_power_of_two) or start < 4:
        raise UsageError(
            f"schedule.initial_resolution is a power of two from 4 to the final {final_resolution}.", received=start
        )
    if start < final_resolution and config.training_kimg + config.transition_kimg == 0:
        raise UsageError(
            "Growing needs schedule.training_kimg or schedule.transition_kimg above 0.", received="0 for both"
        )
    if config.num_gpus < 1:
        raise UsageError("schedule.num_gpus must be 1 or more.", received=config.num_gpus)
    _check_minibatches(config, final_resolution, group_size)
    _check_rates(config)


def _check_minibatches(config: ScheduleConfig, final_resolution: int, group_size: int) -> None:
    for name in ("minibatch_by_resolution", "max_minibatch_per_gpu", "tick_kimg"):
        for resolution in getattr(config, name):
            if resolution < 4 or resolution & (resolution - 1):
                raise UsageError(f"schedule.{name} is by resolution, a power of two from 4.", received=resolution)
    first = schedule_at(config, final_resolution, 0)
    if round(config.total_kimg * 1000) < first.minibatch:
        raise UsageError(
            f"schedule.total_kimg must hold one minibatch at least, {first.minibatch / 1000:g}.",
            received=config.total_kimg,
        )
    for resolution, minibatch in _minibatches(config, final_resolution).items():
        if minibatch < 1:
            raise UsageError(
                f"The minibatch at {resolution}x{resolution} must be 1 or more on each of {config.num_gpus} device(s).",
                received=f"{minibatch} images on {config.num_gpus} device(s)",
            )
        if not _can_share(minibatch, config.num_gpus, group_size):
            raise UsageError(
                f"The minibatch of each device must be at most {group_size} or a multiple of it, the group of the "
                f"minibatch standard deviation; at {resolution}x{resolution} it is not.",
                received=f"{minibatch} images on {config.num_gpus} device(s)",
            )
        if config.tick_kimg.get(resolution, config.default_tick_kimg) <= 0:
            raise UsageError("schedule.tick_kimg must be above 0.", received=config.tick_kimg)


def _check_rates(config: ScheduleConfig) -> None:
    for network in ("generator", "discriminator"):
        by_resolution = getattr(config, f"{network}_learning_rate_by_resolution").values()
        for rate in (getattr(config, f"{network}_learning_rate"), *by_resolution):
            if not 0 < rate <= 1:
                raise UsageError(f"schedule.{network}_learning_rate must be above 0 and at most 1.", received=rate)
