"""The page as text: nothing from elsewhere, nothing unescaped, readable by everybody; and verdict.json."""

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path

import pytest

from benchmark.gates import wording
from benchmark.gates.facts import as_json
from benchmark.gates.interval_figure import draw_interval
from benchmark.gates.model import Gate, Measure, Outcome
from benchmark.gates.overall import judge_overall
from benchmark.gates.page import render
from benchmark.gates.page_parts import measures_table
from benchmark.gates.private_pictures import mark_private
from tests.commands import ROOT
from tests.page_checks import PageCheck, colours, contrast
from tests.verdict_gates import TRICKY, facts, gates, measure

PASS, FAIL, OPEN, NOT = Outcome.PASS, Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.NOT_APPLICABLE
STYLE = (ROOT / "benchmark" / "gates" / "page.css").read_text()


def with_outcomes(*outcomes: Outcome) -> tuple[Gate, ...]:
    return tuple(dataclasses.replace(gate, outcome=one) for gate, one in zip(gates(), outcomes, strict=True))


@pytest.fixture(scope="module")
def page() -> str:
    return render(gates(), facts(gates()))


@pytest.mark.parametrize(
    ("outcomes", "expected", "headline", "sentence"),
    [
        ((PASS, PASS, PASS), PASS, "May be shared, as far", "Utility, fidelity and privacy pass.*no guarantee"),
        ((NOT, PASS, PASS), PASS, "May be shared, as far", "Fidelity and privacy pass.*not judged: utility"),
        ((NOT, NOT, PASS), PASS, "May be shared, as far", "Privacy passes.*utility and fidelity"),
        ((PASS, PASS, FAIL), FAIL, "Not to be shared", "Privacy fails"),
        ((FAIL, OPEN, PASS), FAIL, "Not fit to stand in", "Utility fails. Not decided: fidelity"),
        ((FAIL, FAIL, PASS), FAIL, "Not fit to stand in", "Utility and fidelity fail"),
        ((PASS, PASS, OPEN), OPEN, "Not decided", "Privacy could not be decided.*not a pass"),
        ((PASS, PASS, NOT), OPEN, "Not decided", "Privacy was not judged"),
        ((NOT, NOT, NOT), OPEN, "Not decided", "Privacy was not judged"),
    ],
)
def test_says_no_more_than_the_gates(
    outcomes: tuple[Outcome, ...], expected: Outcome, headline: str, sentence: str
) -> None:
    overall = judge_overall(with_outcomes(*outcomes))
    assert overall.outcome is expected
    assert overall.headline.startswith(headline)
    assert re.search(sentence, overall.sentence)


def test_only_privacy_and_every_other_gate_open_the_door() -> None:
    shareable = [
        outcomes
        for outcomes in itertools.product(Outcome, repeat=3)
        if judge_overall(with_outcomes(*outcomes)).outcome is PASS
    ]
    assert set(shareable) == {(a, b, PASS) for a in (PASS, NOT) for b in (PASS, NOT)}


def test_takes_nothing_from_elsewhere(page: str) -> None:
    check = PageCheck(page)
    links = [*check.values("src"), *check.values("href"), *re.findall(r"url\(([^)]*)\)", page)]
    assert len(links) > 5
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links), [link[:60] for link in links]
    assert not re.search(r"https?:|@import|<script|<link|<iframe", page)


def test_nests_and_reads_in_order(page: str) -> None:
    check = PageCheck(page)
    assert check.faults == []
    assert check.elements[0] == ("html", {"lang": "en"})
    assert check.headings[0] == 1
    assert check.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(check.headings))
    identifiers = check.values("id")
    assert len(identifiers) == len(set(identifiers))
    assert {link[1:] for link in check.values("href")} <= set(identifiers)


def test_describes_every_picture(page: str) -> None:
    check = PageCheck(page)
    pictures = [attributes for tag, attributes in check.elements if tag == "img"]
    assert len(pictures) == 3
    assert all(picture["alt"] and int(picture["width"] or 0) > 0 for picture in pictures)
    drawings = [attributes for tag, attributes in check.elements if tag == "svg"]
    assert all("aria-hidden" in drawing or drawing["aria-label"] for drawing in drawings)
    assert sum("aria-label" in drawing for drawing in drawings) == 8


def test_checks_of_pages_can_fail() -> None:
    assert PageCheck("<div><p>a<h2>b</h2></p></div>").faults == ["h2 inside p"]
    assert PageCheck("<div><span></div>").faults


def test_every_text_can_be_read_on_every_surface() -> None:
    known = colours(STYLE)
    inks = {name: value for name, value in known.items() if name.startswith("--ink")}
    papers = {name: value for name, value in known.items() if name.startswith("--paper")}
    assert len(inks) >= 6
    assert len(papers) >= 6
    poor = {
        (ink, paper): contrast(inks[ink], papers[paper])
        for ink in inks
        for paper in papers
        if contrast(inks[ink], papers[paper]) < 4.5
    }
    assert poor == {}
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    # Which makes it all pairs there are, if texts take inks alone and surfaces papers alone.
    rules = re.sub(r":root \{.*?\}", "", STYLE, count=1, flags=re.S)
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl", rules)
    assert set(re.findall(r"(?<![-\w])color: var\((--[\w-]+)\)", rules)) <= {*inks, "--tone"}
    assert set(re.findall(r"background(?:-color)?: var\((--[\w-]+)\)", rules)) <= {*papers, "--tint"}
    tones = dict.fromkeys(re.findall(r"--tone: var\((--[\w-]+)\)", rules))
    assert set(tones) <= set(inks)
    assert set(re.findall(r"--tint: var\((--[\w-]+)\)", rules)) <= set(papers)


def test_escapes_what_comes_from_data(page: str) -> None:
    assert TRICKY not in page
    assert "Women &lt;b&gt;&amp;&quot;&#x27;" in page


def test_shows_all_figures_with_their_number(page: str) -> None:
    for gate in gates():
        assert gate.question in page
        for one in gate.measures:
            assert wording.cases(one) in page
            assert wording.number(one.value) in page
        for command in gate.commands:
            assert command in page
    for section in facts(gates()).thresholds.values():
        assert all(one.reason in page for one in section.values())
    assert "636 images" in page
    assert "of 318 patients, in test and valid" in page


def test_gathers_a_group_whose_figures_lie_apart() -> None:
    one, other, *_ = gates()[0].measures
    apart = [dataclasses.replace(one, group=group) for group in ("b", "", "a", "b")]
    gate = dataclasses.replace(gates()[0], measures=[other, *apart])
    page = render([gate], facts((gate,)))
    assert [title for title in re.findall("<h3>([^<]*)</h3>", page) if title in "ABFigures"] == ["Figures", "B", "A"]


def test_warns_of_real_patients_or_leaves_them_out(page: str) -> None:
    assert "This page shows images of real patients" in page
    made = gates()
    without = render(made, facts(made, shows_private_pictures=False))
    assert "This page shows images of real patients" not in without
    assert "were left out" in without
    assert without.count("<img") == page.count("<img") - 1
    public = [dataclasses.replace(gate, pictures=()) for gate in made]
    assert "real patients" not in render(public, facts(made))


@pytest.mark.parametrize(("privacy", "num_private"), [(PASS, 1), (FAIL, 3), (OPEN, 3), (NOT, 3)])
def test_synthetic_images_are_private_unless_privacy_passes(privacy: Outcome, num_private: int) -> None:
    made = mark_private(with_outcomes(PASS, PASS, privacy))
    shown, left_out = (render(made, facts(made, shows_private_pictures=shows)) for shows in (True, False))
    assert left_out.count("<img") == 3 - num_private
    assert f"They would be in {num_private} picture" in left_out
    assert shown.count("may show real patients</span>") == num_private - 1
    assert all(("Synthetic images count as such" in page) is (num_private > 1) for page in (shown, left_out))
    report = as_json(made, facts(made))
    assert sum(picture["is_private"] for gate in report["gates"] for picture in gate["pictures"]) == num_private


def test_warns_of_synthetic_images_alone() -> None:
    utility, fidelity, privacy = with_outcomes(PASS, PASS, OPEN)
    made = mark_private([utility, fidelity, dataclasses.replace(privacy, pictures=())])
    assert "This page may show images of real patients." in render(made, facts(made))


def test_every_table_of_figures_becomes_cards_in_a_small_window(page: str) -> None:
    check = PageCheck(page)
    kinds = [str(attributes["class"]).split() for tag, attributes in check.elements if tag == "table"]
    measures = [kind for kind in kinds if "measures" in kind]
    without_limit = Measure("a", "A", 0.2, 0.1, 0.3, 5, "images")
    measures.append(re.findall('<table class="([^"]*)"', measures_table("A", [without_limit]))[0].split())
    assert len(measures) > 3
    assert all("wide" in kind for kind in measures)
    # Five columns need less room than the six of the others before they become cards.
    assert "narrow" in measures[-1]
    assert STYLE.index("table.wide { min-width: 760px; }") < STYLE.index("table.narrow { min-width: 0; }")


def test_says_whose_thresholds_they_are(page: str) -> None:
    assert "user's own" not in page
    own = render(gates(), facts(gates(), thresholds_path=Path("mine.yaml")))
    assert "mine.yaml" in own


def test_draws_marks_that_differ_in_form() -> None:
    low, middle, high = ((0.01, 0.0, 0.02), (0.05, 0.01, 0.08), (0.2, 0.1, 0.3))
    drawn = [draw_interval(measure("a", f"A {TRICKY}", *one, 0.06)) for one in (low, middle, high)]
    shapes = [re.search(r'<(\w+) class="mark"', one) for one in drawn]
    assert [shape[1] for shape in shapes if shape] == ["circle", "path", "rect"]
    assert all(PageCheck(one).faults == [] for one in drawn)
    assert "threshold at most 0.06: insufficient data" in drawn[1]
    assert 'class="floor"' in draw_interval(measure("a", "A", *low, 0.06), measure("f", "F", *low, 0.06))


@pytest.mark.parametrize("value", [None, math.nan])
def test_draws_nothing_where_nothing_was_measured(value: float | None) -> None:
    empty = Measure("a", "A", value, None, None, 0, "images", 0.5, outcome=OPEN)
    assert draw_interval(empty) == ""
    gate = Gate("utility", "Q?", OPEN, "Nothing is there.", (empty,))
    assert "not measured" in render([gate], facts((gate,))) if value is None else True


def test_a_point_without_an_interval_is_drawn() -> None:
    point = Measure("a", "A", 0.3, None, None, 5, "images", 0.5, outcome=OPEN)
    assert 'class="mark"' in draw_interval(point)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (math.inf, "–"), (0.0, "0.000"), (0.5, "0.500"), (-0.0123, "−0.012"), (0.0042, "0.0042"),
        (0.00003, "3e-05"), (5e-240, "below 1e-12"), (1.0, "1.00"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234"),
    ],
)  # fmt: skip
def test_writes_numbers_with_digits_that_count(value: float | None, text: str) -> None:
    assert wording.number(value) == text


def test_report_holds_everything(tmp_path: Path) -> None:
    made = gates()
    broken = dataclasses.replace(made[0], measures=(dataclasses.replace(made[0].measures[0], low=math.nan),))
    report = json.loads(json.dumps(as_json((broken, *made[1:]), facts(made)), allow_nan=False))
    assert report["form_version"] == 1
    assert report["overall"]["outcome"] == "fail"
    assert [gate["outcome"] for gate in report["gates"]] == ["fail", "insufficient data", "pass"]
    assert report["gates"][0]["measures"][0]["low"] is None
    assert report["gates"][1]["measures"][0]["more_needed"] > 0
    assert report["gates"][1]["commands"] == list(made[1].commands)
    assert report["gates"][2]["pictures"][0]["is_private"] is True
    assert report["judged"]["real"]["test"] == {"num_images": 424, "num_patients": 212, "images_sha256": 16 * "3fa9"}
    assert report["thresholds"]["gates"]["utility"]["most_auroc_loss"]["value"] == 0.05
    assert {field.name for field in dataclasses.fields(Measure)} == set(report["gates"][1]["measures"][0])


@pytest.mark.parametrize(
    ("value", "num", "low", "shown"), [(73.0, 73, None, "73"), (73.0, 80, None, "73.0"), (1.0, 1, 0.2, "1.00")]
)
def test_a_count_of_its_own_cases_is_a_whole_number(value: float, num: int, low: float | None, shown: str) -> None:
    high = None if low is None else 1.0
    assert wording.estimate(Measure("key", "title", value, low, high, num, "patients")) == shown
