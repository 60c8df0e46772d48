"""Settings: overrides, types, nearest names, JSON."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from GAN_prog.config import presets
from medsynth.config import choose_preset, describe_differences, flatten, from_json, override, to_json
from medsynth.errors import UsageError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    sizes: dict[int, int] = field(default_factory=lambda: {8: 256})


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    steps: int = 3
    name: str = "x"
    mode: Literal["a", "b"] = "a"
    mirror: bool = False
    limit: int | None = None
    levels: tuple[float, ...] = (1.0,)


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("inner.rate=0.5", "inner.rate", 0.5),
        ("inner.rate=1", "inner.rate", 1.0),
        ('inner.sizes={"16": 64}', "inner.sizes", {16: 64}),
        ("steps=7", "steps", 7),
        ("name=hello world", "name", "hello world"),
        ("mode=b", "mode", "b"),
        ("mirror=true", "mirror", True),
        ("limit=4", "limit", 4),
        ("limit=null", "limit", None),
        ("levels=[1, 2.5]", "levels", (1.0, 2.5)),
    ],
)
def test_override_sets_one_value_of_the_right_type(assignment: str, key: str, value: object) -> None:
    changed = flatten(override(Outer(), [assignment]))
    assert changed[key] == value
    assert type(changed[key]) is type(value)
    assert {k: v for k, v in changed.items() if k != key} == {k: v for k, v in flatten(Outer()).items() if k != key}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("inner.rat=1", "Did you mean inner.rate"),
        ("stepz=1", "Did you mean steps"),
        ("inner=1", "a group; its keys are inner.rate, inner.sizes"),
        ("steps", "key=value"),
        ("steps=many", 'type int. Received: "many"'),
        ("steps=1.5", "type int"),
        ("steps=true", "type int"),
        ("inner.rate=true", "type float"),
        ("mirror=1", "type bool"),
        ("mode=c", "one of a, b"),
        ("name=5", "type str"),
        ('inner.sizes={"big": 1}', "type int"),
    ],
)
def test_override_refuses_what_does_not_fit(assignment: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        override(Outer(), [assignment])


def test_json_brings_everything_back() -> None:
    config = override(Outer(), ["inner.rate=0.25", 'inner.sizes={"4": 1}', "levels=[0.5]", "limit=9"])
    assert config != Outer()
    assert from_json(Outer, to_json(config)) == config
    with pytest.raises(UsageError, match="Did you mean steps"):
        from_json(Outer, {"step": 1})


def test_presets_and_differences() -> None:
    with pytest.raises(UsageError, match=r"Did you mean small\? Known presets: small, large"):
        choose_preset({"small": Outer(), "large": Outer()}, "smal")
    assert describe_differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == "b: 2 -> 3; c: not set -> 4"


@pytest.mark.parametrize(
    "assignment",
    [
        *("trainer.minibatch_repeats=0", "trainer.max_grid_images=0", "trainer.snapshot_ticks=0"),
        *("optimiser.average_decay=7", "optimiser.beta_1=1", "optimiser.epsilon=-1"),
        *("network.fmap_base=0", "network.fmap_max=-3"),
        *("schedule.total_kimg=NaN", "schedule.total_kimg=Infinity", "optimiser.average_decay=NaN"),
    ],
)
def test_numbers_that_no_training_can_use_are_refused(assignment: str) -> None:
    with pytest.raises(UsageError, match=rf"{assignment.partition('=')[0].rpartition('.')[2]} .*Received: "):
        override(presets(32)["cpu"], [assignment])
