"""Clips of ultrasound to a folder of frames with a table, for GAN_dcgan and for create_from_folder.

As a dataset, the folder grows under a hidden name beside its target and takes the target's name when all of it is
there; a build that was killed goes on with the same command, clip by clip, and ends with the same bytes.
"""

import contextlib
import csv
import hashlib
import importlib.metadata
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from build_dataset.clip_frames import NONE, Choice, Grey, Region, choose, find_region, parse_crop, survey, to_grey
from build_dataset.clip_table import FRAME_COLUMNS, ClipList, ListedClip, list_clips
from build_dataset.clips import AVI_ENDINGS, GIF_ENDINGS, MP4_ENDINGS, Clip, is_clip, open_clip
from build_dataset.patient_keys import PATIENT_IDS, hashed, keep_key, no_key, read_or_make_key
from build_dataset.writing import claimed, put_in_place, require_free_target
from medsynth.data.frame_folder import COMMAND, DESCRIPTION_NAME, TABLE_NAME
from medsynth.data.wording import counted
from medsynth.errors import DataError, MedsynthError, UsageError
from medsynth.files import atomic_path, make_folder, read_json, remove_leftovers, require_folder, write_json
from medsynth.parallel import ordered_map, require_workers
from medsynth.progress import Progress

FRAMES_NAME = "frames"
_DONE_NAME = "done"  # in an unfinished folder: what is known of each clip whose frames are there
_FORM_VERSION = 1
_LIBRARIES = ("medsynth", "numpy", "pillow", "pydicom", "scikit-image", "scipy", "imageio-ffmpeg")
_MOST_SHOWN = 40


@dataclass(frozen=True)
class VideoSettings:
    """What becomes of the clips.

    Attributes:
        csv: Name of the table in the folder; empty: the only csv file, if there is one.
        path_column: Column of the clips; empty: one of a usual name.
        patient_column: Column of the patients; empty: one of a usual name, or the files' own ids.
        labels: Label columns, kept as they are; empty: those of zeros and ones.
        crop: See `build_dataset.clip_frames.parse_crop`.
        every: Every k-th frame is looked at.
        fps: At most so many frames of a second; 0 for all.
        max_per_clip: At most so many frames of a clip, evenly spread; 0 for all.
        drop_below: See `build_dataset.clip_frames.Choice`.
        patient_ids: What becomes of a DICOM file's PatientID, where no table names patients: "hash" or "keep".
    """

    csv: str = ""
    path_column: str = ""
    patient_column: str = ""
    labels: Sequence[str] = ()
    crop: str = NONE
    every: int = 1
    fps: float = 0.0
    max_per_clip: int = 0
    drop_below: float = 1.0
    patient_ids: str = "hash"

    def choice(self) -> Choice:
        """Return how frames are chosen.

        Raises:
            UsageError: A number out of its range.
        """
        for option, number, least in (
            ("--every", self.every, 1),
            ("--fps", self.fps, 0),
            ("--max-per-clip", self.max_per_clip, 0),
            ("--drop-below", self.drop_below, 0),
        ):
            if not least <= number < 1e9:
                raise UsageError(f"{option} is {least} or more.", received=number)
        if self.every > 1 and self.fps:
            raise UsageError("--every and --fps exclude each other.", received=f"{self.every} and {self.fps:g}")
        return Choice(self.every, self.fps, self.max_per_clip, self.drop_below)


@dataclass(frozen=True)
class _Task:
    """A clip to be written below a folder."""

    raw: Path
    building: Path
    clip: ListedClip
    crop: str
    choice: Choice


def create_from_video(
    target_dir: str | Path,
    raw_dir: str | Path,
    *,
    key_file: str | Path | None = None,
    skip_damaged: bool = False,
    overwrite: bool = False,
    num_workers: int = 1,
    **others: Any,
) -> dict[str, Any]:
    """Write target_dir/frames/<clip>/f<frame>.png, grey, and frames.csv: path, group_id, clip, frame, time_s, labels.

    Args:
        target_dir: New or empty; give it to create_from_folder as raw_dir, or to GAN_dcgan.
        raw_dir: Holds the clips at any depth, and a csv file if there is one.
        key_file: For `patient_ids` "hash"; see `build_dataset.prepare_brain.prepare_brain`. Needed only where a
            patient's id comes from a DICOM file.
        skip_damaged: Leave out clips that are missing, damaged or not readable here, and list them. A clip that does
            not go with `crop` is an error all the same.
        overwrite: Replace a finished folder, and forget an unfinished one.
        num_workers: Processes; the result does not depend on it.
        others: What becomes of the clips; the attributes of `VideoSettings`.

    Returns:
        What frames.json holds: `clips`, `skipped` and `notes` among it.

    Raises:
        UsageError: A setting out of its range, or a crop that a clip does not go with.
        DataError: A wrong table, or a clip that cannot be read (the first of them).
        DependencyError: ffmpeg is missing, and there are clips that need it.
        RunFolderError: `target_dir` is not free, or cannot be written.
    """
    require_workers(num_workers)
    settings = VideoSettings(**others)
    parse_crop(settings.crop)
    choice = settings.choice()
    if settings.patient_ids not in PATIENT_IDS:
        raise UsageError(f"--patient-ids is one of {', '.join(PATIENT_IDS)}.", received=settings.patient_ids)
    target, raw = Path(target_dir).resolve(), require_folder(Path(raw_dir), "clips")
    if target.is_relative_to(raw.resolve()):
        raise UsageError("The frames must not be written into the folder of the clips.", received=target)
    own = (TABLE_NAME, FRAMES_NAME)
    require_free_target(target, overwrite, description_name=DESCRIPTION_NAME, other_names=own)
    found = list_clips(raw, settings.csv, settings.path_column, settings.patient_column, settings.labels)
    for warning in found.warnings:
        print(f"warning: {raw}: {warning}", file=sys.stderr, flush=True)
    if not skip_damaged:
        _require_files(raw, found.clips)
    clips, key, own_patients = _with_patients(found.clips, raw, target, settings.patient_ids, key_file)
    plan = _plan(settings, raw, replace(found, clips=clips), key)
    make_folder(target.parent)
    remove_leftovers(target)
    building = target.with_name(f".{target.name}.building")
    with claimed(building, plan, overwrite, worth_keeping="*.png"):
        if key and key_file is not None:
            keep_key(Path(key_file), key)
        for name in (FRAMES_NAME, _DONE_NAME):
            make_folder(building / name)
        tasks = [_Task(raw, building, clip, settings.crop, choice) for clip in clips]
        done, skipped = _extract_all(tasks, num_workers, skip_damaged)
        _write_table(building / TABLE_NAME, clips, done, found.label_names)
        shutil.rmtree(building / _DONE_NAME)
        origins = _notes_of_patients([own_patients[name] for name in done if name in own_patients])
        description = _describe(plan, clips, done, skipped, [*found.notes, *origins], found.warnings)
        write_json(building / DESCRIPTION_NAME, description)
        put_in_place(building, target)
    return description


def _require_files(raw: Path, clips: Sequence[ListedClip]) -> None:
    """Refuse missing files before any long work."""
    missing = [clip for clip in clips if not (raw / clip.file).is_file()]
    if missing:
        raise DataError(
            f"A clip was expected here; it is named in {missing[0].origin}. --skip-damaged leaves such clips out.",
            received=f"{len(missing)} missing of {counted(len(clips), 'clip')}",
            path=raw / missing[0].file,
        )


def _with_patients(
    clips: Sequence[ListedClip], raw: Path, target: Path, patient_ids: str, key_file: str | Path | None
) -> tuple[tuple[ListedClip, ...], bytes, dict[str, str]]:
    """Return every clip with a patient, the key that hashed some, and whom each file names if no table does."""
    if all(clip.patient for clip in clips):
        return tuple(clips), _no_key_needed(key_file), {}
    own = {clip.name: _own_patient(raw / clip.file) for clip in clips}
    key = b""
    if any(own.values()) and patient_ids == "hash":
        key = read_or_make_key(key_file, target)
    elif patient_ids == "keep":
        no_key(key_file)
    ids = {name: hashed(key, patient) if key and patient else patient for name, patient in own.items()}
    return tuple(replace(clip, patient=ids[clip.name] or clip.name) for clip in clips), key, own


def _notes_of_patients(own: Sequence[str]) -> list[str]:
    """Return where the patients come from in words, given whom the file of each clip names, empty for nobody."""
    num_own = sum(map(bool, own))
    num_unknown = len(own) - num_own
    notes = []
    if num_own:
        notes.append(f"Patients from the DICOM header: {counted(num_own, 'clip')}.")
    if num_unknown:
        notes.append(
            f"Nothing names the patient of {counted(num_unknown, 'clip')}: each counts as a patient of its own, so "
            "clips of one person may lie in two splits. A csv file with the columns clip and patient says more."
        )
    return notes


def _no_key_needed(key_file: str | Path | None) -> bytes:
    """Refuse a key where a table names the patients, whose ids are kept as they are."""
    if key_file is not None:
        raise UsageError("--key-file is for the ids of DICOM files; a table's are kept.", received=key_file)
    return b""


def _own_patient(path: Path) -> str:
    """Return the patient that a DICOM file names; empty for other clips, and for a file that cannot be read yet."""
    if path.suffix.lower() in GIF_ENDINGS + MP4_ENDINGS + AVI_ENDINGS or not path.is_file() or not is_clip(path):
        return ""
    from medsynth.data.dicom import read_clip_header  # noqa: PLC0415 - pydicom is slow to load and not always needed

    with contextlib.suppress(DataError):
        return read_clip_header(path).patient_id
    return ""


def _plan(settings: VideoSettings, raw: Path, found: ClipList, key: bytes) -> dict[str, Any]:
    """Return all that the frames depend on beside the clips' contents, as JSON gives it back."""
    rows = json.dumps([found.label_names, [asdict(clip) for clip in found.clips]])
    plan = {
        "command": COMMAND,
        "form_version": _FORM_VERSION,
        "arguments": {"raw_dir": str(raw), **asdict(settings)},
        "key_check": hashed(key, "which key is this") if key else None,
        "rows_sha256": hashlib.sha256(rows.encode()).hexdigest(),
        "library_versions": {name: _version(name) for name in _LIBRARIES},
    }
    return dict(json.loads(json.dumps(plan)))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _extract_all(
    tasks: Sequence[_Task], num_workers: int, skip_damaged: bool
) -> tuple[dict[str, dict[str, Any]], list[dict[str, str]]]:
    """Write the frames of every clip; return what came of each, by name, and the files that were left out."""
    done: dict[str, dict[str, Any]] = {}
    skipped: list[dict[str, str]] = []
    progress = Progress("reading clips", len(tasks), "clips")
    with contextlib.closing(ordered_map(_extract, tasks, min(num_workers, len(tasks)))) as outcomes:
        for task, outcome in zip(tasks, outcomes, strict=True):
            if isinstance(outcome, UsageError):
                raise UsageError(_with_origin(outcome, task.clip), received=outcome.received, path=outcome.path)
            if isinstance(outcome, DataError):
                error = outcome
                if not skip_damaged:
                    raise DataError(
                        f"{_with_origin(error, task.clip)} --skip-damaged leaves such clips out. What is written is "
                        "kept: the same command goes on from there.",
                        received=error.received,
                        path=error.path,
                    )
                reason = f"{_with_origin(error, task.clip)} Received: {error.received}"
                skipped.append({"file": task.clip.file, "reason": reason})
            else:
                done[task.clip.name] = outcome
            progress.advance()
    progress.close(f"({len(skipped):,} left out)" if skipped else "")
    if not done:
        raise DataError(
            f"Not one of {counted(len(skipped), 'clip')} could be read. The first: {skipped[0]['reason']}",
            received="no frame",
            path=tasks[0].raw / skipped[0]["file"],
        )
    return done, skipped


def _with_origin(error: MedsynthError, clip: ListedClip) -> str:
    return f"{error.expected} It is named in {clip.origin}." if clip.origin else error.expected


def _extract(task: _Task) -> dict[str, Any] | DataError | UsageError:
    """Write the frames of a clip, unless they are there, and return what came of it, or why nothing did.

    That is a UsageError where the clip does not go with the settings, and a DataError where it cannot be read.
    """
    path, name = task.raw / task.clip.file, task.clip.name
    note = task.building / _DONE_NAME / f"{name}.json"
    folder = task.building / FRAMES_NAME / name
    try:
        source = [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else []
        with contextlib.suppress(DataError):
            kept = read_json(note)
            if kept["source"] == source and all((folder / _file(number)).is_file() for number, _ in kept["frames"]):
                return dict(kept)
        clip = open_clip(path)
        if clip.has_burned_in_annotation and task.crop == NONE:
            raise UsageError(
                "The header says that text is part of the pixels (BurnedInAnnotation); say with --crop what to cut "
                "off, and --crop 0 for nothing.",
                received="YES",
            )
        outcome = _write_frames(clip, folder, task) | {"source": source}
        write_json(note, outcome)
        return outcome
    except (DataError, UsageError) as error:
        return type(error)(error.expected, received=error.received, path=path)


def _write_frames(clip: Clip, folder: Path, task: _Task) -> dict[str, Any]:
    """Decode a clip three times: to look at it, to choose, and to write; memory holds a frame or two."""
    seen = survey(frame for frame, _ in clip.frames())
    region = find_region(parse_crop(task.crop), seen)
    chosen = choose(((region.cut(to_grey(frame)), seconds) for frame, seconds in clip.frames()), task.choice)
    times = []
    with atomic_path(folder) as partial:
        make_folder(partial)
        for number, frame, seconds in _wanted(clip, region, chosen.frames):
            Image.fromarray(frame).save(partial / _file(number))
            times.append((number, seconds))
    return {
        "num_frames": seen.num_frames,
        "num_duplicates": chosen.num_duplicates,
        "frames": times,
        "region": {
            "found": region.found,
            "left": region.columns[0],
            "top": region.rows[0],
            "width": region.columns[1] - region.columns[0],
            "height": region.rows[1] - region.rows[0],
            "of_width": seen.mean.shape[1],
            "of_height": seen.mean.shape[0],
        },
        "is_coloured": seen.is_coloured,
    }


def _wanted(clip: Clip, region: Region, numbers: Sequence[int]) -> Iterator[tuple[int, Grey, float | None]]:
    wanted = set(numbers)
    for number, (frame, seconds) in enumerate(clip.frames()):
        if number in wanted:
            yield number, region.cut(to_grey(frame)), seconds


def _file(number: int) -> str:
    return f"f{number:05d}.png"


def _write_table(
    path: Path, clips: Sequence[ListedClip], done: Mapping[str, Mapping[str, Any]], label_names: Sequence[str]
) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*FRAME_COLUMNS, *label_names))
        for clip in clips:
            for number, seconds in done[clip.name]["frames"] if clip.name in done else ():
                picture = f"{FRAMES_NAME}/{clip.name}/{_file(number)}"
                time = "" if seconds is None else f"{seconds:.3f}"
                writer.writerow((picture, clip.patient, clip.name, number, time, *clip.labels))


def _describe(
    plan: Mapping[str, Any],
    clips: Sequence[ListedClip],
    done: Mapping[str, Mapping[str, Any]],
    skipped: Sequence[Mapping[str, str]],
    notes: Sequence[str],
    warnings: Sequence[str],
) -> dict[str, Any]:
    kept = [clip for clip in clips if clip.name in done]
    num_coloured = sum(done[clip.name]["is_coloured"] for clip in kept)
    coloured = f"Colour (Doppler, or coloured letters) that became grey: {counted(num_coloured, 'clip')}."
    return {
        **{key: value for key, value in plan.items() if key != "rows_sha256"},
        "num_frames": sum(len(done[clip.name]["frames"]) for clip in kept),
        "num_patients": len({clip.patient for clip in kept}),
        "notes": [*notes, *([coloured] if num_coloured else [])],
        "warnings": list(warnings),
        "skipped": list(skipped),
        "clips": {
            clip.name: {
                "file": clip.file,
                "group_id": clip.patient,
                **{key: value for key, value in done[clip.name].items() if key not in ("frames", "source")},
                "num_kept": len(done[clip.name]["frames"]),
            }
            for clip in kept
        },
    }


def format_result(description: Mapping[str, Any]) -> str:
    """Return what the command says at its end: a line per clip, and what to know of it."""
    lines = []
    clips = description["clips"]
    for name, clip in list(clips.items())[:_MOST_SHOWN]:
        region = clip["region"]
        part = f"{region['width']}x{region['height']} of {region['of_width']}x{region['of_height']} pixels"
        lines.append(
            f"{name}: {clip['num_kept']:,} of {counted(clip['num_frames'], 'frame')}, {clip['num_duplicates']:,} "
            f"dropped as nearly identical; {part} from {region['left']},{region['top']} ({region['found']})"
        )
    if len(clips) > _MOST_SHOWN:
        lines.append(f"... {len(clips) - _MOST_SHOWN:,} more in {DESCRIPTION_NAME}")
    lines.append(
        f"{counted(description['num_frames'], 'frame')} of {counted(len(clips), 'clip')} of "
        f"{counted(description['num_patients'], 'patient')}"
    )
    lines += description["notes"]
    lines += [f"left out: {each['file']}: {each['reason']}" for each in description["skipped"]]
    return "\n".join(lines)
