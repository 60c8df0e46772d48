"""DenseNet-121 trained on real images."""
