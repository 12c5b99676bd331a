"""Statements: both branches, loops until nothing changes, and what is left when an exception may come at any place."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence

from commute.derive.python import expressions
from commute.derive.python.deleting import delete_attribute
from commute.derive.python.importing import bring_in
from commute.derive.python.items import settled
from commute.derive.python.patterns import capture
from commute.derive.python.setting import set_attribute
from commute.derive.python.settling import alike, made_again, widen_changing, widen_held
from commute.derive.python.shape import shape
from commute.derive.python.state import set_global
from commute.derive.python.writers import is_own
from commute.derive.run import Frame, Run, joined
from commute.derive.values import (
    Closure,
    Const,
    Data,
    Handle,
    Items,
    Live,
    Made,
    Unknown,
    Value,
    either,
)

PASSES = 4  # of a loop's body, before what still changes counts as unknown
TIMES, TIMES_MAX = "times that a loop's body is run", 64  # in loops over known elements, inside of each other
PASSES_MAX = 40  # before it is given up: what a pass leaves to the next one, a chain of names say, has to settle


def execute(run: Run, frame: Frame, body: Sequence[ast.stmt]) -> bool:
    """Run the statements; False if nothing comes after them: they return, raise, break or continue."""
    for statement in body:
        if not run.step(frame.where(statement)):
            return False
        if not _one(run, frame, statement):
            return False
    return True


def _one(run: Run, frame: Frame, node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        run.discarded = node.value.value if isinstance(node.value, ast.Await) else node.value
        run.evaluate(frame, node.value)
    elif isinstance(node, ast.Return):
        frame.returned.append(run.evaluate(frame, node.value) if node.value is not None else Const(None))
        frame.activation.left = frame.activation.left or object()
        frame.closed.append(dict(frame.names))
        return False
    elif isinstance(node, ast.Raise):
        for part in (node.exc, node.cause):
            if part is not None:
                raised = run.evaluate(frame, part)
                if isinstance(raised, Live):
                    raised = run.call(raised, [], {}, frame.where(node))
                run.raised.append(raised)
        frame.closed.append(dict(frame.names))
        return False
    elif isinstance(node, ast.Break | ast.Continue):
        if frame.left:
            frame.left[-1].append(dict(frame.names))
        return False
    elif isinstance(node, ast.If):
        return _if(run, frame, node)
    elif isinstance(node, ast.For | ast.AsyncFor | ast.While):
        return _loop(run, frame, node)
    elif isinstance(node, ast.Try | ast.TryStar):
        return _try(run, frame, node)
    elif isinstance(node, ast.With | ast.AsyncWith):
        return _with(run, frame, node)
    elif isinstance(node, ast.Match):
        return _match(run, frame, node)
    else:
        _simple(run, frame, node)
    return True


def _simple(run: Run, frame: Frame, node: ast.stmt) -> None:
    if isinstance(node, ast.Assign):
        value = run.evaluate(frame, node.value)
        if len(node.targets) == 1:
            value = made_again(run, frame, node.targets[0], node.value, value)
        for target in node.targets:
            assign(run, frame, target, value)
    elif isinstance(node, ast.AnnAssign):
        if node.value is not None:
            value = run.evaluate(frame, node.value)
            assign(run, frame, node.target, made_again(run, frame, node.target, node.value, value))
    elif isinstance(node, ast.AugAssign):
        _augmented(run, frame, node)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        frame.assign(node.name, _decorated(run, frame, node))
    elif isinstance(node, ast.Assert):
        expressions.truth(run, run.evaluate(frame, node.test), frame.where(node), node.test)
        if node.msg is not None:
            run.evaluate(frame, node.msg)
    elif isinstance(node, ast.Delete):
        for target in node.targets:
            if isinstance(target, ast.Subscript):
                expressions.set_item(run, frame, target, None)
            elif isinstance(target, ast.Attribute):
                delete_attribute(run, run.evaluate(frame, target.value), target.attr, frame.where(node))
    elif isinstance(node, ast.Import | ast.ImportFrom):
        bring_in(run, frame, node)
    elif isinstance(node, ast.Global):
        frame.outside.update(node.names)
    elif isinstance(node, ast.Nonlocal):
        frame.around.update(node.names)
    elif isinstance(node, ast.ClassDef):
        frame.assign(node.name, run.widen(f"class {node.name} is made while the handler runs", frame.where(node)))
    elif not isinstance(node, ast.Pass):
        run.widen(f"{type(node).__name__} is not followed", frame.where(node))


def _decorated(run: Run, frame: Frame, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Value:
    value: Value = Closure(node, frame, expressions.defaults(run, frame, node.args))
    for decorator in reversed(node.decorator_list):
        value = run.call(run.evaluate(frame, decorator), [value], {}, frame.where(decorator))
    return value


# -- targets ------------------------------------------------------------------------------------------------------


def assign(run: Run, frame: Frame, target: ast.expr, value: Value) -> None:
    """Bind a target, whatever it is."""
    if isinstance(target, ast.Name):
        if target.id in frame.outside:
            set_global(run, frame, target.id, value, frame.where(target))
        elif target.id in frame.around:
            _set_around(run, frame, target.id, value, frame.where(target))
        else:
            frame.assign(target.id, value)
    elif isinstance(target, ast.Attribute):
        set_attribute(run, run.evaluate(frame, target.value), target.attr, value, frame.where(target))
    elif isinstance(target, ast.Subscript):
        expressions.set_item(run, frame, target, value)
    elif isinstance(target, ast.Starred):
        assign(run, frame, target.value, Items("list", None, expressions.element(run, value, frame.where(target))))
    elif isinstance(target, ast.Tuple | ast.List):
        _unpack(run, frame, target, value)


def _set_around(run: Run, frame: Frame, name: str, value: Value, where: str) -> None:
    """A variable of the function around: it has its old value or the new one, since when this runs is not followed."""
    at = frame.outer
    while at is not None and name not in at.names:
        at = at.outer
    if at is None:
        run.widen(f"{name} is a variable of a function that has ended, which this sets", where)
    else:
        at.assign(name, either([at.names[name], value]) or value)


def _unpack(run: Run, frame: Frame, target: ast.Tuple | ast.List, value: Value) -> None:
    starred = any(isinstance(part, ast.Starred) for part in target.elts)
    settled(value)
    if isinstance(value, Items) and value.known is not None and not starred and len(value.known) == len(target.elts):
        for part, item in zip(target.elts, value.known, strict=True):
            assign(run, frame, part, item)
        return
    where = frame.where(target)
    for at, part in enumerate(target.elts):
        inner = part.value if isinstance(part, ast.Starred) else part
        by_place = not starred and not isinstance(value, Made)  # an object gives them one after the other
        one = expressions.item(run, value, Const(at), where) if by_place else expressions.element(run, value, where)
        assign(run, frame, inner, one or Data())


def _augmented(run: Run, frame: Frame, node: ast.AugAssign) -> None:
    where = frame.where(node)
    load = ast.copy_location(_loaded(node.target), node.target)
    value = run.evaluate(frame, node.value)
    old = run.evaluate(frame, load)
    new = expressions.operate(run, type(node.op), old, value, where, in_place=True)
    assign(run, frame, node.target, new)


def _loaded(target: ast.Name | ast.Attribute | ast.Subscript) -> ast.expr:
    if isinstance(target, ast.Name):
        return ast.Name(target.id, ast.Load())
    if isinstance(target, ast.Attribute):
        return ast.Attribute(target.value, target.attr, ast.Load())
    return ast.Subscript(target.value, target.slice, ast.Load())


# -- where paths part and meet ------------------------------------------------------------------------------------


def _if(run: Run, frame: Frame, node: ast.If) -> bool:
    known = expressions.holds(run, frame, node.test)
    if known is not None:
        return execute(run, frame, node.body if known else node.orelse)
    return _branches(run, frame, [node.body, node.orelse], expressions.narrowed(run, frame, node.test))


def _branches(
    run: Run, frame: Frame, bodies: Iterable[Sequence[ast.stmt]], known: Sequence[dict[str, Value]] = ({}, {})
) -> bool:
    """Each of the bodies from the same names, and what is `known` there; True if something comes after one of them."""
    before = frame.names
    ends = []
    for body, more in zip(bodies, known, strict=False):
        frame.names = {**before, **more}
        run.regions.append(object())
        with run.apart():
            went_on = execute(run, frame, body)
        if went_on:
            ends.append(frame.names)
        run.regions.pop()
    frame.names = joined(ends) if ends else before
    return bool(ends)


def _loop(run: Run, frame: Frame, node: ast.For | ast.AsyncFor | ast.While) -> bool:
    where = frame.where(node)
    source: Value | None = None
    if not isinstance(node, ast.While):
        source = run.evaluate(frame, node.iter)
        each = expressions.each(run, source)
        if each and _one_by_one(run, frame, node, source, each):
            return _branches(run, frame, [node.orelse, []]) if node.orelse else True
        if expressions.element(run, source, where) is None:
            return execute(run, frame, node.orelse) if node.orelse else True
    frame.left.append([])
    for number in range(PASSES_MAX):
        before, seen = dict(frame.names), shape(run, frame)
        held = {made: dict(made.attributes) for made in run.made.values()}
        if isinstance(node, ast.While):
            if expressions.holds(run, frame, node.test) is False:
                break
        else:
            assert source is not None  # what is in it may change from pass to pass
            assign(run, frame, node.target, expressions.element(run, source, where) or Data())
        run.regions.append(object())
        with run.apart():
            went_on = execute(run, frame, node.body)
        run.regions.pop()
        frame.names = joined([before, *frame.left[-1], *([frame.names] if went_on else [])])
        if shape(run, frame) == seen or run.stop():
            break
        if number == PASSES - 2 or number >= 2 * PASSES:
            widen_changing(run, frame, before, where)
            widen_held(held)
    else:
        run.widen("a loop leaves something else after each pass", where)
    frame.left.pop()
    if node.orelse:
        return _branches(run, frame, [node.orelse, []])
    return True


def _one_by_one(run: Run, frame: Frame, node: ast.For | ast.AsyncFor, source: Value, each: Sequence[Value]) -> bool:
    """The body for each of a few known elements in sequence; False where there are too many, or it changes them."""
    times = run.kept.get(TIMES, 1) * len(each)
    if times > TIMES_MAX:
        return False
    run.kept[TIMES], before = times, run.kept.get(TIMES, 1)
    frame.left.append([])
    for value in each:
        assign(run, frame, node.target, value)
        run.regions.append(object())
        with run.apart():
            went_on = execute(run, frame, node.body)
        run.regions.pop()
        ends = [*frame.left[-1], *([frame.names] if went_on else [])]
        if not ends or run.stop():
            break
        frame.names = joined(ends)
    frame.left.pop()
    run.kept[TIMES] = before
    now = expressions.each(run, source)
    return now is not None and len(now) == len(each) and all(map(alike, each, now))


def _try(run: Run, frame: Frame, node: ast.Try | ast.TryStar) -> bool:
    before = dict(frame.names)
    jumps = len(frame.left[-1]) if frame.left else 0
    frame.trying += [{}, {}]
    run.regions.append(object())
    with run.apart():
        went_on = execute(run, frame, node.body)
        log = frame.trying.pop()
        if went_on and node.orelse:
            went_on = execute(run, frame, node.orelse)
    run.regions.pop()
    ends = [frame.names] if went_on else []
    after = _anywhere(before, log)
    for handler in node.handlers:
        frame.names = dict(after)
        kinds = None if handler.type is None else run.evaluate(frame, handler.type)
        if handler.name:
            frame.assign(handler.name, _caught(run, kinds))
        run.regions.append(object())
        with run.apart():
            handled = execute(run, frame, handler.body)
        if handled:
            ends.append(frame.names)
        run.regions.pop()
    everywhere = frame.trying.pop()
    if not node.finalbody:
        frame.names = joined(ends) if ends else after
        return bool(ends)
    frame.names = joined([*ends, _anywhere(before, everywhere)])
    if not execute(run, frame, node.finalbody):
        return False
    frame.closed.append(dict(frame.names))
    if frame.left and len(frame.left[-1]) > jumps:  # who leaves the loop from here comes by what stands under finally
        frame.left[-1].append(dict(frame.names))
    return bool(ends)


def _with(run: Run, frame: Frame, node: ast.With | ast.AsyncWith) -> bool:
    return _managed(run, frame, node, 0)


def _managed(run: Run, frame: Frame, node: ast.With | ast.AsyncWith, at: int) -> bool:
    """The block inside of its managers from the one at `at` on."""
    if at == len(node.items):
        with run.apart():
            return execute(run, frame, node.body)
    item, kind = node.items[at], "a" if isinstance(node, ast.AsyncWith) else ""
    opened = run.evaluate(frame, item.context_expr)
    where = frame.where(item.context_expr)

    def body(value: Value) -> bool:
        if item.optional_vars is not None:
            assign(run, frame, item.optional_vars, value)
        return _managed(run, frame, node, at + 1)

    if isinstance(opened, Handle) and "function" in opened.about:
        return _around_yield(run, frame, opened, body, where)
    before, put = dict(frame.names), run.how_much_is_put()
    frame.trying.append({})
    went_on = body(expressions.enter(run, opened, kind, where))
    log = frame.trying.pop()
    if not expressions.leave(run, opened, kind, where):
        return went_on
    # An exception may be swallowed, wherever it came.
    run.doubt(put)
    run.swallowed += 1
    anywhere = _anywhere(before, log)
    frame.names = joined([frame.names, anywhere]) if went_on else anywhere
    return True


def _caught(run: Run, kinds: Value | None) -> Value:
    """What ``except kinds as name`` binds: what the application raises of these kinds, and what others may raise."""
    listed = (kinds.known or []) if isinstance(kinds, Items) else [kinds]
    classes = tuple(one.value for one in listed if isinstance(one, Live) and isinstance(one.value, type))
    own = [value for value in run.raised if not isinstance(value, Made) or issubclass(value.cls, classes or object)]
    made = [value for value in own if isinstance(value, Made)]
    if made and len(classes) == len(listed) and all(is_own(cls) for cls in classes):
        return either(made) or Data()  # a class of the application's own, which the application alone raises
    if any(issubclass(cls, StopIteration | StopAsyncIteration) for cls in classes):
        return Unknown("what a generator has returned")
    return either([Data("an exception"), *own]) or Data()


def _anywhere(before: dict[str, Value], log: dict[str, list[Value]]) -> dict[str, Value]:
    """The names as an exception from any place of a block leaves them."""
    found = {name: either([*([before[name]] if name in before else []), *values]) for name, values in log.items()}
    return {**before, **{name: value for name, value in found.items() if value is not None}}


def _around_yield(run: Run, frame: Frame, opened: Handle, body: Callable[[Value], bool], where: str) -> bool:
    """A block around which a generator runs: the block takes the place of each ``yield``."""
    ends: list[dict[str, Value]] = []

    def block(value: Value) -> Value:
        before, swallowed = dict(frame.names), run.swallowed
        frame.trying.append({})
        went_on = body(value)
        log = frame.trying.pop()
        run.swallowed = swallowed
        if went_on:
            ends.append(dict(frame.names))
        frame.names = joined([before, frame.names, _anywhere(before, log)])
        return Const(None)

    run.on_yield, before = block, run.swallowed
    run.call(opened.about["function"], opened.about["arguments"], opened.about["named"], where)
    if run.on_yield is block:  # it is no generator that can be read
        run.on_yield = None
        run.widen("the block of a context manager is not followed", where)
        return body(Data())
    swallows = bool(opened.about.get("swallows")) or run.swallowed > before
    run.swallowed = before + swallows
    if ends and not swallows:
        frame.names = joined(ends)
        return True
    return bool(ends) or swallows


def _match(run: Run, frame: Frame, node: ast.Match) -> bool:
    subject = run.evaluate(frame, node.subject)
    before = frame.names
    ends: list[dict[str, Value]] = []
    for case in node.cases:
        frame.names = dict(before)
        run.regions.append(object())
        capture(run, frame, case.pattern, subject)
        if case.guard is not None:
            expressions.truth(run, run.evaluate(frame, case.guard), frame.where(case.guard), case.guard)
            before = joined([before, frame.names])  # what a case binds stays so when its guard fails
        with run.apart():
            went_on = execute(run, frame, case.body)
        if went_on:
            ends.append(frame.names)
        run.regions.pop()
    frame.names = joined([*ends, before])  # no case may fit
    return True
