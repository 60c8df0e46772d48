"""The privacy gate: do the synthetic images give away whose images the GAN has learnt from?

It holds synthetic images against real ones of patients who are not in the training data. Without such patients nothing
tells near from far, and it says insufficient, whatever is found.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Literal

from scipy.stats import binom

from benchmark.gates.classifiers import REAL, classifiers, commands_for
from benchmark.gates.filtering import price_of_privacy
from benchmark.gates.inputs import VerdictInputs
from benchmark.gates.model import Gate, Measure, Outcome, combine, decide
from benchmark.gates.privacy_evidence import (
    FEWEST_IMAGES,
    FEWEST_PATIENTS,
    Evidence,
    PrivacyData,
    Space,
    gather,
    has_enough_held_out,
    read_data,
)
from benchmark.gates.privacy_pictures import draw_pictures
from medsynth.classify.evaluation.evaluate import Interval, proportion
from medsynth.classify.neighbours.membership import CONTROLS_FOR_LEVEL, Attack, Rate
from medsynth.classify.neighbours.memorisation import Comparison
from medsynth.data.wording import counted, listed

KEY = "privacy"
QUESTION = "Do the synthetic images give away whose images the GAN has learnt from?"
PASSED = "No memorisation found by these attacks at this power; it is no guarantee of anonymity."
PATIENTS, IMAGES = "held-out patients", "synthetic images"
POWER, ATTACKS, FALSE_ALARMS = "planted copies found", "attack without calibration", "false alarms, measured"
# What any search for copies must find; the other kinds are shown and decide nothing.
MUST_FIND = ("identical", "mirrored", "jpeg 75", "mirrored, jpeg 75")
_SPACES = {
    "features": "by features",
    "pixels": "by pixels",
    "rows": "by rows",
    "pairs": "by image and row together",
}


def judge_privacy(inputs: VerdictInputs, thresholds: Mapping[str, float]) -> Gate:
    """Judge whether synthetic images are nearer to the training images than new images of other patients would be.

    Args:
        inputs: What is judged. What is computed once is kept in inputs.out_dir.
        thresholds: The section `privacy` of the thresholds.

    Returns:
        The gate; never a pass where there are no held-out patients, or where it is not known that they are others.

    Raises:
        DataError: Damaged data.
        NetworkError: Weights that are missing, damaged or of another network.
        StepFailedError: A classifier of the filter could not be trained.
    """
    if not inputs.held_out:
        reason = "Real images of patients who are not in the training data are needed, and there are none."
        return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, reason)
    data = read_data(inputs)
    if not has_enough_held_out(data):
        return _too_few(data)
    evidence = gather(inputs, data)
    measures = judge_evidence(evidence, thresholds, data.num_held_out_patients)
    measures.insert(0, _known_patients(inputs, data.num_held_out_patients))
    if inputs.is_trained_on is False:
        measures.insert(0, _other_training_images(inputs, len(data.train.data)))
    pictures = draw_pictures(inputs, data, evidence)
    notes = _notes(inputs, data, evidence, measures)
    if inputs.filter:
        price = price_of_privacy(inputs, data, evidence, thresholds)
        measures += price.measures
        pictures += price.pictures
        notes += price.notes
    outcome = combine(measures)
    commands: tuple[str, ...] = ()
    if inputs.extractor is None and inputs.label_names:
        commands = commands_for(inputs, [classifiers(inputs)[REAL]])
    return Gate(KEY, QUESTION, outcome, reason_for(outcome, measures), measures, notes, pictures, commands)


def judge_evidence(evidence: Evidence, thresholds: Mapping[str, float], num_patients: int) -> list[Measure]:
    """Return the figures, those that decide first.

    Args:
        evidence: What was measured.
        thresholds: The section `privacy`.
        num_patients: Held-out patients.
    """
    measures = [
        _excess("distance", evidence.distances, thresholds, num_patients),
        _excess("ratio", evidence.ratios, thresholds, num_patients),
        _nearer_than_any("distance", evidence.distances, thresholds),
        _nearer_than_any("ratio", evidence.ratios, thresholds),
        *_near_copies(evidence, thresholds),
    ]
    for space in evidence.spaces:
        measures += _attack(space, thresholds, num_patients)
    measures += _power(evidence, thresholds)
    for space in evidence.spaces:
        measures += _shown(space, num_patients)
    alarms = evidence.alarms
    title = "held-out images below the 5th percentile of the other half of the patients"
    measures.append(_plain("false_alarms", title, alarms, num_patients, PATIENTS, FALSE_ALARMS))
    return measures


def _known_patients(inputs: VerdictInputs, num_patients: int) -> Measure:
    """Return what keeps the gate from passing where patients are not known."""
    title = "held-out patients, known not to be in the training data"
    if inputs.patients_known:
        return Measure("held_out_patients", title, float(num_patients), None, None, num_patients, PATIENTS)
    reason = (
        "Whose images these are is not known, so training and held-out images may be of the same patients. Build the "
        "dataset with a column of patients."
    )
    return Measure("held_out_patients", title, None, None, None, num_patients, "held-out images",
                   outcome=Outcome.INSUFFICIENT, reason=reason)  # fmt: skip


def _other_training_images(inputs: VerdictInputs, num_images: int) -> Measure:
    """Return what keeps the gate from passing where the GAN learnt from other images than those at hand."""
    reason = (
        f"The {inputs.application} was trained on other images than {inputs.data_dir / 'train'} holds now: whom it "
        "learnt by heart can be found among its own training images alone."
    )
    return Measure("training_images", "real images that the GAN was trained on", None, None, None, num_images,
                   "training images", outcome=Outcome.INSUFFICIENT, reason=reason)  # fmt: skip


def _decided(
    key: str, title: str, one: Interval, threshold: float, num: int, *, reason: str = "", unit: str = PATIENTS
) -> Measure:
    """Return a figure that is to lie below its threshold."""
    outcome, more = decide(one.value, one.low, one.high, threshold, "at most", num)
    return Measure(key, title, one.value, one.low, one.high, num, unit, threshold, "at most", outcome, reason, more)


def _plain(key: str, title: str, one: Interval, num: int, unit: str, group: str) -> Measure:
    """Return a figure that decides nothing."""
    return Measure(key, title, one.value, one.low, one.high, num, unit, group=group)


def _excess(kind: Literal["distance", "ratio"], one: Comparison, thresholds: Mapping[str, float], num: int) -> Measure:
    """Return by how much more synthetic images lie too near than new images would."""
    share = one.share
    above = Interval(share.value - one.expected, share.low - one.expected, share.high - one.expected)
    title = (
        f"synthetic images nearer to a training image than 95 % of held-out ones, by {kind}, beyond what is expected"
    )
    reason = f"{share.value:.1%} of {one.num_images:,} synthetic images, {one.expected:.1%} expected."
    return _decided(f"excess_share_{kind}", title, above, thresholds["excess_share"], num, reason=reason)


def _nearer_than_any(kind: Literal["distance", "ratio"], one: Comparison, thresholds: Mapping[str, float]) -> Measure:
    """Return the chance of as many synthetic images nearer than every held-out one."""
    least = thresholds["nearer_than_any_chance"]
    outcome = Outcome.PASS if one.below_all_chance >= least else Outcome.FAIL
    title = f"chance of so many images nearer than every held-out one, by {kind}, if they were new"
    reason = f"{one.num_below_all:,} of {one.num_images:,} synthetic images; {one.below_all_expected:.1f} expected."
    chance = max(one.below_all_chance, sys.float_info.min)  # a product of many chances ends as 0, which it is not
    return Measure(f"nearer_than_any_{kind}", title, chance, None, None, one.num_images, IMAGES,
                   least, "at least", outcome, reason)  # fmt: skip


def _near_copies(evidence: Evidence, thresholds: Mapping[str, float]) -> list[Measure]:
    """Return the share of near-copies by pixels; it fails where even its lower end exceeds that of false alarms.

    It passes where none is found, or no more than among the held-out images: that fewer than one in a thousand are
    copies could be shown from 3,700 images on alone.
    """
    if evidence.copies is None or evidence.held_out_copies is None:
        return []
    copies, num = int(evidence.copies.is_copy.sum()), len(evidence.copies.originals)
    controls, num_controls = int(evidence.held_out_copies.is_copy.sum()), len(evidence.held_out_copies.originals)
    rate = thresholds["near_copy_rate"]
    if controls:
        rate = max(rate, round(proportion(controls, num_controls).high, 4))
    share = proportion(copies, num)
    chance = float(binom.sf(copies - 1, num, rate))
    reason = (
        f"{copies:,} of {num:,} synthetic images, {controls:,} of {num_controls:,} held-out ones; chance of as many "
        f"false alarms: {chance:.2g}. Any one of them is worth a look."
    )
    outcome = copies_outcome(share, rate, controls, thresholds)
    title = "synthetic images that are copies of a training image by their pixels"
    return [Measure("near_copies", title, share.value, share.low, share.high, num, IMAGES,
                    rate, "at most", outcome, reason)]  # fmt: skip


def copies_outcome(share: Interval, limit: float, num_controls: int, thresholds: Mapping[str, float]) -> Outcome:
    """Return what a share of copies says: it fails where even its lower end exceeds the limit.

    Where some were found, none among the held-out cases, and no more than false alarms cannot be shown either, it is
    open: a limit that is high only since held-out cases are few excuses nothing.

    Args:
        share: Of the synthetic cases that are copies.
        limit: The share that happens by chance, at most.
        num_controls: Held-out cases that were taken for copies.
        thresholds: The section `privacy`.
    """
    if share.low > limit:
        return Outcome.FAIL
    is_open = share.value > 0 and not num_controls and share.high > thresholds["near_copy_rate"]
    return Outcome.INSUFFICIENT if is_open else Outcome.PASS


def _attack(space: Space, thresholds: Mapping[str, float], num: int) -> list[Measure]:
    """Return what the calibrated attack finds: AUC, and members found at the fewest false positives that n allows."""
    way, attack = _SPACES[space.name], space.calibrated
    reason = f"{attack.num_members:,} training images against {attack.num_controls:,} held-out ones."
    title = f"AUC of the membership attack {way}"
    auc = _decided(f"membership_auc_{space.name}", title, attack.auc, thresholds["membership_auc"], num, reason=reason)
    if attack.auc.high < 1 - thresholds["membership_auc"]:
        # As far below a coin as would fail above it: what is told apart are the images, not who is a member.
        reason = f"{reason} Held-out images are found instead of training images, so the two differ in themselves."
        auc = dataclasses.replace(auc, outcome=Outcome.INSUFFICIENT, reason=reason)
    measures = [auc]
    deciding = next(iter(attack.rates), None)
    for level in CONTROLS_FOR_LEVEL:
        measures.append(_found(space.name, attack, level, thresholds, num, decides=level == deciding))
    return measures


def _found(
    name: str, attack: Attack, level: float, thresholds: Mapping[str, float], num: int, *, decides: bool
) -> Measure:
    """Return the members found at one rate of false positives."""
    percent = round(100 * level)
    key = f"found_at_{percent}_percent"
    title = f"members found at {percent} % false positives {_SPACES[name]}"
    rate = attack.rates.get(level)
    if rate is None:
        return Measure(f"{key}_{name}", title, None, None, None, num, PATIENTS, reason=attack.missing[level])
    one = rate.true_positives
    if not decides:
        return _plain(f"{key}_{name}", title, one, num, PATIENTS, "")
    return _decided(f"{key}_{name}", title, one, thresholds[key], num, reason=_measured(rate))


def _measured(rate: Rate) -> str:
    false = rate.false_positives
    return (
        f"Of {rate.num_measured:,} controls that set no threshold, {false.value:.1%} were called members "
        f"[{false.low:.1%}, {false.high:.1%}]."
    )


def _power(evidence: Evidence, thresholds: Mapping[str, float]) -> list[Measure]:
    """Return the share of planted copies that the searches find; too few of the plain kinds leave the gate open."""
    least = thresholds["planted_found"]
    measures = []
    for planted in evidence.planted:
        ways = {"distance": planted.by_distance, "ratio": planted.by_ratio, "pixels": planted.by_pixels}
        way, best = max(
            ((name, one) for name, one in ways.items() if one is not None), key=lambda entry: entry[1].value
        )
        key, title = f"planted {planted.alteration}", f"planted copies found, {planted.alteration}"
        reason = "; ".join(f"{one.value:.0%} by {name}" for name, one in ways.items() if one is not None) + "."
        if planted.alteration not in MUST_FIND:
            measures.append(
                Measure(key, title, best.value, best.low, best.high, planted.num_planted, "copies",
                        group=POWER, reason=reason)
            )  # fmt: skip
            continue
        outcome, more = decide(best.value, best.low, best.high, least, "at least", planted.num_planted)
        if outcome is Outcome.FAIL:
            outcome = Outcome.INSUFFICIENT  # a search that is blind shows nothing about the images
        measures.append(
            Measure(key, title, best.value, best.low, best.high, planted.num_planted, "copies",
                    least, "at least", outcome, f"Best by {way}: {reason}", more, POWER)
        )  # fmt: skip
    return measures


def _shown(space: Space, num: int) -> list[Measure]:
    """Return what decides nothing: the plain attack, and how often controls are called members."""
    way = _SPACES[space.name]
    measures = [
        _plain(f"plain_auc_{space.name}", f"AUC of the distance to the nearest synthetic image {way}",
               space.plain.auc, num, PATIENTS, ATTACKS)
    ]  # fmt: skip
    for level, rate in space.plain.rates.items():
        percent = round(100 * level)
        measures.append(
            _plain(f"plain_found_at_{percent}_percent_{space.name}",
                   f"members found at {percent} % false positives {way}",
                   rate.true_positives, num, PATIENTS, ATTACKS)
        )  # fmt: skip
    for attack, kind in ((space.calibrated, "calibrated"), (space.plain, "plain")):
        for level, rate in attack.rates.items():
            percent = round(100 * level)
            measures.append(
                _plain(f"false_positives_{kind}_{percent}_percent_{space.name}",
                       f"controls called members at {percent} % nominal, {kind} attack {way}",
                       rate.false_positives, rate.num_measured, "held-out images", FALSE_ALARMS)
            )  # fmt: skip
    return measures


def _notes(inputs: VerdictInputs, data: PrivacyData, evidence: Evidence, measures: Sequence[Measure]) -> list[str]:
    num_deciding = sum(measure.outcome is not None for measure in measures)
    others = "images" if not inputs.patients_known else "patients"
    notes = [
        f"{counted(num_deciding, 'figure')} decide, each by its own 95 % interval; one that fails is enough. Limits "
        "are chosen so that new images of other patients seldom fail any of them.",
        f"Images are compared by {listed([space.label for space in evidence.spaces])}; distances and ratios by the "
        "first.",
        f"Thresholds of the attacks are set on one half of the {data.num_held_out_patients:,} held-out {others}, false "
        "positives measured on the other.",
        "The attack that decides holds the distance to the nearest synthetic image against that to the nearest "
        "held-out image of others, so that training and held-out images that differ in themselves are not taken for "
        "memory.",
    ]
    for space in evidence.spaces:
        for level, rate in space.calibrated.rates.items():
            false = rate.false_positives
            if not false.low <= level <= false.high:
                notes.append(
                    f"At {level:.0%} false positives {_SPACES[space.name]}, {false.value:.1%} of other held-out images "
                    "were called members, and the interval leaves out the nominal rate. One in twenty does by chance; "
                    "else the two halves of the held-out patients differ."
                )
    if evidence.copies is None:
        notes.append("Images are too small to be searched for copies by their pixels (32 pixels a side are needed).")
    if inputs.extractor is None:
        notes.append("There is no network to compare images by, so pixels stand in for its features.")
    return notes


def reason_for(outcome: Outcome, measures: Sequence[Measure]) -> str:
    """Return why the gate says what it says."""
    if outcome is Outcome.PASS:
        return PASSED
    titles = [measure.title for measure in measures if measure.outcome is outcome]
    num_deciding = sum(measure.outcome is not None for measure in measures)
    if outcome is Outcome.FAIL:
        return f"{len(titles)} of {counted(num_deciding, 'figure')} lie beyond the limit, the first: {titles[0]}."
    return f"{len(titles)} of {counted(num_deciding, 'figure')} are open and none fails, the first: {titles[0]}."


def _too_few(data: PrivacyData) -> Gate:
    num_patients, num_images = data.num_held_out_patients, len(data.held_out.data)
    reason = (
        f"Held-out images of {FEWEST_PATIENTS} patients or more are needed, {FEWEST_IMAGES} images at the least, for "
        f"any interval; there are {counted(num_images, 'image')} of {counted(num_patients, 'patient')}."
    )
    needed = max(FEWEST_PATIENTS - num_patients, math.ceil((FEWEST_IMAGES / num_images - 1) * num_patients))
    measure = Measure("held_out_patients", "held-out patients", None, None, None, num_patients, PATIENTS,
                      outcome=Outcome.INSUFFICIENT, reason=reason, more_needed=needed)  # fmt: skip
    return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, reason, [measure])
