"""Test a trained run again: other images, or maps of them.

python3 test.py task=c|s checkpoint.version=N [generate_map=hirescam|grad-cam] [data.test=FILE]

Settings are those of the training of version N; results go into its folder.
"""

from classifier_segment.hydra_main import hydra_main
from classifier_segment.settings import Settings


def main(settings: Settings, overrides: list[str]) -> None:
    """Test."""
    from pathlib import Path

    from classifier_segment.building import choose_device, data_settings
    from classifier_segment.data import SegmentData
    from classifier_segment.runs import open_run
    from classifier_segment.testing import test_run, tested_settings

    choose_device(settings.train.accelerator)
    run = open_run(settings.results_dir, settings.kind, settings.checkpoint.version)
    chosen = tested_settings(run, settings, overrides)
    test_run(run, chosen, SegmentData(Path(chosen.data.test), data_settings(chosen)), log=print)


if __name__ == "__main__":
    hydra_main(__file__, __doc__, main)
