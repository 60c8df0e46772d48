"""The classifiers' settings: config.ini as published, with a few additions that are off by default."""

import configparser
import dataclasses
import shutil
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from medsynth.config import flatten, from_json, override
from medsynth.errors import UsageError
from medsynth.files import atomic_path

FILE_NAME = "config.ini"
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _require_positive(config: Any, names: Sequence[str], section: str) -> None:
    for name in names:
        if getattr(config, name) <= 0:
            raise UsageError(f"{name} in [{section}] must be above 0.", received=getattr(config, name))


@dataclass(frozen=True)
class TrainConfig:
    """[TRAIN]: network and training.

    Attributes:
        path_model_base_weights: ImageNet weights without top, relative to the folder of
            config.ini; where there is no such file, training starts from random weights.
        use_trained_model_weights: Start from the weights that an earlier training left in
            the same folder.
        use_best_weights: Which of them: best_weights.h5 rather than the last ones.
        samples_per_epoch: Most images in an epoch.
        output_weights_name: File for the weights of the last epoch.
        epochs: Most epochs.
        batch_size: Images per step.
        initial_learning_rate: Of Adam.
        image_dimension: Pixels a side that the network sees.
        patience_reduce_lr: Epochs without a new best until the learning rate is reduced.
        reduce_lr: Factor by which it is reduced.
        min_lr: It is not reduced below this.
        positive_weights_multiply: m in the class weights; only with class_weighting per_label.
        show_model_summary: Print the layers.
        patience: Epochs without a new best until training ends.
        class_weighting: `per_label` weights the loss of label l by w0 for negatives and w1
            for positives. Off as in the published runs, where it had no effect.
        precision: float32, or mixed_bfloat16 (faster where the processor supports it).
        batch_norm_momentum: Of the moving statistics; lower for short trainings.
        num_gpus: GPUs that share each batch in equal parts. Batch normalisation sees one GPU's part at a time, so
            results depend on their number.
        resize: `tf1_corner`, the published rule, or `half_pixel`, the right one; see
            `medsynth.networks.imagenet_input.preprocess`.
    """

    path_model_base_weights: str = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"
    use_trained_model_weights: bool = False
    use_best_weights: bool = True
    samples_per_epoch: int = 5000
    output_weights_name: str = "weights.h5"
    epochs: int = 100
    batch_size: int = 48
    initial_learning_rate: float = 1e-4
    image_dimension: int = 224
    patience_reduce_lr: int = 2
    reduce_lr: float = 0.1
    min_lr: float = 1e-8
    positive_weights_multiply: float = 1.0
    show_model_summary: bool = False
    patience: int = 3
    class_weighting: Literal["none", "per_label"] = "none"
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    batch_norm_momentum: float = 0.99
    resize: Literal["tf1_corner", "half_pixel"] = "tf1_corner"
    num_gpus: int = 1

    def __post_init__(self) -> None:
        numbers = ("samples_per_epoch", "epochs", "batch_size", "initial_learning_rate", "patience_reduce_lr",
                   "reduce_lr", "min_lr", "positive_weights_multiply", "patience", "num_gpus")  # fmt: skip
        _require_positive(self, numbers, "TRAIN")
        if self.image_dimension < 32:
            raise UsageError("image_dimension must be 32 or more for DenseNet-121.", received=self.image_dimension)
        if not 0 <= self.batch_norm_momentum < 1:
            raise UsageError("batch_norm_momentum lies in [0, 1).", received=self.batch_norm_momentum)
        if self.reduce_lr > 1:
            raise UsageError("reduce_lr is a factor of at most 1.", received=self.reduce_lr)
        if self.batch_size % self.num_gpus:
            raise UsageError(
                f"batch_size is shared equally by num_gpus={self.num_gpus}, so it must be a multiple.",
                received=f"batch_size={self.batch_size}",
            )
        name = self.output_weights_name
        if Path(name).name != name or not name.endswith(".h5") or name == "best_weights.h5":
            raise UsageError(
                "output_weights_name is a file name that ends in .h5 and is not best_weights.h5.", received=name
            )


@dataclass(frozen=True)
class TestConfig:
    """[TEST].

    Attributes:
        batch_size: Images per step; changes speed only.
        use_best_weights: Test best_weights.h5 rather than the weights of the last epoch.
        num_resamples: Of the bootstrap that the intervals come from, 100 or more.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    batch_size: int = 50
    use_best_weights: bool = True
    num_resamples: int = 1000

    def __post_init__(self) -> None:
        _require_positive(self, ("batch_size",), "TEST")
        if self.num_resamples < 100:
            raise UsageError("num_resamples in [TEST] must be 100 or more.", received=self.num_resamples)


@dataclass(frozen=True)
class NeighboursConfig:
    """[NN].

    Attributes:
        number_nn_compute: Synthetic images in the published outputs, the first ones of inference/test.
        num_neighbours: Training images named for each synthetic one; two at least, as their ratio is taken.
        synthetic: Which images of inference/ are held against the training images: `test`, or `all`, which is
            train and valid as well.
        held_out: The split of real images that say how near to the training images others lie.
        compare_mirrored: Compare mirror images, too, since a mirrored copy is a copy.
        num_planted: Training images that are planted in each alteration to see how many are found; 0 for none.
    """

    number_nn_compute: int = 100
    num_neighbours: int = 5
    synthetic: Literal["test", "all"] = "test"
    held_out: Literal["test", "valid"] = "test"
    compare_mirrored: bool = True
    num_planted: int = 50

    def __post_init__(self) -> None:
        _require_positive(self, ("number_nn_compute",), "NN")
        if self.num_neighbours < 2:
            raise UsageError("num_neighbours in [NN] must be 2 or more.", received=self.num_neighbours)
        if self.num_planted < 0:
            raise UsageError("num_planted in [NN] must not be negative.", received=self.num_planted)


@dataclass(frozen=True)
class AttributionConfig:
    """[CXPL].

    Attributes:
        batchsize_cxpl: Masked copies of an image per call of the network; changes speed and memory only.
        downsample_factor: Pixels a side of a tile; a divisor of image_dimension.
        log_transform: Take log(1 + effect), as an option of the published code does.
        normalise: Divide each map by its sum, likewise.
        precision: Of the network here, whatever it was trained in. mixed_bfloat16 is faster on hardware that has it,
            and too coarse for small effects; see docs/attribution.md.
        computed_share: With --coarse-to-fine, the share of tiles that is computed, in (0, 1].
    """

    batchsize_cxpl: int = 10
    downsample_factor: int = 4
    log_transform: bool = False
    normalise: bool = False
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    computed_share: float = 0.5

    def __post_init__(self) -> None:
        _require_positive(self, ("batchsize_cxpl", "downsample_factor", "computed_share"), "CXPL")
        if self.computed_share > 1:
            raise UsageError("computed_share in [CXPL] is a share of at most 1.", received=self.computed_share)


@dataclass(frozen=True)
class ExplainConfig:
    """[XPLAIN].

    Attributes:
        batchsize_xplain: Images per pass of the network; changes speed and memory only.
        cam_layer: Where Grad-CAM and HiResCAM look: one of the four places that everything in DenseNet passes
            through, or `auto`, the last of them with a map of 7 or more places a side (`relu` from 224 pixels on).
        occlusion_patch: Pixels a side of the grey patch; a divisor of image_dimension.
        smoothgrad_samples: Noisy copies of an image.
        smoothgrad_noise: Standard deviation of the noise, as a share of the image's range.
        integrated_gradients_points: Points on the way from black to the image, both ends among them.
        faithfulness_steps: Steps in which all pixels are removed or put in.
        insertion_blur: Standard deviation of the blur that insertion starts from, as a share of the image's side.
        random_seed: Of noise, random maps, and the weights of the sanity check.
    """

    batchsize_xplain: int = 16
    cam_layer: Literal["auto", "relu", "pool4_relu", "pool3_relu", "pool2_relu"] = "auto"
    occlusion_patch: int = 16
    smoothgrad_samples: int = 32
    smoothgrad_noise: float = 0.15
    integrated_gradients_points: int = 33
    faithfulness_steps: int = 20
    insertion_blur: float = 0.0625
    random_seed: int = 1

    def __post_init__(self) -> None:
        numbers = ("batchsize_xplain", "occlusion_patch", "smoothgrad_samples", "smoothgrad_noise",
                   "faithfulness_steps", "insertion_blur")  # fmt: skip
        _require_positive(self, numbers, "XPLAIN")
        if self.integrated_gradients_points < 2:
            raise UsageError(
                "integrated_gradients_points counts both ends, so it is 2 or more.",
                received=self.integrated_gradients_points,
            )
        if not 0 <= self.random_seed < 2**32:
            raise UsageError("random_seed in [XPLAIN] lies from 0 to 4294967295.", received=self.random_seed)


@dataclass(frozen=True)
class ClassifierConfig:
    """All of config.ini; the groups are its sections in lower case.

    Attributes:
        base_model_name: The network ([DEFAULT]).
        train: [TRAIN].
        test: [TEST].
        nn: [NN].
        cxpl: [CXPL].
        xplain: [XPLAIN].
    """

    base_model_name: Literal["DenseNet121"] = "DenseNet121"
    train: TrainConfig = field(default_factory=TrainConfig)
    test: TestConfig = field(default_factory=TestConfig)
    nn: NeighboursConfig = field(default_factory=NeighboursConfig)
    cxpl: AttributionConfig = field(default_factory=AttributionConfig)
    xplain: ExplainConfig = field(default_factory=ExplainConfig)


def read_config(model_dir: Path) -> ClassifierConfig:
    """Read model_dir/config.ini; settings that it does not name take their published defaults.

    Raises:
        UsageError: No such file, no ini file, or an unknown section or setting
            (the nearest known one is named), or a value of another type.
    """
    path = model_dir / FILE_NAME
    # "#" for DEFAULT: [DEFAULT] is read as a section like any other.
    parser = configparser.ConfigParser(interpolation=None, default_section="#", inline_comment_prefixes=("#", ";"))
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            "model_dir must hold the classifier's config.ini, as classifier_real/ and classifier_fake/ do.",
            received="no such file",
            path=path,
        ) from None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise UsageError("The file is no ini file.", received=str(error).replace("\n", " "), path=path) from None
    hints = typing.get_type_hints(ClassifierConfig)
    groups = {name.upper(): kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    values: dict[str, Any] = {}
    for section in parser.sections():
        if section != "DEFAULT" and section not in groups:
            raise UsageError(f"Known sections are DEFAULT, {', '.join(groups)}.", received=f"[{section}]", path=path)
        try:
            if section == "DEFAULT":
                values |= from_json(_Default, dict(parser.items(section))).__dict__
            else:
                kind = typing.cast(type, groups[section])
                values[section.lower()] = from_json(kind, _typed(dict(parser.items(section)), kind))
        except UsageError as error:
            raise UsageError(error.expected, received=error.received, path=f"{path}, [{section}]") from None
    return ClassifierConfig(**values)


@dataclass(frozen=True)
class _Default:
    """[DEFAULT], the settings outside any group."""

    base_model_name: Literal["DenseNet121"] = "DenseNet121"


def _typed(texts: dict[str, str], kind: type) -> dict[str, Any]:
    """Read ini texts as flags and numbers where the setting is one; leave the rest as it is."""
    hints = typing.get_type_hints(kind)
    typed: dict[str, Any] = {}
    for key, text in texts.items():
        typed[key] = text
        if hints.get(key) is bool:
            typed[key] = _FLAGS.get(text.lower(), text)
        for number in (float, int):
            if hints.get(key) in (int, float):
                try:
                    typed[key] = number(text)
                except ValueError:
                    continue
    return typed


def apply_overrides(config: ClassifierConfig, assignments: Sequence[str], section: str) -> ClassifierConfig:
    """Return `config` with `key=value` settings applied.

    A key may be written with its section (`test.batch_size`) or without; then
    the section of the running script comes first, and [TEST] next for all but training.

    Args:
        config: The settings to change.
        assignments: As given with --set.
        section: Of the running script: `train`, `test`, `nn`, `cxpl` or `xplain`.

    Raises:
        UsageError: As `medsynth.config.override`.
    """
    known = flatten(config)
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        owners = [name for name in known if name.endswith(f".{key}")]
        if key not in known and owners:
            # What looks at a trained classifier chooses its weights as test.py does.
            wanted = [f"{section}.{key}"] if section == "train" else [f"{section}.{key}", f"test.{key}"]
            key = next((name for name in wanted if name in owners), owners[0])
        config = override(config, [f"{key}{separator}{value}"])
    return config


def copy_config(model_dir: Path, folder: Path) -> None:
    """Copy config.ini as it stands beside the results (config.json holds what was used)."""
    with atomic_path(folder / FILE_NAME) as temporary:
        shutil.copyfile(model_dir / FILE_NAME, temporary)
