"""The folder of frames that `create_from_video` makes of clips, and how to know one."""

from pathlib import Path

from medsynth.files import read_json

COMMAND = "create_from_video"
DESCRIPTION_NAME, TABLE_NAME = "frames.json", "frames.csv"


def is_frame_folder(folder: Path) -> bool:
    """Return whether `create_from_video` made a folder, whose TABLE_NAME then says of each frame whose it is.

    Raises:
        DataError: The description that such a folder holds is damaged.
    """
    path = folder / DESCRIPTION_NAME
    if not path.is_file():
        return False
    description = read_json(path)
    return isinstance(description, dict) and description.get("command") == COMMAND
