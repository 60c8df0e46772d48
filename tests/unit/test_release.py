"""The release bundle: whole, verified, and without a trace of the private data."""

import copy
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medsynth.data.labels import read_split_labels
from medsynth.data.pyramid import open_records
from medsynth.errors import DataError, NetworkError, RunFolderError, UsageError
from medsynth.files import read_json, sha256_of, write_json
from medsynth.gan import release
from medsynth.gan.model_card_text import card_text, example
from medsynth.gan.release import export_bundle, load_generator, verify_bundle
from medsynth.gan.trained import open_generator
from medsynth.training.checkpoint import read_arrays
from tests.tiny_gan import CLASSES, LABELS, RESOLUTION, SETTINGS, tiny_generator, write_results
from tests.toy_data import write_toy_split

FILES = [
    "SHA256SUMS",
    "model_card.json",
    "model_card.md",
    "network-final/average.safetensors",
    "network-final/network.json",
    "samples.png",
]
PATIENT, PLACE = "patient04711", "/srv/hospital/private"
SPLIT = {"images": 64, "patients": 32, "positives": dict.fromkeys(LABELS, 21) | {PATIENT: 1}}
MANIFEST = {
    "form_version": 1,
    "made_by": {"command": "create_from_folder", "arguments": {"raw_dir": PLACE}, "seed": 100, "library_versions": {}},
    "audited_with": {"python": PLACE},
    "num_errors": 1,
    "num_warnings": 2,
    "checks": [{"name": "patients", "scope": PATIENT}],
    "findings": [
        {
            "check": PATIENT,
            "severity": "error",
            "place": PLACE,
            "message": f"In both: {PATIENT}",
            "is_leak": True,
        }
    ],
    "overlaps": {
        "train-valid": {"patients": 0, "exact_duplicates": 0, "near_duplicates": None, PATIENT: 1},
        "train-test": {"patients": 1, "exact_duplicates": 0, "near_duplicates": 4},
        PLACE: {"patients": 0, "exact_duplicates": 0, "near_duplicates": 0},
    },
    "pairs": [{"kind": PATIENT, "train": {"record": 1}}],
    "splits": {"train": SPLIT, "test": SPLIT, PATIENT: SPLIT},
    "files": {f"train/{PATIENT}.csv": {"size": 1, "sha256": "0"}},
}
METRIC = {
    "metric": "fid",
    "value": 31.25,
    "low": 29.0,
    "high": 33.5,
    "n": 10000,
    "floor": 4.5,
    "split": "test",
    "extractor": "random network (for tests; says nothing about quality)",
    "images": [f"{PLACE}/{PATIENT}.png"],
}


@pytest.fixture(scope="module")
def private_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose names are looked for in the bundle."""
    folder = tmp_path_factory.mktemp("data") / PATIENT
    write_toy_split(folder / "train", names=LABELS)
    write_json(folder / "manifest.json", MANIFEST)
    return folder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, private_data: Path) -> Path:
    """A training whose every file holds something private."""
    folder = tmp_path_factory.mktemp("results") / PATIENT
    write_results(folder, data_dir=PLACE, images=[PATIENT])
    labels = read_split_labels(private_data / "train").values
    settings = SETTINGS | {
        "data.images_sha256": open_records(private_data / "train", RESOLUTION).digest,
        "data.labels_sha256": hashlib.sha256(labels.tobytes()).hexdigest(),
        "data.dir": PLACE,
        "stopping.weights": "weights",
        "stopping.features": "inception",
        "network.note": f"{PLACE}/{PATIENT}",
        "trainer.names": {PLACE: 1},
        "loss.names": [PLACE],
    }
    write_json(folder / "config.json", settings)
    write_json(folder / "metrics" / "fid.json", METRIC)
    write_json(folder / "metrics" / "more.json", [METRIC | {"metric": "kid", "extractor": PLACE}])
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, results: Path, private_data: Path) -> Path:
    folder = tmp_path_factory.mktemp("out") / "bundle"
    export_bundle(CLASSES, results, folder, data_dir=private_data, licence="CC-BY-4.0")
    return folder


@pytest.fixture
def copied(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def test_a_bundle_holds_what_it_should(bundle: Path) -> None:
    found = sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())
    assert found == FILES
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]
    sums = dict(reversed(line.split("  ")) for line in (bundle / "SHA256SUMS").read_text().splitlines())
    assert sorted(sums) == FILES[1:]
    for name, digest in sums.items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == digest
    with Image.open(bundle / "samples.png") as grid:
        assert json.loads(grid.text["medsynth"])["rows"] == list(LABELS)
    assert read_json(bundle / "network-final" / "network.json") == {
        "networks": read_json(bundle / "network-final" / "network.json")["networks"],
        "application": "prog-GAN",
        "label_names": list(LABELS),
        "resolution": 16,
        "random_seed": 3,
        "images_seen": 8000,
        "chosen_by": "last",
    }


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum on this machine")
def test_the_checksums_are_those_of_sha256sum(bundle: Path, copied: Path) -> None:
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    assert subprocess.run(command, cwd=bundle, capture_output=True, check=False).returncode == 0
    (copied / "model_card.md").write_text("changed")
    assert subprocess.run(command, cwd=copied, capture_output=True, check=False).returncode == 1


def test_nothing_of_the_private_data_is_in_any_file(bundle: Path, results: Path, private_data: Path) -> None:
    planted = (PATIENT, "hospital", PLACE, "patient0", "raw/", str(results), str(private_data), results.parts[-2])
    private = b"".join(path.read_bytes() for folder in (results, private_data) for path in folder.rglob("*.*"))
    for word in planted[:4]:
        assert word.encode() in private, "it was there to be found"
    for path in bundle.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            with_pixels_unpacked = content + (np.asarray(Image.open(path)).tobytes() if path.suffix == ".png" else b"")
            for word in planted:
                assert word.encode() not in with_pixels_unpacked, (path, word)
            assert str(Path.home()).encode() + b"/" not in content


def test_the_card_says_what_is_known(bundle: Path) -> None:
    card = read_json(bundle / "model_card.json")
    assert (card["application"], card["package"], card["resolution"], card["labels"]) == (
        "prog-GAN",
        "GAN_prog",
        16,
        list(LABELS),
    )
    assert card["num_parameters"] == tiny_generator().count_params() > 1000
    assert (card["kimg"], card["random_seed"], card["chosen_by"], card["licence"]) == (8.0, 3, "last", "CC-BY-4.0")
    assert card["training"]["schedule.total_kimg"] == 8.0
    assert card["training"]["stopping.features"] == "inception"
    assert not {"stopping.weights", "network.note", "trainer.names", "loss.names", "data.dir"} & set(card["training"])
    data = card["data"]
    assert (data["source"], data["seed"], list(data["splits"])) == ("create_from_folder", 100, ["train", "test"])
    assert data["splits"]["train"] == {"images": 64, "patients": 32, "positives": dict.fromkeys(LABELS, 21)}
    assert data["audit"] == {
        "num_errors": 1,
        "num_warnings": 2,
        "overlaps": {
            "train-valid": {"patients": 0, "exact_duplicates": 0, "near_duplicates": None},
            "train-test": {"patients": 1, "exact_duplicates": 0, "near_duplicates": 4},
        },
    }
    assert card["metrics"][0] == {key: value for key, value in METRIC.items() if key != "images"}
    assert card["metrics"][1]["extractor"] is None
    assert not card["privacy_measured"]
    text = (bundle / "model_card.md").read_text()
    for line in (
        "| images | 64 | 64 |",
        "| Edema | 21 | 21 |",
        "- train and test share 1 patients, 0 identical images, 4 near duplicates",
        "- train and valid share 0 patients, 0 identical images, not known near duplicates",
        "| fid | 31.25 | 29 to 33.5 | 10,000 | test | 4.5 | random network (for tests; says nothing about quality) |",
        "| `schedule.total_kimg` | `8.0` |",
        "**Not measured.**",
        "CC-BY-4.0",
        "It is the last one of its training",
    ):
        assert line in text, line


def test_what_is_not_known_is_said(results: Path, tmp_path: Path, bundle: Path) -> None:
    bare = write_results(tmp_path / "results")
    text = card_text(export_bundle(CLASSES, bare, tmp_path / "bundle"))
    assert "## Trained on\n\nNot stated by the exporter." in text
    assert "## Measured\n\nNothing." in text
    assert "## Licence\n\nNot stated." in text
    assert "whether they show them was not measured" in text
    write_json(bare / "metrics" / "p.json", {"metric": "privacy-membership", "value": 0.5})
    text = card_text(export_bundle(CLASSES, bare, tmp_path / "measured"))
    assert "Not measured" not in text
    assert "Measured: the rows that begin with `privacy`" in text


@pytest.mark.parametrize(
    ("facts", "snapshot", "sentence"),
    [
        ({"chosen_by": "FID", "fid": 12.345}, None, "the lowest FID of its training. It was 12.35"),
        ({"chosen_by": "coin"}, None, "is not known"),
        ({"chosen_by": "tick"}, 8, "a snapshot that the exporter chose"),
    ],
)
def test_the_card_says_how_the_network_was_chosen(
    tmp_path: Path, facts: dict[str, Any], snapshot: int | None, sentence: str
) -> None:
    name = "network-final" if snapshot is None else f"network-snapshot-{snapshot:06d}"
    results = write_results(tmp_path / "results", name, **facts)
    assert sentence in card_text(export_bundle(CLASSES, results, tmp_path / "bundle", snapshot=snapshot))


def test_labels_that_look_like_markup_leave_table_and_example_whole(tmp_path: Path) -> None:
    names = ['a|"b"', "c\\", "d'e"]
    results = write_results(tmp_path / "results", label_names=names)
    card = export_bundle(CLASSES, results, tmp_path / "bundle")
    assert json.loads(example(card).rpartition("range(8), ")[2].partition(")  #")[0]) == names[:1]
    assert "\n- a\\|" in card_text(card)


def test_the_same_training_gives_the_same_bundle(
    bundle: Path, results: Path, private_data: Path, tmp_path: Path
) -> None:
    export_bundle(CLASSES, results, tmp_path / "again", data_dir=private_data, licence="CC-BY-4.0")
    for name in FILES[1:]:
        if name.endswith(".safetensors"):  # the library writes what it says of itself in any order
            first, second = (read_arrays(folder / name)[0] for folder in (bundle, tmp_path / "again"))
            assert first.keys() == second.keys()
            assert all(np.array_equal(first[key], second[key]) for key in first)
        else:
            assert (tmp_path / "again" / name).read_bytes() == (bundle / name).read_bytes(), name


def test_a_bundle_makes_the_images_of_its_training(bundle: Path, results: Path) -> None:
    generate = load_generator(str(bundle), CLASSES)
    images = generate(range(5), "Edema")
    np.testing.assert_array_equal(images, open_generator(CLASSES, results)(range(5), "Edema"))
    assert np.ptp(images) > 50


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("place", [0, -1], ids=["first", "last"])
def test_a_changed_byte_is_found(copied: Path, name: str, place: int) -> None:
    verify_bundle(copied)
    content = bytearray((copied / name).read_bytes())
    content[place] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(NetworkError, match=rf"{name}: The file has changed since the bundle was made"):
        load_generator(copied, CLASSES)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(NetworkError, match=rf"{name}: .* Received: no such file"):
        load_generator(copied, CLASSES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("samples.png", "other.png"), r"other\.png: .* no such file"),
        (
            lambda text: "\n".join(line for line in text.splitlines() if "safetensors" not in line),
            r"network must be among the checksums\. Received: no network-final/average\.safetensors",
        ),
        (lambda text: text.replace("samples.png", "../bundle/samples.png"), "Line 5 is no checksum"),
        (lambda text: text.replace("samples.png", "/samples.png"), "Line 5 is no checksum"),
        (lambda text: text[1:], "Line 1 is no checksum"),
        (lambda text: "", "must be among the checksums"),
        (lambda text: "\xff", "Line 1 is no checksum"),
    ],
)
def test_damaged_checksums_are_refused(copied: Path, change: Callable[[str], str], message: str) -> None:
    path = copied / "SHA256SUMS"
    path.write_text(change(path.read_text()))
    with pytest.raises(NetworkError, match=message):
        load_generator(copied, CLASSES)


def test_images_beside_the_network_do_not_matter(copied: Path) -> None:
    (copied / "inference").mkdir()
    (copied / "inference" / "generator.json").write_text("{}")
    load_generator(copied, CLASSES)


def test_a_class_that_the_application_lacks_is_not_built(bundle: Path) -> None:
    with pytest.raises(NetworkError, match=r"of a known class \(Other\)"):
        load_generator(bundle, {"Other": dict})


# What cannot be exported.


def test_a_network_that_still_grows_is_refused(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results", "network-snapshot-000001", images_seen=1250)
    with pytest.raises(NetworkError, match=r"still growing to 16x16; .* Received: 1\.2 kimg, level of detail 0\.75"):
        export_bundle(CLASSES, results, tmp_path / "bundle", snapshot=1)
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_holds_something_is_left_alone(results: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(RunFolderError, match=r"new or empty folder\. Received: thesis\.tex"):
        export_bundle(CLASSES, results, tmp_path)
    with pytest.raises(RunFolderError, match="Received: a file"):
        export_bundle(CLASSES, results, tmp_path / "thesis.tex")
    with pytest.raises(UsageError, match="a name of its own"):
        export_bundle(CLASSES, results, Path())
    assert (tmp_path / "thesis.tex").read_text() == "years"
    (tmp_path / "empty").mkdir()
    export_bundle(CLASSES, results, tmp_path / "empty")


def test_an_export_that_fails_leaves_nothing(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(card: Any) -> str:
        assert [path.name for path in tmp_path.rglob("average.safetensors")], "the weights are there by now"
        raise KeyboardInterrupt

    monkeypatch.setattr(release, "card_text", fail)
    with pytest.raises(KeyboardInterrupt):
        export_bundle(CLASSES, results, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def changed(**changes: Any) -> dict[str, Any]:
    return copy.deepcopy(MANIFEST) | changes


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, r"never audited\. Run python3 build_dataset/dataset_tool\.py verify"),
        ([], "A JSON object was expected"),
        (changed(form_version=2), "of another version"),
        (changed(splits={}), "dataset that the network was trained on .* Received: None training images"),
        (changed(splits={"train": SPLIT | {"images": 63}}), "Received: 63 training images"),
        (changed(splits={"train": {"images": 64}}), r"manifest is damaged.* Received: KeyError"),
        (changed(overlaps=[]), "manifest is damaged.* Received: AttributeError"),
        (changed(splits=[SPLIT]), "manifest is damaged"),
        (changed(made_by=None), "manifest is damaged"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(results: Path, tmp_path: Path, manifest: Any, message: str) -> None:
    (tmp_path / "data").mkdir()
    if manifest is not None:
        write_json(tmp_path / "data" / "manifest.json", manifest)
    with pytest.raises(DataError, match=message):
        export_bundle(CLASSES, results, tmp_path / "bundle", data_dir=tmp_path / "data")
    assert not (tmp_path / "bundle").exists()


def test_a_dataset_with_other_images_is_refused(results: Path, tmp_path: Path) -> None:
    write_toy_split(tmp_path / "data" / "train", seed=1, names=LABELS)
    write_json(tmp_path / "data" / "manifest.json", MANIFEST)
    with pytest.raises(DataError, match=r"dataset that the network was trained on .* Received: other images"):
        export_bundle(CLASSES, results, tmp_path / "bundle", data_dir=tmp_path / "data")


def test_a_dataset_with_other_labels_is_refused(results: Path, private_data: Path, tmp_path: Path) -> None:
    other = tmp_path / "results"
    shutil.copytree(results, other)
    write_json(other / "config.json", read_json(results / "config.json") | {"data.labels_sha256": "0"})
    with pytest.raises(DataError, match=r"dataset that the network was trained on .* Received: other labels"):
        export_bundle(CLASSES, other, tmp_path / "bundle", data_dir=private_data)


def test_every_command_sees_that_a_bundle_was_changed(bundle: Path, tmp_path: Path) -> None:
    """Two labels exchanged: the weights are whole, the images would be those of the other label."""
    edited = tmp_path / "bundle"
    shutil.copytree(bundle, edited)
    path = edited / "network-final" / "network.json"
    path.write_text(
        path.read_text().replace("Cardiomegaly", "?").replace("Edema", "Cardiomegaly").replace("?", "Edema")
    )
    with pytest.raises(NetworkError, match=r"network\.json: The file has changed"):
        open_generator(CLASSES, edited)


def record(folder: Path) -> dict[str, Any]:
    """Return metrics as evaluate.py writes them."""
    row = {"value": 0.01, "low": None, "high": None, "floor": 0.001, "extractor": "pixels", "sha256": "pixels"}
    networks = {
        name: {"kimg": 8.0, "sha256": sha256_of(folder / name / "average.safetensors"), "rows": {"kid": row | change}}
        for name, change in (("network-final", {}), ("network-snapshot-000008", {"value": 0.5}))
    }
    networks["network-final"]["rows"]["fid"] = row | {"value": None}
    networks["network-snapshot-000004"] = {"kimg": 4.0, "sha256": "0", "rows": {PLACE: row}}
    return {"settings": {"n": 200, "split": "valid", "folder": PLACE}, "notes": [PLACE], "networks": networks}


def test_metrics_are_those_of_the_exported_weights(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results")
    write_results(results, "network-snapshot-000008", network=tiny_generator(fmap_base=32))
    write_json(results / "metrics" / "random-valid-n200-seed1.json", record(results))
    (entry,) = export_bundle(CLASSES, results, tmp_path / "final")["metrics"]
    assert entry == {
        "metric": "kid",
        "value": 0.01,
        "low": None,
        "high": None,
        "n": 200,
        "floor": 0.001,
        "split": "valid",
        "extractor": "pixels",
    }
    assert "| kid | 0.01 | not known | 200 | valid | 0.001 | pixels |" in (tmp_path / "final/model_card.md").read_text()
    (entry,) = export_bundle(CLASSES, results, tmp_path / "snapshot", snapshot=8)["metrics"]
    assert entry["value"] == 0.5
    write_results(results, network=tiny_generator(fmap_base=32))  # trained on since it was measured
    assert export_bundle(CLASSES, results, tmp_path / "later")["metrics"] == []


@pytest.mark.parametrize(
    "content",
    [
        {},
        3,
        {"metric": "fid"},
        {"metric": PLACE, "value": 1},
        {"metric": "fid", "value": "1"},
        {"networks": []},
        {"networks": {"network-final": {}}},
    ],
)
def test_damaged_metrics_are_refused(tmp_path: Path, content: Any) -> None:
    results = write_results(tmp_path / "results")
    write_json(results / "metrics" / "fid.json", content)
    with pytest.raises(DataError, match=r"fid\.json: Metrics, with names and values, were expected"):
        export_bundle(CLASSES, results, tmp_path / "bundle")


def test_a_training_without_settings_is_refused(tmp_path: Path) -> None:
    results = write_results(tmp_path / "results")
    (results / "config.json").unlink()
    with pytest.raises(DataError, match=r"config\.json: A JSON file was expected"):
        export_bundle(CLASSES, results, tmp_path / "bundle")
