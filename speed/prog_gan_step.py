"""Time one training step of GAN_prog (32x32, minibatch 64, 7 labels) against the same step in PyTorch.

python3 speed/prog_gan_step.py --peer .venv-bench/bin/python

Before anything is timed, both sides must give the same losses and gradients for
the same weights and inputs. Then each side's process takes turns with the others
in rounds; a round in which other programs took more than a tenth of the cores
does not count. PyTorch's float32 is timed in both memory layouts; the faster is the one to beat.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import rivals
from rivals import Rival
from safetensors.numpy import load_file

from medsynth.processor import has_bfloat16

HERE = Path(__file__).resolve().parent
SIZES = {"published": (8192, 512), "middle": (2048, 128), "cpu": (512, 48)}
# float32: each tensor (two libraries add in other orders: 0.0012 was seen at 2048/128; a wrong term gives 0.1);
# bfloat16, with 8 significant bits, all gradients of a network together.
TOLERANCES = {"float32": 5e-3, "bfloat16": 1e-1}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="python of the environment that has PyTorch")
    parser.add_argument("--size", choices=SIZES, nargs="*", default=["cpu", "middle"], help="network sizes")
    parser.add_argument("--fmap-base", type=int, help="a size of your own, with --fmap-max")
    parser.add_argument("--fmap-max", type=int)
    parser.add_argument("--rounds", type=int, default=5, help="undisturbed rounds wanted (default 5)")
    parser.add_argument(
        "--minutes", type=float, default=1.5, help="per size, timing takes at most about this (default 1.5)"
    )
    return parser


class Sides:
    """Starts the workers of one network size."""

    def __init__(self, peer: str, fmap_base: int, fmap_max: int) -> None:
        self.peer = peer
        size = {"fmap_base": fmap_base, "fmap_max": fmap_max, "resolution": 32, "num_labels": 7, "num_images": 64}
        self.size = json.dumps(size)

    def tensorflow(self, precision: str) -> Rival:
        """Start GAN_prog's step."""
        command = [sys.executable, str(HERE / "prog_gan_tensorflow.py"), self.size, precision]
        return Rival(f"TensorFlow {precision}", command)

    def torch(self, precision: str, layout: str = "channels_last") -> Rival:
        """Start PyTorch's."""
        command = [self.peer, str(HERE / "prog_gan_torch.py"), self.size, precision, layout]
        return Rival(f"PyTorch {precision}, {layout}", command)


def relative_error(ours: list[np.ndarray], theirs: list[np.ndarray]) -> float:
    """Return |ours - theirs| / |theirs|, Euclidean over all arrays."""
    ours, theirs = (np.concatenate([array.ravel() for array in side]).astype(np.float64) for side in (ours, theirs))
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def prove_equal(sides: Sides, precision: str) -> str:
    """Compare losses and gradients of both sides, and return the largest difference in words.

    Raises:
        SystemExit: They differ.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in ("ours.safetensors", "theirs.safetensors")]
        for rival, arguments in (
            (sides.tensorflow(precision), {"path": paths[0]}),
            (sides.torch(precision), {"given": paths[0], "path": paths[1]}),
        ):
            rival.ask("prove", **arguments)
            rival.end()
        ours, theirs = (load_file(path) for path in paths)
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
    """Prove, time and print one size."""
    precisions = ["float32", "bfloat16"] if has_bfloat16() else ["float32"]
    if len(precisions) == 1:
        print("this processor has no bfloat16 instructions: float32 alone is timed")
    proofs = "; ".join(prove_equal(sides, precision) for precision in precisions)
    print(f"largest relative difference of losses and gradients: {proofs}", flush=True)
    peers = [sides.torch("float32", layout) for layout in ("channels_last", "contiguous")]
    contenders = [
        *(sides.tensorflow(precision) for precision in precisions),
        *peers,
        *(sides.torch(precision, "channels_last") for precision in precisions[1:]),
    ]
    for rival in contenders:
        rival.ask("steps", num_steps=2)  # tracing, first touch of memory
    seconds = contenders[0].ask("steps", num_steps=1)
    num_steps = max(1, round(1.5 / seconds))  # turns of a second or two
    rounds = rivals.compete(contenders, num_rounds, num_steps, minutes * 60)
    peer = min(peers, key=lambda rival: statistics.median(rival.turns[i][0] for i in rounds))
    print(f"{len(rounds)} of {len(peer.turns)} rounds of {num_steps} steps count; ratios are to {peer.name}")
    print(rivals.table(contenders, rounds, num_images=64, peer=peer))
    if max(rival.turns[i][1] for rival in contenders for i in rounds) > rivals.BUSY_SHARE:
        print("THE MACHINE WAS BUSY: other programs took part of the cores, so these figures prove nothing.")
    for rival in contenders:
        rival.end()


def main() -> None:
    """Measure every size asked for."""
    arguments = build_parser().parse_args()
    sizes = {name: SIZES[name] for name in arguments.size}
    if arguments.fmap_base and arguments.fmap_max:
        sizes = {"own": (arguments.fmap_base, arguments.fmap_max)}
    print(f"training step of GAN_prog, 32x32, minibatch 64, 7 labels, full level of detail; {rivals.num_cores()} cores")
    for name, (fmap_base, fmap_max) in sizes.items():
        print(f"\nsize {name}: fmap_base {fmap_base}, fmap_max {fmap_max}", flush=True)
        measure(Sides(arguments.peer, fmap_base, fmap_max), arguments.rounds, arguments.minutes)


if __name__ == "__main__":
    main()
