"""Is this the split of the published datasets? Known for the full train.csv of CheXpert-v1.0-small."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from build_dataset.rows import ImageRows, Splits
from medsynth.data.labels import label_table_text

NUM_ROWS = 223_414  # of CheXpert-v1.0-small/train.csv
_TABLE = Path(__file__).parent / "published" / "splits.json"
_MOST_DIFFERENCES = 6


@cache
def _published() -> dict[str, Any]:
    return dict(json.loads(_TABLE.read_text(encoding="utf-8")))


def facts_of(rows: ImageRows) -> dict[str, Any]:
    """Return what is known of a published csv file, for these rows: its text without the raw folder, and counts."""
    table = rows.label_table()
    bare = rows.without_folder().label_table()
    return {
        "rows": len(rows),
        "sha256": hashlib.sha256(label_table_text(bare).encode()).hexdigest(),
        "columns": list(table.names),
        "positives": dict(zip(table.names, (int(n) for n in table.values.sum(axis=0)), strict=True)),
    }


def compare_with_published(command: str, splits: Splits) -> str:
    """Say whether these splits are the published ones, csv file by csv file, or how they differ.

    Args:
        command: The dataset command, by which its published splits are listed.
        splits: Rows by folder ("train", "20/train").

    Returns:
        "same", or a sentence with the differences.
    """
    expected = _published()[command]
    found = {f"{folder}/{Path(folder).name}.csv": rows for folder, rows in splits.items()}
    differences = [f"{name} is not made" for name in expected if name not in found]
    differences += [f"{name} is not published" for name in found if name not in expected]
    for name in sorted(set(found) & set(expected)):
        facts = facts_of(found[name])
        differing = [key for key in ("rows", "columns", "positives", "sha256") if facts[key] != expected[name][key]]
        if differing:
            differences.append(f"{name}: {_describe(differing[0], facts, expected[name])}")
    if not differences:
        return "same"
    more = len(differences) - _MOST_DIFFERENCES
    return "; ".join(differences[:_MOST_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")


def _describe(key: str, facts: dict[str, Any], expected: dict[str, Any]) -> str:
    if key == "sha256":
        return "same counts, other rows or another order"
    if key == "positives":
        name = next(name for name in expected["positives"] if facts["positives"][name] != expected["positives"][name])
        return f"{facts['positives'][name]:,} positives of {name}, published {expected['positives'][name]:,}"
    if key == "columns":
        return f"columns {', '.join(facts['columns'])}, published {', '.join(expected['columns'])}"
    return f"{facts['rows']:,} rows, published {expected['rows']:,}"
