"""What a verdict is about: found, checked, and refused where it would mislead."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.gates import unlabelled
from benchmark.gates.inputs import Request, read_inputs
from benchmark.steps import Step
from medsynth.data.labels import read_label_table, record_order, write_patients
from medsynth.data.pyramid import open_records
from medsynth.errors import MedsynthError
from medsynth.files import read_json, write_json, write_text
from medsynth.networks.trained_classifier import BEST_WEIGHTS, TRAIN_FOLDER
from tests.toy_data import write_toy_split
from tests.verdict_files import drop, write_dataset, write_results

Places = tuple[Path, Path]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """(results_dir, data_dir)."""
    results, data = write_results(tmp_path / "gan", application="prog-GAN"), write_dataset(tmp_path / "data")
    facts = {"resolution": 16, "data.images_sha256": open_records(data / "train", 16).digest}
    write_json(results / "config.json", {"application": "prog-GAN", **facts})
    return results, data


def request(places: Places, **more: object) -> Request:
    return Request(*places, **more)  # type: ignore[arg-type]


def test_finds_splits_labels_and_patients(places: Places) -> None:
    inputs = read_inputs(request(places))
    assert (inputs.application, inputs.resolution, inputs.patients_known) == ("prog-GAN", 16, True)
    assert inputs.held_out_splits == (places[1] / "test", places[1] / "valid")
    assert inputs.label_names == ("No Finding", "Cardiomegaly", "Pleural Effusion")
    assert inputs.synthetic_split("train") == places[0] / "inference" / "train"
    assert (inputs.real["test"].num_images, inputs.real["test"].num_patients) == (32, 16)
    assert inputs.synthetic["test"].num_patients is None
    assert inputs.out_dir == places[0] / "verdict"
    assert inputs.extractor is None
    assert inputs.notes == ()


def test_takes_the_real_classifier_where_it_is_trained(places: Places) -> None:
    weights = places[1] / "classification_results_res_16" / TRAIN_FOLDER / BEST_WEIGHTS
    weights.parent.mkdir(parents=True)
    weights.touch()
    extractor = read_inputs(request(places)).extractor
    assert extractor is not None
    assert (extractor.name, extractor.weights, extractor.is_of_domain) == ("densenet", weights.parents[1], True)
    named = read_inputs(request(places, features="random")).extractor
    assert named is not None
    assert not named.is_of_domain


def test_goes_by_the_resolution_that_the_gan_names(places: Places) -> None:
    write_json(places[0] / "config.json", {"application": "cpD-GAN", "resolution": 8, "data.images_sha256": "other"})
    inputs = read_inputs(request(places))
    assert (inputs.application, inputs.resolution) == ("cpD-GAN", 8)
    assert "not exactly those" in inputs.notes[0]


def _without_test(places: Places) -> None:
    drop(places[1] / "test")


def _without_held_out(places: Places) -> None:
    drop(places[1] / "test")
    drop(places[1] / "valid")


def _shared_with_valid(places: Places) -> None:
    write_patients(places[1] / "valid", ["train-0"] * 32)


@pytest.mark.parametrize(
    ("change", "held_out", "note"),
    [
        (_without_test, ("valid",), None),
        (_without_held_out, (), "no held-out real images"),
        (_shared_with_valid, ("test",), "valid shares 1 patient with train"),
    ],
)
def test_says_what_is_held_out(
    places: Places, change: Callable[[Places], None], held_out: tuple[str, ...], note: str | None
) -> None:
    change(places)
    inputs = read_inputs(request(places))
    assert inputs.held_out == held_out
    assert [note] == [note for found in inputs.notes if note in found] if note else inputs.notes == ()


def test_says_where_patients_are_not_known(places: Places) -> None:
    write_json(places[1] / "dataset.json", {"patients_known": False})
    inputs = read_inputs(request(places))
    assert not inputs.patients_known
    assert "Patients are not known" in inputs.notes[0]


def _share_images(places: Places, name: str) -> None:
    """Put the training images' records in place of a split's, under other patients."""
    for path in (places[1] / "train").glob("*.tfrecords"):
        number = path.name.removeprefix("train")
        (places[1] / name / f"{name}{number}").write_bytes(path.read_bytes())


def test_a_split_with_training_images_is_not_held_out(places: Places) -> None:
    _share_images(places, "valid")
    inputs = read_inputs(request(places))
    assert inputs.held_out == ("test",)
    assert any("valid shares 32 images with train" in note for note in inputs.notes)
    _share_images(places, "test")
    with pytest.raises(MedsynthError, match=r"Train and test share patients or images.*32 images in both"):
        read_inputs(request(places))


@pytest.mark.parametrize(
    ("settings", "is_trained_on", "note"),
    [
        ({"resolution": 16, "data.images_sha256": "other"}, False, "not exactly those"),
        ({"resolution": 16}, None, "Nothing says whether"),
        ({"resolution": 16, "data.images_sha256": "same"}, True, None),
        ({"resolution": 8, "data.images_sha256": "other"}, None, "Nothing says whether"),
    ],
)
def test_says_whether_the_gan_learnt_from_these_images(
    places: Places, settings: dict[str, object], is_trained_on: bool | None, note: str | None
) -> None:
    same = open_records(places[1] / "train", 16).digest
    known = {name: same if value == "same" else value for name, value in settings.items()}
    write_json(places[0] / "config.json", {"application": "cpD-GAN", **known})
    inputs = read_inputs(request(places, resolution=16))
    assert inputs.is_trained_on is is_trained_on
    assert inputs.notes == () if note is None else note in inputs.notes[0]


def _leaking(places: Places) -> None:
    write_patients(places[1] / "test", ["train-0", *[f"test-{i}" for i in range(31)]])


def _without_train(places: Places) -> None:
    drop(places[1] / "train")


def _without_inference(places: Places) -> None:
    drop(places[0] / "inference")


def _empty_inference(places: Places) -> None:
    _without_inference(places)
    (places[0] / "inference").mkdir()


def _other_labels(places: Places) -> None:
    write_toy_split(drop(places[0] / "inference" / "test"), 8, 16, names=("A", "B"))


def _allowed_leak(places: Places) -> None:
    write_json(places[0] / "config.json", {"application": "prog-GAN", "data.allowed_leaks": ["3 patients"]})


@pytest.mark.parametrize(
    ("change", "more", "message"),
    [
        (_leaking, {}, "share patients or images .train-0.*1 patient in both"),
        (_allowed_leak, {}, "share patients or images.*3 patients"),
        (_without_train, {}, "made by build_dataset.*no such folder"),
        (_without_inference, {}, "must hold the synthetic images in inference/"),
        (_empty_inference, {"resolution": 16}, "Synthetic images were expected here.*none of them"),
        (_other_labels, {}, "all others must have the same.*A, B"),
        (None, {"resolution": 64}, "no images of 64x64. Resolutions in this folder: 4, 8, 16"),
        (None, {"metadata": Path("none.csv")}, "none.csv.*no such file"),
        (None, {"features": "densenet"}, "needs its weights"),
        (None, {"weights": Path("x")}, "--weights belongs to --features"),
    ],
)
def test_refuses_what_would_mislead(
    places: Places, change: Callable[[Places], None] | None, more: dict[str, object], message: str
) -> None:
    if change is not None:
        change(places)
    with pytest.raises(MedsynthError, match=message):
        read_inputs(request(places, **more))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("File,Sex\n{path},F\n", "A column Path or path with the images' paths.*Received: File, Sex"),
        ("Path,Weight\n{path},70\n", "A column of groups was expected.*Received: Weight"),
        ("Path,Sex\nelsewhere.png,F\n", "Rows of test images were expected.*1 row that fit none of 32 test images"),
        ("", "The file is no readable csv"),
    ],
)
def test_refuses_metadata_before_anything_is_made(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    _without_inference(places)
    write_json(places[0] / "config.json", {"application": "DCGAN", "resolution": 16})
    monkeypatch.setattr(unlabelled, "run_step", lambda step: pytest.fail(f"{step.title} came before"))
    metadata = tmp_path / "people.csv"
    write_text(metadata, text.format(path=read_label_table(places[1] / "test").paths[0]))
    with pytest.raises(MedsynthError, match=f"people.csv: {message}"):
        read_inputs(request(places, metadata=metadata))


def test_takes_metadata_of_which_some_rows_fit(places: Places, tmp_path: Path) -> None:
    metadata = tmp_path / "people.csv"
    write_text(metadata, f"Path,Sex\n{read_label_table(places[1] / 'test').paths[0]},F\n")
    assert read_inputs(request(places, metadata=metadata)).metadata == metadata


def test_refuses_to_write_into_the_data(places: Places) -> None:
    with pytest.raises(MedsynthError, match="folder of their own"):
        read_inputs(request(places, out_dir=places[1]))


def _fake_generation(step: Step) -> None:
    """Write what GAN_dcgan/test.py generate leaves: image I is of brightness I."""
    frames, num_images = Path(step.command[3]), int(step.command[5])
    part = frames / "images" / "part-0000000000"
    part.mkdir(parents=True, exist_ok=True)
    for number in range(num_images):
        Image.fromarray(np.full((16, 16), number, np.uint8)).save(part / f"{number:010d}.png")
    write_text(step.result, "")
    write_json(frames / "config.json", {"generator_sha256": "x", "num": num_images})


def test_makes_images_of_a_gan_without_labels(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_inference(places)
    write_json(places[0] / "config.json", {"application": "DCGAN", "resolution": 16})
    monkeypatch.setattr(unlabelled, "run_step", _fake_generation)
    monkeypatch.setattr(unlabelled, "MOST_IMAGES", 30)
    inputs = read_inputs(request(places))
    assert inputs.label_names == ()
    assert {name: split.num_images for name, split in inputs.synthetic.items()} == dict.fromkeys(inputs.real, 30)
    seen = []
    for name in ("train", "valid", "test"):
        folder = inputs.synthetic_split(name)
        assert folder is not None
        files = read_label_table(folder).paths
        images = open_records(folder, 16).read(range(30))[:, 0, 0, 0]
        # Record and row belong together, as in every dataset.
        assert [int(Path(files[row]).stem) for row in record_order(30)] == images.tolist()
        seen += images.tolist()
    assert sorted(seen) == list(range(90))
    assert read_json(inputs.synthetic_dir / "config.json")["num_images"]["test"] == 30
    before = (inputs.synthetic_dir / "train").stat().st_mtime_ns
    read_inputs(request(places))
    assert (inputs.synthetic_dir / "train").stat().st_mtime_ns == before


def test_refuses_generated_images_of_another_size(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_inference(places)
    write_json(places[0] / "config.json", {"application": "DCGAN", "resolution": 8})
    monkeypatch.setattr(unlabelled, "run_step", _fake_generation)
    with pytest.raises(MedsynthError, match=r"Grey images of 8x8.*16x16"):
        read_inputs(request(places))
