"""The settings of a run: what config/config.yaml and its presets hold, with types.

Names and values of the first level, `model.weights`, `train.max_epochs`, `train.lr`, `train.accelerator`, `checkpoint`
and `log` are the published ones.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from medsynth.config import flatten, override, require_range
from medsynth.errors import UsageError

Task = Literal["c", "s", "classification", "segmentation"]
Mode = Literal["whole", "masked", "saliency"]
CLASSIFICATION, SEGMENTATION = "classification", "segmentation"
# What a run does not depend on: where and how it is computed and shown, and what is done with it afterwards.
INCIDENTAL = ("results_dir", "checkpoint.version", "train.accelerator", "data.num_threads", "data.memory_gib", "log.")


@dataclass(frozen=True)
class ModelSettings:
    """Which network.

    Attributes:
        weights: A published name, such as SqueezeNet1_0_Weights.DEFAULT, for a backbone with its ImageNet weights; or
            the backbone's own, such as squeezenet1_0, for one that is drawn at random.
        pretrained: File with weights to start from, of whichever backbone; see models/pretrained.py.
        num_classes: Of the data.
        resizes: Whether images are enlarged and cropped again before the backbone, as its ImageNet weights were
            trained (published); otherwise they are only normalised.
    """

    weights: str = "ConvNeXt_Small_Weights.DEFAULT"
    pretrained: str | None = None
    num_classes: int = 3
    resizes: bool = True


@dataclass(frozen=True)
class SegmenterSettings:
    """The segmenter that is trained with task=s, and used with classification_mode=masked.

    Attributes:
        version: Of the trained segmenter that masks images; without masks nothing asks for it.
        width: Channels of its first maps; published 64. A quarter of it takes a sixteenth of the time.
        pretrained: File with weights to start from.
    """

    version: int | None = None
    width: int = 64
    pretrained: str | None = None


@dataclass(frozen=True)
class DataPaths:
    """Which images, and what is done to them.

    Attributes:
        train: COCO file.
        val: Likewise.
        test: Likewise.
        images: Folder of the images, relative to each file's own; see `coco.image_folder`.
        resize: Pixels of the shorter side, and of the square that is cut out.
        outlines: largest (published) or all.
        unit: What is an example: annotation or image. Published: an annotation of whole and masked images, an image
            with saliency and in segmentation.
        unannotated: Whether images without annotation that have a class take part, with an empty mask.
        group_by: Field of the images' records that says which belong together (patient_id); intervals heed it.
        augment: Whether training images are turned, moved, scaled and sheared.
        fill_black: Whether their black pixels get the mean of the others; published for segmentation alone.
        num_threads: That read.
        memory_gib: Of images that are kept.
    """

    train: str = "data/train.json"
    val: str = "data/val.json"
    test: str = "data/test.json"
    images: str = ""
    resize: int = 224
    outlines: Literal["largest", "all"] = "largest"
    unit: Literal["published", "annotation", "image"] = "published"
    unannotated: bool = True
    group_by: str = ""
    augment: bool = True
    fill_black: bool | None = None
    num_threads: int = 2
    memory_gib: float = 1.0


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    Attributes:
        max_epochs: At most.
        batch_size: Images of a step.
        lr: Learning rate: the first one of a cosine, the highest one of a cycle. Published: 4e-6 for classifiers, 0.01
            for segmenters.
        lr_last: Where a cosine ends.
        lr_period: Of the cosine: as published `epochs` steps, though it is stepped by batch, so that the rate swings
            many times; or `training`, once from the first step to the last.
        patience: Epochs without a lower validation loss that end the training.
        accelerator: cpu, gpu, or auto: a GPU where there is one.
        precision: Of the arithmetic; see medsynth/training/precision.py.
    """

    max_epochs: int = 100
    batch_size: int = 32
    lr: float | None = None
    lr_last: float = 1e-5
    lr_period: Literal["epochs", "training"] = "epochs"
    patience: int = 20
    accelerator: Literal["cpu", "gpu", "auto"] = "cpu"
    precision: Literal["float32", "mixed_bfloat16"] = "float32"


@dataclass(frozen=True)
class LossSettings:
    """CEntIoU, with classification_mode=saliency.

    Attributes:
        form: published, whose overlap has no gradient, or differentiable.
        weight: Of the cross-entropy, from 0 to 1; the overlap has the rest.
        explains: What its maps explain; see `saliency.SaliencyNetwork`.
        norms_at: Where the gradient norms of both terms are taken; see `losses.loss_gradients`.
    """

    form: Literal["published", "differentiable"] = "published"
    weight: float = 0.7
    explains: Literal["logit", "log_probability"] = "logit"
    norms_at: Literal["layer", "weights"] = "layer"


@dataclass(frozen=True)
class CheckpointSettings:
    """Which run.

    Attributes:
        version: Its number; a training takes the next free one by itself.
    """

    version: int = 0


@dataclass(frozen=True)
class LogSettings:
    """Where losses go besides the files of the run.

    Attributes:
        tensorboard: Into the run's folder.
        wandb: To Weights & Biases, by the extra [wandb].
    """

    tensorboard: bool = False
    wandb: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything.

    Attributes:
        task: c or classification, s or segmentation.
        classification_mode: whole, masked or saliency.
        model: Of the classifier.
        model_seg: Of the segmenter.
        sgm_type: What multiplies the image in masked classification: soft (published: the raw output, a logit), hard
            (published: 1 where it is above 0.5) or probability (its sigmoid).
        seed: Of everything random; -1 draws one.
        results_dir: Runs lie in results_dir/{classification,segmentation}/version_N.
        generate_map: grad-cam or hirescam: draw maps of the test images.
    """

    task: Task = "c"
    classification_mode: Mode = "whole"
    model: ModelSettings = field(default_factory=ModelSettings)
    model_seg: Literal["fcn", "deeplab"] = "fcn"
    sgm_type: Literal["soft", "hard", "probability"] = "soft"
    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    data: DataPaths = field(default_factory=DataPaths)
    train: TrainSettings = field(default_factory=TrainSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    log: LogSettings = field(default_factory=LogSettings)
    generate_map: Literal["grad-cam", "hirescam"] | None = None
    seed: int = -1
    results_dir: str = "runs"

    @property
    def kind(self) -> str:
        """CLASSIFICATION or SEGMENTATION."""
        return SEGMENTATION if self.task.startswith("s") else CLASSIFICATION

    @property
    def unit(self) -> str:
        """What is an example, annotation or image."""
        if self.data.unit != "published":
            return self.data.unit
        return "image" if self.kind == SEGMENTATION or self.classification_mode == "saliency" else "annotation"

    @property
    def is_masked(self) -> bool:
        """Whether a segmenter masks the images of a classifier."""
        return self.kind == CLASSIFICATION and self.classification_mode == "masked"

    @property
    def learning_rate(self) -> float:
        """The one that was set, or the published one of the task."""
        if self.train.lr is not None:
            return self.train.lr
        return 0.01 if self.kind == SEGMENTATION else 4e-6

    @property
    def fills_black(self) -> bool:
        """Whether black pixels of training images are filled."""
        return self.kind == SEGMENTATION if self.data.fill_black is None else self.data.fill_black

    def require(self) -> None:
        """Refuse values out of range, and combinations that mean nothing.

        Raises:
            UsageError: The message names the setting.
        """
        for name, value, minimum, below in (
            ("model.num_classes", self.model.num_classes, 2, float("inf")),
            ("segmenter.width", self.segmenter.width, 4, float("inf")),
            ("data.resize", self.data.resize, 32, 4097),
            ("data.num_threads", self.data.num_threads, 1, 1025),
            ("data.memory_gib", self.data.memory_gib, 0, float("inf")),
            ("train.max_epochs", self.train.max_epochs, 1, float("inf")),
            ("train.batch_size", self.train.batch_size, 1, float("inf")),
            ("train.patience", self.train.patience, 1, float("inf")),
            ("train.lr_last", self.train.lr_last, 0, 1),
            ("train.lr", self.learning_rate, 0, 10),
            ("checkpoint.version", self.checkpoint.version, 0, float("inf")),
            ("seed", self.seed, -1, 2**32),
        ):
            require_range(name, value, minimum, below)
        if not 0 <= self.loss.weight <= 1:
            raise UsageError("loss.weight lies from 0 to 1.", received=self.loss.weight)
        if self.segmenter.version is not None:
            require_range("segmenter.version", self.segmenter.version, 0)
        if self.is_masked and self.segmenter.version is None:
            raise UsageError(
                "Masked classification needs a trained segmenter: train.py task=s, then segmenter.version=N with its "
                "number.",
                received="no segmenter.version",
            )
        if self.kind == SEGMENTATION and self.unit != "image":
            raise UsageError("A segmentation has one mask an image: data.unit=image.", received=self.data.unit)
        if self.kind == SEGMENTATION and self.generate_map is not None:
            raise UsageError(
                "Maps explain a class, so generate_map belongs to task=c; a segmenter's masks are drawn anyway.",
                received=f"generate_map={self.generate_map}",
            )


def settings_of(flat: Mapping[str, Any]) -> Settings:
    """Return the settings of a dictionary with dotted keys, as `flatten` makes it; checked.

    Raises:
        UsageError: An unknown key, a value of another type or out of range, or a combination that means nothing.
    """
    settings = override(Settings(), [f"{key}={json.dumps(value)}" for key, value in flat.items()])
    settings.require()
    return settings


def without_effect(settings: Settings, overrides: Sequence[str]) -> list[str]:
    """Return the keys among overrides, `key=value`, of which nothing in a training with these settings depends."""
    keys = [override.partition("=")[0].lstrip("+") for override in overrides]
    used = {*deciding(settings), "data.test", "data.group_by", "generate_map"}
    return [key for key in keys if key in flatten(settings) and key not in used and not key.startswith(INCIDENTAL)]


def deciding(settings: Settings) -> dict[str, Any]:
    """Return what a training and its figures depend on, with dotted keys: two runs of the same are the same run."""
    unused = ["task", "data.test", "data.group_by", "generate_map", *INCIDENTAL]
    if settings.kind == SEGMENTATION:
        unused += ["classification_mode", "model.", "sgm_type", "train.lr_", "segmenter.version"]
    elif settings.is_masked:
        unused += ["segmenter.width", "segmenter.pretrained"]  # the segmenter's own run has them
    else:
        unused += ["segmenter.", "model_seg", "sgm_type"]
    if settings.kind == SEGMENTATION:
        unused += ["loss."]
    elif settings.classification_mode != "saliency":
        unused += ["loss.form", "loss.weight", "loss.norms_at"]  # tests of all modes measure what loss.explains says
    flat = flatten(settings)
    return {"task": settings.kind} | {key: value for key, value in flat.items() if not key.startswith(tuple(unused))}
