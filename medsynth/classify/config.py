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

    def __post_init__(self) -> None:
        numbers = ("samples_per_epoch", "epochs", "batch_size", "initial_learning_rate", "patience_reduce_lr",
                   "reduce_lr", "min_lr", "positive_weights_multiply", "patience")  # fmt: skip
        _require_positive(self, numbers, "TRAIN")
        if self.image_dimension < 32:
            raise UsageError("image_dimension must be 32 or more for DenseNet-121.", received=self.image_dimension)
        if not 0 <= self.batch_norm_momentum < 1:
            raise UsageError("batch_norm_momentum lies in [0, 1).", received=self.batch_norm_momentum)
        if self.reduce_lr > 1:
            raise UsageError("reduce_lr is a factor of at most 1.", received=self.reduce_lr)
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
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    batch_size: int = 50
    use_best_weights: bool = True

    def __post_init__(self) -> None:
        _require_positive(self, ("batch_size",), "TEST")


@dataclass(frozen=True)
class NeighboursConfig:
    """[NN].

    Attributes:
        number_nn_compute: Synthetic images whose nearest real neighbour is searched.
    """

    number_nn_compute: int = 100

    def __post_init__(self) -> None:
        _require_positive(self, ("number_nn_compute",), "NN")


@dataclass(frozen=True)
class AttributionConfig:
    """[CXPL].

    Attributes:
        batchsize_cxpl: Images per step of the attribution maps.
    """

    batchsize_cxpl: int = 10

    def __post_init__(self) -> None:
        _require_positive(self, ("batchsize_cxpl",), "CXPL")


@dataclass(frozen=True)
class ClassifierConfig:
    """All of config.ini; the groups are its sections in lower case.

    Attributes:
        base_model_name: The network ([DEFAULT]).
        train: [TRAIN].
        test: [TEST].
        nn: [NN].
        cxpl: [CXPL].
    """

    base_model_name: Literal["DenseNet121"] = "DenseNet121"
    train: TrainConfig = field(default_factory=TrainConfig)
    test: TestConfig = field(default_factory=TestConfig)
    nn: NeighboursConfig = field(default_factory=NeighboursConfig)
    cxpl: AttributionConfig = field(default_factory=AttributionConfig)


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
    the section of the running script comes first.

    Args:
        config: The settings to change.
        assignments: As given with --set.
        section: `train` or `test`.

    Raises:
        UsageError: As `medsynth.config.override`.
    """
    known = flatten(config)
    for assignment in assignments:
        key, separator, value = assignment.partition("=")
        owners = [name for name in known if name.endswith(f".{key}")]
        if key not in known and owners:
            key = f"{section}.{key}" if f"{section}.{key}" in owners else owners[0]
        config = override(config, [f"{key}{separator}{value}"])
    return config


def copy_config(model_dir: Path, folder: Path) -> None:
    """Copy config.ini as it stands beside the results (config.json holds what was used)."""
    with atomic_path(folder / FILE_NAME) as temporary:
        shutil.copyfile(model_dir / FILE_NAME, temporary)
