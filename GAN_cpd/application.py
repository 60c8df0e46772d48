"""What GAN_cpd hands to the scripts that all GAN applications share."""

from GAN_cpd.config import ConditionalConfig, presets
from GAN_cpd.loss import ConditionalLoss
from GAN_cpd.networks import Discriminator, Generator
from medsynth.gan.application import GanApplication
from medsynth.training.precision import dtype_policy, pixel_norm_epsilon


def build_networks(
    config: ConditionalConfig, resolution: int, num_channels: int, label_size: int
) -> tuple[Generator, Discriminator]:
    """Build both networks with fresh weights."""
    network = config.network
    size = {
        "resolution": resolution,
        "num_channels": num_channels,
        "label_size": label_size,
        "fmap_base": network.fmap_base,
        "fmap_max": network.fmap_max,
        "pixel_norm_epsilon": pixel_norm_epsilon(network.precision),
        "dtype": dtype_policy(network.precision),
    }
    networks = (
        Generator(**size, architecture=network.generator_architecture, name="generator"),
        Discriminator(**size, architecture=network.discriminator_architecture, name="discriminator"),
    )
    for built in networks:
        built.build()
    return networks


APPLICATION = GanApplication(
    name="cpD-GAN",
    presets=presets,
    build_networks=build_networks,
    build_loss=lambda config: ConditionalLoss(config.loss),
    generator_classes={"Generator": Generator},
)
