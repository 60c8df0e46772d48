"""The verdict as one page: no network, no script, pictures inside."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.gates import page_parts as parts
from benchmark.gates import wording
from benchmark.gates.facts import Facts
from benchmark.gates.inputs import UNKNOWN, SplitFacts
from benchmark.gates.interval_figure import draw_interval
from benchmark.gates.model import Gate, Measure, Outcome
from benchmark.gates.page_parts import text
from medsynth.data.wording import counted

_STYLE = Path(__file__).parent / "page.css"
_MOST_ON_A_CARD, SEPARATOR = 4, " \u00b7 "
_FLOOR = "_floor"  # at the end of a key: what real images score against real ones
_URGENCY = (Outcome.FAIL, Outcome.INSUFFICIENT, Outcome.PASS, Outcome.NOT_APPLICABLE)
_KEY = (
    ('<circle class="mark" cx="13" cy="8" r="5.5"/>', "pass", "pass"),
    ('<rect class="mark" x="8" y="3" width="10" height="10"/>', "fail", "fail"),
    ('<path class="mark" d="M13 1l7 12h-14z"/>', "insufficient", "insufficient data"),
    ('<line class="bar" x1="2" x2="24" y1="8" y2="8"/>', "none", "95 % interval"),
    ('<line class="limit" x1="13" x2="13" y1="0" y2="16"/>', "none", "threshold"),
    ('<path class="floor" d="M13 2l6 6l-6 6l-6 -6z"/>', _FLOOR, "real images against real ones"),
    ('<rect class="good" x="0" y="1" width="26" height="14"/>', "none", "side of the good values"),
)


def render(gates: Sequence[Gate], facts: Facts) -> str:
    """Return the page as HTML.

    Args:
        gates: In the order in which they are shown.
        facts: What was judged, and by what.
    """
    title = f"Verdict: {facts.overall.headline} ({_dataset(facts)})"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head><body>"
        '<a class="skip" href="#glance">To the three gates</a>'
        f"{_header(gates, facts)}<main>{_glance(gates)}{''.join(_section(gate, facts) for gate in gates)}"
        f"{_limits(facts)}{_thresholds(facts)}{_provenance(facts)}</main>{_footer(facts)}</body></html>\n"
    )


def _dataset(facts: Facts) -> str:
    return "/".join(facts.inputs.data_dir.resolve().parts[-2:])


def _header(gates: Sequence[Gate], facts: Facts) -> str:
    overall, inputs = facts.overall, facts.inputs
    labels = counted(len(inputs.label_names), "label") if inputs.label_names else "no labels"
    day, _, clock = facts.made_at.partition("T")
    entries = (
        ("Dataset", _dataset(facts), f"{inputs.resolution} x {inputs.resolution} pixels, {labels}"),
        ("Synthetic images by", _maker(inputs.application), _num_images(inputs.synthetic.values())),
        ("Real images trained on", *_split(inputs.real["train"])),
        ("Real images held out", *_held_out(facts)),
    )
    cells = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(value)}<span>{text(more)}</span></dd></div>"
        for name, value, more in entries
    )
    return (
        '<header class="top"><div class="wrap">'
        f'<div class="verdict {parts.look(overall.outcome)}">{parts.symbol(overall.outcome)}'
        f'<p class="eyebrow">Verdict on synthetic images in place of real ones, {text(day)} {text(clock[:5])}</p>'
        f'<h1>{text(overall.headline)}</h1><p class="grounds">{text(overall.sentence)}</p></div>'
        f'<dl class="facts">{cells}</dl>{_banners(gates, facts)}</div></header>'
    )


def _maker(application: str) -> str:
    return "not known" if application == UNKNOWN else application


def _num_images(splits: Iterable[SplitFacts]) -> str:
    return counted(sum(split.num_images for split in splits), "image")


def _split(split: SplitFacts) -> tuple[str, str]:
    patients = "patients not known" if split.num_patients is None else f"of {counted(split.num_patients, 'patient')}"
    return counted(split.num_images, "image"), patients


def _held_out(facts: Facts) -> tuple[str, str]:
    splits = [facts.inputs.real[name] for name in facts.inputs.held_out]
    if not splits:
        return "none", "so privacy cannot be judged"
    known = [split.num_patients for split in splits if split.num_patients is not None]
    patients = "patients not known" if len(known) < len(splits) else f"of {counted(sum(known), 'patient')}"
    return _num_images(splits), f"{patients}, in {' and '.join(facts.inputs.held_out)}"


def _banners(gates: Sequence[Gate], facts: Facts) -> str:
    private = [picture for gate in gates for picture in gate.pictures if picture.is_private]
    synthetic = [picture for picture in private if picture.is_synthetic]
    too = " Synthetic images count as such, since privacy does not pass." if synthetic else ""
    found = []
    if private and facts.shows_private_pictures:
        found.append(
            parts.banner(
                f"This page {'shows' if len(synthetic) < len(private) else 'may show'} images of real patients.",
                "It is for those who may see them. Do not give it away with the synthetic images: "
                "<code>--no-private-pictures</code> makes a page without them." + too,
            )
        )
    elif private:
        found.append(
            parts.banner(
                "Images of real patients were left out.",
                f"They would be in {counted(len(private), 'picture')}.{too}",
                is_quiet=True,
            )
        )
    if facts.thresholds_path is not None:
        found.append(
            parts.banner(
                "The thresholds are the user's own,",
                f"from {text(facts.thresholds_path.name)}, not those that the suite comes with.",
            )
        )
    return "".join(found)


def _glance(gates: Sequence[Gate]) -> str:
    measures = [measure for gate in gates for measure in gate.measures]
    deciding = [measure for measure in measures if _decides(measure) and measure.value is not None]
    floors = {measure.key for measure in measures}
    shown = {"none"} | {parts.look(measure.outcome) for measure in deciding}
    shown |= {_FLOOR for measure in deciding if measure.key + _FLOOR in floors}
    keys = "".join(
        f'<span><svg class="interval {kind.strip("_")}" viewBox="0 0 26 16" aria-hidden="true">{shape}</svg>'
        f"{text(word)}</span>"
        for shape, kind, word in _KEY
        if kind in shown
    )
    key = f'<div class="key">{keys}</div>' if len(shown) > 1 else ""
    return (
        '<section class="glance" id="glance"><div class="wrap"><h2>Three gates</h2>'
        f'<div class="cards">{"".join(map(_card, gates))}</div>{key}</div></section>'
    )


def _card(gate: Gate) -> str:
    deciding = sorted(
        filter(_decides, gate.measures), key=lambda measure: _URGENCY.index(measure.outcome or Outcome.PASS)
    )
    floors = {measure.key: measure for measure in gate.measures}
    shown = "".join(_deciding(measure, floors.get(measure.key + _FLOOR)) for measure in deciding[:_MOST_ON_A_CARD])
    rest = len(deciding) - _MOST_ON_A_CARD
    more = f"All figures, and {rest} more that decide" if rest > 0 else "All figures, and how they were made"
    if not gate.measures:
        more = "What to run so that it can say more" if gate.commands else "More about it"
    return (
        f'<article class="card {parts.look(gate.outcome)}">{parts.pill(gate.outcome)}'
        f'<div><h3>{text(gate.key.capitalize())}</h3><p class="question">{text(gate.question)}</p></div>'
        f'<p>{text(gate.reason)}</p>{shown}<p class="more"><a href="#{text(gate.key)}">{text(more)}</a></p></article>'
    )


def _decides(measure: Measure) -> bool:
    return measure.outcome is not None


def _deciding(measure: Measure, floor: Measure | None) -> str:
    between = [f"95 % interval {wording.interval(measure)}"] if wording.has_interval(measure) else []
    needed = wording.needs(measure)
    said = [str(measure.outcome), *between, f"from {wording.cases(measure)}", *([needed] if needed else [])]
    if measure.value is None:
        said = [str(measure.outcome), "not measured", measure.reason]
    value = "" if measure.value is None else wording.number(measure.value)
    head = f"<span>{text(wording.title(measure))}</span><strong>{text(value)}</strong>"
    return (
        f'<div class="deciding {parts.look(measure.outcome)}"><p class="head">{head}</p>{draw_interval(measure, floor)}'
        f'<p class="foot">{text(SEPARATOR.join(said))}</p></div>'
    )


def _section(gate: Gate, facts: Facts) -> str:
    """Return everything about one gate: figures by group, notes, pictures, what to run."""
    tables = []
    groups: dict[str, list[Measure]] = {"": []}
    for measure in gate.measures:
        groups.setdefault(measure.group, []).append(measure)
    for group, members in groups.items():
        if not members:
            continue
        title = f"{group[:1].upper()}{group[1:]}" if group else "Figures"
        table = parts.measures_table(f"{gate.key.capitalize()}: {title}", members)
        tables.append(f"<h3>{text(title)}</h3>{table}")
    notes = parts.bullets(gate.notes, "notes")
    return _part(
        gate.key,
        gate.key.capitalize(),
        f'<p class="question">{text(gate.question)}</p>'
        f'<div class="answer">{parts.pill(gate.outcome)}<p>{text(gate.reason)}</p></div>'
        f"{''.join(tables)}{'<h3>What to know about them</h3>' + notes if notes else ''}"
        f"{_pictures(gate, facts)}{_commands(gate.commands)}",
    )


def _part(identifier: str, title: str, content: str) -> str:
    heading = f"<h2>{text(title)}</h2>"
    return f'<section class="part" id="{text(identifier)}"><div class="wrap">{heading}{content}</div></section>'


def _pictures(gate: Gate, facts: Facts) -> str:
    shown = [one for one in gate.pictures if facts.shows_private_pictures or not one.is_private]
    if not shown:
        return ""
    return f'<h3>Pictures</h3><div class="pictures">{"".join(map(parts.figure, shown))}</div>'


def _commands(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    return (
        f'<h3>What to run so that it can say more</h3><p class="soft">Then call verdict.py again.</p>{_code(commands)}'
    )


def _code(commands: Sequence[str]) -> str:
    return f"<pre>{''.join(f'<code>{text(command)}</code>' for command in commands)}</pre>"


def _limits(facts: Facts) -> str:
    sentences = (*facts.inputs.notes, *facts.limits)
    return _part("limits", "What this does not say", parts.bullets(sentences, "notes"))


def _thresholds(facts: Facts) -> str:
    whose = (
        "They are those that the suite comes with, the same for every dataset."
        if facts.thresholds_path is None
        else f"They are the user's own, from {facts.thresholds_path}."
    )
    tables = [
        f"<h3>{text(gate.capitalize())}</h3>"
        + parts.table(
            f"Thresholds of {gate}",
            ("Name", "#Value", "Why"),
            [
                [f"<code>{text(name)}</code>", text(wording.plain(one.value)), text(one.reason)]
                for name, one in section.items()
            ],
            kind="wide reasons",
        )
        for gate, section in facts.thresholds.items()
        if section
    ]
    return _part("thresholds", "Thresholds, and why", f'<p class="question">{text(whose)}</p>{"".join(tables)}')


def _provenance(facts: Facts) -> str:
    inputs = facts.inputs
    extractor = inputs.extractor
    features = "none" if extractor is None else f"{extractor.name}, {extractor.weights or 'no weights'}"
    splits = [
        [
            text(f"{kind}, {name}"),
            text(f"{split.num_images:,}"),
            _patients(split),
            f'<span class="digest">{split.digest}</span>',
        ]
        for kind, found in (("real", inputs.real), ("synthetic", inputs.synthetic))
        for name, split in found.items()
    ]
    rows = [
        ("Real images", inputs.data_dir),
        ("Results of the GAN", inputs.results_dir),
        ("Labels", ", ".join(inputs.label_names) or "none"),
        ("Features compared", features),
        ("Patients' table", inputs.metadata or "none"),
        ("Seed of every draw", inputs.seed),
        ("Made", facts.made_at),
        ("By", ", ".join(f"{name} {version}" for name, version in facts.versions.items())),
    ]
    return _part(
        "provenance",
        "What it was made of",
        parts.table(
            "Images judged", ("Images", "#Number", "#Patients", "SHA-256 of their checksums"), splits, kind="wide"
        )
        + parts.table(
            "Provenance", ("What", "Which"), [[text(name), text(value)] for name, value in rows], kind="plain"
        )
        + (f"<h3>The command</h3>{_code([facts.command])}" if facts.command else ""),
    )


def _patients(split: SplitFacts) -> str:
    return wording.NOTHING if split.num_patients is None else f"{split.num_patients:,}"


def _footer(facts: Facts) -> str:
    return (
        f'<footer><div class="wrap">Made by benchmark/verdict.py on {text(facts.made_at[:10])}. All figures, with '
        "everything that they were made of, are in verdict.json beside this page.</div></footer>"
    )
