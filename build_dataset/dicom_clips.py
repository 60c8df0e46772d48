"""DICOM files as clips."""

from collections.abc import Iterator
from pathlib import Path

from build_dataset.clips import Frame
from medsynth.data.dicom import DicomClip


class DicomFile:
    """A DICOM file of one or more frames; see `build_dataset.clips.Clip`.

    Args:
        path: The file.

    Raises:
        DataError: As `medsynth.data.dicom.DicomClip`.
    """

    def __init__(self, path: Path) -> None:
        self._clip = DicomClip(path)
        self.has_burned_in_annotation = self._clip.header.has_burned_in_annotation

    def frames(self) -> Iterator[tuple[Frame, float | None]]:
        """Yield the frames; see `build_dataset.clips.Clip.frames`."""
        seconds = self._clip.header.seconds
        for number in range(self._clip.header.num_frames):
            yield self._clip.frame(number), None if seconds is None else seconds[number]
