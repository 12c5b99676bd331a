"""What people ask from a terminal, beside a worker whose store is in PostgreSQL and after it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from commute import App, Context, Retry
from commute.cli import main
from tests.postgres.server import Server, until
from tests.runtime.shop import Step

ONCE = Retry(attempts=1)
MODULE = """
from commute import App
from tests.runtime.shop import Step
app = App("shop")

@app.on(Step, writes="key/{key}")
async def step(event: Step): ...
"""


def run(*arguments: str) -> Any:
    """The JSON that a command prints; it must succeed."""
    result = CliRunner().invoke(main, [*arguments, "--json"])
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


async def test_status_dead_explain_and_groups(server: Server, tmp_path: Path) -> None:
    broker = f"sqlite:///{tmp_path}/log.db"
    app: App[None] = App("shop", broker, db=server.own_tables)
    server.run("create table {s}.effect (n bigint)")
    gate = asyncio.Event()
    where = (broker, "--db", server.own_tables)

    @app.on(Step, writes="key/{key}", retry=ONCE)
    async def step(event: Step, ctx: Context[None]) -> None:
        if event.n == 0:
            raise ValueError("no")
        if event.key == "slow":
            await gate.wait()
        async with ctx.transaction() as tx:
            tx.execute("insert into effect values (?)", (event.n,))

    async def ask(*arguments: str) -> Any:
        return await asyncio.to_thread(run, *arguments)

    async with app:
        async with app.running():
            sent = await app.publish_many([Step(key="a", n=n) for n in range(3)] + [Step(key="slow", n=3)])
            for receipt, status in zip(sent, ("parked", "held", "held", "waiting"), strict=True):
                for _ in range(500):
                    if (await receipt.state()).status == status:
                        break
                    await asyncio.sleep(0.02)
                assert (await receipt.state()).status == status
            found = await ask("status", *where)
            assert found["dead"] == {"held": 2, "parked": 1} and found["worker"]["pid"] is not None
            assert (await ask("groups", "list", *where))["groups"][0]["running"] is True
            assert await ask("dead", "list", *where)
            (tmp_path / "explained_shop.py").write_text(MODULE)
            told = await ask(
                "explain", "explained_shop:app", sent[1].event_id, "--app-dir", str(tmp_path), "--broker", broker,
                "--db", server.own_tables,
            )  # fmt: skip
            assert sent[0].event_id in json.dumps(told)
            await ask("dead", "skip", broker, sent[0].event_id, "--db", server.own_tables, "--yes")
            gate.set()
            for receipt in sent[1:]:
                outcome = await receipt.outcome(timeout_s=30)
                assert outcome is not None and outcome.status == "processed"
        assert sorted(server.rows("select n from {s}.effect")) == [(1,), (2,), (3,)]
        await until(lambda: app.connect().file.owner("shop") is None)
        found = await ask("status", *where)
        assert found["worker"] is None and found["dead"] == {"skipped": 1} and found["to_do"] == 0
        await ask("dead", "retry", broker, sent[0].event_id, "--db", server.own_tables, "--yes")  # through the outbox
        async with app.running():
            await until(lambda: app.log.last_position() == 5)
            await until(lambda: not server.rows("select 1 from {s}.outbox"))
    await ask("groups", "drop", *where, "--yes")
    assert server.rows("select count(*) from {s}.scope") == [(0,)]


def test_a_store_without_tables_is_said_with_the_command_that_makes_them(server: Server, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("from commute import App\napp = App('shop')\n@app.on('x')\nasync def x(e): ...\n")
    result = CliRunner().invoke(
        main, ["run", "shop:app", "--app-dir", str(tmp_path), "--db", server.base + "?schema=test_nowhere"]
    )
    sys.modules.pop("shop", None)
    assert result.exit_code == 2 and "error[no-schema]" in result.stderr and "--create" in result.stderr
