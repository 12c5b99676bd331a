"""How a log says that an object is touched: ``r``, ``w``, ``a``, the words, or the name of a commutative class.

A class is believed only if it cannot be meant as something else: two accesses of one class need not keep their
sequence, so a misspelt ``write`` would lose it in silence.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter

from commute.core.footprint import ADD, READ, WRITE
from commute.logs.base import Builder, excerpt

_MODES = {"r": READ, "read": READ, "w": WRITE, "write": WRITE, "a": ADD, "add": ADD}
_CLASS = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]+")
_MODES_READ = "known are r, w, a, read, write, add and names of commutative classes"
# Words for overwriting; as names of a commutative class they would be believed to commute with themselves.
_WRITES = frozenset(
    [
        *("create", "delete", "insert", "modify", "overwrite", "put", "remove", "replace", "set"),
        *("update", "upsert", "readwrite", "rw", "wr"),
    ]
)


def mode_of(word: object, classes: Counter[str]) -> str:
    """The mode that the word means; `classes` counts the commutative classes. Raises ValueError for no mode."""
    if not isinstance(word, str):
        raise ValueError(f"unknown mode {excerpt(word)}; {_MODES_READ}")
    known = _MODES.get(word) or _MODES.get(word.lower())
    if known:
        return known
    lower = word.lower()
    if lower in _WRITES:
        raise ValueError(f"unknown mode {word!r}; if it overwrites, say write")
    near = difflib.get_close_matches(lower, ("read", "write", "add"), n=1, cutoff=0.75)
    if near:
        raise ValueError(f"unknown mode {word!r}; did you mean {near[0]}?")
    if not _CLASS.fullmatch(word):
        raise ValueError(f"unknown mode {excerpt(word)!r}; {_MODES_READ}")
    classes[word] += 1
    return word


def note_classes(builder: Builder, classes: Counter[str]) -> None:
    """Say which words were taken for commutative classes."""
    for name, count in classes.items():
        builder.note(f"mode {name!r} ({count} accesses) is a commutative class: its accesses may change places")
