"""What the networks of GAN_prog and GAN_cpd are both described by."""

import math
from typing import Any

import keras


def num_feature_maps(stage: int, fmap_base: int, fmap_max: int) -> int:
    """Return fmap_base / 2^stage within 1 and fmap_max, the channels of a layer at that depth."""
    return max(min(int(fmap_base / 2.0**stage), fmap_max), 1)


class PyramidNetwork(keras.Model):
    """A network with a block of layers for each resolution, from 4x4 to the images'.

    Args:
        resolution: Width and height of the images, R, a power of two from 4.
        num_channels: 1 for grey, 3 for colour; C.
        label_size: Number of labels, L; may be 0.
        fmap_base: Overall multiplier of the feature maps.
        fmap_max: Most feature maps of a layer; the latents have min(fmap_base, fmap_max) numbers.
        pixel_norm_epsilon: 1e-8; 1e-4 where activations are float16.
    """

    def __init__(
        self,
        resolution: int,
        num_channels: int = 1,
        label_size: int = 0,
        fmap_base: int = 8192,
        fmap_max: int = 512,
        pixel_norm_epsilon: float = 1e-8,
        **options: Any,
    ) -> None:
        # Images and labels reach the layers in float32; each layer casts its own input.
        super().__init__(**options, autocast=False)
        self.resolution, self.num_channels, self.label_size = resolution, num_channels, label_size
        self.fmap_base, self.fmap_max = fmap_base, fmap_max
        self.pixel_norm_epsilon = pixel_norm_epsilon
        self.resolution_log2 = int(math.log2(resolution))
        self.latent_size = self.nf(0)

    def nf(self, stage: int) -> int:
        """Return the number of feature maps at depth `stage`."""
        return num_feature_maps(stage, self.fmap_base, self.fmap_max)

    def get_config(self) -> dict[str, Any]:
        """Return what builds the network again."""
        return super().get_config() | {
            "resolution": self.resolution,
            "num_channels": self.num_channels,
            "label_size": self.label_size,
            "fmap_base": self.fmap_base,
            "fmap_max": self.fmap_max,
            "pixel_norm_epsilon": self.pixel_norm_epsilon,
        }


def block_name(log2: int) -> str:
    """Return what the layers of a resolution are called: `32x32` for 5."""
    return f"{2**log2}x{2**log2}"
