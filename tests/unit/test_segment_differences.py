"""Experiments over seeds: means, paired differences and their intervals."""

import csv
import json

import numpy as np
import pytest
from scipy import stats

from classifier_segment.evaluation.classification import classification_report
from classifier_segment.evaluation.differences import SeedRun, compare_runs, read_run, run_of
from medsynth.errors import DataError, UsageError

METRIC = "accuracy"


def run(experiment: str, seed: int, value: float, resampled=None, test: str = "same") -> SeedRun:
    samples = np.full(50, value) if resampled is None else np.asarray(resampled)
    return SeedRun(experiment, seed, {METRIC: value}, {METRIC: samples}, test)


def group(experiment: str, values, seeds=None) -> list[SeedRun]:
    numbers = range(len(values)) if seeds is None else seeds
    return [run(experiment, seed, value) for seed, value in zip(numbers, values, strict=True)]


def rows(table):
    return {row.experiment: row for row in table.rows}


def test_means_and_differences_are_students_t_intervals():
    whole, masked = np.array([0.70, 0.80, 0.60]), np.array([0.75, 0.83, 0.66])
    # In another order: they are paired by their seeds, not by their places.
    table = compare_runs(group("whole", whole) + group("masked", masked)[::-1], "whole", [METRIC])
    of = rows(table)
    for found, values in ((of["whole"].mean, whole), (of["masked"].mean, masked),
                          (of["masked"].difference, masked - whole)):  # fmt: skip
        ends = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        np.testing.assert_allclose(
            [found.over_seeds.value, found.over_seeds.low, found.over_seeds.high], [values.mean(), *ends]
        )
        # Resamples that do not scatter add nothing.
        np.testing.assert_allclose([found.with_images.low, found.with_images.high], ends)
    unpaired = stats.ttest_ind(masked, whole).confidence_interval()
    paired = of["masked"].difference.over_seeds
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)
    assert of["whole"].difference is None
    assert "+0.047" in table.describe({METRIC: "Accuracy"})


def test_the_choice_of_images_cancels_in_a_difference_but_not_in_a_mean():
    shift = 0.05 * np.random.default_rng(0).normal(size=500)
    runs = [run("whole", seed, 0.7, 0.7 + shift) for seed in range(3)]
    runs += [run("masked", seed, 0.8, 0.8 + shift) for seed in range(3)]
    found = rows(compare_runs(runs, "whole", [METRIC]))["masked"]
    assert found.mean.over_seeds.high - found.mean.over_seeds.low < 1e-9
    assert found.mean.with_images.high - found.mean.with_images.low == pytest.approx(2 * 1.96 * 0.05, rel=0.1)
    assert found.difference.with_images.high - found.difference.with_images.low < 1e-9


def test_only_seeds_of_both_are_paired():
    table = compare_runs(group("whole", [0.5, 0.6]) + group("masked", [0.7, 0.9], seeds=[1, 7]), "whole", [METRIC])
    found = rows(table)["masked"]
    assert (found.seeds, found.paired_seeds) == ((1, 7), (1,))
    assert found.difference.over_seeds.value == pytest.approx(0.7 - 0.6)
    assert "1 pair of 2 seeds" in table.describe()
    none = rows(compare_runs(group("whole", [0.5]) + group("masked", [0.7], seeds=[3]), "whole", [METRIC]))["masked"]
    assert none.difference is None
    assert none.record()["difference"] is None


def test_one_seed_has_the_images_interval_alone():
    resampled = 0.7 + 0.1 * np.random.default_rng(0).normal(size=2000)
    table = compare_runs([run("whole", 0, 0.7, resampled), run("masked", 0, 0.7, resampled)], "whole", [METRIC])
    record = table.records()[0]
    assert (record["value_low"], record["value_high"]) == (None, None)
    assert record["value_high_with_images"] - record["value_low_with_images"] == pytest.approx(0.392, rel=0.1)
    assert any("One seed only" in note for note in table.notes())


@pytest.mark.parametrize(
    ("runs", "baseline", "metric", "error", "words"),
    [
        (group("whole", [0.5]), "hole", METRIC, UsageError, "Did you mean 'whole'"),
        (group("whole", [0.5]), "whole", "acuracy", UsageError, "Did you mean 'accuracy'"),
        (group("whole", [0.5, 0.6], seeds=[1, 1]), "whole", METRIC, UsageError, "seed 1 twice"),
        ([*group("whole", [0.5]), run("masked", 0, 0.5, test="another")], "whole", METRIC, DataError, "another test"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(runs, baseline, metric, error, words):
    with pytest.raises(error, match=words):
        compare_runs(runs, baseline, [metric])


def reports(num_groups: int = 20):
    rng = np.random.default_rng(0)
    truth, clusters = rng.integers(0, 3, 40), [str(i % num_groups) for i in range(40)]
    for _ in range(2):
        probabilities = rng.dirichlet(np.ones(3), 40)
        yield classification_report(truth, probabilities, ("a", "b", "c"), clusters, num_resamples=30)


def test_written_reports_are_compared_as_those_at_hand(tmp_path):
    at_hand, read = [], []
    for seed, report in enumerate(reports()):
        report.write(tmp_path / str(seed))
        at_hand.append(run_of(report, "whole", seed))
        read.append(read_run(tmp_path / str(seed), "whole", seed))
    assert compare_runs(read, "whole", ["auroc_macro"]) == compare_runs(at_hand, "whole", ["auroc_macro"])
    table = compare_runs(read, "whole", [METRIC, "f1_macro"])
    table.write(tmp_path, "table", {METRIC: "Accuracy"})
    records = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [record["metric"] for record in records] == [METRIC, "f1_macro"]
    assert float(records[0]["value"]) == table.records()[0]["value"]
    assert json.loads((tmp_path / "table.json").read_text())["rows"] == table.records()
    assert "Accuracy" in (tmp_path / "table.txt").read_text()


def test_other_groups_are_another_test():
    first, second = (run_of(next(reports(number)), "whole", number) for number in (20, 10))
    assert first.values == second.values
    with pytest.raises(DataError, match="another test"):
        compare_runs([first, second], "whole", [METRIC])


def test_one_group_of_images_has_no_interval_of_images():
    runs = [run_of(report, "whole", seed) for seed, report in enumerate(reports(1))]
    record = compare_runs(runs, "whole", [METRIC]).records()[0]
    assert record["value_low_with_images"] is None
    assert record["value_low"] is not None


def test_files_that_are_no_report_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_run(tmp_path, "whole", 0)
    next(reports()).write(tmp_path)
    (tmp_path / "resamples.npy").unlink()
    with pytest.raises(DataError, match="test again"):
        read_run(tmp_path, "whole", 0)
    np.save(tmp_path / "resamples.npy", np.zeros((2, 30)))
    with pytest.raises(DataError, match="not a row for each"):
        read_run(tmp_path, "whole", 0)
    (tmp_path / "metrics.json").write_text("[]")
    with pytest.raises(DataError, match="test again"):
        read_run(tmp_path, "whole", 0)
