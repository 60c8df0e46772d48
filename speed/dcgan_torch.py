"""The training step of GAN_dcgan, written in PyTorch: what dcgan_step.py compares with.

Written for speed as PyTorch's own advice has it: channels-last memory (or not, as asked), activations in place, one
backward pass for real and synthetic images together, no gradients for the frozen discriminator in the generator's
update, fused Adam, autocast, nothing copied to the host before the end. Unlike medsynth's step it does not look for
non-finite gradients.
"""

import json
import math
import sys
from typing import Any

import numpy as np
import rivals
import torch
import torch.nn.functional as F  # noqa: N812 (PyTorch's own convention)
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

NETWORKS = ("generator", "discriminator")
# Of a norm's tensors, the suite's.
NORM_NAMES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


class Network(nn.Module):
    """Layers by the suite's names, so that both sides can start from the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleDict()

    def activated(self, number: int, x: Tensor) -> Tensor:
        """Convolve, normalise where there is a norm, and activate."""
        x = self.parts[f"conv{number}"](x)
        if f"norm{number}" in self.parts:
            x = self.parts[f"norm{number}"](x)
        return F.leaky_relu(x, 0.2, inplace=True)


class Generator(Network):
    """Latents [N, Z] to images [N, 1, S, S]."""

    def __init__(self, size: dict[str, Any]) -> None:
        super().__init__()
        self.num_levels = size["resolution"].bit_length() - 3
        num_inputs = size["latent_size"]
        for level in range(self.num_levels):
            channels = max(8 * size["features"] >> level, 1)
            place = {"stride": 2, "padding": 1} if level else {}
            self.parts[f"conv{level}"] = nn.ConvTranspose2d(num_inputs, channels, 4, **place, bias=False)
            self.parts[f"norm{level}"] = nn.BatchNorm2d(channels)
            num_inputs = channels
        self.parts["image"] = nn.ConvTranspose2d(num_inputs, 1, 4, stride=2, padding=1, bias=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Generate."""
        x = latents[..., None, None]  # [N, Z] -> [N, Z, 1, 1]
        for level in range(self.num_levels):
            x = self.activated(level, x)
        return self.parts["image"](x).float().tanh()


class Discriminator(Network):
    """Images [N, 1, S, S] to logits [N, 1].

    The dense layer takes the last maps as they lie in memory, channels first or last: nothing is copied.
    """

    def __init__(self, size: dict[str, Any], *, channels_last: bool) -> None:
        super().__init__()
        features, side = size["features"], size["resolution"] // 4
        self.channels_last = channels_last
        self.parts["conv0"] = nn.Conv2d(1, features, 4, stride=2, padding=1, bias=False)
        self.parts["conv1"] = nn.Conv2d(features, 2 * features, 4, stride=2, padding=1, bias=False)
        self.parts["norm1"] = nn.BatchNorm2d(2 * features)
        self.parts["logit"] = nn.Linear(side * side * 2 * features, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Judge."""
        x = self.activated(1, self.activated(0, images))
        if self.channels_last:
            x = x.permute(0, 2, 3, 1)  # [N, C, s, s] -> [N, s, s, C]
        return self.parts["logit"](x.flatten(1)).float()


class Step:
    """Both updates, on the same fakes.

    Args:
        size: `resolution`, `features`, `latent_size`, `num_images`.
        precision: "float32", or "bfloat16" by autocast.
        layout: "channels_last" or "contiguous".
    """

    def __init__(self, size: dict[str, Any], precision: str, layout: str) -> None:
        channels_last = layout == "channels_last"
        memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.precision = precision
        self.generator = Generator(size).to(memory_format=memory_format)
        self.discriminator = Discriminator(size, channels_last=channels_last).to(memory_format=memory_format)
        self.adam_g, self.adam_d = (
            torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.7, 0.999), eps=1e-8, fused=True)
            for network in (self.generator, self.discriminator)
        )

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass."""
        return torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16")

    def loss(self, images: Tensor, target: float) -> Tensor:
        """Return the cross-entropy of a batch that is to be judged real (1) or synthetic (0)."""
        with self.autocast():
            scores = self.discriminator(images)
        return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, target))

    def __call__(self, images: Tensor, latents: Tensor) -> dict[str, Tensor]:
        """Update the discriminator, then the generator; images are uint8 [N, S, S, 1]. Return the losses."""
        # One channel: both memory formats are the same.
        reals = images.movedim(3, 1).float() * (2.0 / 255.0) - 1.0
        with self.autocast():
            fakes = self.generator(latents)

        self.adam_d.zero_grad(set_to_none=True)
        of_reals, of_fakes = self.loss(reals, 1.0), self.loss(fakes.detach(), 0.0)
        (of_reals + of_fakes).backward()
        self.adam_d.step()

        self.discriminator.requires_grad_(False)
        self.adam_g.zero_grad(set_to_none=True)
        of_generator = self.loss(fakes, 1.0)
        of_generator.backward()
        self.adam_g.step()
        self.discriminator.requires_grad_(True)
        losses = {"discriminator_real": of_reals, "discriminator_fake": of_fakes, "generator": of_generator}
        return {name: loss.detach() for name, loss in losses.items()}

    def named_tensors(self, name: str) -> dict[str, Tensor]:
        """Return weights and statistics of `generator` or `discriminator` by the suite's names."""
        return {
            f"{layer}/{NORM_NAMES[key] if isinstance(part, nn.BatchNorm2d) else 'kernel'}": tensor
            for layer, part in getattr(self, name).parts.items()
            for key, tensor in part.state_dict(keep_vars=True).items()
            if key != "num_batches_tracked"
        }

    def in_suite_order(self, key: str, tensor: Tensor) -> Tensor:
        """Return a view of a weight, or of a moment of one, whose axes lie as the suite's."""
        if tensor.dim() == 4:
            return tensor.permute(2, 3, 1, 0)  # also of a transposed convolution: both sides swap the channels
        if key != "logit/kernel":
            return tensor
        channels = self.discriminator.parts["norm1"].num_features
        side = math.isqrt(tensor.shape[1] // channels)
        if self.discriminator.channels_last:
            return tensor.view(side, side, channels)
        return tensor.view(channels, side, side).permute(1, 2, 0)


def prove(step: Step, given: str, path: str) -> None:
    """Start from the weights in `given`, do a step for each batch in it, and write losses and everything changed."""
    arrays = load_file(given)
    for name in NETWORKS:
        for key, tensor in step.named_tensors(name).items():
            view = step.in_suite_order(key, tensor.data)
            view.copy_(torch.from_numpy(arrays[f"weight/{name}/{key}"]).view(view.shape))
    results: dict[str, Tensor] = {}
    batches = zip(arrays["input/images"], arrays["input/latents"], strict=True)
    for number, (images, latents) in enumerate(batches):
        losses = step(torch.from_numpy(images), torch.from_numpy(latents))
        results |= {f"loss/{number}/{name}": loss for name, loss in losses.items()}
        for name, adam in zip(NETWORKS, (step.adam_g, step.adam_d), strict=True):
            for key, tensor in step.named_tensors(name).items():
                kept = {"end": tensor.detach()}
                if tensor.requires_grad:
                    state = adam.state[tensor]
                    kept |= {"momentum" if number else "gradient": state["exp_avg"], "velocity": state["exp_avg_sq"]}
                results |= {f"{kind}/{name}/{key}": step.in_suite_order(key, t).clone() for kind, t in kept.items()}
    save_file({name: np.ascontiguousarray(value.numpy()) for name, value in results.items()}, path)


def main() -> None:
    """Serve the orders `steps` and `prove`."""
    size, precision, layout = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
    torch.set_num_threads(rivals.num_cores())
    torch.manual_seed(1)
    train = Step(size, precision, layout)
    images = torch.randint(0, 256, (size["num_images"], size["resolution"], size["resolution"], 1), dtype=torch.uint8)

    def step() -> None:
        losses = train(images, torch.randn(len(images), size["latent_size"]))
        for loss in losses.values():
            float(loss)

    rivals.serve(
        {
            "steps": rivals.timed_steps(step),
            "prove": lambda given, path: prove(Step(size, precision, layout), given, path),
        }
    )


if __name__ == "__main__":
    main()
