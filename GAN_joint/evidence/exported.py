"""Real and synthetic pairs for programs that know nothing of GAN_joint: images as splits of a dataset, rows as arrays.

out_dir/real/train, out_dir/real/test (the held-out rows, where there are any) and out_dir/synthetic/train have the form
of build_dataset without labels: `patients` are the values of `group_column`, numbered, or single rows. Beside each
split's csv lies rows.npy, float32 [N, K] in the csv's order: the encoded rows. out_dir/pairs.json says what they hold.
Nothing that the table says of a person in words (names, file names, groups) is written.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from GAN_joint.evidence.pairs import Evidence, EvidenceRequest, Pairs, read_evidence
from GAN_joint.identifying import names_people
from GAN_joint.paired_data import PairedRows, read_paired_rows
from GAN_joint.synthetic import SyntheticSet
from medsynth.data.labels import LabelTable, record_order, write_label_table, write_patients
from medsynth.data.text_table import read_text_table
from medsynth.data.tfrecords import atomic_split, write_split
from medsynth.errors import UsageError
from medsynth.files import make_folder, write_array, write_json
from medsynth.runs import RunFolder, require_own_folder

PAIRS_JSON, ROWS_NAME, DONE_NAME = "pairs.json", "rows.npy", "_export-done.txt"
HELD_OUT = "held-out"


def export_pairs(data_dir: Path, synthetic_dir: Path, out_dir: Path, request: EvidenceRequest) -> None:
    """Write real and synthetic pairs for other programs; the same command again does nothing.

    Args:
        data_dir: Real patients, as for train.py.
        synthetic_dir: Made by test.py generate.
        out_dir: New, empty, or of the same pairs.
        request: How many synthetic pairs, and their size in pixels: a power of two.

    Raises:
        MedsynthError: See `read_evidence`; a size that is no power of two, other pairs in the folder, a full disk.
    """
    if request.image_size & (request.image_size - 1):
        raise UsageError("Here --image-size is a power of two.", received=request.image_size)
    require_own_folder(out_dir, (data_dir, synthetic_dir))
    evidence = read_evidence(data_dir, synthetic_dir, request, needs_held_out=False)
    with RunFolder(out_dir, evidence.settings(request), done_name=DONE_NAME) as run:
        if run.is_done:
            run.log(f"{out_dir} holds these pairs; nothing to do.")
            return
        _write(out_dir, evidence)
        write_json(
            out_dir / PAIRS_JSON, _description(read_paired_rows(data_dir), SyntheticSet(synthetic_dir), evidence)
        )
        run.mark_done(f"{len(evidence.synthetic):,} synthetic pairs")


def held_out_names(num_rows: int) -> tuple[str, ...]:
    """Return what the held-out rows are called here and in predictions: their place among them."""
    return tuple(f"{HELD_OUT}/{number:06d}" for number in range(num_rows))


def _write(out_dir: Path, evidence: Evidence) -> None:
    train = _joined(evidence.train, evidence.valid)
    groups = np.unique(np.concatenate([train.keys, evidence.held_out.keys]), return_inverse=True)[1]
    parts = {
        ("real", "train"): (train, tuple(f"train/{number:06d}" for number in range(len(train)))),
        ("real", "test"): (evidence.held_out, held_out_names(len(evidence.held_out))),
        ("synthetic", "train"): (
            evidence.synthetic,
            tuple(f"synthetic/{number:010d}" for number in range(len(evidence.synthetic))),
        ),
    }
    for (kind, split), (pairs, names) in parts.items():
        if len(pairs):
            own = groups[: len(train)] if split == "train" else groups[len(train) :]
            _write_split(make_folder(out_dir / kind) / split, pairs, names, own if kind == "real" else None)


def _joined(one: Pairs, other: Pairs) -> Pairs:
    parts = ((getattr(one, name), getattr(other, name)) for name in ("images", "rows", "keys"))
    return Pairs(*map(np.concatenate, parts))


def _write_split(target: Path, pairs: Pairs, names: tuple[str, ...], groups: np.ndarray | None) -> None:
    order = record_order(len(pairs))
    no_labels = np.zeros((len(pairs), 0), np.float32)
    with atomic_split(target) as folder:
        write_split(folder, pairs.images[order], no_labels, pairs.images.shape[1].bit_length() - 1)
        write_label_table(folder, LabelTable(names, (), no_labels))
        write_array(folder / ROWS_NAME, pairs.rows)
        if groups is not None:
            write_patients(folder, [f"{group:06d}" for group in groups])


def _description(paired: PairedRows, synthetic: SyntheticSet, evidence: Evidence) -> dict[str, Any]:
    """Return what the rows hold, and what says whether the held-out ones are of others than the train rows."""
    of_train = {_digest(image) for pairs in (evidence.train, evidence.valid) for image in pairs.images}
    return {
        "columns": [
            {"name": name, "kind": place.kind, "first": place.columns.start, "stop": place.columns.stop}
            for name, place in evidence.encoder.column_slices.items()
        ],
        "grouped_by": evidence.grouped_by,
        "pairs": evidence.counts(),
        "is_trained_on_these_rows": synthetic.train_rows_digest == paired.train_rows_digest,
        "num_held_out_images_of_train": sum(_digest(image) in of_train for image in evidence.held_out.images),
        "num_held_out_names_of_train": _num_shared_names(paired),
        "notes": list(evidence.notes),
    }


def _digest(image: np.ndarray) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def _num_shared_names(paired: PairedRows) -> int:
    """Return how many held-out rows bear a person's name that a train row bears, where groups do not see to that."""
    schema = paired.schema
    if schema.group_column is not None:
        return 0
    table = read_text_table(paired.data_dir / schema.table, schema.form)
    is_shared = np.zeros(len(paired.is_test), np.bool_)
    for column in schema.of_kind("identifier"):
        if names_people(column.name):
            names = table.column(column.name)
            is_shared |= paired.is_test & np.isin(names.astype(str), names[~paired.is_test].astype(str))
    return int(is_shared.sum())
