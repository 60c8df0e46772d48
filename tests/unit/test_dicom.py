import logging
import os
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders import base as decoders

from medsynth.data.dicom import apply_window, read_grey_dicom, read_header, read_slice
from medsynth.errors import DataError
from tests.dicom_files import bundled, head, save, set_raw, slice_dataset

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MEDSYNTH_DATA", ROOT / ".." / "shared" / "data"))
HEAD_CT = DATA / "head_ct_dicom"
LOSSLESS = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless]
LOSSLESS += [uid.JPEG2000Lossless]


def stored_as(dataset: Any, syntax: str, path: Path) -> Path:
    """Write a dataset with its pixels in another form."""
    if syntax == uid.ExplicitVRBigEndian:
        pixels = dataset.pixel_array
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = pixels.byteswap().tobytes()
    elif uid.UID(syntax).is_compressed:
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax
    return save(dataset, path)


# Values.


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: uid.UID(syntax).keyword)
@pytest.mark.parametrize("kind", ["int16", "uint16"])
def test_every_lossless_form_gives_the_same_hounsfield_units(tmp_path: Path, syntax: str, kind: str) -> None:
    path = stored_as(slice_dataset((head(36, 48) + 1024).astype(kind)), syntax, tmp_path / "a.dcm")
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    values = read_slice(path).values
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, head(36, 48))


@pytest.mark.parametrize(
    ("name", "same_as"),
    [
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_padded.dcm", "MR_small.dcm"),
    ],
)
def test_foreign_files_give_what_their_uncompressed_twin_gives(name: str, same_as: str) -> None:
    path, twin = bundled(name), bundled(same_as)
    if path is None or twin is None:
        pytest.skip(f"pydicom was installed without {name}")
    np.testing.assert_array_equal(read_slice(path).values, read_slice(twin).values)


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("JPGExtended.dcm", 0, 264),  # JPEG of 12 bits
        ("JPEG2000.dcm", -30, 245),
        ("J2K_pixelrep_mismatch.dcm", -2000, 1896),  # the codestream has no sign, the header has
        ("CT_small.dcm", 128 - 1024, 2191 - 1024),
    ],
)
def test_foreign_files_have_the_range_that_pydicom_documents(name: str, lowest: int, highest: int) -> None:
    path = bundled(name)
    if path is None:
        pytest.skip(f"pydicom was installed without {name}")
    values = read_slice(path).values
    assert (values.min(), values.max()) == (lowest, highest)


def test_a_real_head_is_in_hounsfield_units() -> None:
    if not HEAD_CT.is_dir():
        pytest.skip(f"no real slices in {HEAD_CT}; MEDSYNTH_DATA names another folder")
    image = read_slice(HEAD_CT / "ge_head" / "14.dcm")
    assert image.header.padding == (-1500, -1500)
    assert 0.1 < image.is_padding.mean() < 0.5, "the corners outside the round field"
    assert -1100 < image.values.min() < -950, "air"
    assert image.values.max() > 1000, "bone"
    grey_matter = image.values[(image.values > 0) & (image.values < 80)]
    assert 25 < np.median(grey_matter) < 45


def test_slope_and_intercept(tmp_path: Path) -> None:
    path = save(slice_dataset(head().astype(np.int16), RescaleSlope="0.5", RescaleIntercept="-7.25"), tmp_path / "a")
    np.testing.assert_array_equal(read_slice(path).values, head() * 0.5 - 7.25)
    path = save(slice_dataset(head(), RescaleSlope=None, RescaleIntercept=None), tmp_path / "b")
    np.testing.assert_array_equal(read_slice(path).values, head())
    assert not read_header(path).has_rescale


def test_bits_above_those_stored_are_dropped_and_the_sign_is_extended(tmp_path: Path) -> None:
    stored = np.array([[0x0FFF, 0x7001], [0x0800, 0x07FF]], np.uint16)
    bits = {"BitsStored": 12, "HighBit": 11, "RescaleIntercept": -1024}
    unsigned = read_slice(save(slice_dataset(stored, **bits), tmp_path / "a")).values
    np.testing.assert_array_equal(unsigned, np.array([[4095, 1], [2048, 2047]]) - 1024)
    signed = read_slice(save(slice_dataset(stored.view(np.int16), **bits), tmp_path / "b")).values
    np.testing.assert_array_equal(signed, np.array([[-1, 1], [-2048, 2047]]) - 1024)


@pytest.mark.parametrize(
    ("changes", "is_unwrapped"),
    [
        ({}, True),
        ({"RescaleIntercept": 1}, True),
        ({"RescaleIntercept": -1024}, False),
        ({"Modality": "CR"}, False),
        ({"Modality": None}, False),
        ({"BitsStored": 16, "HighBit": 15}, False),
    ],
)
def test_twelve_bits_that_wrapped_are_unwrapped_only_where_the_header_proves_it(
    tmp_path: Path, changes: dict[str, Any], is_unwrapped: bool
) -> None:
    elements = {"BitsStored": 12, "HighBit": 11, "RescaleIntercept": 0, "Modality": "CT"} | changes
    wrapped = (head() % 4096).astype(np.uint16)
    assert wrapped.max() == 4096 - 1000
    values = read_slice(save(slice_dataset(wrapped, **elements), tmp_path / "a.dcm")).values
    stored = head() if is_unwrapped else wrapped
    np.testing.assert_array_equal(values, stored + np.float32(elements["RescaleIntercept"]))


# Padding.


def padded_head(value: int, kind: str) -> np.ndarray:
    stored = (head() + 1024).astype(kind)
    stored[:3] = np.array(value).astype(kind)
    return stored


@pytest.mark.parametrize("syntax", LOSSLESS[:3], ids=lambda syntax: uid.UID(syntax).keyword)
@pytest.mark.parametrize(
    ("kind", "stored", "vr", "written"),
    [
        ("int16", -2000, "SS", -2000),
        ("int16", -2000, "US", 63536),  # the other sign than the pixels
        ("uint16", 63536, "US", 63536),
        ("uint16", 63536, "SS", -2000),
        ("uint16", 0, "US", 0),
    ],
)
def test_padding_takes_the_lowest_value_outside_it(
    tmp_path: Path, kind: str, stored: int, vr: str, written: int, syntax: str
) -> None:
    dataset = slice_dataset(padded_head(stored, kind))
    dataset[0x00280120] = DataElement(0x00280120, vr, written)
    image = read_slice(stored_as(dataset, syntax, tmp_path / "a.dcm"))
    expected = np.zeros((40, 40), bool)
    expected[:3] = True
    np.testing.assert_array_equal(image.is_padding, expected)
    np.testing.assert_array_equal(image.values[:3], -1000)
    np.testing.assert_array_equal(image.values[3:], head()[3:])
    assert (image.shown(-2000, 1)[:3] == 0).all(), "padding is black in any window"


@pytest.mark.parametrize("ends", [(-2000, -1990), (-1990, -2000)])
def test_a_padding_range_is_inclusive_in_either_direction(tmp_path: Path, ends: tuple[int, int]) -> None:
    stored = (head() + 1024).astype(np.int16)
    stored[0, :5] = [-2001, -2000, -1995, -1990, -1989]
    dataset = slice_dataset(stored)
    dataset[0x00280120] = DataElement(0x00280120, "SS", ends[0])
    dataset[0x00280121] = DataElement(0x00280121, "SS", ends[1])
    image = read_slice(save(dataset, tmp_path / "a.dcm"))
    assert image.is_padding[0, :5].tolist() == [False, True, True, True, False]
    assert image.is_padding.sum() == 3


def test_padding_that_needs_the_unused_bits_is_found(tmp_path: Path) -> None:
    dataset = slice_dataset(padded_head(63536, "uint16"), BitsStored=12, HighBit=11)
    dataset[0x00280120] = DataElement(0x00280120, "US", 63536)
    image = read_slice(save(dataset, tmp_path / "a.dcm"))
    assert image.is_padding[:3].all()
    assert image.is_padding.sum() == 3 * 40


# Windows and radiographs.


def test_a_window_is_linear_between_its_ends() -> None:
    values = np.array([-1000.0, 0, 20, 40, 80, 3000], np.float32)
    np.testing.assert_allclose(apply_window(values, 40, 80), [0, 0, 0.25, 0.5, 1, 1])
    assert apply_window(values, 40, 80).dtype == np.float64


@pytest.mark.parametrize(
    ("centre", "width", "expected"),
    [
        ("40", "80", (40, 80)),
        (["40", "600"], ["80", "2800"], (40, 80)),
        ("-1e1", "0.5", (-10, 0.5)),
        (None, "80", None),
        ("40", None, None),
        ("", "80", None),
        ("40", "0", None),
        ("40", "-80", None),
        ("nan", "80", None),
        ("40", "inf", None),
        ("DOE", "80", None),
    ],
)
def test_the_first_window_of_the_header_that_can_be_used(
    tmp_path: Path, centre: Any, width: Any, expected: tuple[float, float] | None
) -> None:
    dataset = slice_dataset()
    for tag, value in ((0x00281050, centre), (0x00281051, width)):
        if value is not None:
            text = "\\".join([value] if isinstance(value, str) else value)
            set_raw(dataset, tag, text.encode())
    assert read_header(save(dataset, tmp_path / "a.dcm")).window == expected


def test_a_radiograph_has_the_window_of_its_header_or_its_full_range(tmp_path: Path) -> None:
    stored = np.linspace(0, 4000, 1600).reshape(40, 40).astype(np.uint16)
    plain = {"Modality": "CR", "RescaleIntercept": None, "RescaleSlope": None}
    full = read_grey_dicom(save(slice_dataset(stored, **plain), tmp_path / "full.dcm"))
    assert full.dtype == np.float64
    np.testing.assert_allclose(full, stored / 4000)
    window = plain | {"WindowCenter": [1000, 5], "WindowWidth": [500, 5]}
    windowed = read_grey_dicom(save(slice_dataset(stored, **window), tmp_path / "window.dcm"))
    np.testing.assert_allclose(windowed, np.clip((stored.astype(float) - 750) / 500, 0, 1))
    inverted = window | {"PhotometricInterpretation": "MONOCHROME1"}
    np.testing.assert_allclose(
        read_grey_dicom(save(slice_dataset(stored, **inverted), tmp_path / "i.dcm")), 1 - windowed
    )


def test_padding_of_an_inverted_radiograph_is_black(tmp_path: Path) -> None:
    stored = np.arange(1, 1601, dtype=np.uint16).reshape(40, 40)
    stored[0] = 0
    elements = {"PhotometricInterpretation": "MONOCHROME1", "RescaleIntercept": None, "RescaleSlope": None}
    dataset = slice_dataset(stored, **elements, PixelPaddingValue=0)
    grey = read_grey_dicom(save(dataset, tmp_path / "a.dcm"))
    assert (grey[0] == 0).all()
    assert grey[1, 0] == 1
    assert grey[-1, -1] == 0


def test_an_image_of_one_value_is_black(tmp_path: Path) -> None:
    grey = read_grey_dicom(save(slice_dataset(np.full((4, 4), 7, np.uint16)), tmp_path / "a.dcm"))
    np.testing.assert_array_equal(grey, 0)


def test_colour_becomes_luma(tmp_path: Path) -> None:
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[..., 1] = 200
    path = save(slice_dataset(colour), tmp_path / "a.dcm")
    np.testing.assert_allclose(read_grey_dicom(path), np.full((4, 6), 0.587 * 200 / 255))
    with pytest.raises(DataError, match=r"a\.dcm: A grey image was expected .* Received: a colour image"):
        read_slice(path)


def test_colour_in_jpeg_becomes_luma() -> None:
    path, twin = bundled("SC_rgb_jpeg_dcmtk.dcm"), bundled("SC_rgb_dcmtk_+eb+cr.dcm")
    if path is None or twin is None:
        pytest.skip("pydicom was installed without SC_rgb_jpeg_dcmtk.dcm")
    assert np.abs(read_grey_dicom(path) - read_grey_dicom(twin)).mean() < 0.02


# What is refused, and how.


def with_raw(tag: int, content: bytes) -> Callable[[Any], None]:
    """Return a change that gives an element these very bytes."""

    def change(dataset: Any) -> None:
        set_raw(dataset, tag, content)

    return change


def with_elements(**elements: Any) -> Callable[[Any], None]:
    def change(dataset: Any) -> None:
        for keyword, value in elements.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


def with_frame(syntax: str, frame: bytes) -> Callable[[Any], None]:
    def change(dataset: Any) -> None:
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True

    return change


def jpeg_2000_of_another_size(dataset: Any) -> None:
    dataset.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    dataset.Rows = 12


def half_a_jpeg_2000(dataset: Any) -> None:
    dataset.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    with_frame(uid.JPEG2000Lossless, frame[: len(frame) // 2])(dataset)


def damaged_run_lengths(dataset: Any) -> None:
    dataset.compress(uid.RLELossless, generate_instance_uid=False)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    with_frame(uid.RLELossless, frame[:80])(dataset)


SIZ = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + b"\x00\x00\xea\x60" * 2 + bytes(8) + b"\x00\x00\xea\x60" * 2 + bytes(8)
J2K_BOMB = SIZ + b"\x00\x01\x0f\x01\x01"
JPEG_BOMB = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc3\x00\x0b\x10\xea\x60\xea\x60\x01\x00\x11\x00"
DEEP_J2K = SIZ.replace(b"\x00\x00\xea\x60", b"\x00\x00\x00\x28") + b"\x00\x01\x1f\x01\x01"

BAD_DATASETS: dict[str, tuple[Callable[[Any], None], str]] = {
    "no rows": (with_elements(Rows=None), r"Rows is missing in the header. Received: nothing"),
    "no columns": (with_elements(Columns=None), "Columns is missing"),
    "zero rows": (with_elements(Rows=0), "Rows must be from 1 to 65535. Received: 0"),
    "rows as text": (with_raw(0x00280010, b"abc"), "Rows (must be from 1|cannot be read)"),
    "two rows": (with_raw(0x00280010, b"\x18\0\x18\0"), "Rows must be from 1 to 65535. Received: no number"),
    "no samples": (with_elements(SamplesPerPixel=None), "SamplesPerPixel is missing"),
    "two samples": (with_elements(SamplesPerPixel=2), "SamplesPerPixel must be 1 or 3. Received: 2"),
    "samples and colour differ": (with_elements(SamplesPerPixel=3), "must be one of RGB.* Received: MONOCHROME2"),
    "no photometric": (with_elements(PhotometricInterpretation=None), "PhotometricInterpretation must .* nothing"),
    "palette": (with_elements(PhotometricInterpretation="PALETTE COLOR"), "Received: PALETTE COLOR"),
    "photometric unknown": (with_elements(PhotometricInterpretation="GREEN"), "Received: another value"),
    "no bits allocated": (with_elements(BitsAllocated=None), "BitsAllocated is missing"),
    "one bit": (with_elements(BitsAllocated=1), "BitsAllocated must be 8, 16 or 32. Received: 1"),
    "twelve bits allocated": (with_elements(BitsAllocated=12), "BitsAllocated must be 8, 16 or 32. Received: 12"),
    "no bits stored": (with_elements(BitsStored=0), "BitsStored must be from 1 to 16. Received: 0"),
    "more bits stored": (with_elements(BitsStored=17), "BitsStored must be from 1 to 16. Received: 17"),
    "other high bit": (with_elements(HighBit=11), "HighBit must be 15. Received: 11"),
    "no sign": (with_elements(PixelRepresentation=None), "PixelRepresentation is missing"),
    "sign of 2": (with_elements(PixelRepresentation=2), "PixelRepresentation must be 0 or 1. Received: 2"),
    "frames": (with_elements(NumberOfFrames=3), "One image per file was expected. Received: a multi-frame file of 3"),
    "negative frames": (with_elements(NumberOfFrames=-1), "NumberOfFrames must be from 1"),
    "bomb of rows": (with_elements(Rows=65535, Columns=65535), r"at most 134,217,728 bytes .*8,589,672,450 bytes"),
    "bomb of frames": (with_elements(NumberOfFrames=10**9), r"at most 134,217,728 bytes .*1000000000 frames"),
    "slope zero": (with_elements(RescaleSlope="0"), "RescaleSlope must not be 0"),
    "slope infinite": (with_raw(0x00281053, b"inf "), "RescaleSlope must be a finite number. Received: inf"),
    "slope not a number": (with_raw(0x00281053, b"nan "), "RescaleSlope must be a finite number. Received: no number"),
    "slope as text": (with_raw(0x00281053, b"steep "), "RescaleSlope must be a finite number. Received: no number"),
    "two slopes": (with_raw(0x00281053, b"1\\2 "), "RescaleSlope must be a finite number"),
    "slope too steep": (with_raw(0x00281053, b"1e300 "), "must give finite pixels. Received: slope 1e"),
    "intercept as text": (with_raw(0x00281052, b"low "), "RescaleIntercept must be a finite number"),
    "intercept too far": (with_raw(0x00281052, b"1e99"), "must give finite pixels"),
    "padding as text": (with_raw(0x00280120, b"abc"), "(PixelPaddingValue cannot be read|whole numbers of 16 bits)"),
    "nothing but padding": (with_elements(PixelData=bytes(3200), PixelPaddingValue=0), "nothing but padding"),
    "no pixels": (with_elements(PixelData=None), "The file has no pixel data, or ends before it"),
    "empty pixels": (with_elements(PixelData=b""), "The file has no pixel data"),
    "cut pixels": (with_elements(PixelData=bytes(1000)), "cut off; .* Received: 1,000 of 3,200 bytes"),
    "pixels of a larger image": (
        lambda dataset: setattr(dataset, "Rows", 30),
        "declares 30 x 40 pixels, 2,400 bytes, .* larger image.* Received: 3,200 bytes",
    ),
    "run lengths of a larger image": (
        lambda dataset: [dataset.compress(uid.RLELossless), setattr(dataset, "Rows", 30)],
        "(run-length .* larger image|damaged or not RLE)",  # by pydicom, or by pylibjpeg where it is installed
    ),
    "half a JPEG 2000": (half_a_jpeg_2000, "damaged or not JPEG 2000"),
    "JPEG 2000 of another size": (jpeg_2000_of_another_size, r"declares 12 x 40 pixels .* Received: 40 x 40 of 1"),
    "JPEG 2000 bomb": (with_frame(uid.JPEG2000Lossless, J2K_BOMB), "Received: 60000 x 60000 of 1 with 16 bits"),
    "JPEG 2000 too deep": (with_frame(uid.JPEG2000, DEEP_J2K), "Received: 40 x 40 of 1 with 32 bits"),
    "JPEG bomb": (with_frame(uid.JPEGLosslessSV1, JPEG_BOMB), "Received: 60000 x 60000 of 1 with 16 bits"),
    "JPEG that is none": (with_frame(uid.JPEGBaseline8Bit, b"\xff\xd8 nothing"), "damaged or not JPEG Baseline"),
    "JPEG-LS that is none": (with_frame(uid.JPEGLSLossless, b"no image"), "damaged or not JPEG-LS"),
    "run lengths cut off": (damaged_run_lengths, "damaged or not RLE Lossless"),
    "video": (with_frame(uid.MPEG2MPML, b"no image"), "JPEG 2000 were expected. Received: MPEG2"),
    "not compressed as it says": (lambda dataset: setattr(dataset, "PixelData", dataset.PixelData[:-200]), "cut off"),
}


@pytest.mark.parametrize("kind", BAD_DATASETS)
def test_a_bad_header_or_bad_pixels_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    change, message = BAD_DATASETS[kind]
    dataset = slice_dataset()
    assert read_slice(save(dataset, tmp_path / "good.dcm")).values.shape == (40, 40)
    change(dataset)
    path = save(dataset, tmp_path / "bad.dcm")
    with pytest.raises(DataError, match=rf"bad\.dcm: .*{message}"):
        read_slice(path)


def good_bytes(tmp_path: Path) -> bytes:
    return save(slice_dataset(), tmp_path / "good.dcm").read_bytes()


@pytest.mark.parametrize("padding", [b"", b"\0\0", bytes(500)])
def test_padding_behind_the_pixels_is_allowed(tmp_path: Path, padding: bytes) -> None:
    dataset = slice_dataset()
    expected = read_slice(save(dataset, tmp_path / "good.dcm")).values
    dataset.PixelData += padding
    np.testing.assert_array_equal(read_slice(save(dataset, tmp_path / "padded.dcm")).values, expected)


BAD_FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "no DICOM file: the letters DICM"),
    "text": (lambda content: b"a,b\n" * 100, "no DICOM file: the letters DICM"),
    "no preamble": (lambda content: content[132:], "no DICOM file"),
    "only a preamble": (lambda content: content[:132], "Received: no transfer syntax"),
    "cut in the meta information": (lambda content: content[:160], "Received: |cannot"),
    "cut in the header": (lambda content: content[:400], "is missing in the header"),
    "cut in the pixels": (lambda content: content[:-500], "cut off|no pixel data"),
    "no transfer syntax": (
        lambda content: content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0"),
        "Received: another transfer syntax",
    ),
    "deflated": (
        lambda content: content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99\0\0")
        .replace(b"UI\x14\x001.2.840.10008.1.2.1.99", b"UI\x16\x001.2.840.10008.1.2.1.99"),
        "Received: Deflated Explicit VR Little Endian",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("read", [read_slice, read_grey_dicom])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, kind: str, read: Callable[[Path], Any]) -> None:
    change, message = BAD_FILES[kind]
    (tmp_path / "bad.dcm").write_bytes(change(good_bytes(tmp_path)))
    with pytest.raises(DataError, match=rf"bad\.dcm: .*{message}"):
        read(tmp_path / "bad.dcm")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.dcm: A DICOM file was expected here. Received: no such file"):
        read_slice(tmp_path / "a.dcm")
    with pytest.raises(DataError, match="Received: a folder"):
        read_header(tmp_path)


def counted(monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> list[str]:
    """Return a list that grows with every call of a function."""
    calls: list[str] = []
    function = getattr(place, name)
    monkeypatch.setattr(place, name, lambda *values, **named: (calls.append(name), function(*values, **named))[1])
    return calls


def test_a_file_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(slice_dataset(), tmp_path / "a.dcm")
    monkeypatch.setattr("medsynth.data.dicom_header.LARGEST_FILE_BYTES", path.stat().st_size - 1)
    calls = counted(monkeypatch, pydicom, "dcmread")
    with pytest.raises(DataError, match=r"a\.dcm: DICOM files of at most .* bytes are read"):
        read_slice(path)
    assert calls == []


@pytest.mark.parametrize("kind", ["bomb of rows", "bomb of frames", "JPEG 2000 bomb", "JPEG bomb"])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = slice_dataset()
    BAD_DATASETS[kind][0](dataset)
    path = save(dataset, tmp_path / "bomb.dcm")
    calls = counted(monkeypatch, decoders.Decoder, "as_array")
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"bomb\.dcm"):
            read_slice(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
        assert calls == []
    finally:
        tracemalloc.stop()


def test_a_header_is_read_without_the_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(slice_dataset(), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-1000])
    header = read_header(path)
    assert (header.rows, header.columns, header.patient_id) == (40, 40, "patient-1")
    with pytest.raises(DataError, match=r"cut off|no pixel data"):
        read_slice(path)


@pytest.mark.parametrize(
    ("written", "patient"),
    [(" 17 ", "17"), ("", ""), ("  ", ""), ("A\\B", ""), ("tab\there", ""), ("Åse", "Åse")],
)
def test_a_patient_id_is_one_readable_text(tmp_path: Path, written: str, patient: str) -> None:
    dataset = slice_dataset(PatientID=None, SpecificCharacterSet="ISO_IR 192")
    set_raw(dataset, 0x00100020, written.encode())
    assert read_header(save(dataset, tmp_path / "a.dcm")).patient_id == patient


@pytest.mark.parametrize(("value", "is_burned_in"), [("YES", True), ("yes ", True), ("NO", False), (None, False)])
def test_burned_in_text_is_told(tmp_path: Path, value: str | None, is_burned_in: bool) -> None:
    dataset = slice_dataset()
    if value is not None:
        set_raw(dataset, 0x00280301, value.encode())
    assert read_header(save(dataset, tmp_path / "a.dcm")).has_burned_in_annotation == is_burned_in


@pytest.mark.parametrize("syntax", [uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEGExtended12Bit, uid.JPEG2000])
def test_a_missing_decoder_is_named_with_its_extra(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = slice_dataset()
    with_frame(syntax, b"anything")(dataset)
    path = save(dataset, tmp_path / "a.dcm")
    monkeypatch.setattr(decoders.get_decoder(syntax), "_available", {})
    package = "pylibjpeg-openjpeg" if syntax == uid.JPEG2000 else "pylibjpeg-libjpeg"
    with pytest.raises(DataError, match=rf"a\.dcm: JPEG.* needs {package}, which is an extra: .*\[dicom\]"):
        read_slice(path)


def test_without_pydicom_the_extra_is_named() -> None:
    code = "import sys; sys.modules['pydicom'] = None; import medsynth.data.dicom"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "DependencyError: DICOM files need pydicom, which is an extra: pip install -e '.[dicom]'" in done.stderr


# Nothing of a header is quoted.

NUMERIC_TAGS = {
    keyword: pydicom.datadict.tag_for_keyword(keyword)
    for keyword in (
        *("SamplesPerPixel", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
        *("PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "WindowCenter", "WindowWidth"),
        *("RescaleIntercept", "RescaleSlope"),
    )
}
TEXT_TAGS = {"PhotometricInterpretation": 0x00280004, "SpecificCharacterSet": 0x00080005, "Modality": 0x00080060}


@pytest.mark.parametrize("vr", ["LO", "UN", "IS", "DS", "CS", "UI", "FL"])
@pytest.mark.parametrize("keyword", [*NUMERIC_TAGS, *TEXT_TAGS])
def test_no_message_warning_or_log_line_quotes_an_element(
    tmp_path: Path, keyword: str, vr: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset = slice_dataset()
    set_raw(dataset, NUMERIC_TAGS["PixelPaddingValue"], b"\0\0", "US")
    set_raw(dataset, {**NUMERIC_TAGS, **TEXT_TAGS}[keyword], b"DOE^JANE^X", vr)
    path = save(dataset, tmp_path / "a.dcm")
    assert b"DOE^JANE^X" in path.read_bytes()
    capfd.readouterr()
    caplog.clear()
    with warnings.catch_warnings(record=True) as raised, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        said = " ".join(str(attempt(read, path)) for read in (read_header, read_slice, read_grey_dicom))
    said += "".join(capfd.readouterr()) + caplog.text + "".join(str(warning.message) for warning in raised)
    assert "JANE" not in said


# Anything else that a header may hold.


def attempt(read: Callable[[Path], Any], path: Path) -> Any:
    """Return what a reader returns, or the DataError it raises."""
    try:
        return read(path)
    except DataError as error:
        return error


RAW_VALUES = st.one_of(
    st.none(),
    st.integers(0, 2**16 - 1).map(lambda number: number.to_bytes(2, "little")),
    st.sampled_from([0, 1, 3, 7, 8, 11, 12, 15, 16, 24, 32]).map(lambda number: number.to_bytes(2, "little")),
    st.floats().map(lambda number: f"{number:.9g}".encode()),
    st.integers(-(10**12), 10**12).map(lambda number: str(number).encode()),
    st.sampled_from([b"", b"0", b"1", b"-0", b"1e308", b"-1e-308", b"1\\2\\3", b" \\ ", b"MONOCHROME1"]),
    st.binary(max_size=12),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(st.sampled_from(sorted(NUMERIC_TAGS.values())), RAW_VALUES, max_size=4),
    kind=st.sampled_from(["int16", "uint16", "uint8"]),
    photometric=st.sampled_from(["MONOCHROME1", "MONOCHROME2"]),
    syntax=st.sampled_from([uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian]),
)
def test_nonsense_in_the_header_gives_finite_pixels_or_names_the_file(
    tmp_path: Path, changes: dict[int, bytes | None], kind: str, photometric: str, syntax: str
) -> None:
    stored = (head() + 1024).clip(0, 255 if kind == "uint8" else None).astype(kind)
    dataset = slice_dataset(stored, PhotometricInterpretation=photometric)
    dataset.file_meta.TransferSyntaxUID = syntax
    for tag, content in changes.items():
        if content is None:
            dataset.pop(tag, None)
        else:
            set_raw(dataset, tag, content)
    path = save(dataset, tmp_path / "nonsense.dcm")
    for read in (read_slice, read_grey_dicom):
        result = attempt(read, path)
        if isinstance(result, DataError):
            assert str(result).startswith(f"{path}: ")
            assert "Received: " in str(result)
            continue
        if read is read_slice:
            assert np.isfinite(result.values).all()
            result = result.shown(40, 80)
        header = read_header(path)
        assert result.shape == (header.rows, header.columns)
        assert 0 <= result.min() <= result.max() <= 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    syntax=st.sampled_from([uid.ExplicitVRLittleEndian, uid.RLELossless, uid.JPEG2000Lossless]),
    flips=st.dictionaries(st.floats(0, 1, exclude_max=True), st.integers(1, 255), max_size=6),
    share=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damaged_bytes_give_finite_pixels_or_name_the_file(
    tmp_path: Path, syntax: str, flips: dict[float, int], share: float
) -> None:
    content = bytearray(stored_as(slice_dataset(), syntax, tmp_path / "damaged.dcm").read_bytes())
    for place, value in flips.items():
        content[int(place * len(content))] ^= value
    path = tmp_path / "damaged.dcm"
    path.write_bytes(content[: int(share * len(content))])
    result = attempt(read_slice, path)
    if isinstance(result, DataError):
        assert str(result).startswith(f"{path}: ")
    else:
        assert np.isfinite(result.values).all()


def test_more_run_lengths_than_the_header_has_rows_are_refused_without_pylibjpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = pydicom.pixels.decoders.base.get_decoder(uid.RLELossless)
    monkeypatch.setattr(decoder, "_available", {"pydicom": decoder._available["pydicom"]})
    dataset = slice_dataset()
    dataset.compress(uid.RLELossless, generate_instance_uid=False)
    assert read_slice(save(dataset, tmp_path / "good.dcm")).values.shape == (40, 40)
    dataset.Rows = 30
    with pytest.raises(DataError, match=r"declares 30 x 40 pixels.*larger image.*Received: 1,600 bytes where 1,200"):
        read_slice(save(dataset, tmp_path / "bad.dcm"))
