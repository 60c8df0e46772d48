"""What cxpl.py of classifier_real and classifier_fake does.

Settings, classifier and images are read and checked before TensorFlow is loaded.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsynth.classify.attribution.images import FOLDER, FirstTestImages, ListedImages, read_listed_images
from medsynth.classify.config import AttributionConfig, apply_overrides, read_config
from medsynth.classify.testing import TEST_FOLDER, require_as_trained
from medsynth.config import flatten
from medsynth.errors import UsageError
from medsynth.files import make_folder, write_array, write_json
from medsynth.networks.trained_classifier import TrainedClassifier, read_classifier
from medsynth.progress import Progress

OUTPUT_FOLDER, RESULTS = "cxpl", "cxpl.json"
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Request:
    """What cxpl.py was asked for.

    Attributes:
        model_dir: The folder of config.ini.
        results: The classifier's results folder.
        test_split: data_dir/test, for `num_from_test`; None where it is not needed.
        num_from_test: Make the table of images from this many rows of the test csv; None reads the one that is there.
        coarse_to_fine: Estimate every tile, and compute only those where the estimate does not do.
        prepare: Bring images of another size to the network's.
        overrides: `key=value` each.
        resolution: Must be the training's; None where the command line does not name it.
    """

    model_dir: Path
    results: Path
    test_split: Path | None
    num_from_test: int | None
    coarse_to_fine: bool
    prepare: bool
    overrides: list[str]
    resolution: int | None = None

    @property
    def images_folder(self) -> Path:
        """Where the table of images lies."""
        return self.results / TEST_FOLDER / FOLDER

    @property
    def folder(self) -> Path:
        """Where everything is written."""
        return self.results / TEST_FOLDER / OUTPUT_FOLDER


def attribute(request: Request, *, dry_run: bool = False) -> None:
    """Make an attribution map of every listed image and write maps, arrays and pictures into `request.folder`.

    Raises:
        MedsynthError: Unusable settings, classifier or images.
    """
    config = apply_overrides(read_config(request.model_dir), request.overrides, "cxpl")
    trained = read_classifier(request.results, use_best_weights=config.test.use_best_weights)
    # precision is a setting of both; here it is the maps'.
    known = flatten(config)
    of_training = [one for one in request.overrides if f"cxpl.{one.partition('=')[0]}" not in known]
    require_as_trained(trained, config, of_training, request.resolution or trained.resolution)
    _require_whole_tiles(trained, config.cxpl)
    if request.num_from_test is not None and request.test_split is not None:
        listing = FirstTestImages.open(request.images_folder, request.test_split, trained, request.num_from_test)
        if not dry_run:
            listing.write()
    images = None
    if not dry_run or request.num_from_test is None:
        images = read_listed_images(request.images_folder, trained, prepare=request.prepare)
    if dry_run or images is None:
        num_images = request.num_from_test if images is None else len(images)
        print(f"would map {num_images} images of {request.images_folder} with {trained.weights} into {request.folder}")
        return
    print(f"building the network of {trained.weights}", flush=True)
    _attribute(request, trained, config.cxpl, images)


def _require_whole_tiles(trained: TrainedClassifier, config: AttributionConfig) -> None:
    if trained.image_dimension % config.downsample_factor:
        raise UsageError(
            f"downsample_factor must divide the {trained.image_dimension} pixels a side that the network sees.",
            received=config.downsample_factor,
        )


def _attribute(request: Request, trained: TrainedClassifier, config: AttributionConfig, images: ListedImages) -> None:
    from medsynth.classify.attribution.coarse_to_fine import CoarseToFine  # noqa: PLC0415
    from medsynth.classify.attribution.maps import MaskedScores, attribution_map, exact_effects  # noqa: PLC0415
    from medsynth.networks.imagenet_input import preprocess  # noqa: PLC0415

    network = trained.build(config.precision)
    scores = MaskedScores(network, config.downsample_factor, config.batchsize_cxpl)
    effects_of: Callable[..., Floats]
    if request.coarse_to_fine:
        effects_of = CoarseToFine(scores, config.computed_share).effects
    else:
        effects_of = lambda *arguments: exact_effects(scores, *arguments)  # noqa: E731
    tiles = scores.tiles_per_side**2
    progress = Progress("attribution maps", len(images) * tiles, "tiles")
    inputs, maps, whole = [], [], []
    for number, (pixels, truth) in enumerate(zip(images.pixels, images.truth.astype(np.float64), strict=True)):
        image = preprocess(pixels[None], trained.image_dimension, trained.resize).numpy()[0]
        effects = effects_of(image, truth, progress.advance)
        progress.update((number + 1) * tiles, images.names[number])
        inputs.append(image)
        whole.append(scores.whole(image))
        maps.append(
            attribution_map(effects, config.downsample_factor, log=config.log_transform, normalise=config.normalise)
        )
    progress.close()
    outputs = Outputs(images, np.stack(inputs), np.stack(maps), np.stack(whole))
    facts = {
        "classifier": trained.description,
        "weights": trained.weights.name,
        "weights_sha256": trained.weights_digest(),
        "coarse_to_fine": request.coarse_to_fine,
        **asdict(config),
        "network_calls": scores.num_calls,
        "tiles": tiles * len(images),
    }
    _write(make_folder(request.folder), trained.label_names, outputs, facts)
    print(f"{len(images)} attribution maps in {request.folder}")


@dataclass(frozen=True)
class Outputs:
    """What was computed.

    Attributes:
        images: What it was computed from.
        inputs: As the network is fed, float32 [N, D, D, 3].
        maps: float64 [N, D, D, 1].
        scores: Of the whole images, [N, L].
    """

    images: ListedImages
    inputs: npt.NDArray[np.float32]
    maps: Floats
    scores: npt.NDArray[np.float32]


def _write(folder: Path, label_names: tuple[str, ...], outputs: Outputs, facts: dict[str, Any]) -> None:
    from medsynth.report.attribution_figures import Explained, index_figure, overlay_figure  # noqa: PLC0415

    images = outputs.images
    # Of an earlier run, perhaps of more images.
    for path in (folder / RESULTS, *folder.glob("overlay_*.png")):
        path.unlink(missing_ok=True)
    arrays = (("y_cx_nn.npy", images.truth), ("x_cx_nn.npy", outputs.inputs), ("attr_nn.npy", outputs.maps))
    for name, array in arrays:
        write_array(folder / name, array)
    explained = [
        Explained(
            Path(name).name,
            pixels,
            values[..., 0],
            tuple(zip(label_names, truth.tolist(), scores.tolist(), strict=True)),
        )
        for name, pixels, values, truth, scores in zip(
            images.names, images.pixels, outputs.maps, images.truth, outputs.scores, strict=True
        )
    ]
    progress = Progress("pictures", len(explained), "images")
    for number, one in enumerate(explained):
        overlay_figure(folder / f"overlay_{number:04d}.png", one, unit=_unit(facts))
        progress.advance()
    index_figure(folder / "index.png", explained)
    progress.close()
    rows = [
        {"image": one.name, "picture": f"overlay_{number:04d}.png", "sum": float(one.values.sum()),
         "largest": float(one.values.max())}
        for number, one in enumerate(explained)
    ]  # fmt: skip
    write_json(folder / RESULTS, facts | {"images": rows})


def _unit(facts: dict[str, Any]) -> str:
    unit = "rise of the cross-entropy where a tile is masked"
    if facts["log_transform"]:
        unit = f"log(1 + {unit})"
    return f"{unit}, as a share of the map" if facts["normalise"] else unit
