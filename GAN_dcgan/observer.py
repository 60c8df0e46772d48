"""What a training of the DCGAN leaves besides what every GAN of the suite leaves."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from GAN_dcgan.frame_data import FrameData
from GAN_dcgan.loss_curves import LossCurves
from medsynth.data.tfrecords import Images
from medsynth.data.training_images import TrainingImages
from medsynth.files import write_text
from medsynth.report.grids import image_sheet, save_image_grid

FRAMES_NAME = "frames.csv"
_PICTURE = "real-and-generated-"
_GAP, _WHITE = 8, 255


class Observer:
    """Writes the loss curves, a picture of real beside generated frames per tick, and which frames were trained on.

    Args:
        folder: The results folder.
        data: The training images.
    """

    def __init__(self, folder: Path, data: TrainingImages) -> None:
        self.folder, self.data = folder, data
        self.curves = LossCurves(folder)
        if isinstance(data, FrameData):
            write_text(folder / FRAMES_NAME, _table_of(data))

    def restore(self, num_steps: int, num_ticks: int) -> None:
        """Drop losses and pictures that came after so many steps and ticks."""
        self.curves.restore(num_steps)
        for path in self.folder.glob(f"{_PICTURE}*.png"):
            number = re.search(r"(\d+)\.png$", path.name)
            if number and int(number[1]) > num_ticks:
                path.unlink()

    def add(self, step: int, images_seen: int, values: Mapping[str, float]) -> None:
        """Take the losses of a step."""
        self.curves.add(step, images_seen, values)

    def keep(self) -> None:
        """Put all losses on disk."""
        self.curves.keep()

    def end_tick(self, tick: int, fakes: Images, num_columns: int) -> None:
        """Draw the losses, and the frames: real ones on the left, generated ones on the right."""
        self.curves.draw()
        reals, _ = self.data.first_images(len(fakes))
        sheets = [image_sheet(images, num_columns) for images in (reals, fakes)]
        gap = np.full((sheets[0].shape[0], _GAP, sheets[0].shape[2]), _WHITE, np.uint8)
        sheet = np.concatenate([sheets[0], gap, sheets[1]], axis=1)
        save_image_grid(self.folder / f"{_PICTURE}{tick:04d}.png", sheet[None], 1)


def _table_of(data: FrameData) -> str:
    """Return a csv of the frames, their groups, and whether they were kept from training."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "group_id", "held_out"))
    for frames, is_held_out in ((data.frames.train, 0), (data.frames.held_out, 1)):
        writer.writerows((frame.name, frame.group, is_held_out) for frame in frames)
    return text.getvalue()
