"""Markdown pages as data: headings, links, and fenced snippets with their marks.

A snippet under ``<!-- complete: shop.py -->`` is a whole file of that name. Complete snippets of all pages
lie in one folder when they are checked, so a page may import what another defines; one name has one text.

A console block under ``<!-- shown -->`` is a session: its commands, run in that folder, print what stands below them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.house.tree import text

FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=indent)```\s*$",
    re.DOTALL | re.MULTILINE,
)
MARK = re.compile(r"<!-- complete: (?P<name>[\w.]+) -->\n\s*\Z")
SHOWN = re.compile(r"<!-- shown -->\n\s*\Z")
LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\((?P<target>[^)\s]+)\)")


class Snippet(NamedTuple):
    """One fenced block. `name` is the file that it is, if it is marked complete; `shown`: a session to be run."""

    page: Path
    line: int
    language: str
    body: str
    name: str | None
    shown: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets(page: Path) -> Iterator[Snippet]:
    """All fenced blocks of a page, from top to bottom."""
    whole = text(page)
    for found in FENCE.finditer(whole):
        mark = MARK.search(whole, 0, found.start())
        indent = len(found["indent"])
        body = "".join(line[indent:] if line.strip() else line for line in found["body"].splitlines(keepends=True))
        line = whole.count("\n", 0, found.start()) + 2
        shown = SHOWN.search(whole, 0, found.start()) is not None
        yield Snippet(page, line, found["language"], body, mark["name"] if mark else None, shown)


def prose(page: Path) -> str:
    """The page without its fenced blocks; line numbers are kept."""
    return FENCE.sub(lambda found: "\n" * found[0].count("\n"), text(page))


def headings(page: Path) -> list[str]:
    """Heading texts without their marks, from top to bottom."""
    return re.findall(r"^#{1,6} +(.*?) *$", prose(page), re.MULTILINE)


def anchor(heading: str) -> str:
    """The fragment that a heading gets where the page is shown."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")


def links(page: Path) -> Iterator[tuple[int, str]]:
    """Line and target of every link."""
    whole = prose(page)
    for found in LINK.finditer(whole):
        yield whole.count("\n", 0, found.start()) + 1, found["target"]
