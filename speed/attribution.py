"""Attribution maps: one predict call per tile, as the original does, beside the exact and the coarse-to-fine maps.

python3 speed/attribution.py RESULTS [--images FOLDER] [--sample 64] [--num-images 5] [--bfloat16]

RESULTS holds train/ of a trained classifier; random weights say little about how maps agree. Images are real ones in
CheXpert's layout, FOLDER/CheXpert-v1.0-small/train.csv. Calls of predict are timed on a sample of the tiles, in turns
with the exact map, and multiplied by the number of tiles (--sample 0 calls it for all). Times are without the first
call, which builds the graph. Deviations are shares of the largest value of the map.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth import app

DATA = Path(os.environ.get("MEDSYNTH_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
NUM_TURNS = 4


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument("results", type=Path, help="results folder of a trained classifier")
    parser.add_argument("--images", type=Path, default=DATA / "chest_nih_in_chexpert_layout", help="real radiographs")
    parser.add_argument("--num-images", type=int, default=5)
    parser.add_argument("--sample", type=int, default=64, help="tiles to call predict for; 0 for all")
    parser.add_argument("--tile", type=int, default=4)
    parser.add_argument("--tiles-per-call", type=int, default=10)
    parser.add_argument("--computed-share", type=float, default=0.5)
    parser.add_argument("--bfloat16", action="store_true", help="measure mixed_bfloat16, too, on the sample")
    return parser


def read_images(folder: Path, trained: Any, num_images: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Return images [N, D, D, 3] as the network is fed, and truth [N, L]: rows with a finding, evenly spread."""
    from medsynth.data.images import ImageForm, ImageSource, load_image
    from medsynth.data.labels import read_csv
    from medsynth.networks.imagenet_input import preprocess

    table_path = folder / "CheXpert-v1.0-small" / "train.csv"
    table = read_csv(table_path)
    truth = np.stack([(table[name] == 1) if name in table else np.zeros(len(table)) for name in trained.label_names], 1)
    candidates = np.flatnonzero(truth.any(axis=1))
    rows = candidates[np.linspace(0, len(candidates) - 1, num_images).astype(int)]
    form = ImageForm(trained.resolution)
    images = [load_image(ImageSource(folder / table["Path"][row], f"row {row} of {table_path}"), form) for row in rows]
    return preprocess(np.stack(images), trained.image_dimension, trained.resize).numpy(), truth[rows].astype(np.float64)


def seconds_of(function: Any, *arguments: Any) -> tuple[Any, float]:
    """Return what a call returns, and its seconds."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def predict_tiles(network: Any, image: npt.NDArray[Any], tiles: Any, tile: int) -> npt.NDArray[Any]:
    """Return the scores of masked images [T, L], one predict call each."""
    side = image.shape[0] // tile
    scores = []
    for row, column in zip(*np.divmod(tiles, side), strict=True):
        masked = image[None].copy()
        masked[:, row * tile : (row + 1) * tile, column * tile : (column + 1) * tile] = 0
        scores.append(network.predict(masked, verbose=0)[0])
    return np.stack(scores)


def main(arguments: argparse.Namespace) -> None:
    """Time all, then compare the maps."""
    from medsynth.classify.attribution.coarse_to_fine import CoarseToFine
    from medsynth.classify.attribution.maps import MaskedScores, tile_effects
    from medsynth.networks.trained_classifier import read_classifier

    trained = read_classifier(arguments.results)
    images, truth = read_images(arguments.images, trained, arguments.num_images)
    network = trained.build("float32")
    network.jit_compile = False  # XLA makes predict far slower on a CPU
    near = MaskedScores(network, arguments.tile, arguments.tiles_per_call)
    quick = CoarseToFine(near, arguments.computed_share)
    num_tiles = near.tiles_per_side**2
    sample = np.linspace(0, num_tiles - 1, min(arguments.sample or num_tiles, num_tiles)).astype(int)
    print(f"{trained.description}; {num_tiles} tiles of {arguments.tile}x{arguments.tile}")
    computed, predicted = time_one_image(arguments, near, quick, images[0], truth[0], sample)

    exact = tile_effects(truth[0], near.whole(images[0]), computed)
    original = tile_effects(truth[0], network.predict(images[:1], verbose=0)[0], predicted)
    print(f"\nexact against predict: {deviation(original, exact[sample], exact)}")
    if arguments.bfloat16:
        narrow = MaskedScores(trained.build("mixed_bfloat16"), arguments.tile, arguments.tiles_per_call)
        narrow.masked(images[0], sample[: arguments.tiles_per_call])
        scores, taken = seconds_of(narrow.masked, images[0], sample)
        found = tile_effects(truth[0], narrow.whole(images[0]), scores)
        print(f"bfloat16 against exact: {deviation(found, exact[sample], exact)}, "
              f"{taken * num_tiles / len(sample):.1f} s")  # fmt: skip
    compare_maps(near, quick, images, truth, exact)


def time_one_image(
    arguments: argparse.Namespace, near: Any, quick: Any, image: Any, truth: Any, sample: Any
) -> tuple[Any, Any]:
    """Print seconds per image of every way, and return the scores of all tiles, and predict's of the sample."""
    from medsynth.classify.attribution.maps import MaskedScores

    network, num_tiles = near.network, near.tiles_per_side**2
    whole = MaskedScores(network, arguments.tile, arguments.tiles_per_call, near_tile=False)
    first = sample[: arguments.tiles_per_call]
    _, near_first = seconds_of(near.masked, image, first)
    _, whole_first = seconds_of(whole.masked, image, first)
    _, quick_first = seconds_of(quick.estimates, image, truth)
    predict_tiles(network, image, first[:2], arguments.tile)
    print(
        f"first calls: near the tile {near_first:.1f} s, whole copies {whole_first:.1f} s, estimate {quick_first:.1f} s"
    )

    seconds = {"predict": 0.0, "whole copies in batches": 0.0, "exact, near the tile": 0.0}
    predicted, computed = [], []
    parts = np.array_split(np.arange(num_tiles), NUM_TURNS)
    for some, part in zip(np.array_split(sample, NUM_TURNS), parts, strict=True):
        scores, taken = seconds_of(predict_tiles, network, image, some, arguments.tile)
        predicted.append(scores)
        seconds["predict"] += taken * num_tiles / len(sample)
        _, taken = seconds_of(whole.masked, image, some)
        seconds["whole copies in batches"] += taken * num_tiles / len(sample)
        scores, taken = seconds_of(near.masked, image, part)
        computed.append(scores)
        seconds["exact, near the tile"] += taken
    calls = near.num_calls
    _, seconds["coarse-to-fine"] = seconds_of(quick.effects, image, truth)
    print(f"coarse-to-fine: {quick.num_computed} of {num_tiles} tiles, {near.num_calls - calls} calls of the network")
    note = "all" if len(sample) == num_tiles else f"from {len(sample)} of {num_tiles} tiles"
    print(f"\n{'one image':26s} {'seconds':>9s} {'times as fast':>14s}   (predict and whole copies: {note})")
    for name, value in seconds.items():
        print(f"{name:26s} {value:9.1f} {seconds['predict'] / value:14.2f}")
    return np.concatenate(computed), np.concatenate(predicted)


def floored(effects: Any) -> Any:
    """Return what stands in a map."""
    from medsynth.classify.attribution.maps import EPSILON

    return np.maximum(effects, EPSILON).ravel()


def deviation(found: Any, expected: Any, all_expected: Any) -> str:
    """Return how far two maps differ, in words."""
    from scipy.stats import spearmanr

    share = np.abs(floored(found) - floored(expected)).max() / floored(all_expected).max()
    agreement = spearmanr(floored(found), floored(expected)).statistic
    return f"largest deviation {share:.1e} of the map's largest value, Spearman {agreement:.4f} on {found.size} tiles"


def compare_maps(near: Any, quick: Any, images: Any, truth: Any, first: Any) -> None:
    """Print how well coarse-to-fine ranks the tiles of each image.

    Args:
        near: Exact.
        quick: Coarse to fine.
        images: [N, D, D, 3].
        truth: [N, L].
        first: Exact effects of the first image.
    """
    from scipy.stats import spearmanr

    from medsynth.classify.attribution.maps import EPSILON, binary_cross_entropy, exact_effects

    print("\nimage     loss  largest effect  tiles above the floor  Spearman of coarse-to-fine")
    for number, (image, labels) in enumerate(zip(images, truth, strict=True)):
        values = floored(exact_effects(near, image, labels) if number else first)
        found = floored(quick.effects(image, labels))
        loss, share = binary_cross_entropy(labels, near.whole(image)), (values > EPSILON).mean()
        agreement = spearmanr(found, values).statistic
        print(f"{number:5d}  {loss:7.4f}  {values.max():14.2e}  {share:21.0%}  {agreement:26.4f}")


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
