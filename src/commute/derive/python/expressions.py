"""Expressions, and what is done with values: elements, items, operators, truth, entering and leaving."""

from __future__ import annotations

import ast
import operator
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, get_origin

from commute.derive.python.asked import HASH, TEXT, ask
from commute.derive.python.attributes import has_method, method_for, wrap
from commute.derive.python.comprehensions import EACH_MAX, comprehension
from commute.derive.python.conditions import compare, narrowed, truth
from commute.derive.python.items import each, element, enter, escape, item, leave, put, settled
from commute.derive.python.state import live_entries, set_live
from commute.derive.run import Frame, Run
from commute.derive.texts import added, of_percent, put_together
from commute.derive.values import (
    EITHER_MAX,
    Closure,
    Const,
    Count,
    Data,
    Either,
    Entries,
    Field,
    Handle,
    Items,
    Live,
    Made,
    Unknown,
    Value,
    Written,
    compute,
    either,
    is_plain,
    mosaic,
    options,
)

__all__ = ["each", "element", "enter", "escape", "item", "leave", "narrowed", "put", "set_live", "truth", "wrap"]

_BINARY: dict[type, tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("add", operator.add), ast.Sub: ("sub", operator.sub), ast.Mult: ("mul", operator.mul),
    ast.Div: ("truediv", operator.truediv), ast.FloorDiv: ("floordiv", operator.floordiv),
    ast.Mod: ("mod", operator.mod), ast.Pow: ("pow", operator.pow), ast.BitOr: ("or", operator.or_),
    ast.BitAnd: ("and", operator.and_), ast.BitXor: ("xor", operator.xor), ast.LShift: ("lshift", operator.lshift),
    ast.RShift: ("rshift", operator.rshift), ast.MatMult: ("matmul", operator.matmul),
}  # fmt: skip
_UNARY: dict[type, tuple[str, Callable[[Any], Any]]] = {
    ast.USub: ("neg", operator.neg), ast.UAdd: ("pos", operator.pos), ast.Invert: ("invert", operator.invert),
}  # fmt: skip


def evaluate(run: Run, frame: Frame, node: ast.expr) -> Value:
    """What the expression may be; what it touches is added to the run."""
    where = frame.where(node)
    if not run.step(where):
        return Unknown("it leads too far")
    method = _EXPRESSIONS.get(type(node))
    if method is None:
        return run.widen(f"{type(node).__name__} is not followed", where)
    return method(run, frame, node, where)


def _constant(_run: Run, _frame: Frame, node: ast.Constant, _where: str) -> Value:
    return Written(node.value)


def _name(run: Run, frame: Frame, node: ast.Name, where: str) -> Value:
    at: Frame | None = frame
    late = False
    while at is not None and node.id not in at.outside:
        if node.id in at.names:
            now = at.names[node.id]
            return (either([now, *at.ever.get(node.id, ())]) or now) if late and not at.late else now
        late = late or at.late
        if node.id in at.cells:
            return wrap(run, at.cells[node.id])
        at = at.outer
    from commute.derive.python.state import global_value

    return global_value(run, frame, node.id, where)


def _attribute(run: Run, frame: Frame, node: ast.Attribute, where: str) -> Value:
    return run.get(run.evaluate(frame, node.value), node.attr, where)


def _call(run: Run, frame: Frame, node: ast.Call, where: str) -> Value:
    function = run.evaluate(frame, node.func)
    if isinstance(function, Live) and function.value is super and not node.args:
        return _super(frame, where, run)
    arguments: list[Value] = []
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            spread = settled(run.evaluate(frame, argument.value))
            if isinstance(spread, Items) and spread.known is not None:
                arguments += spread.known
            elif (columns := cells(run, spread, where)) is not None:
                arguments += columns
            elif (one := element(run, spread, where)) is not None or not isinstance(spread, Live):
                arguments.append(Handle("spread", {"of": one or Data(), "whole": spread}))
        else:
            arguments.append(run.evaluate(frame, argument))
    named: dict[str, Value] = {}
    for keyword in node.keywords:
        value = run.evaluate(frame, keyword.value)
        if keyword.arg is not None:
            named[keyword.arg] = value
        elif isinstance(value, Entries) and value.other is None:
            named |= {str(key): item for key, item in value.known.items()}
        elif (entries := live_entries(run, value, where)) is not None:
            named |= entries
        else:
            named["**"] = value if "**" not in named else _both(run, named, value, where)
    run.kept["discarded"] = run.discarded is node
    run.written = True
    run.direct = run.awaited is node
    return run.call(function, arguments, named, where)


def _both(run: Run, named: dict[str, Value], value: Value, where: str) -> Value:
    from commute.derive.python.library import merged

    return merged(run, merged(run, Entries(), named["**"], where), value, where)


def cells(run: Run, value: Value, where: str) -> list[Value] | None:
    """The columns of a row, where it is known how many there are."""
    rows = [option for option in options(value) if option != Const(None)]
    if len(rows) != 1 or not isinstance(rows[0], Handle) or rows[0].kind != "row":
        return None
    names = rows[0].about["of"].about["of"].names
    return [item(run, rows[0], Const(at), where) for at in range(len(names))] if names else None


def _super(frame: Frame, where: str, run: Run) -> Value:
    at: Frame | None = frame
    while at is not None and at.owner is None:
        at = at.outer
    given = getattr(None if at is None else at.node, "args", None)
    first = next((one.arg for one in (*given.posonlyargs, *given.args)), "") if given is not None else ""
    if at is None or first not in at.names:
        return run.widen("super() is not followed here", where)
    return Handle("super", {"owner": at.owner, "self": at.names[first]})


def _joined_text(run: Run, frame: Frame, node: ast.JoinedStr, where: str) -> Value:
    parts: list[Value] = []
    shape: list[str] = []
    pieces: list[str | tuple[int, str]] = []
    for piece in node.values:
        if isinstance(piece, ast.FormattedValue):
            value = as_text(run, run.evaluate(frame, piece.value), where)
            spec = "" if piece.format_spec is None else _constant_text(piece.format_spec)
            conversion = {-1: "", 114: "!r", 115: "!s", 97: "!a"}[piece.conversion]
            shape.append("{" + conversion + ("" if spec is None else f":{spec}" if spec else "") + "}")
            pieces.append((len(parts), shape[-1]))
            parts.append(value if spec is not None else Data("a format that is computed"))
        else:
            literal = str(piece.value if isinstance(piece, ast.Constant) else "")
            pieces.append(literal)
            shape.append(literal.replace("{", "{{").replace("}", "}}"))
    template = "".join(shape)
    return put_together(f"f{template!r}", template.format, parts, pieces) if parts else Const(template.format())


def _constant_text(node: ast.expr) -> str | None:
    if isinstance(node, ast.JoinedStr) and all(isinstance(piece, ast.Constant) for piece in node.values):
        return "".join(str(piece.value) for piece in node.values if isinstance(piece, ast.Constant))
    return None


def as_text(run: Run, value: Value, where: str) -> Value:
    """What ``str(value)`` reads: an object made here has a method for it."""
    if isinstance(value, Made):
        ask(run, value, where, TEXT)
        for name in ("__format__", "__str__"):
            method = has_method(value.cls, name)
            if method is not None:
                return run.call(Live(method), [value] + ([Const("")] if name == "__format__" else []), {}, where)
        return Data("the text of an object")
    if isinstance(value, Items | Entries | Either | Live | Handle):
        ask(run, value, where, TEXT)
    if isinstance(value, Handle | Unknown):
        if not isinstance(value, Handle) or value.kind not in ("entity", "new", "collection"):
            escape(run, value, where)
        return Data("the text of an object")
    return value if is_plain(value) else Data("the text of objects")


def _binary(run: Run, frame: Frame, node: ast.BinOp, where: str) -> Value:
    return operate(run, type(node.op), run.evaluate(frame, node.left), run.evaluate(frame, node.right), where)


def operate(run: Run, kind: type, left: Value, right: Value, where: str, *, in_place: bool = False) -> Value:
    """``left op right``; operators of classes are called."""
    name, function = _BINARY[kind]
    if (isinstance(left, Either) or isinstance(right, Either)) and not (is_plain(left) and is_plain(right)):
        return either(run.each(left, lambda one: either(run.each(right, lambda two:
            operate(run, kind, one, two, where, in_place=in_place))) or Data())) or Data()  # fmt: skip
    for value, other, method in (
        *([(left, right, f"__i{name}__")] if in_place else []),
        (left, right, f"__{name}__"),
        (right, left, f"__r{name}__"),
    ):
        known = method_for(value, method)
        if known is not None:
            return run.call(Live(known), [value, other], {}, where)
    for plugin in run.plugins:
        answer = plugin.call(run, Handle("operator", {"name": name}), [left, right], {}, where)
        if answer is not None:
            return answer
    if kind is ast.Mult:
        for one, times in ((left, right), (right, left)):
            if isinstance(one, Items) and is_plain(times):
                number = times.value if isinstance(times, Const) and isinstance(times.value, int) else None
                if one.known is not None and number is not None and number <= EACH_MAX:
                    return Items(one.kind, one.known * number)
                return Items(one.kind, None, one.any())
            if isinstance(one, Const) and one.value == "?" and not isinstance(times, Const):
                return Items("iterator", None, one)  # as many placeholders: what they are joined to
    if kind is ast.BitOr and _is_type(left) and (_is_type(right) or right == Const(None)):
        return Live(function(left.value, right.value))  # type: ignore[union-attr]
    if isinstance(left, Items | Entries):
        if in_place:
            return extended(run, left, right, where)
        return _collected(run, left, right, where)
    if isinstance(left, Live) and in_place:
        set_live(run, left, None, where)
        return left
    if is_plain(left) and isinstance(right, Items) and kind is ast.Mod and all(map(is_plain, right.known or [right])):
        return _formatted("%", lambda text, *parts: text % parts, left, right.known or [Data()])
    if is_plain(left) and is_plain(right):
        if kind is ast.Mod and isinstance(left, Const) and isinstance(left.value, str):
            return _formatted(name, function, left, [right])
        if kind in (ast.Add, ast.Sub) and _is_counted(left, right):
            back = right.value if kind is ast.Sub and isinstance(right, Const) else None
            if isinstance(left, Count) and left.last and back is not None and back >= 0:  # of one before the last
                return replace(left, last=left.last[: len(left.last) - back])
            return Count("a number")
        if kind is ast.Add and len(options(left)) * len(options(right)) <= EITHER_MAX:
            pairs = [(a, b) for a in options(left) for b in options(right)]
            return either([added(a, b) or compute(name, function, [a, b]) for a, b in pairs]) or Data()
        patches = mosaic([left, right]) if kind is ast.Add else None
        if patches is not None:
            return patches
        return compute(name, function, [left, right])
    for one in (left, right):
        ask(run, one, where)
    if all(is_plain(one) or (isinstance(one, Handle) and one.kind == "method") for one in (left, right)):
        return Data(f"{name} of what is in plain data")
    return Unknown(f"{name} of objects")


def _is_type(value: Value) -> bool:
    """Whether it stands in an annotation: ``Order | None``."""
    return isinstance(value, Live) and isinstance(value.value, type | types.GenericAlias | types.UnionType)


def _is_counted(left: Value, right: Value) -> bool:
    """Whether both are whole numbers, and one of them is not known."""
    both = [*options(left), *options(right)]
    whole = all(isinstance(one, Count) or (isinstance(one, Const) and type(one.value) is int) for one in both)
    return whole and any(isinstance(one, Count) for one in both)


def _formatted(name: str, function: Callable[..., Any], left: Value, parts: Sequence[Value]) -> Value:
    """``left % parts``."""
    pieces = of_percent(left.value) if isinstance(left, Const) and isinstance(left.value, str) else []
    return put_together(name, function, [left, *parts], pieces)


def extended(run: Run, left: Items | Entries, right: Value, where: str) -> Value:
    """``left += right``: the same list or dict under all its names."""
    from commute.derive.python.container_methods import method_call

    name = "extend" if isinstance(left, Items) and left.kind == "list" else "update"
    method_call(run, left, name, [right], {}, where)
    return left


def _collected(run: Run, left: Items | Entries, right: Value, where: str) -> Value:
    if isinstance(left, Entries):
        from commute.derive.python.library import merged

        return merged(run, left, right, where)
    if isinstance(left, Items) and isinstance(right, Items):
        if left.known is not None and right.known is not None:
            return Items(left.kind, [*left.known, *right.known])
        found = Items(left.kind, None, either([v for v in (left.any(), right.any()) if v is not None]))
        found.head = left.head if left.known is None else [*left.known, *(right.head or ())]
        last = run.tail_of(right) if right.known is None else [*run.tail_of(left), *right.known]
        found.tail = list(last), ()
        return found
    return Items(left.kind, None, either([v for v in (left.any(), element(run, right, where)) if v is not None]))


def _unary(run: Run, frame: Frame, node: ast.UnaryOp, where: str) -> Value:
    if isinstance(node.op, ast.Not):
        known = holds(run, frame, node.operand)
        return Data("a condition") if known is None else Const(not known)
    value = run.evaluate(frame, node.operand)
    name, function = _UNARY[type(node.op)]
    method = method_for(value, f"__{name}__")
    if method is not None:
        return run.call(Live(method), [value], {}, where)
    for plugin in run.plugins:
        answer = plugin.call(run, Handle("operator", {"name": name}), [value], {}, where)
        if answer is not None:
            return answer
    return compute(name, function, [value]) if is_plain(value) else Data(name)


def _boolean(run: Run, frame: Frame, node: ast.BoolOp, where: str) -> Value:
    return _chain(run, frame, node, where)[0]


def _chain(run: Run, frame: Frame, node: ast.BoolOp, where: str) -> tuple[Value, bool | None]:
    """What ``and`` or ``or`` comes to, and whether it holds: one part that decides it is enough, wherever it stands."""
    found, answers = [], []
    decisive = isinstance(node.op, ast.Or)
    for part in node.values:
        with run.apart(left_out=part is not node.values[0]):
            value, known = _asked(run, frame, part, where)
        answers.append(known)
        if decisive and part is not node.values[-1] and known is not True:
            found += [one for one in options(value) if one != Const(None)]  # `or` goes on behind it
            continue
        found.append(value)
        if known is decisive:
            break
    holds_ = decisive if decisive in answers else None if None in answers else not decisive
    return either(found) or Data(), holds_


def _asked(run: Run, frame: Frame, node: ast.expr, where: str) -> tuple[Value, bool | None]:
    if isinstance(node, ast.BoolOp):
        return _chain(run, frame, node, where)
    value = run.evaluate(frame, node)
    return value, truth(run, value, where, node)


def holds(run: Run, frame: Frame, node: ast.expr) -> bool | None:
    """Whether a condition holds, where that is certain; it is evaluated."""
    return _asked(run, frame, node, frame.where(node))[1]


def _conditional(run: Run, frame: Frame, node: ast.IfExp, where: str) -> Value:
    known = holds(run, frame, node.test)
    if known is not None:
        return run.evaluate(frame, node.body if known else node.orelse)
    found = []
    for part in (node.body, node.orelse):
        with run.apart(left_out=True):
            found.append(run.evaluate(frame, part))
    return either(found) or Data()


def _subscript(run: Run, frame: Frame, node: ast.Subscript, where: str) -> Value:
    value = run.evaluate(frame, node.value)
    if isinstance(node.slice, ast.Slice):
        parts = [
            run.evaluate(frame, part) if part is not None else Const(None)
            for part in (node.slice.lower, node.slice.upper, node.slice.step)
        ]
        for part in parts:
            ask(run, part, where, ("__index__",))
        if isinstance(value, Items):
            return Items(value.kind, None, value.any())
        if is_plain(value) and not _is_list(value):
            return compute("slice", lambda text, *at: text[slice(*at)], [value, *parts])
        return Items("list", None, element(run, value, where) or Data())
    return item(run, value, run.evaluate(frame, node.slice), where)


def _is_list(value: Value) -> bool:
    hints = [option.hint for option in options(value) if isinstance(option, Field)]
    return any((get_origin(hint) or hint) not in (str, bytes) for hint in hints)


def set_item(run: Run, frame: Frame, target: ast.Subscript, new: Value | None) -> None:
    """``value[key] = new``, or ``del value[key]`` with None."""
    value = run.evaluate(frame, target.value)
    where = frame.where(target)
    key: Value = Data("a slice") if isinstance(target.slice, ast.Slice) else run.evaluate(frame, target.slice)
    put(run, value, key, new, where)


def _display(run: Run, frame: Frame, node: ast.List | ast.Tuple | ast.Set, where: str) -> Value:
    kind = type(node).__name__.lower()
    known: list[Value] = []
    loose: list[Value] = []
    head: list[Value] | None = None  # before what is loose, while `last` is what comes behind it
    last: list[Value] = []
    for part in node.elts:
        if isinstance(part, ast.Starred):
            spread = settled(run.evaluate(frame, part.value))
            if isinstance(spread, Items) and spread.known is not None:
                known += spread.known
                last += spread.known
            elif (one := element(run, spread, where)) is not None or not isinstance(spread, Live):
                head = last if head is None else head
                last = []
                loose.append(one or Data())
        else:
            known.append(run.evaluate(frame, part))
            last.append(known[-1])
    if kind == "set":
        for one in (*known, *loose):
            ask(run, one, where, HASH)
    if loose or kind == "set":  # which one of a set comes first is not known
        ordered = kind != "set"
        found = Items(kind, None, either([*known, *loose]))
        found.head, found.tail = (head, (last, ())) if ordered else (None, None)
        return found
    return Items(kind, known)


def _dictionary(run: Run, frame: Frame, node: ast.Dict, where: str) -> Value:
    from commute.derive.python import library

    made = Entries()
    for key, item_ in zip(node.keys, node.values, strict=True):
        value = run.evaluate(frame, item_)
        if key is None:
            made = library.merged(run, made, value, where)
        else:
            at = run.evaluate(frame, key)
            ask(run, at, where, HASH)
            sure = made.sure and isinstance(at, Const)
            put(run, made, at, value, where)
            made.sure = sure
    return made


def _lambda(run: Run, frame: Frame, node: ast.Lambda, _where: str) -> Value:
    return Closure(node, frame, defaults(run, frame, node.args))


def defaults(run: Run, frame: Frame, given: ast.arguments) -> dict[str, Value]:
    """The values of parameters that have one, by name, as they are when the function is defined."""
    plain = [*given.posonlyargs, *given.args]
    pairs = list(zip(plain[len(plain) - len(given.defaults) :], given.defaults, strict=True))
    pairs += [
        (name, value) for name, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is not None
    ]
    return {name.arg: run.evaluate(frame, value) for name, value in pairs}


def _await(run: Run, frame: Frame, node: ast.Await, where: str) -> Value:
    run.awaited = node.value
    value = run.evaluate(frame, node.value)
    method = has_method(value.cls, "__await__") if isinstance(value, Made) else None
    return run.call(Live(method), [value], {}, where) if method is not None else value


def _yield(run: Run, frame: Frame, node: ast.Yield, _where: str) -> Value:
    value = run.evaluate(frame, node.value) if node.value is not None else Const(None)
    frame.yielded.append(value)
    if frame.on_yield is not None:
        return frame.on_yield(value)
    return Unknown("what is sent to a generator")


def _yield_from(run: Run, frame: Frame, node: ast.YieldFrom, where: str) -> Value:
    found = element(run, run.evaluate(frame, node.value), where)
    if found is not None:
        frame.yielded.append(found)
        if frame.on_yield is not None:
            frame.on_yield(found)
    return Unknown("what a generator returns")


def _walrus(run: Run, frame: Frame, node: ast.NamedExpr, _where: str) -> Value:
    from commute.derive.python.statements import assign

    value = run.evaluate(frame, node.value)
    at = frame
    while isinstance(at.node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) and at.outer is not None:
        at = at.outer
    old = at.names.get(node.target.id) if at is not frame or run.perhaps else None
    assign(run, at, node.target, value if old is None else either([old, value]) or value)
    return value


_EXPRESSIONS: dict[type, Callable[[Run, Frame, Any, str], Value]] = {
    ast.Constant: _constant, ast.Name: _name, ast.Attribute: _attribute, ast.Call: _call, ast.JoinedStr: _joined_text,
    ast.BinOp: _binary, ast.UnaryOp: _unary, ast.BoolOp: _boolean, ast.Compare: compare, ast.IfExp: _conditional,
    ast.Subscript: _subscript, ast.List: _display, ast.Tuple: _display, ast.Set: _display, ast.Dict: _dictionary,
    ast.ListComp: comprehension, ast.SetComp: comprehension, ast.DictComp: comprehension,
    ast.GeneratorExp: comprehension, ast.Lambda: _lambda, ast.Await: _await, ast.Yield: _yield,
    ast.YieldFrom: _yield_from, ast.NamedExpr: _walrus,
}  # fmt: skip
