"""Random affine maps of images and masks, the same for both."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Transforms = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AffineSettings:
    """From which ranges the maps of a training are drawn; the defaults are published.

    Attributes:
        rotation: Degrees to either side.
        translation: Share of the side, to either side of both axes; rounded to whole pixels.
        smallest: Factor of scale.
        largest: Likewise.
        shear: Degrees to either side, along x alone.
    """

    rotation: float = 45.0
    translation: float = 0.1
    smallest: float = 0.9
    largest: float = 1.1
    shear: float = 10.0


def draw_transforms(rng: np.random.Generator, number: int, size: int, settings: AffineSettings) -> Transforms:
    """Draw maps about the middle of square images, as `apply_transforms` takes them: float32 [number, 8].

    A map turns clockwise, shears, scales, then moves: torchvision's RandomAffine in the same ranges.

    Args:
        rng: Draws five numbers for each map.
        number: Of maps.
        size: Side of the images, pixels.
        settings: Ranges.
    """
    draws = rng.uniform(-1, 1, (number, 5))
    span = (settings.largest - settings.smallest) / 2
    return np.stack(
        [
            inverse_affine(
                angle=settings.rotation * turn,
                translation=(
                    round(settings.translation * size * right),
                    round(settings.translation * size * down),
                ),
                scale=settings.smallest + span * (1 + growth),
                shear=settings.shear * slant,
                size=size,
            )
            for turn, right, down, growth, slant in draws
        ]
    )


def inverse_affine(
    *, angle: float, translation: tuple[float, float], scale: float, shear: float, size: int
) -> Transforms:
    """Return from where each pixel of the mapped image is taken: a, b, c, d, e, f, 0, 0.

    The pixel at (x, y) of the mapped image is that at (a x + b y + c, d x + e y + f) of the original.

    Args:
        angle: Degrees, clockwise on the screen.
        translation: Pixels to the right and down.
        scale: Above 0.
        shear: Degrees along x.
        size: Side of the image, pixels.
    """
    turn, slant = math.radians(angle), math.radians(shear)
    middle = np.full(2, (size - 1) / 2)
    # Rotation times shear along x, of column vectors (x, y); y points down.
    forward = scale * np.array(
        [
            [math.cos(turn), -math.cos(turn) * math.tan(slant) - math.sin(turn)],
            [math.sin(turn), -math.sin(turn) * math.tan(slant) + math.cos(turn)],
        ]
    )
    back = np.linalg.inv(forward)
    offset = middle - back @ (middle + translation)
    return np.array([*back[0], offset[0], *back[1], offset[1], 0, 0], np.float32)


def apply_transforms(pictures: tf.Tensor, transforms: tf.Tensor) -> tf.Tensor:
    """Map pictures [B, H, W, C] by maps [B, 8]: nearest pixel, 0 where there is none."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pictures,
        transforms=transforms,
        output_shape=tf.shape(pictures)[1:3],
        fill_value=0.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )


def fill_black(images: tf.Tensor) -> tf.Tensor:
    """Give pixels that are 0 in all channels the mean of the others of their image, channel by channel.

    As published, this knows nothing of where the black comes from: dark pixels of the original are filled, too.

    Args:
        images: float [B, H, W, C]; one that is wholly black stays so.
    """
    is_black = tf.reduce_all(images == 0, axis=-1, keepdims=True)  # [B, H, W, 1]
    num_others = tf.reduce_sum(tf.cast(~is_black, images.dtype), axis=[1, 2], keepdims=True)
    means = tf.reduce_sum(images, axis=[1, 2], keepdims=True) / tf.maximum(num_others, 1)  # [B, 1, 1, C]
    return tf.where(is_black, means, images)
