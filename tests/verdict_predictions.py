"""Made predictions and inputs for the gates, without any network."""

from pathlib import Path

import numpy as np
from scipy.special import expit

from benchmark.gates.inputs import ExtractorRequest, SplitFacts, VerdictInputs
from benchmark.gates.thresholds import load_thresholds
from medsynth.classify.evaluation.predictions import RESULTS, Predictions, write_predictions
from medsynth.data.labels import LabelTable
from medsynth.files import write_json

NAMES = ("Edema", "Fracture", "Pneumonia")
THRESHOLDS = load_thresholds()
IMAGES_PER_PATIENT = 2


def make_inputs(folder: Path, **more) -> VerdictInputs:
    """Return inputs whose folders need not exist."""
    facts = {name: SplitFacts(100, 50, f"sha of {name}") for name in ("train", "valid", "test")}
    known = {
        "application": "prog-GAN",
        "resolution": 16,
        "data_dir": folder / "data",
        "results_dir": folder / "gan",
        "synthetic_dir": folder / "gan" / "inference",
        "out_dir": folder / "gan" / "verdict",
        "label_names": NAMES,
        "held_out": ("test", "valid"),
        "patients_known": True,
        "extractor": ExtractorRequest("random", None, is_of_domain=False),
        "real": facts,
        "synthetic": facts,
    }
    return VerdictInputs(**(known | more))


def make_paths(num_patients: int) -> tuple[str, ...]:
    return tuple(
        f"raw/chest/train/patient{number // IMAGES_PER_PATIENT:05d}/view{number % IMAGES_PER_PATIENT}.jpg"
        for number in range(num_patients * IMAGES_PER_PATIENT)
    )


def make_results(
    num_patients: int, strengths: tuple[float, ...], *, seed: int = 0, prevalence: float = 0.3
) -> list[Predictions]:
    """Return classifiers of this strength, the distance of positives and negatives in standard deviations.

    Half of a score's noise is that of its patient, and half of that is the same for all classifiers.
    """
    rng = np.random.default_rng(seed)
    num_images = num_patients * IMAGES_PER_PATIENT
    truth = (rng.random((num_images, len(NAMES))) < prevalence).astype(np.float64)
    common = rng.normal(size=(num_patients, len(NAMES))).repeat(IMAGES_PER_PATIENT, axis=0)
    names = ("real", "prog-GAN", "real + prog-GAN")
    paths = make_paths(num_patients)
    patients = tuple(path.split("/")[3] for path in paths)
    results = []
    for name, strength in zip(names, strengths, strict=False):
        noise = (common + rng.normal(size=truth.shape)) / np.sqrt(2)
        scores = expit(strength * truth + noise - 1)
        facts = {"trained_on": name, "initialisation": "random initialisation", "image_dimension": 64}
        results.append(Predictions(Path(name), facts, paths, patients, NAMES, truth, scores))
    return results


def write_test(folder: Path, result: Predictions) -> None:
    """Write a test's files, as far as the gates read them."""
    table = LabelTable(result.paths, result.names, result.truth.astype(np.float32))
    write_predictions(folder / "predictions.csv", table, result.patients, result.scores.astype(np.float32))
    write_json(folder / RESULTS, result.facts)
