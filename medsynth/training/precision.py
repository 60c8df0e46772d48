"""Number formats of a training."""

from typing import Literal

import keras

Precision = Literal["float32", "mixed_bfloat16"]


def dtype_policy(precision: Precision) -> keras.DTypePolicy:
    """Return the Keras policy: float32 throughout, or bfloat16 arithmetic on float32 weights.

    bfloat16 keeps float32's range, so no loss scaling is needed. It is fast where the
    processor has instructions for it (AVX512-BF16, AMX, recent GPUs) and slow elsewhere.

    Source: Kalamkar et al. 2019, https://arxiv.org/abs/1905.12322.
    """
    return keras.DTypePolicy(precision)
