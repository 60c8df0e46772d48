"""Pictures of saliency maps and masks."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from classifier_segment.evaluation.sheets import map_contact_sheet, mask_contact_sheet, save_map
from medsynth.errors import UsageError
from medsynth.report.matrices import confusion_figure
from medsynth.report.overlays import as_pixels, outlined, tile_size, tinted

GREY = np.full((8, 8, 3), 128, np.uint8)
FRAME = ImageColor.getrgb("#0072B2")


def made_up(num_images: int, size: int = 32):
    images = np.random.default_rng(0).integers(0, 256, (num_images, size, size, 3), dtype=np.uint8)
    masks = np.zeros((num_images, size, size), bool)
    masks[:, 8:20, 8:20] = True
    return images, masks


def count(picture: Image.Image, colour: tuple[int, ...]) -> int:
    return int((np.asarray(picture) == colour).all(axis=2).sum())


@pytest.mark.parametrize("image", [GREY, np.full((8, 8, 3), 128 / 255), np.full((8, 8, 3), 128 / 255, np.float32)])
def test_images_are_bytes_or_shares(image):
    np.testing.assert_array_equal(as_pixels(image, 16), np.full((16, 16, 3), 128))


def test_a_map_colours_where_it_is_large():
    values = np.zeros((8, 8), np.float32)
    values[:, 4:] = 1
    drawn = tinted(GREY, values)
    np.testing.assert_array_equal(drawn[:, :4], GREY[:, :4])
    assert (drawn[:, 4:] != GREY[:, 4:]).any(axis=2).all()


def test_outlines_lie_on_both_sides_of_the_edge():
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    both = outlined(GREY, mask, inner="#FF0000", outer="#0000FF")
    red, blue = ((both == colour).all(axis=2) for colour in ((255, 0, 0), (0, 0, 255)))
    assert red.sum() == 12  # the rim of 4 x 4 pixels
    assert not (red & ~mask).any()
    assert blue.sum() == 16
    assert not (blue & mask).any()
    np.testing.assert_array_equal(outlined(GREY, mask & False, inner="#FF0000", outer="#0000FF"), GREY)


@pytest.mark.parametrize("num_images", [1, 5, 60])
def test_a_sheet_holds_every_image_and_marks_wrong_ones(tmp_path, num_images):
    images, masks = made_up(num_images)
    maps = np.where(masks, 1.0, 0.0).astype(np.float32)
    captions = [f"true a\npredicted b, and a name too long for its tile, number {i}" for i in range(num_images)]
    options = {"title": "Maps", "note": "A note.\nAnother line."}
    path = tmp_path / "folder" / "maps.png"
    map_contact_sheet(path, images, maps, masks, captions, **options, wrong=[False] * num_images)
    plain = Image.open(path).convert("RGB")
    assert plain.width * plain.height > num_images * tile_size(num_images) ** 2
    map_contact_sheet(path, images, maps, masks, captions, **options, wrong=[i == 0 for i in range(num_images)])
    one = count(Image.open(path).convert("RGB"), FRAME) - count(plain, FRAME)
    side = tile_size(num_images)
    assert one == (side + 10) ** 2 - side**2
    assert not list(path.parent.glob(".*"))


def test_as_many_captions_as_images_are_needed(tmp_path):
    images, masks = made_up(3)
    with pytest.raises(ValueError, match="argument"):
        mask_contact_sheet(tmp_path / "masks.png", images, masks, masks, ["a", "b"], "Masks", "")
    assert not list(tmp_path.iterdir())


def test_masks_that_agree_show_both_lines(tmp_path):
    images, masks = made_up(2)
    mask_contact_sheet(tmp_path / "masks.png", images, masks, masks, ["a", "b"], "Masks", "Note.")
    sheet = Image.open(tmp_path / "masks.png").convert("RGB")
    assert min(count(sheet, ImageColor.getrgb(colour)) for colour in ("#56B4E9", "#F0E442")) > 500


@pytest.mark.parametrize(("name", "begins"), [("map.pdf", b"%PDF"), ("map.PNG", b"\x89PNG")])
@pytest.mark.parametrize("has_mask", [True, False])
def test_single_maps_are_pdf_or_png(tmp_path, name, begins, has_mask):
    images, masks = made_up(1)
    save_map(tmp_path / name, images[0], masks[0].astype(np.float32), masks[0] if has_mask else None)
    assert (tmp_path / name).read_bytes().startswith(begins)


def test_another_ending_is_refused(tmp_path):
    images, masks = made_up(1)
    with pytest.raises(UsageError, match=r"\.pdf or \.png"):
        save_map(tmp_path / "map.jpg", images[0], masks[0].astype(np.float32), masks[0])
    assert not list(tmp_path.iterdir())


def test_a_confusion_matrix_of_a_class_without_images_is_drawn(tmp_path):
    confusion_figure(tmp_path / "c.png", ["a", "$b$"], np.array([[3, 1], [0, 0]]), title="t", note="word " * 100)
    assert Image.open(tmp_path / "c.png").width > 500
