"""A folder of synthetic patients, as test.py generate writes it and everything else reads it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from GAN_joint.encoding import RowEncoder
from medsynth.config import from_json
from medsynth.data.images import read_image
from medsynth.data.labels import read_csv
from medsynth.data.text_table import TableForm, read_text_table
from medsynth.data.tfrecords import Images, RecordFile
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError
from medsynth.files import atomic_path, read_json, require_folder, write_json
from medsynth.runs import CONFIG_NAME

ImageKind = Literal["png", "jpeg", "tfrecords", "none"]
TableKind = Literal["csv", "parquet"]
IMAGES_FOLDER, TABLE_FOLDER = "images", "table"
IMAGE_COLUMN = "image"
ENCODER_JSON, DONE_NAME = "encoder.json", "_generation-done.txt"
TRAIN_ROWS = "train_rows_sha256"  # in config.json here, and in network.json of the GAN
_AGAIN = "run the same test.py generate again, which makes what is missing"
_ENDINGS = {"png": ".png", "jpeg": ".jpg", "tfrecords": ".tfrecords"}


@dataclass(frozen=True)
class SyntheticForm:
    """How synthetic patients are kept.

    Attributes:
        images: A PNG or JPEG file each, a TFRecord file for each part, or none.
        table: csv, or parquet.
    """

    images: ImageKind = "png"
    table: TableKind = "csv"


def part_name(first: int) -> str:
    """Return what the part that begins with a patient is called."""
    return f"part-{first:010d}"


def image_name(first: int, number: int, kind: ImageKind) -> str:
    """Return where a patient's image is: a file below images/, or a record of one.

    Args:
        first: The first patient of the part.
        number: The patient.
        kind: Of the images; not "none".
    """
    part = part_name(first)
    if kind == "tfrecords":
        return f"{part}{_ENDINGS[kind]}#{number - first}"
    return f"{part}/{number:010d}{_ENDINGS[kind]}"


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a part of the table, .csv or .parquet, atomically; equal rows give equal bytes."""
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, index=False, lineterminator="\n")


def write_encoder(folder: Path, encoder: RowEncoder) -> None:
    """Write encoder.json, which says what the columns are."""
    write_json(folder / ENCODER_JSON, encoder.to_json())


class SyntheticSet:
    """Synthetic patients on disk.

    Args:
        folder: As written by test.py generate, to its end.

    Attributes:
        encoder: What the columns are.
        form: How they are kept.
        train_rows_digest: Of the rows that their GAN was trained on (`PairedRows.train_rows_digest`).
        frame: The rows in real units, [N], in the order of their numbers.

    Raises:
        DataError: None is here, or it is not finished, or a part is missing or damaged, or says what its column
            cannot (names file and line).
    """

    def __init__(self, folder: Path) -> None:
        require_folder(folder, "synthetic patients made by test.py generate")
        self.folder = folder
        if not (folder / DONE_NAME).is_file():
            raise DataError(
                "Synthetic patients were expected here, to the last one; run test.py generate (again).",
                received=f"no {DONE_NAME}",
                path=folder,
            )
        settings = read_json(folder / CONFIG_NAME)
        self.form = _read_form(settings, folder / CONFIG_NAME)
        self.train_rows_digest: str | None = settings.get(TRAIN_ROWS)
        self.encoder = RowEncoder.from_json(read_json(folder / ENCODER_JSON), folder / ENCODER_JSON)
        parts = sorted((folder / TABLE_FOLDER).glob(f"part-*.{self.form.table}"))
        table = pd.concat([self._read_part(path) for path in parts], ignore_index=True) if parts else pd.DataFrame()
        if len(table) != settings.get("num"):
            raise DataError(
                f"{settings.get('num')} rows were generated, and some are missing; {_AGAIN}.",
                received=f"{len(table)} rows in {counted(len(parts), 'part')}",
                path=folder / TABLE_FOLDER,
            )
        self.frame = table.drop(columns=IMAGE_COLUMN)
        self._images = [str(name) for name in table[IMAGE_COLUMN]]
        self._records: dict[str, RecordFile] = {}

    def __len__(self) -> int:
        return len(self.frame)

    def images(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> Images:
        """Read images, uint8 [n, S, S, C].

        Raises:
            DataError: None were generated, or one is missing or damaged.
        """
        if self.form.images == "none":
            raise DataError("Images are needed; generate them (without --images none).", received="none",
                            path=self.folder)  # fmt: skip
        return np.stack([self._image(self._images[int(index)]) for index in indices])

    def _image(self, name: str) -> Images:
        part, separator, record = name.partition("#")
        if not separator:
            return read_image(self.folder / IMAGES_FOLDER / name)
        if part not in self._records:
            self._records[part] = RecordFile(self.folder / IMAGES_FOLDER / part)
        image: Images = self._records[part].read([int(record)])[0]
        return image

    def _read_part(self, path: Path) -> pd.DataFrame:
        words = {fitted.column.name: str for fitted in self.encoder.fitted if fitted.column.words}
        if path.suffix == ".parquet":
            frame = _read_parquet(path)
        else:
            frame = read_csv(path, dtype={**words, IMAGE_COLUMN: str}, keep_default_na=False)
        wanted = [IMAGE_COLUMN, *(fitted.column.name for fitted in self.encoder.fitted)]
        if list(frame.columns) != wanted:
            raise DataError(
                f"The columns must be {', '.join(wanted)}.", received=", ".join(map(str, frame.columns)), path=path
            )
        if path.suffix == ".csv" and any(True for _ in self.encoder.wrong_cells(frame)):
            self._refuse_wrong_cells(path)
        return frame

    def _refuse_wrong_cells(self, path: Path) -> None:
        """Read a part, which somebody has edited, again with the lines of its rows."""
        table = read_text_table(path, TableForm(), verbatim=True)
        for name, wrong, expected in self.encoder.wrong_cells(pd.DataFrame(table.cells, columns=list(table.names))):
            table.refuse(wrong, expected, table.column(name), name)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these kinds
        raise DataError(f"The file is damaged; remove it, and {_AGAIN}.", received=error, path=path) from None


def form_settings(form: SyntheticForm) -> dict[str, Any]:
    """Return what config.json says of the form."""
    return asdict(form)


def _read_form(settings: Any, path: Path) -> SyntheticForm:
    values = {key: settings.get(key) for key in ("images", "table")} if isinstance(settings, dict) else {}
    try:
        return from_json(SyntheticForm, values)
    except UsageError as error:
        raise DataError("The settings of a generation were expected here.", received=error, path=path) from None
