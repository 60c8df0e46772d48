"""What docs/verdict.md says of a training without a real classifier, beside the settings themselves."""

from medsynth.classify.config import TrainConfig
from tests.commands import ROOT


def test_says_what_settings_a_first_training_takes() -> None:
    published = TrainConfig()
    pixels, epochs = published.image_dimension, published.epochs
    text = " ".join((ROOT / "docs" / "verdict.md").read_text().split())
    assert f"the published settings apply ({pixels}x{pixels} pixels, {epochs} epochs at most)" in text
    assert "data_dir 1 resolution --set image_dimension=32 --set epochs=" in text
