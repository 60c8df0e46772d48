"""Twenty training steps of every GAN on one device, on two logical ones, or as one of two processes.

python3 tests/distributed_steps.py one|mirrored|worker|agree

Prints every scalar of every step; of GANs that have a minibatch standard deviation, with it and without. On one device
the former is computed as two devices do: each half of the minibatch has groups of its own.
`agree` only prints the number of devices and what the processes agree on.
"""

import json
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from GAN_cpd.loss import ConditionalLoss
from GAN_cpd.loss import LossConfig as ConditionalLossConfig
from GAN_cpd.networks import Discriminator as ConditionalDiscriminator
from GAN_cpd.networks import Generator as ConditionalGenerator
from GAN_dcgan.loss import DcganLoss
from GAN_dcgan.loss import LossConfig as FrameLossConfig
from GAN_dcgan.networks import Discriminator as FrameDiscriminator
from GAN_dcgan.networks import Generator as FrameGenerator
from GAN_joint.loss import JointLoss
from GAN_joint.loss import LossConfig as JointLossConfig
from GAN_joint.networks import Discriminator as JointDiscriminator
from GAN_joint.networks import Generator as JointGenerator
from GAN_prog.loss import LossConfig, ProgressiveLoss
from GAN_prog.networks import Discriminator, Generator
from medsynth.gan.augment import AugmentConfig
from medsynth.gan.loss_protocols import LossTerms
from medsynth.gan.steps import AdversarialStep, Networks, OptimiserConfig
from medsynth.training.distribution import start_distribution

NUM_STEPS, NUM_IMAGES, NUM_LABELS, RESOLUTION = 20, 16, 3, 16
PYRAMID = {"resolution": RESOLUTION, "label_size": NUM_LABELS, "fmap_base": 64, "fmap_max": 8}
PAIRS = {"resolution": RESOLUTION, "num_columns": NUM_LABELS, "width": 0.05}
FRAMES = {"resolution": RESOLUTION, "features": 4}
# Classes, loss, sizes of both networks, and what the discriminator has besides.
APPS: dict[str, tuple[Any, Any, Any, dict[str, Any], dict[str, Any]]] = {
    "prog": (Generator, Discriminator, ProgressiveLoss(LossConfig()), PYRAMID, {}),
    "cpd": (ConditionalGenerator, ConditionalDiscriminator, ConditionalLoss(ConditionalLossConfig()), PYRAMID, {}),
    # Batch normalisation over all devices, dropout that does not depend on how many there are, and swapped rows.
    "joint": (
        *(JointGenerator, JointDiscriminator, JointLoss(JointLossConfig(mismatched=0.5, gamma_1=0.1)), PAIRS),
        {"pairing": "projection"},
    ),
    # The third order of a step: one tape over two passes, on every device.
    "dcgan": (FrameGenerator, FrameDiscriminator, DcganLoss(), FRAMES, {}),
    # Singular vectors that every device moves alike.
    "dcgan spectral": (
        *(FrameGenerator, FrameDiscriminator, DcganLoss(FrameLossConfig(gamma_1=1.0)), FRAMES),
        {"norm": "spectral", "head": "average"},
    ),
}


class InShards:
    """A loss as two devices compute it, each with its own half of the minibatch, but on one device."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss

    def _mean(self, halves: list[LossTerms]) -> LossTerms:
        names = halves[0].metrics
        return LossTerms(
            tf.add_n([half.total for half in halves]) / 2,
            {name: tf.add_n([half.metrics[name] for half in halves]) / 2 for name in names},
        )

    def generator(self, generator: Any, discriminator: Any, latents: Any, labels: Any, level: Any) -> LossTerms:
        pairs = zip(*(tf.split(array, 2) for array in (latents, labels)), strict=True)
        return self._mean([self.loss.generator(generator, discriminator, *pair, level) for pair in pairs])

    def discriminator(self, generator: Any, discriminator: Any, *given: Any) -> LossTerms:
        *arrays, level, _ = given
        shards = zip(*(tf.split(array, 2) for array in arrays), strict=True)
        return self._mean([self.loss.discriminator(generator, discriminator, *shard, level) for shard in shards])


def run(
    strategy: tf.distribute.Strategy, app: str, group_size: int | None, augmentation: AugmentConfig | None = None
) -> list[dict[str, float]]:
    """Do the steps of one GAN and return their scalars."""
    generator_class, discriminator_class, loss, size, options = APPS[app]
    if group_size is not None:
        options = options | {"stddev_group_size": group_size}
    keras.utils.set_random_seed(1)
    with strategy.scope():
        networks = (
            generator_class(**size, name="generator"),
            discriminator_class(**size, **options, name="discriminator"),
            generator_class(**size, name="average"),
        )
        for network in networks:
            network.build()
        networks[2].set_weights(networks[0].get_weights())
    is_one_device = strategy.num_replicas_in_sync == 1
    step = AdversarialStep(
        Networks(*networks),
        InShards(loss) if is_one_device and (group_size or 1) > 1 else loss,
        # Training is chaotic: with the published epsilon, 1e-8, a weight whose gradient is nothing but rounding moves
        # by a full step, in a direction that the order of additions decides; after about 15 steps at a rate of 0.001
        # losses differed by 5e-4. A mistake in sharing a minibatch shows in the first steps.
        OptimiserConfig(epsilon=1e-4),
        seed=1,
        mirror=True,
        augmentation=augmentation,
        strategy=strategy,
    )
    random = np.random.default_rng(0)
    scalars = []
    for number in range(NUM_STEPS):
        images = random.integers(0, 256, (NUM_IMAGES, RESOLUTION, RESOLUTION, 1), dtype=np.uint8)
        labels = np.eye(NUM_LABELS, dtype=np.float32)[random.integers(0, NUM_LABELS, 2 * NUM_IMAGES)]
        given = (images, labels[:NUM_IMAGES], labels[NUM_IMAGES:])
        outcome = step(*given, step=number, stage=0, fade=0.0, learning_rates=(2e-4, 2e-4))
        scalars.append({name: float(value) for name, value in outcome.items()})
    return scalars


def main(mode: str) -> None:
    """Run all and print one line of JSON."""
    if mode == "agree":
        distribution = start_distribution(2)
        print(json.dumps([distribution.num_replicas, distribution.agree(10.0 + distribution.worker)]))
        return
    if mode == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = start_distribution(2 if mode == "worker" else 1).strategy
    if strategy.num_replicas_in_sync != (1 if mode == "one" else 2):
        raise SystemExit(f"{mode} runs on {strategy.num_replicas_in_sync} devices")
    found = {}
    for app in ("prog", "cpd"):
        for name, group_size in (("with", 4), ("without", 1)):
            found[f"{app} {name} stddev"] = run(strategy, app, group_size)
    for app in ("joint", "dcgan", "dcgan spectral"):
        found[app] = run(strategy, app, None)
    found["cpd augmented"] = run(strategy, "cpd", 1, AugmentConfig(mode="fixed", probability=0.5))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
