"""DenseNet-121 trained on synthetic images and tested on real ones."""
