"""Keys of Redis as keys of footprints: those of a family, whose ends nobody knows, lie under one node.

    families job:                 job:7 ─▶ redis/job:/7      job:7:log ─▶ redis/job:/7:/log      what begins with
    users    ─▶ redis/users       job:  ─▶ redis/job:/%                                          job:7: ─▶ redis/job:/7:

An application has a family for each beginning of a key whose end is not known before the event: ``f"job:{uuid4()}"``,
``scan_iter("job:*")``. Where it has none, a key is one segment.

Invariant: two texts are the same key exactly where they are the same text, and what begins with a text lies under the
node of that text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from commute.footprints.segment import text_segment

FAMILY_MAX = 100  # letters
PIECES_MAX = 8  # behind the family


def families(leads: Iterable[str]) -> tuple[str, ...]:
    """The families of an application whose keys have these beginnings: the shortest, none inside of another."""
    found: list[str] = []
    for one in sorted({lead[:FAMILY_MAX] for lead in leads if lead}):
        if not found or not one.startswith(found[-1]):
            found.append(one)
    return tuple(found)


def family_of(text: str, known: Sequence[str]) -> str | None:
    """The family that a key is in."""
    return next((one for one in known if text.startswith(one)), None)


def spelled(text: str, known: Sequence[str], *, begins: bool = False) -> list[str]:
    """The segments of a key behind ``redis``; `begins`: of all keys that begin so. Raises RejectedError."""
    family = family_of(text, known)
    if family is None:
        return [] if begins else [text_segment(text)]
    *pieces, last = text[len(family) :].split(":")
    pieces = [f"{piece}:" for piece in pieces]
    if len(pieces) >= PIECES_MAX:
        pieces, rest = pieces[: PIECES_MAX - 1], pieces[PIECES_MAX - 1 :]
        last = "".join([*rest, last])
    return [text_segment(piece) for piece in (family, *pieces, *([] if begins else [last]))]
