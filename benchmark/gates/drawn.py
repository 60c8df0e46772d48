"""Real and synthetic images drawn for comparison: as many of each, and as many other real ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.gates.inputs import VerdictInputs
from medsynth.data.labels import patient_numbers, read_label_table, read_patients
from medsynth.data.order import Indices, grouped_order
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import Images, RecordFile
from medsynth.data.wording import counted, listed

MOST_IMAGES = 5_000  # of each set: more cost hours and hardly narrow an interval


@dataclass(frozen=True)
class DrawnImages:
    """Images for a comparison, n of each set; real ones of a patient are neighbours.

    Attributes:
        real: uint8 [n, R, R, C].
        other: Further real images, of other patients but for one at most, [n, R, R, C].
        synthetic: [n, R, R, C].
        num_real: Held-out real images that there are.
        num_synthetic: Synthetic images that there are.
        sentence: Where they come from.
    """

    real: Images
    other: Images
    synthetic: Images
    num_real: int
    num_synthetic: int
    sentence: str

    @property
    def num_images(self) -> int:
        """Images of each set, n."""
        return len(self.real)


def draw_images(inputs: VerdictInputs) -> DrawnImages:
    """Draw held-out real images by patient, two sets, and as many synthetic ones of the splits of the same names.

    The splits of the same names, since their labels are as frequent as those of the real ones; the other splits follow
    where these are not enough.
    """
    real = [open_records(folder, inputs.resolution) for folder in inputs.held_out_splits]
    names = sorted(inputs.synthetic, key=lambda name: name not in inputs.held_out)
    num_real = sum(len(file) for file in real)
    num_wanted = min(num_real // 2, MOST_IMAGES)
    synthetic: list[RecordFile] = []
    used: list[str] = []
    for name in names:
        if name in inputs.held_out or sum(len(file) for file in synthetic) < num_wanted:
            synthetic.append(open_records(inputs.synthetic_dir / name, inputs.resolution))
            used.append(name)
    num_synthetic = sum(split.num_images for split in inputs.synthetic.values())
    num_images = min(num_wanted, sum(len(file) for file in synthetic))
    patients = _patients(inputs.held_out_splits)
    order = grouped_order(patients, num_real, inputs.seed)
    rows = np.random.default_rng(inputs.seed).permutation(sum(len(file) for file in synthetic))[:num_images]
    by = "images" if patients is None else "patients"
    sentence = (
        f"{counted(num_images, 'real image')} of {num_real:,} held-out ones ({listed(inputs.held_out)}), drawn by "
        f"{by}, against as many synthetic ones ({listed(used)}), and against as many other real ones."
    )
    last = order[len(order) - num_images :]
    return DrawnImages(
        _read(real, order[:num_images]), _read(real, last), _read(synthetic, rows), num_real, num_synthetic, sentence
    )


def _read(files: Sequence[RecordFile], rows: Indices) -> Images:
    """Return images of several files, numbered through, [n, R, R, C]."""
    images = np.empty((len(rows), *files[0].shape), np.uint8)
    start = 0
    for file in files:
        is_its = (rows >= start) & (rows < start + len(file))
        images[is_its] = file.read(rows[is_its] - start)
        start += len(file)
    return images


def _patients(folders: Sequence[Path]) -> Indices | None:
    """Return the patient of every record of several splits, numbered from 0, or None where they are not known."""
    names: list[np.ndarray] = []
    for folder in folders:
        paths = read_label_table(folder).paths
        patients = read_patients(folder, paths)
        if patients is None:
            return None
        numbers = patient_numbers(patients, len(paths))
        names.append(np.unique(patients)[numbers])
    return np.unique(np.concatenate(names), return_inverse=True)[1].astype(np.int64)
