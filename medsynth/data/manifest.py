"""manifest.json, the result of a dataset's audit, as trainings read it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medsynth.data.wording import counted
from medsynth.errors import DataError
from medsynth.files import read_json, sha256_of

MANIFEST_NAME = "manifest.json"
FORM_VERSION = 1  # raise it whenever readers of the old form would go wrong
ALLOWED_LEAKS = "data.allowed_leaks"  # in config.json of a training
PATIENTS, EXACT, NEAR = "patients", "exact_duplicates", "near_duplicates"

_TRAIN_TEST = "train-test"
_WORDS = {PATIENTS: "patient", EXACT: "identical image", NEAR: "near duplicate"}
# Small, and what a training goes by; the records check themselves when they are opened.
_HASHED_AGAIN = (".csv", ".labels", ".txt", ".json")


@dataclass(frozen=True)
class DataReport:
    """What a training is to know of its data.

    Attributes:
        warnings: A sentence each, to be logged.
        allowed_leaks: What train and test share, where the user allowed it; part of the training's settings.
    """

    warnings: tuple[str, ...] = ()
    allowed_leaks: tuple[str, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return the entry for config.json; none where there is no leak, as for most trainings."""
        return {ALLOWED_LEAKS: list(self.allowed_leaks)} if self.allowed_leaks else {}

    def lines(self) -> list[str]:
        """Return a line for the log per warning and leak."""
        leaks = [f"train and test share {leak}, allowed by --allow-leak" for leak in self.allowed_leaks]
        return [f"warning: {sentence}" for sentence in (*leaks, *self.warnings)]


def verify_hint(data_dir: Path) -> str:
    """Return the command that audits a dataset, as a sentence."""
    return f"Run python3 build_dataset/dataset_tool.py verify {data_dir}."


def check_manifest(data_dir: Path, *, allow_leak: bool) -> DataReport:
    """Read data_dir/manifest.json before a training.

    Args:
        data_dir: A dataset: the folder that holds train, valid and test.
        allow_leak: Go on where train and test share patients or images.

    Raises:
        DataError: They do, and it is not allowed; or the manifest is damaged.
    """
    path = data_dir / MANIFEST_NAME
    if not path.is_file():
        return DataReport((f"{data_dir} was never audited for leaks between train and test. {verify_hint(data_dir)}",))
    manifest = _read(path)
    if manifest.get("form_version") != FORM_VERSION:
        return DataReport((f"{path} was made by another version of this suite. {verify_hint(data_dir)}",))
    try:
        leaks, changes, remarks = _leaks(manifest), list(_changes(data_dir, manifest)), list(_remarks(manifest))
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from None
    subject = "This dataset, which has changed since its audit," if changes else "This dataset"
    refuse_leaks(leaks, data_dir, subject, allow_leak=allow_leak)
    return DataReport((*changes, *remarks), tuple(leaks))


def read_earlier_files(root: Path) -> dict[str, str] | None:
    """Return the sha256 of every file, by name, as an earlier audit of `root` wrote them down.

    Returns:
        Nothing in it where there was no audit; None where its manifest cannot be read.
    """
    try:
        files = _read(root / MANIFEST_NAME)["files"] if (root / MANIFEST_NAME).is_file() else {}
        return {str(name): str(facts["sha256"]) for name, facts in files.items()}
    except (DataError, OSError, KeyError, TypeError, AttributeError):
        return None


def refuse_leaks(leaks: Sequence[str], place: Path, subject: str, *, allow_leak: bool) -> None:
    """Stop a training on data whose train and test splits share something.

    Args:
        leaks: What they share; nothing happens where that is nothing.
        place: The folder it is about.
        subject: Beginning of the message: what has these splits.
        allow_leak: Whether the user said so.

    Raises:
        DataError: They share something, and it is not allowed.
    """
    if leaks and not allow_leak:
        raise DataError(
            f"{subject} has patients or images in both train and test, so that results would look too good. Build "
            "it with separate splits and verify it again, or go on with --allow-leak.",
            received=", ".join(leaks),
            path=place,
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        manifest = read_json(path)
    except DataError as error:
        raise _damaged(path, error.received) from None
    if not isinstance(manifest, dict):
        raise _damaged(path, type(manifest).__name__)
    return manifest


def _damaged(path: Path, received: object) -> DataError:
    return DataError(f"The manifest is damaged. {verify_hint(path.parent)}", received=received, path=path)


def _leaks(manifest: dict[str, Any]) -> list[str]:
    """Return what train and test share beyond doubt."""
    shared = manifest["overlaps"].get(_TRAIN_TEST, {})
    return [counted(shared[kind], _WORDS[kind]) for kind in (PATIENTS, EXACT) if shared.get(kind)]


def _remarks(manifest: dict[str, Any]) -> Iterator[str]:
    """Yield what was found and does not stop a training."""
    for splits, shared in manifest["overlaps"].items():
        first, second = splits.split("-")
        for kind, count in shared.items():
            if count and (splits != _TRAIN_TEST or kind == NEAR):
                yield f"{first} and {second} share {counted(count, _WORDS[kind])}"
    for kind, words in _WORDS.items():
        unknown = [splits for splits, shared in manifest["overlaps"].items() if shared[kind] is None]
        if unknown:
            yield f"the audit could not look for {words}s in {', '.join(unknown)}"
    damage = [finding for finding in manifest["findings"] if finding["severity"] == "error" and not finding["is_leak"]]
    if damage:
        errors = counted(len(damage), "error")
        yield f"the audit found {errors}, the first in {damage[0]['place']}: {damage[0]['message']}"


def _changes(data_dir: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """Yield a sentence where files were added, removed or changed; records are known by their size alone."""
    known = manifest["files"]
    folders = {Path(name).parts[0] for name in known if len(Path(name).parts) > 1}
    found = {path.relative_to(data_dir).as_posix() for folder in folders for path in (data_dir / folder).rglob("*")}
    present = {name for name in found | set(known) if (data_dir / name).is_file()}
    different = present ^ set(known)
    different |= {name for name in present & set(known) if not _is_same(data_dir / name, known[name])}
    if different:
        files = counted(len(different), "file")
        yield f"{files} changed since the audit, such as {min(different)}. {verify_hint(data_dir)}"


def _is_same(path: Path, facts: dict[str, Any]) -> bool:
    if path.stat().st_size != facts["size"]:
        return False
    return path.suffix not in _HASHED_AGAIN or sha256_of(path) == facts["sha256"]
