"""Names of images and patients in a table: nothing empty, nothing twice, nothing from elsewhere."""

import os
import re

import numpy as np
import numpy.typing as npt
import pandas as pd

from medsynth.data.text_table import Cells, TextTable

# Whatever ends a line for str.splitlines among them, since a dataset's patients stand one a line.
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def stripped(cells: Cells) -> "pd.Series[str]":
    """Return cells [N] without the spaces around them."""
    return pd.Series(cells, dtype=object).str.strip()


def has_control_characters(cells: Cells) -> npt.NDArray[np.bool_]:
    """Return which of some names [N] hold a line break or another control character."""
    return np.array([_CONTROL_CHARACTER.search(cell) is not None for cell in cells], bool)


def read_names(table: TextTable, column: str, what: str) -> Cells:
    """Return the cells of a column that names something, [N]."""
    names = stripped(table.column(column)).to_numpy(object)
    table.refuse(names == "", f"{what} is expected in column {column!r}.", names)
    table.refuse(has_control_characters(names), f"{what} has no line break or other control character.", names)
    return names


def read_files(table: TextTable, column: str, raw_dir: str, *, only_below: bool = True) -> Cells:
    """Return the images' files as seen from a folder, each in its shortest form, [N].

    Shortest, since the same file under two names (`a.png`, `./a.png`) could come into two splits.

    Args:
        table: With the column.
        column: Of paths, relative to the folder or absolute.
        raw_dir: The folder.
        only_below: Refuse files that lie elsewhere, instead of returning absolute paths and ones that start with `../`.

    Raises:
        DataError: An empty name, a file that lies elsewhere, or one that is named twice; names the line.
    """
    names = read_names(table, column, "an image")
    folder = os.path.abspath(raw_dir)
    files = np.array([_below(folder, name) for name in names], object)
    is_outside = np.array([re.match(r"/|\.\.?(/|$)|[A-Za-z]:/", file) is not None for file in files], bool)
    if only_below:
        table.refuse(is_outside, f"an image lies in the folder {folder}.", names)
    is_duplicate = pd.Series([os.path.join(folder, file) for file in files]).map(os.path.normpath).duplicated()
    table.refuse(is_duplicate.to_numpy(bool), "an image is listed once, and this one stands further up, too.", names)
    return files


def _below(folder: str, name: str) -> str:
    """Return the path of a file relative to a folder; one that lies elsewhere starts with "/" or "../"."""
    name = os.path.normpath(name.replace("\\", "/"))  # tables that were made on Windows
    return os.path.relpath(name, folder) if name.startswith(f"{folder.rstrip('/')}/") else name
