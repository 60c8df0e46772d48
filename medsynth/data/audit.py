"""The audit of a dataset, and the manifest that trainings read."""

import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsynth.data.audit_checks import CHECKS, Check, Evidence, Finding, positives_of
from medsynth.data.audit_scan import SPLITS, ScannedSplit, scan
from medsynth.data.labels import record_order
from medsynth.data.manifest import EXACT, FORM_VERSION, MANIFEST_NAME, NEAR, PATIENTS, read_earlier_files
from medsynth.data.overlaps import Overlap, find_overlaps
from medsynth.data.tfrecords import available_resolutions, labels_path
from medsynth.errors import DataError
from medsynth.files import require_folder, write_json

_NUM_PAIRS_KEPT = 1000  # per kind and two splits, in the manifest
_LIBRARIES = ("medsynth", "numpy", "scipy")


@dataclass(frozen=True)
class Audit:
    """The audit of one dataset.

    Attributes:
        evidence: What was judged.
        checks: The results, in the order of `CHECKS`.
    """

    evidence: Evidence
    checks: tuple[Check, ...]

    @property
    def root(self) -> Path:
        """The dataset's folder."""
        return self.evidence.dataset.root

    def findings(self, severity: str) -> list[Finding]:
        """Return all errors, or all warnings."""
        return [finding for check in self.checks for finding in check.findings if finding.severity == severity]


def find_datasets(target_dir: Path) -> list[Path]:
    """Return every dataset in or below a folder: a folder with a split folder that holds records or labels.

    Raises:
        DataError: There is none.
    """
    require_folder(target_dir, "a dataset")
    found = []
    for folder, names, _ in os.walk(target_dir):
        splits = [name for name in SPLITS if name in names and _is_split(Path(folder, name))]
        if splits:
            found.append(Path(folder))
        names[:] = sorted(name for name in names if name not in splits and not name.startswith("."))
    if not found:
        raise DataError(
            f"A dataset made by build_dataset was expected here: {', '.join(SPLITS)} with records and labels.",
            received="no such folders",
            path=target_dir,
        )
    return found


def _is_split(folder: Path) -> bool:
    return bool(available_resolutions(folder)) or labels_path(folder).is_file()


def verify(
    target_dir: Path, *, num_workers: int = 1, report: Callable[[Audit], None] = lambda audit: None
) -> list[Audit]:
    """Audit every dataset in or below a folder, and write manifest.json into each.

    Args:
        target_dir: A dataset, or a folder with several.
        num_workers: Processes; the result does not depend on it.
        report: Called with each audit before its manifest is written.

    Raises:
        DataError: There is no dataset. What is wrong with one is not raised, but found.
        RunFolderError: A manifest cannot be written.
    """
    audits = []
    for root in find_datasets(target_dir):
        audits.append(audit_dataset(root, num_workers=num_workers))
        report(audits[-1])
        write_json(root / MANIFEST_NAME, manifest_of(audits[-1]))
    return audits


def audit_dataset(root: Path, *, num_workers: int = 1) -> Audit:
    """Run every check on one dataset; nothing is written."""
    dataset = scan(root, num_workers)
    evidence = Evidence(dataset, find_overlaps(dataset), read_earlier_files(root))
    return Audit(evidence, tuple(check(evidence) for check in CHECKS))


def manifest_of(audit: Audit) -> dict[str, Any]:
    """Return what manifest.json holds; nothing in it depends on where the dataset lies."""
    dataset = audit.evidence.dataset
    return {
        "form_version": FORM_VERSION,
        "made_by": {key: dataset.description.get(key) for key in ("command", "arguments", "seed", "library_versions")},
        "audited_with": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
        "num_errors": len(audit.findings("error")),
        "num_warnings": len(audit.findings("warning")),
        "checks": [{"name": check.name, "scope": check.scope} for check in audit.checks],
        "findings": [
            {
                "check": check.name,
                "severity": finding.severity,
                "place": finding.place,
                "message": finding.message,
                "is_leak": finding.is_leak,
            }
            for check in audit.checks
            for finding in check.findings
        ],
        "overlaps": {f"{one.first}-{one.second}": _counts(one) for one in audit.evidence.overlaps},
        "num_pairs": {f"{one.first}-{one.second}": _num_pairs(one) for one in audit.evidence.overlaps},
        "pairs": [entry for one in audit.evidence.overlaps for entry in _pairs(audit.evidence, one)],
        "splits": {name: count_split(split) for name, split in dataset.splits.items()},
        "files": {
            audit.evidence.place(file.path): {"size": file.size, "sha256": file.sha256} for file in dataset.files
        },
    }


def _counts(overlap: Overlap) -> dict[str, int | None]:
    """Return how many patients, and how many images of the second split, both have."""
    counts: dict[str, int | None] = {PATIENTS: None if overlap.patients is None else len(overlap.patients)}
    for kind, pairs in ((EXACT, overlap.exact), (NEAR, overlap.near)):
        counts[kind] = None if pairs is None else overlap.num_images(pairs)
    return counts


def _num_pairs(overlap: Overlap) -> dict[str, int]:
    """Return how many pairs were found, of which "pairs" lists the first _NUM_PAIRS_KEPT."""
    return {EXACT: len(overlap.exact or ()), NEAR: len(overlap.near or ())}


def _pairs(evidence: Evidence, overlap: Overlap) -> Iterator[dict[str, Any]]:
    splits = evidence.dataset.splits
    for kind, pairs in ((EXACT, overlap.exact), (NEAR, overlap.near)):
        for pair in (pairs or ())[:_NUM_PAIRS_KEPT]:
            yield {
                "kind": kind,
                overlap.first: _place(splits[overlap.first], pair.first),
                overlap.second: _place(splits[overlap.second], pair.second),
                "similarity": round(pair.similarity, 4),
                "mirrored": pair.mirrored,
            }


def _place(split: ScannedSplit, record: int) -> dict[str, int]:
    """Return where an image stands: its record, from 0, and its line in the csv, from 1 with the header."""
    if split.table is None or record >= len(split.table.paths):
        return {"record": record}
    return {"record": record, "line": int(record_order(len(split.table.paths))[record]) + 2}


def count_split(split: ScannedSplit) -> dict[str, Any]:
    """Return images, patients and positives per label of a split; None where they are unknown."""
    table = split.table
    return {
        "images": None if table is None else len(table.paths),
        "patients": None if split.patients is None else len(set(split.patients)),
        "positives": None if table is None else positives_of(table),
    }
