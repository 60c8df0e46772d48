"""Names of images and patients in a table: nothing empty, nothing twice, nothing from elsewhere."""

import os
import re

import numpy as np
import numpy.typing as npt
import pandas as pd

from build_dataset.label_columns import stripped
from medsynth.data.text_table import Cells, TextTable

# Whatever ends a line for str.splitlines among them, since a dataset's patients stand one a line.
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def has_control_characters(cells: Cells) -> npt.NDArray[np.bool_]:
    """Return which of some names [N] hold a line break or another control character."""
    return np.array([_CONTROL_CHARACTER.search(cell) is not None for cell in cells], bool)


def read_names(table: TextTable, column: str, what: str) -> Cells:
    """Return the cells of a column that names something, [N]."""
    names = stripped(table.column(column)).to_numpy(object)
    table.refuse(names == "", f"{what} is expected in column {column!r}.", names)
    table.refuse(has_control_characters(names), f"{what} has no line break or other control character.", names)
    return names


def read_files(table: TextTable, column: str, raw_dir: str) -> Cells:
    """Return the images' files below the folder, each in its shortest form, [N].

    Shortest, since the same file under two names (`a.png`, `./a.png`) could come into two splits.
    """
    names = read_names(table, column, "an image")
    folder = os.path.abspath(raw_dir)
    files = np.array([_below(folder, name) for name in names], object)
    is_outside = np.array([re.match(r"\.\.?(/|$)|[A-Za-z]:/", file) is not None for file in files], bool)
    table.refuse(is_outside, f"an image lies in the folder {folder}.", names)
    is_duplicate = pd.Series(files).duplicated().to_numpy(bool)
    table.refuse(is_duplicate, "an image is listed once, and this one stands further up, too.", names)
    return files


def _below(folder: str, name: str) -> str:
    """Return the path of a file relative to a folder; one that lies elsewhere starts with "../"."""
    name = name.replace("\\", "/")  # tables that were made on Windows
    return os.path.relpath(name, folder) if name.startswith("/") else os.path.normpath(name)
