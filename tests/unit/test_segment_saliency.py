"""Saliency maps of classifier_segment and the loss that trains through them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from classifier_segment.losses import CEntIoU, loss_gradients, soft_overlap
from classifier_segment.saliency import METHODS, SaliencyNetwork, maps_one_by_one
from medsynth.errors import UsageError
from tests.tiny_segment import DESIGNS, tiny_classifier

SIZE = (32, 32)
LABELS = np.array([0, 2, 1, 1])


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(3)
    images = rng.normal(size=(len(LABELS), *SIZE, 3)).astype(np.float32)
    return images, (rng.random((len(LABELS), *SIZE)) < 0.3).astype(np.float32)


def made(name="squeezenet1_0"):
    """Return a classifier whose scores are not 0 and whose maps are not empty."""
    keras.utils.set_random_seed(5)
    classifier = tiny_classifier(name)
    rng = np.random.default_rng(6)
    for weight in classifier.network.trainable_variables:
        weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    if name == "squeezenet1_0":  # its logits end in ReLU, below which there is nothing to explain
        classifier.head.get_layer("classifier.1").bias.assign([3.0, 3.0, 3.0])
    return classifier


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DESIGNS)
def test_a_batch_has_the_maps_of_its_images(name, method, batch):
    network = SaliencyNetwork(made(name))
    together = np.asarray(network(batch[0], LABELS).maps(SIZE, method))
    assert together.shape == (len(LABELS), *SIZE)
    assert (together.max(axis=(1, 2)) > 0.9).sum() >= 2, "some maps must show something"
    np.testing.assert_allclose(maps_one_by_one(network, batch[0], LABELS, SIZE, method), together, atol=1e-3)


def test_without_labels_the_predicted_class_is_explained(batch):
    classifier = made()
    found = SaliencyNetwork(classifier)(batch[0])
    predicted = np.asarray(classifier.network(batch[0])).argmax(axis=-1)
    np.testing.assert_array_equal(found.labels, predicted)
    np.testing.assert_array_equal(found.maps(SIZE), SaliencyNetwork(classifier)(batch[0], predicted).maps(SIZE))


@pytest.mark.parametrize("explains", ["logit", "log_probability"])
def test_what_is_explained_is_what_the_gradients_are_of(explains, batch):
    classifier = made("resnet_small")
    classifier.head.get_layer("logits").kernel.assign(1e-3 * classifier.head.get_layer("logits").kernel)  # unsaturated
    found = SaliencyNetwork(classifier, explains=explains)(batch[0], LABELS)
    layer = classifier.backbone.get_layer(classifier.saliency_layer)
    parts = keras.Model(classifier.backbone.input, [layer.output, classifier.backbone.output])
    with tf.GradientTape() as tape:
        activations, features = parts(batch[0], training=False)
        scores = classifier.head(features, training=False)
        values = tf.stack([scores[row, label] for row, label in enumerate(LABELS)])
        if explains == "log_probability":
            values -= tf.reduce_logsumexp(scores, axis=-1)
    expected = tape.gradient(values, activations)
    assert np.abs(expected).max() > 1e-6
    np.testing.assert_allclose(found.gradients, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_frozen_weights_have_maps_too(batch):
    classifier = made()
    expected = SaliencyNetwork(classifier)(batch[0], LABELS).maps(SIZE)
    classifier.network.trainable = False
    assert np.asarray(expected).max() > 0.9
    np.testing.assert_array_equal(SaliencyNetwork(classifier)(batch[0], LABELS).maps(SIZE), expected)


def test_dropout_is_in_the_logits_and_not_in_the_maps(batch):
    network = SaliencyNetwork(made("convnext_small"))
    passes = [network(batch[0], LABELS, training=True) for _ in range(2)]
    assert np.abs(passes[0].logits - passes[1].logits).max() > 1e-3
    np.testing.assert_array_equal(passes[0].maps(SIZE), passes[1].maps(SIZE))
    still = network(batch[0], LABELS)
    np.testing.assert_allclose(still.maps(SIZE), passes[0].maps(SIZE), atol=1e-6)
    np.testing.assert_allclose(still.logits, network(batch[0], LABELS).logits)


def test_another_layer_can_be_looked_at(batch):
    classifier = made("swin_s")
    assert classifier.map_layer != classifier.saliency_layer
    assert SaliencyNetwork(classifier, classifier.map_layer)(batch[0], LABELS).activations.shape[1] == 8


def test_an_unknown_method_is_refused(batch):
    with pytest.raises(UsageError, match=r"hirescam or grad-cam\. Received: lime"):
        SaliencyNetwork(made())(batch[0], LABELS).maps(SIZE, "lime")


def gradients_of(form, batch, classifier=None, masks=None, **options):
    classifier = classifier or made()
    weights = classifier.network.trainable_variables
    network = SaliencyNetwork(classifier)
    keras.utils.set_random_seed(8)
    step = tf.function(lambda *args: loss_gradients(network, weights, CEntIoU(form), *args, **options), autograph=False)
    return step(batch[0], LABELS, batch[1] if masks is None else masks)


def test_the_published_overlap_trains_nothing(batch):
    found = gradients_of("published", batch, norms_at="weights")
    assert 0 < float(found.terms.overlap) < 1
    assert float(found.overlap_norm) == 0
    keras.utils.set_random_seed(8)
    classifier = made()
    with tf.GradientTape() as tape:
        keras.utils.set_random_seed(8)
        logits = SaliencyNetwork(classifier)(batch[0], LABELS, training=True).logits
        loss = 0.7 * tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, logits))
    plain = tape.gradient(loss, [weight.value for weight in classifier.network.trainable_variables])
    for ours, theirs in zip(found.gradients, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.cross_entropy_norm, tf.linalg.global_norm(plain), rtol=1e-4)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_differentiable_overlap_trains(name, batch):
    found = gradients_of("differentiable", batch, made(name), norms_at="weights")
    assert float(found.cross_entropy_norm) > 1e-3
    assert float(found.overlap_norm) > 1e-3
    assert all(np.isfinite(gradient).all() for gradient in found.gradients)


def test_norms_change_no_gradient(batch):
    found = [gradients_of("differentiable", batch, norms_at=place) for place in ("layer", "weights")]
    for first, second in zip(*(result.gradients for result in found), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5)
    for norm in ("cross_entropy_norm", "overlap_norm"):
        at_layer, at_weights = (float(getattr(result, norm)) for result in found)
        assert at_layer > 1e-4
        assert at_weights > 1e-4
        assert at_layer != pytest.approx(at_weights, rel=1e-3)


@pytest.mark.parametrize("name", DESIGNS)
def test_the_overlaps_gradient_is_the_slope_of_the_overlap(name, batch):
    classifier = made(name)
    network, weight = SaliencyNetwork(classifier), classifier.network.trainable_variables[0]

    def overlap():
        return soft_overlap(network(batch[0], LABELS).maps(SIZE), batch[1])

    with tf.GradientTape() as tape:
        value = overlap()
    gradient = np.asarray(tape.gradient(value, weight.value))
    size = np.linalg.norm(gradient)
    assert size > 1e-3
    start, step = np.asarray(weight), 1e-3 * gradient / size
    weight.assign(start + step)
    above = float(overlap())
    weight.assign(start - step)
    np.testing.assert_allclose((above - float(overlap())) / 2e-3, size, rtol=0.1)


@pytest.mark.parametrize("empty", ["maps", "masks", "both"])
@pytest.mark.parametrize("form", ["published", "differentiable"])
def test_empty_maps_and_masks_give_numbers(form, empty, batch):
    classifier = made()
    if empty != "masks":  # no score, hence no evidence
        last = classifier.head.get_layer("classifier.1")
        last.set_weights([np.zeros(last.kernel.shape), -np.ones(last.bias.shape)])
    masks = batch[1] if empty == "maps" else np.zeros_like(batch[1])
    found = gradients_of(form, batch, classifier, masks)
    assert float(found.terms.overlap) == 0
    assert np.isfinite([found.terms.loss, found.overlap_norm, found.cross_entropy_norm]).all()
    assert all(np.isfinite(gradient).all() for gradient in found.gradients)


def test_the_soft_overlap_by_hand():
    maps = np.float32([[[1, 0.5], [0, 0]], [[1, 1], [1, 1]], [[0.2, 0], [0, 0]]])
    masks = np.float32([[[1, 1], [0, 0]], [[1, 0], [0, 0]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(soft_overlap(maps, masks), (1.5 / 2 + 1 / 4) / 2, rtol=1e-6)
