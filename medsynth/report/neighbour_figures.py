"""Pictures of nearest neighbours: images beside those that resemble them most, and how near they lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.tfrecords import Images
from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS

_MOST_BINS, _LEAST_BINS, _IMAGES_PER_BIN = 60, 12, 8


@dataclass(frozen=True)
class ShownNeighbour:
    """A training image beside a synthetic one.

    Attributes:
        image: uint8 [H, W, C], mirrored where its mirror image is what is near.
        distance: Cosine distance.
        mirrored: Whether it is shown mirrored.
    """

    image: Images
    distance: float
    mirrored: bool


@dataclass(frozen=True)
class ShownQuery:
    """A row of the picture.

    Attributes:
        image: uint8 [H, W, C].
        caption: Beside it.
        neighbours: The nearest first.
    """

    image: Images
    caption: str
    neighbours: Sequence[ShownNeighbour]


@dataclass(frozen=True)
class Panel:
    """One histogram of two sets of images.

    Attributes:
        label: Of the axis.
        synthetic: Values of the synthetic images.
        held_out: Values of held-out real images.
        threshold: 5th percentile of the held-out.
        name: What to call the images in the place of the synthetic ones.
    """

    label: str
    synthetic: npt.NDArray[np.float64]
    held_out: npt.NDArray[np.float64]
    threshold: float
    name: str = "synthetic"


def neighbours_figure(path: Path, queries: Sequence[ShownQuery], *, title: str) -> None:
    """Write a row per image, with its neighbours to the right and their distances, as PNG.

    Args:
        path: The .png file, written atomically.
        queries: At least one, all with as many neighbours.
        title: Above the figure.
    """
    num_columns = 1 + len(queries[0].neighbours)
    figure = new_figure(max(1.5 * num_columns + 1.2, 7.5), 0.6 + 1.75 * len(queries))
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.03, wspace=0, hspace=0.02)
    all_axes = figure.subplots(len(queries), num_columns, squeeze=False)
    for row, query in zip(all_axes, queries, strict=True):
        _show(row[0], query.image)
        row[0].set_ylabel(
            query.caption, rotation=0, horizontalalignment="right", verticalalignment="center", fontsize=9
        )
        row[0].spines[:].set(visible=True, color=COLOURS[1], linewidth=2)
        for axes, neighbour in zip(row[1:], query.neighbours, strict=True):
            _show(axes, neighbour.image)
            axes.set_title(f"{neighbour.distance:.3g}{' (mirrored)' if neighbour.mirrored else ''}", fontsize=8, pad=2)
    figure.suptitle(title, fontsize=10)
    save_png(figure, path)


def distances_figure(path: Path, panels: Sequence[Panel]) -> None:
    """Write histograms of synthetic (or other) and held-out images over each other, a panel each, as PNG.

    Args:
        path: The .png file, written atomically.
        panels: At least one.
    """
    figure = new_figure(8.0, 0.5 + 2.9 * len(panels))
    for axes, panel in zip(figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True):
        both = np.concatenate([panel.synthetic, panel.held_out])
        num_bins = int(np.clip(len(both) // _IMAGES_PER_BIN, _LEAST_BINS, _MOST_BINS))
        edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-9), num_bins + 1)
        for values, name, colour in (
            (panel.held_out, f"held-out real ({len(panel.held_out):,})", COLOURS[0]),
            (panel.synthetic, f"{panel.name} ({len(panel.synthetic):,})", COLOURS[1]),
        ):
            weights = np.full(len(values), 100 / len(values))
            axes.hist(values, edges, weights=weights, histtype="stepfilled", alpha=0.25, color=colour)
            axes.hist(values, edges, weights=weights, histtype="step", linewidth=1.6, color=colour, label=name)
        axes.axvline(panel.threshold, color="0.3", linestyle="--", linewidth=1, label="5th percentile of held-out")
        axes.set_xlabel(panel.label)
        axes.set_ylabel("% of the images")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
    save_png(figure, path)


def _show(axes: Any, image: Images) -> None:
    """Draw an image [H, W, C] without ticks."""
    axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
