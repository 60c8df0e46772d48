import errno
import pickle
from pathlib import Path

import numpy as np
import pytest

from medsynth import errors
from medsynth.data.tfrecords import RecordFile, RecordWriter


@pytest.mark.parametrize("kind", [errors.DataError, errors.UsageError])
def test_errors_cross_processes(kind: type[errors.MedsynthError]) -> None:
    error = kind("A file was expected.", received=ValueError("none"), path=Path("/data/a.png"))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  (what multiprocessing does)
    assert type(copy) is kind
    assert str(copy) == str(error) == "/data/a.png: A file was expected. Received: none"


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, errors.RunFolderError), (errno.EFBIG, errors.RunFolderError), (errno.EIO, OSError)],
)
def test_a_write_that_fails_only_at_the_end_is_not_lost(tmp_path: Path, number: int, kind: type[Exception]) -> None:
    path = tmp_path / "a.tfrecords"
    path.write_bytes(b"older")

    def write() -> None:
        with RecordWriter(path) as writer:
            writer.write(np.zeros((4, 4, 1), np.uint8))
            file = writer._file
            assert file is not None

            class Unflushable:
                def close(self) -> None:
                    file.close()
                    raise OSError(number, "refused")

            writer._file = Unflushable()  # type: ignore[assignment]

    with pytest.raises(kind, match="refused"):
        write()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tfrecords"]
    assert path.read_bytes() == b"older"


def test_the_same_write_without_a_failure_succeeds(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "a.tfrecords") as writer:
        writer.write(np.zeros((4, 4, 1), np.uint8))
    assert len(RecordFile(tmp_path / "a.tfrecords")) == 1
