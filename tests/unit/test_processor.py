from pathlib import Path

import pytest

from benchmark.chain import classifier_settings
from GAN_prog.config import presets
from medsynth import processor


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ("model name\t: AMD EPYC\nflags\t\t: fpu sse2 avx2 fma\n", "float32"),
        ("flags\t\t: fpu avx512f avx512_bf16\n", "mixed_bfloat16"),
        ("flags\t\t: fpu avx512f amx_bf16 amx_tile\n", "mixed_bfloat16"),
        ("Features\t: fp asimd bf16 i8mm\n", "mixed_bfloat16"),
        ("model name\t: made for bf16 avx512_bf16\nflags\t: avx2\n", "float32"),
        ("flags\t: avx512_bf16x\n", "float32"),
        (None, "float32"),
    ],
)
def test_the_number_format_follows_the_processor(
    info: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if info is not None:
        (tmp_path / "cpuinfo").write_text(info)
    monkeypatch.setattr(processor, "_CPU_INFO", tmp_path / "cpuinfo")
    assert processor.fastest_precision() == expected
    assert presets(32)["cpu"].network.precision == expected
    assert presets(32)["published"].network.precision == "float32"
    assert f"precision={expected}" in classifier_settings(num_rows=500)
