"""Gates of every outcome, made up, for the page and the report."""

import io
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.gates.facts import Facts
from benchmark.gates.inputs import ExtractorRequest, SplitFacts, VerdictInputs
from benchmark.gates.model import Gate, Measure, Outcome, Picture, decide
from benchmark.gates.overall import judge_overall
from benchmark.gates.thresholds import Threshold

TRICKY = "<b>&\"'"  # what must not become part of the page's code


def png(width: int = 96, height: int = 48, seed: int = 0) -> bytes:
    file = io.BytesIO()
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    pixels = 90 + 60 * np.sin(rows / 7) * np.cos(columns / 9) + rng.normal(0, 12, (height, width))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "png")
    return file.getvalue()


def measure(key: str, title: str, value: float, low: float, high: float, threshold: float, **more: object) -> Measure:
    """Return a measure that decides as `decide` says."""
    sense = more.pop("sense", "at most")
    num = int(str(more.pop("num", 212)))
    outcome, needed = decide(value, low, high, threshold, sense, num)  # type: ignore[arg-type]
    return Measure(
        key, title, value, low, high, num, str(more.pop("unit", "patients")), threshold, sense, outcome,  # type: ignore[arg-type]
        more_needed=needed, **more,
    )  # type: ignore[arg-type]  # fmt: skip


@cache
def gates() -> tuple[Gate, Gate, Gate]:
    """A failing gate, one without enough data, and one that passes."""
    labels = ("Cardiomegaly", "Edema", "Pleural Effusion", "Atelectasis", "Pneumothorax")
    utility = Gate(
        "utility",
        "Does a classifier trained on synthetic images do as well on real ones?",
        Outcome.FAIL,
        "A classifier trained on synthetic images has a mean AUROC 0.168 below that of one trained on real images; "
        "0.050 is allowed.",
        measures=(
            measure("auroc_loss", "Mean AUROC, real minus synthetic", 0.168, 0.121, 0.214, 0.05,
                    reason="The whole interval is above the threshold."),
            measure("joint_loss", "Mean AUROC, real minus real + synthetic", 0.006, -0.012, 0.024, 0.02),
            Measure("auroc_real", "Mean AUROC, trained on real images", 0.981, 0.972, 0.988, 212, "patients"),
            Measure("auroc_synthetic", "Mean AUROC, trained on synthetic images", 0.813, 0.771, 0.852, 212, "patients"),
            *(Measure(f"loss_{name}", name, 0.11 + 0.03 * i, 0.05, 0.2 + 0.04 * i, 40 + i, "images", group="per label")
              for i, name in enumerate(labels)),
            Measure("loss_f", f"Women {TRICKY}", 0.17, 0.1, 0.23, 101, "patients", group="per subgroup"),
            Measure("loss_m", "Men", 0.16, 0.1, 0.23, 111, "patients", group="per subgroup"),
        ),
        notes=("Classifiers start from random weights.",),
    )  # fmt: skip
    fidelity = Gate(
        "fidelity",
        "Do the synthetic images look like real ones to a network that knows the domain?",
        Outcome.INSUFFICIENT,
        "Precision passes; for the kernel distance and recall the 212 held-out patients are too few to tell.",
        measures=(
            measure("kid", "Kernel distance (KID)", 0.0042, 0.0011, 0.0078, 0.006, num=424, unit="images"),
            Measure("kid_floor", "KID, real against real", 0.0003, -0.0004, 0.0012, 424, "images"),
            measure("precision", "Precision", 0.91, 0.86, 0.95, 0.8, sense="at least", num=424, unit="images"),
            measure("recall", "Recall", 0.62, 0.52, 0.71, 0.6, sense="at least", num=424, unit="images"),
        ),
        pictures=(
            Picture("best", "The best synthetic images", "Those nearest to real test images; n = 8.",
                    "Eight grey synthetic images in a row.", png(seed=1), is_synthetic=True),
            Picture("worst", "The worst", "Those farthest from any real one; n = 8.", "Eight grey images.",
                    png(900, 300, 2), is_synthetic=True),
        ),
        commands=("python3 classifier_real/train.py train classifier_real data 1 32",
                  "python3 classifier_real/test.py test classifier_real data 1 32"),
    )  # fmt: skip
    privacy = Gate(
        "privacy",
        "Do the synthetic images give away the patients that the GAN was trained on?",
        Outcome.PASS,
        "No memorisation found by these attacks at this power; this is no guarantee of anonymity.",
        measures=(
            measure("attack_auc", "Membership attack, AUC", 0.503, 0.471, 0.534, 0.6, num=640),
            measure("near_copies", "Share of near-copies", 0.004, 0.001, 0.009, 0.02, num=1024, unit="images"),
            measure("power", "Planted copies found", 0.98, 0.93, 1.0, 0.8, sense="at least", num=64, unit="copies"),
        ),
        pictures=(Picture("pairs", "The nearest pairs", "Left synthetic, right the nearest training image; n = 4.",
                          "Four pairs of grey images side by side.", png(seed=3), is_private=True),),
    )  # fmt: skip
    return utility, fidelity, privacy


def facts(made: tuple[Gate, ...], **changes: object) -> Facts:
    split = {
        name: SplitFacts(num, num // 2, 16 * "3fa9") for name, num in (("train", 1284), ("valid", 212), ("test", 424))
    }
    synthetic = {name: SplitFacts(one.num_images, None, 16 * "c07e") for name, one in split.items()}
    inputs = VerdictInputs(
        application="prog-GAN", resolution=32, data_dir=Path("runs/demo/dataset"), results_dir=Path("runs/demo/gan"),
        synthetic_dir=Path("runs/demo/gan/inference"), out_dir=Path("runs/demo/gan/verdict"),
        label_names=("Cardiomegaly", "Edema"), held_out=("test", "valid"), patients_known=True,
        extractor=ExtractorRequest("densenet", Path("runs/demo/dataset/classification_results_res_32"), True),
        real=split, synthetic=synthetic,
    )  # fmt: skip
    thresholds = {
        "utility": {"most_auroc_loss": Threshold(0.05, "What a reader would notice; the default margin.")},
        "fidelity": {},
        "privacy": {"most_attack_auc": Threshold(0.6, "Half-way between guessing and what planted copies reach.")},
    }
    values = {
        "overall": judge_overall(made), "inputs": inputs, "thresholds": thresholds, "thresholds_path": None,
        "made_at": "2026-03-02T14:05+0100", "versions": {"python": "3.11.2", "tensorflow": "2.21.0"},
        "command": "python3 benchmark/verdict.py runs/demo/gan runs/demo/dataset 32",
    }  # fmt: skip
    return Facts(**(values | changes))  # type: ignore[arg-type]
