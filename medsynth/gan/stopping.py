"""When a GAN training ends before its schedule does, and which networks are its best: by FID, or by SWD."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsynth.config import require_range
from medsynth.errors import UsageError
from medsynth.metrics.features import EXTRACTORS, require_extractor

FID, SWD = "FID", "SWD"
SWD_FEATURES = "swd"
_WITHOUT_NETWORK = ("none", SWD_FEATURES)


@dataclass(frozen=True)
class StoppingConfig:
    """Settings of the early stop.

    Attributes:
        features: Extractor that FID is computed with, as `medsynth.metrics.features` names it; `swd` measures the
            sliced Wasserstein distance instead, which needs no weights (`medsynth.metrics.sliced_wasserstein`);
            `none` trains to the end of the schedule.
        weights: File or folder of the extractor's weights.
        every_ticks: Ticks between two measurements.
        patience: Measurements in a row without a new minimum that end the training.
        minimum_kimg: Nothing is measured before.
        num_images: Real and synthetic images of a measurement.

    Source: Schuette et al. 2021, configuration of the published runs.
    """

    features: str = "none"
    weights: str = ""
    every_ticks: int = 4
    patience: int = 2
    minimum_kimg: float = 7000.0
    num_images: int = 10000

    def __post_init__(self) -> None:
        for name in ("every_ticks", "patience"):
            require_range(f"stopping.{name}", getattr(self, name), 1)
        require_range("stopping.num_images", self.num_images, 2)
        require_range("stopping.minimum_kimg", self.minimum_kimg, 0)

    @property
    def measure_name(self) -> str:
        """What is measured."""
        return SWD if self.features == SWD_FEATURES else FID


def check_stopping(config: StoppingConfig) -> None:
    """Refuse settings that make no sense together; `require_stopping_weights` looks for the weights.

    Raises:
        UsageError: An unknown extractor, or weights that nothing would use.
    """
    if config.features in _WITHOUT_NETWORK and config.weights:
        raise UsageError(
            f"stopping.weights has no effect with stopping.features={config.features}.", received=config.weights
        )
    if config.features not in (*_WITHOUT_NETWORK, *EXTRACTORS):
        raise UsageError(
            f"stopping.features is none, {SWD_FEATURES} or one of {', '.join(EXTRACTORS)}.", received=config.features
        )


def require_stopping_weights(config: StoppingConfig) -> None:
    """Refuse weights that are not there, of settings that `check_stopping` has passed.

    Raises:
        NetworkError: No such weights.
    """
    if config.features not in _WITHOUT_NETWORK and config.weights:
        require_extractor(config.features, Path(config.weights))


class FidStopping:
    """Measures FID (or SWD) as the training goes and says when it is to end.

    Args:
        config: Settings.
        measure: Maps the averaged generator to its value, the lower the better.

    Attributes:
        name: Of what is measured.
    """

    def __init__(self, config: StoppingConfig, measure: Callable[[Any], float]) -> None:
        self.config, self.measure, self.name = config, measure, config.measure_name

    def is_due(self, tick: int, kimg: float, lod: float) -> bool:
        """Return whether FID is to be measured at this tick: at full resolution only."""
        return tick % self.config.every_ticks == 0 and kimg >= self.config.minimum_kimg and lod == 0

    def is_over(self, num_without_improvement: int) -> bool:
        """Return whether the training is to end."""
        return num_without_improvement >= self.config.patience
