"""Which attribution methods there are, what they are called, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from medsynth.classify.config import ExplainConfig
from medsynth.errors import UsageError

GRAD_CAM, HIRES_CAM, OCCLUSION = "grad_cam", "hires_cam", "occlusion"
SMOOTH_GRAD, INTEGRATED_GRADIENTS = "smooth_grad", "integrated_gradients"
RANDOM_PATCHES, RANDOM_PIXELS = "random_patches", "random_pixels"
BACKWARD = 3  # A pass with gradients takes about as long as three without.


@dataclass(frozen=True)
class Method:
    """An attribution method, or the random map that stands for none.

    Attributes:
        title: Heading of its column.
        random: The random map of its grain, that it has to beat.
    """

    title: str
    random: str


METHODS = {
    GRAD_CAM: Method("Grad-CAM", RANDOM_PATCHES),
    HIRES_CAM: Method("HiResCAM", RANDOM_PATCHES),
    OCCLUSION: Method("occlusion", RANDOM_PATCHES),
    SMOOTH_GRAD: Method("SmoothGrad", RANDOM_PIXELS),
    INTEGRATED_GRADIENTS: Method("integrated gradients", RANDOM_PIXELS),
}
RANDOM_TITLES = {RANDOM_PATCHES: "random patches", RANDOM_PIXELS: "random pixels"}


def parse_methods(text: str) -> tuple[str, ...]:
    """Return the methods in a comma-separated list, each once, in the order given; all for `all`.

    Raises:
        UsageError: None, or an unknown one.
    """
    if text == "all":
        return tuple(METHODS)
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise UsageError(
            f"--methods takes all, or a list of {', '.join(METHODS)}.", received=", ".join(unknown) or repr(text)
        )
    return names


def random_maps_of(methods: Sequence[str]) -> tuple[str, ...]:
    """Return the random maps that these methods are read beside, each once."""
    return tuple(dict.fromkeys(METHODS[name].random for name in methods))


def passes_of_map(method: str, config: ExplainConfig, image_dimension: int) -> int:
    """Return what one map of one image costs, in forward passes of one image; a pass with gradients counts three."""
    return {
        GRAD_CAM: BACKWARD,
        HIRES_CAM: BACKWARD,
        OCCLUSION: (image_dimension // config.occlusion_patch) ** 2 + 1,
        SMOOTH_GRAD: BACKWARD * config.smoothgrad_samples,
        INTEGRATED_GRADIENTS: BACKWARD * config.integrated_gradients_points + 2,
    }[method]


def passes_of_image(methods: Sequence[str], config: ExplainConfig, image_dimension: int) -> int:
    """Return what everything about one image and label costs: the maps, those of random weights, and the curves."""
    maps = sum(passes_of_map(name, config, image_dimension) for name in methods)
    num_curves = 2 * (len(methods) + len(random_maps_of(methods)))
    return 2 * maps + num_curves * (config.faithfulness_steps + 1)
