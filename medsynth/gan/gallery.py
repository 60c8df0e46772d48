"""Pictures and videos from a trained generator: what an application's generate.py calls.

Everything written says in its metadata that it is synthetic.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin
from scipy.ndimage import gaussian_filter1d

from medsynth.data.tfrecords import Images
from medsynth.errors import UsageError
from medsynth.files import atomic_path, make_folder
from medsynth.gan.sampling import Floats
from medsynth.gan.trained import (
    BLOCK_SIZE,
    NUM_SEEDS,
    TrainedGenerator,
    label_rows,
    open_generator,
    require_truncation,
    rows_of_split,
    single_label_rows,
)
from medsynth.gan.training_video import write_training_video
from medsynth.progress import Progress
from medsynth.report.captions import enlarge, row_names
from medsynth.report.grids import image_sheet
from medsynth.report.video import count_frames, require_video, write_video

_MOST_IMAGES, _MOST_COLUMNS, _MOST_PATHS = 1_000_000, 1000, 64
_SHORTEST_SMOOTHING = 1e-3  # seconds
_SMALLEST_TILE = 64  # pixels; smaller images are enlarged in a grid
_SCREEN = (720, 1280)  # rows, columns; small pictures are enlarged to about this size


def write_images(
    generate: TrainedGenerator, out_dir: Path, seeds: range, rows: Floats, *, truncation: float = 1.0
) -> None:
    """Write a PNG file for each seed, `seedNNNNNN.png`.

    Args:
        generate: The generator.
        out_dir: Made where it does not exist; files of the same seed are replaced.
        seeds: One per image.
        rows: Label rows [M, L], in turn: image i has row i modulo M.
        truncation: Factor of the latents, in (0, 1].

    Raises:
        UsageError: `truncation` or a seed is out of range.
        RunFolderError: A file cannot be written.
    """
    require_truncation(truncation)
    _require_seed_range("--num", seeds, _MOST_IMAGES)
    make_folder(out_dir)
    progress = Progress("images", len(seeds), "images")
    images = generate.stream(seeds, rows[np.arange(len(seeds)) % len(rows)], truncation=truncation)
    for number, (seed, image) in enumerate(zip(seeds, images, strict=True)):
        names = [name for name, value in zip(generate.label_names, rows[number % len(rows)], strict=True) if value]
        save_png(
            out_dir / f"seed{seed:06d}.png", image, generate, {"seed": seed, "labels": names, "truncation": truncation}
        )
        progress.advance()
    progress.close()


def write_grid(
    generate: TrainedGenerator,
    path: Path,
    seeds: range,
    combinations: Sequence[str] = (),
    *,
    truncation: float = 1.0,
) -> None:
    """Write one PNG: a row for each label alone and each combination of labels, a column for each seed.

    Args:
        generate: The generator.
        path: The .png file.
        seeds: One per column; the images are those that `write_images` makes of them.
        combinations: Names with commas between them ("Edema,Mass"), a further row each.
        truncation: Factor of the latents, in (0, 1].

    Raises:
        UsageError: Unknown labels, or a name that does not end in .png.
        RunFolderError: The file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UsageError("A grid's name ends in .png.", received=path.name)
    require_truncation(truncation)
    _require_seed_range("--columns", seeds, _MOST_COLUMNS)
    captions, rows = single_label_rows(generate.label_names)
    for combination in combinations:
        captions.append(combination)
        rows = np.concatenate([rows, label_rows(combination, generate.label_names, 1)])
    progress = Progress("grid", len(rows) * len(seeds), "images")
    images = []
    for row in rows:
        for image in generate.stream(seeds, np.tile(row, (len(seeds), 1)), truncation=truncation):
            images.append(image)
            progress.advance()
    progress.close()
    zoom = max(_SMALLEST_TILE // generate.network.resolution, 1)
    sheet = enlarge(image_sheet(np.stack(images), len(seeds)), zoom)
    margin = row_names(captions, zoom * generate.network.resolution, sheet.shape[2])
    save_png(
        path,
        np.concatenate([margin, sheet], axis=1),
        generate,
        {"rows": captions, "columns": list(seeds), "truncation": truncation},
    )


def write_interpolation(
    generate: TrainedGenerator,
    path: Path,
    *,
    seconds: float = 60.0,
    fps: float = 30.0,
    seed: int = 1000,
    smoothing: float = 1.0,
    num_columns: int = 4,
    label_choices: Sequence[str] = (),
    truncation: float = 1.0,
) -> None:
    """Write a video in which the latents wander, and end where they began.

    A row of images for each choice of labels; all rows follow the same latents, a path per column.

    Args:
        generate: The generator.
        path: The .mp4 file.
        seconds: Length.
        fps: Frames a second.
        seed: Of the latents.
        smoothing: See `latent_paths`.
        num_columns: Paths.
        label_choices: Names with commas between them; where empty, each label alone.
        truncation: Factor of the latents, in (0, 1].

    Raises:
        UsageError: Unknown labels or a number out of range.
        DependencyError: ffmpeg is missing.
        RunFolderError: The file cannot be written.
    """
    require_video(path)
    require_truncation(truncation)
    num_frames = count_frames(seconds, fps)
    if not _SHORTEST_SMOOTHING <= smoothing < np.inf:
        raise UsageError(f"--smoothing is at least {_SHORTEST_SMOOTHING:g} seconds.", received=smoothing)
    captions, rows = list(label_choices), [label_rows(choice, generate.label_names, 1) for choice in label_choices]
    if not captions:
        captions, single = single_label_rows(generate.label_names)
        rows = [single]
    latents = latent_paths(seed, num_frames, num_columns, generate.network.latent_size, smoothing * fps)
    frames = _frames(generate, latents * np.float32(truncation), np.concatenate(rows), captions)
    write_video(path, frames, fps=fps, num_frames=num_frames, comment=generate.mark())


def latent_paths(seed: int, num_frames: int, num_paths: int, latent_size: int, sigma: float) -> Floats:
    """Return closed paths of latents: float32 [num_frames, num_paths, latent_size], RMS 1.

    Independent normal latents of RandomState(seed) for every frame, smoothed along time by a Gaussian that
    wraps round the end, and divided by the root mean square of them all.

    Args:
        seed: Of the latents.
        num_frames: Length; frame 0 follows the last one.
        num_paths: Independent paths.
        latent_size: Z.
        sigma: Of the Gaussian, in frames.

    Raises:
        UsageError: A number out of range.
    """
    if not 0 < num_paths <= _MOST_PATHS:
        raise UsageError(f"--columns is from 1 to {_MOST_PATHS}.", received=num_paths)
    latents = np.random.RandomState(seed).randn(num_frames, num_paths, latent_size)
    # A longer Gaussian than the loop itself is as good as flat.
    latents = gaussian_filter1d(latents, min(sigma, num_frames), axis=0, mode="wrap")
    latents /= np.sqrt(np.mean(latents**2))
    return latents.astype(np.float32)


def _frames(generate: TrainedGenerator, latents: Floats, rows: Floats, captions: Sequence[str]) -> Iterator[Images]:
    """Yield a frame [H, W, C] for each step of the latents [F, P, Z]: a row per label row, a column per path."""
    num_frames, num_columns, latent_size = latents.shape
    num_tiles = len(rows) * num_columns
    step = max(BLOCK_SIZE // num_tiles, 1)
    sampler = generate.sampler(step * num_tiles)
    resolution = generate.network.resolution
    zoom = max(min(_SCREEN[0] // (len(rows) * resolution), _SCREEN[1] // (num_columns * resolution)), 1)
    margin = row_names(captions, zoom * resolution, generate.network.num_channels)
    for start in range(0, num_frames, step):
        some = latents[start : start + step]
        # [f, P, Z] -> [f, 1, P, Z] -> [f, R, P, Z] -> [f*R*P, Z]
        tiled = np.repeat(some[:, None], len(rows), axis=1).reshape(-1, latent_size)
        tiled_rows = np.tile(rows.repeat(num_columns, axis=0), (len(some), 1))
        (images,) = sampler(tiled, tiled_rows)
        # [f*R*P, H, W, C] -> [f, R*P, H, W, C]
        for tiles in images.reshape(len(some), num_tiles, *images.shape[1:]):
            yield np.concatenate([margin, enlarge(image_sheet(tiles, num_columns), zoom)], axis=1)


def save_png(path: Path, image: Images, generate: TrainedGenerator, facts: Mapping[str, Any]) -> None:
    """Write an image [H, W, C] as PNG, atomically, marked as synthetic in its text chunks."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", generate.mark())
    text.add_text("medsynth", json.dumps({"synthetic": True, "images_seen": generate.facts["images_seen"], **facts}))
    with atomic_path(path) as temporary:
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        picture.save(temporary, format="PNG", pnginfo=text)


def _require_seed_range(option: str, seeds: range, limit: int) -> None:
    """Refuse too few or too many of what an option counts, and seeds that are none."""
    if not 0 < len(seeds) <= limit:
        raise UsageError(f"{option} is from 1 to {limit:,}.", received="0 or less" if not seeds else len(seeds))
    if seeds[0] < 0 or seeds[-1] >= NUM_SEEDS:
        raise UsageError(f"Seeds are from 0 to {NUM_SEEDS - 1}.", received=f"{seeds[0]} to {seeds[-1]}")


def run(classes: Mapping[str, type], arguments: argparse.Namespace) -> None:
    """Do what the command line of an application's generate.py asks for.

    Args:
        classes: The application's `generator_classes`.
        arguments: As the parser of `command_line.generate_parser` reads them.

    Raises:
        MedsynthError: Whatever is wrong with them.
    """
    _COMMANDS[arguments.command](classes, arguments)
    print(f"wrote {arguments.out}")


def _run_images(classes: Mapping[str, type], arguments: argparse.Namespace) -> None:
    generate = open_generator(classes, arguments.results_dir, arguments.snapshot)
    rows = _chosen_rows(generate, arguments)
    num_images = len(rows) if arguments.num is None else arguments.num
    seeds = range(arguments.seed, arguments.seed + num_images)
    write_images(generate, arguments.out, seeds, rows, truncation=arguments.truncation)


def _run_grid(classes: Mapping[str, type], arguments: argparse.Namespace) -> None:
    generate = open_generator(classes, arguments.results_dir, arguments.snapshot)
    seeds = range(arguments.seed, arguments.seed + arguments.columns)
    write_grid(generate, arguments.out, seeds, arguments.combination, truncation=arguments.truncation)


def _run_interpolate(classes: Mapping[str, type], arguments: argparse.Namespace) -> None:
    write_interpolation(
        open_generator(classes, arguments.results_dir, arguments.snapshot),
        arguments.out,
        seconds=arguments.seconds,
        fps=arguments.fps,
        seed=arguments.seed,
        smoothing=arguments.smoothing,
        num_columns=arguments.columns,
        label_choices=arguments.labels,
        truncation=arguments.truncation,
    )


def _run_progress(classes: Mapping[str, type], arguments: argparse.Namespace) -> None:
    write_training_video(
        arguments.results_dir,
        arguments.out,
        seconds=arguments.seconds,
        fps=arguments.fps,
        time_warp=arguments.time_warp,
    )


_COMMANDS = {"images": _run_images, "grid": _run_grid, "interpolate": _run_interpolate, "progress": _run_progress}


def _chosen_rows(generate: TrainedGenerator, arguments: argparse.Namespace) -> Floats:
    """Return the label rows [M, L] that --labels, --label-vector or --from-data ask for."""
    if arguments.from_data is not None:
        return rows_of_split(arguments.from_data, arguments.split, generate.label_names)
    if arguments.label_vector is not None:
        return label_rows(_read_vector(arguments.label_vector), generate.label_names, 1)
    return label_rows(arguments.labels or "", generate.label_names, 1)


def _read_vector(text: str) -> npt.NDArray[np.float32]:
    try:
        return np.array([float(part) for part in text.split(",")] if text else [], np.float32)
    except ValueError:
        raise UsageError("--label-vector is 0s and 1s with commas between them.", received=text) from None
