"""What GAN_prog hands to the scripts that all GAN applications share."""

from GAN_prog.config import ProgressiveConfig, presets
from GAN_prog.loss import ProgressiveLoss
from GAN_prog.networks import Discriminator, Generator
from medsynth.gan.application import GanApplication
from medsynth.training.precision import dtype_policy, pixel_norm_epsilon


def build_networks(
    config: ProgressiveConfig, resolution: int, num_channels: int, label_size: int
) -> tuple[Generator, Discriminator]:
    """Build both networks with fresh weights."""
    size = {
        "resolution": resolution,
        "num_channels": num_channels,
        "label_size": label_size,
        "fmap_base": config.network.fmap_base,
        "fmap_max": config.network.fmap_max,
        "pixel_norm_epsilon": pixel_norm_epsilon(config.network.precision),
        "dtype": dtype_policy(config.network.precision),
    }
    networks = Generator(**size, name="generator"), Discriminator(**size, name="discriminator")
    for network in networks:
        network.build()
    return networks


APPLICATION = GanApplication(
    name="prog-GAN",
    presets=presets,
    build_networks=build_networks,
    build_loss=lambda config: ProgressiveLoss(config.loss),
    generator_classes={"Generator": Generator},
    is_progressive=True,
)
