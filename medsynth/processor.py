"""What this machine's processor can do."""

from pathlib import Path
from typing import Literal

_CPU_INFO = Path("/proc/cpuinfo")
# x86: AVX512-BF16 and AMX-BF16; Arm: BF16 (Armv8.6).
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16; False where that cannot be told.

    One that cannot emulates it, several times slower than float32.
    """
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    lines = (line.partition(":") for line in text.splitlines())
    return any(
        _BFLOAT16_FLAGS & set(value.split()) for name, _, value in lines if name.strip() in ("flags", "Features")
    )


def fastest_precision() -> Literal["float32", "mixed_bfloat16"]:
    """Return the number format in which this processor trains fastest."""
    return "mixed_bfloat16" if has_bfloat16() else "float32"
