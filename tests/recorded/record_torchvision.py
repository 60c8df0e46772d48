"""Record what torchvision's networks make of made-up weights. Needs torch and torchvision; the tests do not.

PYTHONPATH=. python tests/recorded/record_torchvision.py tests/recorded/torchvision.npz

For each network: the names and shapes of its state dictionary, the side of the images, the logits in inference mode,
and where there is a layer to look at, the sum over channels of its activations times the gradient of the scores of
`LABELS`, [N, h, w].
"""

import json
import sys

import numpy as np
import torch
from torchvision.models import convnext, densenet, resnet, squeezenet, swin_transformer, vision_transformer
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation import deeplabv3, fcn

from tests.torchvision_weights import LABELS, made_up_images, made_up_weight

NUM_CLASSES = 5


def convnext_of(*sizes):
    blocks = [convnext.CNBlockConfig(*size) for size in sizes]
    return convnext.ConvNeXt(blocks, num_classes=NUM_CLASSES)


def segmenter_of(kind, head):
    layers = resnet.ResNet(resnet.Bottleneck, [1, 1, 2, 2], replace_stride_with_dilation=[False, True, True])
    return kind(IntermediateLayerGetter(layers, {"layer4": "out"}), head, None)


# Name: side of the images, network, layer to look at and the axis of its channels.
NETWORKS = {
    "convnext_small": (40, lambda: convnext_of((8, 16, 2), (16, None, 2)), lambda net: net.features[-1][-1], 1),
    "squeezenet1_0": (68, lambda: squeezenet.SqueezeNet("1_0", NUM_CLASSES), lambda net: net.features[-1], 1),
    "vit_b_16": (
        32,
        lambda: vision_transformer.VisionTransformer(32, 8, 2, 2, 8, 16, num_classes=NUM_CLASSES),
        lambda net: net.conv_proj,
        1,
    ),
    "swin_s": (
        42,
        lambda: swin_transformer.SwinTransformer([4, 4], 8, [2, 2], [2, 4], [4, 4], num_classes=NUM_CLASSES),
        lambda net: net.features[-1][-1].norm2,
        3,
    ),
    "densenet121": (64, lambda: densenet.DenseNet(num_classes=NUM_CLASSES), None, 1),
    "fcn_resnet50": (50, lambda: segmenter_of(fcn.FCN, fcn.FCNHead(2048, 2)), None, 1),
    "deeplabv3_resnet50": (50, lambda: segmenter_of(deeplabv3.DeepLabV3, deeplabv3.DeepLabHead(2048, 2)), None, 1),
}


def record(name):
    size, build, layer, channels = NETWORKS[name]
    network = build().eval()
    weights = {
        key: made_up_weight(key, tuple(value.shape))
        for key, value in network.state_dict().items()
        if value.is_floating_point()
    }
    network.load_state_dict({key: torch.from_numpy(value) for key, value in weights.items()}, strict=False)
    seen = []
    if layer is not None:
        layer(network).register_forward_hook(lambda module, inputs, output: seen.append(output))
    logits = network(torch.from_numpy(made_up_images(size).transpose(0, 3, 1, 2).copy()))
    logits = logits["out"] if isinstance(logits, dict) else logits
    found = {
        "shapes": np.array(json.dumps({key: value.shape for key, value in weights.items()})),
        "size": np.array(size),
        "logits": logits.detach().numpy(),
    }
    if seen:
        score = logits[torch.arange(len(LABELS)), torch.tensor(LABELS)].sum()
        (gradient,) = torch.autograd.grad(score, seen[0])
        found["evidence"] = (gradient * seen[0]).sum(channels).detach().numpy()
    return {f"{name}/{key}": value for key, value in found.items()}


if __name__ == "__main__":
    arrays = {key: value for name in NETWORKS for key, value in record(name).items()}
    np.savez_compressed(sys.argv[1], **arrays)
