"""The rules of CONTRIBUTING.md that a machine can check."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APPS = sorted(
    path.name
    for path in ROOT.iterdir()
    if path.name.startswith(("GAN_", "classifier_")) or path.name in ("build_dataset", "benchmark")
)
SCRIPT_NAMES = (
    *("train.py", "test.py", "evaluate.py", "generate.py", "export.py", "dataset_tool.py"),
    *(
        "compare.py",
        "seeds.py",
        "control.py",
        "demo.py",
        "run.py",
        "verdict.py",
        "known_cases.py",
        "reader_study.py",
        "nn.py",
        "cxpl.py",
        "xplain.py",
        "convert_weights.py",
        "experiments.py",
    ),
)
SCRIPTS = [
    *(ROOT / app / name for app in APPS for name in SCRIPT_NAMES if (ROOT / app / name).is_file()),
    # Called as modules, `python -m scripts.check-dataset`: the names are published.
    *sorted((ROOT / "classifier_segment" / "scripts").glob("*-*.py")),
]
MODULES = sorted(path for top in ("medsynth", *APPS) for path in (ROOT / top).rglob("*.py"))

# What a layer may import of the suite, beside itself. The order is the direction: down only.
BASE = (
    "medsynth",
    "medsynth.errors",
    "medsynth.files",
    "medsynth.config",
    "medsynth.processor",
    "medsynth.parallel",
    "medsynth.progress",
    "medsynth.runs",
    "medsynth.app",
)
MIDDLE = ("medsynth.data", "medsynth.training", "medsynth.networks")
ALLOWED = {
    "medsynth": BASE,
    "medsynth.data": (*BASE, *MIDDLE),
    "medsynth.training": (*BASE, *MIDDLE),
    "medsynth.networks": (*BASE, *MIDDLE),
    "medsynth.metrics": (*BASE, *MIDDLE),
    "medsynth.report": (*BASE, *MIDDLE),
    "medsynth.gan": (*BASE, *MIDDLE, "medsynth.metrics", "medsynth.report"),
    "medsynth.classify": (*BASE, *MIDDLE, "medsynth.metrics", "medsynth.report"),
}


def layer_of(module: str) -> str:
    """Return `medsynth.gan` for `medsynth.gan.steps`, `GAN_prog` for `GAN_prog.loss`, `medsynth` for its base files."""
    parts = module.split(".")
    if parts[0] != "medsynth":
        return parts[0]
    is_package = len(parts) > 1 and (ROOT / "medsynth" / parts[1]).is_dir()
    return ".".join(parts[:2]) if is_package else "medsynth"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Return every module of the suite that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("medsynth", *APPS)}


def test_there_is_something_to_check() -> None:
    assert {
        "GAN_cpd",
        "GAN_dcgan",
        "GAN_joint",
        "GAN_prog",
        "benchmark",
        "build_dataset",
        "classifier_fake",
        "classifier_real",
        "classifier_segment",
    } <= set(APPS)
    assert len(SCRIPTS) >= 9
    assert {"check-dataset.py", "split-dataset.py"} <= {path.name for path in SCRIPTS}
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_downwards(path: Path) -> None:
    own = layer_of(module_name(path))
    for imported in imports_of(path):
        layer = layer_of(imported)
        if own in APPS:
            assert layer == own or layer not in APPS, f"an application imports another: {imported}"
        elif layer == "medsynth":
            continue
        else:
            assert layer == own or layer in ALLOWED[own], f"{own} must not import {imported}"


def test_the_base_and_the_dataset_builder_load_without_tensorflow() -> None:
    tops = [ROOT / "build_dataset", ROOT / "medsynth" / "data"]
    for path in [*(ROOT / "medsynth").glob("*.py"), *(file for top in tops for file in top.rglob("*.py"))]:
        assert not re.search(r"^\s*(import|from) (tensorflow|keras)\b", path.read_text(), re.M), path


@pytest.mark.parametrize("path", SCRIPTS, ids=module_name)
def test_scripts_parse_and_call(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 80
    # Hydra has the command line of classifier_segment's.
    assert re.search(r'if __name__ == "__main__":\n    (app\.run|hydra_main)\(__file__', text)
    top_level = ast.parse(text).body
    heavy = [node for node in top_level if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in heavy for alias in node.names} | {getattr(node, "module", "") for node in heavy}
    assert not names & {"tensorflow", "keras"}, "--help must answer at once"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_code_is_loaded_from_files_and_no_paths_are_bent(path: Path) -> None:
    text = path.read_text()
    for pattern in (r"\bimport (pickle|marshal|dill)\b", r"(?<![\w.])(exec|eval)\(", r"sys\.path\.(insert|append)"):
        assert not re.search(pattern, text), pattern
    assert "assert " not in re.sub(r'"""[\s\S]*?"""', "", text), "errors of users are raised, not asserted"
    assert len(text.splitlines()) <= 450, "is this one thing?"


def test_the_training_loop_reads_top_to_bottom() -> None:
    tree = ast.parse((ROOT / "medsynth/gan/trainer.py").read_text())
    (loop,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "train"]
    assert loop.end_lineno is not None
    assert loop.end_lineno - loop.lineno <= 120

    def depth(node: ast.AST) -> int:
        below = max((depth(child) for child in ast.iter_child_nodes(node)), default=0)
        return below + isinstance(node, ast.For | ast.While | ast.If | ast.With | ast.Try)

    assert depth(loop) <= 4, "three levels below the loop over ticks"
