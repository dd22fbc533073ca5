"""The report in a real browser. Skipped, with the reason, where there is none: Debian has it as `chromium`."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

playwright_api = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.slow, pytest.mark.extended]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.mark.parametrize("kind", ["names", "speeches"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_it_renders(browser: Any, kind: str, width: int, scheme: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    page.goto((folder / "report.html").as_uri())
    assert said == []
    result = json.loads((folder / "result.json").read_text())
    shown = page.eval_on_selector_all(
        "[data-figure]", "all => all.map(tile => [tile.dataset.figure, Number(tile.dataset.value)])"
    )
    assert dict(shown) == result["eval"]
    # A phone scrolls down, not sideways; and the ground is as dark as was asked for.
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    red = int(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"))
    assert (red < 60) == (scheme == "dark")
    # A table that is wider than a phone keeps its first column in sight.
    if kind == "names":
        page.evaluate("document.querySelector('.matrix').parentElement.scrollLeft = 90")
        place = page.locator(".matrix tr:nth-child(2) th").first.bounding_box()
        assert place is not None
        assert place["x"] >= 0
    # The curves over time come at a click, without a script.
    page.click("label[for=by-time]")
    assert page.is_visible(".charts.time svg")
    assert not page.is_visible(".charts.step svg")
    chart = page.locator(".charts.time svg").first.bounding_box()
    assert chart is not None
    assert chart["height"] > 80
    page.close()
