"""GAN_joint against numbers recorded from the original: outputs in inference and training, losses, sizes."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from GAN_joint.loss import JointLoss
from GAN_joint.networks import SLOPE, Discriminator, Generator
from medsynth.training.checkpoint import named_variables
from tests.golden_files import golden_files

FILES = golden_files("gan_joint*.npz")


class Golden:
    """One golden file, and both networks with weights of its stated rule."""

    def __init__(self, path: Path) -> None:
        self.arrays = dict(np.load(path, allow_pickle=False))
        self.meta = json.loads(str(self.arrays["meta"]))
        sizes = {
            "resolution": self.arrays["D_images"].shape[1],
            "num_channels": self.arrays["D_images"].shape[3],
            "num_columns": self.arrays["G_table"].shape[1],
        }
        assert self.meta["leaky_relu_slope"] == SLOPE
        self.generator = Generator(**sizes, latent_size=self.arrays["noise"].shape[1])
        self.discriminator = Discriminator(**sizes)
        for letter, network, offset in (("G", self.generator, 0), ("D", self.discriminator, 7)):
            network.build()
            variables = named_variables(network)
            names = list(map(our_name, self.meta[f"{letter}_weight_order"]))
            assert sorted(names) == sorted(variables)
            for number, (name, shape) in enumerate(zip(names, self.meta[f"{letter}_shapes"], strict=True)):
                assert list(variables[name].shape) == shape, name
                variables[name].assign(rule(number + offset, shape, name))


def rule(number: int, shape: list[int], name: str) -> np.ndarray:
    """Return what `meta` calls weight_rule: scale * sin(0.37 i + 1.3 number), plus 1 for gamma and moving_variance."""
    scale = 1.5 / np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else 0.05
    values = scale * np.sin(0.37 * np.arange(np.prod(shape), dtype=np.float64) + 1.3 * number)
    return (values + name.endswith(("gamma", "moving_variance"))).reshape(shape).astype(np.float32)


# In the order in which the original makes its layers; a layer's number in its name is its place here.
DENSE = [
    "trunk",
    *(f"table_dense{i}" for i in range(4)),
    *(f"table_dense{i}" for i in range(4)),
    "joint_dense",
    "logit",
]
NORMS = ["trunk_norm", *(f"image_norm{i}" for i in range(3)), *(f"table_norm{i}" for i in range(4))]
CONVS = [f"image_conv{i}" for i in range(4)]
OURS = {"dense": DENSE, "batch_normalization": NORMS, "conv2d": CONVS, "conv2d_transpose": CONVS,
        "OutputImage": ["image_output"], "OutputTableData": ["table_output"]}  # fmt: skip


def our_name(theirs: str) -> str:
    """Return our name of a variable of the original's."""
    layer, variable = theirs.split("/")
    match = re.fullmatch(r"(.+?)(?:_(\d+))?", layer)
    assert match
    return f"{OURS[match[1]][int(match[2] or 0)]}/{variable}"


@pytest.fixture(scope="module", params=FILES, ids=lambda path: path.stem)
def golden(request: pytest.FixtureRequest) -> Golden:
    keras.backend.clear_session()
    return Golden(request.param)


def close(ours: tf.Tensor, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=1e-4, atol=1e-5)


def test_numbers_of_parameters(golden: Golden) -> None:
    assert golden.generator.count_params() == golden.meta["generator_params"]
    assert golden.discriminator.count_params() == golden.meta["discriminator_params"]
    norm = golden.generator.trunk_norm
    assert (norm.epsilon, norm.momentum) == (golden.meta["bn_epsilon"], golden.meta["bn_momentum"])


def test_pairs_match(golden: Golden) -> None:
    images, rows = golden.generator(golden.arrays["noise"])
    close(images[:, ::8, ::8], golden.arrays["G_image_every_8th"])
    np.testing.assert_allclose(
        tf.reduce_sum(images, axis=(1, 2, 3)), golden.arrays["G_image_sum"], rtol=1e-4, atol=0.05
    )
    close(rows, golden.arrays["G_table"])


def test_pairs_match_with_the_statistics_of_the_batch(golden: Golden) -> None:
    before = [variable.numpy() for variable in golden.generator.trunk_norm.non_trainable_variables]
    images, rows = golden.generator(golden.arrays["noise"], training=True)
    close(images[:, ::8, ::8], golden.arrays["G_image_training_every_8th"])
    # The first table layer sums 160,000 terms to means 50 times their spread over the batch, which is then divided by
    # that spread: float32 keeps three digits. So both are held against float64, and ours must be as near as theirs.
    exact, theirs = rows_in_float64(golden), golden.arrays["G_table_training"]
    np.testing.assert_allclose(theirs, exact, rtol=0, atol=2e-3)
    np.testing.assert_allclose(rows, exact, rtol=0, atol=2e-3)
    assert np.ptp(exact, axis=0).max() > 0.1
    after = [variable.numpy() for variable in golden.generator.trunk_norm.non_trainable_variables]
    assert not np.array_equal(before[0], after[0])
    for variable, values in zip(golden.generator.trunk_norm.non_trainable_variables, before, strict=True):
        variable.assign(values)


def rows_in_float64(golden: Golden) -> np.ndarray:
    """Compute the generator's rows in training by the published formulas, in double precision."""
    values = {name: variable.numpy().astype(np.float64) for name, variable in named_variables(golden.generator).items()}

    def normalise(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + golden.meta["bn_epsilon"])
        x = x * values[f"{name}/gamma"] + values[f"{name}/beta"]
        return np.where(x > 0, x, golden.meta["leaky_relu_slope"] * x)

    x = normalise(golden.arrays["noise"].astype(np.float64) @ values["trunk/kernel"], "trunk_norm")
    for i in range(4):
        x = normalise(x @ values[f"table_dense{i}/kernel"] + values[f"table_dense{i}/bias"], f"table_norm{i}")
    return 1 / (1 + np.exp(-(x @ values["table_output/kernel"] + values["table_output/bias"])))


def test_logits_match(golden: Golden) -> None:
    images = golden.arrays["D_images"].astype(np.float32)
    close(golden.discriminator(images, golden.arrays["D_table"]), golden.arrays["D_logits"])


def test_losses_match(golden: Golden) -> None:
    scores = iter([golden.arrays["loss_real_logits"], golden.arrays["loss_fake_logits"]])
    pair = np.zeros((1, 8, 8, 1), np.float32), np.zeros((1, 1), np.float32)
    of_discriminator, of_generator = JointLoss().both(
        lambda *_, **__: pair, lambda *_, **__: tf.constant(next(scores)), *pair, np.zeros((1, 1)), None
    )
    close(of_discriminator.total, golden.arrays["loss_D"])
    close(of_generator.total, golden.arrays["loss_G"])
