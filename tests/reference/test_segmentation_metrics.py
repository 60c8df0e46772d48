"""Segmentation metrics over all pixels against numbers recorded from the original, in float32."""

import numpy as np
import pytest

from classifier_segment.evaluation.segmentation import METRICS, segmentation_report
from tests.golden_files import golden_files

FILES = golden_files("classifier_segment*.npz")
RECORDED = "segmetrics/pixelacc_dice_precision_specificity_recall_jaccard"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_pooled_metrics_are_the_recorded_ones(path):
    with np.load(path) as data:
        truth, logits, expected = data["segmetrics/mask"][:, 0], data["segmetrics/logits"][:, 0], data[RECORDED]
    assert truth.ndim == 3
    names = [str(number) for number in range(len(truth))]
    report = segmentation_report(truth > 0.5, logits > 0, names, num_resamples=10)  # a sigmoid above 0.5
    found = [report.metrics()[f"{name}_pooled"]["value"] for name in METRICS]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    without_epsilon = 2 * (truth * (logits > 0)).sum() / (truth.sum() + (logits > 0).sum())
    assert list(METRICS).index("dice") == 1
    assert abs(without_epsilon - expected[1]) < 1e-6, "or the tolerance above means nothing"
