"""What networks are fed with: masked, enlarged, cropped and normalised images, and the masks that fit them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from classifier_segment.models.presets import Preprocessing

# Of a segmenter's raw output, a logit, where the original cuts it.
PUBLISHED_CUT = 0.5


@dataclass(frozen=True)
class ClassifierInput:
    """From a batch's images in [0, 1] to what a backbone takes.

    Attributes:
        preprocessing: Of the backbone, for images of its size.
        resizes: Whether images are enlarged and cropped as its ImageNet weights were trained, or only normalised.
        masking: From images [N, S, S, 3] to what multiplies them, [N, S, S, 1]; None leaves them whole.
    """

    preprocessing: Preprocessing
    resizes: bool
    masking: Callable[[Any], Any] | None = None

    def images(self, images: Any) -> Any:
        """Return images [N, S, S, 3] in [0, 1] masked and normalised, [N, S, S, 3]."""
        if self.masking is not None:
            images = images * self.masking(images)
        shown = self.view(images)
        return (shown - tf.constant(self.preprocessing.mean)) / tf.constant(self.preprocessing.standard_deviation)

    def view(self, images: Any) -> Any:
        """Return the part of images [N, S, S, C] that the network sees, [N, S, S, C]; its maps lie over this."""
        if not self.resizes:
            return images
        size, crop = self.preprocessing.resize, self.preprocessing.crop
        first = round((size - crop) / 2)
        larger = tf.image.resize(images, (size, size), self.preprocessing.interpolation, antialias=True)
        return larger[:, first : first + crop, first : first + crop]

    def masks(self, masks: Any) -> Any:
        """Return masks [N, S, S, 1] as they lie over the view, [N, S, S], 0 or 1."""
        return tf.cast(self.view(masks)[..., 0] > 0.5, tf.float32)


def masking_by(segmenter: keras.Model, output: str) -> Callable[[Any], Any]:
    """Return what masks images by a trained segmenter's output.

    Args:
        segmenter: Images [N, S, S, 3] in [0, 1] -> logits [N, S, S, 1].
        output: `soft`, the logit as published (it may be negative); `hard`, 1 where it is above 0.5 as published;
            or `probability`, its sigmoid.
    """
    forms: dict[str, Callable[[Any], Any]] = {
        "soft": lambda logits: logits,
        "hard": lambda logits: tf.cast(logits > PUBLISHED_CUT, tf.float32),
        "probability": tf.sigmoid,
    }
    form = forms[output]
    return lambda images: form(tf.cast(segmenter(images, training=False), tf.float32))


def segmentation_cut(kind: str, output: str) -> float:
    """Return the logit above which a pixel counts as lesion in published segmentation metrics.

    Args:
        kind: fcn or deeplab.
        output: sgm_type. Published are 0 for FCN with soft, and 0.5 for FCN with hard and for DeepLab; `probability`
            takes 0, a probability of one half, for both.
    """
    is_cut_at_half = output == "hard" or (kind == "deeplab" and output == "soft")
    return PUBLISHED_CUT if is_cut_at_half else 0.0
