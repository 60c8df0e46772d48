"""What verdict.py writes and says, with gates that are made up."""

import dataclasses
from pathlib import Path

import pytest

from benchmark import verdict
from benchmark.gates import command
from benchmark.gates.command import PAGE, REPORT, make_verdict
from benchmark.gates.inputs import Request, VerdictInputs
from benchmark.gates.model import Gate, Outcome
from medsynth.errors import MedsynthError, UsageError
from medsynth.files import read_json, write_text
from medsynth.networks.trained_classifier import BEST_WEIGHTS, TRAIN_FOLDER
from tests.page_checks import PageCheck
from tests.verdict_files import write_dataset, write_results
from tests.verdict_gates import gates

SEEN: list[tuple[VerdictInputs, dict[str, float]]] = []


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Request:
    SEEN.clear()

    def judge_as(gate: Gate) -> command.Judge:
        def judge(inputs: VerdictInputs, thresholds: dict[str, float]) -> Gate:
            SEEN.append((inputs, thresholds))
            return gate

        return judge  # type: ignore[return-value]

    monkeypatch.setattr(command, "judges", lambda: {gate.key: judge_as(gate) for gate in gates()})
    return Request(write_results(tmp_path / "gan", application="cpD-GAN"), write_dataset(tmp_path / "data"))


def test_writes_page_and_report_and_says_it_in_a_few_lines(request_: Request) -> None:
    made = make_verdict(request_, command=("python3", "benchmark/verdict.py", "a folder"))
    out = request_.results_dir / "verdict"
    assert sorted(path.name for path in out.iterdir()) == [PAGE, REPORT]
    report = read_json(out / REPORT)
    assert report["judged"]["application"] == "cpD-GAN"
    assert report["judged"]["real"]["train"]["num_patients"] == 16
    assert report["command"] == "python3 benchmark/verdict.py 'a folder'"
    assert report["versions"]["numpy"]
    page = (out / PAGE).read_text()
    assert PageCheck(page).faults == []
    assert "cpD-GAN" in page
    lines = made.lines()
    assert [line.split("  ")[0].strip() for line in lines[:3]] == ["utility", "fidelity", "privacy"]
    assert "fail" in lines[0]
    assert "insufficient data" in lines[1]
    assert lines[3].startswith("Not fit to stand in for the real images.")
    assert len(lines) == 5


def test_filters_come_first_since_they_train_what_utility_reads(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_require_settings_for_filters", lambda inputs: None)
    order: list[str] = []
    by_key = command.judges()

    def noting(key: str) -> command.Judge:
        def judge(inputs: VerdictInputs, thresholds: dict[str, float]) -> Gate:
            order.append(key)
            return by_key[key](inputs, thresholds)

        return judge  # type: ignore[return-value]

    monkeypatch.setattr(command, "judges", lambda: {key: noting(key) for key in by_key})
    for is_filtered, first in ((False, "utility"), (True, "privacy")):
        verdict = make_verdict(dataclasses.replace(request_, filter=is_filtered))
        assert order.pop(0) == first
        assert [gate.key for gate in verdict.gates] == ["utility", "fidelity", "privacy"]
        order.clear()


def nudged(value: float) -> float:
    """Return another value that is in the range of the same threshold."""
    return value + 1 if value > 1 else 0.9 * value


def test_each_gate_gets_its_own_numbers(request_: Request, tmp_path: Path) -> None:
    committed = command.read_thresholds()
    make_verdict(request_)
    assert [set(thresholds) for _, thresholds in SEEN] == [set(committed[gate.key]) for gate in gates()]
    changed = {
        gate: {name: {"value": nudged(one.value), "reason": one.reason} for name, one in section.items()}
        for gate, section in committed.items()
    }
    own = tmp_path / "own.yaml"
    write_text(own, str(changed).replace("'value'", "value").replace("'reason'", "reason"))
    make_verdict(request_, thresholds_path=own)
    assert read_json(request_.results_dir / "verdict" / REPORT)["thresholds"]["file"] == str(own)
    for (_, before), (_, after) in zip(SEEN[:3], SEEN[3:], strict=True):
        assert after == {name: nudged(value) for name, value in before.items()} != before


def test_trains_what_is_missing_before_it_judges(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = request_.data_dir / "classification_results_res_16" / TRAIN_FOLDER / BEST_WEIGHTS

    def train(inputs: VerdictInputs) -> None:
        assert inputs.extractor is None
        assert not SEEN
        weights.parent.mkdir(parents=True)
        weights.touch()

    monkeypatch.setattr(command, "train_missing", train)
    make_verdict(request_)
    assert SEEN.pop()[0].extractor is None
    SEEN.clear()
    make_verdict(dataclasses.replace(request_, train=True))
    extractor = SEEN.pop()[0].extractor
    assert extractor is not None
    assert extractor.is_of_domain


def test_leaves_real_patients_out_when_asked(request_: Request) -> None:
    for shows in (True, False):
        make_verdict(request_, shows_private_pictures=shows)
        page = (request_.results_dir / "verdict" / PAGE).read_text()
        assert ("This page shows images of real patients" in page) is shows


def test_counts_synthetic_images_as_private_where_privacy_fails(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {gate.key: dataclasses.replace(gate, outcome=Outcome.FAIL) for gate in gates()}
    judges = {key: lambda *_, gate=gate: gate for key, gate in failed.items()}
    monkeypatch.setattr(command, "judges", lambda: judges)
    make_verdict(request_, shows_private_pictures=False)
    out = request_.results_dir / "verdict"
    assert "<img" not in (out / PAGE).read_text()
    assert all(picture["is_private"] for gate in read_json(out / REPORT)["gates"] for picture in gate["pictures"])


def test_refuses_one_folder_for_both_arguments(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    same = tmp_path / "other" / ".." / "data"
    with pytest.raises(UsageError, match="the same folder"):
        verdict.main(verdict.build_parser().parse_args([str(data), str(same)]))


def test_writes_nothing_where_the_data_cannot_be_judged(request_: Request) -> None:
    with pytest.raises(MedsynthError, match="no images of 64x64"):
        make_verdict(dataclasses.replace(request_, resolution=64))
    with pytest.raises(MedsynthError, match="--filter trains a classifier for each filter"):
        make_verdict(dataclasses.replace(request_, filter=True))
    assert not (request_.results_dir / "verdict").exists()
    assert gates()[0].outcome is Outcome.FAIL
