"""Golden files: numbers recorded from the original systems.

Every test finds its cases by globbing, so that it also holds on other files of
the same form: point GOLDEN_DIR at them.
"""

import os
from pathlib import Path

GOLDEN_DIR = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent / "golden"))


def golden_files(pattern: str) -> list[Path]:
    """Return the golden files of a kind; a kind without any is a failure, not an empty test."""
    files = sorted(GOLDEN_DIR.glob(pattern))
    if not files:
        raise FileNotFoundError(f"no golden file matches {GOLDEN_DIR / pattern}")
    return files
