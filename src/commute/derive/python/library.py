"""Functions of itertools, functools, collections, heapq and operator that call what they are given or keep it."""

from __future__ import annotations

import array
import collections
import functools
import heapq
import itertools
import operator
import random
import types
from collections.abc import Callable, MutableMapping, MutableSequence, MutableSet
from typing import Any

from commute.derive.python import expressions
from commute.derive.python.attributes import class_attribute
from commute.derive.python.container_methods import called, method_call
from commute.derive.python.state import live_read, live_values, path_of
from commute.derive.run import Arguments, KeyAccess, Named, Run, signature
from commute.derive.values import (
    Const,
    Data,
    Either,
    Entries,
    Handle,
    Items,
    Live,
    Made,
    Unknown,
    Value,
    either,
    is_plain,
    lazily,
    options,
)

Answer = Callable[[Run, Arguments, Named, str], Value | None]
EACH_MAX = 6  # elements of a tuple that is drawn from one list
PASSES_MAX = 12
KEEPS = (MutableMapping, MutableSequence, MutableSet, collections.deque, array.array)
_LOOKS = ("get", "items", "values", "keys", "copy", "index", "count", "most_common", "elements", "qsize", "empty")


def entries_of(run: Run, value: Value, where: str) -> Entries:
    """A dict with what is in a mapping: of a dict all it is known to hold."""
    if isinstance(value, Either):
        found = [entries_of(run, option, where) for option in options(value) if option != Const(None)]
        names = [name for name in (found[0].known if found else ()) if all(name in each.known for each in found)]
        known = {name: either([each.known[name] for each in found]) or Data() for name in names}
        rest = [
            Entries({k: v for k, v in each.known.items() if k not in known}, each.other, each.key) for each in found
        ]
        inside = [one for each in rest for one in (each.any(),) if one is not None]
        keys = [expressions.element(run, each, where) for each in rest]
        sure = all(each.sure for each in found)
        grows = any(each.grows for each in found)
        key = either([key for key in keys if key is not None])
        return Entries(known, either(inside), key, sure=sure, grows=grows)
    if isinstance(value, Entries):
        return Entries(dict(value.known), value.other, value.key, sure=value.sure, grows=value.grows)
    if is_plain(value):
        return Entries({}, Data("a part of plain data"), Data("a name in plain data"))
    if isinstance(value, Live) and isinstance(value.value, dict | types.MappingProxyType):
        return Entries({}, live_values(run, value.value), live_read(run, value, None, where))
    for plugin in run.plugins:
        answer = plugin.call(run, Handle("entries"), [value], {}, where)
        if isinstance(answer, Entries):
            return answer
    named = run.call(run.get(value, "keys", where), [], {}, where) if isinstance(value, Made) else value
    key = expressions.element(run, named, where)
    return Entries({}, expressions.item(run, value, key or Data(), where), key)


def merged(run: Run, left: Entries, right: Value, where: str) -> Entries:
    """``{**left, **right}``."""
    more = entries_of(run, right, where)
    other = either([one for one in (left.other, more.other) if one is not None])
    keys = [one.key or Data() for one in (left, more) if one.other is not None]
    sure, grows = left.sure and more.sure, left.grows or more.grows
    return Entries({**left.known, **more.known}, other, either(keys), sure=sure, grows=grows)


def lazy(answer: Answer) -> Answer:
    """What runs where it is consumed, and sees what has changed since it was made."""

    def made_lazily(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
        def made() -> Value:
            return run.within(object(), lambda: answer(run, arguments, named, where)) or Data()

        now = made()
        return lazily(now, made) if isinstance(now, Items) else now

    return made_lazily


def _drawn(number: Callable[[Arguments, Named], Value]) -> Answer:
    """Tuples of several elements of one list, each any of them."""

    def draw(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
        count = number(arguments, named)
        if isinstance(count, Const) and isinstance(count.value, int) and 0 < count.value <= EACH_MAX:
            found = [expressions.element(run, arguments[0], where) for _ in range(count.value)]
            known = [one for one in found if one is not None]
            return Items("iterator", None, Items("tuple", known) if len(known) == len(found) else None)
        return Items("iterator", None, Items("tuple", None, expressions.element(run, arguments[0], where)))

    return draw


def _product(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    repeat = named.get("repeat", Const(1))
    if not isinstance(repeat, Const) or not isinstance(repeat.value, int) or repeat.value > EACH_MAX:
        found = [expressions.element(run, value, where) for value in arguments]
        return Items("iterator", None, Items("tuple", None, either([one for one in found if one is not None])))
    parts = [expressions.element(run, value, where) for _ in range(repeat.value) for value in arguments]
    known = [part for part in parts if part is not None]
    return Items("iterator", None, Items("tuple", known) if len(known) == len(parts) else None)


def _longest(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    fill = named.get("fillvalue", Const(None))
    parts = [expressions.element(run, value, where) for value in arguments]
    found = [fill if part is None else either([part, fill]) or fill for part in parts]
    return Items("iterator", None, Items("tuple", found))


def _reduced(run: Run, function: Value, values: Value, initial: Value | None, where: str) -> Value:
    """What stands at the end, or on the way, where a function takes what it gave before."""
    found = initial or expressions.element(run, values, where)
    if found is None:
        return Data("nothing to reduce")
    for _ in range(PASSES_MAX):
        one = expressions.element(run, values, where)
        new = either([found, *([] if one is None else [run.call(function, [found, one], {}, where)])]) or Data()
        if signature(new) == signature(found):
            return new
        found = new
    return run.widen("a reduction gives something else with each element", where)


def _reduce(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    return _reduced(run, arguments[0], arguments[1], arguments[2] if len(arguments) > 2 else None, where)


def _accumulate(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    function = arguments[1] if len(arguments) > 1 else named.get("func", Live(operator.add))
    return Items("iterator", None, _reduced(run, function, arguments[0], named.get("initial"), where))


def _while(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    def made() -> Items:
        found = expressions.element(run, arguments[1], where)
        if found is not None and not isinstance(arguments[0], Const):
            run.call(arguments[0], [found], {}, where)
        return Items("iterator", None, found)

    return lazily(made(), made)


def _groups(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    found = expressions.element(run, arguments[0], where)
    if found is None:
        return Items("iterator", [])
    key = arguments[1] if len(arguments) > 1 else named.get("key")
    kind = found if key is None else run.call(key, [found], {}, where)
    return Items("iterator", None, Items("tuple", [kind, Items("iterator", None, found)]))


def _best(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    found = expressions.element(run, arguments[1], where)
    if "key" in named:
        called(run, named["key"], [found or Data()], where)
    return Items("list", None, found)


def _sample(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    return Items("list", None, expressions.element(run, arguments[0], where))


def _shuffle(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    return method_call(run, arguments[0], "reverse", [], {}, where)


def _default_dict(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    made = _ordered(run, arguments[1:], named, where)
    if isinstance(made, Entries) and arguments and arguments[0] != Const(None):
        made.grows = True
        made.make = lambda: run.within(object(), lambda: run.call(arguments[0], [], {}, where))
        grow(made)
    return made


def grow(value: Entries) -> None:
    """A key is looked up that may not be there: what is made for it now. Containers of one kind are one here, so that a
    loop comes to an end."""
    for new in options(value.make()) if value.make is not None else ():
        old = options(value.other) if value.other is not None else ()
        alike = next((one for one in old if isinstance(one, Items) and isinstance(new, Items) and one.kind == new.kind),
                     None)  # fmt: skip
        if alike is not None and isinstance(new, Items):
            if (inside := new.any()) is not None:
                alike.known, alike.element = None, either([inside, *([] if (a := alike.any()) is None else [a])])
        elif not (isinstance(new, Entries) and new.any() is None and any(isinstance(one, Entries) for one in old)):
            value.other = either([new, *old])


def _ordered(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
    return run.call(Live(dict), arguments, named, where)


def _counter(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    found = expressions.element(run, arguments[0], where) if arguments else None
    return Entries({}, Data("a count"), either([Data("a key"), *([found] if found is not None else [])]))


def _getter(kind: str) -> Answer:
    def getter(run: Run, arguments: Arguments, named: Named, where: str) -> Value:
        if kind != "itemgetter" and not all(isinstance(one, Const) for one in arguments[:1]):
            return run.widen(f"{kind} with a computed name is not followed", where)
        return Handle(kind, {"arguments": list(arguments), "named": dict(named)})

    return getter


def got(run: Run, function: Handle, value: Value, where: str) -> Value:
    """What a getter of operator gives of a value."""
    given = function.about["arguments"]
    if function.kind == "methodcaller":
        return run.call(run.get(value, given[0].value, where), given[1:], function.about["named"], where)
    found = []
    for one in given:
        if function.kind == "itemgetter":
            found.append(expressions.item(run, value, one, where))
            continue
        if not isinstance(one, Const):
            return run.widen("attrgetter with a computed name is not followed", where)
        part = value
        for name in str(one.value).split("."):
            part = run.get(part, name, where)
        found.append(part)
    return found[0] if len(found) == 1 else Items("tuple", found)


def getter_of(run: Run, thing: Any, where: str) -> Value:
    """A live getter of operator as one that is made here."""
    made, given = thing.__reduce__()[:2]
    if isinstance(made, functools.partial):
        return run.widen("a methodcaller with named arguments is not followed", where)
    from commute.derive.python.attributes import wrap

    return run.call(Live(made), [wrap(run, one) for one in given], {}, where)


def _set_item(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    expressions.put(run, arguments[0], arguments[1], arguments[2] if len(arguments) > 2 else None, where)
    return Const(None)


def _in_place(run: Run, arguments: Arguments, _named: Named, where: str) -> Value | None:
    return None if is_plain(arguments[0]) else run.widen("an operator in place is not followed", where)


def _hasattr(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    for option in options(arguments[0]):
        cls = option.cls if isinstance(option, Made) else type(option.value) if isinstance(option, Live) else None
        for name in options(arguments[1]) if cls is not None else ():
            if not isinstance(name, Const) or not isinstance(name.value, str):
                return run.widen("hasattr with a computed name is not followed", where)
            if isinstance(class_attribute(cls, name.value), property | functools.cached_property):
                run.get(option, name.value, where)
    return Data("a condition")


def _vars(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    found: list[Value] = []
    for option in (option for value in arguments for option in options(value)):
        expressions.escape(run, option, where)
        found.append(Data("the attributes of plain data") if is_plain(option) else run.get(option, "__dict__", where))
    return either(found) or run.widen("vars() is not followed", where)


def _dir(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    for value in arguments:
        expressions.escape(run, value, where)
    return Data("the attributes of an object")


def kept(run: Run, thing: Any, arguments: Arguments, where: str) -> Value | None:
    """A method of a container of the standard library that outlives the handler: a deque, a Counter, a queue."""
    first = arguments[0] if arguments else None
    name = getattr(thing, "__name__", "")
    if not isinstance(first, Live) or not keeps(first.value) or class_attribute(type(first.value), name) is None:
        return None
    run.add(KeyAccess("read" if name in _LOOKS else "write", path_of(run, first.value), where))
    return Unknown("what is kept while the program runs")


def copy_of(value: Value) -> Value:
    """What a column holds, JSON say, is nobody's when it is copied: to change it writes no row."""
    copies = (
        Data("a copy of a column") if isinstance(one, Handle) and one.kind == "cell" else one for one in options(value)
    )
    return either(copies) or Data()


def keeps(thing: object) -> bool:
    """Whether an object holds what is put into it."""
    return isinstance(thing, KEEPS) or (type(thing).__name__.endswith("Queue") and not isinstance(thing, type))


def by_class(run: Run, thing: Any, arguments: Arguments, named: Named, where: str) -> Value | None:
    """``list.append(found, x)``, ``object.__setattr__(self, name, x)``: a method in C, asked of its class."""
    if not arguments:
        return None
    first, name = arguments[0], thing.__name__
    if thing.__objclass__ is object and name == "__setattr__":
        from commute.derive.python.setting import set_raw

        names = options(arguments[1])
        if not all(isinstance(one, Const) for one in names):
            return run.widen("an attribute with a computed name is set", where, "write the attribute out")
        for one in names:
            set_raw(run, first, str(one.value), arguments[2], where)  # type: ignore[union-attr]
        return Const(None)
    if thing.__objclass__ is object and name == "__getattribute__" and isinstance(arguments[1], Const):
        return run.get(first, str(arguments[1].value), where)
    if any(isinstance(option, Items | Entries) for option in options(first)):
        return method_call(run, first, name, arguments[1:], named, where)
    if isinstance(first, Made) and thing.__objclass__ is not object:
        for one in arguments[1:]:
            expressions.escape(run, one, where)
        return Unknown(f"what {name} of a container gives")
    return None


TABLE: dict[Any, Answer] = {
    itertools.product: _product, itertools.zip_longest: lazy(_longest),
    itertools.pairwise: lazy(_drawn(lambda *_: Const(2))),
    **{made: _drawn(lambda given, named: given[1] if len(given) > 1 else named.get("r", Data())) for made in
       (itertools.combinations, itertools.permutations, itertools.combinations_with_replacement)},
    itertools.takewhile: _while, itertools.dropwhile: _while, itertools.filterfalse: _while,
    itertools.groupby: lazy(_groups), itertools.accumulate: lazy(_accumulate), functools.reduce: _reduce,
    heapq.nlargest: _best, heapq.nsmallest: _best, random.sample: _sample, random.choices: _sample,
    random.shuffle: _shuffle, collections.defaultdict: _default_dict, collections.OrderedDict: _ordered,
    collections.Counter: _counter, operator.attrgetter: _getter("attrgetter"), hasattr: _hasattr,
    vars: _vars, dir: _dir,
    operator.itemgetter: _getter("itemgetter"), operator.methodcaller: _getter("methodcaller"),
    operator.setitem: _set_item, operator.delitem: _set_item,
    **{getattr(operator, name): _in_place for name in ("iadd", "iconcat", "ior", "iand", "isub", "imul", "ixor")},
}  # fmt: skip
