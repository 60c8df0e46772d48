"""The training schedule and the fading of real images against numbers recorded from the original."""

import json
import math

import numpy as np
import pytest
import tensorflow as tf

from medsynth.gan.schedule import ScheduleConfig, schedule_at
from medsynth.gan.steps import prepare_reals
from tests.golden_files import golden_files

PRESETS = [
    pytest.param(preset, id=f"{path.stem}-{name}")
    for path in golden_files("training_schedule*.json")
    for name, preset in json.loads(path.read_text()).items()
]


def config_of(preset: dict) -> ScheduleConfig:
    settings = preset["sched"]
    known = {
        "minibatch_base": "minibatch_base",
        "lod_initial_resolution": "initial_resolution",
        "lod_training_kimg": "training_kimg",
        "lod_transition_kimg": "transition_kimg",
        "minibatch_dict": "minibatch_by_resolution",
        "max_minibatch_per_gpu": "max_minibatch_per_gpu",
        "G_lrate_base": "generator_learning_rate",
        "G_lrate_dict": "generator_learning_rate_by_resolution",
        "D_lrate_dict": "discriminator_learning_rate_by_resolution",
        "D_lrate_base": "discriminator_learning_rate",
    }
    assert set(settings) <= set(known), "the file has a setting that this test does not pass on"
    values = {
        known[key]: {int(k): v for k, v in value.items()} if isinstance(value, dict) else value
        for key, value in settings.items()
    }
    return ScheduleConfig(num_gpus=preset["num_gpus"], **values)


@pytest.mark.parametrize("preset", PRESETS)
def test_schedule_matches(preset: dict) -> None:
    config = config_of(preset)
    assert preset["rows"]
    for row in preset["rows"]:
        point = schedule_at(config, preset["final_resolution"], round(row["kimg"] * 1000))
        assert point.lod == pytest.approx(row["lod"], abs=1e-9)
        assert (point.resolution, point.minibatch) == (row["resolution"], row["minibatch"])
        assert point.generator_learning_rate == row["G_lrate"]
        assert point.discriminator_learning_rate == row["D_lrate"]
        assert point.tick_kimg == row["tick_kimg"]


@pytest.mark.parametrize("path", golden_files("process_reals*.npz"), ids=lambda path: path.stem)
def test_real_images_fade_as_recorded(path) -> None:
    arrays = np.load(path, allow_pickle=False)
    lods = [float(key.removeprefix("in/lod")) for key in arrays if key.startswith("in/lod")]
    assert any(lod % 1 for lod in lods)
    for lod in lods:
        expected = arrays[f"out/lod{lod:g}"].transpose(0, 2, 3, 1)
        images = tf.constant(arrays[f"in/lod{lod:g}"].transpose(0, 2, 3, 1))
        ours = prepare_reals(images, expected.shape[1], tf.constant(lod - math.floor(lod), tf.float32))
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
