"""Records: what TensorFlow writes we read, what we write TensorFlow reads, and damage is named."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from medsynth.data import tfrecords
from medsynth.errors import DataError


def random_images(num_images: int, resolution: int, channels: int) -> np.ndarray:
    return np.random.default_rng(num_images).integers(
        0, 256, (num_images, resolution, resolution, channels), dtype=np.uint8
    )


def write(path: Path, images: np.ndarray) -> Path:
    with tfrecords.RecordWriter(path) as writer:
        for image in images:
            writer.write(image)
    return path


def tensorflow_example(image: np.ndarray) -> bytes:
    channels_first = image.transpose(2, 0, 1)
    feature = {
        "shape": tf.train.Feature(int64_list=tf.train.Int64List(value=channels_first.shape)),
        "data": tf.train.Feature(bytes_list=tf.train.BytesList(value=[channels_first.tobytes()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


@pytest.mark.parametrize(("resolution", "channels"), [(4, 1), (16, 3), (128, 1), (256, 3)])
def test_files_are_tensorflows_own(tmp_path: Path, resolution: int, channels: int) -> None:
    images = random_images(5, resolution, channels)
    ours = write(tmp_path / "ours.tfrecords", images)
    read = [tf.train.Example.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(ours))]
    assert len(read) == len(images)
    for example, image in zip(read, images, strict=True):
        feature = example.features.feature
        assert list(feature["shape"].int64_list.value) == [channels, resolution, resolution]
        assert feature["data"].bytes_list.value[0] == image.transpose(2, 0, 1).tobytes()

    theirs = tmp_path / "theirs.tfrecords"
    with tf.io.TFRecordWriter(str(theirs)) as writer:
        for image in images:
            writer.write(tensorflow_example(image))
    assert theirs.stat().st_size == ours.stat().st_size
    file = tfrecords.RecordFile(theirs)
    assert (len(file), file.shape) == (5, (resolution, resolution, channels))
    np.testing.assert_array_equal(file.read([3, 0, 3]), images[[3, 0, 3]])
    np.testing.assert_array_equal(np.concatenate(list(file.batches(2))), images)


def test_a_part_crosses_to_another_process(tmp_path: Path) -> None:
    images = random_images(9, 8, 3)
    part = tfrecords.RecordFile(write(tmp_path / "x.tfrecords", images)).part(2, 6)
    sent = pickle.dumps(part)
    assert len(sent) < 1500, "places of records, no pixels"
    for one in (part, pickle.loads(sent)):  # noqa: S301
        assert (len(one), one.shape) == (4, (8, 8, 3))
        np.testing.assert_array_equal(one.read([3, 0]), images[[5, 2]])


@pytest.mark.parametrize("offset_in_record", [2, 9, 40, -2], ids=["length", "length crc", "content", "crc"])
def test_a_flipped_byte_is_named_with_file_and_record(tmp_path: Path, offset_in_record: int) -> None:
    path = write(tmp_path / "train-r03.tfrecords", random_images(4, 8, 1))
    record_size = path.stat().st_size // 4
    data = bytearray(path.read_bytes())
    position = 2 * record_size + offset_in_record % record_size
    data[position] ^= 0x40
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"train-r03.tfrecords: Record 2 at byte {2 * record_size}") as error:
        tfrecords.RecordFile(path)
    assert "make it again with the command that made it" in str(error.value), "be it a dataset or synthetic images"


@pytest.mark.parametrize("lost_bytes", [1, 4, 60, 70])
def test_a_truncated_file_is_named_with_its_record(tmp_path: Path, lost_bytes: int) -> None:
    path = write(tmp_path / "train-r03.tfrecords", random_images(3, 8, 1))
    path.write_bytes(path.read_bytes()[:-lost_bytes])
    with pytest.raises(DataError, match=r"Record 2 at byte \d+ is cut off"):
        tfrecords.RecordFile(path)


def test_images_of_two_shapes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "mixed.tfrecords", random_images(2, 8, 1))
    other = write(tmp_path / "other.tfrecords", random_images(1, 16, 1))
    path.write_bytes(path.read_bytes() + other.read_bytes())
    with pytest.raises(DataError, match="Record 2 has another shape"):
        tfrecords.RecordFile(path)


@pytest.mark.parametrize("content", [b"", b"no records at all, just text"], ids=["empty", "text"])
def test_what_is_no_record_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.tfrecords"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(path))):
        tfrecords.RecordFile(path)


def test_a_record_that_is_no_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecords"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"something else")
    with pytest.raises(DataError, match=r"no tf.train.Example"):
        tfrecords.RecordFile(path)


def test_levels_average_what_was_not_yet_rounded() -> None:
    image = np.zeros((16, 16, 1), np.uint8)
    image[0, 0], image[0, 2], image[2, 0], image[0, 8] = 4, 4, 4, 2
    levels = list(tfrecords.downscale_levels(image, 4))
    assert [level.shape[0] for level in levels] == [16, 8, 4]
    exact = image.astype(float).reshape(4, 4, 4, 4).mean(axis=(1, 3))
    assert exact[0, 0] == 0.75
    np.testing.assert_array_equal(levels[2][..., 0], np.rint(exact))
    # 2 / 4 = 0.5 rounds half to even.
    assert levels[1][0, 4, 0] == 0


@pytest.mark.parametrize(
    ("write_labels", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"not a matrix"), "no readable"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), "no readable"),
        (lambda path: np.save(path.open("wb"), np.full((2, 2), np.nan)), "finite"),
        (lambda path: np.save(path.open("wb"), np.zeros(4)), "matrix"),
        (lambda path: np.save(path.open("wb"), np.array([{}], object), allow_pickle=True), "no readable"),
    ],
    ids=["missing", "text", "truncated", "nan", "vector", "pickle"],
)
def test_unusable_label_files_are_refused(tmp_path: Path, write_labels, message: str) -> None:
    tfrecords.write_labels(tmp_path, np.ones((2, 2)))
    assert tfrecords.read_labels(tmp_path).dtype == np.float32
    write_labels(tfrecords.labels_path(tmp_path))
    with pytest.raises(DataError, match=message):
        tfrecords.read_labels(tmp_path)


def test_the_digest_knows_images_and_their_order(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), np.uint8)
    changed = images.copy()
    changed[1, 2, 3] ^= 1
    digests = []
    for name, content in (("a", images), ("b", images), ("c", changed), ("d", images[::-1])):
        with tfrecords.RecordWriter(tmp_path / name) as writer:
            for image in content:
                writer.write(image)
        digests.append(tfrecords.RecordFile(tmp_path / name).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
