"""Matplotlib figures that belong to no window, and their files."""

import io
import textwrap
from pathlib import Path
from typing import Any

from medsynth.files import atomic_path


def new_figure(width: float, height: float) -> Any:
    """Return a matplotlib figure of a size in inches, whose texts stand as they are.

    Matplotlib takes what is between two dollar signs for a formula, and labels of a user's may have such.
    """
    import matplotlib as mpl  # noqa: PLC0415  (a second to load)
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    mpl.rcParams["text.parse_math"] = False
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Any, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def wrapped_lines(note: str, width: float) -> list[str]:
    """Break a note into lines that fit a figure of so many inches, in letters of 7.5 points."""
    return [line for paragraph in note.splitlines() for line in textwrap.wrap(paragraph, round(15.5 * width))]
