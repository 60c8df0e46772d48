"""compare.py on the results of a whole grid, made of predictions whose AUROC is known."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark.grid_report.cells import read_grid
from benchmark.grid_report.measure import estimate, estimate_mean, gap_terms, measure
from benchmark.grid_report.published import beside_published, published_values
from benchmark.grid_report.report import report_grid
from benchmark.grid_report.trends import find_trends
from benchmark.learning_curves import Margins
from medsynth.errors import DataError
from tests.commands import refused, run_script
from tests.grid_files import draw_sweep, make_grid

SMALL = {
    ("classes", 2, "real"): 0.95, ("classes", 2, "GAN_prog"): 0.90, ("classes", 2, "GAN_cpd"): 0.92,
    ("classes", 4, "real"): 0.90, ("classes", 4, "GAN_prog"): 0.75, ("classes", 4, "GAN_cpd"): 0.80,
    ("samples", 50, "real"): 0.85, ("samples", 50, "GAN_prog"): 0.70, ("samples", 50, "GAN_cpd"): 0.72,
    ("samples", 200, "real"): 0.93, ("samples", 200, "GAN_prog"): 0.75, ("samples", 200, "GAN_cpd"): 0.79,
}  # fmt: skip
FILES = {
    *("grid.txt", "grid.csv", "grid_comparison.json", "grid_classes.png", "grid_samples.png"),
    *("learning_curves.txt", "learning_curves.csv", "learning_curves.png"),
}


@pytest.fixture(scope="module")
def small_grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_grid(tmp_path_factory.mktemp("small"), SMALL, seeds=(1, 2))


@pytest.fixture
def copied(small_grid: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_grid, tmp_path / "grid"))


def rows_of(folder: Path) -> list[list[str]]:
    with (folder / "cells.csv").open(newline="") as file:
        return list(csv.reader(file))


def write_rows(folder: Path, rows: list[list[str]]) -> None:
    (folder / "cells.csv").write_text("".join(",".join(row) + "\n" for row in rows))


def test_the_command_writes_a_grids_files_and_still_compares_single_results(small_grid: Path, tmp_path: Path) -> None:
    result = run_script("benchmark/compare.py", small_grid, "--out", tmp_path / "out", "--resamples", 100)
    assert result.returncode == 0, result.stderr
    assert result.stdout == (tmp_path / "out" / "grid.txt").read_text()
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    for name in FILES:
        if name.endswith(".png"):
            with Image.open(tmp_path / "out" / name) as image:
                assert image.size[0] > 800
    one = small_grid / "cells/classes_2/real_1"
    result = run_script("benchmark/compare.py", one, "--out", tmp_path / "one", "--resamples", 100)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "one" / "comparison.txt").is_file()


def test_tables_say_what_was_measured(small_grid: Path, tmp_path: Path) -> None:
    text = report_grid(small_grid, tmp_path, Margins(), num_resamples=100)
    assert "24 of 24 classifiers tested, 2 seeds (1, 2)" in text
    assert "Not comparable with the published figures" in text
    assert "real - GAN_prog" in text
    assert "random initialisation (no ImageNet weights): 12 of 12 classifiers" in text
    frame = pd.read_csv(tmp_path / "grid.csv")
    assert len(frame) == len(SMALL)
    for row in frame.itertuples():
        truth = SMALL[str(row.benchmark), int(row.setting), str(row.trained_on)]  # type: ignore[call-overload]
        assert abs(row.auroc - truth) < 0.05
        assert row.low < row.auroc < row.high <= 1
        assert row.num_test_images == 400
        assert row.num_resampled == 200
        assert row.interval_holds == "patients and seeds"
    assert frame.published.isna().all()
    real, gan = (frame[(frame.benchmark == "classes") & (frame.setting == 4) & (frame.trained_on == name)].auroc.iloc[0]
                 for name in ("real", "GAN_prog"))  # fmt: skip
    row = frame[(frame.benchmark == "classes") & (frame.setting == 4) & (frame.trained_on == "GAN_prog")].iloc[0]
    assert row.real_minus_this == pytest.approx(real - gan)
    summary = json.loads((tmp_path / "grid_comparison.json").read_text())
    assert summary["rows"][0]["auroc"] == pytest.approx(frame.auroc[0])
    assert len(summary["trends"]) == 4


def test_what_deviates_from_the_published_figure_comes_first(tmp_path: Path) -> None:
    rows = published_values("chest", "samples")
    aurocs = {
        ("samples", setting, source): rows[setting].means[column]
        for setting in (200, 1500)
        for source, column in (("real", "real"), ("GAN_prog", "prog_gan"), ("GAN_cpd", "cpd_gan"))
    }
    assert len(aurocs) == 6
    aurocs["samples", 1500, "GAN_prog"] -= 0.06
    aurocs["samples", 200, "GAN_cpd"] += 0.10
    folder = make_grid(
        tmp_path / "grid", aurocs, modality="chest", spread=0.001, num_images=lambda *_: 2250, num_labels=1
    )
    grid = read_grid(folder)
    beside = beside_published(grid, measure(grid, 100))
    found = [(one.setting, one.trained_on, bool(one.deviates)) for one in beside]
    assert found[:2] == [(200, "GAN_cpd", True), (1500, "GAN_prog", True)]
    assert beside[0].deviation == pytest.approx(0.10, abs=0.02)
    assert beside[1].deviation == pytest.approx(-0.06, abs=0.02)
    assert sum(deviates for *_, deviates in found) <= 3  # one more by chance
    assert len(beside) == 6
    assert {one.mismatch for one in beside} == {""}
    text = report_grid(folder, tmp_path / "out", Margins(), num_resamples=100)
    lines = text.splitlines()
    assert lines[2].endswith("These come first, the largest deviation on top.")
    assert lines[6].startswith("samples   | 200     | GAN_cpd")
    assert lines[6].endswith("YES")
    assert text.index("published") < text.index("Mean AUROC against")
    assert "NOT comparable" in text  # random weights
    frame = pd.read_csv(tmp_path / "out" / "grid.csv")
    assert frame.deviates.tolist()[:2] == [True, True]
    assert "no intervals, so nothing is shown" in (tmp_path / "out" / "learning_curves.txt").read_text()


def test_another_test_than_the_published_one_is_called_so(tmp_path: Path) -> None:
    folder = make_grid(
        tmp_path / "grid", {("classes", 2, "real"): 0.967}, modality="chest", seeds=(1,), gans=("GAN_prog",)
    )
    text = report_grid(folder, tmp_path / "out", Margins(), num_resamples=100)
    assert "not the published test: 400 test images where 340 were published" in text
    assert "One seed: intervals hold the choice of test patients alone" in text


def test_what_is_missing_is_shown(tmp_path: Path) -> None:
    statuses = {
        ("classes", 4, "GAN_prog", 1): "failed",
        ("classes", 4, "GAN_prog", 2): "failed",
        ("classes", 2, "GAN_cpd", 2): "missing",
        ("samples", 50, "real", 1): "",  # no row at all
        ("samples", 50, "real", 2): "failed",
    }
    folder = make_grid(tmp_path / "grid", SMALL, seeds=(1, 2), statuses=statuses)
    assert ["samples", "50", "real", "1"] not in [row[:4] for row in rows_of(folder)]
    text = report_grid(folder, tmp_path / "out", Margins(), num_resamples=100)
    assert "19 of 24 classifiers tested" in text
    lines = text.splitlines()
    start = lines.index("Without a result: 5 of 24 classifiers:")
    assert lines[start + 1 : start + 6] == [
        "  classes 2, GAN_cpd, seed 2: missing",
        "  classes 4, GAN_prog, seed 1: failed",
        "  classes 4, GAN_prog, seed 2: failed",
        "  samples 50, real, seed 1: missing",
        "  samples 50, real, seed 2: failed",
    ]
    (four,) = [line for line in lines if line.startswith("4  ")]
    assert "| failed " in four
    assert "(1 of 2 seeds)" in text
    assert "One seed alone, so its chance is in no interval: classes 2 GAN_cpd." in text
    frame = pd.read_csv(tmp_path / "out" / "grid.csv").set_index(["benchmark", "setting", "trained_on"])
    assert frame.loc[("samples", 50, "real"), "status"] == "failed and missing"
    assert np.isnan(frame.loc[("samples", 50, "real"), "auroc"])
    assert frame.loc[("classes", 2, "GAN_cpd"), "num_seeds"] == 1
    trends = json.loads((tmp_path / "out" / "grid_comparison.json").read_text())["trends"]
    assert [one["is_stated"] for one in trends if one["benchmark"] == "samples"] == [False, False]


def test_nothing_tested_at_all_is_still_a_report(tmp_path: Path) -> None:
    statuses = {(*key, seed): "missing" for key in SMALL for seed in (1, 2)}
    folder = make_grid(tmp_path / "grid", SMALL, seeds=(1, 2), statuses=statuses)
    text = report_grid(folder, tmp_path / "out", Margins(), num_resamples=100)
    assert "0 of 24 classifiers tested" in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def change_row(number: int, column: int, value: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        rows = rows_of(folder)
        rows[number][column] = value
        write_rows(folder, rows)

    return change


def change_fact(key: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        facts = json.loads((folder / "grid.json").read_text()) | {key: value}
        (folder / "grid.json").write_text(json.dumps({name: one for name, one in facts.items() if one is not None}))

    return change


def change_result(key: str, value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / rows_of(folder)[2][5] / "results.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return change


def change_image(folder: Path) -> None:
    path = folder / rows_of(folder)[2][5] / "predictions.csv"
    path.write_text(path.read_text().replace("patient00003/view0", "patient00003/view7", 1))


@pytest.mark.parametrize(("change", "words"), [
    (change_row(0, 0, "test"), "Rows with the columns benchmark, setting"),
    (change_row(3, 0, "labels"), "Line 4: a benchmark"),
    (change_row(3, 1, "two"), "Line 4: setting and seed are whole numbers"),
    (change_row(3, 3, "7"), "seed 7, done"),
    (change_row(3, 4, "running"), "running"),
    (change_row(3, 5, ""), "Line 4: what is done has a test_folder"),
    (change_row(3, 5, "elsewhere"), "elsewhere/results.json"),
    (change_row(1, 3, "2"), "Every classifier has one row. Received: classes 2, real, seed 2"),
    (lambda folder: (folder / "cells.csv").unlink(), "no such file"),
    (change_fact("modality", "knee"), "modality is chest, brain or empty. Received: 'knee'"),
    (change_fact("seeds", []), "seeds is a list of numbers"),
    (change_fact("gans", None), "A grid has a gans"),
    (change_result("trained_on", "cpD-GAN"), "must be of a classifier trained on real. Received: cpD-GAN"),
    (change_result("weights_sha256", "cells/classes_2/real_1/test"), "has the very weights of classes 2, real, seed 1"),
    (change_image, "same test images"),
])  # fmt: skip
def test_a_grid_that_is_none_is_refused(copied: Path, change: Callable[[Path], Any], words: str) -> None:
    change(copied)
    with pytest.raises(DataError, match="Received") as caught:
        measure(read_grid(copied), 100)
    assert words in str(caught.value)


def test_calls_that_mean_nothing_are_refused(small_grid: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    one = small_grid / "cells/classes_2/real_1"
    assert "alone" in refused("benchmark/compare.py", small_grid, one, *out)
    assert "--published says nothing" in refused(
        "benchmark/compare.py", small_grid, "--published", "chest,classes,2", *out
    )
    assert "--margin says nothing" in refused("benchmark/compare.py", one, "--margin", "0.02", *out)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("spread", "has_one_test"), [(0.0, True), (0.02, True), (0.0, False)])
def test_the_interval_of_a_slope_covers_the_truth(spread: float, has_one_test: bool) -> None:
    rng, num_trials, covered = np.random.default_rng(3), 60, 0
    aurocs = {
        2: {"real": 0.9, "GAN_prog": 0.85},
        4: {"real": 0.88, "GAN_prog": 0.79},
        8: {"real": 0.85, "GAN_prog": 0.72},
    }
    expected = (0.13 - 0.05) / 2  # of three equally distant gaps only the ends count
    for _ in range(num_trials):
        sweep = draw_sweep(rng, "classes", aurocs, spread=spread, has_one_test=has_one_test)
        (trend,) = find_trends(sweep, ["GAN_prog"])
        covered += trend.slope.low <= expected <= trend.slope.high
    assert 0.87 <= covered / num_trials <= 1.0


@pytest.mark.parametrize(
    ("last_gap", "num_seeds", "words"),
    [
        (0.25, 4, "grows"),
        (0.01, 4, "shrinks"),
        (0.13, 4, "no trend can be stated"),
        (0.25, 1, "no trend can be stated (one seed"),
    ],
)
def test_a_trend_is_stated_only_where_its_interval_allows(last_gap: float, num_seeds: int, words: str) -> None:
    gaps = {2: 0.13, 8: last_gap}
    aurocs = {value: {"real": 0.93, "GAN_prog": 0.93 - gap} for value, gap in gaps.items()}
    sweep = draw_sweep(np.random.default_rng(0), "classes", aurocs, num_images=800, num_seeds=num_seeds, spread=0.004)
    (trend,) = find_trends(sweep, ["GAN_prog"])
    assert f"real - GAN_prog: {words}" in trend.sentence


@pytest.mark.parametrize(("middle", "farthest"), [(0.11, None), (0.25, 4)])
def test_a_gap_that_does_not_change_steadily_is_called_so(middle: float, farthest: int | None) -> None:
    gaps = {2: 0.05, 4: middle, 8: 0.17}
    aurocs = {value: {"real": 0.93, "GAN_prog": 0.93 - gap} for value, gap in gaps.items()}
    sweep = draw_sweep(np.random.default_rng(1), "samples", aurocs, num_images=800, num_seeds=4, spread=0.004)
    (trend,) = find_trends(sweep, ["GAN_prog"])
    assert trend.off_line == farthest
    assert ("not steadily" in trend.sentence) == (farthest is not None)


def test_one_seed_has_an_interval_over_patients_and_several_a_wider_one() -> None:
    rng = np.random.default_rng(2)
    aurocs = {2: {"real": 0.9, "GAN_prog": 0.8}}
    (one,) = draw_sweep(rng, "classes", aurocs, num_seeds=1, spread=0.05, num_images=600).settings
    (several,) = draw_sweep(rng, "classes", aurocs, num_seeds=3, spread=0.05, num_images=600).settings
    gap = gap_terms(one, "GAN_prog")
    assert gap is not None
    patients_alone = estimate(gap)
    assert patients_alone.low < patients_alone.value < patients_alone.high
    both = gap_terms(several, "GAN_prog")
    assert both is not None
    assert estimate(both).high - estimate(both).low > patients_alone.high - patients_alone.low
    assert gap_terms(one, "GAN_cpd") is None
    assert estimate_mean(several.groups["real"]).high <= 1


def test_intervals_end_where_auroc_does() -> None:
    """Two seeds far apart: Student's t with one degree of freedom would reach far beyond what can be."""
    gaps, means = [], []
    for seed in range(8):
        aurocs = {2: {"real": 0.95, "GAN_prog": 0.6}}
        (setting,) = draw_sweep(np.random.default_rng(seed), "classes", aurocs, num_seeds=2, spread=0.2).settings
        gap = gap_terms(setting, "GAN_prog")
        assert gap is not None
        gaps.append(estimate(gap))
        means.append(estimate_mean(setting.groups["GAN_prog"]))
    assert (min(one.low for one in gaps), max(one.high for one in gaps)) == (-1, 1)
    assert (min(one.low for one in means), max(one.high for one in means)) == (0, 1)


def test_settings_on_one_test_share_their_draws(small_grid: Path) -> None:
    samples = next(one for one in measure(read_grid(small_grid), 200) if one.benchmark == "samples")
    classes = next(one for one in measure(read_grid(small_grid), 200) if one.benchmark == "classes")
    assert samples.has_one_test
    assert not classes.has_one_test

    def correlation(sweep: Any) -> float:
        first, second = (setting.groups["GAN_prog"].resampled[0] for setting in sweep.settings)
        return float(np.corrcoef(first, second)[0, 1])

    assert correlation(samples) > 0.2
    assert abs(correlation(classes)) < 0.2
