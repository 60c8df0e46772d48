"""Train a classifier or a segmenter, and test its best weights.

python3 train.py task=c|s classification_mode=whole|masked|saliency [key=value ...] [--multirun]

Results go to runs/classification/version_N or runs/segmentation/version_N. The same command goes on with a training
that was stopped. --cfg job prints all settings; docs/classifier_segment.md explains them.
"""

from classifier_segment.hydra_main import hydra_main
from classifier_segment.settings import Settings, without_effect


def main(settings: Settings, overrides: list[str]) -> None:
    """Train and test."""
    from classifier_segment.training import train_and_test

    for key in without_effect(settings, overrides):
        print(f"{key} has no effect with task={settings.task} classification_mode={settings.classification_mode}.")
    train_and_test(settings)


if __name__ == "__main__":
    hydra_main(__file__, __doc__, main)
