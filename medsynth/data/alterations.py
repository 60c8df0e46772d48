"""Copies of images as they occur: mirrored, cropped, moved, re-windowed, noisy, re-compressed.

Planted among other images, they show how many copies a search finds.
"""

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from medsynth.data.tfrecords import Images

Alteration = Callable[[Images, np.random.Generator], Images]


def _as_bytes(values: npt.NDArray[np.floating]) -> Images:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _picture(image: Images) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _pixels(picture: Image.Image) -> Images:
    pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def mirrored(image: Images) -> Images:
    """Return an image [H, W, C] with left and right exchanged."""
    return image[:, ::-1]


def jpeg(image: Images, quality: int) -> Images:
    """Return an image [H, W, C] as JPEG of this quality (1 to 95) shows it."""
    buffer = io.BytesIO()
    _picture(image).save(buffer, "JPEG", quality=quality)
    return _pixels(Image.open(buffer))


def shifted(image: Images, up: int, left: int) -> Images:
    """Return an image [H, W, C] moved by some pixels, its edge repeated; negative numbers move it down and right."""
    height, width = image.shape[:2]
    margin = max(abs(up), abs(left))
    padded = np.pad(image, [(margin, margin), (margin, margin), (0, 0)], mode="edge")
    return padded[margin + up : margin + up + height, margin + left : margin + left + width]


def resized(image: Images, height: int, width: int) -> Images:
    """Return an image [H, W, C] as [height, width, C], bilinear (with averaging where it shrinks)."""
    return _pixels(_picture(image).resize((width, height), Image.Resampling.BILINEAR))


def blurred(image: Images) -> Images:
    """Return an image [H, W, C] halved and doubled again."""
    height, width = image.shape[:2]
    return resized(resized(image, height // 2, width // 2), height, width)


def cropped(image: Images, share: float, rng: np.random.Generator) -> Images:
    """Return an image [H, W, C] without a share of its height and width, enlarged to its old size.

    Args:
        image: The image.
        share: In [0, 1); what falls away at top and bottom together, and at the sides.
        rng: Chooses which part stays.
    """
    height, width = image.shape[:2]
    lost_rows, lost_columns = max(round(share * height), 1), max(round(share * width), 1)
    top, left = int(rng.integers(lost_rows + 1)), int(rng.integers(lost_columns + 1))
    part = image[top : top + height - lost_rows, left : left + width - lost_columns]
    return resized(part, height, width)


def rewindowed(image: Images, rng: np.random.Generator) -> Images:
    """Return an image [H, W, C] with four fifths of its contrast and up to 40 grey levels brighter."""
    return _as_bytes(image * 0.8 + 40 * rng.random())


def with_gamma(image: Images, rng: np.random.Generator) -> Images:
    """Return an image [H, W, C] with a gamma of 0.7 or 1.4."""
    return _as_bytes(255 * (image / 255) ** rng.choice([0.7, 1.4]))


def with_noise(image: Images, grey_levels: float, rng: np.random.Generator) -> Images:
    """Return an image [H, W, C] with Gaussian noise of this standard deviation."""
    return _as_bytes(image + rng.normal(0, grey_levels, image.shape))


# What becomes of an image that is saved again, or sent from one archive to the next.
RESAVED: dict[str, Alteration] = {
    "identical": lambda image, rng: image,
    "mirrored": lambda image, rng: mirrored(image),
    "jpeg 75": lambda image, rng: jpeg(image, 75),
    "jpeg 50": lambda image, rng: jpeg(image, 50),
    "jpeg 30": lambda image, rng: jpeg(image, 30),
    "mirrored, jpeg 75": lambda image, rng: jpeg(mirrored(image), 75),
    "brightness and contrast": rewindowed,
    "gamma": with_gamma,
    "shifted by a pixel": lambda image, rng: shifted(image, *map(int, rng.integers(-1, 2, 2))),
    "halved and doubled": lambda image, rng: blurred(image),
    "noise 5": lambda image, rng: with_noise(image, 5, rng),
    "noise 10": lambda image, rng: with_noise(image, 10, rng),
}

# What a generator may make of an image that it has learnt by heart.
REDRAWN: dict[str, Alteration] = {
    "cropped by 3 %": lambda image, rng: cropped(image, 0.03, rng),
    "cropped by 10 %": lambda image, rng: cropped(image, 0.10, rng),
    "shifted by 3 %": lambda image, rng: _shifted_by_share(image, 0.03, rng),
    "shifted by 6 %": lambda image, rng: _shifted_by_share(image, 0.06, rng),
    "noise 20": lambda image, rng: with_noise(image, 20, rng),
    "mirrored, cropped by 3 %, noise 5": lambda image, rng: with_noise(cropped(mirrored(image), 0.03, rng), 5, rng),
}


def _shifted_by_share(image: Images, share: float, rng: np.random.Generator) -> Images:
    """Move an image in one of the four diagonal directions by a share of its height, a pixel at least."""
    pixels = max(round(share * len(image)), 1)
    up, left = pixels * rng.choice([-1, 1], 2)
    return shifted(image, int(up), int(left))
