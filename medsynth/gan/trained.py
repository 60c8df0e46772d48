"""A stored generator and its labels, as the utilities and the release bundle use them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth import __version__
from medsynth.config import from_json
from medsynth.data.labels import read_label_table
from medsynth.data.tfrecords import Images
from medsynth.errors import DataError, NetworkError, UsageError
from medsynth.files import read_json, require_folder
from medsynth.gan.checksums import CHECKSUMS_NAME, verify_bundle
from medsynth.gan.sampling import SPLITS, Floats, Sampler, draw_latents, make_sampler
from medsynth.gan.schedule import Point, ScheduleConfig, growth_stage, schedule_at
from medsynth.gan.trainer import FINAL_FOLDER
from medsynth.runs import CONFIG_NAME
from medsynth.training.checkpoint import load_network

BLOCK_SIZE = 16
NUM_SEEDS = 2**32  # those of numpy's RandomState
SNAPSHOT_PREFIX = "network-snapshot-"
AVERAGE = "average"  # the stored network that makes pictures
_SNAPSHOT = re.compile(rf"{SNAPSHOT_PREFIX}\d{{6,}}")
_SCHEDULE = "schedule."

Labels = str | Sequence[str] | npt.ArrayLike


class TrainedGenerator:
    """A generator with its average weights, called as `generate(seeds, labels)`.

    Args:
        network: Maps latents [n, Z] and labels [n, L] to images [n, R, R, C] in [-1, 1].
        facts: What network.json says of it.
        lod: Level of detail that it had grown to; 0 is full resolution.
    """

    def __init__(self, network: Any, facts: Mapping[str, Any], lod: float = 0.0) -> None:
        self.network, self.facts, self.lod = network, facts, lod
        self.label_names: tuple[str, ...] = tuple(facts["label_names"])
        self._sampler = self.sampler(BLOCK_SIZE)

    @property
    def kimg(self) -> float:
        """Thousands of real images seen in its training."""
        return float(self.facts["images_seen"]) / 1000

    def __call__(self, seeds: npt.ArrayLike, labels: Labels = (), *, truncation: float = 1.0) -> Images:
        """Make images.

        Args:
            seeds: Integers [N] (or one), a seed of RandomState for each image; or latents, floats [N, Z].
            labels: Names ("Edema", "Edema,Mass" or a list) or 0s and 1s [L], the same for all images; or 0s and
                1s [N, L]. Left out where the generator knows no labels.
            truncation: Factor of the latents, in (0, 1]; see `require_truncation`.

        Returns:
            uint8 [N, R, R, C]. A seed and a label row give the same image, whatever else is asked for.

        Raises:
            UsageError: Unknown labels, or arrays of another form.
        """
        values = np.atleast_1d(seeds)
        rows = label_rows(labels, self.label_names, len(values))
        if values.ndim == 2:
            return np.concatenate(list(self._of_latents(values, rows, truncation)))
        return np.stack(list(self.stream(values, rows, truncation=truncation)))

    def stream(self, seeds: npt.ArrayLike, rows: Floats, *, truncation: float = 1.0) -> Iterator[Images]:
        """Yield the image [R, R, C] of each seed [N] and label row [N, L], a few at a time in memory.

        An image's place in its block follows from its seed, since the last bits of a convolution may
        depend on it.
        """
        require_truncation(truncation)
        numbers = _require_seeds(np.atleast_1d(seeds))
        for block in _blocks(numbers % BLOCK_SIZE):
            latents = [draw_latents(int(seed), 1, self.network.latent_size)[0] for seed in numbers[block]]
            yield from self._block(np.stack(latents) * np.float32(truncation), rows[block], numbers[block] % BLOCK_SIZE)

    def sampler(self, block_size: int) -> Sampler:
        """Return `make_sampler` of the network at its level of detail."""
        return make_sampler(
            self.network, block_size=block_size, stage=growth_stage(self.lod)[0], fade=np.float32(self.lod % 1)
        )

    def mark(self) -> str:
        """Return the sentence that every image and video carries in its metadata."""
        return (
            f"Synthetic: made by a generative model ({self.facts.get('application')}, {self.kimg:.1f} kimg, "
            f"medsynth {__version__}); not an image of a patient."
        )

    def _of_latents(self, latents: npt.NDArray[Any], rows: Floats, truncation: float) -> Iterator[Images]:
        require_truncation(truncation)
        if latents.shape[1] != self.network.latent_size or not len(latents):
            raise UsageError(f"Latents are floats [N, {self.network.latent_size}].", received=latents.shape)
        for start in range(0, len(latents), BLOCK_SIZE):
            block = (latents[start : start + BLOCK_SIZE] * truncation).astype(np.float32)
            yield self._block(block, rows[start : start + BLOCK_SIZE], np.arange(len(block)))

    def _block(self, latents: Floats, rows: Floats, places: npt.NDArray[np.int64]) -> Images:
        full_latents = np.zeros((BLOCK_SIZE, latents.shape[1]), np.float32)
        full_rows = np.zeros((BLOCK_SIZE, rows.shape[1]), np.float32)
        full_latents[places], full_rows[places] = latents, rows
        (images,) = self._sampler(full_latents, full_rows)
        return images[places]


def open_generator(
    classes: Mapping[str, type], results_dir: Path, snapshot: int | None = None, **options: Any
) -> TrainedGenerator:
    """Load the average generator of a training or of a release bundle.

    Args:
        classes: The application's `generator_classes`.
        results_dir: Holds network-final, network-snapshot-NNNNNN, and config.json (a bundle has none: its
            network is fully grown).
        snapshot: The NNNNNN (kimg) of a snapshot; the final network where not given.
        **options: Passed to the network's class (for example a dtype policy).

    Raises:
        NetworkError: There is no such network, or it is damaged; or a file of a bundle has changed.
    """
    if (results_dir / CHECKSUMS_NAME).is_file():
        verify_bundle(results_dir)
    folder = network_folder(results_dir, snapshot)
    network, facts = load_network(folder, AVERAGE, classes, **options)
    names, images_seen = facts.get("label_names"), facts.get("images_seen")
    if not isinstance(names, list) or not isinstance(images_seen, int) or len(names) != network.label_size:
        raise NetworkError(
            f"network.json must give images_seen and {network.label_size} label_names.",
            received={"label_names": names, "images_seen": images_seen},
            path=folder,
        )
    return TrainedGenerator(network, facts, _level(results_dir, images_seen, network.resolution).lod)


def network_folder(results_dir: Path, snapshot: int | None) -> Path:
    """Return the folder of the final network, or of the snapshot at a number of kimg.

    Raises:
        NetworkError: There is no snapshot of that number.
    """
    if results_dir.suffix == ".pkl":
        return results_dir  # which load_network refuses, with the reason
    if snapshot is None:
        return results_dir / FINAL_FOLDER
    folder = results_dir / f"{SNAPSHOT_PREFIX}{snapshot:06d}"
    if not folder.is_dir():
        found = [path.name.removeprefix(SNAPSHOT_PREFIX) for path in find_snapshots(results_dir)]
        raise NetworkError(
            f"There is no snapshot of that number; there are: {', '.join(found) or 'none'}.",
            received=snapshot,
            path=results_dir,
        )
    return folder


def find_snapshots(results_dir: Path) -> list[Path]:
    """Return the folders network-snapshot-NNNNNN, the oldest first; folders of similar names are left out."""
    found = [path for path in results_dir.glob(f"{SNAPSHOT_PREFIX}*") if _SNAPSHOT.fullmatch(path.name)]
    # Six digits, so that names sort as numbers do; a longer number is a newer snapshot.
    return sorted(found, key=lambda path: (len(path.name), path.name))


def _level(results_dir: Path, images_seen: int, resolution: int) -> Point:
    """Return where in its growth a network was stored."""
    path = results_dir / CONFIG_NAME
    settings = read_json(path) if path.is_file() else {}
    if not isinstance(settings, dict):
        raise DataError("The settings of a training were expected here.", received=settings, path=path)
    schedule = {key.removeprefix(_SCHEDULE): value for key, value in settings.items() if key.startswith(_SCHEDULE)}
    # Without a schedule there was no growing.
    config = from_json(ScheduleConfig, schedule or {"initial_resolution": resolution})
    return schedule_at(config, resolution, images_seen)


def require_truncation(truncation: float) -> None:
    """Refuse a factor of the latents outside (0, 1].

    1 leaves the latents as they were in training, less scales them toward 0. The generators normalise
    latents and labels together, so in GAN_prog a smaller factor gives the labels more weight against the
    latents, and changes nothing where there are no labels; GAN_cpd also conditions on the scaled latents
    themselves.

    Raises:
        UsageError: It is outside.
    """
    if not 0 < truncation <= 1:
        raise UsageError("--truncation is above 0 and at most 1.", received=truncation)


def label_rows(labels: Labels, names: Sequence[str], num_rows: int) -> Floats:
    """Return label rows: float32 [num_rows, L].

    Args:
        labels: Names, as one text with commas or a list, or 0s and 1s [L] or [num_rows, L].
        names: The L labels that the generator knows.
        num_rows: Rows to return.

    Raises:
        UsageError: Unknown names, another width, or values that are neither 0 nor 1.
    """
    if isinstance(labels, str) and labels in names:
        labels = [labels]  # which may have a comma in its name
    if isinstance(labels, str):
        labels = [part.strip() for part in labels.split(",")] if labels.strip() else []
    if not isinstance(labels, np.ndarray) and all(isinstance(label, str) for label in np.asarray(labels).flat):
        wanted = [str(label) for label in np.asarray(labels).flat]
        _require_names(wanted, names)
        values = np.array([name in wanted for name in names], np.float32)
    else:
        values = np.asarray(labels, np.float32)
    if values.shape not in ((len(names),), (num_rows, len(names))):
        raise UsageError(
            f"A label row of this generator has {len(names)} values: {', '.join(names)}.",
            received=f"an array of {'x'.join(map(str, values.shape))}",
        )
    if not np.isin(values, (0, 1)).all():
        raise UsageError("Labels are 0 or 1.", received=values[~np.isin(values, (0, 1))].flat[0])
    return np.broadcast_to(values, (num_rows, len(names)))


def _require_names(wanted: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in wanted if name not in names]
    if unknown and not names:
        raise UsageError("This generator was trained without labels; leave them out.", received=", ".join(wanted))
    if unknown:
        hint = " (where a name has a comma: --label-vector)" if any("," in name for name in names) else ""
        raise UsageError(f"Unknown label. This generator knows {', '.join(names)}{hint}.", received=", ".join(unknown))
    if names and not wanted:
        raise UsageError(
            f"This generator was trained with labels; give some of {', '.join(names)} (or a row of zeros for none).",
            received="no labels",
        )


def rows_of_split(data_dir: Path, split: str, names: Sequence[str]) -> Floats:
    """Return the label rows of a dataset's split, float32 [N, L] in csv order.

    Raises:
        DataError: No such split, or other labels than `names`.
    """
    if split not in SPLITS:
        raise UsageError(f"--split is one of {', '.join(SPLITS)}.", received=split)
    table = read_label_table(require_folder(data_dir / split, "a split of the dataset"))
    if table.names != tuple(names):
        raise DataError(
            f"The generator was trained with the labels {', '.join(names) or '(none)'}; the csv must have the same.",
            received=", ".join(table.names),
            path=data_dir / split / f"{split}.csv",
        )
    return table.values


def single_label_rows(names: Sequence[str]) -> tuple[list[str], Floats]:
    """Return a row for each label alone, with its name; one unnamed row where there are no labels."""
    if not names:
        return [""], np.zeros((1, 0), np.float32)
    return list(names), np.eye(len(names), dtype=np.float32)


def _require_seeds(seeds: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if seeds.ndim != 1 or not len(seeds) or not np.issubdtype(seeds.dtype, np.integer):
        raise UsageError(
            "Seeds are a list of integers, latents an array [N, Z].", received=f"{seeds.dtype} {seeds.shape}"
        )
    if seeds.min() < 0 or seeds.max() >= NUM_SEEDS:
        raise UsageError("Seeds are from 0 to 4294967295.", received=seeds.min() if seeds.min() < 0 else seeds.max())
    return seeds.astype(np.int64)


def _blocks(places: npt.NDArray[np.int64]) -> Iterator[slice]:
    """Yield runs of items that all have different places."""
    start, taken = 0, set[int]()
    for i, place in enumerate(places.tolist()):
        if place in taken:
            yield slice(start, i)
            start, taken = i, set()
        taken.add(place)
    yield slice(start, len(places))
