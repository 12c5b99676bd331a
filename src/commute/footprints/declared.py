"""What a handler says it touches, checked at import and compiled to a function from events to footprints.

Five ways lead here: `reads`, `writes`, `adds`, `commutes` (named commutative classes) and `accesses`. Each
takes templates or a function of the event; a function is traced once with a recorder, and where that shows
its template the template is used from then on, so that values are encoded. Any of the five makes the
footprint complete, even an empty one. With none, nothing is known, and the footprint is EVERYTHING.

Invariants: keys of a footprint are distinct, and a key touched in two modes is written
(`core.footprint.join`); a footprint is complete or its event is rejected, never smaller. Source:
Bernstein's conditions (1966), per event.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

from commute.core.footprint import ADD, EVERYTHING, READ, WRITE, Access, Footprint, join
from commute.errors import RejectedError
from commute.footprints.computed import Computed, computed_accesses, computed_keys
from commute.footprints.fast import Evaluate, compile_fast
from commute.footprints.schema import Place
from commute.footprints.template import ACCESSES_MAX, Site, Template, check, keys, parse, too_many
from commute.footprints.trace import Untraceable, trace_accesses, trace_keys

ARGUMENTS = {READ: "reads", WRITE: "writes", ADD: "adds"}  # of a registration, for each mode that has its own

_NO_KEYS = ("key-too-long", "too-many-keys", "key-value")  # of values that are right and make no key

E = TypeVar("E")

Keys: TypeAlias = str | Sequence[str] | Callable[[E], str | Iterable[str]]
AnyKeys: TypeAlias = Keys[Any]
Labels: TypeAlias = str | Callable[[Any], str]  # a field's name, a template, or a function that has one


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The arguments of one registration as they were written; None: not given."""

    reads: AnyKeys | None = None
    writes: AnyKeys | None = None
    adds: AnyKeys | None = None
    commutes: Mapping[str, AnyKeys] | None = None
    accesses: Callable[[Any], Iterable[Access]] | None = None
    publishes: AnyKeys | None = None
    partition_by: Labels | None = None
    unordered: bool = False

    @property
    def nothing(self) -> bool:
        """Whether the footprint is unknown."""
        ways = (self.reads, self.writes, self.adds, self.commutes, self.accesses)
        return not self.unordered and all(way is None for way in ways)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What one handler declares about one event type.

    `footprint(event)` is the accesses of a decoded event; it raises RejectedError where a key does not
    resolve (``missing-field``, ``key-type``, ``key-value``, ``key-too-long``, ``key-too-deep``,
    ``too-many-keys``, ``key-function``). About 1 µs for two flat keys. `publish_keys(event)` gives the keys
    of ``publishes=``, None if that was not given.
    """

    handler: str
    where: str | None
    event_type: str
    cls: type | None
    templates: tuple[tuple[str, Template], ...]  # mode and template, as written
    places: tuple[tuple[Place, ...], ...]  # of the fields of each template
    everything: bool  # nothing declared: conflicts with all
    computed: tuple[Computed, ...]  # functions that have no template; called per event
    publishes: tuple[Template, ...] | None
    label: Template | None  # of partition_by=, one value an event
    footprint: Evaluate
    publish_keys: Callable[[object], tuple[str, ...]] | None
    derivation: Any = None  # where the accesses come from in the code; None: they were declared
    coarse: Footprint = ()  # stands for an event whose keys are too long or too many; (): such an event is rejected

    @property
    def unordered(self) -> bool:
        """Whether the footprint is empty for every event: waits for no one, and no one waits for it."""
        return not (self.everything or self.templates or self.computed)

    def shown(self, mode: str) -> str:
        """The keys of one mode as the banner shows them: templates side by side; ``""`` if there are none."""
        if self.everything:
            return "EVERYTHING" if mode == WRITE else ""
        if self.derivation is not None:
            return ", ".join(dict.fromkeys(str(key) for key in self.derivation.keys if key.mode == mode))
        texts = [str(template) for known, template in self.templates if known == mode]
        if any(mode in function.modes for function in self.computed):
            texts.append("computed per event")
        return ", ".join(texts)

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes that occur, as first written; ``accesses=`` functions without a template count under
        ``any``.
        """
        known = dict.fromkeys(mode for mode, _ in self.templates)
        for function in self.computed:
            known.update(dict.fromkeys(function.modes))
        return tuple(known)

    def plain(self, event: object, accesses_max: int = ACCESSES_MAX) -> Footprint:
        """The footprint by the plain version, whatever was compiled: the oracle of `footprint`."""
        return _plain(self, accesses_max)(event)

    def limited(self, accesses_max: int) -> Declared:
        """The same declaration with another bound on the keys of one event."""
        return _compiled(self, accesses_max)


def compile_footprint(
    given: Given, *, cls: type | None, event_type: str, handler: str, where: str | None = None
) -> Declared:
    """What a registration declares about one event class (None: dicts), all checks of import time done.

    Raises UsageError: ``template``, ``unknown-field``, ``optional-field``, ``key-type``, ``key-too-deep``,
    ``mode``.
    """
    found = _Found([], [], [])
    if not given.unordered:
        for mode, argument, way in _ways(given, handler, where):
            _collect(found, mode, way, cls, Site(handler, argument, where))
        if given.accesses is not None:
            _collect_accesses(found, given.accesses, cls, Site(handler, "accesses", where))
    publishes, publish_keys = _publishing(given.publishes, cls, Site(handler, "publishes", where))
    partitions = Site(handler, "partition_by", where)
    declared = Declared(
        handler=handler,
        where=where,
        event_type=event_type,
        cls=cls,
        templates=tuple(found.templates),
        places=tuple(found.places),
        everything=given.nothing,
        computed=tuple(found.computed),
        publishes=publishes,
        label=None if given.partition_by is None else label_template(given.partition_by, cls, partitions),
        footprint=_unset,
        publish_keys=publish_keys,
    )
    return _compiled(declared, ACCESSES_MAX)


def label_template(way: Labels, cls: type | None, site: Site) -> Template:
    """The template of a partition label: ``customer_id`` or ``{customer_id}``, or a function that gives it.

    Raises UsageError: ``partition-by`` for what has not one value in each event, or is not known before the event, and
    those of templates.
    """
    found = _Found([], [], [])
    if isinstance(way, str) and "{" not in way:
        way = f"{{{way}}}"
    _collect(found, READ, way, cls, site)
    if found.computed:
        why = f"its function has no template ({found.computed[0].why})"
    elif len(found.templates) != 1:
        why = f"{len(found.templates)} templates"
    else:
        ((_, template),) = found.templates
        if template.fields and not any("*" in field.path for field in template.fields):
            return template
        why = f"{template} has not one value in each event"
    raise site.error(
        f"partition_by=: {why}, so nothing shows which events share a partition. Name a field, or a template of fields",
        "partition-by",
    )


def join_footprints(footprints: Sequence[Footprint], accesses_max: int = ACCESSES_MAX) -> Footprint:
    """The footprint of an event with several handlers: their union, equal keys joined. O(accesses).

    Raises RejectedError (``too-many-keys``) beyond `accesses_max`, which bounds the event, not each handler.
    """
    if len(footprints) == 1:
        return footprints[0]
    joined = joined_accesses(access for footprint in footprints for access in footprint)
    if len(joined) > accesses_max:
        raise too_many(accesses_max)
    return joined


def joined_accesses(accesses: Iterable[tuple[str, str]]) -> Footprint:
    """The accesses with modes of equal keys joined, in the sequence of first appearance. O(n)."""
    modes: dict[str, str] = {}
    for key, mode in accesses:
        known = modes.get(key)
        modes[key] = mode if known is None else join(known, mode)
    return tuple(Access(key, mode) for key, mode in modes.items())


@dataclass(frozen=True, slots=True)
class _Found:
    templates: list[tuple[str, Template]]
    places: list[tuple[Place, ...]]
    computed: list[Computed]

    def add(self, mode: str, template: Template, places: tuple[Place, ...]) -> None:
        if (mode, template) not in self.templates:
            self.templates.append((mode, template))
            self.places.append(places)


def _ways(given: Given, handler: str, where: str | None) -> list[tuple[str, str, AnyKeys]]:
    ways: list[tuple[str, str, AnyKeys]] = [(mode, name, getattr(given, name)) for mode, name in ARGUMENTS.items()]
    for mode, way in (given.commutes or {}).items():
        if not isinstance(mode, str) or mode in (READ, WRITE) or not mode.isidentifier():
            raise Site(handler, "commutes", where).error(
                f"commutes={{{mode!r}: ...}}: name a commutative class by one word, not read or write", "mode"
            )
        ways.append((mode, f"commutes[{mode}]", way))
    return [(mode, argument, way) for mode, argument, way in ways if way is not None]


def _collect(found: _Found, mode: str, way: AnyKeys, cls: type | None, site: Site) -> None:
    if not callable(way):
        for text in _texts(way, site):
            template = parse(text, site)
            found.add(mode, template, check(template, cls, site))
        return
    traced = trace_keys(way, cls, site)
    if isinstance(traced, Untraceable):
        found.computed.append(Computed(way, (mode,), site.argument, traced.why))
        return
    for template in traced:
        found.add(mode, template, check(template, cls, site))


def _collect_accesses(found: _Found, way: Callable[[Any], Iterable[Access]], cls: type | None, site: Site) -> None:
    if not callable(way):
        raise site.error("accesses= takes a function of the event that gives Access(key, mode)", "template")
    traced = trace_accesses(way, cls, site)
    if isinstance(traced, Untraceable):
        found.computed.append(Computed(way, ("any",), site.argument, traced.why))
        return
    for mode, template in traced:
        found.add(mode, template, check(template, cls, site))


def _texts(way: str | Sequence[str], site: Site) -> Collection[str]:
    if isinstance(way, str):
        return (way,)
    if isinstance(way, Iterable) and not isinstance(way, Mapping | bytes):
        return tuple(way)
    raise site.error(f"{site.argument}={way!r}: give a template, several, or a function of the event", "template")


def _publishing(
    way: AnyKeys | None, cls: type | None, site: Site
) -> tuple[tuple[Template, ...] | None, Callable[[object], tuple[str, ...]] | None]:
    if way is None:
        return None, None
    found = _Found([], [], [])
    _collect(found, WRITE, way, cls, site)
    templates = tuple(template for _, template in found.templates)
    computed = tuple(found.computed)

    def publish_keys(event: object) -> tuple[str, ...]:
        known: dict[str, None] = {}
        try:
            for template in templates:
                known.update(dict.fromkeys(keys(template, event)))
            for function in computed:
                known.update(dict.fromkeys(computed_keys(function, event)))
        except RejectedError as error:
            raise _from(site.handler, error) from error
        return tuple(known)

    return templates, publish_keys


def _compiled(declared: Declared, accesses_max: int) -> Declared:
    if declared.everything:
        return replace(declared, footprint=lambda event: EVERYTHING)
    plain = _plain(declared, accesses_max)
    fast = None
    if not declared.computed and len(declared.templates) <= accesses_max:
        parts = [(*access, places) for access, places in zip(declared.templates, declared.places, strict=True)]
        fast = compile_fast(parts, plain, joined_accesses, accesses_max)
    found = fast or plain
    if declared.derivation is not None:
        found = _or_coarser(declared, found, accesses_max)
    return replace(declared, footprint=found)


def _or_coarser(declared: Declared, evaluate: Evaluate, accesses_max: int) -> Evaluate:
    """A derived footprint: nobody has chosen its keys, so one that would be too long ends before what makes it so."""

    def footprint(event: object) -> Footprint:
        try:
            return evaluate(event)
        except RejectedError as error:
            if error.slug != "key-too-long":
                raise
        joined = joined_accesses(declared.derivation.accesses(event))
        if len(joined) > accesses_max:
            raise _from(declared.handler, too_many(accesses_max))
        return joined

    return footprint


def _plain(declared: Declared, accesses_max: int) -> Evaluate:
    def footprint(event: object) -> Footprint:
        accesses: list[tuple[str, str]] = []
        try:
            for mode, template in declared.templates:
                accesses += [(key, mode) for key in keys(template, event, accesses_max)]
            for function in declared.computed:
                accesses += computed_accesses(function, event, accesses_max)
            joined = joined_accesses(accesses)
            if len(joined) > accesses_max:
                raise too_many(accesses_max)
        except RejectedError as error:
            if declared.coarse and error.slug in _NO_KEYS:
                return declared.coarse
            raise _from(declared.handler, error) from error
        return joined

    return footprint


def _from(handler: str, error: RejectedError) -> RejectedError:
    return RejectedError(f"{handler}: {error.message}", slug=error.slug, where=error.where)


def _unset(event: object) -> Footprint:
    raise AssertionError("compile_footprint fills this in")
