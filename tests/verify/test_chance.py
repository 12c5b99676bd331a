"""`commute check` where runs differ by chance, or where there is nothing that could differ."""

from __future__ import annotations

import json
from pathlib import Path

from tests.verify.test_check import commute

CHANCE = """
from uuid import uuid4

from commute import App, Context, Event

class Sold(Event):
    sale_id: int

class Moved(Event):
    box: int

app = App("chance", "memory://")

def tables(app):
    with app.transaction() as tx:
        tx.execute("CREATE TABLE sale(id TEXT PRIMARY KEY, sale_id INTEGER)")
        tx.execute("CREATE TABLE box(id INTEGER PRIMARY KEY, moves INTEGER)")

@app.on(Sold, writes="sale/{sale_id}")
async def sell(event: Sold, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT INTO sale VALUES(?, ?)", (str(uuid4()), event.sale_id))

@app.on(Moved, writes="box/{box}")
async def move(event: Moved, ctx: Context) -> None:
    async with ctx.transaction() as tx:
        tx.execute("INSERT OR REPLACE INTO box VALUES(?, 1)", (event.box,))
"""


def test_chance_refutes_nothing_and_holds_up_no_other_pair(tmp_path: Path) -> None:
    (tmp_path / "chance.py").write_text(CHANCE)
    found = commute(tmp_path, "check", "chance:app", "--set-up", "chance:tables", "--pairs", "2")
    assert found.returncode == 1, "what sales write is outside of their footprint"
    assert "not independent" not in found.stdout
    assert "not judged: Sold(sale_id=" in found.stderr
    assert "run twice one after the other, end differently" in found.stderr
    assert "moved  moved  2" in found.stdout
    assert "sold   sold   runs of the same sequence differ" in found.stdout
    (tmp_path / "chance.py").write_text(
        CHANCE.replace("@app.on(Moved", "async def nobody() -> None: ...\n\n# @app.on(Moved")
    )
    found = commute(tmp_path, "check", "chance:app", "--set-up", "chance:tables", "--pairs", "2", "--json")
    assert json.loads(found.stdout)["not_repeatable"]


def test_that_nothing_can_be_compared_is_said(tmp_path: Path) -> None:
    text = 'from commute import App, Event\n\napp = App("blind", "memory://")\n\nclass Seen(Event):\n    n: int\n\n'
    (tmp_path / "blind.py").write_text(f'{text}@app.on(Seen, writes="seen/{{n}}")\ndef see(event: Seen) -> None: ...\n')
    found = commute(tmp_path, "check", "blind:app")
    assert found.returncode == 0
    assert "nothing is compared but whether events succeed" in found.stderr


def test_an_update_of_an_empty_table_compares_nothing(tmp_path: Path) -> None:
    text = CHANCE.partition("@app.on(Sold")[0] + CHANCE[CHANCE.index("@app.on(Moved") :]
    text = text.replace("INSERT OR REPLACE INTO box VALUES(?, 1)", "UPDATE box SET moves = 1 WHERE id = ?")
    (tmp_path / "empty.py").write_text(text)
    found = commute(tmp_path, "check", "empty:app", "--set-up", "empty:tables")
    assert "nothing is compared but whether events succeed" in found.stderr
    assert "--set-up M:F makes first rows" in found.stderr


def test_nothing_is_proposed_for_a_handler_that_only_failed(tmp_path: Path) -> None:
    (tmp_path / "chance.py").write_text(CHANCE)
    found = commute(tmp_path, "observe", "chance:app", "--events", "6")
    assert "writes=()" not in found.stdout
    (tmp_path / "fails.py").write_text(
        CHANCE.replace("    async with", "    raise ValueError('no such file')\n    async with").replace(
            "chance", "fails"
        )
    )
    found = commute(tmp_path, "observe", "fails:app", "--events", "6")
    assert "# sell (sold): none of its events succeeded or was seen to touch anything" in found.stdout
    assert "writes=()" not in found.stdout
