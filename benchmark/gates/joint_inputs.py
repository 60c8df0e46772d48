"""What a verdict on GAN_joint is about: its synthetic patients, made here, and the real ones of its table.

Synthetic patients, their export as splits of a dataset with rows (GAN_joint/test.py export) and the analysis of the
table train nothing and are made where they are missing. `predict` and `joint` train networks, so they run with --train.
"""

import dataclasses
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark.gates.inputs import (
    JOINT_GAN,
    OUT_FOLDER,
    Request,
    SplitFacts,
    VerdictInputs,
    find_extractor,
    settings_of_gan,
    split_facts,
)
from benchmark.steps import Step, run_step
from medsynth.classify.data import read_split
from medsynth.data.labels import record_order
from medsynth.data.wording import counted
from medsynth.errors import DataError, UsageError
from medsynth.files import read_json, require_folder
from medsynth.runs import require_own_folder

SYNTHETIC, PAIRS, ANALYSIS, PREDICT, JOINT = "synthetic", "pairs", "analysis", "predict", "joint"
METRICS_JSON, RESULTS_JSON = "metrics.json", "results.json"
# As many as predict and joint learn from, or as many as there are train rows; more cost hours.
FEWEST_PATIENTS, MOST_PATIENTS = 2_000, 10_000
_PAIRS_JSON, _ROWS = "pairs.json", "rows.npy"
_SCRIPT = "GAN_joint/test.py"

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class TableColumn:
    """A column of the table, and where it stands in an encoded row.

    Attributes:
        name: In the table.
        kind: "number", "binary", "category" or "target".
        columns: Its slice of an encoded row.
    """

    name: str
    kind: str
    columns: slice


def read_joint_inputs(request: Request) -> VerdictInputs:
    """Make what is missing without a training, and check what a verdict on GAN_joint is about.

    Args:
        request: results_dir is of GAN_joint, data_dir holds table, images and schema.json.

    Returns:
        Inputs whose synthetic_dir is out_dir/pairs/synthetic; `of_pairs` gives those of the real images.

    Raises:
        UsageError: Options that do not fit.
        DataError: Missing or damaged folders.
        StepFailedError: A command of GAN_joint failed; it has said why.
    """
    require_folder(request.results_dir, "the results of GAN_joint")
    require_folder(request.data_dir, "the table, images and schema.json that GAN_joint was trained on")
    for option, value in (("--metadata", request.metadata), ("--filter", request.filter or None)):
        if value is not None:
            raise UsageError(f"{option} is for GANs that are trained on a dataset of build_dataset.", received=value)
    out_dir = request.out_dir or request.results_dir / OUT_FOLDER
    require_own_folder(out_dir, [request.data_dir, request.results_dir])
    settings = settings_of_gan(request.results_dir)
    resolution = request.resolution or _power_of_two(settings, request.results_dir)
    num_patients = min(max(FEWEST_PATIENTS, int(settings.get("data.num_images", 0))), MOST_PATIENTS)
    for step in _steps(request, out_dir, resolution, num_patients):
        # The export has refused other data than the analysis was made of.
        if step.result.name != METRICS_JSON or not step.result.is_file():
            run_step(step)
    return _inputs(request, out_dir, resolution)


def of_pairs(inputs: VerdictInputs) -> VerdictInputs:
    """Return the inputs with the exported real images as the dataset."""
    return dataclasses.replace(inputs, data_dir=inputs.out_dir / PAIRS / "real")


def read_rows(split: Path) -> Rows:
    """Return the encoded rows of an exported split, [N, K], in record order: row i belongs to image i."""
    rows: Rows = np.load(split / _ROWS, allow_pickle=False)
    return rows[record_order(len(rows))]


def read_columns(inputs: VerdictInputs) -> tuple[TableColumn, ...]:
    """Return what the encoded rows hold."""
    return tuple(
        TableColumn(one["name"], one["kind"], slice(one["first"], one["stop"]))
        for one in _description(inputs.out_dir)["columns"]
    )


def evidence_step(inputs: VerdictInputs, command: str) -> Step:
    """Return what makes the results of `predict` or `joint`.

    Args:
        inputs: What is judged.
        command: PREDICT or JOINT.
    """
    out = inputs.out_dir
    num = inputs.synthetic["train"].num_images
    options = ("--seed", str(inputs.seed), "--max-images", str(num), "--image-size", str(inputs.resolution))
    return Step(
        f"{command}: networks on real and on synthetic pairs",
        (_SCRIPT, command, inputs.data_dir, out / SYNTHETIC, out / command, *options),
        out / command / RESULTS_JSON,
    )


def evidence_commands(inputs: VerdictInputs, command: str) -> tuple[str, ...]:
    """Return what to run for the results of `predict` or `joint`, a command line; nothing where they are there."""
    step = evidence_step(inputs, command)
    if step.result.is_file():
        return ()
    return (shlex.join(["python3", *map(str, step.command)]),)


def train_evidence(inputs: VerdictInputs) -> None:
    """Run `predict` (where there are targets) and `joint` where their results are missing; what was stopped goes on.

    Raises:
        StepFailedError: A command failed; it has said why.
    """
    if not inputs.held_out:
        return
    commands = [PREDICT, JOINT] if has_targets(inputs) else [JOINT]
    for command in commands:
        step = evidence_step(inputs, command)
        if not step.result.is_file():
            print(f"\n{step.title}", flush=True)
            run_step(step)


def has_targets(inputs: VerdictInputs) -> bool:
    """Whether the table has something to predict."""
    return any(column.kind == "target" for column in read_columns(inputs))


def _power_of_two(settings: dict[str, Any], results_dir: Path) -> int:
    """Return the largest power of two that is no larger than the GAN's images."""
    size = settings.get("resolution")
    if not isinstance(size, int) or size < 1:
        raise DataError("The image size of a training of GAN_joint was expected.", received=size, path=results_dir)
    return int(2 ** (size.bit_length() - 1))


def _steps(request: Request, out_dir: Path, resolution: int, num_patients: int) -> list[Step]:
    """Return the commands that train nothing; those that are done do nothing again."""
    patients, pairs, analysis = (out_dir / name for name in (SYNTHETIC, PAIRS, ANALYSIS))
    num, seed = str(num_patients), str(request.seed)
    sizes = ("--max-images", num, "--image-size", str(resolution))
    return [
        Step(
            "generate synthetic patients",
            (_SCRIPT, "generate", request.results_dir, patients, "--num", num, "--seed", seed),
            patients / "_generation-done.txt",
        ),
        Step(
            "export real and synthetic pairs",
            (_SCRIPT, "export", request.data_dir, patients, pairs, "--seed", seed, *sizes),
            pairs / _PAIRS_JSON,
        ),
        Step(
            "compare the synthetic table with the real one",
            (_SCRIPT, "analyse", request.data_dir, patients, analysis, "--seed", seed),
            analysis / METRICS_JSON,
        ),
    ]


def _description(out_dir: Path) -> dict[str, Any]:
    description: dict[str, Any] = read_json(out_dir / PAIRS / _PAIRS_JSON)
    return description


def _inputs(request: Request, out_dir: Path, resolution: int) -> VerdictInputs:
    pairs = out_dir / PAIRS
    description = _description(out_dir)
    splits = {name: pairs / "real" / name for name in ("train", "test") if (pairs / "real" / name).is_dir()}
    real = {name: split_facts(read_split(folder, resolution), with_patients=True) for name, folder in splits.items()}
    synthetic = split_facts(read_split(pairs / "synthetic" / "train", resolution), with_patients=False)
    held_out, patients_known, notes = _held_out(description, real)
    return VerdictInputs(
        application=JOINT_GAN,
        resolution=resolution,
        data_dir=request.data_dir,
        results_dir=request.results_dir,
        synthetic_dir=pairs / "synthetic",
        out_dir=out_dir,
        label_names=(),
        held_out=held_out,
        patients_known=patients_known,
        extractor=find_extractor(request, resolution),
        real=real,
        synthetic={"train": synthetic},
        train=request.train,
        seed=request.seed,
        notes=(*notes, *description["notes"]),
    )


def _held_out(description: dict[str, Any], real: dict[str, SplitFacts]) -> tuple[tuple[str, ...], bool, list[str]]:
    """Return whether there are held-out rows that the GAN has not seen, whether they are of others, and notes."""
    if "test" not in real:
        return (), True, ["There are no held-out rows: test_share in schema.json is 0, so nothing can be judged."]
    if not description["is_trained_on_these_rows"]:
        # That the GAN was trained on other rows is among the notes of the export.
        return (), True, []
    notes = []
    column = description["grouped_by"]
    if column is None:
        notes.append("Every row counts as a patient of its own, since schema.json names no group_column.")
    else:
        notes.append(f"Rows with the same value of {column!r} count as one patient.")
    num_shared = description["num_held_out_images_of_train"]
    if num_shared:
        notes.append(
            f"{counted(num_shared, 'held-out row')} have exactly the image of a train row, so that held-out patients "
            "are not others; name the column that says which rows share an image as group_column in schema.json."
        )
    num_names = description["num_held_out_names_of_train"]
    if num_names:
        notes.append(
            f"{counted(num_names, 'held-out row')} bear a name that a train row bears. Where these are the same "
            "people, name the column as group_column in schema.json, and train again; where they are not, give it the "
            "kind drop."
        )
    return ("test",), not (num_shared or num_names), notes
