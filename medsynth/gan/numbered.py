"""Synthetic images in any number, each fixed by a seed and its own number alone."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from medsynth.data.tfrecords import Images
from medsynth.data.wording import listed_in_quotes
from medsynth.errors import UsageError
from medsynth.files import atomic_path, read_json
from medsynth.gan.sampling import Floats, quantise
from medsynth.runs import CONFIG_NAME, LOCK_NAME, LOG_NAME

# Images of one call of the generator, always full, and of one part on disk. The last bits of a network depend on the
# size of its batch, so both are fixed: other numbers would change what a seed gives.
BLOCK, PART = 64, 1024
_MOST_NUMBERS = 10**10
GENERATOR_DIGEST = "generator_sha256"  # in config.json of a generation, and of nothing else


def require_numbers(first: int, num: int) -> None:
    """Refuse numbers that cannot be.

    Raises:
        UsageError: Below 0 or too large, or none.
    """
    if num < 1 or first < 0 or first + num > _MOST_NUMBERS:
        raise UsageError(
            f"--num is 1 or more, --first 0 or more, and both together at most {_MOST_NUMBERS:,}.",
            received=f"--first {first} --num {num}",
        )


def require_free_folder(folder: Path, things: str) -> None:
    """Refuse a folder in which something else lies than a generation.

    Args:
        folder: Where synthetic images are to be written.
        things: What they are, for the message ("frames").

    Raises:
        UsageError: Real data, a training, or anything else is here.
    """
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if set(names) <= {LOCK_NAME, LOG_NAME}:
        return
    config = folder / CONFIG_NAME
    settings = read_json(config) if config.is_file() else None
    if not isinstance(settings, dict) or GENERATOR_DIGEST not in settings:
        raise UsageError(
            f"Synthetic {things} need a folder of their own: new, empty, or of an earlier generation.",
            received=f"a folder with {listed_in_quotes(names)}",
            path=folder,
        )


def aligned_parts(first: int, num: int) -> Iterator[range]:
    """Yield the numbers of each part: what PART numbers from a multiple of it have in common with these."""
    start, stop = first, first + num
    while start < stop:
        end = min((start // PART + 1) * PART, stop)
        yield range(start, end)
        start = end


class BlockSampler:
    """Makes a trained generator's outputs, block by block.

    Args:
        generator: With its weights, built in the scope of `strategy`; gives images, or a tuple that begins with them.
        seed: Of the latents.
        strategy: Of the devices that share the work, a block each at a time.
    """

    def __init__(self, generator: Any, seed: int, strategy: tf.distribute.Strategy | None = None) -> None:
        self.generator, self.seed = generator, seed
        self.strategy = strategy or tf.distribute.get_strategy()
        self._graph = tf.function(self._run, autograph=False)

    def latents(self, block: int) -> Floats:
        """Return the latents of a block, float32 [BLOCK, Z]: those of numbers block * BLOCK and on."""
        rng = np.random.default_rng((self.seed, block))
        return rng.standard_normal((BLOCK, self.generator.latent_size), np.float32)

    def outputs(self, numbers: range) -> Iterator[tuple[Any, ...]]:
        """Yield numbers (a range), their images uint8 [n, S, S, C], and further outputs [n, ...], a block at a time."""
        blocks = range(numbers.start // BLOCK, -(-numbers.stop // BLOCK))
        num_devices = self.strategy.num_replicas_in_sync
        for start in range(blocks.start, blocks.stop, num_devices):
            for block, *arrays in zip(range(start, blocks.stop), *self._compute(start), strict=False):
                inside = range(max(numbers.start, block * BLOCK), min(numbers.stop, (block + 1) * BLOCK))
                places = slice(inside.start - block * BLOCK, inside.stop - block * BLOCK)
                yield inside, *(array[places] for array in arrays)

    def _compute(self, first_block: int) -> list[list[Any]]:
        """Compute as many blocks as there are devices: for each output of the generator its blocks."""

        def share(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
            return tf.constant(self.latents(first_block + context.replica_id_in_sync_group))

        found = self._graph(self.strategy.experimental_distribute_values_from_function(share))
        return [[one.numpy() for one in self.strategy.experimental_local_results(output)] for output in found]

    def _run(self, latents: Any) -> Any:
        return self.strategy.run(self._generate, args=(latents,))

    def _generate(self, latents: tf.Tensor) -> tuple[tf.Tensor, ...]:
        output = self.generator(latents)
        images, *more = output if isinstance(output, tuple) else (output,)
        return quantise(images), *more


def write_image_files(
    folder: Path,
    blocks: Iterator[tuple[Any, ...]],
    name_of: Callable[[int], str],
    threads: ThreadPoolExecutor,
) -> Iterator[tuple[Any, ...]]:
    """Write a file per image into a folder that is whole or absent; a block is encoded while the next is computed.

    Args:
        folder: Replaces an older one of its name.
        blocks: Numbers, images, and whatever else.
        name_of: Maps a number to its file's name; its ending says whether that is a PNG or a JPEG.
        threads: That encode.

    Yields:
        The blocks again; the folder is there once the last one has been taken.
    """
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        under_way: list[Future[None]] = []
        for block in blocks:
            _wait_for(under_way)
            pairs = zip(block[0], block[1], strict=True)
            under_way = [threads.submit(save_image, temporary / name_of(number), image) for number, image in pairs]
            yield block
        _wait_for(under_way)


def _wait_for(futures: list[Future[None]]) -> None:
    for future in futures:
        future.result()


def save_image(path: Path, image: Images) -> None:
    """Write an image [S, S, C] as PNG or JPEG (quality 95, no chroma subsampling), by the ending of `path`."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    if path.suffix == ".png":
        picture.save(path, compress_level=1)
    else:
        picture.save(path, quality=95, subsampling=0)
