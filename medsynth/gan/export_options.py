"""The command line of an application's export.py; loads without TensorFlow."""

import argparse
from pathlib import Path

from medsynth import app


def build_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of the command export.

    Args:
        description: Shown by --help.
    """
    parser = app.parser(description)
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write a release bundle", allow_abbrev=False)
    export.add_argument("results_dir", type=Path, help="folder of the training")
    export.add_argument("bundle_dir", type=Path, help="new or empty folder")
    export.add_argument(
        "--data-manifest",
        type=Path,
        metavar="DATA_DIR",
        help="the dataset of the training, audited by dataset_tool.py verify; counts and findings go into the card",
    )
    export.add_argument(
        "--snapshot", type=int, metavar="NNNNNN", help="network-snapshot-NNNNNN instead of network-final"
    )
    export.add_argument("--license", default="", metavar="TEXT", help="under which the bundle is given away")
    return parser
