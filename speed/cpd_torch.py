"""The side of PyTorch in gan_step.py, GAN_cpd's published networks; see gan_torch.py.

The generator is `skip` (one image per resolution, summed) with conditional pixel norm, the discriminator
`resnet` (a path around every block), and the label enters by choosing among the discriminator's outputs.
"""

import math
from typing import Any

import gan_torch
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)
from gan_torch import (
    Network,
    Weights,
    conv,
    conv_down,
    conv_up,
    leaky_relu,
    linear_in_float32,
    pixel_norm,
)
from torch import Tensor


class Generator(Network):
    """Latents [N, nf0] and labels [N, L] to images [N, 1, R, R]."""

    def __init__(self, size: dict[str, Any], memory_format: torch.memory_format) -> None:
        super().__init__(size, memory_format, gain=1.0)
        self.num_inputs = self.nf[0] + self.num_labels
        self.add("4x4_dense", (self.nf[1] * 16, self.num_inputs), self.num_inputs, self.nf[1])
        self.add_norm("4x4_dense", self.nf[1])
        for log2 in range(2, self.log2 + 1):
            name, channels = f"{2**log2}x{2**log2}", self.nf[log2 - 1]
            if log2 > 2:
                # The published network counts the outputs where it means the inputs.
                up = {"fan_in": 9 * channels, "gain": math.sqrt(2)}
                self.add_conv(f"{name}_conv0_up", self.nf[log2 - 2], channels, **up)
                self.add_norm(f"{name}_conv0_up", channels)
            last = "4x4_conv" if log2 == 2 else f"{name}_conv1"
            self.add_conv(last, channels, channels)
            self.add_norm(last, channels)
            self.add_conv(f"{name}_to_rgb", channels, 1, kernel=1)

    def add_norm(self, layer: str, channels: int) -> None:
        """Add what makes the scale and the shift behind a layer."""
        for kind in ("beta_", "gamma_"):
            self.add(f"{layer}_norm", (channels, self.num_inputs), self.num_inputs, channels, kind=kind)

    def forward(self, weights: Weights, latents: Tensor, labels: Tensor) -> Tensor:
        """Generate images, float32."""
        condition = torch.cat([latents, labels], dim=1)

        def activate(x: Tensor, layer: str) -> Tensor:
            beta, gamma = (
                # [N, C] -> [N, C, 1, 1]
                linear_in_float32(condition, weights, f"{layer}_norm", kind).to(x.dtype)[..., None, None]
                for kind in ("beta_", "gamma_")
            )
            return pixel_norm(leaky_relu(x)) * gamma + beta

        x = pixel_norm(condition).to(weights["4x4_conv/weight"].dtype)
        x = activate(self.first_maps(x, weights), "4x4_dense")
        x = activate(conv(x, weights, "4x4_conv"), "4x4_conv")
        images = conv(x, weights, "4x4_to_rgb").float()
        for log2 in range(3, self.log2 + 1):
            name = f"{2**log2}x{2**log2}"
            x = activate(conv_up(x, weights, f"{name}_conv0_up"), f"{name}_conv0_up")
            x = activate(conv(x, weights, f"{name}_conv1"), f"{name}_conv1")
            images = F.interpolate(images, scale_factor=2) + conv(x, weights, f"{name}_to_rgb").float()
        return images


class Discriminator(Network):
    """Images [N, 1, R, R] and labels [N, L] to scores [N, 1], float32."""

    def __init__(self, size: dict[str, Any], memory_format: torch.memory_format) -> None:
        super().__init__(size, memory_format, gain=1.0)
        self.top = f"{2**self.log2}x{2**self.log2}_from_rgb"
        self.add_conv(self.top, 1, self.nf[self.log2 - 1], kernel=1)
        for log2 in range(self.log2, 2, -1):
            name, channels = f"{2**log2}x{2**log2}", (self.nf[log2 - 1], self.nf[log2 - 2])
            self.add_conv(f"{name}_conv0", channels[0], channels[0])
            self.add_conv(f"{name}_conv1_down", *channels, gain=math.sqrt(2))
            self.add_conv(f"{name}_skip", *channels, kernel=1, gain=math.sqrt(2), num_biases=0)
        self.add_conv("4x4_conv", self.nf[1] + 1, self.nf[1])
        self.add("4x4_dense0", (self.nf[0], self.nf[1] * 16), self.nf[1] * 16, self.nf[0])
        self.add("output", (self.num_labels, self.nf[0]), self.nf[0], self.num_labels)

    def forward(self, weights: Weights, images: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """Judge images by their labels."""
        x = conv(images.to(weights["4x4_conv/weight"].dtype), weights, self.top)
        x = leaky_relu(x.contiguous(memory_format=self.memory_format))
        for log2 in range(self.log2, 2, -1):
            name = f"{2**log2}x{2**log2}"
            y = leaky_relu(conv(x, weights, f"{name}_conv0"))
            y = leaky_relu(conv_down(y, weights, f"{name}_conv1_down"))
            # Averaging first takes a quarter of the products, and the result is the same.
            x = (y + conv(F.avg_pool2d(x, 2), weights, f"{name}_skip")) / math.sqrt(2)
        outputs = linear_in_float32(self.last_maps(x, weights), weights, "output")  # [N, L]
        return (outputs * labels).sum(dim=1, keepdim=True), None


if __name__ == "__main__":
    gan_torch.main(Generator, Discriminator)
