"""The pytest plugin: a seed for `run` and `assert_commutes`, one or many.

A test that takes `commute_seed` is run once with seed 0; with ``--commute-seeds N`` it is run N times, with the seeds
from 0, and the one that fails is in the test's id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

FIXTURE = "commute_seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--commute-seeds``."""
    group = parser.getgroup("commute")
    group.addoption(
        "--commute-seeds", type=int, default=1, metavar="N", help="run tests that take commute_seed with N seeds"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives each such test its seeds."""
    if FIXTURE in metafunc.fixturenames:
        metafunc.parametrize(FIXTURE, range(max(1, metafunc.config.getoption("--commute-seeds"))))
