"""The training loop that every GAN of the suite runs in."""

import io
import re
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsynth.config import require_range
from medsynth.data.tfrecords import Images
from medsynth.data.training_images import TrainingImages
from medsynth.errors import DistributionError, DivergenceError
from medsynth.gan.observer import TrainingObserver
from medsynth.gan.sampling import Sampler, draw_latents, grid_shape, make_sampler, sample_all
from medsynth.gan.schedule import Point, RemainingTime, ScheduleConfig, growth_stage, schedule_at
from medsynth.gan.steps import AdversarialStep
from medsynth.gan.stopping import FID, FidStopping
from medsynth.gan.tick_record import TickRecord
from medsynth.interrupts import StoppedError, StopRequest
from medsynth.progress import Progress, format_duration
from medsynth.report.grids import save_image_grid
from medsynth.runs import FollowedRun, RunFolder
from medsynth.training.checkpoint import TrainingState, save_networks
from medsynth.training.distribution import Distribution

FINAL_FOLDER = "network-final"
LAST_FOLDER = "network-last"


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
    """How far a training is; stored with its state.

    Attributes:
        images_seen: Real images shown to the discriminator.
        step: Steps done.
        tick: Ticks done.
        tick_start: Images seen when the tick under way began.
        num_skipped: Updates left out because they were not finite.
        num_skipped_in_a_row: Steps at the end of these that left an update out.
        seconds: Time spent on steps.
        growth: Floor and ceiling of the level of detail of the last step.
        best_fid: Lowest FID so far, or SWD where that is measured.
        num_without_improvement: Values of it in a row that were no new minimum.
    """

    images_seen: int = 0
    step: int = 0
    tick: int = 0
    tick_start: int = 0
    num_skipped: int = 0
    num_skipped_in_a_row: int = 0
    seconds: float = 0.0
    growth: tuple[int, int] | None = None
    best_fid: float | None = None
    num_without_improvement: int = 0

    @property
    def has_learnt(self) -> bool:
        """Whether any update was made; a step has two."""
        return self.num_skipped < 2 * self.step

    @property
    def kimg(self) -> float:
        """Thousands of images seen."""
        return self.images_seen / 1000

    @property
    def kimg_name(self) -> str:
        """The NNNNNN of file names."""
        return f"{self.images_seen // 1000:06d}"


class GanTrainer:
    """Trains a GAN in a results folder, from its beginning or from its last stored state.

    Args:
        run: The results folder, entered; a FollowedRun in all processes but the chief's.
        step: Networks, losses and optimisers.
        data: The training images.
        schedule: Resolution, minibatch and rates by images seen.
        config: The loop's settings.
        facts: What the stored networks should say of themselves (application, label names).
        distribution: The devices that share the training.
        stopping: Measures FID and says when to end; None trains to the end of the schedule.
        observer: Writes more; with one, the newest networks are kept as network-last, too.
    """

    def __init__(
        self,
        run: RunFolder | FollowedRun,
        step: AdversarialStep,
        data: TrainingImages,
        schedule: ScheduleConfig,
        config: TrainerConfig,
        facts: dict[str, Any],
        distribution: Distribution,
        stopping: FidStopping | None = None,
        observer: TrainingObserver | None = None,
    ) -> None:
        self.run, self.step, self.data, self.observer = run, step, data, observer
        self.schedule, self.config, self.facts = schedule, config, facts
        self.distribution, self.stopping = distribution, stopping
        self.resolution: int = step.networks.generator.resolution
        self.state = TrainingState(run.path, step.variables())
        self._batches = _Ahead(data)
        self._sampler: tuple[float, Sampler] | None = None

    def train(self) -> Path:
        """Train to the end of the schedule and return the folder of the final networks.

        Raises:
            StoppedError: SIGTERM or Ctrl-C; the state is saved.
            DivergenceError: Too many steps in a row were not finite.
            DistributionError: Another process of this training was lost.
            RunFolderError: The disk is full or not writable.
        """
        with StopRequest() as stop, self.distribution.explained():
            return self._train(stop)

    def _train(self, stop: StopRequest) -> Path:
        # Restore: the same command goes on from the newest whole state.
        position = self._restore()
        record = TickRecord(self.run.path, position.tick) if self.distribution.is_chief else None
        grid = self._start_grid(position)
        total_images = round(self.schedule.total_kimg * 1000)
        stream = None if self.distribution.is_chief else io.StringIO()  # one progress line is enough
        progress = Progress("train", total_images / 1000, "kimg", done=position.kimg, stream=stream)
        remaining = RemainingTime(self.schedule, self.resolution)
        is_over = self._is_over(position)

        while position.images_seen < total_images and not is_over:
            metrics: dict[str, list[float]] = defaultdict(list)
            seconds_before = position.seconds
            is_tick_over = False

            while not is_tick_over:
                # Schedule: a change of the growth stage starts the optimisers afresh.
                point = schedule_at(self.schedule, self.resolution, position.images_seen)
                if position.growth not in (None, growth_stage(point.lod)):
                    self.step.start_optimisers_afresh()
                position.growth = growth_stage(point.lod)

                # Steps: discriminator, average, generator.
                start = time.monotonic()
                is_stopping = self._do_steps(position, point, metrics, stop)
                seconds = time.monotonic() - start
                position.seconds += seconds
                remaining.add(point.resolution, seconds / (point.minibatch * self.config.minibatch_repeats))
                progress.update(
                    position.kimg, f"lod {point.lod:.2f}", seconds_left=remaining.seconds(position.images_seen)
                )
                if is_stopping:
                    self._save_and_stop(position, stop)
                is_done = position.images_seen >= total_images
                is_tick_over = is_done or position.images_seen >= position.tick_start + point.tick_kimg * 1000

            # Tick: pictures, quality, scalars, a status line, and the state that a killed run goes on from.
            num_images = position.images_seen - position.tick_start
            position.tick += 1
            position.tick_start = position.images_seen
            start = time.monotonic()
            fid = self._measure(position, point)
            is_over = self._is_over(position)
            if record is not None:
                self._save(
                    grid,
                    position,
                    point,
                    is_last=is_done or is_over,
                    has_fid=fid is not None and self._measure_name == FID,
                )
                means = {name: float(np.mean(values)) for name, values in metrics.items()}
                timing = (position.seconds - seconds_before, num_images, time.monotonic() - start)
                self._report(record, means, fid, point, position, timing)
                # Last, so that no state lacks the line of its tick; lines newer than a state are dropped on resume.
                self._save_state(position)

        # End: the networks under their final name, then the sign that all is whole.
        progress.close()
        return self._finish(position)

    def _do_steps(self, position: _Position, point: Point, metrics: dict[str, list[float]], stop: StopRequest) -> bool:
        """Do the steps between two looks at the schedule; return whether any process was asked to stop."""
        outcomes = []
        for _ in range(self.config.minibatch_repeats):
            images, labels = self._batches.take(position.images_seen, point)
            outcome = self.step(
                images,
                labels,
                self.data.random_labels(position.step, point.minibatch),
                step=position.step,
                stage=growth_stage(point.lod)[0],
                fade=point.fade,
                learning_rates=(point.generator_learning_rate, point.discriminator_learning_rate),
                stop=stop.is_made,
            )
            position.images_seen += point.minibatch
            outcomes.append((position.step, position.images_seen, outcome))
            position.step += 1
            self._batches.prepare(position.images_seen, point)
        # Only now are the values waited for, so that a GPU always has the next step at hand.
        is_stopping = False
        for step, images_seen, outcome in outcomes:
            values = {name: float(value) for name, value in outcome.items()}
            is_stopping |= values.pop("stop") > 0
            if self.observer is not None:
                self.observer.add(step, images_seen, values)
            skipped = int(values["skipped"])
            position.num_skipped_in_a_row = position.num_skipped_in_a_row + 1 if skipped else 0
            position.num_skipped += skipped
            self._stop_if_diverged(position)
            for name, value in values.items():
                metrics[name].append(value)
        return is_stopping

    def _restore(self) -> _Position:
        facts, damaged = self.state.restore()
        for line in damaged:
            self.run.log(f"passed over a damaged state: {line}")
        position = _Position()
        if facts is not None:
            growth = facts.pop("growth")
            position = _Position(**facts, growth=None if growth is None else (growth[0], growth[1]))
            self.run.log(f"going on from {position.kimg:.1f} kimg")
            if self.distribution.is_chief:
                _remove_later(self.run.path, position)
        if self.observer is not None:
            self.observer.restore(position.step, position.tick)
        if self.distribution.agree(position.images_seen) != position.images_seen:
            raise DistributionError(
                "All processes must see the same results folder, on a disk that they share; this one holds another "
                "state than the chief's.",
                received=f"{position.kimg:.1f} kimg",
                path=self.run.path,
            )
        return position

    def _is_over(self, position: _Position) -> bool:
        return self.stopping is not None and self.stopping.is_over(position.num_without_improvement)

    def _save_and_stop(self, position: _Position, stop: StopRequest) -> None:
        if self.distribution.is_chief:
            self._save_state(position)
        raise StoppedError(stop.signal_number or signal.SIGTERM, f"{position.kimg:.1f} kimg")

    def _save_state(self, position: _Position) -> None:
        if self.observer is not None:
            self.observer.keep()
        self.state.save(position.images_seen, vars(position))

    def _stop_if_diverged(self, position: _Position) -> None:
        if position.num_skipped_in_a_row >= self.config.max_skipped_in_a_row:
            raise DivergenceError(
                f"Losses or gradients were NaN or infinite for {position.num_skipped_in_a_row} steps in a row at "
                f"{position.kimg:.1f} kimg. What was saved before is kept. Try a lower learning rate, or float32, in "
                "another folder.",
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
        if position.images_seen == 0 and self.distribution.is_chief:
            save_image_grid(self.run.path / "reals.png", reals, columns)
            self._save_grid(grid, schedule_at(self.schedule, self.resolution, 0), position)
        return grid

    def _save_grid(self, grid: dict[str, Any], point: Point, position: _Position) -> Images:
        if self._sampler is None or self._sampler[0] != point.lod:  # a graph for each level, not for each tick
            level: dict[str, Any] = {"stage": growth_stage(point.lod)[0], "fade": point.fade}
            self._sampler = point.lod, make_sampler(self.step.networks.average, **level)
        images = sample_all(self._sampler[1], grid["latents"], grid["labels"])
        save_image_grid(self.run.path / f"fakes{position.kimg_name}.png", images, grid["columns"])
        return images

    def _measure(self, position: _Position, point: Point) -> float | None:
        """Measure FID where it is due, note whether it improved, and keep the best networks as final."""
        if self.stopping is None or not self.stopping.is_due(position.tick, position.kimg, point.lod):
            return None
        if not position.has_learnt:  # float16 begins with steps that only find its loss scale
            return None
        # Measured once, so that no two processes can disagree on when to end.
        value = self.stopping.measure(self.step.networks.average) if self.distribution.is_chief else 0.0
        fid = self.distribution.agree(value)
        if position.best_fid is None or fid < position.best_fid:
            position.best_fid, position.num_without_improvement = fid, 0
            if self.distribution.is_chief:
                self._save_networks(FINAL_FOLDER, position, self._chosen(fid))
        else:
            position.num_without_improvement += 1
        return fid

    def _chosen(self, value: float) -> dict[str, Any]:
        name = self._measure_name
        return {"chosen_by": name, name.lower(): value}

    @property
    def _measure_name(self) -> str:
        return FID if self.stopping is None else self.stopping.name

    def _save(self, grid: dict[str, Any], position: _Position, point: Point, *, is_last: bool, has_fid: bool) -> None:
        fakes = self._save_grid(grid, point, position)
        if self.observer is not None:
            self.observer.end_tick(position.tick, fakes, grid["columns"])
            self._save_networks(LAST_FOLDER, position, {"chosen_by": "last"})
        if position.tick % self.config.snapshot_ticks == 0 or is_last or has_fid:
            self._save_networks(f"network-snapshot-{position.kimg_name}", position, {"chosen_by": "tick"})

    def _save_networks(self, name: str, position: _Position, chosen: Mapping[str, Any]) -> Path:
        folder = self.run.path / name
        facts = {**self.facts, "images_seen": position.images_seen, **chosen}
        save_networks(folder, self.step.networks.named(), facts)
        return folder

    def _finish(self, position: _Position) -> Path:
        """Make sure of the final networks: the best by FID where it was measured, else the last."""
        final = self.run.path / FINAL_FOLDER
        if not position.has_learnt:
            raise DivergenceError(
                "The schedule ended before a single update was finite, so nothing was learnt. float16 needs some fifty "
                "steps to find its loss scale: train longer, or in another number format, in another folder.",
                received=f"{position.num_skipped} skipped updates in {position.step} steps",
                path=self.run.path,
            )
        if isinstance(self.run, RunFolder):
            if position.best_fid is None:
                self._save_networks(FINAL_FOLDER, position, {"chosen_by": "last"})
            self.run.mark_done(f"{position.kimg:.1f} kimg in {format_duration(position.seconds)}")
        best = (
            "the last weights"
            if position.best_fid is None
            else f"the best by {self._measure_name}, {position.best_fid:.2f}"
        )
        self.run.log(f"final networks: {final} ({best})")
        return final

    def _report(
        self,
        record: TickRecord,
        means: dict[str, float],
        fid: float | None,
        point: Point,
        position: _Position,
        timing: tuple[float, int, float],
    ) -> None:
        seconds, num_images, maintenance = timing
        quality = "" if fid is None else f" {self._measure_name.lower()} {fid:.2f}"
        self.run.log(
            f"tick {position.tick:<5d} kimg {position.kimg:<8.1f} lod {point.lod:<5.2f} "
            f"minibatch {point.minibatch:<4d} time {format_duration(position.seconds):<8s} sec/tick {seconds:<7.1f} "
            f"sec/kimg {seconds / num_images * 1000:<7.2f} maintenance {maintenance:<5.1f} "
            f"skipped {position.num_skipped}{quality}"
        )
        scalars = {f"Loss/{name}": value for name, value in means.items()}
        if fid is not None:
            scalars[f"Metrics/{self._measure_name.lower()}"] = fid
        scalars |= {
            "Progress/tick": position.tick,
            "Progress/kimg": position.kimg,
            "Progress/lod": point.lod,
            "Progress/minibatch": point.minibatch,
            "Timing/sec_per_tick": seconds,
            "Timing/sec_per_kimg": seconds / num_images * 1000,
            "Timing/total_hours": position.seconds / 3600,
            "Timing/maintenance_sec": maintenance,
        }
        record.add(position.images_seen, scalars, self.run.path / f"fakes{position.kimg_name}.png")


def _remove_later(folder: Path, position: _Position) -> None:
    """Delete pictures and snapshots of a killed run that are newer than the state it goes on from."""
    for path in (*folder.glob("fakes*.png"), *folder.glob("network-snapshot-*")):
        number = re.search(r"(\d+)(\.png)?$", path.name)
        if number and int(number[1]) > position.images_seen // 1000:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class _Ahead:
    """Reads the next batch while the devices are busy with this one.

    Args:
        data: The training images.
    """

    def __init__(self, data: TrainingImages) -> None:
        self.data = data
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[tuple[int, int, int], Future[Any]] | None = None

    def prepare(self, images_seen: int, point: Point) -> None:
        """Begin to read the batch that most likely comes next."""
        key = (images_seen, point.minibatch, point.resolution)
        self._next = key, self._executor.submit(self.data.batch, *key)

    def take(self, images_seen: int, point: Point) -> Any:
        """Return a batch: the prepared one if it is that, else one read now."""
        key = (images_seen, point.minibatch, point.resolution)
        prepared, self._next = self._next, None
        if prepared is not None:
            batch = prepared[1].result()
            if prepared[0] == key:
                return batch
        return self.data.batch(*key)
