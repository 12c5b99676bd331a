# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""Handlers in which something runs later than where it is written: iterators, functions that are kept, tasks."""

from __future__ import annotations
import asyncio, collections, contextlib, copy, itertools, json, re, threading, time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from commute import App
from tests.derive.python_traps import E, Item, conn
app = App("traps10", "memory://")
def on(f):
    app.on(E)(f); return f
def w(x): conn.execute("UPDATE t SET n = 5 WHERE id = ?", (x,)); return x
pool = ThreadPoolExecutor(2)
class Repo:
    def save(self, x): w(x)
@on
def match_guard(event: E):
    x = event.a
    match event.b:
        case x if event.n > 100: return
    w(x)
@on
def match_guard2(event: E):
    x = event.a
    match event.b:
        case x if event.n > 100: return
        case _: w(x)
@on
def match_guard3(event: E):
    x = y = event.a
    match (event.b, event.id):
        case (x, y) if event.n > 100: return
        case _ if w(x): pass
@on
def iter_append(event: E):
    xs = [event.a]; it = iter(xs); xs.append(event.b)
    for v in it: w(v)
@on
def enumerate_append(event: E):
    xs = [event.a]; it = enumerate(xs); xs.append(event.b)
    for i, v in it: w(v)
@on
def zip_append(event: E):
    xs = [event.a]; ys = [1, 2]; it = zip(xs, ys); xs.append(event.b)
    for v, _ in it: w(v)
@on
def chain_append(event: E):
    xs = [event.a]; it = itertools.chain(xs, ["z"]); xs.append(event.b)
    for v in it: w(v)
@on
def chain_iterable_append(event: E):
    xs = [[event.a]]; it = itertools.chain.from_iterable(xs); xs.append([event.b])
    for v in it: w(v)
@on
def reversed_set(event: E):
    xs = [event.a]; it = reversed(xs); xs[0] = event.b
    for v in it: w(v)
@on
def islice_append(event: E):
    xs = [event.a]; it = itertools.islice(xs, 5); xs.append(event.b)
    for v in it: w(v)
@on
def iter_values(event: E):
    d = {"k": event.a}; it = iter(d.values()); d["k"] = event.b
    for v in it: w(v)
@on
def iter_items(event: E):
    d = {"k": event.a}; it = iter(d.items()); d["k"] = event.b
    for _, v in it: w(v)
@on
def accumulate_late(event: E):
    x = event.a
    it = itertools.accumulate(["1", "2"], lambda a, v: w(x)); x = event.b
    list(it)
@on
def starmap_late(event: E):
    x = event.a
    it = itertools.starmap(lambda v: w(x), [(1,)]); x = event.b
    list(it)
@on
def groupby_late(event: E):
    x = event.a
    it = itertools.groupby([1], key=lambda v: w(x)); x = event.b
    list(it)
@on
def zip_longest_append(event: E):
    xs = [event.a]; it = itertools.zip_longest(xs, [1]); xs.append(event.b)
    for v, _ in it:
        if v: w(v)
@on
def pairwise_append(event: E):
    xs = [event.a, event.a]; it = itertools.pairwise(xs); xs.append(event.b)
    for _, v in it: w(v)
@on
def cycle_append(event: E):
    xs = [event.a]; it = itertools.cycle(xs); xs.append(event.b)
    next(it); w(next(it))
@on
def tee_append(event: E):
    xs = [event.a]; p, q = itertools.tee(xs); xs.append(event.b)
    for v in q: w(v)
@on
def defaultdict_late(event: E):
    x = event.a
    d = collections.defaultdict(lambda: w(x)); x = event.b
    d["k"]
@on
def defaultdict_value(event: E):
    x = event.a
    d = collections.defaultdict(lambda: x); x = event.b
    w(d["k"])
@on
def submit_late(event: E):
    ev = threading.Event(); box = [event.a]; x = event.a
    def f(): ev.wait(2); w(x)
    fut = pool.submit(f)
    x = event.b; ev.set(); fut.result()
@on
def submit_middle(event: E):
    ev = threading.Event(); x = event.a
    def f(): ev.wait(2); w(x)
    fut = pool.submit(f)
    x = event.b; ev.set(); fut.result()
    x = "c"
@on
def future_exception(event: E):
    def f(): raise ValueError
    fut = pool.submit(f)
    if fut.exception() is not None: w(event.a)
@on
def future_exception2(event: E):
    def f(): raise ValueError
    fut = pool.submit(f)
    if fut.exception(): w(event.a)
@on
def future_callback_late(event: E):
    ev = threading.Event(); x = event.a
    fut = pool.submit(ev.wait, 2)
    fut.add_done_callback(lambda f: w(x)); x = event.b
    ev.set(); fut.result(); time.sleep(0.02)
@on
def callback_chain(event: E):
    x = event.a
    with ExitStack() as stack:
        stack.callback(lambda: w(x))
        x = event.b
@on
async def task_middle(event: E):
    x = event.a
    async def co(): w(x)
    t = asyncio.create_task(co()); x = event.b
    await asyncio.sleep(0)
    x = "c"; await t
@on
async def done_callback(event: E):
    x = event.a
    t = asyncio.create_task(asyncio.sleep(0)); t.add_done_callback(lambda _: w(x)); x = event.b
    await t; await asyncio.sleep(0)
@on
def list_filled_by_callback(event: E):
    seen = []
    re.sub(".", lambda m: seen.append(event.a) or "", event.b)
    if seen: w(seen[0])
@on
def view_truth(event: E):
    d = {}; v = d.values(); d["k"] = event.a
    if v: w(event.a)
@on
def copy_then_append(event: E):
    xs = [5, event.a]; c = copy.copy(xs); c.append(event.b)
    conn.execute("UPDATE t SET n = 5 WHERE id = ?", (xs[-1],))
@contextmanager
def quiet_cm():
    with contextlib.suppress(ValueError): yield
@contextmanager
def finally_cm():
    try: yield
    finally: return
@contextmanager
def nested_cm():
    with quiet_cm(): yield
@on
def cm_suppress(event: E):
    x = event.a
    with quiet_cm():
        int(event.a)
        x = event.b
    w(x)
@on
def cm_finally(event: E):
    x = event.a
    with finally_cm():
        int(event.a)
        x = event.b
    w(x)
@on
def cm_nested(event: E):
    x = event.a
    with nested_cm():
        int(event.a)
        return
    w(x)
@on
def default_callback(event: E):
    def cb(d, repo=Repo()): repo.save(event.a)
    json.loads('{"a": 1}', object_hook=cb)
@on
def default_callback2(event: E):
    def cb(d, x=None):
        if x is None: w(event.a)
    json.loads('{"a": 1}', object_hook=cb)
