"""Calls: of functions with a source, of classes, of what is trusted; everything else may touch anything."""

from __future__ import annotations

import ast
import functools
import types
from collections.abc import Callable, Mapping
from typing import Any

from commute.derive.declared import declared_call
from commute.derive.models.dumps import dump_call
from commute.derive.python import expressions, library
from commute.derive.python.asked import ask
from commute.derive.python.attributes import has_method, wrap
from commute.derive.python.builtin_calls import builtin_call
from commute.derive.python.callbacks import called_by_library, later_too
from commute.derive.python.container_methods import method_call
from commute.derive.python.kept import remembered
from commute.derive.python.libraries import (
    LEAVES_OPEN,
    checks_arguments,
    decorates,
    fills_in,
    in_context,
    repeated,
    validated,
)
from commute.derive.python.logs import written
from commute.derive.python.making import construct, note_args
from commute.derive.python.recursion import SAME_MAX, inside_itself
from commute.derive.python.stand_ins import IN_THREADS, STAND_INS
from commute.derive.python.writers import is_application
from commute.derive.run import DEPTH_MAX, INSIDE, Apart, Arguments, Frame, Later, Named, Run, joined
from commute.derive.source import source_of_function
from commute.derive.trusted import (
    CONTEXTS,
    HANDS_BACK,
    NAMES_ONLY,
    SINKS,
    TEXTS,
    is_pure,
    module_of,
    names_of,
    touches_nothing,
)
from commute.derive.values import (
    Bound,
    Closure,
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
    Written,
    compute,
    either,
    is_harmless,
    is_plain,
    options,
)

CLASSES_MAX = 8  # of one argument; a function is followed once for each


def call(run: Run, function: Value, arguments: Arguments, named: Named, where: str) -> Value:
    """What the call gives; what it touches is added to the run."""
    written, run.written = run.written, False
    if not run.step(where):
        return Unknown("it leads too far")
    if isinstance(function, Either):
        found = []
        for option in function.options:
            if option != Const(None):
                with run.apart(left_out=True):
                    found.append(call(run, option, arguments, named, where))
        return either(found) or Data()
    for plugin in run.plugins:
        answer = plugin.call(run, function, arguments, named, where)
        if answer is not None:
            return answer
    if isinstance(function, Closure):
        return _run_closure(run, function, arguments, named, where)
    if isinstance(function, Bound):
        return call(run, function.function, [function.first, *arguments], named, where)
    if isinstance(function, Handle) and function.kind == "method":
        of, name = function.about["of"], function.about["name"]
        if written:
            return method_call(run, of, name, arguments, named, where)
        with run.apart():  # by whoever was given the method: any number of times
            return method_call(run, of, name, arguments, named, where)
    if isinstance(function, Live):
        return _live(run, function.value, arguments, named, where)
    if isinstance(function, Made):
        method = has_method(function.cls, "__call__")
        if method is not None:
            return call(run, Live(method), [function, *arguments], named, where)
    return run.widen(f"a call of what is not known ({getattr(function, 'why', '')})", where)


def _live(run: Run, thing: Any, arguments: Arguments, named: Named, where: str) -> Value:
    declared = declared_call(run, thing, arguments, named, where)
    if declared is not None:
        return declared
    if run.knowledge.is_trusted(names_of(thing)):
        return Data(f"{names_of(thing)[0]} is trusted")
    thing = thing.__origin__ if isinstance(thing, types.GenericAlias) else STAND_INS.get(id(thing), thing)
    if any(thing is one for one in IN_THREADS):
        later_too(run, lambda: _function(run, thing, arguments, named, where))
        return run.within(Apart(), lambda: _function(run, thing, arguments, named, where))
    if isinstance(thing, functools.partial):
        fixed = [wrap(run, part) for part in thing.args]
        more = {name: wrap(run, part) for name, part in thing.keywords.items()}
        return call(run, wrap(run, thing.func), [*fixed, *arguments], {**more, **named}, where)
    if isinstance(thing, types.MethodType):
        return call(run, Live(thing.__func__), [wrap(run, thing.__self__), *arguments], named, where)
    known = builtin_call(run, thing, arguments, named, where) or dump_call(run, thing, arguments, named, where)
    if known is not None:
        return known
    if isinstance(thing, type):
        return construct(run, thing, arguments, named, where)
    if names_of(thing)[0] in CONTEXTS:
        return in_context(run, arguments, where)
    around = getattr(thing, "__wrapped__", None)
    if isinstance(thing, types.FunctionType) and around is not None and decorates(thing):
        return repeated(run, thing, arguments, named, where)
    if isinstance(thing, types.FunctionType) and around is not None and checks_arguments(thing):
        return validated(run, thing, arguments, named, where)
    if isinstance(thing, types.FunctionType):
        if touches_nothing(thing):
            return of_trusted(run, thing, arguments, named, where)
        return _function(run, thing, arguments, named, where)
    own = thing.__self__ if isinstance(thing, types.BuiltinMethodType) else None
    if own is not None and library.keeps(own):
        return call(run, Bound(Live(getattr(type(own), thing.__name__)), Live(own)), arguments, named, where)
    of_exception = isinstance(thing, types.WrapperDescriptorType) and issubclass(thing.__objclass__, BaseException)
    if of_exception and thing.__name__ == "__init__" and arguments:
        note_args(arguments[0], arguments[1:])
    if isinstance(thing, types.MethodDescriptorType | types.WrapperDescriptorType):
        answer = library.by_class(run, thing, arguments, named, where)
        if answer is not None:
            return answer
    if touches_nothing(thing):
        return of_trusted(run, thing, arguments, named, where)
    wrapped = getattr(thing, "__wrapped__", None)
    if isinstance(thing, functools._lru_cache_wrapper) and wrapped is not None:
        found = run.within(object(), lambda: call(run, Live(wrapped), arguments, named, where))
        return remembered(run, thing, [*arguments, *named.values()], found)
    method = has_method(type(thing), "__call__")
    if method is not None:
        return call(run, Live(method), [Live(thing), *arguments], named, where)
    name = names_of(thing)[0]
    if name.startswith("_contextvars."):  # to trust it says nothing of what runs in it
        return run.widen(f"{name} is not followed: what runs in it sees other variables", where)
    return run.widen(
        f"{name} is not followed: it has no source that can be read", where,
        f'app.trust("{name}") if it touches nothing, else @app.accesses(...) on a function around it',
    )  # fmt: skip


def of_trusted(run: Run, thing: Any, arguments: Arguments, named: Named, where: str) -> Value:
    """A function that touches nothing itself: functions among its arguments are called, objects may be read."""
    by_class = isinstance(thing, types.FunctionType) and "." in thing.__qualname__
    if by_class and arguments and module_of(thing).split(".")[0] in LEAVES_OPEN and fills_in(arguments[0]):
        what = f"{fills_in(arguments[0])}, which fills in what {names_of(thing)[0]} leaves open, is not followed"
        return run.widen(what, where)
    values = [*arguments, *named.values()]
    if module_of(thing).split(".")[0] in NAMES_ONLY:
        for value in values:
            expressions.as_text(run, value, where)
        written(run, thing, arguments, where)
        return Data("what is written down")
    if is_pure(thing) and not named and all(is_plain(value) for value in values):
        return compute(names_of(thing)[0], thing, list(arguments))
    what_is_kept = library.kept(run, thing, arguments, where)
    if what_is_kept is not None:
        return what_is_kept
    plain = all(is_harmless(value) or _is_function(value) for value in values)
    given: Value = Data("what it is called with") if plain else Unknown("what it is called with")
    for value in values:
        ask(run, value, where)
        found = called_by_library(run, value, given, where)
        if plain and found is not None and not is_harmless(found):  # what it gives may come back to it
            called_by_library(run, value, Unknown("what it is called with"), where)
        if module_of(thing).split(".")[0] in SINKS:
            expressions.escape(run, value, where)
    if any(isinstance(one, Handle) and one.kind != "method" for value in values for one in options(value)):
        for value in values:
            expressions.escape(run, value, where)
    name = names_of(thing)[0]
    gives_text = any(word in name.rpartition(".")[2] for word in TEXTS)
    if name.split(".")[0].lstrip("_") in HANDS_BACK and not gives_text and not all(map(is_harmless, values)):
        return Unknown(f"what {name} returns")
    return Data(f"what {name} returns")


def _is_function(value: Value) -> bool:
    return isinstance(value, Closure) or (isinstance(value, Live) and isinstance(value.value, types.FunctionType))


# -- functions with a source --------------------------------------------------------------------------------------


def _function(run: Run, thing: types.FunctionType, arguments: Arguments, named: Named, where: str) -> Value:
    if hasattr(thing, "registry") and hasattr(thing, "dispatch"):  # functools.singledispatch
        several = either([wrap(run, one) for one in thing.registry.values()])
        return call(run, several or Data(), arguments, named, where)
    source = source_of_function(thing)
    if source is None:
        return run.widen(
            f"{names_of(thing)[0]} is not followed: its source is not to be had, or is another one", where,
            f'app.trust("{names_of(thing)[0]}") if it touches nothing',
        )  # fmt: skip
    cells = {}
    for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
        try:
            cells[name] = cell.cell_contents
        except ValueError:
            continue  # not set yet
    owner = cells.pop("__class__", None)
    own = is_application(str(thing.__globals__.get("__file__", "")))
    site = "" if own else where.partition(INSIDE)[0]
    frame = Frame(source.node, source.file, source.line, thing.__globals__, cells=cells, owner=owner, site=site)
    plain = [*source.node.args.posonlyargs, *source.node.args.args]
    given = thing.__defaults__ or ()
    defaults = {
        name.arg: _default(run, value) for name, value in zip(plain[len(plain) - len(given) :], given, strict=True)
    }
    defaults |= {name: _default(run, value) for name, value in (thing.__kwdefaults__ or {}).items()}
    return _activate(run, frame, thing.__code__, defaults, arguments, named, where)


def _default(run: Run, value: object) -> Value:
    """A parameter that is not given. Into an empty list or dict only a handler can have put something since."""
    if type(value) in (list, dict, set) and not value:
        run.knowledge.unfilled.add(id(value))
        run.knowledge.kept.append(value)
    found = wrap(run, value)
    return Written(found.value) if isinstance(found, Const) else found


def _run_closure(run: Run, function: Closure, arguments: Arguments, named: Named, where: str) -> Value:
    outer: Frame = function.frame
    frame = Frame(function.node, outer.file, outer.line, outer.globals, outer=outer, site=outer.site)
    return _activate(run, frame, function.node, function.defaults, arguments, named, where)


def _activate(
    run: Run, frame: Frame, identity: Any, defaults: Mapping[str, Value], arguments: Arguments, named: Named, where: str
) -> Value:
    node = frame.node
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    if len(run.active) > DEPTH_MAX:
        return run.widen(f"{getattr(node, 'name', 'a lambda')} leads deeper than can be followed", where)
    if run.active.count(identity) >= SAME_MAX:
        return inside_itself(run, frame, identity, defaults, arguments, named, where)
    one_each = _by_class(arguments)
    if one_each:
        direct, found = run.direct, []
        for one in one_each:
            run.direct = direct
            with run.apart(left_out=True):
                found.append(_activate(run, like(frame), identity, defaults, one, named, where))
        return either(found) or Data("it does not return")
    if not bind_parameters(run, frame, node.args, defaults, arguments, named):
        name = getattr(node, "name", "a lambda")
        return run.widen(f"{name} is called with arguments that are not followed", where)
    before = run.given.get(identity)
    run.given[identity] = [*arguments, *named.values()]
    try:
        return entered(run, frame, identity, again=(defaults, arguments, named, where))
    finally:
        if before is None:
            del run.given[identity]
        else:
            run.given[identity] = before


def _by_class(arguments: Arguments) -> list[list[Value]]:
    """The arguments once for each class that one of them may be of; none where its class is certain.

    What a function looks up by the class of its argument, as a message bus does its handlers, is that of this class
    then. Source: Agesen, "The Cartesian Product Algorithm", ECOOP 1995, for the first such argument alone.
    """
    for at, argument in enumerate(arguments):
        classes: dict[type, list[Value]] = {}
        for option in options(argument):
            if isinstance(option, Made):
                classes.setdefault(option.cls, []).append(option)
        if 1 < len(classes) <= CLASSES_MAX and all(isinstance(option, Made) for option in options(argument)):
            return [[*arguments[:at], either(one) or Data(), *arguments[at + 1 :]] for one in classes.values()]
    return []


def like(frame: Frame) -> Frame:
    """Another activation of the same function."""
    return Frame(
        frame.node,
        frame.file,
        frame.line,
        frame.globals,
        outer=frame.outer,
        cells=frame.cells,
        owner=frame.owner,
        site=frame.site,
    )


def entered(run: Run, frame: Frame, identity: Any, again: Any) -> Value:
    """The body of a function whose parameters are bound."""
    node = frame.node
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    generator = _yields(node)
    direct, run.direct = run.direct, False
    if generator:
        frame.on_yield, run.on_yield = run.on_yield, None
        if frame.on_yield is None and run.late is not None and again is not None and _ends_somehow(node):
            run.late.append(_again(run, frame, identity, *again))
    elif isinstance(node, ast.AsyncFunctionDef) and not direct and run.late is not None and again is not None:
        run.late.append(_again(run, frame, identity, *again))
    later = isinstance(node, ast.AsyncFunctionDef) and not direct and not generator
    around = len(run.regions)
    run.regions += [Later()] if later else [object()] if generator and frame.on_yield is None else []
    run.regions.append(frame.activation)
    run.active.append(identity)
    run.sites.append(again[-1] if again is not None else "")
    frame.late = run.late is None
    for name, value in frame.names.items():
        frame.ever.setdefault(name, []).append(value)
    try:
        with run.apart():
            if isinstance(node, ast.Lambda):
                return run.evaluate(frame, node.body)
            ended = run.execute(frame, node.body)
    finally:
        run.active.pop()
        run.sites.pop()
        del run.regions[around:]
    if frame.closed:
        frame.names = joined([*frame.closed, *([frame.names] if ended else [])])
    if generator:
        when_run = None if frame.on_yield or again is None else _again(run, frame, identity, *again)
        yielded = either(frame.yielded)
        return Items("iterator", [] if yielded is None else None, yielded, when_run)
    return either([*frame.returned, *([Const(None)] if ended else [])]) or Data("it does not return")


def _again(
    run: Run, frame: Frame, identity: Any, defaults: Mapping[str, Value], arguments: Arguments, named: Named, where: str
) -> Callable[[], Value | None]:
    """A generator runs where it is consumed, and sees what has changed since it was made."""

    def again() -> Value | None:
        new = like(frame)
        found = _activate(run, new, identity, defaults, arguments, named, where)
        return found.element if isinstance(found, Items) else None

    return again


@functools.lru_cache(4_096)
def _ends_somehow(node: ast.AST) -> bool:
    """Whether a generator does something when it is dropped."""
    return any(isinstance(one, ast.Try | ast.TryStar | ast.With | ast.AsyncWith) for one in ast.walk(node))


@functools.lru_cache(4_096)
def _yields(node: ast.AST) -> bool:
    left = list(ast.iter_child_nodes(node))
    while left:
        inner = left.pop()
        if isinstance(inner, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            left += ast.iter_child_nodes(inner)
    return False


def bind_parameters(
    run: Run, frame: Frame, given: ast.arguments, defaults: Mapping[str, Value], arguments: Arguments, named: Named
) -> bool:
    """Give the parameters their values; False where they do not fit."""
    plain = [argument.arg for argument in (*given.posonlyargs, *given.args)]
    names = frame.names
    names.update(defaults)
    loose: Value | None = None
    rest: list[Value] = []
    at = 0
    for value in arguments:
        if isinstance(value, Handle) and value.kind == "spread":
            loose = value.about["of"]
            continue
        if loose is None and at < len(plain):
            names[plain[at]] = value
            at += 1
        else:
            rest.append(value)
    if loose is not None:
        for name in plain[at:]:
            names[name] = either([loose, *([names[name]] if name in names else [])]) or loose
        rest = [loose, *rest]
    elif rest and given.vararg is None:
        return False
    known = {*plain, *(argument.arg for argument in given.kwonlyargs)}
    others = {name: value for name, value in named.items() if name not in known and name != "**"}
    names.update({name: value for name, value in named.items() if name in known})
    if "**" in named:
        spread = library.entries_of(run, named["**"], "")
        for name in known - set(plain[:at]) - named.keys():
            one = expressions.item(run, spread, Const(name), "")
            names[name] = either([one, *([names[name]] if name in names else [])]) or one
    if given.vararg is not None:
        names[given.vararg.arg] = Items("tuple", rest) if loose is None else Items("tuple", None, either(rest))
    if given.kwarg is not None:
        names[given.kwarg.arg] = (
            Entries(others) if "**" not in named else library.merged(run, Entries(others), named["**"], "")
        )
    elif others:
        return False
    return known <= names.keys()
