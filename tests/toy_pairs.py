"""Pairs of an image and a row small enough for a test: bars as long as the row says."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from medsynth.files import write_json, write_text

PAINS = ("none", "atypical", "typical")


def write_toy_pairs(
    folder: Path, num_pairs: int = 80, size: int = 64, seed: int = 0, *, num_measures: int = 0, texture: int = 0
) -> Path:
    """Write table.csv, images/ and, by the schema command's own guess, schema.json.

    Args:
        folder: New.
        num_pairs: Patients.
        size: Of the images.
        seed: Another one gives other patients of the same kind.
        num_measures: Further columns of numbers, which say who somebody is: without, rows repeat by chance.
        texture: Grey levels of coarse noise, by which images of different patients differ; 0 for none.
    """
    from GAN_joint.schema import propose_schema, write_schema

    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    measures = "".join(f";measure{number}" for number in range(num_measures))
    lines = [f"image;patient name;age;sex;pain;LAD_st{measures}"]
    for number in range(num_pairs):
        age, stenosis = rng.integers(30, 80), rng.integers(0, 100)
        words = (rng.choice(["female", "male"]), PAINS[number % len(PAINS)])
        own = "".join(f";{value:.2f}" for value in rng.normal(50, 10, num_measures))
        lines.append(f"{number:03d}.png;Person {number};{age};{';'.join(words)};{stenosis}{own}")
        pixels = rng.integers(200, 256, (size, size), dtype=np.uint8)
        if texture:
            pixels -= rng.integers(0, texture, (8, 8), dtype=np.uint8).repeat(size // 8, 0).repeat(size // 8, 1)
        pixels[: age * size // 100] //= 2
        pixels[:, : stenosis * size // 100] //= 3
        Image.fromarray(pixels).save(folder / "images" / f"{number:03d}.png")
    write_text(folder / "table.csv", "\n".join(lines) + "\n")
    write_schema(folder, propose_schema(folder).schema)
    return folder


def write_synthetic(
    folder: Path,
    data_dir: Path,
    *,
    images: str = "png",
    num: int | None = None,
    train_rows: str | None = None,
    rows: Sequence[int] | None = None,
) -> Path:
    """Write the pairs of a data folder in the form of test.py generate: the work of a perfect generator.

    Args:
        folder: New.
        data_dir: Whose pairs.
        images: "png" or "none".
        num: How many, the first ones; None for all.
        rows: Which ones instead of the first.
        train_rows: `PairedRows.train_rows_digest` of what the generator is to have learnt from; None: not on record.
    """
    from GAN_joint.paired_data import read_paired_rows
    from GAN_joint.synthetic import (
        DONE_NAME,
        IMAGE_COLUMN,
        TRAIN_ROWS,
        SyntheticForm,
        form_settings,
        image_name,
        write_encoder,
        write_table,
    )

    paired = read_paired_rows(data_dir)
    chosen = list(rows if rows is not None else range(len(paired.frame) if num is None else num))
    num = len(chosen)
    frame = paired.frame.iloc[chosen].copy()
    names = [image_name(0, number, "png") for number in range(num)]
    for name, source in zip(names, [paired.images[row] for row in chosen], strict=True):
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "images" / name).write_bytes(source.path.read_bytes())
    frame.insert(0, IMAGE_COLUMN, "" if images == "none" else names)
    write_table(folder / "table" / "part-0000000000.csv", frame)
    write_encoder(folder, paired.encoder)
    settings = {"num": num, **form_settings(SyntheticForm(images)), TRAIN_ROWS: train_rows}  # type: ignore[arg-type]
    write_json(folder / "config.json", settings)
    write_text(folder / DONE_NAME, "done\n")
    return folder
