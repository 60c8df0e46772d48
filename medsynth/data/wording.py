"""Numbers, cells and names in sentences."""

import difflib
from collections.abc import Iterable, Sequence

_LONGEST_SHOWN, _MOST_SHOWN = 120, 20


def counted(number: int, noun: str) -> str:
    """Return a number with what it counts: `1 patient`, `1,200 identical images`, `2 copies`."""
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun}"


def quoted(cell: str) -> str:
    """Return a cell for a message: in quotes, on one line, cut where it is long."""
    return repr(cell if len(cell) <= _LONGEST_SHOWN else f"{cell[:_LONGEST_SHOWN]}...")


def listed(names: Sequence[str]) -> str:
    """Return names for a message, the first of them where they are many; only odd or long ones in quotes."""
    return _joined([name if name.isprintable() and len(name) <= _LONGEST_SHOWN else quoted(name) for name in names])


def listed_in_quotes(names: Sequence[str]) -> str:
    """Return names for a message, each in quotes, the first of them where they are many."""
    return _joined([*map(quoted, names)])


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean X?" for the known name that is most like `name`, or nothing."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {quoted(matches[0])}?" if matches else ""


def _joined(shown: Sequence[str]) -> str:
    more = [f"and {len(shown) - _MOST_SHOWN:,} more"] if len(shown) > _MOST_SHOWN else []
    return ", ".join([*shown[:_MOST_SHOWN], *more])
