"""The demo's chain: dataset, GAN, synthetic images, two classifiers, comparison, pictures, a paragraph.

Every step is one of the suite's own commands, run as a user would run it, so that
the demo shows nothing that the scripts do not do.
"""

import hashlib
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.steps import ROOT, Step, run_step
from medsynth.classify.evaluation.predictions import RESULTS
from medsynth.data.labels import LabelTable, read_csv, read_label_table, record_order, write_label_table
from medsynth.data.phantom import DATASET_NAME, DESCRIPTION_NAME
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import write_labels
from medsynth.files import atomic_path, make_folder, read_json, require_folder, write_text
from medsynth.processor import fastest_precision
from medsynth.progress import format_duration
from medsynth.report.figures import save_side_by_side
from medsynth.report.grids import save_image_grid
from medsynth.runs import DONE_NAME, RunFolder

RESOLUTION = 32
FEW_ROWS = 20_000
EXAMPLES_PER_LABEL = 8
# Two cores and a few minutes: small input, short training, steps large enough for it.
CLASSIFIER_SETTINGS = (
    "image_dimension=64",
    "initial_learning_rate=0.001",
    "batch_norm_momentum=0.9",
    "batch_size=32",
)
# About as many training images are shown whatever the size of the data, but none more than 30 times.
IMAGES_SHOWN, FEWEST_EPOCHS, MOST_EPOCHS = 13_000, 2, 30
TRAIN_SHARE = 0.6


def plan(
    out_dir: Path,
    data: Path | None,
    seed: int,
    *,
    permute_labels: bool,
    dataset_options: Sequence[str] = (),
    allow_leak: bool = False,
) -> list[Step]:
    """Return the commands of the chain, in order.

    Args:
        out_dir: Where everything is put.
        data: A folder that holds CheXpert-v1.0-small, or images and a csv file; None for the phantom.
        seed: Of phantom, weights, orders and latents.
        permute_labels: Train the GAN on out_dir/dataset-permuted.
        dataset_options: More for the dataset command.
        allow_leak: Go on where train and test share patients or images.
    """
    leak_option = ("--allow-leak",) if allow_leak else ()
    dataset, gan, resolution = out_dir / "dataset", out_dir / "gan", str(RESOLUTION)
    raw = out_dir / "raw" if data is None else data
    steps: list[Step] = []
    if data is None:
        steps.append(
            Step(
                "draw made-up chest radiographs",
                ("build_dataset/dataset_tool.py", "create_phantom", raw, "--seed", str(seed)),
                raw / DATASET_NAME / DESCRIPTION_NAME,
            )
        )
    num_rows = None if data is None else _count_rows(data, dataset_options)
    has_few_images = num_rows is not None and num_rows < FEW_ROWS
    classifier_options = [part for setting in classifier_settings(num_rows) for part in ("--set", setting)]
    real_results = dataset / f"classification_results_res_{RESOLUTION}"
    fake_results = gan / "classification_results"
    steps += [
        Step(
            "build the dataset",
            (
                "build_dataset/dataset_tool.py",
                "create_from_xray" if data is None or is_chest_layout(data) else "create_from_folder",
                dataset,
                raw,
                *_dataset_options(data, has_few_images),
                *dataset_options,
            ),
            dataset / "dataset.json",
        ),
        Step(
            "check it for damage and leaks",
            ("build_dataset/dataset_tool.py", "verify", dataset, *leak_option),
            dataset / "manifest.json",
        ),
        Step(
            "train the GAN",
            (
                *("GAN_prog/train.py", "train", out_dir / "dataset-permuted" if permute_labels else dataset, gan),
                *(str(seed), resolution, "--preset", "cpu", *leak_option),
            ),
            gan / DONE_NAME,
        ),
        Step(
            "generate synthetic images with the same labels",
            ("GAN_prog/test.py", "test", dataset, gan, str(seed), resolution),
            gan / "inference" / "generator.json",
        ),
        Step(
            "train a classifier on real images",
            (
                *("classifier_real/train.py", "train", ROOT / "classifier_real", dataset, str(seed), resolution),
                *classifier_options,
                *leak_option,
            ),
            real_results / "train" / DONE_NAME,
        ),
        Step(
            "test it on real images",
            ("classifier_real/test.py", "test", ROOT / "classifier_real", dataset, str(seed), resolution),
            real_results / "test" / RESULTS,
        ),
        Step(
            "train a classifier on synthetic images",
            (
                *("classifier_fake/train.py", "train", ROOT / "classifier_fake", gan, str(seed), resolution),
                *classifier_options,
                *leak_option,
            ),
            fake_results / "train" / DONE_NAME,
        ),
        Step(
            "test it on real images",
            ("classifier_fake/test.py", "test", ROOT / "classifier_fake", dataset, gan, str(seed), resolution),
            fake_results / "test" / RESULTS,
        ),
        Step(
            "compare",
            ("benchmark/compare.py", real_results / "test", fake_results / "test", "--out", out_dir),
            out_dir / "comparison.json",
        ),
    ]
    return steps


def classifier_settings(num_rows: int | None) -> tuple[str, ...]:
    """Return what the demo's classifiers are set to, as --set takes it, for a table of so many rows (None: phantom)."""
    epochs = FEWEST_EPOCHS
    if num_rows is not None and num_rows < FEW_ROWS:
        epochs = min(max(round(IMAGES_SHOWN / max(TRAIN_SHARE * num_rows, 1)), FEWEST_EPOCHS), MOST_EPOCHS)
    patience = ("patience=10", "patience_reduce_lr=5") if epochs > 10 else ()
    return (*CLASSIFIER_SETTINGS, f"precision={fastest_precision()}", f"epochs={epochs}", *patience)


def is_chest_layout(data: Path) -> bool:
    """Return whether a folder is laid out as CheXpert-v1.0-small is; else it holds images and a csv file."""
    return (data / DATASET_NAME).is_dir()


def _tables(data: Path, dataset_options: Sequence[str]) -> list[Path]:
    """Return the csv files from which the dataset may be made."""
    require_folder(data, f"{DATASET_NAME}, or images and a csv file,")
    if is_chest_layout(data):
        return [data / DATASET_NAME / "train.csv"]
    if "--csv" in dataset_options[:-1]:
        return [data / dataset_options[dataset_options.index("--csv") + 1]]
    return sorted(data.glob("*.csv"))


def _count_rows(data: Path, dataset_options: Sequence[str]) -> int:
    return sum(len(read_csv(table)) for table in _tables(data, dataset_options))


def _table_digest(data: Path, dataset_options: Sequence[str]) -> str:
    """Return what tells a changed table from the one that a demo was begun with."""
    digest = hashlib.sha256()
    for table in _tables(data, dataset_options):
        digest.update(table.read_bytes() if table.is_file() else b"")
    return digest.hexdigest()


def _dataset_options(data: Path | None, has_few_images: bool) -> tuple[str, ...]:
    """Return options that leave enough test images of each label, whatever the size of the data."""
    common = ("--image-size", str(RESOLUTION), "--drop-empty-labels")
    if data is not None and not is_chest_layout(data):
        return (*common, "--split", "0.2") if has_few_images else common
    if data is None:
        return (*common, "--limit", "25", "--test-val-samples", "0")
    if has_few_images:
        return (*common, "--limit", "0", "--split", "0.2", "--test-val-samples", "0")
    return common


def run_chain(
    out_dir: Path,
    data: Path | None,
    seed: int,
    *,
    permute_labels: bool = False,
    dataset_options: Sequence[str] = (),
    allow_leak: bool = False,
) -> str:
    """Run every step that is not finished, then write pictures and summary.

    Leaves out_dir/real.png and fakes.png (the same labels, place by place), side_by_side.png,
    comparison.{txt,csv,png,json} and summary.txt.

    Args:
        out_dir: Where everything is put; an unfinished demo there goes on.
        data: A folder that holds CheXpert-v1.0-small, or images and a csv file; None for the phantom.
        seed: Of everything random.
        permute_labels: The negative control.
        dataset_options: More for the dataset command.
        allow_leak: Go on where train and test share patients or images.

    Returns:
        The summary.

    Raises:
        StepFailedError: A command failed.
        MedsynthError: The folder holds another demo, or cannot be written.
    """
    settings = {
        "data_table_sha256": None if data is None else _table_digest(data, dataset_options),
        "data": "phantom" if data is None else str(data.resolve()),
        "seed": seed,
        "permute_labels": permute_labels,
        "dataset_options": " ".join(dataset_options),
        "allow_leak": allow_leak,
    }
    start = time.monotonic()
    steps = plan(
        out_dir, data, seed, permute_labels=permute_labels, dataset_options=dataset_options, allow_leak=allow_leak
    )
    with RunFolder(out_dir, settings) as folder:
        for number, step in enumerate(steps, start=1):
            elapsed = format_duration(time.monotonic() - start)
            folder.log(f"\n[{number}/{len(steps)}] {step.title}  ({elapsed} so far)")
            if step.result.exists():
                folder.log("done before")
                continue
            if permute_labels and step.command[0] == "GAN_prog/train.py":
                write_permuted_dataset(out_dir / "dataset", out_dir / "dataset-permuted", seed)
            run_step(step)
        _draw_examples(out_dir)
        summary = describe(read_json(out_dir / "comparison.json"), settings)
        write_text(out_dir / "summary.txt", summary)
        folder.log(f"\neverything took {format_duration(time.monotonic() - start)}; it lies in {out_dir}\n")
    return summary


def write_permuted_dataset(dataset: Path, target: Path, seed: int) -> None:
    """Write a copy of dataset/train in which every image has the label row of another one.

    Args:
        dataset: A finished dataset.
        target: Where `train` is made; nothing is done where it exists.
        seed: Of the permutation.
    """
    source = dataset / "train"
    if target.exists():
        return
    table = read_label_table(source)
    permutation = np.random.default_rng(seed).permutation(len(table.paths))
    shuffled = LabelTable(table.paths, table.names, table.values[permutation], table.path_column)
    with atomic_path(target) as temporary:
        folder = make_folder(temporary / "train")
        write_label_table(folder, shuffled)
        write_labels(folder, shuffled.values[record_order(len(table.paths))])
        for records in source.glob("*.tfrecords"):
            (folder / records.name).symlink_to(records.resolve())


def _draw_examples(out_dir: Path) -> None:
    """Draw real test images and, in the same places, synthetic ones made with the same labels."""
    folders = (out_dir / "dataset" / "test", out_dir / "gan" / "inference" / "test")
    table = read_label_table(folders[0])
    record_of_row = np.argsort(record_order(len(table.paths)))
    chosen, names = [], []
    for number, name in enumerate(table.names):
        # Rows with the fewest other findings show a sign best.
        rows = np.flatnonzero(table.values[:, number])
        rows = rows[np.argsort(table.values[rows].sum(axis=1), kind="stable")][:EXAMPLES_PER_LABEL]
        if len(rows) == EXAMPLES_PER_LABEL:
            chosen.append(rows)
            names.append(name)
    if not chosen:
        return
    records = record_of_row[np.concatenate(chosen)]
    real, fake = (open_records(folder, RESOLUTION).read(records) for folder in folders)
    save_image_grid(out_dir / "real.png", real, EXAMPLES_PER_LABEL)
    save_image_grid(out_dir / "fakes.png", fake, EXAMPLES_PER_LABEL)
    save_side_by_side(out_dir / "side_by_side.png", real, fake, names)


def describe(comparison: dict[str, Any], settings: dict[str, Any]) -> str:
    """Say in one paragraph what a comparison found, and what it did not look at.

    Args:
        comparison: comparison.json of benchmark/compare.py, the real classifier first.
        settings: The demo's, as in config.json.
    """
    means = [row for row in comparison["rows"] if row["label"] == "mean"]
    labels = [row for row in comparison["rows"] if row["trained_on"] == means[0]["trained_on"] and row is not means[0]]
    insufficient = [f"{row['label']} ({row['num_positives']})" for row in labels if row["status"] != "ok"]
    num_labels = len(labels) - len(insufficient)
    source = "made-up chest radiographs" if settings["data"] == "phantom" else f"the images of {settings['data']}"
    sentences = [
        f"On {means[0]['num_images']:,} real test images ({comparison['num_resampled']:,} "
        f"{comparison['resampled']}) from {source}, over {num_labels} labels:"
    ]
    if num_labels == 0:
        sentences.append("no label has enough positives and negatives for a figure, so nothing was measured.")
        return _paragraph(sentences, insufficient, settings)
    real, fake = means
    sentences.append(
        f"a classifier trained on real images reaches a mean AUROC of {_estimate(real)}, and one trained on synthetic "
        f"images with the same labels {_estimate(fake)}. The gap is {fake['reference_minus_this']:.3f} "
        f"(95 % interval {fake['difference_low']:.3f} to {fake['difference_high']:.3f})."
    )
    if settings["permute_labels"]:
        pass  # what a control says, its last sentence says
    elif fake["low"] > 0.5:
        sentences.append("The synthetic images carry usable information on the findings.")
    elif fake["high"] < 0.5:
        sentences.append("The synthetic classifier is worse than chance: what it learnt is misleading.")
    else:
        sentences.append(
            "The interval of the synthetic classifier holds 0.5: that it learnt anything of use is not shown."
        )
    scored = [row for row in comparison["rows"] if row["trained_on"] == fake["trained_on"] and row is not fake]
    gaps = [row for row in scored if row["status"] == "ok"]
    if len(gaps) > 1:
        widest = max(gaps, key=lambda row: row["reference_minus_this"])
        sentences.append(
            f"The widest gap is for {widest['label']}: {widest['reference_minus_this']:.3f} "
            f"({widest['difference_low']:.3f} to {widest['difference_high']:.3f})."
        )
    return _paragraph(sentences, insufficient, settings)


def _estimate(row: dict[str, Any]) -> str:
    return f"{row['auroc']:.3f} (95 % interval {row['low']:.3f} to {row['high']:.3f})"


def _paragraph(sentences: list[str], insufficient: list[str], settings: dict[str, Any]) -> str:
    if settings.get("allow_leak"):
        sentences.append("Train and test were allowed to share patients or images, which flatters both.")
    if settings["permute_labels"]:
        sentences.append(
            "This was the negative control: the GAN saw shuffled labels, so nothing above 0.5 should come out over "
            "several seeds (benchmark/seeds.py). A single run may lie to either side by chance. Made-up radiographs "
            "come out below: docs/demo.md says what is known of the reason."
        )
    if insufficient:
        sentences.append(f"Too few cases for a figure, and left out (positives): {', '.join(insufficient)}.")
    sentences.append(
        "Both classifiers started from random weights and were trained for minutes, this is one seed, and the "
        "intervals speak of the choice of test patients alone; whether the synthetic images give away their "
        "originals was not measured."
    )
    return textwrap.fill(" ".join(sentences), width=110) + "\n"
