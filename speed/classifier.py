"""Time the classifier's training step, and hold it against the same step in PyTorch.

python3 speed/classifier.py --peer .venv-bench/bin/python [--image-dimension 224] [--batch-size 16]

DenseNet-121 with a sigmoid for each label, binary cross-entropy, Adam. Before anything is timed, both sides
must give the same loss and gradients for the same weights and images. Then each side's process takes turns with
the others in rounds; PyTorch's float32 is timed in both memory layouts, and the faster is the one to beat.
The suite's input pipeline (records read, resized, normalised, flipped) follows, alone.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import rivals
from proof import ask_for_proof, relative_error
from rivals import Rival

from medsynth.processor import has_bfloat16

HERE = Path(__file__).resolve().parent
NUM_LABELS = 7
NUM_BATCHES = 200
# All gradients together. float32: 121 batch normalisations enlarge what two libraries round differently; a layer
# left out gives more than 1. bfloat16 has 8 significant bits.
TOLERANCES = {"float32": 1e-2, "bfloat16": 0.5}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", required=True, help="python of the environment that has PyTorch")
    parser.add_argument("--image-dimension", type=int, default=224, help="pixels a side (default 224)")
    parser.add_argument("--batch-size", type=int, default=16, help="images of a step (default 16)")
    parser.add_argument("--resolution", type=int, default=128, help="of the records (default 128)")
    parser.add_argument("--rounds", type=int, default=5, help="undisturbed rounds wanted (default 5)")
    parser.add_argument("--minutes", type=float, default=6, help="timing takes at most about this (default 6)")
    return parser


def main() -> None:
    """Prove, time and print."""
    arguments = build_parser().parse_args()
    size = json.dumps(
        {
            "image_dimension": arguments.image_dimension,
            "num_images": arguments.batch_size,
            "num_labels": NUM_LABELS,
            "resolution": arguments.resolution,
        }
    )

    def ours(what: str) -> Rival:
        name = "input pipeline alone" if what == "pipeline" else f"TensorFlow {what}"
        return Rival(name, [sys.executable, str(HERE / "classifier_tensorflow.py"), size, what])

    def theirs(precision: str, layout: str) -> Rival:
        command = [arguments.peer, str(HERE / "classifier_torch.py"), size, precision, layout]
        return Rival(f"PyTorch {precision}, {layout}", command)

    print(
        f"DenseNet-121 training step, {arguments.batch_size} images of {arguments.image_dimension}x"
        f"{arguments.image_dimension}, {NUM_LABELS} labels; {rivals.num_cores()} cores"
    )
    precisions = ["float32", "bfloat16"] if has_bfloat16() else ["float32"]
    if not has_bfloat16():
        print("this processor has no bfloat16 instructions: float32 alone is timed")
    for precision in precisions:
        own, other = ask_for_proof(ours(precision), theirs(precision, "channels_last"))
        names = [name for name in own if name.startswith("gradient/")]
        loss = relative_error([own["loss"]], [other["loss"]])
        error = relative_error([own[name] for name in names], [other[name] for name in names])
        print(f"{precision}: relative difference of the loss {loss:.1g}, of all {len(names)} gradients {error:.1g}")
        if {*names, "loss"} != set(other) or not max(loss, error) <= TOLERANCES[precision]:
            raise SystemExit("The two sides do not compute the same step, so nothing is timed.")
    contenders, peers = rivals.start_sides(ours, theirs, precisions)
    print(rivals.contest(contenders, peers, arguments.batch_size, arguments.rounds, arguments.minutes * 60))
    step = min(statistics.median(seconds for seconds, _ in rival.turns) for rival in contenders)
    print(describe_pipeline(ours("pipeline"), arguments.batch_size, step))


def describe_pipeline(pipeline: Rival, batch_size: int, seconds_per_step: float) -> str:
    """Time the input pipeline alone, over far more batches than it reads ahead, and say how it compares with a step."""
    pipeline.ask("steps", num_steps=NUM_BATCHES // 10)
    seconds = pipeline.ask("steps", num_steps=NUM_BATCHES) / NUM_BATCHES
    pipeline.end()
    return (
        f"input pipeline alone: {batch_size / seconds:,.0f} images/s over {NUM_BATCHES} batches, "
        f"{seconds_per_step / seconds:.1f} times as fast as the fastest step"
    )


if __name__ == "__main__":
    main()
