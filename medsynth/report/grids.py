"""Sheets of small images, pixel by pixel."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from medsynth.files import atomic_path


def image_sheet(images: npt.NDArray[np.uint8], num_columns: int) -> npt.NDArray[np.uint8]:
    """Lay images out row by row on one sheet; missing places stay black.

    Args:
        images: uint8 [N, H, W, C].
        num_columns: Images in a row.

    Returns:
        uint8 [ceil(N / num_columns) * H, num_columns * W, C].
    """
    num_images, height, width, channels = images.shape
    num_rows = -(-num_images // num_columns)
    sheet = np.zeros((num_rows * num_columns, height, width, channels), np.uint8)
    sheet[:num_images] = images
    sheet = sheet.reshape(num_rows, num_columns, height, width, channels)
    # [rows, columns, H, W, C] -> [rows, H, columns, W, C] -> [rows*H, columns*W, C]
    return sheet.transpose(0, 2, 1, 3, 4).reshape(num_rows * height, num_columns * width, channels)


def save_image_grid(path: Path, images: npt.NDArray[np.uint8], num_columns: int) -> None:
    """Write images as one PNG, without scaling, atomically.

    Args:
        path: The .png file.
        images: uint8 [N, H, W, C], grey or RGB.
        num_columns: Images in a row.
    """
    content = image_grid_png(images, num_columns)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def image_grid_png(images: npt.NDArray[np.uint8], num_columns: int) -> bytes:
    """Return images [N, H, W, C] as one PNG, without scaling; see `image_sheet`."""
    sheet = image_sheet(images, num_columns)
    content = io.BytesIO()
    Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet).save(content, format="PNG")
    return content.getvalue()
