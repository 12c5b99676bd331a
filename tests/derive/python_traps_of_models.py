# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that have objects made by libraries out of texts and dicts, with what the application puts in between."""

import dataclasses, enum, json, typing
from dataclasses import dataclass, field
from typing import Annotated, Any
import msgspec, pydantic
from pydantic import AfterValidator, BaseModel, TypeAdapter, field_validator, model_validator
from commute import App
from tests.derive.python_traps import E, Item, conn
app = App("traps11", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,)); return x
class Repo:
    def save(self, x): w(x)
repo = Repo()
class S1(msgspec.Struct):
    a: str
    run: Any = repo
@on
def struct_default_object(event: E):
    m = msgspec.json.decode(json.dumps({"a": event.a}), type=S1); m.run.save(m.a)
class S2(msgspec.Struct):
    a: str
    run: Any = msgspec.field(default_factory=Repo)
class P1(BaseModel):
    a: str
    run: Any = repo
@on
def model_default_object(event: E): P1.model_validate({"a": event.a}).run.save(event.a)
@on
def model_default_object2(event: E): P1.model_validate_json(json.dumps({"a": event.a})).run.save(event.a)
class Color(enum.Enum):
    RED = "red"
    @classmethod
    def _missing_(cls, value): w(value); return cls.RED
@on
def enum_missing(event: E): Color(event.a)
@on
def enum_missing_convert(event: E): msgspec.convert(event.a, Color)
@on
def enum_missing_convert2(event: E): msgspec.convert({"c": event.a}, dict[str, Color])
class Level(enum.IntEnum):
    LOW = 1
    @classmethod
    def _missing_(cls, value): w(str(value)); return cls.LOW
@on
def int_enum_missing(event: E): Level(event.n + 7)
def save(v): w(v); return v
class PE(BaseModel):
    c: Color
@on
def model_enum(event: E): PE(c=event.a)
@on
def model_enum2(event: E): PE.model_validate({"c": event.a})
AD = TypeAdapter(Annotated[str, AfterValidator(save)])
@on
def adapter_annotated(event: E): AD.validate_python(event.a)
ADL = TypeAdapter(list[Annotated[str, AfterValidator(save)]])
@on
def adapter_list(event: E): ADL.validate_python([event.a])
class PL(BaseModel):
    vs: list[Annotated[str, AfterValidator(save)]]
@on
def nested_annotated(event: E): PL(vs=[event.a])
@on
def nested_annotated2(event: E): PL.model_validate({"vs": [event.a]})
@on
def nested_annotated3(event: E): PL.model_validate_json(json.dumps({"vs": [event.a]}))
class Inner(BaseModel):
    v: str
    @field_validator("v")
    @classmethod
    def keep(cls, v): return save(v)
class Outer(BaseModel):
    inner: Inner
@on
def inner_model(event: E): Outer(inner={"v": event.a})
@on
def inner_model2(event: E): Outer.model_validate({"inner": {"v": event.a}})
@on
def inner_model3(event: E): Outer.model_validate_json('{"inner": {"v": "%s"}}' % event.a)
class OuterL(BaseModel):
    inners: list[Inner]
    by: dict[str, Inner] = {}
    opt: Inner | None = None
@on
def inner_list(event: E): OuterL(inners=[{"v": event.a}])
@on
def inner_dict(event: E): OuterL(inners=[], by={"k": {"v": event.a}})
@on
def inner_opt(event: E): OuterL(inners=[], opt={"v": event.a})
class VD(BaseModel):
    model_config = pydantic.ConfigDict(validate_default=True)
    v: str = "vd"
    @field_validator("v")
    @classmethod
    def keep(cls, v): return save(v)
@on
def validate_default(event: E): VD()
class CF(BaseModel):
    v: str
    @pydantic.computed_field
    @property
    def c(self) -> str: return save(self.v)
@on
def computed_json(event: E): CF(v=event.a).model_dump_json()
@on
def computed_repr(event: E): repr(CF(v=event.a))
class MV(BaseModel):
    v: str
    @model_validator(mode="after")
    def check(self): save(self.v); return self
@on
def model_after(event: E): MV(v=event.a)
class MVsub(MV):
    x: str = ""
    @model_validator(mode="before")
    @classmethod
    def pre(cls, data): save("pre" + data["v"]); return data
@on
def model_before(event: E): MVsub(v=event.a)
class Root(pydantic.RootModel[list[Inner]]): pass
@on
def root_model(event: E): Root([{"v": event.a}])
@on
def root_model2(event: E): Root.model_validate([{"v": event.a}])
class Post(msgspec.Struct):
    v: str
    def __post_init__(self): w(self.v)
@on
def post_init_list(event: E): msgspec.convert([{"v": event.a}], list[Post])
@on
def post_init_union(event: E): msgspec.convert({"v": event.a}, Post | None)
@dataclass
class DCP:
    v: str
    def __post_init__(self): w(self.v)
@on
def post_init_dc(event: E): msgspec.json.decode(json.dumps({"v": event.a}).encode(), type=DCP)
@on
def post_init_replace(event: E): dataclasses.replace(DCP("z"), v=event.a)
@on
def post_init_structs_replace(event: E): msgspec.structs.replace(Post("z"), v=event.a)
@dataclass
class Kw:
    a: str = "ka"
    _: dataclasses.KW_ONLY
    b: str = "kb"
@on
def kw_only(event: E): x = Kw(event.a, b=event.b); w(x.b); w(Kw(event.a).b)
@dataclass
class BaseD:
    a: str
    b: str = "bb"
@dataclass
class SubD(BaseD):
    b: str = "sub"
    c: str = "c"
@on
def dc_inherit(event: E):
    x = SubD(event.a, c=event.b); w(x.b); w(SubD(event.a, event.b).b)
@dataclass(slots=True)
class Slots:
    a: str
    def __post_init__(self): w(self.a)
@on
def dc_slots(event: E): Slots(event.a)
@dataclass
class DDesc:
    class D:
        def __set_name__(self, o, n): self.n = "_" + n
        def __get__(self, o, t=None): return "dd" if o is None else o.__dict__[self.n]
        def __set__(self, o, v): w(v); o.__dict__[self.n] = v
    v: str = D()
@on
def dc_descriptor(event: E): DDesc(event.a)
@on
def dc_descriptor_default(event: E): DDesc()
@dataclass(eq=False)
class Fac:
    xs: list = field(default_factory=lambda: [w("fac")])
@on
def dc_factory(event: E): Fac()
@dataclass
class Parent:
    def __post_init__(self): w("parent")
@dataclass
class Child(Parent):
    a: str = ""
    def __post_init__(self): super().__post_init__(); w(self.a)
@on
def dc_super(event: E): Child(event.a)
@dataclass
class SetA:
    a: str
    def __setattr__(self, n, v): w(v); object.__setattr__(self, n, v)
@on
def dc_setattr(event: E): SetA(event.a)
class NTD(typing.NamedTuple):
    a: str
    r: Any = repo
@on
def nt_default(event: E): NTD(event.a).r.save(event.a)
