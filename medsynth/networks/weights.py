"""Network weights on disk, under any file name, whole or absent.

Keras writes and reads its weight form only where a name ends in `.weights.h5`;
the published names (`weights.h5`, `best_weights.h5`) do not. So files are
written and read under a temporary name.
"""

import shutil
import tempfile
import warnings
from pathlib import Path

import h5py
import keras

from medsynth.errors import NetworkError
from medsynth.files import atomic_path, make_folder

_ENDING = ".weights.h5"


def save_weights(network: keras.Model, path: Path) -> None:
    """Write the weights of `network` to `path` (Keras 3 form), atomically."""
    make_folder(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial.") as folder, atomic_path(path) as target:
        written = Path(folder) / f"network{_ENDING}"
        # A second model of the same layers has no optimiser, whose moments would triple the file.
        keras.Model(network.inputs, network.outputs, name=network.name).save_weights(written)
        written.replace(target)


def copy_weights(source: Path, target: Path) -> None:
    """Copy a weight file, atomically."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def load_weights(network: keras.Model, path: Path) -> None:
    """Load weights that `save_weights` wrote into a network of the same architecture.

    Raises:
        NetworkError: Missing, damaged, or of another architecture.
    """
    if not path.is_file():
        raise NetworkError("A file with network weights was expected here.", received="no such file", path=path)
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / f"network{_ENDING}"
        try:
            link.symlink_to(path.resolve())
        except OSError:  # a system without links
            shutil.copyfile(path, link)
        _load(network, link, path)


def load_backbone_weights(network: keras.Model, path: Path) -> None:
    """Load a backbone's weights: a Keras 2 `notop` .h5 file, or a Keras 3 .weights.h5 file.

    Keras 2 files hold their layers in order, under names that differ from
    today's; they are matched by order, and every shape is compared.

    Raises:
        NetworkError: Missing, damaged, or of another architecture.
    """
    if not path.is_file():
        raise NetworkError("A file with pre-trained weights was expected here.", received="no such file", path=path)
    _load(network, path, path)


def _load(network: keras.Model, readable: Path, shown: Path) -> None:
    """Load from `readable`, a name that Keras accepts; errors name `shown`."""
    try:
        with h5py.File(readable, "r"):
            pass
        with warnings.catch_warnings():
            # Keras warns of layers that the file lacks, and leaves them as they were drawn.
            warnings.filterwarnings("error", category=UserWarning)
            network.load_weights(readable)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        first_line = str(error).strip().splitlines()[0]
        raise NetworkError(
            f"The file does not hold weights of the network {network.name!r}; it is damaged or belongs to another "
            "architecture.",
            received=first_line,
            path=shown,
        ) from error
