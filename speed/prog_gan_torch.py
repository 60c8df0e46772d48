"""The training step of GAN_prog at full resolution, written in PyTorch: what prog_gan_step.py compares with.

Written for speed as PyTorch's own advice has it: channels-last memory, weights scaled once per update,
no graph for the generator in the discriminator's update, a frozen discriminator in the generator's,
fused Adam, one foreach operation for the average, nothing copied to the host. Unlike GAN_prog it does not
look for non-finite gradients, and it leaves out the fading branch, which full resolution does not need.
"""

import json
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import rivals
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

Weights = dict[str, Tensor]


class Network(nn.Module):
    """Parameters by name, with the equalised scale of each; layouts are PyTorch's.

    Args:
        size: `resolution`, `num_labels`, `fmap_base`, `fmap_max`.
        memory_format: Of convolution kernels and activations.
    """

    def __init__(self, size: dict[str, int], memory_format: torch.memory_format) -> None:
        super().__init__()
        self.log2 = int(math.log2(size["resolution"]))
        self.num_labels, self.memory_format = size["num_labels"], memory_format
        self.nf = [min(size["fmap_base"] // 2**stage, size["fmap_max"]) for stage in range(self.log2)]
        self.tensors, self.scales = nn.ParameterDict(), {}

    def add(self, name: str, shape: tuple[int, ...], fan_in: int, num_outputs: int, gain: float = math.sqrt(2)) -> None:
        """Add a weight that is used as `weight * gain / sqrt(fan_in)`, and a bias."""
        weight = torch.randn(shape)
        if weight.dim() == 4:
            weight = weight.contiguous(memory_format=self.memory_format)
        self.tensors[f"{name}/weight"] = nn.Parameter(weight)
        self.tensors[f"{name}/bias"] = nn.Parameter(torch.zeros(num_outputs))
        self.scales[name] = gain / math.sqrt(fan_in)

    def add_conv(self, name: str, num_inputs: int, num_outputs: int, kernel: int = 3, **options: Any) -> None:
        """Add a convolution; `conv0_up` in a name makes the kernel that of a transposed one."""
        channels = (num_inputs, num_outputs) if "_up" in name else (num_outputs, num_inputs)
        self.add(name, (*channels, kernel, kernel), kernel**2 * num_inputs, num_outputs, **options)

    def prepared(self, dtype: torch.dtype) -> Weights:
        """Scale, and for fused resampling spread, every weight; once per update."""
        found = {}
        for name, scale in self.scales.items():
            weight = self.tensors[f"{name}/weight"] * scale
            if name.endswith(("_up", "_down")):
                weight = F.pad(weight, (1, 1, 1, 1))
                weight = weight[..., 1:, 1:] + weight[..., :-1, 1:] + weight[..., 1:, :-1] + weight[..., :-1, :-1]
                weight = weight * (0.25 if name.endswith("_down") else 1.0)
            if weight.dim() == 4:
                weight = weight.contiguous(memory_format=self.memory_format)
            found[f"{name}/weight"] = weight.to(dtype)
            found[f"{name}/bias"] = self.tensors[f"{name}/bias"].to(dtype)
        return found


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, 0.2)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide by the root mean square over channels (axis 1), taken in float32."""
    return x * torch.rsqrt(x.float().square().mean(dim=1, keepdim=True) + 1e-8).to(x.dtype)


def conv(x: Tensor, weights: Weights, name: str, **options: Any) -> Tensor:
    """Convolve at the same size."""
    weight = weights[f"{name}/weight"]
    return F.conv2d(x, weight, weights[f"{name}/bias"], padding=weight.shape[-1] // 2, **options)


class Generator(Network):
    """Latents [N, nf0] and labels [N, L] to images [N, 1, R, R]."""

    def __init__(self, size: dict[str, int], memory_format: torch.memory_format) -> None:
        super().__init__(size, memory_format)
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
        x = F.linear(x, weights["4x4_dense/weight"]).unflatten(1, (-1, 4, 4))  # [N, nf1 * 16] -> [N, nf1, 4, 4]
        x = x.contiguous(memory_format=self.memory_format) + weights["4x4_dense/bias"].view(1, -1, 1, 1)
        x = pixel_norm(leaky_relu(x))
        x = pixel_norm(leaky_relu(conv(x, weights, "4x4_conv")))
        for log2 in range(3, self.log2 + 1):
            up = f"{2**log2}x{2**log2}_conv0_up"
            x = F.conv_transpose2d(x, weights[f"{up}/weight"], weights[f"{up}/bias"], stride=2, padding=1)
            x = pixel_norm(leaky_relu(x))
            x = pixel_norm(leaky_relu(conv(x, weights, f"{2**log2}x{2**log2}_conv1")))
        return conv(x, weights, self.top).float()


class Discriminator(Network):
    """Images [N, 1, R, R] to scores [N, 1] and label logits [N, L], float32."""

    def __init__(self, size: dict[str, int], memory_format: torch.memory_format) -> None:
        super().__init__(size, memory_format)
        self.top = f"from_rgb_{2**self.log2}x{2**self.log2}"
        self.add_conv(self.top, 1, self.nf[self.log2 - 1], kernel=1)
        for log2 in range(self.log2, 2, -1):
            name = f"{2**log2}x{2**log2}"
            self.add_conv(f"{name}_conv0", self.nf[log2 - 1], self.nf[log2 - 1])
            self.add_conv(f"{name}_conv1_down", self.nf[log2 - 1], self.nf[log2 - 2])
        self.add_conv("4x4_conv", self.nf[1] + 1, self.nf[1])
        self.add("4x4_dense0", (self.nf[0], self.nf[1] * 16), self.nf[1] * 16, self.nf[0])
        self.add("4x4_dense1", (1 + self.num_labels, self.nf[0]), self.nf[0], 1 + self.num_labels, gain=1.0)

    def forward(self, weights: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
        """Judge images."""
        x = conv(images.to(weights["4x4_conv/weight"].dtype), weights, self.top)
        x = leaky_relu(x.contiguous(memory_format=self.memory_format))
        for log2 in range(self.log2, 2, -1):
            x = leaky_relu(conv(x, weights, f"{2**log2}x{2**log2}_conv0"))
            down = f"{2**log2}x{2**log2}_conv1_down"
            x = leaky_relu(F.conv2d(x, weights[f"{down}/weight"], weights[f"{down}/bias"], stride=2, padding=1))
        groups = x.float().unflatten(0, (4, -1))  # [N, C, 4, 4] -> [4, N/4, C, 4, 4]
        deviation = (groups.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # [N/4]
        deviation = deviation.to(x.dtype).repeat(4).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
        x = leaky_relu(conv(torch.cat([x, deviation], dim=1), weights, "4x4_conv"))
        x = leaky_relu(F.linear(x.flatten(1), weights["4x4_dense0/weight"], weights["4x4_dense0/bias"]))
        x = F.linear(x.float(), weights["4x4_dense1/weight"].float(), weights["4x4_dense1/bias"].float())
        return x[:, :1], x[:, 1:]


def label_cross_entropy(labels: Tensor, logits: Tensor) -> Tensor:
    """Softmax cross-entropy with the labels' shares; no label, no loss."""
    return F.cross_entropy(logits, labels / labels.sum(dim=1, keepdim=True).clamp(min=1.0))


@dataclass
class Step:
    """Both updates.

    Args:
        generator: Being trained.
        discriminator: Being trained.
        average: The averaged generator.
        precision: "float32", or "bfloat16" by autocast.
    """

    generator: Generator
    discriminator: Discriminator
    average: Generator
    precision: str

    def __post_init__(self) -> None:
        """Make the optimisers."""
        self.average.requires_grad_(False)
        self.adam_g, self.adam_d = (
            torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.0, 0.99), eps=1e-8, fused=True)
            for network in (self.generator, self.discriminator)
        )
        self.compute_dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")

    def discriminator_loss(self, reals: Tensor, labels: Tensor, latents: Tensor, mix: Tensor) -> Tensor:
        """E[D(fake)] - E[D(real)] + 10 E[(|grad D(mixed)| - 1)^2] + 0.001 E[D(real)^2] + label terms."""
        with self.autocast():
            with torch.no_grad():
                fakes = self.generator(self.generator.prepared(self.compute_dtype), latents, labels)
            weights = self.discriminator.prepared(self.compute_dtype)
            real_scores, real_logits = self.discriminator(weights, reals)
            fake_scores, fake_logits = self.discriminator(weights, fakes)
            mixed = torch.lerp(reals, fakes, mix).requires_grad_()
            mixed_scores, _ = self.discriminator(weights, mixed)
        (gradients,) = torch.autograd.grad(mixed_scores.sum(), mixed, create_graph=True)
        penalty = (gradients.square().sum(dim=(1, 2, 3)).sqrt() - 1.0).square().mean()
        loss = fake_scores.mean() - real_scores.mean() + 10.0 * penalty + 0.001 * real_scores.square().mean()
        return loss + label_cross_entropy(labels, real_logits) + label_cross_entropy(labels, fake_logits)

    def generator_loss(self, latents: Tensor, labels: Tensor) -> Tensor:
        """-E[D(fake)] + the label term."""
        with self.autocast():
            fakes = self.generator(self.generator.prepared(self.compute_dtype), latents, labels)
            with torch.no_grad():
                weights = self.discriminator.prepared(self.compute_dtype)
            scores, logits = self.discriminator(weights, fakes)
        return label_cross_entropy(labels, logits) - scores.mean()

    def __call__(self, images: Tensor, labels: Tensor, generator_labels: Tensor) -> tuple[Tensor, Tensor]:
        """Update the discriminator, the average and the generator; images are uint8 [N, R, R, 1]."""
        reals = images.movedim(3, 1).float() * (2.0 / 255.0) - 1.0
        latents = torch.randn(len(images), self.generator.nf[0])
        self.adam_d.zero_grad()
        d_loss = self.discriminator_loss(reals, labels, latents, torch.rand(len(images), 1, 1, 1))
        d_loss.backward()
        self.adam_d.step()

        averages, currents = list(self.average.parameters()), list(self.generator.parameters())
        torch._foreach_lerp_(averages, [current.detach() for current in currents], 1.0 - 0.999)

        self.adam_g.zero_grad()
        g_loss = self.generator_loss(torch.randn(len(images), self.generator.nf[0]), generator_labels)
        g_loss.backward()
        self.adam_g.step()
        return d_loss.detach(), g_loss.detach()


def other_layout(array: np.ndarray) -> Tensor:
    """Turn a kernel [k, k, ., .] or a dense weight [inputs, outputs] of TensorFlow into PyTorch's, or back."""
    tensor = torch.from_numpy(array)
    axes = (3, 2, 0, 1) if tensor.dim() == 4 else tuple(reversed(range(tensor.dim())))
    return tensor.permute(axes)


def prove(step: Step, given: str, path: str) -> None:
    """Compute losses and gradients from the weights and inputs in `given`; write them in TensorFlow's layout."""
    arrays = load_file(given)
    inputs = {name: torch.from_numpy(arrays[f"input/{name}"]) for name in ("reals", "labels", "latents", "mix")}
    reals = inputs["reals"].movedim(3, 1)
    results = {}
    for name, network in (("generator", step.generator), ("discriminator", step.discriminator)):
        for key, parameter in network.tensors.items():
            parameter.data.copy_(other_layout(arrays[f"weight/{name}/{key}"]))
    for name, network in (("generator", step.generator), ("discriminator", step.discriminator)):
        if name == "generator":
            loss = step.generator_loss(inputs["latents"], inputs["labels"])
        else:
            loss = step.discriminator_loss(reals, inputs["labels"], inputs["latents"], inputs["mix"])
        gradients = torch.autograd.grad(loss, list(network.tensors.values()))
        results[f"loss/{name}"] = loss.detach().numpy()
        for key, gradient in zip(network.tensors, gradients, strict=True):
            axes = (2, 3, 1, 0) if gradient.dim() == 4 else tuple(reversed(range(gradient.dim())))
            results[f"gradient/{name}/{key}"] = gradient.permute(axes).contiguous().numpy()
    save_file(results, path)


def main() -> None:
    """Serve the orders `steps` and `prove`."""
    size, precision, layout = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(rivals.num_cores())
    torch.manual_seed(1)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    step = Step(
        Generator(size, memory_format), Discriminator(size, memory_format), Generator(size, memory_format), precision
    )
    shape = (size["num_images"], size["resolution"], size["resolution"], 1)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    labels = (torch.rand(size["num_images"], size["num_labels"]) < 0.3).float()
    labels[labels.sum(dim=1) == 0, 0] = 1.0  # every image has a label
    rivals.serve(
        {
            "steps": rivals.timed_steps(lambda: step(images, labels, labels)),
            "prove": lambda given, path: prove(step, given, path),
        }
    )


if __name__ == "__main__":
    main()
