"""Small graphs of stages for the grid's tests, and a driver that runs one in a process of its own.

python grid_graph.py grid_dir [--ray ADDRESS]   runs `diamond` there
"""

import sys
from pathlib import Path

from benchmark.grid.costs import Costs
from benchmark.grid.keys import Records
from benchmark.grid.pools import LocalPool, Pool, RayPool
from benchmark.grid.scheduler import Resolver, State, run_stages
from benchmark.grid.stages import In, Stage

SCRIPT = "tests/grid_stage.py"
PRODUCT = "product.txt"


def stage(
    name: str, *needs: str, options: tuple[str, ...] = (), text: str = "", gpus: int = 0, kind: str = ""
) -> Stage:
    inputs = [part for need in needs for part in ("--input", In(need, PRODUCT))]
    return Stage(
        name=name,
        kind=kind or "joined",
        script=SCRIPT,
        arguments=(In(name), text or name, *inputs, *options),
        products=(PRODUCT,),
        needs=needs,
        num_images=10,
        gpus=gpus,
    )


def diamond(**options: tuple[str, ...]) -> list[Stage]:
    """top -> left, right -> bottom; and a stage alone."""
    given = {name: options.get(name, ()) for name in ("top", "left", "right", "bottom", "alone")}
    return [
        stage("top", options=given["top"]),
        stage("left", "top", options=given["left"]),
        stage("right", "top", options=given["right"]),
        stage("bottom", "left", "right", options=given["bottom"]),
        stage("alone", options=given["alone"]),
    ]


def run_graph(grid_dir: Path, stages: list[Stage], pool: Pool | None = None, *, any_code: bool = False) -> State:
    grid_dir.mkdir(parents=True, exist_ok=True)
    resolver, records = Resolver(grid_dir, stages, None), Records(grid_dir.resolve(), any_code=any_code)
    return run_stages(stages, resolver, records, pool or LocalPool(2, [], 1), Costs(), print)


def product_of(state: State, grid_dir: Path, name: str) -> str:
    return (grid_dir / state.done[name].folder / PRODUCT).read_text()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    chosen = RayPool(sys.argv[3]) if "--ray" in sys.argv else LocalPool(2, [], 1)
    slow = ("--seconds", "3")
    run_graph(folder, diamond(left=slow, right=slow, bottom=slow), chosen)
