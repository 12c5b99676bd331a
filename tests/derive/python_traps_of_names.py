# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers that are easily misread: private names, of which each class has its own."""

from __future__ import annotations
from commute import App
from tests.derive.python_traps import E, Item, conn
app = App("traps8", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
class Repo:
    def __init__(self, c=conn): self.__c = c
    def save(self, x): self.__write(x)
    def __write(self, x): self.__c.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
live = Repo()
@on
def made_here(event: E): Repo().save(event.id)
@on
def live_one(event: E): live.save(event.id)
class Base:
    def __init__(self, x): self.__x = x
    def go(self): w(self.__x); self.__more()
    def __more(self): w(self.__x)
class Below(Base):
    def __init__(self, x, y): super().__init__(x); self.__x = y; self.__more = None
    def both(self): self.go(); w(self.__x)
@on
def each_class_has_its_own(event: E): Below(event.a, event.b).both()
@on
def under_its_full_name(event: E): w(Base(event.a)._Base__x)
class _Hidden:
    def __init__(self, x): self.__x = x
    def go(self): w(self.__x)
@on
def of_a_private_class(event: E):
    hidden = _Hidden(event.a); hidden.go(); hidden._Hidden__x = event.b; hidden.go()
class Late:
    def __init__(self): self.__c = None
    def connect(self) -> None: self.__c = conn
    def save(self, x):
        if self.__c is not None: self.__c.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
late = Late()
@on
def set_at_startup(event: E): late.save(event.id)
class Named:
    def go(self, __x):
        def __inner(): w(__x)
        __inner()
        return [w(__y) for __y in (__x,)]
    def given(self, x): self.go(x); return self.take(__z=x)
    def take(self, **more): w(more["__z"])
@on
def names_of_variables(event: E): Named().given(event.a)
class Outer:
    class Inner:
        def __init__(self, x): self.__x = x
        def go(self): w(self.__x)
    def go(self, x): Outer.Inner(x).go()
@on
def a_class_in_a_class(event: E): Outer().go(event.a)
class Counted:
    __held = []
    def go(self, x):
        for one in self.__held: w(one)
        self.__held.append(x)
@on
def in_the_class(event: E): Counted().go(event.id)
def startup() -> None: late.connect()
