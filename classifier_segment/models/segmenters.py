"""FCN and DeepLabV3 on a dilated ResNet-50, which marks the lesion in an image.

Layers bear torchvision's names, by which `convert_weights` finds them. Like torchvision's, the ResNet halves maps in
its 3x3 convolutions (keras.applications' does it in 1x1 ones and has biases, so it is another network).

Source: He et al. 2016, https://arxiv.org/abs/1512.03385, table 1; Long et al. 2015, https://arxiv.org/abs/1411.4038;
Chen et al. 2017, "Rethinking atrous convolution", https://arxiv.org/abs/1706.05587, section 3.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from medsynth.errors import UsageError
from medsynth.networks.densenet import BatchNormalization

SEGMENTERS = ("fcn_resnet50", "deeplabv3_resnet50")
_EXPANSION = 4
_RATES = (12, 24, 36)
_LARGEST_RATE_OF_TENSORFLOW = 2  # beyond it, ours is faster
# Of torch: 0.1 there is 0.9 here.
_MOMENTUM, _EPSILON = 0.9, 1e-5


@dataclass(frozen=True)
class SegmenterSizes:
    """The published ones.

    Attributes:
        width: Channels of the first maps; the last have 32 times as many.
        depths: Bottlenecks of the four stages.
        hidden: Channels of FCN's head; those of DeepLab's are half as many.
    """

    width: int = 64
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)
    hidden: int = 512


@dataclass(frozen=True)
class Segmenter:
    """A segmenter. Both parts share their weights.

    Attributes:
        network: Images [N, D, D, 3] in [0, 1] -> logits [N, D, D, L].
        body: Images -> the maps before the last convolution, which alone depends on the number of classes.
    """

    network: keras.Model
    body: keras.Model


def build_segmenter(
    name: str, image_dimension: int, num_classes: int = 1, sizes: SegmenterSizes | None = None
) -> Segmenter:
    """Return a segmenter with weights drawn at random (seed them with keras.utils.set_random_seed).

    Args:
        name: One of `SEGMENTERS`.
        image_dimension: D; maps have an eighth of it, rounded up.
        num_classes: L.
        sizes: Other than the published ones.

    Raises:
        UsageError: No such segmenter.
    """
    if name not in SEGMENTERS:
        raise UsageError(f"The segmenters are {', '.join(SEGMENTERS)}.", received=name)
    sizes = sizes or SegmenterSizes()
    images = keras.Input((image_dimension, image_dimension, 3), name="images")
    x = _resnet(images, sizes)
    x = _fcn_head(x, sizes.hidden) if name == SEGMENTERS[0] else _deeplab_head(x, sizes.hidden // 2)
    body = keras.Model(images, x, name=f"{name}_body")
    x = keras.layers.Conv2D(num_classes, 1, name="classifier.4", dtype="float32")(x)
    logits = _resized(x, image_dimension, "logits")
    return Segmenter(network=keras.Model(images, logits, name=name), body=body)


def _resnet(x: Any, sizes: SegmenterSizes) -> Any:
    """Return maps [N, D / 8, D / 8, 32 * width]: the last two stages dilate instead of halving."""
    x = _conv(x, sizes.width, 7, "backbone.conv1", "backbone.bn1", strides=2)
    x = keras.layers.ZeroPadding2D(1, name="backbone.pad")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="backbone.maxpool")(x)
    # The first bottleneck of a stage has the dilation of the stage before.
    plans = ((1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4))
    for stage, (depth, (strides, first, others)) in enumerate(zip(sizes.depths, plans, strict=True)):
        for number in range(depth):
            name = f"backbone.layer{stage + 1}.{number}"
            place = (1, others) if number else (strides, first)
            x = _bottleneck(x, sizes.width << stage, name, *place)
    return x


def _bottleneck(x: Any, width: int, name: str, strides: int, dilation: int) -> Any:
    y = _conv(x, width, 1, f"{name}.conv1", f"{name}.bn1")
    y = _conv(y, width, 3, f"{name}.conv2", f"{name}.bn2", strides=strides, dilation=dilation)
    y = _conv(y, _EXPANSION * width, 1, f"{name}.conv3", f"{name}.bn3", activation=None)
    if x.shape[-1] != y.shape[-1] or strides > 1:
        names = (f"{name}.downsample.0", f"{name}.downsample.1")
        x = _conv(x, _EXPANSION * width, 1, *names, strides=strides, activation=None)
    return keras.layers.ReLU(name=f"{name}.relu")(x + y)


def _fcn_head(x: Any, hidden: int) -> Any:
    x = _conv(x, hidden, 3, "classifier.0", "classifier.1")
    return keras.layers.Dropout(0.1, name="classifier.3")(x)


def _deeplab_head(x: Any, hidden: int) -> Any:
    name = "classifier.0.convs"
    branches = [_conv(x, hidden, 1, f"{name}.0.0", f"{name}.0.1")]
    for number, rate in enumerate(_RATES, start=1):
        branches.append(_conv(x, hidden, 3, f"{name}.{number}.0", f"{name}.{number}.1", dilation=rate))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.4.0")(x)
    mean = _conv(mean, hidden, 1, f"{name}.4.1", f"{name}.4.2")
    # One value for all places.
    branches.append(keras.layers.UpSampling2D(x.shape[1:3], name=f"{name}.4.3")(mean))
    x = keras.layers.Concatenate(name="classifier.0")(branches)
    x = _conv(x, hidden, 1, "classifier.0.project.0", "classifier.0.project.1")
    x = keras.layers.Dropout(0.5, name="classifier.0.project.3")(x)
    return _conv(x, hidden, 3, "classifier.1", "classifier.2")


@keras.saving.register_keras_serializable("classifier_segment")
class AtrousConv2D(keras.layers.Conv2D):
    """Keras' convolution with a dilation, as a sum of matrix products, one for each tap that meets the maps.

    TensorFlow cuts maps into rate x rate interleaved ones and pads each: with DeepLab's rates of 12 to 36 on maps of 12
    to 28 places, nearly all of that is padding. Of such a kernel often the middle tap alone meets the maps.
    """

    def call(self, inputs: Any) -> Any:
        """Convolve [N, h, w, C] with padding `same` and without strides or bias."""
        (height, width), rate = inputs.shape[1:3], self.dilation_rate[0]
        kernel = ops.cast(self.kernel, inputs.dtype)
        total = None
        for row, column in itertools.product(range(self.kernel_size[0]), range(self.kernel_size[1])):
            down, right = rate * (row - self.kernel_size[0] // 2), rate * (column - self.kernel_size[1] // 2)
            if abs(down) >= height or abs(right) >= width:
                continue
            seen = inputs[:, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
            edges = [(0, 0), (max(0, -down), max(0, down)), (max(0, -right), max(0, right)), (0, 0)]
            part = ops.pad(ops.matmul(seen, kernel[row, column]), edges)
            total = part if total is None else total + part
        return total


def _conv(
    x: Any,
    filters: int,
    size: int,
    name: str,
    norm: str,
    *,
    strides: int = 1,
    dilation: int = 1,
    activation: Any = "relu",
) -> Any:
    """Return convolution without bias, batch normalisation, ReLU; padded alike on all sides, as torch pads."""
    if strides > 1 and size > 1:
        x = keras.layers.ZeroPadding2D(size // 2, name=f"{name}.pad")(x)
    padding = "valid" if strides > 1 else "same"
    kind = AtrousConv2D if dilation > _LARGEST_RATE_OF_TENSORFLOW else keras.layers.Conv2D
    x = kind(
        filters,
        size,
        strides,
        padding,
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    x = BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name=norm)(x)
    return keras.layers.Activation(activation, name=f"{norm}.{activation}")(x) if activation else x


def _resized(x: Any, image_dimension: int, name: str) -> Any:
    resize = keras.layers.Resizing(image_dimension, image_dimension, "bilinear", name=name, dtype="float32")
    return resize(x)
