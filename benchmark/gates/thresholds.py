"""The numbers that decide a verdict, and why they are what they are.

thresholds.yaml beside this file holds them: a section for each gate, and in it `name: {value: 0.05, reason: ...}`. They
are fixed before a case is judged. A file of the user's own has the same names, every one of them, and reasons.
ranges.py says which values each may have.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmark.gates.ranges import ASCENDING, RANGES
from medsynth.data.wording import did_you_mean, listed, quoted
from medsynth.errors import DataError

THRESHOLDS_YAML = Path(__file__).parent / "thresholds.yaml"
SECTIONS = ("utility", "fidelity", "privacy")
_VALUE, _REASON = "value", "reason"


@dataclass(frozen=True)
class Threshold:
    """A number that decides.

    Attributes:
        value: Finite.
        reason: Why it is that number, in a sentence, with its source where there is one.
    """

    value: float
    reason: str


Thresholds = Mapping[str, Mapping[str, Threshold]]


def load_thresholds(path: Path | None = None) -> dict[str, dict[str, float]]:
    """Return every number that decides: gate -> name -> value; see `read_thresholds`."""
    sections = read_thresholds(path)
    return {gate: {name: one.value for name, one in section.items()} for gate, section in sections.items()}


def read_thresholds(path: Path | None = None) -> dict[str, dict[str, Threshold]]:
    """Read the thresholds with their reasons.

    Args:
        path: A file of the user's own; the committed one where not given.

    Returns:
        Gate -> name -> threshold, in the file's order.

    Raises:
        DataError: No such file, no YAML, a section or name that is missing or unknown, a value that is no finite
            number or not in its range, or no reason; names it.
    """
    committed = _read(THRESHOLDS_YAML)
    if path is None:
        return committed
    own = _read(path)
    for gate, section in committed.items():
        _require_names(own[gate], section, f"thresholds of {gate}", path)
        _require_range(gate, own[gate], path)
    return {gate: {name: own[gate][name] for name in section} for gate, section in committed.items()}


def _read(path: Path) -> dict[str, dict[str, Threshold]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError("A file of thresholds was expected here.", received=error.strerror, path=path) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError("The file is no readable YAML.", received=" ".join(str(error).split()), path=path) from None
    sections = _mapping(content, f"the sections {listed(SECTIONS)}", path)
    _require_names(sections, SECTIONS, "sections", path)
    return {
        gate: {
            str(name): _threshold(entry, f"{gate}.{name}", path)
            for name, entry in _mapping(sections[gate], f"names of thresholds under {gate}", path).items()
        }
        for gate in SECTIONS
    }


def _mapping(content: Any, what: str, path: Path) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise DataError(f"A mapping with {what} was expected.", received=quoted(str(content)), path=path)
    return {str(name): entry for name, entry in content.items()}


def _require_names(found: Mapping[str, Any], known: Any, what: str, path: Path) -> None:
    """Refuse names that nothing knows, then those that are missing."""
    unknown = [name for name in found if name not in known]
    if unknown:
        raise DataError(
            f"The {what} are {listed(list(known))}.{did_you_mean(unknown[0], known)}",
            received=listed(unknown),
            path=path,
        )
    missing = [name for name in known if name not in found]
    if missing:
        raise DataError(
            f"The {what} are {listed(list(known))}, and every one is needed.",
            received=f"no {listed(missing)}",
            path=path,
        )


def _require_range(gate: str, section: Mapping[str, Threshold], path: Path) -> None:
    """Refuse values out of their range, and those that are to ascend and do not."""
    for name, one in section.items():
        if not RANGES[gate][name].holds(one.value):
            raise DataError(f"{gate}.{name}.{_VALUE} is {RANGES[gate][name]}.", received=one.value, path=path)
    for first, second in ASCENDING.get(gate, ()):
        if first in section and section[first].value >= section[second].value:
            raise DataError(
                f"{gate}.{first}.{_VALUE} is below {gate}.{second}.{_VALUE}.",
                received=f"{section[first].value:g} and {section[second].value:g}",
                path=path,
            )


def _threshold(entry: Any, name: str, path: Path) -> Threshold:
    """Return a threshold out of its entry.

    Raises:
        DataError: It is not `value` and `reason`, a finite number and a text.
    """
    parts = _mapping(entry, f"{_VALUE} and {_REASON} for {name}", path)
    _require_names(parts, (_VALUE, _REASON), f"parts of {name}", path)
    value, reason = parts[_VALUE], parts[_REASON]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise DataError(f"{name}.{_VALUE} is a finite number.", received=repr(value), path=path)
    if not isinstance(reason, str) or not reason.strip():
        raise DataError(
            f"{name}.{_REASON} says in words why it is that number.",
            received=repr(reason),
            path=path,
        )
    return Threshold(float(value), " ".join(reason.split()))
