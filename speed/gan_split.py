"""Where the time of a training goes, part by part: `gan_step.py --split`.

Everything is that of the cpu preset (network, number format, minibatch) at full resolution. The data is made up:
512 images of noise with 7 labels, written as a dataset and read back from the system's cache. What is timed is the
real code, by turns and in rounds; a figure is the median over the rounds, differences are taken within a round.

- data: ImagePyramid.batch and random_labels. A training reads ahead in a thread, so this is the most that they cost.
- call, average: AdversarialStep with both updates switched off, without and with weights to average. So `call` holds
  what handing over a minibatch and starting a graph takes.
- D, G: AdversarialStep with the other update switched off, less `call` and `average`.
- summary, pictures and state: a GanTrainer on a schedule of two short ticks; what it spends at the end of the first on
  log line, stats.jsonl and TensorBoard, and on the grid of images and the training state, divided by the steps that a
  tick of the preset has. Snapshots, one in ten ticks, are left out.

Two checks: the parts of a step, one by one, against the step as a whole; and what a step takes in those trainings,
loop, reading ahead and all, against the same step called in a bare loop.
"""

import contextlib
import dataclasses
import io
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import rivals
import tensorflow as tf
from gan_tensorflow import load_application

from medsynth.data.labels import LabelTable, record_order, write_label_table
from medsynth.data.pyramid import ImagePyramid
from medsynth.data.tfrecords import write_split
from medsynth.gan.application import GanApplication, Training
from medsynth.gan.schedule import schedule_at
from medsynth.gan.steps import AdversarialStep, Networks
from medsynth.gan.trainer import GanTrainer
from medsynth.runs import RunFolder
from medsynth.training.distribution import Distribution

NUM_IMAGES, NUM_LABELS = 512, 7
TURN_SECONDS = 1.0
NETWORKS = ("discriminator", "generator")


class Piece:
    """A part of a training that takes timed turns in this process (a `rivals.Contender`, as far as turns go).

    Args:
        name: Of the part.
        turn: Does one turn, and returns the seconds per step.
    """

    def __init__(self, name: str, turn: Callable[[], float]) -> None:
        self.name, self.turn = name, turn
        self.turns: list[tuple[float, float]] = []

    def take_turn(self, num_steps: int) -> None:
        """Do `num_steps` turns, and note what share of the cores other programs took meanwhile."""
        others, start = time.process_time() - rivals.busy_seconds(), time.perf_counter()
        seconds = statistics.mean(self.turn() for _ in range(num_steps))
        others += rivals.busy_seconds() - time.process_time()
        share = others / (time.perf_counter() - start) / rivals.num_cores()
        self.turns.append((seconds, max(share, 0.0)))


def repeated(run: Callable[[], Any]) -> Callable[[], float]:
    """Return a turn that calls `run` for about a second and returns the seconds of one call."""
    steps = rivals.timed_steps(run)
    steps(2)  # tracing, first touch of memory
    num_calls = max(1, round(TURN_SECONDS / steps(1)))
    return lambda: steps(num_calls) / num_calls


class PartialStep(AdversarialStep):
    """The training step with updates left out; whatever else it does stays.

    Args:
        *arguments: Those of the whole step.
        updates: Which of the networks are updated.
        **options: Those of the whole step.
    """

    def __init__(self, *arguments: Any, updates: tuple[str, ...], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.updates = updates

    def _differentiate(self, terms_of: Any, *more: Any) -> tuple[list[Any], dict[str, tf.Tensor]]:
        network = "discriminator" if terms_of == self._discriminator_terms else "generator"
        if network in self.updates:
            return super()._differentiate(terms_of, *more)
        return [], {network: tf.constant(0.0)}

    def _update(self, name: str, *more: Any) -> tf.Tensor:
        if name.removesuffix("_adam") in self.updates:
            return super()._update(name, *more)
        return tf.constant(0)


class ClockedTrainer(GanTrainer):
    """The training loop, with a clock on its steps and on what it does once a tick.

    Attributes:
        seconds: Of every call, by the name of the method.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.seconds: dict[str, list[float]] = {}

    def _do_steps(self, *arguments: Any, **options: Any) -> bool:
        return bool(self._clock("do_steps", super()._do_steps, *arguments, **options))

    def _save(self, *arguments: Any, **options: Any) -> None:
        self._clock("save", super()._save, *arguments, **options)

    def _report(self, *arguments: Any, **options: Any) -> None:
        self._clock("report", super()._report, *arguments, **options)

    def _clock(self, name: str, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        answer = method(*arguments, **options)
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
        return answer


def write_noise(split_folder: Path, resolution: int) -> None:
    """Write a dataset of noise images at one resolution, with labels."""
    rng = np.random.default_rng(1)
    labels = (rng.random((NUM_IMAGES, NUM_LABELS)) < 0.3).astype(np.float32)
    images = rng.integers(0, 256, (NUM_IMAGES, resolution, resolution, 1), dtype=np.uint8)
    write_split(split_folder, images, labels[record_order(NUM_IMAGES)], int(math.log2(resolution)))
    paths = tuple(f"patient{number:05d}/view1_frontal.jpg" for number in range(NUM_IMAGES))
    write_label_table(split_folder, LabelTable(paths, tuple(f"label {n}" for n in range(NUM_LABELS)), labels))


class Workshop:
    """Makes the pieces of one application's training at one resolution.

    Args:
        application: Which GAN.
        resolution: Of the images.
        folder: For everything temporary.

    Attributes:
        minibatch: Images of a step.
        steps_per_tick: Those of the preset.
        precision: Number format.
        tick_seconds: What the first tick of each training spent on `save` and `report`.
    """

    def __init__(self, application: GanApplication, resolution: int, folder: Path) -> None:
        config = application.presets(resolution)["cpu"]
        schedule = dataclasses.replace(config.schedule, initial_resolution=resolution)  # full resolution from the start
        self.point = schedule_at(schedule, resolution, 0)
        self.minibatch, self.precision = self.point.minibatch, config.network.precision
        self.steps_per_tick = self.point.tick_kimg * 1000 / self.minibatch
        write_noise(folder / "train", resolution)
        data = ImagePyramid(folder / "train", resolution, smallest_resolution=resolution, seed=1)
        self.training = Training(application, dataclasses.replace(config, schedule=schedule), data, 1, resolution)
        self.step = self.training.build_step()
        self.folder, self.data, self.resolution = folder, data, resolution
        self.tick_seconds: list[dict[str, float]] = []
        self._numbers = itertools.count()

    def read(self) -> None:
        """Read a minibatch and draw labels for the generator."""
        number = next(self._numbers)
        self.data.batch(number * self.minibatch, self.minibatch, self.resolution)
        self.data.random_labels(number, self.minibatch)

    def caller(self, step: AdversarialStep) -> Callable[[], dict[str, float]]:
        """Return a function that does a step, always with the same images, and waits for it."""
        images, labels = self.data.batch(0, self.minibatch, self.resolution)
        generator_labels = self.data.random_labels(0, self.minibatch)
        rates = (self.point.generator_learning_rate, self.point.discriminator_learning_rate)

        def run() -> dict[str, float]:
            outcome = step(
                images, labels, generator_labels, step=next(self._numbers), stage=0, fade=0.0, learning_rates=rates
            )
            return {name: float(value) for name, value in outcome.items()}

        return run

    def partial(self, *updates: str, networks: Networks | None = None) -> Callable[[], dict[str, float]]:
        """Return the caller of a step with these updates alone.

        Raises:
            SystemExit: It does others, so this script no longer fits AdversarialStep.
        """
        whole = self.step
        step = PartialStep(
            networks or whole.networks, whole.loss, whole.config, seed=1, mirror=whole.mirror, updates=updates
        )
        run = self.caller(step)
        num_done = 2 - int(run()["skipped"])
        if num_done != len(updates):
            raise SystemExit(f"A step that should do {len(updates)} updates did {num_done}, so nothing is timed.")
        return run

    def train(self, num_steps: int) -> float:
        """Train for two ticks of `num_steps` steps, and return the seconds that one of them took in the loop."""
        images_per_tick = num_steps * self.minibatch
        schedule = dataclasses.replace(
            self.training.config.schedule,
            total_kimg=2 * images_per_tick / 1000,
            tick_kimg={},
            default_tick_kimg=images_per_tick / 1000,
        )
        silence = io.StringIO()
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as results_dir,
            contextlib.redirect_stdout(silence),
            contextlib.redirect_stderr(silence),
            RunFolder(Path(results_dir), {"made by": "speed/gan_split.py"}) as run,
        ):
            distribution = Distribution(tf.distribute.get_strategy())
            config = self.training.config.trainer
            trainer = ClockedTrainer(run, self.step, self.data, schedule, config, {}, distribution)
            trainer.train()
        self.tick_seconds.append({name: trainer.seconds[name][0] for name in ("save", "report")})
        return sum(trainer.seconds["do_steps"]) / (2 * num_steps)

    def pieces(self) -> dict[str, Piece]:
        """Trace everything once, and return what takes turns."""
        nothing = SimpleNamespace(variables=[], trainable_variables=[], compute_dtype="float32")
        runs = {
            "data": self.read,
            "call": self.partial(networks=Networks(nothing, nothing, nothing)),
            "call, average": self.partial(),
            **{f"call, average, {network}": self.partial(network) for network in NETWORKS},
            "whole": self.caller(self.step),
        }
        turns = {name: repeated(run) for name, run in runs.items()}
        repeats = self.training.config.trainer.minibatch_repeats
        num_steps = repeats * max(1, round(TURN_SECONDS / turns["whole"]() / repeats))
        self.train(num_steps)
        self.tick_seconds.clear()
        return {name: Piece(name, turn) for name, turn in {**turns, "training": lambda: self.train(num_steps)}.items()}


def table(parts: dict[str, list[float]]) -> str:
    """Return one line per part: milliseconds a step, and the share of all parts together."""
    total = sum(statistics.median(values) for values in parts.values())
    lines = ["| part | ms a step: median (min-max) | share |", "| --- | --- | --- |"]
    for name, values in parts.items():
        milliseconds = [1000 * value for value in values]
        lines.append(f"| {name} | {rivals.spread(milliseconds, '.2f')} | {statistics.median(values) / total:.1%} |")
    return "\n".join([*lines, f"| all | {1000 * total:.2f} | |"])


def split(app: str, resolution: int, num_rounds: int, minutes: float) -> None:
    """Print where the time of a step goes.

    Args:
        app: `prog` or `cpd`.
        resolution: Of the images.
        num_rounds: Undisturbed rounds wanted.
        minutes: The rounds take at most about this.
    """
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(load_application(app), resolution, Path(folder))
        print(
            f"\nGAN_{app} {resolution}x{resolution}, cpu preset: {workshop.precision}, minibatch {workshop.minibatch}, "
            f"{workshop.steps_per_tick:g} steps a tick; {rivals.num_cores()} cores",
            flush=True,
        )
        pieces = workshop.pieces()
        rounds = rivals.compete(list(pieces.values()), num_rounds, 1, minutes * 60)

    def seconds(name: str) -> np.ndarray:
        return np.array([pieces[name].turns[i][0] for i in rounds])

    def per_step(name: str) -> np.ndarray:
        return np.array([workshop.tick_seconds[i][name] for i in rounds]) / workshop.steps_per_tick

    updates = {network: seconds(f"call, average, {network}") - seconds("call, average") for network in NETWORKS}
    others = {
        "data": seconds("data"),
        "call": seconds("call"),
        "average": seconds("call, average") - seconds("call"),
        "summary": per_step("report"),
        "pictures and state": per_step("save"),
    }
    print(f"{len(rounds)} of {len(pieces['whole'].turns)} rounds count")
    print(table({name: list(values) for name, values in {**updates, **others}.items()}))
    rest, main = (sum(statistics.median(values) for values in parts.values()) for parts in (others, updates))
    print(f"everything but D and G: {rest / (rest + main):.1%} (aim: under 5 %)")
    bare = seconds("whole")
    one_by_one = sum(updates.values()) + seconds("call, average")
    print(
        f"the step as a whole {rivals.spread(list(1000 * bare), '.2f')} ms, "
        f"its parts one by one {rivals.spread(list(1000 * one_by_one), '.2f')} ms"
    )
    added = 100 * (seconds("training") / bare - 1)
    print(
        f"a step in GanTrainer's loop {rivals.spread(list(1000 * seconds('training')), '.2f')} ms, "
        f"{statistics.median(added):+.1f} % ({min(added):+.1f} to {max(added):+.1f}) to the bare step"
    )
    if max(piece.turns[i][1] for piece in pieces.values() for i in rounds) > rivals.BUSY_SHARE:
        print("THE MACHINE WAS BUSY: other programs took part of the cores, so these figures prove nothing.")
