"""What `test.py analyse` does: a synthetic table against the real one, in numbers, pictures and a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from GAN_joint.analysis import table_figures, table_maps
from GAN_joint.analysis.closest_records import ClosestRecords, closest_records
from GAN_joint.analysis.detection import CLASSIFIERS, MINIMUM_ROWS, NUM_FOLDS, detection
from GAN_joint.analysis.results import (
    FLOOR,
    SMALL,
    SYNTHETIC,
    UNRELATED,
    Analysis,
    Comparison,
    cell_text,
    summary_text,
    table_notes,
)
from GAN_joint.analysis.table_metrics import (
    KS,
    column_similarities,
    mean_similarities,
    pair_similarities,
    shuffled_columns,
)
from GAN_joint.analysis.table_report import Figure, write_results
from GAN_joint.analysis.tables import encode_tables
from GAN_joint.origin import origin_notes, require_same_columns
from GAN_joint.paired_data import read_paired_rows
from GAN_joint.synthetic import SyntheticSet
from medsynth.classify.neighbours.memorisation import MINIMUM_HELD_OUT
from medsynth.data.wording import counted
from medsynth.errors import UsageError
from medsynth.files import make_folder
from medsynth.progress import Progress
from medsynth.runs import require_own_folder

MOST_ROWS = 100_000
# Of as few synthetic rows as there are held-out ones: their mean hardly depends on which rows are drawn.
_NUM_DRAWS = 10


def analyse_folders(data_dir: Path, synthetic_dir: Path, out_dir: Path, *, seed: int, max_rows: int) -> None:
    """Compare the synthetic rows of a folder with the real ones that its generator was trained on.

    Args:
        data_dir: The real patients, as for train.py.
        synthetic_dir: Made by test.py generate.
        out_dir: See `analyse`.
        seed: See `analyse`.
        max_rows: See `analyse`.

    Raises:
        MedsynthError: Either folder cannot be used, or they have other columns.
    """
    real, synthetic = read_paired_rows(data_dir), SyntheticSet(synthetic_dir)
    require_own_folder(out_dir, (data_dir, synthetic_dir))
    require_same_columns(real.encoder, synthetic.encoder, synthetic_dir)
    held_out = real.frame[real.is_test] if real.is_test.any() else None
    kinds = {name: place.kind for name, place in real.encoder.column_slices.items()}
    train, notes = real.frame[~real.is_test], [*real.notes, *origin_notes(real, synthetic)]
    # What comes from a csv file is text and numbers; the schema's own types are those of the encoder.
    made = synthetic.encoder.decode(synthetic.encoder.encode(synthetic.frame))
    analyse(train, held_out, made, kinds, out_dir, seed=seed, max_rows=max_rows, notes=notes)


def analyse(
    real_train: pd.DataFrame,
    real_test: pd.DataFrame | None,
    synthetic: pd.DataFrame,
    kinds: Mapping[str, str],
    out_dir: Path,
    *,
    seed: int,
    max_rows: int = MOST_ROWS,
    notes: Sequence[str] = (),
) -> str:
    """Compare a synthetic table with the real one, write everything to a folder, and print a short table.

    Tables hold the columns of `kinds` and no others, in any order, in real units and without missing values.

    Args:
        real_train: Rows that the generator was trained on.
        real_test: Real rows that it was not trained on, for the floor; None where there are none.
        synthetic: Rows that it made.
        kinds: Kind of every column: number, binary, category or target.
        out_dir: Gets metrics.json, metrics.csv, report.html and the pictures.
        seed: Of all draws.
        max_rows: Of a table with more rows, so many are drawn.
        notes: What a reader must know, a sentence each: they stand at the top of the report.

    Returns:
        The short table that was printed.

    Raises:
        UsageError: `max_rows` is below 1, or a kind is none.
        DataError: Columns that differ, missing values, text in a column of numbers (see `encode_tables`).
        RunFolderError: No space, or no permission to write.
    """
    if max_rows < 1:
        raise UsageError("--max-rows is the number of rows to use, at least 1.", received=max_rows)
    frames = {"real training rows": real_train, "held-out real rows": real_test, "synthetic rows": synthetic}
    given = {name: frame for name, frame in frames.items() if frame is not None}
    tables = encode_tables(given, kinds)
    all_notes = [*notes, *table_notes(tables["real training rows"], tables["synthetic rows"])]
    all_notes += _size_notes(given, max_rows)
    make_folder(out_dir)

    train = _drawn(real_train, max_rows, seed)
    made = _drawn(synthetic, max_rows, seed)
    test = None if real_test is None else _drawn(real_test, max_rows, seed)
    comparisons = _comparisons(train, test, made, kinds, seed)
    with_bar = Progress("closest rows", len(made) + (0 if test is None else len(test)), "rows")
    closest = closest_records(train, test, made, kinds, seed=seed, progress=with_bar)
    with_bar.close()
    analysis = Analysis(
        num_train=len(train),
        num_held_out=0 if test is None else len(test),
        num_synthetic=len(made),
        comparisons=comparisons,
        closest=closest,
        kinds=dict(kinds),
        seed=seed,
        notes=tuple(all_notes),
    )
    figures = _draw(out_dir, table_figures.Shown(train, made, test, kinds), comparisons, closest, seed)
    write_results(out_dir, analysis, figures)
    text = summary_text(analysis)
    print(text)
    return text


def _size_notes(frames: Mapping[str, pd.DataFrame], max_rows: int) -> list[str]:
    notes = [
        f"Of {len(frame):,} {name}, {max_rows:,} were drawn." for name, frame in frames.items() if len(frame) > max_rows
    ]
    sizes = {name: min(len(frame), max_rows) for name, frame in frames.items()}
    held_out = sizes.get("held-out real rows", 0)
    if held_out == 0:
        notes.append("There are no held-out real rows, so no floor, and nothing to hold the distances against.")
    elif held_out < MINIMUM_HELD_OUT:
        notes.append(
            f"A 5th percentile of distances needs {MINIMUM_HELD_OUT} held-out real rows; there are {held_out}."
        )
    if min(sizes.values()) < MINIMUM_ROWS:
        notes.append(f"Detection needs {MINIMUM_ROWS} rows of either table, and is left out where there are fewer.")
    return notes


def _drawn(frame: pd.DataFrame, num_rows: int, seed: int) -> pd.DataFrame:
    """Return so many rows of a table, in their order; all where there are fewer."""
    if len(frame) <= num_rows:
        return frame
    return frame.iloc[np.sort(np.random.default_rng(seed).permutation(len(frame))[:num_rows])]


def _comparisons(
    train: pd.DataFrame, test: pd.DataFrame | None, synthetic: pd.DataFrame, kinds: Mapping[str, str], seed: int
) -> dict[str, Comparison]:
    """Compare every table with the training rows."""
    tables = {SYNTHETIC: synthetic} | ({} if test is None else {FLOOR: test})
    num_draws = _NUM_DRAWS if test is not None and len(synthetic) > len(test) else 0
    num_pairs = len(kinds) * (len(kinds) - 1) // 2

    bar = Progress("columns", len(kinds) * (len(tables) + num_draws), "columns")
    columns = {
        name: column_similarities(train, table, kinds, seed=seed, progress=bar) for name, table in tables.items()
    }
    draws = [_drawn(synthetic, len(test), seed + number) for number in range(num_draws)] if test is not None else []
    few = [column_similarities(train, draw, kinds, num_resamples=0, progress=bar) for draw in draws]
    bar.close()

    bar = Progress("pairs of columns", num_pairs * (len(tables) + 1 + num_draws), "pairs")
    pairs = {
        name: pair_similarities(train, table, kinds, seed=seed, progress=bar)
        for name, table in (*tables.items(), (UNRELATED, shuffled_columns(synthetic, seed)))
    }
    few_pairs = [pair_similarities(train, draw, kinds, num_resamples=0, progress=bar) for draw in draws]
    bar.close()

    bar = Progress("detection", len(tables) * len(CLASSIFIERS) * NUM_FOLDS, "trainings")
    detected = {name: detection(train, table, kinds, seed=seed, progress=bar) for name, table in tables.items()}
    bar.close()
    found = {name: Comparison(len(table), columns[name], pairs[name], detected[name]) for name, table in tables.items()}
    if draws:
        found[SMALL] = Comparison(len(draws[0]), mean_similarities(few), mean_similarities(few_pairs), None)
    found[UNRELATED] = Comparison(len(synthetic), None, pairs[UNRELATED], None)
    return {name: found[name] for name in (SYNTHETIC, SMALL, FLOOR, UNRELATED) if name in found}


def _draw(
    out_dir: Path,
    shown: table_figures.Shown,
    comparisons: Mapping[str, Comparison],
    closest: ClosestRecords,
    seed: int,
) -> list[Figure]:
    """Draw every picture."""
    scores = _score_lines(comparisons[SYNTHETIC])
    distributions = "The distribution of every column"
    dependence = "How columns depend on each other"
    figures: list[Figure] = []
    bar = Progress("pictures", 7, "steps")
    for draw, caption in (
        (table_figures.number_figures, "Columns of numbers. KS complement of the synthetic rows above each"),
        (table_figures.share_figures, "Binary columns and targets. TV complement of the synthetic rows beside each"),
        (table_figures.category_figures, "Categories. TV complement of the synthetic rows above each"),
    ):
        figures += [Figure(path, distributions, f"{caption}.") for path in draw(out_dir, shown, scores)]
        bar.advance()
    statistics = table_maps.statistics_figure(out_dir / "statistics_difference.png", shown)
    figures.append(
        Figure(
            statistics,
            "Descriptive statistics",
            "Synthetic minus real, in shares of the real range; for columns that are no numbers, difference of shares.",
        )
    )
    bar.advance()
    captions = ("The real table.", "The synthetic table.", "Synthetic minus real. Grey: a constant column.")
    paths = table_maps.correlation_figures(out_dir, shown)
    figures += [
        Figure(path, dependence, f"Pearson's correlations. {caption}")
        for path, caption in zip(paths, captions, strict=True)
    ]
    bar.advance()
    figures.append(
        Figure(
            table_maps.projection_figure(out_dir / "projections.png", shown, seed=seed),
            "The tables as a whole",
            "Rows projected onto a plane. Where one kind stands alone, the tables differ.",
        )
    )
    bar.advance()
    path = out_dir / "closest_records.png"
    table_figures.closest_records_figure(path, closest.synthetic, closest.held_out, closest.threshold)
    figures.append(
        Figure(
            path,
            "Copies",
            f"Distance to the closest training row. {counted(closest.num_copies, 'exact copy')} of a training row "
            f"among the synthetic rows, {closest.num_copies_held_out:,} among the held-out real ones.",
        )
    )
    bar.advance()
    bar.close()
    return figures


def _score_lines(comparison: Comparison) -> dict[str, str]:
    """Return a line for every column: its score."""
    scores = () if comparison.columns is None else comparison.columns.scores
    return {
        score.columns[0]: f"{'KS' if score.measure == KS else 'TV'} complement {cell_text(score.interval, 2)}"
        for score in scores
    }
