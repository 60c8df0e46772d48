"""Attribution maps: what tf-explain computes wrong, that it is right here, and what is measured on the maps."""

import contextlib
import csv
import dataclasses
import io
import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_explain.core.grad_cam import GradCAM
from tf_explain.core.integrated_gradients import IntegratedGradients
from tf_explain.core.occlusion_sensitivity import OcclusionSensitivity
from tf_explain.core.smoothgrad import SmoothGrad
from tf_explain.utils.image import apply_grey_patch, transform_to_normalized_grayscale

from medsynth.classify.config import ExplainConfig
from medsynth.classify.explain import faithfulness, methods
from medsynth.classify.explain.explainer import Explainer, choose_cam_layer, drawn_weights, normalised, pixels
from medsynth.classify.explain.measure import Task, explain_images, read_explanation, write_explanation
from medsynth.classify.explain.table import (
    ALL_LABELS,
    probabilities,
    rows_for_csv,
    rows_for_json,
    rows_for_reading,
    table_rows,
)
from medsynth.errors import UsageError
from medsynth.networks.densenet import HEAD_NAME
from medsynth.networks.saliency import grad_cam, hires_cam

D, LABELS, LAYER = 16, 3, "pool2_relu"
CONFIG = ExplainConfig(
    batchsize_xplain=4, occlusion_patch=4, smoothgrad_samples=6, integrated_gradients_points=65, faithfulness_steps=8
)


def small_classifier(seed: int = 1) -> keras.Model:
    """Two convolutions and a dense layer behind an uneven pooling: quick, and not linear behind its first map."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    images = keras.Input((D, D, 3))
    first = layers.Conv2D(6, 3, padding="same", activation="relu", name=LAYER)(images)
    second = layers.Conv2D(8, 3, 2, padding="same", activation="softplus", name="relu")(first)
    features = layers.GlobalAveragePooling2D()(second)
    return keras.Model(images, layers.Dense(LABELS, "sigmoid", name=HEAD_NAME)(features))


@pytest.fixture(scope="module")
def classifier():
    return small_classifier()


@pytest.fixture(scope="module")
def explainer(classifier):
    return Explainer(classifier, CONFIG, LAYER)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(2).uniform(0, 255, (D, D, 3)).astype(np.float32)


def logit(probabilities):
    values = np.asarray(probabilities, np.float64)
    return np.log(values / (1 - values))


def logits_by_hand(classifier, images):
    return logit(classifier(normalised(images), training=False))


def gradients_by_hand(classifier, images, label):
    """The gradient of the logit, from that of the probability: dp/dx = p (1 - p) dz/dx."""
    watched = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        deviation, mean = np.float32([0.229, 0.224, 0.225]), np.float32([0.485, 0.456, 0.406])
        probabilities = classifier((watched / 255 - mean) / deviation, training=False)[:, label]
    slope = probabilities * (1 - probabilities)
    return (tape.gradient(probabilities, watched) / slope[:, None, None, None]).numpy()


# --- the maps


def test_logits_and_probabilities_are_the_classifiers(classifier, explainer, image):
    images = np.stack([image, image[::-1], image * 0, image / 2, image[:, ::-1]])
    assert len(images) % CONFIG.batchsize_xplain, "one batch is filled up"
    np.testing.assert_allclose(explainer.logits(images), logits_by_hand(classifier, images), atol=1e-5)
    expected = classifier(normalised(images), training=False)[:, 1]
    np.testing.assert_allclose(explainer.probabilities(images, 1), expected, atol=1e-6)
    np.testing.assert_allclose(pixels(normalised(images)), images, atol=1e-4)


def cam_parts(classifier, image, label):
    both = keras.Model(classifier.input, [classifier.get_layer(LAYER).output, classifier.output])
    with tf.GradientTape() as tape:
        activations, probabilities = both(normalised(image[None]))
        scores = probabilities[:, label]
    return activations, tape.gradient(scores, activations)


@pytest.mark.parametrize(("name", "formula"), [("grad_cam", grad_cam), ("hires_cam", hires_cam)])
def test_class_activation_maps_are_those_of_the_formula(classifier, explainer, image, name, formula):
    expected = formula(*cam_parts(classifier, image, 2), (D, D))[0]
    np.testing.assert_allclose(explainer.map_of(name, image, 2), expected, atol=1e-4)
    assert np.ptp(expected) > 0.9


@pytest.mark.filterwarnings("ignore:The structure of `inputs`:UserWarning")
def test_grad_cam_of_tf_explain_guides_gradients_unless_told_and_lacks_the_relu(classifier, image):
    activations, gradients = cam_parts(classifier, image, 2)
    as_is = GradCAM.get_gradients_and_filters(classifier, normalised(image[None]), LAYER, 2, False)
    np.testing.assert_allclose(as_is[1], gradients, atol=1e-7)
    guided = GradCAM.get_gradients_and_filters(classifier, normalised(image[None]), LAYER, 2, True)
    assert np.min(gradients) < 0 <= np.min(guided[1])
    assert np.min(GradCAM.generate_ponderated_output(activations, gradients)) < 0
    with pytest.raises(AttributeError, match="output_shape"):
        GradCAM().explain((normalised(image[None]), None), classifier, 2)


def test_a_saturated_sigmoid_has_a_map_here_and_none_in_tf_explain(image):
    classifier = small_classifier()
    kernel, bias = classifier.get_layer(HEAD_NAME).get_weights()
    classifier.get_layer(HEAD_NAME).set_weights([kernel, bias + 100])
    assert classifier(normalised(image[None])).numpy()[0, 0] == 1
    on_probabilities = IntegratedGradients.get_integrated_gradients(normalised(image[None]), classifier, 0, 1)
    assert not np.any(on_probabilities)
    explainer = Explainer(classifier, CONFIG, LAYER)
    for name in ("hires_cam", "integrated_gradients"):
        assert np.ptp(explainer.map_of(name, image, 0)) > 0


def test_occlusion_is_the_fall_of_the_logit_behind_each_grey_patch(classifier, explainer, image):
    side = D // CONFIG.occlusion_patch
    occluded = np.repeat(image[None], side * side, axis=0)
    for number in range(side * side):
        row, column = (CONFIG.occlusion_patch * place for place in divmod(number, side))
        occluded[number, row : row + CONFIG.occlusion_patch, column : column + CONFIG.occlusion_patch] = 127.5
    falls = (logits_by_hand(classifier, image[None]) - logits_by_hand(classifier, occluded))[:, 1].reshape(side, side)
    expected = tf.image.resize(falls[..., None], (D, D))[..., 0]
    np.testing.assert_allclose(explainer.map_of("occlusion", image, 1), expected, atol=1e-4)
    assert np.ptp(falls) > 1e-3


def test_the_patch_of_tf_explain_is_no_grey_for_normalised_images(image):
    patched = apply_grey_patch(normalised(image), 0, 0, 4)
    assert patched[0, 0, 0] == 127.5 > 10 * np.abs(normalised(image)).max()


@pytest.mark.parametrize(("side", "is_shifted"), [(8, False), (6, True)])
def test_a_patch_that_does_not_divide_the_image_shifts_the_map_of_tf_explain(side, is_shifted):
    """Hence such a patch is refused: `medsynth.classify.explain.command.require_dividing_patch`."""
    network = SimpleNamespace(predict=lambda images, batch_size: (images[:, :1, 3, 0] > 200).astype(float))
    found = OcclusionSensitivity().get_sensitivity_map(network, np.full((side, side, 3), 255, np.float32), 0, 4)
    # Columns 0 to 3 lie behind the patch that matters, so each of them should have more than half of it.
    assert (found[0, 3] < 0.5 * found[0, 0]) == is_shifted


def test_smooth_grad_is_the_mean_gradient_of_the_noisy_copies(classifier, explainer, image):
    before = np.random.get_state()[1].copy()
    found = explainer.map_of("smooth_grad", image, 1, seed=7)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    noise = np.random.RandomState(7).normal(
        0, CONFIG.smoothgrad_noise * np.ptp(image), (CONFIG.smoothgrad_samples, D, D, 3)
    )
    gradients = gradients_by_hand(classifier, image + noise.astype(np.float32), 1)
    expected = np.abs(gradients.mean(axis=0)).sum(axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.max())
    np.testing.assert_array_equal(explainer.map_of("smooth_grad", image, 1, seed=7), found)
    assert np.any(explainer.map_of("smooth_grad", image, 1, seed=8) != found)


def test_another_labels_head_moves_smooth_grad_of_tf_explain_and_not_ours(image):
    """With one output per label, classes do not compete; tf-explain divides by the sum of all probabilities."""
    first, second = small_classifier(), small_classifier()
    kernel, bias = second.get_layer(HEAD_NAME).get_weights()
    kernel[:, 2] += 5
    second.get_layer(HEAD_NAME).set_weights([kernel, bias])
    theirs = [np.asarray(SmoothGrad.get_averaged_gradients(normalised(image[None]), one, 0, 1)) for one in
              (first, second)]  # fmt: skip
    ours = [Explainer(one, CONFIG, LAYER).map_of("smooth_grad", image, 0) for one in (first, second)]
    assert np.abs(theirs[0] - theirs[1]).max() > 0.1 * np.abs(theirs[0]).max()
    np.testing.assert_allclose(ours[0], ours[1], rtol=1e-4)


def test_integrated_gradients_follow_the_trapezoidal_rule(classifier, image):
    coarse = Explainer(classifier, dataclasses.replace(CONFIG, integrated_gradients_points=3), LAYER)
    start, middle, end = gradients_by_hand(classifier, np.stack([image * 0, image / 2, image]), 1)
    expected = ((start / 4 + middle / 2 + end / 4) * image).sum(axis=-1)
    assert np.abs(start - end).max() > 0.05 * np.abs(end).max()
    found = coarse.map_of("integrated_gradients", image, 1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("label", range(LABELS))
def test_integrated_gradients_add_up_to_the_difference_of_the_logits(classifier, explainer, image, label):
    """Sundararajan et al. 2017, proposition 1."""
    found = explainer.map_of("integrated_gradients", image, label)
    top, bottom = logits_by_hand(classifier, np.stack([image, image * 0]))[:, label]
    assert abs(top - bottom) > 0.05
    np.testing.assert_allclose(found.sum(), top - bottom, rtol=0.01)
    gap = abs(found.sum() - (top - bottom)) / abs(top - bottom)
    assert explainer.completeness_gap(image, label, found) == pytest.approx(gap, abs=1e-4)
    assert explainer.completeness_gap(image, label, found * 1.5) == pytest.approx(0.5, abs=0.03)


def test_integrated_gradients_of_tf_explain_do_not_add_up(classifier, image):
    image = normalised(image)
    path = np.asarray(IntegratedGradients.generate_linear_path(np.zeros_like(image), image, 65), np.float32)
    theirs = np.asarray(IntegratedGradients.get_integrated_gradients(path, classifier, 1, 65))[0]
    top, bottom = classifier(np.stack([image, image * 0])).numpy()[:, 1]
    assert abs(theirs.sum() - (top - bottom)) > 0.1 * abs(top - bottom)
    # With the factor that is missing they do, but for the ends.
    assert (theirs * image).sum() == pytest.approx(top - bottom, rel=0.05)


def test_pictures_of_tf_explain_depend_on_the_batch_and_lose_their_order(classifier, image):
    alone = IntegratedGradients().explain((normalised(image[None]), None), classifier, 1, 5)
    beside = np.stack([normalised(image), 20 * normalised(image[::-1])])
    together = IntegratedGradients().explain((beside, None), classifier, 1, 5)[:D, :D]
    assert alone.dtype == np.uint8
    assert np.any(alone != together)
    ramp = np.linspace(0, 1, D * D, dtype=np.float32).reshape(1, D, D, 1)
    drawn = np.asarray(transform_to_normalized_grayscale(ramp)).ravel()
    assert not np.all(np.diff(drawn[::D].astype(int)) > 0), "a rising ramp does not rise"


@pytest.mark.parametrize("name", methods.METHODS)
def test_weights_drawn_anew_change_every_map_and_come_back(explainer, image, name):
    trained = explainer.map_of(name, image, 0, 3)
    with explainer.random_weights(5):
        drawn = explainer.map_of(name, image, 0, 3)
    with pytest.raises(KeyError), explainer.random_weights(5):
        raise KeyError
    assert faithfulness.rank_correlation(trained, drawn) < 0.99
    np.testing.assert_array_equal(explainer.map_of(name, image, 0, 3), trained)


def test_drawn_weights_are_a_fresh_networks(classifier):
    first, again, other = (drawn_weights(classifier, seed) for seed in (1, 1, 2))
    for variable, a, b, c in zip(classifier.weights, first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == tuple(variable.shape)
        if variable.path.endswith("kernel"):
            assert np.any(a != c)
            *window, num_in, num_out = a.shape
            assert 0 < np.abs(a).max() <= math.sqrt(6 / (math.prod(window) * (num_in + num_out)))
        else:
            assert not np.any(a)
    normal = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    assert [float(weight[0]) for weight in drawn_weights(normal, 1)] == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ((7, 14, 28, 56), "relu"),
        ((2, 4, 8, 16), "pool3_relu"),
        ((1, 2, 4, 8), "pool2_relu"),
        ((1, 1, 1, 1), "pool2_relu"),
    ],
)
def test_the_layer_of_the_maps_has_seven_places_or_more(places, expected):
    class Layers:
        def get_layer(self, name):
            side = dict(zip(("relu", "pool4_relu", "pool3_relu", "pool2_relu"), places, strict=True))[name]
            return type("Layer", (), {"output": np.zeros((1, side, side, 4))})

    assert choose_cam_layer(Layers(), "auto") == expected
    assert choose_cam_layer(Layers(), "pool4_relu") == "pool4_relu"


# --- deletion and insertion


def rng():
    return np.random.default_rng(0)


def test_the_most_important_pixels_come_first_and_ties_at_random():
    values = np.float32([[0, 3, 0], [0, 1, 0], [2, 0, 0]])
    order = faithfulness.removal_order(values, rng())
    assert list(order[:3]) == [1, 6, 4]
    assert sorted(order) == list(range(9))
    others = [list(faithfulness.removal_order(values, np.random.default_rng(seed))[3:]) for seed in range(4)]
    assert any(one != sorted(one) for one in others)


def test_pixels_are_replaced_in_equal_steps_up_to_all():
    image, other = np.ones((4, 4, 2), np.float32), np.zeros((4, 4, 2), np.float32)
    steps = faithfulness.replaced(image, other, np.arange(16)[::-1], 8)
    assert steps.shape == (9, 4, 4, 2)
    assert [float(step[..., 0].sum()) for step in steps] == list(range(16, -1, -2))
    assert not steps[1][3, 2:].any()


def brightness_of_the_middle(images):
    return images[:, 4:12, 4:12].mean(axis=(1, 2, 3)) / 255


def test_a_perfect_map_beats_chance_and_chance_a_reversed_one():
    image, black = np.full((D, D, 3), 255, np.float32), np.zeros((D, D, 3), np.float32)
    right = np.zeros((D, D), np.float32)
    right[4:12, 4:12] = 1
    maps = [right, faithfulness.random_map(D, 1, rng()), -right]
    deletion = [faithfulness.area_under(faithfulness.deletion_curve(
        image, black, one, brightness_of_the_middle, 8, rng())) for one in maps]  # fmt: skip
    insertion = [faithfulness.area_under(faithfulness.insertion_curve(
        image, black, one, brightness_of_the_middle, 8, rng())) for one in maps]  # fmt: skip
    # The middle is a quarter of the image: gone after 2 of 8 steps (1, 1/2, 0, ...), or only in the last 2.
    np.testing.assert_allclose([deletion[0], deletion[2]], [1 / 8, 7 / 8])
    np.testing.assert_allclose([insertion[0], insertion[2]], [7 / 8, 1 / 8])
    np.testing.assert_allclose([deletion[1], insertion[1]], 0.5, atol=0.1)


@pytest.mark.parametrize(("cell", "limit"), [(1, 1.0), (4, 0.26)])
def test_random_maps_have_the_grain_that_was_asked_for(cell, limit):
    drawn = faithfulness.random_map(D, cell, rng())
    assert drawn.shape == (D, D)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert 0.5 * limit < np.abs(np.diff(drawn, axis=0)).max() <= limit


def test_similarities_of_maps():
    first = rng().random((D, D)).astype(np.float32)
    assert faithfulness.rank_correlation(first, 3 * first**2) == pytest.approx(1)
    assert faithfulness.rank_correlation(first, -first) == pytest.approx(-1)
    assert faithfulness.map_similarity(first, 5 * first + 2) == pytest.approx(1)
    assert faithfulness.map_similarity(first, rng().permuted(first)) < 0.5
    for function in (faithfulness.rank_correlation, faithfulness.map_similarity):
        assert math.isnan(function(first, np.zeros_like(first)))


def test_blur_keeps_the_mean_and_the_colours_apart():
    image = np.zeros((D, D, 3), np.float32)
    image[8, 8] = [0, 100, 200]
    found = faithfulness.blurred(image, 1.5)
    np.testing.assert_allclose(found.sum(axis=(0, 1)), [0, 100, 200], rtol=1e-3)
    assert found.max() < 20


# --- from maps to the table


class MiddleNetwork:
    """Scores by the middle; `grad_cam` shows that, `hires_cam` the image whatever the weights, `occlusion` nothing."""

    removed = np.zeros((D, D, 3), np.float32)

    def __init__(self):
        self.is_trained, self.num_passes = True, 0

    def map_of(self, method, image, label, seed):
        if method == "hires_cam":
            return image[..., 0]
        if method == "occlusion":
            return np.zeros((D, D), np.float32)
        middle = np.zeros((D, D), np.float32)
        middle[4:12, 4:12] = 1
        noise = np.random.default_rng(seed).random((D, D)) * 0.1
        return middle + noise if self.is_trained else np.random.default_rng(seed + 1).random((D, D))

    def probabilities(self, images, label):
        self.num_passes += len(images)
        return brightness_of_the_middle(images)

    @contextlib.contextmanager
    def random_weights(self, seed):
        self.is_trained = False
        yield
        self.is_trained = True

    def completeness_gap(self, image, label, attribution):
        return 0.25


CHOSEN = ("grad_cam", "hires_cam", "occlusion", "integrated_gradients")


def explained(label="Bright", records=(4, 5, 7, 9)):
    images = np.random.default_rng(3).uniform(100, 255, (len(records), D, D, 3)).astype(np.float32)
    task = Task(label, 0, np.array(records), CHOSEN, CONFIG)
    passes = []
    return explain_images(MiddleNetwork(), task, images, passes.append), sum(passes)


CLUSTERS = [f"patient{record // 2}" for record in range(20)]


def test_remarks_say_which_method_can_be_trusted():
    found, _ = explained(records=(4, 5, 7, 9, 11, 13, 15, 17))
    rows = {row["method"]: row for row in table_rows([found], CLUSTERS)}
    assert list(rows) == [*CHOSEN, "random_patches", "random_pixels"]
    assert rows["grad_cam"]["remark"] == ""
    for key in ("deletion_gain", "insertion_gain"):
        assert rows["grad_cam"][key].low > 0
    assert "hardly changes with random weights" in rows["hires_cam"]["remark"]
    assert rows["hires_cam"]["rank_correlation"].value == pytest.approx(1)
    assert "maps of a single value" in rows["occlusion"]["remark"]
    assert "not shown to be better than a random map" in rows["occlusion"]["remark"]
    assert rows["occlusion"]["num_empty_maps"] == 8
    assert rows["random_pixels"]["remark"] == ""
    assert math.isnan(rows["random_pixels"]["deletion_gain"].value)
    assert (rows["grad_cam"]["num_images"], rows["grad_cam"]["num_clusters"]) == (8, 7)
    np.testing.assert_array_equal(found.completeness_gap, 0.25)


def test_estimates_are_means_over_patients():
    found, _ = explained()
    curves = np.zeros_like(found.deletion)
    # Areas 0.1, 0.3, 0.6 and 0.9: the first two belong to one patient.
    curves[:, 0] = np.array([0.1, 0.3, 0.6, 0.9])[:, None]
    rows = table_rows([dataclasses.replace(found, deletion=curves, records=np.array([4, 5, 7, 9]))], CLUSTERS)
    estimate = rows[0]["deletion"]
    means = np.array([0.2, 0.6, 0.9])
    half = 4.302653 * means.std(ddof=1) / math.sqrt(3)
    assert means.mean() + half > 1, "an area is at most 1"
    np.testing.assert_allclose(
        [estimate.value, estimate.low, estimate.high], [means.mean(), max(means.mean() - half, 0), 1], rtol=1e-6
    )
    # The gain is paired: the random map scores 0 here.
    np.testing.assert_allclose(rows[0]["deletion_gain"].value, -means.mean())


def test_one_patient_has_no_interval_and_several_labels_a_common_row():
    first, second = explained("Bright", (4, 5))[0], explained("Striped", (12,))[0]
    rows = table_rows([first, second], CLUSTERS)
    assert [row["label"] for row in rows[:: len(rows) // 3]] == ["Bright", "Striped", ALL_LABELS]
    assert math.isnan(rows[0]["deletion"].low)
    assert "not shown to be better" in rows[0]["remark"]
    assert (rows[-1]["num_images"], rows[-1]["num_clusters"]) == (3, 2)
    lines = list(csv.DictReader(io.StringIO(rows_for_csv(rows))))
    assert len(lines) == len(rows)
    assert lines[0]["deletion_low"] == ""
    assert float(lines[0]["deletion"]) == rows[0]["deletion"].value
    assert rows_for_json(rows)[0]["deletion"]["low"] is None
    ends = {one.label: probabilities(one) for one in (first, second)}
    text = rows_for_reading(rows, "patients", ends)
    assert (
        f"Bright: 2 images, 1 patients; mean probability: whole {ends['Bright']['whole_image']:.3f}, grey 0.000" in text
    )
    assert "all labels: 3 images, 2 patients\n" in text
    assert "say little" not in text
    ends["Striped"]["mean_grey"] = 0.999
    assert "say little" in rows_for_reading(rows, "patients", ends)
    assert "hardly changes" in text


def test_what_is_announced_is_what_is_done():
    found, passes = explained()
    assert passes == len(found.records) * methods.passes_of_image(CHOSEN, CONFIG, D)
    again, _ = explained()
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(again, field.name))


def test_an_explanation_is_read_back_only_whole_and_for_the_same_settings(tmp_path):
    found, _ = explained()
    path, facts = tmp_path / "00-bright.npz", {"label": "Bright", "records": (4, 5), "weights": "abc"}
    assert read_explanation(path, facts) is None
    write_explanation(path, found, facts)
    again = read_explanation(path, facts)
    assert again.maps.dtype == np.float32
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(again, field.name))
    assert (again.methods, again.label) == (CHOSEN, "Bright")
    assert read_explanation(path, facts | {"weights": "abd"}) is None
    path.write_bytes(path.read_bytes()[:-200])
    assert read_explanation(path, facts) is None


def test_methods_are_named():
    assert methods.parse_methods("all") == tuple(methods.METHODS)
    assert methods.parse_methods("occlusion, grad_cam,occlusion") == ("occlusion", "grad_cam")
    for text in ("", "grad_cam,gradcam"):
        with pytest.raises(UsageError, match="hires_cam"):
            methods.parse_methods(text)


@pytest.mark.parametrize(("setting", "value"), [("occlusion_patch", 0), ("integrated_gradients_points", 1),
                                                ("random_seed", -1), ("smoothgrad_noise", 0.0)])  # fmt: skip
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(UsageError, match=setting):
        ExplainConfig(**{setting: value})
