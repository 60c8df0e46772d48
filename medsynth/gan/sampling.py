"""Images from a trained generator: grids, and one synthetic image per row of a dataset."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from medsynth.data.labels import LabelTable, read_label_table, record_order, write_label_table
from medsynth.data.tfrecords import Images, write_split
from medsynth.errors import DataError
from medsynth.files import atomic_path, remove_leftovers, require_folder, write_json
from medsynth.progress import Progress

SPLITS = ("train", "valid", "test")
INFERENCE_FOLDER = "inference"
GENERATOR_JSON = "generator.json"
Floats = npt.NDArray[np.float32]
Sampler = Callable[[Floats, Floats], Iterator[Images]]


def grid_shape(resolution: int) -> tuple[int, int]:
    """Return (columns, rows) of a picture that fills a 1080p screen, within 3-32 and 2-32."""
    return int(np.clip(1920 // resolution, 3, 32)), int(np.clip(1080 // resolution, 2, 32))


def quantise(images: tf.Tensor) -> tf.Tensor:
    """Turn images in [-1, 1] into uint8 in [0, 255]: (x + 1) / 2 * 255, rounded and clipped; any shape."""
    return tf.saturate_cast(tf.round((images + 1.0) * 127.5), tf.uint8)


def images_of(output: Any) -> Any:
    """Return the images of a generator's output; a generator of images and table rows returns both, images first."""
    return output[0] if isinstance(output, tuple) else output


def make_sampler(generator: Any, *, block_size: int = 64, **level: Any) -> Sampler:
    """Return a function that turns latents and labels into images, in blocks of one fixed size.

    The last bits of a convolution depend on the batch that it runs in. Blocks that
    are always full, the last one filled up with copies, make image i depend on its
    block's rows alone, whatever is generated after them.

    Args:
        generator: Maps latents [n, Z] and labels [n, L] to images in [-1, 1], or to a tuple that begins with them.
        block_size: Images per call of the generator.
        **level: Passed on to the generator, such as `stage` and `fade`.

    Returns:
        A function of latents [N, Z] and labels [N, L] that yields uint8 blocks [n, H, W, C],
        N images in all.
    """

    @tf.function(autograph=False)
    def generate(latents: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return quantise(images_of(generator(latents, labels, **level)))

    def sample(latents: Floats, labels: Floats) -> Iterator[Images]:
        for start in range(0, len(latents), block_size):
            num_images = min(block_size, len(latents) - start)
            rows = start + np.arange(block_size) % num_images
            yield generate(tf.constant(latents[rows]), tf.constant(labels[rows])).numpy()[:num_images]

    return sample


def sample_all(sampler: Sampler, latents: Floats, labels: Floats) -> Images:
    """Return all images of a sampler at once: uint8 [N, H, W, C]."""
    return np.concatenate(list(sampler(latents, labels)))


def draw_latents(seed: int, num_images: int, latent_size: int) -> Floats:
    """Return float32 [num_images, latent_size] standard normal latents of RandomState(seed), as published."""
    return np.random.RandomState(seed).randn(num_images, latent_size).astype(np.float32)


def write_inference(
    data_dir: Path,
    results_dir: Path,
    generator: Any,
    *,
    seed: int,
    label_names: tuple[str, ...],
    facts: Mapping[str, Any],
) -> dict[str, int]:
    """Generate one image for every row of every split of a dataset, with that row's labels.

    Writes results_dir/inference/<split>/ in the same form as the dataset: csv,
    labels, and records of the full resolution in the published order, and
    inference/generator.json. The folder replaces an older one once it is complete.
    Memory does not grow with the number of images.

    Args:
        data_dir: The dataset; only its csv files are read.
        results_dir: Where `inference` is made.
        generator: The trained network, in inference mode.
        seed: Of the latents, drawn once for train, valid and test in this order.
        label_names: The labels that the generator was trained with.
        facts: What generator.json says of the generator.

    Returns:
        The number of images by split.

    Raises:
        DataError: A missing split, or other label columns than the generator's.
    """
    tables: dict[str, LabelTable] = {}
    for split in SPLITS:
        tables[split] = read_label_table(require_folder(data_dir / split, "a split of the dataset"))
        if tables[split].names != label_names:
            raise DataError(
                f"The network was trained with the labels {', '.join(label_names)}; the csv must have the same.",
                received=", ".join(tables[split].names),
                path=data_dir / split / f"{split}.csv",
            )
    num_images = sum(len(table.paths) for table in tables.values())
    latents = draw_latents(seed, num_images, generator.latent_size)
    sampler = make_sampler(generator)
    progress = Progress("generate", num_images, "images")
    start = 0
    counts = {split: len(table.paths) for split, table in tables.items()}
    target = results_dir / INFERENCE_FOLDER
    remove_leftovers(target)
    with atomic_path(target) as partial:
        for split, table in tables.items():
            stop = start + counts[split]
            order = record_order(counts[split])
            write_split(
                partial / split,
                _one_by_one(sampler(latents[start:stop][order], table.values[order]), progress),
                table.values[order],
                int(np.log2(generator.resolution)),
            )
            paths = tuple(str(target / split / f"{number}.jpg") for number in range(1, counts[split] + 1))
            write_label_table(partial / split, LabelTable(paths, table.names, table.values))
            start = stop
        write_json(partial / GENERATOR_JSON, {**facts, "random_seed": seed, "num_images": counts})
    progress.close()
    return counts


def _one_by_one(blocks: Iterator[Images], progress: Progress) -> Iterator[Images]:
    for block in blocks:
        yield from block
        progress.advance(len(block))
