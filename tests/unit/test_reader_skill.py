from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import cohen_kappa_score

from benchmark.readers.accuracy import (
    blind_accuracy,
    holm,
    pooled_interval,
    pooled_skill,
    reader_skill,
    resampled_items,
)
from benchmark.readers.agreement import cohen_kappa, fleiss_kappa, kappa_estimate
from benchmark.readers.answers import Answers, read_answers
from benchmark.readers.conclusion import conclude, conclude_readers
from benchmark.readers.report import format_findings, measure
from benchmark.readers.study import StudyKey
from medsynth.classify.evaluation.evaluate import proportion

Floats = npt.NDArray[np.float64]
NUM = 60
IS_REAL = np.arange(NUM) < NUM // 2
ONCE = np.ones((1, NUM))
NO_CONFIDENCE = np.full(NUM, np.nan)


def answers(generator: np.random.Generator, right: npt.ArrayLike, num_readers: int = 1, num: int = NUM) -> Floats:
    """Return called_real [J, N] of readers who are right about item i with probability right[i]."""
    is_right = generator.random((num_readers, num)) < right
    truth = np.arange(num) < num // 2
    return np.where(is_right, truth, ~truth).astype(float)


# Recorded from statsmodels 0.14 (proportion_confint, method beta).
@pytest.mark.parametrize(
    ("num_correct", "num", "low", "high"),
    [(0, 10, 0.0, 0.308497), (7, 20, 0.153909, 0.592189), (20, 20, 0.831567, 1.0), (33, 50, 0.512348, 0.787945)],
)
def test_proportion(num_correct: int, num: int, low: float, high: float) -> None:
    found = proportion(num_correct, num)
    assert found.value == num_correct / num
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)


def test_exact_interval_of_nothing_is_undefined() -> None:
    assert np.isnan(proportion(0, 0).value)


def test_holm_is_as_recorded_from_statsmodels() -> None:
    assert holm(np.array([0.04, 0.01, 0.03, 0.5])) == pytest.approx([0.09, 0.04, 0.09, 0.5])


# Recorded from statsmodels 0.14 (inter_rater.fleiss_kappa).
FLEISS = [
    (
        [
            [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1],
            [1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1],
            [0, 0, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1],
            [0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1],
        ],
        0.05185185185185167,
    ),
    (
        [
            [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1],
            [0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0, 1],
            [0, 0, 1, 1, 1, 1, 1, 0, 1, 0, 0, 1],
            [0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1],
        ],
        0.2888888888888888,
    ),
]


@pytest.mark.parametrize(("called", "expected"), FLEISS)
def test_fleiss_kappa_is_as_recorded_from_statsmodels(called: list[list[int]], expected: float) -> None:
    matrix = np.array(called, float)
    assert fleiss_kappa(matrix, np.ones((1, matrix.shape[1])))[0] == pytest.approx(expected, abs=1e-9)


def test_fleiss_kappa_leaves_out_items_with_one_answer() -> None:
    matrix = np.array(FLEISS[1][0], float)
    with_lonely = np.c_[matrix, [1.0, np.nan, np.nan, np.nan]]
    assert fleiss_kappa(with_lonely, np.ones((1, 13)))[0] == pytest.approx(FLEISS[1][1], abs=1e-9)


def test_cohen_kappa_is_that_of_scikit_learn_on_common_items_and_counts_repetitions() -> None:
    generator = np.random.default_rng(2)
    first, second = answers(generator, 0.7, 2)
    first[3] = second[9] = np.nan
    weights = generator.integers(0, 4, (5, NUM)).astype(float)
    both = ~np.isnan(first) & ~np.isnan(second)
    assert both.sum() == NUM - 2
    for row, found in zip(weights, cohen_kappa(first, second, weights), strict=True):
        repeated = [np.repeat(one[both], row[both].astype(int)) for one in (first, second)]
        assert found == pytest.approx(cohen_kappa_score(*repeated))


def test_kappa_of_readers_who_always_say_one_word_is_undefined() -> None:
    ones = np.ones((2, NUM))
    assert kappa_estimate(cohen_kappa(*ones, np.ones((3, NUM)))) is None
    assert kappa_estimate(fleiss_kappa(ones, np.ones((3, NUM)))) is None


@pytest.mark.parametrize("skill", [0.5, 0.7, 0.97])
def test_intervals_of_planted_readers_cover_their_skill(skill: float) -> None:
    generator = np.random.default_rng(11)
    trials = 600
    covered = 0
    for _ in range(trials):
        found = reader_skill(IS_REAL, answers(generator, skill)[0], NO_CONFIDENCE, ONCE).accuracy
        covered += found.low <= skill <= found.high
    assert covered / trials >= 0.95 - 2 * np.sqrt(0.05 * 0.95 / trials)


@pytest.mark.parametrize("skill", [0.5, 0.7, 0.9])
def test_the_pooled_interval_covers_where_some_images_are_easier_than_others(skill: float) -> None:
    generator = np.random.default_rng(12)
    trials, num_readers = 500, 4
    covered = naive = 0
    for _ in range(trials):
        # Of a beta distribution with this mean: readers are alike in what they get right.
        easiness = generator.beta(2 * skill, 2 * (1 - skill), NUM)
        called = answers(generator, easiness, num_readers)
        found = pooled_skill(IS_REAL, called).accuracy
        covered += found.low <= skill <= found.high
        plain = proportion(int((called == IS_REAL).sum()), called.size)
        naive += plain.low <= skill <= plain.high
    assert naive / trials < 0.93, "the premise: answers to one image are alike, and counting them as apart is wrong"
    assert covered / trials >= 0.95 - 2.5 * np.sqrt(0.05 * 0.95 / trials)


def test_the_pooled_interval_of_readers_who_all_say_the_same_is_that_of_one() -> None:
    one = answers(np.random.default_rng(3), 0.7)
    alone, together = (
        pooled_interval(one == IS_REAL, IS_REAL),
        pooled_interval(np.tile(one, (5, 1)) == IS_REAL, IS_REAL),
    )
    assert together.value == alone.value
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    perfect = pooled_interval(np.ones((5, NUM)), IS_REAL)
    assert (perfect.low, perfect.high) == pytest.approx((proportion(NUM, NUM).low, 1))


def test_sensitivity_specificity_and_missing_answers() -> None:
    called = np.full(NUM, np.nan)
    called[:10], called[30:34], called[34:38] = 1, 1, 0  # ten hits, four false alarms, four correct rejections
    found = reader_skill(IS_REAL, called, NO_CONFIDENCE, ONCE)
    assert (found.num, found.num_correct) == (18, 14)
    assert (found.sensitivity.value, found.specificity.value) == (1, 0.5)
    assert found.auc is None


def test_auc_uses_confidence_and_has_no_interval_without_width() -> None:
    weights = resampled_items(IS_REAL, 200, 0)
    assert weights[:, IS_REAL].sum(axis=1) == pytest.approx(NUM // 2)
    generator = np.random.default_rng(4)
    called = answers(generator, 0.7)[0]
    right = called == IS_REAL
    sure = np.where(right, 3.0, 1.0)
    informed = reader_skill(IS_REAL, called, sure, weights).auc
    uninformed = reader_skill(IS_REAL, called, np.ones(NUM), weights).auc
    assert informed is not None
    assert uninformed is not None
    assert informed.low < informed.value < informed.high
    assert informed.value > uninformed.value
    perfect = reader_skill(IS_REAL, IS_REAL.astype(float), sure, weights).auc
    assert perfect is not None
    assert perfect.value == 1
    assert np.isnan(perfect.low)
    sure[5] = np.nan
    assert reader_skill(IS_REAL, called, sure, weights).auc is None


@pytest.mark.parametrize(("share_called", "expected"), [(0.0, 0.25), (1.0, 0.75), (0.75, 0.625)])
def test_chance_is_what_the_same_words_dealt_blindly_give(share_called: float, expected: float) -> None:
    is_real = np.arange(400) < 300
    called = (np.random.default_rng(1).permutation(400) < 400 * share_called).astype(float)
    assert blind_accuracy(is_real, called[None]) == pytest.approx(expected)
    assert blind_accuracy(IS_REAL, np.ones((1, NUM))) == 0.5


def test_the_binomial_test_is_exact() -> None:
    called = IS_REAL.astype(float)
    called[:20] = 1 - called[:20]
    found = reader_skill(IS_REAL, called, NO_CONFIDENCE, ONCE)
    assert found.num_correct == 40
    # 10 real and 30 synthetic images are called as they are: chance is 0.5 still.
    assert found.chance == 0.5
    assert found.p_value == pytest.approx(0.013490, abs=1e-6)


def planted(skill: float, num: int, num_readers: int = 3) -> Floats:
    """Return answers with just this share of right ones among real and synthetic images of every reader."""
    half = np.arange(num // 2) < skill * num // 2
    return np.array([np.r_[np.roll(half, 7 * j), ~np.roll(half, 11 * j)] for j in range(num_readers)], float)


@pytest.mark.parametrize(
    ("called", "start"),
    [
        (
            planted(0.5, 20),
            "That real and synthetic images can be told apart is not shown, and that they cannot is not",
        ),
        (planted(0.5, 1200), "Equivalence with guessing is shown at the margin of 10 percentage points"),
        (planted(0.8, 100), "Real and synthetic images can be told apart"),
        (planted(0.2, 100), "Answers are wrong more often than chance"),
        (np.ones((3, 1200)), "Nothing is shown: 100% of the answers are the word real"),
    ],
)
def test_conclusions_say_no_more_than_the_interval(called: Floats, start: str) -> None:
    is_real = np.arange(called.shape[1]) < called.shape[1] // 2
    skill = pooled_skill(is_real, called)
    text = conclude(skill, 0.1)
    assert text.startswith(start)
    assert f"{skill.accuracy.high:.1%}" in text, "the largest accuracy that the answers allow is always named"
    assert "indistinguishable" not in text


@pytest.mark.parametrize("margin", [0.1, 0.01])
def test_readers_who_differ_from_chance_are_not_hidden_by_their_mean(margin: float) -> None:
    called = np.array([IS_REAL, ~IS_REAL], float)  # one always right, one always wrong
    skills = [reader_skill(IS_REAL, one, NO_CONFIDENCE, ONCE) for one in called]
    text = conclude(pooled_skill(IS_REAL, called), margin, skills)
    assert text.startswith("Real and synthetic images can be told apart by single readers: of 2 readers, 1 above")
    assert "1 below it" in text
    assert "Readers differ" in text
    assert "quivalence" not in text
    assert "not shown" not in text
    items = tuple(f"item_{number}" for number in range(NUM))
    key = StudyKey(Path("study"), "study-x", items, IS_REAL, items, {})
    report = format_findings(measure(key, Answers(("a", "b"), called, np.full(called.shape, np.nan)), margin))
    assert text in " ".join(report.split())


@pytest.mark.parametrize(
    ("answer", "called"),
    [("Re", 1), ("real", 1), ("s", 0), ("synth", 0), ("synthetic", 0)],
)
@pytest.mark.parametrize("confidence", ["2", "2.0", "2,0"])
def test_beginnings_of_words_and_whole_numbers_with_decimals_count(
    tmp_path: Path, answer: str, called: int, confidence: str
) -> None:
    path = tmp_path / "answers-a.csv"
    path.write_text(f'item,answer,confidence\nitem_0,{answer},"{confidence}"\n')
    key = StudyKey(tmp_path, "study-x", ("item_0",), np.ones(1, bool), ("",), {})
    found = read_answers([path], key)
    assert found.called_real.tolist() == [[called]]
    assert found.confidence.tolist() == [[2]]


def test_single_readers_are_judged_with_an_adjustment_for_their_number() -> None:
    called = planted(0.5, NUM, 1)[0]
    lucky = IS_REAL.astype(float)
    lucky[:11], lucky[30:41] = 0, 1  # 38 of 60 right: p = 0.052; with 39 right, p = 0.027
    lucky[0] = 1
    skills = [reader_skill(IS_REAL, one, NO_CONFIDENCE, ONCE) for one in (lucky, called, called)]
    assert skills[0].p_value is not None
    assert skills[0].p_value < 0.05
    assert conclude_readers(("lucky",), skills[:1])[0].endswith("lucky (above chance).")
    assert conclude_readers(("lucky", "b", "c"), skills)[0].startswith("No single reader's accuracy is shown")
    one_word = reader_skill(IS_REAL, np.ones(NUM), NO_CONFIDENCE, ONCE)
    assert "says little" in conclude_readers(("a",), [one_word])[1]


def test_the_auc_of_one_image_of_a_kind_has_no_interval() -> None:
    is_real = np.array([True, False])
    weights = resampled_items(is_real, 100, 0)
    alike = reader_skill(is_real, np.ones(2), np.ones(2), weights).auc
    assert alike is not None
    assert alike.value == 0.5
    assert np.isnan(alike.low), "no resample of one image is another"


@pytest.mark.parametrize(
    ("called", "reasons"),
    [
        (
            [[1, 1, 0, 0], [1, 1, 0, 0]],
            [
                "The AUC of a has no interval: all resamples of 4 images give the same value",
                "The AUC of b has no interval",
                "Cohen's kappa of a and b has no interval: all resamples of 4 images give the same value",
                "Fleiss' kappa has no interval",
            ],
        ),
        (
            [[1, 1, 1, 1], [1, 1, 1, np.nan]],
            [
                "Cohen's kappa of a and b is undefined: all answers to 3 common images are the same word.",
                "Fleiss' kappa is undefined: all answers to 3 common images are the same word.",
            ],
        ),
        (
            [[1, np.nan, 0, np.nan], [np.nan, 1, np.nan, 0]],
            [
                "The AUC of a has no interval: all resamples of 2 images",
                "Cohen's kappa of a and b is undefined: no image was answered by two readers.",
                "Fleiss' kappa is undefined: no image was answered by two readers.",
            ],
        ),
    ],
)
def test_the_report_says_why_a_figure_has_no_interval(called: list[list[float]], reasons: list[str]) -> None:
    items = tuple(f"item_{number}" for number in range(4))
    key = StudyKey(Path("study"), "study-x", items, np.arange(4) < 2, items, {})
    matrix = np.array(called, float)
    text = format_findings(measure(key, Answers(("a", "b"), matrix, np.where(np.isnan(matrix), np.nan, 2.0)), 0.1))
    sentences = " ".join(text.split())
    for reason in reasons:
        assert reason in sentences
    assert sentences.count("[none]") == sum(" has no interval" in one for one in (sentences.split(". ")))
