"""Prints what pyproject.toml requires, one a line: to run, to build, to develop, and for all extras.

Self-references (``commute[...]``) are left out: what they stand for is in the list already.
"""

from __future__ import annotations

import tomllib
from pathlib import Path


def needed(pyproject: Path) -> list[str]:
    """Requirement strings, sorted, without repetition."""
    project = tomllib.loads(pyproject.read_text())
    name = project["project"]["name"]
    listed = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(line for extra in project["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in project["dependency-groups"].values() for line in group),
        "editables",  # hatchling asks for it when an editable install is built
    ]
    return sorted({line for line in listed if not line.startswith(f"{name}[")})


if __name__ == "__main__":
    print("\n".join(needed(Path("pyproject.toml"))))
