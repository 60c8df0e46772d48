"""config.ini, --set, and the rules that follow an epoch."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from medsynth.classify.callbacks import Patience, StopWhenDiverged
from medsynth.classify.config import ClassifierConfig, TrainConfig, apply_overrides, read_config
from medsynth.errors import DivergenceError, UsageError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("app", ["classifier_real", "classifier_fake"])
def test_shipped_files_are_the_defaults(app):
    text = (ROOT / app / "config.ini").read_text()
    for group in (
        TrainConfig,
        *(type(value) for value in vars(ClassifierConfig()).values() if dataclasses.is_dataclass(value)),
    ):
        for field in dataclasses.fields(group):
            assert f"\n{field.name} = " in text
    assert read_config(ROOT / app) == ClassifierConfig()


def write(folder: Path, text: str) -> Path:
    (folder / "config.ini").write_text(text)
    return folder


def test_values_are_read_by_the_type_of_the_setting(tmp_path):
    config = read_config(write(tmp_path, "[TRAIN]\nmin_lr = 1e-6\nepochs=7  # few\nshow_model_summary=True\n"
                                         "path_model_base_weights = 12\n[TEST]\nuse_best_weights = no\n"))  # fmt: skip
    assert (config.train.min_lr, config.train.epochs, config.train.show_model_summary) == (1e-6, 7, True)
    assert (config.train.path_model_base_weights, config.test.use_best_weights) == ("12", False)


@pytest.mark.parametrize(("text", "words"), [
    ("[TRAIN]\nbatchsize = 4\n", ["[TRAIN]", "batch_size", "Received: batchsize"]),
    ("[TRIAN]\n", ["Known sections", "Received: [TRIAN]"]),
    ("[TRAIN]\nepochs = many\n", ["epochs", "int", "many"]),
    ("[TRAIN]\nepochs = 0\n", ["epochs", "above 0"]),
    ("[TRAIN]\nimage_dimension = 16\n", ["32 or more"]),
    ("[TRAIN]\nprecision = float8\n", ["float32, mixed_bfloat16"]),
    ("[TRAIN]\noutput_weights_name = ../w.h5\n", ["file name"]),
    ("[TEST]\nuse_best_weights = maybe\n", ["bool", "maybe"]),
    ("[DEFAULT]\nbase_model_name = VGG\n", ["DenseNet121"]),
    ("epochs = 3\n", ["no ini file"]),
])  # fmt: skip
def test_mistakes_are_named(tmp_path, text, words):
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, text))
    for word in [*words, "config.ini"]:
        assert word in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"config\.ini"):
        read_config(tmp_path)


@pytest.mark.parametrize(("section", "train", "test"), [("train", 7, 50), ("test", 48, 7)])
def test_a_key_of_two_sections_means_that_of_the_script(section, train, test):
    config = apply_overrides(ClassifierConfig(), ["batch_size=7", "image_dimension=64"], section)
    assert (config.train.batch_size, config.test.batch_size, config.train.image_dimension) == (train, test, 64)
    assert apply_overrides(config, ["test.batch_size=9"], "train").test.batch_size == 9


@pytest.mark.parametrize("section", ["test", "nn", "cxpl", "xplain"])
def test_which_weights_is_a_matter_of_the_test_in_all_scripts_but_train(section):
    config = apply_overrides(ClassifierConfig(), ["use_best_weights=false"], section)
    assert not config.test.use_best_weights
    assert config.train.use_best_weights


def test_unknown_key_names_the_nearest():
    with pytest.raises(UsageError, match="image_dimension"):
        apply_overrides(ClassifierConfig(), ["image_dimensions=64"], "train")


def after(aurocs: list[float], config: TrainConfig) -> list[Patience]:
    patience, states = Patience(config.initial_learning_rate), []
    for value in aurocs:
        patience = patience.after_epoch(value, config)
        states.append(patience)
    return states


def test_learning_rate_falls_and_its_counter_restarts():
    states = after([0.6, 0.6, 0.5, 0.5, 0.5], TrainConfig(patience=10))
    np.testing.assert_allclose([s.learning_rate for s in states], [1e-4, 1e-4, 1e-5, 1e-5, 1e-6])
    assert [s.epochs_without_reduction for s in states] == [0, 1, 0, 1, 0]
    assert [s.epochs_without_best for s in states] == [0, 1, 2, 3, 4]


def test_a_new_best_resets_both_counters():
    states = after([0.6, 0.5, 0.7, 0.6], TrainConfig())
    assert states[2] == Patience(1e-4, best=0.7)
    assert (states[3].epochs_without_best, states[3].epochs_without_reduction) == (1, 1)


def test_learning_rate_has_a_floor():
    config = TrainConfig(min_lr=3e-5, patience_reduce_lr=1)
    np.testing.assert_allclose([s.learning_rate for s in after([0.0] * 3, config)], 3e-5)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training(tmp_path, loss):
    callback = StopWhenDiverged(tmp_path, every=10)
    callback.on_train_batch_end(0, {"loss": 0.7})
    callback.on_train_batch_end(5, {"loss": loss})  # not looked at, so that the device is not waited for
    with pytest.raises(DivergenceError, match=r"best_weights\.h5 is kept"):
        callback.on_train_batch_end(10, {"loss": loss})
    with pytest.raises(DivergenceError):
        callback.on_epoch_end(0, {"loss": loss})
