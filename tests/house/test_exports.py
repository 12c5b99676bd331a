"""The public face: `commute.__all__` is whole, sorted, and described in docs/api.md."""

from __future__ import annotations

import re
from pathlib import Path

import commute
from tests.house.tree import project, text


def test_all_is_sorted_and_without_repetition() -> None:
    assert list(commute.__all__) == sorted(set(commute.__all__))


def test_every_export_is_there_and_has_a_docstring() -> None:
    bad = [name for name in commute.__all__ if not hasattr(commute, name)]
    assert not bad, f"in __all__ and not there: {bad}"
    silent = [
        name
        for name in commute.__all__
        if isinstance(thing := getattr(commute, name), type) and not (thing.__doc__ or "").strip()
    ]
    assert not silent, f"classes without a docstring: {silent}"


def test_every_public_name_is_exported() -> None:
    """A class or function that `commute` imports from its own modules is either exported or underscored."""
    loose = [
        name
        for name, thing in vars(commute).items()
        if not name.startswith("_")
        and name not in commute.__all__
        and getattr(thing, "__module__", "").startswith("commute.")
    ]
    assert not loose, f"imported into commute and not exported: {loose}"


def test_every_export_is_documented() -> None:
    headings = " ".join(re.findall(r"^#{2,4} (.*)$", text(Path("docs/api.md")), re.MULTILINE))
    described = set(re.findall(r"[A-Za-z_]\w*", headings))
    missing = [name for name in commute.__all__ if name not in described and not name.startswith("__")]
    assert not missing, f"no heading in docs/api.md: {missing}"


def test_the_version_is_the_projects() -> None:
    assert commute.__version__ == project()["project"]["version"]
