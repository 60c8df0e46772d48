"""Number formats of a training."""

from typing import Literal

import keras

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


def dtype_policy(precision: Precision) -> keras.DTypePolicy:
    """Return the Keras policy: float32 throughout, or narrow arithmetic on float32 weights.

    bfloat16 keeps float32's range, so no loss scaling is needed. It is fast where the
    processor has instructions for it (AVX512-BF16, AMX, recent GPUs) and slow elsewhere.
    float16 is for GPUs without it; its losses are scaled (`medsynth.training.optimizers.LossScale`).

    Source: Kalamkar et al. 2019, https://arxiv.org/abs/1905.12322; Micikevicius et al. 2018,
    https://arxiv.org/abs/1710.03740.
    """
    return keras.DTypePolicy(precision)


def pixel_norm_epsilon(precision: Precision) -> float:
    """Return what pixel norm adds to the mean square: 1e-8, or 1e-4 in float16, as published."""
    return 1e-4 if precision == "mixed_float16" else 1e-8
