"""The training loop that every GAN of the suite runs in."""

import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from medsynth.config import require_range
from medsynth.data.pyramid import ImagePyramid
from medsynth.errors import DivergenceError
from medsynth.gan.sampling import draw_latents, grid_shape, make_sampler, sample_all
from medsynth.gan.schedule import Point, RemainingTime, ScheduleConfig, growth_stage, schedule_at
from medsynth.gan.steps import AdversarialStep
from medsynth.progress import Progress, format_duration
from medsynth.report.grids import save_image_grid
from medsynth.runs import RunFolder
from medsynth.training.checkpoint import TrainingState, save_networks

FINAL_FOLDER = "network-final"


@dataclass(frozen=True)
class TrainerConfig:
    """What the loop does besides the steps themselves.

    Attributes:
        minibatch_repeats: Steps between two looks at the schedule.
        mirror: Whether half of the real images are flipped left to right.
        snapshot_ticks: Ticks between two stored networks.
        max_grid_images: Most images of a fakesNNNNNN.png; the published grid has up to 1024.
        max_skipped_in_a_row: Steps with NaN or infinite losses or gradients, one after
            another, that end the training.
    """

    minibatch_repeats: int = 4
    mirror: bool = False
    snapshot_ticks: int = 10
    max_grid_images: int = 1024
    max_skipped_in_a_row: int = 100

    def __post_init__(self) -> None:
        for name in ("minibatch_repeats", "snapshot_ticks", "max_grid_images", "max_skipped_in_a_row"):
            require_range(f"trainer.{name}", getattr(self, name), 1)


@dataclass
class _Position:
    """How far a training is; stored with its state."""

    images_seen: int = 0
    step: int = 0
    tick: int = 0
    num_skipped: int = 0
    seconds: float = 0.0


class GanTrainer:
    """Trains a GAN in a results folder, from its beginning or from its last stored state.

    Args:
        run: The results folder, entered.
        step: Networks, losses and optimisers.
        data: The training images.
        schedule: Resolution, minibatch and rates by images seen.
        config: The loop's settings.
        facts: What the stored networks should say of themselves (application, label names).
    """

    def __init__(
        self,
        run: RunFolder,
        step: AdversarialStep,
        data: ImagePyramid,
        schedule: ScheduleConfig,
        config: TrainerConfig,
        facts: dict[str, Any],
    ) -> None:
        self.run, self.step, self.data = run, step, data
        self.schedule, self.config, self.facts = schedule, config, facts
        self.resolution: int = step.networks.generator.resolution
        self.state = TrainingState(run.path, step.variables())

    def train(self) -> Path:
        """Train to the end of the schedule and return the folder of the final networks.

        Raises:
            DivergenceError: Too many steps in a row were not finite.
            RunFolderError: The disk is full or not writable.
        """
        # Restore: the same command goes on from the newest whole state.
        position = self._restore()
        writer = tf.summary.create_file_writer(str(self.run.path))
        grid = self._start_grid(position)
        total_images = round(self.schedule.total_kimg * 1000)
        progress = Progress("train", total_images / 1000, "kimg", done=position.images_seen / 1000)
        point = schedule_at(self.schedule, self.resolution, position.images_seen)
        remaining = RemainingTime(self.schedule, self.resolution)
        num_skipped_in_a_row = 0

        while position.images_seen < total_images:
            tick_start, tick_images = time.monotonic(), position.images_seen
            metrics: dict[str, list[float]] = defaultdict(list)
            is_tick_over = False

            while not is_tick_over:
                # Schedule: a change of the growth stage starts the optimisers afresh.
                before = growth_stage(point.lod)
                point = schedule_at(self.schedule, self.resolution, position.images_seen)
                if growth_stage(point.lod) != before:
                    self.step.start_optimisers_afresh()

                # Steps: discriminator, average, generator.
                steps_start = time.monotonic()
                for _ in range(self.config.minibatch_repeats):
                    outcome = self._do_step(position, point)
                    position.images_seen += point.minibatch
                    position.step += 1
                    for name, value in outcome.items():
                        metrics[name].append(float(value))
                    num_skipped_in_a_row = num_skipped_in_a_row + 1 if outcome["skipped"] else 0
                    position.num_skipped += int(outcome["skipped"])
                    self._stop_if_diverged(num_skipped_in_a_row, position)
                num_images = point.minibatch * self.config.minibatch_repeats
                remaining.add(point.resolution, (time.monotonic() - steps_start) / num_images)
                progress.update(
                    position.images_seen / 1000,
                    f"lod {point.lod:.2f}",
                    seconds_left=remaining.seconds(position.images_seen),
                )
                is_done = position.images_seen >= total_images
                is_tick_over = is_done or position.images_seen >= tick_images + point.tick_kimg * 1000

            # Tick: pictures, scalars, a status line, and the state that a killed run goes on from.
            position.tick += 1
            seconds = time.monotonic() - tick_start
            position.seconds += seconds
            maintenance_start = time.monotonic()
            self._save_grid(grid, point, position)
            if num_skipped_in_a_row == 0:
                self.state.save(position.images_seen, vars(position))
            if position.tick % self.config.snapshot_ticks == 0 or is_done:
                self._save_networks(f"network-snapshot-{_kimg(position)}", position)
            maintenance = time.monotonic() - maintenance_start
            means = {name: float(np.mean(values)) for name, values in metrics.items()}
            self._report(writer, means, point, position, seconds, maintenance, position.images_seen - tick_images)

        # End: the networks under their final name, then the sign that all is whole.
        progress.close()
        final = self._save_networks(FINAL_FOLDER, position)
        self.run.mark_done(f"{position.images_seen / 1000:.1f} kimg in {format_duration(position.seconds)}")
        return final

    def _do_step(self, position: _Position, point: Point) -> dict[str, Any]:
        images, labels = self.data.batch(position.images_seen, point.minibatch, point.resolution)
        outcome = self.step(
            images,
            labels,
            self.data.random_labels(position.step, point.minibatch),
            step=position.step,
            stage=growth_stage(point.lod)[0],
            fade=point.fade,
            learning_rates=(point.generator_learning_rate, point.discriminator_learning_rate),
        )
        return {name: value.numpy() for name, value in outcome.items()}

    def _restore(self) -> _Position:
        facts, damaged = self.state.restore()
        for line in damaged:
            self.run.log(f"passed over a damaged state: {line}")
        if facts is None:
            return _Position()
        position = _Position(**facts)
        self.run.log(f"going on from {position.images_seen / 1000:.1f} kimg")
        return position

    def _stop_if_diverged(self, num_skipped_in_a_row: int, position: _Position) -> None:
        if num_skipped_in_a_row >= self.config.max_skipped_in_a_row:
            raise DivergenceError(
                f"Losses or gradients were NaN or infinite for {num_skipped_in_a_row} steps in a row at "
                f"{position.images_seen / 1000:.1f} kimg; the states and snapshots from before are kept. Try a lower "
                "learning rate, or float32.",
                received=f"{position.num_skipped} skipped updates in all",
                path=self.run.path,
            )

    def _start_grid(self, position: _Position) -> dict[str, Any]:
        """Fix the latents and labels of the pictures, and draw the first ones."""
        columns, rows = grid_shape(self.resolution)
        while columns * rows > self.config.max_grid_images:
            columns, rows = max(columns // 2, 1), max(rows // 2, 1)
        reals, labels = self.data.first_images(columns * rows)
        latents = draw_latents(self.step.seed, len(labels), self.step.networks.generator.latent_size)
        grid = {"latents": latents, "labels": labels, "columns": columns}
        if position.tick == 0:
            save_image_grid(self.run.path / "reals.png", reals, columns)
            self._save_grid(grid, schedule_at(self.schedule, self.resolution, 0), position)
        return grid

    def _save_grid(self, grid: dict[str, Any], point: Point, position: _Position) -> None:
        level: dict[str, Any] = {"stage": growth_stage(point.lod)[0], "fade": point.fade}
        sampler = make_sampler(self.step.networks.average, **level)
        images = sample_all(sampler, grid["latents"], grid["labels"])
        save_image_grid(self.run.path / f"fakes{_kimg(position)}.png", images, grid["columns"])

    def _save_networks(self, name: str, position: _Position) -> Path:
        folder = self.run.path / name
        facts = {**self.facts, "images_seen": position.images_seen, "chosen_by": "last"}
        save_networks(folder, self.step.networks.named(), facts)
        return folder

    def _report(
        self,
        writer: Any,
        means: dict[str, float],
        point: Point,
        position: _Position,
        seconds: float,
        maintenance: float,
        num_images: int,
    ) -> None:
        kimg = position.images_seen / 1000
        self.run.log(
            f"tick {position.tick:<5d} kimg {kimg:<8.1f} lod {point.lod:<5.2f} minibatch {point.minibatch:<4d} "
            f"time {format_duration(position.seconds):<8s} sec/tick {seconds:<7.1f} "
            f"sec/kimg {seconds / num_images * 1000:<7.2f} maintenance {maintenance:<5.1f} "
            f"skipped {position.num_skipped}"
        )
        progress = {"tick": position.tick, "kimg": kimg, "lod": point.lod, "minibatch": point.minibatch}
        timing = {
            "sec_per_tick": seconds,
            "sec_per_kimg": seconds / num_images * 1000,
            "total_hours": position.seconds / 3600,
            "maintenance_sec": maintenance,
        }
        with writer.as_default(step=position.images_seen):
            for group, values in (("Loss", means), ("Progress", progress), ("Timing", timing)):
                for name, value in values.items():
                    tf.summary.scalar(f"{group}/{name}", value)
        writer.flush()


def _kimg(position: _Position) -> str:
    return f"{position.images_seen // 1000:06d}"
