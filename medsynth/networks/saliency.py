"""Class activation maps as functions of a layer's activations and gradients, differentiable in both.

A caller takes the gradient of the class score (the logit, not the probability: a saturated sigmoid has no gradient)
with respect to the layer's output. Where a loss is made of these maps, the gradient that went in has to be part of the
graph: take it with one `tf.GradientTape` inside another.
"""

from typing import Any

from keras import ops

# As in the implementation from which the recorded maps come: keeps a map without any evidence at 0 instead of 0 / 0.
_EPSILON = 1e-7


def hires_cam(activations: Any, gradients: Any, size: tuple[int, int]) -> Any:
    """Return HiResCAM as [N, H, W] in [0, 1]: sum over channels k of dS/dA_k * A_k, place by place.

    Behind the layer lies a network that is linear in it: then the map says exactly what raised the score
    (the paper's section 3). Elsewhere it is a first-order approximation.

    Args:
        activations: A, of a layer, [N, h, w, K].
        gradients: dS/dA of the class score S, [N, h, w, K].
        size: (H, W) of the images.

    Source: Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM", arXiv:2011.08891, equation 3.
    """
    return scaled_map(ops.sum(gradients * activations, axis=-1), size)


def grad_cam(activations: Any, gradients: Any, size: tuple[int, int]) -> Any:
    """Return Grad-CAM as [N, H, W] in [0, 1]: sum over channels k of mean(dS/dA_k) * A_k.

    Args:
        activations: A, of a layer, [N, h, w, K].
        gradients: dS/dA of the class score S, [N, h, w, K].
        size: (H, W) of the images.

    Source: Selvaraju et al. 2017, "Grad-CAM", arXiv:1610.02391, equations 1 and 2.
    """
    weights = ops.mean(gradients, axis=(1, 2), keepdims=True)  # [N, h, w, K] -> [N, 1, 1, K]
    return scaled_map(ops.sum(weights * activations, axis=-1), size)


def scaled_map(evidence: Any, size: tuple[int, int]) -> Any:
    """Return evidence [N, h, w] as maps [N, H, W] in [0, 1]; one without positive evidence is 0 everywhere.

    ReLU, scaled from the smallest to the largest value, resized bilinearly (pixel centres kept), scaled again.

    Args:
        evidence: Positive where the layer speaks for the class.
        size: (H, W).
    """
    positive = _min_max_scaled(ops.relu(evidence))
    rows, columns = (_resizing(length, wanted) for length, wanted in zip(evidence.shape[1:], size, strict=True))
    # [H, h] x [N, h, w] x [w, W] -> [N, H, W]
    return _min_max_scaled(ops.matmul(ops.matmul(rows, positive), ops.transpose(columns)))


def _resizing(length: int, wanted: int) -> Any:
    """Return the weights of a bilinear resizing along one axis, [wanted, length].

    A resizing as two products takes a quarter of the time of the operation for it, gradients included, at the sizes of
    a training step on CPUs.
    """
    columns = ops.eye(length)[None, ..., None]  # [1, length, length, 1]: every column is a unit impulse
    resized = ops.image.resize(columns, (wanted, length), interpolation="bilinear", data_format="channels_last")
    return resized[0, ..., 0]


def _min_max_scaled(maps: Any) -> Any:
    least, most = ops.min(maps, axis=(1, 2), keepdims=True), ops.max(maps, axis=(1, 2), keepdims=True)
    return (maps - least) / (_EPSILON + (most - least))
