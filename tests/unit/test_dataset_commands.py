"""Settings of dataset commands that no raw data fit: refused without any."""

from typing import Any

import pytest

from build_dataset.commands import COMMANDS, check_settings, create_command
from medsynth.errors import UsageError


@pytest.mark.parametrize("name", COMMANDS)
def test_the_published_settings_pass(name: str) -> None:
    source, benchmark = check_settings(name)
    assert type(source) is type(COMMANDS[name].source)
    assert type(benchmark) is type(COMMANDS[name].benchmark)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("create_from_xray", {"limit": -1}, "--limit is a number of images"),
        ("create_from_xray", {"split": 0.5}, "--split is a fraction"),
        ("create_from_xray", {"seed": 2**32 - 1}, "--seed is a number from 0"),
        ("create_from_xray", {"image_size": 9}, "--image-size is a power of two"),
        ("create_from_xray", {"test_val_samples": -1}, "--test-val-samples is a number"),
        ("create_from_xray", {"classes": (2,)}, "create_from_xray has the settings"),
        ("create_class_from_xray", {"classes": (3, 3)}, r"--classes takes different numbers.*Received: \[3, 3\]"),
        ("create_class_from_xray", {"classes": (3, 2)}, "--train-per-class needs one number for each of --classes"),
        ("create_class_from_xray", {"train_per_class": (1, 1, 0, 1, 1, 1)}, "of the train split are 1 or more"),
        ("create_class_from_xray", {"valid_per_class": 0}, "images per class of the valid split are 1 or more"),
        ("create_samples_from_xray", {"test_per_class": 0}, "images per class of the test split are 1 or more"),
        ("create_samples_from_xray", {"train_per_class": (5, 5)}, "--train-per-class takes different numbers"),
        ("create_samples_from_brain", {"index_size": 3}, "--index-size is at least the largest"),
        ("create_samples_from_brain", {"num_classes": -1}, "--num-classes is a number of combinations"),
        ("create_from_brain", {"no_finding_length": -1}, "--no-finding-length is a number"),
        ("create_from_folder", {"missing_labels": "x"}, "--missing-labels is one of"),
        ("create_from_folder", {"channels": 2}, "--channels is 1"),
        ("create_from_folder", {"fit": "x"}, "--fit is one of"),
    ],
)
def test_settings_out_of_their_range_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_settings(name, **settings)


def test_a_check_reads_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    places = {"target_dir": "/nowhere/out", "raw_dir": "/nowhere/raw"}
    arguments = places | {"overwrite": False, "labels_only": False, "check_settings": True}
    create_command("create_from_xray", arguments, num_workers=1)
    assert capsys.readouterr().out == ""
    with pytest.raises(UsageError, match="--workers is the number of processes"):
        create_command("create_from_xray", arguments, num_workers=0)
