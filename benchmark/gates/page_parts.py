"""Parts that several sections of the page share; every text that comes from data is escaped here."""

import base64
import html
import io
from collections.abc import Iterable, Sequence

from PIL import Image

from benchmark.gates import wording
from benchmark.gates.model import Measure, Outcome, Picture

# Class of the style sheet, strokes of the symbol.
_LOOKS = {
    Outcome.PASS: ("pass", "M16 25l6 6l11 -13"),
    Outcome.FAIL: ("fail", "M17 17l14 14M31 17l-14 14"),
    Outcome.INSUFFICIENT: ("insufficient", "M19 20a5 5 0 1 1 7.6 4.3q-2.6 1.6 -2.6 4M24 33.4v.6"),
    Outcome.NOT_APPLICABLE: ("not", "M16 24h16"),
}
_SMALL_PICTURE, _LARGE_PIXELS = 320, 4


def text(value: object) -> str:
    """Return a value as HTML text, safe in an attribute, too."""
    return html.escape(str(value), quote=True)


def look(outcome: Outcome | None) -> str:
    """Return the style sheet's class for an outcome."""
    return "none" if outcome is None else _LOOKS[outcome][0]


def symbol(outcome: Outcome, frame: str = "0 0 48 48") -> str:
    """Return the sign of an outcome; the word always stands beside it, so it says nothing to a screen reader.

    Args:
        outcome: Of the verdict, a gate or a figure.
        frame: What of the drawing to show; all of it shows the circle around the sign.
    """
    return (
        f'<svg class="symbol" viewBox="{frame}" aria-hidden="true" stroke-width="3.5" stroke-linecap="round" '
        'stroke-linejoin="round"><circle cx="24" cy="24" r="21" stroke-width="2.5"/>'
        f'<path d="{_LOOKS[outcome][1]}"/></svg>'
    )


def pill(outcome: Outcome) -> str:
    """Return an outcome by word, sign and colour."""
    return f'<span class="pill {look(outcome)}">{symbol(outcome, "10 10 28 28")}{text(outcome.value)}</span>'


def bullets(sentences: Iterable[str], more: str = "") -> str:
    """Return sentences as a list, or nothing where there are none."""
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f'<ul class="prose {more}">{items}</ul>' if items else ""


def banner(title: str, sentence: str, *, is_quiet: bool = False) -> str:
    """Return a warning, or where it is quiet a remark.

    Args:
        title: Its beginning.
        sentence: The rest, as HTML.
        is_quiet: Whether it is no warning.
    """
    return (
        f'<div class="banner{" quiet" if is_quiet else ""}" role="note">'
        '<svg viewBox="0 0 24 24" aria-hidden="true" stroke-width="2" stroke-linecap="round" stroke-linejoin="round">'
        '<path d="M12 3.5l9.5 17h-19z M12 10v5 M12 17.6v.2"/></svg>'
        f"<p><strong>{text(title)}</strong> {sentence}</p></div>"
    )


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """Return a table that scrolls inside its own frame; `wide` ones become lists in a small window.

    Args:
        caption: For those who do not see the heading above it.
        head: Titles; one that starts with "#" is of a column of figures.
        rows: Cells as HTML, the first of each row naming it.
        kind: Further classes of the style sheet.
    """
    titles = [title.removeprefix("#") for title in head]
    kinds = ["figure" if title.startswith("#") else "words" for title in head]
    heading = "".join(
        f'<th scope="col" class="{one}">{text(title)}</th>' for title, one in zip(titles, kinds, strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(
            f'<td class="{one}{" nothing" if cell == wording.NOTHING else ""}" data-title="{text(title)}">{cell}</td>'
            for title, one, cell in zip(titles[1:], kinds[1:], rest, strict=True)
        )
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table class="{kind}">'
        f"<thead><tr>{heading}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def measures_table(caption: str, measures: Sequence[Measure]) -> str:
    """Return measures as a table; what none of them has is no column."""
    decides = any(measure.threshold is not None or measure.outcome is not None for measure in measures)
    head = ["Figure", "#Estimate", "#95 % interval", *(["#Threshold", "Says"] if decides else []), "#From"]
    rows = [
        [
            f"{text(wording.title(measure))}{_reason(measure)}",
            text(wording.estimate(measure)),
            text(wording.interval(measure)),
            *([text(wording.limit(measure)), _says(measure)] if decides else []),
            text(wording.cases(measure)),
        ]
        for measure in measures
    ]
    return table(caption, head, rows, kind="measures wide" if decides else "measures wide narrow")


def _reason(measure: Measure) -> str:
    return f"<span>{text(measure.reason)}</span>" if measure.reason else ""


def _says(measure: Measure) -> str:
    if measure.outcome is None:
        return wording.NOTHING
    need = wording.needs(measure)
    return pill(measure.outcome) + (f'<span class="need">{text(need)}</span>' if need else "")


def figure(picture: Picture) -> str:
    """Return a picture with title and caption, its bytes inside the page."""
    width, height = Image.open(io.BytesIO(picture.png)).size
    scale = min(max(1, -(-_SMALL_PICTURE // width)), _LARGE_PIXELS)
    data = base64.b64encode(picture.png).decode("ascii")
    shown = "may show real patients" if picture.is_synthetic else "real patients"
    mark = f'<span class="private">{shown}</span>' if picture.is_private else ""
    return (
        f'<figure class="picture" id="{text(picture.key)}"><h4>{text(picture.title)}{mark}</h4>'
        f'<img src="data:image/png;base64,{data}" width="{width * scale}" height="{height * scale}" '
        f'alt="{text(picture.alternative)}"{" class=" + chr(34) + "pixels" + chr(34) if scale > 1 else ""}>'
        f"<figcaption>{text(picture.caption)}</figcaption></figure>"
    )
