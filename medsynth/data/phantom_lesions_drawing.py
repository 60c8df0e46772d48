"""Drawing of made-up photographs: mucosa with vessels and highlights, lesions on it, and a coloured sticker.

Lengths are in units of the shorter side of the picture, the origin is its middle, y points down. Colours are RGB in
[0, 1].
"""

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates, zoom

Floats = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
Colour = tuple[float, float, float]

NUM_OUTLINE_POINTS = 72
_EDGE = 0.006  # over which a lesion fades into its surroundings
_WHITE: Colour = (0.95, 0.94, 0.92)
_HALO_SHIFT = np.array([0.06, -0.10, -0.08])


@dataclass(frozen=True)
class Lesion:
    """A patch of changed tissue.

    Attributes:
        place: x and y of its middle.
        radius: Of a circle of the same area, without its lobes.
        elongation: Longer over shorter axis.
        angle: Of the longer axis, radians.
        lobes: (number around the outline, height as a share of the radius, phase in radians) of each wave.
        shift: Of the colour, RGB.
        grains: Strength of the granular texture.
        streaks: Strength of the streaky texture, along the longer axis.
        halo: Strength of the red rim.
    """

    place: tuple[float, float]
    radius: float
    elongation: float
    angle: float
    lobes: tuple[tuple[int, float, float], ...]
    shift: Colour
    grains: float
    streaks: float
    halo: float

    def reach(self, angles: Floats) -> Floats:
        """Return the outline's distance from the middle, in the lesion's own frame, as a share of the radius."""
        reach = np.ones_like(angles)
        for number, height, phase in self.lobes:
            reach = reach + height * np.cos(number * angles + phase)
        return reach

    def outline(self) -> Floats:
        """Return points on the outline, [72, 2], x and y."""
        angles = np.linspace(0, 2 * math.pi, NUM_OUTLINE_POINTS, endpoint=False)
        along, across = self._axes
        reach = self.reach(angles)
        first, second = along * reach * np.cos(angles), across * reach * np.sin(angles)
        turn, slant = math.cos(self.angle), math.sin(self.angle)
        return np.stack(
            [self.place[0] + first * turn - second * slant, self.place[1] + first * slant + second * turn], axis=1
        )

    def own_frame(self, grid: "Grid") -> tuple[Floats, Floats]:
        """Return each pixel's place along the longer and the shorter axis."""
        turn, slant = math.cos(self.angle), math.sin(self.angle)
        right, down = grid.x - self.place[0], grid.y - self.place[1]
        return right * turn + down * slant, down * turn - right * slant

    def depth(self, grid: "Grid") -> Floats:
        """Return about how far within the outline each pixel lies; negative outside of it."""
        along, across = self._axes
        first, second = self.own_frame(grid)
        first, second = first / along, second / across
        return (self.reach(np.arctan2(second, first)) - np.hypot(first, second)) * self.radius

    @property
    def _axes(self) -> tuple[float, float]:
        return self.radius * math.sqrt(self.elongation), self.radius / math.sqrt(self.elongation)


@dataclass(frozen=True)
class Sticker:
    """A coloured disc with a white rim, as is put beside a lesion to mark it.

    Attributes:
        place: x and y of its middle.
        radius: With its rim.
        colour: RGB.
    """

    place: tuple[float, float]
    radius: float
    colour: Colour


@dataclass(frozen=True)
class Mucosa:
    """What is there without a lesion.

    Attributes:
        colour: RGB.
        shading: Strength of slow changes of brightness.
        num_vessels: Fine red lines.
        num_highlights: White reflections of the flash.
        warmth: Of the light; 0 is white.
    """

    colour: Colour
    shading: float
    num_vessels: int
    num_highlights: int
    warmth: float


@dataclass(frozen=True)
class Grid:
    """The pixels of a picture.

    Attributes:
        height: Pixels.
        width: Pixels.
    """

    height: int
    width: int

    @property
    def unit(self) -> int:
        """Pixels of the shorter side."""
        return min(self.height, self.width)

    @cached_property
    def x(self) -> Floats:
        """Of every pixel's middle, [height, width]."""
        line = (np.arange(self.width) + 0.5 - self.width / 2) / self.unit
        return np.broadcast_to(line, (self.height, self.width))

    @cached_property
    def y(self) -> Floats:
        """Likewise."""
        line = (np.arange(self.height) + 0.5 - self.height / 2) / self.unit
        return np.broadcast_to(line[:, None], (self.height, self.width))

    def pixels(self, points: Floats) -> Floats:
        """Return points [P, 2] in pixels, the middle of the first one being 0, 0."""
        return points * self.unit + np.array([self.width, self.height]) / 2 - 0.5


def _noise(rng: np.random.Generator, grid: Grid, cells: int) -> Floats:
    """Return smooth noise of mean 0 and standard deviation 1, [height, width]: about so many cells a unit."""
    shape = [max(2, round(cells * length / grid.unit)) for length in (grid.height, grid.width)]
    coarse = rng.standard_normal(shape)
    smooth = cv2.resize(coarse, (grid.width, grid.height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((smooth - smooth.mean()) / max(smooth.std(), 1e-9))


def draw(
    grid: Grid,
    mucosa: Mucosa,
    lesions: tuple[Lesion, ...],
    sticker: Sticker | None,
    rng: np.random.Generator,
) -> Picture:
    """Draw a photograph, uint8 [height, width, 3].

    Args:
        grid: Its size.
        mucosa: The background.
        lesions: On it.
        sticker: On it; or None.
        rng: Of everything that is not described by the other arguments.
    """
    picture = _draw_mucosa(grid, mucosa, rng)
    for lesion in lesions:
        picture = _draw_lesion(picture, grid, lesion, rng)
    picture = _draw_highlights(picture, grid, mucosa.num_highlights, rng)
    if sticker is not None:
        picture = _draw_sticker(picture, grid, sticker)
    fall_off = 1 - 0.35 * (grid.x**2 + grid.y**2)
    light = np.array([1 + mucosa.warmth, 1.0, 1 - mucosa.warmth])
    picture = gaussian_filter(picture, (0.5, 0.5, 0)) * fall_off[..., None] * light
    picture = picture + 0.012 * rng.standard_normal(picture.shape)
    return np.clip(255 * picture + 0.5, 0, 255).astype(np.uint8)


def _draw_mucosa(grid: Grid, mucosa: Mucosa, rng: np.random.Generator) -> Floats:
    shading = mucosa.shading * (_noise(rng, grid, 3) + 0.4 * _noise(rng, grid, 12))
    redness = 0.02 * _noise(rng, grid, 6)
    fine = 0.012 * _noise(rng, grid, 60)
    picture = np.array(mucosa.colour) + (shading + fine)[..., None]
    picture = picture + redness[..., None] * np.array([0.3, -1.0, -0.8])
    for _ in range(mucosa.num_vessels):
        picture = picture - _vessel(grid, rng)[..., None] * np.array([0.10, 0.22, 0.20])
    return np.asarray(picture)


def _vessel(grid: Grid, rng: np.random.Generator) -> Floats:
    """Return the strength of a fine winding line, [height, width]."""
    num_steps = 90
    bends = gaussian_filter1d(rng.standard_normal(num_steps), 6) * 0.5
    headings = rng.uniform(0, 2 * math.pi) + np.cumsum(bends)
    x = rng.uniform(-0.6, 0.6) + np.cumsum(np.cos(headings)) * 0.008
    y = rng.uniform(-0.6, 0.6) + np.cumsum(np.sin(headings)) * 0.008
    line = np.zeros((grid.height, grid.width))
    columns, rows = np.rint(grid.pixels(np.stack([x, y], axis=1))).astype(int).T
    inside = (rows >= 0) & (rows < grid.height) & (columns >= 0) & (columns < grid.width)
    line[rows[inside], columns[inside]] = 1
    width = rng.uniform(0.002, 0.005) * grid.unit
    line = gaussian_filter(line, width)
    return np.asarray(line / max(line.max(), 1e-9) * rng.uniform(0.2, 0.8))


def _draw_lesion(picture: Floats, grid: Grid, lesion: Lesion, rng: np.random.Generator) -> Floats:
    depth = lesion.depth(grid)
    cover = 1 / (1 + np.exp(-np.clip(depth / _EDGE, -30, 30)))[..., None]
    rim = np.exp(-((depth + 0.015) ** 2) / (2 * 0.02**2))[..., None]
    picture = picture + lesion.halo * rim * _HALO_SHIFT
    grains = _noise(rng, grid, 34)
    streaks = _streaks(lesion, grid, rng)
    texture = lesion.grains * grains + lesion.streaks * streaks + 0.02 * _noise(rng, grid, 8)
    inner = picture + np.array(lesion.shift) + texture[..., None]
    return np.asarray(cover * inner + (1 - cover) * picture)


def _streaks(lesion: Lesion, grid: Grid, rng: np.random.Generator) -> Floats:
    """Return noise that is long along the lesion's longer axis, mean 0 and standard deviation 1."""
    along, across = lesion.own_frame(grid)
    coarse = zoom(rng.standard_normal((24, 72)), 2, order=1)  # [48, 144], of a field of 1.2 x 1.2 units
    places = [(along / 1.2 + 0.5) * 47, (across / 1.2 + 0.5) * 143]
    values = map_coordinates(coarse, places, order=1, mode="reflect")
    return np.asarray((values - values.mean()) / max(values.std(), 1e-9))


def _draw_highlights(picture: Floats, grid: Grid, number: int, rng: np.random.Generator) -> Floats:
    for _ in range(number):
        x, y = rng.uniform(-0.5, 0.5, 2)
        long, short = rng.uniform(0.006, 0.03), rng.uniform(0.003, 0.01)
        distance = ((grid.x - x) / long) ** 2 + ((grid.y - y) / short) ** 2
        shine = 0.8 * np.exp(-distance)[..., None]
        picture = picture * (1 - shine) + shine
    return picture


def _draw_sticker(picture: Floats, grid: Grid, sticker: Sticker) -> Floats:
    distance = np.hypot(grid.x - sticker.place[0], grid.y - sticker.place[1])
    for radius, colour in ((sticker.radius, _WHITE), (0.8 * sticker.radius, sticker.colour)):
        cover = np.clip((radius - distance) * grid.unit + 0.5, 0, 1)[..., None]
        picture = cover * np.array(colour) + (1 - cover) * picture
    return picture
