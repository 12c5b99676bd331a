# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that are easily misread: what is filled before they run, containers and their iterators, odd classes."""

from __future__ import annotations
import asyncio, sqlite3, functools, contextlib, os, types, abc, itertools, collections, contextvars, weakref, copy, operator
from dataclasses import dataclass, field, replace, InitVar
from typing import Protocol, Any, NamedTuple
import msgspec
from commute import App, Event, Context
from tests.derive.python_traps import E, Item, conn
app = App("traps4", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
class Repo:
    def __init__(self, c=None): self.c = c or conn
    def save(self, x): self.c.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
REG: dict = {}
HOOKS: list = []
class Svc:
    repo = None
    hooks: list = []
    def __init__(self): self.parts = {}
    def use(self, name, x): self.parts[name].save(x)
svc = Svc()
_var = contextvars.ContextVar("v", default=None)
def startup() -> None:
    REG["repo"] = Repo(); HOOKS.append(w); Svc.hooks.append(w); svc.parts["r"] = Repo(); Svc.repo = Repo(); setattr(svc, "dyn", Repo())
    _var.set(Repo())
@on
def registry_filled(event: E): REG["repo"].save(event.a)
@on
def registry_get(event: E):
    r = REG.get("repo")
    if r: r.save(event.a)
@on
def registry_all(event: E):
    for r in REG.values(): r.save(event.a)
@on
def hooks(event: E):
    for h in HOOKS: h(event.a)
@on
def class_hooks(event: E):
    for h in svc.hooks: h(event.a)
@on
def parts(event: E): svc.use("r", event.a)
@on
def class_none(event: E): svc.repo.save(event.a)
@on
def dyn_set(event: E): svc.dyn.save(event.a)
@on
def ctxvar(event: E): _var.get().save(event.a)
class D:
    def __init__(self, **kw): self.__dict__.update(kw)
@on
def dict_update(event: E): D(r=Repo(), k=event.a).r.save(event.b)
class K:
    def __init__(self, **kw):
        for k, v in kw.items(): setattr(self, k, v)
@on
def setattr_loop(event: E): K(r=Repo()).r.save(event.b)
class Slots:
    __slots__ = ("r",)
    def __init__(self): self.r = Repo()
slots = Slots()
@on
def slotted(event: E): slots.r.save(event.a)
@on
def slotted_made(event: E): Slots().r.save(event.a)
class NT(NamedTuple):
    r: Repo
    k: str
@on
def named(event: E):
    n = NT(Repo(), event.a); n.r.save(n.k); r, k = n; r.save(k + "2"); n._replace(k=event.b).r.save("z"); n[0].save("y")
@dataclass
class IV:
    k: InitVar[str]
    r: Repo = field(default_factory=Repo)
    def __post_init__(self, k): self.r.save(k)
@on
def initvar(event: E): IV(event.a)
@dataclass
class DC:
    r: Repo
    k: str
@on
def dc_replace2(event: E): d = replace(DC(Repo(), "q"), k=event.b); d.r.save(d.k)
@on
def copied(event: E): copy.copy(DC(Repo(), event.a)).r.save(event.b)
class It:
    def __init__(self, xs): self.xs = list(xs); self.i = 0
    def __iter__(self): return self
    def __next__(self):
        if self.i >= len(self.xs): raise StopIteration
        self.i += 1; return self.xs[self.i - 1]
@on
def iterator(event: E):
    for x in It([event.a, event.b]): w(x)
class Cm:
    def __enter__(self): return Repo()
    def __exit__(self, *a): w("exit")
@on
def try_in_with(event: E):
    try:
        with Cm() as r:
            r.save(event.a); raise ValueError
    except ValueError: w(event.b)
@on
def return_in_finally(event: E):
    def f():
        try: return event.a
        finally: w(event.b)
    w(f())
@on
def loop_break_else(event: E):
    x = "none"
    for i in event.items:
        x = i.sku
        if x == "s2": break
    w(x)
@on
def nested_dict(event: E):
    d = {"a": {"b": [event.a]}}
    d["a"]["b"].append(event.b)
    for x in d["a"]["b"]: w(x)
@on
def default_factory(event: E):
    d = collections.defaultdict(Repo); d[event.a].save(event.b)
@on
def chainmap(event: E):
    for x in itertools.chain([event.a], [event.b]): w(x)
@on
def zip_longest(event: E):
    for a, b in itertools.zip_longest([event.a], [event.b, event.id]): w(b)
@on
def product(event: E):
    for a, b in itertools.product([event.a], [event.b]): w(a + b)
@on
def starmap(event: E): list(itertools.starmap(lambda a, b: w(a + b), [(event.a, event.b)]))
@on
def accumulate(event: E):
    for x in itertools.accumulate([event.a, event.b]): w(x)
@on
def counter(event: E):
    for x in collections.Counter([event.a, event.b]): w(x)
@on
def ordereddict(event: E):
    d = collections.OrderedDict(); d["x"] = event.a; d.move_to_end("x")
    for v in d.values(): w(v)
@on
def deque_rot(event: E):
    q = collections.deque([event.a, event.b]); q.rotate(1); w(q[0]); w(q.popleft())
@on
def sort_inplace(event: E):
    q = [event.b, event.a]; q.sort(); w(q[0])
@on
def rev(event: E):
    for x in reversed([event.a, event.b]): w(x)
@on
def enum_start(event: E):
    for i, x in enumerate([event.a, event.b], 1): w(f"{x}-{i}")
@on
def slice_step(event: E):
    for x in [event.a, event.b, event.id][::2]: w(x)
@on
def min_of(event: E): w(min(event.a, event.b)); w(max([event.a, event.b], key=len))
@on
def dict_merge(event: E):
    d = {**{"x": event.a}, "y": event.b} | {"z": event.id}
    for v in d.values(): w(v)
@on
def fromkeys(event: E):
    for k in dict.fromkeys([event.a, event.b], 1): w(k)
@on
def str_methods(event: E):
    w(event.a.upper()); w(event.a.replace("a", "q")); w(event.a[::-1]); w(event.a.zfill(5)); w(event.a.ljust(5, "x")); w(str.lower(event.a)); w("x".join([event.a, event.b]))
@on
def bytes_hex(event: E): w(event.a.encode().hex())
@on
def fmt(event: E): w(f"{event.n:>4}|{event.a:^6}")
@on
def percent(event: E): w("%s-%05d" % (event.a, event.n))
@on
def percent_d(event: E): w("%(a)s/%(n)d" % {"a": event.a, "n": event.n})
@on
def fmt_attr(event: E): w("{0.a}-{0.n}".format(event)); w("{x[0]}".format(x=[event.b]))
@on
def int_math(event: E): w(str(event.n * 2 + 1)); w(str(event.n // 2)); w(str(-event.n)); w(str(divmod(event.n, 2)[1]))
@on
def bool_key(event: E): w(str(event.n > 1)); w(str(not event.n))
@on
def cond_chain(event: E):
    x = event.a if event.n == 1 else event.b if event.n == 2 else event.id
    w(x)
@on
def loop_counter(event: E):
    n = 0
    for i in event.items: n += 1
    w(str(n)); w(f"len-{len(event.items)}"); w(str(sum(1 for _ in event.items)))
@on
def any_all(event: E):
    if any(i.sku == "s1" for i in event.items): w(event.a)
    if all(w(i.sku) is None for i in event.items): w(event.b)
@on
def set_lit(event: E):
    for x in {event.a, event.b} | {event.id}: w(x)
@on
def frozenset_(event: E):
    for x in frozenset([event.a]).union([event.b]): w(x)
@on
def while_pop(event: E):
    q = [i.sku for i in event.items]
    while q: w(q.pop())
@on
def del_attr(event: E):
    r = DC(Repo(), event.a); del r.k; r.k = event.b; r.r.save(r.k)
@on
def is_same(event: E):
    r = Repo(); r2 = r
    if r is r2: w(event.a)
    else: w("other")
@on
def neg_none(event: E):
    x = None
    if event.n > 1: x = Repo()
    if x is not None: x.save(event.a)
@on
def early(event: E):
    if event.n > 1: w(event.a); return
    w(event.b)
@on
def assertion(event: E):
    assert w(event.a) is None
    assert event.n < 2, w(event.b)
@on
def super_chain(event: E): C3().go(event.a)
class C1:
    def go(self, x): w(x + "1")
class C2(C1):
    def go(self, x): super().go(x + "2"); w(x + "c2")
class M2(C1):
    def go(self, x): super().go(x + "m")
class C3(C2, M2):
    def go(self, x): super().go(x)
@on
def classmeth(event: E): CMeth.make(event.a).run(); CMeth.st(event.b)
class CMeth:
    def __init__(self, k): self.k = k
    @classmethod
    def make(cls, k): return cls(k + "cm")
    @staticmethod
    def st(x): w(x + "st")
    def run(self): w(self.k)
@on
def walrus_loop(event: E):
    it = iter([event.a, event.b])
    while (x := next(it, None)) is not None: w(x)
@on
def lambda_default(event: E): (lambda x, y=event.b: (w(x), w(y)))(event.a)
@on
def star_kw(event: E):
    def f(*a, **k):
        for x in a: w(x)
        for x in k.values(): w(x)
    f(*[event.a], **{"z": event.b})
@on
def posonly(event: E):
    def f(x, /, *, y): w(x); w(y)
    f(event.a, y=event.b)
@on
def closure_counter(event: E):
    n = 0
    def inc():
        nonlocal n
        n += 1
        return n
    inc(); inc(); w(str(n))
@on
def global_func_attr(event: E):
    w2 = w; w2(event.a)
    fs = {"a": w, "b": Repo().save}
    fs["a"](event.a); fs["b"](event.b)
    [f(event.id) for f in (w, Repo().save)]
@on
def try_import(event: E):
    try: import nonexistent_xyz
    except ImportError: w(event.a)
