"""What run.py does: the plan, or the grid to its end, with tables and figures."""

import fnmatch
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.grid.checks import check_commands
from benchmark.grid.costs import Costs
from benchmark.grid.keys import RECORDS, Records
from benchmark.grid.outcome import describe_failures, write_outcome
from benchmark.grid.plan import format_plan
from benchmark.grid.pools import LocalPool, Pool, RayPool, visible_gpus
from benchmark.grid.scheduler import Resolver, State, run_stages, survey
from benchmark.grid.spec import GridSpec, read_grid
from benchmark.grid.stages import Stage, build_stages, needed_by
from benchmark.steps import ROOT, StepFailedError
from medsynth.classify.config import apply_overrides, read_config
from medsynth.errors import RunFolderError, UsageError
from medsynth.files import read_json, require_folder, write_text
from medsynth.runs import CONFIG_NAME, RunFolder

_FAILURES = "failures.txt"


@dataclass(frozen=True)
class Request:
    """What run.py was asked for.

    Attributes:
        grid: Name of a grid, or a yaml file.
        out_dir: The grid's folder.
        data: The user's raw data; None for grids on made-up data.
        only: Patterns of stages' names; empty for all. What they need is run, too.
        num_jobs: Stages at once on this machine.
        num_threads: Of each stage; None shares the cores evenly.
        ray: Address of a Ray cluster; None for this machine.
        rates: Folder of another grid whose finished stages tell what stages cost; None for none.
        any_code: Take finished stages of other versions of the code.
    """

    grid: str
    out_dir: Path
    data: Path | None
    only: tuple[str, ...]
    num_jobs: int
    num_threads: int | None
    ray: str | None
    rates: Path | None
    any_code: bool


class Grid:
    """A grid that was read and checked.

    Args:
        request: What was asked for.

    Raises:
        MedsynthError: Unknown grid or stages, or missing raw data.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.spec: GridSpec = read_grid(request.grid)
        if self.spec.phantom is None:
            if request.data is None:
                raise UsageError(
                    f"The grid {self.spec.name} is for data of your own; name their folder by --data.",
                    received="no --data",
                )
            require_folder(request.data, "the raw data")
        elif request.data is not None:
            raise UsageError(
                f"The grid {self.spec.name} draws its own data; write a grid without `phantom` for yours.",
                received=f"--data {request.data}",
            )
        self._check_options()
        self.all_stages = build_stages(self.spec)
        self.stages = self._chosen()
        self.records = Records(request.out_dir.resolve(), any_code=request.any_code)
        self.costs = Costs()
        for folder in filter(None, (request.rates, request.out_dir)):
            self.costs.learn_all(Records(folder))

    def _check_options(self) -> None:
        """Refuse what stages would refuse hours later; datasets and GANs are asked by `check_commands`.

        Raises:
            UsageError: Unknown settings of a classifier, or numbers that are none.
        """
        request, spec = self.request, self.spec
        for name, value in (("--jobs", request.num_jobs), ("--cpus", request.num_threads or 1)):
            if value < 1:
                raise UsageError(f"{name} is at least 1.", received=value)
        if request.num_threads == 0:
            raise UsageError("--cpus is at least 1.", received=0)
        if request.rates is not None and not (request.rates / RECORDS).is_dir():
            raise UsageError("--rates is the folder of a grid that was run.", received=request.rates)
        config = read_config(ROOT / "classifier_fake")
        for options, section in ((spec.classifier_options, "train"), (spec.nn_options or (), "nn")):
            assignments = [value for flag, value in itertools.pairwise(options) if flag == "--set"]
            apply_overrides(config, assignments, section)

    def _chosen(self) -> list[Stage]:
        if not self.request.only:
            return self.all_stages
        names = [stage.name for stage in self.all_stages]
        chosen: set[str] = set()
        for pattern in self.request.only:
            found = fnmatch.filter(names, pattern)
            if not found:
                raise UsageError(
                    "--only takes names of stages, with * for any part; --plan lists them.", received=pattern
                )
            chosen |= set(found)
        needed = needed_by(self.all_stages, chosen)
        return [stage for stage in self.all_stages if stage.name in needed]

    def resolver(self) -> Resolver:
        """Return what finds keys and folders."""
        return Resolver(self.request.out_dir, self.all_stages, self.request.data)

    def plan(self) -> str:
        """Return the plan as text; nothing is run or written, but for commands that check their options.

        Raises:
            UsageError: A command refuses its options.
        """
        self._require_same_grid()
        done = survey(self.all_stages, self.resolver(), self.records)
        check_commands(self.stages, done)
        text = format_plan(self.stages, done, self.costs, self.request.num_jobs)
        any_code = Records(self.records.grid_dir, any_code=True)
        others = len(survey(self.all_stages, self.resolver(), any_code)) - len(done)
        if others > 0:
            text += (
                f"{others} more are finished under another version of the code, and perhaps those after them: "
                "--any-code takes them.\n"
            )
        return text

    def _require_same_grid(self) -> None:
        path = self.request.out_dir / CONFIG_NAME
        settings = read_json(path) if path.is_file() else {}
        name = settings.get("grid", self.spec.name) if isinstance(settings, dict) else None
        if name != self.spec.name:
            raise RunFolderError(
                f"This folder holds another grid than {self.spec.name}; choose another by --out.",
                received=name,
                path=self.request.out_dir,
            )

    def run(self) -> str:
        """Run what is not done, write the tables, and return them as text.

        Raises:
            UsageError: A command refuses its options.
            StepFailedError: Stages failed; everything that does not need them is done all the same.
        """
        pool, resolver = self._pool(), self.resolver()
        pool.check(self.stages)
        check_commands(self.stages, survey(self.all_stages, self.resolver(), self.records))
        settings: dict[str, Any] = {"grid": self.spec.name}
        with RunFolder(self.request.out_dir, settings) as folder:
            state = run_stages(self.stages, resolver, self.records, pool, self.costs, folder.log)
            self._add_earlier(state, resolver)
            write_outcome(self.spec, self.all_stages, state, resolver)
            text = self._report(state)
            folder.log(f"{len(state.done)} of {len(self.all_stages)} stages done, {len(state.fresh)} of them now")
            self._raise_failures(state)
        return text

    def _pool(self) -> Pool:
        if self.request.ray is not None:
            return RayPool(self.request.ray, self.request.num_threads or 1)
        return LocalPool(self.request.num_jobs, visible_gpus(), self.request.num_threads)

    def _add_earlier(self, state: State, resolver: Resolver) -> None:
        """Add stages that were not asked for now, and are done."""
        for name, record in survey(self.all_stages, resolver, self.records).items():
            state.done.setdefault(name, record)

    def _report(self, state: State) -> str:
        """Draw figures and tables of the tests that are done."""
        from benchmark.grid_report.report import Margins, report_grid  # noqa: PLC0415  (loads matplotlib)

        if not any(stage.cell is not None and stage.name in state.done for stage in self.all_stages):
            return "No classifier is tested yet.\n"
        return report_grid(self.request.out_dir, self.request.out_dir, Margins())

    def _raise_failures(self, state: State) -> None:
        path = self.request.out_dir / _FAILURES
        if not state.failed:
            path.unlink(missing_ok=True)
            return
        text = describe_failures(state, self.request.out_dir.resolve())
        write_text(path, text + "\n")
        raise StepFailedError(
            "Some stages failed; all that do not need them were run. Mend it and run the same command again.\n"
            f"{text}\n",
            received=f"{len(state.failed)} failed, {len(state.blocked)} not run for want of them",
        )
