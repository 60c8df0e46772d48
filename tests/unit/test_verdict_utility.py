"""The utility gate on made predictions: equal, worse, too few, and how many more."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.gates import paired, utility
from benchmark.gates.model import Measure, Outcome, Picture, decide
from benchmark.gates.paired import PairedTest
from benchmark.gates.utility import CALIBRATION, JOINED, PER_LABEL, judge_predictions, judge_utility
from medsynth.classify.evaluation.evaluate import aurocs, interval
from medsynth.data.labels import LabelTable, write_label_table
from medsynth.errors import DataError
from medsynth.files import write_json
from tests.verdict_predictions import NAMES, THRESHOLDS, make_inputs, make_results, write_test

GOOD, SLIGHTLY_WORSE, WORSE = 1.8, 1.65, 0.9  # AUROC 0.90, 0.88 and 0.74
UTILITY = THRESHOLDS["utility"]
DRAWN = utility._picture


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "NUM_RESAMPLES", 200)
    monkeypatch.setattr(utility, "_picture", lambda *_: Picture("none", "", "", "", b""))


def measure(measures, key: str) -> Measure:
    (found,) = [one for one in measures if one.key == key]
    return found


def group(measures, name: str) -> list[Measure]:
    return [one for one in measures if one.group == name]


@pytest.mark.parametrize(
    ("strengths", "num_patients", "outcome"),
    [
        ((GOOD, GOOD), 500, Outcome.PASS),
        ((GOOD, SLIGHTLY_WORSE), 1500, Outcome.PASS),
        ((GOOD, WORSE), 500, Outcome.FAIL),
        ((GOOD, 0.0), 100, Outcome.FAIL),
        ((GOOD, GOOD), 40, Outcome.INSUFFICIENT),
        ((0.0, 0.0), 500, Outcome.INSUFFICIENT),
        ((0.1, 0.1), 2000, Outcome.INSUFFICIENT),
    ],
)
def test_decides_by_the_interval_of_the_difference(
    tmp_path: Path, strengths: tuple[float, float], num_patients: int, outcome: Outcome
) -> None:
    results = make_results(num_patients, strengths)
    reached = [aurocs(result.truth, result.scores).mean() for result in results]
    gate = judge_predictions(make_inputs(tmp_path), results, UTILITY)
    loss = measure(gate.measures, "auroc_difference")
    assert loss.value == pytest.approx(reached[0] - reached[1])
    assert (loss.num, loss.unit, loss.threshold) == (num_patients, "patients", 0.05)
    assert loss.low is not None
    assert loss.high is not None
    assert loss.low < loss.value < loss.high
    assert gate.outcome == outcome, gate.reason
    if outcome is Outcome.PASS:
        assert loss.high < 0.05
        assert loss.high - loss.value < 0.05
    if outcome is Outcome.FAIL:
        assert loss.low > 0.05


def test_an_interval_wider_than_the_margin_is_no_pass(tmp_path: Path) -> None:
    results = make_results(35, (0.9, GOOD), seed=3)
    gate = judge_predictions(make_inputs(tmp_path), results, UTILITY)
    loss = measure(gate.measures, "auroc_difference")
    assert loss.high is not None
    assert loss.value is not None
    assert loss.high < 0.05, "the premise: it lies on the good side"
    assert loss.high - loss.value > 0.05
    assert loss.outcome is Outcome.INSUFFICIENT
    assert loss.more_needed is not None
    assert loss.more_needed == pytest.approx(35 * (((loss.high - loss.value) / 0.05) ** 2 - 1), abs=1)


def outcome_of(num_patients: int, seed: int) -> tuple[Outcome, int | None]:
    """Return what the difference of equal classifiers says, as the gate finds it."""
    test = PairedTest.of(make_results(num_patients, (GOOD, GOOD), seed=seed))
    real, synthetic = test.mean_aurocs(np.ones(3, bool), seed=0)
    loss = interval(real[0] - synthetic[0], (real - synthetic)[1:])
    return decide(loss.value, loss.low, loss.high, UTILITY["margin"], "at most", num_patients)


def test_the_number_of_further_patients_is_of_the_right_size() -> None:
    """With as many more, most tests decide; with a tenth of them, fewer do."""
    decided, early = [], []
    for seed in range(60):
        outcome, more = outcome_of(32, seed)
        if outcome is Outcome.INSUFFICIENT and more is not None and 20 <= more < 1000:
            decided.append(outcome_of(32 + more, 100 + seed)[0] is not Outcome.INSUFFICIENT)
            early.append(outcome_of(32 + more // 10, 200 + seed)[0] is not Outcome.INSUFFICIENT)
    assert len(decided) >= 10, "the premise: so few patients are too few"
    assert np.mean(decided) >= 0.7
    assert np.mean(early) < np.mean(decided)


@pytest.mark.parametrize(("num_patients", "prevalence", "more", "words"), [
    (29, 0.5, 1, "needs 30 test patients"),
    (100, 0.02, None, "No label has 10 test patients"),
])  # fmt: skip
def test_says_how_many_more_where_nothing_can_be_measured(
    tmp_path: Path, num_patients: int, prevalence: float, more: int | None, words: str
) -> None:
    results = make_results(num_patients, (GOOD, GOOD), prevalence=prevalence)
    gate = judge_predictions(make_inputs(tmp_path), results, UTILITY)
    assert gate.outcome is Outcome.INSUFFICIENT
    assert words in gate.reason
    loss = measure(gate.measures, "auroc_difference")
    assert loss.more_needed == more or (more is None and loss.more_needed in range(1, 10))
    assert (loss.threshold, loss.outcome) == (None, Outcome.INSUFFICIENT)


def test_names_labels_of_few_patients_and_leaves_them_out(tmp_path: Path) -> None:
    results = make_results(300, (GOOD, GOOD))
    truth = results[0].truth.copy()
    truth[:, 1] = 0
    truth[:16, 1] = 1  # ten images and more, of eight patients
    gate = judge_predictions(make_inputs(tmp_path), [replace(one, truth=truth) for one in results], UTILITY)
    assert any("Fracture (8 with it, 292 without)" in note for note in gate.notes)
    assert {one.key for one in group(gate.measures, PER_LABEL)} == {
        "auroc_difference.Edema",
        "auroc_difference.Pneumonia",
    }
    assert "over 2 labels" in measure(gate.measures, "auroc_difference").title


def test_a_label_that_is_lost_fails_the_gate_though_the_mean_passes(tmp_path: Path) -> None:
    real, synthetic = make_results(1500, (GOOD, 2.3))
    scores = synthetic.scores.copy()
    scores[:, 2] = np.random.default_rng(1).random(len(scores))
    many = [replace(one, names=tuple(f"{n} {k}" for k in range(4) for n in NAMES), truth=np.tile(one.truth, 4),
                    scores=np.tile(one.scores, 4)) for one in (real, synthetic)]  # fmt: skip
    many[1].scores[:, 2] = scores[:, 2]
    gate = judge_predictions(make_inputs(tmp_path), many, UTILITY)
    assert measure(gate.measures, "auroc_difference").outcome is Outcome.PASS
    assert measure(gate.measures, "auroc_difference.Pneumonia 0").outcome is Outcome.FAIL
    assert gate.outcome is Outcome.FAIL
    assert "Pneumonia 0" in gate.reason
    others = [one for one in group(gate.measures, PER_LABEL) if one.key != "auroc_difference.Pneumonia 0"]
    assert len(others) == 11
    assert all(one.outcome is None for one in others)
    assert all(one.threshold == UTILITY["label_margin"] for one in others), (
        "a limit, which they need not be shown to keep"
    )
    shown = [one for one in gate.measures if one.group != PER_LABEL]
    assert all((one.threshold is None) == (one.outcome is None) for one in shown), "as docs/verdict.md has it"


def test_intervals_of_labels_hold_for_all_at_once(tmp_path: Path) -> None:
    """The true loss is 0, so intervals of one label at a time would miss some label in about 14 % of the tests."""
    missed = []
    for seed in range(40):
        gate = judge_predictions(make_inputs(tmp_path), make_results(100, (GOOD, GOOD), seed=seed), UTILITY)
        labels = group(gate.measures, PER_LABEL)
        assert len(labels) == 3
        missed.append(any((one.low or 0) > 0 or (one.high or 0) < 0 for one in labels))
    assert np.mean(missed) <= 0.15


def test_shows_calibration_and_what_both_together_give(tmp_path: Path) -> None:
    gate = judge_predictions(make_inputs(tmp_path), make_results(400, (GOOD, WORSE, 2.3)), UTILITY)
    assert {one.key for one in group(gate.measures, CALIBRATION)} == {
        f"{metric}_{name}" for metric in ("ece", "brier") for name in ("real", "synthetic", "real_and_synthetic")
    }
    gain, auroc = group(gate.measures, JOINED)
    assert gain.low is not None
    assert gain.low > 0, "both together are better here"
    assert gain.value == pytest.approx((auroc.value or 0) - (measure(gate.measures, "auroc_real").value or 0))
    assert all(one.outcome is None and one.num == 400 for one in (*group(gate.measures, CALIBRATION), gain, auroc))


def test_says_where_trainings_were_not_alike(tmp_path: Path) -> None:
    real, synthetic = make_results(200, (GOOD, GOOD))
    other = replace(synthetic, facts=synthetic.facts | {"initialisation": "pre-trained weights sha256 1"})
    gate = judge_predictions(make_inputs(tmp_path), [real, other], UTILITY)
    assert any("not alike" in note for note in gate.notes)
    alike = judge_predictions(make_inputs(tmp_path), [real, synthetic], UTILITY)
    assert not any("not alike" in note for note in alike.notes)


def test_subgroups_are_shown_with_their_spread(tmp_path: Path) -> None:
    real, synthetic = make_results(600, (GOOD, GOOD))
    rng = np.random.default_rng(5)
    is_woman = np.arange(len(real.paths)) // 2 % 2 == 0
    scores = synthetic.scores.copy()
    scores[is_woman] = rng.random((is_woman.sum(), len(NAMES)))
    ages = np.where(np.arange(len(real.paths)) < 40, "30", "70")
    table = pd.DataFrame({
        "Path": [path.removeprefix("raw/") for path in real.paths],
        "Sex": np.where(is_woman, "Female", "Male"),
        "Age": ages,
        "Edema": "1",
    })  # fmt: skip
    metadata = tmp_path / "people.csv"
    table.to_csv(metadata, index=False)
    inputs = make_inputs(tmp_path, metadata=metadata)
    gate = judge_predictions(inputs, [real, replace(synthetic, scores=scores)], UTILITY)
    women, men = (measure(gate.measures, f"auroc_difference.Sex.{name}") for name in ("Female", "Male"))
    assert (women.num, men.num, women.unit) == (300, 300, "patients")
    assert women.low is not None
    assert men.low is not None
    assert men.high is not None
    assert women.low > 0.3
    assert men.low < 0 < men.high
    spreads = [measure(gate.measures, f"auroc_spread.Sex.{name}") for name in ("real", "synthetic")]
    assert spreads[0].low == 0
    assert spreads[1].low is not None
    assert spreads[1].low > 0.3
    young = measure(gate.measures, "auroc_difference.Age.under 40")
    assert young.value is None
    assert (young.num, young.more_needed, young.outcome) == (20, 10, None)
    assert not [one for one in gate.measures if one.key.startswith("auroc_spread.Age")]


def place(folder: Path, num_patients: int = 200):
    """Write a data set's test csv, and both tests' files."""
    inputs = make_inputs(folder)
    real, synthetic = make_results(num_patients, (GOOD, GOOD))
    (inputs.data_dir / "test").mkdir(parents=True)
    write_label_table(inputs.data_dir / "test", LabelTable(real.paths, NAMES, real.truth.astype(np.float32)))
    write_test(inputs.data_dir / "classification_results_res_16" / "test", real)
    write_test(inputs.results_dir / "classification_results" / "test", synthetic)
    return inputs


def test_reads_tested_classifiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility, "_picture", DRAWN)
    inputs = place(tmp_path)
    gate = judge_utility(inputs, UTILITY)
    (picture,) = gate.pictures
    assert picture.png.startswith(b"\x89PNG")
    assert "Means: trained on real 0.9" in picture.alternative
    assert not picture.is_private
    assert measure(gate.measures, "auroc_difference").num == 200
    assert any("No classifier was trained on real and synthetic" in note for note in gate.notes)
    (command,) = gate.commands
    assert command == f"python3 benchmark/verdict.py {inputs.results_dir} {inputs.data_dir} 16 --train"


def test_says_what_to_run_where_a_classifier_is_missing(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    folder = inputs.data_dir / "classification_results_res_16" / "train"
    folder.mkdir(parents=True)
    settings = {
        "random_seed": 7,
        "train.epochs": 2,
        "train.show": True,
        "train.resize": "half_pixel",
        "data.labels": [],
    }
    write_json(folder / "config.json", settings)
    gate = judge_utility(inputs, UTILITY)
    assert gate.outcome is Outcome.INSUFFICIENT
    assert "real and none of synthetic" in gate.reason
    same = "7 16 --set train.epochs=2 --set train.show=true --set train.resize=half_pixel"
    data, gan = inputs.data_dir, inputs.results_dir
    assert gate.commands[:4] == (
        f"python3 classifier_real/train.py train classifier_real {data} {same}",
        f"python3 classifier_real/test.py test classifier_real {data} 7 16",
        f"python3 classifier_fake/train.py train classifier_real {gan} {same}",
        f"python3 classifier_fake/test.py test classifier_real {data} {gan} 7 16",
    )
    assert gate.commands[4].endswith("--train")


def test_refuses_a_test_on_other_images(tmp_path: Path) -> None:
    inputs = place(tmp_path)
    path = inputs.data_dir / "test" / "test.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="tested on other images"):
        judge_utility(inputs, UTILITY)


def test_a_classifier_of_other_images_decides_nothing(tmp_path: Path) -> None:
    inputs = place(tmp_path)
    write_json(
        inputs.results_dir / "classification_results" / "train" / "config.json", {"data.train_images_sha256": "another"}
    )
    gate = judge_utility(inputs, UTILITY)
    assert gate.outcome is Outcome.INSUFFICIENT
    assert "trained on other images than there are now" in gate.reason


@pytest.mark.parametrize(("more", "outcome", "words"), [
    ({"label_names": ()}, Outcome.NOT_APPLICABLE, "without labels"),
    ({"held_out": ("valid",)}, Outcome.INSUFFICIENT, "not in the training data"),
])  # fmt: skip
def test_says_where_utility_cannot_be_judged(tmp_path: Path, more: dict, outcome: Outcome, words: str) -> None:
    gate = judge_utility(make_inputs(tmp_path, **more), UTILITY)
    assert gate.outcome is outcome
    assert words in gate.reason
