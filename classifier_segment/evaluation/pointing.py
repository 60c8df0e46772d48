"""Whether saliency maps lie on the lesions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from classifier_segment.evaluation.estimates import (
    Estimates,
    digest_of,
    draw_resamples,
    require_length,
)
from classifier_segment.evaluation.image_report import ImageReport
from medsynth.classify.evaluation.evaluate import NUM_RESAMPLES
from medsynth.classify.evaluation.statistics import Floats
from medsynth.data.wording import counted
from medsynth.errors import DataError

CUT = 0.5  # salient is what is above it, as published
TITLES = {
    "iou": f"IoU of the map cut at {CUT}",
    "soft_iou": "soft IoU",
    "pointing": "pointing game",
    "energy": "share of the map on the lesion",
    "overlap": "overlap as published, pooled over all images",
    "pointing_at_middle": "pointing game of the image's middle",
    "energy_of_even_map": "lesion's share of the image",
}
_OF_IMAGE = ("iou", "soft_iou", "pointing", "energy", "pointing_at_middle", "energy_of_even_map")


@dataclass(frozen=True)
class SaliencyReport(ImageReport):
    """How far saliency maps lie on lesions; the means go by the names of `TITLES`."""

    @property
    def num_images(self) -> int:
        """Images with a lesion, which the means are over."""
        return int(self.has_lesion.sum())

    @property
    def num_left_out(self) -> int:
        """Images without a lesion."""
        return len(self.names) - self.num_images

    @property
    def num_empty_maps(self) -> int:
        """Images with a lesion whose map is 0 everywhere; they count 0."""
        return int((self.is_empty & self.has_lesion).sum())

    def notes(self) -> list[str]:
        """Return what a reader of the figures must know, a sentence each."""
        notes = self.estimates.notes()
        if self.num_left_out:
            notes.append(f"Left out, since there is no lesion to point at: {counted(self.num_left_out, 'image')}.")
        if self.num_empty_maps:
            notes.append(f"Maps that are 0 everywhere, counted as 0: {counted(self.num_empty_maps, 'image')}.")
        notes.append(
            "What knows nothing: a map that always points at the middle, and for the share on the lesion a map that is "
            "the same everywhere, have the last two figures."
        )
        return notes

    def describe(self) -> str:
        """Return a short text for the log: a table of the means, and the notes."""
        lines = [
            f"saliency of {counted(self.num_images, 'image')} with a lesion",
            "",
            *self.estimates.lines(TITLES),
            "",
        ]
        return "\n".join([*lines, *self.notes()]) + "\n"

    def facts(self) -> dict[str, Any]:
        """Return what metrics.json says beside the metrics."""
        return {
            "num_images": self.num_images,
            "num_left_out": self.num_left_out,
            "num_empty_maps": self.num_empty_maps,
            "notes": self.notes(),
        }


def saliency_report(
    maps: npt.NDArray[np.floating],
    masks: npt.NDArray[np.bool_],
    names: Sequence[str],
    clusters: Sequence[str] | None = None,
    *,
    num_resamples: int = NUM_RESAMPLES,
) -> SaliencyReport:
    """Return how far saliency maps lie on lesions: means over the images with one, with intervals from their groups.

    - iou: intersection over union of the lesion and the map cut at 0.5.
    - soft_iou: sum(m g) / sum(m + g - m g), map m and mask g, as the differentiable loss has it.
    - pointing: 1 where the map's maximum is on the lesion; of several maximal pixels the share that is.
    - energy: sum(m g) / sum(m).
    - overlap: the share of the salient area (above 0.5) on lesions, pooled over all images, those without lesion too:
      what the published loss calls IoU.
    - pointing_at_middle, energy_of_even_map: what maps score that know nothing about the image.

    Args:
        maps: [N, S, S] in [0, 1].
        masks: True on the lesion, [N, S, S].
        names: Of the images, N.
        clusters: Group of every image, N texts; see `classification_report`.
        num_resamples: Of the bootstrap.

    Raises:
        DataError: A map with values outside [0, 1].
        ValueError: Arguments that do not belong together.

    Source: Parola et al. 2024 (overlap); Zhang et al. 2018, "Top-down neural attention by excitation backprop"
    (pointing game); Wang et al. 2020, "Score-CAM" (energy).
    """
    require_length("maps", maps, len(names))
    if maps.shape != masks.shape:
        raise ValueError(f"masks of the shape {maps.shape} were expected, not {masks.shape}")
    scores = np.full((len(_OF_IMAGE), len(names)), np.nan)
    salient_areas = np.zeros((2, len(names)))  # on the lesion, and all
    is_empty = np.zeros(len(names), np.bool_)
    has_lesion = np.asarray(masks.any(axis=(1, 2)))
    for number, (values, mask) in enumerate(zip(maps, masks, strict=True)):
        one = values.astype(np.float64)
        if not (one.min() >= 0 and one.max() <= 1):  # NaN is refused, too
            raise DataError(
                "A saliency map lies in [0, 1].", received=f"{one.min()} to {one.max()}", path=names[number]
            )
        is_empty[number] = not one.any()
        salient = one > CUT
        salient_areas[:, number] = (salient & mask).sum(), salient.sum()
        if has_lesion[number]:
            scores[:, number] = _scores(one, mask)
    resamples = draw_resamples(clusters, len(names), num_resamples)
    per_image = dict(zip(_OF_IMAGE, scores, strict=True))
    on_lesion, salient_area = (resamples.sum(areas) for areas in salient_areas)
    sampled = {name: resamples.mean(values, has_lesion) for name, values in per_image.items()}
    sampled["overlap"] = on_lesion / np.maximum(salient_area, 1)
    estimates = Estimates({name: sampled[name] for name in TITLES}, resamples)
    test = digest_of(resamples, np.packbits(masks))
    return SaliencyReport(tuple(names), per_image, has_lesion, is_empty, estimates, test)


def _scores(values: Floats, mask: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """Return the metrics of one image with a lesion, in the order of _OF_IMAGE."""
    total, on_lesion, area = values.sum(), values[mask].sum(), int(mask.sum())
    salient = values > CUT
    iou = (salient & mask).sum() / (salient | mask).sum()
    soft_iou = on_lesion / (total + area - on_lesion)
    height, width = mask.shape
    # Of an even number of pixels the middle is between the two.
    middle = mask[(height - 1) // 2 : height // 2 + 1, (width - 1) // 2 : width // 2 + 1].mean()
    if total == 0:
        return iou, soft_iou, 0.0, 0.0, middle, mask.mean()
    pointing = mask[values == values.max()].mean()
    return iou, soft_iou, pointing, on_lesion / total, middle, mask.mean()
