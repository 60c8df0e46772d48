"""Tests a trained run on images it has not seen: classes, masks, and where the network looks."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from classifier_segment.building import ClassifierParts, open_classifier, open_segmenter
from classifier_segment.data import Examples, SegmentData, batches
from classifier_segment.evaluation.classification import classification_report
from classifier_segment.evaluation.pointing import saliency_report
from classifier_segment.evaluation.segmentation import segmentation_report
from classifier_segment.evaluation.sheets import map_contact_sheet, mask_contact_sheet, save_map
from classifier_segment.inputs import segmentation_cut
from classifier_segment.runs import BEST_WEIGHTS, Run, test_folder
from classifier_segment.settings import SEGMENTATION, Settings
from medsynth.data.images import Images
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError
from medsynth.files import make_folder, write_json, write_text
from medsynth.progress import Progress

Log = Callable[[str], None]
Floats = npt.NDArray[np.float32]
_TITLES = {"hirescam": "HiResCAM", "grad-cam": "Grad-CAM"}
METRICS, PREDICTIONS = "metrics.json", "predictions.csv"


class ClassPredictions(NamedTuple):
    """What a classifier says of N test examples.

    Attributes:
        probabilities: [N, L].
        maps: HiResCAM of the true class at the training's layer, [N, S, S] in [0, 1].
        pictures: Maps of the predicted class for `generate_map`, or None.
        views: The part of each image that the network sees, uint8 [N, S, S, 3].
        masks: Over it, bool [N, S, S].
    """

    probabilities: Floats
    maps: Floats
    pictures: Floats | None
    views: Images
    masks: npt.NDArray[np.bool_]


def test_run(run: Run, settings: Settings, data: SegmentData, *, log: Log) -> dict[str, Any]:
    """Test the best weights of a run, write what came out into its folder, and return the metrics.

    Args:
        run: Its training has ended, or at least had an epoch.
        settings: Of the test: `data`, `generate_map`, `sgm_type` of a segmenter. The network's own are the run's.
        data: The test images.
        log: Takes lines for people.

    Raises:
        DataError: Images of other classes than the training's.
    """
    if data.class_names != run.class_names:
        raise DataError(
            f"The classes of the training, {', '.join(run.class_names)}, were expected in this order.",
            received=", ".join(data.class_names),
            path=data.coco.path,
        )
    examples = data.examples(settings.unit)
    log(f"testing version {run.version} on {data.coco.path}: {counted(len(examples), 'example')}")
    test = _test_segmenter if run.settings.kind == SEGMENTATION else _test_classifier
    folder = make_folder(test_folder(run, settings))
    metrics = test(run, settings, data, examples, folder, log)
    facts = {
        "run": str(run.path),
        "data": str(data.coco.path),
        "data_digest": data.facts.digest,
        "unit": settings.unit,
        "intervals_over": settings.data.group_by or "images",
        "num_examples": len(examples),
    }
    write_json(folder / METRICS, facts | metrics)
    log(f"results: {folder}")
    return facts | metrics


def _test_classifier(
    run: Run, settings: Settings, data: SegmentData, examples: Examples, folder: Path, log: Log
) -> dict[str, Any]:
    # Its segmenter lies in the same results_dir, wherever that was moved to.
    own = replace(run.settings, results_dir=settings.results_dir)
    parts = open_classifier(own, weights=run.path / BEST_WEIGHTS)
    found = predict_classes(parts, data, examples, settings)
    clusters = clusters_of(data, examples, settings.data.group_by)
    classes = classification_report(examples.label, found.probabilities, data.class_names, clusters)
    saliency = saliency_report(found.maps, found.masks, _names(data, examples), clusters)
    for report, name in ((classes, "classes"), (saliency, "saliency")):
        report.write(make_folder(folder / name))
        log(report.describe())
    _write_predictions(folder / PREDICTIONS, data, examples, found.probabilities)
    if found.pictures is not None and settings.generate_map is not None:
        _draw_maps(run, settings, data, examples, found, log)
    return {"classes": classes.metrics(), "saliency": saliency.metrics()}


def predict_classes(
    parts: ClassifierParts, data: SegmentData, examples: Examples, settings: Settings
) -> ClassPredictions:
    """Return what a classifier says of examples; maps are made in the same pass."""
    size, method = data.settings.image_size, settings.generate_map

    @tf.function(autograph=False, reduce_retracing=True)
    def step(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        images = parts.prepare.images(batch["image"])
        found = parts.saliency(images, batch["label"])
        out = {
            "probabilities": tf.nn.softmax(tf.cast(found.logits, tf.float32)),
            "maps": found.maps((size, size)),
            "views": tf.cast(tf.clip_by_value(255 * parts.prepare.view(batch["image"]) + 0.5, 0, 255), tf.uint8),
            "masks": parts.prepare.masks(batch["mask"]) > 0,
        }
        if method is not None:
            out["pictures"] = parts.pictures(images).maps((size, size), method)
        return out

    gathered = _gather(step, data, examples, settings.train.batch_size, f"test {data.coco.path.name}")
    return ClassPredictions(**{"pictures": None, **gathered})


def _gather(
    step: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]],
    data: SegmentData,
    examples: Examples,
    batch_size: int,
    label: str,
) -> dict[str, Any]:
    parts: dict[str, list[Any]] = {}
    progress = Progress(label, len(examples), "images")
    for batch in batches(data, examples, batch_size=batch_size):
        for name, values in step(batch).items():
            parts.setdefault(name, []).append(values.numpy())
        progress.advance(len(batch["label"]))
    progress.close()
    return {name: np.concatenate(values) for name, values in parts.items()}


def _draw_maps(
    run: Run, settings: Settings, data: SegmentData, examples: Examples, found: ClassPredictions, log: Log
) -> None:
    """Write a sheet of all maps, and a file each under the published names."""
    if found.pictures is None or settings.generate_map is None:
        return
    folder = make_folder(run.path / f"{settings.generate_map.replace('-', '_')}_maps_{test_folder(run, settings).name}")
    batch_size = settings.train.batch_size
    progress = Progress("draw maps", len(examples), "images")
    for number, (view, one, mask) in enumerate(zip(found.views, found.pictures, found.masks, strict=True)):
        batch, place = divmod(number, batch_size)
        save_map(folder / f"saliency_map_batch_{batch}_image_{place}.pdf", view, one, mask)
        progress.advance()
    progress.close()
    predicted = found.probabilities.argmax(axis=1)
    names = data.class_names
    captions = [f"{names[true]}, said {names[said]}" for true, said in zip(examples.label, predicted, strict=True)]
    sheet = folder / "contact_sheet.png"
    map_contact_sheet(
        sheet,
        found.views,
        found.pictures,
        found.masks,
        captions,
        f"{_TITLES[settings.generate_map]} of the predicted class, version {run.version}",
        "",
        wrong=[bool(said != true) for true, said in zip(examples.label, predicted, strict=True)],
    )
    log(f"maps of {counted(len(examples), 'image')}: {sheet}")


def _test_segmenter(
    run: Run, settings: Settings, data: SegmentData, examples: Examples, folder: Path, log: Log
) -> dict[str, Any]:
    network = open_segmenter(run.settings, weights=run.path / BEST_WEIGHTS)
    cut = segmentation_cut(run.settings.model_seg, settings.sgm_type)

    @tf.function(autograph=False, reduce_retracing=True)
    def step(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        logits = tf.cast(network(batch["image"], training=False), tf.float32)
        return {
            "predicted": logits[..., 0] > cut,
            "truth": batch["mask"][..., 0] > 0.5,
            "views": tf.cast(255 * batch["image"] + 0.5, tf.uint8),
        }

    found = _gather(step, data, examples, settings.train.batch_size, f"test {data.coco.path.name}")
    clusters = clusters_of(data, examples, settings.data.group_by)
    report = segmentation_report(found["truth"], found["predicted"], _names(data, examples), clusters)
    report.write(make_folder(folder / "masks"))
    log(f"a pixel is lesion where the logit is above {cut:g}\n{report.describe()}")
    sheet = folder / "contact_sheet.png"
    mask_contact_sheet(
        sheet,
        found["views"],
        found["truth"],
        found["predicted"],
        [data.class_names[label] for label in examples.label],
        f"{run.settings.model_seg}, version {run.version}: lesions as outlined and as marked by the network",
        "",
    )
    log(f"masks of {counted(len(examples), 'image')}: {sheet}")
    return {"masks": report.metrics(), "logit_above": cut}


def clusters_of(data: SegmentData, examples: Examples, group_by: str) -> list[str] | None:
    """Return which examples belong together, [N]: those of an image, or of a field of the images' records.

    None where each is an image of its own: then reports say that groups are not known.

    Raises:
        UsageError: An image's record lacks that field.
    """
    records = [data.records[number] for number in examples.image]
    if not group_by:
        names = [record.file_name for record in records]
        return names if len(set(names)) < len(names) else None
    lacking = [record.file_name for record in records if group_by not in record.fields]
    if lacking:
        raise UsageError(
            f"data.group_by={group_by} is a field of every image's record; {counted(len(lacking), 'image')} lack it.",
            received=lacking[0],
            path=data.coco.path,
        )
    return [str(record.fields[group_by]) for record in records]


def _names(data: SegmentData, examples: Examples) -> list[str]:
    return [data.records[number].file_name for number in examples.image]


def _write_predictions(path: Path, data: SegmentData, examples: Examples, probabilities: Floats) -> None:
    names = data.class_names
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file_name", "class", "predicted", *(f"probability of {name}" for name in names)])
    rows: Sequence[tuple[str, int, Floats]] = list(
        zip(_names(data, examples), examples.label.tolist(), probabilities, strict=True)
    )
    for file_name, label, row in rows:
        writer.writerow([file_name, names[label], names[int(row.argmax())], *(f"{value:.6f}" for value in row)])
    write_text(path, text.getvalue())


def tested_settings(run: Run, given: Settings, overrides: Sequence[str]) -> Settings:
    """Return the settings of a test: the run's own, and what the command line changes of the test alone.

    Args:
        run: To be tested.
        given: Of the command line.
        overrides: As they were given, `key=value`.

    Raises:
        UsageError: An override of what the training has fixed.
    """
    of_test = ("task", "checkpoint.version", "generate_map", "results_dir", "train.accelerator", "train.batch_size")
    of_data = ("data.test", "data.images", "data.group_by", "data.num_threads", "data.memory_gib")
    of_segmenter = ("sgm_type",) if run.settings.kind == SEGMENTATION else ()
    for override in overrides:
        key = override.partition("=")[0].lstrip("+")
        if key not in (*of_test, *of_data, *of_segmenter):
            raise UsageError(
                f"test.py takes the settings of the training; of its own are "
                f"{', '.join((*of_test, *of_data, *of_segmenter))}.",
                received=override,
                path=run.path,
            )
    keys = {override.partition("=")[0].lstrip("+") for override in overrides}
    data = {name.split(".")[1]: getattr(given.data, name.split(".")[1]) for name in of_data if name in keys}
    train = {name.split(".")[1]: getattr(given.train, name.split(".")[1]) for name in of_test[4:] if name in keys}
    return replace(
        run.settings,
        data=replace(run.settings.data, **data),
        train=replace(run.settings.train, **train),
        generate_map=given.generate_map if "generate_map" in keys else run.settings.generate_map,
        sgm_type=given.sgm_type if "sgm_type" in keys else run.settings.sgm_type,
        results_dir=given.results_dir,
    )
