"""The numbers that decide: read whole, or refused by name."""

import math
from pathlib import Path

import pytest
import yaml

from benchmark.gates import thresholds
from benchmark.gates.thresholds import SECTIONS, load_thresholds, read_thresholds
from medsynth.errors import DataError
from medsynth.files import write_text

OWN = {
    "utility": {"margin": {"value": 0.05, "reason": "because"}},
    "fidelity": {},
    "privacy": {"ratio": {"value": 1, "reason": "so"}},
}


@pytest.fixture(autouse=True)
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thresholds, "THRESHOLDS_YAML", written(tmp_path / "committed.yaml", OWN))


def written(path: Path, content: object) -> Path:
    write_text(path, yaml.safe_dump(content))
    return path


def changed(gate: str, name: str, **parts: object) -> dict[str, dict[str, object]]:
    return {**OWN, gate: {**OWN[gate], name: {**OWN[gate].get(name, {}), **parts}}}


def test_reads_values_and_reasons(tmp_path: Path) -> None:
    own = written(tmp_path / "own.yaml", changed("utility", "margin", value=0.1))
    assert load_thresholds() == {"utility": {"margin": 0.05}, "fidelity": {}, "privacy": {"ratio": 1.0}}
    assert load_thresholds(own)["utility"]["margin"] == 0.1
    assert read_thresholds(own)["privacy"]["ratio"].reason == "so"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**OWN, "price": {}}, "Received: price"),
        ({gate: OWN[gate] for gate in ("utility", "privacy")}, "no fidelity"),
        (changed("utility", "margins", value=1, reason="x"), "Did you mean 'margin'.*Received: margins"),
        ({**OWN, "utility": {}}, "no margin"),
        (changed("utility", "margin", value=math.nan), r"utility\.margin\.value is a finite number"),
        (changed("utility", "margin", value=math.inf), "finite"),
        (changed("utility", "margin", value="0.05"), "finite.*'0.05'"),
        (changed("utility", "margin", value=True), "finite"),
        (changed("utility", "margin", reason=" "), r"utility\.margin\.reason says"),
        (changed("utility", "margin", source="x"), "parts of utility.margin.*Received: source"),
        ({**OWN, "utility": {"margin": 0.05}}, "value and reason for utility.margin"),
        ([1, 2], "A mapping with the sections"),
    ],
)
def test_refuses_by_name(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_thresholds(written(tmp_path / "own.yaml", content))


def test_refuses_what_is_no_yaml(tmp_path: Path) -> None:
    write_text(tmp_path / "own.yaml", "a: [1")
    with pytest.raises(DataError, match="no readable YAML"):
        load_thresholds(tmp_path / "own.yaml")
    with pytest.raises(DataError, match="No such file"):
        load_thresholds(tmp_path / "none.yaml")


def test_the_committed_ones_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = read_thresholds()
    assert tuple(found) == SECTIONS
    assert all(len(one.reason) > 20 for section in found.values() for one in section.values())
