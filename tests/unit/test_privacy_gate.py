"""The privacy gate on made cases: who copies fails, who draws new images passes, and ignorance never passes."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.gates import filtering, privacy
from benchmark.gates.inputs import Request, VerdictInputs, read_inputs
from benchmark.gates.model import Measure, Outcome, combine
from benchmark.gates.privacy import MUST_FIND, PASSED, copies_outcome, judge_evidence, judge_privacy
from benchmark.gates.privacy_evidence import Evidence, gather, read_data, synthetic_values
from benchmark.gates.thresholds import load_thresholds
from benchmark.steps import Step
from medsynth.classify.evaluation.evaluate import Interval, proportion
from medsynth.data.alterations import resized
from medsynth.data.labels import LabelTable, read_label_table, record_order, write_label_table, write_patients
from medsynth.data.pyramid import open_records
from medsynth.data.tfrecords import write_split
from medsynth.files import read_json, write_json

NAMES = ("A", "B")
SIZE, NUM_TRAIN, NUM_HELD_OUT = 32, 240, 300
THRESHOLDS = load_thresholds()["privacy"]
Images = np.ndarray


def smooth(num_images: int, seed: int) -> Images:
    """Different smooth images [N, 32, 32, 1]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (num_images, 7, 7, 1), dtype=np.uint8)
    return np.stack([resized(image, SIZE, SIZE) for image in coarse])


def write(folder: Path, images: Images, prefix: str = "") -> None:
    """Write a split; with a prefix, every image is of a patient of its own."""
    labels = np.eye(2, dtype=np.float32)[np.arange(len(images)) % 2]
    write_split(folder, images, labels[record_order(len(images))], 5)
    paths = tuple(f"{folder.parent.name}/{folder.name}/{number}.png" for number in range(len(images)))
    write_label_table(folder, LabelTable(paths, NAMES, labels))
    if prefix:
        write_patients(folder, [f"{prefix}{number}" for number in range(len(images))])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write(root / "train", smooth(NUM_TRAIN, 0), "a")
    write(root / "test", smooth(NUM_HELD_OUT, 1), "b")
    return root


def copies(num_images: int = NUM_TRAIN) -> Images:
    """Training images with slight noise."""
    noise = np.random.default_rng(5).normal(0, 1, (num_images, SIZE, SIZE, 1))
    return (smooth(NUM_TRAIN, 0)[:num_images] + noise).clip(0, 255).astype(np.uint8)


def inputs_of(data: Path, results: Path, train: Images, **other: Images) -> VerdictInputs:
    """Write results with these synthetic splits and read everything."""
    for name, images in {"train": train, **other}.items():
        write(results / "inference" / name, images)
    return read_inputs(Request(results, data))


@pytest.fixture(scope="module")
def new(data: Path, tmp_path_factory: pytest.TempPathFactory) -> VerdictInputs:
    """Real images of other patients in place of synthetic ones, in two splits."""
    return inputs_of(data, tmp_path_factory.mktemp("new"), smooth(200, 2), test=smooth(90, 3))


@pytest.fixture(scope="module")
def evidence(new: VerdictInputs) -> Evidence:
    return gather(new, read_data(new))


def by_key(measures: list[Measure]) -> dict[str, Measure]:
    found = {measure.key: measure for measure in measures}
    assert len(found) == len(measures), "every key once"
    return found


@pytest.fixture
def gathered(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured twice."""
    monkeypatch.setattr(privacy, "gather", lambda inputs, data: evidence)


@pytest.mark.usefixtures("gathered")
def test_new_images_pass_with_every_figure(new):
    gate = judge_privacy(new, THRESHOLDS)
    assert (gate.outcome, gate.reason) == (Outcome.PASS, PASSED)
    found = by_key(list(gate.measures))
    deciding = {key for key, measure in found.items() if measure.outcome is not None}
    assert deciding == {
        *(f"{kind}_{way}" for kind in ("excess_share", "nearer_than_any") for way in ("distance", "ratio")),
        "near_copies", "membership_auc_pixels", "found_at_5_percent_pixels", *(f"planted {kind}" for kind in MUST_FIND),
    }  # fmt: skip
    assert {key for key, measure in found.items() if measure.threshold is not None} == deciding
    assert found["found_at_1_percent_pixels"].value is None
    assert "300 controls or more" in found["found_at_1_percent_pixels"].reason
    assert found["membership_auc_pixels"].low < 0.5 < found["membership_auc_pixels"].high
    assert all(measure.num > 0 for measure in found.values())
    assert f"{len(deciding)} figures decide" in gate.notes[0]
    assert [picture.is_private for picture in gate.pictures] == [True, False]
    assert all(picture.png[:4] == b"\x89PNG" for picture in gate.pictures)
    false = found["false_positives_calibrated_5_percent_pixels"]
    assert false.low <= 0.05 <= false.high
    assert false.num == NUM_HELD_OUT // 2


def test_a_memoriser_fails_even_where_patients_are_unknown(data, tmp_path):
    inputs = dataclasses.replace(inputs_of(data, tmp_path, copies()), patients_known=False)
    gate = judge_privacy(inputs, THRESHOLDS)
    assert gate.outcome is Outcome.FAIL
    found = by_key(list(gate.measures))
    assert found["held_out_patients"].outcome is Outcome.INSUFFICIENT
    failed = {key for key, measure in found.items() if measure.outcome is Outcome.FAIL}
    assert failed >= {"excess_share_distance", "excess_share_ratio", "nearer_than_any_distance", "near_copies",
                          "membership_auc_pixels", "found_at_5_percent_pixels"}  # fmt: skip
    assert "lie beyond the limit" in gate.reason
    assert found["near_copies"].value > 0.9


def test_a_few_copies_among_new_images_fail(data, tmp_path):
    images = np.concatenate([smooth(190, 2), copies(10)])
    found = by_key(list(judge_privacy(inputs_of(data, tmp_path, images), THRESHOLDS).measures))
    assert found["excess_share_distance"].outcome is not Outcome.FAIL, "too few for the share"
    assert found["near_copies"].outcome is found["nearer_than_any_distance"].outcome is Outcome.FAIL
    assert 8 / 200 <= found["near_copies"].value <= 10 / 200


@pytest.mark.parametrize(("change", "words"), [
    (lambda inputs: dataclasses.replace(inputs, patients_known=False), "known not to be in the training data"),
    (lambda inputs: dataclasses.replace(inputs, held_out=()), "there are none"),
])  # fmt: skip
@pytest.mark.usefixtures("gathered")
def test_ignorance_never_passes(new, change, words):
    gate = judge_privacy(change(new), THRESHOLDS)
    assert gate.outcome is Outcome.INSUFFICIENT
    assert words in gate.reason


def test_too_few_held_out_images_say_how_many_more(data, tmp_path):
    small = tmp_path / "data"
    write(small / "train", smooth(NUM_TRAIN, 0), "a")
    write(small / "test", smooth(30, 1), "b")
    gate = judge_privacy(inputs_of(small, tmp_path / "gan", smooth(40, 2)), THRESHOLDS)
    assert gate.outcome is Outcome.INSUFFICIENT
    assert gate.measures[0].more_needed == 10
    assert "there are 30 images of 30 patients" in gate.reason


@pytest.mark.parametrize("name", MUST_FIND)
@pytest.mark.parametrize(
    ("num_found", "outcome"), [(10, Outcome.INSUFFICIENT), (43, Outcome.INSUFFICIENT), (50, Outcome.PASS)]
)
def test_a_blind_search_leaves_the_gate_open(evidence, name, num_found, outcome):
    share = proportion(num_found, 50)
    planted = [
        dataclasses.replace(one, by_distance=share, by_ratio=share, by_pixels=None) if one.alteration == name else one
        for one in evidence.planted
    ]
    measures = judge_evidence(dataclasses.replace(evidence, planted=planted), THRESHOLDS, NUM_HELD_OUT)
    assert by_key(measures)[f"planted {name}"].outcome is outcome
    assert combine(measures) is outcome


def test_near_copies_among_held_out_images_excuse_as_many(evidence):
    few = evidence.copies
    assert few is not None
    originals = np.where(np.arange(len(few.originals)) < 6, 0, -1)
    synthetic = dataclasses.replace(few, originals=originals)
    held_out = dataclasses.replace(few, originals=np.where(np.arange(NUM_HELD_OUT) < 6, 0, -1))
    for controls, outcome in ((evidence.held_out_copies, Outcome.FAIL), (held_out, Outcome.PASS)):
        changed = dataclasses.replace(evidence, copies=synthetic, held_out_copies=controls)
        assert by_key(judge_evidence(changed, THRESHOLDS, NUM_HELD_OUT))["near_copies"].outcome is outcome


@pytest.mark.usefixtures("gathered")
@pytest.mark.parametrize(("is_trained_on", "outcome"), [(True, Outcome.PASS), (None, Outcome.PASS), (False, "open")])
def test_a_gan_of_other_training_images_never_passes(new, is_trained_on, outcome):
    gate = judge_privacy(dataclasses.replace(new, is_trained_on=is_trained_on), THRESHOLDS)
    assert gate.outcome is (Outcome.INSUFFICIENT if outcome == "open" else outcome)
    assert any(one.key == "training_images" for one in gate.measures) == (is_trained_on is False)


@pytest.mark.parametrize(("low", "high", "outcome"), [
    (0.45, 0.55, Outcome.PASS), (0.36, 0.41, Outcome.PASS), (0.30, 0.36, Outcome.INSUFFICIENT),
    (0.63, 0.70, Outcome.FAIL),
])  # fmt: skip
def test_an_attack_that_finds_the_controls_says_that_they_differ(evidence, low, high, outcome):
    spaces = [
        dataclasses.replace(
            space, calibrated=dataclasses.replace(space.calibrated, auc=Interval((low + high) / 2, low, high))
        )
        for space in evidence.spaces
    ]
    found = by_key(judge_evidence(dataclasses.replace(evidence, spaces=spaces), THRESHOLDS, NUM_HELD_OUT))
    assert found["membership_auc_pixels"].outcome is outcome


@pytest.mark.parametrize(
    ("copies", "num", "controls", "num_controls", "outcome"),
    [
        (0, 500, 0, 30, Outcome.PASS),
        (5, 1000, 0, 30, Outcome.INSUFFICIENT),  # so few held-out cases would excuse one in ten
        (5, 1000, 1, 200, Outcome.PASS),
        (200, 1000, 0, 30, Outcome.FAIL),
    ],
)
def test_ignorance_of_chance_excuses_no_copies(
    copies: int, num: int, controls: int, num_controls: int, outcome: Outcome
) -> None:
    limit = proportion(controls, num_controls).high
    assert copies_outcome(proportion(copies, num), limit, controls, THRESHOLDS) is outcome


def test_values_of_a_split_are_found_in_those_of_all(new, evidence):
    records = read_data(new).synthetic.data.records
    means = records.read(range(len(records))).mean(axis=(1, 2, 3))
    for name, num_images in (("train", 200), ("test", 90)):
        own = open_records(new.synthetic_dir / name, SIZE).read(range(num_images)).mean(axis=(1, 2, 3))
        np.testing.assert_array_equal(synthetic_values(new, means, name), own)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Classifiers that need no training: their AUROC is the share of images that are left."""
    steps: list[Step] = []

    def run(step: Step) -> None:
        steps.append(step)
        (results,) = [part for part in step.command if isinstance(part, Path) and (part / "inference").is_dir()]
        share = len(read_label_table(results / "inference" / "train").paths) / 200
        mean = {"auroc": share, "auroc_low": share - 0.05, "auroc_high": min(share + 0.05, 1)}
        write_json(step.result, {"mean": mean})

    monkeypatch.setattr(filtering, "run_step", run)
    return steps


def test_the_price_of_privacy_is_a_curve_that_is_paid_once(data, tmp_path, trained, monkeypatch):
    monkeypatch.setattr(filtering, "FEWEST_LEFT", 20)
    images = np.concatenate([smooth(120, 2), copies(80)])
    inputs = dataclasses.replace(inputs_of(data, tmp_path, images, valid=smooth(20, 4)), filter=True)
    read = read_data(inputs)
    found = gather(inputs, read)
    price = filtering.price_of_privacy(inputs, read, found, THRESHOLDS)
    kept = [point.num_kept for point in price.points]
    assert kept[0] == 200
    assert kept[1] <= 120, "the copies are gone"
    assert kept == sorted(kept, reverse=True)
    assert price.points[0].attack_auc.value > price.points[1].attack_auc.value + 0.1
    assert [point.auroc.value for point in price.points] == [pytest.approx(left / 200) for left in kept]
    num_different = len(set(kept))
    assert num_different >= 3
    assert len(trained) == 2 * num_different
    scripts = [step.command[0] for step in trained]
    assert scripts == ["classifier_fake/train.py", "classifier_fake/test.py"] * num_different
    folders = [step.command[3] for step in trained[::2]]
    assert (
        folders
        == [tmp_path, *(inputs.out_dir / "filtered" / f"below-percentile-{p}" for p in (5, 10, 25))][: len(folders)]
    )

    filtered = folders[1]
    threshold = read_json(filtered / "filter.json")["threshold"]
    distances = synthetic_values(inputs, found.found.distances, "train")
    left = {image.tobytes() for image in open_records(filtered / "inference/train", SIZE).read(range(kept[1]))}
    pixels = open_records(inputs.synthetic_dir / "train", SIZE).read(np.flatnonzero(distances >= threshold))
    assert left == {image.tobytes() for image in pixels}
    assert len(read_label_table(filtered / "inference" / "valid").paths) == 20
    table = pd.read_csv(inputs.out_dir / "filtered" / filtering.TABLE)
    assert table["num_kept"].tolist() == kept
    assert price.pictures[0].png[:4] == b"\x89PNG"
    assert all(measure.outcome is None for measure in price.measures)

    before = len(trained)
    known = {point.num_kept: point.attack_auc for point in price.points}
    monkeypatch.setattr(filtering._Attacker, "auc", lambda self, left: known.get(int(left.sum()), Interval(0.5)))
    again = filtering.price_of_privacy(inputs, read, found, THRESHOLDS)
    assert len(trained) == before, "what is done is not done again"
    assert [dataclasses.asdict(point) for point in again.points] == [
        dataclasses.asdict(point) for point in price.points
    ]
    stricter = filtering.price_of_privacy(inputs, read, found, THRESHOLDS | {"filter_percentile_3": 40.0})
    assert stricter.points[-1].num_kept < kept[-1]
    assert len(trained) == before + 2


def test_of_a_handful_of_images_nothing_is_measured(data, tmp_path, trained):
    inputs = dataclasses.replace(inputs_of(data, tmp_path, np.concatenate([smooth(30, 2), copies(200)])), filter=True)
    read = read_data(inputs)
    price = filtering.price_of_privacy(inputs, read, gather(inputs, read), THRESHOLDS)
    last = price.points[-1]
    assert last.num_kept < filtering.FEWEST_LEFT
    assert np.isnan(last.attack_auc.value)
    assert last.auroc is None
    assert len(trained) == 2, "the classifier without a filter"
    assert any(f"neither attack nor classifier, {last.num_kept} images left" in note for note in price.notes)
    assert not any(measure.key.endswith(last.name) for measure in price.measures)


def test_images_without_labels_have_a_curve_of_the_attack_alone(new, evidence, trained):
    inputs = dataclasses.replace(new, label_names=())
    price = filtering.price_of_privacy(inputs, read_data(inputs), evidence, THRESHOLDS)
    assert [point.auroc for point in price.points] == [None] * 4
    assert trained == []
    assert "no classifier, images without labels" in price.notes[0]
    assert isinstance(price.points[0].attack_auc, Interval)
