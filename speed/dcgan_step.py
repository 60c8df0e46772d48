"""Time the training step of GAN_dcgan, and hold it against the same step in PyTorch.

python3 speed/dcgan_step.py --peer .venv-bench/bin/python [--resolution 128] [--features 64] [--minibatch 64]

The published training: real and synthetic images judged apart, one update of the discriminator, then the generator
through it on the same images. Before anything is timed, both sides start from the same weights, do two steps on the
same images and latents, and must come to the same losses, averages of gradients, weights and stored statistics. Then
each side's process takes turns with the others in rounds; PyTorch's float32 is timed in both memory layouts, and the
faster is the one to beat.
"""

import argparse
import json
import sys
from pathlib import Path

import rivals
from proof import Arrays, ask_for_proof, relative_error
from rivals import Rival

from medsynth.processor import has_bfloat16

HERE = Path(__file__).resolve().parent
LATENT_SIZE = 100  # as published
# By the start of their names, what a network's arrays are; all of a kind are compared together.
KINDS = ("gradient", "momentum", "velocity", "end", "change")
# Two libraries add in other orders; losses and first gradients are compared strictly. Adam's first step moves each
# weight by the whole rate, whatever the size of its gradient: where that is small, rounding decides the direction. That
# shows in `change`, what two steps did to the weights (0.036 was seen), and less in the second step's averages. There a
# wrong decay gives 0.2 or more.
TOLERANCES = {
    "float32": {"loss": 1e-3, "gradient": 5e-3, "end": 2e-3, "change": 0.15, "": 5e-2},
    "bfloat16": {"loss": 3e-2, "gradient": 0.2, "end": 2e-2, "change": 0.9, "": 0.4},
}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="python of the environment that has PyTorch")
    parser.add_argument("--resolution", type=int, choices=(16, 32, 64, 128, 256), default=128, help="default 128")
    parser.add_argument("--features", type=int, default=64, help="of both networks (default 64)")
    parser.add_argument("--minibatch", type=int, default=64, help="images of a step (default 64)")
    parser.add_argument("--rounds", type=int, default=5, help="undisturbed rounds wanted (default 5)")
    parser.add_argument("--minutes", type=float, default=4, help="timing takes at most about this (default 4)")
    return parser


def differences(ours: Arrays, theirs: Arrays) -> dict[str, float]:
    """Return the relative difference of each loss, and of each kind of array of each network."""
    for side in (ours, theirs):
        ends = [name for name in side if name.startswith("end/") and f"gradient/{name[4:]}" in side]
        side |= {f"change/{name[4:]}": side[name].ravel() - ours[f"weight/{name[4:]}"].ravel() for name in ends}
    losses = [name for name in theirs if name.startswith("loss/")]
    found = {name: relative_error([ours[name]], [theirs[name]]) for name in losses}
    for network in ("generator", "discriminator"):
        for kind in KINDS:
            names = [name for name in theirs if name.startswith(f"{kind}/{network}/")]
            found[f"{kind}/{network}"] = relative_error(*([side[name] for name in names] for side in (ours, theirs)))
    return found


def prove_equal(ours: Rival, theirs: Rival, precision: str) -> str:
    """Compare what two steps did on both sides, and return the largest differences in words.

    Raises:
        SystemExit: They differ.
    """
    own, other = ask_for_proof(ours, theirs)
    if set(other) != {name for name in own if not name.startswith(("input/", "weight/"))}:
        raise SystemExit("The two sides do not have the same losses and arrays, so nothing is timed.")
    errors = differences(own, other)
    tolerances = TOLERANCES[precision]
    for name, error in errors.items():
        allowed = tolerances.get(name.split("/")[0], tolerances[""])
        if not error <= allowed:
            raise SystemExit(
                f"The two sides do not compute the same step, so nothing is timed: {name} differs by {error:.2g} "
                f"({precision}, allowed {allowed:g})."
            )
    loss = max(error for name, error in errors.items() if name.startswith("loss/"))
    rest = ", ".join(
        f"{kind} {max(errors[f'{kind}/{n}'] for n in ('generator', 'discriminator')):.1g}" for kind in KINDS
    )
    return f"{precision}: loss {loss:.1g}, {rest} ({len(other)} arrays)"


def main() -> None:
    """Prove, time and print."""
    arguments = build_parser().parse_args()
    size = json.dumps(
        {
            "resolution": arguments.resolution,
            "features": arguments.features,
            "latent_size": LATENT_SIZE,
            "num_images": arguments.minibatch,
        }
    )

    def ours(precision: str) -> Rival:
        command = [sys.executable, str(HERE / "dcgan_tensorflow.py"), size, precision]
        return Rival(f"TensorFlow {precision}", command)

    def theirs(precision: str, layout: str) -> Rival:
        command = [arguments.peer, str(HERE / "dcgan_torch.py"), size, precision, layout]
        return Rival(f"PyTorch {precision}, {layout}", command)

    print(
        f"GAN_dcgan training step, {arguments.minibatch} images of {arguments.resolution}x{arguments.resolution}, "
        f"{arguments.features} features; {rivals.num_cores()} cores"
    )
    precisions = ["float32", "bfloat16"] if has_bfloat16() else ["float32"]
    if not has_bfloat16():
        print("this processor has no bfloat16 instructions: float32 alone is timed")
    for precision in precisions:
        proof = prove_equal(ours(precision), theirs(precision, "channels_last"), precision)
        print(f"largest relative difference after two steps, {proof}", flush=True)
    contenders, peers = rivals.start_sides(ours, theirs, precisions)
    print(rivals.contest(contenders, peers, arguments.minibatch, arguments.rounds, arguments.minutes * 60))


if __name__ == "__main__":
    main()
