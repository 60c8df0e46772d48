"""evaluate.py of GAN_prog on stored networks: what it writes, that it goes on, and what it refuses."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from GAN_prog.application import APPLICATION, build_networks
from GAN_prog.config import presets
from medsynth.config import override
from medsynth.data.labels import read_label_table, read_patients, read_split_labels, record_order
from medsynth.data.tfrecords import RecordFile, record_path
from medsynth.errors import DataError, NetworkError, UsageError
from medsynth.gan import evaluation
from medsynth.gan.evaluation import draw_reals, evaluate_networks, find_networks
from medsynth.gan.trained import open_generator
from medsynth.metrics.birthday import birthday_estimates
from medsynth.metrics.catalogue import MetricsRequest
from medsynth.metrics.evaluate import ImageSet, evaluate
from medsynth.metrics.features import load_extractor
from medsynth.training.checkpoint import save_networks
from tests.commands import refused, run_script
from tests.toy_data import LABELS, write_toy_split

RESOLUTION = 16
SNAPSHOTS = {"network-snapshot-000001": 1200, "network-snapshot-000002": 2400, "network-final": 2400}


def request(**changes: Any) -> MetricsRequest:
    choices = {
        "metrics": ("fid",), "features": "random", "weights": None, "num_images": 60, "split": "test",
        "snapshots": "final", "seed": 1,
    }  # fmt: skip
    return MetricsRequest(**(choices | changes))


def save_network(results: Path, name: str, seed: int) -> None:
    settings = ["network.fmap_base=64", "network.fmap_max=8", "network.precision=float32"]
    keras.utils.set_random_seed(seed)
    generator, _ = build_networks(override(presets(RESOLUTION)["cpu"], settings), RESOLUTION, 1, len(LABELS))
    facts = {"application": APPLICATION.name, "label_names": list(LABELS), "images_seen": SNAPSHOTS[name]}
    save_networks(results / name, {"average": generator}, facts)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset, and a results folder with three networks that nobody trained."""
    root = tmp_path_factory.mktemp("evaluate")
    for seed, split in enumerate(("train", "test")):
        write_toy_split(root / "data" / split, 130, RESOLUTION, seed)
    for seed, name in enumerate(SNAPSHOTS):
        save_network(root / "results", name, seed)
    return root / "data", root / "results"


@pytest.fixture
def folders(made: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """The dataset and a results folder of its own for each test."""
    shutil.copytree(made[1], tmp_path / "results")
    return made[0], tmp_path / "results"


def read(results: Path, ending: str) -> str:
    (path,) = (results / "metrics").glob(f"*.{ending}")
    return path.read_text()


def test_script_writes_every_metric_of_every_snapshot_newest_first(folders: tuple[Path, Path]) -> None:
    data, results = folders
    wanted = "kid,precision,modes,birthday,is,ms_ssim"
    arguments = ("--features", "random", "--metrics", wanted, "--snapshots", "all", "--num", 60)
    result = run_script("GAN_prog/evaluate.py", "metrics", results, data, *arguments)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (results / "metrics").iterdir()} == {
        "cache", *(f"random-test-n60-seed1.{ending}" for ending in ("json", "csv", "txt", "png"))
    }  # fmt: skip
    rows = list(csv.DictReader(read(results, "csv").splitlines()))
    names = [row["network"] for row in rows if row["metric"] == "kid"]
    assert names == ["network-snapshot-000002", "network-snapshot-000001"]
    assert [row["kimg"] for row in rows if row["metric"] == "kid"] == ["2.4", "1.2"]
    assert {row["metric"] for row in rows} == set(wanted.split(","))
    for row in rows:
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
        assert (row["n"], row["floor"] != "") == ("60", True)
        assert ("tests" in row["extractor"]) == (row["metric"] != "ms_ssim")
    assert "n 60" in result.stdout
    assert "random network (for tests" in result.stdout
    assert "ETA" in result.stderr or "synthetic images in" in result.stderr
    assert read(results, "txt") in result.stdout
    assert "modes, ndb: 6 modes of the real images" in result.stdout
    assert "n = 60; near-duplicates are nearer to each other than 95%" in result.stdout
    assert "to any image of another patient" in result.stdout
    stored = json.loads(read(results, "json"))
    assert stored["settings"]["num_real_images_in_split"] == 130
    assert set(stored["networks"]) == set(names)
    assert {row["n"] for network in stored["networks"].values() for row in network["rows"].values()} == {60}


def test_values_are_those_of_the_images_that_the_network_makes(folders: tuple[Path, Path]) -> None:
    """FID by hand: the reals drawn, and fakes with their labels and the seed's latents."""
    data, results = folders
    evaluate_networks(APPLICATION, data, results, request())
    generator = open_generator(APPLICATION.generator_classes, results)
    reals = draw_reals(data / "test", generator, request())
    latents = np.random.RandomState(1).randn(60, generator.network.latent_size).astype(np.float32)
    extractor = load_extractor("random")
    fakes = np.concatenate(list(generator.sampler(64)(latents, reals.labels)))
    assert reals.others is not None
    real, other, fake = (ImageSet(side, extractor(side)) for side in (reals.images, reals.others, fakes))
    (row,) = csv.DictReader(read(results, "csv").splitlines())
    expected = evaluate(("fid",), real, fake)["fid"]
    assert float(row["value"]) == pytest.approx(expected.value, rel=1e-6)
    assert float(row["high"]) == pytest.approx(expected.high, rel=1e-4)
    floor = evaluate(("fid",), real, other, num_blocks=0)["fid"].value
    assert float(row["floor"]) == pytest.approx(floor, rel=1e-6)
    assert floor < expected.low


def test_near_duplicates_are_judged_between_patients(folders: tuple[Path, Path]) -> None:
    """The floor by hand: images of one patient are no pair, on either side."""
    data, results = folders
    evaluate_networks(APPLICATION, data, results, request(metrics=("birthday", "support")))
    reals = draw_reals(data / "test", open_generator(APPLICATION.generator_classes, results), request())
    assert reals.groups is not None
    assert reals.others is not None
    assert not set(reals.groups) & set(reals.other_groups)
    extractor, names = load_extractor("random"), ("birthday", "support")
    sides = [extractor(images) for images in (reals.images, reals.others)]
    groups = {"real_groups": reals.groups, "fake_groups": reals.other_groups}
    floor, blind = (birthday_estimates(*sides, **given, num_blocks=0) for given in (groups, {}))
    rows = {row["metric"]: row for row in csv.DictReader(read(results, "csv").splitlines())}
    assert [float(rows[name]["floor"]) for name in names] == pytest.approx([floor[name].value for name in names])
    assert floor["support"] != blind["support"]


def test_reals_are_drawn_by_patient_with_their_own_labels(made: tuple[Path, Path]) -> None:
    folder = made[0] / "test"
    generator = open_generator(APPLICATION.generator_classes, made[1])
    reals = draw_reals(folder, generator, request())
    again, other = draw_reals(folder, generator, request()), draw_reals(folder, generator, request(seed=2))
    np.testing.assert_array_equal(again.images, reals.images)
    assert (other.images != reals.images).any()
    assert (reals.grouped_by, len(reals.images)) == ("patient", 60)
    assert reals.others is not None
    records = RecordFile(record_path(folder, 4))
    by_pixels = {image.tobytes(): number for number, image in enumerate(records.read(range(len(records))))}
    assert len(by_pixels) == 130
    numbers = [by_pixels[image.tobytes()] for image in reals.images]
    others = [by_pixels[image.tobytes()] for image in reals.others]
    np.testing.assert_array_equal(read_split_labels(folder).values[numbers], reals.labels)
    patients = read_patients(folder, read_label_table(folder).paths)
    assert patients is not None
    in_order = np.array(patients)[record_order(130)]
    assert not set(in_order[numbers]) & set(in_order[others])
    assert reals.groups is not None
    assert (reals.groups[:, None] == reals.groups).tolist() == (
        in_order[numbers][:, None] == in_order[numbers]
    ).tolist(), "the groups are the patients"
    assert len(set(in_order[numbers])) == 30, "two images of each patient, side by side"
    assert (in_order[numbers][0::2] == in_order[numbers][1::2]).all()


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The networks that were asked for images, in order."""
    names: list[str] = []
    original = evaluation._Session._generate

    def noted(session: Any, generator: Any, name: str) -> ImageSet:
        names.append(name)
        return original(session, generator, name)

    monkeypatch.setattr(evaluation._Session, "_generate", noted)
    return names


def test_what_is_there_is_not_computed_again(folders: tuple[Path, Path], generated: list[str]) -> None:
    data, results = folders

    def run(**changes: Any) -> list[str]:
        generated.clear()
        evaluate_networks(APPLICATION, data, results, request(**changes))
        return list(generated)

    newest, oldest = "network-snapshot-000002", "network-snapshot-000001"
    shutil.move(results / oldest, results / "kept")
    assert run(snapshots="all") == [newest]
    before = read(results, "csv")
    shutil.move(results / "kept", results / oldest)
    assert run(snapshots="all") == [oldest], "only what is missing"
    assert read(results, "csv").startswith(before), "the rest stays as it was"
    assert run(snapshots="all") == []
    assert run(snapshots="all", metrics=("fid", "kid")) == [newest, oldest], "one more metric"
    assert run(snapshots="all", metrics=("kid",)) == []
    save_network(results, newest, seed=9)
    assert run(snapshots="all", metrics=("kid",)) == [newest], "another network under the old name"


def test_other_real_images_begin_anew(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    data, results = folders
    evaluate_networks(APPLICATION, data, results, request())
    (path,) = (results / "metrics").glob("*.json")
    stored = json.loads(path.read_text())
    stored["settings"]["real_images_sha256"] = "other"
    path.write_text(json.dumps(stored))
    capsys.readouterr()
    evaluate_networks(APPLICATION, data, results, request())
    assert "made of other real images" in capsys.readouterr().err


def test_fewer_images_than_asked_for_are_said_and_counted(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, results = folders
    text, paths = evaluate_networks(APPLICATION, data, results, request(num_images=1000))
    assert "1,000 images were asked for; the split has 130, and half of them" in capsys.readouterr().err
    assert "note: 1,000 images were asked for" in text
    assert "n 65" in text
    assert "random-test-n65-seed1.json" in {path.name for path in paths}
    text, _ = evaluate_networks(APPLICATION, data, results, request(num_images=1000, with_floor=False))
    assert "n 130" in text
    assert "  real images" not in text


def test_networks_are_found_newest_first(tmp_path: Path) -> None:
    names = ("network-snapshot-000900", "network-snapshot-001000", "network-snapshot-1000000", "network-final")
    for name in (*names, "network-snapshot-000950-copy"):  # the last is somebody's copy, and not to be measured
        (tmp_path / name).mkdir()
    assert [path.name[17:] for path in find_networks(tmp_path, "all")] == ["1000000", "001000", "000900"]
    assert find_networks(tmp_path, "final") == [tmp_path / "network-final"]
    with pytest.raises(NetworkError, match="network-snapshot-NNNNNN was expected"):
        find_networks(tmp_path / "network-final", "all")
    with pytest.raises(DataError, match="results of a GAN's training"):
        find_networks(tmp_path / "nowhere", "all")


def test_data_that_do_not_fit_the_network_are_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    results = made[1]

    def run(folder: Path, **changes: Any) -> None:
        evaluate_networks(APPLICATION, folder, results, request(**changes))

    write_toy_split(tmp_path / "small" / "test", 130, 8)
    with pytest.raises(DataError, match=r"no images of 16x16. Resolutions in this folder: 4, 8"):
        run(tmp_path / "small")
    write_toy_split(tmp_path / "labels" / "test", 130, RESOLUTION, names=("A", "B"))
    with pytest.raises(DataError, match=r"trained with the labels No Finding.*Received: A, B"):
        run(tmp_path / "labels")
    write_toy_split(tmp_path / "few" / "test", 90, RESOLUTION)
    with pytest.raises(DataError, match=r"Too few real images: at least 2 x 48 .*Received: 90 images"):
        run(tmp_path / "few")
    with pytest.raises(DataError, match="TFRecords, labels and a csv"):
        run(made[0], split="valid")
    assert not (results / "metrics").exists(), "nothing is written before the input is found good"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--metrics", "fidd"), "Unknown metric. Did you mean fid?"),
        ((), "--features inception-2015 needs its weights, and nothing is downloaded"),
        (("--features", "random", "--num", "10"), "--num is at least 48. Received: 10"),
    ],
)
def test_script_refuses_at_once_what_it_cannot_do(
    made: tuple[Path, Path], arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused("GAN_prog/evaluate.py", "metrics", made[1], made[0], *arguments)


def test_swd_of_small_images_is_refused() -> None:
    with pytest.raises(UsageError, match="16x16"):
        request(metrics=("swd",)).require_fitting(1000, 8, Path("data"))
