"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """Return a number with what it counts: `1 patient`, `1,200 identical images`, `2 copies`."""
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun}"
