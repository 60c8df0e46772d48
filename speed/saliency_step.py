"""Time a training step through saliency maps, and hold it against maps that are made one image at a time.

python3 speed/saliency_step.py [--image-dimension 224] [--batch-size 16] [--rounds 5] [--minutes 4] [--sides ...]

SqueezeNet 1.0, CEntIoU, Adam, float32. The batched step is a training's own with the differentiable overlap and the
gradient norms of both terms at the layer. The others give each image a pass of its own through the network for its
map, back as far as the layer, and then do the step of the batch: as published, where no gradient comes from the maps,
or with the gradient going back through each of these passes. One does everything image by image, without that second
pass, and averages the gradients.

Before anything is timed, every side must give the same terms and gradients as the batched one, dropout off. Then each
side's process takes turns with the others in rounds.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import rivals
from proof import Arrays, relative_error
from rivals import Rival
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
PLAIN, BATCHED = "plain", "batched"
# By side: its row, and the way of the batched side that it must agree with.
SIDES = {
    PLAIN: ("plain step, no maps", "batched_published"),
    BATCHED: ("batched, differentiable", "batched"),
    "loop": ("published, an image at a time: loop in the graph", "batched_published"),
    "branches": ("published, a pass an image, several at once: branches of the graph", "batched_published"),
    "eager": ("published, an image at a time: eager calls", "batched_published"),
    "through": ("differentiable, a pass an image and one for the batch", "batched"),
    "averaged": ("differentiable, whole step image by image, averaged", "batched"),
}
MOST_COST, LEAST_GAIN = 1.6, 1.3
# A batch and single images are added up in another order: 1e-5 was seen, and 1e-4 where pixels of the published overlap
# fall to the other side of the cut. The overlap's gradient is some 2 % of the whole.
TOLERANCE = 5e-4


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-dimension", type=int, default=224, help="pixels a side (default 224)")
    parser.add_argument("--batch-size", type=int, default=16, help="images of a step (default 16)")
    parser.add_argument("--rounds", type=int, default=5, help="undisturbed rounds wanted (default 5)")
    parser.add_argument("--minutes", type=float, default=4, help="timing takes at most about this (default 4)")
    others = [side for side in SIDES if side not in (PLAIN, BATCHED)]
    parser.add_argument("--sides", nargs="+", choices=others, default=others, help="beside the plain and batched steps")
    return parser


def proof_of(rival: Rival, way: str) -> Arrays:
    """Return the terms and gradients of one way of a side."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "proof.safetensors"))
        rival.ask("prove", path=path, way=way)
        return load_file(path)


def prove_equal(sides: dict[str, Rival]) -> None:
    """Hold every side against the batched one, and print the relative differences.

    Raises:
        SystemExit: They differ, or there is nothing in which they could.
    """
    expected = {way: proof_of(sides[BATCHED], way) for way in ("batched", "batched_published")}
    names = [name for name in expected["batched"] if name.startswith("gradient/")]
    through_maps = relative_error(*([proof[name] for name in names] for proof in expected.values()))
    overlaps = [float(proof["overlap"]) for proof in expected.values()]
    print(f"overlaps {overlaps[0]:.3f} and, as published, {overlaps[1]:.3f}; without the one through the maps the "
          f"gradient differs by {through_maps:.2g}")  # fmt: skip
    if not (min(overlaps) > 0.01 and through_maps > 20 * TOLERANCE):
        raise SystemExit("The maps do not matter here, so nothing is timed.")
    for side, rival in sides.items():
        if side == BATCHED:
            continue
        way = SIDES[side][1]
        found = proof_of(rival, side)
        terms = [name for name in ("cross_entropy", "overlap") if side != PLAIN or name != "overlap"]
        errors = {name: relative_error([found[name]], [expected[way][name]]) for name in terms}
        errors["gradients"] = relative_error(*([proof[name] for name in names] for proof in (found, expected[way])))
        differences = ", ".join(f"{name} {error:.1g}" for name, error in errors.items())
        print(f"{rival.name}: relative difference of {differences}", flush=True)
        if found.keys() != expected[way].keys() or not max(errors.values()) <= TOLERANCE:
            raise SystemExit("The sides do not compute the same step, so nothing is timed.")


def verdict(sides: dict[str, Rival], rounds: list[int]) -> str:
    """Return how the batched step compares with each other side within the rounds that count."""

    def ratios(side: str, to: str) -> str:
        return rivals.spread([sides[side].turns[i][0] / sides[to].turns[i][0] for i in rounds], ".2f")

    lines = [f"the batched step costs {ratios(BATCHED, PLAIN)} times the plain one (aim: at most {MOST_COST})"]
    lines += [
        f"it is {ratios(side, BATCHED)} times as fast as: {rival.name} (aim: at least {LEAST_GAIN})"
        for side, rival in sides.items()
        if side not in (PLAIN, BATCHED)
    ]
    return "\n".join(lines)


def main() -> None:
    """Prove, time and print."""
    arguments = build_parser().parse_args()
    size = json.dumps({"image_dimension": arguments.image_dimension, "num_images": arguments.batch_size})
    print(
        f"SqueezeNet 1.0 step, {arguments.batch_size} images of {arguments.image_dimension}x"
        f"{arguments.image_dimension}, float32 (bfloat16 not measured); {rivals.num_cores()} cores"
    )
    sides = {
        side: Rival(SIDES[side][0], [sys.executable, str(HERE / "saliency_sides.py"), size, side])
        for side in (PLAIN, BATCHED, *arguments.sides)
    }
    prove_equal(sides)
    for rival in sides.values():
        rival.ask("steps", num_steps=2)  # tracing, first touch of memory
    num_steps = max(1, round(1.5 / sides[PLAIN].ask("steps", num_steps=1)))
    contenders = list(sides.values())
    rounds = rivals.compete(contenders, arguments.rounds, num_steps, arguments.minutes * 60)
    print(
        f"{len(rounds)} of {len(contenders[0].turns)} rounds of {num_steps} steps count; ratios are to the plain step"
    )
    print(rivals.table(contenders, rounds, num_images=arguments.batch_size, peer=sides[PLAIN]))
    print(verdict(sides, rounds))
    if max(rival.turns[i][1] for rival in contenders for i in rounds) > rivals.BUSY_SHARE:
        print("THE MACHINE WAS BUSY: other programs took part of the cores, so these figures prove nothing.")
    for rival in contenders:
        rival.end()


if __name__ == "__main__":
    main()
