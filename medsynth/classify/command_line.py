"""What the command lines of classifier_real and classifier_fake share; loads no TensorFlow."""

import argparse
from pathlib import Path

from medsynth import app


def add_attribution_options(target: argparse.ArgumentParser) -> None:
    """Add what both cxpl.py take."""
    target.add_argument("--from-test", type=int, metavar="N", help="make nn_files of the first N rows of the test csv")
    target.add_argument("--coarse-to-fine", action="store_true", help="estimate all tiles, compute those that matter")
    target.add_argument("--prepare", action="store_true", help="bring images of another size to the network's")
    app.add_config_options(target)


def attribute(
    arguments: argparse.Namespace, results: Path, test_split: Path | None, resolution: int | None = None
) -> None:
    """Make the maps that cxpl.py was asked for.

    Args:
        arguments: With those of `add_attribution_options`.
        results: The classifier's results folder.
        test_split: data_dir/test, for --from-test; None where it is not needed.
        resolution: Must be the training's; None where the command line does not name it.
    """
    from medsynth.classify.attribution import command  # noqa: PLC0415

    request = command.Request(
        model_dir=arguments.model_dir,
        results=results,
        test_split=test_split,
        num_from_test=arguments.from_test,
        coarse_to_fine=arguments.coarse_to_fine,
        prepare=arguments.prepare,
        overrides=arguments.overrides,
        resolution=resolution,
    )
    command.attribute(request, dry_run=arguments.dry_run)


def add_explain_options(target: argparse.ArgumentParser) -> None:
    """Add what both xplain.py take."""
    target.add_argument("--num", type=int, default=8, help="images of each label (default: %(default)s)")
    target.add_argument("--label", action="append", default=[], help="only this one; may be given many times")
    target.add_argument("--methods", default="all", help="comma-separated; an unknown name lists them (default: all)")
    target.add_argument("--split", default="test", choices=("train", "valid", "test"), help="(default: %(default)s)")
    app.add_config_options(target)


def explain(arguments: argparse.Namespace, results: Path) -> None:
    """Explain the images that xplain.py was asked for.

    Args:
        arguments: model_dir, data_dir, resolution, and those of `add_explain_options`.
        results: The classifier's results folder.
    """
    from medsynth.classify.explain import command  # noqa: PLC0415
    from medsynth.classify.explain.methods import parse_methods  # noqa: PLC0415

    request = command.Request(
        model_dir=arguments.model_dir,
        split_folder=arguments.data_dir / arguments.split,
        results=results,
        resolution=arguments.resolution,
        num_images=arguments.num,
        labels=tuple(arguments.label),
        methods=parse_methods(arguments.methods),
        overrides=arguments.overrides,
    )
    command.explain(request, dry_run=arguments.dry_run)
