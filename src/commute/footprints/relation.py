"""How two event *types* are related, from their templates alone: never dependent, always, or when which
fields agree.

Two accesses meet if one key is a prefix of the other. Written as templates, that is so for the events in
which the fields side by side have the same value: ``order/{order_id}`` and ``order/{id}`` meet when
order_id = id, which is most general unification without nesting. The relation of two types is the
disjunction over their access pairs. It explains and draws; the schedule looks at instances only.

Invariant: if an event of each conflicts, the relation is not ``never`` and one of its conditions holds
(tested against footprints). Source: Mazurkiewicz (1977), independence relations; Robinson (1965),
unification.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal

from commute.core.footprint import WRITE, compatible
from commute.footprints.declared import Declared
from commute.footprints.template import Field, Segment, Template

Kind = Literal["never", "when", "always"]
Symbol = Literal["=", "~", "?", ".", "!"]


@dataclass(frozen=True, slots=True)
class Condition:
    """One way in which two events conflict: all `equalities` hold. Without any it depends on the events
    otherwise.

    A side of an equality is the path of a field (``lines.*.sku``: of some element) or a quoted text. `key`
    is the longer of the two templates; `why` says what else is needed, ``""`` if nothing.
    """

    equalities: tuple[tuple[str, str], ...]
    key: str
    modes: tuple[str, str]
    why: str = ""

    @property
    def element(self) -> bool:
        """Whether elements of lists are compared, rather than fields of the events."""
        return any("*" in side.split(".") for equality in self.equalities for side in equality)

    def __str__(self) -> str:
        texts = [f"{left} = {right}" for left, right in self.equalities]
        return " and ".join([*texts, self.why] if self.why else texts)


@dataclass(frozen=True, slots=True)
class Relation:
    """`kind`, and for ``when`` the conditions, any of which makes two events dependent."""

    kind: Kind
    conditions: tuple[Condition, ...] = ()

    @property
    def symbol(self) -> Symbol:
        """For matrices: ``=`` a field of each has the same value, ``~`` they share an element of a list,
        ``?`` other data or a function decides, ``.`` never, ``!`` always."""
        if self.kind != "when":
            return "." if self.kind == "never" else "!"
        if any(condition.equalities and not condition.element for condition in self.conditions):
            return "="
        return "~" if any(condition.element for condition in self.conditions) else "?"

    def __str__(self) -> str:
        """``never``, ``always``, or ``order_id = order_id, or lines.*.sku = sku``."""
        return self.kind if self.kind != "when" else ", or ".join(map(str, self.conditions))


def relation(a: Sequence[Declared], b: Sequence[Declared]) -> Relation:
    """How events of two types are related, given what their handlers declare. Symmetric but for the sides
    of its equalities. O(accesses of a * accesses of b).
    """
    conditions: dict[Condition, None] = {}
    for mine, yours in product(a, b):
        if mine.unordered or yours.unordered:
            continue
        if mine.everything or yours.everything:
            return Relation("always")
        for condition in _conditions(mine, yours):
            if not condition.equalities and not condition.why:
                return Relation("always")
            conditions[condition] = None
    return Relation("when", _shortest(tuple(conditions))) if conditions else Relation("never")


def _conditions(a: Declared, b: Declared) -> Iterator[Condition]:
    for (left_mode, left), (right_mode, right) in product(a.templates, b.templates):
        if not compatible(left_mode, right_mode):
            equalities = unify(left, right)
            if equalities is not None:
                key = max(left, right, key=lambda template: len(template.segments))
                yield Condition(equalities, str(key), (left_mode, right_mode), _presence(left, right, equalities))
    yield from _within(a, b)
    for modes in _computed_modes(a, b):
        yield Condition((), "", modes, "computed per event")


def _within(a: Declared, b: Declared) -> Iterator[Condition]:
    """What functions can meet of which it is known where their keys lie."""
    mine = [access for function in a.computed for access in function.within]
    yours = [access for function in b.computed for access in function.within]
    for (x, left), (y, right) in [*product(mine, (*b.templates, *yours)), *product(a.templates, yours)]:
        if not compatible(x, y) and unify(left, right) is not None:
            key = max(left, right, key=lambda template: len(template.segments))
            yield Condition((), str(key), (x, y), "computed per event")


def _computed_modes(a: Declared, b: Declared) -> set[tuple[str, str]]:
    """The pairs of modes in which a function takes part and that can conflict."""
    mine = {mode for function in a.computed if not function.within for mode in function.modes}
    yours = {mode for function in b.computed if not function.within for mode in function.modes}
    pairs = {*product(mine, b.modes), *product(a.modes, yours)}
    return {(x, y) for x, y in pairs if "any" in (x, y) or not compatible(x, y)}


def unify(a: Template, b: Template) -> tuple[tuple[str, str], ...] | None:
    """What must be equal for a key of `a` and a key of `b` to overlap; None if they never do. O(segments)."""
    equalities: dict[tuple[str, str], None] = {}
    for left, right in zip(a.segments, b.segments, strict=False):
        if _is_text(left) and _is_text(right):
            if left != right:
                return None
        else:
            equalities[_side(left), _side(right)] = None
    return tuple(equalities)


def _is_text(parts: Segment) -> bool:
    return not any(isinstance(part, Field) for part in parts)


def _side(parts: Segment) -> str:
    if _is_text(parts):
        return f'"{parts[0]}"'
    return "".join(part.name if isinstance(part, Field) and len(parts) == 1 else str(part) for part in parts)


def _presence(a: Template, b: Template, equalities: Sequence[tuple[str, str]]) -> str:
    """What must be there besides: optional fields and lists that no equality mentions."""
    compared = {side for equality in equalities for side in equality}
    needed = [
        field.name
        for template in (a, b)
        for field in template.fields
        if (field.optional or "*" in field.path) and field.name not in compared
    ]
    return " and ".join(f"{name} is there" for name in dict.fromkeys(needed))


def _shortest(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """Without those that another one, with fewer equalities, includes; one of each set of equalities,
    writes first.
    """
    kept: list[Condition] = []
    ranked = sorted(conditions, key=lambda c: (len(c.equalities), bool(c.why), WRITE not in c.modes))
    for condition in ranked:
        wanted = set(condition.equalities)
        included = any(
            set(known.equalities) <= wanted and known.why in ("", condition.why) and (known.equalities or known.why)
            for known in kept
        )
        if not included:
            kept.append(condition)
    return tuple(sorted(kept, key=conditions.index))
