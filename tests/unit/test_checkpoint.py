"""Stored networks and states: whole, of the right architecture, free of code."""

from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save

from GAN_prog.networks import Discriminator, Generator
from medsynth.errors import NetworkError
from medsynth.files import read_json, write_json
from medsynth.training.checkpoint import (
    TrainingState,
    load_network,
    named_variables,
    read_arrays,
    save_networks,
    write_arrays,
)

CLASSES = {"Generator": Generator}


def generator(**changes: int) -> Generator:
    network = Generator(**{"resolution": 16, "label_size": 2, "fmap_base": 32, "fmap_max": 8} | changes)
    network.build()
    return network


def test_a_network_comes_back_with_its_weights(tmp_path: Path) -> None:
    network = generator()
    save_networks(tmp_path / "network-final", {"average": network}, {"label_names": ["A", "B"]})
    loaded, facts = load_network(tmp_path / "network-final", "average", CLASSES)
    assert facts["label_names"] == ["A", "B"]
    latents, labels = np.ones((3, network.latent_size), np.float32), np.eye(3, 2, dtype=np.float32)
    np.testing.assert_array_equal(loaded(latents, labels), network(latents, labels))
    assert np.ptp(network(latents, labels)) > 0


@pytest.mark.parametrize("network_class", [Generator, Discriminator])
def test_every_variable_has_a_name_of_its_own(network_class: type) -> None:
    network = network_class(resolution=8, fmap_base=32, fmap_max=8)
    network.build()
    assert len(named_variables(network)) == len(network.variables) > 8


def test_pickles_missing_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="Pickled networks are refused: loading one runs whatever code"):
        load_network(tmp_path / "network-final.pkl", "average", CLASSES)
    with pytest.raises(NetworkError, match="no such folder"):
        load_network(tmp_path / "network-final", "average", CLASSES)
    folder = tmp_path / "network-final"
    save_networks(folder, {"average": generator()}, {})
    description = read_json(folder / "network.json")
    description["networks"]["average"]["class"] = "os.system"
    write_json(folder / "network.json", description)
    with pytest.raises(NetworkError, match=r"known class \(Generator\).* Received: .*os.system"):
        load_network(folder, "average", CLASSES)


@pytest.mark.parametrize(
    ("other", "message"),
    [({"resolution": 32}, "that one side lacks"), ({"label_size": 3}, r"differ in 4x4_dense/weight")],
)
def test_weights_of_another_architecture_are_refused(tmp_path: Path, other: dict[str, int], message: str) -> None:
    folder = tmp_path / "network-final"
    save_networks(folder, {"average": generator(**other)}, {})
    description = read_json(folder / "network.json")
    description["networks"]["average"]["config"] |= {"resolution": 16, "label_size": 2}
    write_json(folder / "network.json", description)
    with pytest.raises(NetworkError, match=message):
        load_network(folder, "average", CLASSES)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "network-final"
    save_networks(folder, {"average": generator()}, {})
    path = folder / "average.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(NetworkError, match=r"average.safetensors: The file is damaged or was cut off"):
        load_network(folder, "average", CLASSES)


def test_the_newest_whole_state_is_used_and_two_are_kept(tmp_path: Path) -> None:
    variable = keras.Variable(np.zeros(3), name="v")
    state = TrainingState(tmp_path, {"v": variable})
    assert state.restore() == (None, [])
    for images_seen in (10, 20, 30):
        variable.assign(np.full(3, images_seen))
        state.save(images_seen, {"step": images_seen // 10})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["training-state-000000020.safetensors", "training-state-000000030.safetensors"]
    assert state.restore() == ({"step": 3, "images_seen": 30}, [])
    newest = tmp_path / names[1]
    newest.write_bytes(newest.read_bytes()[:-1])
    facts, damaged = state.restore()
    assert facts == {"step": 2, "images_seen": 20}
    assert len(damaged) == 1
    np.testing.assert_array_equal(variable, [20, 20, 20])
    write_arrays(tmp_path / names[0], {"w": np.zeros(3)}, {})
    with pytest.raises(NetworkError, match="No stored training state is whole"):
        state.restore()


def test_a_changed_weight_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "network-final"
    save_networks(folder, {"average": generator()}, {})
    load_network(folder, "average", CLASSES)
    content = bytearray((folder / "average.safetensors").read_bytes())
    content[-2] ^= 0x40
    (folder / "average.safetensors").write_bytes(content)
    with pytest.raises(NetworkError, match=r"average\.safetensors: .*another checksum"):
        load_network(folder, "average", CLASSES)


@pytest.mark.parametrize("text", ["[]", "{}", '{"sha256": "0"}', '{"facts": {}}', "3"])
def test_facts_of_another_form_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "arrays.safetensors"
    path.write_bytes(save({"w": np.zeros(3)}, metadata={"medsynth": text}))
    with pytest.raises(NetworkError, match=r"arrays\.safetensors: .*not written by this version"):
        read_arrays(path)


@pytest.mark.parametrize(
    "description",
    [[], {}, {"networks": []}, {"networks": {"average": {"class": "Generator"}}}, {"networks": {"average": 1}}],
)
def test_a_description_of_another_form_is_refused(tmp_path: Path, description: object) -> None:
    folder = tmp_path / "network-final"
    save_networks(folder, {"average": generator()}, {})
    write_json(folder / "network.json", description)
    with pytest.raises(NetworkError, match=r"network\.json must describe a network 'average'"):
        load_network(folder, "average", CLASSES)
