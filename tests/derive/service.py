# ruff: noqa
# mypy: ignore-errors
# fmt: off
"""A service as people write them: repositories, a unit of work, counters in Redis, retries, an in-process bus."""

from __future__ import annotations
import asyncio, sqlite3, os, json, logging, uuid, time, hashlib, re, enum
from dataclasses import dataclass, field, asdict, replace
from datetime import datetime, timezone, timedelta
from decimal import Decimal
from typing import Protocol, Any, Generic, TypeVar, NewType, Callable
import abc, contextlib, functools
import msgspec, redis
from pydantic import BaseModel
from commute import App, Event, Context
log = logging.getLogger(__name__)
DDL = ["CREATE TABLE toggle (id TEXT PRIMARY KEY, n INTEGER)"]
class L(msgspec.Struct):
    sku: str
    qty: int
class E(Event):
    id: str
    n: int
    lines: list[L]
    email: str = ""
    at: datetime | None = None
    price: Decimal = Decimal(0)
class Settings(BaseModel):
    url: str = os.environ.get("X", "sqlite:///x")
    limit: int = 10
settings = Settings()
def get_connection(): 
    conn = sqlite3.connect(settings.url); conn.row_factory = sqlite3.Row
    conn.execute("PRAGMA foreign_keys = ON")
    return conn
T = TypeVar("T")
class Repo(abc.ABC, Generic[T]):
    table: str; 
    def __init__(self, conn: sqlite3.Connection) -> None: self.conn = conn
    def get(self, id: str) -> T | None:
        row = self.conn.execute(f"SELECT * FROM {self.table} WHERE id = ?", (id,)).fetchone()
        return self.to_model(row) if row is not None else None
    @abc.abstractmethod
    def to_model(self, row) -> T: ...
    def delete(self, id): self.conn.execute("DELETE FROM " + self.table + " WHERE id = ?", (id,))
class Status(str, enum.Enum):
    NEW = "new"; PAID = "paid"
@dataclass
class Order:
    id: str
    status: Status = Status.NEW
    total: Decimal = Decimal(0)
    created: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    def mark_paid(self):
        if self.status is Status.PAID: raise AlreadyPaid(self.id)
        self.status = Status.PAID
class AlreadyPaid(Exception): pass
class OrderRepo(Repo[Order]):
    table = "orders"
    def to_model(self, row): return Order(id=row["id"], status=Status(row["status"]), total=Decimal(row["total"]))
    def save(self, o: Order):
        self.conn.execute("INSERT INTO orders (id, status, total) VALUES (:id, :status, :total) ON CONFLICT(id) DO UPDATE SET status = excluded.status, total = excluded.total",
            {"id": o.id, "status": o.status.value, "total": str(o.total)})
class UoW:
    def __init__(self, factory: Callable[[], sqlite3.Connection] = get_connection): self._factory = factory
    def __enter__(self) -> UoW:
        self.conn = self._factory(); self.orders = OrderRepo(self.conn); return self
    def __exit__(self, et, ev, tb):
        if et is None: self.conn.commit()
        else: self.conn.rollback(); log.warning("rolled back %s", ev)
        self.conn.close()
class Mailer(Protocol):
    def send(self, to: str, body: str) -> None: ...
class LogMailer:
    def send(self, to, body): log.info("mail to %s: %s", to, body)
class OrderService:
    def __init__(self, uow: UoW, mailer: Mailer, clock: Callable[[], float] = time.time):
        self.uow, self.mailer, self.clock = uow, mailer, clock
    def pay(self, order_id: str, amount: Decimal) -> Order:
        with self.uow as u:
            o = u.orders.get(order_id)
            if o is None: raise LookupError(f"no order {order_id}")
            o.mark_paid(); o.total += amount
            u.orders.save(o)
        self.mailer.send("x@y", f"paid {o.id} at {self.clock():.0f}")
        return o
app = App("real", "memory://")
service = OrderService(UoW(), LogMailer())
@app.on(E)
def pay(event: E) -> None:
    started = time.perf_counter()
    try:
        o = service.pay(event.id, event.price)
        log.info("paid", extra={"order": asdict(o)})
    except AlreadyPaid: log.exception("already")
    finally: log.debug("took %.3f", time.perf_counter() - started)
r = redis.Redis()
class Counter:
    prefix = "hits"
    def __init__(self, r: redis.Redis): self.r = r
    def key(self, *parts): return ":".join([self.prefix, *map(str, parts)])
    def hit(self, x): self.r.incr(self.key(x)); self.r.expire(self.key(x), 60)
    def total(self, x): return int(self.r.get(self.key(x)) or 0)
counter = Counter(r)
@app.on(E)
def count(event: E) -> None:
    counter.hit(event.id)
    if counter.total(event.id) > settings.limit: log.warning("many")
@app.on(E)
def count2(event: E) -> None:
    with r.pipeline() as p:
        p.hincrby(f"user:{event.id}", "n", 1); p.sadd("users", event.id); p.execute()
    r.set(f"last:{event.id}", json.dumps({"n": event.n, "at": event.at.isoformat() if event.at else None}))
@app.on(E)
def batch(event: E) -> None:
    with contextlib.closing(get_connection()) as conn, conn:
        conn.executemany("UPDATE stock SET qty = qty - ? WHERE sku = ?", [(l.qty, l.sku) for l in event.lines])
        cur = conn.cursor()
        cur.execute("SELECT sku, qty FROM stock WHERE sku IN (%s)" % ",".join("?" * len(event.lines)), [l.sku for l in event.lines])
        low = [dict(row) for row in cur.fetchall() if row["qty"] < 0]
        if low: raise ValueError(low)
def retry(n=3, exc=(sqlite3.OperationalError,)):
    def deco(f):
        @functools.wraps(f)
        def w(*a, **k):
            for i in range(n):
                try: return f(*a, **k)
                except exc as e:
                    if i == n - 1: raise
                    time.sleep(2 ** i)
        return w
    return deco
class Handler:
    name = "h"
    def __init__(self, conn): self.conn = conn; self.cache = {}
    @retry()
    def handle(self, event: E) -> None:
        h = hashlib.sha256(event.email.strip().lower().encode()).hexdigest()
        self.conn.execute("INSERT OR IGNORE INTO person (email) VALUES (?)", (event.email.lower(),))
        self.conn.execute("UPDATE person SET n = n + 1 WHERE email = ?", (event.email.lower(),))
        self._audit(event, h)
    def _audit(self, event, h): self.conn.execute("INSERT INTO audit(id, h, at) VALUES (?, ?, ?)", (str(uuid.uuid4()), h, datetime.utcnow()))
h = Handler(sqlite3.connect(":memory:"))
app.on(E)(h.handle)
class Bus:
    def __init__(self): self._subs: dict[type, list] = {}
    def subscribe(self, t):
        def deco(f): self._subs.setdefault(t, []).append(f); return f
        return deco
    def publish(self, e):
        for f in self._subs.get(type(e), []): 
            try: f(e)
            except Exception: log.exception("handler %s failed", f.__name__); raise
bus = Bus()
@dataclass(frozen=True)
class Reserved: order: str; sku: str
@bus.subscribe(Reserved)
def on_reserved(e: Reserved): h.conn.execute("UPDATE stock SET reserved = reserved + 1 WHERE sku = ?", (e.sku,))
@app.on(E)
def via_bus(event: E) -> None:
    for l in event.lines: bus.publish(Reserved(event.id, l.sku))
@app.on(E)
def env(event: E) -> None:
    if os.getenv("FEATURE") == "1" or os.environ.get("Y"): h.conn.execute("DELETE FROM toggle WHERE id = ?", (event.id,))
@app.on(E)
async def aio(event: E, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        rows = tx.execute("SELECT n FROM toggle WHERE id = ?", (event.id,))
        n = rows[0][0] if rows else 0
        tx.execute("UPDATE toggle SET n = ? WHERE id = ?", (n + event.n, event.id))
    ctx.publish(E(id=event.id, n=n, lines=[]))
    await asyncio.sleep(0)
@app.on(E)
async def aio_exec(event: E) -> None:
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, service.pay, event.id, event.price)
@app.on(E)
def get_or_create(event: E) -> None:
    row = h.conn.execute("SELECT id FROM person WHERE email = ?", (event.email,)).fetchone()
    pid = row[0] if row else h.conn.execute("INSERT INTO person(email) VALUES (?) RETURNING id", (event.email,)).fetchone()[0]
    h.conn.execute("UPDATE person SET seen = ? WHERE id = ?", (event.n, pid))
_lock = __import__("threading").Lock()
seen: set[str] = set()
@app.on(E)
def locked(event: E) -> None:
    with _lock:
        if event.id in seen: return
        seen.add(event.id)
    h.conn.execute("DELETE FROM toggle WHERE id = ?", (event.id,))
