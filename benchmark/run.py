"""Run a grid: datasets, GANs, classifiers on real and synthetic images, tests, over settings and seeds.

python3 run.py GRID [--out DIR] [--data DIR] [--plan] [--only PATTERN] [--jobs N] [--ray ADDRESS]

GRID is smoke, demo, published-chest, published-brain, or a yaml file of your own. Every stage runs once; what was
stopped or killed goes on with the same command. docs/benchmark.md says what comes out.
"""

import argparse
from pathlib import Path

from medsynth import app


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("grid", help="name of a grid, or a yaml file")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the grid's folder (default: runs/<name>)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="raw data, for grids that draw none of their own")
    parser.add_argument("--plan", action="store_true", help="show stages, cost and what is done; run nothing")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="stages to run, with what they need: 'classes-*'"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="stages at once (default: 1)")
    parser.add_argument("--cpus", type=int, metavar="N", help="cores of each (default: an even share; on Ray 1)")
    parser.add_argument("--ray", metavar="ADDRESS", help="run on a Ray cluster; auto: the one this machine is part of")
    parser.add_argument("--rates", type=Path, metavar="DIR", help="another grid's folder, for the estimate of the cost")
    parser.add_argument(
        "--any-code", action="store_true", help="take what other versions of the code made as finished, too"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Show the plan, or run the grid and print its tables."""
    from benchmark.grid.running import Grid, Request

    grid = Grid(
        Request(
            grid=arguments.grid,
            out_dir=arguments.out or Path("runs") / Path(arguments.grid).stem,
            data=arguments.data,
            only=tuple(arguments.only),
            num_jobs=arguments.jobs,
            num_threads=arguments.cpus,
            ray=arguments.ray,
            rates=arguments.rates,
            any_code=arguments.any_code,
        )
    )
    print(grid.plan() if arguments.plan else grid.run(), end="")


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
