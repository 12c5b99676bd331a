"""What the patterns of a match statement bind."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from commute.derive.python import expressions
from commute.derive.python.asked import ask
from commute.derive.run import Frame, Run
from commute.derive.values import Data, Items, Live, Value


def capture(run: Run, frame: Frame, pattern: ast.pattern, subject: Value) -> None:
    """Bind the names of a pattern; what stands deeper than one level is not told apart."""
    where = frame.where(pattern)
    if isinstance(pattern, ast.MatchAs):
        if pattern.pattern is not None:
            capture(run, frame, pattern.pattern, subject)
        if pattern.name:
            frame.assign(pattern.name, subject)
    elif isinstance(pattern, ast.MatchClass):
        cls = run.evaluate(frame, pattern.cls)
        run.call(Live(isinstance), [subject, cls], {}, where)
        names = list(pattern.kwd_attrs)
        if isinstance(cls, Live) and cls.value in _WHOLE:
            for inner in pattern.patterns:
                capture(run, frame, inner, subject)
        elif isinstance(cls, Live):
            names = [*getattr(cls.value, "__match_args__", ())[: len(pattern.patterns)], *names]
            for name, inner in zip(names, [*pattern.patterns, *pattern.kwd_patterns], strict=False):
                capture(run, frame, inner, run.get(subject, str(name), where))
        else:
            run.widen("a pattern with a class that is not known", where)
    elif isinstance(pattern, ast.MatchOr):
        for inner in pattern.patterns:
            capture(run, frame, inner, subject)
    elif isinstance(pattern, ast.MatchSequence):
        _capture_each(run, frame, pattern.patterns, subject, where)
    elif isinstance(pattern, ast.MatchMapping):
        for key, inner in zip(pattern.keys, pattern.patterns, strict=True):
            capture(run, frame, inner, expressions.item(run, subject, run.evaluate(frame, key), where))
        if pattern.rest is not None:
            frame.assign(pattern.rest, run.call(run.get(subject, "copy", where), [], {}, where))
    elif isinstance(pattern, ast.MatchValue):
        run.evaluate(frame, pattern.value)
        ask(run, subject, where, ("__eq__",))


_WHOLE = (bool, bytearray, bytes, dict, float, frozenset, int, list, set, str, tuple)  # ``case str(x)``: x is all of it


def _capture_each(run: Run, frame: Frame, patterns: Sequence[ast.pattern], subject: Value, where: str) -> None:
    known = subject.known if isinstance(subject, Items) else None
    starred = any(isinstance(one, ast.MatchStar) for one in patterns)
    for at, inner in enumerate(patterns):
        one = known[at] if known is not None and len(known) == len(patterns) and not starred else None
        one = one or expressions.element(run, subject, where) or Data()
        if isinstance(inner, ast.MatchStar):
            if inner.name:
                frame.assign(inner.name, Items("list", None, one))
        else:
            capture(run, frame, inner, one)
