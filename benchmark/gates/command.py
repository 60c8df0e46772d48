"""What verdict.py does: read, judge by three gates, write the page and verdict.json, and say it in a few lines."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.gates.classifiers import REAL, classifiers, train_missing
from benchmark.gates.facts import Facts, as_json, find_versions, now
from benchmark.gates.inputs import JOINT_GAN, Request, VerdictInputs, read_inputs
from benchmark.gates.joint_inputs import read_joint_inputs, train_evidence
from benchmark.gates.model import Gate
from benchmark.gates.overall import PRIVACY, Overall, judge_overall
from benchmark.gates.page import render
from benchmark.gates.private_pictures import mark_private
from benchmark.gates.thresholds import Thresholds, read_thresholds
from medsynth.classify.experiment import name_of_gan
from medsynth.errors import UsageError
from medsynth.files import make_folder, write_json, write_text

PAGE, REPORT = "verdict.html", "verdict.json"
Judge = Callable[[VerdictInputs, Mapping[str, float]], Gate]


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        gates: Utility, fidelity, privacy.
        facts: What it was made of, and what the gates say together.
        out_dir: Holds verdict.html and verdict.json.
    """

    gates: tuple[Gate, ...]
    facts: Facts
    out_dir: Path

    @property
    def overall(self) -> Overall:
        """What the gates say together."""
        return self.facts.overall

    def lines(self) -> list[str]:
        """Return a line for each gate, the verdict, and where the rest lies."""
        width = max(len(gate.outcome) for gate in self.gates)
        gates = [f"{gate.key:<8}  {gate.outcome:<{width}}  {gate.reason}" for gate in self.gates]
        overall = f"{self.overall.headline}. {self.overall.sentence}"
        return [*gates, overall, f"{self.out_dir / PAGE}, {self.out_dir / REPORT}"]


def make_verdict(
    request: Request,
    *,
    thresholds_path: Path | None = None,
    shows_private_pictures: bool = True,
    command: Sequence[str] = (),
) -> Verdict:
    """Judge synthetic images, and write out_dir/verdict.html and verdict.json.

    Args:
        request: What to judge.
        thresholds_path: The user's own numbers that decide; None for the committed ones.
        shows_private_pictures: Whether the page may show real patients' images.
        command: What was called, for the page.

    Raises:
        MedsynthError: Data, settings or thresholds that cannot be used, or a command that failed.
    """
    if request.results_dir.resolve() == request.data_dir.resolve():
        raise UsageError(
            "results_dir and data_dir are the same folder. The first holds the results of a GAN, the second what it "
            "was trained on.",
            received="one folder for both",
            path=request.data_dir,
        )
    thresholds = read_thresholds(thresholds_path)
    inputs = _read(request)
    _require_settings_for_filters(inputs)
    make_folder(inputs.out_dir)
    if request.train and inputs.application == JOINT_GAN:
        train_evidence(inputs)
    elif request.train:
        train_missing(inputs)
        inputs = _read(request)  # the real classifier's features are there now
    gates = mark_private(judge(inputs, thresholds))
    facts = Facts(
        overall=judge_overall(gates),
        inputs=inputs,
        thresholds=thresholds,
        thresholds_path=thresholds_path,
        made_at=now(),
        versions=find_versions(),
        command=shlex.join(command),
        shows_private_pictures=shows_private_pictures,
    )
    write_json(inputs.out_dir / REPORT, as_json(gates, facts))
    write_text(inputs.out_dir / PAGE, render(gates, facts))
    return Verdict(gates, facts, inputs.out_dir)


def _read(request: Request) -> VerdictInputs:
    is_joint = name_of_gan(request.results_dir) == JOINT_GAN
    return read_joint_inputs(request) if is_joint else read_inputs(request)


def _require_settings_for_filters(inputs: VerdictInputs) -> None:
    """Refuse --filter where nothing says how its classifiers are to be trained: by default that takes hours.

    Raises:
        UsageError: There is no real classifier, and none is to be trained.
    """
    if inputs.filter and inputs.label_names and not inputs.train and not classifiers(inputs)[REAL].settings:
        raise UsageError(
            "--filter trains a classifier for each filter, with the settings of the real one. Train that first "
            "(classifier_real/train.py), or add --train.",
            received="no trained real classifier",
            path=inputs.data_dir,
        )


def judge(inputs: VerdictInputs, thresholds: Thresholds) -> tuple[Gate, ...]:
    """Return the three gates, each judged by its own section of the thresholds."""
    by_key = joint_judges() if inputs.application == JOINT_GAN else judges()
    # Filters belong to privacy and train what is missing, which utility then finds.
    order = sorted(by_key, key=lambda key: key != PRIVACY) if inputs.filter else list(by_key)
    gates = {key: by_key[key](inputs, {name: one.value for name, one in thresholds[key].items()}) for key in order}
    return tuple(gates[key] for key in by_key)


def judges() -> dict[str, Judge]:
    """Return what judges each gate."""
    # They load TensorFlow, and the inputs are checked before.
    from benchmark.gates.fidelity import judge_fidelity  # noqa: PLC0415
    from benchmark.gates.privacy import judge_privacy  # noqa: PLC0415
    from benchmark.gates.utility import judge_utility  # noqa: PLC0415

    return {"utility": judge_utility, "fidelity": judge_fidelity, "privacy": judge_privacy}


def joint_judges() -> dict[str, Judge]:
    """Return what judges each gate for GAN_joint."""
    from benchmark.gates.joint_fidelity import judge_joint_fidelity  # noqa: PLC0415
    from benchmark.gates.joint_privacy import judge_joint_privacy  # noqa: PLC0415
    from benchmark.gates.joint_utility import judge_joint_utility  # noqa: PLC0415

    return {"utility": judge_joint_utility, "fidelity": judge_joint_fidelity, "privacy": judge_joint_privacy}
