# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that call methods without naming them: of classes of classes, of missing names; and functions that remember."""

from __future__ import annotations
import decimal, functools, types
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from commute import App
from tests.derive.python_traps import E, Item, conn
app = App("traps12", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,)); return x
class Repo:
    def save(self, x): w(x)
CUR: ContextVar[str] = ContextVar("CUR", default="dflt")
G = "g0"
@lru_cache(None)
def cached_cur(): return CUR.get()
@on
def lru_context(event: E): CUR.set(event.a); w(cached_cur())
@lru_cache(None)
def cached_g(): return G
@on
def lru_global(event: E):
    global G
    G = event.a
    w(cached_g())
class Svc:
    def __init__(self): self.v = "s0"
    @functools.cached_property
    def cp(self): return self.v
    @lru_cache(None)
    def get(self): return self.v
svc = Svc()
@on
def lru_method(event: E): svc.v = event.a; w(svc.get())
@on
def cached_prop(event: E): svc.v = event.a; w(svc.cp)
@dataclass(frozen=True)
class Key:
    a: str
    note: str = field(compare=False)
@lru_cache(None)
def note_of(k): return k.note
@on
def lru_key(event: E): w(note_of(Key("same", event.b)))
@lru_cache(None)
def text_of(x): return str(x)
@on
def lru_decimal(event: E): w(text_of(decimal.Decimal("1.0" if event.n == 1 else "1.00")))
@lru_cache(None)
def two(x, y): return str(x)
@on
def lru_types(event: E): w(two(1, "k") if event.n == 1 else two(True, "k") if event.n == 2 else two(1.0, "k"))
@lru_cache(None)
def pair(x): return [x]
@on
def lru_list(event: E):
    xs = pair("k"); xs.append(event.a); w(xs[1] if len(xs) > 1 else xs[0])
class Meta(type):
    @property
    def current(cls): w("metaprop"); return "c"
    def __iter__(cls): w("metaiter"); return iter(["q"])
    def __contains__(cls, x): w(x); return True
    def __len__(cls): w("metalen"); return 1
    def __bool__(cls): w("metabool"); return True
    def __getitem__(cls, k): w(k); return k
    def __instancecheck__(cls, o): w("inst"); return True
    def __subclasscheck__(cls, o): w("sub"); return True
    def __add__(cls, o): w("add"); return o
    def __eq__(cls, o): w("eq"); return True
    def __hash__(cls): return 1
    def __str__(cls): w("metastr"); return "s"
    def __setattr__(cls, n, v): w(v); type.__setattr__(cls, n, v)
    def __call__(cls, *a): w("metacall"); return 5
class Reg(metaclass=Meta): pass
@on
def meta_prop(event: E): Reg.current
@on
def meta_iter(event: E):
    for x in Reg: w(x)
@on
def meta_in(event: E): event.a in Reg
@on
def meta_len(event: E): len(Reg)
@on
def meta_bool(event: E):
    if Reg: pass
@on
def meta_item(event: E): Reg[event.a]
@on
def meta_isinstance(event: E): isinstance(event.a, Reg)
@on
def meta_isinstance2(event: E):
    if isinstance(event.a, Reg): w(event.a)
@on
def meta_isinstance3(event: E):
    if isinstance([], Reg): w(event.a)
@on
def meta_issubclass(event: E):
    if issubclass(int, Reg): w(event.b)
@on
def meta_add(event: E): Reg + event.a
@on
def meta_eq(event: E): Reg == event.a
@on
def meta_str(event: E): f"{Reg}"
class CG:
    def __class_getitem__(cls, k): w(k); return k
@on
def class_getitem(event: E): CG[event.a]
class Missing(dict):
    def __missing__(self, k): w(k); return "missing"
live_missing = Missing()
@on
def missing_live(event: E): live_missing[event.a]
@on
def missing_live_const(event: E): live_missing["konst"]
@on
def missing_format(event: E): "{k}".format_map(live_missing)
@on
def missing_percent(event: E): "%(k)s" % live_missing
class Lazy:
    repo: str
    def __init__(self, k): self.k = k
    def __getattr__(self, n): w(self.k); return n
@on
def getattr_annotated(event: E): Lazy(event.a).repo
lz = Lazy("live")
@on
def getattr_live_annotated(event: E): lz.repo
class Lazy2:
    def __getattr__(self, n): w("lazy2"); self.z = 1; return 5
    def fill(self): self.z = 2
lz2 = Lazy2()
@on
def getattr_live_set(event: E): lz2.z
class Desc:
    def __get__(self, o, t=None): w("desc" if o is None else o.k); return 1
class HasDesc:
    d = Desc()
    def __init__(self, k): self.k = k
@on
def desc_class(event: E): HasDesc.d
@on
def desc_obj(event: E): HasDesc(event.a).d
class Deleter:
    def __init__(self, k): self.k = k
    @property
    def p(self): return 1
    @p.deleter
    def p(self): w(self.k)
    def __delattr__(self, n): w(n)
    def __delitem__(self, k): w(k)
@on
def del_attr(event: E):
    x = Deleter(event.a); del x.p
@on
def del_item(event: E):
    x = Deleter(event.a); del x[event.b]
class Eq:
    def __init__(self, k): self.k = k
    def __eq__(self, o): w(self.k); return NotImplemented
    def __hash__(self): return 1
class REq:
    def __eq__(self, o): w("req"); return True
    __hash__ = None
    def __lt__(self, o): w("rlt"); return True
    def __gt__(self, o): w("rgt"); return True
@on
def eq_right(event: E): event.a == Eq(event.b)
@on
def lt_reflected(event: E): 1 < REq()
@on
def eq_in_list(event: E): Eq(event.a) in [1, 2]
@on
def eq_index(event: E):
    [1, Eq(event.a)].index(2) if False else [Eq(event.a)].count(3)
@on
def match_eq(event: E):
    match Eq(event.a):
        case 5: pass
@on
def match_class(event: E):
    match event.a:
        case Reg(): pass
@on
def dict_eq(event: E): {Eq(event.a): 1} == {Eq(event.b): 1}
@on
def list_eq(event: E): [Eq(event.a)] == [5]
class Conv:
    def __init__(self, k): self.k = k
    def __int__(self): w("int" + self.k); return 1
    def __index__(self): w("index" + self.k); return 0
    def __len__(self): w("len" + self.k); return 1
    def __fspath__(self): w("fs" + self.k); return "x"
    def __conform__(self, p): w("conform" + self.k); return "x"
    def __iter__(self): w("iter" + self.k); return iter([self.k])
    def keys(self): w("keys" + self.k); return ["k"]
    def __getitem__(self, i): w("item" + self.k); return 1
@on
def conv_int(event: E): int(Conv(event.a))
@on
def conv_index(event: E): [1][Conv(event.a)]
@on
def conv_range(event: E): range(Conv(event.a))
@on
def conv_slice(event: E): [1][Conv(event.a):]
@on
def conv_conform(event: E): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (Conv(event.a),))
@on
def conv_kw(event: E): dict(**Conv(event.a))
@on
def conv_unpack(event: E): (x,) = Conv(event.a)
@on
def conv_yield_from(event: E):
    def g(): yield from Conv(event.a)
    list(g())
@on
def conv_join(event: E): "".join(Conv(event.a))
@on
def singledispatch_obj(event: E): disp(event.a)
@functools.singledispatch
def disp(x): pass
@disp.register
def _(x: str): w(x)
def deco(f):
    @functools.wraps(f)
    def inner(*a, **k): w("wrapped"); return 1
    return inner
@deco
def deco_target(x): pass
@on
def wraps_other(event: E): deco_target(event.a)
@on
def wraps_unwrap(event: E): deco_target.__wrapped__(event.a); w(event.b)
class InitSub:
    subs: list = []
    def __init_subclass__(cls): InitSub.subs.append(cls)
    def go(self, x): pass
class S_(InitSub):
    def go(self, x): w(x)
@on
def init_sub(event: E):
    for c in InitSub.subs: c().go(event.a)
kept = Repo()
mp = types.MappingProxyType({"r": kept})
@on
def proxy(event: E): mp["r"].save(event.a)
@on
def gen_close(event: E):
    def g():
        try: yield
        finally: w(event.a)
    it = g(); next(it); it.close()
@on
def gen_drop(event: E):
    def g():
        try: yield
        finally: w(x)
    x = event.a
    it = g(); next(it); x = event.b; del it
@on
def exc_value(event: E):
    try: raise KeyError(event.a)
    except KeyError as e: w(e.args[0])
@on
def exc_note(event: E):
    class_ = ValueError(event.a)
    try: raise class_
    except ValueError as e: w("%s" % e)
@on
def exc_group(event: E):
    try: raise ExceptionGroup("x", [ValueError(event.a)])
    except* ValueError as g: w(g.exceptions[0].args[0])
@on
def exc_cause(event: E):
    try:
        try: raise ValueError(event.a)
        except ValueError as e: raise KeyError from e
    except KeyError as k: w(k.__cause__.args[0])
