"""What reports of masks and of saliency maps have in common: figures of every image, and their means."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier_segment.evaluation.estimates import METRICS_JSON, Estimates
from medsynth.classify.evaluation.statistics import Floats
from medsynth.report.image_tables import write_image_table

PER_IMAGE = "per_image.csv"


@dataclass(frozen=True)
class ImageReport:
    """Figures of every image, and their means with intervals.

    Attributes:
        names: Of the images, N.
        per_image: By the metric's name, [N]; NaN where an image has none.
        has_lesion: Whose true mask is not empty, [N].
        is_empty: Whose map or predicted mask is empty, [N].
        estimates: The metrics of the test.
        test: Digest of true masks and groups; another one means another test.
    """

    names: tuple[str, ...]
    per_image: dict[str, Floats]
    has_lesion: npt.NDArray[np.bool_]
    is_empty: npt.NDArray[np.bool_]
    estimates: Estimates
    test: str

    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Return value, low and high of every metric, as JSON holds them; None where undefined."""
        return self.estimates.metrics()

    def facts(self) -> dict[str, Any]:
        """Return what metrics.json says beside the metrics."""
        raise NotImplementedError

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """Return the columns of per_image.csv, [N] each."""
        return {"has_lesion": self.has_lesion, "is_empty": self.is_empty, **self.per_image}

    def write(self, folder: Path) -> None:
        """Write per_image.csv, resamples.npy and metrics.json (last) into a folder."""
        (folder / METRICS_JSON).unlink(missing_ok=True)
        write_image_table(folder / PER_IMAGE, self.names, self.columns())
        self.estimates.write(folder, self.facts(), test=self.test)
