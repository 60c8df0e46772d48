"""Made-up twelve-lead electrocardiograms on grid paper, drawn from formulas.

A heart is a dipole, a vector in millivolts along x (to the patient's left), y (to the feet)
and z (to the back). Every wave of a beat is a direction times a Gaussian in time:

    dipole(t) = sum over beats k, waves w of  vector_w exp(-((t - r_k) / sqrt(RR) - centre_w)^2 / (2 width_w^2))

with r_k the times of the R waves and RR their mean distance in seconds; the waves of the QRS
complex keep their times whatever the rate (no square root). A lead is a fixed row of numbers
times the dipole, so that Einthoven's law (I + III = II) holds and ischaemia of one wall shows
mirrored in the leads opposite to it.

Sources: the sum of Gaussians, their places and the square root of RR: McSharry et al., A dynamical
model for generating synthetic electrocardiogram signals, IEEE Trans. Biomed. Eng. 50 (2003),
doi:10.1109/TBME.2003.808805, Table I. The leads: Dower et al., On deriving the electrocardiogram from
vectorcardiographic leads, Clin. Cardiol. 3 (1980), doi:10.1002/clc.1980.3.2.87. The vectors are
made up, to look like a textbook's.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

VESSELS = ("trunk", "LAD", "lcx", "RCA")
MIN_SIZE, MAX_SIZE, SIZE_STEP = 64, 512, 8
MM_PER_SECOND, MM_PER_MILLIVOLT = 25.0, 10.0

# Dower's lead vectors; the other four limb leads follow from I and II.
_DOWER = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}


def _lead_vectors() -> dict[str, Floats]:
    vectors = {name: np.array(vector) for name, vector in _DOWER.items()}
    one, two = vectors["I"], vectors["II"]
    augmented = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    return vectors | augmented


LEAD_VECTORS = _lead_vectors()


@dataclass(frozen=True)
class _Wave:
    """A Gaussian of a healthy beat: its vector in mV, its centre and width in s from the R wave (RR of 1 s)."""

    vector: tuple[float, float, float]
    centre: float
    width: float


# Q, R and S are three views of one turn: to the right and front, to the left and feet, to the back.
_WAVES = {
    "P": _Wave((0.06, 0.11, -0.02), -0.167, 0.028),
    "Q": _Wave((-0.22, -0.06, -0.24), -0.026, 0.010),
    "R": _Wave((1.00, 0.80, 0.20), 0.0, 0.013),
    "S": _Wave((-0.10, -0.20, 0.62), 0.028, 0.012),
    "T": _Wave((0.26, 0.20, -0.17), 0.270, 0.052),
}
_QRS = frozenset("QRS")
_HEALTHY_AXIS = math.degrees(math.atan2(_WAVES["R"].vector[1], _WAVES["R"].vector[0]))
_HYPERTROPHY = (0.75, 0.15, 0.65)  # mV added to R at full strength: the left ventricle, left and behind
_ST = (0.15, 0.065)  # centre and width of the shift between S and T, s
_QRS_CENTRES = (-0.026, 0.0)  # where a scar takes voltage away

# The wall that a vessel feeds, as seen from the heart's centre, and for the trunk away from
# both other walls of the left ventricle: aVR up, most others down.
TERRITORIES: dict[str, tuple[float, float, float]] = {
    "trunk": (-0.75, -0.65, 0.10),
    "LAD": (0.15, -0.05, -0.98),
    "lcx": (0.85, -0.35, 0.40),
    "RCA": (-0.25, 0.97, 0.05),
}


@dataclass(frozen=True)
class Heart:
    """What a strip shows of one patient.

    Attributes:
        heart_rate: Beats per minute.
        rate_variation: Standard deviation of the distance between beats over its mean.
        axis: Of the dipole's R wave in the frontal plane, degrees; 0 points left, 90 to the feet. Dower's limb leads
            are no regular hexagon: they show 0 as about -10, 39 (the default) as 65 and 90 as 100.
        voltage: Multiplies every wave of a healthy beat.
        p_height: Multiplies the P wave.
        t_height: Multiplies the T wave.
        qrs_width: Multiplies the duration of the QRS complex.
        hypertrophy: Of the left ventricle, 0 to 1: larger R in V5, deeper S in V1, T turned away.
        injury: mV of ST shift towards the territory of each of VESSELS.
        scar: mV of Q wave away from the territory of each of VESSELS.
    """

    heart_rate: float
    rate_variation: float = 0.02
    axis: float = _HEALTHY_AXIS
    voltage: float = 1.0
    p_height: float = 1.0
    t_height: float = 1.0
    qrs_width: float = 1.0
    hypertrophy: float = 0.0
    injury: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    scar: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)


def beat_times(heart: Heart, first: float, duration: float, rng: np.random.Generator) -> Floats:
    """Return the times of R waves, s, float64 [B]: one before 0, one at `first`, and on to beyond `duration`."""
    mean = 60 / heart.heart_rate
    num_beats = math.ceil(duration / mean * 1.3) + 3
    deviations = np.clip(rng.standard_normal(num_beats), -2.5, 2.5)
    intervals = mean * (1 + heart.rate_variation * deviations)
    return first - intervals[0] + np.concatenate([[0.0], np.cumsum(intervals)])


def _gaussian(times: Floats, centre: float, width: float) -> Floats:
    return np.exp(-0.5 * ((times - centre) / width) ** 2)


def dipole(heart: Heart, times: Floats, r_times: Floats) -> Floats:
    """Return the heart's dipole in mV, float64 [3, T].

    Args:
        heart: Whose.
        times: s, [T].
        r_times: Times of the R waves, s, [B].
    """
    since = times[None, :] - r_times[:, None]  # [B, T]
    stretched = since / math.sqrt(60 / heart.heart_rate)
    turn = math.radians(heart.axis - _HEALTHY_AXIS)
    rotation = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    heights = {"P": heart.p_height, "T": heart.t_height}
    total = np.zeros((3, times.size))
    for name, wave in _WAVES.items():
        vector = rotation @ np.array(wave.vector) * heart.voltage * heights.get(name, 1.0)
        if name == "R":
            vector = vector + heart.hypertrophy * np.array(_HYPERTROPHY)
        if name == "T":
            vector = vector - heart.hypertrophy * 0.35 * np.array(_HYPERTROPHY)
            vector = vector - 0.6 * _sum_over_walls(heart.scar)
        if name in _QRS:
            bell = _gaussian(since, wave.centre * heart.qrs_width, wave.width * heart.qrs_width)
        else:
            bell = _gaussian(stretched, wave.centre, wave.width)
        total += np.outer(vector, bell.sum(axis=0))  # [3] x [T]
    total += np.outer(_sum_over_walls(heart.injury), _gaussian(stretched, *_ST).sum(axis=0))
    for centre in _QRS_CENTRES:
        lost = _gaussian(since, centre * heart.qrs_width, 0.013 * heart.qrs_width).sum(axis=0)
        total -= np.outer(_sum_over_walls(heart.scar), lost)
    return total


def _sum_over_walls(amounts: tuple[float, ...]) -> Floats:
    """Return mV towards each territory, added up as a vector, float64 [3]."""
    return np.array(amounts) @ np.array([TERRITORIES[name] for name in VESSELS])


@dataclass(frozen=True)
class _Layout:
    """Where the leads stand; lengths in mm.

    Attributes:
        columns: Names of the leads of each column, from the top; 2.5 s each.
        rhythm: The lead of a long strip below, or None.
        height: Of the paper.
        row_height: From one row's baseline to the next.
    """

    columns: tuple[tuple[str, ...], ...]
    rhythm: str | None
    height: float
    row_height: float

    @property
    def width(self) -> float:
        """Of the paper: the calibration pulses and the columns."""
        return _MARGIN + len(self.columns) * _COLUMN + 2.0

    @property
    def baselines(self) -> list[float]:
        """Heights of the rows' zero lines, from the top."""
        num_rows = len(self.columns[0]) + (self.rhythm is not None)
        return [self.row_height * (row + 0.6) for row in range(num_rows)]

    @property
    def groups(self) -> list[tuple[tuple[str, ...], list[float], float, float]]:
        """Leads that are recorded at once: names, baselines, left end and seconds of each group."""
        seconds = _COLUMN_SECONDS
        groups = [
            (names, self.baselines[: len(names)], _MARGIN + column * _COLUMN, seconds)
            for column, names in enumerate(self.columns)
        ]
        if self.rhythm is not None:
            groups.append(((self.rhythm,), self.baselines[-1:], _MARGIN, len(self.columns) * seconds))
        return groups


_COLUMN_SECONDS = 2.5
_COLUMN = _COLUMN_SECONDS * MM_PER_SECOND
_PULSE_LEFT, _MARGIN = 1.2, 9.0  # of the calibration pulse and of the first column
_LIMB, _CHEST = ("I", "II", "III", "aVR", "aVL", "aVF"), ("V1", "V2", "V3", "V4", "V5", "V6")
# Three rows of four and a rhythm strip are what a clinic prints. Squeezed into a small square, a beat of it
# is three pixels wide; six rows of two, the other usual form, have twice as many.
_THREE_BY_FOUR = _Layout((_LIMB[:3], _LIMB[3:], _CHEST[:3], _CHEST[3:]), "II", 142.0, 35.0)
_SIX_BY_TWO = _Layout((_LIMB, _CHEST), None, 128.0, 20.5)
_LARGE = 128  # pixels, from which on three by four is drawn
_NAMED = 160  # pixels, from which on the letters of the leads' names can be read


@dataclass(frozen=True)
class Sheet:
    """How one strip was recorded, printed and photographed.

    Attributes:
        first_r: Time of the first R wave in every group of leads, s: the recorder starts shortly before a beat.
        wander: Amplitude of the baseline's drift, mV.
        noise: Standard deviation of muscle and mains noise, mV.
        rotation: Clockwise turn of the paper, degrees.
        shift_x: Of the paper to the right, mm.
        shift_y: Of the paper downwards, mm.
        paper: Grey value of blank paper, 0 to 1.
        pen: Grey value of the trace.
        grid: How much darker than paper a line of the grid is.
        light: How much brighter one side is than the other; along `light_angle`, radians.
        light_angle: See `light`.
        grain: Standard deviation of a pixel's noise.
    """

    first_r: float
    wander: float
    noise: float
    rotation: float
    shift_x: float
    shift_y: float
    paper: float
    pen: float
    grid: float
    light: float
    light_angle: float
    grain: float


def draw_sheet(rng: np.random.Generator) -> Sheet:
    """Return how a strip comes out."""
    uniform = rng.uniform(size=9)
    normal = np.clip(rng.standard_normal(3), -2, 2)

    def between(index: int, low: float, high: float) -> float:
        return float(low + (high - low) * uniform[index])

    return Sheet(
        first_r=between(0, 0.33, 0.41),
        wander=between(1, 0.01, 0.06),
        noise=between(2, 0.004, 0.016),
        rotation=0.35 * float(normal[0]),
        shift_x=0.6 * float(normal[1]),
        shift_y=0.4 * float(normal[2]),
        paper=between(3, 0.88, 0.97),
        pen=between(4, 0.02, 0.14),
        grid=between(5, 0.16, 0.28),
        light=between(6, 0.0, 0.06),
        light_angle=between(7, 0.0, 2 * math.pi),
        grain=between(8, 0.005, 0.015),
    )


@dataclass(frozen=True)
class _Paper:
    """Where a point of the paper, in mm, lies in the final picture: turned, shifted, and squeezed into a square."""

    size: int
    layout: _Layout
    sheet: Sheet

    @property
    def pixels_per_mm(self) -> Floats:
        """Along x and y, float64 [2]: different ones, as for a scan of a sheet that is no square."""
        return self.size / np.array([self.layout.width, self.layout.height])

    def to_pixels(self, points: Floats) -> Floats:
        """Return the place of points in mm, [..., 2], in final pixels, float64 [..., 2]."""
        centre, shift, cosine, sine = self._movement()
        x, y = np.moveaxis(points - centre, -1, 0)
        turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
        return (turned + centre + shift) * self.pixels_per_mm

    def to_mm(self, pixels: Floats) -> Floats:
        """Undo `to_pixels`."""
        centre, shift, cosine, sine = self._movement()
        x, y = np.moveaxis(pixels / self.pixels_per_mm - centre - shift, -1, 0)
        return np.stack([cosine * x + sine * y, cosine * y - sine * x], axis=-1) + centre

    def _movement(self) -> tuple[Floats, Floats, float, float]:
        centre = np.array([self.layout.width / 2, self.layout.height / 2])
        angle = math.radians(self.sheet.rotation)
        return centre, np.array([self.sheet.shift_x, self.sheet.shift_y]), math.cos(angle), math.sin(angle)


_GRID_DISTANCES = (1.0, 5.0, 25.0)  # mm; lines of the larger ones lie on those of the smaller
_LEAST_DISTANCE = 2.2  # final pixels between lines of the grid; nearer ones would be a moire, not a grid
_FULL_DISTANCE = 8.0  # final pixels between lines, from which on they are not made fainter
_GRID_WIDTH = 0.5  # final pixels


def _draw_grid(paper: _Paper) -> Floats:
    """Return the grey values of the empty sheet, float64 [size, size]."""
    axis = np.arange(paper.size) + 0.5
    places = paper.to_mm(np.stack(np.meshgrid(axis, axis), axis=-1))  # [size, size, 2], x before y
    grey = np.full((paper.size, paper.size), paper.sheet.paper)
    for distance in _GRID_DISTANCES:
        for along, pixels_per_mm in enumerate(paper.pixels_per_mm):
            spacing = distance * float(pixels_per_mm)
            if spacing < _LEAST_DISTANCE:
                continue
            turns = places[..., along] / distance
            nearest = np.abs(turns - np.round(turns)) * spacing
            covered = np.clip((_GRID_WIDTH + 1) / 2 - nearest, 0, _GRID_WIDTH)  # share of the pixel under a line
            grey -= paper.sheet.grid * min(1.0, spacing / _FULL_DISTANCE) * covered
    return grey


_CANVAS = 800  # pixels a side that the large drawing comes near
_PEN_WIDTH = 1.0  # final pixels
_TEXT_HEIGHT = 7.5  # final pixels
_RATE = 250  # samples a second


@functools.cache
def _font(height: float) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(height)


class _Ink:
    """The traces and letters of a sheet, drawn at several pixels per final pixel."""

    def __init__(self, paper: _Paper) -> None:
        self._paper = paper
        self._factor = max(2, round(_CANVAS / paper.size))
        side = paper.size * self._factor
        self._image = Image.new("L", (side, side), 0)
        self._draw = ImageDraw.Draw(self._image)

    def trace(self, left: float, baseline: float, times: Floats, volts: Floats) -> None:
        """Draw volts (mV, [T]) at times (s, [T]) from a place in mm on."""
        points = np.stack([left + MM_PER_SECOND * times, baseline - MM_PER_MILLIVOLT * volts], axis=1)
        flat = (self._paper.to_pixels(points) * self._factor).ravel().tolist()
        self._draw.line(flat, fill=255, width=max(1, round(_PEN_WIDTH * self._factor)))

    def write(self, left: float, top: float, text: str) -> None:
        """Write at a place in mm."""
        x, y = (self._paper.to_pixels(np.array([[left, top]]))[0] * self._factor).tolist()
        height = max(_TEXT_HEIGHT, 4.0 * float(self._paper.pixels_per_mm[1])) * self._factor
        self._draw.text((x, y), text, fill=255, font=_font(height))

    def reduce(self) -> Floats:
        """Return the share of each final pixel that is covered, float64 [size, size]."""
        return np.asarray(self._image.reduce(self._factor), np.float64) / 255


def _disturb(volts: Floats, times: Floats, sheet: Sheet, rng: np.random.Generator) -> Floats:
    """Return the volts with breathing (a slow sine) and muscle noise, float64 [T]."""
    phase, rate = rng.uniform(0, 2 * math.pi), rng.uniform(0.15, 0.4)
    drift = sheet.wander * np.sin(2 * math.pi * rate * times + phase)
    return volts + drift + sheet.noise * rng.standard_normal(times.size)


_PULSE_TIMES = np.array([0.0, 0.04, 0.04, 0.24, 0.24, 0.3])  # s; calibration: 1 mV for 0.2 s
_PULSE_VOLTS = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])


def render(heart: Heart, size: int, rng: np.random.Generator) -> Picture:
    """Draw a strip, uint8 [size, size].

    From 128 pixels on: three rows of four leads (2.5 s each) and a rhythm strip of lead II (10 s); from 160 on
    with the leads' names. Below: six rows of two leads. The paper runs at 25 mm/s and 10 mm/mV, is drawn
    large and reduced by the mean over areas; a pen is one final pixel wide, so that a trace stays visible.
    Groups of leads are recorded one after another, each from shortly before a beat on. Up to
    the noise of single pixels, equal generators give the same sheet at every size of a layout.

    Args:
        heart: What to show.
        size: Pixels along each side.
        rng: Draws the sheet, the beats and the noise.
    """
    sheet = draw_sheet(rng)
    layout = _THREE_BY_FOUR if size >= _LARGE else _SIX_BY_TWO
    paper = _Paper(size, layout, sheet)
    ink = _Ink(paper)
    for names, baselines, left, seconds in layout.groups:
        times = np.arange(0.0, seconds, 1 / _RATE)
        vectors = dipole(heart, times, beat_times(heart, sheet.first_r, seconds, rng))
        for name, baseline in zip(names, baselines, strict=True):
            ink.trace(left, baseline, times, _disturb(LEAD_VECTORS[name] @ vectors, times, sheet, rng))
            if size >= _NAMED:
                ink.write(left + 1, baseline - 0.5 * layout.row_height, name)
    for baseline in layout.baselines:
        ink.trace(_PULSE_LEFT, baseline, _PULSE_TIMES, _PULSE_VOLTS)
    covered = ink.reduce()
    return _photograph(_draw_grid(paper) * (1 - covered) + sheet.pen * covered, sheet, rng)


def _photograph(grey: Floats, sheet: Sheet, rng: np.random.Generator) -> Picture:
    """Add uneven light and grain to grey values of 0 to 1, [size, size]."""
    axis = (np.arange(len(grey)) + 0.5) / len(grey) - 0.5
    across = axis[None, :] * math.cos(sheet.light_angle) + axis[:, None] * math.sin(sheet.light_angle)
    grey = grey * (1 + sheet.light * across) + sheet.grain * rng.standard_normal(grey.shape)
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)
