"""What readers are given: one page for a browser, or a folder of pictures with a table to fill in.

Nothing here knows which images are real: these functions get pixels and item names alone.
"""

import base64
import hashlib
import html
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medsynth.data.tfrecords import Images
from medsynth.errors import UsageError
from medsynth.files import make_folder, write_text
from medsynth.report.captions import enlarge

PAGE, TABLE, PICTURES, README = "index.html", "answers.csv", "images", "README.txt"
COLUMNS = ("study", "item", "answer", "confidence")
REAL, SYNTHETIC = "real", "synthetic"
CONFIDENCES = ((1, "a guess"), (2, "fairly sure"), (3, "certain"))
_SHOWN_PIXELS = 512  # pictures in files are enlarged to about this size, since viewers smooth what they enlarge
_MOST_PAGE_BYTES = 200_000_000
_TEMPLATE = Path(__file__).with_name("page.html")
_SAME_TIME = 946_684_800  # of every file: 2000-01-01

_README = """Real or synthetic?

The folder "images" holds {num} medical images. Some are real; the others were made by a computer. How many of each
there are is not told, and no two of them belong together.

Look at each image for as long as you like, and write into answers.csv, in the row of that image:
  answer      real or synthetic
  confidence  1 (a guess), 2 (fairly sure) or 3 (certain); leave it empty throughout if you do not want to say

Please give an answer for every image, a guess where you do not know. Do not talk about the images with other readers
until all have answered. Save the table as answers-NAME.csv, with your name or number in place of NAME, and send it
back. Excel and other spreadsheets may write it with their own separators. Each pixel of an image is shown as a square
of {factor}x{factor} pixels.
"""


def item_names(num: int) -> tuple[str, ...]:
    """Return the names of a study's items in the order in which they are shown."""
    return tuple(f"item_{number:0{max(3, len(str(num)))}d}" for number in range(1, num + 1))


def study_name(images: Images) -> str:
    """Return a name that every study has of its own; it follows from what readers see, so it tells them nothing."""
    return f"study-{hashlib.sha256(images.tobytes()).hexdigest()[:10]}"


def png_bytes(image: Images) -> bytes:
    """Return an image [H, W, C] as PNG.

    It is not compressed: a compressed picture is the larger the noisier it is, so the sizes of files could tell real
    ones from synthetic ones. All images of one shape become files of one size, without any metadata.
    """
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def write_page(folder: Path, images: Images) -> Path:
    """Write the page for browsers: one file, with the images inside, that needs no network.

    Args:
        folder: For readers.
        images: uint8 [N, H, W, C] in the order in which they are shown.

    Raises:
        UsageError: It would be too large for a browser.
    """
    sources = [base64.b64encode(png_bytes(image)).decode() for image in images]
    num_bytes = sum(map(len, sources))
    if num_bytes > _MOST_PAGE_BYTES:
        raise UsageError(
            "The page would be too large for a browser; choose --form png, or fewer images.",
            received=f"{num_bytes / 1e6:,.0f} MB",
        )
    study = {
        "name": study_name(images),
        "height": images.shape[1],
        "width": images.shape[2],
        "columns": COLUMNS,
        "answers": [REAL, SYNTHETIC],
        "confidences": CONFIDENCES,
        "items": list(zip(item_names(len(images)), sources, strict=True)),
    }
    # A script ends at the first "</", even inside a string.
    text = _TEMPLATE.read_text(encoding="utf-8").replace("{{STUDY}}", json.dumps(study).replace("</", "<\\/"))
    make_folder(folder)
    write_text(folder / PAGE, text.replace("{{NUM}}", html.escape(str(len(images)))))
    _set_times(folder, [folder / PAGE])
    return folder / PAGE


def write_pictures(folder: Path, images: Images) -> Path:
    """Write the folder of pictures, the table to fill in, and how to do it.

    Args:
        folder: For readers.
        images: uint8 [N, H, W, C] in the order in which they are shown.
    """
    factor = max(1, _SHOWN_PIXELS // max(images.shape[1:3]))
    names, study = item_names(len(images)), study_name(images)
    files = write_picture_files(make_folder(folder / PICTURES), images, factor)
    write_text(
        folder / TABLE, "".join(f"{','.join(row)}\n" for row in [COLUMNS, *((study, name, "", "") for name in names)])
    )
    write_text(folder / README, _README.format(num=len(images), factor=factor))
    _set_times(folder, [*files, folder / PICTURES, folder / TABLE, folder / README])
    return folder / TABLE


def write_picture_files(folder: Path, images: Images, factor: int = 1) -> list[Path]:
    """Write every image [H, W, C] as a file named by its item, each pixel as a square of `factor` pixels."""
    paths = [folder / f"{name}.png" for name in item_names(len(images))]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(png_bytes(np.ascontiguousarray(enlarge(image, factor))))
    return paths


def _set_times(folder: Path, paths: Sequence[Path]) -> None:
    """Give every file the same time, so that it says nothing."""
    for path in [*paths, folder]:
        os.utime(path, (_SAME_TIME, _SAME_TIME))
