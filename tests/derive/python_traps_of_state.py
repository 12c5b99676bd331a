# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Pairs of handlers that meet in the state of the program alone: the first changes what the second one looks at."""

from __future__ import annotations
import asyncio, collections, copy, queue, sqlite3, sys, types
from typing import Any
from commute import Event
conn = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
for text in ("CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER)",): conn.execute(text)
me = sys.modules[__name__]
class A(Event):
    k: str
    n: int
class B(Event):
    k: str
    n: int
PAIRS: dict[str, Any] = {}
APART: dict[str, Any] = {}  # that do not meet
def pair(f):
    PAIRS[f.__name__] = f(); return f
def apart(f):
    APART[f.__name__] = f(); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,))
LIMIT = 3; NAMES = ['t']; DEQUE = collections.deque(); COUNTS = collections.Counter(); FOUND: list = []; SEEN: set = set(); TABLE: dict = {}
ORDERED = collections.OrderedDict(); GROUPS = collections.defaultdict(list); QUEUE = asyncio.Queue(); PLAIN = queue.Queue()
PUSH = FOUND.append; NS = types.SimpleNamespace(n=0); LAST = 0; COUNT = 0
@pair
def element_by_another_index():
    def a(event: A): FOUND[-1] = event.k
    def b(event: B): w(FOUND[0])
    return a, b
@pair
def element_by_its_value():
    def a(event: A): FOUND[0] = event.k
    def b(event: B):
        if "k1" in FOUND: w("some")
    return a, b
@pair
def group_that_is_made_where_it_is_looked_at():
    def a(event: A): w(str(GROUPS[event.k]))
    def b(event: B): w(str(len(GROUPS)))
    return a, b
@pair
def copy_of_a_dict():
    def a(event: A): TABLE[event.k] = event.n
    def b(event: B): w(str(copy.copy(TABLE)))
    return a, b
@pair
def deep_copy_of_a_dict():
    def a(event: A): TABLE[event.k] = event.n
    def b(event: B): w(str(copy.deepcopy([TABLE])))
    return a, b
@apart
def two_entries_of_a_dict():
    def a(event: A): TABLE[event.k] = event.n
    def b(event: B): w(str(TABLE.get(event.k)))
    return a, b
@pair
def deque_of_the_program():
    def a(event: A): DEQUE.append(event.k)
    def b(event: B): w(str(len(DEQUE)))
    return a, b
@pair
def deque_taken():
    def a(event: A): DEQUE.append(event.k)
    def b(event: B): w(DEQUE.popleft())
    return a, b
@pair
def counter_updated():
    def a(event: A): COUNTS.update([event.k])
    def b(event: B): w(str(COUNTS["x"]))
    return a, b
@pair
def counter_most_common():
    def a(event: A): COUNTS[event.k] += 1
    def b(event: B): w(str(COUNTS.most_common(1)))
    return a, b
@pair
def bound_method_of_the_program():
    def a(event: A): PUSH(event.k)
    def b(event: B): w(str(len(FOUND)))
    return a, b
@pair
def method_by_class():
    def a(event: A): list.append(FOUND, event.k)
    def b(event: B): w(str(len(FOUND)))
    return a, b
@pair
def truth_of_a_list():
    def a(event: A): FOUND.append(event.k)
    def b(event: B):
        if FOUND: w("some")
    return a, b
@pair
def comparison_of_a_list():
    def a(event: A): FOUND.append(event.k)
    def b(event: B):
        if FOUND == ["x"]: w("some")
    return a, b
@pair
def text_of_a_list():
    def a(event: A): FOUND.append(event.k)
    def b(event: B): w(f"{FOUND}")
    return a, b
@pair
def bool_of_a_set():
    def a(event: A): SEEN.add(event.k)
    def b(event: B):
        if bool(SEEN): w("x")
    return a, b
@pair
def ordered_dict():
    def a(event: A): ORDERED[event.k] = 1
    def b(event: B): ORDERED.popitem(last=False)
    return a, b
@pair
def moved_to_end():
    def a(event: A): ORDERED.move_to_end("x")
    def b(event: B): w(str(next(iter(ORDERED), "none")))
    return a, b
@pair
def default_dict_of_lists():
    def a(event: A): GROUPS["x"].append(event.k)
    def b(event: B): w(str(GROUPS["x"]))
    return a, b
@pair
def queue_of_asyncio():
    def a(event: A): QUEUE.put_nowait(event.k)
    def b(event: B): w(QUEUE.get_nowait())
    return a, b
@pair
def queue_of_threads():
    def a(event: A): PLAIN.put(event.k)
    def b(event: B): w(PLAIN.get())
    return a, b
@pair
def namespace():
    def a(event: A): NS.n = event.n
    def b(event: B): w(str(NS.n))
    return a, b
@pair
def global_through_its_module():
    def a(event: A):
        global LAST
        LAST = event.n
    def b(event: B): w(str(me.LAST))
    return a, b
@pair
def module_attribute_as_a_global():
    def a(event: A): me.COUNT = event.n
    def b(event: B): w(str(COUNT))
    return a, b
@pair
def module_attribute_guards():
    def a(event: A): me.COUNT = event.n
    def b(event: B):
        if COUNT: w("x")
    return a, b
class Totals:
    summed = 0
    def show(self): return str(self.summed)
    def add(self, n): self.summed = n
class Sub(Totals): pass
TOTALS = Totals()
@pair
def class_attribute_through_an_object():
    def a(event: A): Totals.summed += event.n
    def b(event: B): w(Totals().show())
    return a, b
@pair
def class_attribute_through_a_live_object():
    def a(event: A): Totals.summed += event.n
    def b(event: B): w(TOTALS.show())
    return a, b
@pair
def class_attribute_through_a_subclass():
    def a(event: A): Totals.summed += event.n
    def b(event: B): w(str(Sub.summed))
    return a, b
@pair
def type_of_self():
    def a(event: A): type(TOTALS).summed = event.n
    def b(event: B): w(str(Totals.summed))
    return a, b
@pair
def attribute_by_object():
    def a(event: A): object.__setattr__(TOTALS, "extra", event.n)
    def b(event: B): w(str(getattr(TOTALS, "extra", 0)))
    return a, b
@pair
def attributes_of_vars():
    def a(event: A): vars(TOTALS)["extra"] = event.n
    def b(event: B): w(str(getattr(TOTALS, "extra", 0)))
    return a, b
@pair
def attributes_by_dict():
    def a(event: A): TOTALS.__dict__["extra"] = event.n
    def b(event: B): w(str(getattr(TOTALS, "extra", 0)))
    return a, b
@pair
def globals_of_a_module():
    def a(event: A): vars(me)["COUNT"] = event.n
    def b(event: B): w(str(COUNT))
    return a, b
@pair
def membership():
    def a(event: A): SEEN.add(event.k)
    def b(event: B):
        if any(x in SEEN for x in ("k1",)): w("x")
    return a, b
class Memo:
    def __init__(self): self._last = None; self.seen = {}
    @property
    def last(self): return self._last
    @last.setter
    def last(self, x): self._last = x
MEMO = Memo()
@pair
def property_with_a_setter():
    def a(event: A): MEMO.last = event.k
    def b(event: B): w(MEMO.last or "none")
    return a, b
@pair
def alias_in_an_attribute():
    seen = MEMO.seen
    def a(event: A): seen[event.k] = 1
    def b(event: B): w(str(len(MEMO.seen)))
    return a, b
def counted(f):
    def inner(): inner.calls += 1; return f()
    inner.calls = 0
    return inner
@counted
def work(): return 1
@pair
def attribute_of_a_function():
    def a(event: A): work()
    def b(event: B): w(str(work.calls))
    return a, b
def numbers():
    n = 0
    while True:
        n += 1
        yield n
NUMBERS = numbers()
@pair
def live_generator():
    def a(event: A): next(NUMBERS)
    def b(event: B): w(str(next(NUMBERS)))
    return a, b
def make_counter():
    n = 0
    def bump():
        nonlocal n
        n += 1
        return n
    return bump
BUMP = make_counter()
@pair
def nonlocal_of_a_live_closure():
    def a(event: A): BUMP()
    def b(event: B): w(str(BUMP()))
    return a, b
@apart
def globals_that_nobody_sets():
    def a(event: A):
        if LIMIT and NAMES: w(event.k)
    def b(event: B):
        if me.LIMIT and NAMES == ["t"]: w(event.k)
    return a, b
class Settings:
    table = "t"
    def save(self, x): conn.execute(f"UPDATE {self.table} SET n = 5 WHERE id = ?", (x,))
SETTINGS = Settings()
@apart
def attributes_of_classes_that_nobody_sets():
    def a(event: A): SETTINGS.save(event.k)
    def b(event: B): Settings().save(event.k)
    return a, b
