# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that are easily misread: recursion over objects, threads, exceptions that carry objects, decorators."""

from __future__ import annotations
import abc, asyncio, concurrent.futures, contextlib, enum, functools, sqlite3, threading
from dataclasses import dataclass, field
from typing import Any, Iterable, Protocol
import msgspec
from commute import App, Context, Event
from tests.derive.python_traps import E, Item, conn
app = App("traps7", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
class Repo:
    def save(self, x): w(x); return x
class Box:
    def __init__(self, k): self.k = k
@on
def recursion_with_state(event: E):
    box = Box(event.a); box.x = event.a; box.y = event.a
    def down(n):
        if n == 0: return
        w(box.k); box.k = box.x; box.x = box.y; box.y = event.b
        down(n - 1)
    down(7)
class Walker:
    def __init__(self, event): self.k = event.a; self.x = event.a; self.y = event.a; self.event = event
    def down(self, n):
        if n == 0: return
        w(self.k); self.k = self.x; self.x = self.y; self.y = self.event.b
        self.down(n - 1)
@on
def recursion_of_a_method(event: E): Walker(event).down(7)
class Steps:
    def __init__(self, event): self.k = event.a; self.n = 0; self.event = event
    def __iter__(self): return self
    def __next__(self):
        self.n += 1
        if self.n > 5: raise StopIteration
        was = self.k; self.k = self.event.b if self.n > 2 else was; return was
@on
def iterator_with_state(event: E):
    for k in Steps(event): w(k)
@on
def list_of_an_iterator(event: E):
    for k in list(Steps(event)): w(k)
def changing(event):
    k = event.a
    while True:
        yield k
        k = event.b
@on
def generator_with_state(event: E):
    g = changing(event)
    next(g); w(next(g))
class Carries(Exception):
    def __init__(self, repo): self.repo = repo
def fails(): raise Carries(Repo())
class Checked:
    def __init__(self, f): self.f = f
    def __get__(self, obj, cls=None): return functools.partial(self, obj)
    def __call__(self, obj, x): w(x + "-checked"); return self.f(obj, x)
class Service:
    @Checked
    def go(self, x): w(x)
    @functools.singledispatchmethod
    def on(self, x): w("other")
    @on.register
    def _(self, x: str): w(x)
@on
def decorator_with_get(event: E): Service().go(event.a)
class Bus:
    handlers: list
    known: tuple[int, Repo]
    def fire(self, x):
        for h in self.handlers: h.save(x)
    def second(self, x): self.known[1].save(x)
def fill(bus: Bus):
    bus.handlers = [Repo()]; bus.known = (1, Repo())
bus = Bus(); fill(bus)
def made(b: Bus, x): b.fire(x)
@on
def annotated_list(event: E): bus.fire(event.a)
class Needs:
    def __init__(self, bus: Bus): self.bus = bus
def provide(cls): return cls(bus)
@on
def injected(event: E): provide(Needs).bus.second(event.b)
class Kind(enum.Enum):
    A = "x"
    B = "y"
    def act(self, x): w(x + self.value)
@on
def enum_method(event: E): Kind.A.act(event.a)
@on
def enum_by_value(event: E): Kind("x" if event.n > 1 else "y").act(event.b)
@on
def enum_loop(event: E):
    for kind in Kind: kind.act(event.a)
@on
def function_import(event: E):
    from .python_traps import w as other
    other(event.a)
@contextlib.contextmanager
def around(x):
    w(x + "-before")
    try: yield x
    finally: w(x + "-after")
@on
def around_in_a_loop(event: E):
    x = event.a
    for i in event.items:
        with around(x) as y:
            x = i.sku
            if event.n > 1: break
    w(x)
class Proxy:
    def __init__(self, inner): self._inner = inner
    def __getattr__(self, name): return getattr(self._inner, name)
@on
def proxied(event: E): Proxy(Repo()).save(event.a)
class Port(Protocol):
    def save(self, x): ...
@dataclass
class Uses:
    port: Port = field(default_factory=Repo)
    more: dict[str, Port] = field(default_factory=dict)
@on
def dataclass_ports(event: E):
    u = Uses(); u.more["x"] = Repo(); u.more["x"].save(event.a); u.port.save(event.b)
class Money:
    def __init__(self, k): self.k = k
    def __add__(self, o): return Money(self.k + o.k)
    def __radd__(self, o): return self
    def __format__(self, spec): return self.k + spec
    def __str__(self): return self.k + "-str"
@on
def summed(event: E): w(sum([Money(event.a), Money(event.b)]).k)
@on
def formatted(event: E): w(f"{Money(event.a):x}"); w(f"{Money(event.b)!s}"); w("{}".format(Money(event.a))); w("%s" % Money(event.b))
@on
def gathered(event: E):
    async def go(x): w(x)
    async def all_(): await asyncio.gather(*(go(i.sku) for i in event.items))
    return all_()
@on
def star_args(event: E):
    def f(first, *rest, key="k", **more): w(first); [w(x) for x in rest]; w(key); [w(v) for v in more.values()]
    args = [event.a, event.b]; kw = {"key": event.id}
    if event.n > 1: kw["other"] = "o"
    f(*args, **kw)
@on
def deleted(event: E):
    d = {"x": event.a}; d.pop("x"); d["x"] = event.b; w(d["x"])
@on
def nested_default(event: E):
    d = {}
    d.setdefault("x", {}).setdefault("y", []).append(event.a)
    for x in d["x"]["y"]: w(x)
@on
def slot_object(event: E):
    s = Slots(); s.k = event.a; s.k += "q"; w(s.k)
class Slots:
    __slots__ = ("k",)
@on
def else_of_while(event: E):
    n = 2
    while n: n -= 1
    else: w(event.a)
@on
def try_in_loop(event: E):
    last = event.a
    for i in event.items:
        try: last = i.sku; raise ValueError
        except ValueError: continue
        finally: w(last)
