"""What each backbone is fed with: sizes and normalisation as data.

Source: the transforms that torchvision documents for its ImageNet weights.
"""

from dataclasses import dataclass
from typing import Literal

from medsynth.networks.imagenet_input import IMAGENET_MEAN, IMAGENET_STANDARD_DEVIATION

PUBLISHED_CROP = 224


@dataclass(frozen=True)
class Preprocessing:
    """From an image in [0, 1] to what a backbone takes: resize the shorter side, crop the centre, normalise.

    Attributes:
        resize: Pixels of the shorter side.
        crop: Pixels a side that are left.
        interpolation: Of the resizing; both with anti-aliasing.
        mean: Per channel, of values in [0, 1].
        standard_deviation: Per channel, of values in [0, 1].
    """

    resize: int
    crop: int = PUBLISHED_CROP
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    standard_deviation: tuple[float, float, float] = IMAGENET_STANDARD_DEVIATION

    def at(self, crop: int) -> "Preprocessing":
        """Return the same for a network of another size: the crop keeps its share of the image."""
        resize = round(self.resize * crop / self.crop)
        return Preprocessing(resize, crop, self.interpolation, self.mean, self.standard_deviation)


PREPROCESSING = {
    "convnext_small": Preprocessing(230),
    "squeezenet1_0": Preprocessing(256),
    "vit_b_16": Preprocessing(256),
    "swin_s": Preprocessing(246, interpolation="bicubic"),
    "densenet121": Preprocessing(256),
    "resnet_small": Preprocessing(PUBLISHED_CROP),
}
