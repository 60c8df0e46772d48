"""A reader study on disk: what readers are given in one folder, and its key in another."""

import csv
import io
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.readers.draw import Drawn, draw
from benchmark.readers.pools import read_pools
from benchmark.readers.sheets import (
    REAL,
    SYNTHETIC,
    item_names,
    study_name,
    write_page,
    write_picture_files,
    write_pictures,
)
from medsynth.classify.experiment import name_of_gan
from medsynth.data.text_table import read_text_table
from medsynth.errors import DataError, RunFolderError
from medsynth.files import atomic_path, make_folder, read_json, write_json, write_text
from medsynth.runs import require_own_folder

READER, KEY = "reader", "key"
KEY_TABLE, KEY_FACTS, KEY_PICTURES, WARNING = "key.csv", "study.json", "images", "DO-NOT-GIVE-TO-READERS.txt"
FORMS = ("page", "png", "both")
_KEY_COLUMNS = ("item", "truth", "number", "origin", "labels")
_WARNING = """This folder says which images of the study are real. Keep it to yourself until all answers are in: give
readers the folder "reader" beside it, and nothing else. It also holds real patients' images and their paths.
"""


@dataclass(frozen=True)
class StudyKey:
    """The truth about a study.

    Attributes:
        folder: The study's.
        name: As readers' tables have it.
        items: Names of the images.
        is_real: bool [N].
        origins: What each image is.
        facts: study.json.
    """

    folder: Path
    name: str
    items: tuple[str, ...]
    is_real: npt.NDArray[np.bool_]
    origins: tuple[str, ...]
    facts: dict[str, Any]

    def picture(self, number: int) -> Path:
        """Return the file of an item's image."""
        return self.folder / KEY / KEY_PICTURES / f"{self.items[number]}.png"


def create(
    data_dir: Path,
    results_dir: Path,
    out_dir: Path,
    *,
    num: int,
    share_real: float,
    split: str,
    form: str,
    seed: int | None,
) -> str:
    """Draw a study and write it: out_dir/reader for readers, out_dir/key for whoever runs it.

    Args:
        data_dir: Real images; see `read_pools`.
        results_dir: Synthetic images.
        out_dir: New or empty.
        num: Images in all.
        share_real: Share of real ones.
        split: Of the dataset.
        form: One of FORMS.
        seed: Of the draw; None for one that nobody can guess.

    Returns:
        What was made and how to go on, in sentences.

    Raises:
        MedsynthError: Data that are missing, damaged or too few, or a folder that holds something.
    """
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise RunFolderError(
            "A study needs a new folder: writing over the key of one would make its answers worthless.",
            received="a folder that is not empty" if out_dir.is_dir() else "a file",
            path=out_dir,
        )
    pools = read_pools(data_dir, results_dir, split)
    # Folders of pictures are read to any depth: the next study would find this one's images among them.
    require_own_folder(out_dir, [data_dir, results_dir], nor_below=not pools.same_rows)
    seed = secrets.randbits(32) if seed is None else seed
    drawn = draw(pools, num, share_real, seed)
    facts = {
        "study": study_name(drawn.images),
        "num_images": num,
        "num_real": sum(item.is_real for item in drawn.items),
        "seed": seed,
        "real_images": str(pools.real.folder),
        "synthetic_images": str(pools.synthetic.folder),
        "synthetic_by": name_of_gan(results_dir),
        "labels_matched": pools.same_rows,
        "patients_known": pools.real.patients is not None,
        "image_shape": list(drawn.images.shape[1:]),
        "form": form,
    }
    with atomic_path(out_dir) as partial:
        if form != "png":
            write_page(partial / READER, drawn.images)
        if form != "page":
            write_pictures(partial / READER, drawn.images)
        _write_key(partial / KEY, drawn, facts)
    return _describe(out_dir, facts)


def _write_key(folder: Path, drawn: Drawn, facts: dict[str, Any]) -> None:
    write_text(folder / WARNING, _WARNING)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_KEY_COLUMNS)
    for name, item in zip(item_names(len(drawn.items)), drawn.items, strict=True):
        truth = REAL if item.is_real else SYNTHETIC
        writer.writerow((name, truth, item.number, item.origin, "; ".join(item.labels)))
    write_text(folder / KEY_TABLE, text.getvalue())
    write_picture_files(make_folder(folder / KEY_PICTURES), drawn.images)
    write_json(folder / KEY_FACTS, facts)


def _describe(out_dir: Path, facts: dict[str, Any]) -> str:
    num_synthetic = facts["num_images"] - facts["num_real"]
    lines = [
        f"{facts['num_real']} real and {num_synthetic} synthetic images ({facts['synthetic_by']}), "
        + ("labels matched." if facts["labels_matched"] else "labels not matched, since they are not known of both."),
        f"Give readers {out_dir / READER}; keep {out_dir / KEY} to yourself.",
        "One reader's accuracy on so many images has a 95 % interval of about +-"
        f"{98 / np.sqrt(facts['num_images']):.0f} percentage points.",
        f"Afterwards: python3 benchmark/reader_study.py evaluate {shlex.quote(str(out_dir))} answers-*.csv",
    ]
    if not facts["patients_known"]:
        lines.insert(1, "Patients of the real images are not known, so one may appear several times.")
    return "\n".join(lines)


def read_key(out_dir: Path) -> StudyKey:
    """Read the key of a study.

    Raises:
        DataError: Missing or damaged.
    """
    folder = out_dir / KEY
    if not (folder / KEY_TABLE).is_file():
        raise DataError(
            f"A study made by create was expected here, with {KEY}/{KEY_TABLE}.", received="no such file", path=out_dir
        )
    facts = read_json(folder / KEY_FACTS)
    if not isinstance(facts, dict) or not isinstance(facts.get("study"), str):
        raise DataError("The facts of a study were expected here.", received=facts, path=folder / KEY_FACTS)
    table = read_text_table(folder / KEY_TABLE)
    if table.names != _KEY_COLUMNS:
        raise DataError(
            f"The columns {', '.join(_KEY_COLUMNS)} were expected.", received=", ".join(table.names), path=table.path
        )
    truth = table.column("truth")
    table.refuse(~np.isin(truth, (REAL, SYNTHETIC)), f"{REAL} or {SYNTHETIC} was expected.", truth, "truth")
    items = tuple(table.column("item"))
    return StudyKey(out_dir, facts["study"], items, truth == REAL, tuple(table.column("origin")), facts)
