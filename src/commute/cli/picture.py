"""The pictures that commands write: one HTML file, named by an option.

Invariant: a picture never costs the result. What cannot be written is said on stderr, and the exit status stays.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from commute.cli.dependence import related
from commute.cli.output import clean, note
from commute.cli.subject import Reader
from commute.footprints.relation import Relation
from commute.report.matrix import Cell
from commute.report.page import Page

if TYPE_CHECKING:
    from commute.app import App

PICTURE = "picture"


def picture_option(default: str) -> Callable[[Any], Any]:
    """``--picture FILE``, with `default`; ``--picture ""`` writes none."""
    return click.option(
        "--picture",
        PICTURE,
        metavar="FILE",
        default=default,
        show_default=True,
        help='Where the pictures go: one HTML file, nothing is loaded from a network; "" for none. With --json only if '
        "given.",
    )


def asked(parameter: str) -> bool:
    """Whether the option was given rather than left to its default."""
    return click.get_current_context().get_parameter_source(parameter) is ParameterSource.COMMANDLINE


def draw_asked(path: str | None, make: Callable[[], Page], *, as_json: bool) -> str | None:
    """`draw`, but with ``--json`` only where a file was named."""
    return None if as_json and not asked(PICTURE) else draw(path, make)


def draw(path: str | None, make: Callable[[], Page]) -> str | None:
    """Write the page and return its path; None where none is wanted or it cannot be written."""
    if not path:
        return None
    try:
        Path(path).write_text(make().html(), encoding="utf-8")
    except OSError as error:
        note(f"no picture: {clean(path)}: {clean(error.strerror or error)}")
        return None
    return path


def matrix_of(app: App[Any]) -> tuple[list[str], dict[tuple[str, str], Cell]]:
    """The event types of an app, and how each two of them are related."""
    kinds = Reader(app).kinds
    types = [kind.type for kind in kinds]
    return types, {(a, b): cell(related(kinds, a, b)) for at, a in enumerate(types) for b in types[at:]}


def cell(found: Relation) -> Cell:
    """A relation as a cell of the heat map."""
    said = {"never": "never dependent", "always": "always dependent"}.get(found.kind, f"dependent when {found}")
    return Cell(found.symbol, said)
