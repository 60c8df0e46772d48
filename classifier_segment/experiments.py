"""Train whole, masked and saliency-guided classifiers of several backbones and seeds, and put them into one table.

python3 experiments.py [--experiments A,B] [--backbones A,B] [--seeds 1,2,3] [key=value ...]

All other settings are those of train.py, `hydra/launcher=submitit_slurm` for a cluster among them. First the segmenter
is trained that masked runs need, where segmenter.version does not name one; then all classifiers, by train.py
--multirun; then the table. What is trained already is not trained again: the same command goes on.
"""

import argparse

from medsynth import app

EXPERIMENTS = "whole,masked,saliency_published,saliency_differentiable"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = app.parser(__doc__)
    parser.add_argument("--experiments", default=EXPERIMENTS, metavar="A,B", help="(default: %(default)s)")
    parser.add_argument(
        "--backbones", default="", metavar="A,B", help="values of model.weights (default: that of the settings)"
    )
    parser.add_argument("--seeds", type=_seeds, default="1,2,3", metavar="A,B", help="(default: %(default)s)")
    parser.add_argument("--baseline", default="whole", metavar="A", help="others are compared with it (%(default)s)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of train.py, for all runs")
    return parser


def _seeds(text: str) -> tuple[int, ...]:
    return tuple(map(app.non_negative_seed, text.split(",")))


def main(arguments: argparse.Namespace) -> None:
    """Train what is missing, and compare."""
    from classifier_segment.sweep import Sweep, run_sweep

    run_sweep(
        Sweep(
            experiments=tuple(arguments.experiments.split(",")),
            backbones=tuple(name for name in arguments.backbones.split(",") if name),
            seeds=arguments.seeds,
            baseline=arguments.baseline,
            overrides=tuple(arguments.overrides),
        )
    )


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
