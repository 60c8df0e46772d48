"""Made-up photographs of lesions in COCO form, with a sticker that gives the class away in training, not in the test.

Three classes differ in outline and texture, and overlap: smooth (round, even), lobed (lobes around, granular inside)
and streaked (longish, streaks along it). Colour, size and place are alike. Beside the lesion lies a coloured sticker.
In training and validation its colour says the class (19 times of 20, and by chance else), in the test there is none, or
one of any colour. So a classifier that looks at the sticker is nearly perfect until it is tested, and one that looks at
the lesion is not. It stands for the ink and rulers of real photographs (Winkler et al. 2019, doi
10.1001/jamadermatol.2019.1735). Nothing here is about real patients.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medsynth.data.phantom_folder import DESCRIPTION_NAME, is_finished
from medsynth.data.phantom_lesions_drawing import Colour, Grid, Lesion, Mucosa, Picture, Sticker, draw
from medsynth.errors import UsageError
from medsynth.files import atomic_path, make_folder, remove_leftovers, sha256_of, write_json
from medsynth.parallel import ordered_map, require_workers
from medsynth.progress import Progress

CLASSES = ("smooth", "lobed", "streaked")
SPLITS = ("train", "val", "test")
TEST_CUES = ("absent", "permuted")
COLOURS: Mapping[str, Colour] = {"blue": (0.15, 0.35, 0.80), "green": (0.15, 0.60, 0.30), "yellow": (0.90, 0.78, 0.15)}
MAX_NUM_PATIENTS, MIN_SIZE, MAX_SIZE = 99_999, 64, 1024
DATASET_NAME, IMAGE_FOLDER = "coco_dataset.json", "images"
FORM_VERSION = 1  # raise it whenever the same arguments give other files

_SPLIT_OF_TWENTY = (*("train",) * 12, *("val",) * 3, *("test",) * 5)  # of every twenty patients of a class
_MOST_PICTURES, _MOST_LESIONS = 3, 2  # of a patient, of a picture
_SHARE_OF_TRUE_CUES = 0.95
_SHARE_OF_SECOND_LESIONS = 0.15
_SHAPES = ((3, 4), (4, 3), (1, 1))  # height to width
_PATIENTS_PER_TASK = 4
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Extent:
    """What the phantom is.

    Attributes:
        num_patients: From 1 on; of one to three pictures each.
        image_size: Shorter side, pixels.
        test_cue: Of the test: "absent", no sticker; "permuted", one of any colour.
    """

    num_patients: int
    image_size: int = 256
    test_cue: str = "absent"

    def require(self) -> None:
        """Refuse what is out of range.

        Raises:
            UsageError: The first of it.
        """
        if not 1 <= self.num_patients <= MAX_NUM_PATIENTS:
            raise UsageError(f"--patients is a number from 1 to {MAX_NUM_PATIENTS:,}.", received=self.num_patients)
        if not MIN_SIZE <= self.image_size <= MAX_SIZE:
            raise UsageError(f"--image-size is a number from {MIN_SIZE} to {MAX_SIZE}.", received=self.image_size)
        if self.test_cue not in TEST_CUES:
            raise UsageError(f"--test-cue is one of {', '.join(TEST_CUES)}.", received=self.test_cue)


@dataclass(frozen=True)
class Patient:
    """What all pictures of a patient share.

    Attributes:
        number: From 0.
        kind: One of CLASSES; by the number, so that each has a third.
        split: One of SPLITS; likewise.
        num_pictures: 1 to 3.
        mucosa: The background.
        shift: Of the lesion's colour.
    """

    number: int
    kind: str
    split: str
    num_pictures: int
    mucosa: Mucosa
    shift: Colour

    @property
    def name(self) -> str:
        """Of the patient."""
        return f"phantom{self.number:05d}"


@dataclass(frozen=True)
class Photograph:
    """A picture, with what is on it.

    Attributes:
        grid: Its size.
        pixels: uint8 [height, width, 3].
        lesions: One or two, of the patient's class.
        cue: Name of the sticker's colour; or "none".
    """

    grid: Grid
    pixels: Picture
    lesions: tuple[Lesion, ...]
    cue: str


def _generator(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of a patient (key: its number) or of a picture (and its number)."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def draw_patient(number: int, seed: int) -> Patient:
    """Return patient `number` (from 0); it depends on the two arguments alone."""
    rng = _generator(seed, number)
    place = number // len(CLASSES)
    # Twenty steps through the twenty places, in an order that gives small phantoms every split.
    split = _SPLIT_OF_TWENTY[7 * place % len(_SPLIT_OF_TWENTY)]
    red = _between(rng, 0.68, 0.82)
    mucosa = Mucosa(
        colour=(red, red * _between(rng, 0.56, 0.70), red * _between(rng, 0.50, 0.66)),
        shading=_between(rng, 0.02, 0.05),
        num_vessels=int(rng.integers(2, 9)),
        num_highlights=int(rng.integers(0, 7)),
        warmth=_between(rng, -0.05, 0.05),
    )
    paleness = _between(rng, -0.16, 0.20)
    shift = (0.5 * paleness + _between(rng, -0.03, 0.05), paleness, 0.8 * paleness + _between(rng, -0.04, 0.04))
    return Patient(number, CLASSES[number % len(CLASSES)], split, int(rng.integers(1, 4)), mucosa, shift)


def draw_photograph(patient: Patient, number: int, seed: int, size: int, test_cue: str) -> Photograph:
    """Return picture `number` (from 0) of a patient; it depends on the arguments alone."""
    rng = _generator(seed, patient.number, number)
    tall, wide = _SHAPES[int(rng.integers(len(_SHAPES)))]
    grid = Grid(round(size * tall / min(tall, wide)), round(size * wide / min(tall, wide)))
    lesions = [_draw_lesion(rng, patient, (_between(rng, -0.06, 0.06), _between(rng, -0.06, 0.06)), 1.0)]
    if rng.random() < _SHARE_OF_SECOND_LESIONS:
        side = _between(rng, 0, 2 * math.pi)
        place = lesions[0].place[0] + 0.36 * math.cos(side), lesions[0].place[1] + 0.36 * math.sin(side)
        lesions.append(_draw_lesion(rng, patient, place, 0.3))
    cue = _draw_cue(rng, patient, test_cue)
    place, radius = _free_place(rng, lesions), _between(rng, 0.045, 0.06)
    sticker = Sticker(place, radius, COLOURS[cue]) if cue != "none" else None
    return Photograph(grid, draw(grid, patient.mucosa, tuple(lesions), sticker, rng), tuple(lesions), cue)


def _draw_lesion(rng: np.random.Generator, patient: Patient, place: tuple[float, float], scale: float) -> Lesion:
    """Return a lesion of the patient's class; the ranges of the classes overlap on purpose."""
    lobes, longer, grains, streaks = {
        "smooth": ((0.00, 0.09), (1.0, 1.6), (0.00, 0.06), (0.00, 0.06)),
        "lobed": ((0.06, 0.22), (1.0, 1.6), (0.04, 0.15), (0.00, 0.05)),
        "streaked": ((0.00, 0.10), (1.2, 2.4), (0.00, 0.05), (0.04, 0.15)),
    }[patient.kind]
    height = _between(rng, *lobes)
    numbers = rng.permutation(np.arange(4, 10))[:3]
    return Lesion(
        place=place,
        radius=scale * _between(rng, 0.15, 0.25),
        elongation=_between(rng, *longer),
        angle=_between(rng, 0, math.pi),
        lobes=tuple(
            (int(number), height * share, _between(rng, 0, 2 * math.pi))
            for number, share in zip(numbers, (0.8, 0.5, 0.3), strict=True)
        ),
        shift=patient.shift,
        grains=_between(rng, *grains),
        streaks=_between(rng, *streaks),
        halo=_between(rng, 0.2, 1.2),
    )


def _draw_cue(rng: np.random.Generator, patient: Patient, test_cue: str) -> str:
    names = list(COLOURS)
    any_colour, is_true = names[int(rng.integers(len(names)))], rng.random() < _SHARE_OF_TRUE_CUES
    if patient.split == "test":
        return "none" if test_cue == "absent" else any_colour
    return names[CLASSES.index(patient.kind)] if is_true else any_colour


def _free_place(rng: np.random.Generator, lesions: Iterable[Lesion]) -> tuple[float, float]:
    """Return a place near the edge of the middle square, as far from the lesions as any of some that are tried."""
    outlines = np.concatenate([lesion.outline() for lesion in lesions])
    angles, distances = rng.uniform(0, 2 * math.pi, 16), rng.uniform(0.39, 0.42, 16)
    places = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    places *= (distances / np.abs(places).max(axis=1))[:, None]  # along the square
    nearest = np.linalg.norm(places[:, None] - outlines, axis=2).min(axis=1)
    x, y = places[int(np.argmax(nearest))]
    return float(x), float(y)


def create_phantom_lesions(
    target_dir: Path, num_patients: int, seed: int, *, num_workers: int, overwrite: bool = False, **others: Any
) -> Path:
    """Write made-up photographs: images/*.jpg; train.json, val.json and test.json; and coco_dataset.json with all.

    The folder appears when all of it is written; a run that was killed starts anew. A picture depends on `seed`, its
    patient and number, and size alone: workers change nothing, and a larger phantom holds a smaller one. Where the
    folder already holds this phantom, nothing is done.

    Args:
        target_dir: The folder; new or empty.
        num_patients: From 1 on; each has one to three pictures.
        seed: From 0 on.
        num_workers: Processes that draw.
        overwrite: Replace another phantom.
        others: Size and the test's sticker; the other attributes of `Extent`.

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
        table_name=DATASET_NAME, other_names=(IMAGE_FOLDER, *(f"{split}.json" for split in SPLITS)),
        pictures=lambda _: _listed_files(folder),
    ):  # fmt: skip
        return target_dir
    numbers = range(extent.num_patients)
    tasks = [numbers[first : first + _PATIENTS_PER_TASK] for first in range(0, len(numbers), _PATIENTS_PER_TASK)]
    progress = Progress("drawing the phantom", extent.num_patients, "patients")
    records: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
    with atomic_path(folder) as partial:
        make_folder(partial / IMAGE_FOLDER)
        work = ((partial, task, extent, seed) for task in tasks)
        with contextlib.closing(ordered_map(_write_patients, work, min(num_workers, len(tasks)))) as done:
            for task, written in zip(tasks, done, strict=True):
                records += written
                progress.advance(len(task))
        write_json(partial / DATASET_NAME, _document(records))
        for split in SPLITS:
            chosen = [record for record in records if record[0]["split"] == split]
            write_json(partial / f"{split}.json", _document(chosen))
        write_json(partial / DESCRIPTION_NAME, wanted | {"table_sha256": sha256_of(partial / DATASET_NAME)})
    progress.close()
    return target_dir


def _document(records: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]]) -> dict[str, Any]:
    """Return a COCO object of (image, its annotations)."""
    records = list(records)
    return {
        "info": {"description": "Made-up photographs of made-up lesions; nothing here is about real patients."},
        "images": [image for image, _ in records],
        "annotations": [annotation for _, annotations in records for annotation in annotations],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)],
    }


def _listed_files(folder: Path) -> list[Path]:
    """Return every image that the phantom names, and its three splits."""
    document = json.loads((folder / DATASET_NAME).read_text(encoding="utf-8"))
    images = [folder / IMAGE_FOLDER / image["file_name"] for image in document["images"]]
    return images + [folder / f"{split}.json" for split in SPLITS]


def _write_patients(task: tuple[Path, range, Extent, int]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Write the pictures of some patients into a folder, with a seed, and return their records, in order."""
    folder, numbers, extent, seed = task
    records = []
    for patient in (draw_patient(number, seed) for number in numbers):
        for number in range(patient.num_pictures):
            photograph = draw_photograph(patient, number, seed, extent.image_size, extent.test_cue)
            image, annotations = _records(patient, number, photograph)
            path = folder / IMAGE_FOLDER / image["file_name"]
            Image.fromarray(photograph.pixels).save(path, quality=_JPEG_QUALITY)
            records.append((image, annotations))
    return records


def _records(patient: Patient, number: int, photograph: Photograph) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the COCO records of a picture and of its lesions."""
    image_id = _MOST_PICTURES * patient.number + number + 1
    image = {
        "id": image_id,
        "file_name": f"{patient.name}_{number}.jpg",
        "height": photograph.grid.height,
        "width": photograph.grid.width,
        "patient_id": patient.name,
        "split": patient.split,
        "cue": photograph.cue,
    }
    annotations = []
    for place, lesion in enumerate(photograph.lesions):
        points = photograph.grid.pixels(lesion.outline()).round(1)
        low, high = points.min(axis=0), points.max(axis=0)
        annotations.append(
            {
                "id": _MOST_LESIONS * (image_id - 1) + place + 1,
                "image_id": image_id,
                "category_id": CLASSES.index(patient.kind) + 1,
                "segmentation": [points.ravel().tolist()],  # [72, 2] -> [144]
                "bbox": [*low.tolist(), *(high - low).round(1).tolist()],
                "area": _area(points),
                "iscrowd": 0,
            }
        )
    return image, annotations


def _area(points: np.ndarray) -> float:
    """Return the area of a polygon [P, 2], in square pixels (Gauss's formula)."""
    x, y = points.T
    return round(abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2, 1)
