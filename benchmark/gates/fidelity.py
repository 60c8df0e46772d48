"""The fidelity gate: do the synthetic images look like real ones, in all their kinds, and show what their labels say?

Every figure is held against the floor: what as many *other* real images score in place of the synthetic ones. Nothing
is compared with numbers from elsewhere, which depend on features and on n.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmark.gates.classifiers import REAL, classifiers, commands_for
from benchmark.gates.consistency import label_consistency
from benchmark.gates.drawn import DrawnImages, draw_images
from benchmark.gates.inputs import VerdictInputs
from benchmark.gates.model import Gate, Measure, Outcome, Picture, Sense, combine, decide
from medsynth.classify.evaluation.summary import number
from medsynth.data.alterations import blurred
from medsynth.data.tfrecords import Images
from medsynth.data.wording import listed
from medsynth.files import make_folder
from medsynth.metrics.cache import FeatureCache
from medsynth.metrics.catalogue import METRICS, MINIMUM_IMAGES
from medsynth.metrics.evaluate import ImageSet, evaluate
from medsynth.metrics.features import Extractor, features_with_progress, load_extractor
from medsynth.metrics.frechet import frechet_estimates
from medsynth.metrics.intervals import NUM_BLOCKS, Estimate, jackknife_estimate
from medsynth.metrics.kernel import kid_values
from medsynth.metrics.manifold import manifold_values, realism_scores
from medsynth.metrics.sliced_wasserstein import SMALLEST_RESOLUTION
from medsynth.progress import Progress
from medsynth.report.grids import image_grid_png

Features = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]

KEY = "fidelity"
QUESTION = "Do the synthetic images look like real ones, in all their kinds?"
AS_MEASURED, FLOOR = "as measured", "floor: other real images in place of the synthetic ones"
HALVED = "other real images at half their resolution in place of the synthetic ones"
UNIT = "images of each set"
CACHE_FOLDER = "features"
_SHARES = ("precision", "recall", "coverage")
_RANGES = {**dict.fromkeys(_SHARES, (0.0, 1.0)), "density": (0.0, math.inf)}
_NUM_SHOWN, _NUM_COLUMNS, _SHOWN_SIZE = 24, 8, 96
_MOST_REALISM = 99.99  # a copy's is infinite
_HALVED = "real images at half their resolution"
_ENDINGS = {AS_MEASURED: "", FLOOR: "_floor", HALVED: "_halved"}


@dataclass(frozen=True)
class FeatureSets:
    """Features of as many images each, n of them; those of one patient are neighbours.

    Attributes:
        real: Of real images, [n, D].
        other: Of other real images, [n, D]: the floor.
        halved: Of these other ones at half their resolution, [n, D].
        synthetic: Of synthetic images, [n, D].
    """

    real: Features
    other: Features
    halved: Features
    synthetic: Features


def judge_fidelity(inputs: VerdictInputs, thresholds: Mapping[str, float]) -> Gate:
    """Judge how the synthetic images compare with real ones that the GAN has not seen.

    Args:
        inputs: What is judged. What is computed once is kept in inputs.out_dir.
        thresholds: The section `fidelity` of the thresholds.

    Returns:
        The gate; insufficient where there are too few images, no held-out ones, or no features to compare them by.

    Raises:
        DataError: Damaged data.
        NetworkError: Weights that are missing, damaged or of another network.
    """
    if not inputs.held_out:
        reason = "Real images of patients who are not in the training data are needed, and there are none."
        return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, reason)
    drawn = draw_images(inputs)
    if drawn.num_images < MINIMUM_IMAGES:
        return _too_few(drawn)
    notes = [drawn.sentence]
    if inputs.extractor is None:
        return _without_features(inputs, drawn, notes)
    extractor = load_extractor(inputs.extractor.name, inputs.extractor.weights)
    notes.append(f"Features: {extractor.label}.")
    if not inputs.extractor.is_of_domain:
        notes.append("These features were not learnt on images of this kind, so what matters in them may not show.")
    sets = _feature_sets(inputs, drawn, extractor)
    measures = judge_features(sets, thresholds)
    commands: tuple[str, ...] = ()
    if inputs.label_names:
        measures.insert(0, label_consistency(inputs, thresholds))
        real = classifiers(inputs)[REAL]
        commands = () if real.is_tested and not real.is_outdated else commands_for(inputs, [real])
    else:
        notes.append("Images without labels: whether they show what labels say does not apply.")
    pictures = _pictures(drawn.synthetic, realism_scores(np.concatenate([sets.real, sets.other]), sets.synthetic))
    outcome = combine(measures)
    return Gate(KEY, QUESTION, outcome, _reason(outcome, measures), measures, notes, pictures, commands)


def judge_features(sets: FeatureSets, thresholds: Mapping[str, float]) -> list[Measure]:
    """Return the figures that decide, each beside what real images score, then all figures as they were measured.

    An interval leaves out a twelfth of every set at a time, from a figure and its floor at once, so it holds the chance
    in both.

    Args:
        sets: Features.
        thresholds: The section `fidelity`.
    """
    progress = Progress("fidelity", 3, "comparisons")
    found, frechet = _compare(sets.real, sets.synthetic)
    progress.advance()
    floor, frechet_floor = _compare(sets.real, sets.other)
    progress.advance()
    halved = kid_values(sets.real, sets.halved, num_blocks=NUM_BLOCKS)
    progress.advance()
    progress.close()
    num = len(sets.real)
    measures = [_excess(found["kid"], halved, thresholds["kid_share"], num)]
    for name in _SHARES:
        title = f"{METRICS[name].title}, as a share of that of other real images"
        measures.append(_share(name, title, (found[name], floor[name]), thresholds[f"{name}_share"], "at least", num))
    for group, rows, distance in ((AS_MEASURED, found, frechet), (FLOOR, floor, frechet_floor)):
        estimates = {
            name: jackknife_estimate(values[0], values[1:]).within(*_RANGES.get(name, (-math.inf, math.inf)))
            for name, values in rows.items()
        }
        measures += [_as_measured(name, one, group, num) for name, one in (estimates | {"fid": distance}).items()]
    measures.append(_as_measured("kid", jackknife_estimate(halved[0], halved[1:]), HALVED, num))
    return measures


def _compare(real: Features, other: Features) -> tuple[dict[str, Matrix], Estimate]:
    """Return every figure but FID of all images and without each block, [1 + G], and FID."""
    rows = {"kid": kid_values(real, other, num_blocks=NUM_BLOCKS)}
    rows |= manifold_values(real, other, num_blocks=NUM_BLOCKS)
    return rows, frechet_estimates(real, other, extrapolate=False)["fid"]


def _excess(distance: Matrix, halved: Matrix, share: float, num: int) -> Measure:
    """Return by how much KID lies above that of degraded real images.

    A difference, not a share: where features hardly tell degraded images from whole ones, a share is of almost nothing,
    while the difference then lies near 0 and decides nothing.
    """
    excess = distance - share * halved
    one = jackknife_estimate(excess[0], excess[1:])
    outcome, more = decide(one.value, one.low, one.high, 0.0, "at most", num)
    of_halved = "" if share == 1 else f"{share:g} times "
    return Measure(
        "kid_excess",
        f"KID, minus {of_halved}that of {_HALVED}",
        one.value,
        one.low,
        one.high,
        num,
        UNIT,
        0.0,
        "at most",
        outcome,
        _more(more) if outcome is Outcome.INSUFFICIENT else "",
        more,
    )


def _share(name: str, title: str, parts: tuple[Matrix, Matrix], threshold: float, sense: Sense, num: int) -> Measure:
    """Return a figure that decides: what the synthetic images score over what real ones do."""
    synthetic, real = parts
    if (real <= 0).any():
        reason = "The real images themselves score 0 here, so there is nothing to compare with."
        return Measure(f"{name}_share", title, None, None, None, num, UNIT, threshold, sense,
                       Outcome.INSUFFICIENT, reason)  # fmt: skip
    shares = synthetic / real
    one = jackknife_estimate(shares[0], shares[1:])
    outcome, more = decide(one.value, one.low, one.high, threshold, sense, num)
    reason = _more(more) if outcome is Outcome.INSUFFICIENT else ""
    return Measure(
        f"{name}_share", title, one.value, one.low, one.high, num, UNIT, threshold, sense, outcome, reason, more
    )


def _more(more: int | None) -> str:
    if more is None:
        return "No number of images would be likely to decide, since the estimate lies on the limit."
    return (
        f"About {more:,} more images of each set would be likely to decide, if the estimate stays; of real ones twice "
        "as many, since half of them are the floor."
    )


def _as_measured(name: str, one: Estimate, group: str, num: int) -> Measure:
    key = f"{name}{_ENDINGS[group]}"
    return Measure(key, METRICS[name].title, one.value, number(one.low), number(one.high), num, UNIT, group=group)


def _reason(outcome: Outcome, measures: Sequence[Measure]) -> str:
    """Return why the gate says what it says."""
    by_outcome = {
        wanted: [re.split("[,:]", one.title, maxsplit=1)[0] for one in measures if one.outcome is wanted]
        for wanted in (Outcome.FAIL, Outcome.INSUFFICIENT)
    }
    if outcome is Outcome.FAIL:
        return f"Shown to be worse than the limits allow: {listed(by_outcome[Outcome.FAIL])}."
    if outcome is Outcome.PASS:
        return "In every figure the synthetic images are shown to be as near to real ones as the limits ask for."
    return f"Open: {listed(by_outcome[Outcome.INSUFFICIENT])}."


def _too_few(drawn: DrawnImages) -> Gate:
    more_real = max(0, 2 * MINIMUM_IMAGES - drawn.num_real)
    more_synthetic = max(0, MINIMUM_IMAGES - drawn.num_synthetic)
    missing = []
    if more_real:
        missing.append(f"{more_real:,} more held-out real images (2 x {MINIMUM_IMAGES}, half of them for the floor)")
    if more_synthetic:
        missing.append(f"{more_synthetic:,} more synthetic images ({MINIMUM_IMAGES})")
    reason = f"At least {' and '.join(missing)} are needed for any figure with an interval."
    more = max(more_real, more_synthetic)
    measure = Measure("num_images", "images to compare", None, None, None, drawn.num_images, UNIT,
                      outcome=Outcome.INSUFFICIENT, reason=reason, more_needed=more)  # fmt: skip
    return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, reason, [measure], [drawn.sentence])


def _without_features(inputs: VerdictInputs, drawn: DrawnImages, notes: list[str]) -> Gate:
    """Return the gate that only pixels speak for: it decides nothing."""
    measures = []
    if inputs.resolution >= SMALLEST_RESOLUTION:
        sides = [
            ImageSet(images, np.zeros((0, 0), np.float32)) for images in (drawn.real, drawn.other, drawn.synthetic)
        ]
        for group, images in ((AS_MEASURED, sides[2]), (FLOOR, sides[1])):
            one = evaluate(["swd"], sides[0], images, seed=inputs.seed)["swd"]
            measures.append(_as_measured("swd", one, group, drawn.num_images))
    reason = (
        "There are no features to compare images by: train the real classifier, whose features are used, or name "
        "others with --features and --weights. Distances of pixels are shown and decide nothing."
    )
    real = classifiers(inputs)[REAL]
    commands = commands_for(inputs, [real]) if inputs.label_names else ()
    return Gate(KEY, QUESTION, Outcome.INSUFFICIENT, reason, measures, notes, commands=commands)


def _feature_sets(inputs: VerdictInputs, drawn: DrawnImages, extractor: Extractor) -> FeatureSets:
    """Compute the features of all four sets, or read them from an earlier run."""
    cache = FeatureCache(make_folder(inputs.out_dir / CACHE_FOLDER))
    halved = np.stack([blurred(image) for image in drawn.other])

    def features(images: Images, what: str) -> Features:
        return cache.features(extractor, images, lambda missing: features_with_progress(extractor, missing, what))

    return FeatureSets(
        features(drawn.real, "real images"),
        features(drawn.other, "other real images"),
        features(halved, "halved real images"),
        features(drawn.synthetic, "synthetic images"),
    )


def _pictures(images: Images, realism: Matrix) -> list[Picture]:
    """Return the most and the least realistic of the synthetic images."""
    order = np.argsort(-realism, kind="stable")
    num_shown = min(_NUM_SHOWN, len(images) // 2)
    pictures = []
    for key, title, rows in (
        ("best", "The most realistic synthetic images", order[:num_shown]),
        ("worst", "The least realistic synthetic images", order[::-1][:num_shown]),
    ):
        scale = max(1, _SHOWN_SIZE // images.shape[1])
        shown = images[rows].repeat(scale, axis=1).repeat(scale, axis=2)  # [n, s*R, s*R, C]
        first, last = (f"{min(score, _MOST_REALISM):.2f}" for score in realism[rows[[0, -1]]])
        caption = (
            f"{num_shown} of {len(images):,}, by realism from {first} to {last}: above 1 an image lies among "
            "the real ones (Kynkaanniemi et al. 2019, section 5)."
        )
        alternative = f"Sheet of {num_shown} synthetic images. {caption}"
        png = image_grid_png(shown, _NUM_COLUMNS)
        pictures.append(Picture(key, title, caption, alternative, png, is_synthetic=True))
    return pictures
