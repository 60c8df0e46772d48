"""What the audit of a dataset looks for.

A check is a function from the evidence to a `Check`, listed in `CHECKS` at the end. To add one: write it here, add it
to the list, and plant what it finds in tests/unit/test_audit.py. What it needs of every file or image is gathered in
medsynth/data/audit_scan.py, what two splits share in medsynth/data/overlaps.py.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medsynth.data.audit_scan import SPLITS, Fault, ScannedDataset, ScannedSplit
from medsynth.data.labels import LabelTable, record_order
from medsynth.data.manifest import MANIFEST_NAME
from medsynth.data.near_duplicates import SMALLEST_SIDE
from medsynth.data.overlaps import Overlap, Pair
from medsynth.data.tfrecords import available_resolutions, labels_path
from medsynth.data.wording import counted

_NUM_NAMED, _NUM_FILES_NAMED = 5, 20  # of many alike, in a message


@dataclass(frozen=True)
class Finding:
    """Something wrong.

    Attributes:
        severity: An error makes results wrong or impossible; a warning is for a person to judge.
        place: File or splits, relative to the dataset.
        message: What is wrong, with the numbers of records from 0.
        is_leak: Whether it is about what two splits share.
    """

    severity: Literal["error", "warning"]
    place: str
    message: str
    is_leak: bool = False


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: In a word or two.
        scope: What was looked at, with its number; or why nothing was.
        findings: None where all is well.
    """

    name: str
    scope: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What checks judge.

    Attributes:
        dataset: Files, labels and images.
        overlaps: What every two splits share.
        earlier: The sha256 of every file in the manifest that is there already; None where it cannot be read.
    """

    dataset: ScannedDataset
    overlaps: tuple[Overlap, ...]
    earlier: Mapping[str, str] | None = field(default_factory=dict)

    @property
    def splits(self) -> Iterable[ScannedSplit]:
        """The splits that are there."""
        return self.dataset.splits.values()

    def place(self, path: Path) -> str:
        """Return a path relative to the dataset."""
        return os.path.relpath(path, self.dataset.root)


def _error(place: str, message: str, *, is_leak: bool = False) -> Finding:
    return Finding("error", place, message, is_leak)


def _warning(place: str, message: str, *, is_leak: bool = False) -> Finding:
    return Finding("warning", place, message, is_leak)


def _some(items: Sequence[object], num_named: int = _NUM_NAMED) -> str:
    """Return their number, and the first few in brackets."""
    named = ", ".join(map(str, items[:num_named]))
    return f"{len(items):,} ({named}{', ...' if len(items) > num_named else ''})"


def _errors(evidence: Evidence, faults: Iterable[Fault]) -> Iterator[Finding]:
    for fault in faults:
        yield _error(evidence.place(fault.path), fault.sentence)


def check_files(evidence: Evidence) -> Check:
    """Every file can be read, every record has the right checksums, and the expected splits are there."""
    files = evidence.dataset.files
    findings = list(_errors(evidence, (file.fault for file in files if file.fault is not None)))
    findings += _errors(evidence, evidence.dataset.faults)
    described = {Path(name).name for name in _described_splits(evidence.dataset)}
    for name in SPLITS:
        if name not in evidence.dataset.splits:
            sentence = "The split is missing; leaks into it cannot be looked for."
            findings.append((_error if name in described else _warning)(name, sentence))
    num_records = sum(len(file.records) for file in files if file.records is not None)
    return Check("checksums", f"{counted(len(files), 'file')}, {counted(num_records, 'record')}", tuple(findings))


def check_shapes(evidence: Evidence) -> Check:
    """All images of a file have the size in its name; all splits the same sizes; each file a record per label row."""
    findings: list[Finding] = []
    num_files = 0
    for split in evidence.splits:
        for file in split.files:
            if file.records is None or file.level is None:
                continue
            num_files += 1
            height, width, channels = file.records.shape
            side, place = 2**file.level, evidence.place(file.path)
            if (height, width) != (side, side):
                findings.append(_error(place, f"The name says {side}x{side}. Received: images of {width}x{height}"))
            expected = _channels(evidence)
            if channels != expected:
                findings.append(
                    _error(place, f"Images with {expected} channels were expected. Received: {channels} channels")
                )
            if split.labels is not None and len(file.records) != len(split.labels):
                findings.append(
                    _error(
                        place,
                        f"A record for each of the {len(split.labels):,} rows of labels was expected. "
                        f"Received: {len(file.records):,} records",
                    )
                )
    wanted = _expected_levels(evidence.dataset)
    for split in evidence.splits:
        missing = [f"{2**level}x{2**level}" for level in sorted(wanted - set(available_resolutions(split.folder)))]
        if missing:
            findings.append(_error(split.folder.name, f"Records of {', '.join(missing)} are missing in this split."))
    return Check("shapes", f"{num_files} record files", tuple(findings))


def _channels(evidence: Evidence) -> int:
    """Return the number of channels that most record files have."""
    counts = [file.records.shape[2] for file in evidence.dataset.files if file.records is not None]
    return max(set(counts), key=counts.count)


def _expected_levels(dataset: ScannedDataset) -> set[int]:
    """Return log2 of every resolution that a split has, or that dataset.json lists and promises records of."""
    has_records = not dataset.description.get("labels_only", False)
    listed = dataset.description.get("resolutions", []) if has_records else []
    found = {int(side).bit_length() - 1 for side in listed if isinstance(side, int)}
    return found.union(*(available_resolutions(split.folder) for split in dataset.splits.values()))


def check_labels(evidence: Evidence) -> Check:
    """The .labels file says of every record what the csv says of its row, and all splits have the same columns."""
    findings: list[Finding] = []
    num_rows = 0
    names = next((split.table.names for split in evidence.splits if split.table is not None), ())
    for split in evidence.splits:
        findings += _errors(evidence, split.faults)
        table, labels = split.table, split.labels
        if table is not None and table.names != names:
            findings.append(
                _error(
                    f"{split.folder.name}/{split.folder.name}.csv",
                    f"The labels of the other splits were expected: {', '.join(names)}. "
                    f"Received: {', '.join(table.names)}",
                )
            )
        if table is None or labels is None:
            continue
        place = evidence.place(labels_path(split.folder))
        num_rows += len(labels)
        if labels.shape != table.values.shape:
            findings.append(
                _error(
                    place,
                    f"{len(table.paths):,} rows of {len(table.names)} labels were expected, as in the csv. "
                    f"Received: {len(labels):,} rows of {labels.shape[1]}",
                )
            )
            continue
        order = record_order(len(labels))
        wrong = np.flatnonzero((labels != table.values[order]).any(axis=1))
        if len(wrong):
            records = [f"record {record} = line {order[record] + 2} of the csv" for record in wrong]
            findings.append(_error(place, f"Records on which labels and csv disagree: {_some(records)}."))
    return Check("labels", f"{num_rows:,} rows against the csv files", tuple(findings))


def check_levels(evidence: Evidence) -> Check:
    """Every lower resolution holds the 2x2 means of the next higher one, record by record."""
    findings, num_images = [], 0
    for split in evidence.splits:
        if split.images is None:
            continue
        finest = max(split.records)
        for level, wrong in split.images.wrong_levels.items():
            num_images += len(split.images.digests)
            if len(wrong):
                findings.append(
                    _error(
                        evidence.place(split.records[level].path),
                        f"Records that are not the means of the same record at {2**finest}x{2**finest}: "
                        f"{_some(wrong.tolist())}.",
                    )
                )
    return Check("lower levels", f"{num_images:,} images against the finest level", tuple(findings))


def check_description(evidence: Evidence) -> Check:
    """dataset.json gives the numbers of images and positives that are there."""
    described = _described_splits(evidence.dataset)
    if not described:
        return Check("dataset.json", "not checked: it says nothing of splits")
    findings = []
    for name, facts in described.items():
        split = evidence.dataset.splits.get(Path(name).name)
        if split is None or split.table is None or not isinstance(facts, dict):
            continue
        for key, count in (("images", len(split.table.paths)), ("positives", positives_of(split.table))):
            if key in facts and facts[key] != count:
                findings.append(_error(name, f"dataset.json gives {key} {facts[key]}. Received: {count} in the csv"))
    return Check("dataset.json", f"{len(described)} splits", tuple(findings))


def _described_splits(dataset: ScannedDataset) -> dict[str, Any]:
    """Return what dataset.json says of these splits ("train"; "20/train" where it describes several datasets)."""
    listed = dataset.description.get("splits")
    if not isinstance(listed, dict):
        return {}
    expected = {name: name for name in SPLITS} | {f"{dataset.root.name}/{name}": name for name in SPLITS}
    return {name: facts for name, facts in listed.items() if name in expected}


def positives_of(table: LabelTable) -> dict[str, int]:
    """Return the number of positives of every label."""
    return dict(zip(table.names, table.values.sum(axis=0).astype(int).tolist(), strict=True))


def check_changes(evidence: Evidence) -> Check:
    """Every file is what it was when the dataset was audited the last time."""
    if not evidence.earlier:
        reason = "not checked: the manifest cannot be read" if evidence.earlier is None else "no earlier manifest"
        return Check("last verify", reason)
    present = {evidence.place(file.path): file.sha256 for file in evidence.dataset.files}
    changed = [name for name, sha256 in evidence.earlier.items() if present.get(name, sha256) != sha256]
    gone = [name for name in evidence.earlier if name not in present]
    findings = [
        _warning(MANIFEST_NAME, f"Files {word} since the last verify: {_some(names, _NUM_FILES_NAMED)}.")
        for word, names in (("changed", changed), ("gone", gone))
        if names
    ]
    return Check("last verify", counted(len(evidence.earlier), "file"), tuple(findings))


def check_constant(evidence: Evidence) -> Check:
    """Images with the same value everywhere hold nothing to learn from."""
    findings, num_images = [], 0
    for split in evidence.splits:
        if split.images is not None:
            num_images += len(split.images.digests)
            constant = np.flatnonzero(split.images.is_constant)
            if len(constant):
                message = f"Records with one value everywhere: {_some(constant.tolist())}."
                findings.append(_warning(split.folder.name, message))
    return Check("empty images", f"{num_images:,} images", tuple(findings))


def check_classes(evidence: Evidence) -> Check:
    """Every label has positives in every split."""
    findings, num_labels = [], 0
    for split in evidence.splits:
        if split.table is not None:
            num_labels = max(num_labels, len(split.table.names))
            empty = [name for name, count in positives_of(split.table).items() if count == 0]
            if empty:
                findings.append(_warning(split.folder.name, f"No positives for {', '.join(empty)}."))
    return Check("classes", f"{num_labels} labels in {len(evidence.dataset.splits)} splits", tuple(findings))


def check_patients(evidence: Evidence) -> Check:
    """No patient is in two splits."""
    findings = [
        _error(
            _both(overlap),
            f"Patients in both: {_some(overlap.patients)}.",
            is_leak=True,
        )
        for overlap in evidence.overlaps
        if overlap.patients
    ]
    unknown = [split.folder.name for split in evidence.splits if split.patients is None]
    silent = [name for name in unknown if not evidence.dataset.splits[name].faults]
    if silent:
        message = "Patients are unknown, so that images of one person may lie in two splits: not checked."
        findings.append(_warning(", ".join(silent), message))
        return Check("patients", f"not checked in {', '.join(unknown)}: unknown", tuple(findings))
    counts = [f"{len(set(split.patients or ())):,}" for split in evidence.splits]
    return Check("patients", f"{' x '.join(counts)} patients", tuple(findings))


def check_exact_duplicates(evidence: Evidence) -> Check:
    """No image is in two splits, pixel for pixel at the finest level that all splits have."""
    findings = [
        _error(_both(overlap), f"Identical images: {_name_pairs(overlap, overlap.exact)}.", is_leak=True)
        for overlap in evidence.overlaps
        if overlap.exact
    ]
    missing = [split.folder.name for split in evidence.splits if split.images is None]
    if missing:
        return Check("identical images", f"not checked in {', '.join(missing)}: no whole records", tuple(findings))
    return Check("identical images", _compared(evidence), tuple(findings))


def check_near_duplicates(evidence: Evidence) -> Check:
    """No image is a mirrored, re-compressed or otherwise altered copy of one in another split."""
    findings = [
        _warning(_both(overlap), f"Seemingly copies: {_name_pairs(overlap, overlap.near)}.", is_leak=True)
        for overlap in evidence.overlaps
        if overlap.near
    ]
    missing = [split.folder.name for split in evidence.splits if split.image_set() is None]
    if missing:
        reason = f"no whole records of {SMALLEST_SIDE}x{SMALLEST_SIDE} or more"
        return Check("near duplicates", f"not checked in {', '.join(missing)}: {reason}", tuple(findings))
    return Check("near duplicates", _compared(evidence), tuple(findings))


def _compared(evidence: Evidence) -> str:
    """Return how many images of which size were compared."""
    images = [split.images for split in evidence.splits if split.images is not None]
    counts = " x ".join(f"{len(one.digests):,}" for one in images)
    return f"{counts} images of {2 ** images[0].level}x{2 ** images[0].level}"


def _both(overlap: Overlap) -> str:
    return f"{overlap.first} and {overlap.second}"


def _name_pairs(overlap: Overlap, pairs: Sequence[Pair]) -> str:
    """Return the number of images that are in some pairs, and the first pairs."""
    names = [
        f"{overlap.first} record {pair.first} = {overlap.second} record {pair.second}"
        + (" mirrored" if pair.mirrored else "")
        for pair in pairs
    ]
    num_images = overlap.num_images(pairs)
    return _some(names) if num_images == len(pairs) else f"{num_images:,} of {overlap.second}, in pairs: {_some(names)}"


CHECKS: tuple[Callable[[Evidence], Check], ...] = (
    check_files,
    check_shapes,
    check_labels,
    check_levels,
    check_description,
    check_changes,
    check_constant,
    check_classes,
    check_patients,
    check_exact_duplicates,
    check_near_duplicates,
)
