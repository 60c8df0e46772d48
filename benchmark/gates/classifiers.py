"""The classifiers that the gates hold against each other: where they lie, and the commands that make them.

All of them are trained with the settings and the seed of the one that is there already, the real one first.
"""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.gates.augmented import augmented_digest, augmented_dir, write_augmented
from benchmark.gates.inputs import VerdictInputs
from benchmark.steps import ROOT, Step, run_step
from medsynth.classify.evaluation.predictions import PREDICTIONS, RESULTS
from medsynth.classify.experiment import fake_results_folder, real_results_folder
from medsynth.classify.testing import TEST_FOLDER
from medsynth.errors import DataError
from medsynth.files import read_json
from medsynth.networks.trained_classifier import TRAIN_FOLDER
from medsynth.runs import CONFIG_NAME, DONE_NAME

REAL, SYNTHETIC, BOTH = "real", "synthetic", "real and synthetic"
_DEFAULT_SEED = 1
# The folder of config.ini for all of them, so that what config.json does not hold is the same, too.
_MODEL_DIR = "classifier_real"


@dataclass(frozen=True)
class Classifier:
    """One of the classifiers, trained or not.

    Attributes:
        key: REAL, SYNTHETIC or BOTH.
        results: Its results folder.
        digest: SHA-256 of the training images' checksums as they are now; None where there are none.
        train: The command that trains it.
        test: The command that tests it on data_dir/test.
    """

    key: str
    results: Path
    digest: str | None
    train: Step
    test: Step

    @property
    def test_folder(self) -> Path:
        """Where the test's files lie."""
        return self.results / TEST_FOLDER

    @property
    def is_tested(self) -> bool:
        """Whether its test is there."""
        return all((self.test_folder / name).is_file() for name in (PREDICTIONS, RESULTS))

    @property
    def settings(self) -> dict[str, Any]:
        """What config.json of its training says; nothing where there is none."""
        return _settings(self.results)

    @property
    def is_outdated(self) -> bool:
        """Whether it was trained on other images than there are now; False where that cannot be known."""
        known = self.settings.get("data.train_images_sha256")
        return known is not None and self.digest is not None and known != self.digest


def classifiers(inputs: VerdictInputs) -> dict[str, Classifier]:
    """Return the three classifiers by key: REAL, SYNTHETIC, BOTH."""
    places = {
        REAL: real_results_folder(inputs.data_dir, inputs.resolution),
        SYNTHETIC: fake_results_folder(inputs.results_dir),
        BOTH: real_results_folder(augmented_dir(inputs), inputs.resolution),
    }
    digests = {
        REAL: inputs.real["train"].digest,
        SYNTHETIC: inputs.synthetic["train"].digest if "train" in inputs.synthetic else None,
        BOTH: augmented_digest(inputs),
    }
    known = next((found for key in (REAL, SYNTHETIC) if (found := _settings(places[key]))), {})
    seed, resolution = str(known.get("random_seed", _DEFAULT_SEED)), str(inputs.resolution)
    settings = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in known.items()
        if key.startswith("train.")
    ]
    options = tuple(part for setting in settings for part in ("--set", setting))
    model_dir = ROOT / _MODEL_DIR
    made = {}
    for key, results in places.items():
        script = "classifier_fake" if key == SYNTHETIC else "classifier_real"
        images = {REAL: inputs.data_dir, SYNTHETIC: inputs.results_dir, BOTH: augmented_dir(inputs)}[key]
        tested = (inputs.data_dir, images) if key == SYNTHETIC else (images,)
        made[key] = Classifier(
            key,
            results,
            digests[key],
            Step(
                f"train a classifier on {key} images",
                (f"{script}/train.py", "train", model_dir, images, seed, resolution, *options),
                results / TRAIN_FOLDER / DONE_NAME,
            ),
            Step(
                f"test the classifier of {key} images on real ones",
                (f"{script}/test.py", "test", model_dir, *tested, seed, resolution),
                results / TEST_FOLDER / RESULTS,
            ),
        )
    return made


def commands_for(inputs: VerdictInputs, missing: list[Classifier]) -> tuple[str, ...]:
    """Return what to run so that these classifiers are there, a command line each, from the repository's folder."""
    lines = [
        shlex.join(["python3", str(step.command[0]), *map(_shown, step.command[1:])])
        for classifier in missing
        if classifier.key != BOTH
        for step in (classifier.train, classifier.test)
        if step is classifier.test or not step.result.is_file()
    ]
    if any(classifier.key == BOTH for classifier in missing):
        lines.append(f"{inputs.command} --train")
    return tuple(lines)


def _shown(argument: str | Path) -> str:
    return _MODEL_DIR if argument == ROOT / _MODEL_DIR else str(argument)


def train_missing(inputs: VerdictInputs) -> None:
    """Train and test whichever of the three classifiers is missing; what was stopped goes on.

    Raises:
        StepFailedError: A command failed; it has said why.
        DataError: There are no synthetic training images, or a classifier is there that learnt from other ones.
    """
    if not inputs.label_names:
        return
    found = classifiers(inputs).values()
    for classifier in found:
        if classifier.is_outdated:
            raise DataError(
                "This classifier was trained on other images than there are now; remove its folder, and run the same "
                "command again.",
                received=f"images with sha256 {classifier.settings['data.train_images_sha256']}",
                path=classifier.results,
            )
    work = [one for one in found if not _is_done(one)]
    for number, classifier in enumerate(work):
        if classifier.key == BOTH:
            write_augmented(inputs)
        steps = [classifier.test] if classifier.train.result.is_file() else [classifier.train, classifier.test]
        for part, step in enumerate(steps, start=2 - len(steps)):
            print(f"\n[{2 * number + part + 1}/{2 * len(work)}] {step.title}", flush=True)
            run_step(step)


def _is_done(classifier: Classifier) -> bool:
    return classifier.is_tested and classifier.train.result.is_file()


def _settings(results: Path) -> dict[str, Any]:
    path = results / TRAIN_FOLDER / CONFIG_NAME
    settings = read_json(path) if path.is_file() else {}
    return settings if isinstance(settings, dict) else {}
