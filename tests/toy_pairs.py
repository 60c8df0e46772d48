"""Pairs of an image and a row small enough for a test: bars as long as the row says."""

from pathlib import Path

import numpy as np
from PIL import Image

from medsynth.files import write_text

PAINS = ("none", "atypical", "typical")


def write_toy_pairs(folder: Path, num_pairs: int = 80, size: int = 64, seed: int = 0) -> Path:
    """Write table.csv, images/ and, by the schema command's own guess, schema.json."""
    from GAN_joint.schema import propose_schema, write_schema

    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    lines = ["image;patient name;age;sex;pain;LAD_st"]
    for number in range(num_pairs):
        age, stenosis = rng.integers(30, 80), rng.integers(0, 100)
        words = (rng.choice(["female", "male"]), PAINS[number % len(PAINS)])
        lines.append(f"{number:03d}.png;Person {number};{age};{';'.join(words)};{stenosis}")
        pixels = rng.integers(200, 256, (size, size), dtype=np.uint8)
        pixels[: age * size // 100] //= 2
        pixels[:, : stenosis * size // 100] //= 3
        Image.fromarray(pixels).save(folder / "images" / f"{number:03d}.png")
    write_text(folder / "table.csv", "\n".join(lines) + "\n")
    write_schema(folder, propose_schema(folder).schema)
    return folder
