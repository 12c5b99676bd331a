"""Conditions: what is certain of them, and what is known of a name behind one."""

from __future__ import annotations

import ast
import typing
import uuid
from collections.abc import Mapping

from commute.derive.models.fields import fields_of_class
from commute.derive.python.asked import HASH, SORT, ask, read_as_whole
from commute.derive.python.attributes import has_method, method_for
from commute.derive.python.state import live_read
from commute.derive.python.writers import is_application
from commute.derive.run import Arguments, Frame, Named, Run
from commute.derive.values import (
    Bound,
    Certain,
    Closure,
    Const,
    Data,
    Either,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Made,
    Value,
    Written,
    either,
    options,
)

_COMPARED = {
    ast.Eq: "eq", ast.NotEq: "ne", ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.In: "contains",
    ast.NotIn: "contains",
}  # fmt: skip


def truth(run: Run, value: Value, where: str, node: ast.expr | None = None) -> bool | None:
    """Whether a condition holds, where that is certain: of types, of None, of a literal. Methods for it are called."""
    run.each(value, lambda option: _asked_for_truth(run, option, where))
    if all(map(_is_empty, options(value))):
        return False
    if isinstance(value, Certain):
        return bool(value.value)
    if isinstance(value, Written) or (
        isinstance(value, Const) and (isinstance(node, ast.Constant | ast.Compare | ast.UnaryOp) or _decides(node))
    ):
        return bool(value.value)
    return None


def _asked_for_truth(run: Run, value: Value, where: str) -> None:
    method = method_for(value, "__bool__") or method_for(value, "__len__")
    if method is not None:
        run.call(Live(method), [value], {}, where)
    elif isinstance(value, Live):
        read_as_whole(run, value, where)
    elif isinstance(value, Handle):
        escape_truth(run, value, where)


def narrowed(run: Run, frame: Frame, test: ast.expr) -> tuple[dict[str, Value], dict[str, Value]]:
    """What a name is known to be where ``isinstance(name, cls)`` or ``name in (…)`` holds, and where it does not."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        held, failed = narrowed(run, frame, test.operand)
        return failed, held
    if isinstance(test, ast.Compare):
        found = _among(run, frame, test)
        return ({}, found) if isinstance(test.ops[0], ast.NotIn) else (found, {})
    if not (
        _decides(test) and isinstance(test, ast.Call) and len(test.args) == 2 and isinstance(test.args[0], ast.Name)
    ):
        return {}, {}
    name = test.args[0].id
    value = frame.names.get(name)
    if not isinstance(value, Either) or name in frame.outside or name in frame.around:
        return {}, {}
    cls = run.evaluate(frame, test.args[1])
    answers = [
        (option, truth(run, run.call(Live(isinstance), [option, cls], {}, frame.where(test)), "", test))
        for option in value.options
    ]
    held_, failed_ = (either(one for one, answer in answers if answer is not other) for other in (False, True))
    return {name: held_} if held_ is not None else {}, {name: failed_} if failed_ is not None else {}


def _among(run: Run, frame: Frame, test: ast.Compare) -> dict[str, Value]:
    """What a text of the event is known to be where it is in a few constant ones."""
    if len(test.ops) != 1 or not isinstance(test.ops[0], ast.In | ast.NotIn) or not isinstance(test.left, ast.Name):
        return {}
    name = test.left.id
    value = frame.names.get(name)
    if value is None or name in frame.outside or name in frame.around or not all(map(_is_text, options(value))):
        return {}
    inside = run.evaluate(frame, test.comparators[0])
    if not isinstance(inside, Items) or inside.state or inside.again is not None:
        return {}
    one = inside.any()
    few = one is not None and all(isinstance(each, Const) and type(each.value) is str for each in options(one))
    return {name: one} if few and one is not None else {}


def _is_text(value: Value) -> bool:
    """Whether it is a text of the event, or nothing: what equals a text is that text then."""
    if isinstance(value, Field):
        return value.hint is str or set(typing.get_args(value.hint)) == {str, type(None)}
    return value == Const(None)


def _is_empty(value: Value) -> bool:
    """Whether nothing was put into a list or dict of this run until now."""
    if isinstance(value, Items):
        return value.kind != "iterator" and value.known == [] and not (value.element or value.again or value.state)
    if isinstance(value, Entries):
        return not (value.known or value.other or value.state or value.grows or value.holder)
    return False


def escape_truth(run: Run, value: Handle, where: str) -> None:
    """Whether there is a row is a reading of it: the plug-in that made it knows."""
    for plugin in run.plugins:
        if plugin.call(run, Handle("operator", {"name": "bool"}), [value], {}, where) is not None:
            return


def _decides(node: ast.expr | None) -> bool:
    """Whether it is a question for a type, whose answer here is that of every run."""
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("isinstance", "issubclass")
    )


def compare(run: Run, frame: Frame, node: ast.Compare, where: str) -> Value:
    values = [run.evaluate(frame, part) for part in (node.left, node.comparators[0])]
    for part in node.comparators[1:]:
        with run.apart(left_out=True):
            values.append(run.evaluate(frame, part))
    if len(node.ops) == 1 and isinstance(node.ops[0], ast.Is | ast.IsNot):
        same = _identical(values[0], values[1])
        return Data("a condition") if same is None else Const(same == isinstance(node.ops[0], ast.Is))
    decided = _decided(node, values)
    if decided is not None:
        return Const(decided)
    for left, op, right in zip(values, node.ops, values[1:], strict=False):
        name = _COMPARED.get(type(op), "")
        for plugin in run.plugins:
            answer = plugin.call(run, Handle("operator", {"name": name}), [left, right], {}, where)
            if answer is not None:
                return answer
        if name == "contains" and len(node.ops) == 1 and _never_in(left, right):
            return Const(isinstance(op, ast.NotIn))
        pair = (right, left) if name == "contains" else (left, right)
        for option in options(pair[0]):
            method = method_for(option, f"__{name}__") if name else None
            if method is not None:
                run.call(Live(method), [option, pair[1]], {}, where)
            elif isinstance(option, Live) and name == "contains":
                live_read(run, option, pair[1], where)
        if name == "contains":
            for one in pair:
                ask(run, one, where, HASH)
        else:
            for one in pair:
                ask(run, one, where, SORT)
    return Data("a condition")


def _decided(node: ast.Compare, values: list[Value]) -> bool | None:
    """Whether something that never changes is the one that is written there, or one of those; None: not asked so."""
    if len(node.ops) != 1:
        return None
    for one, other in ((values[0], node.comparators[0]), (values[1], node.left)):
        if isinstance(one, Certain | Written):
            try:
                written = ast.literal_eval(other)
            except ValueError:
                continue
            if isinstance(node.ops[0], ast.Eq | ast.NotEq):
                return bool(one.value == written) == isinstance(node.ops[0], ast.Eq)
            if isinstance(node.ops[0], ast.In | ast.NotIn) and one is values[0] and isinstance(written, _SEVERAL):
                return (one.value in written) == isinstance(node.ops[0], ast.In)
    return None


_SEVERAL = (tuple, list, set)


def _never_in(key: Value, inside: Value) -> bool:
    """Whether a dict of this run certainly has no such key."""
    return isinstance(key, Const) and all(
        isinstance(one, Entries)
        and not (one.state or one.grows or one.holder)
        and all(not isinstance(known, Handle) and known != key.value for known in one.known)
        and (
            one.other is None or all(isinstance(other, Const) and other != key for other in options(one.key or Data()))
        )
        for one in options(inside)
    )


def _identical(left: Value, right: Value) -> bool | None:
    """``left is right``, where it is certain: something made here is not None, and a class is a class."""
    if isinstance(left, Live) and isinstance(right, Live):
        return left.value is right.value
    for one, other in ((left, right), (right, left)):
        if isinstance(other, Const) and other.value is None:
            if isinstance(one, Made | Items | Entries | Closure | Bound | Live):
                return False
            if isinstance(one, Handle) and one.kind in ("session", "session-maker"):
                return False
            if isinstance(one, Const):
                return None if one.value is not None else True
    return None


def is_instance(run: Run, arguments: Arguments, _named: Named, where: str) -> Value:
    value, cls = arguments[0], arguments[1]
    classes = [part.value for part in (cls.known or [] if isinstance(cls, Items) else [cls]) if isinstance(part, Live)]
    for one in classes:
        if isinstance(one, type) and _asks_itself(run, one, value, where):
            return Data("what a class says of an object")
    if not classes or not all(isinstance(one, type) for one in classes):
        return Data("a condition")
    answers = {_is_of(option, tuple(classes)) for option in options(value)}
    return Const(answers.pop()) if len(answers) == 1 and None not in answers else Data("a condition")


def _asks_itself(run: Run, cls: type, value: Value, where: str) -> bool:
    """Whether a class of the application's says itself what is an object of it; it is asked."""
    given = {"__instancecheck__": [Live(cls), value], "__subclasscheck__": [Live(cls), Data("a class")]}
    found = [(has_method(type(cls), name), several) for name, several in given.items()]
    hook = has_method(cls, "__subclasshook__")
    found += [(hook, [Live(cls), Data("a class")])]
    own = [(method, several) for method, several in found
           if method is not None and is_application(method.__code__.co_filename)]  # fmt: skip
    for method, several in own:
        with run.apart(left_out=True):
            run.call(Live(method), several, {}, where)
    return bool(own)


def _is_of(value: Value, classes: tuple[type, ...]) -> bool | None:
    if isinstance(value, Made):
        return issubclass(value.cls, classes)
    if isinstance(value, Field) and isinstance(value.hint, type) and value.hint is not typing.Any:
        if issubclass(value.hint, classes):
            return True
        # An instance of a class below it might be one of the others too.
        return None if any(issubclass(one, value.hint) for one in classes) else False
    if isinstance(value, Items):
        made = value.known is not None or value.head is not None
        if made and (value.kind, True) in (("list", list in classes), ("tuple", tuple in classes)):
            return True
        return False if all(one in _NO_LISTS for one in classes) else None
    if isinstance(value, Entries) and value.holder is None and not value.grows:
        if dict in classes or Mapping in classes:
            return True
        return False if all(one in _NO_DICTS or fields_of_class(one) is not None for one in classes) else None
    if isinstance(value, Const):
        return isinstance(value.value, classes)
    if isinstance(value, Handle) and value.kind in ("entity", "new"):  # a row may be of a class below
        mappers = value.about["mapper"].self_and_descendants if value.kind == "entity" else [value.about["mapper"]]
        answers = {issubclass(mapper.class_, classes) for mapper in mappers}
        return answers.pop() if len(answers) == 1 else None
    if isinstance(value, Handle) and value.kind == "redis" and all(one in (dict, *_NO_DICTS) for one in classes):
        return False  # a client or a pipeline
    return None


_NO_DICTS = (str, bytes, int, float, bool, list, tuple, set, type(None), uuid.UUID)


_NO_LISTS = (str, bytes, int, float, bool, dict, type(None), uuid.UUID)
