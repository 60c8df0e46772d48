"""Made-up patients with a twelve-lead ECG, a table of risk factors and the state of their coronary arteries.

Image and row of a patient come from one set of numbers, so that they depend on each other as
stated here, and a generator of pairs can be tested for it. Every coefficient is made up; what a factor
does, and roughly how strongly, is oriented on risk scores such as Framingham's. Nothing here says
anything about real patients.

With L(x) = 1 / (1 + exp(-x)), N a fresh standard normal number, and 1 for yes and male, the risk is the logit

    risk = -1.5 + 0.045 (age - 60) + 0.60 sex + 0.40 smoking + 0.55 diabetes + 0.35 hypertension
           + 0.30 (LDL - 3.3) + 0.40 family history + 0.010 (systolic pressure - 130).

A vessel v (left main trunk, LAD, circumflex, RCA) has the latent state and the narrowing

    share_v = L(offset_v + risk + noise_v),    offsets -1.9, 0.3, -0.4, -0.2,
    stenosis_v = 50 + 5 floor(22 (share_v - 1/2)) percent, cut to 0 ... 100.

The noise is logistic, so that P(stenosis_v >= 50 | factors) = L(offset_v + risk) exactly; between vessels it
correlates (a Gaussian copula, 0.3). Two numbers that no column holds say what a narrowing does:

    injury_v = 0.34 max(0, (share_v - 0.35) / 0.65) + 0.05 N    mV of ST shift,
    scar_v = 0.45 exp(0.3 N) mV of Q wave with probability L(10 (share_v - 0.8)), else 0.

From these follow

    ejection fraction = 62 + 6 N - (6, 7, 4 or 4 for a scar of each vessel)    percent,
    heart rate = 71 + 3 smoking + 4 diabetes + 0.3 (BMI - 27.5) - 0.25 (ejection fraction - 60) + 11 N    per minute,
    chest pain: none, atypical, typical below -0.3, 1.0 and above of 1.2 (max share - 1/2) + logistic noise.

How the drawing follows a row: see `heart_of`.
"""

import csv
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medsynth.data.phantom_ecg_drawing import MAX_SIZE, MIN_SIZE, SIZE_STEP, Heart, Picture, render
from medsynth.data.phantom_folder import DESCRIPTION_NAME, draw_in_parts, is_finished
from medsynth.errors import UsageError
from medsynth.files import atomic_path, make_folder, remove_leftovers, write_json, write_text
from medsynth.parallel import require_workers

MAX_NUM_PATIENTS = 100_000  # pictures have numbers of five digits
TABLE_NAME, IMAGES_NAME, SCHEMA_NAME = "table.csv", "images", "schema.json"
FORM_VERSION = 1  # raise it whenever the same arguments give other files
SEPARATOR = ";"
STENOSIS_THRESHOLD = 50  # percent

# The published table's names, so that its preset finds its columns.
NAME_COLUMN, COUNT_COLUMN = "FIO", "number_of_affected_coronary_artery"
TARGETS = ("trunk_st", "LAD_st", "lcx_stenosis", "RCA_stenosis")  # in the order of VESSELS
CHEST_PAINS = ("none", "atypical", "typical")
# Words for 0 and 1.
BINARIES = {"sex": ("Female", "Male")} | dict.fromkeys(
    ("smoking", "diabetes", "hypertension", "family_history"), ("no", "yes")
)
# Least, largest value, and decimals. Units: years, kg/m2, mmHg, beats a minute, mmol/l, percent.
NUMBERS: dict[str, tuple[float, float, int]] = {
    "age": (30, 89, 0),
    "body_mass_index": (17, 48, 1),
    "systolic_blood_pressure": (90, 210, 0),
    "heart_rate": (45, 125, 0),
    "ldl_cholesterol": (1, 7, 1),
    "ejection_fraction": (20, 75, 0),
}
COLUMNS = (
    *("image", NAME_COLUMN, "age", "sex", "body_mass_index", "systolic_blood_pressure", "heart_rate", "smoking"),
    *("diabetes", "hypertension", "ldl_cholesterol", "family_history", "chest_pain", "ejection_fraction"),
    *(*TARGETS, COUNT_COLUMN),
)

_BASE_RISK = -1.5
_RISKS = {  # logit per unit, and the value that adds nothing
    "age": (0.045, 60.0),
    "sex": (0.60, 0.0),
    "smoking": (0.40, 0.0),
    "diabetes": (0.55, 0.0),
    "hypertension": (0.35, 0.0),
    "ldl_cholesterol": (0.30, 3.3),
    "family_history": (0.40, 0.0),
    "systolic_blood_pressure": (0.010, 130.0),
}
OFFSETS = (-1.9, 0.3, -0.4, -0.2)  # of VESSELS
_CORRELATION = 0.3
_EJECTION_LOSS = (6.0, 7.0, 4.0, 4.0)  # percent per scar of VESSELS
_SYLLABLES = (
    *("ba", "dor", "fen", "gri", "hal", "jor", "ka", "lem", "mir", "nol", "pra", "qui"),
    *("ros", "sul", "tev", "ul", "ven", "wim", "yar", "zel", "bren", "cal", "dus", "ef"),
)
_PATIENTS_PER_TASK = 16


@dataclass(frozen=True)
class Patient:
    """One row of the table, and what no column holds.

    Attributes:
        number: From 0; part of the picture's name.
        name: Made of syllables, so that nobody is meant.
        factors: A value for each of NUMBERS, rounded as in the table, and 0 or 1 for each of BINARIES.
        chest_pain: One of CHEST_PAINS.
        stenoses: Percent, of each of VESSELS.
        injuries: ST shift in mV, of each of VESSELS.
        scars: Q wave in mV, of each of VESSELS.
        habitus: What else makes ECGs differ: axis, voltage, P, T and left ventricle, each standard normal.
    """

    number: int
    name: str
    factors: Mapping[str, float]
    chest_pain: str
    stenoses: tuple[int, ...]
    injuries: tuple[float, ...]
    scars: tuple[float, ...]
    habitus: tuple[float, ...]

    @property
    def image(self) -> str:
        """The picture's file name."""
        return f"ecg_{self.number:05d}.png"

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of the table, in the order of COLUMNS."""
        cells = {name: f"{self.factors[name]:.{decimals}f}" for name, (_, _, decimals) in NUMBERS.items()}
        cells |= {name: words[int(self.factors[name])] for name, words in BINARIES.items()}
        cells |= {target: str(stenosis) for target, stenosis in zip(TARGETS, self.stenoses, strict=True)}
        cells |= {"image": self.image, NAME_COLUMN: self.name, "chest_pain": self.chest_pain}
        cells[COUNT_COLUMN] = str(sum(stenosis >= STENOSIS_THRESHOLD for stenosis in self.stenoses))
        return tuple(cells[column] for column in COLUMNS)


def _generators(seed: int, number: int) -> list[np.random.Generator]:
    """Return the generators of a patient's row and picture: a row is the same at every size of the pictures."""
    return np.random.default_rng((seed, number)).spawn(2)


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def risk(factors: Mapping[str, float]) -> float:
    """Return the logit that a patient's factors give; see the top of this module."""
    return _BASE_RISK + sum(weight * (factors[name] - usual) for name, (weight, usual) in _RISKS.items())


def _measured(name: str, value: float) -> float:
    least, largest, decimals = NUMBERS[name]
    return round(min(max(value, least), largest), decimals)


def _draw_factors(normal: Sequence[float], uniform: Sequence[float]) -> dict[str, float]:
    """Return what precedes a narrowing: every factor but heart rate and ejection fraction."""
    age = _measured("age", 60 + 11 * normal[0])
    bmi = _measured("body_mass_index", 27.5 + 4.5 * normal[1])
    older, heavier = age - 60, bmi - 27.5
    is_male = uniform[0] < 0.58
    smoking = uniform[1] < _logistic(-0.9 + 0.5 * is_male - 0.03 * older)
    diabetes = uniform[2] < _logistic(-1.4 + 0.12 * heavier + 0.03 * older)
    hypertension = uniform[3] < _logistic(0.1 + 0.05 * older + 0.08 * heavier + 0.5 * diabetes)
    pressure = 122 + 0.25 * older + 0.4 * heavier + 16 * hypertension + 11 * normal[2]
    return {
        "age": age,
        "sex": is_male,
        "body_mass_index": bmi,
        "systolic_blood_pressure": _measured("systolic_blood_pressure", pressure),
        "smoking": smoking,
        "diabetes": diabetes,
        "hypertension": hypertension,
        "ldl_cholesterol": _measured("ldl_cholesterol", 3.3 + 0.9 * normal[3]),
        "family_history": uniform[4] < 0.3,
    }


def draw_patient(number: int, seed: int) -> Patient:
    """Return patient `number` (from 0); it depends on the two arguments alone."""
    rng, _ = _generators(seed, number)
    # Everything is drawn at once, so that no choice shifts the draws behind it.
    normal = [float(value) for value in rng.standard_normal(24)]
    uniform = [float(value) for value in rng.uniform(size=10)]
    syllables = [_SYLLABLES[index] for index in rng.integers(len(_SYLLABLES), size=4)]

    factors = _draw_factors(normal[0:4], uniform[0:5])
    logit = risk(factors)
    shares = [_logistic(offset + logit + noise) for offset, noise in zip(OFFSETS, _noises(normal[4:9]), strict=True)]
    injuries = [
        0.34 * max(0.0, (share - 0.35) / 0.65) + 0.05 * z for share, z in zip(shares, normal[9:13], strict=True)
    ]
    scars = [
        0.45 * math.exp(0.3 * z) if chance < _logistic(10 * (share - 0.8)) else 0.0
        for share, z, chance in zip(shares, normal[13:17], uniform[5:9], strict=True)
    ]
    lost = sum(loss for loss, scar in zip(_EJECTION_LOSS, scars, strict=True) if scar)
    ejection = _measured("ejection_fraction", 62 + 6 * normal[17] - lost)
    rate = 71 + 3 * factors["smoking"] + 4 * factors["diabetes"] + 0.3 * (factors["body_mass_index"] - 27.5)
    rate += -0.25 * (ejection - 60) + 11 * normal[18]
    pain = 1.2 * (max(shares) - 0.5) + math.log(uniform[9] / (1 - uniform[9]))
    return Patient(
        number=number,
        name=f"{''.join(syllables[:2]).capitalize()} {''.join(syllables[2:]).capitalize()}",
        factors=factors | {"ejection_fraction": ejection, "heart_rate": _measured("heart_rate", rate)},
        chest_pain=CHEST_PAINS[(pain > -0.3) + (pain > 1.0)],
        stenoses=tuple(_stenosis(share) for share in shares),
        injuries=tuple(injuries),
        scars=tuple(scars),
        habitus=tuple(normal[19:24]),
    )


def _noises(normal: Sequence[float]) -> list[float]:
    """Return logistic noise of each vessel from a shared normal number and one of its own."""
    shared, *own = normal
    mixed = (math.sqrt(_CORRELATION) * shared + math.sqrt(1 - _CORRELATION) * value for value in own)
    # logit of the normal distribution's share, from both of its tails, so that neither is cut.
    return [math.log(math.erfc(-value / math.sqrt(2)) / math.erfc(value / math.sqrt(2))) for value in mixed]


def _stenosis(share: float) -> int:
    """Return percent in steps of 5, as reports give them; 50 or more exactly where the share is a half or more."""
    return min(max(50 + 5 * math.floor(22 * (share - 0.5)), 0), 100)


def heart_of(patient: Patient) -> Heart:
    """Return what the patient's ECG shows.

    | of the row | in the picture |
    |---|---|
    | heart rate | distance of the beats |
    | stenosis of a vessel, by way of injury and scar | ST shift towards its territory; Q, lost R, inverted T |
    | hypertension, systolic pressure | R in V5, S in V1 |
    | age, body mass index | axis turns left; voltage falls with body mass |
    | sex, diabetes | women and diabetics have lower T waves |
    | smoking | higher P waves |
    | ejection fraction below 50 | wider QRS |
    | age, diabetes | steadier beats |
    """
    value = patient.factors
    older, heavier = value["age"] - 60, value["body_mass_index"] - 27.5
    axis, voltage, p_height, t_height, ventricle = patient.habitus
    strain = 0.05 * (value["systolic_blood_pressure"] - 150) + 0.8 * (value["hypertension"] - 0.5) + ventricle
    return Heart(
        heart_rate=value["heart_rate"],
        rate_variation=max(0.005, 0.03 - 0.0005 * older - 0.01 * value["diabetes"]),
        axis=36 - 0.6 * older - 0.9 * heavier + 10 * axis,
        voltage=math.exp(0.12 * voltage - 0.012 * heavier),
        p_height=math.exp(0.15 * p_height + 0.25 * value["smoking"]),
        t_height=math.exp(0.15 * t_height - 0.2 * value["diabetes"] - 0.15 * (1 - value["sex"])),
        qrs_width=1 + 0.02 * max(0.0, 50 - value["ejection_fraction"]),
        hypertrophy=_logistic(strain),
        injury=patient.injuries,
        scar=patient.scars,
    )


def draw_image(patient: Patient, seed: int, size: int) -> Picture:
    """Return the patient's ECG, uint8 [size, size].

    Args:
        patient: As from `draw_patient` with the same seed.
        seed: Seed of the data set.
        size: Pixels along each side.
    """
    _, rng = _generators(seed, patient.number)
    return render(heart_of(patient), size, rng)


def schema() -> dict[str, Any]:
    """Return schema.json: what each column of the table is for GAN_joint."""
    columns: dict[str, dict[str, Any]] = {}
    for name, (least, largest, decimals) in NUMBERS.items():
        columns[name] = {"kind": "number", "minimum": least, "maximum": largest, "decimals": decimals}
    for name, (zero, one) in BINARIES.items():
        columns[name] = {"kind": "binary", "zero": zero, "one": one}
    columns["chest_pain"] = {"kind": "category", "values": list(CHEST_PAINS)}
    for name in TARGETS:
        columns[name] = {"kind": "target", "threshold": STENOSIS_THRESHOLD}
    columns |= {"image": {"kind": "image"}, NAME_COLUMN: {"kind": "identifier"}, COUNT_COLUMN: {"kind": "drop"}}
    return {
        "version": 1,
        "table": TABLE_NAME,
        "separator": SEPARATOR,
        "encoding": "utf-8",
        "decimal": ".",
        "images": IMAGES_NAME,
        "match_images_by": {"column": "image"},
        "missing": "refuse",
        "test_share": 0.2,
        "split_seed": 1,
        "group_column": None,
        "columns": [{"name": name} | columns[name] for name in COLUMNS],
    }


def format_schema(content: Mapping[str, Any]) -> str:
    """Return a schema as JSON with a column on each line, to be edited by hand."""
    head = [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in content.items() if key != "columns"]
    columns = ",\n".join(f"    {json.dumps(column, ensure_ascii=False)}" for column in content["columns"])
    return "\n".join(["{", *head, '  "columns": [', columns, "  ]", "}"]) + "\n"


def _write_patients(task: tuple[Path, range, int, int]) -> list[tuple[str, ...]]:
    """Write the pictures of some patients into a folder, with a seed and a size, and return their rows, in order."""
    folder, numbers, seed, size = task
    patients = [draw_patient(number, seed) for number in numbers]
    for patient in patients:
        Image.fromarray(draw_image(patient, seed, size)).save(folder / patient.image)
    return [patient.row for patient in patients]


def _files(folder: Path, description: Mapping[str, Any]) -> list[Path]:
    """Return the schema, which may have been edited, and every picture."""
    images = [folder / IMAGES_NAME / f"ecg_{number:05d}.png" for number in range(description["num_patients"])]
    return [folder / SCHEMA_NAME, *images]


def create_phantom_ecg(
    data_dir: Path, num_patients: int, seed: int, image_size: int, num_workers: int, overwrite: bool = False
) -> Path:
    """Write made-up patients with their ECGs as GAN_joint reads them: table.csv, images/ and schema.json.

    The folder appears when all of it is written; a run that was killed starts anew. A picture and its row
    depend on the patient's number, `seed` and (the picture) `image_size` alone: the number of workers
    changes nothing, and a larger phantom holds a smaller one. Where `data_dir` already holds this phantom,
    nothing is done, and an edited schema.json stays.

    Args:
        data_dir: The folder to give to GAN_joint; new or empty.
        num_patients: Rows, with one picture each.
        seed: From 0 on.
        image_size: Pixels along each side; a multiple of 8 from 64 to 512.
        num_workers: Processes that draw.
        overwrite: Replace another phantom.

    Returns:
        The folder.

    Raises:
        UsageError: A number out of range.
        RunFolderError: `data_dir` holds something else, or cannot be written.
    """
    if not 1 <= num_patients <= MAX_NUM_PATIENTS:
        raise UsageError(f"A phantom has 1 to {MAX_NUM_PATIENTS} patients.", received=num_patients)
    if seed < 0:
        raise UsageError("A seed is 0 or greater.", received=seed)
    if not MIN_SIZE <= image_size <= MAX_SIZE or image_size % SIZE_STEP:
        sizes = f"--image-size is a multiple of {SIZE_STEP} from {MIN_SIZE} to {MAX_SIZE}."
        raise UsageError(sizes, received=image_size)
    require_workers(num_workers)
    folder = data_dir.resolve()
    wanted = {"form_version": FORM_VERSION, "num_patients": num_patients, "seed": seed, "image_size": image_size}
    remove_leftovers(folder)
    names = (IMAGES_NAME, SCHEMA_NAME)
    if is_finished(
        folder,
        wanted,
        overwrite,
        table_name=TABLE_NAME,
        other_names=names,
        pictures=lambda found: _files(folder, found),
    ):
        return data_dir
    numbers = range(num_patients)
    table = io.StringIO()
    writer = csv.writer(table, delimiter=SEPARATOR, lineterminator="\n")
    writer.writerow(COLUMNS)
    with atomic_path(folder) as partial:
        make_folder(partial / IMAGES_NAME)
        rows = draw_in_parts(
            _write_patients,
            numbers,
            folder=partial / IMAGES_NAME,
            others=(seed, image_size),
            patients_per_task=_PATIENTS_PER_TASK,
            num_workers=num_workers,
        )
        writer.writerows(rows)
        write_text(partial / TABLE_NAME, table.getvalue())
        write_text(partial / SCHEMA_NAME, format_schema(schema()))
        checksum = hashlib.sha256(table.getvalue().encode()).hexdigest()
        write_json(partial / DESCRIPTION_NAME, wanted | {"table_sha256": checksum})
    return data_dir
