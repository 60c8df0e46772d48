"""The numbers that decide: read whole, or refused by name."""

import math
from pathlib import Path

import pytest
import yaml

from benchmark.gates import thresholds
from benchmark.gates.ranges import ASCENDING, RANGES
from benchmark.gates.thresholds import SECTIONS, THRESHOLDS_YAML, load_thresholds, read_thresholds
from medsynth.errors import DataError
from medsynth.files import write_text

OWN = {
    "utility": {"margin": {"value": 0.05, "reason": "because"}},
    "fidelity": {},
    "privacy": {"planted_found": {"value": 1, "reason": "so"}},
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
    assert load_thresholds() == {"utility": {"margin": 0.05}, "fidelity": {}, "privacy": {"planted_found": 1.0}}
    assert load_thresholds(own)["utility"]["margin"] == 0.1
    assert read_thresholds(own)["privacy"]["planted_found"].reason == "so"


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
    assert {gate: set(section) for gate, section in found.items()} == {gate: set(RANGES[gate]) for gate in RANGES}
    assert read_thresholds(THRESHOLDS_YAML) == found, "the committed values lie in their ranges"
    assert all({*pair} <= set(found[gate]) for gate, pairs in ASCENDING.items() for pair in pairs)


@pytest.mark.parametrize(
    ("gate", "name", "value", "message"),
    [
        ("utility", "margin", -1, r"utility\.margin\.value is a number above 0 and below 1\. Received: -1"),
        ("utility", "margin", 7, r"above 0 and below 1\. Received: 7"),
        ("fidelity", "table_pairs_margin", 0, r"above 0 and below 1\. Received: 0"),
        ("utility", "reference_auroc", 3, r"utility\.reference_auroc\.value is a number from 0\.5 to 1\. Received: 3"),
        ("privacy", "membership_auc", 0.4, r"a number from 0\.5 to 1\. Received: 0\.4"),
        ("utility", "fewest_cases", 0, r"utility\.fewest_cases\.value is a whole number, 1 or more\. Received: 0"),
        ("utility", "fewest_cases", 2.5, r"a whole number, 1 or more\. Received: 2\.5"),
        ("utility", "fewest_patients", 1, r"a whole number, 2 or more\. Received: 1"),
        ("privacy", "excess_share", 1.1, r"privacy\.excess_share\.value is a number from 0 to 1\. Received: 1\.1"),
        ("fidelity", "kid_share", -0.1, r"fidelity\.kid_share\.value is a number from 0 to 10\. Received: -0\.1"),
        ("privacy", "filter_percentile_3", 100, r"a number above 0 and below 100\. Received: 100"),
        ("utility", "age_middle_from", 65, r"age_middle_from\.value is below utility\.age_old_from.*65 and 65"),
    ],
)
def test_refuses_values_out_of_their_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: str, name: str, value: float, message: str
) -> None:
    monkeypatch.undo()
    content = yaml.safe_load(THRESHOLDS_YAML.read_text())
    path = written(tmp_path / "own.yaml", content)
    assert load_thresholds(path) == load_thresholds()
    content[gate][name]["value"] = value
    with pytest.raises(DataError, match=message) as error:
        load_thresholds(written(path, content))
    assert str(error.value).startswith(f"{path}: ")
