"""What metrics of a training's networks are known already, on disk."""

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.data.tfrecords import Images
from medsynth.files import make_folder, read_json, sha256_of, write_json, write_text
from medsynth.gan.sampling import Floats
from medsynth.metrics.birthday import SHARE_OF_REALS
from medsynth.metrics.cache import images_digest
from medsynth.metrics.catalogue import METRICS, MetricsRequest, metric_of_row
from medsynth.metrics.features import Extractor
from medsynth.metrics.modes import num_modes
from medsynth.report.metric_tables import MetricRow, metrics_csv, metrics_figure, metrics_text

METRICS_FOLDER = "metrics"  # of a training's results
_PIXELS = "pixels"


@dataclass(frozen=True)
class RealImages:
    """The real images that a generator is compared with.

    Attributes:
        images: uint8 [n, R, R, C].
        labels: float32 [n, L]; the synthetic images are made with these.
        others: uint8 [n, R, R, C], none of them in `images`; None where no floor is wanted.
        num_in_split: Real images that there are.
        grouped_by: "patient", or "image" where the data does not name patients.
        groups: The patient of each of `images`, [n]; None where the data does not name patients.
        other_groups: The same of `others`.
    """

    images: Images
    labels: Floats
    others: Images | None
    num_in_split: int
    grouped_by: str
    groups: npt.NDArray[np.int64] | None = None
    other_groups: npt.NDArray[np.int64] | None = None


class MetricsRecord:
    """The metrics of a training's networks, on disk after each one: <features>-<split>-n<n>-seed<seed>.json.

    What another run left there is kept as far as it is of the same real images, and is used as far as it
    is of the same weights.

    Args:
        folder: results_dir/metrics.
        application: Name of the GAN.
        request: What is computed.
        reals: The real images.
    """

    def __init__(self, folder: Path, application: str, request: MetricsRequest, reals: RealImages) -> None:
        make_folder(folder)
        features = request.features if request.needs_features else _PIXELS
        num_images = len(reals.images)
        floor = "" if request.with_floor else "-nofloor"
        self.path = folder / f"{features}-{request.split}-n{num_images}-seed{request.seed}{floor}.json"
        self._request, self._reals = request, reals
        self.settings: dict[str, Any] = {
            "application": application,
            "split": request.split,
            "n": num_images,
            "resolution": int(reals.images.shape[1]),
            "random_seed": request.seed,
            "num_real_images_in_split": reals.num_in_split,
            "images_drawn_by": reals.grouped_by,
            "real_images_sha256": images_digest(reals.images),
            "floor_images_sha256": None if reals.others is None else images_digest(reals.others),
        }
        self._notes: list[str] = []
        self._floors: dict[str, dict[str, Any]] = {}
        self._networks: dict[str, dict[str, Any]] = {}
        self._restore()

    def _restore(self) -> None:
        if not self.path.is_file():
            return
        stored = read_json(self.path)
        if not isinstance(stored, dict) or stored.get("settings") != self.settings:
            print(f"{self.path}: made of other real images; begun anew", file=sys.stderr)
            return
        floors, networks = stored.get("floors"), stored.get("networks")
        if not _are_rows(floors) or not isinstance(networks, dict) or not all(map(_is_network, networks.values())):
            print(f"{self.path}: damaged; begun anew", file=sys.stderr)
            return
        self._floors, self._networks = dict(floors or {}), networks

    def note(self, extractor: Extractor | None) -> list[str]:
        """Find, keep and return what a reader must know of these figures, a line each."""
        num_images, request = len(self._reals.images), self._request
        lines = []
        if num_images < request.num_images:
            share = "half of them serve as the floor" if request.with_floor else "all of them are used"
            lines.append(
                f"note: {request.num_images:,} images were asked for; the split has {self._reals.num_in_split:,}, "
                f"and {share}, so every figure is of n = {num_images:,} images"
            )
        if extractor is not None and num_images <= extractor.size and "fid" in request.metrics:
            lines.append(
                f"note: n = {num_images:,} is no more than the {extractor.size:,} features; FID is then mostly bias, "
                "so read it against the floor only"
            )
        if {"modes", "ndb"}.intersection(request.metrics):
            lines.append(f"note: modes, ndb: {num_modes(num_images)} modes of the real images, as follows from n")
        if {"birthday", "support"}.intersection(request.metrics):
            rest = "other image (patients are not known)" if self._reals.groups is None else "image of another patient"
            lines.append(
                f"note: birthday, support: n = {num_images:,}; near-duplicates are nearer to each other than "
                f"{1 - SHARE_OF_REALS:.0%} of the real images are to any {rest}"
            )
        self._notes = lines
        return lines

    def missing(self, folder: Path, names: Iterable[str], extractor: Extractor | None) -> tuple[str, ...]:
        """Return the metrics of a network that are not recorded for its present weights and these features."""
        entry = self._networks.get(folder.name, {})
        rows = entry.get("rows", {}) if entry.get("sha256") == _weights_digest(folder) else {}
        return tuple(name for name in names if rows.get(name, {}).get("sha256") != _digest_for(name, extractor))

    def has_floor(self, group: Iterable[str], extractor: Extractor | None) -> bool:
        """Return whether the floor of these metrics is recorded for these features."""
        return all(self._floors.get(name, {}).get("sha256") == _digest_for(name, extractor) for name in group)

    def add_floor(self, values: dict[str, float], extractor: Extractor | None) -> None:
        """Keep what real images score; it is written with the next network's metrics."""
        for name, value in values.items():
            self._floors[name] = {"value": value, "sha256": _digest_for(name, extractor)}

    def add(self, folder: Path, kimg: float, rows: dict[str, dict[str, float]], extractor: Extractor | None) -> None:
        """Record metrics of a network on disk."""
        digest = _weights_digest(folder)
        entry = self._networks.get(folder.name)
        if entry is None or entry["sha256"] != digest:
            entry = self._networks[folder.name] = {"kimg": kimg, "sha256": digest, "rows": {}}
        for name, row in rows.items():
            entry["rows"][name] = {
                **{key: None if math.isnan(value) else value for key, value in row.items()},
                "n": self.settings["n"],
                "floor": self._floors.get(name, {}).get("value"),
                "extractor": _label_for(name, extractor),
                "sha256": _digest_for(name, extractor),
            }
        stored = {"settings": self.settings, "notes": self._notes}
        write_json(self.path, stored | {"floors": self._floors, "networks": self._networks})

    def write(self, networks: Sequence[str], metrics: Sequence[str]) -> tuple[str, list[Path]]:
        """Write the csv, the text and, for several networks, the figure of these networks and metrics.

        Returns:
            The text, and every file of the record.
        """
        rows = list(self._rows(networks, metrics))
        settings = self.settings
        heading = [
            f"{settings['application']}: n = {settings['n']:,} synthetic images against as many of the "
            f"{settings['num_real_images_in_split']:,} real ones of {settings['split']}, "
            f"{settings['resolution']}x{settings['resolution']}, seed {settings['random_seed']}",
            f"intervals: 95 %, images drawn by {settings['images_drawn_by']}; 'real images': as many other real ones, "
            "which is what a perfect generator would score",
            *self._notes,
        ]
        paths = [self.path, self.path.with_suffix(".csv"), self.path.with_suffix(".txt")]
        text = metrics_text(rows, heading)
        write_text(paths[1], metrics_csv(rows))
        write_text(paths[2], text)
        if len(networks) > 1:
            paths.append(self.path.with_suffix(".png"))
            metrics_figure(paths[3], rows, title=heading[0])
        return text, paths

    def _rows(self, networks: Sequence[str], metrics: Sequence[str]) -> Iterable[MetricRow]:
        for network in networks:
            entry = self._networks[network]
            for name, row in entry["rows"].items():
                metric = metric_of_row(name)
                if metric not in metrics:
                    continue
                yield MetricRow(
                    network=network,
                    kimg=entry["kimg"],
                    metric=name,
                    title=METRICS[metric].title + (f", {name.rpartition('_')[2]} pixels" if metric != name else ""),
                    better=METRICS[metric].better,
                    value=row["value"],
                    low=_number(row["low"]),
                    high=_number(row["high"]),
                    num_images=row["n"],
                    floor=_number(row["floor"]),
                    extractor=row["extractor"],
                )


def _are_rows(found: Any) -> bool:
    """Return whether this maps names to values with the digest of what they were computed with."""
    return isinstance(found, dict) and all(
        isinstance(row, dict)
        and isinstance(row.get("sha256"), str)
        and all(row.get(key) is None or isinstance(row[key], int | float) for key in ("value", "low", "high", "floor"))
        for row in found.values()
    )


def _is_network(found: Any) -> bool:
    return isinstance(found, dict) and {"kimg", "sha256", "rows"} <= set(found) and _are_rows(found["rows"])


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _needs_pixels(name: str) -> bool:
    return METRICS[metric_of_row(name)].needs == _PIXELS


def _digest_for(name: str, extractor: Extractor | None) -> str:
    """Return the digest of what a metric is computed with."""
    return _PIXELS if extractor is None or _needs_pixels(name) else extractor.digest


def _label_for(name: str, extractor: Extractor | None) -> str:
    return _PIXELS if extractor is None or _needs_pixels(name) else extractor.label


def _weights_digest(folder: Path) -> str:
    """Return the SHA-256 of the averaged generator's file."""
    return sha256_of(folder / "average.safetensors")
