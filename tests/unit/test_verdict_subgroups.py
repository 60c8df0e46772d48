"""Joining test images with a metadata csv, and the groups that its columns make."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmark.gates.subgroups import _spreads, join_by_path, read_subgroups
from medsynth.errors import DataError

LIMITS = (40.0, 65.0)


@pytest.mark.parametrize(("wanted", "known", "rows"), [
    (["raw/CheXpert/train/p1/s1/v.jpg"], ["CheXpert/train/p2/s1/v.jpg", "CheXpert/train/p1/s1/v.jpg"], [1]),
    (["/data/raw/a/x.png", "/data/raw/b/x.png"], ["b/x.png", "a/x.png"], [1, 0]),
    (["raw/a/x.png", "raw/b/x.png"], ["x.png"], [0, 0]),
    (["raw/a/x.png"], ["x.png", "x.png"], [-1]),
    (["raw/p1/a", "raw/p2/b", "raw/p3/c"], ["/else/p1/a", "/else/p2/b", "/else/p9/c"], [0, 1, -1]),
    (["raw\\p1\\v.jpg"], ["./p1/v.jpg"], [0]),
    (["raw/a.png"], ["b.png"], [-1]),
    (["raw/xa.png"], ["a.png"], [-1]),
])  # fmt: skip
def test_joins_by_the_longest_common_ending(wanted: list[str], known: list[str], rows: list[int]) -> None:
    found, notes = join_by_path(wanted, known)
    assert found.tolist() == rows
    num_found = sum(row >= 0 for row in rows)
    assert notes[0].startswith(f"{num_found} of {len(rows)} test images were found")
    assert (len(notes) > 1) == (num_found < len(rows))


def test_says_what_is_ambiguous_and_what_is_missing() -> None:
    _, notes = join_by_path(["r/a.png", "r/b.png"], ["a.png", "a.png"])
    assert notes[1:] == [
        "1 test image fit several rows just as well, and are in no group.",
        "1 test image fit no row, and are in no group.",
    ]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_takes_sex_age_and_columns_of_a_few_words(tmp_path: Path) -> None:
    metadata = write(
        tmp_path / "train.csv",
        "Path,Sex,Age,View,Edema,Weight,Name\n"
        "a.png,F,39,AP,1,70,A\nb.png,M,40,PA,0,71,B\nc.png,F,64,AP,-1,72,C\nd.png,,65,,,73,D\n",
    )
    found = read_subgroups(metadata, [f"raw/{name}.png" for name in "abcde"], ["Edema"], LIMITS)
    assert {name: list(groups) for name, groups in found.groups.items()} == {
        "Sex": ["F", "M", "F", "", ""],
        "Age": ["under 40", "40 to under 65", "40 to under 65", "65 and over", ""],
        "View": ["AP", "PA", "AP", "", ""],
        "Name": ["A", "B", "C", "D", ""],
    }
    assert "Weight" in found.notes[-1]


def test_leaves_out_columns_of_many_words_and_findings(tmp_path: Path) -> None:
    rows = "".join(f"{number}.png,{number % 2},name {number},{number % 2}\n" for number in range(20))
    metadata = write(tmp_path / "train.csv", f"path,sex,who,Fracture\n{rows}")
    found = read_subgroups(metadata, [f"{number}.png" for number in range(20)], (), LIMITS)
    assert list(found.groups) == ["sex"]
    assert np.unique(found.groups["sex"]).tolist() == ["0", "1"]
    assert "who, Fracture" in found.notes[-1]


@pytest.mark.parametrize(("text", "words"), [
    ("File,Sex\na.png,F\n", "A column Path or path"),
    ("Path,Weight\na.png,70\n", "Received: Weight"),
    ("Path\na.png\n", "Received: no other column"),
    ("Path,Sex\nb.png,F\nc.png,M\n", "end as that of raw/a.png does.*2 rows that fit none of 1 test image"),
])  # fmt: skip
def test_refuses_a_table_without_groups(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_subgroups(write(tmp_path / "x.csv", text), ["raw/a.png"], (), LIMITS)


@pytest.mark.parametrize("num_groups", [2, 6])
def test_groups_of_one_auroc_are_not_said_to_differ(num_groups: int) -> None:
    """Many groups lie far apart by chance alone: without the rule, one in four intervals would lie above 0."""
    rng = np.random.default_rng(num_groups)
    lows = []
    for _ in range(60):
        groups = [_StubGroup(0.8 + 0.02 * rng.normal(), rng.normal(size=300)) for _ in range(num_groups)]
        measures = _spreads("Ward", groups)  # type: ignore[arg-type]
        assert [one.num for one in measures] == [50 * num_groups] * 2
        assert all(one.low is not None and one.value is not None and one.low <= one.value for one in measures)
        lows.append(measures[0].low)
    assert np.mean(np.array(lows, np.float64) > 0) < 0.09


def test_groups_that_differ_are_said_to() -> None:
    rng = np.random.default_rng(0)
    groups = [_StubGroup(mean, rng.normal(size=300)) for mean in (0.9, 0.7)]
    real, _ = _spreads("Ward", groups)  # type: ignore[arg-type]
    assert real.low is not None
    assert real.low > 0.1


class _StubGroup:
    """A group of 50 patients whose mean AUROC has a standard error of 0.02."""

    def __init__(self, mean: float, deviations: np.ndarray) -> None:
        self.name, self.labels = "one", np.array([True])
        self.test = SimpleNamespace(names=("Edema",), num_units=50, unit="patients")
        self.values = np.r_[mean, mean + 0.02 * deviations]

    def mean_aurocs(self, labels: np.ndarray) -> np.ndarray:
        return np.stack([self.values, self.values])
