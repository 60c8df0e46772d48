"""Do images and rows belong together: networks on pairs of planted dependence, and figures by scikit-learn."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from GAN_joint.columns import Column, Schema
from GAN_joint.encoding import RowEncoder
from GAN_joint.evidence import (
    figures,
    joint,
    joint_report,
    networks,
    pairs,
    predict,
    predict_report,
    scoring,
    tables,
    training,
)
from GAN_joint.evidence.command import DONE_NAME, gather_evidence
from GAN_joint.evidence.pairs import Evidence, EvidenceRequest, Pairs
from medsynth.classify.evaluation.predictions import read_predictions, require_same_rows
from medsynth.errors import DataError, RunFolderError, UsageError
from tests.toy_pairs import write_synthetic, write_toy_pairs

SIZE = 32
SCHEMA = Schema(
    columns=(
        Column("age", "number", minimum=0, maximum=100),
        Column("pain", "category", values=("none", "some", "much")),
        Column("sex", "binary", zero="female", one="male"),
        Column("LAD_st", "target", zero="0", one="1"),
    )
)


def planted_pairs(num: int, seed: int, *, first: int = 0) -> tuple[Pairs, RowEncoder]:
    """Return images whose upper part is as dark as the age says, and whose left edge says the target."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(0, 100, num),
            "pain": np.array(["none", "some", "much"])[np.arange(num) % 3],
            "sex": np.array(["female", "male"])[rng.integers(2, size=num)],
            "LAD_st": rng.integers(2, size=num).astype(str),
        }
    )
    images = rng.integers(150, 256, (num, SIZE, SIZE, 1)).astype(np.uint8)
    images[:, : SIZE // 2] = (images[:, : SIZE // 2] * (1 - frame["age"].to_numpy() / 120)[:, None, None, None]).astype(
        np.uint8
    )
    images[frame["LAD_st"] == "1", :, : SIZE // 4] //= 3
    encoder = RowEncoder.fit(SCHEMA, frame)
    return Pairs(images, encoder.encode(frame), np.array([f"{first + k:05d}" for k in range(num)])), encoder


def planted_evidence(num: int = 200, num_synthetic: int = 120, *, fits: bool = True) -> Evidence:
    real, encoder = planted_pairs(num, 1)
    made, _ = planted_pairs(num_synthetic, 2)
    train, held_out = real.split(0.3, 5)
    return Evidence(
        encoder, *train.split(0.2, 1), held_out, made if fits else made.with_rows_moved(3), grouped_by=None, notes=()
    )


# Pairs


@pytest.mark.parametrize(
    "groups", [np.arange(2), np.arange(7), np.arange(200), np.array([0, 0, 1, 1]), np.repeat(np.arange(30), 3)]
)
def test_moved_rows_are_all_of_other_groups(groups: Any) -> None:
    moved = pairs.derangement(groups, np.random.default_rng(1))
    assert sorted(moved) == list(range(len(groups))), "a permutation"
    assert (groups[moved] != groups).all()
    assert (pairs.derangement(groups, np.random.default_rng(1)) == moved).all()
    if len(groups) > 7:
        assert (pairs.derangement(groups, np.random.default_rng(2)) != moved).any()


def test_moved_rows_favour_no_place() -> None:
    """Every other row comes as often: 2,000 draws of 5 rows, each of the 20 moves about 500 times."""
    rng = np.random.default_rng(0)
    counts = np.zeros((5, 5))
    for _ in range(2000):
        counts[np.arange(5), pairs.derangement(np.arange(5), rng)] += 1
    assert (np.diag(counts) == 0).all()
    assert abs(counts[~np.eye(5, dtype=bool)] - 500).max() < 5 * math.sqrt(500 * 0.75)


@pytest.mark.parametrize("groups", [np.zeros(1, int), np.zeros(4, int), np.array([0, 0, 0, 1, 2])])
def test_a_group_of_more_than_half_is_refused(groups: Any) -> None:
    assert not pairs.can_be_moved(groups)
    with pytest.raises(DataError, match="more than half"):
        pairs.derangement(groups, np.random.default_rng(1))


def test_a_split_keeps_groups_whole_and_forgets_the_order() -> None:
    real, _ = planted_pairs(60, 1)
    real = replace(real, keys=np.array([f"patient {k // 3}" for k in range(60)]))
    first, second = real.split(0.25, seed=4)
    assert (len(first), len(second)) == (45, 15)
    assert not set(first.keys) & set(second.keys)
    order = np.random.default_rng(0).permutation(60)
    assert set(real.take(order).split(0.25, seed=4)[1].keys) == set(second.keys)
    assert set(real.split(0.25, seed=5)[1].keys) != set(second.keys)


def test_images_are_resized_by_area() -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
    expected = image.reshape(4, 2, 4, 2).mean(axis=(1, 3))
    assert abs(pairs.resize_by_area(image, 4)[..., 0] - expected).max() <= 0.5
    assert pairs.resize_by_area(image, 8) is image
    assert pairs.resize_by_area(image, 12).shape == (12, 12, 1)


@pytest.mark.parametrize("wrong", [{"max_images": 39}, {"image_size": 31}, {"image_size": 513}, {"epochs": 0}], ids=str)
def test_requests_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(wrong)).replace('_', '-')} is"):
        EvidenceRequest(**wrong)


# Figures


def counted(seed: int, num: int = 60) -> tuple[Any, Any, Any, Any]:
    """Return truth, scores, how often each row counts, and the rows repeated so."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(2, size=num).astype(float)
    scores = np.round(truth * 0.4 + rng.uniform(size=num), 1)
    weights = rng.integers(0, 4, (3, num)).astype(float)
    return truth, scores, weights, [np.repeat(np.arange(num), one.astype(int)) for one in weights]


def test_decisions_are_scikit_learns() -> None:
    truth, scores, weights, repeated = counted(1)
    called = scores >= 0.7
    expected = [
        [function(truth[rows], called[rows]) for rows in repeated]
        for function in (metrics.accuracy_score, metrics.precision_score, metrics.recall_score, metrics.f1_score)
    ]
    np.testing.assert_allclose(scoring.weighted_decisions(truth, called, weights), expected, rtol=1e-12)


def test_r2_is_scikit_learns() -> None:
    truth, _, weights, repeated = counted(2)
    rng = np.random.default_rng(3)
    truth = 1000 + truth * 3 + rng.standard_normal(60)
    read = truth + rng.standard_normal(60)
    expected = [metrics.r2_score(truth[rows], read[rows]) for rows in repeated]
    np.testing.assert_allclose(scoring.weighted_r2(truth, read, weights), expected, rtol=1e-9)
    assert np.isnan(scoring.weighted_r2(np.full(60, 0.1), read, weights)).all()


def test_a_correlation_is_numpys() -> None:
    _, read, weights, repeated = counted(2)
    truth = 1000 + read + np.random.default_rng(3).standard_normal(60)
    expected = [np.corrcoef(truth[rows], read[rows])[0, 1] for rows in repeated]
    np.testing.assert_allclose(scoring.weighted_correlation(truth, read, weights), expected, rtol=1e-9)
    assert np.isnan(scoring.weighted_correlation(truth, np.full(60, 0.5), weights)).all()


def test_an_auroc_of_several_pairs_of_an_image_is_scikit_learns() -> None:
    _, _, weights, repeated = counted(4)
    truth, scores = training.matched_first(60, 4), np.random.default_rng(5).standard_normal((60, 5))
    expected = [metrics.roc_auc_score(truth[rows].ravel(), scores[rows].ravel()) for rows in repeated]
    np.testing.assert_allclose(scoring.auroc_of(truth, scores)(weights), expected, rtol=1e-12)


def test_rows_of_a_group_are_resampled_together() -> None:
    """Twice the same rows: the interval is that of single rows where copies are a group, and narrower where not."""
    truth, scores, _, _ = counted(6, 80)
    twice = np.r_[truth, truth], np.r_[scores, scores]

    def width(groups: Any) -> float:
        score = scoring.resample([scoring.auroc_of(*twice)], groups, 1)[0].score(160)
        assert score.low < score.value < score.high
        return score.high - score.low

    single = scoring.resample([scoring.auroc_of(truth, scores)], np.arange(80), 1)[0].score(80)
    assert width(np.tile(np.arange(80), 2)) == pytest.approx(single.high - single.low)
    assert width(np.arange(160)) < 0.85 * (single.high - single.low)


def test_a_note_says_why_there_is_no_interval() -> None:
    assert scoring.class_note(np.zeros(50)) == "one class only"
    assert scoring.class_note(np.r_[np.zeros(50), np.ones(19)]) == "fewer than 20 of a class (19)"
    assert scoring.class_note(np.r_[np.zeros(50), np.ones(20)]) == ""
    score = scoring.Resampled(0.7, np.array([0.6, 0.8])).score(19, "fewer than 20 rows")
    assert (score.value, score.is_above(0.5)) == (0.7, False)
    assert tables.score_text(score) == "0.700 *"
    assert tables.score_text(scoring.Score(math.nan)) == "-"


def test_losses_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    truth = np.eye(3)[rng.integers(3, size=5)]
    truth = np.concatenate([rng.standard_normal((5, 1)), truth, rng.integers(2, size=(5, 1))], axis=1).astype(
        np.float32
    )
    read = rng.standard_normal((5, 5)).astype(np.float32)
    shares = np.exp(read[:, 1:4]) / np.exp(read[:, 1:4]).sum(axis=1, keepdims=True)
    probability = 1 / (1 + np.exp(-read[:, 4]))
    expected = 0.5 * (truth[:, 0] - read[:, 0]) ** 2 - np.log((truth[:, 1:4] * shares).sum(axis=1))
    expected -= np.log(np.where(truth[:, 4] > 0, probability, 1 - probability))
    loss = networks.ReadingLoss(("number", "category", "target"), (1, 3, 1)).call(truth, read)
    np.testing.assert_allclose(np.asarray(loss), expected / 3, rtol=1e-5)

    logits = rng.standard_normal((5, 4)).astype(np.float32)
    matched = -np.log(1 / (1 + np.exp(-logits[:, 0])))
    shuffled = -np.log(1 / (1 + np.exp(logits[:, 1:]))).mean(axis=1)
    loss = networks.matching_loss(training.matched_first(5, 3), logits)
    np.testing.assert_allclose(np.asarray(loss), (matched + shuffled) / 2, rtol=1e-5)


def test_batches_follow_from_the_seed_and_come_once() -> None:
    asked: list[tuple[int, tuple[int, ...]]] = []

    def make(indices: Any, epoch: int) -> Any:
        asked.append((epoch, tuple(indices)))
        return np.zeros((len(indices), 2), np.float32), np.zeros((len(indices), 1), np.float32)

    batches = training.EpochBatches(700, make, seed=3)
    assert len(batches) == 22
    for _ in range(2):
        for number in range(len(batches)):
            batches[number]
        batches.on_epoch_end()
    seen = [index for _, indices in asked for index in indices]
    assert sorted(seen[:700]) == list(range(700)), "each image once before any comes again"
    assert [epoch for epoch, _ in asked] == [0] * 22 + [1] * 22
    assert len(training.EpochBatches(40, make, seed=3)) == 20


# Networks


@pytest.mark.parametrize("fits", [True, False], ids=["planted", "shuffled"])
def test_matched_pairs_are_told_from_shuffled_ones_only_where_they_fit(fits: bool, tmp_path: Path) -> None:
    real, encoder = planted_pairs(360, 1)
    if not fits:
        real = real.with_rows_moved(7)
    train, tested = real.split(0.4, 2)
    store = training.NetworkStore(tmp_path, seed=1, epochs=4)
    score = joint.match_score(store, "matcher", train.split(0.2, 1), tested, encoder.column_slices, seed=1)
    assert score.num == 144
    if fits:
        assert score.low > 0.6
        again = training.NetworkStore(tmp_path, seed=1, epochs=4)
        assert joint.match_score(again, "matcher", train.split(0.2, 1), tested, encoder.column_slices, seed=1) == score
    else:
        assert score.low < 0.5 < score.high


def test_columns_are_read_and_synthetic_ones_held_against_the_ceiling(tmp_path: Path) -> None:
    evidence = planted_evidence(240, 120)
    read = joint.read_rows(evidence, training.NetworkStore(tmp_path, seed=1, epochs=5))
    moved = evidence.synthetic.with_rows_moved(3)

    def results(synthetic: Pairs) -> dict[tuple[str, str], joint.FactorResult]:
        found = joint.factor_results(evidence.encoder, (evidence.held_out, read[0]), (synthetic, read[1]), seed=1)
        return {(one.column, one.metric): one for one in found}

    fitting, shuffled = results(evidence.synthetic), results(moved)
    for key in (("age", "R2"), ("age", "r"), ("LAD_st", "AUROC")):
        assert fitting[key].ceiling.is_above(joint.CHANCE[key[1]]), "the premise: it is on the images"
        assert fitting[key].ceiling == shuffled[key].ceiling
        good, bad = fitting[key].ratio, shuffled[key].ratio
        assert good is not None
        assert bad is not None
        assert 0.7 < good.value < 1.3
        assert bad.low < 0.3
        assert bad.high < 0.6
    assert fitting["sex", "AUROC"].ratio is None, "it is not on the images"
    truth = evidence.held_out.rows
    assert fitting["age", "R2"].ceiling.value == pytest.approx(metrics.r2_score(truth[:, 0], read[0][:, 0]))
    assert fitting["LAD_st", "AUROC"].ceiling.value == pytest.approx(metrics.roc_auc_score(truth[:, 5], read[0][:, 5]))
    by_value = [metrics.roc_auc_score(truth[:, k], read[0][:, k]) for k in (1, 2, 3)]
    assert fitting["pain", "AUROC"].ceiling.value == pytest.approx(np.mean(by_value))
    np.testing.assert_allclose(read[0][:, 1:4].sum(axis=1), 1, rtol=1e-6)


def test_columns_of_few_or_equal_rows_are_said_to_be_so() -> None:
    made, encoder = planted_pairs(60, 1)
    rows = made.rows.copy()
    rows[:, 5] = 0  # the target
    rows[:, 0] = 0.5  # age
    read = np.random.default_rng(0).uniform(size=rows.shape)
    constant, few = replace(made, rows=rows), made.take(np.arange(15))
    found = joint.factor_results(encoder, (few, read[:15]), (constant, read), seed=1)
    assert all(one.ratio is None for one in found)
    age, _, pain, _, target = found
    assert (age.ceiling.note, age.synthetic.note) == ("fewer than 20 rows", "the same in all rows")
    assert target.synthetic.note == "one class only"
    assert target.ceiling.note.startswith("fewer than 20 of a class")
    assert pain.ceiling.is_defined
    assert not age.synthetic.is_defined
    assert not any(math.isfinite(one.ceiling.low) for one in found)


def test_predictions_are_scored_as_scikit_learn_does_and_constant_targets_are_left_out(tmp_path: Path) -> None:
    evidence = planted_evidence(200, 120)
    columns = tuple(replace(one, column=replace(one.column, kind="target")) if one.column.name == "sex" else one
                    for one in evidence.encoder.fitted)  # fmt: skip
    rows = evidence.synthetic.rows.copy()
    rows[:, 4] = 1  # every synthetic patient is male
    evidence = replace(
        evidence, encoder=replace(evidence.encoder, fitted=columns), synthetic=replace(evidence.synthetic, rows=rows)
    )
    results = predict.measure(evidence, training.NetworkStore(tmp_path, seed=1, epochs=2), seed=1)
    assert (results.targets, results.in_mean, results.num_factors) == (("sex", "LAD_st"), ("LAD_st",), 4)
    for test in predict.TESTS:
        truth, probabilities = results.truth[test][:, 1], results.probabilities[test][:, 1]
        auc = results.figure(test, "LAD_st", "auc").score
        assert auc.value == pytest.approx(metrics.roc_auc_score(truth, probabilities))
        assert auc.low <= auc.value <= auc.high
        assert results.figure(test, "mean", "auc").score.value == auc.value
        for threshold in (predict.HALF, predict.CHOSEN):
            figure = results.figure(test, "LAD_st", "f1", threshold)
            assert figure.score.value == pytest.approx(metrics.f1_score(truth, probabilities >= figure.level))
    assert results.figure(predict.REAL_ON_SYNTHETIC, "sex", "accuracy", predict.HALF).score.note == "one class only"
    assert not results.figure(predict.REAL_ON_SYNTHETIC, "sex", "auc").score.is_defined
    assert results.figure(predict.REAL_ON_REAL, "sex", "auc").score.is_defined
    difference = results.figure(predict.DIFFERENCE, "LAD_st", "auc").score.value
    one, other = (
        results.figure(test, "LAD_st", "auc").score.value for test in (predict.SYNTHETIC_ON_REAL, predict.REAL_ON_REAL)
    )
    assert difference == pytest.approx(one - other)
    assert any("sex: one class only among the synthetic rows" in note for note in results.notes)

    predict_report.write_results(tmp_path / "out", results)
    names = (predict.REAL_ON_REAL, predict.SYNTHETIC_ON_REAL)
    tested = [read_predictions(tmp_path / "out" / name) for name in names]
    require_same_rows(tested)
    assert [one.facts["trained_on"] for one in tested] == ["real", "synthetic"]
    assert len(set(tested[0].patients or ())) == len(evidence.held_out)
    for name, one in zip(names, tested, strict=True):
        assert one.names == results.targets
        assert one.truth == pytest.approx(results.truth[name])
        assert one.scores == pytest.approx(results.probabilities[name], abs=1e-6)
    assert not np.allclose(tested[0].scores, tested[1].scores, atol=1e-3)


def test_the_published_row_is_there() -> None:
    published = predict.read_published()
    assert [published[name] for name in ("auc", "accuracy", "precision", "recall", "f1")] == [
        0.79,
        0.88,
        0.73,
        0.63,
        0.67,
    ]


# Commands


def edit_schema(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    values = json.loads((folder / "schema.json").read_text())
    edit(values)
    (folder / "schema.json").write_text(json.dumps(values))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return real and synthetic toy pairs."""
    folder = tmp_path_factory.mktemp("evidence")
    data_dir = write_toy_pairs(folder / "data", 60)
    other = write_toy_pairs(folder / "other", 60, seed=1)
    return data_dir, write_synthetic(folder / "synthetic", other)


REQUEST = EvidenceRequest(seed=2, max_images=50, image_size=SIZE, epochs=1)


def untrained(store: training.NetworkStore, network: Any, recipe: training.Recipe) -> dict[str, Any]:
    """Stand in for a training, which takes seconds."""
    facts = ("epochs", "best_epoch", "validation_loss", "num_train", "num_parameters")
    return dict.fromkeys(facts, 1) | {"is_best_at_the_limit": True}


@pytest.mark.parametrize("command", ["joint", "predict"])
def test_a_command_writes_everything_once_and_goes_on_where_it_was(
    command: Any,
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training.NetworkStore, "_fit", untrained)
    out_dir = tmp_path / "out"
    gather_evidence(command, *folders, out_dir, REQUEST)
    pictures = {"joint": {"joint.png", "reading.png"}, "predict": {"predict.png", "reliability.png"}}[command]
    results = {"results.json", "results.csv", "report.txt"}
    assert pictures | results | {DONE_NAME, "networks", "config.json"} <= {path.name for path in out_dir.iterdir()}
    found = {name: (out_dir / name).read_bytes() for name in results}
    values = json.loads(found["results.json"])
    assert values["pairs"] == {"real_train": 38, "real_validation": 10, "real_held_out": 12, "synthetic": 50}
    assert any("first 50 are used" in note for note in values["notes"])
    assert any("64x64 pixels are resized" in note for note in values["notes"])
    rows = list(csv.DictReader((out_dir / "results.csv").open()))
    assert {row["n"] for row in rows} >= {"12", "50"}
    if command == "joint":
        assert len(values["matched_versus_shuffled"]["tests"]) == 5
        assert [one["column"] for one in values["factors"]["columns"]] == ["age", "age", "sex", "pain", "LAD_st"]
    else:
        assert rows[-1]["test"] == "published"
        assert "not public" in (out_dir / "report.txt").read_text()

    capsys.readouterr()
    gather_evidence(command, *folders, out_dir, REQUEST)
    assert "nothing to do" in capsys.readouterr().out
    with pytest.raises(RunFolderError, match="other settings"):
        gather_evidence(command, *folders, out_dir, replace(REQUEST, seed=3))

    # As after a kill: one network is there, the other is not.
    (out_dir / DONE_NAME).unlink()
    facts = sorted((out_dir / "networks").glob("*.json"))
    assert len(facts) >= 2
    kept = (out_dir / "networks" / f"{facts[0].stem}.weights.h5").stat().st_mtime_ns
    facts[-1].unlink()
    gather_evidence(command, *folders, out_dir, REQUEST)
    assert {name: (out_dir / name).read_bytes() for name in results} == found
    assert (out_dir / "networks" / f"{facts[0].stem}.weights.h5").stat().st_mtime_ns == kept


def no_images(folder: Path, data_dir: Path) -> None:
    write_synthetic(folder, data_dir, images="none")


def few(folder: Path, data_dir: Path) -> None:
    write_synthetic(folder, data_dir, num=19)


def other_columns(folder: Path, data_dir: Path) -> None:
    text = (data_dir / "schema.json").read_text()
    edit_schema(data_dir, lambda values: values["columns"].__setitem__(2, {"name": "age", "kind": "drop"}))
    write_synthetic(folder, data_dir)
    (data_dir / "schema.json").write_text(text)


def other_words(folder: Path, data_dir: Path) -> None:
    write_synthetic(folder, data_dir)
    values = json.loads((folder / "encoder.json").read_text())
    (sex,) = [one["column"] for one in values["fitted"] if one["column"]["name"] == "sex"]
    sex["zero"], sex["one"] = sex["one"], sex["zero"]
    (folder / "encoder.json").write_text(json.dumps(values))


def no_held_out_rows(folder: Path, data_dir: Path) -> None:
    write_synthetic(folder, data_dir)
    edit_schema(data_dir, lambda values: values.update(test_share=0))


def few_train_rows(folder: Path, data_dir: Path) -> None:
    write_synthetic(folder, data_dir)
    edit_schema(data_dir, lambda values: values.update(test_share=0.6))


def no_targets(folder: Path, data_dir: Path) -> None:
    edit_schema(data_dir, lambda values: values["columns"][-1].update(kind="number", threshold=None))
    write_synthetic(folder, data_dir)


def edited(change: Callable[[str], str]) -> Callable[[Path, Path], None]:
    """Return what changes the third row of a synthetic table, which stands in line 4."""

    def make(folder: Path, data_dir: Path) -> None:
        part = write_synthetic(folder, data_dir) / "table" / "part-0000000000.csv"
        lines = part.read_text().splitlines(keepends=True)
        assert change(lines[3]) != lines[3]
        part.write_text("".join([*lines[:3], change(lines[3]), *lines[4:]]))

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            edited(lambda line: line.replace("typical", "severe")),
            r"part-0000000000\.csv: Line 4, column 'pain': one of 'none', .* was expected\. Received: 'severe'",
        ),
        (
            edited(lambda line: line.replace("png,", "png,about ")),
            r"part-0000000000\.csv: Line 4, column 'age': a finite number was expected\. Received: 'about \d+'",
        ),
        (no_images, "Images are needed"),
        (few, "At least 20 synthetic pairs are needed"),
        (other_columns, "without 'age'"),
        (other_words, "binary"),
        (no_held_out_rows, '"test_share" in schema.json'),
        (few_train_rows, "At least 20 train rows are needed"),
        (no_targets, "Something must be predicted"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(make: Any, message: str, tmp_path: Path) -> None:
    data_dir = write_toy_pairs(tmp_path / "data", 40)
    make(tmp_path / "synthetic", data_dir)
    with pytest.raises(DataError, match=message):
        gather_evidence("predict", data_dir, tmp_path / "synthetic", tmp_path / "out", REQUEST)
    assert not (tmp_path / "out").exists()


def test_groups_come_from_their_column(tmp_path: Path) -> None:
    data_dir = write_toy_pairs(tmp_path / "data", 60)
    write_synthetic(tmp_path / "synthetic", data_dir)
    text = (data_dir / "table.csv").read_text()
    for number in range(60):
        text = text.replace(f"Person {number};", f"Patient {number // 2:03d};")
    (data_dir / "table.csv").write_text(text)
    edit_schema(data_dir, lambda values: values.update(group_column="patient name"))
    evidence = pairs.read_evidence(data_dir, tmp_path / "synthetic", REQUEST)
    parts = [set(part.keys) for part in (evidence.train, evidence.valid, evidence.held_out)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 30
    assert evidence.grouped_by == "patient name"
    assert evidence.held_out.groups.max() + 1 == len(parts[2]) == 6


# Pictures


def test_readings_are_binned() -> None:
    read = np.arange(100) / 100
    curve = figures.reading_of(read, 2 * read)
    np.testing.assert_allclose(curve.said, 2 * curve.read)
    assert len(curve.read) == 5
    assert figures.reading_of(np.array([0.5]), np.array([1.0])).error == 0


def test_a_report_without_a_readable_column_says_so() -> None:
    nothing = scoring.Score(0.5, 0.4, 0.6, 50)
    result = joint.FactorResult("sex", "binary", "AUROC", nothing, nothing, None)
    counts = {"real_train": 30, "real_validation": 8, "real_held_out": 50, "synthetic": 50}
    results = joint.JointResults((result,), (), {}, counts, (), np.zeros((50, 1)), np.zeros((50, 1)))
    assert "no column is read better than chance" in joint_report.report_text(results)
