"""Which frames GAN_dcgan finds, how it splits them, and what it makes of their pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from GAN_dcgan import frame_data
from GAN_dcgan.config import DataConfig
from GAN_dcgan.decoding import fit_frame
from GAN_dcgan.frame_data import FrameData
from GAN_dcgan.frames import FrameList, clip_of, find_frames
from medsynth.errors import DataError, MedsynthError, UsageError
from tests.dcgan_files import touch, write_frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_frames(tmp_path / "frames")


def names(frames: tuple) -> list[str]:
    return [frame.name for frame in frames]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["a/b/3.PNG", "a/x_1.png", "x_2.png"]),
        ({"filename_filter": "x_"}, ["a/x_1.png", "x_2.png"]),
        ({"filename_filter": "a/"}, ["a/b/3.PNG", "a/x_1.png"]),
        ({"image_extension": ".JPG"}, ["a/4.jpg"]),
        ({"image_extension": "jpg, bmp"}, ["5.bmp", "a/4.jpg"]),
        ({"image_extension": "any"}, ["5.bmp", "a/4.jpg", "a/b/3.PNG", "a/x_1.png", "x_2.png"]),
    ],
)
def test_filter_and_extension(tmp_path: Path, changes: dict, expected: list[str]) -> None:
    touch(tmp_path, ["x_2.png", "a/x_1.png", "a/b/3.PNG", "a/4.jpg", "5.bmp", "notes.txt", "._x_9.png"])
    assert names(find_frames(tmp_path, DataConfig(**changes)).train) == expected


@pytest.mark.parametrize(
    ("name", "clip"),
    [
        ("covid/Cov_Fig15A_f0003.jpg", "covid/Cov_Fig15A"),
        ("clip1/0001.png", "clip1/"),
        ("clip1-frame_12.png", "/clip1"),
        ("a/b/still.png", "a/b/still"),
        ("probe2.5-003.png", "/probe2.5"),
    ],
)
def test_clips_by_name(name: str, clip: str) -> None:
    assert clip_of(name) == clip


@pytest.mark.parametrize(("table", "num_groups"), [("", 4), ("labels.csv", 2)])
def test_groups_are_never_split(folder: Path, table: str, num_groups: int) -> None:
    found = find_frames(folder, DataConfig(table=table, held_out_share=0.5))
    assert len(found.train) == len(found.held_out) == 20
    groups = [{frame.group for frame in part} for part in (found.train, found.held_out)]
    assert not groups[0] & groups[1]
    assert len(groups[0] | groups[1]) == num_groups
    assert f"40 frames of {num_groups} groups" in found.notes[0]
    assert any("patients" in note for note in found.notes) == (not table), "clips are no patients, which is said"
    assert find_frames(folder, DataConfig(table=table)).held_out == ()


def test_a_table_may_be_the_data_itself(folder: Path) -> None:
    found = find_frames(folder / "labels.csv", DataConfig(filename_filter="clip3"))
    assert names(found.train) == [f"clip3/frame_{number:04d}.png" for number in range(10)]
    assert {frame.group for frame in found.train} == {"patient1"}


TABLES = {
    "file,group_id\na.png,1\n": "A column 'path' was expected (--file-column names another)",
    "path,patient\na.png,1\n": "A column 'group_id' was expected (--group-column names another)",
    "path,group_id\na.png,1\nb.png,\n": "Line 3: a group is expected in column 'group_id'",
    "path,group_id\na.png,1\n,2\n": "Line 3: an image is expected in column 'path'",
    "path,group_id\na.png,1\na.png,2\n": "Line 3: an image is listed once",
    "path,group_id\na.png,1\n./a.png,2\n": "Line 3: an image is listed once",
    "path,group_id\nb/a.png,1\nb\\a.png,2\n": "Line 3: an image is listed once",
    "path,Group id\na.png,1\n": "(--group-column names another). Did you mean 'Group id'?",
    'path,group_id,note\na.png,1,"two\nlines"\n\nb.png, ,none\n': "Line 5: a group is expected in column 'group_id'",
    'path,group_id,note\na.png,1,"two\nlines"\n\na.png,1,none\n': "Line 5: an image is listed once",
    "path,group_id\na.png,1\nb.png\n": "Line 3 must have 2 cells",
}


@pytest.mark.parametrize(("text", "words"), TABLES.items())
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError) as error:
        find_frames(tmp_path, DataConfig(table="t.csv"))
    assert words in str(error.value)
    assert "t.csv" in str(error.value)


def frames_of_table(folder: Path, *rows: tuple[str, str], **changes: Any) -> FrameList:
    (folder / "t.csv").write_text("".join(f"{name},{group}\n" for name, group in (("path", "group_id"), *rows)))
    return find_frames(folder, DataConfig(table="t.csv", **changes))


@pytest.mark.parametrize(
    ("spellings", "num_groups", "is_warned"),
    [
        (("1", "1.0", "2"), 2, False),
        (("1", "01", "2"), 3, True),
        (("p1", "P1", "q"), 3, True),
        (("a", "b", "c"), 3, False),
    ],
)
def test_groups_are_spelt_as_patients_are(
    tmp_path: Path, spellings: tuple[str, ...], num_groups: int, is_warned: bool
) -> None:
    found = frames_of_table(tmp_path, *((f"{number}.png", group) for number, group in enumerate(spellings)))
    assert len({frame.group for frame in found.train}) == num_groups
    assert any("differ only in case" in warning for warning in found.warnings) == is_warned


def test_files_have_one_name_wherever_they_lie(tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    found = frames_of_table(folder, ("./a/../b.png", "1"), (f"{folder}/c.png", "2"), ("../d.png", "3"), ("/e.png", "4"))
    assert names(found.train) == ["b.png", "c.png", "../d.png", "/e.png"]
    assert found.train[2].source.path.resolve() == tmp_path / "d.png"
    with pytest.raises(DataError, match="Line 3: an image is listed once"):
        frames_of_table(folder, ("../d.png", "1"), (f"{tmp_path}/d.png", "2"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_of_every_program_give_the_same_frames(tmp_path: Path, separator: str, encoding: str) -> None:
    text = 'path,group_id,note\n"Müller 1.png",1,"two\nlines"\n\n b.png ,2,\n'.replace(",", separator)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    found = find_frames(tmp_path, DataConfig(table="t.csv"))
    assert names(found.train) == ["Müller 1.png", "b.png"]
    assert [frame.source.origin for frame in found.train] == ["line 2 of t.csv", "line 5 of t.csv"]
    assert any("read as cp1252" in note for note in found.notes) == (encoding == "cp1252")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"image_extension": "tif"}, DataError, "ending in tif (--image-extension). Received: 41 files: 40 png, 1 csv"),
        ({"filename_filter": "zz"}, DataError, "with 'zz' in their path below the folder (--filename-filter)"),
        ({"filename_filter": "zz", "table": "labels.csv"}, DataError, "no row with 'zz' in its path"),
        ({"image_extension": "jpg", "table": "labels.csv"}, UsageError, "--image-extension has no effect"),
        ({"filename_filter": "clip1", "held_out_share": 0.1}, DataError, "two of them at least"),
        ({"held_out_share": 0.99}, DataError, "A share of 0.99 (--held-out) of 4 groups is all of them"),
        ({"table": "none.csv"}, DataError, "no such file"),
    ],
)
def test_mistakes_are_named(folder: Path, changes: dict, error: type[MedsynthError], words: str) -> None:
    with pytest.raises(error) as raised:
        find_frames(folder, DataConfig(**changes))
    assert words in str(raised.value)


@pytest.mark.parametrize("changes", [{"held_out_share": 1.0}, {"held_out_share": -0.1}, {"image_extension": "."}])
def test_settings_out_of_range(changes: dict) -> None:
    with pytest.raises(UsageError):
        DataConfig(**changes)


@pytest.mark.parametrize("size", [(40, 24), (24, 40), (31, 20), (16, 16), (8, 9)])
def test_the_shorter_side_is_resized_and_the_middle_cut_out(size: tuple[int, int]) -> None:
    width, height = size
    rows, columns = np.mgrid[:height, :width]
    pixels = (3 * rows + 4 * columns).astype(np.uint8)
    found = fit_frame(pixels[..., None], 16)
    assert found.shape == (16, 16, 1)
    # A ramp stays a ramp: its middle keeps its value, and its slope grows by what the picture shrinks.
    middle = 3 * (height - 1) / 2 + 4 * (width - 1) / 2
    assert abs(found[7:9, 7:9].mean() - middle) <= 2.5
    slope = (found[8, 12, 0].astype(float) - found[8, 4, 0]) / 8
    assert slope == pytest.approx(4 * min(size) / 16, abs=0.3)


def test_deep_pixels_are_scaled_by_their_largest() -> None:
    pixels = np.linspace(0, 4000, 256).reshape(16, 16, 1)
    found = fit_frame(pixels, 16)
    assert (found.min(), found.max()) == (0, 255)
    assert fit_frame(np.zeros((16, 16, 1)), 16).max() == 0
    assert fit_frame(np.full((16, 16, 1), 100, np.uint8), 16).max() == 100, "8 bits stay what they are"


def open_frames(folder: Path, cache: Path, seed: int = 1) -> FrameData:
    return FrameData(find_frames(folder, DataConfig()), 16, seed=seed, cache_dir=cache)


def test_frames_too_many_for_memory_are_mapped_and_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = open_frames(folder, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(frame_data, "_MOST_BYTES_IN_MEMORY", 100)
    mapped = open_frames(folder, tmp_path / "cache")
    assert isinstance(mapped.images, np.memmap)
    assert mapped.images_digest == in_memory.images_digest
    np.testing.assert_array_equal(mapped.images, in_memory.images)
    monkeypatch.setattr(frame_data, "load_frame", None)  # nothing is decoded again
    again = open_frames(folder, tmp_path / "cache")
    np.testing.assert_array_equal(again.batch(3, 50, 16)[0], in_memory.batch(3, 50, 16)[0])
    (path,) = (tmp_path / "cache").glob("*.npy")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match="delete this file"):
        open_frames(folder, tmp_path / "cache")


def test_other_files_have_another_cache_and_digest(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_data, "_MOST_BYTES_IN_MEMORY", 100)
    before = open_frames(folder, tmp_path / "cache")
    Image.fromarray(np.zeros((32, 40), np.uint8)).save(folder / "clip0" / "frame_0000.png")
    after = open_frames(folder, tmp_path / "cache")
    assert after.images_digest != before.images_digest
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_batches_are_fixed_by_seed_and_count(folder: Path, tmp_path: Path) -> None:
    data = open_frames(folder, tmp_path)
    images, rows = data.batch(0, 40, 16)
    assert rows.shape == (40, 0)
    assert sorted(map(bytes, images)) == sorted(map(bytes, data.images)), "a pass shows every frame once"
    np.testing.assert_array_equal(data.batch(30, 20, 16)[0][:10], images[30:])
    assert not np.array_equal(open_frames(folder, tmp_path, seed=2).batch(0, 40, 16)[0], images)


def test_the_first_images_come_from_all_clips(folder: Path, tmp_path: Path) -> None:
    data = open_frames(folder, tmp_path)
    images, rows = data.first_images(4)
    assert sorted(int(image.min()) for image in images) == [20, 40, 60, 80]
    assert rows.shape == (4, 0)
    assert len(data.first_images(45)[0]) == 45


def test_a_damaged_frame_is_named(folder: Path, tmp_path: Path) -> None:
    path = folder / "clip2" / "frame_0005.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError) as error:
        open_frames(folder, tmp_path)
    assert str(path) in str(error.value)
    path.unlink()
    with pytest.raises(DataError, match=r"line 27 of labels\.csv"):
        FrameData(find_frames(folder / "labels.csv", DataConfig()), 16, seed=1, cache_dir=tmp_path)
