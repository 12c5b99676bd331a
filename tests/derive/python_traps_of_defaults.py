# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that are easily misread: what stands in the code decides a branch, unless something else comes there."""

from __future__ import annotations
import asyncio, functools, sys
from typing import Any
from commute import App
from tests.derive.python_traps import E, Item, conn
app = App("traps7", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))

def unless(x, y=None):
    if y: w(y)
    else: w(x)
@on
def given_in_one_place(event: E):
    unless(event.id); unless(event.id, event.a)
@on
def given_by_name(event: E):
    unless(event.id, **{"y": event.a})
@on
def given_by_a_list(event: E):
    unless(*[event.id, event.a])
@on
def given_by_unknown_names(event: E):
    more = {}
    more["y" if event.n else "z"] = event.a
    more.pop("z", None)
    unless(event.id, **more)
@on
def set_in_a_loop(event: E):
    found = None
    for one in event.items:
        if found: w(found)
        found = one.sku
@on
def set_two_rounds_before(event: E):
    a = b = c = None
    for one in event.items:
        if c: w(c)
        c = b; b = a; a = one.sku
@on
def set_in_a_loop_over_few(event: E):
    found = False
    for one in (event.a, event.b):
        if found: w(one)
        found = True
@on
def set_before_it_failed(event: E):
    x = None
    try:
        x = event.a
        raise ValueError
    except ValueError: pass
    if x: w(x)
@on
def set_by_a_function_inside(event: E):
    done = False
    def sets():
        nonlocal done
        done = True
    sets()
    if done: w(event.a)
@on
def set_by_a_function_that_is_called_back(event: E):
    done = False
    def key(x):
        nonlocal done
        done = True
        return x
    sorted([event.a, event.b], key=key)
    if done: w(event.a)
@on
async def set_by_what_runs_later(event: E):
    done = None
    async def sets():
        nonlocal done
        done = event.a
    await asyncio.gather(sets())
    if done: w(done)
class Held:
    flag = False
    def __init__(self): self.x = None; self.seen = False
    def set(self, x): self.x = x; self.seen = True
    def go(self):
        if self.x: w(self.x)
        if self.seen and self.x is not None: w(self.x)
@on
def set_in_an_object(event: E):
    held = Held(); held.set(event.a); held.go()
@on
def set_by_its_name(event: E):
    held = Held()
    for name in ("x",): setattr(held, name, event.b)
    held.go()
@on
def set_in_its_class(event: E):
    Held.flag = True
    try:
        if Held.flag: w(event.a)
    finally: Held.flag = False
@on
def set_in_a_dict(event: E):
    kept = {"x": None}
    kept.update(x=event.a)
    if kept["x"]: w(kept["x"])
@on
def set_in_a_list(event: E):
    kept = [None]
    kept[0] = event.a
    if kept[0]: w(kept[0])
@on
def set_in_a_comprehension(event: E):
    last = None
    [last := one.sku for one in event.items]
    if last: w(last)
LAST = None
@on
def set_as_a_global(event: E):
    global LAST
    before = LAST
    LAST = event.id
    if before: w(before)
def keeps(x, seen=[]):
    for one in seen: w(one)
    seen.append(x)
@on
def kept_in_a_default(event: E): keeps(event.id)
def spreads(x, more=[]):
    unless(x, *more)
    more[:] = [x]
@on
def spread_out_of_a_default(event: E): spreads(event.id)
def with_both(x, *, skip=True, other=None):
    if skip and not other: return
    w(x)
@on
def one_of_two_is_given(event: E): with_both(event.id, other=event.a)
@on
def given_through_another(event: E):
    def through(*a, **k): return with_both(*a, **k)
    through(event.id, skip=False)
@on
def given_by_a_partial(event: E): functools.partial(with_both, skip=False)(event.id)
def again(x, deep=0, seen=None):
    if seen: w(seen)
    if deep < 2: again(x, deep + 1, x)
@on
def given_by_itself(event: E): again(event.id)
def counts(x, n=0):
    if n == 2: w(x)
    else: counts(x, n + 1)
@on
def counted_by_itself(event: E): counts(event.a)
@on
def counted_in_a_while(event: E):
    n = 0
    while n < 3:
        if n == 2: w(event.b)
        n += 1
def steps(x, mode="first"):
    yield mode
    if mode == "first": w(x)
@on
def in_a_generator(event: E):
    for one in steps(event.id): pass
@on
def sent_to_a_generator(event: E):
    def waits():
        got = None
        while True:
            if got: w(got)
            got = yield
    g = waits(); next(g); g.send(event.a)
@on
def either_default(event: E):
    def f(x, y=None if event.n == 1 else event.a):
        if y: w(y)
    f(event.id)
@on
def in_a_match(event: E):
    mode = "a"
    for one in event.items:
        match mode:
            case "a": mode = "b"
            case "b": w(one.sku)
@on
def compared_with_what_changes(event: E):
    mode = "a"
    for one in event.items:
        if mode == "b": w(one.sku)
        mode = "b"
@on
def one_of_several_written(event: E):
    mode = "a"
    for one in event.items:
        if mode in ("b", "c"): w(one.sku)
        mode = "b"
# None is there while the code is read, and a connection when it runs
LATE = None
def startup() -> None: vars(sys.modules[__name__]).update(dict(LATE=conn))
@on
def what_comes_late_or_nothing(event: E):
    x = None
    if event.n: x = LATE
    if x: x.execute("UPDATE t SET n = 5 WHERE id = ?", (event.id,))
@on
def what_comes_late_in_a_loop(event: E):
    x = None
    for one in event.items:
        if x: x.execute("UPDATE t SET n = 5 WHERE id = ?", (one.sku,))
        x = LATE
def shifts(x, a=None, b=None, c=None, d=None):
    if d: d.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
    else: shifts(x, LATE, a, b, c)
@on
def what_comes_late_by_itself(event: E): shifts(event.id)
