"""Scripts that Hydra configures: its overrides, --multirun, --cfg and launchers, with the suite's manners.

Mistakes end in one line and exit code 2, and a misspelt key is answered with the nearest one, where Hydra itself would
show its own exceptions.

Source: https://hydra.cc/docs/1.3/intro/
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from classifier_segment.settings import Settings, settings_of
from medsynth.app import EXIT_USER_ERROR, guarded, refuse_other_clone, require_tensorflow
from medsynth.config import flatten, nearest
from medsynth.errors import MedsynthError, UsageError

_CONFIG_FOLDER = Path(__file__).parent / "config"
_LOCAL_LAUNCHER = "BasicLauncher"
_FLAGS = ("--multirun", "-m")
_GROUPS = ("preset", "experiment", "hydra")


class _Ending(BaseException):
    """Carries a request to stop, or a fault of the program, through Hydra, which would print it and exit with 1.

    Args:
        cause: What it carries.
    """

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


def hydra_main(script: str, description: str | None, work: Callable[[Settings, list[str]], None]) -> NoReturn:
    """Compose the settings of the command line, call `work` with them, and exit.

    With --multirun, a run that fails does not end the others: all failures are listed at the end.

    Args:
        script: The script's `__file__`.
        description: Its `__doc__`, for --help.
        work: Takes settings, and the overrides as they were given. It imports TensorFlow itself.
    """
    program = Path(script).name
    failures: list[BaseException] = []
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(f"usage: {program} [key=value ...] [--multirun] [--cfg job] [--hydra-help]\n\n{description}")
        sys.exit(0)

    def call() -> None:
        refuse_other_clone(Path(script))
        require_tensorflow()
        _require_known_keys(sys.argv[1:])
        # argparse, which Hydra uses, takes no override behind a flag that stands between two.
        sys.argv[1:] = sorted(sys.argv[1:], key=lambda argument: argument not in _FLAGS)
        _compose_and_call(program, work, failures)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise MedsynthError("Several runs failed; each has said why above.", received=f"{len(failures)} failures")

    guarded(program, call)


def _compose_and_call(program: str, work: Callable[[Settings, list[str]], None], failures: list[BaseException]) -> None:
    import hydra  # noqa: PLC0415  (half a second)
    from hydra.core.hydra_config import HydraConfig  # noqa: PLC0415

    @hydra.main(version_base="1.3", config_path=str(_CONFIG_FOLDER), config_name="config")
    def main(composed: Any) -> None:
        job = HydraConfig.get()
        overrides = list(job.overrides.task)
        # On another machine there is nobody to collect failures: its launcher reports what is raised.
        is_local = job.launcher._target_.endswith(_LOCAL_LAUNCHER)
        is_sweep = job.mode is not None and job.mode.name == "MULTIRUN"
        try:
            if is_sweep:
                print(f"\n== run {job.job.num}: {' '.join(overrides)}", flush=True)
            work(settings_of(_flat(composed)), overrides)
        # Hydra would show a traceback, and end the sweep.
        except (MedsynthError, OSError, MemoryError) as error:
            if not is_local:
                raise
            failures.append(error)
            if is_sweep:
                print(f"{program}: run {job.job.num} failed: {error}", file=sys.stderr, flush=True)
        except Exception as error:
            if not is_local:
                raise
            raise _Ending(error) from error

    try:
        main()
    except _Ending as ending:
        raise ending.cause from None
    except SystemExit as end:  # Hydra has said what is wrong with the overrides
        raise SystemExit(EXIT_USER_ERROR if end.code == 1 else end.code) from None


def compose(overrides: Sequence[str]) -> Settings:
    """Return the settings that overrides give, as a script called with them would have them.

    Raises:
        UsageError: They do not fit together.
    """
    from hydra import compose as hydra_compose  # noqa: PLC0415  (half a second)
    from hydra import initialize_config_dir  # noqa: PLC0415
    from hydra.errors import HydraException  # noqa: PLC0415

    _require_known_keys(overrides)
    try:
        with initialize_config_dir(str(_CONFIG_FOLDER), version_base="1.3"):
            composed = hydra_compose("config", list(overrides))
    except HydraException as error:
        raise UsageError("These overrides do not fit together.", received=str(error).splitlines()[0]) from error
    return settings_of(_flat(composed))


def _flat(composed: Any) -> dict[str, Any]:
    from omegaconf import OmegaConf  # noqa: PLC0415

    return dict(_dotted(OmegaConf.to_container(composed, resolve=True)))


def _dotted(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        rows += _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return rows


def _require_known_keys(arguments: Sequence[str]) -> None:
    """Refuse an override of what is no setting, before Hydra does.

    Raises:
        UsageError: Names the nearest setting.
    """
    known = flatten(Settings())
    for argument in arguments:
        key, separator, _ = argument.partition("=")
        key = key.lstrip("+~")
        if argument.startswith("-") or not separator or key.split(".")[0].split("/")[0] in _GROUPS:
            continue
        if key not in known:
            raise UsageError(f"Unknown setting.{nearest(key, [*known, *_GROUPS])} --cfg job shows all.", received=key)
