"""The split stage alone, for build_dataset.py: which images go where, without reading or writing one.

python3 -P speed/build_dataset_split.py RAW_DIR ROUNDS

-P, since this folder holds a build_dataset.py that would hide the package of that name. Prints JSON: by
command, [seconds, CPU seconds] of every round.
"""

import json
import sys
import time

from build_dataset.commands import COMMANDS


def main() -> None:
    """Time the three chest commands by turns."""
    raw_dir, num_rounds = sys.argv[1], int(sys.argv[2])
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS if name.endswith("_from_xray")}
    for _ in range(num_rounds):
        for name, times in taken.items():
            start, cpu_start = time.perf_counter(), time.process_time()
            COMMANDS[name].benchmark.choose(COMMANDS[name].source.deal(raw_dir))
            times.append((time.perf_counter() - start, time.process_time() - cpu_start))
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
