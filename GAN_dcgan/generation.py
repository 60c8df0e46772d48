"""Synthetic frames in files: any number of them, each fixed by the seed and its own number alone."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from GAN_dcgan.application import APPLICATION
from medsynth.files import remove_leftovers, sha256_of
from medsynth.gan.numbered import (
    GENERATOR_DIGEST,
    BlockSampler,
    aligned_parts,
    require_free_folder,
    require_numbers,
    write_image_files,
)
from medsynth.gan.trained import AVERAGE, network_folder, open_generator
from medsynth.interrupts import StoppedError, StopRequest
from medsynth.parallel import available_cpus
from medsynth.progress import Progress
from medsynth.runs import RunFolder
from medsynth.training.distribution import mirrored

IMAGES_FOLDER, DONE_NAME = "images", "_generation-done.txt"


@dataclass(frozen=True)
class GenerationRequest:
    """Which frames to generate, and how.

    Attributes:
        seed: Together with a frame's number it fixes the frame.
        first: Number of the first one.
        num: How many.
        num_gpus: That share the work; what comes out does not depend on it.
        snapshot: The kimg of a snapshot; None for the final network.
    """

    seed: int
    first: int
    num: int
    num_gpus: int = 1
    snapshot: int | None = None

    def __post_init__(self) -> None:
        require_numbers(self.first, self.num)


def generate(results_dir: Path, out_dir: Path, request: GenerationRequest) -> None:
    """Generate frames with a trained generator; the same command goes on where it was stopped.

    Writes out_dir/images/part-NNNNNNNNNN/NNNNNNNNNN.png and config.json.

    Args:
        results_dir: Of a training, or a bundle.
        out_dir: New, empty, or of the same generation.
        request: Which frames, and how.

    Raises:
        MedsynthError: No such network, another generation in the folder, a full disk.
    """
    strategy = mirrored(request.num_gpus)
    with strategy.scope():
        trained = open_generator(APPLICATION.generator_classes, results_dir, request.snapshot)
    weights = network_folder(results_dir, request.snapshot) / f"{AVERAGE}.safetensors"
    settings = {
        "random_seed": request.seed,
        "first": request.first,
        "num": request.num,
        GENERATOR_DIGEST: sha256_of(weights),
        "mark": trained.mark(),
    }
    require_free_folder(out_dir, "frames")
    folders = _part_folders(request, out_dir)
    with RunFolder(out_dir, settings, done_name=DONE_NAME) as run:
        if run.is_done and all(folder.is_dir() for folder in folders.values()):
            run.log(f"{out_dir} holds all {request.num:,} frames; nothing to do.")
            return
        _write_parts(BlockSampler(trained.network, request.seed, strategy), request, folders)
        run.mark_done(f"{request.num:,} frames")
        run.log(f"{request.num:,} synthetic frames: {out_dir}")


def _part_folders(request: GenerationRequest, out_dir: Path) -> dict[range, Path]:
    parts = aligned_parts(request.first, request.num)
    return {part: out_dir / IMAGES_FOLDER / f"part-{part.start:010d}" for part in parts}


def _write_parts(sampler: BlockSampler, request: GenerationRequest, folders: dict[range, Path]) -> None:
    left = [part for part, path in folders.items() if not path.is_dir()]
    num_done = request.num - sum(map(len, left))
    progress = Progress("generate", request.num, "frames", done=num_done)

    def until_stopped(part: range, stop: StopRequest) -> Iterator[tuple[Any, ...]]:
        for block in sampler.outputs(part):
            if stop.is_made:
                raise StoppedError(stop.signal_number or signal.SIGTERM, f"{num_done:,} frames")
            yield block
            progress.advance(len(block[0]))

    with StopRequest() as stop, ThreadPoolExecutor(available_cpus(), thread_name_prefix="images") as threads:
        for part in left:
            remove_leftovers(folders[part])
            for _ in write_image_files(folders[part], until_stopped(part, stop), _file_name, threads):
                pass
            num_done += len(part)
    progress.close()


def _file_name(number: int) -> str:
    return f"{number:010d}.png"
