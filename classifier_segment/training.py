"""A training from settings to a tested run."""

from pathlib import Path
from typing import Any

import keras

from classifier_segment.building import (
    augmentation_of,
    backbone_of,
    build_task,
    choose_device,
    data_settings,
    require_classes,
    segmenter_run,
)
from classifier_segment.data import DataFacts, SegmentData, require_same_classes
from classifier_segment.models.pretrained import IMAGENET
from classifier_segment.records import Trackers, require_wandb
from classifier_segment.runs import BEST_WEIGHTS, Run, begin, folder_for, recorded
from classifier_segment.settings import SEGMENTATION, Settings
from classifier_segment.testing import clusters_of, test_run
from classifier_segment.trainer import Position, TrainingPlan, remove_states, train
from medsynth.config import flatten
from medsynth.data.wording import counted
from medsynth.errors import NetworkError
from medsynth.files import sha256_of
from medsynth.runs import RunFolder


def train_and_test(settings: Settings) -> Run:
    """Train with `settings`, test the best weights, and return the run.

    The same settings and data go on with a run that was stopped; one that came to its end is left as it is.

    Raises:
        MedsynthError: Whatever a user can put right: settings, data, weights, a folder in use, a diverging loss.
    """
    choose_device(settings.train.accelerator)
    keras.utils.clear_session()  # one process may train several, one after the other
    if settings.log.wandb:
        require_wandb()
    _require_networks(settings)
    train_data, val_data = read_training_data(settings)
    require_classes(settings, train_data)
    test_data = _test_data(settings)
    require_same_classes(train_data, val_data, *([] if test_data is None else [test_data]))
    found = _found(settings, train_data, val_data)
    path = folder_for(settings, found)
    with RunFolder(path, recorded(settings, found)) as folder:
        run = begin(path, settings, train_data.class_names)
        if run.is_done:
            folder.log(f"{path} is trained with these settings already; checkpoint.version={run.version} tests it.")
            return run
        folder.log(f"version {run.version}: {path}")
        position = _train(folder, run, settings, train_data, val_data)
        if test_data is not None:
            test_run(run, settings, test_data, log=folder.log)
        else:
            folder.log(f"{settings.data.test} does not exist, so nothing was tested (test.py does it later).")
        folder.mark_done(f"{position.epoch} epochs, best {position.best_epoch}, loss {position.best_loss:.6f}")
        remove_states(path)
    return run


def _require_networks(settings: Settings) -> None:
    """Refuse what is wrong with the networks before images are read, which may take minutes.

    Raises:
        UsageError: No such backbone or segmenter, or ImageNet weights without a file.
        NetworkError: A file that does not exist.
    """
    weights = settings.segmenter.pretrained if settings.kind == SEGMENTATION else backbone_of(settings)[1]
    if weights not in (None, IMAGENET) and not Path(str(weights)).is_file():
        raise NetworkError("A file with weights to start from was expected.", received="no such file", path=weights)
    if settings.is_masked:
        segmenter_run(settings)


def _train(folder: RunFolder, run: Run, settings: Settings, train_data: SegmentData, val_data: SegmentData) -> Position:
    # Not the settings that the run was begun with: logs, threads and places may be others when it goes on.
    for data in (train_data, val_data):
        folder.log(_in_words(data.facts))
    plan = TrainingPlan(
        train=train_data,
        train_examples=train_data.examples(settings.unit),
        val=val_data,
        val_examples=val_data.examples(settings.unit),
        batch_size=settings.train.batch_size,
        max_epochs=settings.train.max_epochs,
        patience=settings.train.patience,
        seed=run.seed,
        augmentation=augmentation_of(settings),
    )
    keras.utils.set_random_seed(run.seed)
    task = build_task(settings, plan.steps_per_epoch)
    if settings.is_masked:
        folder.log(f"masked by {_segmenter_in_words(segmenter_run(settings))}")
    folder.log(
        f"{task.network.name}: {task.network.count_params():,} parameters, seed {run.seed}, "
        f"{counted(len(plan.train_examples), 'example')} an epoch in batches of {plan.batch_size}"
    )
    name = f"{settings.kind}-{run.version}"
    log = settings.log
    trackers = Trackers(run.path, name, flatten(settings), tensorboard=log.tensorboard, wandb=log.wandb)
    try:
        return train(folder, task, plan, trackers)
    finally:
        trackers.close()


def read_training_data(settings: Settings) -> tuple[SegmentData, SegmentData]:
    """Return what a training is trained and validated on."""
    how = data_settings(settings)
    return SegmentData(Path(settings.data.train), how), SegmentData(Path(settings.data.val), how)


def data_digests(train_data: SegmentData, val_data: SegmentData) -> dict[str, str]:
    """Return what tells a training's data from any other."""
    return {"train_digest": train_data.facts.digest, "val_digest": val_data.facts.digest}


def _test_data(settings: Settings) -> SegmentData | None:
    """Return the test images; they are read before the training, so that a fault in them is found before, too."""
    path = Path(settings.data.test)
    if not path.is_file():
        return None
    data = SegmentData(path, data_settings(settings))
    clusters_of(data, data.examples(settings.unit), settings.data.group_by)
    return data


def _found(settings: Settings, train_data: SegmentData, val_data: SegmentData) -> dict[str, Any]:
    """Return digests of all that a training takes from files."""
    found = data_digests(train_data, val_data)
    if settings.kind == SEGMENTATION:
        weights = settings.segmenter.pretrained
    else:
        weights = backbone_of(settings)[1]
        if settings.is_masked:
            found["segmenter_digest"] = sha256_of(segmenter_run(settings).path / BEST_WEIGHTS)
    if weights is not None and Path(weights).is_file():
        found["pretrained_digest"] = sha256_of(Path(weights))
    return found


def _segmenter_in_words(run: Run) -> str:
    own = run.settings
    return f"segmenter {run.version} ({own.model_seg}, segmenter.width={own.segmenter.width}): {run.path}"


def _in_words(facts: DataFacts) -> str:
    classes = ", ".join(f"{name} {facts.images_of_class[name]}" for name in facts.class_names)
    text = f"{facts.path}: {counted(facts.num_images, 'image')} ({classes})"
    if facts.num_empty_masks:
        text += f", {facts.num_empty_masks} without an outline"
    if facts.num_left_out:
        text += f"; {counted(facts.num_left_out, 'image')} left out, without a class or an annotation"
    return text
