import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from medsynth.data.images import ImageSource, load_images, read_grey, require_files, resize_to_full_range
from medsynth.errors import DataError, UsageError


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
    grey = read_grey(tmp_path / "a.png")
    assert grey.dtype == np.uint8
    np.testing.assert_array_equal(grey, picture(30, 40))


def test_colour_becomes_luma_and_depth_is_kept(tmp_path: Path) -> None:
    colour = np.zeros((4, 4, 3), np.uint8)
    colour[..., 1] = 200
    (tmp_path / "colour.png").write_bytes(encoded(colour, "PNG"))
    assert np.unique(read_grey(tmp_path / "colour.png")).tolist() == [round(0.587 * 200)]
    deep = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4000
    (tmp_path / "deep.png").write_bytes(encoded(deep, "PNG"))
    np.testing.assert_array_equal(read_grey(tmp_path / "deep.png"), deep)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "progressive JPEG"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_a_truncated_file_never_loads(tmp_path: Path, form: str, share: float) -> None:
    options = {"progressive": True} if form.startswith("progressive") else {}
    whole = encoded(picture(64, 80), form.rsplit(maxsplit=1)[-1], **options)
    path = tmp_path / "cut"
    path.write_bytes(whole)
    assert read_grey(path).shape == (64, 80)
    path.write_bytes(whole[: min(int(share * len(whole)), len(whole) - 1)])
    with pytest.raises(DataError, match=r"cut: The file is truncated, damaged or no image.*Received: .+"):
        read_grey(path)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.jpg: The file is truncated, damaged or no image"):
        read_grey(tmp_path / "a.jpg")


def test_a_flipped_byte_in_a_png_is_found(tmp_path: Path) -> None:
    content = bytearray(encoded(picture(64, 80), "PNG"))
    content[len(content) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png"):
        read_grey(tmp_path / "a.png")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_grey(tmp_path)


@pytest.mark.parametrize("shape", [(320, 390), (64, 64), (99, 300), (256, 256)])
def test_resizing_covers_the_range(shape: tuple[int, int]) -> None:
    resized = resize_to_full_range(picture(*shape), 256)
    assert resized.shape == (256, 256)
    assert resized.dtype == np.uint8
    assert resized.max() == 255


def test_a_smooth_image_keeps_its_look_when_resized() -> None:
    rows, columns = np.mgrid[0:200, 0:160]
    ramp = (rows / 199 * 150 + columns / 159 * 100).astype(np.uint8)
    for size in (64, 256):
        resized = resize_to_full_range(ramp, size).astype(float)
        wanted = np.add.outer((np.arange(size) + 0.5) / size * 150, (np.arange(size) + 0.5) / size * 100)
        assert np.abs(resized - wanted * 255 / ramp.max()).max() < 4


def test_the_same_size_is_not_smoothed() -> None:
    image = np.random.RandomState(0).randint(0, 256, (64, 64)).astype(np.uint8)
    image[0, 0] = 255
    difference = image.astype(int) - resize_to_full_range(image, 64)
    assert set(np.unique(difference)) <= {0, 1}  # truncation of v / 255 / 1 * 255


def test_a_black_image_stays_black() -> None:
    with np.errstate(all="raise"):
        assert not resize_to_full_range(np.zeros((30, 20), np.uint8), 16).any()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[ImageSource]:
    folder = tmp_path_factory.mktemp("images")
    made = []
    for number in range(150):
        path = folder / f"{number}.jpg"
        path.write_bytes(encoded(picture(20 + number % 7, 24, number), "JPEG"))
        made.append(ImageSource(path, f"line {number + 2} of train.csv"))
    return made


def test_processes_change_neither_order_nor_pixels(sources: list[ImageSource]) -> None:
    alone = np.stack(list(load_images(sources, 16, 1)))
    assert len({image.tobytes() for image in alone}) == len(sources)
    np.testing.assert_array_equal(alone, np.stack(list(load_images(sources, 16, 2))))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_first_bad_image_is_named_with_its_line(
    sources: list[ImageSource], tmp_path: Path, num_workers: int
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(sources[0].path.read_bytes()[:300])
    with_bad = [*sources[:140], ImageSource(bad, "line 7 of it"), *sources[140:]]
    images = load_images(with_bad, 16, num_workers)
    with pytest.raises(DataError, match=r"bad\.jpg.*It is named in line 7 of it\. Received: .*[Tt]runcated"):
        list(images)


def test_missing_images_are_found_before_the_work(sources: list[ImageSource], tmp_path: Path) -> None:
    require_files(sources)
    gone = [ImageSource(tmp_path / name, f"line {name}") for name in "ab"]
    with pytest.raises(DataError, match=r"/a: .*named in line a.*Received: 2 missing of 152 images"):
        require_files([*sources, *gone])


def test_no_workers_are_refused(sources: list[ImageSource]) -> None:
    with pytest.raises(UsageError, match="--workers"):
        list(load_images(sources, 16, 0))
