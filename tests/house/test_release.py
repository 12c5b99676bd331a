"""What is shipped agrees with itself: version, change log, extras, pins, targets."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

from tests.house.tree import ROOT, modules, project, text

TARGETS_MAX = 12
# Extras that are no broker: what they bring, and the module that uses it (None: nothing of its own).
OTHER_EXTRAS = {"all", "derive", "dask", "postgres", "pydantic", "reload"}


def requirement_name(line: str) -> str:
    return re.split(r"[\[<>=!~; ]", line, maxsplit=1)[0].lower().replace("_", "-")


def pins() -> dict[str, str]:
    lines = [line for line in text(Path("constraints.txt")).splitlines() if line and not line.startswith("#")]
    return {requirement_name(line): line for line in lines}


def test_the_change_log_names_this_version() -> None:
    changes = text(Path("CHANGELOG.md"))
    version = project()["project"]["version"]
    headings = re.findall(r"^## \[?([^\]\n ]+)", changes, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert version in headings or f"Becomes {version}" in changes.split("\n## ")[1], (
        f"CHANGELOG.md does not know {version}"
    )


def test_an_extra_is_named_only_when_its_code_exists() -> None:
    extras = project()["project"]["optional-dependencies"]
    brokers = {name.rsplit(".", 1)[1] for name in modules() if name.startswith("commute.transports.")} - {"base"}
    assert extras.keys() - OTHER_EXTRAS <= brokers
    for module, imported in (("dask", "executors"), ("pydantic", "codec"), ("reload", "cli"), ("derive", "sql")):
        assert module in extras, f"{imported} needs the extra {module}"


def test_all_means_every_extra_that_brings_something() -> None:
    extras = project()["project"]["optional-dependencies"]
    (line,) = extras["all"]
    named = set(re.search(r"\[(.*)\]", line)[1].split(","))  # type: ignore[index]
    assert named == {name for name, lines in extras.items() if lines} - {"all"}


def test_everything_needed_is_pinned_to_one_version() -> None:
    configuration = project()
    needed = [
        *configuration["build-system"]["requires"],
        *configuration["project"]["dependencies"],
        *(line for lines in configuration["project"]["optional-dependencies"].values() for line in lines),
        *(line for lines in configuration["dependency-groups"].values() for line in lines),
    ]
    missing = {requirement_name(line) for line in needed} - {"commute"} - pins().keys()
    assert not missing, f"not in constraints.txt: {missing}; run: make pins"
    loose = [line for line in pins().values() if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert not loose, f"not a plain name==version: {loose}"


def test_pins_allow_what_the_project_asks_for() -> None:
    for line in project()["project"]["dependencies"]:
        name, at_least = re.split(">=", line)
        pinned = pins()[requirement_name(name)].split("==")[1]
        assert version(pinned) >= version(at_least), f"{line}, pinned to {pinned}"


def version(written: str) -> tuple[int, ...]:
    return tuple(int(part) for part in written.split("."))


def test_the_makefile_is_small() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text(Path("Makefile")), re.MULTILINE)
    assert len(phony.split()) <= TARGETS_MAX
    assert re.search(r"^all: lint types test$", text(Path("Makefile")), re.MULTILINE), "bare make = lint types test"


def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "set -euo pipefail" in text(Path(".ci/run"))


def test_the_checkers_judge_the_oldest_python_that_we_support() -> None:
    configuration = tomllib.loads(text(Path("pyproject.toml")))
    oldest = configuration["project"]["requires-python"].removeprefix(">=")
    assert configuration["tool"]["mypy"]["python_version"] == oldest
    assert configuration["tool"]["pyright"]["pythonVersion"] == oldest
    assert configuration["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
