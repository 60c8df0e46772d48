"""Make synthetic patients with a trained joint GAN, and find out what they are worth.

python3 test.py generate results_dir out_dir --num 1500000 --seed S
python3 test.py analyse  data_dir synthetic_dir out_dir
python3 test.py joint    data_dir synthetic_dir out_dir
python3 test.py predict  data_dir synthetic_dir out_dir
python3 test.py export   data_dir synthetic_dir out_dir

See docs/GAN_joint.md.
"""

import argparse

from GAN_joint.command_line import test_parser
from medsynth import app


def main(arguments: argparse.Namespace) -> None:
    """Carry out the command."""
    commands = {"generate": generate, "analyse": analyse, "joint": gather, "predict": gather, "export": export}
    commands[arguments.command](arguments)


def generate(arguments: argparse.Namespace) -> None:
    """Make synthetic patients."""
    from GAN_joint.generation import GenerationRequest, generate
    from GAN_joint.synthetic import SyntheticForm

    request = GenerationRequest(
        seed=arguments.seed,
        first=arguments.first,
        num=arguments.num,
        form=SyntheticForm(arguments.images, arguments.table),
        precision=arguments.precision,
        num_gpus=arguments.num_gpus,
        snapshot=arguments.snapshot,
    )
    generate(arguments.results_dir, arguments.out_dir, request)


def analyse(arguments: argparse.Namespace) -> None:
    """Compare the synthetic table with the real one."""
    from GAN_joint.analysis.command import analyse_folders

    analyse_folders(
        arguments.data_dir,
        arguments.synthetic_dir,
        arguments.out_dir,
        seed=arguments.seed,
        max_rows=arguments.max_rows,
    )


def gather(arguments: argparse.Namespace) -> None:
    """Test whether images and rows belong together (joint), or predict the targets (predict)."""
    from GAN_joint.evidence.command import gather_evidence
    from GAN_joint.evidence.pairs import EvidenceRequest

    request = EvidenceRequest(arguments.seed, arguments.max_images, arguments.image_size, arguments.epochs)
    gather_evidence(arguments.command, arguments.data_dir, arguments.synthetic_dir, arguments.out_dir, request)


def export(arguments: argparse.Namespace) -> None:
    """Write real and synthetic pairs for other programs."""
    from GAN_joint.evidence.exported import export_pairs
    from GAN_joint.evidence.pairs import EvidenceRequest

    request = EvidenceRequest(arguments.seed, arguments.max_images, arguments.image_size)
    export_pairs(arguments.data_dir, arguments.synthetic_dir, arguments.out_dir, request)


if __name__ == "__main__":
    app.run(__file__, test_parser(__doc__), main)
