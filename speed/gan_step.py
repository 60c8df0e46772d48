"""Time one training step of GAN_prog and GAN_cpd, and hold it against the same step in PyTorch.

python3 speed/gan_step.py --peer .venv-bench/bin/python
python3 speed/gan_step.py --split

Before anything is timed, both sides must give the same losses and gradients for
the same weights and inputs. Then each side's process takes turns with the others
in rounds; a round in which other programs took more than a tenth of the cores
does not count. PyTorch's float32 is timed in both memory layouts; the faster is the one to beat.

--split shows instead where the time of a real training goes (gan_split.py): data,
both networks' updates, the average, and what comes once a tick.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import rivals
from proof import ask_for_proof, relative_error
from rivals import Rival

from medsynth.processor import has_bfloat16

HERE = Path(__file__).resolve().parent
NUM_LABELS = 7
# Application: (fmap_base, fmap_max) of its networks, by size; the first and the last are those of its presets.
SIZES = {
    "cpu": {"prog": (512, 48), "cpd": (512, 48)},
    "middle": {"prog": (2048, 128), "cpd": (2048, 128)},
    "published": {"prog": (8192, 512), "cpd": (16384, 512)},
}
# float32: each tensor (two libraries add in other orders: 0.0012 was seen at 2048/128; a wrong term gives 0.1);
# bfloat16, with 8 significant bits, all gradients of a network together.
TOLERANCES = {"float32": 5e-3, "bfloat16": 1e-1}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--peer", help="python of the environment that has PyTorch")
    what.add_argument(
        "--split", action="store_true", help="where a step's time goes, at the cpu preset's size and minibatch"
    )
    parser.add_argument("--app", choices=("prog", "cpd"), nargs="+", default=["prog", "cpd"], help="GAN_...")
    parser.add_argument("--resolution", type=int, choices=(32, 64), nargs="+", default=[32, 64])
    parser.add_argument("--size", choices=SIZES, nargs="+", default=["cpu", "middle"], help="network sizes")
    parser.add_argument("--fmap-base", type=int, help="a size of your own, with --fmap-max")
    parser.add_argument("--fmap-max", type=int)
    parser.add_argument("--minibatch", type=int, default=64, help="images of a step, a multiple of 4 (default 64)")
    parser.add_argument("--rounds", type=int, default=5, help="undisturbed rounds wanted (default 5)")
    parser.add_argument(
        "--minutes", type=float, default=1.5, help="each table's timing takes at most about this (default 1.5)"
    )
    return parser


class Sides:
    """Starts the workers of one table.

    Args:
        peer: PyTorch's python.
        app: `prog` or `cpd`.
        resolution: Of the images.
        fmaps: fmap_base and fmap_max.
        num_images: Of a step.
    """

    def __init__(self, peer: str, app: str, resolution: int, fmaps: tuple[int, int], num_images: int) -> None:
        self.peer, self.app, self.num_images = peer, app, num_images
        size = {"app": app, "resolution": resolution, "num_labels": NUM_LABELS, "num_images": num_images}
        self.size = json.dumps({**size, "fmap_base": fmaps[0], "fmap_max": fmaps[1]})

    def tensorflow(self, precision: str) -> Rival:
        """Start the suite's step."""
        command = [sys.executable, str(HERE / "gan_tensorflow.py"), self.size, precision]
        return Rival(f"TensorFlow {precision}", command)

    def torch(self, precision: str, layout: str = "channels_last") -> Rival:
        """Start PyTorch's."""
        command = [self.peer, str(HERE / f"{self.app}_torch.py"), self.size, precision, layout]
        return Rival(f"PyTorch {precision}, {layout}", command)


def prove_equal(sides: Sides, precision: str) -> str:
    """Compare losses and gradients of both sides, and return the largest difference in words.

    Raises:
        SystemExit: They differ.
    """
    ours, theirs = ask_for_proof(sides.tensorflow(precision), sides.torch(precision))
    results = {name for name in ours if name.startswith(("loss/", "gradient/"))}
    # GAN_prog's fading branch, which PyTorch's side leaves out, must have no part in the step.
    alone = {name for name in results - set(theirs) if np.any(ours[name])}
    errors = {name: relative_error([ours[name]], [theirs[name]]) for name in theirs}
    if precision != "float32":
        for network in ("generator", "discriminator"):
            names = [name for name in theirs if name.startswith(f"gradient/{network}/")]
            errors = {name: error for name, error in errors.items() if name not in names}
            errors[f"gradient/{network}"] = relative_error(*([side[n] for n in names] for side in (ours, theirs)))
    worst = max(errors, key=errors.__getitem__)
    if alone or not errors[worst] <= TOLERANCES[precision]:
        raise SystemExit(
            f"The two sides do not compute the same step, so nothing is timed: {worst} differs by "
            f"{errors[worst]:.2g} ({precision}, allowed {TOLERANCES[precision]:g}); on one side only: {sorted(alone)}."
        )
    return f"{precision} {errors[worst]:.1g} ({worst}, {len(theirs)} arrays)"


def measure(sides: Sides, num_rounds: int, minutes: float) -> None:
    """Prove, time and print one table."""
    precisions = ["float32", "bfloat16"] if has_bfloat16() else ["float32"]
    proofs = "; ".join(prove_equal(sides, precision) for precision in precisions)
    print(f"largest relative difference of losses and gradients: {proofs}", flush=True)
    contenders, peers = rivals.start_sides(sides.tensorflow, sides.torch, precisions)
    print(rivals.contest(contenders, peers, sides.num_images, num_rounds, minutes * 60))


def compare(arguments: argparse.Namespace) -> None:
    """Print a table for each application, resolution and size."""
    print(
        f"training step, minibatch {arguments.minibatch}, {NUM_LABELS} labels, full level of detail; "
        f"{rivals.num_cores()} cores"
    )
    if not has_bfloat16():
        print("this processor has no bfloat16 instructions: float32 alone is timed")
    for app in arguments.app:
        sizes = {name: SIZES[name][app] for name in arguments.size}
        if arguments.fmap_base:
            sizes = {"own": (arguments.fmap_base, arguments.fmap_max)}
        for resolution in arguments.resolution:
            for name, fmaps in sizes.items():
                print(f"\nGAN_{app} {resolution}x{resolution}, size {name}: fmap_base, fmap_max {fmaps}", flush=True)
                sides = Sides(arguments.peer, app, resolution, fmaps, arguments.minibatch)
                measure(sides, arguments.rounds, arguments.minutes)


def main() -> None:
    """Measure everything asked for."""
    parser = build_parser()
    arguments = parser.parse_args()
    if (arguments.fmap_base is None) != (arguments.fmap_max is None):
        parser.error("--fmap-base and --fmap-max go together")
    if arguments.split:
        from gan_split import split  # loads TensorFlow, which the workers of a comparison need for themselves

        for app in arguments.app:
            for resolution in arguments.resolution:
                split(app, resolution, arguments.rounds, arguments.minutes)
        return
    compare(arguments)


if __name__ == "__main__":
    main()
