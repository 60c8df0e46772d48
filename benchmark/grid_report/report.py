"""Everything that compare.py says of a grid, and its files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.grid_report.cells import DONE, Grid, read_grid
from benchmark.grid_report.curve_figure import draw_curves
from benchmark.grid_report.curve_files import (
    Curve,
    answer_rows,
    curve_lines,
    curve_rows,
    find_curves,
    summary_of_answers,
)
from benchmark.grid_report.figures import draw_sweep
from benchmark.grid_report.measure import Sweep, measure
from benchmark.grid_report.published import Beside, beside_published
from benchmark.grid_report.tables import SETTING_TITLES, published_lines, rows_for_programs, sweep_lines
from benchmark.grid_report.trends import Trend, find_trends
from benchmark.learning_curves import Margins
from medsynth.classify.evaluation.summary import number
from medsynth.data.wording import counted
from medsynth.files import atomic_path, make_folder, write_json, write_text


def report_grid(folder: Path, out: Path, margins: Margins, *, num_resamples: int = 1000, seed: int = 0) -> str:
    """Compare the classifiers of a grid and write its files.

    - grid.txt, grid.csv, grid_comparison.json: per setting ours, published and the difference, with intervals.
    - grid_<benchmark>.png: the figure of the paper.
    - learning_curves.txt, .csv, .png: how many samples per class suffice, and how many classes a GAN can take.

    Args:
        folder: Of the grid.
        out: For the files.
        margins: Of the two questions.
        num_resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        The text of grid.txt.

    Raises:
        DataError: The grid, or a result in it, is not of its form.
    """
    grid = read_grid(folder)
    sweeps = measure(grid, num_resamples, seed)
    beside = beside_published(grid, sweeps)
    trends = {sweep.benchmark: find_trends(sweep, grid.gans) for sweep in sweeps}
    curves = find_curves(grid, sweeps, margins, seed)
    text = "\n".join(_lines(grid, sweeps, beside, trends, curves)) + "\n"
    make_folder(out)
    write_text(out / "grid.txt", text)
    rows = rows_for_programs(grid, sweeps, beside)
    _write_csv(out / "grid.csv", rows)
    for sweep in sweeps:
        draw_sweep(out / f"grid_{sweep.benchmark}.png", grid, sweep)
    write_text(out / "learning_curves.txt", "\n".join(curve_lines(grid, curves)) + "\n")
    if curves:
        _write_csv(out / "learning_curves.csv", curve_rows(grid, curves))
        draw_curves(out / "learning_curves.png", grid, curves)
    # Written last: where it is, all is.
    write_json(out / "grid_comparison.json", {
        "name": grid.name,
        "modality": grid.modality,
        "resolution": grid.resolution,
        "seeds": list(grid.seeds),
        "gans": list(grid.gans),
        "num_resamples": num_resamples,
        "not_tested": [{"cell": one.title, "status": one.status} for one in grid.not_done],
        "rows": rows,
        "trends": [_trend_row(one) for found in trends.values() for one in found],
        "answers": answer_rows(curves),
        "notes": _notes(grid, sweeps),
    })  # fmt: skip
    return text


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary:
        pd.DataFrame(rows).astype(object).to_csv(temporary, index=False, lineterminator="\n")


def _trend_row(trend: Trend) -> dict[str, Any]:
    return {
        "benchmark": trend.benchmark,
        "gan": trend.gan,
        "settings": list(trend.settings),
        "gap_for_each_doubling": number(trend.slope.value),
        "low": number(trend.slope.low),
        "high": number(trend.slope.high),
        "is_stated": not trend.reason,
        "sentence": trend.sentence,
    }


def _lines(
    grid: Grid,
    sweeps: Sequence[Sweep],
    beside: Sequence[Beside],
    trends: dict[str, list[Trend]],
    curves: Sequence[Curve],
) -> list[str]:
    num_done = sum(one.status == DONE for one in grid.cells)
    seeds = f"{counted(len(grid.seeds), 'seed')} ({', '.join(map(str, grid.seeds))})"
    lines = [f"Grid {grid.name}: {num_done} of {counted(len(grid.cells), 'classifier')} tested, {seeds}", ""]
    if beside:
        lines += published_lines(beside)
    elif grid.modality:
        lines.append("No setting of this grid was published, so nothing stands beside it.")
    else:
        lines.append("Not comparable with the published figures: these are other images.")
    for sweep in sweeps:
        lines += ["", f"Mean AUROC against {SETTING_TITLES[sweep.benchmark]}", *sweep_lines(grid, sweep), ""]
        lines += [one.sentence for one in trends[sweep.benchmark]]
    lines += summary_of_answers(curves)
    if grid.not_done:
        lines += ["", f"Without a result: {len(grid.not_done)} of {counted(len(grid.cells), 'classifier')}:"]
        lines += [f"  {one.title}: {one.status}" for one in grid.not_done]
    return [*lines, "", *_notes(grid, sweeps)]


def _notes(grid: Grid, sweeps: Sequence[Sweep]) -> list[str]:
    """Return what a reader of the figures must know, a sentence or two each."""
    notes = []
    if len(grid.seeds) > 1:
        notes.append(
            "95 % intervals hold the choice of test patients and the seed (variance over the networks, and covariance "
            "of their errors from the resamples; Student's t; Obuchowski and Rockette 1995, Hillis 2007). Two seeds "
            "make them wide: a variance from two numbers is hardly known."
        )
    else:
        notes.append(
            "One seed: intervals hold the choice of test patients alone. Another training would give other figures, by "
            "how much is not known; so no trend is stated and no size recommended."
        )
    short = [
        f"{sweep.benchmark} {setting.value:,} {source}"
        for sweep in sweeps
        for setting in sweep.settings
        for source, group in setting.groups.items()
        if len(group.seeds) == 1 < len(grid.seeds)
    ]
    if short:
        notes.append(f"One seed alone, so its chance is in no interval: {', '.join(short)}.")
    for sweep in sweeps:
        notes += _notes_on_sweep(sweep)
    if grid.modality and any(one.num_random for sweep in sweeps for one in sweep.settings):
        notes.append(
            "The published classifiers began with ImageNet weights; those from random weights are NOT comparable."
        )
    return notes


def _notes_on_sweep(sweep: Sweep) -> list[str]:
    tested = [one for one in sweep.settings if one.groups]
    name, num = sweep.benchmark.capitalize(), sum(len(one.facts) for one in tested)
    if not tested:
        return [f"{name}: nothing is tested."]
    notes = []
    if len(sweep.settings) > 1:
        images = (
            "the same test images in all settings" if sweep.has_one_test else "each setting has its own test images"
        )
        notes.append(
            f"{name}: {images}; {sweep.num_resamples:,} resamples of {sweep.clusters}, the same for all settings."
        )
    if sweep.clusters == "images":
        notes.append(f"{name}: patients are not known. Where one has several images, the intervals are too narrow.")
    left_out = [f"{one.value:,}: {', '.join(one.left_out)}" for one in tested if one.left_out]
    if left_out:
        notes.append(f"{name}: labels with fewer than 10 positives or negatives are left out of the mean: "
                     f"{'; '.join(left_out)}.")  # fmt: skip
    for what, count in (
        ("random initialisation (no ImageNet weights)", sum(one.num_random for one in tested)),
        ("training not finished", sum(one.num_unfinished for one in tested)),
    ):
        if count:
            notes.append(f"{name}: {what}: {count:,} of {counted(num, 'classifier')}.")
    return notes
