"""Pictures of two tables as a whole: differences of statistics, correlations, and projections onto a plane."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from GAN_joint.analysis.table_figures import TABLE_COLOURS, Shown, new_figure, plain_axes, row_count, shortened
from GAN_joint.analysis.tables import NUMBER, Floats
from medsynth.data.wording import counted
from medsynth.report.canvas import save_png
from medsynth.report.figures import MARKERS

MOST_PROJECTED = 2000
STATISTICS: Mapping[str, Callable[[Floats], Floats]] = {
    "median": lambda values: np.median(values, axis=0),
    "mean": lambda values: values.mean(axis=0),
    "lower quartile": lambda values: np.quantile(values, 0.25, axis=0),
    "upper quartile": lambda values: np.quantile(values, 0.75, axis=0),
    "minimum": lambda values: values.min(axis=0),
    "maximum": lambda values: values.max(axis=0),
}
_PERPLEXITY = 30.0
_UNDEFINED = "0.85"  # grey
_LONGEST_NAME = 36


def statistics_figure(path: Path, shown: Shown) -> Path:
    """Write a heat map of how far descriptive statistics differ: synthetic minus real, in shares of the real range.

    Columns of numbers have six statistics. Of the others only shares say something: the second value's of binary
    columns and targets, those of all values of categories. Where the real column is constant, the plain difference is
    shown.
    """
    tables = shown.tables()
    names, real = tables["real"].indicators()
    synthetic = tables["synthetic"].indicators()[1]
    is_number = np.array([shown.kinds.get(name) == NUMBER for name in names])
    spread = np.ptp(real, axis=0)
    scale = np.where(is_number & (spread > 0), spread, 1.0)[:, None]
    numbers = np.stack([of(synthetic) - of(real) for of in STATISTICS.values()], axis=1)[is_number] / scale[is_number]
    shares = (synthetic.mean(axis=0) - real.mean(axis=0))[~is_number, None]
    limit = _limit(np.concatenate([numbers.ravel(), shares.ravel()]))
    parts = [
        (
            [name.replace(" ", "\n") for name in STATISTICS],
            numbers,
            [shortened(names[i], _LONGEST_NAME) for i in np.flatnonzero(is_number)],
        ),
        (["share"], shares, [shortened(names[i], _LONGEST_NAME) for i in np.flatnonzero(~is_number)]),
    ]
    parts = [part for part in parts if len(part[1])]
    num_rows = max(len(values) for _, values, _ in parts)
    widths = [0.52 * len(columns) for columns, _, _ in parts]
    width = sum(widths) + sum(0.3 + 0.065 * max(map(len, rows)) for _, _, rows in parts) + 1.1
    figure = new_figure(width, 0.9 + 0.19 * max(num_rows, 10))
    panels = figure.subplots(1, len(parts), width_ratios=widths, squeeze=False)[0]
    for axes, (columns, values, rows) in zip(panels, parts, strict=True):
        drawn = _heat_map(axes, values, limit)
        _write_numbers(axes, values, limit)
        axes.set_ylim(num_rows - 0.5, -0.5)  # rows of one height in both
        axes.set_xticks(range(len(columns)), columns, fontsize=8)
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(rows)), rows, fontsize=8)
        axes.tick_params(length=0)
    _draw_scale(figure, list(panels), drawn, "synthetic − real,\nin shares of the real range", limit, numbers, shares)
    save_png(figure, path)
    return path


def correlation_figures(folder: Path, shown: Shown) -> list[Path]:
    """Write heat maps of Pearson's correlations of the real and of the synthetic table, and of their difference.

    Binary columns and targets count as 0 and 1, categories have a column for each value. A constant column has no
    correlation and is grey.

    Returns:
        `correlations_real.png`, `correlations_synthetic.png`, `correlations_difference.png`.
    """
    tables = shown.tables()
    names, real = tables["real"].indicators()
    names = tuple(shortened(name, _LONGEST_NAME) for name in names)
    matrices = [correlation_matrix(real), correlation_matrix(tables["synthetic"].indicators()[1])]
    titles = (
        ("real", "correlation", f"Correlations of {row_count(tables['real'])} real rows"),
        ("synthetic", "correlation", f"Correlations of {row_count(tables['synthetic'])} synthetic rows"),
        ("difference", "synthetic − real", "Difference of the correlations, synthetic − real"),
    )
    paths = []
    for matrix, (name, scale, title) in zip([*matrices, matrices[1] - matrices[0]], titles, strict=True):
        path = folder / f"correlations_{name}.png"
        _draw_correlations(path, names, matrix, title, scale, 1.0 if name != "difference" else _limit(matrix))
        paths.append(path)
    return paths


def correlation_matrix(values: Floats) -> Floats:
    """Return Pearson's correlations [D, D] of the columns of values [N, D]; NaN with a constant column."""
    centred = values - values.mean(axis=0)
    norms = np.sqrt((centred**2).sum(axis=0))
    norms[np.ptp(values, axis=0) == 0] = np.nan
    return np.asarray(np.clip((centred / norms).T @ (centred / norms), -1, 1), np.float64)


def projection_figure(path: Path, shown: Shown, *, seed: int) -> Path:
    """Write two projections of the rows onto a plane, PCA and t-SNE.

    Columns are turned into numbers and scaled by mean and deviation of the real rows. PCA is fitted on these alone;
    t-SNE on as many real as synthetic rows, at most 2,000 of each.

    Sources: van der Maaten and Hinton 2008, "Visualizing Data using t-SNE"; scikit-learn.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415  (a second to load)
    from sklearn.manifold import TSNE  # noqa: PLC0415

    tables = shown.tables()
    real, synthetic = (tables[name].indicators()[1] for name in ("real", "synthetic"))
    middle, deviation = real.mean(axis=0), real.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0)
    num_rows = min(len(real), len(synthetic), MOST_PROJECTED)
    rng = np.random.default_rng(seed)
    real = (real - middle) / scale
    synthetic = ((synthetic - middle) / scale)[rng.permutation(len(synthetic))[:num_rows]]
    drawn = real[rng.permutation(len(real))[:num_rows]]

    figure = new_figure(9.6, 5.0)
    panels = figure.subplots(1, 2)
    pca = PCA(min(2, *real.shape), random_state=seed).fit(real)
    shares = [*pca.explained_variance_ratio_, 0.0][:2]
    _scatter(panels[0], pca.transform(drawn), pca.transform(synthetic), seed)
    panels[0].set_title("PCA, fitted on the real rows", fontsize=10)
    for number, (set_label, share) in enumerate(zip((panels[0].set_xlabel, panels[0].set_ylabel), shares, strict=True)):
        set_label(f"component {number + 1} ({100 * np.nan_to_num(share):.0f} % of the real variance)", fontsize=9)
    both = np.concatenate([drawn, synthetic])
    perplexity = min(_PERPLEXITY, (len(both) - 1) / 3)
    if len(both) > 4:
        start = "pca" if min(both.shape) >= 2 else "random"
        plane = TSNE(2, perplexity=perplexity, init=start, random_state=seed).fit_transform(both).astype(np.float64)
        _scatter(panels[1], plane[:num_rows], plane[num_rows:], seed)
    panels[1].set_title(f"t-SNE of both, perplexity {perplexity:.0f}", fontsize=10)
    panels[1].set_xlabel("no unit; distances between far groups mean nothing", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False, fontsize=9.5, markerscale=1.6)
    save_png(figure, path)
    return path


def _write_numbers(axes: Any, values: Floats, limit: float) -> None:
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        text = "0" if abs(value) < 0.005 else f"{value:+.2f}".replace("-", "−")
        colour = "white" if abs(value) > 0.6 * limit else "black"
        number = axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
        number.set_in_layout(False)  # hundreds of them would make the layout slow, and they lie inside anyway


def _draw_correlations(path: Path, names: Sequence[str], matrix: Floats, title: str, scale: str, limit: float) -> None:
    margin = 0.8 + 0.065 * max(map(len, names))
    side = max(0.185 * len(names), 2.2)
    figure = new_figure(side + margin + 1.1, side + margin + 0.7)
    axes = figure.add_subplot()
    drawn = _heat_map(axes, matrix, limit)
    axes.set_aspect("equal")
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.tick_params(length=0)
    axes.set_title(title, loc="left", fontsize=10)
    _draw_scale(figure, axes, drawn, scale, limit, matrix)
    save_png(figure, path)


def _heat_map(axes: Any, values: Floats, limit: float) -> Any:
    """Draw values in blue below 0 and red above, which the colour-blind can tell apart; grey where undefined."""
    import matplotlib as mpl  # noqa: PLC0415

    colours = mpl.colormaps["RdBu_r"].with_extremes(bad=_UNDEFINED)
    drawn = axes.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(np.arange(values.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(values.shape[0] + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    return drawn


def _draw_scale(figure: Any, axes: Any, drawn: Any, name: str, limit: float, *values: Floats) -> None:
    is_cut = any(np.nanmax(np.abs(some), initial=0.0) > limit for some in values)
    num_rows = max(len(some) for some in values)
    bar = figure.colorbar(
        drawn, ax=axes, shrink=0.6 if num_rows > 12 else 0.9, extend="both" if is_cut else "neither", pad=0.02
    )
    bar.set_label(name, fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _limit(values: Floats) -> float:
    """Return where the colours of differences end: wide enough for nearly all, never so narrow that noise glows."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.clip(np.quantile(finite, 0.99), 0.2, 1.0)) if len(finite) else 1.0


def _scatter(axes: Any, real: Floats, synthetic: Floats, seed: int) -> None:
    """Draw both in one shuffled order, so that neither hides the other."""
    size = float(np.clip(6000 / (len(real) + len(synthetic)), 4, 26))
    order = np.random.default_rng(seed).permutation(8)
    named: set[str] = set()
    for number in order:  # a scatter of points of one kind cannot lie both above and below another one
        for name, points, marker in (("real", real, MARKERS[0]), ("synthetic", synthetic, MARKERS[2])):
            part = points[number::8]
            label = f"{name} ({counted(len(points), 'row')})" if name not in named else None
            named.add(name)
            second = part[:, 1] if part.shape[1] > 1 else np.zeros(len(part))
            axes.scatter(
                part[:, 0],
                second,
                s=size,
                marker=marker,
                color=TABLE_COLOURS[name],
                alpha=0.6,
                linewidth=0,
                label=label,
            )
    plain_axes(axes)
