"""The page in a browser: no request, no complaint, nothing wider than the window, enough contrast."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.gates.page import render
from medsynth.files import write_text
from tests.chromium import Browser, find_chromium
from tests.verdict_gates import facts, gates

WINDOWS = {"desktop": (1280, 900, False), "phone": (360, 780, True)}
# Contrast of every text with the nearest surface behind it, the poorest first.
_CONTRASTS = """
(() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text) continue;
    const style = getComputedStyle(element);
    const ink = numbers(element.closest("svg") ? style.fill : style.color);
    const [high, low] = [light(ink), light(behind(element))].sort((a, b) => b - a);
    found.push([(high + 0.05) / (low + 0.05), text.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
})()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "verdict.html"
    write_text(path, render(gates(), facts(gates())))
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here; install one, or name it by CHROMIUM")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("window", WINDOWS)
def test_opens_without_a_network_and_without_complaint(browser: Browser, page: Path, window: str) -> None:
    width, height, is_mobile = WINDOWS[window]
    browser.open(page, width, height, is_mobile=is_mobile)
    asked = [parameters["request"]["url"] for name, parameters in browser.events if name == "Network.requestWillBeSent"]
    assert asked[0] == page.as_uri()
    assert all(url.startswith("data:") for url in asked[1:]), asked
    complaints = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    assert [event for event in browser.events if event[0] in complaints] == []
    assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("window", WINDOWS)
def test_fits_the_window(browser: Browser, page: Path, window: str) -> None:
    width, height, is_mobile = WINDOWS[window]
    browser.open(page, width, height, is_mobile=is_mobile)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    # What is wider than the window is inside a frame that scrolls.
    too_wide = """[...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll, .skip")
        && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 80))"""
    assert browser.evaluate(too_wide) == []


@pytest.mark.parametrize("window", WINDOWS)
def test_every_text_stands_out(browser: Browser, page: Path, window: str) -> None:
    width, height, is_mobile = WINDOWS[window]
    browser.open(page, width, height, is_mobile=is_mobile)
    found = browser.evaluate(_CONTRASTS)
    assert len(found) > 100
    assert found[0][0] >= 4.5, found[:3]


def test_notices_a_request_and_a_complaint(browser: Browser, page: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    write_text(bad, '<img src="http://127.0.0.1:9/x.png"><script>console.error("no")</script>')
    browser.open(bad, 400, 400)
    names = [name for name, _ in browser.events]
    assert names.count("Network.requestWillBeSent") == 2
    assert "Runtime.consoleAPICalled" in names
