"""Settings as frozen dataclasses: presets, `--set key=value`, JSON in and out.

A configuration is a frozen dataclass whose fields are numbers, texts, flags,
tuples, dictionaries or further dataclasses. A nested field is written with
dots: `schedule.total_kimg`.
"""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from medsynth.errors import UsageError

Config = TypeVar("Config")


def choose_preset(presets: Mapping[str, Config], name: str) -> Config:
    """Return the preset called `name`.

    Raises:
        UsageError: There is no such preset; the message names the nearest.
    """
    if name not in presets:
        raise UsageError(f"Unknown preset.{nearest(name, presets)} Known presets: {', '.join(presets)}.", received=name)
    return presets[name]


def override(config: Config, assignments: Sequence[str]) -> Config:
    """Return `config` with every `key=value` of `assignments` applied, in order.

    Values are JSON where they parse as such (`4`, `true`, `{"8": 256}`), else text.

    Raises:
        UsageError: No `=`, an unknown key (the nearest known one is named), or
            a value that is not of the field's type.
    """
    values = flatten(config)
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise UsageError("A setting is written key=value.", received=assignment)
        if key not in values:
            groups = sorted(name for name in values if name.startswith(key + "."))
            hint = f" It is a group; its keys are {', '.join(groups)}." if groups else nearest(key, values)
            raise UsageError(f"Unknown setting.{hint}", received=key)
        config = _replace(config, key.split("."), _parse(text), key)
    return config


def flatten(config: Any) -> dict[str, Any]:
    """Return all settings as one dictionary with dotted keys."""
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flat |= {f"{field.name}.{key}": inner for key, inner in flatten(value).items()}
        else:
            flat[field.name] = value
    return flat


def to_json(config: Any) -> dict[str, Any]:
    """Return the settings as nested dictionaries that JSON can hold."""
    return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(config))))


def from_json(config_class: type[Config], values: Mapping[str, Any]) -> Config:
    """Build a configuration from what `to_json` returned; missing keys take their defaults.

    Raises:
        UsageError: An unknown key or a value of another type.
    """
    hints = typing.get_type_hints(config_class)
    for key in values:
        if key not in hints:
            raise UsageError(f"Unknown setting of {config_class.__name__}.{nearest(key, hints)}", received=key)
    return config_class(**{key: _convert(value, hints[key], key) for key, value in values.items()})


def describe_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return every key whose value differs, as `key: before -> after`, joined by semicolons."""
    rows = [
        f"{key}: {before.get(key, 'not set')} -> {after.get(key, 'not set')}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]
    return "; ".join(rows)


def require_range(name: str, value: float, minimum: float, below: float = math.inf) -> None:
    """Refuse a setting outside [minimum, below).

    Raises:
        UsageError: Names the setting and its range.
    """
    if not minimum <= value < below:
        limits = f"at least {minimum:g}" + (f" and below {below:g}" if below < math.inf else "")
        raise UsageError(f"{name} must be {limits}.", received=value)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name that is most like `name`, or nothing."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.3)
    return f" Did you mean {matches[0]}?" if matches else ""


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _replace(config: Any, path: Sequence[str], value: Any, key: str) -> Any:
    name, *rest = path
    if rest:
        return dataclasses.replace(config, **{name: _replace(getattr(config, name), rest, value, key)})
    hint = typing.get_type_hints(type(config))[name]
    return dataclasses.replace(config, **{name: _convert(value, hint, key)})


def _convert(value: Any, hint: Any, key: str) -> Any:  # noqa: PLR0911  (one return per kind of type)
    """Return `value` as the type that `hint` asks for, or raise a UsageError that names `key`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise UsageError(f"{key} takes one of {', '.join(map(str, arguments))}.", received=value)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        return _convert(value, next(kind for kind in arguments if kind is not type(None)), key)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(item, arguments[0], key) for item in value)
    if origin is dict and isinstance(value, dict):
        return {_convert(_parse(str(name)), arguments[0], key): _convert(item, arguments[1], key)
                for name, item in value.items()}  # fmt: skip
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_json(typing.cast(type, hint), value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise UsageError(f"{key} takes a finite number.", received=value)
        return float(value)
    if hint in (int, bool, str) and type(value) is hint:
        return value
    name = getattr(hint, "__name__", None) if origin is None else None
    raise UsageError(f"{key} takes a value of type {name or hint}.", received=json.dumps(value))
