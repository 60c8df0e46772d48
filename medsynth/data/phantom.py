"""A data set of made-up chest radiographs in the layout of CheXpert-v1.0-small.

It lets the whole suite run without a download. The files, columns and quirks are
CheXpert's: several studies per patient, empty cells for findings nobody mentioned,
uncertain labels (-1), lateral views, and a few rows without any label. Findings
co-occur as there (fluid with opacities and devices, say), and "No Finding" stands alone.
"""

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medsynth.data.phantom_drawing import (
    CARDIOMEGALY,
    LUNG_LESION,
    LUNG_OPACITY,
    PLEURAL_EFFUSION,
    PNEUMOTHORAX,
    SUPPORT_DEVICES,
    Anatomy,
    at_study,
    draw_anatomy,
    draw_signs,
    render,
    render_lateral,
)
from medsynth.data.phantom_folder import draw_in_parts
from medsynth.errors import RunFolderError, UsageError
from medsynth.files import atomic_path, make_folder, read_json, remove_leftovers, write_json, write_text
from medsynth.parallel import require_workers

DEFAULT_NUM_PATIENTS = 4200  # about 8,000 frontal images
MAX_NUM_PATIENTS = 99_999  # CheXpert writes patient numbers with five digits
DATASET_NAME = "CheXpert-v1.0-small"
DESCRIPTION_NAME = "phantom.json"
FORM_VERSION = 1  # raise it whenever the same arguments give other files
NO_FINDING = "No Finding"
COLUMNS = (
    *("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA"),
    *(NO_FINDING, "Enlarged Cardiomediastinum", CARDIOMEGALY, LUNG_OPACITY, LUNG_LESION, "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", PNEUMOTHORAX, PLEURAL_EFFUSION, "Pleural Other"),
    *("Fracture", SUPPORT_DEVICES),
)
NUM_METADATA_COLUMNS = 5

# Relative frequency of each combination of findings; () is a healthy chest.
COMBINATIONS: dict[tuple[str, ...], float] = {
    (): 20,
    (CARDIOMEGALY,): 8,
    (LUNG_OPACITY,): 8,
    (LUNG_LESION,): 10,
    (PNEUMOTHORAX,): 9,
    (PLEURAL_EFFUSION,): 6,
    (SUPPORT_DEVICES,): 5,
    (CARDIOMEGALY, SUPPORT_DEVICES): 4,
    (CARDIOMEGALY, PLEURAL_EFFUSION): 6,
    (CARDIOMEGALY, PLEURAL_EFFUSION, SUPPORT_DEVICES): 2.5,
    (CARDIOMEGALY, LUNG_OPACITY): 2.5,
    (CARDIOMEGALY, LUNG_OPACITY, PLEURAL_EFFUSION): 2.5,
    (LUNG_OPACITY, PLEURAL_EFFUSION): 7,
    (LUNG_OPACITY, PLEURAL_EFFUSION, SUPPORT_DEVICES): 3,
    (LUNG_OPACITY, SUPPORT_DEVICES): 2.5,
    (PLEURAL_EFFUSION, SUPPORT_DEVICES): 2,
    (LUNG_LESION, PLEURAL_EFFUSION): 3,
    (LUNG_LESION, LUNG_OPACITY): 3,
    (PNEUMOTHORAX, SUPPORT_DEVICES): 4,
    (PNEUMOTHORAX, PLEURAL_EFFUSION): 3,
}
_NUM_STUDIES_SHARES = (0.45, 0.30, 0.15, 0.10)  # of patients with 1, 2, 3 and 4 studies
_SHARE_SAME_FINDINGS = 0.4  # of follow-up studies
_SHARE_WITH_LATERAL = 0.04  # of studies
_SHARE_UNLABELLED = 0.2  # of studies of a healthy chest whose report says nothing
_SHARE_NEGATIVE = 0.12  # of absent findings that the report rules out in words
_FAINT = 0.1  # a sign of less strength is reported as uncertain
_JPEG_QUALITY = 92
_PATIENTS_PER_TASK = 16

Row = tuple[str, ...]


@dataclass(frozen=True)
class Patient:
    """What is settled before the first radiograph.

    Attributes:
        number: From 1; part of every path.
        sex: `Male` or `Female`.
        age: At the first study, years.
        anatomy: What all studies share.
        findings: One set per study, in order.
    """

    number: int
    sex: str
    age: int
    anatomy: Anatomy
    findings: tuple[frozenset[str], ...]


def _generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of one patient (key: number) or one study (key: number, study)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def draw_patient(number: int, seed: int) -> Patient:
    """Return patient `number`; it depends on the two arguments alone."""
    rng = _generator(seed, number)
    num_studies = 1 + int(rng.choice(len(_NUM_STUDIES_SHARES), p=_NUM_STUDIES_SHARES))
    weights = np.array(list(COMBINATIONS.values()))
    choices = [frozenset(names) for names in COMBINATIONS]
    findings: list[frozenset[str]] = []
    for _ in range(num_studies):
        fresh = choices[int(rng.choice(len(choices), p=weights / weights.sum()))]
        same = bool(findings) and rng.random() < _SHARE_SAME_FINDINGS
        findings.append(findings[-1] if same else fresh)
    sex = "Male" if rng.random() < 0.55 else "Female"
    age = int(np.clip(rng.normal(60, 17), 18, 90))
    return Patient(number, sex, age, draw_anatomy(rng), tuple(findings))


def _label_cells(findings: frozenset[str], faint: set[str], rng: np.random.Generator) -> Row:
    """Return the cells of the findings as a report would give them: 1.0, 0.0, -1.0 or empty."""
    names = COLUMNS[NUM_METADATA_COLUMNS:]
    chances = rng.random(len(names))
    cells = dict.fromkeys(names, "")
    for name, chance in zip(names, chances, strict=True):
        if name in findings:
            cells[name] = "-1.0" if name in faint else "1.0"
        elif name != NO_FINDING and chance < _SHARE_NEGATIVE:
            cells[name] = "0.0"
    if not findings and chances[0] >= _SHARE_UNLABELLED:
        cells[NO_FINDING] = "1.0"
    return tuple(cells.values())


def draw_study(patient: Patient, study: int, seed: int) -> list[tuple[Row, bytes]]:
    """Draw one study.

    Args:
        patient: As from `draw_patient` with the same seed.
        study: From 1 to the patient's number of studies.
        seed: Seed of the data set.

    Returns:
        For each view a row of train.csv and the JPEG file it names: the frontal
        view first and, in a few studies, a lateral one.
    """
    findings = patient.findings[study - 1]
    # One generator for the report, one for the pictures: neither depends on how the other draws.
    report, picture = _generator(seed, patient.number, study, 0), _generator(seed, patient.number, study, 1)
    anatomy = at_study(patient.anatomy, picture)
    state = picture.bit_generator.state
    faint = {name for name, sign in draw_signs(picture).items() if sign.strength < _FAINT}
    picture.bit_generator.state = state  # render draws the same signs again
    cells = _label_cells(findings, faint, report)
    projection = "AP" if report.random() < 0.7 else "PA"
    has_lateral = report.random() < _SHARE_WITH_LATERAL
    # The csv names files as CheXpert does: from the folder that holds the data set.
    folder = f"{DATASET_NAME}/train/patient{patient.number:05d}/study{study}"
    person = (patient.sex, str(patient.age + study - 1))
    frontal = render(anatomy, findings, picture)
    views = [((f"{folder}/view1_frontal.jpg", *person, "Frontal", projection, *cells), _jpeg(frontal))]
    if has_lateral:
        lateral = render_lateral(anatomy, picture)
        views.append(((f"{folder}/view2_lateral.jpg", *person, "Lateral", "", *cells), _jpeg(lateral)))
    return views


def _jpeg(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _write_patients(task: tuple[Path, range, int]) -> list[Row]:
    """Write the pictures of some patients below a folder, with a seed, and return their csv rows, in order."""
    folder, numbers, seed = task
    rows = []
    for number in numbers:
        patient = draw_patient(number, seed)
        for study in range(1, len(patient.findings) + 1):
            for row, jpeg in draw_study(patient, study, seed):
                path = folder / Path(row[0]).relative_to(DATASET_NAME)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(jpeg)
                rows.append(row)
    return rows


def _description(num_patients: int, seed: int) -> dict[str, Any]:
    return {"form_version": FORM_VERSION, "num_patients": num_patients, "seed": seed}


def _is_finished(target: Path, wanted: dict[str, Any]) -> bool:
    """Return whether `target` already holds exactly this phantom; False where it is empty.

    Raises:
        RunFolderError: It holds anything else.
    """
    hint = "An empty folder, or this very phantom, was expected; choose another folder or delete this one."
    remove_leftovers(target / DATASET_NAME)
    for unfinished in target.glob(f".*.partial.{DATASET_NAME}"):
        raise RunFolderError(
            "Another process may be writing here; wait for it, or delete that folder.",
            received=unfinished.name,
            path=target,
        )
    others = sorted(entry.name for entry in target.iterdir())
    if others not in ([], [DATASET_NAME]):
        raise RunFolderError(hint, received=", ".join(others[:4]), path=target)
    if not others:
        return False
    folder = target / DATASET_NAME
    if not (folder / DESCRIPTION_NAME).is_file():
        raise RunFolderError(hint, received=f"a {DATASET_NAME} that is no phantom", path=target)
    found = read_json(folder / DESCRIPTION_NAME)
    differing = [key for key in wanted if not isinstance(found, dict) or found.get(key) != wanted[key]]
    if differing:
        have = ", ".join(f"{key} {found.get(key) if isinstance(found, dict) else None}" for key in differing)
        raise RunFolderError(hint, received=f"a phantom with {have}", path=target)
    table = (folder / "train.csv").read_bytes() if (folder / "train.csv").is_file() else b""
    if hashlib.sha256(table).hexdigest() != found.get("train_csv_sha256"):
        raise RunFolderError(hint, received="a phantom whose train.csv was changed", path=target)
    for row in csv.DictReader(io.StringIO(table.decode("utf-8"))):
        picture = target / row["Path"]
        if not picture.is_file() or picture.stat().st_size == 0:
            raise RunFolderError(hint, received=f"a phantom without {row['Path']}", path=target)
    return True


def check_settings(num_patients: int, seed: int, num_workers: int) -> None:
    """Refuse what `create_phantom` cannot draw.

    Raises:
        UsageError: A number out of range.
    """
    if not 1 <= num_patients <= MAX_NUM_PATIENTS:
        raise UsageError(f"A phantom has 1 to {MAX_NUM_PATIENTS} patients.", received=num_patients)
    if seed < 0:
        raise UsageError("A seed is 0 or greater.", received=seed)
    require_workers(num_workers)


def create_phantom(target: Path, num_patients: int, seed: int, num_workers: int) -> Path:
    """Write made-up chest radiographs, 128x128 grey JPEG, as `target`/CheXpert-v1.0-small.

    The folder appears when all of it is written. The files depend on `num_patients` and
    `seed` alone, and those of one patient on its number and `seed`: the number of workers
    changes nothing, and a larger phantom holds a smaller one. Where `target` already holds
    this phantom, nothing is done.

    Args:
        target: The folder to give to dataset_tool.py as raw_dir; created if missing.
        num_patients: Patients, with 1 to 4 studies each (1.9 on average).
        seed: From 0 on.
        num_workers: Processes that draw.

    Returns:
        The folder with train.csv and train/.

    Raises:
        UsageError: A number out of range.
        RunFolderError: `target` holds something else, or cannot be written.
    """
    check_settings(num_patients, seed, num_workers)
    wanted = _description(num_patients, seed)
    folder = make_folder(target) / DATASET_NAME
    if _is_finished(target, wanted):
        return folder
    numbers = range(1, num_patients + 1)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    with atomic_path(folder) as partial:
        partial.mkdir()
        rows = draw_in_parts(
            _write_patients,
            numbers,
            folder=partial,
            others=(seed,),
            patients_per_task=_PATIENTS_PER_TASK,
            num_workers=num_workers,
        )
        writer.writerows(rows)
        write_text(partial / "train.csv", table.getvalue())
        checksum = hashlib.sha256(table.getvalue().encode()).hexdigest()
        write_json(partial / DESCRIPTION_NAME, wanted | {"train_csv_sha256": checksum})
    return folder
