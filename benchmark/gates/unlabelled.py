"""Images of a GAN without labels, as splits of a dataset: its test.py leaves files, and the gates read splits."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.steps import Step, run_step
from medsynth.data.labels import LabelTable, record_order, write_label_table
from medsynth.data.tfrecords import Images, atomic_split, write_split
from medsynth.data.wording import counted
from medsynth.errors import DataError
from medsynth.files import make_folder, read_json, write_json
from medsynth.runs import CONFIG_NAME

DCGAN = "DCGAN"
MOST_IMAGES = 10_000  # of a split: further ones cost hours and hardly narrow an interval
SYNTHETIC_FOLDER, FRAMES_FOLDER = "synthetic", "frames"
_DONE_NAME, _IMAGE_PATTERN = "_generation-done.txt", "images/*/*.png"


def make_unlabelled_splits(
    results_dir: Path, out_dir: Path, num_real: Mapping[str, int], resolution: int, seed: int
) -> Path:
    """Make a synthetic image for every real one by GAN_dcgan/test.py, and write them as splits without labels.

    Images are numbered through all splits, so that no two splits share one. What is there already is not made again.

    Args:
        results_dir: Of a training of GAN_dcgan.
        out_dir: Of the verdict; the images are put into out_dir/synthetic.
        num_real: Real images by split; of each, MOST_IMAGES at most are made.
        resolution: Of the dataset's records.
        seed: Of the latents.

    Returns:
        The folder that holds the splits.

    Raises:
        StepFailedError: The command failed.
        DataError: The images are of another size than the dataset's records.
    """
    counts = {name: min(num, MOST_IMAGES) for name, num in num_real.items()}
    folder = out_dir / SYNTHETIC_FOLDER
    frames = folder / FRAMES_FOLDER
    num_images = sum(counts.values())
    run_step(
        Step(
            "generate synthetic images",
            ("GAN_dcgan/test.py", "generate", results_dir, frames, "--num", str(num_images), "--seed", str(seed)),
            frames / _DONE_NAME,
        )
    )
    origin = {"generation": read_json(frames / CONFIG_NAME), "num_images": counts}
    origin_path = folder / CONFIG_NAME
    if origin_path.is_file() and read_json(origin_path) == origin:
        return folder
    files = sorted(frames.glob(_IMAGE_PATTERN))
    if len(files) != num_images:
        raise DataError(f"{num_images:,} images were expected.", received=counted(len(files), "image"), path=frames)
    start = 0
    for name, num in counts.items():
        _write_split(make_folder(folder) / name, files[start : start + num], resolution)
        start += num
    write_json(origin_path, origin)
    return folder


def _write_split(target: Path, files: list[Path], resolution: int) -> None:
    order = record_order(len(files))
    no_labels = np.zeros((len(files), 0), np.float32)
    with atomic_split(target) as folder:
        write_split(folder, _read_images(files, order, resolution), no_labels, resolution.bit_length() - 1)
        write_label_table(folder, LabelTable(tuple(map(str, files)), (), no_labels))


def _read_images(files: list[Path], order: npt.NDArray[np.int64], resolution: int) -> Iterator[Images]:
    """Yield the images [H, W, 1] in record order."""
    for number in order:
        with Image.open(files[number]) as image:
            pixels = np.asarray(image)
        if pixels.shape != (resolution, resolution):
            raise DataError(
                f"Grey images of {resolution}x{resolution} were expected, as the dataset's records are.",
                received=f"{pixels.shape[1]}x{pixels.shape[0]}",
                path=files[number],
            )
        yield pixels[..., None]
