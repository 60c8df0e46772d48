"""schema.json: proposed from the table, edited by the user, read back and checked."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from GAN_joint.columns import FIELDS_OF_KIND, VERSION, Column, Schema, check_schema, is_missing
from GAN_joint.guessing import guess_column, published_column
from GAN_joint.identifying import names_people
from GAN_joint.matching import ImageFolder, find_image_column, find_images_folder
from medsynth.config import choose_preset, from_json
from medsynth.data.text_table import TextTable, detect_form, read_text_table
from medsynth.data.wording import counted, did_you_mean, listed_in_quotes, quoted
from medsynth.errors import DataError, MedsynthError, UsageError
from medsynth.files import read_json, require_folder, write_text

__all__ = ["PRESETS", "Column", "Proposal", "Schema", "propose_schema", "read_schema", "schema_path", "write_schema"]

PRESETS = {"guess": guess_column, "published": published_column}
FILE_NAME_ORDER = "file_name_order"
_ENDINGS_OF_TABLES = (".csv", ".tsv", ".txt")


class Proposal(NamedTuple):
    """A schema for the user to look through.

    Attributes:
        schema: What the table seems to be.
        notes: What the user should look at, in sentences.
    """

    schema: Schema
    notes: tuple[str, ...]


def schema_path(data_dir: Path) -> Path:
    """Return the file that holds a data folder's schema."""
    return data_dir / "schema.json"


def propose_schema(data_dir: Path, preset: str = "guess", *, file_name_order: bool = False) -> Proposal:
    """Look at a folder's table and images, and propose a kind for every column.

    Args:
        data_dir: With table.csv (or one other table) and a folder of images.
        preset: "guess" the kind of each column, or "published": the preprocessing of the published
            columns, and numbers wherever a column holds such.
        file_name_order: Match images with rows in the order of their names, not by a column.

    Raises:
        UsageError: An unknown preset.
        DataError: No readable table, or no images.
    """
    propose_column = choose_preset(PRESETS, preset)
    table_path = _find_table(require_folder(data_dir, "a table and a folder of images"))
    table = read_text_table(table_path, detect_form(table_path))
    images = ImageFolder(find_images_folder(data_dir))
    image_column = None if file_name_order else find_image_column(table, images)
    columns = tuple(
        Column(name, "image") if name == image_column else propose_column(table, name) for name in table.names
    )
    values: dict[str, Any] = {
        "table": table_path.name,
        "separator": table.form.separator,
        "encoding": table.form.encoding,
        "decimal": table.form.decimal,
        "images": images.path.relative_to(data_dir).as_posix(),
        "match_images_by": FILE_NAME_ORDER if file_name_order else {"column": image_column or "image"},
        "group_column": _group_column(table, columns),
    }
    schema = replace(from_json(Schema, _with_matching(values)), columns=columns)
    return Proposal(schema, _notes(schema, table, image_column))


def read_schema(data_dir: Path) -> Schema:
    """Read and check a folder's schema.json.

    Raises:
        DataError: Missing, no JSON, an unknown setting or kind (with the nearest known one), or one that
            contradicts another; names the file and the column.
    """
    path = schema_path(require_folder(data_dir, "schema.json, a table and images"))
    if not path.is_file():
        raise DataError("Make a schema with `train.py schema data_dir` first.", received="no such file", path=path)
    values = read_json(path)
    if not isinstance(values, dict) or not isinstance(values.get("columns"), list):
        raise DataError('A schema with a list of "columns" was expected.', received=quoted(str(values)), path=path)
    if values.get("version") != VERSION:
        raise DataError(f"Only version {VERSION} of this file is known.", received=values.get("version"), path=path)
    columns = tuple(_read_column(column, number, path) for number, column in enumerate(values.pop("columns"), start=1))
    try:
        schema = replace(from_json(Schema, _with_matching(values)), columns=columns)
    except UsageError as error:
        raise DataError(error.expected, received=error.received, path=path) from None
    check_schema(schema, path)
    return schema


def write_schema(data_dir: Path, schema: Schema, *, may_replace: bool = True) -> None:
    """Write a folder's schema.json, one column a line.

    Args:
        data_dir: The folder.
        schema: What to write.
        may_replace: Whether a schema that is there, perhaps edited by the user, may be replaced.

    Raises:
        UsageError: There is one, and it may not be replaced.
    """
    path = schema_path(data_dir)
    if not may_replace and path.exists():
        raise UsageError(
            "There is a schema here; edit it, or replace it with --overwrite.", received="an existing file", path=path
        )
    write_text(path, schema_text(schema))


def schema_text(schema: Schema) -> str:
    """Return the text of schema.json: one setting a line, one column a line."""
    column = schema.match_images_by.column
    settings: dict[str, Any] = {**vars(schema), "match_images_by": {"column": column} if column else FILE_NAME_ORDER}
    lines = [f"  {_json(name)}: {_json(value)}," for name, value in settings.items() if name != "columns"]
    columns = ",\n".join(f"    {_json(_settings_of(column))}" for column in schema.columns)
    return "\n".join(["{", *lines, '  "columns": [', columns, "  ]", "}"]) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _settings_of(column: Column) -> dict[str, Any]:
    """Return a column's settings; those of a number even where they are not set, to show that they can be."""
    settings: dict[str, Any] = {"name": column.name, "kind": column.kind}
    for name in (*FIELDS_OF_KIND[column.kind], "note"):
        value = getattr(column, name)
        if value is not None or (column.kind == "number" and name != "note"):
            settings[name] = int(value) if isinstance(value, float) and value.is_integer() else value
    return settings


def _with_matching(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with "match_images_by" as a dictionary, as `medsynth.config` reads it."""
    is_order = values.get("match_images_by") == FILE_NAME_ORDER
    return {**values, "match_images_by": {"column": None}} if is_order else dict(values)


def _read_column(values: Any, number: int, path: Path) -> Column:
    name = values.get("name") if isinstance(values, dict) else None
    if not isinstance(name, str) or not name:
        raise DataError(f'"columns", entry {number}: a column with a "name" was expected.', received=values, path=path)
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in FIELDS_OF_KIND:
        hint = did_you_mean(str(kind), FIELDS_OF_KIND)
        raise DataError(
            f"Column {quoted(name)}: unknown kind.{hint} Known kinds: {', '.join(FIELDS_OF_KIND)}.",
            received=repr(kind),
            path=path,
        )
    try:
        return from_json(Column, {key: _words_of_numbers(key, value) for key, value in values.items()})
    except MedsynthError as error:
        raise DataError(f"Column {quoted(name)}: {error.expected}", received=error.received, path=path) from None


def _words_of_numbers(key: str, value: Any) -> Any:
    """Return 0 and 1 as "0" and "1" where a word is expected, since people write them so."""
    if key == "values" and isinstance(value, list):
        return [_words_of_numbers("one", item) for item in value]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if key in ("zero", "one") and is_number else value


def _find_table(data_dir: Path) -> Path:
    usual = data_dir / "table.csv"
    found = sorted(path for path in data_dir.iterdir() if path.suffix.lower() in _ENDINGS_OF_TABLES)
    found = [path for path in found if not path.name.startswith(".")]
    if usual in found or not found:
        return usual
    if len(found) > 1:
        names = [path.name for path in found]
        raise DataError(
            "One table was expected here; call it table.csv.", received=listed_in_quotes(names), path=data_dir
        )
    return found[0]


def _group_column(table: TextTable, columns: tuple[Column, ...]) -> str | None:
    """Return the first column that names people some of whom have several rows."""
    for column in columns:
        if column.kind == "identifier" and names_people(column.name):
            people = table.column(column.name)
            if 1 < len(set(people)) < len(table) and not is_missing(people).any():
                return column.name
    return None


def _notes(schema: Schema, table: TextTable, image_column: str | None) -> tuple[str, ...]:
    notes = [f"{schema.table}: {counted(len(table), 'row')} of {counted(len(table.names), 'column')}, {table.form}."]
    if image_column is not None:
        notes.append(f"Images of {schema.images} are matched by column {quoted(image_column)}.")
    elif schema.match_images_by.column is None:
        notes.append(f"Images of {schema.images} are matched in the order of their names, which nothing confirms.")
    else:
        notes.append("No column names the images: add one, or ask for a match in the order of file names.")
    for column in schema.columns:
        if column.note:
            notes.append(f"Column {quoted(column.name)} is proposed as {column.kind}: {column.note}.")
        num_missing = int(is_missing(table.column(column.name)).sum())
        if column.is_kept and num_missing:
            notes.append(
                f"Column {quoted(column.name)} lacks {counted(num_missing, 'value')}, which is refused unless "
                '"missing" is "impute".'
            )
    if schema.group_column is not None:
        notes.append(f"Rows of one {quoted(schema.group_column)} stay on one side of the split (group_column).")
    if not schema.of_kind("target"):
        notes.append("No column is a target; give this kind to what is to be predicted.")
    return tuple(notes)
