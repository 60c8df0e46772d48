"""Which images a reader study shows: labels matched, no row twice, no patient twice, in an order that tells nothing."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.readers.pools import Pool, Pools
from medsynth.data.tfrecords import Images
from medsynth.errors import DataError, UsageError

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Item:
    """An image of a study, as the key has it.

    Attributes:
        is_real: Whether it is a real image.
        number: Of the image in its pool (of a dataset: of its record).
        origin: What it is: the real image's path, or that of the synthetic one.
        labels: Names of its positive labels.
    """

    is_real: bool
    number: int
    origin: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """The images of a study in the order in which they are shown.

    Attributes:
        items: The truth about each.
        images: uint8 [N, H, W, C]; C is 1 where all are grey.
    """

    items: tuple[Item, ...]
    images: Images


def draw(pools: Pools, num: int, share_real: float, seed: int) -> Drawn:
    """Draw the images of a study.

    Where synthetic images were made with the labels of the real ones, every real image drawn has its equals among the
    synthetic ones: as many of the same labels, made for other rows than those whose real image is shown. Whoever
    knows the seed alone cannot work out the order, since it depends on the images, too.

    Args:
        pools: What to draw from.
        num: Images in all.
        share_real: Share of real ones, above 0 and below 1.
        seed: Of the draw and the order.

    Raises:
        UsageError: A share that leaves no real or no synthetic image.
        DataError: Too few images, patients, or images of the same labels.
    """
    num_real = round(num * share_real)
    if not 0 < num_real < num:
        raise UsageError(
            "A study shows at least one real and one synthetic image.", received=f"{num_real} real ones of {num}"
        )
    generator = np.random.default_rng([seed, _digest(pools)])
    real, synthetic = (_matched if pools.same_rows else _unmatched)(pools, num_real, num - num_real, generator)
    images = _one_form(pools.real.read(real), pools.synthetic.read(synthetic))
    items = [*_items(pools.real, real, is_real=True), *_items(pools.synthetic, synthetic, is_real=False)]
    order = generator.permutation(num)
    return Drawn(tuple(items[place] for place in order), images[order])


def _digest(pools: Pools) -> int:
    """Return a number that depends on what there is to draw from."""
    digest = hashlib.sha256()
    for pool in (pools.real, pools.synthetic):
        digest.update("\n".join(pool.origins).encode() + pool.labels.tobytes())
        digest.update(pool.read(np.arange(min(len(pool), 8))).tobytes())
    return int.from_bytes(digest.digest()[:8], "big")


def _matched(
    pools: Pools, num_real: int, num_synthetic: int, generator: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """Draw real images, and for each so many synthetic ones of its labels, of rows of their own."""
    groups = [row.tobytes() for row in pools.real.labels]
    rows_of: dict[bytes, list[int]] = {}
    for row in generator.permutation(len(groups)):
        rows_of.setdefault(groups[row], []).append(int(row))
    quotas = np.full(num_real, num_synthetic // num_real)
    quotas[: num_synthetic % num_real] += 1
    waiting = list(generator.permutation(quotas))
    taken: Counter[bytes] = Counter()
    real: list[int] = []
    partners: Counter[bytes] = Counter()
    for row in _one_image_a_patient(pools.real, generator):
        group = groups[row]
        if not waiting or taken[group] + 1 + waiting[-1] > len(rows_of[group]):
            continue
        quota = int(waiting.pop())
        taken[group] += 1 + quota
        partners[group] += quota
        real.append(row)
    if waiting:
        _refuse_too_few(pools.real, len(real), num_real, "whose labels occur in enough other rows")
    shown = set(real)
    synthetic = [
        row for group, quota in partners.items() for row in [row for row in rows_of[group] if row not in shown][:quota]
    ]
    return np.array(real), np.array(synthetic)


def _unmatched(
    pools: Pools, num_real: int, num_synthetic: int, generator: np.random.Generator
) -> tuple[Numbers, Numbers]:
    """Draw real and synthetic images that have nothing to do with each other."""
    real = list(_one_image_a_patient(pools.real, generator))
    if len(real) < num_real:
        _refuse_too_few(pools.real, len(real), num_real, "of different patients")
    if len(pools.synthetic) < num_synthetic:
        _refuse_too_few(pools.synthetic, len(pools.synthetic), num_synthetic, "to show")
    return np.array(real[:num_real]), generator.permutation(len(pools.synthetic))[:num_synthetic]


def _one_image_a_patient(pool: Pool, generator: np.random.Generator) -> Iterator[int]:
    """Yield images in random order, each patient's first one alone."""
    seen = set()
    for number in generator.permutation(len(pool)):
        patient = number if pool.patients is None else pool.patients[number]
        if patient not in seen:
            seen.add(patient)
            yield int(number)


def _refuse_too_few(pool: Pool, found: int, wanted: int, condition: str) -> None:
    raise DataError(
        f"The study needs {wanted:,} images {condition}; choose a smaller --num, another --share-real or a larger "
        "--split.",
        received=f"{found:,}",
        path=pool.folder,
    )


def _one_form(real: Images, synthetic: Images) -> Images:
    """Return all images in one array, grey ones with one channel where there are no others.

    Raises:
        DataError: Their sizes differ.
    """
    if real.shape[1:3] != synthetic.shape[1:3]:
        raise DataError(
            "Real and synthetic images of a study have one size.",
            received=f"{real.shape[2]}x{real.shape[1]} and {synthetic.shape[2]}x{synthetic.shape[1]}",
        )
    images = np.concatenate([np.broadcast_to(part, (*part.shape[:3], 3)) for part in (real, synthetic)])
    is_grey = bool((images == images[..., :1]).all())
    return np.ascontiguousarray(images[..., :1] if is_grey else images)


def _items(pool: Pool, numbers: Sequence[int] | Numbers, *, is_real: bool) -> Iterator[Item]:
    for number in numbers:
        labels = tuple(name for name, value in zip(pool.label_names, pool.labels[number], strict=True) if value)
        yield Item(is_real, int(number), pool.origins[number], labels)
