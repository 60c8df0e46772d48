"""Real and synthetic pairs, in one form and ready for the networks; and pairs that do not belong together."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from GAN_joint.encoding import RowEncoder
from GAN_joint.origin import origin_notes, require_same_columns
from GAN_joint.paired_data import PairedRows, read_paired_rows
from GAN_joint.synthetic import SyntheticSet
from medsynth.data.images import ImageForm, Images, load_image
from medsynth.data.text_table import read_text_table
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError
from medsynth.parallel import available_cpus
from medsynth.progress import Progress

Rows = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# Below so many rows, or rows of a class, a figure is shown without an interval, and nothing is concluded from it.
FEWEST = 20
SMALLEST_IMAGE, LARGEST_IMAGE = 32, 512
VALIDATION_SHARE = 0.2
_NUM_IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class EvidenceRequest:
    """What test.py joint and test.py predict were asked for.

    Attributes:
        seed: Of every draw.
        max_images: Synthetic pairs used at most, the first ones.
        image_size: Pixels a side that the networks see.
        epochs: Of a training, at most.
    """

    seed: int = 1
    max_images: int = 2000
    image_size: int = 64
    epochs: int = 30

    def __post_init__(self) -> None:
        if self.max_images < 2 * FEWEST:
            raise UsageError(f"--max-images is {2 * FEWEST} or more.", received=self.max_images)
        if not SMALLEST_IMAGE <= self.image_size <= LARGEST_IMAGE:
            raise UsageError(
                f"--image-size is from {SMALLEST_IMAGE} to {LARGEST_IMAGE} pixels.", received=self.image_size
            )
        if self.epochs < 1:
            raise UsageError("--epochs is 1 or more.", received=self.epochs)


@dataclass(frozen=True)
class Pairs:
    """Images and their rows.

    Attributes:
        images: uint8 [N, D, D, 1].
        rows: Encoded, float32 [N, K] in [0, 1].
        keys: What each pair belongs to, [N]: pairs of one key (such as a patient) are resampled together, and never
            count as each other's wrong partner.
    """

    images: Images
    rows: Rows
    keys: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def groups(self) -> Indices:
        """Number of the key of each pair, [N], from 0."""
        return np.unique(self.keys, return_inverse=True)[1]

    def take(self, indices: npt.NDArray[Any]) -> "Pairs":
        """Return the pairs of these numbers, or of these marks."""
        return Pairs(self.images[indices], self.rows[indices], self.keys[indices])

    def with_rows_moved(self, seed: int) -> "Pairs":
        """Return the same images, each with another one's row: pairs that do not belong together."""
        return Pairs(self.images, self.rows[derangement(self.groups, np.random.default_rng(seed))], self.keys)

    def split(self, share: float, seed: int) -> tuple["Pairs", "Pairs"]:
        """Return two parts, the second of about `share` of the keys, chosen by a hash of seed and key.

        Both have a key at least; the order of the pairs does not matter.
        """
        ranked = sorted(set(self.keys), key=lambda key: hashlib.sha256(f"{seed}\n{key}".encode()).digest())
        num_second = min(max(1, round(share * len(ranked))), len(ranked) - 1)
        is_second = np.isin(self.keys, ranked[:num_second])
        return self.take(~is_second), self.take(is_second)

    def digest(self) -> str:
        """Return a checksum of everything."""
        sha = hashlib.sha256(self.images.tobytes())
        sha.update(self.rows.tobytes())
        sha.update("\n".join(self.keys).encode())
        return sha.hexdigest()


def can_be_moved(groups: Indices) -> bool:
    """Whether each pair can get the row of another group: no group is more than half of all pairs."""
    return len(groups) > 1 and 2 * int(np.bincount(groups).max()) <= len(groups)


def derangement(groups: Indices, rng: np.random.Generator) -> Indices:
    """Draw a permutation that gives every pair the row of another group.

    The groups are laid out in random order, each in one piece, and rows move on by the size of the largest.

    Args:
        groups: Group of each pair, [N]; all different where pairs stand alone.
        rng: Fixes the draw.

    Returns:
        int64 [N]: pair i gets row `result[i]`.

    Raises:
        DataError: More than half of the pairs are of one group.
    """
    if not can_be_moved(groups):
        raise DataError(
            "Rows can be moved to other groups where no group has more than half of them.",
            received=f"{counted(len(groups), 'row')} in {counted(len(np.unique(groups)), 'group')}",
        )
    ranks = rng.permutation(int(groups.max()) + 1)[groups]
    order = np.lexsort((rng.permutation(len(groups)), ranks))
    moved = np.empty(len(groups), np.int64)
    moved[order] = np.roll(order, -int(np.bincount(groups).max()))
    return moved


@dataclass(frozen=True)
class Evidence:
    """Everything that is trained on or tested on.

    Attributes:
        encoder: Says what the columns are.
        train: Real train rows without those for validation.
        valid: Real train rows kept to stop the training and to choose thresholds.
        held_out: Real rows that neither the GAN nor a network here has learned from.
        synthetic: The GAN's.
        grouped_by: The column whose values keep rows together; None: each row stands alone.
        notes: What a reader must know, in sentences.
    """

    encoder: RowEncoder
    train: Pairs
    valid: Pairs
    held_out: Pairs
    synthetic: Pairs
    grouped_by: str | None
    notes: tuple[str, ...]

    def settings(self, request: EvidenceRequest) -> dict[str, Any]:
        """Return what every result depends on."""
        parts = {"train": self.train, "valid": self.valid, "held_out": self.held_out, "synthetic": self.synthetic}
        digests = {f"data.{name}_sha256": pairs.digest() for name, pairs in parts.items()}
        return {**asdict(request), **digests, "data.columns": list(self.encoder.names)}

    @property
    def targets(self) -> dict[str, int]:
        """Encoded column of each target, by name."""
        slices = self.encoder.column_slices
        return {name: one.columns.start for name, one in slices.items() if one.kind == "target"}

    def require_targets(self, data_dir: Path) -> None:
        """Refuse a table without anything to predict.

        Raises:
            DataError: No column is a target.
        """
        if not self.targets:
            kinds = sorted({one.kind for one in self.encoder.column_slices.values()})
            raise DataError(
                "Something must be predicted; give a column of schema.json the kind target.",
                received=f"columns of kind {', '.join(kinds)}",
                path=data_dir,
            )

    def counts(self) -> dict[str, int]:
        """Return the number of pairs of each part."""
        return {
            "real_train": len(self.train),
            "real_validation": len(self.valid),
            "real_held_out": len(self.held_out),
            "synthetic": len(self.synthetic),
        }


def read_evidence(
    data_dir: Path, synthetic_dir: Path, request: EvidenceRequest, *, needs_held_out: bool = True
) -> Evidence:
    """Read real and synthetic pairs, and bring their images to one size in the same way.

    Real images are read as the GAN read them, at the size of the synthetic ones; then both are resized by area.

    Args:
        data_dir: Real patients, as for train.py.
        synthetic_dir: Made by test.py generate.
        request: How many synthetic pairs, and their size.
        needs_held_out: Whether a table without held-out rows is refused.

    Raises:
        DataError: See `read_paired_rows` and `SyntheticSet`; other columns than the synthetic set's, no held-out rows,
            too few train rows or synthetic ones, or no synthetic images.
    """
    paired = read_paired_rows(data_dir)
    synthetic = SyntheticSet(synthetic_dir)
    require_same_columns(paired.encoder, synthetic.encoder, synthetic_dir)
    held_out = paired.rows_of("test") if needs_held_out else np.flatnonzero(paired.is_test)
    learned_from = paired.rows_of("train")
    _require_enough(len(learned_from), "train rows", "real patients", data_dir)
    for note in paired.notes:  # they may quote the table, so they are shown and not kept with the results
        print(f"note: {note}")
    num_synthetic = min(len(synthetic), request.max_images)
    _require_enough(num_synthetic, "synthetic pairs", "synthetic patients (test.py generate --num)", synthetic_dir)
    resolution = synthetic.images([0]).shape[1]

    real = _read_real(paired, resolution, request.image_size)
    made = _read_synthetic(synthetic, paired.encoder, num_synthetic, request.image_size)
    train, valid = real.take(learned_from).split(VALIDATION_SHARE, request.seed)
    notes = tuple(_notes(paired, synthetic, num_synthetic, resolution, request))
    return Evidence(paired.encoder, train, valid, real.take(held_out), made, paired.schema.group_column, notes)


def _require_enough(number: int, what: str, more: str, path: Path) -> None:
    if number < FEWEST:
        raise DataError(f"At least {FEWEST} {what} are needed; add {more}.", received=number, path=path)


def _notes(
    paired: PairedRows, synthetic: SyntheticSet, num_synthetic: int, resolution: int, request: EvidenceRequest
) -> Iterator[str]:
    if num_synthetic < len(synthetic):
        yield f"Of {counted(len(synthetic), 'synthetic pair')}, the first {num_synthetic:,} are used (--max-images)."
    if resolution != request.image_size:
        size = f"{request.image_size}x{request.image_size}"
        yield f"Images of {resolution}x{resolution} pixels are resized to {size} (--image-size): finer signs are lost."
    yield from origin_notes(paired, synthetic)


def _read_real(paired: PairedRows, resolution: int, image_size: int) -> Pairs:
    form = ImageForm(resolution)

    def read(index: int) -> Images:
        return resize_by_area(load_image(paired.images[index], form), image_size)

    images = _read_images("reading real images", len(paired.images), read, image_size)
    column = paired.schema.group_column
    folder = paired.data_dir / paired.schema.images
    keys = [source.path.relative_to(folder).as_posix() for source in paired.images]
    if column is not None:
        table = read_text_table(paired.data_dir / paired.schema.table, paired.schema.form)
        keys = list(table.column(column))
    return Pairs(images, paired.encoder.encode(paired.frame), np.array(keys))


def _read_synthetic(synthetic: SyntheticSet, encoder: RowEncoder, number: int, image_size: int) -> Pairs:
    def read(index: int) -> Images:
        return resize_by_area(synthetic.images([index])[0], image_size)

    images = _read_images("reading synthetic images", number, read, image_size)
    keys = np.array([f"{index:010d}" for index in range(number)])
    return Pairs(images, encoder.encode(synthetic.frame.iloc[:number]), keys)


def _read_images(label: str, number: int, read: Callable[[int], Images], image_size: int) -> Images:
    """Read images in threads, a block at a time: uint8 [number, image_size, image_size, 1]."""
    images = np.empty((number, image_size, image_size, 1), np.uint8)
    progress = Progress(label, number, "images")
    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="images") as threads:
        for start in range(0, number, _NUM_IMAGES_AT_ONCE):
            block = range(start, min(start + _NUM_IMAGES_AT_ONCE, number))
            for index, image in zip(block, threads.map(read, block), strict=True):
                images[index] = image
            progress.advance(len(block))
    progress.close()
    return images


def resize_by_area(image: Images, size: int) -> Images:
    """Return a grey image [H, W, 1] as uint8 [size, size, 1]: each pixel the mean of what it covers."""
    if image.shape[:2] == (size, size):
        return image
    resized = Image.fromarray(image[..., 0]).resize((size, size), Image.Resampling.BOX)
    return np.asarray(resized)[..., None]  # [size, size] -> [size, size, 1]
