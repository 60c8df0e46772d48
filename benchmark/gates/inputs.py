"""What a verdict is about: real images, synthetic ones, and what is known of both; loads no TensorFlow.

Every gate reads the same two datasets, in the form of build_dataset: `real_split("train")` are the images that the GAN
learnt from, `held_out_splits` real ones of other patients, `synthetic_split("train")` and its like synthetic ones.
"""

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.gates.subgroups import read_columns
from benchmark.gates.unlabelled import DCGAN, make_unlabelled_splits
from medsynth.classify.data import SplitData, read_split
from medsynth.classify.experiment import inference_folder, name_of_gan, real_results_folder, report_of_gan
from medsynth.data.labels import read_label_table, read_patients, require_split
from medsynth.data.manifest import check_manifest
from medsynth.data.tfrecords import Images, RecordFile, available_resolutions
from medsynth.data.wording import counted, listed
from medsynth.errors import DataError, UsageError
from medsynth.files import read_json, require_folder
from medsynth.metrics.features import DENSENET, require_extractor
from medsynth.networks.trained_classifier import BEST_WEIGHTS, TRAIN_FOLDER
from medsynth.runs import CONFIG_NAME, require_own_folder

SPLITS = ("train", "valid", "test")
JOINT_GAN = "joint GAN"
UNKNOWN = "synthetic"  # what `name_of_gan` says where nothing names the GAN
OUT_FOLDER = "verdict"
_IMAGES_PER_BLOCK = 256


@dataclass(frozen=True)
class Request:
    """What verdict.py was asked for.

    Attributes:
        results_dir: Of a GAN, with inference/; or of a DCGAN, which has none.
        data_dir: A dataset made by build_dataset, on which it was trained.
        resolution: Of the records; None for the GAN's own.
        out_dir: None for results_dir/verdict.
        metadata: A csv file about patients, with age or sex; None for none.
        features: One of `medsynth.metrics.features.EXTRACTORS`; None for the real classifier where it is trained.
        weights: Of these features.
        train: Train the classifiers that are missing.
        filter: Measure what it costs to drop the synthetic images nearest to training images.
        seed: Of every draw.
    """

    results_dir: Path
    data_dir: Path
    resolution: int | None = None
    out_dir: Path | None = None
    metadata: Path | None = None
    features: str | None = None
    weights: Path | None = None
    train: bool = False
    filter: bool = False
    seed: int = 0


@dataclass(frozen=True)
class ExtractorRequest:
    """Whose features of images are compared; `medsynth.metrics.features.load_extractor(name, weights)` loads it.

    Attributes:
        name: One of `medsynth.metrics.features.EXTRACTORS`.
        weights: A file, or for `densenet` the results folder of classifier_real.
        is_of_domain: Whether the network was trained on images of this kind: the real classifier.
    """

    name: str
    weights: Path | None
    is_of_domain: bool


@dataclass(frozen=True)
class SplitFacts:
    """A split in numbers.

    Attributes:
        num_images: N.
        num_patients: None where they are not known, or there are none (synthetic images).
        digest: SHA-256 of the images' checksums, hexadecimal.
    """

    num_images: int
    num_patients: int | None
    digest: str


@dataclass(frozen=True)
class VerdictInputs:
    """What the gates judge, checked: one resolution, the same channels and labels, no patient on both sides.

    Attributes:
        application: Name of the GAN; "synthetic" where nothing says it.
        resolution: Pixels a side of all images.
        data_dir: Holds real splits: `train` always, `valid` and `test` perhaps.
        results_dir: Of the GAN.
        synthetic_dir: Holds synthetic splits: `train`, `valid`, `test`, one of them at least.
        out_dir: For everything that the verdict makes.
        label_names: Of real and synthetic images alike; empty where the synthetic ones have none.
        held_out: Names of real splits whose patients are not in train, `test` first; empty where there are none.
        patients_known: Whether every real split says whose each image is.
        is_trained_on: Whether the GAN learnt from exactly the real training images; None where nothing says it.
        extractor: Whose features are compared; None where no classifier was trained and none was named.
        real: Facts of every real split.
        synthetic: Facts of every synthetic split.
        metadata: A csv file about patients, with age or sex; None for none.
        train: Whether missing classifiers are to be trained.
        filter: Whether the price of dropping the nearest synthetic images is to be measured.
        seed: Of every draw.
        notes: What a reader of any gate must know, a sentence each.
    """

    application: str
    resolution: int
    data_dir: Path
    results_dir: Path
    synthetic_dir: Path
    out_dir: Path
    label_names: tuple[str, ...]
    held_out: tuple[str, ...]
    patients_known: bool
    extractor: ExtractorRequest | None
    real: Mapping[str, SplitFacts]
    synthetic: Mapping[str, SplitFacts]
    metadata: Path | None = None
    train: bool = False
    filter: bool = False
    seed: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)
    is_trained_on: bool | None = None

    @property
    def command(self) -> str:
        """The command that made this verdict, without its options but --out, for a shell."""
        out = () if self.out_dir == self.results_dir / OUT_FOLDER else ("--out", str(self.out_dir))
        places = (str(self.results_dir), str(self.data_dir), str(self.resolution))
        return shlex.join(["python3", "benchmark/verdict.py", *places, *out])

    @property
    def held_out_splits(self) -> tuple[Path, ...]:
        """Folders of real splits whose patients are not in train, `test` first; empty where there are none."""
        return tuple(self.data_dir / name for name in self.held_out)

    def real_split(self, name: str) -> Path | None:
        """Return the folder of a real split, or None where there is none."""
        return self.data_dir / name if name in self.real else None

    def synthetic_split(self, name: str) -> Path | None:
        """Return the folder of a synthetic split, or None where there is none."""
        return self.synthetic_dir / name if name in self.synthetic else None


def read_inputs(request: Request) -> VerdictInputs:
    """Find and check what a verdict is about; of a DCGAN, which leaves no images, some are made.

    GAN_joint is for `benchmark.gates.joint_inputs.read_joint_inputs`.

    Raises:
        UsageError: Options that do not fit.
        DataError: Missing or damaged folders, images of other sizes or labels, patients in both train and test, or
            metadata that cannot be used.
        StepFailedError: No images could be made.
    """
    require_folder(request.results_dir, "the results of a GAN")
    require_split(request.data_dir / "train")
    application = name_of_gan(request.results_dir)
    out_dir = request.out_dir or request.results_dir / OUT_FOLDER
    require_own_folder(out_dir, [request.data_dir, request.results_dir])
    _require_metadata(request)
    has_labels = application != DCGAN or (request.results_dir / "inference").is_dir()
    resolution = request.resolution or _resolution(request, has_labels=has_labels)
    real = _read_splits(request.data_dir, resolution)
    held_out, patients_known, notes = _check_patients(request, real)
    if has_labels:
        synthetic_dir = inference_folder(request.results_dir)
    else:
        synthetic_dir = make_unlabelled_splits(
            request.results_dir, out_dir, {name: len(split) for name, split in real.items()}, resolution, request.seed
        )
    synthetic = _read_splits(synthetic_dir, resolution)
    if not synthetic:
        raise DataError(
            f"Synthetic images were expected here, in one of the folders {listed(SPLITS)}.",
            received="none of them",
            path=synthetic_dir,
        )
    label_names = _common_labels(real, synthetic)
    is_trained_on = _is_trained_on(request.results_dir, application, real["train"], resolution)
    return VerdictInputs(
        application=application,
        resolution=resolution,
        data_dir=request.data_dir,
        results_dir=request.results_dir,
        synthetic_dir=synthetic_dir,
        out_dir=out_dir,
        label_names=label_names,
        held_out=held_out,
        patients_known=patients_known,
        extractor=find_extractor(request, resolution),
        real={name: split_facts(split, with_patients=True) for name, split in real.items()},
        synthetic={name: split_facts(split, with_patients=False) for name, split in synthetic.items()},
        metadata=request.metadata,
        train=request.train,
        filter=request.filter,
        seed=request.seed,
        notes=(*notes, *_notes_on_gan(application, is_trained_on, real["train"])),
        is_trained_on=is_trained_on,
    )


def _require_metadata(request: Request) -> None:
    """Refuse metadata that would make no groups of the test images, before anything is measured.

    Raises:
        DataError: It is such; see `read_columns`.
    """
    if request.metadata is None:
        return
    if not request.metadata.is_file():
        raise DataError("A csv file about patients was expected here.", received="no such file", path=request.metadata)
    if (request.data_dir / "test").is_dir():
        table = read_label_table(request.data_dir / "test")
        read_columns(request.metadata, table.paths, table.names)


def _resolution(request: Request, *, has_labels: bool) -> int:
    """Return the GAN's own resolution, or else the finest one of both real and synthetic images."""
    settings = settings_of_gan(request.results_dir)
    if isinstance(settings.get("resolution"), int):
        return int(settings["resolution"])
    levels = set(available_resolutions(request.data_dir / "train"))
    if has_labels:
        folder = inference_folder(request.results_dir)
        levels &= {level for name in SPLITS for level in available_resolutions(folder / name)}
    if not levels:
        raise DataError(
            f"Real images (of {request.data_dir / 'train'}) and synthetic ones of one resolution were expected.",
            received="none in common",
            path=request.results_dir,
        )
    return 2 ** max(levels)


def settings_of_gan(results_dir: Path) -> dict[str, Any]:
    """Return config.json of a GAN's training; nothing where there is none."""
    path = results_dir / CONFIG_NAME
    settings = read_json(path) if path.is_file() else {}
    return settings if isinstance(settings, dict) else {}


def _read_splits(folder: Path, resolution: int) -> dict[str, SplitData]:
    """Open the splits that are there; images of another resolution are an error."""
    return {name: read_split(folder / name, resolution) for name in SPLITS if (folder / name).is_dir()}


def _check_patients(request: Request, real: Mapping[str, SplitData]) -> tuple[tuple[str, ...], bool, list[str]]:
    """Return which splits are of other patients than train, whether patients are known, and notes.

    Raises:
        DataError: Train and test share patients or images: then every gate would say too much good.
    """
    leaks = (
        *check_manifest(request.data_dir, allow_leak=True).allowed_leaks,
        *report_of_gan(request.results_dir, allow_leak=True).allowed_leaks,
    )
    patients = {name: _patients(split) for name, split in real.items()}
    train = patients["train"]
    held_out, notes = [], []
    for name in ("test", "valid"):
        others = patients.get(name)
        shared = sorted(train & others) if train is not None and others is not None else []
        num_images = 0 if name not in real else num_shared_images(real["train"].records, real[name].records)
        if name == "test" and (shared or num_images or leaks):
            _refuse_shared(request.data_dir, shared, num_images, leaks)
        if shared or num_images:
            what = counted(len(shared), "patient") if shared else counted(num_images, "image")
            notes.append(f"{name} shares {what} with train, so it is not used as held out.")
        elif name in real:
            held_out.append(name)
    patients_known = all(names is not None for names in patients.values())
    if not patients_known:
        notes.append(
            "Patients are not known, so that held-out images may be of patients in the training data, too, and every "
            "image counts as a case of its own."
        )
    if not held_out:
        notes.append("There are no held-out real images: neither test nor valid.")
    return tuple(held_out), patients_known, notes


def num_shared_images(train: RecordFile, others: RecordFile) -> int:
    """Return how many images of one file stand, pixel for pixel, in the other one, too."""
    if train.shape != others.shape:
        return 0  # `_common_labels` says so
    known = {hash_of for block in train.batches(_IMAGES_PER_BLOCK) for hash_of in map(_pixel_hash, block)}
    return sum(hash_of in known for block in others.batches(_IMAGES_PER_BLOCK) for hash_of in map(_pixel_hash, block))


def _pixel_hash(image: Images) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _refuse_shared(data_dir: Path, shared: list[str], num_images: int, leaks: tuple[str, ...]) -> None:
    examples = f" ({', '.join(shared[:3])}{' and others' if len(shared) > 3 else ''})" if shared else ""
    raise DataError(
        f"Train and test share patients or images{examples}, so that test images are not held out, and every gate "
        "would say too much. Build the dataset with separate splits, and train on it.",
        received=_received(shared, num_images, leaks),
        path=data_dir,
    )


def _received(shared: list[str], num_images: int, leaks: tuple[str, ...]) -> str:
    if shared:
        return f"{counted(len(shared), 'patient')} in both"
    return f"{counted(num_images, 'image')} in both" if num_images else ", ".join(leaks)


def _patients(split: SplitData) -> frozenset[str] | None:
    names = read_patients(split.folder, read_label_table(split.folder).paths)
    return None if names is None else frozenset(names)


def _common_labels(real: Mapping[str, SplitData], synthetic: Mapping[str, SplitData]) -> tuple[str, ...]:
    """Return the labels of all splits; none where the synthetic images have none.

    Raises:
        DataError: Splits differ in labels or in channels.
    """
    train = real["train"]
    is_labelled = any(split.names for split in synthetic.values())
    for split in (*real.values(), *synthetic.values()):
        if split.names != train.names and (split.names or is_labelled):
            raise DataError(
                f"The training images have the labels {', '.join(train.names)}; all others must have the same.",
                received=", ".join(split.names) or "none",
                path=split.folder,
            )
        if split.records.shape != train.records.shape:
            raise DataError(
                f"The training images are of shape {train.records.shape}; all others must be, too.",
                received=f"shape {split.records.shape}",
                path=split.records.path,
            )
    return train.names if is_labelled else ()


def find_extractor(request: Request, resolution: int) -> ExtractorRequest | None:
    """Return whose features are compared: those asked for, or else the real classifier's where it is trained."""
    if request.features is not None:
        require_extractor(request.features, request.weights)
        return ExtractorRequest(request.features, request.weights, request.features == DENSENET)
    if request.weights is not None:
        raise UsageError("--weights belongs to --features NAME.", received="--weights alone")
    results = real_results_folder(request.data_dir, resolution)
    if not (results / TRAIN_FOLDER / BEST_WEIGHTS).is_file():
        return None
    return ExtractorRequest(DENSENET, results, is_of_domain=True)


def split_facts(split: SplitData, *, with_patients: bool) -> SplitFacts:
    """Return a split in numbers.

    Args:
        split: Opened.
        with_patients: Whether they are to be counted.
    """
    patients = _patients(split) if with_patients else None
    return SplitFacts(len(split), None if patients is None else len(patients), split.records.digest)


def _is_trained_on(results_dir: Path, application: str, train: SplitData, resolution: int) -> bool | None:
    """Return whether the GAN learnt from these images; None where that is not known.

    A DCGAN's digest is one of frames, before they are put into records.
    """
    settings = settings_of_gan(results_dir)
    digest = settings.get("data.images_sha256")
    if digest is None or application == DCGAN or settings.get("resolution") != resolution:
        return None
    return bool(digest == train.records.digest)


def _notes_on_gan(application: str, is_trained_on: bool | None, train: SplitData) -> list[str]:
    """Say where it is not sure that the GAN was trained on these images."""
    if is_trained_on:
        return []
    if application == UNKNOWN:
        return ["Nothing says what made the synthetic images, nor what it was trained on."]
    if is_trained_on is None:
        return [
            f"Nothing says whether the {application} was trained on the images of {train.folder}. Copies of other "
            "images cannot be found."
        ]
    return [
        f"The images that the {application} was trained on are not exactly those of {train.folder} now; copies of "
        "images that are not there any more cannot be found."
    ]
