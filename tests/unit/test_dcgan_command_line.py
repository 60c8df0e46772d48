"""GAN_dcgan's command line: two ways to name the same settings."""

import argparse
from pathlib import Path

import pytest

from GAN_dcgan.command_line import SETTINGS_OF, train_arguments, train_parser
from GAN_dcgan.config import DcganConfig
from medsynth.config import flatten, override
from medsynth.errors import UsageError


def parse(text: str) -> argparse.Namespace:
    return train_arguments(train_parser("").parse_args(["train", *text.split()]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d r 7", ("d", "r", 7, 128)),
        ("d r 7 64", ("d", "r", 7, 64)),
        ("--lr 0.1 d r 7", ("d", "r", 7, 128)),
        ("--data-folder d --experiment-name e", ("d", "runs/e", 1, 128)),
        ("--data-folder d --experiment-name e 7 256", ("d", "runs/e", 7, 256)),
        ("7 --data-folder d --experiment-name e", ("d", "runs/e", 7, 128)),
        ("d runs/e 7 --data-folder d --experiment-name e", ("d", "runs/e", 7, 128)),
        ("d r 7 --data-folder d", ("d", "r", 7, 128)),
    ],
)
def test_places(text: str, expected: tuple) -> None:
    found = parse(text)
    assert (str(found.data_dir), str(found.results_dir), found.random_seed, found.resolution) == expected
    assert isinstance(found.results_dir, Path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Give data_dir results_dir random_seed"),
        ("d r", "Give data_dir results_dir random_seed"),
        ("d r 1 64 5", "Give data_dir results_dir random_seed"),
        ("d r 1 --data-folder other", "data_dir and --data-folder are the same setting"),
        ("d r 1 --experiment-name e", "results_dir and --experiment-name are the same setting"),
        ("d r 1 100", "The image size is one of 16, 32, 64, 128, 256. Received: 100"),
        ("d r -1", "a seed from 0 to 4294967295 was expected"),
        ("d r x", "an integer was expected"),
        ("d r 1 --lr 0.1 --set schedule.discriminator_learning_rate=0.2", "--lr and --set"),
        ("d r 1 --batch-size 8 --set schedule.minibatch_base=8", "--batch-size and --set"),
        ("d r 1 --epochs 3 --set schedule.total_kimg=8", "--epochs and --set"),
        ("d r 1 --epochs 0", "--epochs is above 0"),
    ],
)
def test_what_contradicts_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(text)
    assert words in str(error.value)


def test_options_are_settings_under_the_originals_names() -> None:
    found = parse(
        "d r 1 --batch-size 8 --latent-vector-length 9 --generator-features 3 --discriminator-features 4 "
        "--filename-filter 12 --image-extension jpg --lr 0.01 --beta 0.5 --table t.csv --file-column f "
        "--group-column g --held-out 0.25"
    )
    settings = flatten(override(DcganConfig(), found.overrides))
    expected = {
        "schedule.minibatch_base": 8,
        "network.latent_size": 9,
        "network.generator_features": 3,
        "network.discriminator_features": 4,
        "data.filename_filter": "12",
        "data.image_extension": "jpg",
        "schedule.generator_learning_rate": 0.01,
        "schedule.discriminator_learning_rate": 0.01,
        "optimiser.beta_1": 0.5,
        "data.table": "t.csv",
        "data.file_column": "f",
        "data.group_column": "g",
        "data.held_out_share": 0.25,
    }
    assert {key: settings[key] for key in expected} == expected
    assert {key for keys in SETTINGS_OF.values() for key in keys} == set(expected)


def test_a_setting_may_be_given_once_in_either_way() -> None:
    found = parse("d r 1 --lr 0.01 --set optimiser.beta_1=0.4")
    assert override(DcganConfig(), found.overrides).optimiser.beta_1 == 0.4
