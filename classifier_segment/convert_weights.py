"""Turn torchvision's weights into a Keras file that train.py starts from.

The source is a state dictionary saved as safetensors. In Python with torch and torchvision:
  from safetensors.torch import save_file
  save_file(torchvision.models.swin_s(weights="DEFAULT").state_dict(), "swin_s.safetensors")
The file holds everything but the last layers, which depend on the number of classes: of a classifier the backbone, of a
segmenter all but its last convolution.
"""

import argparse
from pathlib import Path

from medsynth import app

_ENDING = ".weights.h5"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this script."""
    parser = app.parser(__doc__)
    parser.add_argument(
        "model", help="convnext_small, squeezenet1_0, vit_b_16, swin_s, densenet121, fcn_resnet50, deeplabv3_resnet50"
    )
    parser.add_argument("source", type=Path, help="safetensors file with torchvision's state dictionary")
    parser.add_argument("target", type=Path, help=f"file to write, *{_ENDING}")
    parser.add_argument(
        "--image-dimension", type=int, default=224, help="pixels a side that a ViT is to see; 224 unless told"
    )
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Read, build the network, set its weights, write them."""
    from classifier_segment.models.pretrained import without_head
    from classifier_segment.models.torchvision_weights import load_torchvision, read_state_dictionary
    from medsynth.errors import UsageError
    from medsynth.networks.weights import save_weights

    if not arguments.target.name.endswith(_ENDING):
        raise UsageError(f"The target's name must end in {_ENDING}.", received=arguments.target.name)
    arrays = read_state_dictionary(arguments.source)
    network = without_head(arguments.model, arguments.image_dimension)
    left_out = load_torchvision(network, arrays, arguments.source)
    save_weights(network, arguments.target)
    print(f"{arguments.target}: {network.count_params():,} weights of {arguments.model}")
    print(f"not part of it: {', '.join(left_out) or 'nothing'}")


if __name__ == "__main__":
    app.run(__file__, build_parser(), main)
