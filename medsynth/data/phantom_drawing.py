"""Made-up chest radiographs, drawn from formulas.

Every picture is computed from an `Anatomy` (what stays with a patient), a set of
findings and a random generator. Each finding has one radiological sign, local and
several pixels large even at 32x32, whose side, place, size and contrast vary.

A frontal radiograph is seen as if the patient faced the reader: x grows to the
right of the picture (the patient's left), y grows downwards, both from -1 to 1
over the picture before the patient is shifted, turned and scaled.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.floating]  # float32 in fact; numpy's stubs widen its products with Python numbers

DEFAULT_SIZE = 128
CARDIOMEGALY = "Cardiomegaly"
LUNG_OPACITY = "Lung Opacity"
LUNG_LESION = "Lung Lesion"
PNEUMOTHORAX = "Pneumothorax"
PLEURAL_EFFUSION = "Pleural Effusion"
SUPPORT_DEVICES = "Support Devices"
FINDINGS = (CARDIOMEGALY, LUNG_OPACITY, LUNG_LESION, PNEUMOTHORAX, PLEURAL_EFFUSION, SUPPORT_DEVICES)

# Mean, standard deviation between patients, and between studies of one patient.
# Deviations are cut at two standard deviations, so that no picture leaves its frame.
_ANATOMY_SPREAD = {
    "shift_x": (0.0, 0.11, 0.04),
    "shift_y": (0.03, 0.11, 0.04),
    "rotation": (0.0, 0.06, 0.02),
    "scale": (0.93, 0.05, 0.01),
    "breadth": (1.0, 0.07, 0.01),
    "heart_width": (0.31, 0.02, 0.008),
    "heart_shift": (0.0, 0.06, 0.01),
    "diaphragm": (0.5, 0.115, 0.03),
    "thickness": (0.62, 0.03, 0.01),
    "lucency": (0.4, 0.035, 0.01),
    "exposure": (0.0, 0.045, 0.02),
    "contrast": (1.0, 0.09, 0.03),
    "rib_phase": (0.0, 0.5, 0.02),
}


@dataclass(frozen=True)
class Anatomy:
    """What a patient looks like; lengths are in half picture widths, densities in grey values of 0 to 1.

    Attributes:
        shift_x: Displacement of the body to the right.
        shift_y: Displacement of the body downwards.
        rotation: Clockwise turn of the body, radians.
        scale: Size of the body; 1 fills the picture.
        breadth: Width of the body over its usual width.
        heart_width: Half the width of the healthy heart.
        heart_shift: Displacement of the heart to the right.
        diaphragm: Height of the domes of the diaphragm (y).
        thickness: Grey value of soft tissue.
        lucency: How much darker than soft tissue a lung is.
        exposure: Added to every grey value.
        contrast: Multiplies the distance from middle grey.
        rib_phase: Where the ribs lie, in radians of their spacing.
    """

    shift_x: float
    shift_y: float
    rotation: float
    scale: float
    breadth: float
    heart_width: float
    heart_shift: float
    diaphragm: float
    thickness: float
    lucency: float
    exposure: float
    contrast: float
    rib_phase: float


def _deviate(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return np.clip(rng.standard_normal(len(_ANATOMY_SPREAD)), -2.0, 2.0)


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Return the anatomy of a new patient."""
    deviations = _deviate(rng)
    spread = _ANATOMY_SPREAD.items()
    return Anatomy(**{name: mean + sd * float(z) for (name, (mean, sd, _)), z in zip(spread, deviations, strict=True)})


def at_study(patient: Anatomy, rng: np.random.Generator) -> Anatomy:
    """Return `patient` as positioned and exposed on another day: a small change of every value."""
    deviations = dict(zip(_ANATOMY_SPREAD, _deviate(rng), strict=True))
    changes = {name: _ANATOMY_SPREAD[name][2] * float(z) for name, z in deviations.items()}
    return Anatomy(**{f.name: getattr(patient, f.name) + changes[f.name] for f in fields(Anatomy)})


@dataclass(frozen=True)
class Sign:
    """How one finding shows in one picture; all values are uniform in [0, 1).

    Attributes:
        strength: From barely to plainly visible (sets contrast, and size for most findings).
        side: Which lung: below 0.5 the left of the picture.
        across: Place from the spine to the side of the chest.
        down: Place from the top of the lung to its base.
        size: Extent.
        shape: Elongation, angle or slope.
    """

    strength: float
    side: float
    across: float
    down: float
    size: float
    shape: float

    @property
    def sign_of_x(self) -> float:
        """-1 for the lung at the left of the picture, 1 for the other."""
        return -1.0 if self.side < 0.5 else 1.0


def draw_signs(rng: np.random.Generator) -> dict[str, Sign]:
    """Return a sign for every finding, present or not, so that adding one changes no other draw."""
    values = rng.random((len(FINDINGS), len(fields(Sign))))
    return {name: Sign(*map(float, row)) for name, row in zip(FINDINGS, values, strict=True)}


def _between(low: float, high: float, value: float) -> float:
    return low + (high - low) * value


def _edge(distance: Plane, softness: float) -> Plane:
    """Map a signed distance to 0 (outside) to 1 (inside), over a border of width `softness`."""
    t = np.clip(distance * (1.0 / softness) + 0.5, 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _ellipse(x: Plane, y: Plane, radius_x: float, radius_y: float) -> Plane:
    """Return about the signed distance to an ellipse around the origin, positive inside."""
    radial = np.sqrt((x / radius_x) ** 2 + (y / radius_y) ** 2)
    return (1 - radial) * min(radius_x, radius_y)


def _bump(x: Plane, y: Plane, radius_x: float, radius_y: float) -> Plane:
    """Return a bell of height 1 that is exactly 0 beyond the given radii."""
    return np.maximum(0, 1 - (x / radius_x) ** 2 - (y / radius_y) ** 2) ** 2


def _body_grid(anatomy: Anatomy, size: int) -> tuple[Plane, Plane]:
    """Return the body coordinates x, y of every pixel, each float32 [size, size]."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1
    column = axis[None, :] - anatomy.shift_x
    row = axis[:, None] - anatomy.shift_y
    cosine, sine = math.cos(anatomy.rotation), math.sin(anatomy.rotation)
    x = (column * cosine + row * sine) / (anatomy.scale * anatomy.breadth)
    y = (row * cosine - column * sine) / anatomy.scale
    return x, y


def _coarse_noise(rng: np.random.Generator, size: int, cells: int) -> Plane:
    """Return smooth noise of unit variance at its `cells` x `cells` knots, float32 [size, size]."""
    knots = rng.standard_normal((cells + 1, cells + 1), dtype=np.float32)
    place = np.linspace(0, cells, size, endpoint=False, dtype=np.float32)
    low = place.astype(np.int64)
    weight = place - np.floor(place)
    rows = knots[low] * (1 - weight[:, None]) + knots[low + 1] * weight[:, None]
    return rows[:, low] * (1 - weight) + rows[:, low + 1] * weight  # [size, size]


def _film(density: Plane, anatomy: Anatomy, grain: Plane) -> Picture:
    """Expose: density 0 to 1, and noise, to uint8 grey values."""
    grey = (density - 0.45) * anatomy.contrast + (0.45 + anatomy.exposure) + grain
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)


def _lung_air(x: Plane, y: Plane, anatomy: Anatomy, heart: Plane) -> tuple[Plane, Plane]:
    """Return the share of air along the beam and the chest cavity's depth (positive inside)."""
    lateral = np.abs(x)
    cavity = _ellipse(lateral - 0.44, y - 0.16, 0.345, 0.9)
    # The right dome of the diaphragm (left in the picture) stands higher, above the liver.
    dome = anatomy.diaphragm + 0.03 * np.sign(x)
    floor = dome + 0.9 * (lateral - 0.38) ** 2 - y
    lungs = _edge(cavity, 0.07) * _edge(floor, 0.05)
    return lungs * (1 - heart), cavity


def _heart(x: Plane, y: Plane, anatomy: Anatomy, sign: Sign | None) -> Plane:
    """Return the heart's shadow, 0 to 1; enlarged where the finding is present."""
    # Cardiothoracic ratio: below 0.5 is healthy. The chest is 1.57 wide here.
    half_width = anatomy.heart_width
    if sign is not None:
        half_width += _between(0.12, 0.24, sign.strength)
    height = 0.25 + 0.3 * half_width
    centre_x = 0.13 + anatomy.heart_shift + 0.12 * (half_width - 0.31)
    x, y = x - centre_x, y - (anatomy.diaphragm + 0.02 - 0.8 * height)
    return _edge(_ellipse(x + 0.25 * -y, y, half_width, height), 0.06)


def _effusion(x: Plane, y: Plane, anatomy: Anatomy, sign: Sign) -> Plane:
    """Return fluid at a lung base, 0 to 1: a level that climbs towards the side wall (the meniscus)."""
    lateral = x * sign.sign_of_x
    level = anatomy.diaphragm - _between(0.20, 0.48, 0.5 * (sign.strength + sign.size))
    surface = (level + 0.12) - _between(0.3, 0.6, sign.shape) * lateral
    return _edge(y - surface, 0.08) * (lateral > 0)


def _pneumothorax(x: Plane, y: Plane, cavity: Plane, sign: Sign) -> tuple[Plane, Plane]:
    """Return free air between lung and chest wall, and the fine pleural line at its inner border."""
    lateral = x * sign.sign_of_x
    width = _between(0.13, 0.24, 0.5 * (sign.strength + sign.size))
    # The collapsed lung hangs at its root: the gap is widest at the top or at the side.
    inner = _ellipse(
        lateral - (0.40 - 0.7 * width),
        y - (0.16 + _between(1.2, 0.4, sign.down) * width),
        0.385 - 0.45 * width,
        0.9 - 0.3 * width,
    )
    gap = (1 - _edge(inner, 0.04)) * _edge(cavity - 0.01, 0.05)
    fades = (lateral > 0) * _edge(_between(0.25, 0.5, sign.shape) - y, 0.2)
    line = np.maximum(0, 1 - np.abs(inner) * (1 / 0.02)) * _edge(cavity, 0.05)
    return gap * fades, line * fades


def _lesion(x: Plane, y: Plane, sign: Sign) -> Plane:
    """Return a round, sharply bordered nodule, 0 to 1."""
    radius = _between(0.14, 0.2, sign.size)
    x = x - (sign.sign_of_x * _between(0.3, 0.58, sign.across))
    y = y - _between(-0.42, 0.32, sign.down)
    return _edge(_ellipse(x, y, radius, radius), 0.06)


def _opacity(x: Plane, y: Plane, mottle: Plane, sign: Sign) -> Plane:
    """Return a cloudy patch without a border, 0 to 1, of the size of a lobe."""
    turn = _between(-0.8, 0.8, sign.shape)
    x = x - (sign.sign_of_x * _between(0.32, 0.52, sign.across))
    y = y - _between(-0.35, 0.3, sign.down)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    patch = _bump(along, across, _between(0.42, 0.6, sign.size), _between(0.36, 0.5, sign.size))
    return patch * (1 + 0.25 * mottle)


def _device(x: Plane, y: Plane, sign: Sign) -> Plane:
    """Return a pacemaker below a collar bone and its lead to the heart, 0 to 1."""
    centre_x = sign.sign_of_x * _between(0.36, 0.6, sign.across)
    centre_y = _between(-0.62, -0.3, sign.down)
    turn = _between(-0.5, 0.5, sign.shape)
    dx, dy = x - centre_x, y - centre_y
    along, across = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
    half = _between(0.12, 0.16, sign.size)
    box = np.minimum(half - np.abs(along), 0.8 * half - np.abs(across))
    # The lead runs to the midline and down into the heart: a quarter of an ellipse.
    span, drop = centre_x - 0.12, 0.4 - centre_y
    bow = _ellipse(x - centre_x, y - 0.4, abs(span), drop)
    lead = np.maximum(0, 1 - np.abs(bow) * (1 / 0.018))
    lead *= (dx * span < 0) & (y < 0.4) & (dy > -drop)
    return np.maximum(_edge(box, 0.03), 0.6 * lead)


def _bones(x: Plane, y: Plane, cavity: Plane, anatomy: Anatomy) -> Plane:
    """Return the density that ribs, collar bones and spine add."""
    lateral = np.abs(x)
    arc = y + 0.5 * (lateral - 0.25) ** 2
    ribs = np.maximum(0, np.sin(arc * 30 + anatomy.rib_phase))
    ribs = ribs * _edge(cavity + 0.06, 0.08)
    collar = np.abs(y + 0.62 + 0.22 * (lateral - 0.15))
    collar = np.maximum(0, 1 - collar * (1 / 0.045)) * _edge(0.72 - lateral, 0.1)
    spine = _edge(0.085 - lateral, 0.06) * (1 + 0.25 * np.sin(y * 38))
    return 0.05 * ribs + 0.1 * collar + 0.09 * spine


def render(anatomy: Anatomy, findings: frozenset[str], rng: np.random.Generator, size: int = DEFAULT_SIZE) -> Picture:
    """Draw a frontal chest radiograph, uint8 [size, size], bright where the body is dense.

    The generator is read the same way whatever the findings: two pictures from equal
    generators differ only where a finding shows.

    Args:
        anatomy: The patient as positioned for this study.
        findings: Names out of FINDINGS; empty for a healthy chest.
        rng: Draws signs and noise.
        size: Pixels along each side.
    """
    signs = {name: sign for name, sign in draw_signs(rng).items() if name in findings}
    mottle, markings = _coarse_noise(rng, size, 20), _coarse_noise(rng, size, 24)
    grain = rng.standard_normal((size, size), dtype=np.float32) * 0.03

    x, y = _body_grid(anatomy, size)
    heart = _heart(x, y, anatomy, signs.get(CARDIOMEGALY))
    air, cavity = _lung_air(x, y, anatomy, heart)
    # Vessels fan out from the root of each lung and thin out towards its border.
    vessels = _bump(np.abs(x) - 0.2, y - 0.1, 0.42, 0.6)
    texture = (0.1 * vessels + 0.03 * markings) * air

    free_air: Plane | float = 0.0
    if PLEURAL_EFFUSION in signs:
        sign = signs[PLEURAL_EFFUSION]
        fluid = _effusion(x, y, anatomy, sign)
        air = air * (1 - _between(0.75, 1.0, sign.strength) * fluid)
        texture = texture * (1 - fluid)
    if PNEUMOTHORAX in signs:
        sign = signs[PNEUMOTHORAX]
        gap, line = _pneumothorax(x, y, cavity, sign)
        free_air = gap * air * _between(0.16, 0.24, sign.strength)
        texture = texture * (1 - gap) + 0.14 * line * air
    if LUNG_OPACITY in signs:
        sign = signs[LUNG_OPACITY]
        air = air * (1 - _between(0.65, 0.95, sign.strength) * _opacity(x, y, mottle, sign))

    # Soft tissue: shoulders that narrow to the neck, thinner towards the skin.
    half_width = 0.24 + 0.72 * _edge(y + 0.78, 0.5)
    body = _edge(half_width - np.abs(x), 0.14)
    density = 0.04 + anatomy.thickness * body
    density += _bones(x, y, cavity, anatomy) * body + 0.06 * heart
    density += texture - anatomy.lucency * air - free_air
    if LUNG_LESION in signs:
        sign = signs[LUNG_LESION]
        lesion = _lesion(x, y, sign)
        density += (0.98 - density) * _between(0.5, 0.8, sign.strength) * lesion
    if SUPPORT_DEVICES in signs:
        sign = signs[SUPPORT_DEVICES]
        device = _device(x, y, sign)
        density += (_between(0.88, 1.0, sign.strength) - density) * device
    return _film(density, anatomy, grain)


def render_lateral(anatomy: Anatomy, rng: np.random.Generator, size: int = DEFAULT_SIZE) -> Picture:
    """Draw a chest from the side, uint8 [size, size]. It shows no finding: the suite reads frontal views."""
    x, y = _body_grid(anatomy, size)
    body = _edge(_ellipse(x, y - 0.2, 0.75, 1.6), 0.12)
    lungs = _edge(_ellipse(x, y - 0.1, 0.52, 0.8), 0.08)
    floor = anatomy.diaphragm - 0.35 * x - y
    heart = _edge(_ellipse(x + 0.2, y - 0.3, 0.24, 0.3), 0.08)
    spine = _edge(0.1 - np.abs(x - 0.48 + 0.12 * y * y), 0.06)
    air = lungs * _edge(floor, 0.06) * (1 - heart) * (1 - 0.6 * spine)
    density = 0.04 + anatomy.thickness * body - 0.36 * air
    density += 0.1 * spine * body
    return _film(density, anatomy, rng.standard_normal((size, size), dtype=np.float32) * 0.03)
