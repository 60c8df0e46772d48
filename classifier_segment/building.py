"""Networks, optimisers and tasks of a run, from its settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from classifier_segment.data import Augmentation, DataSettings, SegmentData
from classifier_segment.inputs import ClassifierInput, masking_by
from classifier_segment.losses import CEntIoU
from classifier_segment.models.classifier import DESIGNS, Classifier, build_classifier
from classifier_segment.models.pretrained import IMAGENET, KERAS_NAMES, PUBLISHED_NAMES, load_pretrained
from classifier_segment.models.segmenters import SEGMENTERS, Segmenter, SegmenterSizes, build_segmenter
from classifier_segment.runs import BEST_WEIGHTS, Run, open_run
from classifier_segment.saliency import SaliencyNetwork
from classifier_segment.schedules import CosineSchedule, CyclingAdam, OneCycleBeta, OneCycleSchedule
from classifier_segment.settings import SEGMENTATION, Settings
from classifier_segment.tasks import CrossEntropyTask, SaliencyTask, SegmentationTask, Task
from medsynth.errors import UsageError
from medsynth.networks.weights import load_weights
from medsynth.training.precision import Precision, dtype_policy

_EPSILON = 1e-8  # torch's default
_FEWEST_STEPS = 4  # of a one-cycle rate
_SEGMENTERS = dict(zip(("fcn", "deeplab"), SEGMENTERS, strict=True))  # as model_seg calls them
# FCN's hidden maps are eight times as wide as its first ones.
_HIDDEN_FACTOR = 8


@dataclass(frozen=True)
class ClassifierParts:
    """A classifier as it is trained and tested.

    Attributes:
        network: Normalised images -> logits.
        saliency: The same with a look at the layer that the training takes its maps of.
        pictures: Likewise at the layer of the published pictures of maps.
        prepare: From images in [0, 1] to normalised ones.
    """

    network: keras.Model
    saliency: SaliencyNetwork
    pictures: SaliencyNetwork
    prepare: ClassifierInput


def choose_device(accelerator: str) -> None:
    """Hide or require GPUs; to be called before anything else of TensorFlow runs.

    Raises:
        UsageError: gpu, and there is none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if accelerator == "cpu" and tf.config.get_visible_devices("GPU"):
        tf.config.set_visible_devices([], "GPU")
    elif accelerator == "gpu" and not gpus:
        raise UsageError(
            "TensorFlow sees no GPU here; train.accelerator=auto takes what there is.", received="train.accelerator=gpu"
        )


def data_settings(settings: Settings) -> DataSettings:
    """Return how the data of a run is read."""
    data = settings.data
    return DataSettings(
        image_size=data.resize,
        outlines=data.outlines,
        unannotated=data.unannotated,
        image_folder=data.images,
        memory_limit=int(data.memory_gib * 2**30),
        num_threads=data.num_threads,
    )


def augmentation_of(settings: Settings) -> Augmentation | None:
    """Return what is done to training images, or None."""
    return Augmentation(fills_black=settings.fills_black) if settings.data.augment else None


def backbone_of(settings: Settings) -> tuple[str, str | None]:
    """Return the backbone's name and where its weights come from: a file, `imagenet`, or None for random ones.

    Raises:
        UsageError: No such backbone, or ImageNet weights that only torchvision has, without a file of them.
    """
    given = settings.model.weights
    name = PUBLISHED_NAMES.get(given, given)
    if name not in DESIGNS:
        raise UsageError(
            f"model.weights is one of {', '.join(PUBLISHED_NAMES)}; or, for random weights, one of "
            f"{', '.join(DESIGNS)}.",
            received=given,
        )
    if settings.model.pretrained is not None or given not in PUBLISHED_NAMES:
        return name, settings.model.pretrained
    if name not in KERAS_NAMES:
        raise UsageError(
            f"The ImageNet weights of {name} are torchvision's: give model.pretrained=FILE.safetensors with its state "
            f"dictionary; or train from random weights with model.weights={name}.",
            received=given,
        )
    return name, IMAGENET


def require_classes(settings: Settings, data: SegmentData) -> None:
    """Refuse data of another number of classes than the settings say.

    Raises:
        UsageError: Names both.
    """
    found = len(data.class_names)
    if settings.kind != SEGMENTATION and found != settings.model.num_classes:
        raise UsageError(
            f"{data.coco.path} has {found} classes ({', '.join(data.class_names)}): model.num_classes={found}.",
            received=settings.model.num_classes,
        )


def _classifier(settings: Settings) -> Classifier:
    name, _ = backbone_of(settings)
    with _number_format(settings.train.precision):
        return build_classifier(name, settings.model.num_classes, image_dimension=settings.data.resize)


def _segmenter(settings: Settings) -> Segmenter:
    width = settings.segmenter.width
    sizes = SegmenterSizes(width=width, hidden=_HIDDEN_FACTOR * width)
    with _number_format(settings.train.precision):
        return build_segmenter(_SEGMENTERS[settings.model_seg], settings.data.resize, sizes=sizes)


@contextmanager
def _number_format(precision: Precision) -> Iterator[None]:
    """Build networks in a number format, and leave Keras' default as it was."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype_policy(precision))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def masking_of(settings: Settings) -> Callable[[Any], Any] | None:
    """Return what masks the images of a run: its segmenter's output, or nothing.

    Raises:
        UsageError: No such segmenter, or one that was trained at another size.
    """
    if not settings.is_masked:
        return None
    run = segmenter_run(settings)
    segmenter = _segmenter(run.settings).network
    load_weights(segmenter, run.path / BEST_WEIGHTS)
    segmenter.trainable = False
    return masking_by(segmenter, settings.sgm_type)


def segmenter_run(settings: Settings) -> Run:
    """Return the run of the segmenter that masks.

    Raises:
        UsageError: There is none of that number, or it was trained at another size or is of the other kind.
    """
    if settings.segmenter.version is None:
        raise UsageError("segmenter.version was expected.", received="none")
    run = open_run(settings.results_dir, SEGMENTATION, settings.segmenter.version)
    for name, here, there in (
        ("data.resize", settings.data.resize, run.settings.data.resize),
        ("model_seg", settings.model_seg, run.settings.model_seg),
    ):
        if here != there:
            raise UsageError(
                f"Segmenter {run.version} was trained with {name}={there}; give the same, or train another segmenter.",
                received=f"{name}={here}",
                path=run.path,
            )
    return run


def open_classifier(settings: Settings, *, weights: Path | None = None) -> ClassifierParts:
    """Return the classifier of a run.

    Args:
        settings: Of its training.
        weights: File of its trained weights; without it they are those that a training starts from.

    Raises:
        UsageError, NetworkError: See `backbone_of`, `masking_of`, `load_pretrained`.
    """
    classifier = _classifier(settings)
    name, source = backbone_of(settings)
    if weights is not None:
        load_weights(classifier.network, weights)
    elif source is not None:
        load_pretrained(classifier.backbone, name, source)
    prepare = ClassifierInput(classifier.preprocessing, settings.model.resizes, masking_of(settings))
    return ClassifierParts(
        network=classifier.network,
        saliency=SaliencyNetwork(classifier, explains=settings.loss.explains),
        pictures=SaliencyNetwork(classifier, classifier.map_layer),
        prepare=prepare,
    )


def open_segmenter(settings: Settings, *, weights: Path | None = None) -> keras.Model:
    """Return the segmenter of a run; arguments and errors as of `open_classifier`."""
    segmenter = _segmenter(settings)
    if weights is not None:
        load_weights(segmenter.network, weights)
    elif settings.segmenter.pretrained is not None:
        load_pretrained(segmenter.body, _SEGMENTERS[settings.model_seg], settings.segmenter.pretrained)
    return segmenter.network


def build_task(settings: Settings, steps_per_epoch: int) -> Task:
    """Return what a training trains, with weights from a file or drawn (seed them with keras.utils.set_random_seed).

    Args:
        settings: Of the training.
        steps_per_epoch: For the rates.
    """
    if settings.kind == SEGMENTATION:
        network = open_segmenter(settings)
        num_steps = max(_FEWEST_STEPS, steps_per_epoch * settings.train.max_epochs)
        rate = OneCycleSchedule(settings.learning_rate, num_steps)
        adam = CyclingAdam(OneCycleBeta(num_steps), learning_rate=rate, epsilon=_EPSILON)
        adam.build(network.trainable_variables)
        return SegmentationTask(network, adam, settings.data.resize)
    parts = open_classifier(settings)
    epochs = settings.train.max_epochs
    period = epochs if settings.train.lr_period == "epochs" else epochs * steps_per_epoch
    cosine = CosineSchedule(settings.learning_rate, settings.train.lr_last, period)
    optimizer = keras.optimizers.Adam(cosine, epsilon=_EPSILON)
    optimizer.build(parts.network.trainable_variables)
    if settings.classification_mode != "saliency":
        return CrossEntropyTask(parts.network, optimizer, parts.prepare, settings.data.resize)
    loss = CEntIoU(settings.loss.form, settings.loss.weight)
    return SaliencyTask(
        parts.saliency, parts.network, optimizer, parts.prepare, loss, settings.loss.norms_at, settings.data.resize
    )
