"""CEntIoU and the learning rates of classifier_segment against recorded numbers."""

import re

import keras
import numpy as np
import pytest

from classifier_segment.losses import CEntIoU, published_overlap
from classifier_segment.schedules import CosineSchedule, CyclingAdam, OneCycleBeta, OneCycleSchedule
from tests.golden_files import golden_files

FILES = golden_files("classifier_segment*.npz")
ONE_CYCLE = r"lr/one_cycle_max([\d.e-]+)_epochs(\d+)_steps(\d+)"
COSINE = r"lr/cosine_tmax(\d+)_lr([\d.e-]+)_etamin([\d.e-]+)_per_step"


def read(path):
    with np.load(path) as data:
        return {name: data[name] for name in data.files}


def recorded_series(path, pattern):
    """Return the numbers in a series' name, and the series."""
    (found,) = ((match, values) for name, values in read(path).items() if (match := re.fullmatch(pattern, name)))
    match, values = found
    return [float(text) for text in match.groups()], values


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_published_loss_is_the_recorded_one(path):
    data = read(path)
    (key,) = (name for name in data if name.startswith("centiou/loss_published_w"))
    loss = CEntIoU("published", weight=float(key.rpartition("w")[2]))
    terms = loss(data["cam/logits"], data["cam/labels"], data["cam/hirescam"], data["centiou/mask"])
    assert 0 < data["centiou/overlap_published"] < 1
    np.testing.assert_allclose(terms.overlap, data["centiou/overlap_published"], rtol=1e-4)
    np.testing.assert_allclose(terms.cross_entropy, data["centiou/cross_entropy"], rtol=1e-4)
    np.testing.assert_allclose(terms.loss, data[key], rtol=1e-4)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_cosine_swings_as_recorded(path):
    (period, start, end), expected = recorded_series(path, COSINE)
    assert len(expected) > 2 * period, "the way back is part of it"
    schedule = CosineSchedule(start, end, int(period))
    np.testing.assert_allclose([schedule(step) for step in range(len(expected))], expected, rtol=1e-5)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_one_cycle_is_as_recorded(path):
    (highest, epochs, steps), expected = recorded_series(path, ONE_CYCLE)
    assert len(expected) == epochs * steps
    schedule = OneCycleSchedule(highest, len(expected))
    # float32 rounds the last rates, highest / 250,000, of numbers as large as the highest one.
    np.testing.assert_allclose(
        [schedule(step) for step in range(len(expected))], expected, rtol=1e-5, atol=1e-7 * highest
    )
    assert float(schedule(10 * len(expected))) == float(schedule(len(expected) - 1))


def test_beta_1_falls_while_the_rate_rises():
    rates, betas = OneCycleSchedule(0.01, 70), OneCycleBeta(70)
    found = np.array([[float(rates(step)), float(betas(step))] for step in range(70)])
    assert found[:, 1].argmin() == found[:, 0].argmax() == 20
    np.testing.assert_allclose(found[[0, 20, 69], 1], [0.95, 0.85, 0.95], atol=1e-6)


def test_adam_takes_beta_1_of_the_step():
    cycle = OneCycleBeta(10)
    optimiser = CyclingAdam(cycle, learning_rate=0.1, epsilon=1e-8)
    weight = keras.Variable(np.float32([1.0]))
    gradients = np.float32([0.3, -0.2, 0.9, 0.1])
    expected, momentum, velocity = 1.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        beta_1 = float(cycle(step - 1))
        momentum = beta_1 * momentum + (1 - beta_1) * gradient
        velocity = 0.999 * velocity + 0.001 * gradient**2
        size = np.sqrt(velocity / (1 - 0.999**step))
        expected -= 0.1 * momentum / (1 - beta_1**step) / size
        optimiser.apply([keras.ops.convert_to_tensor([gradient])], [weight])
    assert len({float(cycle(step)) for step in range(4)}) == 4
    np.testing.assert_allclose(np.asarray(weight), [expected], rtol=1e-4)


@pytest.mark.parametrize("thing", [CosineSchedule(1e-3, 1e-4, 7), OneCycleSchedule(0.02, 50), OneCycleBeta(9)])
def test_schedules_are_built_again_from_their_configuration(thing):
    again = type(thing).from_config(thing.get_config())
    assert float(again(5)) == float(thing(5))
    assert float(thing(5)) != float(thing(0))


def test_the_optimiser_is_built_again_from_its_configuration():
    again = CyclingAdam.from_config(CyclingAdam(OneCycleBeta(9), learning_rate=0.5).get_config())
    assert (again.cycle.num_steps, float(again.learning_rate)) == (9, 0.5)


@pytest.mark.parametrize(
    ("maps", "expected"), [(np.zeros((2, 3, 3)), 0), (np.ones((2, 3, 3)), 1), (np.full((2, 3, 3), 0.5), 0)]
)
def test_the_published_overlap_of_extreme_maps(maps, expected):
    assert float(published_overlap(maps.astype(np.float32), np.ones((2, 3, 3), np.float32))) == expected
