"""The peer in build_dataset.py: the published tool's steps one after the other, in one process.

python3 speed/build_dataset_literal.py LABELS_DIR TARGET_DIR

LABELS_DIR holds csv files as `dataset_tool.py ... --labels-only` writes them; their images are read with
Pillow, resized with scikit-image, and written at every resolution, one writer a level.
"""

import contextlib
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image
from skimage.transform import resize

from medsynth.data.tfrecords import SMALLEST_RESOLUTION_LOG2, RecordWriter, record_path

RESOLUTION_LOG2 = 8


def read_image(path: str) -> npt.NDArray[np.uint8]:
    """Return an image file as grey uint8 [256, 256], its brightest pixel 255."""
    pixels = np.asarray(Image.open(path).convert("L"))
    pixels = resize(pixels, (2**RESOLUTION_LOG2, 2**RESOLUTION_LOG2))
    pixels = pixels / pixels.max()
    return (pixels * 255).astype(np.uint8)


def write_split(csv_path: Path, split_folder: Path) -> None:
    """Write the records of one split."""
    paths = pd.read_csv(csv_path)["Path"].to_numpy()
    order = np.arange(len(paths))
    np.random.RandomState(123).shuffle(order)
    split_folder.mkdir(parents=True)
    levels = range(RESOLUTION_LOG2, SMALLEST_RESOLUTION_LOG2 - 1, -1)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(RecordWriter(record_path(split_folder, level))) for level in levels]
        for path in paths[order]:
            level = read_image(path)[..., None].astype(np.float32)  # [H, W] -> [H, W, 1]
            for writer in writers:
                if writer is not writers[0]:
                    level = level[0::2, 0::2] + level[0::2, 1::2] + level[1::2, 0::2] + level[1::2, 1::2]
                    level *= 0.25
                writer.write(np.rint(level).clip(0, 255).astype(np.uint8))


def main() -> None:
    """Write every split of LABELS_DIR to TARGET_DIR."""
    labels, target = map(Path, sys.argv[1:])
    for csv_path in sorted(labels.rglob("*.csv")):
        write_split(csv_path, target / csv_path.parent.relative_to(labels))


if __name__ == "__main__":
    main()
