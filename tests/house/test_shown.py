"""Each session in the documents is run, and its output compared line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.shown import commands, lay_out, printed, sessions
from tests.house.tree import markdown_files

PAGES = [page for page in markdown_files() if sessions(page)]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_session_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    lay_out(tmp_path)
    for session in sessions(page):
        for command, expected in commands(session):
            found = printed(command, tmp_path)
            assert found == expected, f"{session}: {command}: if that is meant, say `python -m tests.house.shown`"


def test_sessions_are_found() -> None:
    assert {Path("README.md"), Path("docs/theory.md")} <= set(PAGES)
