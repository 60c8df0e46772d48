"""verdict.py as a user calls it, from images to the page."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.gates.command import PAGE, REPORT
from medsynth.data.labels import write_patients
from medsynth.files import read_json, write_json
from tests.commands import refused, run_script
from tests.page_checks import PageCheck
from tests.tiny_gan import SETTINGS
from tests.tiny_gan import write_results as write_training
from tests.verdict_files import drop, write_dataset, write_results, write_unlabelled_results

SCRIPT = "benchmark/verdict.py"
FEATURES = ("--features", "random")
NUM_IMAGES = 64
OUTCOMES = ("pass", "fail", "insufficient data", "not applicable")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), NUM_IMAGES)


def verdict(results: Path, data: Path, *options: object) -> tuple[list[str], dict[str, Any], str]:
    """Call the script; return what it printed at its end, verdict.json and the page."""
    done = run_script(SCRIPT, results, data, *FEATURES, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()[-5:]
    page, report = (Path(name.strip()) for name in lines[-1].split(","))
    assert (page.name, report.name) == (PAGE, REPORT)
    return lines, read_json(report), page.read_text()


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    return {gate["key"]: gate["outcome"] for gate in report["gates"]}


def require_sound(lines: list[str], report: dict[str, Any], page: str) -> None:
    found = outcomes(report)
    assert list(found) == ["utility", "fidelity", "privacy"]
    assert set(found.values()) <= set(OUTCOMES)
    for line, (key, outcome) in zip(lines, found.items(), strict=False):
        assert line.startswith(key)
        assert outcome in line
    assert lines[3].startswith(report["overall"]["headline"])
    check = PageCheck(page)
    assert check.faults == []
    assert len(check.values("id")) == len(set(check.values("id")))
    assert all(alternative for alternative in check.values("alt"))
    measures = [measure for gate in report["gates"] for measure in gate["measures"]]
    assert len(measures) > 5
    assert all(measure["unit"] and measure["title"] for measure in measures)


def test_judges_the_results_of_a_labelled_gan(data: Path, tmp_path: Path) -> None:
    results = write_results(tmp_path / "gan", NUM_IMAGES, application="prog-GAN")
    lines, report, page = verdict(results, data)
    require_sound(lines, report, page)
    assert report["judged"]["application"] == "prog-GAN"
    # Nothing is trained, so utility is open, and with it the whole; the page says what to run.
    assert outcomes(report)["utility"] == "insufficient data"
    assert report["overall"]["outcome"] != "pass"
    assert any("classifier_real/train.py" in command for command in report["gates"][0]["commands"])
    assert "classifier_fake/train.py" in page
    assert not (data / "classification_results_res_16" / "train").exists()


def test_judges_images_without_labels_of_unknown_origin(data: Path, tmp_path: Path) -> None:
    results = write_unlabelled_results(tmp_path / "found", NUM_IMAGES)
    lines, report, page = verdict(results, data, "--out", tmp_path / "out", "--no-private-pictures")
    require_sound(lines, report, page)
    assert outcomes(report)["utility"] == "not applicable"
    assert report["judged"]["labels"] == []
    assert "Nothing says what made the synthetic images" in page
    assert not any(picture["is_private"] and picture["title"] in page for gate in report["gates"]
                   for picture in gate["pictures"])  # fmt: skip


def test_copies_of_the_training_images_are_not_shared(data: Path, tmp_path: Path) -> None:
    results = tmp_path / "memoriser"
    shutil.copytree(data / "train", results / "inference" / "train")
    _, report, _ = verdict(results, data)
    assert outcomes(report)["privacy"] != "pass"
    assert report["overall"]["outcome"] != "pass"


def test_makes_the_images_of_a_dcgan(data: Path, tmp_path: Path) -> None:
    from GAN_dcgan.networks import Generator

    network = Generator(resolution=16, num_channels=1, features=1, latent_size=6)
    network.build()
    results = write_training(tmp_path / "gan", network=network, application="DCGAN", label_names=[], resolution=16)
    write_json(results / "config.json", SETTINGS | {"application": "DCGAN", "resolution": 16})
    lines, report, page = verdict(results, data)
    require_sound(lines, report, page)
    assert outcomes(report)["utility"] == "not applicable"
    assert report["judged"]["synthetic"]["train"]["num_images"] == NUM_IMAGES
    assert (results / "verdict" / "synthetic" / "train" / "train-r04.tfrecords").is_file()


def test_without_held_out_patients_privacy_never_passes(data: Path, tmp_path: Path) -> None:
    alone = tmp_path / "data"
    shutil.copytree(data, alone)
    drop(alone / "test")
    drop(alone / "valid")
    _, report, page = verdict(write_results(tmp_path / "gan", NUM_IMAGES), alone)
    assert outcomes(report)["privacy"] == "insufficient data"
    assert "There are no held-out real images" in page


def test_names_what_cannot_be_judged(data: Path, tmp_path: Path) -> None:
    results = write_results(tmp_path / "gan", NUM_IMAGES)
    assert "the results of a GAN was expected" in refused(SCRIPT, tmp_path / "nowhere", data)
    assert "no images of 64x64" in refused(SCRIPT, results, data, 64)
    assert "No such file" in refused(SCRIPT, results, data, "--thresholds", tmp_path / "none.yaml")
    assert "--features is one of" in refused(SCRIPT, results, data, "--features", "x")
    leaking = tmp_path / "leaking"
    shutil.copytree(data, leaking)
    write_patients(leaking / "test", ["train-0"] * NUM_IMAGES)
    assert "share patients or images" in refused(SCRIPT, results, leaking)
