"""Patients' ids as tables spell them: one person under two spellings could come into two splits."""

import re
import unicodedata
from collections.abc import Iterable

import numpy as np

from medsynth.data.text_table import Cells
from medsynth.data.wording import quoted

_NUMBER = re.compile(r"(\d+)(?:\.0+)?", re.ASCII)


def without_decimals(patients: Cells) -> Cells:
    """Return ids [N] with `1.0` as `1` where all of them are whole numbers, as pandas writes a column with gaps."""
    known = {patient: _NUMBER.fullmatch(patient) for patient in set(patients)}
    whole = {patient: match[1] for patient, match in known.items() if match}
    return np.array([whole[patient] for patient in patients], object) if len(whole) == len(known) else patients


def warning_of_likeness(patients: Iterable[str]) -> str | None:
    """Return a warning where ids differ only in case, spaces, leading zeros or `.0`, with an example; else None."""
    spellings: dict[str, list[str]] = {}
    for patient in sorted(set(patients)):
        spellings.setdefault(_plain(patient), []).append(patient)
    alike = [names for names in spellings.values() if len(names) > 1]
    if not alike:
        return None
    more = f" ({len(alike) - 1:,} more such cases)" if len(alike) > 1 else ""
    return (
        f"Patients {quoted(alike[0][0])} and {quoted(alike[0][1])} differ only in case, spaces, leading zeros or .0, "
        f"and count as two{more}. If they are one person, images of this person may lie in both train and test: give "
        "everybody one spelling."
    )


def _plain(patient: str) -> str:
    """Return what is left of an id without differences that a person would not mean."""
    text = re.sub(r"\s+", "", unicodedata.normalize("NFKC", patient)).casefold()
    match = _NUMBER.fullmatch(text)
    return (match[1].lstrip("0") or "0") if match else text
