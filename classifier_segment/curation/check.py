"""Whether a COCO file holds together, and whether its images can be read."""

from collections.abc import Iterator
from pathlib import Path

from classifier_segment.coco import (
    CocoDataset,
    ImageRecord,
    Problem,
    find_problems,
    image_folder,
    read_coco_image,
    read_document,
    typed,
)
from classifier_segment.curation.census import format_census, take_census
from medsynth.data.wording import counted
from medsynth.errors import DataError
from medsynth.parallel import ordered_map
from medsynth.progress import Progress

_MOST_SHOWN = 50


def check(path: Path, folder: str, num_workers: int) -> str:
    """Look at every record and every image file, and return what there is, as text.

    Args:
        path: The COCO file.
        folder: Of the images; see `image_folder`.
        num_workers: Processes that read images.

    Raises:
        DataError: Something is wrong. All of it has been printed.
    """
    document = read_document(path)
    problems = list(find_problems(document))
    if not problems:
        dataset = typed(document, path)
        print(format_census(take_census(dataset)))
        problems = list(_file_problems(dataset, image_folder(path, folder), num_workers))
    for problem in problems[:_MOST_SHOWN]:
        print(problem)
    if problems:
        hidden = len(problems) - _MOST_SHOWN
        more = f" ({hidden:,} more are not shown)" if hidden > 0 else ""
        raise DataError(
            f"The dataset has to be mended{more}; what is wrong stands above.",
            received=counted(len(problems), "problem"),
            path=path,
        )
    return f"{path}: all {counted(len(document['images']), 'image')} can be read, and every record fits."


def _file_problems(dataset: CocoDataset, folder: Path, num_workers: int) -> Iterator[Problem]:
    progress = Progress("reading the images", len(dataset.images), "images")
    tasks = ((folder, image) for image in dataset.images)
    for problem in ordered_map(_file_problem, tasks, num_workers):
        progress.advance()
        if problem is not None:
            yield problem
    progress.close()
    if not dataset.images:
        yield Problem(str(dataset.path), "A dataset has images.", "none")


def _file_problem(task: tuple[Path, ImageRecord]) -> Problem | None:
    folder, image = task
    try:
        read_coco_image(folder, image)
    except DataError as error:
        return Problem(f"image {image.id} ({folder / image.file_name})", error.expected, error.received)
    return None
