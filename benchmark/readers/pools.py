"""Where the images of a reader study come from: a split, a GAN's images for it, or a folder of pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medsynth.classify.experiment import inference_folder
from medsynth.data.images import read_image
from medsynth.data.labels import read_label_table, read_patients, read_split_labels, record_order, require_split
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import Images, available_resolutions
from medsynth.errors import DataError
from medsynth.files import require_folder

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm")
_NUM_COMPARED = 8  # the first images, by which a copy is known


@dataclass(frozen=True)
class Pool:
    """Images of one kind, all of one size.

    Attributes:
        folder: Where they lie.
        origins: What each image is, for the key.
        label_names: Of the label columns; empty where there are none.
        labels: float32 [N, L].
        patients: Of every image; None where they are not known.
        height: Of the images, in pixels.
        read: Returns the images of some numbers as uint8 [n, H, W, C].
    """

    folder: Path
    origins: Sequence[str]
    label_names: tuple[str, ...]
    labels: npt.NDArray[np.float32]
    patients: npt.NDArray[np.object_] | None
    height: int
    read: Callable[[npt.NDArray[np.int64]], Images]

    def __len__(self) -> int:
        return len(self.origins)


@dataclass(frozen=True)
class Pools:
    """What real and synthetic images are drawn from.

    Attributes:
        real: Real images.
        synthetic: Synthetic images.
        same_rows: Whether synthetic image i was made with the labels of real image i.
    """

    real: Pool
    synthetic: Pool
    same_rows: bool


def read_pools(data_dir: Path, results_dir: Path, split: str) -> Pools:
    """Find the real and the synthetic images of a study.

    Args:
        data_dir: A dataset made by build_dataset, or a folder of pictures.
        results_dir: A GAN's results with inference/, or a folder of pictures at any depth.
        split: Of the dataset, such as `test`.

    Raises:
        DataError: Missing or damaged data, synthetic images that were made for another dataset, or the same images as
            real and synthetic ones.
    """
    pools = _find_pools(data_dir, results_dir, split)
    _require_different(pools)
    return pools


def _find_pools(data_dir: Path, results_dir: Path, split: str) -> Pools:
    if (results_dir / "inference").is_dir() or not _pictures(results_dir):
        synthetic = _split_pool(require_split(inference_folder(results_dir) / split))
        real = _split_pool(require_split(data_dir / split), resolution=synthetic.height)
        _require_same_rows(real, synthetic)
        return Pools(real, synthetic, same_rows=True)
    if (results_dir / split / f"{split}.csv").is_file():
        raise DataError(
            "Results of a GAN, or a folder of synthetic pictures, were expected here.",
            received="a dataset of build_dataset",
            path=results_dir,
        )
    synthetic = _picture_pool(results_dir)
    if (data_dir / split).is_dir():
        return Pools(_split_pool(data_dir / split, resolution=synthetic.height), synthetic, same_rows=False)
    return Pools(_picture_pool(require_folder(data_dir, "real images")), synthetic, same_rows=False)


def _require_different(pools: Pools) -> None:
    """Refuse the same images on both sides: one folder twice, one within the other, or a copy of it.

    Raises:
        DataError: They are the same.
    """
    real, synthetic = pools.real, pools.synthetic
    one, other = real.folder.resolve(), synthetic.folder.resolve()
    numbers = np.arange(min(len(real), len(synthetic), _NUM_COMPARED))
    received = None
    if one == other:
        received = "the folder of the real ones"
    elif one.is_relative_to(other) or other.is_relative_to(one):
        received = f"a folder that shares images with {real.folder}"
    elif np.array_equal(real.read(numbers), synthetic.read(numbers)):
        received = f"the images of {real.folder} again"
    if received is not None:
        raise DataError(
            "Synthetic images were expected here, which are others than the real ones: of the same images readers can "
            "only guess.",
            received=received,
            path=synthetic.folder,
        )


def _require_same_rows(real: Pool, synthetic: Pool) -> None:
    if real.label_names != synthetic.label_names or not np.array_equal(real.labels, synthetic.labels):
        raise DataError(
            f"The synthetic images must have been made with the labels of {real.folder}, row by row; run test.py of "
            "the GAN with this data_dir.",
            received=f"{len(synthetic):,} images with other labels",
            path=synthetic.folder,
        )


def _split_pool(folder: Path, resolution: int | None = None) -> Pool:
    """Read a split at a resolution, or at its finest."""
    labels = read_split_labels(folder)
    table = read_label_table(folder)
    order = record_order(len(table.paths))
    finest = 2 ** max(available_resolutions(folder), default=0)
    records = open_records(folder, resolution or finest, expected_num=len(order))
    patients = read_patients(folder, table.paths)
    return Pool(
        folder,
        tuple(table.paths[row] for row in order),
        labels.names,
        labels.values,
        None if patients is None else np.array(patients, object)[order],
        records.shape[0],
        records.read,
    )


def _picture_pool(folder: Path) -> Pool:
    """Find pictures at any depth; all have the size of the first."""
    paths = _pictures(folder)
    if not paths:
        raise DataError("Pictures were expected here.", received=f"no file of {', '.join(PICTURES)}", path=folder)
    shape = _read_picture(paths[0]).shape

    def read(numbers: npt.NDArray[np.int64]) -> Images:
        pictures = [_read_picture(paths[number]) for number in numbers]
        for number, picture in zip(numbers, pictures, strict=True):
            if picture.shape != shape:
                raise DataError(
                    f"All pictures of a study have one size, and {paths[0]} has {shape[1]}x{shape[0]}.",
                    received=f"{picture.shape[1]}x{picture.shape[0]}",
                    path=paths[number],
                )
        return np.stack(pictures)

    origins = tuple(str(path.relative_to(folder)) for path in paths)
    return Pool(folder, origins, (), np.zeros((len(paths), 0), np.float32), None, shape[0], read)


def _read_picture(path: Path) -> Images:
    """Return a picture as uint8 [H, W, 3]."""
    pixels = read_image(path, num_channels=3)
    if pixels.dtype != np.uint8:
        raise DataError("Pictures of a study have 8 bits a channel; save it so.", received="more", path=path)
    return pixels


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
