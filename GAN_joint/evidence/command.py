"""What `test.py joint` and `test.py predict` do: read pairs, hold the folder, train, measure, write."""

from pathlib import Path
from typing import Literal

from GAN_joint.evidence.pairs import EvidenceRequest, read_evidence
from medsynth.runs import RunFolder, require_own_folder

DONE_NAME = "_evidence-done.txt"


def gather_evidence(
    command: Literal["joint", "predict"], data_dir: Path, synthetic_dir: Path, out_dir: Path, request: EvidenceRequest
) -> None:
    """Test synthetic pairs against real ones, and write results.json, results.csv, report.txt and pictures.

    The same command again does nothing. An interrupted one goes on with the networks that it had finished; a single
    training begins anew.

    Args:
        command: "joint": do images and rows belong together; "predict": what a predictor of the targets makes of them.
        data_dir: Real patients, as for train.py.
        synthetic_dir: Made by test.py generate.
        out_dir: New, empty, or of the same test.
        request: Seed and sizes.

    Raises:
        MedsynthError: See `read_evidence`; no targets to predict, another test in the folder, a full disk, a
            training that diverges.
    """
    require_own_folder(out_dir, (data_dir, synthetic_dir))
    evidence = read_evidence(data_dir, synthetic_dir, request)
    if command == "predict":
        evidence.require_targets(data_dir)
    settings = {"command": command, **evidence.settings(request)}
    with RunFolder(out_dir, settings, done_name=DONE_NAME) as run:
        if run.is_done:
            run.log(f"{out_dir} holds the finished test of these settings; nothing to do.")
            return
        # TensorFlow comes after the checks.
        from GAN_joint.evidence import joint, joint_report, predict, predict_report  # noqa: PLC0415
        from GAN_joint.evidence.training import NetworkStore, repeatable_devices  # noqa: PLC0415

        repeatable_devices()
        store = NetworkStore(out_dir, request.seed, request.epochs)
        if command == "joint":
            report = joint_report.write_results(out_dir, evidence, joint.measure(evidence, store, request.seed))
        else:
            report = predict_report.write_results(out_dir, predict.measure(evidence, store, request.seed))
        run.log(report)
        run.mark_done(f"{len(evidence.synthetic):,} synthetic pairs")
