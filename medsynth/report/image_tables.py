"""Figures of single images as csv."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.files import write_text


def write_image_table(path: Path, names: Sequence[str], columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write a csv with a row per image, atomically: numbers in full precision, empty where there is none.

    Args:
        path: The .csv file.
        names: Of the images, N.
        columns: By their names: [N] floats, integers or bool, which are written as 1 and 0.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *columns])
    for row, name in enumerate(names):
        writer.writerow([name, *(_cell(values[row]) for values in columns.values())])
    write_text(path, text.getvalue())


def _cell(value: Any) -> str:
    if isinstance(value, np.bool_ | np.integer):
        return str(int(value))
    return repr(float(value)) if np.isfinite(value) else ""
