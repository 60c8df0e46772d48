"""Label consistency: does the real classifier find in synthetic images the labels that they were made with?"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmark.gates.classifiers import REAL, Classifier, classifiers
from benchmark.gates.inputs import VerdictInputs
from benchmark.gates.model import Measure, Outcome, decide
from benchmark.gates.paired import PairedTest
from medsynth.classify.data import read_split
from medsynth.classify.evaluation.evaluate import interval
from medsynth.classify.evaluation.predictions import read_predictions
from medsynth.classify.evaluation.statistics import Floats
from medsynth.classify.evaluation.summary import number
from medsynth.data.wording import listed
from medsynth.files import make_folder, sha256_of, write_array
from medsynth.networks.trained_classifier import read_classifier

KEY, TITLE = "label_consistency", "label consistency: AUROC of the real classifier on real minus on synthetic images"
SCORES_FOLDER = "scores"
FEWEST_CASES = 10  # as the classifiers' tests need of a label
_BATCH_SIZE = 50
_TEST = "test"


def label_consistency(inputs: VerdictInputs, thresholds: Mapping[str, float]) -> Measure:
    """Measure how much worse the real classifier tells the labels of synthetic images than those of real test images.

    Args:
        inputs: With labels. Scores of synthetic images are kept in inputs.out_dir.
        thresholds: The section `fidelity`.

    Raises:
        NetworkError: Weights that are missing, damaged or of another network.
    """
    real = classifiers(inputs)[REAL]
    if not real.is_tested or real.is_outdated or _TEST not in inputs.held_out:
        reason = "It takes a real classifier that was trained on the images as they are now, and tested."
        return Measure(KEY, TITLE, None, None, None, 0, "synthetic images", outcome=Outcome.INSUFFICIENT, reason=reason)
    split = next(name for name in (_TEST, "valid", "train") if name in inputs.synthetic)
    truth, scores = _scores_of_synthetic(inputs, real, inputs.synthetic_dir / split)
    return compare_consistency(
        PairedTest.of([read_predictions(real.test_folder)]), truth, scores, thresholds, inputs.seed
    )


def _scores_of_synthetic(inputs: VerdictInputs, real: Classifier, folder: Path) -> tuple[Floats, Floats]:
    """Return labels and scores of a synthetic split in record order, [N, L] each; computed once."""
    trained = read_classifier(real.results)
    split = read_split(folder, inputs.resolution)
    trained.require_labels(split.names, folder)
    name = f"{folder.name}-{sha256_of(trained.weights)[:16]}-{split.records.digest[:16]}.npy"
    path = make_folder(inputs.out_dir / SCORES_FOLDER) / name
    if path.is_file():
        scores = np.load(path, allow_pickle=False)
        if scores.shape == split.labels.shape:
            return split.labels.astype(np.float64), scores.astype(np.float64)

    from medsynth.classify.trainer import score  # noqa: PLC0415  (loads TensorFlow)

    scores = score(trained, trained.build(), split, _BATCH_SIZE)
    write_array(path, scores)
    return split.labels.astype(np.float64), scores.astype(np.float64)


def compare_consistency(
    test: PairedTest, truth: Floats, scores: Floats, thresholds: Mapping[str, float], seed: int
) -> Measure:
    """Return the loss of mean AUROC from real to synthetic images, whose resamples have nothing to do with each other.

    Args:
        test: The real classifier on real test images.
        truth: Labels that synthetic images were made with, 0 or 1, [N, L].
        scores: Of the real classifier on these images, [N, L].
        thresholds: The section `fidelity`.
        seed: Of the resamples.
    """
    synthetic = PairedTest(test.names, truth, (scores,), np.arange(len(truth)), "synthetic images")
    labels = np.minimum(np.minimum(*test.cases()), np.minimum(*synthetic.cases())) >= FEWEST_CASES
    num, unit = len(truth), "synthetic images"
    if not labels.any():
        reason = f"No label has {FEWEST_CASES} cases with and without it among real test and synthetic images."
        return Measure(KEY, TITLE, None, None, None, num, unit, outcome=Outcome.INSUFFICIENT, reason=reason)
    on_real, on_synthetic = test.mean_aurocs(labels, seed)[0], synthetic.mean_aurocs(labels, seed + 1)[0]
    losses = on_real - on_synthetic
    loss, reference = interval(float(losses[0]), losses[1:]), interval(float(on_real[0]), on_real[1:])
    margin, limit = thresholds["consistency_margin"], thresholds["reference_auroc"]
    outcome, more = decide(loss.value, loss.low, loss.high, margin, "at most", num)
    names = listed([name for name, is_kept in zip(test.names, labels, strict=True) if is_kept])
    reason = f"{on_real[0]:.3f} on real, {on_synthetic[0]:.3f} on synthetic images, over {names}."
    known, _ = decide(reference.value, reference.low, reference.high, limit, "at least", test.num_units)
    if known is not Outcome.PASS and outcome is not Outcome.FAIL:
        outcome, more = Outcome.INSUFFICIENT, None
        reason += f" The real classifier is not shown to reach {limit:g} on real images, so it is no judge of labels."
    elif more is not None:
        reason += f" About {more:,} more images of either kind would be likely to decide, if the estimate stays."
    return Measure(
        KEY, TITLE, loss.value, number(loss.low), number(loss.high), num, unit, margin, "at most", outcome, reason, more
    )
