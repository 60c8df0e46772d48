import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from classifier_segment.inputs import ClassifierInput, masking_by, segmentation_cut
from classifier_segment.models.presets import PREPROCESSING, Preprocessing

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Resizing, crop and interpolation as torchvision documents them with its ImageNet weights (Swin's is bicubic).
DOCUMENTED = {
    "convnext_small": (230, 224, "bilinear"),
    "squeezenet1_0": (256, 224, "bilinear"),
    "vit_b_16": (256, 224, "bilinear"),
    "swin_s": (246, 224, "bicubic"),
    "densenet121": (256, 224, "bilinear"),
}
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def with_square(size: int, top: int, left: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A dark image with a bright square, and the mask of it."""
    mask = np.zeros((1, size, size, 1), np.float32)
    mask[:, top : top + side, left : left + side] = 1
    return np.repeat(0.1 + 0.8 * mask, 3, axis=3), mask


@pytest.mark.parametrize("name", DOCUMENTED)
def test_sizes_are_the_documented_ones(name: str) -> None:
    one = PREPROCESSING[name]
    assert (one.resize, one.crop, one.interpolation) == DOCUMENTED[name]
    assert (one.mean, one.standard_deviation) == (MEAN, DEVIATION)
    assert PREPROCESSING["resnet_small"].resize == PREPROCESSING["resnet_small"].crop, "it knows no ImageNet weights"


@pytest.mark.parametrize("name", DOCUMENTED)
@pytest.mark.parametrize("size", [48, 224])
def test_the_view_is_what_pil_enlarges_and_cuts_out(name: str, size: int) -> None:
    resize, crop, interpolation = DOCUMENTED[name]
    larger = round(resize * size / crop)
    assert larger > size
    picture = np.random.default_rng(1).uniform(size=(size, size)).astype(np.float32)
    expected = np.asarray(Image.fromarray(picture).resize((larger, larger), FILTERS[interpolation]))
    first = round((larger - size) / 2)
    prepare = ClassifierInput(PREPROCESSING[name].at(size), resizes=True)
    found = prepare.view(tf.constant(picture[None, ..., None])).numpy()[0, ..., 0]
    assert found.shape == (size, size)
    np.testing.assert_allclose(found, expected[first : first + size, first : first + size], atol=1e-4)


@pytest.mark.parametrize("name", PREPROCESSING)
@pytest.mark.parametrize("resizes", [True, False])
def test_a_mask_stays_on_what_it_marks(name: str, resizes: bool) -> None:
    size = 64
    prepare = ClassifierInput(PREPROCESSING[name].at(size), resizes)
    for top, left in ((8, 40), (28, 28), (44, 10)):
        image, mask = with_square(size, top, left, 12)
        shown = prepare.images(tf.constant(image)).numpy()[0]
        pixels = shown * np.float32(DEVIATION) + np.float32(MEAN)
        marked = prepare.masks(tf.constant(mask)).numpy()
        assert marked.shape == (1, size, size)
        assert set(np.unique(marked)) == {0, 1}
        np.testing.assert_array_equal(pixels[..., 0] > 0.5, marked[0] > 0)
        rows, columns = np.nonzero(marked[0])
        larger = PREPROCESSING[name].at(size).resize / size if resizes else 1
        middle = (size - 1) / 2
        assert rows.mean() == pytest.approx(middle + larger * (top + 5.5 - middle), abs=0.75)
        assert columns.mean() == pytest.approx(middle + larger * (left + 5.5 - middle), abs=0.75)


def test_normalisation_has_the_numbers_of_imagenet() -> None:
    image = np.zeros((1, 48, 48, 3), np.float32) + np.float32([0, 0.5, 1])
    for resizes in (True, False):
        prepare = ClassifierInput(PREPROCESSING["squeezenet1_0"].at(48), resizes)
        found = prepare.images(tf.constant(image)).numpy()
        assert found.dtype == np.float32
        expected = [-0.485 / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225]
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-5)


def test_without_resizing_nothing_is_lost() -> None:
    image, mask = with_square(48, 0, 0, 3)
    prepare = ClassifierInput(PREPROCESSING["squeezenet1_0"].at(48), resizes=False)
    np.testing.assert_array_equal(prepare.view(tf.constant(image)), image)
    assert prepare.masks(tf.constant(mask)).numpy().sum() == 9
    cropping = ClassifierInput(PREPROCESSING["squeezenet1_0"].at(48), resizes=True)
    assert cropping.masks(tf.constant(mask)).numpy().sum() == 0, "the crop loses its corner"


# Masks of a segmenter.


@pytest.fixture(scope="module")
def segmenter() -> keras.Model:
    """Its logit is ten times the red channel less five; dropout shows whether it runs in training."""
    images = keras.Input((None, None, 3))
    reds = keras.layers.Dropout(0.9)(images[..., :1])
    return keras.Model(images, 10 * reds - 5)


@pytest.mark.parametrize(
    ("output", "form"),
    [
        ("soft", lambda logits: logits),
        ("hard", lambda logits: logits > 0.5),
        ("probability", lambda logits: 1 / (1 + np.exp(-logits))),
    ],
)
def test_masking_multiplies_before_normalising(segmenter: keras.Model, output: str, form) -> None:
    image = np.random.default_rng(2).uniform(size=(2, 8, 8, 3)).astype(np.float32)
    image[0, 0, 0, 0] = 0.53  # a logit of 0.3, between both cuts
    logits = 10 * image[..., :1] - 5
    assert logits.min() < 0
    assert logits.max() > 0.5
    prepare = ClassifierInput(Preprocessing(8, 8), resizes=False, masking=masking_by(segmenter, output))
    expected = (image * form(logits) - np.float32(MEAN)) / np.float32(DEVIATION)
    np.testing.assert_allclose(prepare.images(tf.constant(image)), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(prepare.view(tf.constant(image)), image, "what people are shown is not masked")


def test_the_mask_moves_with_the_image_where_both_are_enlarged(segmenter: keras.Model) -> None:
    image, _ = with_square(64, 8, 40, 16)
    prepare = ClassifierInput(PREPROCESSING["squeezenet1_0"].at(64), True, masking_by(segmenter, "hard"))
    plain = ClassifierInput(PREPROCESSING["squeezenet1_0"].at(64), True)
    expected = plain.images(tf.constant(np.where(image > 0.5, image, 0)))
    np.testing.assert_allclose(prepare.images(tf.constant(image)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "output", "cut"),
    [
        ("fcn", "soft", 0.0),
        ("fcn", "hard", 0.5),
        ("fcn", "probability", 0.0),
        ("deeplab", "soft", 0.5),
        ("deeplab", "hard", 0.5),
        ("deeplab", "probability", 0.0),
    ],
)
def test_where_published_metrics_cut_the_logit(kind: str, output: str, cut: float) -> None:
    assert segmentation_cut(kind, output) == cut
