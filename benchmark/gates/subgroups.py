"""Groups of test images by what a metadata csv says of them: sex, bands of age, and other columns of a few words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.gates.model import Measure
from benchmark.gates.paired import PairedTest
from medsynth.classify.evaluation.evaluate import interval, reflected_interval
from medsynth.classify.evaluation.statistics import Floats
from medsynth.classify.evaluation.summary import number
from medsynth.data.labels import PATH_COLUMNS, read_csv
from medsynth.data.wording import counted, listed
from medsynth.errors import DataError
from medsynth.progress import Progress

PER_SUBGROUP = "per subgroup"
_ALWAYS_TAKEN = ("sex", "gender", "age")
_AGE = "age"
_MOST_WORDS = 8  # a column of more different entries names things, and groups nothing
_UNKNOWN = ""
# What stands in front of the common end of two paths.
Front = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Subgroups:
    """The groups of test images.

    Attributes:
        groups: By column, the group of every test image, [N]; an empty text where it is not known.
        notes: What was joined, left out or not found, a sentence each.
    """

    groups: Mapping[str, npt.NDArray[np.str_]]
    notes: tuple[str, ...]


def read_subgroups(
    path: Path, test_paths: Sequence[str], label_names: Sequence[str], age_limits: tuple[float, float]
) -> Subgroups:
    """Read a metadata csv, and group test images by its columns; see `read_columns`. Ages are put into bands.

    Args:
        path: A csv file with a column `Path` or `path`; CheXpert's own train.csv is one.
        test_paths: Of the test images, N.
        label_names: Columns that are labels, not groups.
        age_limits: Where the second and the third band of age begin.

    Raises:
        DataError: What `read_columns` raises.
    """
    found = read_columns(path, test_paths, label_names)
    groups = {
        name: _age_bands(cells, age_limits) if name.casefold() == _AGE else cells
        for name, cells in found.groups.items()
    }
    return Subgroups(groups, found.notes)


def read_columns(path: Path, test_paths: Sequence[str], label_names: Sequence[str]) -> Subgroups:
    """Read the columns of a metadata csv that make groups of the test images.

    Taken are Sex, Gender and Age, whatever they hold, and every other column that holds a few different words. Labels,
    numbers and columns of many different entries are left out, and named.

    Args:
        path: A csv file with a column `Path` or `path`.
        test_paths: Of the test images, N.
        label_names: Columns that are labels, not groups.

    Returns:
        The columns as they stand; ages are numbers still.

    Raises:
        DataError: No csv, no column of paths, none of the test images, or no group in it.
    """
    frame = read_csv(path, dtype=str, keep_default_na=False)
    path_column = next((name for name in PATH_COLUMNS if name in frame.columns), None)
    if path_column is None:
        raise DataError(
            f"A column {' or '.join(PATH_COLUMNS)} with the images' paths was expected.",
            received=listed(list(map(str, frame.columns))) or "no columns",
            path=path,
        )
    rows, notes = join_by_path(test_paths, list(frame[path_column]))
    found = rows >= 0
    if not found.any():
        raise DataError(
            f"Rows of test images were expected, whose paths end as that of {listed(test_paths[:1])} does.",
            received=f"{counted(len(frame), 'row')} that fit none of {counted(len(test_paths), 'test image')}",
            path=path,
        )
    groups, left_out = {}, []
    for name in (str(column) for column in frame.columns if column not in (path_column, *label_names)):
        cells = np.full(len(test_paths), _UNKNOWN, dtype=object)
        cells[found] = frame[name].to_numpy(object)[rows[found]]
        column = np.array([str(cell).strip() for cell in cells], np.str_)
        if _makes_groups(name, column):
            groups[name] = column
        else:
            left_out.append(name)
    if not groups:
        raise DataError(
            "A column of groups was expected beside the paths: Sex, Age, or another one of a few words.",
            received=listed(left_out) or "no other column",
            path=path,
        )
    if left_out:
        notes.append(f"Columns that make no groups (numbers, or too many different entries): {listed(left_out)}.")
    return Subgroups(groups, tuple(notes))


def _makes_groups(name: str, cells: npt.NDArray[np.str_]) -> bool:
    if name.casefold() in _ALWAYS_TAKEN:
        return True
    known = np.unique(cells[cells != _UNKNOWN])
    return 1 < len(known) <= _MOST_WORDS and not np.isfinite(_numbers(known)).any()


def _numbers(cells: npt.NDArray[np.str_]) -> npt.NDArray[np.float64]:
    """Return the cells' numbers, NaN where a cell is none."""
    return pd.to_numeric(pd.Series(cells), errors="coerce").to_numpy(np.float64)


def _age_bands(cells: npt.NDArray[np.str_], limits: tuple[float, float]) -> npt.NDArray[np.str_]:
    ages, (middle, old) = _numbers(cells), limits
    names = np.array([f"under {middle:g}", f"{middle:g} to under {old:g}", f"{old:g} and over"])
    bands = names[np.digitize(np.nan_to_num(ages), limits)]
    return np.where(np.isfinite(ages), bands, _UNKNOWN)


def join_by_path(wanted: Sequence[str], known: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the row of `known` for each path of `wanted`, [N], -1 where there is none, and notes.

    Paths are of the same image where they end alike: where one is the end of the other, whole names at a time, or where
    both go on in front of the common end as most of the pairs do (so that a patient who is not in the table is not
    taken for another one with a file of the same name). Rows that end alike just as long are ambiguous.

    Args:
        wanted: Paths of the dataset; they begin with its raw_dir.
        known: Paths of the table; they begin anywhere.
    """
    wanted_parts, known_parts = ([_parts(path) for path in paths] for paths in (wanted, known))
    ends = {parts[start:] for parts in wanted_parts for start in range(len(parts))}
    rows_by_end: dict[tuple[str, ...], list[int]] = {}
    for row, parts in enumerate(known_parts):
        for start in range(len(parts)):
            if parts[start:] in ends:
                rows_by_end.setdefault(parts[start:], []).append(row)
    candidates: list[list[tuple[int, Front]]] = []
    for parts in wanted_parts:
        end = next((parts[start:] for start in range(len(parts)) if parts[start:] in rows_by_end), ())
        alike = rows_by_end.get(end, [])
        candidates.append([(row, (parts[: -len(end)], known_parts[row][: -len(end)])) for row in alike])
    fronts = Counter(alike[0][1] for alike in candidates if len(alike) == 1 and all(alike[0][1]))
    usual = fronts.most_common(1)[0][0] if fronts else None
    fitting = [[row for row, front in alike if not all(front) or front == usual] for alike in candidates]
    rows = np.array([alike[0] if len(alike) == 1 else -1 for alike in fitting], np.int64)
    num_ambiguous = sum(len(alike) > 1 for alike in fitting)
    num_found = int((rows >= 0).sum())
    num_missing = len(wanted) - num_found - num_ambiguous
    notes = [f"{num_found:,} of {len(wanted):,} test images were found in the metadata by their paths."]
    if num_ambiguous:
        notes.append(f"{counted(num_ambiguous, 'test image')} fit several rows just as well, and are in no group.")
    if num_missing:
        notes.append(f"{counted(num_missing, 'test image')} fit no row, and are in no group.")
    return rows, notes


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in PurePosixPath(path.strip().replace("\\", "/")).parts if part not in ("/", "."))


@dataclass(frozen=True)
class _Group:
    """A group of test images.

    Attributes:
        name: Of the group.
        test: Its images, all labels.
        labels: Which labels have enough cases, [L].
        missing: So many patients more, or cases of some label, would be needed; 0 where there are enough.
        seed: Of its resamples.
    """

    name: str
    test: PairedTest
    labels: npt.NDArray[np.bool_]
    missing: int
    seed: int

    @classmethod
    def of(cls, name: str, test: PairedTest, thresholds: Mapping[str, float], seed: int) -> "_Group":
        fewest_cases = round(thresholds["fewest_cases"])
        cases = np.minimum(*test.cases())
        missing = max(round(thresholds["fewest_patients"]) - test.num_units, fewest_cases - int(cases.max()), 0)
        return cls(name, test, cases >= fewest_cases, missing, seed)

    def mean_aurocs(self, labels: npt.NDArray[np.bool_]) -> Floats:
        """Return the mean AUROC over labels, plain and then in every resample, of each classifier: [K, 1 + R]."""
        return self.test.mean_aurocs(labels, self.seed)


def subgroup_measures(
    subgroups: Subgroups, test: PairedTest, thresholds: Mapping[str, float], seed: int
) -> list[Measure]:
    """Return, for each group, the loss of mean AUROC, and for each column how far the groups lie apart.

    They decide nothing. A group is of enough patients, and a label of enough cases in it, or nothing is said of it; the
    spread is over the labels that have enough cases in all groups.

    Args:
        subgroups: Of the test images.
        test: The real classifier's and the synthetic one's, and perhaps others.
        thresholds: The section `utility`.
        seed: Of the resamples.
    """
    measures = []
    names = [(column, str(name)) for column, groups in subgroups.groups.items() for name in np.unique(groups) if name]
    progress = Progress("subgroups", len(names), "groups")
    for column, groups in subgroups.groups.items():
        found: list[_Group] = []
        for name in (name for of_column, name in names if of_column == column):
            # Each group has resamples of its own, so that those of two groups have nothing to do with each other.
            found.append(_Group.of(name, test.part(groups == name), thresholds, seed + 1 + len(found)))
            progress.advance()
        measures += [_loss(column, group) for group in found]
        measures += _spreads(column, [group for group in found if not group.missing])
    progress.close()
    return measures


def _loss(column: str, group: _Group) -> Measure:
    """Return the loss of mean AUROC in a group."""
    key, num, unit = f"auroc_difference.{column}.{group.name}", group.test.num_units, group.test.unit
    title = f"{column}, {group.name}: real minus synthetic"
    if group.missing:
        reason = f"Insufficient: {group.missing:,} more {unit} at least, or cases of a label, would be needed."
        return Measure(
            key, title, None, None, None, num, unit, reason=reason, more_needed=group.missing, group=PER_SUBGROUP
        )
    real, synthetic, *_ = group.mean_aurocs(group.labels)
    differences = real - synthetic
    found = interval(float(differences[0]), differences[1:])
    labels = [name for name, is_enough in zip(group.test.names, group.labels, strict=True) if is_enough]
    reason = f"Mean AUROC over {listed(labels)}."
    return Measure(
        key, title, found.value, number(found.low), number(found.high), num, unit, reason=reason, group=PER_SUBGROUP
    )


def _spreads(column: str, groups: list[_Group]) -> list[Measure]:
    """Return how far the groups' mean AUROC lie apart, for both classifiers; nothing where it cannot be said.

    The largest value minus the smallest is never below 0, and chance makes it larger. As for the calibration error, the
    interval is mirrored at the value, and reaches down to 0 where groups of one AUROC could lie as far apart by chance.
    """
    if len(groups) < 2:
        return []
    labels = np.logical_and.reduce([group.labels for group in groups])
    if not labels.any():
        return []
    names = [name for name, is_common in zip(groups[0].test.names, labels, strict=True) if is_common]
    every = np.stack([group.mean_aurocs(labels) for group in groups], axis=1)  # [K, groups, 1 + R]
    measures = []
    for key, means in zip(("real", "synthetic"), every, strict=False):
        spreads = np.ptp(means, axis=0)
        by_chance = np.ptp(means[:, 1:] - means[:, :1], axis=0)
        value = float(spreads[0])
        mirrored = reflected_interval(value, spreads[1:])
        is_chance = value <= interval(value, by_chance).high
        measures.append(
            Measure(
                f"auroc_spread.{column}.{key}",
                f"{column}: best minus worst group, trained on {key} images",
                value,
                0.0 if is_chance else max(0.0, mirrored.low),
                max(value, mirrored.high),
                sum(group.test.num_units for group in groups),
                groups[0].test.unit,
                reason=f"Mean AUROC over {listed(names)}, {listed([group.name for group in groups])}.",
                group=PER_SUBGROUP,
            )
        )
    return measures
