import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from classifier_segment.runs import (
    BEST_WEIGHTS,
    RUN_NAME,
    Run,
    begin,
    find_done,
    folder_for,
    open_run,
    recorded,
    test_folder,
    versions,
)
from classifier_segment.settings import Settings
from medsynth.errors import DataError, RunFolderError, UsageError
from medsynth.runs import CONFIG_NAME, DONE_NAME, RunFolder

test_folder.__test__ = False  # it is what is tested
FOUND = {"train_digest": "aa", "val_digest": "bb"}
CLASSES = ("a", "b", "c")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(results_dir=str(tmp_path), seed=5)


def start(settings: Settings, found: dict = FOUND, *, is_done: bool = False) -> Run:
    """As a training does it."""
    path = folder_for(settings, found)
    with RunFolder(path, recorded(settings, found)) as folder:
        run = begin(path, settings, CLASSES)
        (path / BEST_WEIGHTS).write_bytes(b"weights")
        if is_done:
            folder.mark_done("done")
    return run


def with_epochs(settings: Settings, epochs: int) -> Settings:
    return replace(settings, train=replace(settings.train, max_epochs=epochs))


def test_versions_count_up_by_kind(settings: Settings, tmp_path: Path) -> None:
    assert [start(with_epochs(settings, epochs)).version for epochs in (1, 2, 3)] == [0, 1, 2]
    assert start(replace(settings, task="s")).path == tmp_path / "segmentation" / "version_0"
    (tmp_path / "classification" / "version_12").mkdir()
    (tmp_path / "classification" / "version_old").mkdir()
    assert start(with_epochs(settings, 4)).version == 13
    assert [path.name for path in versions(tmp_path / "classification")] == [
        "version_0",
        "version_1",
        "version_2",
        "version_12",
        "version_13",
    ]  # fmt: skip, by number


@pytest.mark.parametrize("is_done", [False, True])
def test_the_same_settings_and_data_are_the_same_run(settings: Settings, is_done: bool) -> None:
    first = start(settings, is_done=is_done)
    assert start(settings) == first
    assert start(replace(settings, task="classification", generate_map="hirescam")).path == first.path
    assert first.is_done == is_done


@pytest.mark.parametrize("is_done", [False, True])
def test_other_data_or_settings_are_another_run(settings: Settings, is_done: bool) -> None:
    start(settings, is_done=is_done)
    assert start(settings, FOUND | {"train_digest": "cc"}).version == 1
    assert start(replace(settings, seed=6)).version == 2
    assert start(settings).version == 0


def test_without_a_seed_a_finished_run_is_followed_by_another(settings: Settings) -> None:
    drawing = replace(settings, seed=-1)
    first = start(drawing)
    assert 0 <= first.seed < 2**31
    again = start(drawing, is_done=True)
    assert again == first, "it goes on, with the seed that was drawn"
    second = start(drawing)
    assert (second.version, second.is_done) == (1, False)
    assert second.seed != first.seed
    assert start(drawing) == second


def test_a_seed_that_was_set_is_kept(settings: Settings) -> None:
    assert start(settings).seed == 5


def test_trainings_that_start_at_once_take_different_numbers(settings: Settings) -> None:
    taken: list[Path] = []
    together = threading.Barrier(8)

    def take(epochs: int) -> None:
        together.wait()
        taken.append(folder_for(with_epochs(settings, epochs), FOUND))

    threads = [threading.Thread(target=take, args=(epochs,)) for epochs in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in taken) == [f"version_{number}" for number in range(8)]


def test_the_same_training_twice_at_once_is_refused(settings: Settings) -> None:
    path = folder_for(settings, FOUND)
    facts = recorded(settings, FOUND)
    with RunFolder(path, facts):
        assert folder_for(settings, FOUND) == path
        with pytest.raises(RunFolderError, match="Another run is going on in this folder"), RunFolder(path, facts):
            pass


# Finding runs again.


def test_a_run_is_opened_with_what_it_was_begun_with(settings: Settings, tmp_path: Path) -> None:
    run = start(with_epochs(settings, 9))
    opened = open_run(tmp_path, "classification", 0)
    assert opened == run
    assert (opened.settings, opened.seed, opened.class_names) == (with_epochs(settings, 9), 5, CLASSES)


def test_an_unknown_version_lists_those_that_are_there(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"checkpoint.version is the number of a .*; there is none yet. Received: 3"):
        open_run(tmp_path, "classification", 3)
    for epochs in (1, 2):
        start(with_epochs(replace(settings, task="s"), epochs))
    with pytest.raises(UsageError) as caught:
        open_run(tmp_path, "segmentation", 3)
    assert str(caught.value) == (
        "segmenter.version or checkpoint.version is the number of a segmentation run in "
        f"{tmp_path / 'segmentation'}; there are 0, 1. Received: 3"
    )


@pytest.mark.parametrize("name", [CONFIG_NAME, RUN_NAME, BEST_WEIGHTS])
def test_a_run_without_an_epoch_cannot_be_used(settings: Settings, tmp_path: Path, name: str) -> None:
    run = start(settings)
    (run.path / name).unlink()
    with pytest.raises(RunFolderError, match=f"train it to its end. Received: no {name}"):
        open_run(tmp_path, "classification", 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "Seed, classes and settings were expected here"),
        ('{"seed": 1, "class_names": ["a"]}', "Seed, classes and settings were expected here"),
        ('{"seed": "x", "class_names": ["a"], "settings": {}}', "Seed, classes and settings were expected here"),
        ('{"seed": 1, "class_names": ["a"], "settings": {"warmup": 2}}', "Unknown setting."),
        ('{"seed": 1, "class_names": ["a"], "settings": {"train.lr": "much"}}', "train.lr takes a value of type float"),
        ('{"seed": 1, "cl', "not valid JSON"),
    ],
)
def test_a_damaged_run_says_which_file(settings: Settings, tmp_path: Path, text: str, words: str) -> None:
    run = start(settings, is_done=True)
    (run.path / RUN_NAME).write_text(text)
    for find in (lambda: open_run(tmp_path, "classification", 0), lambda: find_done(settings, FOUND)):
        with pytest.raises((RunFolderError, DataError)) as caught:
            find()
        assert str(caught.value).startswith(f"{run.path / RUN_NAME}: ")
        assert words in str(caught.value)


@pytest.mark.parametrize("changed", ["train.max_epochs", "data.resize"])
def test_settings_that_were_changed_afterwards_are_seen(settings: Settings, tmp_path: Path, changed: str) -> None:
    run = start(settings, is_done=True)
    assert open_run(tmp_path, "classification", 0) == run
    path = run.path / CONFIG_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {changed: 7}))
    with pytest.raises(RunFolderError, match=rf"one was changed. Received: {changed}: 7 -> "):
        open_run(tmp_path, "classification", 0)
    path.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        open_run(tmp_path, "classification", 0)


def test_the_newest_finished_run_on_the_same_data_is_found(settings: Settings) -> None:
    assert find_done(settings, FOUND) is None
    start(settings)
    assert find_done(settings, FOUND) is None, "not finished"
    of_a_segmenter = [FOUND | {"segmenter_digest": digest} for digest in ("ee", "ff")]
    older, newer = (start(settings, found, is_done=True) for found in of_a_segmenter)
    start(settings, FOUND | {"val_digest": "cc"}, is_done=True)
    start(with_epochs(settings, 2), is_done=True)
    found = find_done(settings, FOUND)
    assert found == newer
    assert older.version == 1
    assert find_done(settings, of_a_segmenter[0]) == older
    assert find_done(replace(settings, seed=6), FOUND) is None
    assert find_done(settings, FOUND | {"train_digest": "zz"}) is None


def test_results_of_another_test_file_have_a_folder_of_their_own(settings: Settings) -> None:
    run = start(settings)
    other = replace(settings, data=replace(settings.data, test="elsewhere/clinic.json"))
    assert test_folder(run, settings) == run.path / "test"
    assert test_folder(run, other) == run.path / "test_clinic"


def test_config_json_says_what_decides_the_run(settings: Settings) -> None:
    run = start(settings)
    facts = json.loads((run.path / CONFIG_NAME).read_text())
    assert facts["found.train_digest"] == "aa"
    assert facts["train.max_epochs"] == 100
    assert not (run.path / DONE_NAME).exists()
    assert "results_dir" not in facts
