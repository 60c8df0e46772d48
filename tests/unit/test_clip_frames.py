from collections.abc import Iterator

import numpy as np
import pytest

from build_dataset.clip_frames import (
    Choice,
    Margins,
    choose,
    difference,
    find_region,
    parse_crop,
    survey,
    to_grey,
)
from medsynth.errors import DataError, UsageError
from tests.clip_files import HEIGHT, SECTOR, WIDTH, moving_frames


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("40", [(40, False)] * 4),
        ("10%", [(0.1, True)] * 4),
        ("1, 2 ,3%,0", [(1, False), (2, False), (0.03, True), (0, False)]),
    ],
)
def test_margins_are_pixels_or_per_cent(text: str, sides: list[tuple[float, bool]]) -> None:
    assert parse_crop(text) == Margins(tuple(sides))


@pytest.mark.parametrize("text", ["", "Auto", "1,2", "-3", "1.5", "100%", "3px", "1,2,3,4,5"])
def test_other_margins_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--crop") as caught:
        parse_crop(text)
    assert str(caught.value).endswith(f"Received: {text}")


def test_margins_are_top_right_bottom_left() -> None:
    frames = moving_frames(2)
    region = find_region(parse_crop("10,25%,3,0"), survey(frames))
    np.testing.assert_array_equal(region.cut(frames[0]), frames[0][10 : HEIGHT - 3, : WIDTH * 3 // 4])
    with pytest.raises(UsageError, match="leaves something of 128x96 pixels"):
        find_region(parse_crop("50%"), survey(frames))


@pytest.mark.parametrize(("num_frames", "found"), [(6, "the part that changes"), (1, "the bright part")])
def test_auto_finds_the_sector_and_not_the_letters(num_frames: int, found: str) -> None:
    frames = moving_frames(num_frames)
    top, bottom, left, right = SECTOR
    assert (frames[:, :top] > 150).any(), "premise: letters above"
    region = find_region("auto", survey(frames))
    assert region.found.startswith(found)
    for edge, expected in zip((*region.rows, *region.columns), SECTOR, strict=True):
        assert abs(edge - expected) <= 3
    # What lies in the middle is untouched, and no letter is left.
    shown = np.zeros_like(frames[0])
    shown[slice(*region.rows), slice(*region.columns)] = region.cut(frames[0])
    inner = np.s_[top + 5 : bottom - 5, left + 5 : right - 5]
    np.testing.assert_array_equal(shown[inner], frames[0][inner])
    assert not shown[: top - 3].any()


def test_auto_blackens_letters_beside_a_fan() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:120, :160]
    fan = np.abs(columns - 80) < 8 + 0.6 * rows  # wider below, as a convex probe's
    frames = np.where(fan, rng.integers(40, 200, (5, 120, 160)), 0).astype(np.uint8)
    frames[:, 8:14, 4:30:3] = 255  # letters beside the apex, within the fan's bounding box
    region = find_region("auto", survey(frames))
    assert region.columns[0] < 8
    cut = region.cut(frames[0])
    in_box = np.zeros_like(frames[0])
    in_box[slice(*region.rows), slice(*region.columns)] = cut
    assert (frames[0, 8:14, 4:30] == 255).any()
    assert not in_box[8:14, 4:30].any()
    assert (in_box[fan] == frames[0][fan]).mean() > 0.97


def test_auto_finds_nothing_in_black() -> None:
    with pytest.raises(DataError, match="neither a part that changes nor a bright one"):
        find_region("auto", survey(np.zeros((3, 60, 80), np.uint8)))


def test_survey_refuses_other_sizes_and_no_frames() -> None:
    frames = [np.zeros((8, 10), np.uint8), np.zeros((8, 12), np.uint8)]
    with pytest.raises(DataError, match="12x8 pixels in frame 2 after 10x8"):
        survey(frames)
    with pytest.raises(DataError, match="A clip has frames"):
        survey([])


def test_colour_becomes_luma_and_is_noticed() -> None:
    grey = np.full((20, 20, 3), 90, np.uint8)
    doppler = grey.copy()
    doppler[5:9, 5:9] = (220, 30, 20)
    assert not survey([grey]).is_coloured
    assert survey([grey, doppler]).is_coloured
    assert to_grey(doppler)[6, 6] == round(0.299 * 220 + 0.587 * 30 + 0.114 * 20)
    np.testing.assert_array_equal(to_grey(grey), 90)


def timed(frames: np.ndarray, rate: float | None = 10) -> Iterator[tuple[np.ndarray, float | None]]:
    return ((frame, None if rate is None else number / rate) for number, frame in enumerate(frames))


@pytest.mark.parametrize(
    ("choice", "numbers"),
    [
        (Choice(), (0, 3, 6, 9)),
        (Choice(drop_below=0), tuple(range(12))),
        (Choice(every=2, drop_below=0), (0, 2, 4, 6, 8, 10)),
        (Choice(every=2), (0, 4, 6, 10)),
        (Choice(frames_per_second=5, drop_below=0), (0, 2, 4, 6, 8, 10)),
        (Choice(frames_per_second=100, drop_below=0), tuple(range(12))),
        (Choice(most=2), (0, 9)),
        (Choice(most=3, drop_below=0), (0, 6, 11)),
    ],
)
def test_which_frames_are_kept(choice: Choice, numbers: tuple[int, ...]) -> None:
    frames = moving_frames(4, repeats=3)  # 12 frames, each thrice
    chosen = choose(timed(frames), choice)
    assert chosen.frames == numbers
    if choice == Choice():
        assert chosen.num_duplicates == 8


def test_a_frame_is_compared_with_the_one_that_was_kept() -> None:
    """A slow change is no row of copies: each step is small, the sum is not."""
    steps = np.array([np.full((8, 8), 100 + number) for number in range(10)]).astype(np.uint8)
    assert difference(steps[0], steps[1]) == 1
    assert choose(timed(steps), Choice(drop_below=3)).frames == (0, 3, 6, 9)


def test_black_around_a_fan_does_not_make_frames_alike() -> None:
    frames = np.zeros((2, 100, 100), np.uint8)
    frames[0, :5, :5], frames[1, :5, :5] = 100, 110
    assert difference(*frames) == 10
    assert difference(frames[0] * 0, frames[1] * 0) == 0


def test_frames_a_second_need_a_rate() -> None:
    with pytest.raises(DataError, match="--fps needs a clip that says how fast it runs"):
        choose(timed(moving_frames(2), None), Choice(frames_per_second=1))
