"""Trains one GAN with several settings and seeds for the same time, and evaluates every training."""

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.steps import ROOT, StepFailedError, thread_limits
from benchmark.variant_report import Outcome, Variant, draw_samples, draw_values, results_csv, table_text
from medsynth.errors import DataError, UsageError
from medsynth.files import make_folder, read_json, write_json, write_text
from medsynth.metrics.catalogue import METRICS, metric_of_row, parse_metrics
from medsynth.parallel import available_cpus
from medsynth.progress import Progress
from medsynth.runs import DONE_NAME, LOG_NAME, RunFolder

GAN = "GAN_dcgan"
_TRIAL_KIMG, _LEAST_KIMG, _TICKS = 4, 1.0, 10
_EVALUATION_SEED, _SAMPLE_COLUMNS = 1, 12
_KIMG, _SAMPLES, _STATS = "kimg.json", "samples.png", "stats.jsonl"


@dataclass(frozen=True)
class Request:
    """What to train and how to compare it.

    Attributes:
        out_dir: For everything that is made.
        data_dir: A dataset made by build_dataset.
        resolution: Of the images.
        variants: Settings; the first is what the others are held against.
        options: Of train.py, for all variants.
        minutes: Of each training.
        num_seeds: Each variant is trained with the seeds 1 to so many.
        num_jobs: Trainings at once, which share the processor's cores evenly.
        metrics: Of evaluate.py, with commas.
        features: Of evaluate.py.
        weights: Of the features.
        split: Whose images are compared with.
        with_floor: Whether real images are compared with others, which leaves half of them for each comparison.
    """

    out_dir: Path
    data_dir: Path
    resolution: int
    variants: tuple[Variant, ...]
    options: tuple[str, ...]
    minutes: float
    num_seeds: int
    num_jobs: int
    metrics: str
    features: str
    weights: Path | None
    split: str
    with_floor: bool = True

    def __post_init__(self) -> None:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise UsageError("Each variant needs a name of its own.", received=", ".join(names))
        for name, value in (("--minutes", self.minutes), ("--seeds", self.num_seeds), ("--jobs", self.num_jobs)):
            if not value > 0:
                raise UsageError(f"{name} is above 0.", received=value)

    def settings(self) -> dict[str, Any]:
        """Return what all results depend on; variants, seeds and metrics can be added to."""
        return {
            "data": str(self.data_dir.resolve()),
            "resolution": self.resolution,
            "options": shlex.join(self.options),
            "minutes": self.minutes,
            "trainings_at_once": self.num_jobs,
            "with_floor": self.with_floor,
        }


def parse_variant(text: str) -> Variant:
    """Return the variant of `NAME` (a preset) or `NAME=OPTIONS`.

    Raises:
        UsageError: The name cannot be that of a folder, or the options have an open quote.
    """
    name, has_options, options = text.partition("=")
    if not re.fullmatch(r"[\w.+-]+", name):
        raise UsageError("A variant is NAME or 'NAME=OPTIONS'; its name is that of a folder.", received=text)
    try:
        return Variant(name, tuple(shlex.split(options)) if has_options else ("--preset", name))
    except ValueError as error:
        raise UsageError(f"The options of a variant cannot be read: {error}.", received=text) from None


def compare_variants(request: Request) -> str:
    """Train and evaluate every variant with every seed, and return the table.

    Raises:
        StepFailedError: A variant cannot be trained, or a training or an evaluation failed; its log is named.
        MedsynthError: The minutes are too few, or the folder holds another comparison, or cannot be written.
    """
    with RunFolder(request.out_dir, request.settings()) as folder:
        session = _Session(request)
        trials = [variant for variant in request.variants if not session.kimg_path(variant).is_file()]
        session.check(trials)
        session.each("trials", trials, session.try_out)
        runs = [(variant, seed) for seed in range(1, request.num_seeds + 1) for variant in request.variants]
        session.each("trainings", runs, lambda run: session.train(*run))
        outcomes = [session.outcome(variant, seed) for variant, seed in runs]
        text = table_text(outcomes, request.variants)
        write_text(folder.path / "table.txt", text)
        write_text(folder.path / "results.csv", results_csv(outcomes))
        draw_values(folder.path / "collapse.png", outcomes, request.variants)
        draw_samples(folder.path / _SAMPLES, outcomes, request.variants)
    return text


class _Session:
    def __init__(self, request: Request) -> None:
        self.request = request
        self._environment = {**os.environ, **thread_limits(max(available_cpus() // request.num_jobs, 1))}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    def kimg_path(self, variant: Variant) -> Path:
        """Return the file that says how long a variant is trained."""
        return self.request.out_dir / variant.name / _KIMG

    def each(self, label: str, work: list[Any], function: Any) -> None:
        """Call the function for all of it, several at once; the first that fails ends the others."""
        progress = Progress(label, len(work), label)
        has_failed = threading.Event()

        def begin(item: Any) -> None:
            if has_failed.is_set():  # before this thread is told to stop
                return
            try:
                function(item)
            except BaseException:
                has_failed.set()
                raise

        try:
            with ThreadPoolExecutor(self.request.num_jobs) as pool:
                try:
                    for _ in pool.map(begin, work):
                        progress.advance()
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    self._stop()
                    raise
        finally:
            progress.close()

    def check(self, variants: list[Variant]) -> None:
        """Have every variant's data and settings looked at before any of them is tried out."""
        progress = Progress("checks", len(variants), "variants")
        for variant in variants:
            self._train(variant, self._folder(variant, 1), 1, _LEAST_KIMG, tick_kimg=1, is_check=True)
            progress.advance()
        progress.close()

    def try_out(self, variant: Variant) -> None:
        """Find out how many thousand images a variant sees in the minutes, and write it.

        Raises:
            UsageError: Too few; no variant is trained for longer than the others.
        """
        folder = make_folder(self.request.out_dir / variant.name)
        self._train(variant, folder / "trial", 1, _TRIAL_KIMG, tick_kimg=1)
        ticks = _stats(folder / "trial")[1:]  # the first one includes the making of the graph
        rate = sum(tick["Timing/sec_per_tick"] for tick in ticks) / (len(ticks) or 1)
        kimg = round(self.request.minutes * 60 / rate, 1)
        if kimg < _LEAST_KIMG:
            raise UsageError(
                f"--minutes is enough for {_LEAST_KIMG:g} kimg (1,000 images) of every variant; {variant.name} takes "
                f"{rate * _LEAST_KIMG / 60:.2g} minutes for that.",
                received=f"{self.request.minutes:g}",
            )
        write_json(self.kimg_path(variant), {"kimg": kimg, "seconds_per_kimg_in_trial": rate})

    def train(self, variant: Variant, seed: int) -> None:
        """Train a variant with a seed, evaluate it, and draw some of its images."""
        request, folder = self.request, self._folder(variant, seed)
        kimg = read_json(self.kimg_path(variant))["kimg"]
        if not (folder / DONE_NAME).exists():
            self._train(variant, folder, seed, kimg, tick_kimg=kimg / _TICKS)
        weights = () if request.weights is None else ("--weights", request.weights)
        comparison = ("--metrics", request.metrics, "--features", request.features, *weights)
        draws = ("--split", request.split, "--seed", _EVALUATION_SEED, *(() if request.with_floor else ("--no-floor",)))
        log = folder.with_suffix(".log")
        self._run(log, f"{GAN}/evaluate.py", "metrics", folder, request.data_dir, *comparison, *draws)
        sheet = (folder / _SAMPLES, "--columns", _SAMPLE_COLUMNS)
        self._run(log, f"{GAN}/generate.py", "grid", folder, *sheet, "--seed", _EVALUATION_SEED)

    def outcome(self, variant: Variant, seed: int) -> Outcome:
        """Read what came out of a training.

        Raises:
            DataError: The metrics are not there.
        """
        folder, request = self._folder(variant, seed), self.request
        metrics = parse_metrics(request.metrics)
        needs_features = any(METRICS[name].needs != "pixels" for name in metrics)
        start = f"{request.features if needs_features else 'pixels'}-{request.split}-n"
        end = f"-seed{_EVALUATION_SEED}{'' if request.with_floor else '-nofloor'}.json"
        found = sorted((folder / "metrics").glob(f"{start}*{end}"))
        if len(found) != 1:
            raise DataError("One record of metrics was expected.", received=len(found), path=folder / "metrics")
        record = read_json(found[0])
        (network,) = record["networks"].values()
        last = _stats(folder)[-1]
        return Outcome(
            variant=variant.name,
            seed=seed,
            kimg=last["Progress/kimg"],
            minutes=60 * last["Timing/total_hours"],
            num_images=record["settings"]["n"],
            rows={name: row for name, row in network["rows"].items() if metric_of_row(name) in metrics},
            samples=folder / _SAMPLES,
        )

    def _folder(self, variant: Variant, seed: int) -> Path:
        return self.request.out_dir / variant.name / f"seed-{seed}"

    def _train(
        self, variant: Variant, folder: Path, seed: int, kimg: float, *, tick_kimg: float, is_check: bool = False
    ) -> None:
        request = self.request
        # After a check that fails, the folder holds nothing that binds it to these settings.
        log = request.out_dir / LOG_NAME if is_check else folder.with_suffix(".log")
        schedule = (f"schedule.total_kimg={kimg}", f"schedule.default_tick_kimg={tick_kimg}", "schedule.tick_kimg={}")
        settings = [part for setting in schedule for part in ("--set", setting)]
        settings += ["--dry-run"] if is_check else []
        places = ("train", request.data_dir, folder, seed, request.resolution)
        self._run(log, f"{GAN}/train.py", *places, *request.options, *variant.options, *settings)

    def _run(self, log: Path, script: str, *arguments: Any) -> None:
        command = [sys.executable, str(ROOT / script), *map(str, arguments)]
        with log.open("ab") as output:
            with self._lock:
                process = subprocess.Popen(
                    command, stdout=output, stderr=subprocess.STDOUT, env=self._environment, stdin=subprocess.DEVNULL
                )
                self._running.add(process)
            code = process.wait()
            self._running.discard(process)
        if code:
            lines = log.read_text(errors="replace").splitlines()
            said = next((line for line in reversed(lines) if ": error: " in line), lines[-1] if lines else "nothing")
            raise StepFailedError(f"{shlex.join(command[1:])} failed; see {log}.", received=f"exit code {code}: {said}")

    def _stop(self) -> None:
        """Ask what is running to save its state and end."""
        with self._lock:
            for process in self._running:
                process.terminate()


def _stats(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / _STATS).read_text().splitlines()]
