"""Results whose verdict is known beforehand, made of a dataset: positive and negative controls of the gates.

memoriser   training images under slight noise, dealt by their labels: privacy must fail
noise       pixels without an image: fidelity and utility must fail
held-out    real images of other people in place of synthetic ones: nothing may fail
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.data.labels import read_label_table, read_split_labels, require_split, write_label_table
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import Images, RecordFile, write_split
from medsynth.errors import DataError
from medsynth.files import atomic_path, write_json
from medsynth.progress import Progress

MEMORISER, NOISE, HELD_OUT = "memoriser", "noise", "held-out"
EXPECTED = {
    MEMORISER: "privacy must fail",
    NOISE: "fidelity and utility must fail",
    HELD_OUT: "nothing may fail, and with enough patients all pass",
}
SPLITS = ("train", "valid", "test")
# Standard deviation of the noise on a copy, in grey levels of 255: hardly to be seen.
_SLIGHT = 3.0
_IMAGES_PER_BLOCK = 256
_Blocks = Iterator[npt.NDArray[np.float64]]


@dataclass(frozen=True)
class _Data:
    """A dataset's splits at one resolution."""

    folder: Path
    resolution: int

    def records(self, split: str) -> RecordFile:
        require_split(self.folder / split)
        return open_records(self.folder / split, self.resolution)

    def labels(self, split: str) -> npt.NDArray[np.float32]:
        """Return the labels in record order, [N, L]."""
        return read_split_labels(self.folder / split).values


def make_cases(data_dir: Path, out_dir: Path, resolution: int, *, other: Path | None, seed: int) -> dict[str, Path]:
    """Make results folders with inference/{train,valid,test}, and return them by the name of the case.

    Args:
        data_dir: A dataset made by build_dataset.
        out_dir: For the folders; those that are there already are made again.
        resolution: Of the images.
        other: A dataset of other people with the same labels, for `held-out`; None leaves that case out.
        seed: The same seed makes the same images.

    Raises:
        DataError: Missing splits, or other labels.
    """
    data, rng = _Data(data_dir, resolution), np.random.default_rng(seed)
    cases: dict[str, tuple[_Data, Callable[[str], _Blocks]]] = {
        MEMORISER: (data, lambda split: _copies(data, split, rng)),
        NOISE: (data, lambda split: _noise(data.records(split), rng)),
    }
    if other is not None:
        others = _Data(other, resolution)
        names = [read_label_table(one.folder / "train").names for one in (data, others)]
        if names[0] != names[1]:
            raise DataError(
                f"The other people's images must have the labels of {data_dir}: {', '.join(names[0])}.",
                received=", ".join(names[1]),
                path=other,
            )
        cases[HELD_OUT] = (others, lambda split: _blocks(others.records(split)))
    made = {}
    for name, (source, blocks) in cases.items():
        made[name] = out_dir / name
        with atomic_path(made[name]) as temporary:
            for split in SPLITS:
                _write(temporary / "inference" / split, source, split, blocks(split), name)
            write_json(
                temporary / "config.json",
                {
                    "application": f"known case: {name}",
                    "resolution": resolution,
                    "data.images_sha256": data.records("train").digest,
                },
            )
    return made


def _write(folder: Path, source: _Data, split: str, blocks: _Blocks, name: str) -> None:
    labels = source.labels(split)
    progress = Progress(f"{name}: {split}", len(labels), "images")

    def images() -> Iterator[npt.NDArray[np.float64]]:
        for block in blocks:
            yield from block
            progress.advance(len(block))

    write_split(folder, images(), labels, source.resolution.bit_length() - 1)
    write_label_table(folder, read_label_table(source.folder / split))
    progress.close()


def _blocks(records: RecordFile) -> _Blocks:
    for images in records.batches(_IMAGES_PER_BLOCK):
        yield images.astype(np.float64)


def _noise(records: RecordFile, rng: np.random.Generator) -> _Blocks:
    for images in records.batches(_IMAGES_PER_BLOCK):
        yield rng.uniform(0, 255, images.shape)


def _copies(data: _Data, split: str, rng: np.random.Generator) -> _Blocks:
    """Yield, for each image of a split, a training image whose labels are the most like its own, under slight noise."""
    train, known, wanted = data.records("train"), data.labels("train"), data.labels(split)
    for start in range(0, len(wanted), _IMAGES_PER_BLOCK):
        labels = wanted[start : start + _IMAGES_PER_BLOCK]
        differences = np.abs(labels[:, None] - known[None]).sum(axis=2)  # [n, N]
        # Chance decides among training images that fit equally well.
        chosen = np.argmin(differences + rng.uniform(0, 0.5, differences.shape), axis=1)
        images: Images = train.read(chosen)
        yield images + rng.normal(0, _SLIGHT, images.shape)
