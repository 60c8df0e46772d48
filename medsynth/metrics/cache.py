"""Features of images on disk, so that they are computed once for all snapshots and runs."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.tfrecords import Images, RecordFile
from medsynth.errors import NetworkError
from medsynth.metrics.features import Extractor

Floats = npt.NDArray[np.float32]

# Records whose features share a file: 32 MiB of 1024 features. A multiple of every extractor's block.
RECORDS_PER_PART = 8192


def images_digest(images: Images) -> str:
    """Return the SHA-256 of images [N, H, W, C] with their shape, hexadecimal."""
    digest = hashlib.sha256(str(images.shape).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


class FeatureCache:
    """A folder of features, each file found by the network, the images and their number.

    Args:
        folder: Made when something is stored; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def read(self, extractor: Extractor, images: Images) -> Floats | None:
        """Return the features [N, D] of images [N, H, W, C], or None where they are not there, or not whole."""
        return None if self.folder is None else self._read(_facts(extractor, images))

    def features(
        self, extractor: Extractor, images: Images, compute: Callable[[Images], Floats] | None = None
    ) -> Floats:
        """Return float32 features [N, D], from disk where they are there, else computed and stored.

        Args:
            extractor: The network.
            images: uint8 [N, H, W, C].
            compute: What to call instead of the extractor (to show progress).
        """
        if self.folder is None:
            return (compute or extractor)(images)
        facts = _facts(extractor, images)
        found = self._read(facts)
        if found is None:
            found = (compute or extractor)(images)
            self._write(facts, found)
        return found

    def part(
        self, extractor: Extractor, records: RecordFile, start: int, *, mirrored: bool, advance: Callable[[int], object]
    ) -> Floats:
        """Return features of `RECORDS_PER_PART` records, from disk where they are there, else computed and stored.

        The records are known by the checksums of their file, and read only where features are computed.

        Args:
            extractor: The network.
            records: All records.
            start: The first record of the part, a multiple of `RECORDS_PER_PART`.
            mirrored: Of their mirror images instead.
            advance: Called with the number of further images whose features were computed.

        Returns:
            float32 [n, D], fewer than `RECORDS_PER_PART` at the end of the file.
        """
        stop = min(start + RECORDS_PER_PART, len(records))
        facts = {
            **_facts_of_extractor(extractor),
            "records_sha256": records.digest,
            "first_record": start,
            "num_images": stop - start,
            "mirrored": mirrored,
        }
        found = self._read(facts)
        if found is None:
            blocks = []
            for first in range(start, stop, extractor.block_size):
                images = records.read(range(first, min(first + extractor.block_size, stop)))
                blocks.append(extractor(images[:, :, ::-1] if mirrored else images))
                advance(len(images))
            found = np.concatenate(blocks)
            self._write(facts, found)
        return found

    def _read(self, facts: dict[str, Any]) -> Floats | None:
        from medsynth.training.checkpoint import read_arrays  # noqa: PLC0415  (loads Keras)

        if self.folder is None:
            return None
        try:
            arrays, stored = read_arrays(self._path(self.folder, facts))
        except NetworkError:
            return None
        return np.asarray(arrays["features"], np.float32) if stored == facts and "features" in arrays else None

    def _write(self, facts: dict[str, Any], features: Floats) -> None:
        from medsynth.training.checkpoint import write_arrays  # noqa: PLC0415

        if self.folder is not None:
            write_arrays(self._path(self.folder, facts), {"features": features}, facts)

    @staticmethod
    def _path(folder: Path, facts: dict[str, Any]) -> Path:
        key = hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()[:16]
        return folder / f"features-{facts['extractor']}-n{facts['num_images']}-{key}.safetensors"


@dataclass(frozen=True)
class RecordFeatures:
    """The features of all images of a record file, as often as they are asked for, one part in memory at a time.

    What is computed is stored part by part, so that a run that is stopped goes on where it was.

    Attributes:
        cache: Where they are stored.
        extractor: The network.
        records: The images.
        mirrored: Take the mirror images instead.
        advance: Called with the number of further images whose features were computed.
    """

    cache: FeatureCache
    extractor: Extractor
    records: RecordFile
    mirrored: bool = False
    advance: Callable[[int], object] = field(default=lambda num_images: None)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Floats]:
        for start in range(0, len(self.records), RECORDS_PER_PART):
            yield self.cache.part(self.extractor, self.records, start, mirrored=self.mirrored, advance=self.advance)


def _facts_of_extractor(extractor: Extractor) -> dict[str, Any]:
    return {
        "extractor": extractor.name,
        # Beside the weights, since it says at which size and how images enter the network.
        "extractor_label": extractor.label,
        "extractor_sha256": extractor.digest,
        "num_features": extractor.size,
    }


def _facts(extractor: Extractor, images: Images) -> dict[str, Any]:
    return {
        **_facts_of_extractor(extractor),
        "images_sha256": images_digest(images),
        "num_images": len(images),
    }
