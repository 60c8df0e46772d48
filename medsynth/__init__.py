"""What two or more applications of the suite share."""

import os

__version__ = "0.1.0"

# TensorFlow reads this when it is loaded. Left alone it uses oneDNN's kernels only on processors with instructions
# for neural networks; with AVX2 alone they make GAN and DenseNet training about 1.5 times as fast (docs/speed.md).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
