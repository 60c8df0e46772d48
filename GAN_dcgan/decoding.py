"""One frame from its file; worker processes load this, and no TensorFlow."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medsynth.data.images import Images, ImageSource, read_image
from medsynth.errors import DataError


def load_frame(source: ImageSource, size: int) -> Images:
    """Read a frame as grey uint8 [size, size, 1]; see `fit_frame`.

    Raises:
        DataError: It cannot be read; names the file, and what lists it.
    """
    try:
        return fit_frame(read_image(source.path), size)
    except DataError as error:
        expected = f"{error.expected} It is named in {source.origin}."
        raise DataError(expected, received=error.received, path=source.path) from None


def fit_frame(pixels: npt.NDArray[Any], size: int) -> Images:
    """Resize the shorter side of pixels [H, W, 1] to `size` and crop the middle: uint8 [size, size, 1].

    Bilinear, over all pixels that one covers, as Pillow and the original do. Values of 8 bits stay what they are; of
    others the largest becomes 255.
    """
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    new_height, new_width = size * height // shorter, size * width // shorter
    grey = pixels[..., 0]
    picture = Image.fromarray(grey if grey.dtype == np.uint8 else grey.astype(np.float32))
    picture = picture.resize((new_width, new_height), Image.Resampling.BILINEAR)
    left, top = round((new_width - size) / 2), round((new_height - size) / 2)
    values = np.asarray(picture.crop((left, top, left + size, top + size)))
    if values.dtype != np.uint8:
        values = np.rint(values * (255 / (values.max() or 1)))
    return values.astype(np.uint8)[..., None]  # [size, size] -> [size, size, 1]
