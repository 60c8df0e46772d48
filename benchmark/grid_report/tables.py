"""A grid's tables as text, and its rows for programs."""

from collections.abc import Sequence
from typing import Any

from benchmark.grid_report.cells import DONE, REAL, Grid
from benchmark.grid_report.measure import Setting, Sweep, estimate, estimate_mean, gap_terms
from benchmark.grid_report.published import READING_ERROR, Beside
from medsynth.classify.evaluation.seeds import SeedInterval
from medsynth.classify.evaluation.summary import cell, number, table_lines
from medsynth.data.wording import counted

SETTING_TITLES = {"classes": "number of classes", "samples": "samples per class", "resolution": "resolution"}
_NOTHING = "-"


def status_of(grid: Grid, benchmark: str, setting: int, source: str) -> str:
    """Return `done`, what became of it where nothing is done, or such as `1 of 2 seeds`."""
    statuses = [one.status for one in grid.cells
                if (one.benchmark, one.setting, one.trained_on) == (benchmark, setting, source)]  # fmt: skip
    num_done = statuses.count(DONE)
    if num_done == len(statuses):
        return DONE
    return f"{num_done} of {counted(len(statuses), 'seed')}" if num_done else " and ".join(sorted(set(statuses)))


def sweep_lines(grid: Grid, sweep: Sweep) -> list[str]:
    """Return the table of a benchmark: a row per setting, mean AUROC of every source and the gaps, with intervals."""
    seeds = counted(len(grid.seeds), "seed")
    header = [
        SETTING_TITLES[sweep.benchmark],
        "test images",
        *([f"test {sweep.clusters}"] if sweep.clusters != "images" else []),
        "labels in the mean",
        *(f"{source}, {seeds} [95 %]" for source in grid.sources),
        *(f"{REAL} - {gan}" for gan in grid.gans),
    ]
    return table_lines([header, *(_sweep_row(grid, sweep, setting) for setting in sweep.settings)])


def _sweep_row(grid: Grid, sweep: Sweep, setting: Setting) -> list[str]:
    values = []
    for source in grid.sources:
        status = status_of(grid, sweep.benchmark, setting.value, source)
        if source not in setting.groups:
            values.append(status)
        else:
            shown = cell(estimate_mean(setting.groups[source]))
            values.append(shown if status == DONE else f"{shown} ({status})")
    gaps = [gap_terms(setting, gan) for gan in grid.gans]
    is_tested = bool(setting.groups)
    return [
        f"{setting.value:,}",
        f"{setting.num_images:,}" if is_tested else _NOTHING,
        *([f"{setting.num_clusters:,}" if is_tested else _NOTHING] if sweep.clusters != "images" else []),
        str(setting.num_labels) if is_tested else _NOTHING,
        *values,
        *(_NOTHING if gap is None else cell(estimate(gap)) for gap in gaps),
    ]


def published_lines(rows: Sequence[Beside]) -> list[str]:
    """Return the section of our figures beside the published ones, those that deviate first."""
    deviating = [one for one in rows if one.deviates]
    undecided = sum(one.deviates is None for one in rows)
    table = [
        ["benchmark", "setting", "trained on", "ours [95 %]", "seeds", "published", "ours - published", "deviates"]
    ]
    words = {True: "YES", False: "no", None: "no interval"}
    table += [
        [
            one.benchmark,
            f"{one.setting:,}",
            one.trained_on,
            cell(one.ours),
            str(one.num_seeds),
            f"{one.published:.3f}",
            f"{one.deviation:+.3f}",
            words[one.deviates] + (f" (not the published test: {one.mismatch})" if one.mismatch else ""),
        ]
        for one in rows
    ]
    num = len(rows) - undecided
    by_chance = f"; if all were the same experiment, about {0.05 * num:.0f} would by chance" if num else ""
    return [
        f"{len(deviating)} of {num} published figures lie outside our 95 % interval{by_chance}. "
        "These come first, the largest deviation on top.",
        "",
        *table_lines(table),
        "",
        "Published: Schuette et al. 2021, 32x32, one value each without an interval, so what chance did to it is not "
        f"known; read off a figure to {READING_ERROR:g}, which is allowed for; values under 0.5 counted as 1 - value.",
    ]


def rows_for_programs(grid: Grid, sweeps: Sequence[Sweep], beside: Sequence[Beside]) -> list[dict[str, Any]]:
    """Return a flat record for every setting and source, those that deviate from the published figure first."""
    known = {(one.benchmark, one.setting, one.trained_on): one for one in beside}
    order = {key: place for place, key in enumerate(known) if known[key].deviates}
    keys = [(sweep, setting, source) for sweep in sweeps for setting in sweep.settings for source in grid.sources]
    keys.sort(key=lambda key: order.get((key[0].benchmark, key[1].value, key[2]), len(order)))
    return [_record(grid, *key, known.get((key[0].benchmark, key[1].value, key[2]))) for key in keys]


def _record(grid: Grid, sweep: Sweep, setting: Setting, source: str, beside: Beside | None) -> dict[str, Any]:
    group = setting.groups.get(source)
    mean = SeedInterval(float("nan")) if group is None else estimate_mean(group)
    gap_of = None if source == REAL else gap_terms(setting, source)
    gap = SeedInterval(float("nan")) if gap_of is None else estimate(gap_of)
    num_seeds = 0 if group is None else len(group.seeds)
    return {
        "benchmark": sweep.benchmark,
        "setting": setting.value,
        "trained_on": source,
        "status": status_of(grid, sweep.benchmark, setting.value, source),
        "num_seeds": num_seeds,
        "seeds": "" if group is None else " ".join(map(str, group.seeds)),
        "num_test_images": setting.num_images,
        "num_resampled": setting.num_clusters,
        "resampled": sweep.clusters,
        "num_labels_in_mean": setting.num_labels,
        "auroc": number(mean.value),
        "low": number(mean.low),
        "high": number(mean.high),
        "interval_holds": None if group is None else f"{sweep.clusters}{' and seeds' if num_seeds > 1 else ' alone'}",
        "real_minus_this": number(gap.value),
        "difference_low": number(gap.low),
        "difference_high": number(gap.high),
        "published": None if beside is None else beside.published,
        "ours_minus_published": None if beside is None else number(beside.deviation),
        "deviates": None if beside is None else beside.deviates,
        "not_the_published_test": None if beside is None else beside.mismatch or None,
    }
