"""Which metrics there are, what each needs, and what a user may ask for."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from medsynth.errors import DataError, UsageError
from medsynth.metrics.features import CLASS_PROBABILITIES, require_extractor
from medsynth.metrics.intervals import NUM_BLOCKS
from medsynth.metrics.sliced_wasserstein import SMALLEST_RESOLUTION

# Four images in each block that an interval leaves out; below that a metric says nothing anyway.
MINIMUM_IMAGES = 4 * NUM_BLOCKS
SPLITS = ("train", "valid", "test")
FINAL, ALL = "final", "all"


@dataclass(frozen=True)
class Metric:
    """What there is to say of a metric before it is computed.

    Attributes:
        title: As tables and figures show it.
        needs: `features`, `classes` (features and class weights) or `pixels`.
        better: Which values are good; `as real` where the value of real images is the aim.
    """

    title: str
    needs: Literal["features", "classes", "pixels"]
    better: Literal["lower", "higher", "as real"]


METRICS = {
    "fid": Metric("FID", "features", "lower"),
    "fid_infinity": Metric("FID, extrapolated to infinitely many images", "features", "lower"),
    "kid": Metric("KID", "features", "lower"),
    "kid_subsets": Metric("KID, mean of disjoint subsets", "features", "lower"),
    "precision": Metric("precision", "features", "higher"),
    "recall": Metric("recall", "features", "higher"),
    "density": Metric("density", "features", "higher"),
    "coverage": Metric("coverage", "features", "higher"),
    "modes": Metric("modes, effective share", "features", "higher"),
    "ndb": Metric("bins with another share (NDB/K)", "features", "lower"),
    "birthday": Metric("share with a near-duplicate", "features", "lower"),
    "support": Metric("support size by near-duplicates", "features", "higher"),
    "is": Metric("Inception score", "classes", "as real"),
    "ms_ssim": Metric("MS-SSIM of pairs", "pixels", "as real"),
    "swd": Metric("SWD x 1000", "pixels", "lower"),
}


def metric_of_row(name: str) -> str:
    """Return the metric that a row belongs to: `swd` for `swd_32`, else the row's own name."""
    return name if name in METRICS else name.rpartition("_")[0]


def parse_metrics(text: str) -> tuple[str, ...]:
    """Return the metrics that a list separated by commas names, each once, in that order.

    Raises:
        UsageError: None, or an unknown one (the nearest known one is named).
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=1, cutoff=0.3)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"Unknown metric.{hint} Known metrics: {', '.join(METRICS)}.", received=name)
    if not names:
        raise UsageError(f"--metrics names at least one of {', '.join(METRICS)}.", received=repr(text))
    return names


@dataclass(frozen=True)
class MetricsRequest:
    """What `evaluate.py metrics` was asked for; wrong combinations are refused when it is made.

    Attributes:
        metrics: Of `METRICS`.
        features: Of `medsynth.metrics.features.EXTRACTORS`.
        weights: Of the extractor; None where no metric needs one.
        num_images: Images of each set, if there are as many.
        split: Where the real images come from.
        snapshots: `final` (network-final) or `all` (every network-snapshot-NNNNNN, the newest first).
        seed: Of the real images that are drawn, of the latents, and of `swd` and `modes`.
        with_floor: Whether real images are compared with other real ones too, which halves how many there are.
    """

    metrics: tuple[str, ...]
    features: str
    weights: Path | None
    num_images: int
    split: str
    snapshots: str
    seed: int
    with_floor: bool = True

    def __post_init__(self) -> None:
        classes = [name for name in self.metrics if METRICS[name].needs == "classes"]
        if self.needs_features:
            require_extractor(self.features, self.weights)
        if classes and self.features not in CLASS_PROBABILITIES:
            raise UsageError(
                f"{', '.join(classes)} needs features with class probabilities: {', '.join(CLASS_PROBABILITIES)}.",
                received=f"--features {self.features}",
            )
        if self.num_images < MINIMUM_IMAGES:
            raise UsageError(f"--num is at least {MINIMUM_IMAGES}.", received=self.num_images)
        if self.split not in SPLITS:
            raise UsageError(f"--split is one of {', '.join(SPLITS)}.", received=self.split)
        if self.snapshots not in (FINAL, ALL):
            raise UsageError(f"--snapshots is {FINAL} or {ALL}.", received=self.snapshots)

    @property
    def needs_features(self) -> bool:
        """Whether any of the metrics needs a network."""
        return any(METRICS[name].needs != "pixels" for name in self.metrics)

    def require_fitting(self, num_real_images: int, resolution: int, place: Path) -> int:
        """Return how many images of each set are compared: as many as asked for, if there are enough real ones.

        Args:
            num_real_images: In the split.
            resolution: Of the images.
            place: The split's folder, for messages.

        Raises:
            DataError: Too few real images.
            UsageError: Images too small for a metric.
        """
        if "swd" in self.metrics and resolution < SMALLEST_RESOLUTION:
            raise UsageError(
                f"swd needs images of at least {SMALLEST_RESOLUTION}x{SMALLEST_RESOLUTION} pixels.",
                received=f"{resolution}x{resolution}",
            )
        num_sets = 2 if self.with_floor else 1
        num_images = min(self.num_images, num_real_images // num_sets)
        if num_images < MINIMUM_IMAGES:
            why = f"{num_sets} x {MINIMUM_IMAGES}" + (" (the floor needs two sets)" if self.with_floor else "")
            raise DataError(
                f"Too few real images: at least {why} are needed.", received=f"{num_real_images} images", path=place
            )
        return num_images
