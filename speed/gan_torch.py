"""The training step of both GANs at full resolution, written in PyTorch: what gan_step.py compares with.

Written for speed as PyTorch's own advice has it: channels-last memory, weights scaled once per update,
no graph for the generator in the discriminator's update, a frozen discriminator in the generator's,
fused Adam, one foreach operation for the average, nothing copied to the host. Unlike medsynth's step it does
not look for non-finite gradients, and it leaves out GAN_prog's fading branch, which full resolution does not need.

prog_torch.py and cpd_torch.py hold the networks.
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
# Few numbers, and scores or whole feature maps depend on them: float32 in a bfloat16 step too, on both sides.
FLOAT32_LAYERS = ("_norm", "4x4_dense1", "output")


class Network(nn.Module):
    """Parameters by name, with the equalised scale of each; layouts are PyTorch's.

    Args:
        size: `resolution`, `num_labels`, `fmap_base`, `fmap_max`.
        memory_format: Of convolution kernels and activations.
        gain: Of layers that say nothing else.
    """

    def __init__(self, size: dict[str, Any], memory_format: torch.memory_format, gain: float) -> None:
        super().__init__()
        self.log2 = int(math.log2(size["resolution"]))
        self.num_labels, self.memory_format, self.gain = size["num_labels"], memory_format, gain
        self.nf = [min(size["fmap_base"] // 2**stage, size["fmap_max"]) for stage in range(self.log2)]
        self.tensors, self.scales = nn.ParameterDict(), {}

    def add(
        self, name: str, shape: tuple[int, ...], fan_in: int, num_biases: int, gain: float | None = None, kind: str = ""
    ) -> None:
        """Add `name/{kind}weight`, used as weight * gain / sqrt(fan_in), and, unless of length 0, `name/{kind}bias`."""
        weight = torch.randn(shape)
        if weight.dim() == 4:
            weight = weight.contiguous(memory_format=self.memory_format)
        self.tensors[f"{name}/{kind}weight"] = nn.Parameter(weight)
        self.scales[f"{name}/{kind}weight"] = (self.gain if gain is None else gain) / math.sqrt(fan_in)
        if num_biases:
            self.tensors[f"{name}/{kind}bias"] = nn.Parameter(torch.zeros(num_biases))

    def add_conv(self, name: str, num_inputs: int, num_outputs: int, kernel: int = 3, **options: Any) -> None:
        """Add a convolution; `_up` in a name makes the kernel that of a transposed one."""
        channels = (num_inputs, num_outputs) if "_up" in name else (num_outputs, num_inputs)
        options = {"fan_in": kernel**2 * num_inputs, "num_biases": num_outputs, **options}
        self.add(name, (*channels, kernel, kernel), **options)

    def prepared(self, dtype: torch.dtype) -> Weights:
        """Scale, and for fused resampling spread, every weight; once per update."""
        found = {}
        for key, tensor in self.tensors.items():
            name, prepared = key.split("/")[0], tensor
            if key in self.scales:
                prepared = tensor * self.scales[key]
                if name.endswith(("_up", "_down")):
                    prepared = four_shifted_copies(prepared) * (0.25 if name.endswith("_down") else 1.0)
                if prepared.dim() == 4:
                    prepared = prepared.contiguous(memory_format=self.memory_format)
            found[key] = prepared if name.endswith(FLOAT32_LAYERS) else prepared.to(dtype)
        return found

    def first_maps(self, inputs: Tensor, weights: Weights) -> Tensor:
        """Turn latents and labels [N, K] into the first feature maps [N, nf1, 4, 4], by `4x4_dense`."""
        x = F.linear(inputs, weights["4x4_dense/weight"]).unflatten(1, (-1, 4, 4))  # [N, nf1 * 16] -> [N, nf1, 4, 4]
        return x.contiguous(memory_format=self.memory_format) + weights["4x4_dense/bias"].view(1, -1, 1, 1)

    def last_maps(self, x: Tensor, weights: Weights) -> Tensor:
        """Turn the last feature maps [N, nf1, 4, 4] into [N, nf0], by deviation, `4x4_conv` and `4x4_dense0`."""
        groups = x.float().unflatten(0, (4, -1))  # [N, C, 4, 4] -> [4, N/4, C, 4, 4]
        deviation = (groups.var(dim=0, correction=0) + 1e-8).sqrt().mean(dim=(1, 2, 3))  # [N/4]
        deviation = deviation.to(x.dtype).repeat(4).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
        x = leaky_relu(conv(torch.cat([x, deviation], dim=1), weights, "4x4_conv"))
        return leaky_relu(F.linear(x.flatten(1), weights["4x4_dense0/weight"], weights["4x4_dense0/bias"]))


def four_shifted_copies(kernel: Tensor) -> Tensor:
    """Pad a kernel [., ., k, k] with zeros and add its four copies shifted by one: [., ., k+1, k+1]."""
    padded = F.pad(kernel, (1, 1, 1, 1))
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2."""
    return F.leaky_relu(x, 0.2)


def pixel_norm(x: Tensor) -> Tensor:
    """Divide by the root mean square over channels (axis 1), taken in float32."""
    return x * torch.rsqrt(x.float().square().mean(dim=1, keepdim=True) + 1e-8).to(x.dtype)


def conv(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Convolve at the same size."""
    weight = weights[f"{name}/weight"]
    return F.conv2d(x, weight, weights.get(f"{name}/bias"), padding=weight.shape[-1] // 2)


def conv_up(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Double the size and convolve, in one."""
    return F.conv_transpose2d(x, weights[f"{name}/weight"], weights[f"{name}/bias"], stride=2, padding=1)


def conv_down(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Convolve and halve the size, in one."""
    return F.conv2d(x, weights[f"{name}/weight"], weights[f"{name}/bias"], stride=2, padding=1)


def linear_in_float32(x: Tensor, weights: Weights, name: str, kind: str = "") -> Tensor:
    """Dense layer of FLOAT32_LAYERS; autocast would compute it in bfloat16."""
    with torch.autocast("cpu", enabled=False):
        return F.linear(x.float(), weights[f"{name}/{kind}weight"], weights[f"{name}/{kind}bias"])


def label_loss(labels: Tensor, logits: Tensor | None) -> Tensor | float:
    """Softmax cross-entropy with the labels' shares; no label, no loss, nor where there are no logits."""
    if logits is None:
        return 0.0
    return F.cross_entropy(logits, labels / labels.sum(dim=1, keepdim=True).clamp(min=1.0))


@dataclass
class Step:
    """Both updates.

    Args:
        generator: Maps prepared weights, latents and labels to images [N, 1, R, R], float32.
        discriminator: Maps prepared weights, images and labels to scores [N, 1], and label logits [N, L] or None.
        average: The averaged generator.
        precision: "float32", or "bfloat16" by autocast.
    """

    generator: Network
    discriminator: Network
    average: Network
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
            real_scores, real_logits = self.discriminator(weights, reals, labels)
            fake_scores, fake_logits = self.discriminator(weights, fakes, labels)
            mixed = torch.lerp(reals, fakes, mix).requires_grad_()
            mixed_scores, _ = self.discriminator(weights, mixed, labels)
        (gradients,) = torch.autograd.grad(mixed_scores.sum(), mixed, create_graph=True)
        penalty = (gradients.square().sum(dim=(1, 2, 3)).sqrt() - 1.0).square().mean()
        loss = fake_scores.mean() - real_scores.mean() + 10.0 * penalty + 0.001 * real_scores.square().mean()
        return loss + label_loss(labels, real_logits) + label_loss(labels, fake_logits)

    def generator_loss(self, latents: Tensor, labels: Tensor) -> Tensor:
        """-E[D(fake)] + the label term."""
        with self.autocast():
            fakes = self.generator(self.generator.prepared(self.compute_dtype), latents, labels)
            with torch.no_grad():
                weights = self.discriminator.prepared(self.compute_dtype)
            scores, logits = self.discriminator(weights, fakes, labels)
        return label_loss(labels, logits) - scores.mean()

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


def main(generator_class: type[Network], discriminator_class: type[Network]) -> None:
    """Serve the orders `steps` and `prove`.

    Args:
        generator_class: Made from a size and a memory format.
        discriminator_class: Likewise.
    """
    size, precision, layout = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(rivals.num_cores())
    torch.manual_seed(1)
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    classes = (generator_class, discriminator_class, generator_class)
    step = Step(*(network_class(size, memory_format) for network_class in classes), precision)
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
