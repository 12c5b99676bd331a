# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that are easily misread: loops that carry state along, what the library does to objects, what is set late."""

from __future__ import annotations
import asyncio, collections, copy, enum, functools, heapq, itertools, operator, sys, types
from dataclasses import dataclass, field
from typing import Any, NamedTuple
import msgspec, pydantic
from commute import App
from tests.derive.python_traps import E, Item, conn
app = App("traps6", "memory://")
me = sys.modules[__name__]
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
def pair(d, s): conn.execute("UPDATE p SET n = 5 WHERE depot = ? AND sku = ?", (d, s))
class Repo:
    def __init__(self, c=conn): self.c = c
    def save(self, x): self.c.execute("UPDATE t SET n = 5 WHERE id = ?", (x,)); return x
class Box:
    def __init__(self, k): self.k = k
    def bump(self, k): w(self.k); self.k = k; return k
LIVE = {"ka": "va", "kb": "vb"}
REPOS = [Repo()]
# paths
@on
def handler_sets_then_finally(event: E):
    x = event.a
    try: raise ValueError
    except ValueError:
        x = event.b
        return
    finally: w(x)
@on
def break_through_finally(event: E):
    x = event.a
    for i in event.items:
        try: break
        finally: x = event.b
    w(x)
@on
def long_chain(event: E):
    a = b = c = d = e = f = g = event.a
    for i in range(9):
        a = b; b = c; c = d; d = e; e = f; f = g; g = event.b
    w(a)
@on
def while_over_an_object(event: E):
    box = Box(event.a)
    n = 3
    while n > 0:
        n -= 1
        w(box.k)
        box.k = event.b
def forever(box, event):
    while True:
        if box.stop(): return
        w(box.k)
        box.k = event.b
class Stops(Box):
    n = 0
    def stop(self): self.n += 1; return self.n > 3
@on
def while_true(event: E): forever(Stops(event.a), event)
@on
def two_attributes(event: E):
    box = Box(event.a); box.x = event.a; box.y = event.a; box.z = event.a
    for i in range(6):
        w(box.x); box.x = box.y; box.y = box.z; box.z = event.b
@on
def dict_in_a_loop(event: E):
    d = {"x": event.a, "y": event.a, "z": event.a}
    for i in range(6):
        w(d["x"]); d["x"] = d["y"]; d["y"] = d["z"]; d["z"] = event.b
@on
def state_in_a_comprehension(event: E):
    box = Box(event.a)
    [box.bump(event.b) for _ in range(3)]
@on
def walrus_in_a_comprehension(event: E):
    y = event.a
    [y := i.sku for i in event.items]
    w(y)
@on
def walrus_in_any(event: E):
    if any((hit := i).depot == "d1" for i in event.items): w(hit.sku)
@on
def lazy_expression(event: E):
    box = Box(event.a)
    g = (box.k for _ in range(2))
    box.k = event.b
    for k in g: w(k)
@on
def lazy_map(event: E):
    box = Box(event.a)
    g = map(lambda _: w(box.k), range(2))
    box.k = event.b
    list(g)
@on
def closure_of_a_branch(event: E):
    def make():
        x = event.a
        def g(): w(x)
        if event.n:
            x = event.b
            return g
        return g
    make()()
@on
def match_mapping(event: E):
    match {"k": event.a}:
        case {"k": x}: w(x)
@on
def match_nested(event: E):
    match event.items:
        case [Item(sku=s), *rest]:
            w(s)
            for r in rest: w(r.sku)
@on
def match_text(event: E):
    match event.a:
        case str(x): w(x)
@on
def match_tuple(event: E):
    match (event.n, event.b):
        case (1, x): w(x)
        case (_, y): w(y)
# the library
@on
def sorted_of_known(event: E): w(sorted([event.b, event.a])[0])
@on
def list_of_set(event: E):
    for _ in range(4): w(list({event.b, event.a, event.id})[0])
@on
def unpacked_set(event: E):
    x, y, z = {event.b, event.a, event.id}
    w(x)
@on
def product_repeat(event: E):
    for x, y in itertools.product(event.items, repeat=2): pair(x.depot, y.sku)
@on
def longest(event: E):
    for x, y in itertools.zip_longest(["q"], [event.a, event.b], fillvalue="zz"): w(x)
@on
def combos(event: E):
    for x, y in itertools.combinations(event.items, 2): pair(x.depot, y.sku)
@on
def pairwise(event: E):
    for x, y in itertools.pairwise(event.items): pair(x.depot, y.sku)
@on
def reduced(event: E): functools.reduce(lambda x, repo: repo.save(x), [Repo(), Repo()], event.a)
@on
def taken(event: E): list(itertools.takewhile(lambda repo: repo.save(event.a), [Repo()]))
@on
def grouped(event: E):
    for k, g in itertools.groupby([Repo()], key=lambda repo: repo.save(event.b)): list(g)
@on
def largest(event: E): heapq.nlargest(1, [Repo(), Repo()], key=lambda repo: repo.save(event.b))
@on
def key_partial(event: E): sorted(event.items, key=functools.partial(lambda c, i: Repo(c).save(i.sku), conn))
@functools.lru_cache
def cached_key(sku): w(sku); return sku
@on
def key_cached(event: E): sorted([event.b, event.a], key=cached_key); cached_key.cache_clear()
class Keyed:
    def __call__(self, x): w(x); return x
KEYED = Keyed()
@on
def key_object(event: E): sorted([event.b, event.a], key=Keyed())
@on
def key_live_object(event: E): max([event.b, event.a], key=KEYED)
class Eager:
    def __init__(self, x): w(x); self.x = x
    def __lt__(self, other): return self.x < other.x
@on
def key_class(event: E): sorted([event.b, event.a], key=Eager)
@on
def methodcaller(event: E): list(map(operator.methodcaller("save", event.a), [Repo()]))
@on
def attrgetter(event: E): operator.attrgetter("save")(Repo())(event.a)
@on
def attrgetter_of_items(event: E):
    for s in map(operator.attrgetter("sku"), event.items): w(s)
FIRST, SECOND = operator.itemgetter(0), operator.itemgetter(1)
@on
def two_getters(event: E):
    t = event.a + "x"
    w(FIRST(t) if event.n > 9 else SECOND(t)); w(FIRST(t)), w(SECOND(t))
@on
def grouped_objects(event: E):
    groups = collections.defaultdict(list)
    groups[event.a].append(Repo())
    for r in groups[event.a]: r.save(event.a)
@on
def grouped_items(event: E):
    groups = collections.defaultdict(list)
    for i in event.items: groups[i.depot].append(i)
    for depot, found in groups.items():
        for i in found: w(i.sku); w(depot)
@on
def ordered(event: E):
    d = collections.OrderedDict(); d["x"] = Repo(); d["x"].save(event.a)
@on
def deque_of_objects(event: E):
    q = collections.deque(); q.append(Repo())
    while q: q.popleft().save(event.b)
class Registry(dict): pass
class Stack(list): pass
@on
def list_method_by_class(event: E):
    q = [event.a]; list.append(q, event.b)
    for x in q: w(x)
@on
def dict_method_by_class(event: E):
    d = {"x": event.a}; dict.update(d, {"x": event.b}); w(d["x"])
@on
def operator_setitem(event: E):
    d = {"x": event.a}; operator.setitem(d, "x", event.b); w(d["x"])
@on
def dict_of_live(event: E):
    for k in dict(LIVE): w(k)
@on
def spread_live(event: E):
    d = {**LIVE}
    w(d["ka"])
@on
def or_live(event: E):
    d = {"q": event.a} | LIVE
    for v in d.values(): w(v)
@on
def dict_of_spread(event: E):
    for k, v in dict(**LIVE).items(): w(k); w(v)
def named(**kw):
    for k, v in kw.items(): w(k); w(v)
@on
def spread_named(event: E): named(**LIVE)
@on
def spread_named2(event: E): named(**{i.sku: i.depot for i in event.items})
# objects
@dataclass(frozen=True)
class Frozen:
    k: str
    other: str = ""
    def __post_init__(self): object.__setattr__(self, "k", self.k + "-frozen")
@on
def frozen(event: E): w(Frozen(event.a).k)
class Tracked:
    k = None
    def __setattr__(self, name, value): super().__setattr__(name, value)
@on
def tracked(event: E):
    t = Tracked(); t.k = event.a
    if t.k is not None: w(t.k)
class ByDict:
    k = None
    def __init__(self, **kw): self.__dict__.update(kw)
@on
def by_dict(event: E):
    t = ByDict(k=event.a)
    if t.k is not None: w(t.k)
class ByVars:
    k = None
    def __init__(self, **kw): vars(self).update(kw)
@on
def by_vars(event: E):
    t = ByVars(k=event.a)
    if t.k is not None: w(t.k)
class Service:
    @functools.cached_property
    def repo(self): return None
service = Service(); service.repo = Repo()
@on
def cached_property_set(event: E):
    s = Service(); s.repo = Repo()
    if s.repo is not None: s.repo.save(event.a)
@on
def cached_property_set_live(event: E):
    if service.repo is not None: service.repo.save(event.b)
class Loud:
    def __set_name__(self, owner, name): self.name = name
    def __set__(self, obj, value): obj.__dict__[self.name] = value
    def __get__(self, obj, cls=None):
        w(obj.__dict__[self.name] + "-loud"); return obj.__dict__[self.name]
class Louder:
    k = Loud()
    def __init__(self, k): self.k = k
LOUDER = Louder("z")
@on
def data_descriptor(event: E): Louder(event.a).k
class Guard:
    def __getattribute__(self, name): w(name); return object.__getattribute__(self, name)
@dataclass
class Uow:
    c: Any = None
    new: list = field(default_factory=list, init=False)
    def add(self, x): self.new.append(x)
    def commit(self):
        for x in self.new: x.save("uow")
@on
def dataclass_list(event: E):
    u = Uow(); u.add(Repo()); u.commit()
class Struct(msgspec.Struct):
    repo: Any = msgspec.field(default_factory=Repo)
@on
def struct_factory(event: E): Struct().repo.save(event.a)
class Model(pydantic.BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    repo: Any = pydantic.Field(default_factory=Repo)
    def model_post_init(self, ctx): w("model-post")
@on
def model_factory(event: E): Model().repo.save(event.a)
class Pair(NamedTuple):
    k: str
    repo: Any = REPOS[0]
@on
def named_tuple_default(event: E): Pair(event.a).repo.save(event.a)
@on
def type_of_either(event: E):
    x = Box(event.a) if event.n > 9 else "text"
    if type(x) is Box: w("box")
    else: w("text")
def steps(): yield 1
@on
def iterator_kind(event: E):
    g = steps()
    if isinstance(g, collections.abc.Iterator): w(event.a)
@on
def deque_kind(event: E):
    q = collections.deque([event.a])
    if isinstance(q, list): w("list")
    else: w("deque")
@on
def frozen_kind(event: E):
    s = frozenset([event.a])
    if isinstance(s, set): w("set")
    else: w("frozen")
def startup() -> None:
    global pool
    pool = Repo()
@on
def late_global(event: E): pool.save(event.a)
@on
def late_module_attribute(event: E): me.pool.save(event.b)
@on
def hasattr_runs(event: E): hasattr(Asked(event.a), "k")
class Asked:
    def __init__(self, x): self.x = x
    @property
    def k(self): w(self.x); return 1
@on
def either_reduce(event: E):
    f = (lambda a, b: w(event.a)) if event.n > 1 else (lambda a, b: w(event.b))
    functools.reduce(f, [1, 2, 3])
@on
def named_args(event: E): dict(a=w)["a"](event.a)
@on
def bound_in_dict(event: E): {"x": Repo().save, "y": w}["x" if event.n else "y"](event.b)
@on
def try_else(event: E):
    x = event.a
    try: y = int(event.a)
    except ValueError as e: x = event.b
    else: x = "else"
    finally: w(x)
@on
def nested_return_finally(event: E):
    def inner():
        x = event.a
        try:
            x = event.b
            return x
        finally:
            x = "late"; w(x)
    w(inner())
@on
def continue_finally(event: E):
    x = event.a
    for i in event.items:
        w(x)
        try:
            if i.sku: continue
        finally: x = i.depot
@on
def inner_list_default(event: E):
    def f(x, seen=[]):
        seen.append(x); return seen
    f(event.a)
    for y in f(event.b): w(y)
@on
def alias_append(event: E):
    q = [event.a]; r = q
    if event.n: r.append(event.b)
    w(q[-1])
@on
def slice_assign(event: E):
    q = [event.a, event.a]; q[:1] = [event.b]; w(q[0])
@on
def insert_front(event: E):
    q = [event.a]; q.insert(0, event.b); w(q[0])
@on
def reversed_known(event: E): w(list(reversed([event.a, event.b]))[0])
@on
def swap(event: E):
    a, b = event.a, event.b
    a, b = b, a
    w(a)
@on
def late_binding(event: E):
    fs = []
    for i in event.items: fs.append(lambda: w(i.sku))
    for f in fs: f()
@on
def late_binding2(event: E):
    def g(): w(x)
    x = event.a
    g()
    x = event.b
    g()
