# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that are easily misread: paths, aliases, things that run later, operators of one's own."""

from __future__ import annotations
import asyncio, sqlite3, functools, contextlib, abc, collections, copy, json
from dataclasses import dataclass, field
from typing import Any, Protocol
import msgspec
from commute import App, Event, Context
from tests.derive.python_traps import E, Item, conn
app = App("traps5", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
# values that lie
@on
def lower_in_sql(event: E): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (event.a.upper().lower(),))
@on
def default_dict_event(event: E):
    d = msgspec.to_builtins(event); d["a"] = "zz"; w(d["a"])
@on
def json_round(event: E):
    d = json.loads(json.dumps({"k": event.a, "n": event.n})); w(d["k"])
@on
def stored_then_changed(event: E):
    class_ = Box
    b = class_(event.a); q = [b]; b.k = event.b
    for x in q: w(x.k)
class Box:
    def __init__(self, k): self.k = k
    def set(self, k): self.k = k; return self
@on
def fluent(event: E): w(Box(event.a).set(event.b).k)
@on
def two_boxes(event: E):
    a, b = Box(event.a), Box(event.b)
    a.k, b.k = b.k, a.k
    w(a.k); w(b.k)
@on
def boxes_loop(event: E):
    bs = [Box(i.sku) for i in event.items]
    for b in bs: b.set(b.k + "x")
    for b in bs: w(b.k)
@on
def linked(event: E):
    head = None
    for i in event.items: head = (i.sku, head)
    while head: w(head[0]); head = head[1]
class Node:
    def __init__(self, v, nxt=None): self.v, self.nxt = v, nxt
@on
def linked_obj(event: E):
    n = None
    for x in (event.a, event.b): n = Node(x, n)
    while n is not None: w(n.v); n = n.nxt
@on
def memo(event: E):
    cache = {}
    def get(k):
        if k not in cache: cache[k] = k + "m"
        return cache[k]
    w(get(event.a)); w(get(event.b))
@on
def cond_list(event: E):
    q = []
    if event.n == 1: q.append(event.a)
    else: q.append(event.b)
    w(q[0])
@on
def cond_obj(event: E):
    r = Box(event.a) if event.n == 1 else Box(event.b)
    w(r.k)
@on
def loop_prev_obj(event: E):
    prev = Box("start")
    for i in event.items:
        w(prev.k); prev = Box(i.sku)
@on
def try_else(event: E):
    try: x = event.a
    except ValueError: x = "bad"
    else: x = event.b
    w(x)
@on
def nested_try(event: E):
    x = event.a
    try:
        try:
            x = event.b; raise KeyError
        except ValueError: x = "no"
    except KeyError: w(x)
@on
def continue_loop(event: E):
    x = event.a
    for i in event.items:
        if i.sku == "s1": x = event.b; continue
        w(x)
@on
def break_val(event: E):
    x = event.a
    while True:
        if event.n: x = event.b; break
        x = "never"
    w(x)
@on
def ret_in_loop(event: E):
    def f():
        for i in event.items:
            if i.depot == "d2": return i.sku
        return event.a
    w(f())
@on
def gen_pipeline(event: E):
    a = (i for i in event.items if i.sku); b = (i.sku + "p" for i in a)
    for x in b: w(x)
@on
def gen_early(event: E):
    def g():
        w("g1"); yield event.a
        w("g2"); yield event.b
    for x in g(): w(x); break
@on
def gen_close(event: E):
    def g():
        try: yield event.a
        finally: w("fin")
    for x in g(): w(x)
@on
def cm_nested(event: E):
    @contextlib.contextmanager
    def cm(k):
        w(k + "in")
        try: yield k
        except ValueError: w(k + "err")
        finally: w(k + "out")
    with cm(event.a) as x, cm(event.b) as y: w(x); w(y); raise ValueError
@on
def cm_class_gen(event: E):
    with Scope(event.a).open() as s: s.add(event.b)
class Scope:
    def __init__(self, k): self.k, self.items = k, []
    def add(self, x): self.items.append(x)
    @contextlib.contextmanager
    def open(self):
        yield self
        for x in self.items: w(x)
        w(self.k)
@on
async def acm(event: E):
    @contextlib.asynccontextmanager
    async def tx():
        buf = []
        yield buf
        for b in buf: w(b)
    async with tx() as t: t.append(event.a)
@on
async def tasks(event: E):
    res = []
    async def job(k): res.append(k)
    ts = [asyncio.create_task(job(i.sku)) for i in event.items]
    for t in ts: await t
    for r in res: w(r)
@on
async def task_group(event: E):
    async with asyncio.TaskGroup() as tg:
        tg.create_task(aw(event.a)); tg.create_task(aw(event.b))
async def aw(k): w(k)
@on
async def queue(event: E):
    q = asyncio.Queue()
    await q.put(event.a)
    w(await q.get())
@on
async def aiter_cls(event: E):
    async for x in AIt([event.a, event.b]): w(x)
class AIt:
    def __init__(self, xs): self.it = iter(xs)
    def __aiter__(self): return self
    async def __anext__(self):
        try: return next(self.it)
        except StopIteration: raise StopAsyncIteration
@on
async def wait_for(event: E): await asyncio.wait_for(aw(event.a), 5)
@on
async def event_loop_cb(event: E):
    asyncio.get_running_loop().call_soon(w, event.b); await asyncio.sleep(0)
@on
def attr_chain(event: E):
    o = Box(Box(Box(event.a))); o.k.k.k = event.b; w(o.k.k.k)
@on
def dict_of_obj(event: E):
    d = {event.a: Box(event.b)}; d[event.a].k = event.id; w(d[event.a].k)
@on
def pop_default(event: E):
    d = {"x": event.a}; w(d.pop("x", None) or event.b); w(d.get("x", event.id))
@on
def swap_items(event: E):
    q = [event.a, event.b]; q[0], q[1] = q[1], q[0]; w(q[0])
@on
def list_insert(event: E):
    q = [event.a]; q.insert(0, event.b); w(q[0])
@on
def list_mult(event: E):
    for x in [event.a] * 2 + [event.b]: w(x)
@on
def list_eq_slice(event: E):
    q = [event.a, event.b]; r = q[:]; r.append(event.id)
    for x in r: w(x)
@on
def tuple_add(event: E):
    t = (event.a,); t += (event.b,)
    for x in t: w(x)
@on
def nested_func_mut(event: E):
    q = []
    def add(x): q.append(x)
    add(event.a); add(event.b)
    for x in q: w(x)
@on
def class_in_func(event: E):
    class Local:
        def go(self): w(event.a)
    Local().go()
@on
def type_dispatch(event: E):
    {str: w, int: lambda x: w(str(x))}[type(event.n)](event.n)
@on
def isinstance_dispatch(event: E):
    for h, t in [(w, str), (lambda x: w(f"i{x}"), int)]:
        if isinstance(event.n, t): h(event.n)
@on
def exc_chain(event: E):
    try:
        try: raise MyErr(event.a)
        except MyErr as e: raise RuntimeError("x") from e
    except RuntimeError as e: w(e.__cause__.k)
class MyErr(Exception):
    def __init__(self, k): super().__init__(k); self.k = k
@on
def exc_group_base(event: E):
    try: raise SubErr(event.b)
    except MyErr as e: w(e.k + e.extra())
class SubErr(MyErr):
    def extra(self): w(self.k + "!"); return "z"
@on
def hook_del(event: E):
    d = Del(event.a); del d["x"]
class Del:
    def __init__(self, k): self.k = k
    def __delitem__(self, x): w(self.k)
    def __contains__(self, x): w(self.k + "?"); return True
@on
def not_in(event: E):
    if "x" not in Del(event.a): w("never")
@on
def cmp_chain2(event: E):
    if Cmp(event.a) < Cmp(event.b) < Cmp(event.id): pass
class Cmp:
    def __init__(self, k): self.k = k
    def __lt__(self, o): w(self.k + "<" + o.k); return True
@on
def bool_ops(event: E): Tr(event.a) and Tr(event.b) or Tr(event.id)
class Tr:
    def __init__(self, k): self.k = k
    def __bool__(self): w(self.k + "b"); return self.k.startswith("a")
@on
def neg_op(event: E): -Neg(event.a); abs(Neg(event.b)); Neg(event.id)[1:2]
class Neg:
    def __init__(self, k): self.k = k
    def __neg__(self): w(self.k + "neg")
    def __abs__(self): w(self.k + "abs")
    def __getitem__(self, s): w(self.k + "sl")
    def __round__(self, n=0): w(self.k + "rnd")
    def __missing__(self, n): w(self.k)
@on
def round_op(event: E): round(Neg(event.a))
class Miss(dict):
    def __missing__(self, k): w(k + "miss"); return k
@on
def missing(event: E): Miss()[event.a]
class Sub(list):
    def append(self, x): w(x + "ap"); super().append(x)
@on
def sublist(event: E):
    s = Sub(); s.append(event.a)
    for x in s: w(x)
@on
def prop_cached(event: E): PC(event.a).v; PC(event.b).v
class PC:
    def __init__(self, k): self.k = k
    @functools.cached_property
    def v(self): w(self.k + "cp"); return 1
@on
def set_name(event: E): Owner().f
class Fld:
    def __set_name__(self, o, n): self.n = n
    def __get__(self, o, t=None): w(self.n + "fld"); return 1
class Owner: f = Fld()
@on
def call_kw_only(event: E): Box(k=event.b).set(k=event.a)
@on
def print_file(event: E): print("x", file=W())
class W:
    def write(self, s): w("printed")
@on
def walrus_behind_and(event: E):
    seen = False; event.n > 1 and (seen := True)
    w(event.b) if seen else w(event.a)
@on
def walrus_behind_or(event: E):
    seen = False; event.n > 1 or (seen := True)
    w(event.b) if seen else w(event.a)
@on
def walrus_in_a_branch_of_an_expression(event: E):
    (seen := True) if event.n > 1 else (seen := False)
    w(event.b) if seen else w(event.a)
@on
def walrus_in_a_chain_of_comparisons(event: E):
    seen = ""; 1 < event.n < (seen := 9)
    w(event.b) if seen else w(event.a)
