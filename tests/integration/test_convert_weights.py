"""classifier_segment/convert_weights.py, called as a user calls it."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from classifier_segment.models.pretrained import load_pretrained, without_head
from tests.commands import refused, run_script
from tests.torchvision_weights import made_up_weight
from tests.unit.test_segment_models import state_dictionary

SCRIPT = "classifier_segment/convert_weights.py"


def test_a_converted_file_gives_the_networks_outputs(tmp_path):
    network = without_head("squeezenet1_0", 64)
    arrays = {name: made_up_weight(name, value.shape) for name, value in state_dictionary(network).items()}
    save_file(arrays | {"classifier.1.bias": np.zeros(1000, np.float32)}, tmp_path / "squeezenet.safetensors")
    result = run_script(SCRIPT, "squeezenet1_0", tmp_path / "squeezenet.safetensors", tmp_path / "out.weights.h5")
    assert result.returncode == 0, result.stderr
    assert "not part of it: classifier.1.bias" in result.stdout
    other = without_head("squeezenet1_0", 64)
    load_pretrained(network, "squeezenet1_0", tmp_path / "squeezenet.safetensors")
    load_pretrained(other, "squeezenet1_0", tmp_path / "out.weights.h5")
    images = np.random.default_rng(1).random((1, 64, 64, 3)).astype(np.float32)
    assert np.asarray(network(images)).std() > 1e-3
    np.testing.assert_array_equal(other(images), network(images))


@pytest.mark.parametrize(
    ("model", "source", "target", "message"),
    [
        ("swin_s", "missing.safetensors", "out.weights.h5", "missing.safetensors"),
        ("swin_s", "missing.safetensors", "out.h5", r".weights.h5"),
        ("resnet18", "empty.safetensors", "out.weights.h5", "Received: resnet18"),
        ("squeezenet1_0", "empty.safetensors", "out.weights.h5", "such as features.0.weight"),
    ],
)
def test_what_cannot_be_converted_is_refused(model, source, target, message, tmp_path):
    save_file({"other": np.ones(1, np.float32)}, tmp_path / "empty.safetensors")
    assert message in refused(SCRIPT, model, tmp_path / source, tmp_path / target)
    assert not (tmp_path / target).exists()
