"""Pictures of attribution maps: image, map and both together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.tfrecords import Images
from medsynth.report.canvas import new_figure, save_png

# Perceptually uniform, readable for the colour-blind and in grey (Smith and van der Walt 2015).
COLOUR_MAP = "inferno"
# A few tiles of great effect would leave the rest black; the colours end at this percentile of the map.
_HIGHEST_PERCENTILE = 99.5
_INDEX_COLUMNS = 6
_LABELS_PER_LINE = 3


@dataclass(frozen=True)
class Explained:
    """An image and its map.

    Attributes:
        name: Of the image.
        image: uint8 [D, D, 1 or 3].
        values: The attribution map, [D, D].
        labels: What to say of each label: name, truth and score.
    """

    name: str
    image: Images
    values: npt.NDArray[np.float64]
    labels: tuple[tuple[str, float, float], ...]


def overlay_figure(path: Path, explained: Explained, *, unit: str) -> None:
    """Write an image, its attribution map and both together side by side as PNG.

    Args:
        path: The .png file, written atomically.
        explained: The image and its map.
        unit: What the map counts, below its scale.
    """
    num_lines = -(-len(explained.labels) // _LABELS_PER_LINE)
    figure = new_figure(11.4, 4.0 + 0.17 * num_lines)
    plain, coloured, together = figure.subplots(1, 3)
    highest = _highest(explained.values)
    _show_image(plain, explained.image)
    drawn = coloured.imshow(explained.values, cmap=COLOUR_MAP, vmin=0, vmax=highest)
    _show_together(together, explained, highest)
    for axes, title in ((plain, "image"), (coloured, "attribution map"), (together, "both")):
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    scale = figure.colorbar(drawn, ax=[coloured, together], shrink=0.85, extend="max", pad=0.02)
    scale.set_label(unit, fontsize=8)
    scale.ax.tick_params(labelsize=8)
    scale.formatter.set_powerlimits((-2, 3))
    figure.suptitle(f"{explained.name}\n{_label_lines(explained.labels)}", x=0.01, ha="left", fontsize=8.5)
    save_png(figure, path)


def index_figure(path: Path, all_explained: Sequence[Explained]) -> None:
    """Write a sheet of all images with their maps laid over them as PNG; each has a scale of its own.

    Args:
        path: The .png file, written atomically.
        all_explained: The images and their maps.
    """
    num_columns = min(_INDEX_COLUMNS, len(all_explained))
    num_rows = -(-len(all_explained) // num_columns)
    figure = new_figure(max(2.0 * num_columns, 5.0), 2.3 * num_rows + 0.3)
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, explained in zip(grid.flat, all_explained, strict=False):
        _show_together(axes, explained, _highest(explained.values))
        present = ", ".join(name for name, truth, _ in explained.labels if truth) or "no label"
        axes.set_title(f"{_shortened(explained.name)}\n{_shortened(present)}", fontsize=7)
    figure.suptitle("attribution maps; bright: masking this place makes the classifier worse", fontsize=9)
    save_png(figure, path)


def _show_image(axes: Any, image: Images) -> None:
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)


def _show_together(axes: Any, explained: Explained, highest: float) -> None:
    """Draw the map over the image, the clearer the larger its values."""
    _show_image(axes, explained.image)
    share = (explained.values / highest).clip(0, 1)
    axes.imshow(explained.values, cmap=COLOUR_MAP, vmin=0, vmax=highest, alpha=0.8 * np.sqrt(share))


def _highest(values: npt.NDArray[np.float64]) -> float:
    """Return where the colours end."""
    return float(np.percentile(values, _HIGHEST_PERCENTILE)) or float(values.max()) or 1.0


def _label_lines(labels: Sequence[tuple[str, float, float]]) -> str:
    words = [f"{name}: truth {truth:.0f}, score {score:.3f}" for name, truth, score in labels]
    return "\n".join(
        "   |   ".join(words[start : start + _LABELS_PER_LINE]) for start in range(0, len(words), _LABELS_PER_LINE)
    )


def _shortened(text: str, length: int = 30) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
