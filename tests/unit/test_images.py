import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.transform import resize

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
