"""Adaptive discriminator augmentation: real and synthetic images, bent in the same ways before they are judged.

With few real images a discriminator learns them by heart. It cannot when it never sees them as they
are; and as long as a fair share of images stays as it was, the generator still has to make upright,
unaltered ones to pass. How often an image is altered follows from how sure the discriminator is of
the training images.

Left out: the paper's image-space filtering, which did not help there.

Source: Karras et al. 2020, Training Generative Adversarial Networks with Limited Data,
https://arxiv.org/abs/2006.06676, sections 2 and 3, appendix B. Written from the paper.
"""

import enum
import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import tensorflow as tf

from medsynth.config import require_range
from medsynth.errors import UsageError
from medsynth.gan.transforms import bend, cut_out, move_pixels, per_image, recolour

# How strong each transform is: appendix B of the paper, images in [-1, 1].
_MAX_SHIFT = 0.125  # integer translation, share of the width
_SHIFT_DEVIATION = 0.125  # fractional translation, share of the width
_LOG2_SCALE_DEVIATION = 0.2  # isotropic and anisotropic scaling
_BRIGHTNESS_DEVIATION = 0.2
_LOG2_CONTRAST_DEVIATION = 0.5
_LOG2_SATURATION_DEVIATION = 1.0
_NOISE_DEVIATION = 0.1
_CUTOUT_SIZE = 0.5  # share of the width


@dataclass(frozen=True)
class AugmentConfig:
    """How often, and by what, images are altered before the discriminator sees them.

    The defaults are those of the paper (its "bgc"), but for `x_flip`. Where nearly all images are altered,
    the generator starts to make altered ones itself ("leaks"); the paper's limit is a probability of
    about 0.8, and one that an adaptive training holds above it hints at too few images. Most leaks
    are seen at once: a chest on its side, a negative. A leaked flip is not. It shows a heart on the
    right, which is a diagnosis, and no other transform changes the handedness of a body (reflected
    margins aside). So flips are off and quarter turns are on. Turn flips on where left and right do not
    matter, or where real images are mirrored anyway.

    Labels stay as they are. Leave out what would make a label wrong: `colour`, say, where one means a
    brightness.

    Attributes:
        mode: `off`; `fixed`, with the same probability throughout; or `adaptive`, where it follows
            the discriminator.
        probability: Of each transform for each image, in [0, 1]; where adaptive, the one to start from.
        target: What the mean sign of the real images' scores is held at, where adaptive; in [0, 1).
        speed_kimg: Thousand real images in which the probability can go from 0 to 1, where adaptive.
        interval: Steps between two adjustments, where adaptive.
        x_flip: Left to right, in half of the images that are chosen.
        quarter_turns: By 0, 90, 180 or 270 degrees.
        translation: By up to an eighth of the width, in whole pixels.
        geometry: Scaling, any rotation, stretching, and translation by fractions of pixels.
        colour: Brightness, contrast and negatives; of RGB images hue and saturation too.
        noise: Gaussian noise, of another strength in each image.
        cutout: A square of half the width, anywhere, made mid-grey.
    """

    mode: Literal["off", "fixed", "adaptive"] = "off"
    probability: float = 0.0
    target: float = 0.6
    speed_kimg: float = 500.0
    interval: int = 4
    x_flip: bool = False
    quarter_turns: bool = True
    translation: bool = True
    geometry: bool = True
    colour: bool = True
    noise: bool = False
    cutout: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise UsageError("augment.probability must be between 0 and 1.", received=self.probability)
        require_range("augment.target", self.target, 0, below=1)
        if not 0 < self.speed_kimg < math.inf:
            raise UsageError("augment.speed_kimg must be above 0.", received=self.speed_kimg)
        require_range("augment.interval", self.interval, 1)

    @property
    def transforms(self) -> tuple[str, ...]:
        """The names of the transforms that are on."""
        names = ("x_flip", "quarter_turns", "translation", "geometry", "colour", "noise", "cutout")
        return tuple(name for name in names if getattr(self, name))


def check_augment(config: AugmentConfig, num_channels: int) -> None:
    """Refuse settings that make no sense together.

    Apart from `AugmentConfig`, since `--set` applies one setting after the other.

    Args:
        config: The settings.
        num_channels: Of the images.

    Raises:
        UsageError: Names the settings and what to do.
    """
    if config.mode == "off" and config != AugmentConfig():
        changed = next(name for name, value in vars(AugmentConfig()).items() if getattr(config, name) != value)
        raise UsageError(
            f"augment.{changed} has no effect with augment.mode=off; set the mode to fixed or adaptive.",
            received=getattr(config, changed),
        )
    if config.mode == "off":
        return
    if config.mode == "fixed" and config.probability == 0:
        raise UsageError(
            "With augment.mode=fixed and augment.probability=0 no image is ever altered; "
            "set a probability, or the mode to off or adaptive.",
            received=config.probability,
        )
    if not config.transforms:
        raise UsageError(
            f"With augment.mode={config.mode} at least one transform must be on, such as augment.geometry.",
            received="all of them off",
        )
    _check_channels(config, num_channels)


def _check_channels(config: AugmentConfig, num_channels: int) -> None:
    if config.colour and num_channels not in (1, 3):
        raise UsageError("augment.colour is for images of 1 or 3 channels; set it to false.", received=num_channels)


def augment(
    images: tf.Tensor,
    probability: tf.Tensor | float,
    seed: tf.Tensor,
    config: AugmentConfig,
    *,
    first: tf.Tensor | int = 0,
    num_global: int | None = None,
) -> tf.Tensor:
    """Apply each transform that is on to each image with a probability, independently.

    A pure function, differentiable any number of times with respect to the images (it is affine in
    them). Outside of an image its reflection without the edge pixel is seen, as often as needed.
    Values may leave [-1, 1], as in the paper: clipping would cost their gradients.

    Args:
        images: float32 [N, R, R, C] in [-1, 1], R at least 2; N, R and C known.
        probability: Scalar in [0, 1]; with 0 the images come back bit for bit.
        seed: int64 [2]. All draws depend on it, so give another one to each call.
        config: Which transforms are on; its mode and probability are not looked at.
        first: Place of the first of `images` in the global batch.
        num_global: Images of the global batch. The draws are made for it, so that an image gets the
            same ones however many devices share it, and comes out the same (where bent, to
            rounding: TensorFlow's matrix products depend on the batch in their last bits). Where not
            given, `images` are all of it.

    Returns:
        float32 [N, R, R, C].

    Raises:
        UsageError: Colour transforms for images of other than 1 or 3 channels.
    """
    _check_channels(config, images.shape[-1])
    draws = _Draws(tf.cast(probability, tf.float32), seed, images.shape[0], first, num_global or images.shape[0])
    if config.x_flip or config.quarter_turns or config.translation:
        images = _moved(images, draws, config)
    if config.geometry:
        images = _bent(images, draws)
    if config.colour:
        images = _recoloured(images, draws)
    if config.noise:
        images = _noisy(images, draws)
    if config.cutout:
        images = _with_hole(images, draws)
    return images


def score_sign_mean(real_scores: tf.Tensor, fake_scores: tf.Tensor, loss_has_zero: bool) -> tf.Tensor:
    """E[sign(D(real))], the paper's r_t: 0 where nothing is learnt by heart, 1 where everything is.

    A logistic or hinge loss puts the border between real and fake at a score of 0. A Wasserstein
    loss does not: it is the same for all scores plus a constant, so the sign of one says nothing. There
    the mean real and the mean fake score are taken for the two sides, and the border for the midpoint
    between them: E[sign(D(real) - (E[D(real)] + E[D(fake)]) / 2)]. This is an adaptation of this
    suite, not the paper's. It is 0 where the scores of both kinds are spread alike and symmetrically,
    and 1 where each real score is nearer to the mean real one, so it has the ends of r_t; that a
    target of 0.6 suits it as well has not been shown.

    Args:
        real_scores: Of the real images of all of a minibatch, altered as the discriminator saw
            them, any shape.
        fake_scores: Of the synthetic ones; not looked at where the loss has a zero.
        loss_has_zero: Whether a score of 0 is the border.

    Returns:
        A float32 scalar in [-1, 1]; NaN where a score is.

    Source: Karras et al. 2020, equation 1.
    """
    real_scores, fake_scores = tf.cast(real_scores, tf.float32), tf.cast(fake_scores, tf.float32)
    border = 0.0 if loss_has_zero else (tf.reduce_mean(real_scores) + tf.reduce_mean(fake_scores)) / 2
    return tf.reduce_mean(tf.sign(real_scores - border))


def adjusted_probability(
    probability: tf.Tensor | float,
    sign_mean: tf.Tensor | float,
    num_images: tf.Tensor | int,
    config: AugmentConfig,
) -> tf.Tensor:
    """Raise the probability by a small step where the discriminator is too sure of the real images, else lower it.

    Args:
        probability: The present one, in [0, 1].
        sign_mean: Mean of `score_sign_mean` since the last adjustment.
        num_images: Real images since then; the step is num_images / (1000 * speed_kimg).
        config: The target and the speed.

    Returns:
        A float32 scalar in [0, 1]. A `sign_mean` that is NaN, as after a step that was not finite,
        leaves the probability as it was.

    Source: Karras et al. 2020, section 3.
    """
    probability = tf.convert_to_tensor(probability, tf.float32)
    direction = tf.sign(tf.convert_to_tensor(sign_mean, tf.float32) - config.target)
    step = tf.cast(num_images, tf.float32) / (1000.0 * config.speed_kimg)
    moved = tf.clip_by_value(probability + direction * step, 0.0, 1.0)
    return tf.where(tf.math.is_nan(direction), probability, moved)


class _Transform(enum.IntEnum):
    """Keeps the random streams of a call apart."""

    X_FLIP = 0
    QUARTER_TURNS = 1
    TRANSLATION = 2
    ISOTROPIC_SCALE = 3
    FIRST_ROTATION = 4
    ANISOTROPIC_SCALE = 5
    SECOND_ROTATION = 6
    FRACTIONAL_TRANSLATION = 7
    BRIGHTNESS = 8
    CONTRAST = 9
    NEGATIVE = 10
    HUE = 11
    SATURATION = 12
    NOISE = 13
    NOISE_PIXELS = 14
    CUTOUT = 15


class _Draws(NamedTuple):
    """Random numbers for all M images of the global batch, and the way to those of the N at hand.

    Parameters are worked out for all of them before `mine`: the last bits of a cosine depend on its
    place in an array.
    """

    probability: tf.Tensor
    seed: tf.Tensor
    num_images: int
    first: tf.Tensor | int
    num_global: int

    def happens(self, transform: _Transform, probability: tf.Tensor | None = None) -> tf.Tensor:
        """Return bool [M], true with the probability: never with 0, always with 1."""
        numbers = tf.random.stateless_uniform((self.num_global,), self._key(transform, 0))  # below 1
        return numbers < (self.probability if probability is None else probability)

    def uniform(self, transform: _Transform, *shape: int) -> tf.Tensor:
        """Return uniform numbers in [0, 1), [M, *shape]."""
        return tf.random.stateless_uniform((self.num_global, *shape), self._key(transform, 1))

    def normal(self, transform: _Transform, *shape: int) -> tf.Tensor:
        """Return standard normal numbers, [M, *shape]."""
        return tf.random.stateless_normal((self.num_global, *shape), self._key(transform, 1))

    def mine(self, *parameters: tf.Tensor) -> list[tf.Tensor]:
        """Return the rows of the images at hand: [M, ...] -> [N, ...]."""
        rows = [values[self.first :][: self.num_images] for values in parameters]
        return [tf.ensure_shape(values, (self.num_images, *values.shape[1:])) for values in rows]

    def _key(self, transform: _Transform, purpose: int) -> tf.Tensor:
        return tf.random.experimental.stateless_fold_in(self.seed, tf.constant(2 * transform + purpose, tf.int64))


def _moved(images: tf.Tensor, draws: _Draws, config: AugmentConfig) -> tf.Tensor:
    """Flip, turn by right angles and shift by whole pixels."""
    shifts = (2 * draws.uniform(_Transform.TRANSLATION, 2) - 1) * (_MAX_SHIFT * images.shape[1])
    turns = draws.uniform(_Transform.QUARTER_TURNS) * 4
    flips = draws.uniform(_Transform.X_FLIP) < 0.5
    has_shift = draws.happens(_Transform.TRANSLATION) & config.translation
    has_turns = draws.happens(_Transform.QUARTER_TURNS) & config.quarter_turns
    parameters = draws.mine(
        flips & draws.happens(_Transform.X_FLIP) & config.x_flip,
        tf.where(has_turns, tf.cast(turns, tf.int32), 0),
        tf.where(has_shift[:, tf.newaxis], tf.cast(tf.round(shifts), tf.int32), 0),
    )
    return move_pixels(images, *parameters)


def _bent(images: tf.Tensor, draws: _Draws) -> tf.Tensor:
    """Scale, rotate, stretch, rotate again and shift."""

    def scale(transform: _Transform) -> tf.Tensor:
        happens.append(draws.happens(transform))
        return tf.where(happens[-1], 2.0 ** (_LOG2_SCALE_DEVIATION * draws.normal(transform)), 1.0)

    def rotation(transform: _Transform) -> tf.Tensor:
        # Without a stretch between them two rotations are one: together they have the probability.
        happens.append(draws.happens(transform, 1 - tf.sqrt(1 - draws.probability)))
        angle = tf.where(happens[-1], 2 * math.pi * draws.uniform(transform), 0.0)
        return _matrices([[tf.cos(angle), -tf.sin(angle)], [tf.sin(angle), tf.cos(angle)]])

    # `bend` takes the way back, from the result to its source. Each factor has the distribution of its
    # inverse, so what is drawn is taken for the inverse.
    happens: list[tf.Tensor] = []
    first, second = rotation(_Transform.FIRST_ROTATION), rotation(_Transform.SECOND_ROTATION)
    zoom, stretch = scale(_Transform.ISOTROPIC_SCALE), scale(_Transform.ANISOTROPIC_SCALE)
    none = tf.zeros_like(zoom)
    scaling = _matrices([[zoom / stretch, none], [none, zoom * stretch]])
    happens.append(draws.happens(_Transform.FRACTIONAL_TRANSLATION))
    shifts = draws.normal(_Transform.FRACTIONAL_TRANSLATION, 2) * (_SHIFT_DEVIATION * images.shape[1])
    shifts = tf.where(happens[-1][:, tf.newaxis], shifts, 0.0)
    is_bent, matrices, shifts = draws.mine(_any(happens), first @ scaling @ second, shifts)
    return tf.where(per_image(is_bent), bend(images, matrices, shifts), images)


def _recoloured(images: tf.Tensor, draws: _Draws) -> tf.Tensor:
    """Change brightness, contrast, the sign of the luma, hue and saturation."""

    def chosen(transform: _Transform, values: tf.Tensor) -> tf.Tensor:
        happens.append(draws.happens(transform))
        return tf.where(happens[-1], values, 0.0)

    happens: list[tf.Tensor] = []
    brightness = chosen(_Transform.BRIGHTNESS, _BRIGHTNESS_DEVIATION * draws.normal(_Transform.BRIGHTNESS))
    contrast = 2 ** chosen(_Transform.CONTRAST, _LOG2_CONTRAST_DEVIATION * draws.normal(_Transform.CONTRAST))
    is_negative = chosen(_Transform.NEGATIVE, draws.uniform(_Transform.NEGATIVE)) >= 0.5
    parameters = [brightness, contrast, is_negative]
    if images.shape[-1] == 3:
        angle = chosen(_Transform.HUE, 2 * math.pi * draws.uniform(_Transform.HUE))
        log2_saturation = _LOG2_SATURATION_DEVIATION * draws.normal(_Transform.SATURATION)
        hue = tf.stack([tf.cos(angle), tf.sin(angle)], axis=1)
        parameters += [hue, 2 ** chosen(_Transform.SATURATION, log2_saturation)]
    is_recoloured, *parameters = draws.mine(_any(happens), *parameters)
    return tf.where(per_image(is_recoloured), recolour(images, *parameters), images)


def _noisy(images: tf.Tensor, draws: _Draws) -> tf.Tensor:
    """Add Gaussian noise whose deviation is drawn per image."""
    deviations = _NOISE_DEVIATION * tf.abs(draws.normal(_Transform.NOISE))
    noise = draws.normal(_Transform.NOISE_PIXELS, *images.shape[1:]) * per_image(deviations)
    is_noisy, noise = draws.mine(draws.happens(_Transform.NOISE), noise)
    return tf.where(per_image(is_noisy), images + noise, images)


def _with_hole(images: tf.Tensor, draws: _Draws) -> tf.Tensor:
    """Set a square to 0."""
    has_hole, centres = draws.mine(draws.happens(_Transform.CUTOUT), draws.uniform(_Transform.CUTOUT, 2))
    return tf.where(per_image(has_hole), cut_out(images, centres, _CUTOUT_SIZE), images)


def _matrices(rows: list[list[tf.Tensor]]) -> tf.Tensor:
    """Build matrices [M, 2, 2] of their elements [M]."""
    return tf.stack([tf.stack(row, axis=1) for row in rows], axis=1)


def _any(happens: list[tf.Tensor]) -> tf.Tensor:
    """Return where at least one of some bool [M] is true, [M]."""
    return tf.reduce_any(tf.stack(happens), axis=0)
