"""Made-up lung ultrasound, drawn from formulas in the coordinates of a probe: beam by depth.

A frame is an amplitude a(x, z) >= 0 of the echoes, x in mm along the pleura and z in mm along the beam, times
speckle, compressed and converted to the picture:

    echo = | PSF * (a n) |  with n complex normal,   grey = 1 + (20 log10(echo) + gain) / range, cut to 0 ... 1.

Without structure (a constant) the modulus is Rayleigh distributed: fully developed speckle (Goodman, Some fundamental
properties of speckle, J. Opt. Soc. Am. 66 (1976), doi:10.1364/JOSA.66.001145; in ultrasound Burckhardt, IEEE Trans.
Sonics Ultrason. 25 (1978), doi:10.1109/T-SU.1978.30978). The point spread function (PSF) is a Gaussian, shorter along
the beam than across it.

The signs are those of the consensus of Volpicelli et al., International evidence-based recommendations for
point-of-care lung ultrasound, Intensive Care Med. 38 (2012), doi:10.1007/s00134-012-2513-4: the pleural line below the
ribs, A-lines at the multiples of its depth, B-lines that start there, run along the beam to the bottom, erase A-lines
and move with the lung, and consolidation as tissue below the line with a shredded far edge and air bronchograms.
All numbers are made up, to look like a bedside machine's.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, map_coordinates

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

MIN_SIZE, MAX_SIZE = 64, 512
NUM_BEAMS, NUM_SAMPLES = 144, 320
_MARGIN_BEAMS = 32  # of tissue beside the field of view, which breathing brings into it
_RIB_HEIGHT = 8.0  # mm from a rib's surface to the pleura
_NOISE = 0.0015  # amplitude of the receiver


@dataclass(frozen=True)
class Probe:
    """The field of view.

    Attributes:
        radius: Of the probe's curved surface in mm; 0 for a flat one, whose field is a rectangle.
        half_width: Half of the field: radians of a curved probe, mm of a flat one.
        depth: Of the field along a beam, mm.
    """

    radius: float
    half_width: float
    depth: float

    @property
    def name(self) -> str:
        """`convex` or `linear`."""
        return "convex" if self.radius else "linear"

    def lateral(self, depth: float) -> Floats:
        """Return the place of every beam at a depth, mm along the surface of that depth, [NUM_BEAMS]."""
        across = np.linspace(-self.half_width, self.half_width, NUM_BEAMS)
        return across * (self.radius + depth) if self.radius else across


@dataclass(frozen=True)
class Machine:
    """How echoes become grey.

    Attributes:
        gain: Added to every echo, dB.
        dynamic_range: From black to white, dB.
        axial: Standard deviation of the PSF along the beam, mm.
        lateral: The same across it, in beams.
    """

    gain: float
    dynamic_range: float
    axial: float
    lateral: float


@dataclass(frozen=True)
class Layer:
    """A bright fascia of the chest wall: its depth as a share of the pleura's, a wave, and how bright it is."""

    share: float
    wave: float
    phase: float
    brightness: float


@dataclass(frozen=True)
class Rib:
    """A rib across the field: where it is, half of its width (mm)."""

    place: float
    half_width: float


@dataclass(frozen=True)
class BLine:
    """A vertical artefact that starts at the pleural line: place and width (standard deviation) in mm, amplitude."""

    place: float
    width: float
    strength: float


@dataclass(frozen=True)
class Patch:
    """A consolidation: place and half of its width in mm, depth in mm, amplitude inside, bronchograms, and its edge.

    Attributes:
        place: Of its middle, mm.
        half_width: mm along the pleura.
        depth: Below the pleura in its middle, mm.
        brightness: Amplitude of the tissue inside.
        bronchograms: (place from the middle, share of the depth) of each bright spot of air, both -1 to 1 and 0 to 1.
        edge: Heights and phases of the waves that shred its far edge.
    """

    place: float
    half_width: float
    depth: float
    brightness: float
    bronchograms: tuple[tuple[float, float], ...]
    edge: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class View:
    """What lies under the probe during a clip.

    Attributes:
        pleura: Depth of the pleural line in mm.
        tilt: Slope of the pleural line.
        bend: Its curvature: mm at 20 mm beside the middle.
        roughness: Waves of the pleural line, mm.
        layers: Of the chest wall.
        ribs: With their shadows.
        haze: Amplitude of the reverberation below the pleura.
        reach: Depth in mm over which that falls to 1/e.
        a_lines: Amplitude of the first A-line; 0 for none.
        b_lines: Vertical artefacts.
        patches: Consolidations.
        contact: Places in mm between which the probe touches the skin; beyond, it is dark.
    """

    pleura: float
    tilt: float
    bend: float
    roughness: float
    layers: tuple[Layer, ...]
    ribs: tuple[Rib, ...]
    haze: float
    reach: float
    a_lines: float
    b_lines: tuple[BLine, ...]
    patches: tuple[Patch, ...]
    contact: tuple[float, float]


def _bell(distance: Floats, width: float) -> Floats:
    return np.exp(-0.5 * (distance / width) ** 2)


def _step(value: Floats, softness: float) -> Floats:
    """Return 0 far below 0, 1 far above, and a half at 0."""
    return 0.5 * (1 + np.tanh(value / softness))


def amplitudes(view: View, probe: Probe, slide: float, lift: float) -> tuple[Floats, Floats]:
    """Return how strong the echoes are, from the chest wall and from the lung, float64 [NUM_BEAMS, NUM_SAMPLES] each.

    Args:
        view: What lies there.
        probe: Where its beams run.
        slide: How far breathing has moved the lung along the pleura, mm.
        lift: How much thicker it has made the chest wall, mm.
    """
    x = probe.lateral(view.pleura)[:, None]  # [NUM_BEAMS, 1]
    z = np.linspace(0, probe.depth, NUM_SAMPLES)[None, :]  # [1, NUM_SAMPLES]
    pleura = _pleura(view, x, x - slide) + lift
    below = z - pleura  # [NUM_BEAMS, NUM_SAMPLES], mm
    is_lung = _step(below, 0.4)
    obliqueness = np.clip(1 - (x / (1.25 * np.abs(x).max())) ** 2, 0.15, 1)  # a mirror sends slanting beams away

    wall = _wall(view, x, z, pleura) * (1 - is_lung)
    lung_place = x - slide
    erased = np.zeros_like(x)
    lung = view.haze * np.exp(-np.maximum(below, 0) / view.reach)
    # The chest wall once more, one pleural depth further down, as reverberation shows it.
    lung = lung + 0.12 * _wall(view, x, below, pleura) * np.exp(-np.maximum(below, 0) / view.reach)
    for line in view.b_lines:
        profile = _bell(lung_place - line.place, line.width)
        erased = np.maximum(erased, profile)
        rungs = 1 + 0.35 * np.sin(2 * math.pi * below / 2.6 + 5 * line.place)
        lung = lung + line.strength * profile * rungs * np.exp(-np.maximum(below, 0) / 120)
    reflections = np.zeros_like(below)
    for order in range(2, 6):
        sharpness = 0.55 + 0.22 * order
        reflections += 0.62 ** (order - 2) * _bell(z - order * pleura, sharpness)
    lung = lung + view.a_lines * reflections * obliqueness * (1 - erased)
    line_strength = 2.2 * obliqueness * np.ones_like(below)
    for patch in view.patches:
        lung, line_strength = _consolidated(patch, lung, line_strength, lung_place, below)
    lung = lung * is_lung + line_strength * _bell(below, 0.55)
    light = _light(view, x, z, pleura)
    return (wall + _rib_surfaces(view, x, z, pleura)) * light, lung * light


def _pleura(view: View, x: Floats, lung_place: Floats) -> Floats:
    """Return the depth of the pleural line, mm [NUM_BEAMS, 1]."""
    smooth = view.pleura + view.tilt * x + view.bend * (x / 20) ** 2
    return smooth + view.roughness * (np.sin(lung_place / 2.3) + 0.7 * np.sin(lung_place / 0.9 + 1))


def _wall(view: View, x: Floats, z: Floats, pleura: Floats) -> Floats:
    """Return the amplitude of skin, fat and muscle, [NUM_BEAMS, NUM_SAMPLES]."""
    total = 0.17 + 1.1 * np.exp(-np.abs(z) / 1.3)
    for layer in view.layers:
        depth = layer.share * pleura + layer.wave * np.sin(x / 9 + layer.phase)
        total = total + layer.brightness * _bell(z - depth, 0.45) * (0.6 + 0.4 * np.sin(x / 5 + 3 * layer.phase))
    return total


def _rib_depth(rib: Rib, x: Floats, pleura: Floats) -> Floats:
    return pleura - _RIB_HEIGHT + 3.5 * ((x - rib.place) / rib.half_width) ** 2


def _rib_surfaces(view: View, x: Floats, z: Floats, pleura: Floats) -> Floats:
    total = np.zeros((x.shape[0], z.shape[1]))
    for rib in view.ribs:
        inside = _step(rib.half_width - np.abs(x - rib.place), 0.8)
        total += 1.6 * inside * _bell(z - _rib_depth(rib, x, pleura), 0.6)
    return total


def _light(view: View, x: Floats, z: Floats, pleura: Floats) -> Floats:
    """Return how much sound arrives: 1, but nearly 0 behind ribs and without contact, [NUM_BEAMS, NUM_SAMPLES]."""
    left, right = view.contact
    contact = np.clip(_step(x - left, 3.0) * _step(right - x, 3.0), 0.003, 1)
    light = np.repeat(contact, z.shape[1], axis=1)
    for rib in view.ribs:
        inside = _step(rib.half_width - np.abs(x - rib.place), 1.8)
        light *= 1 - 0.997 * inside * _step(z - _rib_depth(rib, x, pleura) - 1.0, 0.6)
    return light


def _consolidated(
    patch: Patch, lung: Floats, line_strength: Floats, place: Floats, below: Floats
) -> tuple[Floats, Floats]:
    """Return the lung's amplitude and the pleural line's with a consolidation in them."""
    offset = (place - patch.place) / patch.half_width  # [NUM_BEAMS, 1]
    bulge = np.sqrt(np.clip(1 - offset**2, 0, 1))
    shreds = sum(
        height * np.sin(number * 4.1 * offset + phase) for number, (height, phase) in enumerate(patch.edge, start=1)
    )
    edge = patch.depth * bulge * (1 + shreds)  # [NUM_BEAMS, 1]
    is_beam = _step(1 - np.abs(offset), 0.06)
    inside = is_beam * _step(edge - below, 0.8)
    beyond = is_beam * (1 - _step(edge - below, 0.8))
    tissue = np.full_like(below, patch.brightness)
    for across, share in patch.bronchograms:
        spot = _bell(offset - across, 0.07) * _bell(below - share * patch.depth, 0.9)
        tissue = tissue + 1.4 * spot
    shred = 1.0 * is_beam * _bell(below - edge, 0.9)
    # Tissue lets sound through: what lies behind it is brighter, and comet tails start at its torn edge.
    rays = 1 + np.sin(5.3 * offset + patch.edge[0][1]) * np.sin(12.1 * offset + patch.edge[1][1])
    tails = 0.14 * rays * np.exp(-np.maximum(below - edge, 0) / 35)
    lung = lung * (1 - inside) * (1 - 0.75 * beyond) + tissue * inside + shred + tails * beyond
    return lung, line_strength * (1 - 0.8 * is_beam)


def _complex_normal(rng: np.random.Generator, num_beams: int) -> npt.NDArray[np.complex128]:
    values = rng.standard_normal((2, num_beams, NUM_SAMPLES)) / math.sqrt(2)
    return np.asarray(values[0] + 1j * values[1])


@dataclass(frozen=True)
class Scatterers:
    """What speckle comes from, the same in every frame of a clip: complex normal numbers.

    Attributes:
        wall: complex128 [NUM_BEAMS, NUM_SAMPLES], at rest below the probe.
        lung: complex128 [NUM_BEAMS + margins, NUM_SAMPLES], carried along by breathing.
    """

    wall: npt.NDArray[np.complex128]
    lung: npt.NDArray[np.complex128]


def draw_scatterers(rng: np.random.Generator) -> Scatterers:
    """Return the scatterers of a clip."""
    return Scatterers(_complex_normal(rng, NUM_BEAMS), _complex_normal(rng, NUM_BEAMS + 2 * _MARGIN_BEAMS))


def render(
    view: View,
    probe: Probe,
    machine: Machine,
    scatterers: Scatterers,
    rng: np.random.Generator,
    *,
    size: int,
    slide: float = 0.0,
    lift: float = 0.0,
) -> Picture:
    """Return a frame, uint8 [size, size]; black outside the field of view.

    Args:
        view: What lies under the probe.
        probe: The field of view.
        machine: How echoes become grey.
        scatterers: Of the clip.
        rng: Of this frame: what changes from one to the next without moving.
        size: Pixels along each side.
        slide: How far breathing has moved the lung, mm.
        lift: How much thicker it has made the chest wall, mm.
    """
    wall, lung = amplitudes(view, probe, slide, lift)
    beam_distance = float(np.diff(probe.lateral(view.pleura)[:2])[0])
    shift = int(np.clip(round(slide / beam_distance), -_MARGIN_BEAMS, _MARGIN_BEAMS))
    first = _MARGIN_BEAMS - shift
    fresh = _complex_normal(rng, NUM_BEAMS)
    field = wall * scatterers.wall + lung * (0.9 * scatterers.lung[first : first + NUM_BEAMS] + 0.436 * fresh)
    spread = (machine.lateral, machine.axial * NUM_SAMPLES / probe.depth)
    # A filter of weights that sum to 1 makes noise fainter; by this it keeps its power.
    power = math.sqrt(4 * math.pi * spread[0] * spread[1])
    blurred = gaussian_filter(field.real, spread) + 1j * gaussian_filter(field.imag, spread)
    echo = np.hypot(np.abs(blurred) * power, _NOISE * (1 + 2 * np.linspace(0, 1, NUM_SAMPLES)))
    level = 1 + (20 * np.log10(echo) + machine.gain) / machine.dynamic_range
    return _scan_convert(np.clip(level, 0, 1), probe, size)


def _scan_convert(level: Floats, probe: Probe, size: int) -> Picture:
    """Return grey values by beam and depth as a picture, uint8 [size, size], the skin at the top."""
    if probe.radius:
        top = probe.radius * math.cos(probe.half_width)
        height = probe.radius + probe.depth - top
        width = 2 * (probe.radius + probe.depth) * math.sin(probe.half_width)
    else:
        top, height, width = 0.0, probe.depth, 2 * probe.half_width
    mm_per_pixel = max(height, width) / size
    across = (np.arange(size) + 0.5 - size / 2) * mm_per_pixel
    down = (np.arange(size) + 0.5) * mm_per_pixel + top
    x, y = np.meshgrid(across, down)
    if probe.radius:
        beam, depth = np.arctan2(x, y), np.hypot(x, y) - probe.radius
    else:
        beam, depth = x, y
    rows = (beam / probe.half_width + 1) / 2 * (NUM_BEAMS - 1)
    columns = depth / probe.depth * (NUM_SAMPLES - 1)
    grey = map_coordinates(level, [rows, columns], order=1, mode="constant", cval=0.0)
    return (255 * grey + 0.5).astype(np.uint8)
