"""The plan of a grid as text: every stage, what it costs, and what is done."""

from collections.abc import Mapping

from benchmark.grid.costs import Costs
from benchmark.grid.keys import Record
from benchmark.grid.stages import Stage
from medsynth.classify.evaluation.summary import table_lines
from medsynth.progress import format_duration


def format_plan(stages: list[Stage], done: Mapping[str, Record], costs: Costs, num_jobs: int) -> str:
    """Return a row per stage, then what is left to do.

    Args:
        stages: Of the grid, or those that were chosen.
        done: Records of the finished ones.
        costs: From finished stages.
        num_jobs: Stages at once.
    """
    rows = [["stage", "images", "estimate", "state", "needs"]]
    for stage in stages:
        seconds = costs.seconds(stage)
        estimate = "?" if seconds is None else format_duration(seconds)
        state = "ready"
        if stage.name in done:
            state, estimate = "done", f"took {format_duration(done[stage.name].seconds)}"
        elif not all(name in done for name in stage.needs):
            state = "waits"
        images = f"{stage.num_images:,}" if stage.num_images else "?"
        rows.append([stage.name, images, estimate, state, ", ".join(_short(name, stage) for name in stage.needs)])
    left = [stage for stage in stages if stage.name not in done]
    return "\n".join([*table_lines(rows), "", *_summary(stages, left, costs, num_jobs)]) + "\n"


def _short(name: str, stage: Stage) -> str:
    """Return a stage's name without the folder that it shares with the one that needs it."""
    prefix = stage.name.rpartition("/")[0] + "/"
    return name.removeprefix(prefix)


def _rate(start: float, per_image: float) -> str:
    """Return images per second, and the start-up that comes on top."""
    rate = f"{1 / per_image:,.3g}" if per_image > 0 else "?"
    return f"{rate} after {format_duration(start)}" if start else f"{rate} (start-up included)"


def _summary(stages: list[Stage], left: list[Stage], costs: Costs, num_jobs: int) -> list[str]:
    lines = [f"{len(stages)} stages, {len(stages) - len(left)} done, {len(left)} to run."]
    if not left:
        return lines
    kinds = sorted({stage.kind for stage in left})
    found = {kind: costs.line(kind) for kind in kinds}
    known = [f"{kind} {_rate(*line)}" for kind, line in found.items() if line is not None]
    unknown = [kind for kind, line in found.items() if line is None]
    if known:
        lines.append(f"Images per second, measured on finished stages: {', '.join(known)}.")
    seconds = costs.left((stage for stage in left if stage.kind not in unknown), {}, num_jobs)
    if known and seconds is not None:
        lines.append(
            f"About {format_duration(seconds)} with {num_jobs} at once, if all goes on at these rates and none waits "
            "for another."
        )
    if len(left) < len(stages) and any(name in {one.name for one in left} for one in left for name in one.needs):
        lines.append("Stages that wait may turn out to be finished, if what they need comes out as it did before.")
    if unknown:
        lines.append(
            f"Not measured yet, and not in the estimate: {', '.join(unknown)} (one finished stage of a kind will do; "
            "--rates FOLDER takes those of another grid on the same machine)."
        )
    return lines
