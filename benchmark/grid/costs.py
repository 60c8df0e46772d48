"""What stages cost, from those of their kind that are finished."""

from collections.abc import Iterable, Mapping

import numpy as np

from benchmark.grid.keys import Record, Records
from benchmark.grid.stages import Stage
from medsynth.files import read_json


class Costs:
    """Seconds of a stage: a start-up and so many images per second, from finished stages of its kind.

    Where those went through different numbers of images, both are fitted by least squares; else the start-up counts as
    part of the rate, which overstates larger stages. Only stages that were finished in one go count: of others, the
    time of the killed attempts is not known.
    """

    def __init__(self) -> None:
        self._known: dict[str, list[tuple[int, float]]] = {}

    def learn(self, record: Record) -> None:
        """Take a finished stage into account."""
        if record.attempts == 1:
            # A stage of unknown size counts as one image, so that its kind's mean time is what is learnt.
            self._known.setdefault(record.kind, []).append((max(record.num_images, 1), record.seconds))

    def learn_all(self, records: Records) -> None:
        """Take every record of a grid's folder into account, whatever it was made from."""
        for path in sorted(records.path("x").parent.glob("*.json")):
            content = read_json(path)
            record = records.read(content["stage"]) if isinstance(content, dict) and "stage" in content else None
            if record is not None:
                self.learn(record)

    def line(self, kind: str) -> tuple[float, float] | None:
        """Return seconds of start-up and seconds per image of a kind; None where none was measured."""
        if kind not in self._known:
            return None
        images, seconds = np.array(self._known[kind]).T
        if np.ptp(images) > 0:
            per_image, start = np.polyfit(images, seconds, 1)
            if per_image > 0 and start >= 0:
                return float(start), float(per_image)
        return 0.0, float(seconds.sum() / images.sum())

    def seconds(self, stage: Stage) -> float | None:
        """Return the seconds that a stage is expected to take; None where its kind was not measured."""
        line = self.line(stage.kind)
        return None if line is None else line[0] + line[1] * max(stage.num_images, 1)

    def left(self, stages: Iterable[Stage], elapsed: Mapping[str, float], num_jobs: int) -> float | None:
        """Return the seconds until stages are done on so many jobs; None where one's kind was not measured."""
        total = 0.0
        for stage in stages:
            seconds = self.seconds(stage)
            if seconds is None:
                return None
            total += max(seconds - elapsed.get(stage.name, 0.0), 0.0)
        return total / num_jobs
