"""The command `verify`: audit datasets, say what was found, draw them, and fail where something is wrong."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from medsynth.data.audit import Audit, audit_dataset, count_split, find_datasets, manifest_of
from medsynth.data.audit_scan import ScannedSplit
from medsynth.data.labels import record_order
from medsynth.data.manifest import MANIFEST_NAME
from medsynth.data.overlaps import Overlap, Pair
from medsynth.data.tfrecords import Images
from medsynth.errors import DataError, RunFolderError
from medsynth.files import explained_writes, write_json
from medsynth.report.dataset_figures import (
    ShownPair,
    contact_sheet_figure,
    cooccurrence_figure,
    images_per_class_figure,
    pairs_figure,
)

PAIRS_PNG, COOCCURRENCE_PNG = "verify_pairs.png", "verify_cooccurrence.png"
CLASSES_PNG, CONTACT_PNG = "verify_classes.png", "verify_contact_sheet.png"
# All that the command leaves in a dataset's folder.
AUDIT_FILES = (MANIFEST_NAME, PAIRS_PNG, COOCCURRENCE_PNG, CLASSES_PNG, CONTACT_PNG)

_PAIRS_SHOWN = 24
_EXAMPLES_PER_LABEL = 8
_LARGEST_SHOWN = 7  # log2 of the resolution


def verify_command(target_dir: str | Path, num_workers: int, *, allow_leak: bool = False) -> None:
    """Audit every dataset in or below a folder; print the result, and write manifest.json and pictures into each.

    Args:
        target_dir: A dataset, or a folder with several.
        num_workers: Processes; the result does not depend on it.
        allow_leak: Do not raise for patients or images that two splits share; they are found and written all the same.

    Raises:
        DataError: There is no dataset, or one with errors; raised when all of them are printed and written. A folder
            that cannot be written is warned of, since the result is on the screen.
    """
    audits = []
    for root in find_datasets(Path(target_dir)):
        audits.append(audit_dataset(root, num_workers=num_workers))
        print(format_audit(audits[-1]), flush=True)
        try:
            write_json(root / MANIFEST_NAME, manifest_of(audits[-1]))
            draw(audits[-1])
        except RunFolderError as error:
            print(f"warning: the result could not be written: {error}", file=sys.stderr, flush=True)
    num_errors = [sum(not (finding.is_leak and allow_leak) for finding in audit.findings("error")) for audit in audits]
    if any(num_errors):
        raise DataError(
            "The audit found errors; they are listed above.",
            received=f"errors: {sum(num_errors)}, in {np.count_nonzero(num_errors)} of {len(audits)} datasets",
            path=target_dir,
        )


def format_audit(audit: Audit) -> str:
    """Return what a dataset holds, what was checked, and every finding, as text."""
    splits = {name: count_split(split) for name, split in audit.evidence.dataset.splits.items()}
    labels = dict.fromkeys(name for counts in splits.values() for name in counts["positives"] or ())
    holds: list[tuple[str, ...]] = [("", *splits)]
    holds += [(key, *(_number(counts[key]) for counts in splits.values())) for key in ("images", "patients")]
    holds += [
        (label, *(_number((counts["positives"] or {}).get(label)) for counts in splits.values())) for label in labels
    ]
    checked: list[tuple[str, ...]] = [("check", "compared", "errors", "warnings")]
    for check in audit.checks:
        severities = [finding.severity for finding in check.findings]
        checked.append((check.name, check.scope, str(severities.count("error")), str(severities.count("warning"))))
    lines = [f"\n{audit.root}", *_table(holds, num_text_columns=1), "", *_table(checked, num_text_columns=2)]
    for severity in ("error", "warning"):
        lines += [
            textwrap.fill(f"{severity}: {finding.place}: {finding.message}", 118, subsequent_indent="    ")
            for finding in audit.findings(severity)
        ]
    return "\n".join(lines)


def _number(count: int | None) -> str:
    return "unknown" if count is None else f"{count:,}"


def _table(rows: Sequence[tuple[str, ...]], *, num_text_columns: int) -> Iterator[str]:
    """Yield rows as lines, the first columns to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)][:num_text_columns]
        right = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)][num_text_columns:]
        yield "  ".join(left + right)


def draw(audit: Audit) -> None:
    """Write the pictures of a dataset; those that there is nothing for are removed."""
    with explained_writes(audit.root):
        for name in AUDIT_FILES[1:]:
            (audit.root / name).unlink(missing_ok=True)
    splits = audit.evidence.dataset.splits
    tables = {name: split.table for name, split in splits.items() if split.table is not None}
    if tables:
        counts = {name: count_split(splits[name]) for name in tables}
        images_per_class_figure(
            audit.root / CLASSES_PNG,
            {name: facts["positives"] for name, facts in counts.items()},
            {name: facts["images"] for name, facts in counts.items()},
        )
        name, table = next(iter(tables.items()))
        title = f"Labels that occur together: {len(table.paths):,} images of {name}"
        cooccurrence_figure(audit.root / COOCCURRENCE_PNG, table.names, table.values, title=title)
        _draw_contact_sheet(audit.root / CONTACT_PNG, splits[name])
    _draw_pairs(audit)


def _draw_contact_sheet(path: Path, split: ScannedSplit) -> None:
    """Draw a few images of every label, those with the fewest other labels."""
    if split.images is None or split.table is None or len(split.images.digests) != len(split.table.paths):
        return
    values = split.table.values[record_order(len(split.table.paths))]
    num_labels_of_image = values.sum(axis=1)
    rows = {}
    for number, name in enumerate(split.table.names):
        records = np.flatnonzero(values[:, number])
        records = records[np.argsort(num_labels_of_image[records], kind="stable")][:_EXAMPLES_PER_LABEL]
        if len(records):
            images = _read(split, records)
            rows[name] = np.full((_EXAMPLES_PER_LABEL, *images.shape[1:]), 255, np.uint8)
            rows[name][: len(images)] = images
    if rows:
        title = f"Images of {split.folder.name}, those with the fewest other labels"
        contact_sheet_figure(path, np.concatenate(list(rows.values())), list(rows), title=title)


def _read(split: ScannedSplit, records: np.ndarray) -> Images:
    """Return images at the finest resolution that fits a picture."""
    levels = split.records
    level = max((level for level in levels if level <= _LARGEST_SHOWN), default=min(levels))
    return levels[level].read(records)


def _draw_pairs(audit: Audit) -> None:
    """Draw pairs of identical images and of copies, the least similar first: those are for a person to judge."""
    found: list[tuple[Overlap, Pair, str]] = []
    for overlap in audit.evidence.overlaps:
        near = sorted(overlap.near or (), key=lambda pair: pair.similarity)
        found += [(overlap, pair, f"{pair.similarity:.3f}{' mirrored' if pair.mirrored else ''}") for pair in near]
    for overlap in audit.evidence.overlaps:
        found += [(overlap, pair, "identical") for pair in overlap.exact or ()]
    if not found:
        return
    splits, pairs = audit.evidence.dataset.splits, []
    for overlap, pair, relation in found[:_PAIRS_SHOWN]:
        images = [
            _read(splits[name], np.array([record]))[0]
            for name, record in ((overlap.first, pair.first), (overlap.second, pair.second))
        ]
        caption = f"{overlap.first} {pair.first} | {overlap.second} {pair.second}, {relation}"
        pairs.append(ShownPair(images[0], images[1], caption))
    title = f"Images that two splits seem to share: {len(pairs)} of {len(found)} pairs"
    pairs_figure(audit.root / PAIRS_PNG, pairs, title=title)
