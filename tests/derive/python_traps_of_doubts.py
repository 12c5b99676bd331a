# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that put something into a place of the program, perhaps: what is there then is that, or what was before."""

from __future__ import annotations
import contextlib
from contextlib import contextmanager
from contextvars import ContextVar
from commute import App
from tests.derive.python_traps import E, Item, conn
app = App("traps9", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
V: ContextVar[str] = ContextVar("V", default="dflt")
G = "g0"
FLAG = False
class Svc:
    def __init__(self): self.v = "s0"; self.other = None
svc = Svc()
def setv(x): V.set(x); return True
def setg(x):
    global G
    G = x
    return x
def sets(x): svc.v = x; return x
def early(e):
    if e.n == 1: return
    V.set(e.a)
def early_g(e):
    global G
    if e.n == 1: return
    G = e.a
def early_s(e):
    if e.n == 1: return
    svc.v = e.a
@on
def v_early(event: E): early(event); w(V.get())
@on
def g_early(event: E): early_g(event); w(G)
@on
def s_early(event: E): early_s(event); w(svc.v)
@on
def v_and(event: E):
    event.n > 1 and setv(event.a)
    w(V.get())
@on
def v_ifexp(event: E):
    setv(event.a) if event.n > 1 else None
    w(V.get())
@on
def g_and(event: E):
    event.n > 1 and setg(event.a)
    w(G)
@on
def s_or(event: E):
    event.n == 1 or sets(event.a)
    w(svc.v)
@on
def v_comp(event: E):
    [setv(x) for x in [one.sku for one in event.items[2:]]]
    w(V.get())
@on
def g_comp(event: E):
    [setg(event.a) for x in [one.sku for one in event.items[2:]]]
    w(G)
@on
def v_map_never(event: E):
    m = map(setv, [event.a])
    w(V.get())
def gen(e):
    V.set(e.a)
    yield 1
def gen_g(e):
    global G
    G = e.a
    yield 1
@on
def v_gen_never(event: E):
    g = gen(event)
    w(V.get())
@on
def g_gen_never(event: E):
    g = gen_g(event)
    w(G)
def noop(x): return x
@on
def g_either(event: E):
    f = setg if event.n > 1 else noop
    f(event.a)
    w(G)
class A1:
    def go(self, x): setg(x)
class A2:
    def go(self, x): pass
@on
def g_by_class(event: E):
    o = A1() if event.n > 1 else A2()
    o.go(event.a)
    w(G)
def use(o, x): o.go(x)
@on
def g_by_class2(event: E):
    o = A1() if event.n > 1 else A2()
    use(o, event.a)
    w(G)
@on
def v_try_else(event: E):
    try:
        if event.n == 1: raise ValueError
    except ValueError: pass
    else: V.set(event.a)
    w(V.get())
@on
def v_suppress(event: E):
    with contextlib.suppress(ValueError):
        int(event.a)
        V.set(event.a)
    w(V.get())
@contextmanager
def swallow():
    try: yield
    except ValueError: pass
@on
def v_swallow(event: E):
    with swallow():
        int(event.a)
        V.set(event.a)
    w(V.get())
class Quiet:
    def __enter__(self): return self
    def __exit__(self, *a): return True
@on
def g_quiet(event: E):
    with Quiet():
        int(event.a)
        setg(event.a)
    w(G)
@on
def g_while_else(event: E):
    n = event.n
    while n > 0:
        n -= 1
        if n == 1: break
    else:
        setg(event.a)
    w(G)
@on
def v_loop_combo(event: E):
    V.set("z")
    for x in [event.a, event.b]:
        w(x + V.get())
        if event.n == 1: continue
        V.set(x)
@on
def flag_set_elsewhere(event: E):
    global FLAG
    FLAG = False
    set_flag()
    if FLAG: w(event.a)
def set_flag():
    global FLAG
    FLAG = True
@on
def g_set_elsewhere(event: E):
    global G
    G = event.a
    setg(event.b)
    w(G)
@on
def g_after_module(event: E):
    global G
    G = event.a
    from tests.derive import python_traps_of_doubts
    python_traps_of_doubts.G = event.b
    w(G)
@on
def g_raise_in_callee(event: E):
    def inner():
        if event.n == 1: raise KeyError
        setg(event.a)
    try: inner()
    except KeyError: pass
    w(G)
@on
def g_lambda_assert(event: E):
    any(setg(event.a) for _ in [one.sku for one in event.items[2:]])
    w(G)
@on
def g_all(event: E):
    all(x == "s3" and setg(event.a) for x in [one.sku for one in event.items[2:]])
    w(G)
@on
def g_compare_chain(event: E):
    0 < event.n < 3 < len(setg(event.a))
    1 > event.n > len(setg(event.b))
    w(G)
@on
def g_match(event: E):
    match event.n:
        case 1: pass
        case x if setg(event.a): pass
    w(G)
@on
def s_dict_get(event: E):
    {"1": sets}.get(str(event.n), noop)(event.a)
    w(svc.v)
@on
def g_sorted_key(event: E):
    sorted([one.sku for one in event.items[2:]], key=lambda x: setg(event.a))
    w(G)
@on
def g_default_arg(event: E):
    (event.n == 1) or setg(event.a)
    w(G)
@on
def g_walrus(event: E):
    if (x := event.b) != 'b1' and setg(x): pass
    w(G)
@on
async def v_async_early(event: E):
    await aearly(event)
    w(V.get())
async def aearly(e):
    if e.n == 1: return
    V.set(e.a)
@on
def g_nested_return(event: E):
    def one():
        for x in [one.sku for one in event.items[2:]]:
            if x == "s3": return x
        setg(event.a)
    one()
    w(G)
@on
def g_try_return(event: E):
    def one():
        try:
            if event.n == 1: return
        finally: pass
        setg(event.a)
    one()
    w(G)
@on
def g_setdefault_gen_next(event: E):
    def g():
        yield 1
        setg(event.a)
        yield 2
    next(g())
    w(G)
