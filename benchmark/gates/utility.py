"""The utility gate: is what a classifier learns from the synthetic images as good as what it learns from the real ones?

Two classifiers, alike but for their training images, are tested on the same real images. What decides is the
difference of their mean AUROC (non-inferiority); that the real one is better than chance must be shown first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchmark.gates.classifiers import BOTH, REAL, SYNTHETIC, Classifier, classifiers, commands_for
from benchmark.gates.inputs import VerdictInputs
from benchmark.gates.model import Gate, Measure, Outcome, Picture, combine, decide
from benchmark.gates.paired import PairedTest
from benchmark.gates.subgroups import read_subgroups, subgroup_measures
from medsynth.classify.evaluation.evaluate import ECE, MEAN, METRICS, Evaluation, Interval
from medsynth.classify.evaluation.predictions import Predictions, read_predictions
from medsynth.classify.evaluation.statistics import are_probabilities
from medsynth.classify.evaluation.summary import number
from medsynth.data.labels import read_label_table
from medsynth.data.wording import counted, listed
from medsynth.errors import DataError
from medsynth.files import make_folder
from medsynth.progress import Progress
from medsynth.report.figures import Series, comparison_figure

KEY = "utility"
QUESTION = "Does a classifier learn as much from the synthetic images as from the real ones?"
PER_LABEL, CALIBRATION, JOINED = "per label", "calibration", "real and synthetic images together"
_TEST = "test"
_AUROC = "auroc"
_CONFIDENCE = 0.95
_FIRST, _SECOND, _THIRD = 0, 1, 2  # real, synthetic, both


def judge_utility(inputs: VerdictInputs, thresholds: Mapping[str, float]) -> Gate:
    """Judge what the synthetic images are worth for training; trains nothing.

    Args:
        inputs: What is judged.
        thresholds: The section `utility` of the thresholds.

    Returns:
        The gate. Where a classifier is missing it is insufficient, and `commands` say what to run.

    Raises:
        DataError: Damaged results, results on other images than data_dir/test, or metadata that cannot be used.
    """
    if not inputs.label_names:
        reason = f"{inputs.application} makes images without labels, so that no classifier can be trained on them."
        return Gate(KEY, QUESTION, Outcome.NOT_APPLICABLE, reason)
    found = classifiers(inputs)
    wanting = [one for one in found.values() if not one.is_tested or one.is_outdated]
    commands = commands_for(inputs, [one for one in wanting if not one.is_outdated])
    obstacles = _obstacles(inputs, [one for one in wanting if one.key != BOTH])
    if obstacles:
        return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, " ".join(obstacles), commands=commands)
    results = [read_predictions(one.test_folder) for one in found.values() if one not in wanting]
    _require_current(inputs, results[_FIRST])
    gate = judge_predictions(inputs, results, thresholds)
    notes = [*gate.notes, *(_outdated(one) for one in wanting if one.is_outdated)]
    if found[BOTH] in wanting and not found[BOTH].is_outdated:
        notes.append("No classifier was trained on real and synthetic images together; the last command does it.")
    return replace(gate, notes=notes, commands=commands)


def _obstacles(inputs: VerdictInputs, wanting: Sequence[Classifier]) -> list[str]:
    """Return why nothing can be judged, a sentence each."""
    if _TEST not in inputs.held_out:
        return ["Real test images of patients who are not in the training data are needed, and there are none."]
    missing = [one.key for one in wanting if not one.is_outdated]
    sentences = [_outdated(one) for one in wanting if one.is_outdated]
    if missing:
        sentences.append(f"There is no tested classifier of {' and none of '.join(missing)} images yet.")
    return sentences


def _outdated(classifier: Classifier) -> str:
    return (
        f"The classifier in {classifier.results} was trained on other images than there are now; remove that folder "
        "and train it again."
    )


def _require_current(inputs: VerdictInputs, result: Predictions) -> None:
    """Refuse a test on images that are not those of data_dir/test.

    Raises:
        DataError: It is one.
    """
    table = read_label_table(inputs.data_dir / _TEST)
    if result.paths != table.paths or result.names != table.names:
        raise DataError(
            f"The classifier was tested on other images than {inputs.data_dir / _TEST} holds now; test it again.",
            received=f"{counted(len(result.paths), 'image')} with labels {listed(result.names)}",
            path=result.folder,
        )


def judge_predictions(inputs: VerdictInputs, results: Sequence[Predictions], thresholds: Mapping[str, float]) -> Gate:
    """Judge tested classifiers.

    Args:
        inputs: What is judged.
        results: Of the real, the synthetic, and perhaps the classifier of both.
        thresholds: The section `utility`.

    Raises:
        DataError: They were tested on different images, or the metadata cannot be used.
    """
    test = PairedTest.of(results)
    enough, notes = _sufficient_labels(test, round(thresholds["fewest_cases"]))
    obstacle = _too_few(test, enough, thresholds)
    if obstacle is not None:
        return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, obstacle.reason, [obstacle], notes)
    test = test.with_labels(enough)
    progress = Progress("utility", len(test.scores) * len(test.names), "labels")
    evaluation = test.evaluate(inputs.seed, progress)
    progress.close()
    measures = [
        _difference(test, evaluation, thresholds["margin"]),
        _reference(test, evaluation, thresholds["reference_auroc"]),
        _shown(test, evaluation, _AUROC, _SECOND, "auroc_synthetic", "mean AUROC, trained on synthetic images"),
    ]
    measures += _per_label(test, evaluation, thresholds["label_margin"])
    if len(results) > _THIRD:
        measures += _joined(test, evaluation)
    measures += _calibration(test, evaluation)
    if inputs.metadata is not None:
        limits = (thresholds["age_middle_from"], thresholds["age_old_from"])
        subgroups = read_subgroups(inputs.metadata, results[_FIRST].paths, results[_FIRST].names, limits)
        measures += subgroup_measures(subgroups, test, thresholds, inputs.seed)
        notes += subgroups.notes
    notes += _notes(test, results)
    outcome = combine(measures)
    reason = _reason(outcome, measures, test)
    return Gate(KEY, QUESTION, outcome, reason, measures, notes, [_picture(inputs, test, evaluation, results)])


def _sufficient_labels(test: PairedTest, fewest: int) -> tuple[np.ndarray, list[str]]:
    """Return which labels have enough cases, [L], and a note that names the others."""
    with_label, without = test.cases()
    enough = (with_label >= fewest) & (without >= fewest)
    few = [
        f"{name} ({present:,} with it, {absent:,} without)"
        for name, present, absent, is_enough in zip(test.names, with_label, without, enough, strict=True)
        if not is_enough
    ]
    if not few:
        return enough, []
    return enough, [f"Left out, with fewer than {fewest} test {test.unit} with or without the label: {listed(few)}."]


def _too_few(test: PairedTest, enough: np.ndarray, thresholds: Mapping[str, float]) -> Measure | None:
    """Return what is missing where the test is too small for any interval, or None."""
    fewest_units, fewest_cases = round(thresholds["fewest_patients"]), round(thresholds["fewest_cases"])
    missing_units = fewest_units - test.num_units
    if missing_units > 0:
        reason = f"An interval needs {fewest_units} test {test.unit}, and there are {test.num_units}."
        return _obstacle(test, missing_units, f"{reason} At least {missing_units} more are needed.")
    if not enough.any():
        more = fewest_cases - int(np.minimum(*test.cases()).max())
        reason = f"No label has {fewest_cases} test {test.unit} with it and as many without."
        return _obstacle(test, more, f"{reason} At least {more} such cases more are needed.")
    return None


def _obstacle(test: PairedTest, more: int, reason: str) -> Measure:
    return Measure("auroc_difference", "mean AUROC: real minus synthetic", None, None, None, test.num_units, test.unit,
                   outcome=Outcome.INSUFFICIENT, reason=reason, more_needed=more)  # fmt: skip


def _difference(test: PairedTest, evaluation: Evaluation, margin: float) -> Measure:
    """Return the figure that decides: the loss of mean AUROC, against the margin."""
    loss = evaluation.difference(_AUROC, _SECOND, MEAN)
    outcome, more = decide(loss.value, loss.low, loss.high, margin, "at most", test.num_units)
    half = loss.high - loss.value
    reason = {
        Outcome.PASS: "The whole interval lies below the margin: the loss is shown to be smaller.",
        Outcome.FAIL: "The whole interval lies above the margin: the loss is shown to be larger.",
        Outcome.INSUFFICIENT: f"The margin lies inside the interval. {_more(more, test.unit)}",
    }[outcome]
    if outcome is Outcome.PASS and half > margin:
        more = math.ceil(test.num_units * ((half / margin) ** 2 - 1))
        outcome = Outcome.INSUFFICIENT
        reason = f"The interval is wider than the margin to either side. {_more(more, test.unit)}"
    return Measure(
        "auroc_difference",
        f"mean AUROC over {counted(len(test.names), 'label')}: real minus synthetic",
        *_numbers(loss),
        test.num_units,
        test.unit,
        margin,
        "at most",
        outcome,
        reason,
        more,
    )


def _more(more: int | None, unit: str) -> str:
    if more is None:
        return "No number of cases would be likely to decide, since the estimate lies on the limit."
    return f"About {more:,} more test {unit} would be likely to decide, if the estimate stays."


def _reference(test: PairedTest, evaluation: Evaluation, threshold: float) -> Measure:
    """Return whether the real classifier has learnt enough for a loss to show; where it has not, the gate is open."""
    known = evaluation.estimate(_AUROC, _FIRST, MEAN)
    outcome, more = decide(known.value, known.low, known.high, threshold, "at least", test.num_units)
    reason = {
        Outcome.PASS: "The real classifier is shown to be good enough for a loss to show.",
        Outcome.FAIL: "The real classifier has hardly learnt anything, so that there is nothing to lose: it takes more "
        "training images or a longer training, not more test images.",
        Outcome.INSUFFICIENT: f"The real classifier is not shown to be good enough for a loss to show. "
        f"{_more(more, test.unit)}",
    }[outcome]
    return Measure(
        "auroc_real",
        "mean AUROC, trained on real images",
        *_numbers(known),
        test.num_units,
        test.unit,
        threshold,
        "at least",
        Outcome.PASS if outcome is Outcome.PASS else Outcome.INSUFFICIENT,
        reason,
        more,
    )


def _per_label(test: PairedTest, evaluation: Evaluation, threshold: float) -> list[Measure]:
    """Return the loss of each label with intervals that hold for all labels at once.

    An interval reaches as many standard errors to either side as 95 % of the resamples need for their worst label.

    Source: Westfall and Young 1993, "Resampling-Based Multiple Testing", section 2.3 (the largest of studentised
    deviations).
    """
    labels = len(test.names)
    row = list(METRICS).index(_AUROC)
    values = evaluation.values[row, :, :labels]
    resampled = evaluation.resampled[row, :, :labels]
    losses = values[_FIRST] - values[_SECOND]  # [L]
    deviations = resampled[_FIRST] - resampled[_SECOND] - losses[:, None]  # [L, R]
    deviations = deviations[:, np.isfinite(deviations).all(axis=0)]
    errors = deviations.std(axis=1, ddof=1)
    scaled = np.divide(np.abs(deviations), errors[:, None], out=np.zeros_like(deviations), where=errors[:, None] > 0)
    reaches = errors * np.quantile(scaled.max(axis=0), _CONFIDENCE)
    with_label, _ = test.cases()
    measures = []
    for name, loss, reach, present in zip(test.names, losses, reaches, with_label, strict=True):
        is_lost = loss - reach > threshold
        measures.append(
            Measure(
                f"auroc_difference.{name}",
                f"{name}: real minus synthetic (AUROC)",
                *_numbers(Interval(float(loss), float(loss - reach), float(loss + reach))),
                int(present),
                f"{test.unit} with it",
                threshold,
                "at most",
                Outcome.FAIL if is_lost else None,
                "This label is shown to be lost." if is_lost else "",
                group=PER_LABEL,
            )
        )
    return measures


def _joined(test: PairedTest, evaluation: Evaluation) -> list[Measure]:
    """Return what synthetic images add to real ones; it decides nothing."""
    loss = evaluation.difference(_AUROC, _THIRD, MEAN)
    gain = Interval(-loss.value, -loss.high, -loss.low)
    auroc = _shown(test, evaluation, _AUROC, _THIRD, "auroc_both", "mean AUROC, trained on both")
    title = "mean AUROC: real and synthetic together minus real alone"
    return [
        Measure("gain_of_both", title, *_numbers(gain), test.num_units, test.unit, group=JOINED),
        replace(auroc, group=JOINED),
    ]


def _calibration(test: PairedTest, evaluation: Evaluation) -> list[Measure]:
    """Return calibration error and Brier score of each classifier whose scores are probabilities."""
    measures = []
    for metric in (ECE, "brier"):
        for place, key in enumerate((REAL, SYNTHETIC, BOTH)[: len(test.scores)]):
            if are_probabilities(test.scores[place]):
                title = f"{METRICS[metric].title} (mean over labels), trained on {key} images"
                one = _shown(test, evaluation, metric, place, f"{metric}_{key.replace(' ', '_')}", title)
                measures.append(replace(one, group=CALIBRATION))
    return measures


def _shown(test: PairedTest, evaluation: Evaluation, metric: str, place: int, key: str, title: str) -> Measure:
    return Measure(key, title, *_numbers(evaluation.estimate(metric, place, MEAN)), test.num_units, test.unit)


def _numbers(interval: Interval) -> tuple[float | None, float | None, float | None]:
    return number(interval.value), number(interval.low), number(interval.high)


def _reason(outcome: Outcome, measures: Sequence[Measure], test: PairedTest) -> str:
    """Return why the gate says what it says."""
    loss, reference = measures[0], measures[1]
    found = f"the loss of mean AUROC is {_cell(loss)} on {test.num_units:,} real test {test.unit}"
    lost = [one for one in measures if one.group == PER_LABEL and one.outcome is Outcome.FAIL]
    if outcome is Outcome.PASS:
        return (
            f"Synthetic images are as good to train on as real ones, but for the margin of {loss.threshold:g}: {found}."
        )
    if loss.outcome is Outcome.FAIL:
        return f"Training on synthetic images costs more than the margin of {loss.threshold:g}: {found}."
    if lost:
        names = listed([one.key.removeprefix("auroc_difference.") for one in lost])
        return f"Some labels are lost to a classifier of synthetic images: {names}. On the whole, {found}."
    if reference.outcome is not Outcome.PASS:
        return f"{reference.reason} Its mean AUROC is {_cell(reference)}; {found}."
    return f"{loss.reason} Here {found}."


def _cell(measure: Measure) -> str:
    if measure.value is None or measure.low is None or measure.high is None:
        return "not known"
    return f"{measure.value:.3f} (95 % interval {measure.low:.3f} to {measure.high:.3f})"


def _notes(test: PairedTest, results: Sequence[Predictions]) -> list[str]:
    """Return what a reader of these figures must know, a sentence each."""
    notes = [
        f"Intervals come from resampled {test.unit} and hold the choice of test {test.unit} alone, not what a training "
        "with another seed would give.",
        "Intervals per label hold for all labels at once, so they are wider than each alone would be.",
    ]
    if test.unit == "images":
        notes.append("Patients are not known. Where one has several test images, the intervals are too narrow.")
    for key, name in (("initialisation", "started from"), ("image_dimension", "had an input of")):
        values = [str(result.facts.get(key, "unknown")) for result in results]
        if len(set(values)) > 1:
            notes.append(f"The trainings were not alike, so the loss is not that of the images alone: they {name} "
                         f"{' and '.join(values)}.")  # fmt: skip
    unfinished = [
        str(result.facts["trained_on"]) for result in results if not result.facts.get("training_finished", True)
    ]
    if unfinished:
        notes.append(f"The training was not finished: {listed(unfinished)}.")
    return notes


def _picture(
    inputs: VerdictInputs, test: PairedTest, evaluation: Evaluation, results: Sequence[Predictions]
) -> Picture:
    """Return a figure of the classifiers' AUROC, a row per label and the mean."""
    series = []
    for place, result in enumerate(results):
        rows = [evaluation.estimate(_AUROC, place, column) for column in (*range(len(test.names)), MEAN)]
        values = np.array([[one.value, one.low, one.high] for one in rows])
        series.append(Series(f"trained on {result.facts['trained_on']}", *values.T))
    path = make_folder(inputs.out_dir) / "utility.png"
    note = f"95 % intervals from resampled {test.unit}, n = {test.num_units:,}."
    comparison_figure(path, [*test.names, "mean"], series, title="What a classifier learns", note=note)
    means = ", ".join(f"{one.name} {one.values[-1]:.2f}" for one in series)
    return Picture(
        "utility",
        "What a classifier learns from each training set",
        f"AUROC on the same real test images; dashed: chance. {note}",
        f"Dot plot of AUROC with intervals for {counted(len(test.names), 'label')} and their mean. Means: {means}.",
        path.read_bytes(),
    )
