"""Which image belongs to which row."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from GAN_joint.columns import is_missing
from GAN_joint.identifying import plain_name
from medsynth.data.text_table import TextTable
from medsynth.data.wording import counted, did_you_mean, listed_in_quotes, quoted
from medsynth.errors import DataError
from medsynth.files import require_folder

IMAGE_COLUMNS = ("image", "imagefile", "imagename", "imagepath", "file", "filename", "filepath", "path", "img", "scan")
_LEAST_SHARE_MATCHED = 0.5


class ImageFolder:
    """The images below a folder, and the names by which a table may call them.

    A cell names an image by its path below the folder, with or without the folder's own name in front, and with
    or without the ending.

    Args:
        path: The folder. Hidden files, and files that Pillow and pydicom do not read, are no images.

    Attributes:
        names: Every image's path below the folder, in the order of their names, numbers in them by value.

    Raises:
        DataError: No such folder, or no image in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = require_folder(path, "images")
        self.names = tuple(sorted(_list_images(path), key=_natural_key))
        if not self.names:
            raise DataError("Images were expected here.", received="none", path=path)
        self._by_name = {_plain(name): name for name in self.names}
        stems = Counter(map(_without_ending, self._by_name))
        for plain, name in tuple(self._by_name.items()):
            if stems[_without_ending(plain)] == 1:
                self._by_name.setdefault(_without_ending(plain), name)

    def find(self, cell: str) -> str | None:
        """Return the name of the image that a cell means, or None."""
        plain = _plain(cell)
        return self._by_name.get(plain) or self._by_name.get(plain.removeprefix(f"{_plain(self.path.name)}/"))


def find_images_folder(data_dir: Path) -> Path:
    """Return data_dir/images, or else the only folder in data_dir that has images.

    Raises:
        DataError: There is none, or more than one.
    """
    usual = data_dir / "images"
    if usual.is_dir():
        return usual
    folders = sorted(path for path in data_dir.iterdir() if path.is_dir() and path.name[0] != "." and _has_image(path))
    if len(folders) != 1:
        names = listed_in_quotes([path.name for path in folders])
        raise DataError("A folder of images was expected; call it images.", received=names or "none", path=data_dir)
    return folders[0]


def find_image_column(table: TextTable, images: ImageFolder) -> str | None:
    """Return the column that names the images: the one most of whose cells do, or else one that is called so."""
    shares = {}
    for name in table.names:
        found = [images.find(cell) for cell in table.column(name)]
        num_images = len(set(found) - {None})
        if num_images > _LEAST_SHARE_MATCHED * len(found):
            shares[name] = num_images
    if shares:
        return max(shares, key=lambda name: shares[name])
    plain = {plain_name(name): name for name in reversed(table.names)}
    return next((plain[name] for name in IMAGE_COLUMNS if name in plain), None)


def match_by_column(table: TextTable, column: str, images: ImageFolder) -> tuple[str, ...]:
    """Return the image of every row, named in a column.

    Raises:
        DataError: A row without an image, an image without a row, or one that two rows name.
    """
    cells = table.column(column)
    table.refuse(is_missing(cells), "every row needs an image.", cells, column)
    found = [images.find(cell) for cell in cells]
    lost = np.array([name is None for name in found], bool)
    if lost.any():
        hint = did_you_mean(str(cells[int(np.argmax(lost))]), images.names)
        table.refuse(lost, f"there is no such image in {images.path}.{hint}", cells, column)
    names = [name for name in found if name is not None]
    _refuse_second_naming(table, column, names)
    _refuse_left_over(images, names, table)
    return tuple(names)


def match_by_order(table: TextTable, images: ImageFolder) -> tuple[str, ...]:
    """Return the image of every row, the k-th image in the order of their names for row k.

    Raises:
        DataError: Not as many images as rows.
    """
    if len(images.names) != len(table):
        raise DataError(
            f'To match them in the order of their names ("file_name_order"), there must be as many images as rows of '
            f"{table.path}, {len(table)}.",
            received=counted(len(images.names), "image"),
            path=images.path,
        )
    return images.names


def _refuse_second_naming(table: TextTable, column: str, names: Sequence[str]) -> None:
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        if first.setdefault(name, row) != row:
            raise DataError(
                f"Line {table.lines[row]}, column {column!r}: an image belongs to one row, and line "
                f"{table.lines[first[name]]} names this one, too.",
                received=quoted(name),
                path=table.path,
            )


def _refuse_left_over(images: ImageFolder, names: Sequence[str], table: TextTable) -> None:
    used = set(names)
    left = [name for name in images.names if name not in used]
    if left:
        raise DataError(
            f"Every image needs a row in {table.path}; add the rows, or move the images elsewhere.",
            received=f"{counted(len(left), 'image')} without a row: {listed_in_quotes(left)}",
            path=images.path,
        )


def _list_images(folder: Path) -> list[str]:
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        found += [(Path(place) / name).relative_to(folder).as_posix() for name in files if _is_image(name)]
    return found


def _has_image(folder: Path) -> bool:
    return any(path.is_file() and _is_image(path.name) for path in folder.iterdir())


def _is_image(name: str) -> bool:
    ending = PurePosixPath(name).suffix.lower()
    return name[0] != "." and (ending in (".dcm", ".dicom") or ending in Image.registered_extensions())


def _natural_key(name: str) -> list[tuple[bool, int, str]]:
    """Return a key that sorts 2.png before 10.png."""
    parts = re.split(r"(\d+)", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _plain(name: str) -> str:
    """Return a name as others write it: one form of accents (macOS has another), slashes of Unix."""
    return unicodedata.normalize("NFC", name.strip()).replace("\\", "/").removeprefix("./")


def _without_ending(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
