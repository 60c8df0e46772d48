"""What the number of labels of an image has to do with how it looks, in a demo's real and synthetic images.

The negative control's classifier ranks real images below chance (docs/demo.md). This looks for the reason: an image of
more labels may differ from one of fewer in the same way throughout, whatever the labels are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge

from medsynth.classify.evaluation.evaluate import aurocs, sufficient_labels
from medsynth.data.labels import read_split_labels
from medsynth.data.pyramid import open_records
from medsynth.errors import DataError
from medsynth.files import read_json
from medsynth.metrics.intervals import mean_estimate
from medsynth.runs import CONFIG_NAME

Floats = npt.NDArray[np.float64]
COUNTS = (1, 2, 3)
_PENALTY = 1e5  # thousands of pixels that hang together, and labels that are nearly noise


@dataclass(frozen=True)
class LabelCounts:
    """Findings on one demo.

    Attributes:
        name: Of its folder.
        synthetic: Mean texture of synthetic training images by number of labels, [1, 2, 3]; NaN where there are none.
        real: The same of real training images.
        all_images: Mean AUROC on real test images of a linear classifier trained on the synthetic ones.
        one_label: The same, trained and tested on images of a single label alone, where the number says nothing.
    """

    name: str
    synthetic: Floats
    real: Floats
    all_images: float
    one_label: float


def texture(images: Floats) -> Floats:
    """Return the mean absolute difference of horizontal neighbours of images [N, H, W], [N], in grey levels."""
    return np.abs(np.diff(images, axis=2)).mean(axis=(1, 2))


def count_labels(demo: Path) -> LabelCounts:
    """Measure a finished demo.

    Raises:
        DataError: It is not finished.
    """
    synthetic, real, test = (_read(demo, part) for part in ("gan/inference/train", "dataset/train", "dataset/test"))
    alone = [(images[labels.sum(axis=1) == 1], labels[labels.sum(axis=1) == 1]) for images, labels in (synthetic, test)]
    return LabelCounts(
        demo.name,
        _by_count(*synthetic),
        _by_count(*real),
        _linear_auroc(*synthetic, *test),
        _linear_auroc(*alone[0], *alone[1]),
    )


def _read(demo: Path, part: str) -> tuple[Floats, Floats]:
    """Return images [N, H, W] and labels [N, L] of a split."""
    config = demo / "gan" / CONFIG_NAME
    if not config.is_file() or not (demo / part).is_dir():
        raise DataError("A finished demo was expected.", received=f"no {part}", path=demo)
    labels = read_split_labels(demo / part).values
    records = open_records(demo / part, int(read_json(config)["resolution"]), expected_num=len(labels))
    return records.read(np.arange(len(records))).mean(axis=-1, dtype=np.float64), labels.astype(np.float64)


def _by_count(images: Floats, labels: Floats) -> Floats:
    values, counts = texture(images), labels.sum(axis=1)
    return np.array([values[counts == count].mean() if (counts == count).any() else np.nan for count in COUNTS])


def _linear_auroc(images: Floats, labels: Floats, test_images: Floats, test_labels: Floats) -> float:
    """Return the mean AUROC over labels with enough cases of a ridge regression on pixels."""
    known = sufficient_labels(labels) & sufficient_labels(test_labels)
    if not known.any():
        return float("nan")
    model = Ridge(_PENALTY).fit(images.reshape(len(images), -1) / 255, labels[:, known])
    scores = model.predict(test_images.reshape(len(test_images), -1) / 255)
    return float(np.mean(aurocs(test_labels[:, known], scores.reshape(len(test_images), -1))))


def format_counts(found: Sequence[LabelCounts]) -> str:
    """Return a row per demo, and the mean AUROCs over demos with 95 % intervals where there are several."""
    width = max(len(one.name) for one in found)
    lines = [
        f"{'':{width}}  texture by labels 1, 2, 3: synthetic  real              linear AUROC: all images  one label"
    ]
    for one in found:
        textures = "  ".join(" ".join(f"{value:5.1f}" for value in part) for part in (one.synthetic, one.real))
        lines.append(f"{one.name:{width}}  {'':17}{textures}  {'':13}{one.all_images:<10.3f}  {one.one_label:.3f}")
    if len(found) > 1:
        for title, values in (
            ("all images", [one.all_images for one in found]),
            ("one label", [one.one_label for one in found]),
        ):
            mean = mean_estimate(values)
            lines.append(f"{title}: mean {mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}] over {len(found)} demos")
    return "\n".join(lines) + "\n"
