"""The three published benchmarks: which of the dealt images each dataset takes, in which order.

resolution   every image, at every resolution
classes      the same number of images of each of the most frequent combinations of labels
samples      ever fewer training images of a few combinations, beside the same valid and test images

A class is a combination of labels. A source (chest, brain, folder) reads rows and deals them to
train, valid and test; a benchmark chooses among them. Every random stream is numpy's
RandomState(seed).shuffle, and the seeds count up from the source's, as published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from build_dataset.rows import ImageRows, Splits
from build_dataset.splits import (
    SPLIT_NAMES,
    Indices,
    combination_codes,
    require_num_kept,
    require_num_per_class,
    rows_per_class,
    shuffled,
    stratified_cut,
)
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError


@dataclass(frozen=True)
class ClassOrder:
    """How one of the originals lines images up before it shuffles a split.

    Attributes:
        is_rarest_first: Concatenate from the rarest class on; else from the most frequent one.
        shuffles_classes: Shuffle the images of a class before the first ones are taken.
        shuffles_train: The samples benchmark shuffles all training images first, and its seeds start one later.
    """

    is_rarest_first: bool
    shuffles_classes: bool
    shuffles_train: bool


@dataclass(frozen=True)
class Dealt:
    """The images of a source, dealt to train, valid and test.

    Attributes:
        splits: Rows by split.
        patterns: The classes' labels, uint8 [K, L], the most frequent first.
        seed: What dealt the patients; a benchmark's own seeds count up from it.
        order: How images are lined up.
        test_margin: See `stratified_cut`; of the resolution benchmark's test split, published for the chest.
        drops_last_test_row: That split loses its last row when it is cut, published for the brain.
    """

    splits: Splits
    patterns: npt.NDArray[np.uint8]
    seed: int
    order: ClassOrder
    test_margin: float = 0.0
    drops_last_test_row: bool = False


class Benchmark(Protocol):
    """Chooses datasets from what a source has dealt."""

    def check(self) -> None:
        """Refuse numbers that no data fit; those that only data can tell are left to `choose`.

        Raises:
            UsageError: A number out of its range.
        """
        ...

    def choose(self, dealt: Dealt) -> dict[str, ImageRows]:
        """Return rows by folder below the target ("train", "20/train").

        Raises:
            UsageError: A number out of its range.
            DataError: More images or classes are asked for than there are.
        """
        ...


@dataclass(frozen=True)
class Resolution:
    """Every image of train, and about as many of valid and test as asked for, every class keeping its share.

    Attributes:
        test_val_samples: Images of the validation and of the test split; 0 keeps all.
        drop_empty_labels: Leave out labels without a positive in the train split.
    """

    test_val_samples: int = 4000
    drop_empty_labels: bool = False

    def check(self) -> None:
        """Refuse a number below 0; see `Benchmark`."""
        require_num_kept(self.test_val_samples)

    def choose(self, dealt: Dealt) -> dict[str, ImageRows]:
        """Return train, valid and test; see `Benchmark`."""
        members = dict(dealt.splits)
        for number, (name, margin) in enumerate((("valid", 0.0), ("test", dealt.test_margin)), start=1):
            labels = members[name].labels
            kept = stratified_cut(labels, self.test_val_samples, dealt.seed + number, split=name, margin=margin)
            is_short = name == "test" and dealt.drops_last_test_row and self.test_val_samples > 0
            members[name] = members[name].take(kept[:-1] if is_short else kept)
        return without_empty_labels(members) if self.drop_empty_labels else members


@dataclass(frozen=True)
class Classes:
    """For every number of classes, the most frequent ones with the same number of images each.

    Attributes:
        classes: Numbers of classes; their order counts for the seeds.
        train_per_class: Training images of each class, one number for each of `classes`.
        valid_per_class: Validation images of each class.
        test_per_class: Test images of each class.
    """

    classes: Sequence[int]
    train_per_class: Sequence[int]
    valid_per_class: int
    test_per_class: int

    def check(self) -> None:
        """Refuse numbers below 1, classes that come twice, and another count of them; see `Benchmark`."""
        _require_distinct(self.classes, "--classes")
        if len(self.classes) != len(self.train_per_class):
            raise UsageError(
                "--train-per-class needs one number for each of --classes.",
                received=f"{len(self.train_per_class)} numbers for {len(self.classes)}",
            )
        for num_train in self.train_per_class:
            require_num_per_class(num_train, "train")
        require_num_per_class(self.valid_per_class, "valid")
        require_num_per_class(self.test_per_class, "test")

    def choose(self, dealt: Dealt) -> dict[str, ImageRows]:
        """Return <classes>/train, <classes>/valid, <classes>/test; see `Benchmark`."""
        self.check()
        class_of_row = _class_of_row(dealt)
        chosen: dict[str, ImageRows] = {}
        seed = dealt.seed + 2
        for num_classes, num_train in zip(self.classes, self.train_per_class, strict=True):
            if num_classes > len(dealt.patterns):
                raise DataError(
                    f"{num_classes} classes (combinations of labels) were asked for; give fewer --classes or a "
                    "lower --limit.",
                    received=f"{counted(len(dealt.patterns), 'combination')} above the limit",
                )
            members = {}
            for name, size in zip(SPLIT_NAMES, (num_train, self.valid_per_class, self.test_per_class), strict=True):
                groups = _groups(dealt, class_of_row, name, num_classes, size)
                members[name] = dealt.splits[name].take(shuffled(np.concatenate(groups), seed))
                seed += 1
            chosen |= _in_folder(num_classes, members)
        return chosen


@dataclass(frozen=True)
class Samples:
    """For every number of training images per class, that many; valid and test are the same for all.

    A smaller training set is part of every larger one: one shuffled index chooses from every class.

    Attributes:
        train_per_class: Training images of each class; their order counts for the seeds.
        valid_per_class: Validation images of each class.
        test_per_class: Test images of each class.
        index_size: How many training images of each class the index runs over; 0 means the largest
            of `train_per_class`.
    """

    train_per_class: Sequence[int]
    valid_per_class: int
    test_per_class: int
    index_size: int = 0

    def check(self) -> None:
        """Refuse numbers below 1, sizes that come twice, and an index too small for them; see `Benchmark`."""
        _require_distinct(self.train_per_class, "--train-per-class")
        if self.index_size and self.index_size < max(self.train_per_class):
            raise UsageError("--index-size is at least the largest --train-per-class, or 0.", received=self.index_size)
        require_num_per_class(self.valid_per_class, "valid")
        require_num_per_class(self.test_per_class, "test")

    def choose(self, dealt: Dealt) -> dict[str, ImageRows]:
        """Return <images>/train, <images>/valid, <images>/test; see `Benchmark`."""
        self.check()
        index_size = self.index_size or max(self.train_per_class)
        splits, seed = dict(dealt.splits), dealt.seed + 2
        class_of_row = _class_of_row(dealt)
        if dealt.order.shuffles_train:
            order = shuffled(np.arange(len(splits["train"])), dealt.seed + 1)
            splits["train"], class_of_row["train"] = splits["train"].take(order), class_of_row["train"][order]
            seed += 1
        num_classes = len(dealt.patterns)
        held_out = {}
        for name, size in (("valid", self.valid_per_class), ("test", self.test_per_class)):
            groups = _groups(dealt, class_of_row, name, num_classes, size)
            held_out[name] = splits[name].take(shuffled(np.concatenate(groups), seed))
            seed += 1
        train_groups = _groups(dealt, class_of_row, "train", num_classes, index_size)
        index = shuffled(np.arange(index_size), seed)
        chosen: dict[str, ImageRows] = {}
        for number, size in enumerate(self.train_per_class, start=1):
            rows = np.concatenate([group[index[:size]] for group in train_groups])
            train = splits["train"].take(shuffled(rows, seed + number))
            chosen |= _in_folder(size, {"train": train, **held_out})
        return chosen


def without_empty_labels(splits: Splits) -> dict[str, ImageRows]:
    """Drop, from every split, the label columns without a positive in `splits["train"]`."""
    keep = splits["train"].labels.sum(axis=0) > 0
    return {name: rows.keep_labels(keep) for name, rows in splits.items()}


def _in_folder(number: int, members: Splits) -> dict[str, ImageRows]:
    return {f"{number}/{name}": rows for name, rows in without_empty_labels(members).items()}


def _class_of_row(dealt: Dealt) -> dict[str, Indices]:
    """Return, by split, the rank of every row's class, -1 for a combination that is none."""
    codes = combination_codes(dealt.patterns)
    by_code = np.argsort(codes)
    ranks = {}
    for name, rows in dealt.splits.items():
        codes_of_rows = combination_codes(rows.labels)
        place = by_code[np.minimum(np.searchsorted(codes[by_code], codes_of_rows), len(codes) - 1)]
        ranks[name] = np.where(codes[place] == codes_of_rows, place, -1)
    return ranks


def _groups(dealt: Dealt, class_of_row: dict[str, Indices], split: str, num_classes: int, size: int) -> list[Indices]:
    """Return `size` rows of each of the `num_classes` most frequent classes, in the source's order."""
    ranks = range(num_classes)[:: -1 if dealt.order.is_rarest_first else 1]
    # The rarest class of all has seed 0, whether or not it takes part.
    seeds = [len(dealt.patterns) - 1 - rank for rank in ranks] if dealt.order.shuffles_classes else None
    return rows_per_class(class_of_row[split], ranks, size, split=split, seeds=seeds)


def _require_distinct(numbers: Sequence[int], option: str) -> None:
    """Refuse numbers that could not each name a folder."""
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise UsageError(f"{option} takes different numbers, each 1 or more.", received=list(numbers))
