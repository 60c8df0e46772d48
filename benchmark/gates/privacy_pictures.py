"""Pictures of the privacy gate: synthetic images beside the training images they resemble, and attack scores."""

from pathlib import Path

from benchmark.gates.inputs import VerdictInputs
from benchmark.gates.model import Picture
from benchmark.gates.privacy_evidence import FOLDER, Evidence, PrivacyData, Space
from medsynth.classify.neighbours.memorisation import threshold_of
from medsynth.classify.neighbours.pixel_copies import PixelCopies
from medsynth.classify.neighbours.results import shown_queries
from medsynth.report.neighbour_figures import Panel, distances_figure, neighbours_figure

_NUM_SHOWN = 6
NEAREST, SCORES = "nearest.png", "attack_scores.png"


def draw_pictures(inputs: VerdictInputs, data: PrivacyData, evidence: Evidence) -> list[Picture]:
    """Draw both pictures into out_dir/privacy, and return them for the page."""
    folder = inputs.out_dir / FOLDER
    return [_nearest(folder / NEAREST, data, evidence), _scores(folder / SCORES, evidence)]


def _nearest(path: Path, data: PrivacyData, evidence: Evidence) -> Picture:
    num_images = len(data.synthetic.data)
    copies = PixelCopies.none(num_images) if evidence.copies is None else evidence.copies
    shown = shown_queries(data.train, [data.synthetic], [evidence.found], [copies], evidence.distances.threshold)
    shown = shown[:_NUM_SHOWN]
    title = "Synthetic images, and the training images nearest to them"
    neighbours_figure(path, shown, title=f"{title}, the most suspicious first")
    num_copies = int(copies.is_copy.sum())
    caption = (
        f"The {len(shown)} most suspicious of {num_images:,} synthetic images (left), copies by their pixels "
        f"first ({num_copies:,} in all), then by distance to the nearest training image. Right of each: real training "
        "images with their distance; 0 is a copy."
    )
    alternative = (
        f"{len(shown)} rows, each a synthetic image and the real training images most like it. {num_copies:,} of "
        f"{num_images:,} are copies by their pixels; {evidence.distances.num_flagged:,} lie nearer to a training image "
        "than 95 % of the held-out images do."
    )
    return Picture("nearest", title, caption, alternative, path.read_bytes(), is_private=True)


def _scores(path: Path, evidence: Evidence) -> Picture:
    distances = Panel(
        "distance to the nearest training image",
        evidence.found.distances,
        evidence.held_out_found.distances,
        evidence.distances.threshold,
    )
    distances_figure(path, [distances, *(_panel(space) for space in evidence.spaces)])
    aucs = ", ".join(f"{space.calibrated.auc.value:.3f} by {space.name}" for space in evidence.spaces)
    caption = (
        "Above, how near images lie to training images: synthetic ones should lie no nearer than held-out real ones. "
        "Below, what the membership attack goes by, of training and of held-out images; small values say `member`. "
        f"The two curves should lie over each other. AUC: {aucs}."
    )
    alternative = f"Histograms of distances and attack scores. The attack's AUC is {aucs}; 0.5 is a coin."
    return Picture("attack_scores", "Distances and attack scores", caption, alternative, path.read_bytes())


def _panel(space: Space) -> Panel:
    members, controls = space.members.calibrated.distances, space.controls.calibrated.distances
    label = f"score of the membership attack by {space.name} (small: member)"
    return Panel(label, members, controls, threshold_of(controls), name="training")
