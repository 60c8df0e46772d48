"""Weights and training states on disk: safetensors plus JSON, whole or absent.

No pickle: loading a file that someone sends cannot run their code.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from medsynth.errors import NetworkError
from medsynth.files import atomic_path, read_json, write_json

_STATE_NAME = re.compile(r"training-state-(\d{9})\.safetensors")
NETWORK_JSON = "network.json"
_METADATA = "medsynth"
Arrays = dict[str, npt.NDArray[Any]]


def named_variables(network: Any) -> dict[str, keras.Variable]:
    """Return a network's variables as `layer/variable`, the same in every run.

    Keras' own paths depend on whether a layer was built by a call or by hand.

    Raises:
        ValueError: Two layers share a name.
    """
    found: dict[str, keras.Variable] = {}
    for layer in network.layers:
        for variable in layer.variables:
            name = f"{layer.name}/{variable.name}"
            if name in found:
                raise ValueError(f"two variables are called {name}")
            found[name] = variable
    if len(found) != len(network.variables):
        raise ValueError(f"{network.name} has variables outside its layers")
    return found


def read_arrays(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Read a .safetensors file.

    Returns:
        The arrays by name, and the facts stored with them.

    Raises:
        NetworkError: Missing, truncated or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
            metadata = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
    except FileNotFoundError:
        raise NetworkError("A .safetensors file was expected here.", received="no such file", path=path) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise NetworkError("The file is damaged or was cut off.", received=error, path=path) from None
    missing = {"sha256", "facts"} - set(metadata if isinstance(metadata, dict) else ())
    if missing:
        raise NetworkError(
            "The file has no checksum or no facts; it was not written by this version.",
            received=f"no {' and no '.join(sorted(missing))}",
            path=path,
        )
    if metadata["sha256"] != _digest(arrays):
        raise NetworkError(
            "The file is damaged: its weights have another checksum.", received="changed bytes", path=path
        )
    return arrays, metadata["facts"]


def _digest(arrays: Arrays) -> str:
    """Return the SHA-256 of all names and bytes; the format itself has no checksum."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def write_arrays(path: Path, arrays: Arrays, facts: Mapping[str, Any]) -> None:
    """Write arrays and facts to a .safetensors file, atomically."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    # One entry: the format keeps several in no fixed order, and equal weights are to be equal files.
    data = save(contiguous, metadata={_METADATA: json.dumps({"sha256": _digest(contiguous), "facts": facts})})
    # Written here and not by the library, whose errors do not say that a disk is full.
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def assign(variables: Mapping[str, keras.Variable], arrays: Arrays, path: Path) -> None:
    """Set variables to stored arrays of the same names and shapes.

    Raises:
        NetworkError: A name is missing on either side or a shape differs; nothing is changed then.
    """
    for name in sorted({*variables, *arrays}):
        if name not in arrays or name not in variables:
            side = "stored file" if name not in arrays else "network"
            raise NetworkError(
                "Stored weights and network are of different architectures.",
                received=f"{name} is not in the {side}",
                path=path,
            )
        if tuple(variables[name].shape) != arrays[name].shape:
            raise NetworkError(
                f"Stored weights and network differ in {name}, {tuple(variables[name].shape)} in the network.",
                received=arrays[name].shape,
                path=path,
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def save_networks(folder: Path, networks: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write networks to a folder: one .safetensors each, and network.json with their configurations.

    Args:
        folder: Made anew; an older one of this name is replaced once the new one is complete.
        networks: By name.
        facts: What else a reader should know (application, label names, images seen).
    """
    description = {
        "networks": {
            name: {"class": type(network).__name__, "config": architecture(network)}
            for name, network in networks.items()
        },
        **facts,
    }
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, network in networks.items():
            arrays = {key: value.numpy() for key, value in named_variables(network).items()}
            write_arrays(temporary / f"{name}.safetensors", arrays, {})
        write_json(temporary / NETWORK_JSON, description)


def architecture(network: Any) -> dict[str, Any]:
    """Return the part of a network's configuration that its weights depend on."""
    return {key: value for key, value in network.get_config().items() if key not in ("name", "trainable", "dtype")}


def load_network(folder: Path, name: str, classes: Mapping[str, type], **options: Any) -> tuple[Any, dict[str, Any]]:
    """Build a stored network from code and set its weights.

    Args:
        folder: As written by `save_networks`.
        name: Which of its networks.
        classes: The classes that may be built, by name; nothing else is.
        **options: Passed to the class (for example a dtype policy).

    Returns:
        The network and the contents of network.json.

    Raises:
        NetworkError: Missing or damaged files, a pickle, or an unknown class.
    """
    if folder.suffix == ".pkl":
        raise NetworkError(
            "Pickled networks are refused: loading one runs whatever code it holds, and its weights belong to "
            "TensorFlow 1. Give a folder such as network-final/ (weights as safetensors, description as JSON).",
            received=folder.name,
            path=folder.parent,
        )
    if not folder.is_dir():
        raise NetworkError("A folder with a trained network was expected here.", received="no such folder", path=folder)
    description = read_json(folder / NETWORK_JSON)
    networks = description.get("networks") if isinstance(description, dict) else None
    entry = networks.get(name) if isinstance(networks, dict) else None
    known = isinstance(entry, dict) and entry.get("class") in classes and isinstance(entry.get("config"), dict)
    if entry is None or not known:
        raise NetworkError(
            f"network.json must describe a network {name!r} of a known class ({', '.join(classes)}) with its config.",
            received=json.dumps(entry)[:100],
            path=folder,
        )
    try:
        network = classes[entry["class"]](**entry["config"], **options)
    except (TypeError, ValueError) as error:
        raise NetworkError(
            f"network.json does not fit the networks of this application; {_maker(description)}.",
            received=error,
            path=folder,
        ) from None
    network.build()
    path = folder / f"{name}.safetensors"
    arrays, _ = read_arrays(path)
    lacking = sorted(set(arrays) ^ set(named_variables(network)))
    if lacking:
        raise NetworkError(
            f"The weights do not fit the networks of this application; {_maker(description)}.",
            received=f"{len(lacking)} variable(s) that one side lacks, such as {lacking[0]}",
            path=path,
        )
    assign(named_variables(network), arrays, path)
    return network, description


def _maker(description: Mapping[str, Any]) -> str:
    return f"they were made by {description.get('application', 'an unknown one')}"


class TrainingState:
    """The newest states of a training; the same command goes on from the last whole one.

    Args:
        folder: The results folder.
        variables: Everything that training changes, by name.
        num_kept: How many states stay on disk; two, so that a damaged one has a predecessor.
    """

    def __init__(self, folder: Path, variables: Mapping[str, keras.Variable], num_kept: int = 2) -> None:
        self.folder, self.variables, self.num_kept = folder, variables, num_kept

    def save(self, images_seen: int, facts: Mapping[str, Any]) -> None:
        """Write all variables and `facts`, then remove older states, and later ones, which were damaged."""
        arrays = {name: variable.numpy() for name, variable in self.variables.items()}
        write_arrays(
            self.folder / f"training-state-{images_seen:09d}.safetensors", arrays, {**facts, "images_seen": images_seen}
        )
        later = [path for path in self._paths() if int(path.stem.rpartition("-")[2]) > images_seen]
        for path in (*later, *[path for path in self._paths() if path not in later][self.num_kept :]):
            path.unlink(missing_ok=True)

    def restore(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Set all variables to the newest whole state.

        Returns:
            The facts stored with it (None where there is no state), and a line for
            every newer state that was damaged and passed over.

        Raises:
            NetworkError: There are states and all are damaged.
        """
        damaged: list[str] = []
        paths = self._paths()
        for path in paths:
            try:
                arrays, facts = read_arrays(path)
                assign(self.variables, arrays, path)
            except NetworkError as error:
                damaged.append(str(error))
            else:
                return facts, damaged
        if paths:
            raise NetworkError(
                "No stored training state is whole; start again in another folder.",
                received="; ".join(damaged),
                path=self.folder,
            )
        return None, damaged

    def remove(self) -> None:
        """Delete all states; a finished training needs none."""
        for path in self._paths():
            path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        """Return the stored states, newest first."""
        paths = [path for path in self.folder.glob("training-state-*") if _STATE_NAME.fullmatch(path.name)]
        return sorted(paths, reverse=True)
