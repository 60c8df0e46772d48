"""What a reader study found: table, sentences, csv, JSON and figure."""

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmark.readers.accuracy import Skill, pooled_skill, reader_skill, resampled_items
from benchmark.readers.agreement import cohen_kappa, fleiss_kappa, kappa_estimate
from benchmark.readers.answers import Answers, read_answers
from benchmark.readers.conclusion import conclude, conclude_readers
from benchmark.readers.figure import Mistaken, draw_study
from benchmark.readers.sheets import REAL, SYNTHETIC
from benchmark.readers.study import StudyKey, read_key
from medsynth.classify.evaluation.evaluate import Interval
from medsynth.classify.evaluation.summary import cell, describe_columns, number, table_lines
from medsynth.data.wording import counted
from medsynth.files import atomic_path, make_folder, write_json, write_text
from medsynth.runs import require_own_folder

NUM_RESAMPLES, _SEED, _LINE_WIDTH = 2000, 0, 110
POOLED = "all readers"
_NOTES = (
    "Intervals are of 95 %. A reader's share has the exact one (Clopper and Pearson); that of all readers minds that "
    "they saw the same images (Korn and Graubard), and speaks of these readers on other images; AUC and kappa are "
    f"resampled over images ({NUM_RESAMPLES:,} times). Sensitivity is the share of real images called real, "
    "specificity that of synthetic ones called synthetic; AUC comes from answers with their confidence."
)


@dataclass(frozen=True)
class Findings:
    """What was measured.

    Attributes:
        key: Of the study.
        answers: Of all readers.
        skills: Of each reader.
        pooled: Of all together.
        pairs: Cohen's kappa of every two readers, with their numbers.
        fleiss: Fleiss' kappa of all; None for one reader, or where it is not defined.
        margin: Around chance, for equivalence.
    """

    key: StudyKey
    answers: Answers
    skills: list[Skill]
    pooled: Skill
    pairs: list[tuple[int, int, Interval | None]]
    fleiss: Interval | None
    margin: float

    @property
    def named_skills(self) -> list[tuple[str, Skill]]:
        """Readers' names and skills; with several readers that of all together last."""
        named = list(zip(self.answers.readers, self.skills, strict=True))
        return [*named, (POOLED, self.pooled)] if len(named) > 1 else named

    @property
    def conclusion(self) -> str:
        """What the accuracy of all readers says."""
        single = self.skills[0] if len(self.skills) == 1 else self.pooled
        return conclude(single, self.margin, self.skills)

    @property
    def wrong(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """How many readers were wrong about every item, and how many answered, [N] each."""
        answered = ~np.isnan(self.answers.called_real)
        is_wrong = answered & (self.answers.called_real != self.key.is_real)
        return is_wrong.sum(axis=0), answered.sum(axis=0)


def evaluate_study(out_dir: Path, answers: Sequence[Path], target: Path, *, margin: float) -> str:
    """Evaluate a study and write reader_study.txt, .csv, .json and .png and reader_study_items.csv into `target`.

    Args:
        out_dir: Of the study.
        answers: Readers' tables.
        target: Where to write.
        margin: An accuracy this near to chance counts as equivalent to guessing.

    Returns:
        reader_study.txt.

    Raises:
        MedsynthError: No study there, or answers that cannot be used.
    """
    key = read_key(out_dir)
    require_own_folder(target, [out_dir, *(out_dir / name for name in ("reader", "key"))])
    findings = measure(key, read_answers(answers, key), margin)
    text = format_findings(findings)
    make_folder(target)
    write_text(target / "reader_study.txt", text)
    _write_csv(target / "reader_study.csv", [_skill_row(name, skill) for name, skill in findings.named_skills])
    _write_csv(target / "reader_study_items.csv", _item_rows(findings))
    write_json(target / "reader_study.json", _as_json(findings))
    rows = [(name, skill.accuracy, f"{skill.num_correct} of {skill.num}") for name, skill in findings.named_skills]
    draw_study(target / "reader_study.png", rows, findings.pooled.chance, margin, *_most_mistaken(findings))
    return text


def measure(key: StudyKey, answers: Answers, margin: float) -> Findings:
    """Measure readers and their agreement."""
    weights = resampled_items(key.is_real, NUM_RESAMPLES, _SEED)
    skills = [
        reader_skill(key.is_real, called, confidence, weights)
        for called, confidence in zip(answers.called_real, answers.confidence, strict=True)
    ]
    with_all = np.vstack([np.ones((1, len(key.items))), weights])
    pairs = [
        (first, second, kappa_estimate(cohen_kappa(answers.called_real[first], answers.called_real[second], with_all)))
        for first, second in itertools.combinations(range(len(skills)), 2)
    ]
    fleiss = kappa_estimate(fleiss_kappa(answers.called_real, with_all)) if pairs else None
    pooled = pooled_skill(key.is_real, answers.called_real)
    return Findings(key, answers, skills, pooled, pairs, fleiss, margin)


def format_findings(findings: Findings) -> str:
    """Return the tables, what they say, and what a reader of them must know."""
    key, readers = findings.key, findings.answers.readers
    header = ["reader", "answered", "right", "accuracy [95 %]", "p", "sensitivity", "specificity", "AUC [95 %]"]
    rows = [header, *(_text_row(name, skill, len(key.items)) for name, skill in findings.named_skills)]
    lines = [
        f"{counted(len(readers), 'reader')}, {counted(int(key.is_real.sum()), 'real image')} and "
        f"{int((~key.is_real).sum())} synthetic ones ({key.facts.get('synthetic_by', 'synthetic')}); {key.name}",
        "",
        *table_lines(rows),
        "",
    ]
    if findings.pairs:
        lines += [*table_lines(_kappa_table(findings)), ""]
    sentences = [findings.conclusion, *conclude_readers(readers, findings.skills), *_mistakes(findings)]
    paragraphs = [*sentences, *_missing(findings), "", _NOTES]
    return "\n".join([*lines, *(textwrap.fill(one, _LINE_WIDTH) for one in paragraphs)]) + "\n"


def _text_row(name: str, skill: Skill, num_items: int) -> list[str]:
    p_value = "-" if skill.p_value is None else f"{skill.p_value:.3f}" if skill.p_value >= 0.001 else "< 0.001"
    share = f"{skill.num}" if name == POOLED else f"{skill.num} of {num_items}"
    auc = "-" if skill.auc is None else _resampled_cell(skill.auc)
    rates = [cell(rate) for rate in (skill.sensitivity, skill.specificity)]
    return [name, share, str(skill.num_correct), cell(skill.accuracy), p_value, *rates, auc]


def _kappa_table(findings: Findings) -> list[list[str]]:
    readers = findings.answers.readers
    named = [(f"{readers[first]}, {readers[second]}", kappa) for first, second, kappa in findings.pairs]
    rows = [[name, "Cohen", _kappa_cell(kappa)] for name, kappa in named]
    return [["agreement", "kappa", "value [95 %]"], *rows, [POOLED, "Fleiss", _kappa_cell(findings.fleiss)]]


def _kappa_cell(kappa: Interval | None) -> str:
    return "undefined" if kappa is None else _resampled_cell(kappa)


def _resampled_cell(estimate: Interval) -> str:
    """Return an estimate; where it has no interval, `_missing` says why."""
    return cell(estimate) if _has_interval(estimate) else f"{cell(estimate)} [none]"


def _has_interval(estimate: Interval) -> bool:
    return bool(np.isfinite(estimate.low))


def _mistakes(findings: Findings) -> list[str]:
    wrong, _ = findings.wrong
    always = int((wrong == len(findings.skills)).sum())
    if len(findings.skills) < 2 or not always:
        return []
    return [f"{counted(always, 'image')} fooled every reader (reader_study.png shows those most often mistaken)."]


def _missing(findings: Findings) -> list[str]:
    """Return what is missing in answers and in figures, a sentence each."""
    sentences = []
    num_items = len(findings.key.items)
    for name, skill in zip(findings.answers.readers, findings.skills, strict=True):
        if skill.num < num_items:
            sentences.append(
                f"{name} left {num_items - skill.num} of {num_items} images without an answer; they are left out. "
                "Where readers leave out the hard ones, accuracy looks better than it is."
            )
        if skill.auc is None:
            sentences.append(f"{name} has no AUC: confidences are missing, or one kind of image was not answered.")
        elif not _has_interval(skill.auc):
            sentences.append(f"The AUC of {name} has no interval: {_same_in_all(skill.num)}")
    return [*sentences, *_missing_agreement(findings)]


def _missing_agreement(findings: Findings) -> list[str]:
    """Return why a kappa or its interval is missing, a sentence each."""
    readers, answered = findings.answers.readers, ~np.isnan(findings.answers.called_real)
    figures = [
        (f"Cohen's kappa of {readers[first]} and {readers[second]}", kappa, answered[[first, second]].all(axis=0))
        for first, second, kappa in findings.pairs
    ]
    if figures:
        figures.append(("Fleiss' kappa", findings.fleiss, answered.sum(axis=0) > 1))
    sentences = []
    for name, kappa, is_common in figures:
        num = int(is_common.sum())
        if kappa is None and not num:
            sentences.append(f"{name} is undefined: no image was answered by two readers.")
        elif kappa is None:
            sentences.append(f"{name} is undefined: all answers to {counted(num, 'common image')} are the same word.")
        elif not _has_interval(kappa):
            sentences.append(f"{name} has no interval: {_same_in_all(num)}")
    return sentences


def _same_in_all(num: int) -> str:
    return (
        f"all resamples of {counted(num, 'image')} give the same value, and do not show how far it would lie from that "
        "of other images."
    )


def _skill_row(name: str, skill: Skill) -> dict[str, Any]:
    undefined = Interval(float("nan"))
    return {
        "reader": name,
        "num_answers": skill.num,
        "num_correct": skill.num_correct,
        **describe_columns(skill.accuracy, "accuracy"),
        "chance": skill.chance,
        "p_value": skill.p_value,
        **describe_columns(skill.sensitivity, "sensitivity"),
        **describe_columns(skill.specificity, "specificity"),
        **describe_columns(skill.auc or undefined, "auc"),
        "share_called_real": skill.share_called_real,
    }


def _item_rows(findings: Findings) -> list[dict[str, Any]]:
    """Return a row for every item, with what each reader said of it."""
    words = {1.0: REAL, 0.0: SYNTHETIC}
    wrong, answered = findings.wrong
    key, answers = findings.key, findings.answers
    return [
        {
            "item": item,
            "truth": words[float(key.is_real[place])],
            "origin": key.origins[place],
            "num_answers": int(answered[place]),
            "num_wrong": int(wrong[place]),
        }
        | {
            f"answer of {reader}": words.get(float(called), "")
            for reader, called in zip(answers.readers, answers.called_real[:, place], strict=True)
        }
        for place, item in enumerate(key.items)
    ]


def _as_json(findings: Findings) -> dict[str, Any]:
    readers = findings.answers.readers
    kappas = [
        {"readers": [readers[first], readers[second]], "cohen_kappa": _kappa_values(kappa)}
        for first, second, kappa in findings.pairs
    ]
    return {
        "study": findings.key.facts,
        "margin": findings.margin,
        "conclusion": findings.conclusion,
        "conclusions_on_readers": conclude_readers(readers, findings.skills),
        "readers": [_skill_row(name, skill) for name, skill in zip(readers, findings.skills, strict=True)],
        "pooled": _skill_row(POOLED, findings.pooled),
        "agreement": {"pairs": kappas, "fleiss_kappa": _kappa_values(findings.fleiss)},
        "items": _item_rows(findings),
        "notes": [*_missing(findings), _NOTES],
    }


def _kappa_values(kappa: Interval | None) -> dict[str, float | None] | None:
    if kappa is None:
        return None
    return {"value": number(kappa.value), "low": number(kappa.low), "high": number(kappa.high)}


def _most_mistaken(findings: Findings) -> tuple[list[Mistaken], list[Mistaken]]:
    """Return real images taken for synthetic and synthetic ones taken for real, those most often mistaken first."""
    wrong, answered = findings.wrong
    order = np.argsort(-wrong / np.maximum(answered, 1), kind="stable")
    mistaken = [place for place in order if wrong[place]]
    real, synthetic = (
        [
            Mistaken(findings.key.picture(place), findings.key.items[place], int(wrong[place]), int(answered[place]))
            for place in mistaken
            if findings.key.is_real[place] == kind
        ]
        for kind in (True, False)
    )
    return real, synthetic


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with atomic_path(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")
