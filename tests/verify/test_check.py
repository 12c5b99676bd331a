"""`commute check`: made-up events, counterexamples as tests that fail, the parallel run, and what it cannot do."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import pytest

from commute import App, Context, Event
from commute.codec import codec_for
from commute.rehearsal.course import Ground
from commute.verify.check import Budget, check, made_up
from commute.verify.generate import CannotMakeError, make
from commute.verify.orders import Effort
from commute.verify.spelled import spell
from commute.verify.trial import Numbered, Scene, trial_in_threads

APP = """
from commute import App, Context, Event

class Reserved(Event):
    order_id: int
    sku: str

class Moved(Event):
    order_id: int

app = App("wrong", "memory://")

def tables(app):
    with app.transaction() as tx:
        tx.execute("CREATE TABLE stock(sku TEXT PRIMARY KEY, quantity INTEGER)")
        tx.execute("INSERT INTO stock VALUES('sku-1', 5), ('sku-2', 5), ('sku-3', 5)")

@app.on(Reserved, writes="order/{order_id}")
async def reserve(event: Reserved, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("UPDATE stock SET quantity = quantity * 2 - ? WHERE sku = ?", (event.order_id, event.sku))

@app.on(Moved, writes=())
async def move(event: Moved) -> None:
    return
"""


def commute(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "commute", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wrong.py").write_text(APP)
    return tmp_path


def test_an_undeclared_read_is_enough_to_fail(folder: Path) -> None:
    text = (folder / "wrong.py").read_text()
    text = text.replace(
        "UPDATE stock SET quantity = quantity * 2 - ? WHERE sku = ?", "SELECT ? FROM stock WHERE sku = ?"
    )
    (folder / "wrong.py").write_text(text)
    found = commute(folder, "check", "wrong:app", "--set-up", "wrong:tables")
    assert found.returncode == 1, found.stdout
    assert 'declare reads="stock/{sku}"' in found.stdout
    assert "not independent" not in found.stdout, "both orders end the same, since nobody writes"


def test_a_wrong_footprint_is_refuted_and_the_printed_test_fails_until_it_is_mended(folder: Path) -> None:
    found = commute(folder, "check", "wrong:app", "--set-up", "wrong:tables", "--json")
    assert found.returncode == 1, found.stderr
    document = json.loads(found.stdout)
    (counterexample,) = document["counterexamples"]
    assert document["empty"] == ["move"]
    assert counterexample["before"] == [], "the events before it are not needed, and were left out"
    assert "table stock" in counterexample["differences"][0]
    (lacking,) = document["undeclared"]
    assert lacking["handler"] == "reserve"
    assert lacking["key"].startswith("stock/sku-")
    assert (lacking["event"], lacking["mode"], lacking["add"]) == ("reserved", "write", 'writes="stock/{sku}"')
    assert lacking["where"].startswith("wrong.py:")
    (folder / "test_it.py").write_text(counterexample["test"])
    run = [sys.executable, "-m", "pytest", "-q", "test_it.py", "-p", "no:cacheprovider"]
    broken = subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert broken.returncode == 1, broken.stdout
    assert "do not commute" in broken.stdout
    text = (folder / "wrong.py").read_text()
    (folder / "wrong.py").write_text(text.replace('writes="order/{order_id}"', 'writes="stock/{sku}"'))
    mended = commute(folder, "check", "wrong:app", "--set-up", "wrong:tables")
    assert mended.returncode == 0, mended.stdout
    assert "that is no proof" in mended.stdout
    nothing = subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert "nothing-to-test" in nothing.stdout or "nothing to try" in nothing.stdout


def test_a_log_is_tried_and_people_are_told(folder: Path) -> None:
    lines = [{"type": "reserved", "order_id": n, "sku": "sku-1"} for n in (1, 2, "three")]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = commute(folder, "check", "wrong:app", "--log", "log.jsonl", "--set-up", "wrong:tables")
    assert found.returncode == 1, found.stderr
    assert (
        "not tried: 1 event is rejected on arrival, the first: reserved was not sent: "
        "expected int, got str at $.order_id" in found.stderr
    )
    assert "not independent, though the footprints say so" in found.stdout
    assert "in parallel the end is another" in found.stdout or "as a test:" in found.stdout


def test_a_log_of_which_nothing_can_be_tried_is_no_good_answer(folder: Path) -> None:
    (folder / "log.jsonl").write_text('{"type": "reserved", "order_id": "one", "sku": "sku-1"}\n{"type": "gone"}\n')
    found = commute(folder, "check", "wrong:app", "--log", "log.jsonl")
    assert (found.returncode, found.stdout) == (2, "")
    assert "error[nothing-to-test] wrong rejects all 2 events of log.jsonl, so nothing is checked." in found.stderr


def test_what_handlers_print_is_not_in_the_midst_of_the_result(folder: Path) -> None:
    text = (folder / "wrong.py").read_text()
    (folder / "wrong.py").write_text(text.replace("    return\n", "    print('moved')\n"))
    found = commute(folder, "check", "wrong:app", "--set-up", "wrong:tables", "--json")
    assert json.loads(found.stdout)["watched"] is True
    assert "moved" not in found.stderr


def test_a_log_is_read_as_one_says_and_a_bad_line_is_told(folder: Path) -> None:
    (folder / "log.jsonl").write_text('{"what": "moved", "order_id": 1}\nno json\n{"what": "moved", "order_id": 2}\n')
    found = commute(folder, "check", "wrong:app", "--log", "log.jsonl", "--type-field", "what")
    assert found.returncode == 0, found.stderr
    assert "problem: line 2: no JSON" in found.stderr
    assert "wrong: 2 events" in found.stdout
    (folder / "log.jsonl").write_text("no json\n")
    found = commute(folder, "check", "wrong:app", "--log", "log.jsonl")
    assert found.returncode == 2
    assert "error[bad-log]" in found.stderr


def test_without_the_extra_it_says_what_was_not_looked_at(folder: Path) -> None:
    run = "import sys; sys.modules['sqlglot'] = None; from commute.cli import main; main()"
    found = subprocess.run(
        [sys.executable, "-c", run, "check", "wrong:app", "--set-up", "wrong:tables", "--json"],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    document = json.loads(found.stdout)
    assert (document["watched"], document["undeclared"]) == (False, [])
    assert document["counterexamples"], "both orders need no extra"
    assert 'not tried: what handlers touch, against their footprints. That needs pip install "commute[derive]"' in (
        found.stderr
    )


@pytest.mark.parametrize("option", ["nothing:here", "wrong:nothing", "wrong", "json:loads.x"])
def test_a_function_that_is_not_there_is_named(folder: Path, option: str) -> None:
    found = commute(folder, "check", "wrong:app", "--set-up", option)
    assert found.returncode == 2
    assert "error[option] --set-up" in found.stderr


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Line(msgspec.Struct):
    sku: str
    quantity: int


class Everything(Event, rename="camel"):
    order_id: int
    name: str
    flag: bool
    price: Decimal
    at: datetime
    day: date
    ident: UUID
    colour: Colour
    lines: list[Line]
    tags: dict[str, int]
    kind: Literal["a", "b"]
    pair: tuple[int, str]
    size: Annotated[int, msgspec.Meta(ge=0, le=3)]
    maybe: int | None = None
    ratio: float = 0.5


@dataclass
class Plain:
    order_id: int
    colour: Colour


@pytest.mark.parametrize("cls", [Everything, Plain])
def test_events_are_made_that_their_classes_accept_and_can_be_spelled(cls: type) -> None:
    chance, codec = Random(1), codec_for(cls)
    for _ in range(20):
        event = make(codec, chance)
        imports: dict[str, set[str]] = {}
        scope: dict[str, object] = {}
        text = spell(event, imports)
        for module, names in imports.items():
            exec(f"from {module} import {', '.join(names)}", scope)
        assert eval(text, scope) == event


class Parts:
    class Side(enum.Enum):
        LEFT = "left"


class Flags(enum.Flag):
    A = 1
    B = 2


@pytest.mark.parametrize(
    "value",
    [
        Parts.Side.LEFT,
        Flags.A | Flags.B,
        ("size", Decimal("1.5")),
        (date(2026, 1, 1),),
        (),
        {Decimal("1.5"), Decimal(2)},
        frozenset({UUID(int=3)}),
        set(),
        timedelta(days=1, microseconds=5),
        time(3, 4),
        datetime(2026, 1, 1, tzinfo=UTC),
        {date(2026, 1, 1): [Decimal(1)]},
        float("inf"),
        b"x",
        ("sold", {"sale_id": 3}),
    ],
    ids=repr,
)
def test_a_value_is_spelled_with_what_has_to_be_imported(value: object) -> None:
    imports: dict[str, set[str]] = {}
    scope: dict[str, object] = {}
    text = spell(value, imports)
    for module, names in imports.items():
        exec(f"from {module} import {', '.join(names)}", scope)
    assert eval(text, scope) == value


def test_what_cannot_be_made_is_said() -> None:
    class Strict(Event):
        code: Annotated[str, msgspec.Meta(pattern="^[0-9]{9}$")]

    for codec in (codec_for("named"), codec_for(Strict)):
        with pytest.raises(CannotMakeError):
            make(codec, Random(0))
    app: App[None] = App("strict", "memory://")

    @app.on(Strict, writes="a/{code}")
    async def take(event: Strict) -> None:
        return

    found = check(app, None, Scene())
    assert found.events == 0
    assert "refused" in found.unmade["strict"]


def test_fields_of_one_name_share_their_values() -> None:
    class Made(Event):
        order_id: int

    class Paid(Event):
        order_id: int

    app: App[None] = App("shared", "memory://")

    @app.on(Made, Paid, writes="order/{order_id}")
    async def take(event: Made | Paid) -> None:
        return

    events = made_up(app, 30, 3, {})
    values = [{event.order_id for event in events if isinstance(event, cls)} for cls in (Made, Paid)]
    assert values[0] & values[1]


class Step(Event):
    key: str


SEEN: list[str] = []


def test_the_parallel_run_is_held_against_the_serial_one() -> None:
    """Three events of which each two commute, and all of them do not: only the run of all shows it."""
    app: App[None] = App("three", "memory://")

    @app.on(Step, writes="step/{key}")
    async def take(event: Step, ctx: Context) -> None:
        import asyncio

        await asyncio.sleep({"a": 0.03, "b": 0.02, "c": 0.01}[event.key])
        SEEN.append(event.key)

    scene = Scene(Ground(), SEEN.clear, lambda: SEEN.index("c") if len(SEEN) == 3 else -1)
    found = check(app, [Step(key=key) for key in "abc"], scene, budget=Budget(before_max=0, effort=Effort(seeds=0)))
    assert not found.counterexamples
    assert [difference.where for difference in found.parallel] == ["outside the store"]


def test_the_plugin_gives_seeds(tmp_path: Path) -> None:
    (tmp_path / "test_seeds.py").write_text("def test_it(commute_seed):\n    assert commute_seed < 2\n")
    installed = any(entry.name == "commute" for entry in entry_points(group="pytest11"))
    named = [] if installed else ["-p", "commute.testing.plugin"]
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *named]
    few = subprocess.run([*run, "--commute-seeds", "2"], cwd=tmp_path, capture_output=True, text=True, check=False)
    many = subprocess.run([*run, "--commute-seeds", "3"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in few.stdout, few.stdout
    assert "test_it[2]" in many.stdout, many.stdout


TILLS = """
import asyncio
from commute import App, Event

class Sold(Event):
    sale_id: int
    till_id: int
    cents: int

tills = {}
app = App("tills", "memory://")

def look():
    return dict(tills)

def clear():
    tills.clear()

@app.on(Sold, writes="sale/{sale_id}")
async def sell(event: Sold) -> None:
    before = tills.get(event.till_id, 0)
    await asyncio.sleep(0.001)
    tills[event.till_id] = before + event.cents
"""


def test_what_a_footprint_leaves_out_is_met_though_no_near_pair_shares_it(tmp_path: Path) -> None:
    (tmp_path / "tills.py").write_text(TILLS)
    for seed in "1", "8":  # with 1 no three nearest pairs are of one till
        found = commute(
            tmp_path, "check", "tills:app", "--look", "tills:look", "--clear", "tills:clear", "--seed", seed,
            "--events", "20", "--json",
        )  # fmt: skip
        (counterexample,) = json.loads(found.stdout)["counterexamples"]
        assert "outside the store" in counterexample["differences"][0]


class Asked(Event):
    key: str
    fails: bool = False


def test_an_event_that_fails_holds_up_no_other_one() -> None:
    """Once it held EVERYTHING behind it, and a run in threads waited for ever for what was not taken in."""
    app: App[None] = App("failing", "memory://")
    ran: list[str] = []

    @app.on(Asked, writes="key/{key}")
    def ask(event: Asked) -> None:
        ran.append(event.key)
        if event.fails:
            raise ValueError("no such answer")

    @app.on(Step)
    def step(event: Step) -> None:
        ran.append(event.key)

    asked: list[object] = [Asked(key="a", fails=True), Step(key="s"), Asked(key="b"), Asked(key="c"), Asked(key="a")]
    found = check(app, asked, Scene(), budget=Budget(seeds=1))
    assert found.failed == ("Asked(key='a', fails=True): failed once: ValueError: no such answer",)
    assert found.ok
    assert set(ran) == {"a", "s", "b", "c"}


def test_a_run_in_threads_ends_though_intake_is_paused() -> None:
    app: App[None] = App("paused", "memory://")

    @app.on(Asked, writes="key/{key}")
    def ask(event: Asked) -> None:
        raise ValueError("no such answer")

    @app.on(Step)
    def step(event: Step) -> None:
        return

    events = [Numbered("1", Asked(key="a")), Numbered("2", Step(key="s")), Numbered("3", Asked(key="b"))]
    end = trial_in_threads(
        app, events, Scene(), lambda handler: replace(handler, on_exhausted="park"), concurrency=2, alone=0
    )
    assert end.results == {"1": "parked", "2": "waiting", "3": "waiting"}


def test_a_check_in_which_every_event_fails_is_no_good_answer(folder: Path) -> None:
    text = (folder / "wrong.py").read_text()
    (folder / "wrong.py").write_text(text.partition("@app.on(Moved")[0].replace("order/{order_id}", "stock/{sku}"))
    found = commute(folder, "check", "wrong:app")
    assert (found.returncode, found.stdout) == (2, "")
    assert "error[nothing-to-test] every event fails when they run one after the other" in found.stderr
    assert "no such table: stock" in found.stderr
    assert "--set-up" in found.stderr
    found = commute(folder, "observe", "wrong:app", "--events", "5")
    assert "not to the end: 5 events failed one after the other, the first: Reserved(order_id=" in found.stderr
    assert "no such table: stock" in found.stderr


LACKING = """
from commute import App, Context, Event

class Sold(Event):
    sale_id: int
    sku: str

app = App("lacking", "memory://")

def tables(app):
    with app.transaction() as tx:
        tx.execute("CREATE TABLE till(id INTEGER PRIMARY KEY, cents INTEGER)")
        tx.execute("CREATE TABLE stock(sku TEXT PRIMARY KEY, quantity INTEGER)")

@app.on(Sold, writes="sale/{sale_id}")
async def sell(event: Sold, ctx: Context) -> None:
    till = 7 - event.sale_id
    async with ctx.transaction() as tx:
        tx.execute("SELECT cents FROM till WHERE id = ?", (till,))
        tx.execute("UPDATE till SET cents = 1 WHERE id = ?", (till,))
        tx.execute("UPDATE stock SET quantity = 1 WHERE sku = ?", (event.sku,))
"""


def test_what_a_handler_lacks_of_one_table_is_one_declaration(tmp_path: Path) -> None:
    """No field of the event names the till, though now and then its number is that of the sale, or of another field."""
    (tmp_path / "lacking.py").write_text(LACKING)
    events = [{"type": "sold", "sale_id": number, "sku": sku} for number, sku in ((3, "3"), (4, "3"), (2, "tea"))]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, events)))
    arguments = ("check", "lacking:app", "--set-up", "lacking:tables", "--log", "log.jsonl")
    found = json.loads(commute(tmp_path, *arguments, "--json").stdout)
    till, stock = found["undeclared"]
    assert (till["add"], stock["add"]) == ('writes="till"', 'writes="stock/{sku}"')
    assert [(one["mode"], one["key"]) for one in till["seen"]] == [("read", "till/4"), ("write", "till/4")]
    said = commute(tmp_path, *arguments).stdout
    assert said.count("outside of its footprint:") == 2
    assert "  sell (sold) reads till/4   lacking.py:19\n  sell (sold) writes till/4   lacking.py:20\n" in said


def test_a_model_with_other_names_on_the_wire_is_spelled_by_them() -> None:
    pydantic = pytest.importorskip("pydantic")
    cls = pydantic.create_model("Aliased", order_id=(int, pydantic.Field(alias="orderId")), n=(int, 1))
    text = spell(cls(orderId=3), {})
    assert text == "Aliased.model_validate({'orderId': 3, 'n': 1})"
    assert eval(text, {"Aliased": cls}) == cls(orderId=3)
