"""create_from_video on made clips of every format, whole and truncated, and what create_from_folder makes of it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import uid

from build_dataset import video
from build_dataset.clips import open_clip
from build_dataset.commands import create
from build_dataset.patient_keys import hashed
from build_dataset.video import create_from_video, format_result
from medsynth.errors import DataError, DependencyError, RunFolderError, UsageError
from tests.clip_files import HEIGHT, WIDTH, moving_frames, truncate, write_dicom, write_gif, write_video
from tests.integration.chest_folder import contents

try:
    import imageio_ffmpeg
except ImportError:
    imageio_ffmpeg = None

TOOL = Path(__file__).parents[2] / "build_dataset" / "dataset_tool.py"
needs_ffmpeg = pytest.mark.skipif(imageio_ffmpeg is None, reason="imageio-ffmpeg (the extra [video]) is not installed")
FRAMES = moving_frames(4, repeats=2)  # eight, each twice
FORMATS = {
    "a.gif": lambda path: write_gif(path, moving_frames(8)),
    "a.mp4": lambda path: write_video(path, FRAMES),
    "fast.mp4": lambda path: write_video(path, FRAMES, faststart=True),
    "a.avi": lambda path: write_video(path, FRAMES),
    "a.dcm": lambda path: write_dicom(path, FRAMES),
    "rle.dcm": lambda path: write_dicom(path, FRAMES, compress=uid.RLELossless),
    "jpeg2000.dcm": lambda path: write_dicom(path, FRAMES, compress=uid.JPEG2000Lossless),
}
formats = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_ffmpeg if name[-3:] in ("mp4", "avi") else ()) for name in FORMATS]
)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "frames.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def gifs(raw: Path, *names: str, num_frames: int = 3) -> None:
    for number, name in enumerate(names):
        (raw / name).parent.mkdir(exist_ok=True)
        write_gif(raw / name, moving_frames(num_frames, seed=number))


def table(raw: Path, *lines: str) -> None:
    (raw / "clips.csv").write_text("\n".join(lines) + "\n")


# Formats.


@formats
def test_every_format_is_read_and_copies_are_dropped(raw: Path, tmp_path: Path, name: str) -> None:
    FORMATS[name](raw / name)
    description = create_from_video(tmp_path / "out", raw, patient_ids="keep")
    (clip,) = description["clips"].values()
    expected = moving_frames(8)[:8] if name == "a.gif" else FRAMES[::2]
    assert clip["num_frames"] == 8
    assert (clip["num_kept"], clip["num_duplicates"]) == ((8, 0) if name == "a.gif" else (4, 4))
    rows = rows_of(tmp_path / "out")
    assert list(rows[0]) == ["path", "group_id", "clip", "frame", "time_s"]
    assert [int(row["frame"]) for row in rows] == list(range(0, 8, 1 if name == "a.gif" else 2))
    period = 0.05 if name.endswith("dcm") else 0.1
    assert [float(row["time_s"]) for row in rows] == pytest.approx([period * int(row["frame"]) for row in rows])
    assert {row["group_id"] for row in rows} == {"US-1" if name.endswith("dcm") else Path(name).stem}
    for row, frame in zip(rows, expected, strict=True):
        loss = np.abs(pixels(tmp_path / "out" / row["path"]).astype(float) - frame).mean()
        assert loss <= (2 if name[-3:] in ("mp4", "avi") else 0)


@formats
def test_a_truncated_clip_is_named_and_can_be_left_out(raw: Path, tmp_path: Path, name: str) -> None:
    truncate(FORMATS[name](raw / name))
    gifs(raw, "whole.gif")
    with pytest.raises(DataError, match=r"truncated|cut off|damaged") as caught:
        create_from_video(tmp_path / "out", raw, patient_ids="keep")
    assert Path(str(caught.value.path)).name == name
    assert "--skip-damaged leaves such clips out" in str(caught.value)
    assert not (tmp_path / "out").exists()
    description = create_from_video(tmp_path / "out", raw, patient_ids="keep", skip_damaged=True)
    assert list(description["clips"]) == ["whole"]
    (skipped,) = description["skipped"]
    assert skipped["file"] == name
    assert "Received" in skipped["reason"]
    assert f"left out: {name}: " in format_result(description)
    assert {row["clip"] for row in rows_of(tmp_path / "out")} == {"whole"}


@formats
def test_a_single_missing_byte_is_found(raw: Path, name: str) -> None:
    """Decoders need no more than the last frame's pixels, and would not say how much is gone."""
    path = FORMATS[name](raw / name)
    lost = 9 if name.endswith("dcm") else 1  # the end of compressed pixels has no bytes of its own to miss
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(DataError, match=r"truncated|cut off|damaged"):
        list(open_clip(path).frames())


@pytest.mark.parametrize("ending", ["gif", "mp4", "avi", "dcm"])
def test_what_is_no_clip_is_refused(raw: Path, tmp_path: Path, ending: str) -> None:
    for number, content in enumerate((b"", b"no clip at all, but some text of forty bytes")):
        path = raw / f"{number}.{ending}"
        path.write_bytes(content)
        with pytest.raises(DataError, match=path.name):
            open_clip(path)
    with pytest.raises(DataError, match="Not one of 2 clips could be read"):
        create_from_video(tmp_path / "out", raw, skip_damaged=True)


def test_without_ffmpeg_gif_is_read_and_mp4_says_what_is_missing(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    gifs(raw, "a.gif")
    create_from_video(tmp_path / "one", raw)
    (raw / "b.mp4").write_bytes(b"\0\0\0\x08moov")
    with pytest.raises(DependencyError, match=r"pip install -e '\.\[video\]'"):
        create_from_video(tmp_path / "two", raw, skip_damaged=True)


@needs_ffmpeg
def test_a_change_of_size_within_a_clip_is_refused(raw: Path, tmp_path: Path) -> None:
    stream = raw / "stream.mjpeg"
    with stream.open("wb") as file:
        for size in ((64, 48), (64, 48), (32, 24)):
            Image.fromarray(FRAMES[0]).resize(size).save(file, "JPEG")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "mjpeg", "-i", stream, "-c", "copy", raw / "a.avi"]
    subprocess.run(command, check=True)
    with pytest.raises(DataError, match=r"a\.avi: Frames of one size .* 32x24 pixels after 64x48"):
        create_from_video(tmp_path / "out", raw)


# DICOM.


def read_one(path: Path) -> np.ndarray:
    return np.array([frame for frame, _ in open_clip(path).frames()])


def test_sixteen_bits_are_shown_alike_in_every_frame(tmp_path: Path) -> None:
    deep = np.stack([np.full((8, 8), 1000), np.full((8, 8), 3000)]).astype(np.uint16)
    deep[0, 0, 0] = 0
    shown = read_one(write_dicom(tmp_path / "a.dcm", deep, BitsStored=12, HighBit=11))
    assert (shown[0, 0, 0], shown[0, 1, 1], shown[1, 1, 1]) == (0, 85, 255)
    windowed = read_one(write_dicom(tmp_path / "b.dcm", deep, WindowCenter=2000, WindowWidth=4000))
    assert (windowed[0, 1, 1], windowed[1, 1, 1]) == (64, 191)


def test_doppler_and_ybr_become_grey(raw: Path, tmp_path: Path) -> None:
    rgb = np.repeat(moving_frames(3)[..., None], 3, axis=3)
    rgb[:, 40:60, 40:60] = (200, 30, 10)
    write_dicom(raw / "rgb.dcm", rgb)
    red = round(0.299 * 200 + 0.587 * 30 + 0.114 * 10)
    ycbcr = np.stack([np.asarray(Image.fromarray(frame).convert("YCbCr")) for frame in rgb])
    write_dicom(raw / "ybr.dcm", ycbcr, PhotometricInterpretation="YBR_FULL")
    description = create_from_video(tmp_path / "out", raw, patient_ids="keep")
    assert "Colour (Doppler, or coloured letters) that became grey: 2 clips." in description["notes"]
    for name in ("rgb", "ybr"):
        frame = pixels(tmp_path / "out" / "frames" / name / "f00000.png")
        assert frame[50, 50] == pytest.approx(red, abs=2)
        assert np.abs(frame[70:].astype(float) - rgb[0, 70:, :, 0]).max() <= 2


def test_a_form_that_is_not_read_is_named(raw: Path, tmp_path: Path) -> None:
    path = write_dicom(raw / "a.dcm", FRAMES)
    path.write_bytes(path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.4.102\0"[:20]))
    with pytest.raises(DataError, match=r"a\.dcm: Uncompressed pixels, RLE, JPEG.* were expected"):
        create_from_video(tmp_path / "out", raw, patient_ids="keep")


def test_a_missing_decoder_is_named(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medsynth.data import dicom

    write_dicom(raw / "a.dcm", FRAMES, compress=uid.JPEG2000Lossless)
    monkeypatch.setitem(dicom._PLUGINS, uid.JPEG2000Lossless, ("absent", "a-decoder"))
    with pytest.raises(DataError, match=r"a\.dcm: Frame 1 of 8: .*JPEG 2000.* needs a-decoder|a-decoder"):
        create_from_video(tmp_path / "out", raw, patient_ids="keep")


def test_letters_in_the_pixels_need_a_word_about_cropping(raw: Path, tmp_path: Path) -> None:
    write_dicom(raw / "a.dcm", FRAMES, BurnedInAnnotation="YES")
    gifs(raw, "b.gif")
    for skip_damaged in (False, True):
        with pytest.raises(UsageError, match=r"a\.dcm: .*BurnedInAnnotation.* --crop 0 for nothing") as caught:
            create_from_video(tmp_path / "out", raw, patient_ids="keep", skip_damaged=skip_damaged)
        assert "--skip-damaged" not in str(caught.value), "which would be no help"
    create_from_video(tmp_path / "out", raw, patient_ids="keep", crop="0")


def test_a_crop_that_leaves_nothing_is_no_damage(raw: Path, tmp_path: Path) -> None:
    gifs(raw, "one.gif")
    table(raw, "clip,patient", "one.gif,1")
    for skip_damaged in (False, True):
        with pytest.raises(UsageError, match=r"one\.gif: --crop leaves .* named in line 2 of clips\.csv") as caught:
            create_from_video(tmp_path / "out", raw, crop="90", skip_damaged=skip_damaged)
        assert "--skip-damaged" not in str(caught.value)
    create_from_video(tmp_path / "out", raw, crop="9")


def test_clips_that_are_left_out_are_not_counted_in_the_notes(raw: Path, tmp_path: Path) -> None:
    gifs(raw, "a.gif", "b.gif")
    write_dicom(raw / "c.dcm", FRAMES)
    write_dicom(raw / "d.dcm", FRAMES)
    for name in ("b.gif", "d.dcm"):
        truncate(raw / name, 0.95)
    description = create_from_video(tmp_path / "out", raw, patient_ids="keep", skip_damaged=True)
    assert [each["file"] for each in description["skipped"]] == ["b.gif", "d.dcm"], "the premise"
    header, nobody = description["notes"]
    assert header == "Patients from the DICOM header: 1 clip."
    assert nobody.startswith("Nothing names the patient of 1 clip:")


def test_patients_of_dicom_files_are_hashed_with_a_key(raw: Path, tmp_path: Path) -> None:
    write_dicom(raw / "a.dcm", FRAMES, PatientID="Doe^Jane")
    write_dicom(raw / "b.dcm", FRAMES, PatientID="")
    with pytest.raises(UsageError, match="needs --key-file"):
        create_from_video(tmp_path / "out", raw)
    description = create_from_video(tmp_path / "out", raw, key_file=tmp_path / "key")
    key = (tmp_path / "key").read_bytes()
    assert {name: clip["group_id"] for name, clip in description["clips"].items()} == {
        "a": hashed(key, "Doe^Jane"),
        "b": "b",
    }
    assert not any(b"Jane" in content for content in contents(tmp_path / "out").values())
    assert description["notes"][0] == "Patients from the DICOM header: 1 clip."
    assert description["notes"][1].startswith(
        "Nothing names the patient of 1 clip: each counts as a patient of its own"
    )


# The table.


def test_a_table_gives_patients_and_labels(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gifs(raw, "one.gif", "sub/one.gif", "sub__one.gif", "extra.gif")
    lines = ("clip;patient;finding;b_lines;age", "one.gif;7;normal;0;50", "sub/one.gif;7.0;wet;1;60")
    table(raw, *lines, "sub__one.gif;p 7;wet;1;60")
    description = create_from_video(tmp_path / "out", raw, labels=("finding", "b_lines"))
    rows = rows_of(tmp_path / "out")
    assert list(rows[0])[5:] == ["finding", "b_lines"]
    assert [(row["clip"], row["group_id"], row["finding"], row["b_lines"]) for row in rows[::3]] == [
        ("one", "7", "normal", "0"),
        ("sub__one", "7.0", "wet", "1"),
        ("sub__one-2", "p 7", "wet", "1"),
    ]
    assert all((tmp_path / "out" / row["path"]).is_file() for row in rows)
    assert description["notes"] == [
        "1 clip of the folder that clips.csv does not name, left out: extra.gif.",
        "Columns of the table that were not used: age.",
    ]
    assert "differ only in case" in capsys.readouterr().err


def test_a_clip_that_does_not_exist_is_named_with_its_line(raw: Path, tmp_path: Path) -> None:
    gifs(raw, "one.gif")
    table(raw, "clip,patient", "one.gif,1", "two.gif,2")
    with pytest.raises(DataError, match=r"two\.gif: .*named in line 3 of clips\.csv.*1 missing of 2 clips"):
        create_from_video(tmp_path / "out", raw)
    description = create_from_video(tmp_path / "out", raw, skip_damaged=True)
    assert [each["file"] for each in description["skipped"]] == ["two.gif"]
    assert "line 3 of clips.csv" in description["skipped"][0]["reason"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("what,patient", "one.gif,1"), "Which column names the clips"),
        (("clip,patient", "one.gif,1", "./one.gif,2"), "listed once"),
        (("clip,patient", "../one.gif,1"), "lies in the folder"),
        (("clip,patient", "one.gif,"), "a patient is expected"),
        (("clip,patient,frame", "one.gif,1,x"), "no column"),
    ],
)
def test_tables_that_are_wrong(raw: Path, tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    gifs(raw, "one.gif")
    table(raw, *lines)
    labels = {"labels": ("frame",)} if "frame" in lines[0] else {}
    if labels:
        with pytest.raises(UsageError, match="A label column is not named"):
            create_from_video(tmp_path / "out", raw, **labels)
        return
    with pytest.raises(DataError, match=message):
        create_from_video(tmp_path / "out", raw)


@pytest.mark.parametrize(
    "settings",
    [
        {"crop": "x"},
        {"every": 0},
        {"every": 2, "fps": 1.0},
        {"fps": -1.0},
        {"max_per_clip": -1},
        {"drop_below": -0.1},
        {"drop_below": float("nan")},
        {"patient_ids": "x"},
        {"num_workers": 0},
    ],
)
def test_settings_out_of_range(raw: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    gifs(raw, "one.gif")
    with pytest.raises(UsageError):
        create_from_video(tmp_path / "out", raw, **settings)
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Clips \(mp4, avi, gif, DICOM\) were expected"):
        create_from_video(tmp_path / "out", raw)
    gifs(raw, "one.gif")
    with pytest.raises(UsageError, match="into the folder of the clips"):
        create_from_video(raw / "out", raw)
    create_from_video(tmp_path / "out", raw)
    with pytest.raises(RunFolderError, match="--overwrite"):
        create_from_video(tmp_path / "out", raw)
    create_from_video(tmp_path / "out", raw, overwrite=True, every=2)
    assert len(rows_of(tmp_path / "out")) == 2


# Going on, and what comes next.


def test_workers_and_a_kill_change_nothing(raw: Path, tmp_path: Path) -> None:
    gifs(raw, *(f"clip{number}.gif" for number in range(12)), num_frames=8)
    command = [sys.executable, TOOL, "create_from_video", "--crop", "auto"]
    running = subprocess.Popen([*command, tmp_path / "out", raw, "--workers", "1"], start_new_session=True)
    done = tmp_path / ".out.building" / "done"
    deadline = time.monotonic() + 120
    while not (done.is_dir() and len(list(done.glob("clip*.json"))) > 1):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    finished = {path.stem: path.stat().st_mtime_ns for path in done.glob("clip*.json")}
    assert 1 < len(finished) < 12, "premise: killed in the middle"
    assert not (tmp_path / "out").exists()
    kept = {name: (done.parent / "frames" / name).stat().st_mtime_ns for name in finished}
    create_from_video(tmp_path / "out", raw, crop="auto")
    assert all((tmp_path / "out" / "frames" / name).stat().st_mtime_ns == when for name, when in kept.items())
    create_from_video(tmp_path / "two", raw, crop="auto", num_workers=2)
    assert contents(tmp_path / "out") == contents(tmp_path / "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw", "two"]


def test_a_clip_that_was_replaced_is_read_again(raw: Path, tmp_path: Path) -> None:
    gifs(raw, "a.gif", "b.gif")
    whole = (raw / "b.gif").read_bytes()
    truncate(raw / "b.gif")
    with pytest.raises(DataError, match="the same command goes on from there"):
        create_from_video(tmp_path / "out", raw)
    assert (tmp_path / ".out.building" / "done" / "a.json").is_file()
    write_gif(raw / "a.gif", moving_frames(2, seed=9))
    (raw / "b.gif").write_bytes(whole)
    create_from_video(tmp_path / "out", raw)
    assert len(rows_of(tmp_path / "out")) == 2 + 3
    np.testing.assert_array_equal(pixels(tmp_path / "out/frames/a/f00000.png"), moving_frames(2, seed=9)[0])


def test_other_settings_are_refused_while_one_is_unfinished(raw: Path, tmp_path: Path) -> None:
    gifs(raw, "a.gif", "b.gif")
    truncate(raw / "b.gif")
    with pytest.raises(DataError):
        create_from_video(tmp_path / "out", raw)
    with pytest.raises(RunFolderError, match=r"arguments\.every: 1 -> 2"):
        create_from_video(tmp_path / "out", raw, every=2)


def test_create_from_folder_makes_a_dataset_of_it(raw: Path, tmp_path: Path) -> None:
    names = [f"{patient}_{clip}.gif" for patient in range(9) for clip in range(2)]
    gifs(raw, *names, num_frames=2)  # frames 0 and 1: the column must not become a label
    table(raw, "clip,patient,b_lines", *(f"{name},{name[0]},{int(name[0]) % 2}" for name in names))
    create_from_video(tmp_path / "frames", raw, crop="auto")
    description = create(
        "create_from_folder", tmp_path / "data", tmp_path / "frames", split=0.25, image_size=16, fit="pad"
    )
    assert description["label_names"] == ["b_lines", "No Finding"]
    patients = {}
    for name in ("train", "valid", "test"):
        patients[name] = set((tmp_path / "data" / name / f"{name}-patients.txt").read_text().split())
        assert description["splits"][name]["images"] == 4 * len(patients[name])
    assert sorted(person for people in patients.values() for person in people) == [str(number) for number in range(9)]


@needs_ffmpeg
def test_the_command_says_what_it_did_for_each_clip(raw: Path, tmp_path: Path) -> None:
    write_video(raw / "a.mp4", FRAMES)
    truncate(write_video(raw / "b.mp4", FRAMES))
    command = [sys.executable, TOOL, "create_from_video", tmp_path / "out", raw, "--workers", "1", "--crop", "auto"]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert "b.mp4" in failed.stderr
    assert "Traceback" not in failed.stderr
    done = subprocess.run([*command, "--skip-damaged"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second, *_, last = done.stdout.splitlines()
    assert first.startswith("a: 4 of 8 frames, 4 dropped as nearly identical; ")
    assert f" of {WIDTH}x{HEIGHT} pixels from " in first
    assert first.endswith("(the part that changes)")
    assert second == "4 frames of 1 clip of 1 patient"
    assert last.startswith("left out: b.mp4: The clip is truncated or damaged")
    assert json.loads((tmp_path / "out" / video.DESCRIPTION_NAME).read_text())["num_frames"] == 4
