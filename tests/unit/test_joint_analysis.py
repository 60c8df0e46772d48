"""The analysis of synthetic tables: known answers, SDMetrics' values, planted copies, and tables at the edge."""

import csv
import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp

from GAN_joint.analysis import closest_records as closest_module
from GAN_joint.analysis.closest_records import closest_distances, closest_records
from GAN_joint.analysis.command import analyse
from GAN_joint.analysis.detection import CLASSIFIERS, _corrected_interval, detection
from GAN_joint.analysis.results import FLOOR, SMALL, SYNTHETIC, UNRELATED
from GAN_joint.analysis.table_figures import PANELS_PER_FIGURE, Shown, number_figures
from GAN_joint.analysis.table_maps import correlation_matrix
from GAN_joint.analysis.table_metrics import (
    Similarities,
    column_similarities,
    pair_similarities,
    shuffled_columns,
)
from GAN_joint.analysis.tables import encode_tables
from medsynth.errors import DataError, MedsynthError, UsageError

KINDS = {"age": "number", "sugar": "number", "sex": "binary", "smoker": "target", "grade": "category"}

# sdmetrics 0.32.0 (pandas 2.3.3, numpy 2.4.6) of `sdmetrics_table(60, 0.0)` and `sdmetrics_table(90, 0.7)`:
# KSComplement.compute(real[c], synthetic[c]), TVComplement.compute(...),
# CorrelationSimilarity.compute(real[[a, b]], ...), ContingencySimilarity.compute(real[[a, b]], ...,
# continuous_column_names=[numbers of the two]), and
# single_table.privacy.dcr_utils.calculate_dcr(synthetic, real, metadata).
SDMETRICS_COLUMNS = {
    "age": 0.85,
    "sugar": 0.8277777777777777,
    "sex": 1.0,
    "smoker": 1.0,
    "grade": 0.711111111111111,
}
SDMETRICS_PAIRS = {
    ("age", "sugar"): 0.9980772551550042,
    ("age", "sex"): 0.7833333333333333,
    ("age", "smoker"): 0.7555555555555555,
    ("age", "grade"): 0.6444444444444445,
    ("sugar", "sex"): 0.7111111111111112,
    ("sugar", "smoker"): 0.6444444444444444,
    ("sugar", "grade"): 0.311111111111111,
    ("sex", "smoker"): 0.9333333333333333,
    ("sex", "grade"): 0.7111111111111111,
    ("smoker", "grade"): 0.711111111111111,
}
SDMETRICS_DISTANCES = {"median": 0.058825910931174064, "mean": 0.07420452841505472, "max": 0.20094466936572197}


def sdmetrics_table(num_rows: int, shift: float) -> pd.DataFrame:
    """The same numbers with every version of every library: no random generator."""
    i = np.arange(num_rows)
    age = np.round(40 + 30 * np.sin(1.7 * i + shift) ** 2 + 3 * shift, 0)
    sugar = np.round(80 + 0.9 * age + 25 * np.cos(2.3 * i), 1)
    sex = np.where((7 * i + int(10 * shift)) % 5 < 2, "Male", "Fmale")
    smoker = ((3 * i + (age > 55)) % 4 == 0).astype(int)
    grade = np.array(["N", "mild", "Severe"])[(i * i + (sugar > 130) + int(3 * shift)) % 3]
    return pd.DataFrame({"age": age, "sugar": sugar, "sex": sex, "smoker": smoker, "grade": grade})


def risk_table(num_rows: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    """Rows whose columns depend on each other through one latent number."""
    rng = np.random.default_rng(seed)
    risk = rng.normal(size=num_rows)
    age = np.round(60 + 9 * (risk + shift) + 4 * rng.normal(size=num_rows))
    sugar = np.round(100 + 25 * risk + 8 * rng.normal(size=num_rows), 1)
    words = np.array(["N", "mild", "Severe"])[np.digitize(risk + 0.3 * rng.normal(size=num_rows), [0.0, 1.0])]
    return pd.DataFrame(
        {
            "age": age,
            "sugar": sugar,
            "sex": np.where(rng.random(num_rows) < 0.5, "Male", "Fmale"),
            "smoker": (risk + rng.normal(size=num_rows) > 0.5).astype(int),
            "grade": words,
        }
    )


def values(similarities: Similarities) -> dict[tuple[str, ...], float]:
    return {score.columns: score.interval.value for score in similarities.scores}


def test_columns_score_as_in_sdmetrics() -> None:
    found = column_similarities(sdmetrics_table(60, 0.0), sdmetrics_table(90, 0.7), KINDS, num_resamples=0)
    assert {name: value for (name,), value in values(found).items()} == pytest.approx(SDMETRICS_COLUMNS, abs=1e-12)
    assert found.means["mean"].value == pytest.approx(np.mean(list(SDMETRICS_COLUMNS.values())))
    assert found.means["ks_complement"].value == pytest.approx((0.85 + 0.8277777777777777) / 2)


def test_pairs_score_as_in_sdmetrics() -> None:
    found = pair_similarities(sdmetrics_table(60, 0.0), sdmetrics_table(90, 0.7), KINDS, num_resamples=0)
    assert values(found) == pytest.approx(SDMETRICS_PAIRS, abs=1e-12)
    assert {score.measure for score in found.scores} == {"correlation_similarity", "contingency_similarity"}


def test_distances_are_those_of_sdmetrics() -> None:
    distances = closest_distances(sdmetrics_table(90, 0.7), sdmetrics_table(60, 0.0), KINDS)
    found = {"median": np.median(distances), "mean": distances.mean(), "max": distances.max()}
    assert found == pytest.approx(SDMETRICS_DISTANCES, abs=1e-12)


@pytest.mark.parametrize("compare", [column_similarities, pair_similarities])
def test_the_same_table_scores_one(compare: Callable[..., Similarities]) -> None:
    real = risk_table(80, 1)
    found = values(compare(real, real.sample(frac=1, random_state=0), KINDS, num_resamples=0))
    assert list(found.values()) == pytest.approx(np.ones(len(found)), abs=1e-12)


def test_columns_without_a_common_value_score_nothing() -> None:
    real = risk_table(80, 1)
    foreign = real.assign(age=real["age"] + 1000, sex="Male", grade="other")
    found = values(column_similarities(real.assign(sex="Fmale"), foreign, KINDS, num_resamples=0))
    assert [found[name,] for name in ("age", "sex", "grade")] == pytest.approx([0.0, 0.0, 0.0], abs=1e-12)
    assert found["sugar",] == pytest.approx(1.0)


def test_shuffled_columns_lose_their_dependence_and_keep_their_distributions() -> None:
    real = risk_table(600, 1)
    assert real[["age", "sugar"]].corr().iloc[0, 1] > 0.8, "there is a dependence to lose"
    shuffled = shuffled_columns(real, 3)
    columns = column_similarities(real, shuffled, KINDS)
    assert min(values(columns).values()) == pytest.approx(1.0)
    pairs = pair_similarities(real, shuffled, KINDS)
    assert values(pairs)["age", "sugar"] < 0.65
    assert values(pairs)["sugar", "grade"] < 0.8
    again = pair_similarities(real, risk_table(600, 2), KINDS)
    assert again.means["mean"].low > pairs.means["mean"].high


def test_grouped_rows_give_the_interval_of_single_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    real, other = risk_table(700, 1), risk_table(900, 2, 0.3)
    single = [compare(real, other, KINDS) for compare in (column_similarities, pair_similarities)]
    monkeypatch.setattr("GAN_joint.analysis.table_metrics._MOST_GROUPS", 150)
    grouped = [compare(real, other, KINDS) for compare in (column_similarities, pair_similarities)]
    for one, two in zip(single, grouped, strict=True):
        assert values(one) == pytest.approx(values(two), abs=1e-12), "the values come from all rows"
        widths = [[score.interval.high - score.interval.low for score in some.scores] for some in (one, two)]
        assert np.divide(*widths) == pytest.approx(np.ones(len(widths[0])), abs=0.35)
        assert widths[0] != widths[1]


@pytest.mark.parametrize("num_rows", [400, 3000])
def test_intervals_are_as_wide_as_theory_has_it(num_rows: int) -> None:
    rows = np.arange(num_rows)
    real, other = (pd.DataFrame({"x": (rows < share * num_rows).astype(int)}) for share in (0.2, 0.6))
    (score,) = column_similarities(real, other, {"x": "binary"}).scores
    error = np.sqrt((0.2 * 0.8 + 0.6 * 0.4) / num_rows)  # of a difference of two shares
    assert score.interval.value == pytest.approx(0.6)
    assert score.interval.high - score.interval.low == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert score.interval.num_resamples == 500


def test_detection_widens_its_interval_by_what_folds_share() -> None:
    means = np.r_[0.7, 0.7 + 0.02 * np.random.default_rng(0).normal(size=2000)]
    found = _corrected_interval(means)
    assert (found.value, found.high - 0.7) == pytest.approx((0.7, 1.96 * 0.02 * 1.5), rel=0.05)
    assert _corrected_interval(np.r_[0.99, means[1:]]).high == 1.0


@pytest.mark.parametrize("cells_per_row", [0, 50])
def test_ks_agrees_with_scipy_on_every_resample(cells_per_row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from GAN_joint.analysis import table_metrics

    monkeypatch.setattr(table_metrics, "_CELLS_PER_ROW", cells_per_row)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 12, 40).astype(float), rng.integers(2, 14, 30).astype(float)
    resamples = table_metrics._resamples(40, 30, 20, seed=5)
    distances = table_metrics._ks_distances(resamples, np.concatenate([first, second]))
    for weights, distance in zip(resamples.weights, distances, strict=True):
        per_row = weights[resamples.groups]
        counts = np.rint(np.r_[per_row[:40] * 40, -per_row[40:] * 30]).astype(int)
        assert counts[:40].sum() == 40
        drawn = np.repeat(first, counts[:40]), np.repeat(second, counts[40:])
        assert distance == pytest.approx(ks_2samp(*drawn).statistic, abs=1e-12)


def test_resampled_correlations_are_those_of_the_drawn_rows() -> None:
    from GAN_joint.analysis import table_metrics

    rng = np.random.default_rng(0)
    table = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3)) + [0, 1e3, -5]
    resamples = table_metrics._resamples(50, 1, 10, seed=5)
    weights, groups = resamples.weights[:, :50], resamples.groups[:50]
    centred = (table - table.mean(axis=0)) / np.ptp(table, axis=0)
    found = table_metrics._correlations(weights, groups, centred)
    for row, correlations in zip(weights, found, strict=True):
        drawn = np.repeat(table, np.rint(row[groups] * 50).astype(int), axis=0)
        assert correlations == pytest.approx(np.corrcoef(drawn.T), abs=1e-9)
    assert correlation_matrix(table) == pytest.approx(np.corrcoef(table.T))


def test_a_constant_synthetic_column_is_not_left_out() -> None:
    real = risk_table(300, 1)
    collapsed = risk_table(300, 2).assign(sugar=100.0)
    correlation = real[["age", "sugar"]].corr().iloc[0, 1]
    found = values(pair_similarities(real, collapsed, KINDS, num_resamples=50))
    assert found["age", "sugar"] == pytest.approx(1 - correlation / 2)
    assert values(column_similarities(real, collapsed, KINDS, num_resamples=0))["sugar",] < 0.6
    undefined = pair_similarities(collapsed, real, KINDS, num_resamples=50)
    assert np.isnan(values(undefined)["age", "sugar"])
    assert np.isfinite(undefined.means["mean"].value)


@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.4, 0.6), (6.0, 0.97, 1.0)])
def test_detection(classifier: str, shift: float, low: float, high: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("GAN_joint.analysis.detection.CLASSIFIERS", (classifier,))
    found = detection(risk_table(200, 1), risk_table(500, 2, shift), KINDS)
    assert found.num_rows == 200, "as many rows of either"
    auc = found.aucs[classifier]
    assert low <= auc.value <= high
    assert 0 <= auc.low <= auc.value <= auc.high <= 1
    if shift == 0:
        assert auc.low < 0.5 < auc.high


def test_only_the_forest_sees_what_no_mean_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    narrow, wide = (pd.DataFrame({"x": scale * rng.normal(size=300)}) for scale in (1.0, 4.0))
    found = detection(narrow, wide, {"x": "number"}).aucs
    assert abs(found["logistic_regression"].value - 0.5) < 0.15
    assert found["gradient_boosting"].value > 0.7


def test_planted_copies_are_found() -> None:
    train, held_out, synthetic = risk_table(300, 1), risk_table(100, 2), risk_table(400, 3)
    clean = closest_records(train, held_out, synthetic, KINDS)
    copies = synthetic.copy()
    copies.iloc[:37] = train.iloc[:37].to_numpy()
    copies = copies.astype(synthetic.dtypes.to_dict())
    # What float32 numbers lose must not hide a copy.
    copies["sugar"] = copies["sugar"].astype(np.float32).astype(np.float64)
    assert (copies["sugar"].iloc[:37] != train["sugar"].iloc[:37]).any()
    found = closest_records(train, held_out, copies, KINDS)
    assert found.num_copies >= 37
    assert 37 <= found.num_copies <= 37 + clean.num_copies
    assert found.copies.low > 0.05
    assert found.share_below.value > clean.share_below.value
    assert clean.median_ratio.low < 1 < clean.median_ratio.high
    assert clean.share_below.low < clean.share_expected < clean.share_below.high
    assert closest_records(train, held_out, train, KINDS).median_ratio.value == 0


def test_distances_are_gowers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closest_module, "_ROWS_PER_BLOCK", 7)
    monkeypatch.setattr(closest_module, "_REFERENCES_PER_BLOCK", 50)
    monkeypatch.setattr(closest_module, "_ROWS_PER_TASK", 20)
    rows, reference = risk_table(61, 1), risk_table(143, 2)
    tables = encode_tables({"a": rows, "b": reference}, KINDS)
    spread = np.ptp(tables["b"].numbers, axis=0)
    numbers = cdist(tables["a"].numbers / spread, tables["b"].numbers / spread, "cityblock")
    others = (tables["a"].codes[:, None] != tables["b"].codes[None]).sum(axis=2)
    assert closest_distances(rows, reference, KINDS) == pytest.approx(((numbers + others) / 5).min(axis=1), abs=1e-12)


def test_distances_need_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closest_module, "available_cpus", lambda: 2)
    rows, reference = risk_table(1500, 1), risk_table(6000, 2)
    closest_distances(rows[:10], reference[:10], KINDS)  # so that imports are not counted
    tracemalloc.start()
    try:
        closest_distances(rows, reference, KINDS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 1500 * 6000 * 8 > 70e6, "all distances at once would need this"
    assert peak < 12e6


def run(out_dir: Path, *frames: pd.DataFrame | None, **options: object) -> str:
    kinds = options.pop("kinds", KINDS)
    assert isinstance(kinds, dict)
    return analyse(*frames, kinds, out_dir, seed=1, **options)  # type: ignore[arg-type]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long and has tests of its own."""
    monkeypatch.setattr("GAN_joint.analysis.detection._NUM_RESAMPLES", 20)
    monkeypatch.setattr("GAN_joint.analysis.detection.CLASSIFIERS", CLASSIFIERS[:1])
    monkeypatch.setattr("GAN_joint.analysis.command._draw", lambda *_: [])


def test_a_whole_analysis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = risk_table(90, 1), risk_table(30, 2)
    text = run(tmp_path, train, test, risk_table(150, 3)[list(KINDS)[::-1]], notes=["A note."])
    assert capsys.readouterr().out == text + "\n"
    assert "synthetic (n 150)" in text
    assert "held-out real (n 30)" in text

    page = (tmp_path / "report.html").read_text()
    assert "A note." in page
    assert not re.search(r"<script|https?://|<link|url\(", page), "the page loads nothing"
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert len(re.findall(r'src="data:image/png;base64,', page)) == len(pictures) == 9
    assert all(name in page for name in pictures)

    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["rows"] == {"train": 90, "held_out": 30, "synthetic": 150}
    assert {row["table"] for row in found["metrics"]} == {SYNTHETIC, SMALL, FLOOR, UNRELATED}
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found["metrics"]) > 40
    for row, other in zip(rows, found["metrics"], strict=True):
        assert (row["metric"], row["column"]) == (other["metric"], (*other["columns"], "")[0])
        for key in ("value", "low", "high"):
            assert (float(row[key]) if row[key] else None) == other[key]


@pytest.mark.usefixtures("quick")
def test_few_rows_and_no_held_out_ones(tmp_path: Path) -> None:
    text = run(tmp_path, risk_table(35, 1), None, risk_table(60, 2))
    assert "no held-out real rows" in text
    text = run(tmp_path, risk_table(35, 1), risk_table(5, 3), risk_table(60, 2))
    assert "needs 20 held-out real rows; there are 5" in text
    assert "Detection needs 10 rows" in text
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["closest_records"]["threshold"] is None
    values_of = {row["metric"]: row["value"] for row in found["metrics"] if row["table"] == FLOOR}
    assert values_of["detection_auc_logistic_regression"] is None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda frame: frame.assign(age=60.0), "'age' is constant in the synthetic rows"),
        (lambda frame: frame.assign(smoker=0), "'smoker' is constant in the synthetic rows"),
        (lambda frame: frame.assign(grade=frame["grade"].replace("Severe", "N")), "no synthetic row has 'Severe'"),
        (lambda frame: frame.assign(grade=frame["grade"].replace("Severe", "new")), "no real training row has 'new'"),
    ],
)
def test_odd_columns_are_named(tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], note: str) -> None:
    assert note in run(tmp_path, risk_table(60, 1), risk_table(30, 2), change(risk_table(80, 3)))


@pytest.mark.usefixtures("quick")
def test_a_constant_real_column_and_a_single_column(tmp_path: Path) -> None:
    frames = [risk_table(60, seed).assign(age=50, sex="Male", grade="N") for seed in (1, 2, 3)]
    assert "'age' is constant in the real training rows" in run(tmp_path, *frames)
    frames = [frame[["sugar"]] for frame in frames]
    assert "1 column" in run(tmp_path, *frames, kinds={"sugar": "number"})


@pytest.mark.usefixtures("quick")
def test_large_tables_are_cut(tmp_path: Path) -> None:
    text = run(tmp_path, risk_table(60, 1), risk_table(30, 2), risk_table(300, 3), max_rows=50)
    assert "Of 300 synthetic rows, 50 were drawn." in text
    assert json.loads((tmp_path / "metrics.json").read_text())["rows"] == {"train": 50, "held_out": 30, "synthetic": 50}


@pytest.mark.parametrize(
    ("change", "kinds", "message"),
    [
        (lambda frame: frame.drop(columns="sex"), KINDS, r"synthetic rows must have.*missing: sex"),
        (lambda frame: frame.assign(image="a.png"), KINDS, r"not in the schema: image"),
        (
            lambda frame: frame.assign(age=frame["age"].where(frame.index != 4)),
            KINDS,
            r"'age'.*missing.*1 of 20.*row 5",
        ),
        (lambda frame: frame.assign(sex=[None, *frame["sex"][1:]]), KINDS, r"'sex'.*missing.*the first in row 1"),
        (lambda frame: frame.assign(age=["old", *frame["age"][1:]]), KINDS, r"'age'.*row 1 does not.*'old'"),
        (lambda frame: frame.assign(sugar=np.inf), KINDS, r"'sugar'.*finite"),
        (lambda frame: frame.assign(sex=["other", *frame["sex"][1:]]), KINDS, r"'sex'.*two values.*'other'"),
        (lambda frame: frame[:0], KINDS, r"must not be empty"),
        (lambda frame: frame, KINDS | {"age": "drop"}, r"'age' needs one of the kinds"),
        (lambda frame: frame, {}, r"no column"),
    ],
)
def test_tables_that_do_not_fit(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], kinds: dict[str, str], message: str
) -> None:
    out_dir = tmp_path / "out"
    with pytest.raises(MedsynthError, match=message) as caught:
        run(out_dir, risk_table(20, 1), None, change(risk_table(20, 2)), kinds=kinds)
    assert isinstance(caught.value, DataError | UsageError)
    assert not out_dir.exists()


def test_the_same_value_in_other_words() -> None:
    frames = {"a": pd.DataFrame({"x": [0, 1, 1]}), "b": pd.DataFrame({"x": [1.0, 0.0, 1.0]})}
    frames |= {"c": pd.DataFrame({"x": ["1", "0", "0"]}), "d": pd.DataFrame({"x": [True, False, True]})}
    tables = encode_tables(frames, {"x": "binary"})
    assert [table.codes[:, 0].tolist() for table in tables.values()] == [[0, 1, 1], [1, 0, 1], [1, 0, 0], [1, 0, 1]]
    assert tables["a"].words == (("0", "1"),)


@pytest.mark.parametrize(("num_columns", "num_files"), [(1, 1), (12, 1), (13, 2)])
def test_pages_of_figures(tmp_path: Path, num_columns: int, num_files: int) -> None:
    assert PANELS_PER_FIGURE == 12
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(30, num_columns)), columns=[f"n{i}" for i in range(num_columns)])
    paths = number_figures(tmp_path, Shown(frame, frame, None, dict.fromkeys(frame.columns, "number")))
    assert len(paths) == num_files
    assert all(path.stat().st_size > 5000 for path in paths)
