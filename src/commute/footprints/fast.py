"""The common footprints as straight-line code: fields of an object or of the elements of a list.

A footprint is worked out for every event before anything else happens to it, so it bounds the events a
second of one engine. Source text is generated per handler, with one test per value for the case that needs
no encoding (a plain int, an ASCII word); all else, errors included, is left to the plain version, which
also is the oracle in tests.

Invariant: for every event, the same accesses or the same error as the plain version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import msgspec

from commute.core.footprint import Access, Footprint
from commute.errors import RejectedError
from commute.footprints.schema import ABSENT, OPEN, Place
from commute.footprints.segment import SEGMENT_BYTES_MAX, segment, text_segment
from commute.footprints.template import Field, Template

Evaluate: TypeAlias = Callable[[object], Footprint]
Join: TypeAlias = Callable[[Iterable[tuple[str, str]]], Footprint]

_PLAIN = "return plain(event)"


def compile_fast(
    accesses: Sequence[tuple[str, Template, Sequence[Place]]], plain: Evaluate, join: Join, accesses_max: int
) -> Evaluate | None:
    """A function from events to the same footprint as `plain`, or None where these templates are not of its
    kind.

    Its kind: one field or text a segment, at most one list a template, each name followed in a known way,
    and ``?`` on direct fields only. `join` joins accesses of equal keys. About 0.3 µs an access.
    """
    templates = [template for _, template, _ in accesses]
    meet = any(may_meet(a, b) for i, a in enumerate(templates) for b in templates[:i])
    flat = not any(known.optional or "*" in known.path for template in templates for known in template.fields)
    code = _Code(gathers=meet or not flat)
    for mode, template, places in accesses:
        if not code.add(mode, template, places):
            return None
    body = "\n        ".join(code.lines or ["pass"])
    result = f"({''.join(f'new(Access, {pair}), ' for pair in code.pairs)})"
    if code.gathers:
        body += f"\n        if len(found) > {accesses_max}: {_PLAIN}"
        result = "join(found)" if meet else "tuple([new(Access, pair) for pair in found])"
    source = (
        f"def footprint(event):\n    try:\n        {body}\n"
        f"    except FAILURES:\n        {_PLAIN}\n"
        f"    return {result}\n"
    )
    scope: dict[str, object] = {
        "plain": plain,
        "join": join,
        "segment": segment,
        "text_segment": text_segment,
        "Access": Access,
        "new": tuple.__new__,
        "LISTS": (list, tuple),
        "UNSET": msgspec.UNSET,
        "FAILURES": (AttributeError, LookupError, TypeError, ValueError, RejectedError),
    }
    exec(compile(source, "<commute footprint>", "exec"), scope)
    return cast(Evaluate, scope["footprint"])


def may_meet(a: Template, b: Template) -> bool:
    """Whether two templates could name the same key (not merely overlapping ones) in one event."""
    return len(a.segments) == len(b.segments) and all(
        left == right or any(isinstance(part, Field) for part in (*left, *right))
        for left, right in zip(a.segments, b.segments, strict=True)
    )


@dataclass(slots=True)
class _Code:
    """The body of the function as it grows.

    Without gathering, the result is a tuple of `pairs`, expressions of key and mode. With it, ``found`` is
    a dict whose keys are the pairs: a list may name one key many times.
    """

    gathers: bool
    lines: list[str] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # expressions loaded already, by their source

    def __post_init__(self) -> None:
        if self.gathers:
            self.lines.append("found = {}")

    def add(self, mode: str, template: Template, places: Sequence[Place]) -> bool:
        """Whether the template is of our kind; then its code was added."""
        fields = template.fields
        lists = {known.path[: known.path.index("*")] for known in fields if "*" in known.path}
        if len(lists) > 1 or any(len(parts) > 1 for parts in template.segments):
            return False
        loads: list[str] = []  # inside the loop or the condition, if there is one
        variables: list[str] = []
        opening = ""
        for known, found in zip(fields, places, strict=True):
            if found.steps is None or (ABSENT in found.kinds and not known.optional):
                return False
            if "*" in known.path:
                if known.optional or known.path.count("*") > 1:
                    return False
                star = known.path.index("*")
                opening = self.loop(known, found)
                expression = _follow("item", known.path[star + 1 :], found.steps[star + 1 :])
                loads += self.load(variable := f"w{len(variables)}", expression, found.kinds)
            elif known.optional:
                if len(known.path) > 1 or len(fields) > 1:
                    return False
                variable = "v"
                get = f"event.get({known.path[0]!r})" if found.steps == ("entry",) else f"event.{known.path[0]}"
                self.lines.append(f"v = {get}")
                opening = "if v is not None and v is not UNSET:"
                loads += self.load("v", "", found.kinds - {ABSENT})
            else:
                variable = self.loaded(_follow("event", known.path, found.steps), found.kinds)
                if lists:  # of an empty list no key is spelled, and so none is measured
                    self.lines.append(f'if len(f"{{{variable}}}") > {SEGMENT_BYTES_MAX}: {_PLAIN}')
            variables.append(variable)
        self.spell(mode, template, variables, loads, opening)
        return True

    def loop(self, known: Field, found: Place) -> str:
        star = known.path.index("*")
        items = _follow("event", known.path[:star], (found.steps or ())[:star])
        known_as = f"list {items}"  # apart from the same place as one value, which no list can be
        if known_as not in self.names:
            self.names[known_as] = f"items{len(self.names)}"
            self.lines += [
                f"{self.names[known_as]} = {items}",
                f"if {self.names[known_as]}.__class__ not in LISTS: {_PLAIN}",
            ]
        return f"for item in {self.names[known_as]}:"

    def loaded(self, expression: str, kinds: frozenset[str]) -> str:
        if expression not in self.names:
            self.names[expression] = f"v{len(self.names)}"
            self.lines += self.load(self.names[expression], expression, kinds)
        return self.names[expression]

    def load(self, variable: str, expression: str, kinds: frozenset[str]) -> list[str]:
        """Lines after which the variable is the segment of the value, or an int that is spelled like its
        segment.
        """
        lines = [f"{variable} = {expression}"] if expression else []
        number = f"{variable}.__class__ is int"  # one that is too long fails to be spelled, or as a key
        encode = f"if not ({variable}.isalnum() and {variable}.isascii()): {variable} = text_segment({variable})"
        if kinds == {"int"}:
            return [*lines, f"if not {number}: {_PLAIN}"]
        if kinds == {"str"}:
            return [*lines, f"if {variable}.__class__ is not str: {_PLAIN}", encode]
        if kinds == {OPEN}:
            return [
                *lines,
                f"if {variable}.__class__ is str:",
                f"    {encode}",
                f"elif not {number}: {_PLAIN}",
            ]
        return [*lines, f"{variable} = segment({variable})"]

    def spell(
        self, mode: str, template: Template, variables: Sequence[str], loads: Sequence[str], opening: str
    ) -> None:
        key = _spelling(template, variables)
        indent = "    " if opening else ""
        self.lines += [opening] if opening else []
        self.lines += [indent + line for line in loads]
        if variables:
            name = f"k{len(self.pairs)}"
            self.lines += [
                f"{indent}{name} = {key}",
                f"{indent}if len({name}) > {SEGMENT_BYTES_MAX}: {_PLAIN}",
            ]
            key = name
        self.pairs.append(f"({key}, {mode!r})")
        if self.gathers:
            self.lines.append(f"{indent}found[{self.pairs[-1]}] = None")


def _follow(base: str, path: Sequence[str], steps: Sequence[str]) -> str:
    return base + "".join(
        f".{name}" if step == "attribute" else f"[{name!r}]" for name, step in zip(path, steps, strict=True)
    )


def _spelling(template: Template, variables: Sequence[str]) -> str:
    """A Python expression for the key; literal texts have no braces, so they can stand in an f-string."""
    if not variables:
        return repr(str(Template(template.segments)))
    rest = iter(variables)
    parts = [
        f"{{{next(rest)}}}" if isinstance(part, Field) else part.replace("\\", "\\\\").replace('"', '\\"')
        for (part,) in template.segments
    ]
    return f'f"{"/".join(parts)}"'
