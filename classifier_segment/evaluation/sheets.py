"""Pictures of test images with their saliency maps and masks: all on one sheet, and single files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.report.overlays import Pixels, Tile, as_pixels, outlined, save_picture, tile_sheet, tile_size, tinted

Pictures = npt.NDArray[np.uint8 | np.floating]
Floats = npt.NDArray[np.floating]
Masks = npt.NDArray[np.bool_]

# Black beside white: seen on every image and every colour of a map.
_INNER, _OUTER = "#FFFFFF", "#000000"
# Of Okabe and Ito's palette; told apart with every common colour vision, and one lies beside the other.
_TRUE, _FOUND = "#56B4E9", "#F0E442"
_SINGLE_SIZE = 448  # pixels a side, of a single file


def map_contact_sheet(
    path: Path,
    images: Pictures,
    maps: Floats,
    masks: Masks,
    captions: Sequence[str],
    title: str,
    note: str,
    *,
    wrong: Sequence[bool] | None = None,
) -> None:
    r"""Write all images with their maps laid over them on one PNG, atomically.

    Args:
        path: The .png file.
        images: [N, S, S, 3], uint8 or floats in [0, 1].
        maps: [N, S, S] in [0, 1].
        masks: True on the lesion, [N, S, S]; its outline is drawn.
        captions: Below each, such as "true aphthous\npredicted traumatic\nIoU 0.12".
        title: Above the sheet.
        note: Below it; what colours and lines are is said already.
        wrong: Which are predicted wrong, and get a frame; none where not given.
    """
    size = tile_size(len(images))
    marks = [False] * len(images) if wrong is None else list(wrong)
    tiles = [
        Tile(_with_lesion(tinted(as_pixels(image, size), values), mask), caption, bool(mark))
        for image, values, mask, caption, mark in zip(images, maps, masks, captions, marks, strict=True)
    ]
    legend = "Colour: the saliency map. Black and white line: the lesion."
    framed = "" if wrong is None else f" Frame: predicted wrong ({sum(marks):,} of {len(marks):,})."
    tile_sheet(path, tiles, title=title, note=f"{legend}{framed}\n{note}".rstrip(), has_scale=True)


def mask_contact_sheet(
    path: Path, images: Pictures, truth: Masks, predicted: Masks, captions: Sequence[str], title: str, note: str
) -> None:
    r"""Write all images with the outlines of the true and the found lesion on one PNG, atomically.

    Args:
        path: The .png file.
        images: [N, S, S, 3], uint8 or floats in [0, 1].
        truth: True on the lesion, [N, S, S].
        predicted: What was found, [N, S, S].
        captions: Below each, such as "img_7.jpg\nDice 0.81".
        title: Above the sheet.
        note: Below it; what lines are is said already.
    """
    size = tile_size(len(images))
    tiles = []
    for image, true_mask, found, caption in zip(images, truth, predicted, captions, strict=True):
        # The true line lies outside of its mask and the other inside, so that both are seen where they agree.
        with_truth = outlined(as_pixels(image, size), true_mask, inner=None, outer=_TRUE, width=2)
        tiles.append(Tile(outlined(with_truth, found, inner=_FOUND, outer=None, width=2), caption))
    tile_sheet(
        path, tiles, title=title, note=f"Blue line: the true lesion. Yellow line: what was found.\n{note}".rstrip()
    )


def save_map(path: Path, image: Pictures, values: Floats, mask: Masks | None) -> None:
    """Write one image, and beside it the same with its map laid over it, both with the lesion's outline.

    Args:
        path: A .pdf (as the published names have it) or .png file, written atomically.
        image: [S, S, 3], uint8 or floats in [0, 1].
        values: The map, [S, S] in [0, 1].
        mask: True on the lesion, [S, S]; None where it is not known.

    Raises:
        UsageError: Another ending.
    """
    pixels = as_pixels(image, _SINGLE_SIZE)
    pictures = [pixels, tinted(pixels, values)]
    save_picture(path, np.concatenate([one if mask is None else _with_lesion(one, mask) for one in pictures], axis=1))


def _with_lesion(pixels: Pixels, mask: Masks) -> Pixels:
    return outlined(pixels, mask, inner=_INNER, outer=_OUTER)
