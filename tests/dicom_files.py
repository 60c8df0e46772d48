"""Tiny DICOM files for tests: made-up pixels and headers."""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def head(rows: int = 40, columns: int = 40) -> np.ndarray:
    """Return Hounsfield units, int16 [rows, columns]: air, a skull, and a brain with a bright spot in it."""
    y, x = np.mgrid[:rows, :columns]
    radius = np.hypot((y + 0.5) / rows - 0.5, (x + 0.5) / columns - 0.5)
    units = np.where(radius < 0.45, 1000, -1000)
    units = np.where(radius < 0.36, 30, units)
    units[rows // 2, columns // 4 : columns // 2] = 70
    return units.astype(np.int16)


def slice_dataset(stored: np.ndarray | None = None, **elements: Any) -> Any:
    """Return a CT slice as a pydicom dataset; `elements` replace its elements, None leaves one out.

    Args:
        stored: Stored values, of the type that the header shall declare; by default `head`, with
            1024 added to it.
        elements: By keyword.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    stored = (head() + 1024).astype(np.int16) if stored is None else stored
    dataset = Dataset()
    dataset.raw_elements = {}
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CT_STORAGE
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4"
    bits = 8 * stored.dtype.itemsize
    defaults = {
        "Modality": "CT",
        "PatientID": "patient-1",
        "SamplesPerPixel": 1 if stored.ndim == 2 else 3,
        "PhotometricInterpretation": "MONOCHROME2" if stored.ndim == 2 else "RGB",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
    }
    for keyword, value in {**defaults, **elements}.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if stored.ndim == 3 and "PlanarConfiguration" not in elements:
        dataset.PlanarConfiguration = 0
    if "PixelData" not in elements:
        dataset.PixelData = stored.tobytes()
        dataset["PixelData"].VR = "OW" if bits > 8 else "OB"
    return dataset


def set_raw(dataset: Any, tag: int, content: bytes, vr: str = "UN") -> None:
    """Give an element these very bytes, which pydicom's writer would check and convert."""
    dataset.pop(tag, None)
    dataset.raw_elements[tag] = (vr, content + b" " * (len(content) % 2))


def save(dataset: Any, path: Path) -> Path:
    """Write a dataset of `slice_dataset` as a DICOM file, its raw elements first, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the writer thinks of a header that is meant to be bad
        dataset.save_as(path, enforce_file_format=True)
    if dataset.raw_elements:
        content = path.read_bytes()
        start = 144 + int.from_bytes(content[140:144], "little")  # behind the meta information
        is_implicit = dataset.file_meta.TransferSyntaxUID.is_implicit_VR
        raw = b"".join(_raw_element(tag, *element, is_implicit) for tag, element in dataset.raw_elements.items())
        path.write_bytes(content[:start] + raw + content[start:])
    return path


def _raw_element(tag: int, vr: str, content: bytes, is_implicit: bool) -> bytes:
    """Return an element in little endian (PS3.5 section 7.1)."""
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if is_implicit:
        return start + struct.pack("<I", len(content)) + content
    if vr in ("UN", "SQ", "OB", "UC", "UR", "UT"):
        return start + vr.encode() + struct.pack("<HI", 0, len(content)) + content
    return start + vr.encode() + struct.pack("<H", len(content)) + content


def bundled(name: str) -> Path | None:
    """Return a test file of pydicom's own package, or None where it was installed without it."""
    from pydicom.data import get_testdata_file

    found = get_testdata_file(name, download=False)
    return Path(found) if isinstance(found, str) else None
