"""The verdict on GAN_joint: who copies patients fails, new patients do not, and what is missing is said."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmark.gates import joint_inputs, joint_privacy
from benchmark.gates.inputs import Request, VerdictInputs
from benchmark.gates.joint_fidelity import judge_joint_fidelity, judge_table
from benchmark.gates.joint_inputs import (
    TableColumn,
    of_pairs,
    read_columns,
    read_joint_inputs,
    read_rows,
    train_evidence,
)
from benchmark.gates.joint_privacy import judge_joint_privacy
from benchmark.gates.joint_spaces import pair_vectors, row_vectors
from benchmark.gates.joint_utility import PAIRING, judge_joint_utility
from benchmark.gates.model import Gate, Measure, Outcome
from benchmark.gates.thresholds import load_thresholds
from benchmark.steps import Step
from GAN_joint.evidence.exported import export_pairs
from GAN_joint.evidence.pairs import EvidenceRequest
from GAN_joint.paired_data import PairedRows, read_paired_rows
from medsynth.classify.evaluation.predictions import PREDICTIONS, RESULTS, write_predictions
from medsynth.classify.neighbours.search import nearest_neighbours
from medsynth.data.labels import LabelTable, read_label_table, record_order
from medsynth.data.pyramid import open_records
from medsynth.errors import MedsynthError
from medsynth.files import make_folder, write_json
from tests.joint_files import edit_schema
from tests.toy_pairs import write_synthetic, write_toy_pairs

NUM, SIZE = 480, 64
THRESHOLDS = load_thresholds()
Make = Callable[[PairedRows, Path], tuple[Path, Sequence[int]]]


def write_data(folder: Path, seed: int = 0, num: int = NUM) -> Path:
    return write_toy_pairs(folder, num, SIZE, seed, num_measures=4, texture=150)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the patients are held out."""
    folder = write_data(tmp_path_factory.mktemp("joint") / "data")
    edit_schema(folder, lambda values: values.update(test_share=0.5))
    return folder


def judged(data: Path, results: Path, source: Path, rows: Sequence[int], **changes: object) -> VerdictInputs:
    """Return inputs for patients of `source` in place of synthetic ones, without the commands that make them."""
    digest = read_paired_rows(data).train_rows_digest
    out = results / "verdict"
    write_json(results / "config.json", {"application": "joint GAN", "resolution": 72, "data.num_images": 300})
    synthetic = write_synthetic(out / "synthetic", source, rows=rows, train_rows=digest)
    export_pairs(data, synthetic, out / "pairs", EvidenceRequest(image_size=SIZE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_inputs, "run_step", lambda step: None)
        return read_joint_inputs(Request(results, data, **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def new(data: Path, tmp_path_factory: pytest.TempPathFactory) -> VerdictInputs:
    """Real patients whom nobody has seen in place of synthetic ones."""
    root = tmp_path_factory.mktemp("new")
    return judged(data, root / "gan", write_data(root / "others", seed=1, num=240), range(240))


def by_key(gate: Gate) -> dict[str, Measure]:
    found = {measure.key: measure for measure in gate.measures}
    assert len(found) == len(gate.measures), "keys are distinct"
    return found


def failing(gate: Gate) -> set[str]:
    return {measure.key for measure in gate.measures if measure.outcome is Outcome.FAIL}


@pytest.fixture
def _without_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the images alone out: they are judged as those of other GANs, and take half of the time."""
    gate = Gate("privacy", "", Outcome.PASS, "", [Measure("x", "", 0.0, None, None, 1, "", outcome=Outcome.PASS)])
    monkeypatch.setattr(joint_privacy, "judge_privacy", lambda *_: gate)


@pytest.mark.usefixtures("_without_images")
def test_new_patients_do_not_fail(new: VerdictInputs) -> None:
    gate = judge_joint_privacy(new, THRESHOLDS["privacy"])
    found = by_key(gate)
    assert failing(gate) == set()
    for space in ("rows", "pairs"):
        assert abs((found[f"membership_auc_{space}"].value or 0) - 0.5) < 0.06
        assert found[f"planted identical_{space}"].outcome is Outcome.PASS
        assert found[f"excess_share_distance_{space}"].outcome is not Outcome.FAIL
        assert abs(found[f"excess_share_distance_{space}"].value or 1) < 0.05
    assert found["row_copies"].value == 0
    assert all("image" not in found[key].title for key in found if key.endswith("_rows"))
    assert {measure.group.split(":")[0] for key, measure in found.items() if key.endswith("_pairs")} == {
        "images with their rows"
    }


def test_who_learns_patients_by_heart_fails(data: Path, tmp_path: Path) -> None:
    train = read_paired_rows(data).rows_of("train").tolist()
    gate = judge_joint_privacy(judged(data, tmp_path, data, train), THRESHOLDS["privacy"])
    assert gate.outcome is Outcome.FAIL
    spaces = ("pixels", "rows", "pairs")
    assert {f"membership_auc_{space}" for space in spaces} | {"row_copies", "near_copies"} <= failing(gate)
    assert {f"excess_share_distance{ending}" for ending in ("", "_rows", "_pairs")} <= failing(gate)


def test_rows_learnt_by_heart_fail_beside_new_images(data: Path, tmp_path: Path) -> None:
    """The images are those of other patients, so that only the rows give anybody away."""
    train = read_paired_rows(data).rows_of("train").tolist()
    other = write_data(tmp_path / "others", seed=1)
    (other / "table.csv").write_bytes((data / "table.csv").read_bytes())
    (other / "schema.json").write_bytes((data / "schema.json").read_bytes())
    gate = judge_joint_privacy(judged(data, tmp_path / "gan", other, train), THRESHOLDS["privacy"])
    assert {"membership_auc_rows", "row_copies", "excess_share_distance_rows"} <= failing(gate)
    assert not {"membership_auc_pixels", "near_copies", "excess_share_distance"} & failing(gate)


@pytest.mark.usefixtures("_without_images")
def test_rows_that_repeat_by_chance_give_nobody_away(tmp_path: Path) -> None:
    folder = write_toy_pairs(tmp_path / "data", 200, SIZE, texture=150)
    table = folder / "table.csv"
    lines = table.read_text().splitlines()
    # Two columns of three words and two: six different rows.
    lines[1:] = [";".join([*cells[:2], "40" if row else "41", *cells[3:5], "60" if row % 2 else "20"])
                 for row, line in enumerate(lines[1:]) for cells in [line.split(";")]]  # fmt: skip
    table.write_text("\n".join(lines) + "\n")
    edit_schema(folder, lambda values: values.update(test_share=0.5))
    edit_schema(folder, lambda values: values["columns"][2].update(kind="number", minimum=0, maximum=100))
    train = read_paired_rows(folder).rows_of("train").tolist()
    gate = judge_joint_privacy(judged(folder, tmp_path / "gan", folder, train), THRESHOLDS["privacy"])
    found = by_key(gate)
    assert found["planted identical_rows"].outcome is Outcome.NOT_APPLICABLE
    assert not {key for key in failing(gate) if key.endswith("_rows")} | ({"row_copies"} & failing(gate))
    assert "membership_auc_pairs" in failing(gate)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"is_trained_on_these_rows": False}, None),
        ({"num_held_out_images_of_train": 2}, "exactly the image of a train row"),
        ({"num_held_out_names_of_train": 3}, "3 held-out rows bear a name that a train row bears"),
    ],
)
def test_never_passes_where_held_out_patients_may_be_known(
    new: VerdictInputs, changes: dict[str, object], note: str | None
) -> None:
    description = {
        "grouped_by": None, "is_trained_on_these_rows": True, "num_held_out_images_of_train": 0,
        "num_held_out_names_of_train": 0,
    } | changes  # fmt: skip
    held_out, patients_known, notes = joint_inputs._held_out(description, dict(new.real))
    inputs = dataclasses.replace(new, held_out=held_out, patients_known=patients_known)
    assert [note] == [one for one in [note] if any(str(one) in text for text in notes)] if note else not notes
    if held_out:
        assert not patients_known
        return
    judges = {"utility": judge_joint_utility, "fidelity": judge_joint_fidelity, "privacy": judge_joint_privacy}
    for key, judge in judges.items():
        gate = judge(inputs, THRESHOLDS[key])
        assert (gate.outcome, gate.key) == (Outcome.INSUFFICIENT, key)
        assert "the GAN has not seen" in gate.reason


def test_says_which_commands_are_missing(new: VerdictInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = judge_joint_utility(new, THRESHOLDS["utility"])
    assert gate.outcome is Outcome.INSUFFICIENT
    out = new.out_dir
    expected = [
        f"python3 GAN_joint/test.py {name} {new.data_dir} {out}/synthetic {out}/{name} "
        "--seed 0 --max-images 240 --image-size 64"
        for name in ("predict", "joint")
    ]
    assert list(gate.commands) == expected
    ran: list[Step] = []
    monkeypatch.setattr(joint_inputs, "run_step", ran.append)
    train_evidence(new)
    assert [" ".join(["python3", *map(str, step.command)]) for step in ran] == expected


def write_evidence(inputs: VerdictInputs, strengths: tuple[float, float]) -> None:
    """Write what predict and joint leave: predictors of these strengths."""
    split = of_pairs(inputs).held_out_splits[0]
    paths = read_label_table(split).paths
    (target,) = [column for column in read_columns(inputs) if column.kind == "target"]
    rows = read_rows(split)
    truth = np.empty((len(paths), 1), np.float32)
    truth[record_order(len(paths))] = rows[:, target.columns]
    rng = np.random.default_rng(0)
    common = rng.normal(size=truth.shape)
    for name, strength in zip(("real_on_real", "synthetic_on_real"), strengths, strict=True):
        folder = make_folder(inputs.out_dir / "predict" / name)
        scores = 1 / (1 + np.exp(-(strength * (truth - 0.5) + common + 0.1 * rng.normal(size=truth.shape))))
        table = LabelTable(paths, (target.name,), truth)
        write_predictions(folder / PREDICTIONS, table, list(paths), scores.astype(np.float32))
        write_json(folder / RESULTS, {"trained_on": name.split("_")[0], "pairs": {"real_train": 240, "synthetic": 300}})
    write_json(inputs.out_dir / "predict" / "results.json", {})
    auc = {"value": 0.7, "low": 0.65, "high": 0.75, "n": 300, "note": ""}
    tests = [{"name": "real_on_synthetic", "trained_and_tested_on": "", "auc": auc}]
    write_json(inputs.out_dir / "joint" / "results.json", {"matched_versus_shuffled": {"tests": tests}})


@pytest.fixture
def own(new: VerdictInputs, tmp_path: Path) -> VerdictInputs:
    """The same patients with a folder of their own for further results."""
    (tmp_path / "pairs").symlink_to(new.out_dir / "pairs")
    return dataclasses.replace(new, out_dir=tmp_path)


@pytest.mark.parametrize(
    ("strengths", "outcome"),
    [((3.0, 3.0), Outcome.PASS), ((3.0, 0.5), Outcome.FAIL), ((0.0, 0.0), Outcome.INSUFFICIENT)],
)
def test_predictors_are_judged_as_classifiers_are(
    own: VerdictInputs, strengths: tuple[float, float], outcome: Outcome
) -> None:
    write_evidence(own, strengths)
    gate = judge_joint_utility(own, THRESHOLDS["utility"])
    assert gate.outcome is outcome
    assert gate.commands == ()
    assert (by_key(gate)["pairing_real_on_synthetic"].group, by_key(gate)["auroc_difference"].num) == (PAIRING, 240)


def test_predictions_of_other_rows_are_refused(own: VerdictInputs) -> None:
    write_evidence(own, (3.0, 3.0))
    path = own.out_dir / "predict" / "real_on_real" / PREDICTIONS
    for name in ("real_on_real", "synthetic_on_real"):
        path = own.out_dir / "predict" / name / PREDICTIONS
        lines = path.read_text().splitlines()
        cells = lines[1].split(",")
        cells[2] = "0.0" if cells[2] == "1.0" else "1.0"
        path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n")
    with pytest.raises(MedsynthError, match="tested on other rows"):
        judge_joint_utility(own, THRESHOLDS["utility"])


def metric(table: str, name: str, value: float | None, half: float = 0.01, num: int = 200) -> dict[str, object]:
    ends = {"low": None, "high": None} if value is None or not half else {"low": value - half, "high": value + half}
    return {"table": table, "metric": name, "columns": ["mean"], "value": value, "num_rows": num, **ends}


def scores(made: float, detection: float) -> dict[tuple[str, str], dict[str, object]]:
    names = ("columns_mean", "pairs_mean", "correlation_similarity")
    rows = [metric("held_out_real", name, 0.95) for name in names]
    rows += [metric("synthetic_as_few_rows", name, made, 0) for name in names]
    rows += [metric("synthetic", name, made + 0.02) for name in names]
    for name in ("logistic_regression", "gradient_boosting"):
        for table, value in (("synthetic", detection), ("held_out_real", 0.5)):
            rows.append(metric(table, f"detection_auc_{name}", value))
    return {(str(row["table"]), str(row["metric"])): row for row in rows}


@pytest.mark.parametrize(
    ("made", "detection", "expected"),
    [
        (0.94, 0.55, {Outcome.PASS}),
        (0.70, 0.95, {Outcome.FAIL}),
        (0.90, 0.70, {Outcome.INSUFFICIENT, Outcome.PASS}),
    ],
)
def test_tables_are_held_against_the_floor(made: float, detection: float, expected: set[Outcome]) -> None:
    measures = judge_table(scores(made, detection), THRESHOLDS["fidelity"])
    deciding = {one.key: one for one in measures if one.outcome is not None}
    assert len(deciding) == 5
    assert {one.outcome for one in deciding.values()} == expected
    one = deciding["table_pairs_mean_shortfall"]
    assert one.value == pytest.approx(0.95 - made)
    assert (one.high or 0) - (one.low or 0) == pytest.approx(2 * np.hypot(0.01, 0.01))
    assert len({measure.key for measure in measures}) == len(measures)


def test_images_without_features_leave_fidelity_open(own: VerdictInputs) -> None:
    metrics = list(scores(0.94, 0.55).values())
    write_json(own.out_dir / "analysis" / "metrics.json", {"metrics": metrics})
    gate = judge_joint_fidelity(own, THRESHOLDS["fidelity"])
    assert gate.outcome is Outcome.INSUFFICIENT
    assert gate.reason == "Open: images by features of a network."
    assert gate.commands[0].endswith(f"{own.data_dir} 64 --out {own.out_dir} --features NAME --weights PATH")
    random = joint_inputs.find_extractor(Request(own.results_dir, own.data_dir, features="random"), 64)
    measured = by_key(judge_joint_fidelity(dataclasses.replace(own, extractor=random), THRESHOLDS["fidelity"]))
    assert measured["coverage_share"].value is not None
    assert measured["table_columns_mean_shortfall"].outcome is Outcome.PASS


def test_image_and_row_of_a_record_belong_together(new: VerdictInputs) -> None:
    """The right edge of a toy image is dark as far down as the row says the age."""
    split = of_pairs(new).data_dir / "train"
    images = open_records(split, SIZE).read(range(new.real["train"].num_images))
    ages = read_rows(split)[:, 0]
    assert np.corrcoef(images[:, :, -4:].mean(axis=(1, 2, 3)), ages)[0, 1] < -0.3


def test_distances_are_as_described() -> None:
    columns = (
        TableColumn("age", "number", slice(0, 1)),
        TableColumn("sex", "binary", slice(1, 2)),
        TableColumn("pain", "category", slice(2, 5)),
    )
    rows = np.array([[0.2, 0, 1, 0, 0], [0.5, 1, 0, 1, 0], [0.2, 0, 0, 0, 1]], np.float32)
    vectors = row_vectors(rows, columns)

    def distances(one: np.ndarray) -> np.ndarray:
        found = nearest_neighbours([one], [one], 3)
        return np.take_along_axis(found.distances, np.argsort(found.numbers, axis=1), axis=1)

    expected = (1 - np.cos(np.pi / 2 * 0.3) + 1 + 1) / 3
    assert distances(vectors.direct)[0] == pytest.approx([0, expected, 1 / 3], abs=1e-6)
    images = row_vectors(rows[::-1], columns[1:])
    pairs = distances(pair_vectors(images, vectors, (0.5, 0.25)).direct)
    summed = distances(images.direct) / 0.5 + distances(vectors.direct) / 0.25
    assert pairs == pytest.approx(summed / (1 / 0.5 + 1 / 0.25), abs=1e-6)


@pytest.mark.parametrize("option", [{"metadata": Path("x.csv")}, {"filter": True}])
def test_options_of_other_gans_are_refused(data: Path, tmp_path: Path, option: dict[str, object]) -> None:
    write_json(tmp_path / "config.json", {"application": "joint GAN", "resolution": 64})
    with pytest.raises(MedsynthError, match="is for GANs that are trained on a dataset"):
        read_joint_inputs(Request(tmp_path, data, **option))  # type: ignore[arg-type]


def test_makes_what_trains_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolution is the largest power of two within the GAN's, and there are as many patients as predict takes."""
    write_json(tmp_path / "config.json", {"application": "joint GAN", "resolution": 200, "data.num_images": 300})
    ran: list[Step] = []

    def run(step: Step) -> None:
        ran.append(step)
        if step.command[1] == "analyse":
            raise MedsynthError("enough", received="")

    monkeypatch.setattr(joint_inputs, "run_step", run)
    with pytest.raises(MedsynthError, match="enough"):
        read_joint_inputs(Request(tmp_path, data))
    assert [step.command[1] for step in ran] == ["generate", "export", "analyse"]
    assert ran[0].command[-4:] == ("--num", "2000", "--seed", "0")
    assert ran[1].command[-4:] == ("--max-images", "2000", "--image-size", "128")
