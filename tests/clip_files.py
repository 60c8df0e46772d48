"""Tiny clips of each format for tests: a bright, moving sector below still letters."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

HEIGHT, WIDTH = 96, 128
SECTOR = (20, 90, 24, 104)  # top, bottom, left, right: where something moves


def moving_frames(num_frames: int = 6, seed: int = 0, repeats: int = 1, text: str = "NAME 12:00") -> np.ndarray:
    """Return frames uint8 [num_frames * repeats, HEIGHT, WIDTH], each `repeats` times."""
    rng = np.random.default_rng(seed)
    top, bottom, left, right = SECTOR
    frames = []
    for _ in range(num_frames):
        image = Image.new("L", (WIDTH, HEIGHT))
        ImageDraw.Draw(image).text((2, 1), text, fill=255)
        frame = np.asarray(image).copy()
        coarse = rng.integers(40, 240, ((bottom - top) // 5, (right - left) // 5)).astype(np.uint8)
        frame[top:bottom, left:right] = np.asarray(Image.fromarray(coarse).resize((right - left, bottom - top)))
        frames += [frame] * repeats
    return np.array(frames)


def write_gif(path: Path, frames: np.ndarray, milliseconds: int = 100) -> Path:
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others, duration=milliseconds, loop=0, optimize=False)
    return path


def write_video(path: Path, frames: np.ndarray, fps: float = 10, codec: str = "", faststart: bool = False) -> Path:
    """Write frames, grey [N, H, W] or RGB [N, H, W, 3], with the codec that the ending suggests."""
    import imageio_ffmpeg

    codec = codec or ("mjpeg" if path.suffix == ".avi" else "libx264")
    rgb = frames if frames.ndim == 4 else np.repeat(frames[..., None], 3, axis=3)
    height, width = rgb.shape[1:3]
    params = ["-movflags", "+faststart"] if faststart else []
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=fps, codec=codec, quality=9, macro_block_size=1, output_params=params,
        pix_fmt_out="yuvj420p" if codec == "mjpeg" else "yuv420p", ffmpeg_log_level="error",
    )  # fmt: skip
    writer.send(None)
    for frame in rgb:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
    return path


def write_dicom(path: Path, frames: np.ndarray, *, compress: str = "", **elements: Any) -> Path:
    """Write frames, grey [N, H, W] of any depth or RGB [N, H, W, 3], as multi-frame ultrasound."""
    from tests.dicom_files import save, slice_dataset

    is_colour = frames.ndim == 4
    dataset = slice_dataset(
        frames[0],
        **{
            "Modality": "US",
            "NumberOfFrames": len(frames),
            "FrameTime": 50,
            "RescaleIntercept": None,
            "RescaleSlope": None,
            "PatientID": "US-1",
            "SamplesPerPixel": 3 if is_colour else 1,
            **elements,
        },
    )
    dataset.PixelData = elements.get("PixelData", frames.tobytes())
    if compress:
        dataset.compress(compress, generate_instance_uid=False)
    return save(dataset, path)


def truncate(path: Path, share: float = 0.6) -> Path:
    """Cut a file off."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
