"""Time the dataset builder against the published tool's steps in one process, at 390x320 pixels a picture.

python3 speed/build_dataset.py

Before anything is timed, both sides must write the same records of the same pictures. Then they take
turns, each time as a command of its own, start and imports included. A round in which other programs
took more than a tenth of the cores does not count. Afterwards: the builder's memory at ten times as many
pictures, and the split stage on a made-up table of CheXpert's size.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import rivals
from PIL import Image

from medsynth.data.phantom import COLUMNS, DATASET_NAME, NUM_METADATA_COLUMNS
from medsynth.data.tfrecords import RecordFile

HERE = Path(__file__).resolve().parent
BUILDER = HERE.parent / "build_dataset" / "dataset_tool.py"
PARTS = ("speed", "memory", "split")
WIDTH, HEIGHT, JPEG_QUALITY = 390, 320, 90
FEW, MANY = 2_000, 20_000  # pictures between which memory is compared
NUM_DISTINCT = 300  # pictures; more paths are further names of the same files
LARGEST_SHARE_OF_CHANGED_PIXELS = 0.001
SECONDS_BETWEEN_SAMPLES = 0.05
FINDINGS = COLUMNS[NUM_METADATA_COLUMNS:]

# A table of CheXpert's size. The most frequent combinations of findings have as many frontal images as
# the published numbers ask for; the rest spread over a long tail, as there.
NUM_ROWS, NUM_PATIENTS, NUM_LATERAL, NUM_UNLABELLED = 223_414, 65_000, 32_387, 3_300
MOST_FREQUENT = (
    *(16_500, 10_200, 8_900, 6_900, 5_900, 5_200, 4_700, 4_300, 4_000, 3_700),
    *(3_500, 3_300, 3_100, 3_000, 2_900, 2_800, 2_700, 2_600, 2_500, 2_400),
)
NUM_RARE = 2_000


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="*", default=PARTS, help="what to measure (default: all)")
    parser.add_argument("--images", type=int, default=4000, help="pictures in a turn (default 4000)")
    parser.add_argument("--workers", type=int, default=rivals.num_cores(), help="of the builder (default: a core each)")
    parser.add_argument("--rounds", type=int, default=3, help="undisturbed rounds wanted (default 3)")
    parser.add_argument("--minutes", type=float, default=2.0, help="turns take at most about this (default 2)")
    parser.add_argument("--folder", help="where temporary files go; a disk, since one in memory would count as such")
    return parser


class Command:
    """A program that writes a dataset, run anew in every turn (a `rivals.Contender`; a step is an image).

    Args:
        name: Its row in the table.
        command: Starts it; the folder to write is added in place of "TARGET".
        target: That folder; it is removed after every turn.
    """

    def __init__(self, name: str, command: list[str], target: Path) -> None:
        self.name, self.target = name, target
        self.turns: list[tuple[float, float]] = []
        self.cpu_seconds: list[float] = []  # per image, turn by turn; user and system, workers included
        self._command = [str(target) if word == "TARGET" else word for word in command]
        self._peak_mib: dict[int, float] = {}

    def take_turn(self, num_steps: int) -> None:
        """Write a dataset of `num_steps` images, and remove it."""
        self.run(num_steps)
        shutil.rmtree(self.target)

    def run(self, num_images: int) -> None:
        """Write a dataset of `num_images`, and keep it.

        Raises:
            SystemExit: The command has failed; says how.
        """
        busy, start = rivals.busy_seconds(), time.perf_counter()
        peaks: dict[int, float] = {}
        with tempfile.TemporaryFile("w+") as messages:
            process = subprocess.Popen(self._command, stdout=messages, stderr=messages)
            ended = False
            while not ended:
                time.sleep(SECONDS_BETWEEN_SAMPLES)
                # A process counts anew when it starts its program, so the last figure is its own.
                peaks |= peaks_of_tree(process.pid)
                ended_id, status, usage = os.wait4(process.pid, os.WNOHANG)
                ended = ended_id != 0
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                messages.seek(0)
                raise SystemExit(f"{self.name} failed:\n{messages.read()}")
        cpu_seconds = usage.ru_utime + usage.ru_stime
        others = rivals.busy_seconds() - busy - cpu_seconds
        self.turns.append((seconds / num_images, max(others / seconds / rivals.num_cores(), 0.0)))
        self.cpu_seconds.append(cpu_seconds / num_images)
        if sum(peaks.values()) > self.peak_mib():
            self._peak_mib = peaks

    def peak_mib(self) -> float:
        """Return the memory of the turn that took most: each process's peak (VmHWM), summed over the processes."""
        return sum(self._peak_mib.values())


def peaks_of_tree(process_id: int) -> dict[int, float]:
    """Return the most memory, in MiB, that a process and each of its descendants have held so far."""
    peaks = {}
    try:
        status = Path(f"/proc/{process_id}/status").read_text()
        if "VmHWM:" in status:  # not so once it has ended
            peaks[process_id] = int(status.split("VmHWM:")[1].split()[0]) / 1024
        for children in Path(f"/proc/{process_id}/task").glob("*/children"):
            for child in children.read_text().split():
                peaks |= peaks_of_tree(int(child))
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended meanwhile
    return peaks


def write_pictures(folder: Path) -> list[Path]:
    """Write grey JPEG files of structure and noise, and return their paths."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    paths = []
    folder.mkdir()
    for number in range(NUM_DISTINCT):
        waves = sum(
            strength * np.sin(fx * x + fy * y + phase)
            for strength, fx, fy, phase in random.uniform((10, -0.1, -0.1, 0), (40, 0.1, 0.1, 6.3), (4, 4))
        )
        pixels = 120 + waves + random.normal(0, 8, (HEIGHT, WIDTH))
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=JPEG_QUALITY)
    return paths


def write_table(raw_dir: Path, paths: list[str], labels: npt.NDArray[np.float64]) -> None:
    """Write a train.csv with these paths and findings [N, 14]: 1, -1, 0 or NaN for an empty cell."""
    table = pd.DataFrame(labels, columns=list(FINDINGS))
    for position, (name, value) in enumerate(
        zip(COLUMNS[:NUM_METADATA_COLUMNS], (paths, "Female", 60, "Frontal", "AP"), strict=True)
    ):
        table.insert(position, name, value)
    folder = raw_dir / DATASET_NAME
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "train.csv", index=False)


def write_input(raw_dir: Path, pictures: list[Path], num_images: int) -> None:
    """Lay out `num_images` pictures as CheXpert-v1.0-small, ten studies a patient, one finding a study."""
    paths = [
        f"{DATASET_NAME}/train/patient{number // 10 + 1:05d}/study{number % 10 + 1}/view1_frontal.jpg"
        for number in range(num_images)
    ]
    for number, path in enumerate(paths):
        (raw_dir / path).parent.mkdir(parents=True)
        os.link(pictures[number % len(pictures)], raw_dir / path)
    labels = np.full((num_images, len(FINDINGS)), np.nan)
    labels[np.arange(num_images), np.random.default_rng(2).integers(len(FINDINGS), size=num_images)] = 1
    write_table(raw_dir, paths, labels)


def write_large_table(raw_dir: Path) -> None:
    """Write a train.csv of CheXpert's size, without pictures."""
    random = np.random.default_rng(3)
    num_labelled = NUM_ROWS - NUM_LATERAL - NUM_UNLABELLED
    patterns = np.zeros((len(MOST_FREQUENT) + NUM_RARE, len(FINDINGS)), bool)
    patterns[0, 0] = True  # "No Finding" stands alone
    codes = 1 + random.permutation(2 ** (len(FINDINGS) - 1) - 1)[: len(patterns) - 1]
    patterns[1:, 1:] = codes[:, None] >> np.arange(len(FINDINGS) - 1) & 1
    weights = 1 / np.arange(10, 10 + NUM_RARE)
    rare = random.choice(NUM_RARE, num_labelled - sum(MOST_FREQUENT), p=weights / weights.sum())
    frontal = np.concatenate([np.repeat(np.arange(len(MOST_FREQUENT)), MOST_FREQUENT), len(MOST_FREQUENT) + rare])
    present = np.concatenate(
        [
            patterns[frontal],
            np.zeros((NUM_UNLABELLED, len(FINDINGS)), bool),
            patterns[random.choice(frontal, NUM_LATERAL)],
        ]
    )
    views = np.repeat(["view1_frontal", "view2_lateral"], [NUM_ROWS - NUM_LATERAL, NUM_LATERAL])
    is_remarked = random.random(present.shape) < 0.1  # uncertain where present, ruled out in words where not
    cells = np.where(present, np.where(is_remarked, -1, 1), np.where(is_remarked, 0, np.nan))
    order = random.permutation(NUM_ROWS)
    every_patient = np.arange(1, NUM_PATIENTS + 1)
    patients = pd.Series(np.sort(np.append(every_patient, random.choice(every_patient, NUM_ROWS - NUM_PATIENTS))))
    studies = patients.groupby(patients).cumcount() + 1
    paths = [
        f"{DATASET_NAME}/train/patient{patient:05d}/study{study}/{view}.jpg"
        for patient, study, view in zip(patients, studies, views[order], strict=True)
    ]
    write_table(raw_dir, paths, cells[order])


class Sides:
    """Makes pictures, and the commands that turn them into datasets.

    Args:
        folder: For everything temporary.
        num_workers: Processes of the builder.
    """

    def __init__(self, folder: Path, num_workers: int) -> None:
        self.folder, self.num_workers = folder, num_workers
        self._pictures = write_pictures(folder / "pictures")

    def raw_dir(self, num_images: int) -> Path:
        """Return a folder with so many pictures."""
        raw_dir = self.folder / f"raw-{num_images}"
        if not raw_dir.exists():
            write_input(raw_dir, self._pictures, num_images)
        return raw_dir

    def builder(self, num_images: int, target: str = "built", *options: str) -> Command:
        """Return dataset_tool.py, told to take every picture."""
        call = ["create_from_xray", "TARGET", str(self.raw_dir(num_images)), "--limit", "0", "--test-val-samples", "0"]
        command = [sys.executable, str(BUILDER), *call, "--workers", str(self.num_workers), *options]
        return Command(f"builder, {self.num_workers} workers", command, self.folder / target)

    def literal(self, num_images: int, target: str = "literal") -> Command:
        """Return the published steps, told to write the splits that the builder makes."""
        labels = f"labels-{num_images}"
        if not (self.folder / labels).exists():
            self.builder(num_images, labels, "--labels-only").run(num_images)
        command = [sys.executable, str(HERE / "build_dataset_literal.py"), str(self.folder / labels), "TARGET"]
        return Command("the published steps, one process", command, self.folder / target)


def prove_equal(sides: Sides, num_images: int) -> str:
    """Compare every record of both sides, and return the difference in words.

    Raises:
        SystemExit: They differ by more than rounding.
    """
    ours, theirs = sides.builder(num_images), sides.literal(num_images)
    for side in (ours, theirs):
        side.run(num_images)
    names = [{path.relative_to(side.target) for path in side.target.rglob("*.tfrecords")} for side in (ours, theirs)]
    num_pixels = num_changed = largest = 0
    for name in names[0] & names[1]:
        files = [RecordFile(side.target / name) for side in (ours, theirs)]
        records = [file.read(range(len(file))).astype(np.int64) for file in files]
        if records[0].shape != records[1].shape:
            raise SystemExit(f"The two sides do not write the same records: {name} differs in their number or shape.")
        difference = np.abs(records[0] - records[1])
        num_pixels, num_changed = num_pixels + difference.size, num_changed + int(np.count_nonzero(difference))
        largest = max(largest, int(difference.max()))
    share = num_changed / max(num_pixels, 1)
    if names[0] != names[1] or num_pixels == 0 or largest > 1 or share >= LARGEST_SHARE_OF_CHANGED_PIXELS:
        raise SystemExit(
            f"The two sides do not write the same records, so nothing is timed: {share:.2%} of the pixels differ, by "
            f"up to {largest}; files on one side only: {sorted(map(str, names[0] ^ names[1]))}."
        )
    for side in (ours, theirs):
        shutil.rmtree(side.target)
    return f"{num_changed:,} of {num_pixels:,} pixels in {len(names[0])} files of records differ, by {largest} at most"


def measure_speed(sides: Sides, num_images: int, num_rounds: int, minutes: float) -> None:
    """Time both sides by turns and print the table."""
    contenders = [sides.builder(num_images), sides.literal(num_images)]
    rounds = rivals.compete(contenders, num_rounds, num_images, minutes * 60)
    ours, theirs = contenders
    print(f"{len(rounds)} of {len(ours.turns)} rounds of {num_images:,} images count")
    print(rivals.table(contenders, rounds, num_images=1, peer=theirs))
    for side in contenders:
        cpu = rivals.spread([1000 * side.cpu_seconds[i] for i in rounds], ".2f")
        print(f"CPU time (user and system) per image, ms: {cpu}, {side.name}")
    ratios = [theirs.cpu_seconds[i] / ours.cpu_seconds[i] for i in rounds]
    print(f"ratio of CPU times: {rivals.spread(ratios, '.2f')}")
    if max(side.turns[i][1] for side in contenders for i in rounds) > rivals.BUSY_SHARE:
        print("THE MACHINE WAS BUSY: other programs took part of the cores, so images/s and ratios prove little;")
        print("CPU times suffer less.")


def measure_memory(sides: Sides) -> None:
    """Print the builder's peak memory at few pictures and at many."""
    peaks = []
    for number in (FEW, MANY):
        builder = sides.builder(number)
        builder.take_turn(number)
        peaks.append(builder.peak_mib())
        seconds, share = builder.turns[0]
        print(
            f"{number:,} images: {peaks[-1]:,.0f} MiB (VmHWM, summed over processes), {1 / seconds:,.1f} images/s, "
            f"CPU {1000 * builder.cpu_seconds[0]:.2f} ms an image, others' share of the cores {share:.0%}",
            flush=True,
        )
    print(f"memory at {MANY:,} images to {FEW:,}: {peaks[1] / peaks[0]:.3f}")


def measure_split(folder: Path, num_rounds: int) -> None:
    """Time the split stage of the three chest commands at CheXpert's size."""
    raw_dir = folder / "table"
    write_large_table(raw_dir)
    script = HERE / "build_dataset_split.py"
    answer = subprocess.run(
        [sys.executable, "-P", str(script), str(raw_dir), str(num_rounds)], stdout=subprocess.PIPE, check=True
    )
    taken = json.loads(answer.stdout)
    print("| command | split stage, s: median (min-max) | CPU s | with csv files and labels, s | CPU s |")
    print("| --- | --- | --- | --- | --- |")
    for name, times in taken.items():
        command = [sys.executable, str(BUILDER), name, "TARGET", str(raw_dir), "--labels-only"]
        whole = Command(name, command, folder / "split")
        for _ in range(num_rounds):
            whole.take_turn(1)
        columns = [*zip(*times, strict=True), [seconds for seconds, _ in whole.turns], whole.cpu_seconds]
        print(f"| {name} | {' | '.join(rivals.spread(column, '.1f') for column in columns)} |", flush=True)


def main() -> None:
    """Measure every part asked for."""
    arguments = build_parser().parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        if {"speed", "memory"} & set(arguments.part):
            print(
                f"chest radiographs, grey JPEG of {WIDTH}x{HEIGHT}, to records of 256x256 down to 4x4; "
                f"{rivals.num_cores()} cores",
                flush=True,
            )
            sides = Sides(folder, arguments.workers)
            if "speed" in arguments.part:
                print(prove_equal(sides, NUM_DISTINCT), flush=True)
                measure_speed(sides, arguments.images, arguments.rounds, arguments.minutes)
            if "memory" in arguments.part:
                measure_memory(sides)
        if "split" in arguments.part:
            print(f"split stage at {NUM_ROWS:,} rows of {NUM_PATIENTS:,} patients", flush=True)
            measure_split(folder, arguments.rounds)


if __name__ == "__main__":
    main()
