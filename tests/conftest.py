"""Loaded before any test module, hence before TensorFlow."""

import medsynth  # noqa: F401  (sets what TensorFlow reads when it is loaded)
