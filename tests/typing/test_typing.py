"""What type checkers say of user code: nothing of right code, and of wrong code exactly the lines marked so.

Types are part of the interface: a decorator that accepts everything, or that turns handlers into `Any`,
works at run time and fails its users. Both checkers are run once, strictly, over ``right`` and ``wrong``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FOLDERS = ("right", "wrong")
MARK = re.compile(r"#\s*error\b")

Lines = dict[str, list[str]]  # file:line, below this folder -> messages


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"MYPYPATH": str(ROOT / "src"), "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@cache
def mypy() -> Lines:
    found: Lines = {}
    options = ("--strict", "--python-version=3.11", "--no-error-summary", "--config-file=", "--no-pretty")
    done = run("mypy", *options, "--cache-dir", str(ROOT / ".mypy_cache" / "typing"), "-p", "right", "-p", "wrong")
    assert done.returncode in (0, 1), done.stdout + done.stderr
    for line in done.stdout.splitlines():
        place, _, message = line.partition(": error: ")
        if message:
            found.setdefault(place, []).append(message)
    return found


@cache
def pyright() -> Lines:
    done = run("pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(HERE / "pyrightconfig.json"))
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        text = f"pyright does not run here: {(done.stderr or done.stdout).strip()[-300:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    found: Lines = {}
    for item in report["generalDiagnostics"]:
        if item["severity"] == "error":
            path = Path(item["file"]).relative_to(HERE)
            place = f"{path.as_posix()}:{item['range']['start']['line'] + 1}"
            found.setdefault(place, []).append(item["message"])
    return found


def marked() -> set[str]:
    return {
        f"{path.relative_to(HERE).as_posix()}:{number}"
        for path in sorted((HERE / "wrong").glob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if MARK.search(line)
    }


CHECKERS = [mypy, pyright]


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_right_code_is_right(checker: Callable[[], Lines]) -> None:
    assert {place: text for place, text in checker().items() if not place.startswith("wrong")} == {}


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
def test_wrong_code_is_reported_where_it_is_marked(checker: Callable[[], Lines]) -> None:
    reported = {place: text for place, text in checker().items() if place.startswith("wrong")}
    assert marked() - reported.keys() == set(), "not reported"
    assert {place: text for place, text in reported.items() if place not in marked()} == {}


def test_there_is_something_to_check() -> None:
    assert len(marked()) > 20
    assert all(any((HERE / folder).glob("*.py")) for folder in FOLDERS)
