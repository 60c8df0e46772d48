"""Made-up lung ultrasound of made-up patients: frames or clips with a table of findings.

A patient has one finding (normal, b_lines or consolidation), a probe, a chest wall and a machine's setting; a clip is
a place on the chest, breathing; a frame is an instant. So frames of one clip are nearly alike, clips of a patient
resemble each other, and patients differ: split by `group_id`, never by frame. Nothing here is about real patients.

Findings overlap on purpose. A normal lung has A-lines, sometimes hardly visible, and up to two B-lines (three and more
in a field are a finding: Volpicelli et al. 2012, see medsynth.data.phantom_ultrasound_drawing); a lung with B-lines may
keep faint A-lines between them; beside a consolidation there may be either.
"""

import csv
import hashlib
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medsynth.data.phantom_folder import DESCRIPTION_NAME, draw_in_parts, is_finished
from medsynth.data.phantom_ultrasound_drawing import (
    MAX_SIZE,
    MIN_SIZE,
    BLine,
    Layer,
    Machine,
    Patch,
    Picture,
    Probe,
    Rib,
    View,
    draw_scatterers,
    render,
)
from medsynth.errors import UsageError
from medsynth.files import atomic_path, make_folder, remove_leftovers, write_json, write_text
from medsynth.parallel import require_workers

FINDINGS = ("normal", "b_lines", "consolidation")
FORMS = ("png", "gif")
MAX_NUM_PATIENTS, MAX_NUM_CLIPS, MAX_NUM_FRAMES = 9_999, 99, 999
TABLE_NAME = "labels.csv"
FORM_VERSION = 1  # raise it whenever the same arguments give other files
FRAMES_PER_SECOND = 10
# As in the public collection of Born et al. 2021 (doi:10.3390/app11020672); a clip has no `frame`.
FRAME_COLUMNS = (
    *("path", "label", "patient_id", "group_id", "clip", "frame", "n_frames", "fps", "probe"),
    *("consolidations", "b_lines", "a_lines"),
)
CLIP_COLUMNS = tuple(column for column in FRAME_COLUMNS if column not in ("clip", "frame", "group_id"))

_SHARE_LINEAR = 0.2
_SHARES = (0.4, 0.3, 0.3)  # of FINDINGS
_MOST_NORMAL_B_LINES = 2
_LEAST_VISIBLE_A_LINE = 0.12
_CAPTION_HEIGHT = 18  # pixels of a clip above the picture
_PATIENTS_PER_TASK = 2

Row = tuple[str, ...]


@dataclass(frozen=True)
class Patient:
    """What all clips of a patient share.

    Attributes:
        number: From 0; part of every name.
        finding: One of FINDINGS.
        probe: With the depth that was chosen.
        machine: How echoes become grey.
        view: Chest wall, ribs and lung, before a place on the chest is chosen; without signs.
        a_lines: Amplitude of the first A-line.
        breath: Seconds.
        slide: Of the lung, mm to each side.
    """

    number: int
    finding: str
    probe: Probe
    machine: Machine
    view: View
    a_lines: float
    breath: float
    slide: float

    @property
    def name(self) -> str:
        """Of the patient."""
        return f"phantom{self.number:04d}"


@dataclass(frozen=True)
class Clip:
    """A place on a patient's chest.

    Attributes:
        patient: Whose.
        number: From 0.
        view: What lies there.
        phase: Of the breath at the first frame, radians.
    """

    patient: Patient
    number: int
    view: View
    phase: float

    @property
    def name(self) -> str:
        """Of the clip, and the beginning of its files' names."""
        return f"{self.patient.name}_clip{self.number:02d}"

    @property
    def flags(self) -> dict[str, bool]:
        """Which signs are drawn, by column."""
        return {
            "consolidations": bool(self.view.patches),
            "b_lines": len(self.view.b_lines) > _MOST_NORMAL_B_LINES,
            "a_lines": self.view.a_lines >= _LEAST_VISIBLE_A_LINE,
        }


def _generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of a patient (key: its number), a clip (and its number) or a frame (and its number)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def draw_patient(number: int, seed: int) -> Patient:
    """Return patient `number` (from 0); it depends on the two arguments alone."""
    rng = _generator(seed, number)
    finding = FINDINGS[int(rng.choice(len(FINDINGS), p=_SHARES))]
    is_linear = rng.random() < _SHARE_LINEAR
    if is_linear:
        probe = Probe(0.0, _between(rng, 19, 25), _between(rng, 42, 65))
        pleura = _between(rng, 11, 19)
    else:
        probe = Probe(_between(rng, 40, 60), _between(rng, 0.42, 0.58), _between(rng, 80, 150))
        pleura = _between(rng, 15, 30)
    machine = Machine(
        gain=_between(rng, -10, -3),
        dynamic_range=_between(rng, 48, 62),
        axial=_between(rng, 0.28, 0.42) * (0.55 if is_linear else 1.0),
        lateral=_between(rng, 1.1, 2.0) * (0.8 if is_linear else 1.0),
    )
    num_layers = int(rng.integers(4, 9))
    layers = tuple(
        Layer(
            _between(rng, 0.12, 0.92), _between(rng, 0.2, 1.0), _between(rng, 0, 2 * math.pi), _between(rng, 0.2, 0.9)
        )
        for _ in range(num_layers)
    )
    view = View(
        pleura=pleura,
        tilt=0.0,
        bend=_between(rng, -0.5, 1.2),
        roughness=0.05,
        layers=layers,
        ribs=(),
        haze=_between(rng, 0.04, 0.11),
        reach=_between(rng, 0.25, 0.6) * probe.depth,
        a_lines=0.0,
        b_lines=(),
        patches=(),
        contact=(-1e3, 1e3),
    )
    return Patient(
        number=number,
        finding=finding,
        probe=probe,
        machine=machine,
        view=view,
        a_lines=_between(rng, 0.08, 0.6),
        breath=_between(rng, 2.5, 5.0),
        slide=_between(rng, 1.0, 4.0),
    )


def draw_clip(patient: Patient, number: int, seed: int) -> Clip:
    """Return clip `number` (from 0) of a patient."""
    rng = _generator(seed, patient.number, number)
    half = float(patient.probe.lateral(patient.view.pleura)[-1])
    view = replace(
        patient.view,
        pleura=patient.view.pleura * _between(rng, 0.93, 1.07),
        tilt=_between(rng, -0.08, 0.08),
        ribs=_draw_ribs(rng, half),
        contact=_draw_contact(rng, half),
        a_lines=patient.a_lines * _between(rng, 0.8, 1.2),
    )
    if patient.finding == "normal":
        num_lines = int(rng.choice(_MOST_NORMAL_B_LINES + 1, p=(0.6, 0.25, 0.15)))
        view = replace(view, b_lines=_draw_b_lines(rng, half, num_lines))
    elif patient.finding == "b_lines":
        num_lines = int(rng.integers(_MOST_NORMAL_B_LINES + 1, 8))
        a_lines, roughness = view.a_lines * _between(rng, 0.0, 0.5), _between(rng, 0.05, 0.3)
        view = replace(view, a_lines=a_lines, roughness=roughness, b_lines=_draw_b_lines(rng, half, num_lines))
    else:
        view = replace(
            view,
            a_lines=view.a_lines * _between(rng, 0.0, 0.7),
            roughness=_between(rng, 0.05, 0.3),
            b_lines=_draw_b_lines(rng, half, int(rng.integers(0, 3))),
            patches=_draw_patches(rng, half, patient.probe.depth - view.pleura, view.ribs),
        )
    return Clip(patient, number, view, _between(rng, 0, 2 * math.pi))


def _draw_ribs(rng: np.random.Generator, half: float) -> tuple[Rib, ...]:
    """Return the ribs of a view across the intercostal space, or none of one along it."""
    distance, first = _between(rng, 26, 38), _between(rng, 0, 1)
    places = np.arange(-2, 4) * distance + (first - 0.5) * distance
    half_width = _between(rng, 5.0, 8.0)
    is_along = rng.random() < 0.35
    return () if is_along else tuple(Rib(float(place), half_width) for place in places if abs(place) < half + 6)


def _draw_contact(rng: np.random.Generator, half: float) -> tuple[float, float]:
    lost = half * rng.uniform(0.1, 0.9, size=2)
    is_lost = rng.random(2) < 0.15
    return (-half + lost[0] if is_lost[0] else -1e3, half - lost[1] if is_lost[1] else 1e3)


def _draw_b_lines(rng: np.random.Generator, half: float, num_lines: int) -> tuple[BLine, ...]:
    """Return vertical artefacts anywhere in the field, some of them behind a rib, as they come."""
    return tuple(
        BLine(_between(rng, -half, half), width=_between(rng, 0.5, 1.5), strength=_between(rng, 0.15, 0.9))
        for _ in range(num_lines)
    )


def _draw_patches(rng: np.random.Generator, half: float, room: float, ribs: tuple[Rib, ...]) -> tuple[Patch, ...]:
    """Return one or two consolidations, the first of them not behind a rib."""
    patches = []
    for number in range(int(rng.integers(1, 3))):
        places = rng.uniform(-0.7 * half, 0.7 * half, size=8)
        free = [place for place in places if all(abs(place - rib.place) > rib.half_width + 3 for rib in ribs)]
        place = float(free[0] if free and number == 0 else places[0])
        num_spots = int(rng.integers(0, 6))
        patches.append(
            Patch(
                place=place,
                half_width=_between(rng, 9, 22),
                depth=min(_between(rng, 15, 50), 0.7 * room),
                brightness=_between(rng, 0.1, 0.4),
                bronchograms=tuple((_between(rng, -0.7, 0.7), _between(rng, 0.2, 0.8)) for _ in range(num_spots)),
                edge=tuple((_between(rng, 0.04, 0.16), _between(rng, 0, 2 * math.pi)) for _ in range(3)),
            )
        )
    return tuple(patches)


def draw_frames(patient: Patient, clip_number: int, seed: int, size: int, frames: Iterable[int]) -> list[Picture]:
    """Return some frames of a clip, uint8 [size, size] each.

    Args:
        patient: As from `draw_patient` with the same seed.
        clip_number: From 0.
        seed: Of the data set.
        size: Pixels along each side; speckle and signs are the same at every size.
        frames: Numbers from 0; FRAMES_PER_SECOND of them a second.
    """
    clip = draw_clip(patient, clip_number, seed)
    scatterers = draw_scatterers(_generator(seed, patient.number, clip_number, 0))
    pictures = []
    for frame in frames:
        breath = clip.phase + 2 * math.pi * frame / FRAMES_PER_SECOND / patient.breath
        pictures.append(
            render(
                clip.view,
                patient.probe,
                patient.machine,
                scatterers,
                _generator(seed, patient.number, clip_number, 1, frame),
                size=size,
                slide=patient.slide * math.sin(breath),
                lift=0.4 * math.cos(breath),
            )
        )
    return pictures


@dataclass(frozen=True)
class Extent:
    """How much of everything there is.

    Attributes:
        num_patients: From 1 on.
        num_clips: Of each patient.
        num_frames: Of each clip.
        image_size: Pixels along each side of a frame.
        form: "png", a picture per frame, or "gif", a clip per file with a caption burned in above the picture.
    """

    num_patients: int
    num_clips: int = 2
    num_frames: int = 5
    image_size: int = 128
    form: str = "png"

    def require(self) -> None:
        """Refuse numbers out of range.

        Raises:
            UsageError: The first of them.
        """
        for option, number, most in (
            ("--patients", self.num_patients, MAX_NUM_PATIENTS),
            ("--clips", self.num_clips, MAX_NUM_CLIPS),
            ("--frames", self.num_frames, MAX_NUM_FRAMES),
        ):
            if not 1 <= number <= most:
                raise UsageError(f"{option} is a number from 1 to {most:,}.", received=number)
        if not MIN_SIZE <= self.image_size <= MAX_SIZE:
            raise UsageError(f"--image-size is a number from {MIN_SIZE} to {MAX_SIZE}.", received=self.image_size)
        if self.form not in FORMS:
            raise UsageError(f"--form is one of {', '.join(FORMS)}.", received=self.form)


def create_phantom_ultrasound(
    target_dir: Path, num_patients: int, seed: int, *, num_workers: int, overwrite: bool = False, **others: Any
) -> Path:
    """Write made-up lung ultrasound: <finding>/<clip>_f<frame>.png or <finding>/<clip>.gif, and labels.csv.

    The folder appears when all of it is written; a run that was killed starts anew. A frame depends on `seed`, its
    patient, clip and number, and its size alone: workers change nothing, and a larger phantom holds a smaller one.
    Where the folder already holds this phantom, nothing is done.

    Args:
        target_dir: The folder; new or empty. With frames it can be given to create_from_folder, with clips to
            create_from_video.
        num_patients: From 1 on.
        seed: From 0 on.
        num_workers: Processes that draw.
        overwrite: Replace another phantom.
        others: Clips, frames, size and form; the other attributes of `Extent`.

    Returns:
        The folder.

    Raises:
        UsageError: A number out of range.
        RunFolderError: The folder holds something else, or cannot be written.
    """
    extent = Extent(num_patients, **others)
    extent.require()
    if seed < 0:
        raise UsageError("A seed is 0 or greater.", received=seed)
    require_workers(num_workers)
    folder = target_dir.resolve()
    wanted = {"form_version": FORM_VERSION, "seed": seed, **asdict(extent)}
    remove_leftovers(folder)
    if is_finished(
        folder, wanted, overwrite,
        table_name=TABLE_NAME, other_names=FINDINGS, pictures=lambda _: _listed_files(folder),
    ):  # fmt: skip
        return target_dir
    numbers = range(extent.num_patients)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(FRAME_COLUMNS if extent.form == "png" else CLIP_COLUMNS)
    with atomic_path(folder) as partial:
        for finding in FINDINGS:
            make_folder(partial / finding)
        rows = draw_in_parts(
            _write_patients,
            numbers,
            folder=partial,
            others=(extent, seed),
            patients_per_task=_PATIENTS_PER_TASK,
            num_workers=num_workers,
        )
        writer.writerows(rows)
        write_text(partial / TABLE_NAME, table.getvalue())
        checksum = hashlib.sha256(table.getvalue().encode()).hexdigest()
        write_json(partial / DESCRIPTION_NAME, wanted | {"table_sha256": checksum})
    return target_dir


def _listed_files(folder: Path) -> list[Path]:
    """Return every file that the table of a phantom names."""
    with (folder / TABLE_NAME).open(newline="", encoding="utf-8") as file:
        return [folder / row["path"] for row in csv.DictReader(file)]


def _write_patients(task: tuple[Path, range, Extent, int]) -> list[Row]:
    """Write the pictures of some patients into a folder, with a seed, and return their rows, in order."""
    folder, numbers, extent, seed = task
    rows: list[Row] = []
    for number in numbers:
        patient = draw_patient(number, seed)
        for clip_number in range(extent.num_clips):
            clip = draw_clip(patient, clip_number, seed)
            frames = draw_frames(patient, clip_number, seed, extent.image_size, range(extent.num_frames))
            write = _write_frames if extent.form == "png" else _write_clip
            paths = write(folder, clip, [Image.fromarray(frame) for frame in frames])
            rows += [_row(clip, path, frame, extent) for frame, path in enumerate(paths)]
    return rows


def _row(clip: Clip, path: str, frame: int, extent: Extent) -> Row:
    patient = clip.patient
    cells: dict[str, object] = {
        "path": path,
        "label": patient.finding,
        "patient_id": patient.name,
        "group_id": patient.name,
        "clip": clip.name,
        "frame": frame,
        "n_frames": extent.num_frames,
        "fps": FRAMES_PER_SECOND,
        "probe": patient.probe.name,
    } | {name: int(is_drawn) for name, is_drawn in clip.flags.items()}
    return tuple(str(cells[column]) for column in (FRAME_COLUMNS if extent.form == "png" else CLIP_COLUMNS))


def _write_frames(folder: Path, clip: Clip, pictures: list[Image.Image]) -> list[str]:
    """Write a clip's frames and return their paths below the folder."""
    paths = [f"{clip.patient.finding}/{clip.name}_f{frame:04d}.png" for frame in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(folder / path)
    return paths


def _write_clip(folder: Path, clip: Clip, pictures: list[Image.Image]) -> list[str]:
    """Write a clip as a lossless animation, captioned as machines do, and return its path below the folder."""
    path = f"{clip.patient.finding}/{clip.name}.gif"
    first, *others = (_captioned(picture, clip) for picture in pictures)
    duration = round(1000 / FRAMES_PER_SECOND)
    first.save(folder / path, save_all=True, append_images=others, duration=duration, loop=0, optimize=False)
    return [path]


def _captioned(picture: Image.Image, clip: Clip) -> Image.Image:
    """Return a frame below a line of text, as most machines burn it in."""
    shown = Image.new("L", (picture.width, picture.height + _CAPTION_HEIGHT))
    shown.paste(picture, (0, _CAPTION_HEIGHT))
    text = f"PHANTOM {clip.patient.number:04d}  {clip.patient.probe.depth / 10:.0f} cm"
    ImageDraw.Draw(shown).text((3, 3), text, fill=220, font=ImageFont.load_default(10))
    return shown
