"""Build datasets from raw images, and audit them: `dataset_tool.py COMMAND ...`."""

import argparse
from pathlib import Path

from medsynth import app
from medsynth.parallel import available_cpus


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    # Here, since worker processes load this script, too.
    from build_dataset import command_line

    parser = app.parser("Turn raw images into datasets: records at every resolution, labels and csv files.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command_line.add_create_commands(commands)

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command_line.add_workers(command)
        return command

    command_line.add_brain_command(add)
    command_line.add_video_command(add)
    command_line.add_phantom_commands(add)
    verify = add("verify", "check a dataset for damage and for patients or copies in two splits; draw it")
    verify.add_argument("target_dir", type=Path, help="a dataset, or a folder with several")
    app.add_leak_option(verify)
    return parser


def main(arguments: argparse.Namespace) -> None:
    """Run the command."""
    settings = vars(arguments)
    command = settings.pop("command")
    num_workers = settings.pop("workers")
    num_workers = available_cpus() if num_workers is None else num_workers
    if command == "create_phantom":
        from medsynth.data import phantom

        num_patients = phantom.DEFAULT_NUM_PATIENTS if arguments.patients is None else arguments.patients
        if arguments.check_settings:
            phantom.check_settings(num_patients, arguments.seed, num_workers)
            return
        print(phantom.create_phantom(arguments.target_dir, num_patients, arguments.seed, num_workers))
    elif command == "create_phantom_ecg":
        from medsynth.data.phantom_ecg import create_phantom_ecg

        print(create_phantom_ecg(**settings, num_workers=num_workers))
    elif command == "create_phantom_ultrasound":
        from medsynth.data.phantom_ultrasound import create_phantom_ultrasound

        print(create_phantom_ultrasound(**settings, num_workers=num_workers))
    elif command == "create_phantom_lesions":
        from medsynth.data.phantom_lesions import create_phantom_lesions

        print(create_phantom_lesions(**settings, num_workers=num_workers))
    elif command == "create_from_video":
        from build_dataset.video import create_from_video, format_result

        print(format_result(create_from_video(**settings, num_workers=num_workers)))
    elif command == "prepare_brain":
        from build_dataset.prepare_brain import format_summary, prepare_brain

        print(format_summary(prepare_brain(**settings, num_workers=num_workers)))
    elif command == "verify":
        from build_dataset.verify import verify_command

        verify_command(arguments.target_dir, num_workers, allow_leak=arguments.allow_leak)
    else:
        from build_dataset.commands import create_command

        create_command(command, settings, num_workers)


if __name__ == "__main__":
    app.run(__file__, build_parser(), main, needs_tensorflow=False)
