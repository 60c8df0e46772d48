import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage
from skimage.transform import resize

from medsynth.data import images
from medsynth.data.images import ImageForm, ImageSource, load_image, prepare_image, read_image
from medsynth.errors import DataError


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.RandomState(seed).randint(0, 256, (height, width)).astype(np.float64)
    smooth = ndimage.gaussian_filter(noise, 2)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 200).astype(np.uint8)


def encoded(pixels: np.ndarray, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()


def test_pixels_of_a_grey_file_are_as_stored(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(30, 40), "PNG"))
    grey = read_image(tmp_path / "a.png")[..., 0]
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, picture(30, 40))


def test_colour_becomes_luma_and_depth_is_kept(tmp_path: Path) -> None:
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[..., 1] = 200
    (tmp_path / "colour.png").write_bytes(encoded(colour, "PNG"))
    assert np.unique(read_image(tmp_path / "colour.png")).tolist() == [round(0.587 * 200)]
    deep = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000
    (tmp_path / "deep.png").write_bytes(encoded(deep, "PNG"))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[..., 0], deep)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "progressive JPEG"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_truncated_file_never_loads(tmp_path: Path, form: str, share: float) -> None:
    options = {"progressive": True} if form.startswith("progressive") else {}
    whole = encoded(picture(64, 80), form.rsplit(maxsplit=1)[-1], **options)
    path = tmp_path / "cut"
    path.write_bytes(whole)
    assert read_image(path).shape == (64, 80, 1)
    path.write_bytes(whole[: min(int(share * len(whole)), len(whole) - 1)])
    with pytest.raises(DataError, match=r"cut: The file is truncated, damaged or no image.*Received: .+"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_set_upright_as_exif_says(tmp_path: Path, orientation: int) -> None:
    # What each value does to the stored rows and columns: EXIF 2.32, section 4.6.4, tag Orientation.
    upright = {
        1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
        5: lambda p: p.T, 6: lambda p: p.T[:, ::-1], 7: lambda p: p[::-1, ::-1].T, 8: lambda p: p.T[::-1],
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    for form in ("PNG", "TIFF"):
        (tmp_path / "a").write_bytes(encoded(picture(30, 40), form, exif=exif.tobytes()))
        np.testing.assert_array_equal(read_image(tmp_path / "a")[..., 0], upright[orientation](picture(30, 40)))


def test_broken_exif_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(30, 40), "PNG", exif=b"Exif\0\0no exif at all"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], picture(30, 40))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.uint32, np.float16])
def test_grey_tiff_files_are_read_in_their_own_units(tmp_path: Path, kind: type) -> None:
    values = (picture(30, 40) / 8).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], values)


def test_tiff_files_that_are_not_read_are_not_called_truncated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((30, 40, 3)), photometric="rgb")
    with pytest.raises(
        DataError, match=r"read in grey, or in colour of 8 or 16 bits.*float64 pixels of shape \(30, 40"
    ):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((30, 40)))
    (tmp_path / "c.tif").write_bytes((tmp_path / "b.tif").read_bytes()[:100])
    with pytest.raises(DataError, match=r"c\.tif: The file is truncated"), warnings.catch_warnings(action="ignore"):
        read_image(tmp_path / "c.tif")
    monkeypatch.setattr(images, "_MOST_PIXELS", 1000)
    with pytest.raises(DataError, match=r"b\.tif: The picture declares more pixels.*Received: 1,200 pixels"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.nan, "must be finite; .* Received: 2 NaN$"),
        (np.inf, "must be finite; .* Received: 2 infinite$"),
        (-1024, "must not be negative.* choose a window, or add what .* Received: values from -1024 to 200"),
    ],
)
def test_pixels_that_are_no_brightness_say_why(tmp_path: Path, value: float, sentence: str) -> None:
    values = picture(30, 40).astype(np.float32)
    values[3, 3:5] = value
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(DataError, match=rf"a\.tif: Pixels {sentence}"):
        read_image(tmp_path / "a.tif")


def test_a_decompression_bomb_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(30, 40), "PNG"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"a\.png: The picture declares more pixels .*decompression bomb"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_a_clip_is_no_picture(tmp_path: Path, form: str) -> None:
    frames = [Image.fromarray(picture(12, 16, seed)) for seed in range(3)]
    path = tmp_path / f"a.{form.lower()}"
    frames[0].save(path, form, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=r"this file is a clip; .*create_from_video .* Received: 3 frames"):
        read_image(path)
    frames[0].save(path, form)
    assert read_image(path).shape == (12, 16, 1)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: The file is truncated, damaged or no image"):
        read_image(tmp_path / "a.jpg")


def test_a_flipped_byte_in_a_png_is_found(tmp_path: Path) -> None:
    content = bytearray(encoded(picture(64, 80), "PNG"))
    content[len(content) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path)


def resized(image: np.ndarray, size: int, **form: object) -> np.ndarray:
    """Return a grey picture [H, W] as a dataset holds it, [size, size]."""
    return prepare_image(image[..., None], ImageForm(size, **form))[..., 0]


@pytest.mark.parametrize("shape", [(320, 390), (64, 64), (99, 300), (256, 256), (20, 31), (700, 513)])
@pytest.mark.parametrize("size", [32, 256])
def test_an_image_is_what_scikit_image_makes_of_it(shape: tuple[int, int], size: int) -> None:
    # The published steps, literally.
    expected = resize(picture(*shape), (size, size))
    expected = (expected / expected.max() * 255).astype(np.uint8)
    found = resized(picture(*shape), size)
    assert found.dtype == np.uint8
    assert found.max() == 255
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_channels_are_resized_alike_and_share_their_maximum() -> None:
    colour = np.stack([picture(60, 50, seed) for seed in range(3)], axis=-1)
    found = prepare_image(colour, ImageForm(32, num_channels=3))
    expected = np.stack([resize(colour[..., c], (32, 32)) for c in range(3)], axis=-1)
    difference = np.abs(found.astype(int) - (expected / expected.max() * 255).astype(np.uint8))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_a_smooth_image_keeps_its_look_when_resized() -> None:
    rows, columns = np.mgrid[0:200, 0:160]
    ramp = (rows / 199 * 150 + columns / 159 * 100).astype(np.uint8)
    for size in (64, 256):
        found = resized(ramp, size).astype(float)
        wanted = np.add.outer((np.arange(size) + 0.5) / size * 150, (np.arange(size) + 0.5) / size * 100)
        assert np.abs(found - wanted * 255 / ramp.max()).max() < 4


def test_an_exact_image_keeps_its_pixels_and_another_size_is_refused() -> None:
    image = np.random.RandomState(0).randint(0, 201, (64, 64)).astype(np.uint8)
    image[0, 0] = 200
    np.testing.assert_array_equal(resized(image, 64, fit="exact"), (image / 200 * 255).astype(np.uint8))
    with pytest.raises(DataError, match=r"64x64 pixels were expected.*Received: 64x60 pixels"):
        resized(image[:60], 64, fit="exact")


def test_a_black_image_stays_black() -> None:
    with np.errstate(all="raise"):
        assert not resized(np.zeros((30, 20), np.uint8), 16).any()


def test_a_bad_image_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(encoded(picture(64, 80), "JPEG")[:300])
    source = ImageSource(tmp_path / "bad.jpg", "line 7 of train.csv")
    with pytest.raises(DataError, match=r"bad\.jpg.*It is named in line 7 of train\.csv\. Received: .*[Tt]runcated"):
        load_image(source, ImageForm(16))
