"""Real and synthetic images together as a dataset, for a classifier that is trained on both."""

from pathlib import Path
from typing import Any

from benchmark.gates.inputs import VerdictInputs
from medsynth.classify.experiment import JOINED, REAL, TRAINING_IMAGES
from medsynth.data.derived_splits import write_union
from medsynth.data.labels import DESCRIPTION_NAME
from medsynth.data.pyramid import open_records
from medsynth.errors import DataError
from medsynth.files import explained_writes, make_folder, read_json, write_json

AUGMENTED_FOLDER = "real_and_synthetic"
_TRAIN, _EVALUATED = "train", ("valid", "test")


def augmented_dir(inputs: VerdictInputs) -> Path:
    """Return where the dataset of real and synthetic images lies, or will lie."""
    return inputs.results_dir / AUGMENTED_FOLDER


def is_augmented_current(inputs: VerdictInputs) -> bool:
    """Return whether the dataset is there and made of the images as they are now."""
    path = augmented_dir(inputs) / DESCRIPTION_NAME
    if not path.is_file() or _TRAIN not in inputs.synthetic:
        return False
    try:
        return bool(read_json(path) == _description(inputs))
    except DataError:
        return False


def augmented_digest(inputs: VerdictInputs) -> str | None:
    """Return the digest of the joined training images' checksums, "outdated" where they are of other images.

    None where the dataset is not there.
    """
    if is_augmented_current(inputs):
        return open_records(augmented_dir(inputs) / _TRAIN, inputs.resolution).digest
    return "outdated" if (augmented_dir(inputs) / DESCRIPTION_NAME).is_file() else None


def write_augmented(inputs: VerdictInputs) -> Path:
    """Write results_dir/real_and_synthetic, unless it is there: train of both, valid and test the real ones' own.

    Its dataset.json says what the training images are, and classifier_real goes by it. It is written last, so what was
    stopped is made again.

    Returns:
        The folder.

    Raises:
        DataError: There are no synthetic training images, or they do not fit the real ones.
    """
    target = augmented_dir(inputs)
    if is_augmented_current(inputs):
        return target
    synthetic = inputs.synthetic_split(_TRAIN)
    if synthetic is None:
        raise DataError(
            "Synthetic training images were expected in train.", received="no such folder", path=inputs.synthetic_dir
        )
    make_folder(target)
    (target / DESCRIPTION_NAME).unlink(missing_ok=True)
    write_union(target / _TRAIN, [inputs.data_dir / _TRAIN, synthetic])
    for name in _EVALUATED:
        split = inputs.real_split(name)
        if split is not None:
            link_split(target / name, split)
    write_json(target / DESCRIPTION_NAME, _description(inputs))
    return target


def link_split(link: Path, split: Path) -> None:
    """Make `link` lead to a split; an older link is replaced."""
    with explained_writes(link):
        link.unlink(missing_ok=True)
        link.symlink_to(split.resolve(), target_is_directory=True)


def _description(inputs: VerdictInputs) -> dict[str, Any]:
    """Return dataset.json: what the images are, and what tells others from them."""
    return {
        TRAINING_IMAGES: JOINED.join((REAL, inputs.application)),
        "patients_known": inputs.patients_known,
        "num_real_images": inputs.real[_TRAIN].num_images,
        "num_synthetic_images": inputs.synthetic[_TRAIN].num_images,
        "images_sha256": {
            "real train": inputs.real[_TRAIN].digest,
            "synthetic train": inputs.synthetic[_TRAIN].digest,
            **{f"real {name}": inputs.real[name].digest for name in _EVALUATED if name in inputs.real},
        },
    }
