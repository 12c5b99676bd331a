# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that are easily misread: what Python does behind the text. Each touches rows of `t` or `p`."""

from __future__ import annotations
import asyncio, abc, contextlib, copy, functools, itertools, operator, sqlite3, threading, types, collections
from dataclasses import dataclass, field
import msgspec
from commute import App, Event

DDL = ["CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER)", "CREATE TABLE p (depot TEXT, sku TEXT, n INTEGER, PRIMARY KEY(depot, sku))"]
class Item(msgspec.Struct):
    sku: str
    depot: str
class E(Event):
    id: str
    a: str
    b: str
    n: int
    items: list[Item]

app = App("traps", "memory://")
TRAPS = []
db = None
def get(): return db
def put(x): get().execute("UPDATE t SET n = n + 1 WHERE id = ?", (x,)).rowcount
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
def pair(d, s): conn.execute("UPDATE p SET n = 5 WHERE depot = ? AND sku = ?", (d, s))
conn = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
def startup() -> None:
    global db
    db = conn
def forget() -> None:
    global db
    db = None
    holder.db = holder.repo = None
class Holder:
    def __init__(self): self.db = None; self.repo = None
    def connect(self) -> None: self.db = conn; self.repo = Repo(conn)
class Repo:
    def __init__(self, c): self.c = c
    def save(self, x): self.c.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
holder = Holder()
def on(f): 
    app.on(E)(f); return f

@on
def global_set_at_startup(event: E): put(event.id)
@on
def attribute_set_at_startup(event: E): holder.db.execute("UPDATE t SET n = 5 WHERE id = ?", (event.id,))
@on
def attribute_object_at_startup(event: E): holder.repo.save(event.id)
@on
def if_none_skip(event: E):
    if holder.repo is not None: holder.repo.save(event.id)
@on
def cross_product(event: E):
    for x in event.items:
        for y in event.items: pair(x.depot, y.sku)
@on
def previous_element(event: E):
    last = None
    for x in event.items:
        if last is not None: pair(last.depot, x.sku)
        last = x
@on
def zipped_shift(event: E):
    for x, y in zip(event.items, event.items[1:]): pair(x.depot, y.sku)
@on
def two_lists(event: E):
    ds = [x.depot for x in event.items]; ss = [x.sku for x in reversed(event.items)]
    for d, s in zip(ds, ss): pair(d, s)
@on
def correlated(event: E):
    for x in event.items: pair(x.depot, x.sku)
@on
def correlated_rows(event: E):
    conn.executemany("UPDATE p SET n = 5 WHERE depot = ? AND sku = ?", [(x.depot, x.sku) for x in event.items])
@on
def swap_loop(event: E):
    x, y = event.a, event.b
    for _ in range(3):
        x, y = y, x
    w(x)
@on
def try_assigned(event: E):
    x = event.a
    try:
        x = event.b
        int("no")
        x = event.id
    except ValueError:
        w(x)
@on
def late_generator(event: E):
    box = {"k": event.a}
    def gen(): yield box["k"]
    g = gen()
    box["k"] = event.b
    for x in g: w(x)
@on
def late_closure(event: E):
    x = event.a
    def f(): w(x)
    x = event.b
    f()
@on
def nonlocal_set(event: E):
    x = event.a
    def g():
        nonlocal x
        x = event.b
    g(); w(x)
@on
def late_coroutine(event: E):
    box = [event.a]
    async def c(): w(box[0])
    async def main():
        k = c(); box[0] = event.b
        await k
    asyncio.run(main())
@on
def alias_list(event: E):
    a = b = []
    b.append(event.b)
    for x in a: w(x)
@on
def attr_reassign(event: E):
    o = types.SimpleNamespace(k=event.a)
    o.k = event.b
    w(o.k)
STATE = {"last": "z"}
@on
def state_written(event: E): STATE["last"] = event.a
@on
def state_used(event: E): w(STATE["last"])
class Box: last = "z"
box = Box()
@on
def attr_state_written(event: E): box.last = event.b
@on
def attr_state_used(event: E): w(box.last)
counter = 0
@on
def global_written(event: E):
    global counter
    counter = event.n
@on
def global_used(event: E): w(str(counter))
class Service:
    def __init__(self, repo: Repo): self.repo = repo
    def do(self, x): self.repo.save(x)
class Odd(Repo):
    def save(self, x): self.c.execute("UPDATE t SET n = 5 WHERE id = ?", (x + "!",))
svc = Service(Odd(conn))
@on
def subclass(event: E): svc.do(event.id)
@dataclass
class Touchy:
    k: str
    def __str__(self): w(self.k + "s"); return self.k
    def __eq__(self, o): w(self.k + "e"); return True
    def __hash__(self): w(self.k + "h"); return 1
    def __len__(self): w(self.k + "l"); return 1
    def __lt__(self, o): w(self.k + "<"); return True
    def __contains__(self, o): w(self.k + "c"); return True
    def __iter__(self): w(self.k + "i"); return iter([])
    def __enter__(self): w(self.k + "en"); return self
    def __exit__(self, *a): w(self.k + "ex")
    def __getitem__(self, o): w(self.k + "g"); return 1
    def __call__(self): w(self.k + "()")
    def __add__(self, o): w(self.k + "+"); return self
    def __format__(self, s): w(self.k + "f"); return ""
    @property
    def p(self): w(self.k + "p"); return 1
@on
def d_str(event: E): str(Touchy(event.a))
@on
def d_fstr(event: E): f"{Touchy(event.a)}"
@on
def d_eq(event: E): Touchy(event.a) == 3
@on
def d_hash(event: E): {Touchy(event.a): 1}
@on
def d_set(event: E): {Touchy(event.a)}
@on
def d_bool(event: E):
    if Touchy(event.a): pass
@on
def d_sort(event: E): sorted([Touchy(event.a), Touchy(event.b)])
@on
def d_in(event: E): 3 in Touchy(event.a)
@on
def d_iter(event: E): list(Touchy(event.a))
@on
def d_unpack(event: E): print(*Touchy(event.a))
@on
def d_for(event: E):
    for _ in Touchy(event.a): pass
@on
def d_with(event: E):
    with Touchy(event.a): pass
@on
def d_item(event: E): Touchy(event.a)[0]
@on
def d_call(event: E): Touchy(event.a)()
@on
def d_add(event: E): Touchy(event.a) + 1
@on
def d_iadd(event: E):
    t = Touchy(event.a)
    t += 1
@on
def d_prop(event: E): Touchy(event.a).p
@on
def d_print(event: E): print(Touchy(event.a))
@on
def d_max(event: E): max(Touchy(event.a), Touchy(event.b))
@on
def d_listin(event: E): Touchy(event.a) in [1, 2]
@on
def d_percent(event: E): "%s" % Touchy(event.a)
@on
def d_format(event: E): "{}".format(Touchy(event.a))
@on
def d_join(event: E): ",".join(map(str, [Touchy(event.a)]))
@on
def sortkey(event: E): sorted([event.a], key=lambda x: w(x) or 1)
@on
def mapped(event: E): list(map(w, [event.a, event.b]))
@on
def filtered(event: E): list(filter(w, [event.a]))
@on
def reduced(event: E): functools.reduce(lambda a, x: w(x), [event.a, event.b], None)
@on
def partial(event: E): functools.partial(w, event.b)()
@on
def mgetter(event: E): operator.methodcaller("save", event.b)(Repo(conn))
@on
def threaded(event: E):
    t = threading.Thread(target=w, args=(event.b,)); t.start(); t.join()
@on
def starred(event: E):
    args = [event.a]; args.append(event.b)
    (lambda *x: w(x[-1]))(*args)
@on
def kw(event: E):
    d = dict(x=event.b)
    (lambda **k: w(k["x"]))(**d)
@on
def getattrconst(event: E): getattr(Repo(conn), "sa" + "ve")(event.b)
class Proxy:
    def __init__(self, o): self.o = o
    def __getattr__(self, name): return getattr(self.o, name)
@on
def proxied(event: E): Proxy(Repo(conn)).save(event.b)
class Meta(type):
    def __call__(cls, *a):
        w(a[0] + "m"); return super().__call__(*a)
class M(metaclass=Meta):
    def __init__(self, x): pass
@on
def meta(event: E): M(event.a)
class N:
    def __new__(cls, x):
        w(x + "n"); return super().__new__(cls)
@on
def newed(event: E): N(event.a)
class Desc:
    def __get__(self, o, t): w(o.k + "d"); return 1
    def __set__(self, o, v): w(o.k + "ds")
class HasD:
    d = Desc()
    def __init__(self, k): self.k = k
@on
def desc_get(event: E): HasD(event.a).d
@on
def desc_set(event: E): HasD(event.a).d = 2
class SA:
    def __setattr__(self, n, v): w(v + "sa"); object.__setattr__(self, n, v)
@on
def setattr_hook(event: E): SA().x = event.a
@on
def raised_object(event: E):
    class_ = Failed
    try: raise class_(Repo(conn), event.b)
    except Failed as e: e.repo.save(e.k)
class Failed(Exception):
    def __init__(self, repo, k): self.repo, self.k = repo, k
@on
def finally_end(event: E):
    x = event.a
    try:
        x = event.b
        return
    finally:
        w(x)
@on
def suppress(event: E):
    x = event.a
    with contextlib.suppress(ValueError):
        x = event.b
        raise ValueError
        x = event.id
    w(x)
class Swallow:
    def __enter__(self): return self
    def __exit__(self, *a): return True
@on
def swallow(event: E):
    x = event.a
    with Swallow():
        x = event.b
        raise KeyError
    w(x)
@on
def while_else(event: E):
    i = 0; x = event.a
    while i < 2:
        i += 1
        if i == 5: break
    else:
        x = event.b
    w(x)
@on
def walrus(event: E):
    if (k := event.b): w(k)
@on
def mutable_default(event: E, seen: list = []):
    for s in seen: w(s)
    seen.append(event.a)
@on
def list_mutated_while(event: E):
    q = [event.a]
    for x in q:
        if x == event.a: q.append(event.b)
        w(x)
@on
def queue_loop(event: E):
    q = collections.deque([event.a])
    while q:
        x = q.popleft()
        w(x)
        if x == event.a and event.a != event.b: q.append(event.b)
@on
def dict_view(event: E):
    d = {}
    v = d.values()
    d["x"] = event.b
    for x in v: w(x)
@on
def slice_assign(event: E):
    q = [event.a]; q[:] = [event.b]
    w(q[0])
@on
def setdefault(event: E):
    d = {}
    d.setdefault("k", []).append(event.b)
    w(d["k"][0])
@on
def dd(event: E):
    d = collections.defaultdict(list)
    for i in event.items: d[i.depot].append(i.sku)
    for dep, skus in d.items():
        for s in skus: pair(dep, s)
@on
def grouped(event: E):
    for dep, g in itertools.groupby(sorted(event.items, key=lambda i: i.depot), key=lambda i: i.depot):
        for i in g: pair(dep, i.sku)
@on
def recursion(event: E):
    def rec(xs):
        if not xs: return
        w(xs[0]); rec(xs[1:])
    rec([event.a, event.b, event.id])
@on
def recursion_acc(event: E):
    def rec(n, k):
        if n == 0: return w(k)
        rec(n - 1, k + "x")
    rec(7, event.a)
@on
def accum(event: E):
    k = event.a
    for _ in range(6): k = k + "y"
    w(k)
@on
def shadow(event: E):
    event = E(id=event.a, a=event.b, b="q", n=1, items=[])
    w(event.id)
@on
def replaced(event: E):
    e2 = msgspec.structs.replace(event, id=event.b)
    w(e2.id)
@on
def deep(event: E):
    o = copy.deepcopy({"k": [event.b]})
    w(o["k"][0])
@on
def lcache(event: E):
    cached(event.b)
@functools.lru_cache
def cached(x): w(x)
@on
def cond_del(event: E):
    d = {"a": event.a}
    if event.n: d.pop("a"); d["a"] = event.b
    w(d["a"])
@on
def class_attr(event: E):
    Repo.extra = event.b
    w(Repo.extra)
@on
def strip_case(event: E): w(event.a.strip().upper() + "-%03d" % event.n)
@on
def int_text(event: E): w(event.n)
@on
def any_short(event: E): any(w(x) for x in [event.a, event.b])
@on
def cm(event: E):
    with scope(event.a) as s: s.append(event.b)
@contextlib.contextmanager
def scope(x):
    out = [x]
    yield out
    for o in out: w(o)
@on
def genloop(event: E):
    for x in numbers(event): w(x)
def numbers(e):
    out = []
    yield e.a
    yield from [e.b, e.id]
@on
def send_gen(event: E):
    def g():
        while True:
            x = yield
            w(x)
    k = g(); next(k)
    try: k.send(event.b)
    finally: k.close()
@on
def event_set(event: E):
    with contextlib.suppress(AttributeError): event.a = "zz"
    w(event.a)
