"""Do two sides of a benchmark compute the same? Asked before anything is timed."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rivals import Rival
from safetensors.numpy import load_file

Arrays = dict[str, np.ndarray]


def ask_for_proof(ours: Rival, theirs: Rival) -> tuple[Arrays, Arrays]:
    """Have our side write weights, inputs and results, the other side its results for the same, and end both."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder, name)) for name in ("ours.safetensors", "theirs.safetensors")]
        ours.ask("prove", path=paths[0])
        theirs.ask("prove", given=paths[0], path=paths[1])
        for rival in (ours, theirs):
            rival.end()
        first, second = (load_file(path) for path in paths)
    return first, second


def relative_error(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> float:
    """Return |ours - theirs| / |theirs|, Euclidean over all arrays."""
    ours, theirs = (np.concatenate([array.ravel() for array in side]).astype(np.float64) for side in (ours, theirs))
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
