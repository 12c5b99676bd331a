# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that are easily misread: objects, registries, laziness, things that are put in the place of others."""

from __future__ import annotations
import asyncio, sqlite3, functools, contextlib, os, types, abc, itertools, collections
from dataclasses import dataclass, field
from typing import Protocol, Any
import msgspec
from commute import App, Event, Context
from tests.derive.python_traps import E, Item, conn
app = App("traps2", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
class Repo:
    def __init__(self, c): self.c = c
    def save(self, x): self.c.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
@on
def placeholders(event: E):
    ids = [i.sku for i in event.items]
    marks = ",".join("?" for _ in ids)
    conn.execute(f"UPDATE t SET n = 5 WHERE id IN ({marks})", ids)
    for i in ids: w(i)
@on
def placeholders2(event: E):
    ids = [i.sku for i in event.items]
    conn.execute("UPDATE t SET n = 5 WHERE id IN (%s)" % ",".join("?" * len(ids)), ids)
    for i in ids: w(i)
@on
def placeholders3(event: E):
    ids = [i.sku for i in event.items]
    conn.execute("UPDATE t SET n = 5 WHERE id IN (" + ",".join(["?"] * len(ids)) + ")", tuple(ids))
    for i in ids: w(i)
@on
def dyn_where(event: E):
    sql = "UPDATE t SET n = 5 WHERE id = ?"; params = [event.a]
    if event.n == 2:
        sql += " AND n > ?"; params.append(3)
    conn.execute(sql, params)
TABLE = "t"
@on
def table_const(event: E): conn.execute(f"UPDATE {TABLE} SET n = 5 WHERE id = ?", (event.a,)); w(event.a)
class Generic_:
    table: str
    def save(self, x): conn.execute(f"UPDATE {self.table} SET n = 5 WHERE id = ?", (x,)); w(x)
class T_(Generic_): table = "t"
@on
def table_attr(event: E): T_().save(event.b)
def patched(self, x): w(x + "-patched")
class Orig:
    def go(self, x): w(x)
def patch(): Orig.go = patched
@on
def monkeypatched(event: E): patch(); Orig().go(event.a)
@on
def after_monkeypatch(event: E): Orig().go(event.a)
import sys
me = sys.modules[__name__]
def replace_global(): me.target = other
def target(x): w(x)
def other(x): w(x + "-other")
@on
def module_attr_set(event: E): replace_global(); target(event.a)
@on
def ex(event: E): exec("w(event.a + 'x')", globals(), {"event": event})
class Lazy:
    @functools.cached_property
    def repo(self): return Repo(conn)
lazy = Lazy()
@on
def cached_prop(event: E): lazy.repo.save(event.a)
class Single:
    _inst = None
    @classmethod
    def get(cls):
        if cls._inst is None: cls._inst = Repo(conn)
        return cls._inst
@on
def singleton(event: E): Single.get().save(event.a)
_cache: dict[str, Repo] = {}
def repo_for(name):
    if name not in _cache: _cache[name] = Repo(conn)
    return _cache[name]
@on
def lazy_dict(event: E): repo_for("x").save(event.a)
_glob = None
def get_glob():
    global _glob
    if _glob is None: _glob = Repo(conn)
    return _glob
@on
def lazy_global(event: E): get_glob().save(event.a)
class Ctx:
    def __enter__(self): self.repo = Repo(conn); return self
    def __exit__(self, *a):
        for x in self.seen: self.repo.save(x)
    seen: list
    def __init__(self): self.seen = []
@on
def uow_exit(event: E):
    with Ctx() as c: c.seen.append(event.b)
@on
def uow_early(event: E):
    with Ctx() as c:
        c.seen.append(event.b)
        if event.n: return
@on
def nested_with(event: E):
    with Ctx() as c, Ctx() as d:
        c.seen.append(event.a); d.seen.append(event.b)
@on
def exit_stack(event: E):
    with contextlib.ExitStack() as st:
        c = st.enter_context(Ctx()); c.seen.append(event.b)
@on
def callback_stack(event: E):
    with contextlib.ExitStack() as st: st.callback(w, event.b)
class Ev:
    def __init__(self): self.handlers = []
    def on(self, f): self.handlers.append(f); return f
    def fire(self, *a):
        for h in self.handlers: h(*a)
signal = Ev()
@signal.on
def listener(x): w(x + "-heard")
@on
def observer(event: E): signal.fire(event.a)
class Plugin(abc.ABC):
    subs: list = []
    def __init_subclass__(cls): Plugin.subs.append(cls)
    @abc.abstractmethod
    def run(self, x): ...
class P1(Plugin):
    def run(self, x): w(x + "1")
class P2(Plugin):
    def run(self, x): w(x + "2")
@on
def plugins(event: E):
    for p in Plugin.subs: p().run(event.a)
@on
def by_name(event: E): {"save": Repo(conn).save}.get("save")(event.b)
@on
def default_get(event: E): {}.get(event.a, Repo(conn)).save(event.b)
def deco(f):
    @functools.wraps(f)
    def g(event):
        w(event.a + "-before")
        try: return f(event)
        finally: w(event.a + "-after")
    return g
@on
@deco
def decorated(event: E): w(event.a)
class CDeco:
    def __init__(self, f): self.f = f; functools.update_wrapper(self, f)
    def __call__(self, e): w(e.a + "-cls"); return self.f(e)
@CDeco
def inner_cd(event): w(event.b)
@on
def class_deco(event: E): inner_cd(event)
@functools.singledispatch
def sd(x): w(str(x))
@sd.register
def _(x: int): w(str(x) + "-int")
@on
def dispatch(event: E): sd(event.n); sd(event.a)
class Cmp:
    def __init__(self, k): self.k = k
    def __getattr__(self, n):
        if n.startswith("do_"): return lambda: w(self.k + n)
        raise AttributeError(n)
@on
def dyn_attr(event: E): Cmp(event.a).do_x()
@on
def chained(event: E):
    x = y = event.a
    x += "q"
    w(x); w(y)
@on
def cond_expr(event: E): w(event.a if event.n > 1 else event.b)
@on
def or_expr(event: E): w(event.a or event.b)
@on
def cmp_chain(event: E):
    for i, it in enumerate(event.items):
        if i: w(it.sku)
@on
def dict_comp(event: E):
    d = {i.sku: i.depot for i in event.items}
    for k, v in d.items(): w(k)
    for k in d: w(k)
    for k in sorted(d): w(d[k])
@on
def set_ops(event: E):
    for x in {i.sku for i in event.items} - {"s1"}: w(x)
@on
def unpack_star(event: E):
    first, *rest = [event.a, event.b, event.id]
    w(first)
    for r in rest: w(r)
@on
def zip_dict(event: E):
    for k, v in zip(["x", "y"], [event.a, event.b]): w(v)
@on
def str_split(event: E):
    for part in (event.a + "," + event.b).split(","): w(part)
@on
def split_ix(event: E): w(event.a.split("1")[0] + "z")
@on
def struct_made(event: E):
    for it in [Item(sku=event.a, depot="d"), *event.items]: w(it.sku)
@on
def asdict(event: E):
    d = msgspec.to_builtins(event); w(d["a"]); w(d["items"][0]["sku"])
@dataclass(frozen=True)
class Key:
    a: str
    b: str
    def text(self): return f"{self.a}:{self.b}".lower()
    @classmethod
    def of(cls, e): return cls(e.a, e.b)
@on
def value_object(event: E): w(Key.of(event).text())
@on
def nested_func(event: E):
    def go(k=event.b, *, pre="p"): w(pre + k)
    go(); go(pre="z")
@on
async def async_handler(event: E):
    async def one(k): w(k)
    await asyncio.gather(*(one(i.sku) for i in event.items))
    await asyncio.create_task(one(event.a))
    async with asyncio.Lock(): await one(event.b)
@on
async def agen(event: E):
    async def rows():
        for i in event.items: yield i.sku
    async for r in rows(): w(r)
    for r in [r async for r in rows()]: w(r)
@on
async def tothread(event: E): await asyncio.to_thread(w, event.a)
@on
async def executor(event: E): await asyncio.get_running_loop().run_in_executor(None, w, event.a)
class Cond:
    flag = False
@on
def flag_set(event: E): Cond.flag = True
@on
def flag_used(event: E):
    if Cond.flag: w(event.a)
FLAG = [False]
@on
def flag2_set(event: E): FLAG[0] = True
@on
def flag2_used(event: E):
    if FLAG[0]: w(event.a)
@on
def isinst(event: E):
    v: Any = event.n
    if isinstance(v, str): w(event.a)
    elif isinstance(v, int): w(event.b)
@on
def truthy_obj(event: E):
    r = Repo(conn)
    if r: r.save(event.a)
    else: w("no")
@on
def for_else(event: E):
    for i in event.items:
        if i.sku == "zzz": break
    else: w(event.a)
@on
def loopvar_after(event: E):
    for i in event.items: pass
    w(i.sku)
@on
def del_then(event: E):
    d = {"k": event.a, "j": event.b}
    del d["k"]
    for v in d.values(): w(v)
@on
def obj_in_set(event: E):
    s = set(); o = types.SimpleNamespace
    s.add(event.a); s.update([event.b])
    for x in s: w(x)
@on
def lambda_list(event: E):
    fs = [lambda x=x: w(x) for x in (event.a, event.b)]
    for f in fs: f()
@on
def lambda_late(event: E):
    fs = [lambda: w(x) for x in (event.a, event.b)]
    for f in fs: f()
@on
def method_ref(event: E):
    m = Repo(conn).save
    for i in event.items: m(i.sku)
@on
def tuple_key(event: E):
    d = {(event.a, 1): event.b}
    for (k, _), v in d.items(): w(k); w(v)
@on
def rec_data(event: E):
    def walk(n):
        if isinstance(n, list):
            for x in n: walk(x)
        else: w(n)
    walk([event.a, [event.b]])
@on
def generator_return(event: E):
    def g():
        yield event.a
        return event.b
    def h():
        r = yield from g()
        yield r
    for x in h(): w(x)
@on
def it_next(event: E):
    it = iter([event.a, event.b])
    w(next(it)); w(next(it))
@on
def exc_args(event: E):
    try: raise ValueError(event.b)
    except ValueError as e: w(str(e))
@on
def reraise_outer(event: E):
    def inner():
        try: raise KeyError(event.a)
        finally: w(event.b)
    try: inner()
    except KeyError as e: w(e.args[0])
@on
def match_struct(event: E):
    match event:
        case E(n=1, a=k): w(k)
        case E(items=[first, *_]): w(first.sku)
@on
def match_dict(event: E):
    match {"k": event.a, "z": event.b}:
        case {"k": x, **rest}:
            w(x); w(rest["z"])
@on
def inplace_list(event: E):
    q = []; r = q
    q += [event.a, event.b]
    for x in r: w(x)
@on
def extend_alias(event: E):
    class_ = collections.UserDict
    d = class_(); d["x"] = event.a
    w(d["x"])
@on
def globals_call(event: E): globals()["w"](event.a)
@on
def map_partial(event: E): list(map(functools.partial(lambda p, x: w(p + x.sku), "z"), event.items))
@on
def property_setter(event: E):
    class_ = PS
    class_().x = event.a
class PS:
    @property
    def x(self): return 1
    @x.setter
    def x(self, v): w(v)
