# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that are easily misread: what libraries set, convert and copy, what travels in exceptions and generators."""
from __future__ import annotations
import collections, copy, dataclasses, functools, itertools, operator, types
from dataclasses import dataclass, field
from typing import Any
import msgspec, pydantic
from commute import App
from tests.derive.python_traps import E, Item, conn
app = App("traps-copies", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,)); return x
class Repo:
    def __init__(self, c=conn): self.c = c
    def save(self, x): self.c.execute("UPDATE t SET n = 5 WHERE id = ?", (x,)); return x
class Box:
    def __init__(self, v): self.v = v
# models of pydantic
class Model(pydantic.BaseModel):
    v: Any = "z"
class Named(pydantic.BaseModel):
    v: str = pydantic.Field(alias="theV", default="dflt")
class Chosen(pydantic.BaseModel):
    v: str = pydantic.Field(validation_alias=pydantic.AliasChoices("one", "two"), default="dflt")
class Late(pydantic.BaseModel):
    v: str
    def model_post_init(self, ctx): self.v = self.v + "-late"
class Checked(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(validate_assignment=True, str_to_upper=True)
    v: str = "z"
class Computing(pydantic.BaseModel):
    v: str
    @pydantic.computed_field
    @property
    def c(self) -> str: return self.v + "-computed"
@pydantic.validate_call
def number(x: int): w(str(x))
@on
def attribute_of_a_model(event: E):
    m = Model(); m.v = event.a; w(m.v)
@on
def attribute_of_a_model_by_name(event: E):
    m = Model(); setattr(m, "v", event.a); w(m.v)
@on
def computed_when_it_is_dumped(event: E): w(Computing(v=event.a).model_dump()["c"])
@on
def alias(event: E): w(Named(theV=event.a).v)
@on
def alias_by_a_dict(event: E):
    d = {"theV": event.b}
    w(Named(**d).v)
@on
def alias_of_several(event: E): w(Chosen(two=event.b).v)
@on
def set_after_it_is_made(event: E): w(Late(v=event.a).v)
@on
def converted_when_it_is_set(event: E):
    c = Checked(); c.v = event.a; w(c.v)
@on
def called_with_converted(event: E): number(f"0{event.n}")
@on
def copied_with_an_object(event: E): Model().model_copy(update={"v": Repo()}).v.save(event.a)
@on
def constructed(event: E): Model.model_construct(v=Repo()).v.save(event.a)
# copies
@dataclass
class Upper:
    v: str
    def __post_init__(self): self.v = self.v.upper() + "p"
@dataclass
class Plain:
    v: Any = None
class Struct(msgspec.Struct):
    v: Any = None
@on
def replaced_by_a_dict(event: E):
    changes = {k: x for k, x in [("v", event.b)]}
    w(dataclasses.replace(Plain(event.a), **changes).v)
@on
def replaced_and_made_anew(event: E): w(dataclasses.replace(Upper(event.a), v=event.b).v)
@on
def struct_as_a_dict(event: E): msgspec.structs.asdict(Struct(Repo()))["v"].save(event.a)
@on
def struct_replaced(event: E): msgspec.structs.replace(Struct(), v=Repo()).v.save(event.a)
class Copies:
    def __copy__(self): w("copy"); return self
    def __deepcopy__(self, memo): w("deepcopy"); return self
@on
def own_copy(event: E): copy.copy(Copies())
@on
def own_deepcopy(event: E): copy.deepcopy({"k": [Copies()]})
@on
def bare_object(event: E):
    b = object.__new__(Box); b.v = Repo(); b.v.save(event.a)
@on
def bare_object_of_its_class(event: E):
    b = Box.__new__(Box); b.v = event.a; w(b.v)
@on
def proxy_of_a_dict(event: E): types.MappingProxyType({"v": Repo()})["v"].save(event.b)
@on
def sum_of_lists(event: E): sum([[Repo()]], [])[0].save(event.b)
@on
def popped_pair(event: E):
    k, v = {event.a: event.b}.popitem(); w(k); w(v)
@on
def element_deleted(event: E):
    q = [event.b, event.a]; del q[0]; w(q[0])
@on
def view_unpacked(event: E):
    d = {"k": "old"}; v = d.values(); d["k"] = event.a; (x,) = v; w(x)
@on
def view_listed(event: E):
    d = {"k": "old"}; v = d.items(); d["k"] = event.b; w(list(v)[0][1])
# what is asked without being told
class Asked:
    def __len__(self): w("len"); return 1
    def __index__(self): w("index"); return 0
    def __delattr__(self, name): w("del-" + name)
class Property:
    def __init__(self): self._x = "z"
    @property
    def x(self): return self._x
    @x.deleter
    def x(self): w(self._x + "-deleted")
@on
def asserted(event: E): assert Asked()
@on
def guarded(event: E):
    match 1:
        case _ if Asked(): pass
@on
def index(event: E): [1][Asked()]
@on
def attribute_deleted(event: E):
    a = Asked(); del a.x
@on
def property_deleted(event: E):
    p = Property(); p._x = event.a; del p.x
@on
def attributes_replaced(event: E):
    b = Box(event.a); b.__dict__ = {"v": event.b}; w(b.v)
# exceptions and generators
class Failed(Exception): pass
class Handed(Exception):
    def __init__(self, repo): super().__init__(repo, "more")
@on
def object_in_an_exception(event: E):
    try: raise ValueError(Repo())
    except ValueError as e: e.args[0].save(event.a)
@on
def object_in_an_own_exception(event: E):
    try: raise Failed(Repo())
    except Failed as e: e.args[0].save(event.a)
@on
def object_that_is_handed_on(event: E):
    try: raise Handed(Repo())
    except Handed as e: e.args[0].save(event.b)
def steps(x):
    yield "step"
    return x
@on
def value_of_a_generator(event: E):
    g = steps(Repo())
    try:
        while True: next(g)
    except StopIteration as s: s.value.save(event.a)
@on
def object_sent(event: E):
    def g():
        r = yield
        r.save(event.a)
        yield
    k = g(); next(k); k.send(Repo())
@on
def returned_through(event: E):
    def g():
        r = yield from steps(Repo())
        r.save(event.b)
    list(g())
@on
def self_of_a_method(event: E):
    m = Repo().save; m.__self__.save(event.a)
# results that are remembered: the same object for all events
@functools.cache
def store(): return {}
@functools.lru_cache
def hub(): return Box("none")
@on
def remembered_dict(event: E): w(store().get("k", "none")); store()["k"] = event.a
@on
def remembered_object(event: E): w(hub().v); hub().v = event.a
