"""xplain.py of both classifiers, at a tiny size, and the mistakes in a call."""

import csv
import importlib
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from medsynth.classify.explain import command
from medsynth.classify.explain.methods import METHODS
from medsynth.data.labels import read_label_table, read_split_labels, record_order
from medsynth.errors import UsageError
from tests.commands import ROOT, refused
from tests.tiny_classifier import write_classifier
from tests.toy_data import LABELS, write_toy_dataset

SMALL = [part for setting in ("occlusion_patch=8", "smoothgrad_samples=4", "integrated_gradients_points=5",
                              "faithfulness_steps=4", "batchsize_xplain=5") for part in ("--set", setting)]  # fmt: skip
FILES = ["01-cardiomegaly.npz", "01-cardiomegaly.png", "xplain.csv", "xplain.json", "xplain.txt"]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    root = write_toy_dataset(tmp_path_factory.mktemp("data"), num_images=24)
    write_classifier(root / "classification_results_res_16", LABELS)
    return root


@pytest.fixture(scope="module")
def results_dir(data_dir, tmp_path_factory):
    """A GAN's results with the classifier of the real images in place of its own."""
    results = tmp_path_factory.mktemp("results")
    shutil.copytree(data_dir / "classification_results_res_16", results / "classification_results")
    path = results / "classification_results" / "train" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"trained_on": "prog-GAN"}))
    return results


def xplain(app: str, *arguments: object) -> None:
    script = importlib.import_module(f"{app}.xplain")
    script.main(script.build_parser().parse_args(["xplain", str(ROOT / app), *map(str, arguments)]))


@pytest.fixture(scope="module")
def real(data_dir):
    xplain("classifier_real", data_dir, 16, "--num", 2, "--label", "Cardiomegaly", *SMALL)
    return data_dir / "classification_results_res_16" / "test" / "xplain"


def test_every_file_is_there_and_no_other(real):
    assert sorted(path.name for path in real.iterdir()) == FILES


def test_the_first_positives_in_record_order_are_explained(real, data_dir):
    labels = read_split_labels(data_dir / "test").values
    table = read_label_table(data_dir / "test")
    with np.load(real / FILES[0], allow_pickle=False) as file:
        records, maps, facts = file["records"], file["maps"], json.loads(str(file["facts"]))
    np.testing.assert_array_equal(records, np.flatnonzero(labels[:, 1])[:2])
    assert table.values[record_order(len(labels))[records], 1].all()
    assert (maps.shape, maps.dtype) == ((2, len(METHODS), 32, 32), np.float32)
    assert np.isfinite(maps).all()
    assert (np.ptp(maps, axis=(2, 3)) > 0).all()
    assert facts["records"] == records.tolist()


def test_table_and_text_agree(real):
    rows = json.loads((real / "xplain.json").read_text())["rows"]
    assert [row["method"] for row in rows] == [*METHODS, "random_patches", "random_pixels"]
    assert all(0 <= row[key]["value"] <= 1 for row in rows for key in ("deletion", "insertion"))
    with (real / "xplain.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["insertion"]) for line in lines] == [row["insertion"]["value"] for row in rows]
    text = (real / "xplain.txt").read_text()
    assert "Cardiomegaly: 2 images, " in text
    assert "patients" in text
    assert "DenseNet-121 trained on real images" in text
    assert all(method.title in text for method in METHODS.values())


def test_the_sheet_has_a_row_per_image_and_a_column_per_method(real):
    with Image.open(real / FILES[1]) as sheet:
        width, height = sheet.size
        colours = np.asarray(sheet.convert("RGB"), np.int16)
    assert width > 2 * height
    assert (np.ptp(colours, axis=-1) > 60).mean() > 0.01, "maps are coloured"


def test_what_is_finished_is_not_computed_again(real, data_dir, monkeypatch, capsys):
    def unwanted(*arguments):
        raise AssertionError("computed again")

    before = (real / "xplain.json").read_bytes()
    (real / "xplain.json").unlink()
    monkeypatch.setattr(command, "explain_images", unwanted)
    monkeypatch.setattr(command._Job, "_explainer", None)
    arguments = ("classifier_real", data_dir, 16, "--label", "Cardiomegaly", *SMALL)
    xplain(*arguments, "--num", 2)
    assert (real / "xplain.json").read_bytes() == before
    assert "Grad-CAM" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="computed again"):
        xplain(*arguments, "--num", 1)


def test_real_images_are_explained_by_the_classifier_of_synthetic_ones(real, data_dir, results_dir, capsys):
    xplain("classifier_fake", data_dir, results_dir, 16, "--num", 2, "--label", "Cardiomegaly",
           "--methods", "occlusion", *SMALL)  # fmt: skip
    folder = results_dir / "classification_results" / "test" / "xplain"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert "DenseNet-121 trained on prog-GAN images" in capsys.readouterr().out
    with np.load(folder / FILES[0]) as found, np.load(real / FILES[0]) as expected:
        place = list(METHODS).index("occlusion")
        np.testing.assert_allclose(found["maps"][:, 0], expected["maps"][:, place], atol=1e-4)


def test_a_dry_run_names_the_cost_and_writes_nothing(data_dir, capsys):
    xplain("classifier_real", data_dir, 16, "--split", "valid", "--num", 3, "--dry-run", *SMALL)
    printed = capsys.readouterr().out
    # Maps: 3 + 3 + 17 + 12 + 17, twice; curves: 2 * (5 + 2) * 5.
    assert "would explain 9 images of 3 labels" in printed
    assert "174 passes" in printed
    assert not (data_dir / "classification_results_res_16" / "test" / "xplain-valid").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--label", "Edema"], ["Cardiomegaly", "Received: Edema"]),
        (["--methods", "gradcam"], ["grad_cam", "Received: gradcam"]),
        (["--num", "0"], ["--num", "Received: 0"]),
        (["--set", "occlusion_patch=5"], ["occlusion_patch", "image_dimension=32", "Received: 5"]),
        (["--set", "cam_layer=conv1"], ["pool4_relu", "conv1"]),
        (["--set", "image_dimension=64"], ["image_dimension", "was fixed"]),
    ],
)
def test_mistakes_are_named(data_dir, options, words):
    with pytest.raises(UsageError) as caught:
        xplain("classifier_real", data_dir, 16, *options)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_classifier_that_is_not_there_is_named(data_dir, tmp_path):
    line = refused("classifier_fake/xplain.py", "xplain", ROOT / "classifier_fake", data_dir, tmp_path, 16)
    assert "no trained classifier" in line
