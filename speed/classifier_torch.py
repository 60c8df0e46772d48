"""DenseNet-121's training step in PyTorch, layer by layer torchvision's: what classifier.py compares with.

Written for speed as PyTorch's own advice has it: channels-last memory (or not, as asked), fused Adam, autocast.
Parameters bear Keras' names, so that both sides can start from the same weights.
"""

import json
import sys
from contextlib import nullcontext
from typing import Any

import numpy as np
import rivals
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

BLOCKS, GROWTH = (6, 12, 24, 16), 32
EPSILON = 1.001e-5  # as in keras.applications; torchvision's 1e-5 is the same to the eye


class DenseNet121(nn.Module):
    """Normalised images [N, 3, D, D] -> logits [N, L]."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.parts = nn.ModuleDict()
        self._conv("conv1_conv", 3, 64, 7, 2)
        self._norm("conv1_bn", 64)
        channels = 64
        for stage, num_layers in enumerate(BLOCKS, start=2):
            for layer in range(1, num_layers + 1):
                name = f"conv{stage}_block{layer}"
                self._norm(f"{name}_0_bn", channels)
                self._conv(f"{name}_1_conv", channels, 4 * GROWTH, 1)
                self._norm(f"{name}_1_bn", 4 * GROWTH)
                self._conv(f"{name}_2_conv", 4 * GROWTH, GROWTH, 3)
                channels += GROWTH
            if stage < len(BLOCKS) + 1:
                self._norm(f"pool{stage}_bn", channels)
                channels //= 2
                self._conv(f"pool{stage}_conv", 2 * channels, channels, 1)
        self._norm("bn", channels)
        self.parts["predictions"] = nn.Linear(channels, num_labels)

    def _conv(self, name: str, num_inputs: int, num_outputs: int, kernel: int, stride: int = 1) -> None:
        self.parts[name] = nn.Conv2d(num_inputs, num_outputs, kernel, stride, kernel // 2, bias=False)

    def _norm(self, name: str, num_channels: int) -> None:
        self.parts[name] = nn.BatchNorm2d(num_channels, eps=EPSILON, momentum=0.01)

    def _activated(self, name: str, x: Tensor) -> Tensor:
        return F.relu(self.parts[name](x), inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        x = F.max_pool2d(self._activated("conv1_bn", self.parts["conv1_conv"](x)), 3, 2, 1)
        for stage, num_layers in enumerate(BLOCKS, start=2):
            for layer in range(1, num_layers + 1):
                name = f"conv{stage}_block{layer}"
                inner = self.parts[f"{name}_1_conv"](self._activated(f"{name}_0_bn", x))
                x = torch.cat([x, self.parts[f"{name}_2_conv"](self._activated(f"{name}_1_bn", inner))], dim=1)
            if stage < len(BLOCKS) + 1:
                x = F.avg_pool2d(self.parts[f"pool{stage}_conv"](self._activated(f"pool{stage}_bn", x)), 2)
        return self.parts["predictions"](self._activated("bn", x).mean(dim=(2, 3)))

    def tensors(self) -> dict[str, tuple[Tensor, tuple[int, ...] | None]]:
        """Return every parameter by Keras' name, and how its axes are ordered there."""
        found: dict[str, tuple[Tensor, tuple[int, ...] | None]] = {}
        for name, part in self.parts.items():
            if isinstance(part, nn.Conv2d):
                found[f"{name}/kernel"] = part.weight, (2, 3, 1, 0)
            elif isinstance(part, nn.Linear):
                found |= {f"{name}/kernel": (part.weight, (1, 0)), f"{name}/bias": (part.bias, None)}
            else:
                found |= {f"{name}/gamma": (part.weight, None), f"{name}/beta": (part.bias, None)}
        return found


def main() -> None:
    """Serve the orders `steps` and `prove`."""
    size, precision, layout = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(rivals.num_cores())
    torch.manual_seed(1)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    network = DenseNet121(size["num_labels"]).to(memory_format=memory_format)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    shape = (size["num_images"], 3, size["image_dimension"], size["image_dimension"])
    images = torch.randn(shape).contiguous(memory_format=memory_format)
    labels = (torch.rand(size["num_images"], size["num_labels"]) < 0.3).float()

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext():
            logits = network(images)
        return F.binary_cross_entropy_with_logits(logits.float(), labels)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(images, labels)
        loss.backward()
        optimiser.step()
        float(loss.detach())

    def prove(given: str, path: str) -> None:
        """Take weights and input from a file, and write loss and gradients."""
        arrays = load_file(given)
        tensors = network.tensors()
        with torch.no_grad():
            for key, (tensor, order) in tensors.items():
                values = torch.from_numpy(arrays[f"weight/{key}"])
                inverse = None if order is None else tuple(np.argsort(order))
                tensor.copy_(values if inverse is None else values.permute(inverse))
        inputs = torch.from_numpy(arrays["input/images"]).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        loss = loss_of(inputs, torch.from_numpy(arrays["input/labels"]))
        loss.backward()
        found: dict[str, Any] = {"loss": loss.detach().numpy()}
        for key, (tensor, order) in tensors.items():
            gradient = tensor.grad if order is None else tensor.grad.permute(order)
            found[f"gradient/{key}"] = gradient.numpy()
        save_file({name: np.ascontiguousarray(value) for name, value in found.items()}, path)
        optimiser.zero_grad(set_to_none=True)

    rivals.serve({"steps": rivals.timed_steps(step), "prove": prove})


if __name__ == "__main__":
    main()
