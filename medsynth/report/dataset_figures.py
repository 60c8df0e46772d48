"""Pictures of a dataset: which labels occur together, how many images of each, how they look, which are copies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.tfrecords import Images
from medsynth.report.canvas import new_figure, save_png
from medsynth.report.figures import COLOURS
from medsynth.report.grids import image_sheet
from medsynth.report.matrices import shaded_counts

_PAIRS_PER_ROW = 4


@dataclass(frozen=True)
class ShownPair:
    """Two images side by side.

    Attributes:
        first: uint8 [H, W, C].
        second: The same size.
        caption: Which ones they are.
    """

    first: Images
    second: Images
    caption: str


def cooccurrence_figure(path: Path, names: Sequence[str], labels: npt.NDArray[np.float32], *, title: str) -> None:
    """Write how often labels occur together as PNG: numbers of images, shaded by the share of the row's images.

    Args:
        path: The .png file, written atomically.
        names: L labels.
        labels: [N, L], 0 or 1.
        title: Above the figure.
    """
    together = (labels.T @ labels).astype(np.int64)
    share = together / np.maximum(np.diag(together), 1)[:, None]
    size = 2.4 + 0.55 * len(names)
    figure = new_figure(size + 1.6, size)
    axes = figure.add_subplot()
    texts = [[f"{count:,}" for count in row] for row in together]
    image = shaded_counts(axes, share, texts, font_size=7)
    axes.set_xticks(range(len(names)), names, rotation=40, horizontalalignment="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("... also have this label")
    axes.set_ylabel("Of the images with this label ...")
    figure.colorbar(image, shrink=0.7, label="% of the row's images")
    figure.suptitle(title, fontsize=11)
    save_png(figure, path)


def images_per_class_figure(path: Path, counts: Mapping[str, Mapping[str, int]], sizes: Mapping[str, int]) -> None:
    """Write images per label and split as PNG: bars of the share of the split's images, with their number.

    Args:
        path: The .png file, written atomically.
        counts: Positives per label of every split.
        sizes: Images of every split.
    """
    names = list(dict.fromkeys(name for split in counts.values() for name in split))
    rows = np.arange(len(names), dtype=np.float64)
    thickness = 0.8 / len(counts)
    figure = new_figure(8.0, 1.6 + 0.24 * len(names) * len(counts))
    axes = figure.add_subplot()
    for number, (split, positives) in enumerate(counts.items()):
        places = rows + (number - (len(counts) - 1) / 2) * thickness
        values = np.array([positives.get(name, 0) for name in names])
        shares = 100 * values / max(sizes[split], 1)
        axes.barh(places, shares, thickness * 0.9, color=COLOURS[number], label=f"{split} ({sizes[split]:,} images)")
        for place, share, value in zip(places, shares, values, strict=True):
            axes.text(share, place, f" {value:,}", va="center", fontsize=7)
    axes.set_yticks(rows, names)
    axes.set_ylim(rows[-1] + 0.5, rows[0] - 0.5)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.08)
    axes.set_xlabel("% of the split's images; the number of images beside each bar")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(counts), frameon=False, fontsize=9)
    save_png(figure, path)


def contact_sheet_figure(path: Path, images: Images, row_names: Sequence[str], *, title: str) -> None:
    """Write images in rows, a label each, as PNG.

    Args:
        path: The .png file, written atomically.
        images: uint8 [R * K, H, W, C], K images for each of the R rows.
        row_names: R names.
        title: Above the figure.
    """
    num_columns = len(images) // len(row_names)
    figure = new_figure(2.2 + 0.95 * num_columns, 0.6 + 0.95 * len(row_names))
    axes = figure.add_subplot()
    _show(axes, image_sheet(images, num_columns))
    axes.set_yticks((np.arange(len(row_names)) + 0.5) * images.shape[1], row_names)
    axes.tick_params(length=0)
    figure.suptitle(title, fontsize=11)
    save_png(figure, path)


def pairs_figure(path: Path, pairs: Sequence[ShownPair], *, title: str) -> None:
    """Write pairs of images with their captions as PNG.

    Args:
        path: The .png file, written atomically.
        pairs: At least one.
        title: Above the figure.
    """
    num_columns = min(_PAIRS_PER_ROW, len(pairs))
    num_rows = -(-len(pairs) // num_columns)
    figure = new_figure(max(6.0, 3.2 * num_columns), 0.6 + 2.1 * num_rows)
    all_axes = np.atleast_1d(figure.subplots(num_rows, num_columns)).ravel()
    for axes, pair in zip(all_axes, pairs, strict=False):
        _show(axes, np.concatenate([pair.first, pair.second], axis=1))
        axes.set_title(pair.caption, fontsize=8)
    for axes in all_axes[len(pairs) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    save_png(figure, path)


def _show(axes: Any, sheet: Images) -> None:
    """Draw an image [H, W, C] without ticks."""
    axes.imshow(sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet, cmap="gray", vmin=0, vmax=255)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
