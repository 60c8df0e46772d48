"""What xplain.py of classifier_real and classifier_fake does.

Settings, labels and data are read and checked before TensorFlow is loaded.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.classify.config import ExplainConfig, apply_overrides, read_config
from medsynth.classify.data import SplitData, read_split
from medsynth.classify.explain import methods, table
from medsynth.classify.explain.measure import (
    Explanation,
    Task,
    explain_images,
    read_explanation,
    write_explanation,
)
from medsynth.classify.testing import TEST_FOLDER, require_as_trained
from medsynth.data.labels import read_label_table, read_patients, record_order
from medsynth.errors import UsageError
from medsynth.files import make_folder, write_json, write_text
from medsynth.networks.trained_classifier import TrainedClassifier, read_classifier
from medsynth.progress import Progress

FOLDER, RESULTS = "xplain", "xplain.json"
NOTE = (
    "deletion: the most important pixels are replaced by ImageNet's mean grey first; a low area is good\n"
    "insertion: the most important pixels are put into the blurred image first; a high area is good\n"
    "gain: better than a random map of the same grain; Spearman: with the map of the network with random weights\n"
)


@dataclass(frozen=True)
class Request:
    """What xplain.py was asked for.

    Attributes:
        model_dir: The folder of config.ini.
        split_folder: The images to explain.
        results: The classifier's results folder.
        resolution: Must be the training's.
        num_images: Of each label.
        labels: Which labels; none for all.
        methods: Keys of `METHODS`.
        overrides: `key=value` each.
    """

    model_dir: Path
    split_folder: Path
    results: Path
    resolution: int
    num_images: int
    labels: tuple[str, ...]
    methods: tuple[str, ...]
    overrides: list[str]

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        split = self.split_folder.name
        return self.results / TEST_FOLDER / (FOLDER if split == TEST_FOLDER else f"{FOLDER}-{split}")


def explain(request: Request, *, dry_run: bool = False) -> None:
    """Explain the first positive images of each label, measure the maps, and write them into `request.folder`.

    A label that was finished with the same settings is not computed again.

    Raises:
        MedsynthError: Unusable settings, classifier, labels or data.
    """
    if request.num_images < 1:
        raise UsageError("--num is the number of images of each label, 1 or more.", received=request.num_images)
    config = apply_overrides(read_config(request.model_dir), request.overrides, "xplain")
    trained = read_classifier(request.results, use_best_weights=config.test.use_best_weights)
    require_as_trained(trained, config, request.overrides, request.resolution)
    require_dividing_patch(config.xplain, trained.image_dimension)
    data = read_split(request.split_folder, request.resolution)
    trained.require_labels(data.names, request.split_folder)
    chosen = choose_images(data, request.labels, request.num_images)
    num_images = sum(len(records) for records in chosen.values())
    passes = methods.passes_of_image(request.methods, config.xplain, trained.image_dimension)
    if dry_run:
        print(f"would explain {num_images} images of {len(chosen)} labels in {request.split_folder} with "
              f"{trained.weights}: {passes:,} passes of the network each")  # fmt: skip
        return

    print(f"building the network of {trained.weights}", flush=True)
    (make_folder(request.folder) / RESULTS).unlink(missing_ok=True)  # of an earlier run; it is written last
    job = _Job(request, config.xplain, trained, data)
    progress = Progress("explain", num_images * passes, "network passes")
    explanations = [job.explain_label(label, records, progress) for label, records in chosen.items()]
    progress.close()
    _write_tables(job, explanations)


def choose_images(data: SplitData, labels: tuple[str, ...], num_images: int) -> dict[str, npt.NDArray[np.int64]]:
    """Return the records to explain for each label: its first positives in record order, whatever their scores.

    Args:
        data: The split.
        labels: Which; none for all that have a positive image.
        num_images: Most of each.

    Raises:
        UsageError: An unknown label, or one without a positive image.
    """
    unknown = [name for name in labels if name not in data.names]
    if unknown:
        raise UsageError(f"--label is one of {', '.join(data.names)}.", received=", ".join(unknown))
    positives = {
        name: np.flatnonzero(data.labels[:, data.names.index(name)] > 0)[:num_images] for name in labels or data.names
    }
    empty = [name for name, records in positives.items() if len(records) == 0]
    if empty and (labels or len(empty) == len(positives)):
        raise UsageError(
            f"Only positive images are explained, and {data.folder} has none of this label.", received=", ".join(empty)
        )
    return {name: records for name, records in positives.items() if len(records)}


def require_dividing_patch(config: ExplainConfig, image_dimension: int) -> None:
    """Refuse an occlusion patch that does not divide the image: tf-explain would shift the map.

    Raises:
        UsageError: Names the setting.
    """
    if image_dimension % config.occlusion_patch or config.occlusion_patch == image_dimension:
        raise UsageError(
            f"occlusion_patch in [XPLAIN] must divide image_dimension={image_dimension} and be smaller.",
            received=config.occlusion_patch,
        )


def file_stem(names: tuple[str, ...], label: str) -> str:
    """Return a file name for a label: its number and its letters, such as `02-pleural-effusion`."""
    return f"{names.index(label):02d}-{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')}"


@dataclass
class _Job:
    """Settings, classifier and data of a call; the network is built when a label needs it.

    Attributes:
        request: What was asked for.
        config: [XPLAIN].
        trained: The classifier.
        data: The split.
    """

    request: Request
    config: ExplainConfig
    trained: TrainedClassifier
    data: SplitData

    def explain_label(self, label: str, records: npt.NDArray[np.int64], progress: Progress) -> Explanation:
        """Return the explanation of a label, from its file where that is finished; write file and sheet."""
        task = Task(label, self.data.names.index(label), records, self.request.methods, self.config)
        path = self.request.folder / f"{file_stem(self.data.names, label)}.npz"
        facts = self._facts(task)
        images = self._images(records)
        found = read_explanation(path, facts)
        if found is None:
            found = explain_images(self._explainer, task, images, progress.advance)
            write_explanation(path, found, facts)
        else:
            dimension = self.trained.image_dimension
            progress.advance(len(records) * methods.passes_of_image(task.methods, self.config, dimension))
        self._draw(found, images, path.with_suffix(".png"))
        return found

    def _facts(self, task: Task) -> dict[str, Any]:
        """Return everything that the numbers of a label depend on."""
        settings = dataclasses.asdict(self.config)
        del settings["batchsize_xplain"]
        return {
            "label": task.label,
            "records": task.records.tolist(),
            "methods": list(task.methods),
            "weights_sha256": self._weights_digest,
            "images_sha256": self.data.records.digest,
            **settings,
        }

    @functools.cached_property
    def _weights_digest(self) -> str:
        return self.trained.weights_digest()

    @functools.cached_property
    def _explainer(self) -> Any:
        from medsynth.classify.explain.explainer import Explainer, choose_cam_layer  # noqa: PLC0415  (loads TensorFlow)

        classifier = self.trained.build("float32")
        return Explainer(classifier, self.config, choose_cam_layer(classifier, self.config.cam_layer))

    def _images(self, records: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return images of the split as the network sees them, float32 [N, D, D, 3] in [0, 255]."""
        from medsynth.classify.explain.explainer import pixels  # noqa: PLC0415
        from medsynth.networks.imagenet_input import preprocess  # noqa: PLC0415

        stored = self.data.records.read(records)
        seen = pixels(np.asarray(preprocess(stored, self.trained.image_dimension, self.trained.resize)))
        return np.clip(seen, 0, 255)  # beyond by rounding only

    def _draw(self, found: Explanation, images: npt.NDArray[np.float32], path: Path) -> None:
        from medsynth.report.explain_figures import map_sheet  # noqa: PLC0415

        deletion, insertion = table.areas(found.deletion), table.areas(found.insertion)
        places = range(len(found.methods))
        map_sheet(
            path,
            np.round(images).astype(np.uint8),
            found.maps,
            columns=[methods.METHODS[name].title for name in found.methods],
            rows=[
                f"record {record}\nscore {score:.3f}"
                for record, score in zip(found.records, found.scores, strict=True)
            ],
            cells=[[f"del {deletion[row, place]:.3f}   ins {insertion[row, place]:.3f}" for place in places]
                   for row in range(len(images))],
            title=f"{found.label}, explained by {self.trained.description}",
            note="coloured: what speaks for the label, each map scaled by itself. "
            "del, ins: areas under the deletion curve (low is good) and the insertion curve (high is good)",
        )  # fmt: skip


def _write_tables(job: _Job, explanations: Sequence[Explanation]) -> None:
    """Write xplain.json, .csv and .txt, and print the last."""
    split = job.request.split_folder
    labels = read_label_table(split)
    patients = read_patients(split, labels.paths)
    order = record_order(len(job.data))
    clusters = [str(row) if patients is None else patients[row] for row in order]
    unit = "images" if patients is None else "patients"
    rows = table.table_rows(explanations, clusters)
    ends = {one.label: table.probabilities(one) for one in explanations}
    gaps = np.concatenate([one.completeness_gap for one in explanations])
    lines = [f"{job.trained.description}, {job.trained.weights.name}, explained on {split}", NOTE]
    if np.isfinite(gaps).any():
        lines.append(f"integrated gradients miss logit(image) - logit(black) by {np.nanmedian(gaps):.1%} in the median")
    if not job.trained.is_finished:
        lines.append("the training of these weights was not finished")
    text = "\n".join([*lines, "", table.rows_for_reading(rows, unit, ends)])
    facts = {
        "classifier": job.trained.description,
        "trained_on": job.trained.settings["trained_on"],
        "weights": job.trained.weights.name,
        "split": str(split),
        "intervals_over": unit,
        "settings": dataclasses.asdict(job.config),
        "integrated_gradients_gap": float(np.nanmedian(gaps)) if np.isfinite(gaps).any() else None,
        "probabilities": ends,
        "rows": table.rows_for_json(rows),
    }
    write_text(job.request.folder / "xplain.csv", table.rows_for_csv(rows))
    write_text(job.request.folder / "xplain.txt", text)
    write_json(job.request.folder / RESULTS, facts)
    print(text, end="")
