"""Learning curves of a grid: learning_curves.txt, .csv and .png."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.grid_report.cells import REAL, Grid
from benchmark.grid_report.measure import Sweep, estimate_mean
from benchmark.grid_report.published import COLUMNS, published_values
from benchmark.learning_curves import Answer, Margins, classes_it_takes, sizes_that_suffice
from benchmark.power_law import LEAST_SIZES, PowerLaw, fit_power_law
from medsynth.classify.evaluation.evaluate import Interval
from medsynth.classify.evaluation.seeds import SeedInterval
from medsynth.classify.evaluation.summary import cell, number, table_lines
from medsynth.data.wording import counted
from medsynth.metrics.intervals import Estimate

SAMPLES, CLASSES = "samples", "classes"
_QUESTIONS = {SAMPLES: "How many samples per class suffice?", CLASSES: "How many classes can a GAN take?"}


@dataclass(frozen=True)
class Curve:
    """A benchmark's curves and what they answer.

    Attributes:
        sweep: The benchmark, samples or classes.
        answers: Of every source (samples) or GAN (classes).
        fits: Power law of the sources that have enough sizes; none for classes.
    """

    sweep: Sweep
    answers: tuple[Answer, ...]
    fits: Mapping[str, PowerLaw]

    @property
    def largest(self) -> int:
        """The largest setting."""
        return self.sweep.settings[-1].value

    def answer(self, source: str) -> Answer | None:
        """Return the answer for a source, None where there is none."""
        return next((one for one in self.answers if one.trained_on == source), None)


def find_curves(grid: Grid, sweeps: Sequence[Sweep], margins: Margins, seed: int = 0) -> list[Curve]:
    """Return the curves of the benchmarks of samples and of classes that the grid has."""
    by_name = {sweep.benchmark: sweep for sweep in sweeps}
    curves = []
    if SAMPLES in by_name:
        sweep = by_name[SAMPLES]
        answers = sizes_that_suffice(sweep, grid.sources, margins.of_size)
        fits = {source: fit for source in grid.sources if (fit := _fit(sweep, source, seed)) is not None}
        curves.append(Curve(sweep, tuple(answers), fits))
    if CLASSES in by_name:
        sweep = by_name[CLASSES]
        curves.append(Curve(sweep, tuple(classes_it_takes(sweep, grid.gans, margins.of_gap)), {}))
    return curves


def _fit(sweep: Sweep, source: str, seed: int) -> PowerLaw | None:
    groups = {one.value: one.groups[source] for one in sweep.settings if source in one.groups}
    groups = {size: group for size, group in groups.items() if np.isfinite(group.values).all()}
    return fit_power_law(list(groups), list(groups.values()), seed) if len(groups) >= LEAST_SIZES else None


def curve_lines(grid: Grid, curves: Sequence[Curve]) -> list[str]:
    """Return the text of learning_curves.txt."""
    lines: list[str] = []
    for curve in curves:
        lines += [*([""] if lines else []), *_answer_lines(grid, curve)]
        if curve.sweep.benchmark == SAMPLES:
            lines += ["", *_fit_lines(grid, curve)]
        published = _published_lines(grid, curve)
        lines += ["", *published] if published else []
    if not curves:
        return ["The grid has neither a benchmark of samples nor one of classes, so there is no learning curve."]
    return lines


def _answer_lines(grid: Grid, curve: Curve) -> list[str]:
    question = _QUESTIONS[curve.sweep.benchmark]
    margin = curve.answers[0].margin if curve.answers else 0.0
    if curve.sweep.benchmark == SAMPLES:
        rule = (
            f"The smallest size, all larger ones with it, whose mean AUROC is at most {margin:g} below that with "
            f"{curve.largest:,} per class, by the whole 95 % interval (patients and seeds; differences are paired)."
        )
        table = _lost_table(curve, grid.sources, f"lost against {curve.largest:,}")
    else:
        rule = (
            f"The largest number of classes, all smaller ones with it, with {REAL} - GAN at most {margin:g} in mean "
            "AUROC by the whole 95 % interval. Each number of classes has its own labels and test."
        )
        table = _lost_table(curve, grid.gans, "gap to real")
    return [question, rule, "", *(one.sentence for one in curve.answers), "", *table_lines(table)]


def _lost_table(curve: Curve, sources: Sequence[str], what: str) -> list[list[str]]:
    name = "samples per class" if curve.sweep.benchmark == SAMPLES else "classes"
    header = [name, *(title for source in sources for title in (f"{source} [95 %]", f"{source}: {what}"))]
    rows = [header]
    for setting in curve.sweep.settings:
        row = [f"{setting.value:,}"]
        for source in sources:
            group, lost = setting.groups.get(source), _lost(curve, source, setting.value)
            row.append("missing" if group is None else cell(estimate_mean(group)))
            row.append("-" if lost is None else cell(lost))
        rows.append(row)
    return rows


def _lost(curve: Curve, source: str, setting: int) -> SeedInterval | None:
    answer = curve.answer(source)
    return None if answer is None else next((one.loss for one in answer.steps if one.setting == setting), None)


def _fit_lines(grid: Grid, curve: Curve) -> list[str]:
    lines = ["Inverse power law a - b * n^-c (Cortes et al. 1994; Figueroa et al. 2012), a at most 1:"]
    for source in grid.sources:
        if source not in curve.fits:
            num = sum(source in one.groups for one in curve.sweep.settings)
            lines.append(f"{source}: no fit, which takes {LEAST_SIZES} sizes; here {num}.")
            continue
        fit, twice = curve.fits[source], 2 * curve.largest
        level, factor, exponent = fit.parameters
        lines.append(
            f"{source}: {level:.3f} - {factor:.3g} * n^-{exponent:.2f}, at most {fit.largest_miss:.3f} from what was "
            f"measured, outside the interval of {_num_missed(curve, source)} of {len(curve.sweep.settings)} sizes. "
            f"EXTRAPOLATED to twice the largest size, {twice:,} per class: {_shown(fit.at(twice))}."
        )
    if curve.fits:
        alone = " alone, as there is one seed" if len(grid.seeds) < 2 else " and seeds"
        lines.append(
            f"Bands of the curves hold the choice of {curve.sweep.clusters}{alone}, and take the form of the curve for "
            "granted: no size beyond the largest was measured."
        )
    return lines


def _num_missed(curve: Curve, source: str) -> int:
    """Return how many measured means have an interval that the fitted curve misses."""
    found = {one.value: estimate_mean(one.groups[source]) for one in curve.sweep.settings if source in one.groups}
    values = {size: curve.fits[source].at(size).value for size in found}
    return sum(not found[size].low <= values[size] <= found[size].high for size in found)


def _shown(found: Estimate) -> str:
    return cell(Interval(found.value, found.low, found.high))


def _published_lines(grid: Grid, curve: Curve) -> list[str]:
    """Return what the published values say without intervals, of the benchmark of samples."""
    rows = published_values(grid.modality, curve.sweep.benchmark)
    if not rows or curve.sweep.benchmark != SAMPLES:
        return []
    sizes, margin = sorted(rows, reverse=True), curve.answers[0].margin
    lines = ["Published (one value each, no intervals, so nothing is shown):"]
    for source in grid.sources:
        if source in COLUMNS:
            values = {size: rows[size].means[COLUMNS[source]] for size in sizes}
            near = sizes[0]
            for size in sizes:
                if values[sizes[0]] - values[size] > margin:
                    break
                near = size
            lines.append(
                f"{source}: {near:,} per class lose {values[sizes[0]] - values[near]:.3f} against {sizes[0]:,}, the "
                f"smallest size within {margin:g}."
            )
    return lines


def curve_rows(grid: Grid, curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return a flat record for every setting and source, and for every extrapolated one."""
    rows = []
    for curve in curves:
        for source in grid.sources:
            rows += [_row(curve, source, one.value) for one in curve.sweep.settings]
            if source in curve.fits:
                rows.append(_row(curve, source, 2 * curve.largest))
    return rows


def _row(curve: Curve, source: str, setting: int) -> dict[str, Any]:
    known = [one.groups[source] for one in curve.sweep.settings if one.value == setting and source in one.groups]
    mean = estimate_mean(known[0]) if known else SeedInterval(float("nan"))
    answer, lost = curve.answer(source), _lost(curve, source, setting) or SeedInterval(float("nan"))
    fitted = curve.fits[source].at(setting) if source in curve.fits else Estimate(float("nan"))
    return {
        "benchmark": curve.sweep.benchmark,
        "setting": setting,
        "trained_on": source,
        "num_seeds": len(known[0].seeds) if known else 0,
        "auroc": number(mean.value),
        "low": number(mean.low),
        "high": number(mean.high),
        "lost_against": f"{curve.largest} samples" if curve.sweep.benchmark == SAMPLES else REAL,
        "lost": number(lost.value),
        "lost_low": number(lost.low),
        "lost_high": number(lost.high),
        "margin": None if answer is None else answer.margin,
        "is_the_answer": None if answer is None else answer.setting == setting,
        "fitted": number(fitted.value),
        "fitted_low": number(fitted.low),
        "fitted_high": number(fitted.high),
        "is_extrapolated": setting > curve.largest,
    }


def answer_rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return the answers for programs."""
    return [
        {
            "question": _QUESTIONS[answer.benchmark],
            "trained_on": answer.trained_on,
            "margin": answer.margin,
            "setting": answer.setting,
            "is_shown": answer.setting is not None,
            "sentence": answer.sentence,
        }
        for curve in curves
        for answer in curve.answers
    ]


def summary_of_answers(curves: Sequence[Curve]) -> list[str]:
    """Return the questions with their answers, for grid.txt."""
    lines = []
    for curve in curves:
        lines += ["", _QUESTIONS[curve.sweep.benchmark] + f" ({counted(len(curve.sweep.settings), 'setting')})"]
        lines += [one.sentence for one in curve.answers]
    return lines
