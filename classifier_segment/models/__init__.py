"""The networks: backbones with heads for classes, and segmenters."""
