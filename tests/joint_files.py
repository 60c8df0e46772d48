"""A folder of paired data small enough for a test: a table of risk factors and an image for each row."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from GAN_joint.schema import propose_schema, write_schema

HEADER = ["image", "FIO", "Age", "Weight", "Sex", "Smoker", "VHD", "site", "LAD_st", "Cath"]
VALVES = ("N", "mild", "Severe")
Table = list[list[str]]


def risk_table(num_rows: int = 12) -> Table:
    """Return header and rows as text; every kind of column is among them."""
    return [HEADER] + [
        [
            *(f"ecg{row:02d}.png", f"Ivanov{row} I.I.", str(40 + row * 3 % 17), f"{60 + row * 1.5:.1f}"),
            *(("Fmale", "Male")[row % 2], str(row // 2 % 2), VALVES[row % 3], "Zurich"),
            *(str(row * 9 % 100), ("Normal", "CAD")[row // 3 % 2]),
        ]
        for row in range(num_rows)
    ]


def table_text(table: Table, separator: str = ";") -> str:
    return "".join(separator.join(row) + "\n" for row in table)


def write_images(folder: Path, names: Sequence[str], size: tuple[int, int] = (40, 24)) -> None:
    """Write an image for each name, of width and height `size`; image k has a white bar at 3k to 3k + 2."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.full((size[1], size[0]), 30, np.uint8)
        pixels[:, 3 * number % size[0] :][:, :3] = 255
        Image.fromarray(pixels).save(folder / name)


def write_joint_folder(folder: Path, table: Table | None = None, *, schema: bool = True, **settings: Any) -> Path:
    """Write table.csv, images and, where asked for, the proposed schema.json with some settings changed."""
    table = risk_table() if table is None else table
    write_images(folder / "images", [row[0] for row in table[1:]])
    (folder / "table.csv").write_text(table_text(table), encoding="utf-8")
    if schema:
        write_schema(folder, propose_schema(folder).schema)
        edit_schema(folder, lambda values: values.update(settings))
    return folder


def edit_schema(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change schema.json as a user does."""
    path = folder / "schema.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    edit(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def edit_column(folder: Path, name: str, **settings: Any) -> None:
    """Change what schema.json says of a column: its kind alone stays, unless given."""

    def edit(values: dict[str, Any]) -> None:
        columns = values["columns"]
        (place,) = [number for number, column in enumerate(columns) if column["name"] == name]
        columns[place] = {"name": name, "kind": columns[place]["kind"], **settings}

    edit_schema(folder, edit)


def edit_table(folder: Path, edit: Callable[[str], str]) -> None:
    """Change table.csv as text."""
    path = folder / "table.csv"
    text = path.read_text(encoding="utf-8")
    edited = edit(text)
    assert edited != text, "the edit should change something"
    path.write_text(edited, encoding="utf-8")
