"""Sessions in the documents: console blocks under ``<!-- shown -->``, whose commands print what stands below them.

``python -m tests.house.shown`` writes into each what its commands print now. What goes to stderr is part of it, as on a
terminal.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.house.pages import Snippet, snippets
from tests.house.tree import ROOT, markdown_files, text

PROGRAMS = {"python": [], "commute": ["-m", "commute"]}


def sessions(page: Path) -> list[Snippet]:
    """The sessions of a page, from top to bottom."""
    return [found for found in snippets(page) if found.shown]


def commands(session: Snippet) -> list[tuple[str, list[str]]]:
    """Each command, and the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in session.body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line.rstrip())
    return found


def lay_out(folder: Path) -> None:
    """Put every complete snippet of all pages into the folder, as the file that it says it is."""
    for page in markdown_files():
        for found in snippets(page):
            if found.name is not None:
                (folder / found.name).write_text(found.body, encoding="utf-8")


def printed(command: str, folder: Path) -> list[str]:
    """What the command prints in the folder, run by this interpreter and with this source."""
    first, *rest = shlex.split(command)
    done = subprocess.run(
        [sys.executable, *PROGRAMS[first], *rest],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return [line.rstrip() for line in done.stdout.splitlines()]


def _write(page: Path) -> None:
    """The page with what its commands print now; later sessions see what earlier ones left."""
    whole = text(page)
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        for session in sessions(page):
            lines: list[str] = []
            for command, _ in commands(session):
                lines += [f"$ {command}", *printed(command, Path(folder))]
            whole = whole.replace(f"\n{session.body}```", "\n" + "".join(f"{line}\n" for line in lines) + "```")
    (ROOT / page).write_text(whole, encoding="utf-8")


if __name__ == "__main__":
    for written in markdown_files():
        if sessions(written):
            _write(written)
