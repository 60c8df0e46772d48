"""Words beside and below sheets of images."""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]

_FONT_SIZE, _MARGIN = 14, 8  # pixels
CAPTION_HEIGHT = 24


def enlarge(image: Pixels, factor: int) -> Pixels:
    """Repeat every pixel of an image [H, W, C] `factor` times in both directions."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def row_names(names: Sequence[str], row_height: int, num_channels: int) -> Pixels:
    """Draw the names of a sheet's rows, to be put to its left.

    Args:
        names: R names.
        row_height: Pixels.
        num_channels: C.

    Returns:
        uint8 [R * row_height, W, C], W as wide as the longest name needs; 0 where no row has a name.
    """
    width = round(max(font().getlength(name) for name in names)) + 2 * _MARGIN if any(names) else 0
    picture = Image.new("L", (width, len(names) * row_height))
    draw = ImageDraw.Draw(picture)
    for row, name in enumerate(names):
        draw.text((_MARGIN, (row + 0.5) * row_height), name, fill=255, font=font(), anchor="lm")
    return _pixels(picture, num_channels)


def caption_below(sheet: Pixels, text: str) -> Pixels:
    """Return a sheet [H, W, C] with a line of text below it: [H + 24, W, C]."""
    strip = Image.new("L", (sheet.shape[1], CAPTION_HEIGHT))
    ImageDraw.Draw(strip).text((_MARGIN, CAPTION_HEIGHT / 2), text, fill=255, font=font(), anchor="lm")
    return np.concatenate([sheet, _pixels(strip, sheet.shape[2])])


@functools.cache
def font(size: int = _FONT_SIZE) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of captions; its size is in pixels."""
    return ImageFont.load_default(size)


def _pixels(picture: Image.Image, num_channels: int) -> Pixels:
    """Return a grey picture as pixels [H, W, num_channels]."""
    return np.asarray(picture)[..., None].repeat(num_channels, axis=2)
