"""What can be said of a page from its text alone."""

import re
from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "hr", "link", "input"}
_LEAF_SHAPES = {"rect", "line", "circle", "path"}


class PageCheck(HTMLParser):
    """Reads a page, and keeps what it is made of.

    Attributes:
        faults: Tags that do not nest.
        elements: (tag, attributes) in order.
        headings: Levels in order.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        self.faults += [f"{tag} is never closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            if tag in ("p", "h1", "h2", "h3", "h4") and "p" in self._open:
                self.faults.append(f"{tag} inside p")
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _LEAF_SHAPES | _VOID:
            self.faults.append(f"{tag} closes itself")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"/{tag} in {'/'.join(self._open[-3:])}")
        else:
            self._open.pop()

    @property
    def headings(self) -> list[int]:
        return [int(tag[1]) for tag, _ in self.elements if re.fullmatch("h[1-6]", tag)]

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.elements if attribute in attributes]


def colours(style: str) -> dict[str, str]:
    """Return the style sheet's colours by name: --ink -> #1b2430."""
    return dict(re.findall(r"(--[\w-]+):\s*(#[0-9a-fA-F]{6});", style))


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colours #rrggbb: 1 to 21 (WCAG 2.1, relative luminance)."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
