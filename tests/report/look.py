"""What a browser shows of a page, as JSON on standard output: ``look.py CHROMIUM FILE``.

A program of its own, because Playwright's plain calls keep an event loop running in the thread that they are made in.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

VIEWS = [(1_280, "light"), (1_280, "dark"), (390, "light"), (390, "dark")]
CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = c => c.map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 })
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const back = light(rgb(getComputedStyle(document.body).backgroundColor));
  return Math.min(...[...document.querySelectorAll('h1,h2,p,figcaption,svg text')].map(element => {
    const style = getComputedStyle(element);
    const fore = light(rgb(element.tagName === 'text' ? style.fill : style.color));
    return (Math.max(fore, back) + .05) / (Math.min(fore, back) + .05);
  }));
}"""
BOXES = """() => [...document.querySelectorAll('svg')].map(element => {
  const box = element.getBoundingClientRect();
  return [box.width, box.height];
})"""


def look(browser: Browser, path: Path, width: int, scheme: Any) -> dict[str, object]:
    """One view: what went wrong, and what was measured. `contrast` is the least of text to page, WCAG 2.2."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith("file:") else wrong.append(request.url))
    page.goto(path.as_uri())
    found: dict[str, object] = {
        "width": width,
        "scheme": scheme,
        "wide": page.evaluate("document.documentElement.scrollWidth"),
        "boxes": page.evaluate(BOXES),
        "contrast": page.evaluate(CONTRAST),
        "back": page.evaluate("getComputedStyle(document.body).backgroundColor"),
        **tips(page),
        "touched": touched(browser, path, width, scheme),
        "wrong": wrong,
    }
    page.close()
    return found


def tips(page: Page) -> dict[str, object]:
    """What the first cell of a heat map says to the mouse and to the keyboard, if there is one."""
    cells = page.locator("table.heat td")
    if not cells.count():
        return {}
    cells.first.hover()
    hover = page.locator("#tip").inner_text()
    page.mouse.move(0, 0)
    away = page.locator("#tip").is_visible()
    cells.first.focus()
    return {"hover": hover, "away": away, "focus": page.locator("#tip").is_visible()}


def touched(browser: Browser, path: Path, width: int, scheme: Any) -> list[str]:
    """What a few shapes of each picture say to a finger: a telephone shows no titles by itself."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=True)
    page = context.new_page()
    page.goto(path.as_uri())
    said = []
    for shape in page.locator("svg :is(rect,circle,line)[data-tip]:nth-child(-n+3)").all()[:8]:
        page.evaluate("document.getElementById('tip').textContent = ''")
        shape.dispatch_event("click")
        said.append(page.locator("#tip").inner_text() if page.locator("#tip").is_visible() else "")
    context.close()
    return said


if __name__ == "__main__":
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=sys.argv[1], args=["--no-sandbox"])
        json.dump([look(started, Path(sys.argv[2]), *view) for view in VIEWS], sys.stdout)
        started.close()
