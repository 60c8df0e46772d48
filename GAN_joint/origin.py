"""Whether synthetic patients are of a GAN that was trained on the real ones here."""

from collections.abc import Sequence
from pathlib import Path

from GAN_joint.encoding import RowEncoder
from GAN_joint.paired_data import PairedRows
from GAN_joint.synthetic import SyntheticSet
from medsynth.data.wording import listed_in_quotes, quoted
from medsynth.errors import DataError


def require_same_columns(real: RowEncoder, synthetic: RowEncoder, synthetic_dir: Path) -> None:
    """Refuse synthetic patients whose table is another one than the real patients'.

    Raises:
        DataError: Names the first column that differs.
    """
    ours, theirs = ({one.column.name: one.column for one in encoder.fitted} for encoder in (real, synthetic))
    if list(ours) != list(theirs):
        lacking, unknown = [name for name in ours if name not in theirs], [name for name in theirs if name not in ours]
        parts = (("without", lacking), ("with", unknown))
        differences = [f"{word} {listed_in_quotes(names)}" for word, names in parts if names]
        raise DataError(
            "The synthetic patients need the columns of data_dir's schema.json, in their order; their GAN was trained "
            "with another schema.",
            received=" and ".join(differences) or f"the order {listed_in_quotes(list(theirs))}",
            path=synthetic_dir,
        )
    for name, column in ours.items():
        if (column.kind, column.words) != (theirs[name].kind, theirs[name].words):
            raise DataError(
                f"Column {quoted(name)} is a {column.kind}{_said(column.words)} in data_dir's schema.json, and must be "
                "so in the synthetic patients.",
                received=f"{theirs[name].kind}{_said(theirs[name].words)}",
                path=synthetic_dir,
            )


def origin_notes(real: PairedRows, synthetic: SyntheticSet) -> list[str]:
    """Return what must be known where the GAN did not learn from exactly the train rows here, a sentence."""
    if synthetic.train_rows_digest == real.train_rows_digest:
        return []
    trained_on = "other rows than the train rows here, or on another split"
    if synthetic.train_rows_digest is None:
        trained_on = "rows that are not on record"
    return [
        f"The GAN was trained on {trained_on}: it may have seen rows that are called held-out here, and figures that "
        "compare with those say nothing then."
    ]


def _said(words: Sequence[str]) -> str:
    return f" ({', '.join(words)})" if words else ""
