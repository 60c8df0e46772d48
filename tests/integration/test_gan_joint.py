"""GAN_joint's scripts: schema, training, and synthetic patients that depend on seed and number alone."""

import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from GAN_joint.origin import origin_notes
from GAN_joint.paired_data import read_paired_rows
from GAN_joint.synthetic import SyntheticSet
from medsynth.errors import DataError
from tests.commands import ScriptProcess, run_script
from tests.joint_files import edit_schema
from tests.toy_pairs import PAINS, write_toy_pairs

SETTINGS = ("schedule.total_kimg=0.64", "schedule.default_tick_kimg=0.32", "network.width=0.02")
SET = [part for setting in SETTINGS for part in ("--set", setting)]
NUM, SEED = 2500, 7  # two whole parts and one that is not


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_pairs(tmp_path_factory.mktemp("pairs") / "data")


@pytest.fixture(scope="module")
def results(data_dir: Path) -> Path:
    folder = data_dir.parent / "results"
    done = run_script("GAN_joint/train.py", "train", data_dir, folder, 1, 64, "--preset", "cpu", *SET)
    assert done.returncode == 0, done.stderr
    assert "80 rows, 16 of them for the test" in done.stdout
    return folder


def generate(results: Path, out: Path, *options: object, succeeds: bool = True) -> str:
    done = run_script("GAN_joint/test.py", "generate", results, out, "--seed", SEED, *options)
    assert (done.returncode == 0) == succeeds, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if succeeds else done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for part in ("table", "images") for path in sorted((folder / part).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def patients(results: Path) -> Path:
    out = results.parent / "patients"
    generate(results, out, "--num", NUM)
    return out


def test_pictures_and_networks_are_left(results: Path) -> None:
    names = {path.name for path in results.iterdir()}
    assert {"reals.png", "fakes000000.png", "network-final", "stats.jsonl", "_training-done.txt"} <= names


def test_rows_are_in_the_units_of_the_table(patients: Path) -> None:
    synthetic = SyntheticSet(patients)
    assert len(synthetic) == NUM
    assert list(synthetic.frame.columns) == ["age", "sex", "pain", "LAD_st"], "no image, no name"
    assert set(synthetic.frame["sex"]) <= {"female", "male"}
    assert set(synthetic.frame["pain"]) <= set(PAINS)
    assert set(synthetic.frame["LAD_st"]) <= {"0", "1"}
    assert synthetic.frame["age"].between(30, 79).all()
    assert (synthetic.frame["age"] % 1 == 0).all()
    images = synthetic.images([0, 1, NUM - 1])
    assert images.shape == (3, 64, 64, 1)
    assert (images[0] != images[1]).any()


@pytest.mark.parametrize(("first", "num"), [(1024, 100), (1000, 70), (2499, 1)])
def test_any_range_can_be_made_anywhere(patients: Path, results: Path, tmp_path: Path, first: int, num: int) -> None:
    generate(results, tmp_path, "--first", first, "--num", num)
    whole, part = SyntheticSet(patients), SyntheticSet(tmp_path)
    expected = whole.frame.iloc[first : first + num].reset_index(drop=True)
    assert part.frame.equals(expected)
    np.testing.assert_array_equal(part.images(range(num)), whole.images(range(first, first + num)))


@pytest.mark.parametrize("lost", ["table", "images"])
def test_what_was_removed_of_a_finished_generation_is_made_again(results: Path, tmp_path: Path, lost: str) -> None:
    out = tmp_path / "patients"
    generate(results, out, "--num", 1500)
    before = contents(out)
    assert "nothing to do" in generate(results, out, "--num", 1500)
    if lost == "table":
        (out / "table" / "part-0000001024.csv").unlink()
        with pytest.raises(DataError, match="1500 rows were generated, and some are missing; run the same"):
            SyntheticSet(out)
    else:
        (out / "images" / "part-0000001024" / "0000001100.png").unlink()
    generate(results, out, "--num", 1500)
    assert contents(out) == before


def test_a_folder_with_anything_else_is_left_alone(data_dir: Path, results: Path, patients: Path) -> None:
    for folder in (data_dir, results):
        before = sorted(folder.rglob("*"))
        assert "Synthetic patients need a folder of their own" in generate(results, folder, succeeds=False)
        assert sorted(folder.rglob("*")) == before
    for command in ("analyse", "joint", "predict"):
        for folder in (data_dir, patients):
            done = run_script("GAN_joint/test.py", command, data_dir, patients, folder)
            assert done.returncode == 2, done.stderr
            assert "Results need a folder of their own" in done.stderr
    done = run_script("GAN_joint/train.py", "train", data_dir, data_dir, 1, 64, "--preset", "cpu", *SET, "--dry-run")
    assert done.returncode == 2
    assert "Results need a folder of their own" in done.stderr


def test_patients_of_a_gan_of_another_split_are_noted(data_dir: Path, patients: Path, tmp_path: Path) -> None:
    assert origin_notes(read_paired_rows(data_dir), SyntheticSet(patients)) == []
    copied = tmp_path / "data"
    shutil.copytree(data_dir, copied)
    # Other limits are no other rows, nor is another order of them.
    edit_schema(copied, lambda values: values["columns"][2].update(minimum=0, maximum=120))
    header, *rows = (copied / "table.csv").read_text().splitlines()
    (copied / "table.csv").write_text("\n".join([header, *rows[::-1]]) + "\n")
    assert origin_notes(read_paired_rows(copied), SyntheticSet(patients)) == []
    edit_schema(copied, lambda values: values.update(split_seed=2))
    (note,) = origin_notes(read_paired_rows(copied), SyntheticSet(patients))
    assert "it may have seen rows that are called held-out here" in note


def test_another_seed_makes_others(patients: Path, results: Path, tmp_path: Path) -> None:
    generate(results, tmp_path, "--num", 64, "--seed", SEED + 1)
    assert not SyntheticSet(tmp_path).frame.equals(SyntheticSet(patients).frame.iloc[:64])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_generation_goes_on_to_the_same_bytes(
    patients: Path, results: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "patients"
    process = ScriptProcess("GAN_joint/test.py", "generate", results, out, "--seed", SEED, "--num", NUM)
    deadline = time.monotonic() + 200
    while not (out / "table" / "part-0000000000.csv").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(how)
    _, err = process.communicate(timeout=100)
    assert not (out / "_generation-done.txt").exists(), "it was killed before its end"
    if how == signal.SIGTERM:
        assert process.returncode == 143, err
        assert "stopped by SIGTERM" in err
    with pytest.raises(DataError, match=r"to the last one; run test\.py generate"):
        SyntheticSet(out)
    generate(results, out, "--num", NUM)
    assert contents(out) == contents(patients)
    assert len(contents(out)) == NUM + 3
    assert not list(out.rglob("*partial*"))
    assert "nothing to do" in generate(results, out, "--num", NUM)


@pytest.mark.parametrize("images", ["jpeg", "tfrecords"])
def test_images_of_other_forms_are_the_same_patients(
    patients: Path, results: Path, tmp_path: Path, images: str
) -> None:
    generate(results, tmp_path, "--num", 70, "--images", images)
    other, whole = SyntheticSet(tmp_path), SyntheticSet(patients)
    assert other.frame.equals(whole.frame.iloc[:70])
    difference = np.abs(other.images(range(70)).astype(int) - whole.images(range(70)))
    assert difference.max() == 0 if images == "tfrecords" else 0 < difference.mean() < 3


def test_a_table_alone(patients: Path, results: Path, tmp_path: Path) -> None:
    generate(results, tmp_path, "--num", 70, "--images", "none")
    assert SyntheticSet(tmp_path).frame.equals(SyntheticSet(patients).frame.iloc[:70])
    with pytest.raises(DataError, match="Images are needed; generate them"):
        SyntheticSet(tmp_path).images([0])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--num", 0), "--num is 1 or more"),
        (("--num", 5, "--first", -1), "--first 0 or more"),
        (("--snapshot", 77), "no snapshot of that number"),
        (("--num-gpus", 9), "GPU(s) here"),
    ],
)
def test_mistakes_are_named(results: Path, tmp_path: Path, options: tuple, words: str) -> None:
    assert words in generate(results, tmp_path / "out", *options, succeeds=False)
    assert not (tmp_path / "out").exists()


def test_another_generation_in_the_folder_is_refused(patients: Path, results: Path) -> None:
    assert f"num: {NUM} -> 5" in generate(results, patients, "--num", 5, succeeds=False)


def test_a_folder_without_training_is_named(data_dir: Path, tmp_path: Path) -> None:
    assert "no such folder" in generate(data_dir, tmp_path / "out", succeeds=False)


@pytest.mark.parametrize(
    ("size", "options", "words"),
    [
        (60, (), "a multiple of 8 from 64 to 512"),
        (64, ("--set", "network.precision=mixed_float16"), "network.precision takes one of float32, mixed_bfloat16"),
        (64, ("--set", "network.width=0"), "network.width must be above 0"),
        (64, ("--set", "schedule.initial_resolution=32"), "does not grow"),
        (64, ("--set", "loss.gamma=1"), "Unknown setting"),
    ],
)
def test_settings_of_a_training_that_cannot_be(
    data_dir: Path, tmp_path: Path, size: int, options: tuple, words: str
) -> None:
    done = run_script("GAN_joint/train.py", "train", data_dir, tmp_path / "out", 1, size, "--preset", "cpu", *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_published_training_is_five_thousand_epochs_of_ten(data_dir: Path, tmp_path: Path) -> None:
    done = run_script("GAN_joint/train.py", "train", data_dir, tmp_path / "out", 1, 64, "--dry-run",
                      "--set", "network.width=0.02")  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    settings = {line[0]: line[1] for line in lines if len(line) == 2}
    assert float(settings["schedule.total_kimg"]) == 5000 * 64 / 1000
    expected = {"schedule.minibatch_base": "10", "optimiser.beta_1": "0.9", "optimiser.average_decay": "0.0"}
    assert {key: settings[key] for key in expected} == expected


def test_schema_is_proposed_once(data_dir: Path, tmp_path: Path) -> None:
    before = (data_dir / "schema.json").read_text()
    again = run_script("GAN_joint/train.py", "schema", data_dir)
    assert again.returncode == 2
    assert (data_dir / "schema.json").read_text() == before
    replaced = run_script("GAN_joint/train.py", "schema", data_dir, "--overwrite")
    assert replaced.returncode == 0, replaced.stderr
    assert "Column 'patient name' is proposed as identifier" in replaced.stdout


def test_a_table_as_parquet(patients: Path, results: Path, tmp_path: Path) -> None:
    generate(results, tmp_path, "--num", 70, "--images", "none", "--table", "parquet")
    read = SyntheticSet(tmp_path)
    assert read.frame.astype(str).equals(SyntheticSet(patients).frame.iloc[:70].astype(str))
    assert not list(tmp_path.glob("table/*.csv"))
    path = tmp_path / "table" / "part-0000000000.parquet"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match="The file is damaged; remove it, and run the same"):
        SyntheticSet(tmp_path)
