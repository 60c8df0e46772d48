"""RSNA's head CT as it is downloaded, DICOM files and stage_2_train.csv, to what create_from_brain reads.

Of a DICOM file only its pixels, the image's id (its file name) and the patient's id go on; see
medsynth.data.dicom_header. Windows are in Hounsfield units.
"""

import contextlib
import csv
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from build_dataset.brain import IMAGE_ID, TABLE_NAME, TYPES
from build_dataset.brain_slices import WINDOWS, Outcome, SliceTask, prepare_slices
from build_dataset.patient_keys import PATIENT_IDS, hashed, keep_key, no_key, read_or_make_key
from build_dataset.rsna_labels import SliceLabels, read_stage_2_labels
from build_dataset.writing import require_resolution
from medsynth.data.wording import counted
from medsynth.errors import DataError, RunFolderError, UsageError
from medsynth.files import (
    atomic_path,
    make_folder,
    read_json,
    remove_leftovers,
    require_folder,
    sha256_of,
    write_json,
)
from medsynth.parallel import ordered_map, require_workers
from medsynth.progress import Progress

SETTINGS_NAME = "prepare_brain.json"
REPORT_NAME = "prepare_brain_report.csv"

_FORM_VERSION = 1
_SLICES_PER_TASK = 16
_MISSING = Outcome(reason="A DICOM file was expected here. Received: no such file")


def prepare_brain(
    raw_dicom_dir: str | Path,
    labels_csv: str | Path,
    out_dir: str | Path,
    *,
    window: str = "brain",
    image_size: int = 128,
    patient_ids: str = "hash",
    key_file: str | Path | None = None,
    allow_burned_in: bool = False,
    num_workers: int = 1,
) -> dict[str, int]:
    """Write out_dir/ID_<hex>.png for every image that `labels_csv` names, and new_stage_2_train.csv.

    A slice is windowed, resized with its aspect kept (a Gaussian against aliasing) and, where it is
    not square, put in the middle of a black square. A file that fails is left out of the table and
    named in prepare_brain_report.csv. The same command goes on where it was stopped: PNG files that
    are there and whole are kept, only the patient's id is read again, and every byte comes out the same.

    Args:
        raw_dicom_dir: Holds ID_<hex>.dcm (any extension or none), at any depth.
        labels_csv: RSNA's stage_2_train.csv.
        out_dir: New or empty, or left by this very command; give it to create_from_brain as raw_dir.
        window: A key of WINDOWS; "stack" gives brain, subdural and bone as red, green and blue.
        image_size: Pixels a side; a power of two.
        patient_ids: "keep" copies them, for data whose ids are pseudonyms already. "hash" puts 16
            hexadecimal digits of HMAC-SHA256 with the key in their place.
        key_file: For "hash": 32 random bytes, made if the file does not exist. Who holds it can
            find a patient's images, so keep it away from what is shared.
        allow_burned_in: Take files whose header says that text is part of the pixels, too.
        num_workers: Processes; the result does not depend on it.

    Returns:
        Counts: `images` and `patients` in the table, `failed` (of which `missing` files), `inverted`
        (MONOCHROME1), `not_named` (DICOM files that no row names), `duplicate_rows` dropped.

    Raises:
        UsageError: An argument out of its range.
        DataError: The table is wrong, two files have one name, or no file could be used.
        RunFolderError: `out_dir` or `key_file` holds something else, or cannot be written.
    """
    raw, table_path, out = Path(raw_dicom_dir), Path(labels_csv), Path(out_dir).resolve()
    _require_choice("--window", window, WINDOWS)
    _require_choice("--patient-ids", patient_ids, PATIENT_IDS)
    require_resolution(image_size)
    require_workers(num_workers)
    require_folder(raw, "the DICOM files ID_<hex>.dcm")
    if out.is_relative_to(raw.resolve()):
        raise UsageError("The images must not be written into the folder of the DICOM files.", received=out)
    key = read_or_make_key(key_file, out) if patient_ids == "hash" else no_key(key_file)
    labels = read_stage_2_labels(table_path)
    found, num_not_named = _find_slices(raw, labels.images)
    settings = {
        "form_version": _FORM_VERSION,
        "window": window,
        "image_size": image_size,
        "patient_ids": patient_ids,
        "key_check": hashed(key, "which key is this") if key else None,
        "allow_burned_in": allow_burned_in,
        "labels_csv_sha256": sha256_of(table_path),
    }
    is_begun = _is_begun(out, settings)
    if key_file is not None:
        keep_key(Path(key_file), key)
    if not is_begun:
        write_json(out / SETTINGS_NAME, settings)

    named = {image: found[image] for image in labels.images if image in found}
    files = [(path, out / f"{image}.png") for image, path in named.items()]
    starts = range(0, len(files), _SLICES_PER_TASK)
    chunks = (files[start : start + _SLICES_PER_TASK] for start in starts)
    tasks = (SliceTask(chunk, window, image_size, allow_burned_in) for chunk in chunks)
    progress = Progress("preparing slices", len(named), "images")
    outcomes = dict.fromkeys(labels.images, _MISSING)
    with contextlib.closing(ordered_map(prepare_slices, tasks, min(num_workers, len(starts)))) as done:
        for image, outcome in zip(named, itertools.chain.from_iterable(done), strict=True):
            outcomes[image] = outcome
            progress.advance()
    failed = {image: outcome.reason for image, outcome in outcomes.items() if outcome.reason}
    progress.close(f"({len(failed):,} of {len(outcomes):,} failed; see {REPORT_NAME})" if failed else "")
    _write_report(out / REPORT_NAME, failed, named)
    if len(failed) == len(outcomes):
        first = next(iter(named))
        raise DataError(
            f"Not one of {len(failed):,} slices could be prepared; {REPORT_NAME} says why. The first: {failed[first]}",
            received="no slice",
            path=named[first],
        )
    patients = {image: hashed(key, outcome.patient) if key else outcome.patient for image, outcome in outcomes.items()}
    _write_table(out / TABLE_NAME, labels, patients, failed)
    return {
        "images": len(outcomes) - len(failed),
        "patients": len({patients[image] for image in outcomes if image not in failed}),
        "failed": len(failed),
        "missing": len(outcomes) - len(named),
        "inverted": sum(outcome.is_inverted for outcome in outcomes.values()),
        "not_named": num_not_named,
        "duplicate_rows": labels.num_duplicate_rows,
    }


def format_summary(summary: Mapping[str, int]) -> str:
    """Return the counts of `prepare_brain` as people read them, one a line."""
    meanings = {
        "images": "image",
        "patients": "patient",
        "failed": f"failed, named in {REPORT_NAME}",
        "missing": "of them without a file",
        "inverted": "are MONOCHROME1 and were inverted after the window",
        "not_named": "not named: DICOM files that no row of the table names",
        "duplicate_rows": "dropped: duplicate rows",
    }
    nouns = ("images", "patients")
    return "\n".join(
        counted(summary[key], text) if key in nouns else f"{summary[key]:,} {text}"
        for key, text in meanings.items()
        if summary[key] or key in nouns
    )


def _require_choice(option: str, value: str, choices: Sequence[str] | Mapping[str, Any]) -> None:
    if value not in choices:
        raise UsageError(f"{option} is one of {', '.join(choices)}.", received=value)


def _find_slices(raw: Path, images: Sequence[str]) -> tuple[dict[str, Path], int]:
    """Return the file of every image that has one, and the number of DICOM files that are not asked for.

    Raises:
        DataError: Two files of one name, an unreadable folder, or not one of the files.
    """
    wanted = set(images)
    found: dict[str, Path] = {}
    num_others = 0
    for folder, _, names in os.walk(raw, onerror=_refuse_folder):
        for name in names:
            image = Path(name).stem
            if not IMAGE_ID.fullmatch(image):
                num_others += name.lower().endswith(".dcm")
                continue
            if image in found:
                raise DataError(
                    f"One file for each image was expected, and {image} has two.",
                    received=f"{found[image]} as well",
                    path=Path(folder, name),
                )
            found[image] = Path(folder, name)
    if not wanted & found.keys():
        raise DataError(
            f"Not one of the {len(wanted):,} images of the table lies in this folder, as {images[0]}.dcm.",
            received=counted(len(found) + num_others, "other DICOM file"),
            path=raw,
        )
    num_others += len(found.keys() - wanted)
    return {image: path for image, path in found.items() if image in wanted}, num_others


def _refuse_folder(error: OSError) -> None:
    raise DataError("The folder cannot be read.", received=error.strerror, path=error.filename) from None


# The output folder.


def _is_begun(out: Path, settings: Mapping[str, Any]) -> bool:
    """Return whether a run with the same settings left `out`; clear what a kill left half-written there.

    Raises:
        RunFolderError: It holds anything else (says what differs), or cannot be written.
    """
    make_folder(out)
    for leftover in out.glob(".*.partial.*"):
        remove_leftovers(out / leftover.name.partition(".partial.")[2])
    if not (out / SETTINGS_NAME).is_file():
        entries = sorted(entry.name for entry in itertools.islice(out.iterdir(), 4))
        if entries:
            raise RunFolderError("An empty or new folder was expected here.", received=", ".join(entries), path=out)
        return False
    before = read_json(out / SETTINGS_NAME)
    before = before if isinstance(before, dict) else {}
    differing = [key for key in {**settings, **before} if before.get(key) != settings.get(key)]
    if differing:
        old, new = (", ".join(f"{key} {each.get(key)}" for key in differing) for each in (before, settings))
        raise RunFolderError(
            f"This folder was begun with other settings; choose another one, or give {old}.", received=new, path=out
        )
    return True


def _write_report(path: Path, failed: Mapping[str, str], found: Mapping[str, Path]) -> None:
    """Write the files that failed, by name alone: folders may be named after patients."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "reason"))
        for image, reason in failed.items():
            writer.writerow((found[image].name if image in found else f"{image}.dcm", reason))


def _write_table(path: Path, labels: SliceLabels, patients: Mapping[str, str], failed: Mapping[str, str]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("ID", "Label", "PatientID"))
        for image, values in zip(labels.images, labels.values.tolist(), strict=True):
            if image not in failed:
                rows = zip(TYPES, values, strict=True)
                writer.writerows((f"{image}_{name}", value, patients[image]) for name, value in rows)
