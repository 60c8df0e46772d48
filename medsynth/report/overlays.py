"""Maps and outlines laid over images, and sheets of many such pictures on one PNG."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw
from scipy import ndimage

from medsynth.errors import UsageError
from medsynth.files import atomic_path
from medsynth.report.captions import font

Pixels = npt.NDArray[np.uint8]
Marks = npt.NDArray[np.bool_]

# Perceptually uniform, readable for the colour-blind and in grey (Smith and van der Walt 2015).
COLOUR_MAP = "inferno"
_STRONGEST = 0.75  # share of the colour where a map is 1, so that the image stays visible
_WRONG = "#0072B2"  # of Okabe and Ito's palette; far from the colours of maps
_GAP, _FRAME, _LINE_HEIGHT = 14, 5, 16  # pixels
_FONT_SIZE, _TITLE_SIZE = 12, 20
_LARGE_TILE, _SMALL_TILE, _MOST_LARGE_TILES = 224, 168, 40
_BAR = (120, 12)  # pixels
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    ".pdf": {"format": "PDF", "resolution": 150, "quality": 95, "subsampling": 0},
    ".png": {"format": "PNG", "compress_level": 3},  # the default takes three times as long
}


@dataclass(frozen=True)
class Tile:
    """A picture of a sheet.

    Attributes:
        picture: uint8 [T, T, 3].
        caption: Below it; lines that are too long are cut.
        is_wrong: Whether it gets a frame.
    """

    picture: Pixels
    caption: str
    is_wrong: bool = False


def as_pixels(image: npt.NDArray[np.uint8 | np.floating], size: int) -> Pixels:
    """Return an image [S, S, 3], uint8 or floats in [0, 1], as uint8 [size, size, 3]."""
    pixels = image if image.dtype == np.uint8 else np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def tinted(pixels: Pixels, values: npt.NDArray[np.floating]) -> Pixels:
    """Lay a map over an image, the clearer the larger its values.

    Args:
        pixels: uint8 [T, T, 3].
        values: [S, S] in [0, 1].
    """
    scaled = np.asarray(
        Image.fromarray(values.astype(np.float32)).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR)
    )
    share = (_STRONGEST * scaled.clip(0, 1))[..., None]
    return np.rint((1 - share) * pixels + share * _colours(scaled)).astype(np.uint8)


def _colours(values: npt.NDArray[np.floating]) -> Pixels:
    """Return the colours of values in [0, 1]: uint8 [..., 3]."""
    from matplotlib import colormaps  # noqa: PLC0415  (slow to load)

    colours: Pixels = colormaps[COLOUR_MAP](values, bytes=True)[..., :3]
    return colours


def outlined(pixels: Pixels, mask: Marks, *, inner: str | None, outer: str | None, width: int = 1) -> Pixels:
    """Draw the edge of a mask into an image.

    Args:
        pixels: uint8 [T, T, 3].
        mask: [S, S].
        inner: Colour of the outermost pixels of the mask; None draws none.
        outer: Colour of the pixels just beside it; None draws none.
        width: Of each of the two lines, pixels.
    """
    scaled = np.asarray(Image.fromarray(mask).resize(pixels.shape[1::-1], Image.Resampling.NEAREST))
    drawn = pixels.copy()
    if outer is not None:
        drawn[ndimage.binary_dilation(scaled, iterations=width) & ~scaled] = ImageColor.getrgb(outer)
    if inner is not None:
        drawn[scaled & ~ndimage.binary_erosion(scaled, iterations=width)] = ImageColor.getrgb(inner)
    return drawn


def tile_size(num_tiles: int) -> int:
    """Return the pixels a side of a sheet's tiles: smaller where there are many."""
    return _LARGE_TILE if num_tiles <= _MOST_LARGE_TILES else _SMALL_TILE


def tile_sheet(path: Path, tiles: Sequence[Tile], *, title: str, note: str, has_scale: bool = False) -> None:
    """Write tiles in rows on one PNG, atomically.

    Args:
        path: The .png file.
        tiles: At least one, all of one size.
        title: Above the sheet.
        note: Below it: what colours and lines are.
        has_scale: Whether the colours of a map are shown below, from 0 to 1.
    """
    side = tiles[0].picture.shape[0]
    num_lines = max(tile.caption.count("\n") for tile in tiles) + 1
    width, height = side + _GAP, side + num_lines * _LINE_HEIGHT + _GAP
    num_columns = min(len(tiles), math.ceil(math.sqrt(1.2 * len(tiles) * height / width)))
    num_rows = -(-len(tiles) // num_columns)
    whole = max(num_columns * width + _GAP, 640)
    lines = _lines(note, whole - 2 * _GAP, _FONT_SIZE)
    titles = _lines(title, whole - 2 * _GAP, _TITLE_SIZE)
    top = _GAP + len(titles) * (_TITLE_SIZE + 6) + _GAP // 2
    below = top + num_rows * height
    sheet = Image.new("RGB", (whole, below + (len(lines) + has_scale) * _LINE_HEIGHT + 2 * _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    _write(draw, titles, (_GAP, _GAP), _TITLE_SIZE, _TITLE_SIZE + 6)
    for number, tile in enumerate(tiles):
        left, upper = _GAP + number % num_columns * width, top + number // num_columns * height
        if tile.is_wrong:
            edges = left - _FRAME, upper - _FRAME, left + side + _FRAME - 1, upper + side + _FRAME - 1
            draw.rectangle(edges, fill=_WRONG)
        sheet.paste(Image.fromarray(tile.picture), (left, upper))
        captions = [_cut(line, side) for line in tile.caption.splitlines()]
        _write(draw, captions, (left, upper + side + _FRAME), _FONT_SIZE, _LINE_HEIGHT)
    if has_scale:
        _draw_scale(sheet, draw, (_GAP, below + _GAP // 2))
    _write(draw, lines, (_GAP, below + _GAP // 2 + has_scale * _LINE_HEIGHT), _FONT_SIZE, _LINE_HEIGHT)
    save_picture(path, np.asarray(sheet))


def save_picture(path: Path, pixels: Pixels) -> None:
    """Write pixels [H, W, 3] as PNG or as a PDF of one page, by the file's ending, atomically.

    A PDF holds them as JPEG of high quality, which makes it ten times as fast as one without loss.

    Raises:
        UsageError: Another ending.
    """
    if path.suffix.lower() not in _SAVE_OPTIONS:
        raise UsageError(f"Pictures are written as {' or '.join(_SAVE_OPTIONS)}.", received=path.name)
    options = _SAVE_OPTIONS[path.suffix.lower()]
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, **options)


def _draw_scale(sheet: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int]) -> None:
    """Draw the colours of maps, as they are on middle grey."""
    values = np.tile(np.linspace(0, 1, _BAR[0], dtype=np.float32), (_BAR[1], 1))
    left, upper = place
    _write(draw, ["map: 0"], place, _FONT_SIZE, _LINE_HEIGHT)
    sheet.paste(Image.fromarray(tinted(np.full((*values.shape, 3), 160, np.uint8), values)), (left + 46, upper + 2))
    _write(draw, ["1"], (left + 46 + _BAR[0] + 6, upper), _FONT_SIZE, _LINE_HEIGHT)


def _write(draw: ImageDraw.ImageDraw, lines: Sequence[str], place: tuple[int, int], size: int, height: int) -> None:
    for number, line in enumerate(lines):
        draw.text((place[0], place[1] + number * height), line, fill="black", font=font(size))


def _lines(text: str, width: int, size: int) -> list[str]:
    """Break a text into lines that fit so many pixels."""
    num_characters = int(width / font(size).getlength("n"))
    return [line for paragraph in text.splitlines() for line in textwrap.wrap(paragraph, num_characters) or [""]]


def _cut(line: str, width: int) -> str:
    """Return a line that fits so many pixels, cut where it does not."""
    if font(_FONT_SIZE).getlength(line) <= width:
        return line
    kept = line
    while kept and font(_FONT_SIZE).getlength(f"{kept}...") > width:
        kept = kept[:-1]
    return f"{kept}..."
