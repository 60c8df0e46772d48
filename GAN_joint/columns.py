"""What each column of a table is: the settings of schema.json, and what makes them unusable."""

import codecs
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medsynth.data.text_table import DECIMALS, Cells, Marks, TableForm
from medsynth.data.wording import did_you_mean, listed_in_quotes, quoted
from medsynth.errors import DataError

Kind = Literal["binary", "category", "number", "target", "drop", "identifier", "image"]
# What may stand in a column's object beside name, kind and note.
FIELDS_OF_KIND: dict[str, tuple[str, ...]] = {
    "binary": ("zero", "one"),
    "category": ("values",),
    "number": ("minimum", "maximum", "decimals"),
    "target": ("threshold", "zero", "one"),
    "drop": (),
    "identifier": (),
    "image": (),
}
KEPT_KINDS = ("binary", "category", "number", "target")
VERSION = 1
_MOST_DECIMALS = 12
_MISSING = ("", "na", "n/a", "nan", "null", "<na>", "#n/a", "?")


@dataclass(frozen=True)
class Column:
    """A column of the table and what becomes of it.

    Attributes:
        name: Its header.
        kind: "binary" (two words), "category" (some words), "number", "target" (what is to be predicted, 0 or 1),
            "drop", "identifier" (names a person: never read into training) or "image" (names the row's image).
        zero: Of a binary or target, the word that stands for 0.
        one: And for 1.
        values: Of a category, its words.
        minimum: Of a number, the lowest that is possible, where the user knows it.
        maximum: And the highest.
        decimals: To how many a number is rounded, in the table and in what is generated; None: to none.
        threshold: Of a target that is a number in the table: 1 from here on.
        note: For the reader of schema.json.
    """

    name: str
    kind: Kind
    zero: str | None = None
    one: str | None = None
    values: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    decimals: int | None = None
    threshold: float | None = None
    note: str | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the column is read into training."""
        return self.kind in KEPT_KINDS

    @property
    def words(self) -> tuple[str, ...]:
        """What a row may say, in the order of its codes (0, 1, ...); nothing for a number."""
        if self.kind == "category":
            return self.values or ()
        if self.kind in ("binary", "target"):
            return self.zero or "0", self.one or "1"
        return ()


@dataclass(frozen=True)
class MatchImages:
    """How images are matched with rows.

    Attributes:
        column: The column that names each row's image; None: in the order of the file names.
    """

    column: str | None = "image"


@dataclass(frozen=True)
class Schema:
    """A data folder's schema.json.

    Attributes:
        version: Of its form.
        table: The table's name in the folder.
        separator: Between cells, one character.
        encoding: Of the table, as Python names it.
        decimal: "." or ",".
        images: Name of the folder of images.
        match_images_by: How images find their rows.
        missing: "refuse" rows with missing values, or "impute" the train rows' median or most frequent word.
        test_share: Of the groups, kept from training; from 0 to below 1.
        split_seed: Another one keeps other groups.
        group_column: Rows of one value stay on one side of the split; None: each row by itself.
        columns: In the order of the table.
    """

    version: int = VERSION
    table: str = "table.csv"
    separator: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    images: str = "images"
    match_images_by: MatchImages = field(default_factory=MatchImages)
    missing: Literal["refuse", "impute"] = "refuse"
    test_share: float = 0.2
    split_seed: int = 1
    group_column: str | None = None
    columns: tuple[Column, ...] = ()

    @property
    def form(self) -> TableForm:
        """How the table is written."""
        return TableForm(self.separator, self.encoding, self.decimal)

    @property
    def kept(self) -> tuple[Column, ...]:
        """The columns that are read into training."""
        return tuple(column for column in self.columns if column.is_kept)

    def of_kind(self, kind: Kind) -> tuple[Column, ...]:
        """Return the columns of one kind."""
        return tuple(column for column in self.columns if column.kind == kind)


def plain_word(word: str) -> str:
    """Return a word as schema and table can be compared by: `1.0` or `1,0`, as some programs write 1, is `1`."""
    match = re.fullmatch(r"([+-]?\d+)[.,]00?", word, re.ASCII)
    return match[1] if match else word


def is_missing(cells: Cells) -> Marks:
    """Return which cells [N] are empty, or say NA, n/a, NaN, null or `?`."""
    return np.array([cell.lower() in _MISSING for cell in cells], bool)


def is_number(word: str, decimal: str) -> bool:
    """Return whether a cell is a number, given the decimal sign ("." or ",") of its table."""
    return re.fullmatch(rf"[+-]?(\d+([{decimal}]\d*)?|[{decimal}]\d+)([eE][+-]?\d+)?", word, re.ASCII) is not None


def check_schema(schema: Schema, path: Path) -> None:
    """Refuse a schema that contradicts itself.

    Raises:
        DataError: Names the file, and the column or setting.
    """
    is_separator = len(schema.separator) == 1 and schema.separator not in '"\r\n'
    _require(is_separator, '"separator" is one character.', repr(schema.separator), path)
    _require(schema.decimal in DECIMALS, '"decimal" is "." or ",".', repr(schema.decimal), path)
    _require(_is_encoding(schema.encoding), '"encoding" is none that is known.', repr(schema.encoding), path)
    _require(0 <= schema.test_share < 1, '"test_share" is 0 or more and below 1.', schema.test_share, path)
    _require(schema.split_seed >= 0, '"split_seed" is 0 or more.', schema.split_seed, path)
    names = [column.name for column in schema.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    _require(not twice, "Every column is listed once.", f"{listed_in_quotes(twice)} more than once", path)
    _require(bool(schema.kept), f"Some column must be {' or '.join(KEPT_KINDS)}.", "none", path)
    _check_image_column(schema, path)
    if schema.group_column is not None and schema.group_column not in names:
        hint = did_you_mean(schema.group_column, names)
        raise DataError(f'"group_column" names a column.{hint}', received=repr(schema.group_column), path=path)
    for column in schema.columns:
        _check_column(column, path)
    _check_encoded_names(schema, path)


def encoded_names(column: Column) -> tuple[str, ...]:
    """Return the names of what a kept column becomes: its own, or one for each value of a category (`VHD=mild`)."""
    if column.kind == "category":
        return tuple(f"{column.name}={value}" for value in column.words)
    return (column.name,)


def _require(is_right: bool, expected: str, received: object, path: Path) -> None:
    if not is_right:
        raise DataError(expected, received=received, path=path)


def _is_encoding(name: str) -> bool:
    try:
        "a".encode(name)  # refuses those that make no text (base64), which lookup knows as well
        codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return True


def _check_image_column(schema: Schema, path: Path) -> None:
    of_kind = [column.name for column in schema.of_kind("image")]
    wanted = schema.match_images_by.column
    if wanted is None:
        _require(
            not of_kind,
            'With "match_images_by": "file_name_order" no column is of kind image; drop it, or match by it.',
            listed_in_quotes(of_kind),
            path,
        )
        return
    _require(
        of_kind == [wanted],
        f'"match_images_by" says that column {quoted(wanted)} names the images, so it alone is of kind image. Where no '
        'column names them, add one, or say "match_images_by": "file_name_order".',
        f"{listed_in_quotes(of_kind) or 'no column'} of kind image",
        path,
    )


def _check_column(column: Column, path: Path) -> None:
    allowed = FIELDS_OF_KIND[column.kind]
    every = dict.fromkeys(name for names in FIELDS_OF_KIND.values() for name in names)
    place = f"Column {quoted(column.name)}"
    foreign = [name for name in every if name not in allowed and getattr(column, name) is not None]
    _require(
        not foreign, f"{place}: a column of kind {column.kind} has no such setting.", listed_in_quotes(foreign), path
    )
    if column.kind == "category":
        _check_words(column.words, f'{place}: "values" lists 2 words or more, all different.', path)
    elif column.kind == "binary" or (column.kind == "target" and column.threshold is None):
        _require(
            column.zero is not None and column.one is not None,
            f'{place}: "zero" and "one" say which words stand for 0 and 1'
            + (', or "threshold" from which number on it is 1.' if column.kind == "target" else "."),
            f"zero {column.zero!r}, one {column.one!r}",
            path,
        )
        _check_words(column.words, f'{place}: "zero" and "one" are two different words.', path)
    elif column.kind == "target":
        words = f"zero {column.zero!r}, one {column.one!r}"
        is_alone = column.zero is None and column.one is None
        _require(is_alone, f'{place}: either "threshold", or "zero" and "one".', f"threshold and {words}", path)
    elif column.kind == "number":
        _check_number(column, place, path)


def _check_words(words: tuple[str, ...], expected: str, path: Path) -> None:
    distinct = {plain_word(word.strip()) for word in words}
    _require(len(distinct) == len(words) >= 2 and "" not in distinct, expected, listed_in_quotes(words), path)


def _check_number(column: Column, place: str, path: Path) -> None:
    low, high = column.minimum, column.maximum
    if low is not None and high is not None:
        _require(low < high, f'{place}: "minimum" is below "maximum".', f"{low:g} and {high:g}", path)
    if column.decimals is None:
        return
    is_count = 0 <= column.decimals <= _MOST_DECIMALS
    _require(is_count, f'{place}: "decimals" is from 0 to {_MOST_DECIMALS}, or null.', column.decimals, path)
    for name, value in (("minimum", low), ("maximum", high)):
        is_rounded = value is None or math.isclose(value, round(value, column.decimals), rel_tol=1e-12)
        _require(is_rounded, f'{place}: "{name}" has no more decimals than "decimals" says.', value, path)


def _check_encoded_names(schema: Schema, path: Path) -> None:
    names: Iterable[Any] = [name for column in schema.kept for name in encoded_names(column)]
    seen: set[str] = set()
    for name in names:
        _require(name not in seen, "A value of a category is named as another column is; rename it.", name, path)
        seen.add(name)
