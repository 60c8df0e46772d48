"""Weights that torchvision saved, put into the networks of this folder.

Layers bear the names of torchvision's modules, so a variable's path says which entry of the state dictionary it is.
Kernels lie transposed there, nothing else differs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file

from classifier_segment.models.densenet import torchvision_name
from medsynth.errors import NetworkError

_KINDS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_DENSE_AXES = (1, 0)
_KERNEL_AXES = (2, 3, 1, 0)  # [out, in, h, w] -> [h, w, in, out]
_DEPTHWISE_AXES = (2, 3, 0, 1)  # [out, 1, h, w] -> [h, w, out, 1]
_CONVOLUTION_RANK, _DENSE_RANK = 4, 2


def read_state_dictionary(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a safetensors file by name.

    Raises:
        NetworkError: It is missing, damaged, or of another form (such as a .pth, which only running its code opens).
    """
    if not path.is_file():
        raise NetworkError("A safetensors file with weights was expected here.", received="no such file", path=path)
    try:
        arrays: dict[str, npt.NDArray[Any]] = load_file(path)
    except (SafetensorError, ValueError, TypeError) as error:
        raise NetworkError(
            "The file is not in the safetensors form. In Python with torch, safetensors.torch.save_file(state_dict, "
            "'weights.safetensors') writes it.",
            received=error,
            path=path,
        ) from error
    return arrays


def load_torchvision(network: keras.Model, arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> tuple[str, ...]:
    """Set all weights of a network, or of its backbone or body, from a state dictionary of torchvision.

    Nothing is set where one of them does not fit.

    Args:
        network: A classifier with its ImageNet head, a backbone, a segmenter or its body.
        arrays: By torchvision's names.
        path: Where they come from, for messages.

    Returns:
        The names in the dictionary that the network has no place for, such as those of a head.

    Raises:
        NetworkError: A weight is missing or has another shape.
    """
    names = {variable.path: torchvision_key(variable.path) for variable in network.weights}
    missing = [name for name in names.values() if name not in arrays]
    if missing:
        raise NetworkError(
            f"{len(names)} weights under torchvision's names were expected; {len(missing)} of them are missing, such "
            f"as {missing[0]}.",
            received=", ".join(list(arrays)[:5]) + ", ...",
            path=path,
        )
    values = []
    for variable in network.weights:
        name = names[variable.path]
        value = keras_form(arrays[name], variable)
        if value.shape != tuple(variable.shape):
            raise NetworkError(
                f"The array {name} was expected to have the shape {tuple(variable.shape)} in Keras' order of axes; the "
                "file belongs to a network of other sizes.",
                received=value.shape,
                path=path,
            )
        values.append(value)
    for variable, value in zip(network.weights, values, strict=True):
        variable.assign(value)
    return tuple(name for name in arrays if name not in set(names.values()) and "num_batches_tracked" not in name)


def torchvision_key(path: str) -> str:
    """Return the name in a state dictionary of the variable of that path."""
    layer, kind = path.split("/")[-2:]
    module = torchvision_name(layer)
    if module == kind:  # such as ViT's class_token, a parameter of the whole network
        return kind
    joint = "_" if module.endswith("in_proj") else "."
    return f"{module}{joint}{_KINDS.get(kind, kind)}"


def keras_form(value: npt.NDArray[Any], variable: keras.Variable) -> npt.NDArray[np.float32]:
    """Return a weight of torch with its axes in Keras' order, in float32."""
    is_kernel = variable.path.endswith("/kernel")
    if is_kernel and value.ndim == _CONVOLUTION_RANK:
        depthwise = value.shape[1] == 1 and tuple(variable.shape)[-1] == 1
        value = value.transpose(_DEPTHWISE_AXES if depthwise else _KERNEL_AXES)
    elif is_kernel and value.ndim == _DENSE_RANK:
        value = value.transpose(_DENSE_AXES)
    elif variable.path.endswith("/layer_scale"):
        value = value.reshape(-1)  # [C, 1, 1] -> [C]
    return np.ascontiguousarray(value, np.float32)
