"""A stage of the grid's tests: joins a text and its inputs into a product.

python grid_stage.py out_dir text [--input FILE] [--seconds S] [--until FILE] [--fail] [--touch FILE]
"""

import argparse
import os
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("text")
    parser.add_argument("--input", type=Path, action="append", default=[])
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--until", type=Path)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--upper", action="store_true")
    arguments = parser.parse_args()
    print("working on", arguments.text, flush=True)
    (arguments.out_dir / "pid.txt").write_text(str(os.getpid()))
    (arguments.out_dir / "gpus.txt").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))
    end = time.monotonic() + arguments.seconds
    while time.monotonic() < end or (arguments.until is not None and not arguments.until.exists()):
        time.sleep(0.02)
    if arguments.fail:
        raise SystemExit("grid_stage.py: error: it was told to fail. Received: --fail")
    text = " ".join([arguments.text, *(path.read_text() for path in arguments.input)])
    (arguments.out_dir / "product.txt").write_text(text.upper() if arguments.upper else text)


if __name__ == "__main__":
    main()
