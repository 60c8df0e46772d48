"""The side of PyTorch in gan_step.py, GAN_prog's networks at full resolution; see gan_torch.py."""

import math
from typing import Any

import gan_torch
import torch
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
        super().__init__(size, memory_format, gain=math.sqrt(2))
        num_inputs = self.nf[0] + self.num_labels
        self.add("4x4_dense", (self.nf[1] * 16, num_inputs), num_inputs, self.nf[1], gain=math.sqrt(2) / 4)
        self.add_conv("4x4_conv", self.nf[1], self.nf[1])
        for log2 in range(3, self.log2 + 1):
            name = f"{2**log2}x{2**log2}"
            self.add_conv(f"{name}_conv0_up", self.nf[log2 - 2], self.nf[log2 - 1])
            self.add_conv(f"{name}_conv1", self.nf[log2 - 1], self.nf[log2 - 1])
        self.top = f"to_rgb_{2**self.log2}x{2**self.log2}"
        self.add_conv(self.top, self.nf[self.log2 - 1], 1, kernel=1, gain=1.0)

    def forward(self, weights: Weights, latents: Tensor, labels: Tensor) -> Tensor:
        """Generate images, float32."""
        x = pixel_norm(torch.cat([latents, labels], dim=1)).to(weights["4x4_conv/weight"].dtype)
        x = pixel_norm(leaky_relu(self.first_maps(x, weights)))
        x = pixel_norm(leaky_relu(conv(x, weights, "4x4_conv")))
        for log2 in range(3, self.log2 + 1):
            name = f"{2**log2}x{2**log2}"
            x = pixel_norm(leaky_relu(conv_up(x, weights, f"{name}_conv0_up")))
            x = pixel_norm(leaky_relu(conv(x, weights, f"{name}_conv1")))
        return conv(x, weights, self.top).float()


class Discriminator(Network):
    """Images [N, 1, R, R] to scores [N, 1] and label logits [N, L], float32."""

    def __init__(self, size: dict[str, Any], memory_format: torch.memory_format) -> None:
        super().__init__(size, memory_format, gain=math.sqrt(2))
        self.top = f"from_rgb_{2**self.log2}x{2**self.log2}"
        self.add_conv(self.top, 1, self.nf[self.log2 - 1], kernel=1)
        for log2 in range(self.log2, 2, -1):
            name = f"{2**log2}x{2**log2}"
            self.add_conv(f"{name}_conv0", self.nf[log2 - 1], self.nf[log2 - 1])
            self.add_conv(f"{name}_conv1_down", self.nf[log2 - 1], self.nf[log2 - 2])
        self.add_conv("4x4_conv", self.nf[1] + 1, self.nf[1])
        self.add("4x4_dense0", (self.nf[0], self.nf[1] * 16), self.nf[1] * 16, self.nf[0])
        self.add("4x4_dense1", (1 + self.num_labels, self.nf[0]), self.nf[0], 1 + self.num_labels, gain=1.0)

    def forward(self, weights: Weights, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Judge images; the labels are not needed for it."""
        x = conv(images.to(weights["4x4_conv/weight"].dtype), weights, self.top)
        x = leaky_relu(x.contiguous(memory_format=self.memory_format))
        for log2 in range(self.log2, 2, -1):
            x = leaky_relu(conv(x, weights, f"{2**log2}x{2**log2}_conv0"))
            x = leaky_relu(conv_down(x, weights, f"{2**log2}x{2**log2}_conv1_down"))
        x = linear_in_float32(self.last_maps(x, weights), weights, "4x4_dense1")
        return x[:, :1], x[:, 1:]


if __name__ == "__main__":
    gan_torch.main(Generator, Discriminator)
