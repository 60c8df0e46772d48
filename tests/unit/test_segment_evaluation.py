"""Classes, masks and saliency maps of classifier_segment evaluated: metrics, their intervals, files and words."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sklearn

from classifier_segment.evaluation.classification import OF_CLASS, TITLES, classification_report
from classifier_segment.evaluation.pointing import saliency_report
from classifier_segment.evaluation.segmentation import EPSILON, METRICS, segmentation_report
from classifier_segment.losses import published_overlap, soft_overlap
from medsynth.errors import DataError

NAMES = ("neoplastic", "aphthous", "traumatic")


def made_up(num_examples: int, num_classes: int = 3, seed: int = 0, skill: float = 0.4):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, num_classes, num_examples)
    probabilities = rng.dirichlet(np.ones(num_classes), num_examples)
    probabilities[np.arange(num_examples), truth] += skill
    return truth, probabilities / probabilities.sum(axis=1, keepdims=True)


def value(report, name: str) -> float | None:
    return report.metrics()[name]["value"]


def width(report, name: str) -> float:
    found = report.metrics()[name]
    return found["high"] - found["low"]


def test_nothing_here_loads_tensorflow():
    code = (
        "import sys; from classifier_segment.evaluation import classification, differences, pointing, segmentation, "
        "sheets; assert 'classifier_segment.evaluation.sheets' in sys.modules; print('tensorflow' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


@pytest.mark.parametrize("case", ["usual", "never predicted", "class absent", "absent and never predicted"])
def test_classification_metrics_are_those_of_scikit_learn(case):
    truth, probabilities = made_up(80)
    if case == "never predicted":
        probabilities[:, 2] = 0.0
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    if "absent" in case:
        truth[truth == 2] = 1
    if case == "absent and never predicted":
        probabilities = np.c_[probabilities[:, 0], probabilities[:, 1:].sum(axis=1), np.zeros(80)]
    report = classification_report(truth, probabilities, NAMES, num_resamples=20)
    predicted = probabilities.argmax(axis=1)
    present = np.unique(truth)
    assert (len(present) < 3) == ("absent" in case)
    assert (2 not in predicted) == ("never predicted" in case)
    np.testing.assert_array_equal(report.confusion, sklearn.confusion_matrix(truth, predicted, labels=[0, 1, 2]))
    expected = {
        "accuracy": sklearn.accuracy_score(truth, predicted),
        "balanced_accuracy": np.mean([(predicted[truth == one] == one).mean() for one in present]),
        "auroc_macro": np.mean([sklearn.roc_auc_score(truth == one, probabilities[:, one]) for one in present]),
    }
    for mean in ("macro", "micro"):
        # A class of none of the images may be predicted: with micro its false alarms count, with macro it is no class.
        labels = present if mean == "macro" else [0, 1, 2]
        options = {"labels": labels, "average": mean, "zero_division": 0}
        expected[f"precision_{mean}"] = sklearn.precision_score(truth, predicted, **options)
        expected[f"recall_{mean}"] = sklearn.recall_score(truth, predicted, **options)
        expected[f"f1_{mean}"] = sklearn.f1_score(truth, predicted, **options)
    assert set(expected) == set(TITLES)
    found = {name: value(report, name) for name in TITLES}
    assert found == pytest.approx(expected, abs=1e-12)


def test_an_absent_class_has_no_figures_and_is_said():
    truth, probabilities = made_up(60)
    truth[truth == 2] = 0
    report = classification_report(truth, probabilities, NAMES, num_resamples=20)
    assert report.num_of_class == {"neoplastic": (truth == 0).sum(), "aphthous": (truth == 1).sum(), "traumatic": 0}
    for metric in OF_CLASS:
        assert report.metrics()[f"{metric}/traumatic"] == {"value": None, "low": None, "high": None}
        assert value(report, f"{metric}/aphthous") is not None
    assert any("traumatic" in note and "Absent" in note for note in report.notes())
    assert "undefined" in report.describe()
    single = classification_report(np.zeros(10, int), probabilities[:10], NAMES, num_resamples=20)
    assert value(single, "auroc_macro") is None
    assert value(single, "accuracy") is not None
    assert any("no AUROC" in note for note in single.notes())


def test_resampled_metrics_are_those_of_repeated_images():
    truth, probabilities = made_up(50)
    report = classification_report(truth, probabilities, NAMES, [str(i // 2) for i in range(50)], num_resamples=5)
    for number, weights in enumerate(report.estimates.resamples.weights[1:].astype(int), start=1):
        assert weights.max() > 1
        again = classification_report(
            truth.repeat(weights), probabilities.repeat(weights, axis=0), NAMES, num_resamples=1
        )
        for name, sampled in report.estimates.sampled.items():
            assert sampled[number] == pytest.approx(value(again, name)), name


def test_intervals_cover_the_true_accuracy():
    rng, covered, num_trials = np.random.default_rng(5), 0, 150
    for _ in range(num_trials):
        truth = rng.integers(0, 3, 80)
        called = np.where(rng.random(80) < 0.7, truth, (truth + rng.integers(1, 3, 80)) % 3)
        found = classification_report(truth, np.eye(3)[called], NAMES, num_resamples=200).metrics()["accuracy"]
        covered += found["low"] <= 0.7 <= found["high"]
    assert 0.88 <= covered / num_trials <= 0.99


def test_images_of_one_group_widen_the_interval():
    truth, probabilities = made_up(60)
    copies, groups = truth.repeat(4), [str(number) for number in np.arange(60).repeat(4)]
    alone = classification_report(copies, probabilities.repeat(4, axis=0), NAMES)
    grouped = classification_report(copies, probabilities.repeat(4, axis=0), NAMES, groups)
    once = classification_report(truth, probabilities, NAMES)
    for name in ("accuracy", "auroc_macro", "f1_macro"):
        assert width(grouped, name) > 1.6 * width(alone, name)
        assert width(grouped, name) == pytest.approx(width(once, name), rel=0.15)
    assert "60 groups" in grouped.describe()
    assert "groups are not known" in alone.describe()
    one_group = classification_report(truth, probabilities, NAMES, ["a"] * 60)
    assert one_group.metrics()["accuracy"]["low"] is None
    assert any(note.startswith("No intervals") for note in one_group.notes())


@pytest.mark.parametrize("rows", [[[0.5, 0.5, 0.5]], [[np.nan, 0.5, 0.5]], [[np.inf, 0, 0]]])
def test_what_are_no_probabilities_is_refused(rows):
    good = [[0.2, 0.3, 0.5]]
    classification_report([2, 0], good * 2, NAMES, num_resamples=2)
    with pytest.raises(DataError, match=r"diverged.*example 1"):
        classification_report([2, 0], good + rows, NAMES, num_resamples=2)


@pytest.mark.parametrize(
    ("truth", "num_rows", "clusters"),
    [([0, 3], 2, None), ([0, -1], 2, None), ([0, 1], 2, ["a"]), ([0], 2, None), ([], 0, None)],
)
def test_arguments_that_do_not_belong_together_are_refused(truth, num_rows, clusters):
    with pytest.raises(ValueError, match=r"expected|no images"):
        classification_report(truth, np.eye(3)[:num_rows], NAMES, clusters, num_resamples=2)


def test_the_files_of_a_classification(tmp_path):
    truth, probabilities = made_up(40)
    report = classification_report(truth, probabilities, NAMES, num_resamples=50)
    report.write(tmp_path / "test")
    written = json.loads((tmp_path / "test/metrics.json").read_text())
    assert written["metrics"] == report.metrics()
    assert written["num_of_class"] == report.num_of_class
    resampled = np.load(tmp_path / "test/resamples.npy")
    np.testing.assert_array_equal(resampled[list(written["metrics"]).index("f1_macro")],
                                  report.estimates.sampled["f1_macro"][1:])  # fmt: skip
    rows = list(csv.reader((tmp_path / "test/confusion_matrix.csv").open()))
    assert rows[0] == ["true class", *NAMES]
    assert [[int(cell) for cell in row[1:]] for row in rows[1:]] == report.confusion.tolist()
    assert Image.open(tmp_path / "test/confusion_matrix.png").width > 600
    assert {path.name for path in (tmp_path / "test").iterdir()} == {
        "metrics.json", "resamples.npy", "confusion_matrix.csv", "confusion_matrix.png",
    }  # fmt: skip


def masks(*boxes: tuple[int, int, int, int] | None, size: int = 8):
    found = np.zeros((len(boxes), size, size), bool)
    for mask, box in zip(found, boxes, strict=True):
        if box is not None:
            mask[box[0] : box[1], box[2] : box[3]] = True
    return found


def test_segmentation_metrics_of_a_counted_case():
    truth = masks((0, 4, 0, 4), (0, 2, 0, 1))  # 16 and 2 pixels
    found = masks((0, 4, 2, 6), (0, 2, 0, 1))  # 8 of 16 right, 8 false; all right
    report = segmentation_report(truth, found, ["a", "b"], num_resamples=50)
    for name, first, pooled in [
        ("dice", 0.5, 20 / 36), ("jaccard", 8 / 24, 10 / 26), ("precision", 0.5, 10 / 18), ("recall", 0.5, 10 / 18),
        ("specificity", 40 / 48, 102 / 110), ("pixel_accuracy", 48 / 64, 112 / 128),
    ]:  # fmt: skip
        assert value(report, f"{name}_pooled") == pytest.approx(pooled, abs=1e-5)
        assert value(report, f"{name}_mean") == pytest.approx((first + 1) / 2, abs=1e-5)
        assert value(report, f"{name}_mean") == value(report, f"{name}_mean_lesion")


def test_segmentation_metrics_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, found = rng.random((2, 5, 12, 12)) < 0.4
    report = segmentation_report(truth, found, list("abcde"), num_resamples=2)
    flat = truth.ravel(), found.ravel()
    expected = {
        "pixel_accuracy": sklearn.accuracy_score(*flat),
        "dice": sklearn.f1_score(*flat),
        "precision": sklearn.precision_score(*flat),
        "specificity": sklearn.recall_score(~flat[0], ~flat[1]),
        "recall": sklearn.recall_score(*flat),
        "jaccard": sklearn.jaccard_score(*flat),
    }
    assert list(expected) == list(METRICS)
    assert {name: value(report, f"{name}_pooled") for name in METRICS} == pytest.approx(expected, abs=1e-6)


def test_images_without_a_lesion_are_counted_and_left_out_of_one_mean(tmp_path):
    truth = masks((0, 2, 0, 2), None, None, (0, 2, 0, 2))
    found = masks((0, 2, 0, 2), None, (0, 1, 0, 1), None)
    report = segmentation_report(truth, found, list("abcd"), num_resamples=50)
    np.testing.assert_allclose(report.per_image["dice"], [1, 1, EPSILON, EPSILON / 4], rtol=1e-4)
    assert value(report, "dice_mean") == pytest.approx(0.5, abs=1e-4)
    assert value(report, "dice_mean_lesion") == pytest.approx(0.5, abs=1e-4)
    assert value(report, "recall_mean") == pytest.approx(0.75, abs=1e-4)
    assert (report.num_without_lesion, report.num_missed) == (2, 1)
    assert "No lesion in 2 images, of which 1 were left empty" in report.describe()
    report.write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "per_image.csv").open()))
    assert [(row["image"], row["has_lesion"], row["misses"]) for row in rows] == [
        ("a", "1", "0"), ("b", "0", "0"), ("c", "0", "0"), ("d", "1", "4"),
    ]  # fmt: skip
    assert float(rows[3]["dice"]) == report.per_image["dice"][3]
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["num_without_lesion"] == 2
    nothing = segmentation_report(truth[1:3], found[1:3], ["b", "c"], num_resamples=10)
    assert value(nothing, "dice_mean_lesion") is None


def test_saliency_metrics_of_a_counted_case():
    mask = masks((0, 2, 0, 2), (0, 2, 0, 2), (0, 2, 0, 2))  # 4 pixels of 64
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0, 0, 0:4] = [1.0, 0.75, 0.75, 0.5]  # salient: 3, of which 2 on the lesion
    maps[1, 0, 1:3] = 1.0  # two maxima, one on the lesion
    report = saliency_report(maps, mask, list("abc"), num_resamples=50)
    expected = {
        "iou": [2 / 5, 1 / 5, 0],
        "soft_iou": [1.75 / (3 + 4 - 1.75), 1 / 5, 0],
        "pointing": [1, 0.5, 0],
        "energy": [1.75 / 3, 0.5, 0],
        "pointing_at_middle": [0, 0, 0],
        "energy_of_even_map": [1 / 16] * 3,
    }
    for name, numbers in expected.items():
        np.testing.assert_allclose(report.per_image[name], numbers, rtol=1e-6, err_msg=name)
        assert value(report, name) == pytest.approx(np.mean(numbers))
    assert value(report, "overlap") == pytest.approx(3 / 5)
    assert report.num_empty_maps == 1
    assert "0 everywhere, counted as 0: 1 image" in report.describe()


def test_overlaps_are_those_of_the_losses():
    rng = np.random.default_rng(0)
    maps, mask = rng.random((6, 10, 10)).astype(np.float32), rng.random((6, 10, 10)) < 0.3
    mask[4], maps[2] = False, 0
    report = saliency_report(maps, mask, list("abcdef"), num_resamples=2)
    assert value(report, "soft_iou") == pytest.approx(float(soft_overlap(maps, mask.astype(np.float32))), rel=1e-5)
    assert value(report, "overlap") == pytest.approx(float(published_overlap(maps, mask.astype(np.float32))), rel=1e-5)


@pytest.mark.parametrize(("size", "corner", "expected"), [(8, 4, 0.25), (9, 4, 1.0), (8, 5, 0.0)])
def test_a_map_that_points_at_the_middle(size, corner, expected):
    mask = masks((corner, size, corner, size), size=size)
    report = saliency_report(np.zeros((1, size, size)), mask, ["a"], num_resamples=2)
    assert value(report, "pointing_at_middle") == expected


def test_images_without_a_lesion_have_nothing_to_point_at(tmp_path):
    mask = masks((0, 2, 0, 2), None)
    maps = np.where(mask, 1.0, 0.0)
    maps[1, 3, 3] = 1.0
    report = saliency_report(maps, mask, ["a", "b"], num_resamples=20)
    assert (report.num_images, report.num_left_out, report.num_empty_maps) == (1, 1, 0)
    assert value(report, "iou") == 1
    assert value(report, "overlap") == pytest.approx(4 / 5)  # pooled over all images
    report.write(tmp_path)
    rows = list(csv.DictReader((tmp_path / "per_image.csv").open()))
    assert (rows[0]["iou"], rows[1]["iou"], rows[1]["has_lesion"]) == ("1.0", "", "0")
    nothing = saliency_report(maps[1:], mask[1:], ["b"], num_resamples=20)
    assert value(nothing, "iou") is None
    nothing.write(tmp_path / "nothing")
    assert json.loads((tmp_path / "nothing/metrics.json").read_text())["num_left_out"] == 1


@pytest.mark.parametrize("wrong", [np.nan, -0.1, 1.1])
def test_what_is_no_saliency_map_is_refused(wrong):
    maps = np.zeros((2, 8, 8))
    maps[1, 2, 2] = wrong
    with pytest.raises(DataError, match=r"second.*lies in"):
        saliency_report(maps, masks((0, 2, 0, 2), (0, 2, 0, 2)), ["first", "second"], num_resamples=2)


@pytest.mark.parametrize("report", [saliency_report, segmentation_report])
def test_groups_widen_the_intervals_of_images_too(report):
    rng = np.random.default_rng(0)
    truth = masks(*[(1, 6, 1, 6)] * 60)
    found = truth & (rng.random((60, 1, 1)) < 0.6) & (rng.random((60, 8, 8)) < 0.8)
    name = "iou" if report is saliency_report else "dice_mean"
    first = found.astype(np.float32) if report is saliency_report else truth
    arguments = (first, truth if report is saliency_report else found)
    arguments = tuple(one.repeat(4, axis=0) for one in arguments)
    names = [str(number) for number in range(240)]
    grouped = report(*arguments, names, [str(number) for number in np.arange(60).repeat(4)])
    assert width(grouped, name) > 1.6 * width(report(*arguments, names), name)
