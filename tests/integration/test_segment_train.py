"""Training, testing and comparing with classifier_segment, as a user calls its scripts."""

import csv
import importlib.util
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsynth.data.phantom_lesions import create_phantom_lesions
from tests.coco_files import annotation, document, image, write, write_images
from tests.commands import ROOT, ScriptProcess, call, refused, run_script
from tests.tiny_segment import weights_in

TRAIN, TEST, EXPERIMENTS = (f"classifier_segment/{name}.py" for name in ("train", "test", "experiments"))
SIZE, SEED = 32, "seed=1"
WHOLE, MASKED = ("task=c", "experiment=whole"), ("task=c", "experiment=masked")
COMPARED = ("--experiments", "whole,saliency_differentiable", "--seeds", "1,2")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return create_phantom_lesions(tmp_path_factory.mktemp("data") / "phantom", 18, 1, num_workers=1, image_size=64)


def settings_for(phantom: Path, results: Path) -> list[str]:
    paths = [f"data.{part}={phantom / part}.json" for part in ("train", "val", "test")]
    small = [f"data.resize={SIZE}", "segmenter.width=4", "train.batch_size=8", "train.max_epochs=2"]
    return ["preset=scratch", *paths, *small, f"results_dir={results}"]


@pytest.fixture(scope="module")
def settings(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return settings_for(phantom, tmp_path_factory.mktemp("runs"))


def results_of(settings: list[str]) -> Path:
    return Path(settings[-1].partition("=")[2])


def done(result) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def segmenter(settings: list[str]) -> Path:
    done(run_script(TRAIN, *settings, "task=s", SEED, "train.lr=0.01", "train.max_epochs=1"))
    return results_of(settings) / "segmentation" / "version_0"


@pytest.fixture(scope="module")
def compared(settings: list[str]) -> str:
    """Whole and saliency-guided, two seeds, by experiments.py; what it printed."""
    more = ("generate_map=hirescam", "log.tensorboard=True")
    return done(run_script(EXPERIMENTS, *COMPARED, *settings, *more))


@pytest.fixture(scope="module")
def whole(settings: list[str], compared: str) -> Path:
    return run_with(settings, "whole")


@pytest.fixture(scope="module")
def saliency(settings: list[str], compared: str) -> Path:
    return run_with(settings, "saliency")


@pytest.fixture(scope="module")
def masked(settings: list[str], segmenter: Path) -> Path:
    done(run_script(TRAIN, *settings, *MASKED, SEED, "segmenter.version=0"))
    return run_with(settings, "masked")


def run_with(settings: list[str], mode: str, seed: int = 1) -> Path:
    """Return the folder of a run."""
    wanted = {"classification_mode": mode, "seed": seed}
    configs = {path: json.loads(path.read_text()) for path in results_of(settings).glob("classification/*/config.json")}
    (path,) = [path for path, facts in configs.items() if wanted.items() <= facts.items()]
    return path.parent


def version(path: Path) -> int:
    return int(path.name.rpartition("_")[2])


def metrics_of(path: Path, test: str = "test") -> dict:
    return json.loads((path / test / "metrics.json").read_text())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def images_of(phantom: Path, part: str) -> list[dict]:
    return json.loads((phantom / f"{part}.json").read_text())["images"]


def require_picture(path: Path) -> None:
    with Image.open(path) as picture:
        assert min(picture.size) > 100


# Runs.


def test_a_segmenter(segmenter: Path, phantom: Path) -> None:
    for name in ("best.weights.h5", "last.weights.h5", "config.json", "log.txt", "_training-done.txt"):
        assert (segmenter / name).is_file(), name
    assert not list(segmenter.glob("training-state-*"))
    found = metrics_of(segmenter)
    assert found["num_examples"] == len(images_of(phantom, "test"))
    assert 0 < found["masks"]["dice_pooled"]["value"] < 1
    assert found["logit_above"] == 0
    assert len(rows(segmenter / "test" / "masks" / "per_image.csv")) == found["num_examples"]
    for name in ("losses.png", "test/contact_sheet.png"):
        require_picture(segmenter / name)


def test_whole_images(whole: Path, phantom: Path) -> None:
    found = metrics_of(whole)
    assert {"accuracy", "balanced_accuracy", "auroc_macro", "f1_macro", "f1_micro"} <= set(found["classes"])
    assert {"iou", "soft_iou", "pointing", "energy"} <= set(found["saliency"])
    names = [one["file_name"] for one in images_of(phantom, "test")]
    predictions = rows(whole / "test" / "predictions.csv")
    assert [row["file_name"] for row in predictions] == names
    assert found["classes"]["accuracy"]["value"] == pytest.approx(
        np.mean([row["class"] == row["predicted"] for row in predictions])
    )
    assert "overlap" not in rows(whole / "steps.csv")[0]
    assert [row["epoch"] for row in json.loads((whole / "history.json").read_text())] == [1, 2]
    assert "groups are not known" in (whole / "log.txt").read_text(), "nobody said which images are one patient's"


def test_saliency_with_maps_and_tensorboard(saliency: Path, phantom: Path) -> None:
    assert "overlap_norm" in rows(saliency / "steps.csv")[0]
    num_images = len(images_of(phantom, "test"))
    maps = saliency / "hirescam_maps_test"
    expected = {f"saliency_map_batch_{one // 8}_image_{one % 8}.pdf" for one in range(num_images)}
    assert {one.name for one in maps.glob("*.pdf")} == expected
    require_picture(maps / "contact_sheet.png")
    assert f"maps of {num_images} images: {maps / 'contact_sheet.png'}" in (saliency / "log.txt").read_text()
    (events,) = (saliency / "tensorboard").glob("events.out.tfevents.*")
    assert b"step/overlap_norm" in events.read_bytes()
    assert b"epoch/val_loss" in events.read_bytes()


def test_masked_images_differ_from_whole_ones(masked: Path, whole: Path) -> None:
    facts = json.loads((masked / "config.json").read_text())
    assert len(facts["found.segmenter_digest"]) == 64
    assert facts["segmenter.version"] == 0
    first, other = (float(rows(path / "steps.csv")[0]["loss"]) for path in (masked, whole))
    assert first != other, "the same seed, but other images"


def test_the_same_command_again_says_that_it_is_trained(settings: list[str], whole: Path) -> None:
    before = (whole / "best.weights.h5").stat().st_mtime_ns
    # As `cd classifier_segment && python3 train.py`.
    out = done(call([sys.executable, "train.py", *settings, *WHOLE, SEED], cwd=ROOT / "classifier_segment"))
    assert f"{whole} is trained with these settings already; checkpoint.version={version(whole)} tests it." in out
    assert (whole / "best.weights.h5").stat().st_mtime_ns == before


def test_another_file_with_other_maps(settings: list[str], whole: Path, phantom: Path) -> None:
    test = [TEST, settings[-1], "task=c", f"checkpoint.version={version(whole)}"]
    before = metrics_of(whole)
    done(run_script(*test, f"data.test={phantom / 'val.json'}", "generate_map=grad-cam", "data.group_by=patient_id"))
    found = metrics_of(whole, "test_val")
    assert found["num_examples"] == len(images_of(phantom, "val")) != before["num_examples"]
    assert found["intervals_over"] == "patient_id"
    assert metrics_of(whole) == before
    maps = whole / "grad_cam_maps_test_val"
    assert len(list(maps.glob("saliency_map_batch_0_image_*.pdf"))) == found["num_examples"]
    require_picture(maps / "contact_sheet.png")
    # The same images again, from another place: the run is tested as it was.
    shutil.copytree(results_of(settings) / "classification", phantom.parent / "moved" / "classification")
    done(run_script(TEST, f"results_dir={phantom.parent / 'moved'}", f"checkpoint.version={version(whole)}"))
    again = metrics_of(phantom.parent / "moved" / "classification" / whole.name)
    assert again["classes"] == before["classes"]
    assert again["saliency"] == before["saliency"]


def test_a_multirun_goes_on_after_a_failure(settings: list[str], whole: Path) -> None:
    result = run_script(TRAIN, *settings, *WHOLE, "seed=-2,1", "--multirun")
    assert result.returncode == 2
    assert "train.py: run 0 failed: seed must be at least -1" in result.stderr
    assert "is trained with these settings already" in result.stdout
    assert result.stderr.rstrip().endswith(
        "train.py: error: seed must be at least -1 and below 4.29497e+09. Received: -2"
    )
    result = run_script(TRAIN, *settings, "--multirun", *WHOLE, "seed=-2,1,-3")
    assert result.returncode == 2
    assert result.stderr.rstrip().endswith("Several runs failed; each has said why above. Received: 2 failures")
    assert "Traceback" not in result.stderr


# Stopped and killed.


def wait_for_a_state(results: Path, process: ScriptProcess) -> None:
    deadline = time.monotonic() + 200
    while not list(results.glob("classification/version_0/training-state-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def test_a_training_killed_between_two_states_ends_with_the_same_weights(
    phantom: Path, whole: Path, tmp_path: Path
) -> None:
    arguments = (TRAIN, *settings_for(phantom, tmp_path), *WHOLE, SEED)
    process = ScriptProcess(*arguments)
    wait_for_a_state(tmp_path, process)
    process.kill()
    process.communicate()
    path = tmp_path / "classification" / "version_0"
    assert process.returncode == -signal.SIGKILL
    assert not (path / "_training-done.txt").exists()
    out = done(run_script(*arguments))
    assert "going on after epoch" in out
    assert not (tmp_path / "classification" / "version_1").exists()
    for name in ("best.weights.h5", "last.weights.h5"):
        expected, found = weights_in(whole / name), weights_in(path / name)
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=f"{name}: {key}")
    assert (path / "steps.csv").read_text() == (whole / "steps.csv").read_text()
    assert metrics_of(path)["classes"] == metrics_of(whole)["classes"]


def test_a_multirun_that_is_asked_to_stop_saves_its_state_and_ends(phantom: Path, tmp_path: Path) -> None:
    many = ("train.max_epochs=200", "train.patience=200")
    process = ScriptProcess(TRAIN, *settings_for(phantom, tmp_path), *WHOLE, *many, "seed=1,2", "--multirun")
    wait_for_a_state(tmp_path, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 143, err
    assert "stopped by SIGTERM; the state at epoch" in err
    assert "Traceback" not in err
    assert "== run 0" in out
    assert "== run 1" not in out


def test_a_fault_of_the_program_is_a_traceback_and_no_users_mistake(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "from classifier_segment.hydra_main import hydra_main\n"
        "def main(settings, overrides):\n"
        "    raise ZeroDivisionError('a fault')\n"
        "hydra_main(__file__, __doc__, main)\n"
    )
    for more in ((), ("seed=1,2", "--multirun")):
        result = call([sys.executable, str(script), f"results_dir={tmp_path}", *more], cwd=ROOT)
        assert result.returncode == 1
        assert "ZeroDivisionError: a fault" in result.stderr
        assert "Traceback" in result.stderr


# Mistakes.


@pytest.fixture
def made_up(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder with train, val and test of two classes, and the settings for it."""
    folder = tmp_path / "oral"
    images = [image(number) for number in range(1, 5)]
    content = document(images, [annotation(number, number, 1 + number % 2) for number in range(1, 5)])
    content["categories"] = content["categories"][:2]
    write_images(folder / "images", images)
    for part in ("train", "val", "test"):
        write(folder / f"{part}.json", content)
    yield folder, [*settings_for(folder, tmp_path / "runs"), "model.num_classes=2", SEED]
    assert not (tmp_path / "runs" / "classification").exists(), "found before a run is begun"


def change(path: Path, **lists: list) -> None:
    content = json.loads(path.read_text())
    for name, records in lists.items():
        content[name] += records
    write(path, content)


@pytest.mark.parametrize(
    ("part", "lists", "words"),
    [
        (
            "train",
            {"annotations": [annotation(9, 77, 1)]},
            "annotation 9: Its image_id is that of an image in the file",
        ),
        (
            "val",
            {"annotations": [annotation(9, 1, 1, [[1, 2, 3, 4]])]},
            "polygon 1: A polygon has three points or more",
        ),
        ("test", {"categories": [{"id": 9, "name": " "}]}, "category 9: A category has a name that is not empty"),
    ],
)
def test_a_damaged_dataset(made_up: tuple[Path, list[str]], part: str, lists: dict, words: str) -> None:
    folder, settings = made_up
    change(folder / f"{part}.json", **lists)
    line = refused(TRAIN, *settings)
    assert words in line
    assert f"{folder / part}.json: " in line


def test_classes_that_do_not_fit(made_up: tuple[Path, list[str]]) -> None:
    folder, settings = made_up
    line = refused(TRAIN, *settings, "model.num_classes=3")
    assert f"{folder / 'train.json'} has 2 classes (a, b): model.num_classes=2. Received: 3" in line
    for part in ("train", "val", "test"):
        change(folder / f"{part}.json", categories=[{"id": 7, "name": "rare"}])
    assert "Every category needs an example in training" in refused(TRAIN, *settings, "model.num_classes=3")
    change(folder / "test.json", annotations=[annotation(9, 1, 7), annotation(10, 1, 7)])
    line = refused(TRAIN, *settings, "model.num_classes=3")
    assert f"{folder / 'test.json'}: Class 'rare' has no example in {folder / 'train.json'}" in line


def test_what_is_missing(made_up: tuple[Path, list[str]]) -> None:
    folder, settings = made_up
    line = refused(TRAIN, *settings, "model.weights=SqueezeNet1_0_Weights.DEFAULT")
    assert "ImageNet weights of squeezenet1_0 are torchvision's: give model.pretrained=FILE.safetensors" in line
    assert "model.weights is one of ConvNeXt_Small_Weights.DEFAULT" in refused(TRAIN, *settings, "model.weights=vgg")
    line = refused(TRAIN, *settings, "data.group_by=patient_id")
    assert "data.group_by=patient_id is a field of every image's record; 4 images lack it" in line
    (folder / "val.json").unlink()
    assert f"{folder / 'val.json'}: " in refused(TRAIN, *settings)


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_without_wandb_the_remedy_is_said(made_up: tuple[Path, list[str]]) -> None:
    assert "pip install -e '.[wandb]'" in refused(TRAIN, *made_up[1], "log.wandb=true")


def test_mistakes_in_the_call_answer_at_once() -> None:
    folder = ROOT / "classifier_segment"
    for arguments, words in (
        (
            ("train.max_epoch=3",),
            "train.py: error: Unknown setting. Did you mean train.max_epochs? --cfg job shows all.",
        ),
        (("preset=oral",), "Could not find 'preset/oral'"),
        (("task=c", "seed"), "seed"),
        (("train.lr=much",), "train.py: error: train.lr takes a value of type float"),
        (("classification_mode=masked",), "then segmenter.version=N with its number. Received: no segmenter.version"),
    ):
        result = call([sys.executable, "train.py", *arguments], cwd=folder)
        assert result.returncode == 2, arguments
        assert words in result.stderr
        assert "Traceback" not in result.stderr
    shown = done(call([sys.executable, "train.py", "--cfg", "job", "task=s"], cwd=folder))
    assert "task: s\n" in shown
    assert "max_epochs: 100" in shown


def test_versions_and_segmenters_that_do_not_fit(
    settings: list[str], segmenter: Path, masked: Path, whole: Path
) -> None:
    there = results_of(settings) / "classification"
    line = refused(TEST, settings[-1], "checkpoint.version=77")
    assert f"checkpoint.version is the number of a classification run in {there}; there are 0" in line
    assert line.endswith("Received: 77")
    line = refused(TRAIN, *settings, *MASKED, SEED, "segmenter.version=5")
    assert "segmenter.version or checkpoint.version is the number of a segmentation run" in line
    line = refused(TRAIN, *settings, *MASKED, SEED, "segmenter.version=0", "data.resize=48")
    assert f"{segmenter}: Segmenter 0 was trained with data.resize=32; give the same" in line
    assert line.endswith("Received: data.resize=48")
    line = refused(TRAIN, *settings, *MASKED, SEED, "segmenter.version=0", "model_seg=deeplab")
    assert "Segmenter 0 was trained with model_seg=fcn" in line
    number = f"checkpoint.version={version(whole)}"
    for fixed in ("data.resize=48", "preset=scratch", "sgm_type=hard"):
        line = refused(TEST, settings[-1], number, fixed)
        assert "test.py takes the settings of the training; of its own are task" in line
        assert line.endswith(f"Received: {fixed}")


def test_a_test_set_of_other_classes(settings: list[str], whole: Path, made_up: tuple[Path, list[str]]) -> None:
    folder, _ = made_up
    line = refused(TEST, settings[-1], f"checkpoint.version={version(whole)}", f"data.test={folder / 'test.json'}")
    assert f"{folder / 'test.json'}: The classes of the training, smooth, lobed, streaked, were expected" in line


# Experiments.


def test_experiments_are_compared(settings: list[str], compared: str, whole: Path) -> None:
    assert "4 runs of 4 to be trained" in compared
    folder = results_of(settings) / "experiments"
    for part, metric in (("classes", "accuracy"), ("saliency", "soft_iou")):
        table = [row for row in rows(folder / f"{part}.csv") if row["metric"] == metric]
        assert [(row["experiment"], row["seeds"], row["num_pairs"]) for row in table] == [
            ("whole", "1 2", "2"), ("saliency_differentiable", "1 2", "2")
        ]  # fmt: skip
        assert float(table[1]["difference"]) == pytest.approx(float(table[1]["value"]) - float(table[0]["value"]))
        of_seeds = [metrics_of(run_with(settings, "whole", seed))[part][metric]["value"] for seed in (1, 2)]
        assert float(table[0]["value"]) == pytest.approx(np.mean(of_seeds))
    require_picture(folder / "experiments.png")
    runs = sorted(path.name for path in results_of(settings).glob("classification/version_*"))
    second = done(run_script(EXPERIMENTS, *COMPARED, *settings))
    assert "to be trained" not in second
    assert sorted(path.name for path in results_of(settings).glob("classification/version_*")) == runs


def test_masked_experiments_find_their_segmenter(settings: list[str], whole: Path, masked: Path, phantom: Path) -> None:
    chosen = ("--experiments", "whole,masked", "--seeds", "1", *settings)
    out = done(run_script(EXPERIMENTS, *chosen, "segmenter.version=0"))
    assert "to be trained" not in out
    assert "One seed only" in out
    # Another test set has its results elsewhere.
    line = refused(EXPERIMENTS, *chosen, "segmenter.version=0", f"data.test={phantom / 'coco_dataset.json'}")
    assert "test_coco_dataset" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--experiments", "whole,half"), "Experiments are masked, saliency_differentiable, saliency_published, w"),
        (("--experiments", "masked"), "The baseline is one of --experiments. Received: whole"),
        (("--experiments", "whole,whole"), "--experiments has one thing twice"),
        (("--seeds", "1,1"), "--seeds has one thing twice. Received: 1,1"),
        (("--seeds", "one"), "argument --seeds: an integer was expected. Received: 'one'"),
        (("seed=3",), "experiments.py sets this by itself; leave it out. Received: seed=3"),
        (("--backbones", "resnet_small", "model.weights=resnet_small"), "leave it out. Received: model.weights="),
        (("train.max_epoch=3",), "Did you mean train.max_epochs?"),
        (("data.test=nowhere/test.json",), "nowhere/test.json: A test set is needed to compare on."),
    ],
)  # fmt: skip
def test_experiments_that_cannot_be_compared(arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(EXPERIMENTS, *arguments)
