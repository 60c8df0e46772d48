"""The command line that every script of the suite shares.

A script builds a parser, and hands it with its main function to `run`. Mistakes
of the user end in one line on standard error and exit code 2.
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from medsynth.errors import DependencyError, MedsynthError
from medsynth.files import explain_os_error
from medsynth.interrupts import StoppedError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
CHECK_SETTINGS = "--check-settings"


def parser(description: str, **options: Any) -> argparse.ArgumentParser:
    """Return an argument parser whose help text keeps the line breaks of `description`."""
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        **options,
    )


def add_config_options(target: argparse.ArgumentParser, default_preset: str | None = None) -> None:
    """Add --set and --dry-run, and --preset where there is a default for it, to a training script."""
    if default_preset is not None:
        target.add_argument(
            "--preset",
            default=default_preset,
            metavar="NAME",
            help="table of settings to start from; an unknown name lists them (default: %(default)s)",
        )
    target.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change one setting, e.g. --set schedule.total_kimg=100; may be given many times",
    )
    target.add_argument(
        "--dry-run",
        action="store_true",
        help="check data and settings, build the networks, print what would run, and stop before the first step",
    )


def add_check_option(target: argparse.ArgumentParser) -> None:
    """Add --check-settings to a command whose settings can be judged without its data."""
    target.add_argument(
        CHECK_SETTINGS, action="store_true", help="check options and settings, and stop before any file is read"
    )


def add_leak_option(target: argparse.ArgumentParser) -> None:
    """Add --allow-leak to a training script."""
    target.add_argument(
        "--allow-leak",
        action="store_true",
        help="train although the audit of the data found patients or images in both train and test; "
        "log and results say so",
    )


def non_negative_seed(text: str) -> int:
    """Parse a random seed: an integer from 0 to 2^32 - 1, the range of numpy's generators."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"an integer was expected. Received: {text!r}") from None
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"a seed from 0 to 4294967295 was expected. Received: {value}")
    return value


def whole_number_from(least: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number of at least so much."""

    def convert(text: str) -> int:
        if not text.isdigit() or int(text) < least:
            raise argparse.ArgumentTypeError(f"a number from {least} was expected. Received: {text!r}")
        return int(text)

    return convert


def number_between(above: float, below: float, what: str = "a number") -> Callable[[str], float]:
    """Return an argparse type: a number above and below these; `what` names it in the message."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = above
        if not above < value < below:
            raise argparse.ArgumentTypeError(
                f"{what} above {above:g} and below {below:g} was expected. Received: {text!r}"
            )
        return value

    return convert


def power_of_two(text: str) -> int:
    """Parse an image resolution: a power of two from 4 to 4096."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a resolution was expected. Received: {text!r}") from None
    if value < 4 or value > 4096 or value & (value - 1):
        raise argparse.ArgumentTypeError(f"a power of two from 4 to 4096 was expected. Received: {value}")
    return value


def refuse_other_clone(script: Path) -> None:
    """Stop where `script` lies in one checkout and the imported package in another.

    Two clones share one environment easily; the second one's scripts would then
    silently run the first one's code.

    Raises:
        DependencyError: The imported package is not the one beside the script.
    """
    package_root = Path(__file__).resolve().parents[1]
    above = script.resolve().parents[1:3]  # of GAN_prog/train.py, of classifier_segment/scripts/check-dataset.py
    script_root = next((folder for folder in above if (folder / "medsynth").is_dir()), package_root)
    if script_root != package_root:
        raise DependencyError(
            f"This script belongs to {script_root}, but the installed medsynth package to another checkout. "
            f"Install this one: pip install -e '{script_root}[cpu]'.",
            received=package_root,
        )


def require_tensorflow() -> None:
    """Stop with the remedy where TensorFlow is not installed.

    Raises:
        DependencyError: No TensorFlow in this environment.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        raise DependencyError(
            "Training and inference run on Keras' tensorflow backend; unset KERAS_BACKEND.",
            received=f"KERAS_BACKEND={os.environ['KERAS_BACKEND']}",
        )
    if importlib.util.find_spec("tensorflow") is None:
        raise DependencyError(
            "TensorFlow is needed. Install it with pip install -e '.[cpu]', or '.[gpu]' on a machine with "
            "an NVIDIA GPU (one of the two, never both).",
            received="an environment without tensorflow",
        )


def run(
    script: str,
    arguments_parser: argparse.ArgumentParser,
    main: Callable[[argparse.Namespace], None],
    *,
    needs_tensorflow: bool = True,
) -> NoReturn:
    """Parse the command line, run `main`, and exit.

    Args:
        script: The script's `__file__`.
        arguments_parser: As made by `parser`.
        main: Takes the parsed arguments. It imports TensorFlow itself, so that
            `--help` and mistakes in the command line answer at once.
        needs_tensorflow: Whether to check for TensorFlow before `main`.
    """
    arguments = arguments_parser.parse_args()

    def call() -> None:
        refuse_other_clone(Path(script))
        if needs_tensorflow:
            require_tensorflow()
        main(arguments)

    guarded(arguments_parser.prog, call)


def guarded(program: str, call: Callable[[], None]) -> NoReturn:
    """Call a script's work and exit: mistakes of the user as one line and exit code 2, requests to stop by their code.

    Args:
        program: Its name, for messages.
        call: The work.
    """
    # Hides what TensorFlow says of itself; its warnings and errors are shown.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    try:
        call()
    except MedsynthError as error:
        _fail(program, error)
    except OSError as error:
        explained = explain_os_error(error)
        if explained is None:
            raise
        _fail(program, explained)
    except MemoryError as error:
        _fail(program, MedsynthError("There is not enough memory for this.", received=error))
    except StoppedError as stopped:
        sys.stdout.flush()
        print(f"\n{stopped}", file=sys.stderr)
        sys.exit(stopped.exit_code)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing half-written is left, run the same command again", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0)


def _fail(program: str, error: MedsynthError) -> NoReturn:
    sys.stdout.flush()
    print(f"{program}: error: {error}", file=sys.stderr)
    sys.exit(EXIT_USER_ERROR)
