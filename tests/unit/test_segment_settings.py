from dataclasses import replace

import hydra
import pytest
from omegaconf import OmegaConf

from classifier_segment.hydra_main import _CONFIG_FOLDER as CONFIG_FOLDER
from classifier_segment.hydra_main import compose
from classifier_segment.settings import Settings, deciding, settings_of, without_effect
from medsynth.config import flatten
from medsynth.errors import UsageError

PRESETS = sorted(path.stem for path in (CONFIG_FOLDER / "preset").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONFIG_FOLDER / "experiment").glob("*.yaml"))
MASKED = ("classification_mode=masked", "segmenter.version=0")


def raw(*overrides: str) -> dict:
    """What the yaml files say, before types have filled in what they lack."""
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        composed = OmegaConf.to_container(hydra.compose("config", list(overrides)), resolve=True)
    return dict(leaves(composed))


def leaves(values: dict, prefix: str = "") -> list[tuple[str, object]]:
    rows = []
    for key, value in values.items():
        rows += leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return rows


# The files.


def test_the_yaml_files_have_every_setting_with_its_default() -> None:
    assert raw() == flatten(Settings())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_sets_only_what_the_published_one_sets_too(preset: str) -> None:
    # config.yaml leaves those to the presets: another key would hide what the command line says of config.yaml.
    own, published = (
        dict(leaves(OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / "preset" / f"{name}.yaml"))))
        for name in (preset, "published")
    )
    assert own
    assert set(published) <= set(own) <= {*published, "model.weights"}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_preset_takes_every_experiment(preset: str, experiment: str) -> None:
    overrides = [f"preset={preset}", f"experiment={experiment}", "segmenter.version=1"]
    settings = compose(overrides)
    assert settings.classification_mode == experiment.partition("_")[0]
    if settings.classification_mode == "saliency":
        assert settings.loss.form == experiment.partition("_")[2]
    assert settings.model.weights == ("resnet_small" if preset == "scratch" else "ConvNeXt_Small_Weights.DEFAULT")


def test_there_are_presets_and_experiments() -> None:
    assert PRESETS == ["published", "scratch"]
    assert EXPERIMENTS == ["masked", "saliency_differentiable", "saliency_published", "whole"]


def test_the_published_calls() -> None:
    settings = compose(
        [
            *("task=classification", "classification_mode=masked", "model.weights=SqueezeNet1_0_Weights.DEFAULT"),
            *("model_seg=deeplab", "sgm_type=hard", "train.max_epochs=7", "train.lr=1e-5", "train.accelerator=gpu"),
            *("checkpoint.version=3", "segmenter.version=2", "generate_map=grad-cam"),
            *("log.tensorboard=True", "log.wandb=False"),
        ]
    )
    assert (settings.kind, settings.is_masked, settings.model_seg) == ("classification", True, "deeplab")
    assert (settings.train.max_epochs, settings.learning_rate, settings.train.accelerator) == (7, 1e-5, "gpu")
    assert (settings.checkpoint.version, settings.generate_map) == (3, "grad-cam")
    assert (settings.log.tensorboard, settings.log.wandb) == (True, False)


def test_the_command_line_wins_over_presets_and_experiments() -> None:
    settings = compose(["preset=scratch", "experiment=saliency_published", "train.lr=0.5", "loss.form=differentiable"])
    assert (settings.train.lr, settings.loss.form) == (0.5, "differentiable")


# What follows from settings.


@pytest.mark.parametrize(
    ("overrides", "unit", "rate", "fills_black"),
    [
        (["task=c"], "annotation", 4e-6, False),
        (["task=c", *MASKED], "annotation", 4e-6, False),
        (["task=classification", "classification_mode=saliency"], "image", 4e-6, False),
        (["task=c", "data.unit=image", "train.lr=0.2"], "image", 0.2, False),
        (["task=c", "classification_mode=saliency", "data.unit=annotation"], "annotation", 4e-6, False),
        (["task=s"], "image", 0.01, True),
        (["task=segmentation", "data.fill_black=false"], "image", 0.01, False),
        (["task=c", "data.fill_black=true"], "annotation", 4e-6, True),
    ],
)
def test_published_values_by_task(overrides: list[str], unit: str, rate: float, fills_black: bool) -> None:
    settings = compose(overrides)
    assert (settings.unit, settings.learning_rate, settings.fills_black) == (unit, rate, fills_black)


def changed(flat: dict, key: str) -> object:
    """Another value of a setting, of its type."""
    choices = {
        "task": "s", "classification_mode": "saliency", "model_seg": "deeplab", "sgm_type": "hard",
        "data.outlines": "all", "data.unit": "image", "train.lr_period": "training", "train.accelerator": "auto",
        "train.precision": "mixed_bfloat16", "loss.form": "differentiable", "loss.explains": "log_probability",
        "loss.norms_at": "weights", "generate_map": "hirescam", "data.fill_black": True, "train.lr": 0.125,
        "segmenter.version": 7, "loss.weight": 0.25, "train.lr_last": 0.25,
    }  # fmt: skip
    if key in choices:
        return choices[key]
    value = flat[key]
    if isinstance(value, bool):
        return not value
    return "other" if value is None or isinstance(value, str) else value + 1


NEVER = {
    "results_dir", "checkpoint.version", "train.accelerator", "data.num_threads", "data.memory_gib",
    "log.tensorboard", "log.wandb", "data.test", "data.group_by", "generate_map",
}  # fmt: skip
MODEL = {"model.weights", "model.pretrained", "model.num_classes", "model.resizes"}
SEGMENTER = {"segmenter.version", "segmenter.width", "segmenter.pretrained", "model_seg", "sgm_type"}
LOSS = {"loss.form", "loss.weight", "loss.norms_at"}


@pytest.mark.parametrize(
    ("overrides", "without"),
    [
        ([], SEGMENTER | LOSS),
        (MASKED, LOSS | {"segmenter.width", "segmenter.pretrained"}),
        (["classification_mode=saliency"], SEGMENTER),
        (
            ["task=s"],
            MODEL | LOSS
            | {"loss.explains", "classification_mode", "sgm_type", "segmenter.version"}
            | {"train.lr_last", "train.lr_period"},
        ),
    ],
)  # fmt: skip
def test_a_run_is_another_one_where_what_decides_it_differs(overrides: list[str], without: set[str]) -> None:
    settings = compose(overrides)
    flat = flatten(settings)
    for key in flat.keys() - {"task", "classification_mode"}:
        other = flat | {key: changed(flat, key)}
        assert other != flat, key
        if key == "generate_map" and settings.kind == "segmentation":
            continue  # refused
        is_same = deciding(settings_of(other)) == deciding(settings)
        assert is_same == (key in NEVER | without), key
    assert deciding(settings)["task"] == settings.kind


def test_both_names_of_a_task_are_one() -> None:
    for short, long in (("c", "classification"), ("s", "segmentation")):
        assert deciding(compose([f"task={short}"])) == deciding(compose([f"task={long}"]))
    assert deciding(compose(["task=c"])) != deciding(compose(["task=s"]))
    assert deciding(compose([])) != deciding(compose(["classification_mode=saliency"]))


# Refusals.


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model.num_classes=1", "model.num_classes must be at least 2. Received: 1"),
        ("segmenter.width=3", "segmenter.width must be at least 4. Received: 3"),
        ("data.resize=31", "data.resize must be at least 32 and below 4097. Received: 31"),
        ("data.resize=4097", "data.resize must be at least 32 and below 4097. Received: 4097"),
        ("data.num_threads=0", "data.num_threads must be at least 1 and below 1025. Received: 0"),
        ("data.memory_gib=-1", "data.memory_gib must be at least 0. Received: -1.0"),
        ("train.max_epochs=0", "train.max_epochs must be at least 1. Received: 0"),
        ("train.batch_size=0", "train.batch_size must be at least 1. Received: 0"),
        ("train.patience=0", "train.patience must be at least 1. Received: 0"),
        ("train.lr=-0.1", "train.lr must be at least 0 and below 10. Received: -0.1"),
        ("train.lr=10", "train.lr must be at least 0 and below 10. Received: 10.0"),
        ("train.lr=nan", "train.lr takes a finite number. Received: nan"),
        ("train.lr_last=1", "train.lr_last must be at least 0 and below 1. Received: 1.0"),
        ("checkpoint.version=-1", "checkpoint.version must be at least 0. Received: -1"),
        ("segmenter.version=-1", "segmenter.version must be at least 0. Received: -1"),
        ("seed=-2", "seed must be at least -1 and below 4.29497e+09. Received: -2"),
        ("seed=4294967296", "seed must be at least -1 and below 4.29497e+09. Received: 4294967296"),
        ("loss.weight=1.1", "loss.weight lies from 0 to 1. Received: 1.1"),
        ("loss.weight=-0.1", "loss.weight lies from 0 to 1. Received: -0.1"),
        ("classification_mode=masked", "train.py task=s, then segmenter.version=N with its number. Received: no segm"),
        ("task=x", "task takes one of c, s, classification, segmentation. Received: x"),
        ("classification_mode=half", "classification_mode takes one of whole, masked, saliency. Received: half"),
        ("generate_map=gradcam", "generate_map takes one of grad-cam, hirescam. Received: gradcam"),
        ("train.batch_size=4.5", "train.batch_size takes a value of type int. Received: 4.5"),
        ("train.batch_size=many", 'train.batch_size takes a value of type int. Received: "many"'),
        ("model.resizes=1", "model.resizes takes a value of type bool. Received: 1"),
        ("data.train=null", "data.train takes a value of type str. Received: null"),
    ],
)  # fmt: skip
def test_values_that_mean_nothing(override: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        compose([override])
    assert words in str(caught.value)


def test_combinations_that_mean_nothing() -> None:
    with pytest.raises(UsageError, match=r"one mask an image: data.unit=image. Received: annotation"):
        compose(["task=s", "data.unit=annotation"])
    with pytest.raises(UsageError, match=r"generate_map belongs to task=c.* Received: generate_map=hirescam"):
        compose(["task=s", "generate_map=hirescam"])
    assert compose(["task=s", "classification_mode=masked"]).kind == "segmentation", "of no concern to it"


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_of_the_loss_weight_are_allowed(value: float) -> None:
    settings = Settings()
    replace(settings, loss=replace(settings.loss, weight=value)).require()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.max_epoch=3", "Unknown setting. Did you mean train.max_epochs? --cfg job shows all. "),
        ("max_epochs=3", "Did you mean train.max_epochs?"),
        ("segmenter.versoin=3", "Did you mean segmenter.version?"),
        ("+data.colour=3", "Unknown setting."),
        ("pre-set=scratch", "Did you mean preset?"),
        ("expirement=whole", "Did you mean experiment?"),
        ("data=oral", "Unknown setting."),
    ],
)
def test_a_misspelt_key_names_the_nearest(override: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        compose([override])
    key = override.partition("=")[0].lstrip("+")
    assert words in str(caught.value)
    assert str(caught.value).endswith(f"Received: {key}")


@pytest.mark.parametrize("override", ["preset=oral", "experiment=all", "seed", "train.lr=1,2"])
def test_what_hydra_refuses_is_one_of_our_errors(override: str) -> None:
    with pytest.raises(UsageError, match="These overrides do not fit together"):
        compose([override])
    assert compose([]) == Settings(), "nothing is left behind"


def test_settings_of_a_file_of_another_version_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown setting.* Received: train.warmup"):
        settings_of({"train.warmup": 3})
    assert settings_of(flatten(Settings())) == Settings()


@pytest.mark.parametrize(
    ("overrides", "idle"),
    [
        (
            ["classification_mode=whole", "loss.form=differentiable", "sgm_type=hard", "train.lr=1"],
            ["loss.form", "sgm_type"],
        ),
        (
            ["task=s", "model.weights=swin_s", "train.lr_period=training", "train.lr=1"],
            ["model.weights", "train.lr_period"],
        ),
        (["classification_mode=saliency", "loss.form=differentiable", "preset=scratch", "log.tensorboard=true"], []),
        (["task=s", "model_seg=deeplab", "segmenter.width=8", "data.test=x.json", "seed=3"], []),
    ],
)
def test_what_has_no_effect_is_named(overrides: list[str], idle: list[str]) -> None:
    assert without_effect(compose(overrides), overrides) == idle
