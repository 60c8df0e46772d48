"""The demo's chain: its order, its negative control, and the paragraph that it ends with."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.chain import classifier_settings, describe, plan, run_chain, write_permuted_dataset
from benchmark.steps import StepFailedError
from medsynth.data.labels import read_split_labels
from medsynth.data.phantom import create_phantom
from medsynth.data.tfrecords import RecordFile, record_path
from medsynth.errors import MedsynthError
from tests.commands import ROOT
from tests.toy_data import write_toy_dataset


def row(trained_on: str, label: str, auroc: float | None, half_width: float = 0.02, gap: float = 0.0, **more) -> dict:
    values = {"auroc": auroc, "low": None, "high": None, "num_images": 700, "num_positives": 60, "status": "ok"}
    if auroc is not None:
        values |= {"low": auroc - half_width, "high": auroc + half_width}
    differences = {"reference_minus_this": gap, "difference_low": gap - 0.01, "difference_high": gap + 0.01}
    return {"trained_on": trained_on, "label": label, **values, **differences, **more}


def comparison(fake_mean: float, half_width: float = 0.02) -> dict:
    return {
        "num_resampled": 350,
        "resampled": "patients",
        "rows": [
            row("real", "Cardiomegaly", 0.97),
            row("real", "Edema", 0.96),
            row("real", "Fracture", None, status="insufficient", num_positives=4),
            row("real", "mean", 0.96),
            row("prog-GAN", "Cardiomegaly", 0.9, gap=0.07),
            row("prog-GAN", "Edema", 0.7, gap=0.26),
            row("prog-GAN", "Fracture", None, status="insufficient", num_positives=4),
            row("prog-GAN", "mean", fake_mean, half_width, gap=0.96 - fake_mean),
        ],
    }


SETTINGS = {"data": "phantom", "seed": 1, "permute_labels": False}


@pytest.mark.parametrize(
    ("fake_mean", "half_width", "words"),
    [
        (0.8, 0.02, "carry usable information"),
        (0.51, 0.02, "holds 0.5: that it learnt anything of use is not shown"),
        (0.4, 0.02, "worse than chance"),
        (0.8, 0.4, "holds 0.5"),
    ],
)
def test_the_paragraph_says_what_the_interval_allows(fake_mean: float, half_width: float, words: str) -> None:
    text = " ".join(describe(comparison(fake_mean, half_width), SETTINGS).split())
    assert words in text
    assert "On 700 real test images (350 patients) from made-up chest radiographs, over 2 labels" in text
    assert "real images reaches a mean AUROC of 0.960 (95 % interval 0.940 to 0.980)" in text
    assert "widest gap is for Edema: 0.260" in text
    assert "left out (positives): Fracture (4)" in text
    assert "give away their originals was not measured" in text


def test_the_paragraph_claims_nothing_where_nothing_was_measured() -> None:
    empty = comparison(0.8)
    empty["rows"] = [
        one | {"status": "insufficient"} if one["label"] != "mean" else one | dict.fromkeys(("auroc", "low", "high"))
        for one in empty["rows"]
    ]
    text = describe(empty, SETTINGS | {"permute_labels": True})
    assert "nothing was measured" in " ".join(text.split())
    assert "negative control" in text
    assert "usable" not in text


def test_a_negative_control_draws_no_conclusion_from_one_run() -> None:
    text = " ".join(describe(comparison(0.4), SETTINGS | {"permute_labels": True}).split())
    assert "nothing above 0.5 should come out over several seeds" in text
    assert "worse than chance" not in text
    assert "usable information" not in text


def test_every_command_of_the_chain_exists_and_hands_on_its_result(tmp_path: Path) -> None:
    steps = plan(tmp_path, None, 7, permute_labels=False)
    assert [step.command[0].split("/")[0] for step in steps] == [
        *("build_dataset", "build_dataset", "build_dataset", "GAN_prog", "GAN_prog"),
        *("classifier_real", "classifier_real", "classifier_fake", "classifier_fake", "benchmark"),
    ]
    for step in steps:
        assert (ROOT / step.command[0]).is_file()
        assert step.result.is_relative_to(tmp_path)
    assert len({step.result for step in steps}) == len(steps)
    phantom = create_phantom(tmp_path / "raw", num_patients=2, seed=7, num_workers=1)
    assert steps[0].result.is_relative_to(phantom)
    assert steps[0].result.is_file(), "or the chain would never see that this step is done"
    gan = next(step for step in plan(tmp_path, None, 7, permute_labels=True) if "GAN_prog/train.py" in step.command)
    assert tmp_path / "dataset-permuted" in gan.command


@pytest.mark.parametrize(
    ("num_rows", "expected"),
    [(500, ("--limit", "0", "--split", "0.2", "--test-val-samples", "0")), (20_000, ())],
)
def test_few_images_get_other_options_than_many(tmp_path: Path, num_rows: int, expected: tuple[str, ...]) -> None:
    folder = tmp_path / "CheXpert-v1.0-small"
    folder.mkdir()
    (folder / "train.csv").write_text("Path\n" + "a.jpg\n" * num_rows)
    command = plan(tmp_path / "out", tmp_path, 1, permute_labels=False)[0].command
    assert command[1] == "create_from_xray"
    assert command[command.index("--drop-empty-labels") + 1 :] == expected


@pytest.mark.parametrize(("num_rows", "expected"), [(500, ("--split", "0.2")), (20_000, ())])
def test_another_folder_is_read_by_its_csv(tmp_path: Path, num_rows: int, expected: tuple[str, ...]) -> None:
    (tmp_path / "mine.csv").write_text("image,finding\n" + "a.png,1\n" * num_rows)
    options = ("--labels", "finding")
    command = plan(tmp_path / "out", tmp_path, 1, permute_labels=False, dataset_options=options)[0].command
    assert command[1] == "create_from_folder"
    assert command[command.index("--drop-empty-labels") + 1 :] == (*expected, *options)


def test_an_allowed_leak_reaches_every_step_that_would_stop(tmp_path: Path) -> None:
    with_it = [step.command for step in plan(tmp_path, None, 1, permute_labels=False, allow_leak=True)]
    without = [step.command for step in plan(tmp_path, None, 1, permute_labels=False)]
    assert not any("--allow-leak" in command for command in without)
    stopping = [command for command in with_it if "verify" in command or "train.py" in str(command[0])]
    assert len(stopping) == 4
    assert all("--allow-leak" in command for command in stopping)


@pytest.mark.parametrize(
    ("num_rows", "epochs"),
    [(None, 2), (1, 30), (672, 30), (2_000, 11), (5_232, 4), (19_999, 2), (20_000, 2), (10**6, 2)],
)
def test_classifiers_see_about_as_many_images_of_any_data(num_rows: int | None, epochs: int) -> None:
    settings = classifier_settings(num_rows)
    assert f"epochs={epochs}" in settings
    assert ("patience=10" in settings) == (epochs > 10)


def test_permuted_labels_keep_their_shares_and_lose_their_images(tmp_path: Path) -> None:
    dataset = write_toy_dataset(tmp_path / "dataset")
    write_permuted_dataset(dataset, tmp_path / "permuted", seed=1)
    before, after = (read_split_labels(folder / "train") for folder in (dataset, tmp_path / "permuted"))
    assert before.names == after.names
    np.testing.assert_array_equal(before.values.sum(axis=0), after.values.sum(axis=0))
    assert 0.15 < (before.values == after.values).all(axis=1).mean() < 0.6
    images = [
        RecordFile(record_path(folder / "train", 4)).read(range(64)) for folder in (dataset, tmp_path / "permuted")
    ]
    np.testing.assert_array_equal(*images)


def test_a_failing_step_stops_the_chain_and_another_demo_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "data" / "CheXpert-v1.0-small"
    data.mkdir(parents=True)
    (data / "train.csv").write_text("Path\na.jpg\n")
    with pytest.raises(StepFailedError, match=r"The step 'build the dataset' failed.*Received: exit code 2"):
        run_chain(tmp_path / "out", data.parent, 1)
    (tmp_path / "out" / "raw").mkdir()  # something is there, so the folder is taken
    with pytest.raises(MedsynthError, match=r"run with other settings.*seed: 1 -> 2"):
        run_chain(tmp_path / "out", data.parent, 2)
