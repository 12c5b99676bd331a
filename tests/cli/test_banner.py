"""What the start says: of ids, a promise or a remedy where they have none; of footprints, who says them, and the line
that would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from commute import App, Event, PlainJson, UsageError
from commute.cli import main
from commute.cli.banner import banner

AT_LEAST_ONCE = "  ids      at least once only: a body without one is a new event each time {} delivers it. Remedy: "
FIELD = 'a field of the body holds it: PlainJson(id="FIELD")'


STATE: dict[str, int] = {}


class Counted(Event):
    name: str


class Looked(Event):
    name: str


class Guessed(Event):
    name: str


def start(app: App[None]) -> list[str]:
    """The lines before "ready in"; nothing is connected."""
    try:
        return banner(app, app.connect(), from_end=False).splitlines()
    finally:
        app.close()


def counting(*, derive: bool) -> App[None]:
    app: App[None] = App("counting", "memory://", derive=derive)

    @app.on(Counted)
    async def count(event: Counted) -> None:
        STATE[event.name] = 1

    @app.on(Looked, reads="state/{name}")
    async def look(event: Looked) -> None: ...

    @app.on(Guessed, derive=True)
    async def guess(event: Guessed) -> None:
        exec(event.name)

    return app


def test_each_footprint_is_marked_declared_derived_or_everything() -> None:
    lines = start(counting(derive=True))
    marks = {line.split()[0]: line.split()[-1] for line in lines if "13 min, park" in line}
    assert marks == {"count": "derived", "look": "declared", "guess": "EVERYTHING"}


def test_without_derive_the_line_that_it_would_be_is_printed() -> None:
    lines = start(counting(derive=False))
    marks = {line.split()[0]: line.split()[-1] for line in lines if "13 min, park" in line}
    assert marks == {"count": "EVERYTHING", "look": "declared", "guess": "EVERYTHING"}
    (line,) = [line for line in lines if "code says" in line]
    assert "@app.on(Counted, writes=" in line


def test_what_the_code_says_as_a_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counts.py").write_text(
        "from commute import App\n"
        "app = App('counts', 'memory://')\n"
        "STATE = {}\n"
        "@app.on('counted')\n"
        "def count(event: dict[str, object]) -> None:\n"
        "    STATE['all'] = 1\n"
        "@app.on('guessed')\n"
        "def guess(event: dict[str, object]) -> None:\n"
        "    exec(str(event))\n"
    )
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["explain", "counts:app", "--declare", "--json"])
    known, unknown = json.loads(done.stdout)["handlers"]
    assert (known["handler"], known["event"], known["everything"]) == ("count", "counted", [])
    assert known["declare"].startswith("writes=")
    assert unknown["declare"] is None
    assert "exec" in unknown["everything"][0]["why"]


def test_without_the_extra_the_start_says_how_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def derived() -> object:
        raise UsageError("deriving needs sqlglot", slug="no-extra")

    app: App[None] = App("counting", "memory://")

    @app.on(Counted)
    async def count(event: Counted) -> None: ...

    monkeypatch.setattr(app, "derived", derived)
    lines = start(app)
    assert [line for line in lines if 'pip install "commute[derive]"' in line] == lines[-1:]


def ids(folder: Path, url: str, decode: PlainJson | None) -> list[str]:
    """The lines of the start about ids; nothing is connected."""
    app: App[None] = App("shop", url, db=f"sqlite:///{folder}/shop.db", decode=decode)
    try:
        lines = banner(app, app.connect(), from_end=False).splitlines()
    finally:
        app.close()
    return [line for line in lines if line.startswith("  ids ")]


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("amqp://host/", AT_LEAST_ONCE.format("rabbitmq") + "the producer sets message_id, or " + FIELD),
        ("mqtt://host/topic", AT_LEAST_ONCE.format("mqtt") + FIELD),
        ("zmq+tcp://127.0.0.1:1", AT_LEAST_ONCE.format("zeromq") + FIELD),
        (
            "kafka://host/topic",
            "  ids      a body without one is known as TOPIC/PARTITION/OFFSET, the same whenever it comes again",
        ),
    ],
)
def test_foreign_bodies_without_an_id(tmp_path: Path, url: str, line: str) -> None:
    assert ids(tmp_path, url, PlainJson()) == [line]
    assert ids(tmp_path, url, PlainJson(id="number")) == []
    assert ids(tmp_path, url, None) == []


def test_an_embedded_log_gives_ids_itself(tmp_path: Path) -> None:
    assert ids(tmp_path, f"sqlite:///{tmp_path}/shop.db", PlainJson()) == []
