"""The command line without a worker: wrong use, wrong files, exit statuses, and what each refusal says."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner, Result

from commute import App, NamedEvent
from commute.cli import main, place
from commute.cli.commands import COMMANDS
from commute.cli.output import clean, clean_lines, size, span, table
from commute.store.reading import open_scope
from commute.store.schema import SCHEMA

SHOP = """
from commute import App, Event

class OrderCreated(Event):
    order_id: int

app = App("shop", "sqlite:///shop.db")

@app.on(OrderCreated, writes="order/{order_id}")
async def reserve(event: OrderCreated) -> None: ...
"""

Run = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with an app in it; modules that a command imports are forgotten."""
    monkeypatch.chdir(tmp_path)
    for name in ("COMMUTE_APP", "COMMUTE_BROKER", "COMMUTE_GROUP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(place, "BUSY_S_MAX", 0.2)
    (tmp_path / "shop.py").write_text(SHOP)
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - before:
        if not name.startswith("commute"):
            del sys.modules[name]


@pytest.fixture
def run(folder: Path) -> Run:
    def command(*arguments: str, status: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(main, list(arguments), input=stdin)
        assert result.exit_code == status, (arguments, result.exit_code, result.output, result.exception)
        return result

    return command


# -- the group --------------------------------------------------------------------------------------------------------


def test_help_has_sections_and_loads_no_command() -> None:
    code = (
        "import sys; from commute.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "loaded = [m for m in sys.modules if m in ('apsw', 'msgspec', 'asyncio', 'commute.app')]\n"
        "print('loaded', loaded)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "loaded []" in done.stdout
    assert done.stdout.index("Run:") < done.stdout.index("publish") < done.stdout.index("Understand:")
    assert all(name in done.stdout for name in COMMANDS)


def complete(*words: str) -> list[str]:
    """What the shell is offered for the last word."""
    environment = {
        **os.environ,
        "_COMMUTE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "commute"], env=environment, capture_output=True, text=True, check=False
    )
    return [line.removeprefix("plain,") for line in done.stdout.split()]


def test_every_command_completes_by_the_shell() -> None:
    assert complete("commute", "st") == ["status"]
    assert complete("commute", "") == list(COMMANDS)
    assert complete("commute", "dead", "re") == ["retry"]
    assert complete("commute", "run", "--re") == ["--resume", "--reload"]
    assert complete("commute", "run", "--from", "e") == ["end"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_for_tab_completion_that_the_help_names_work(shell: str) -> None:
    assert f"_COMMUTE_COMPLETE={shell}_source commute" in CliRunner().invoke(main, ["--help"]).output
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = subprocess.run(
        ["commute"], env={**os.environ, "PATH": path, "_COMMUTE_COMPLETE": f"{shell}_source"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"_COMMUTE_COMPLETE={shell}_complete" in made.stdout, made.stderr
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    line = {
        "bash": 'eval "$(_COMMUTE_COMPLETE=bash_source commute)" && complete -p commute',
        "zsh": 'autoload -U compinit && compinit -D && eval "$(_COMMUTE_COMPLETE=zsh_source commute)" && echo '
        "$_comps[commute]",
        "fish": "_COMMUTE_COMPLETE=fish_source commute | source; complete -c commute",
    }[shell]
    done = subprocess.run(
        [shell, "-c", line], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "commute" in done.stdout, (done.stdout, done.stderr)


def test_wrong_use_is_2_and_says_what_was_probably_meant(run: Run) -> None:
    assert "Did you mean status?" in run("statsu", status=2).stderr
    assert "--concurrency" in run("run", "shop:app", "--concurency", "3", status=2).stderr
    assert "Did you mean descriptors_max?" in run("run", "shop:app", "--limit", "descriptor_max=1", status=2).stderr
    assert "error[option]" in run("run", "shop:app", "--limit", "descriptors_max=x", status=2).stderr
    assert "error[option]" in run("run", "shop:app", "--concurrency", "0", status=2).stderr
    assert "error[broker-url]" in run("status", "redis://host/topic", status=2).stderr
    assert "two brokers" in run("status", "sqlite:///a.db", "--broker", "sqlite:///b.db", status=2).stderr


# -- TARGET -----------------------------------------------------------------------------------------------------------


def test_a_target_that_cannot_be_loaded_says_what_is_here(run: Run, folder: Path) -> None:
    assert "Found here: shop.py (app)" in run("run", "store:app", status=2).stderr
    assert "no TARGET" in run("run", status=2).stderr
    assert "write MODULE:APP" in run("run", "shop.py", status=2).stderr
    assert "It has shop:app" in run("run", "shop:application", status=2).stderr
    (folder / "bad.py").write_text("import nothing_of_that_name\n")
    told = run("run", "bad:app", status=2).stderr
    assert "No module named 'nothing_of_that_name'" in told and "bad.py" in told and "importlib" not in told
    (folder / "wrong.py").write_text(SHOP.replace("{order_id}", "{oder_id}"))
    told = run("run", "wrong:app", status=2).stderr
    assert "error[unknown-field]" in told and "did you mean order_id" in told and "Traceback" not in told
    (folder / "empty.py").write_text("from commute import App\napp = App('x')\n")
    assert "error[no-handlers]" in run("run", "empty:app", status=2).stderr


def test_reload_without_its_package_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    told = run("run", "shop:app", "--reload", status=2).stderr
    assert "error[no-extra]" in told and 'pip install "commute[reload]"' in told


def test_a_target_comes_from_the_environment_or_the_project_file(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = ("order_created", '{"order_id": 1}')
    (folder / "pyproject.toml").write_text('[tool.commute]\napp = "shop:app"\n')
    assert "position 1" in run("publish", *event).stdout
    monkeypatch.setenv("COMMUTE_APP", "nowhere:app")
    assert "no module nowhere" in run("publish", *event, status=2).stderr
    other = folder / "elsewhere"
    other.mkdir()
    (other / "store.py").write_text(SHOP.replace("shop.db", "store.db"))
    run("publish", "store:app", *event, "--app-dir", "elsewhere")
    assert (folder / "store.db").exists()


# -- files that are not as they should be -----------------------------------------------------------------------------


def test_looking_makes_no_file(run: Run, folder: Path) -> None:
    for command in (("status",), ("dead", "list"), ("groups", "list")):
        assert "there is no file" in run(*command, "shop:app", status=3).stderr
        assert "there is no file" in run(*command, "sqlite:///typo.db", status=3).stderr
    assert not list(folder.glob("*.db*"))


def test_what_is_refused_leaves_no_file(run: Run, folder: Path) -> None:
    run("publish", "shop:app", "order_created", '{"order_id": "1"}', status=2)
    run("publish", "shop:app", "order_created", "no-such-file", status=2)
    (folder / "lines").write_text('{"order_id": 1}\n{"order_id": "2"}\n')
    told = run("publish", "shop:app", "order_created", "lines", status=2).stderr
    assert "line 2: " in told and "nothing was sent" in told and "$.order_id" in told
    assert not list(folder.glob("*.db*"))


def test_the_database_of_another_program_is_refused_untouched(run: Run, folder: Path) -> None:
    path = folder / "other.db"
    with apsw.Connection(str(path)) as connection:
        connection.execute("create table mine(a)")
    connection.close()
    before = path.read_bytes()
    for command in (("status",), ("dead", "list"), ("groups", "list")):
        assert "error[database-foreign]" in run(*command, "sqlite:///other.db", status=3).stderr
    assert "error[database-foreign]" in run("publish", "sqlite:///other.db", "a", "{}", status=3).stderr
    assert "error[database-foreign]" in run("run", "shop:app", "--broker", "sqlite:///other.db", status=3).stderr
    assert path.read_bytes() == before
    (folder / "noise.db").write_bytes(b"noise" * 1_000)
    assert "error[database-damaged]" in run("status", "sqlite:///noise.db", status=3).stderr


def test_a_locked_database_can_be_looked_at_and_not_be_written(run: Run, folder: Path) -> None:
    run("publish", "shop:app", "order_created", '{"order_id": 1}')
    code = "import apsw, sys; c = apsw.Connection('shop.db'); c.execute('begin immediate'); print('held', flush=True); sys.stdin.read()"  # noqa: E501
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert json.loads(run("status", "shop:app", "--json").stdout)["to_do"] == 1
        told = run("publish", "shop:app", "order_created", '{"order_id": 2}', status=3).stderr
        assert "error[database-locked]" in told and "another process has held its write lock" in told
    finally:
        holder.communicate()
    run("publish", "shop:app", "order_created", '{"order_id": 2}')


def test_a_full_disk_is_said_and_nothing_that_was_confirmed_is_lost(run: Run, folder: Path) -> None:
    run("publish", "shop:app", "order_created", '{"order_id": 1}')
    (folder / "lines").write_text('{"order_id": 1}\n' * 50_000)
    done = subprocess.run(
        [sys.executable, "-m", "commute", "publish", "shop:app", "order_created", "lines"],
        capture_output=True, text=True, check=False, preexec_fn=_small_files,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "error[database-" in done.stderr or "error[commit-failed]" in done.stderr
    assert json.loads(run("status", "shop:app", "--json").stdout)["to_do"] % 1_000 == 1  # whole batches only


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))


# -- publish ----------------------------------------------------------------------------------------------------------


def test_publish_takes_json_a_file_or_lines(run: Run, folder: Path) -> None:
    told = json.loads(run("publish", "shop:app", "order_created", '{"order_id": 1}', "--id", "a", "--json").stdout)
    assert (told["id"], told["position"], told["source"], told["duplicate"]) == ("a", 1, "/shop", False)
    (folder / "one.json").write_text('{\n  "order_id": 2\n}\n')
    assert "position 2" in run("publish", "shop:app", "order_created", "one.json").stdout
    lines = "".join(f'{{"order_id": {n}}}\n\n' for n in range(2_500))
    told = json.loads(run("publish", "shop:app", "order_created", "-", "--json", stdin=lines).stdout)
    assert (told["events"], told["first"], told["last"]) == (2_500, 3, 2_502)
    half = lines + '{"order_id": "x"}\n'
    assert (
        "2,000 events before it went out"
        in run("publish", "shop:app", "order_created", "-", stdin=half, status=2).stderr
    )
    assert "holds no event" in run("publish", "shop:app", "order_created", "-", stdin="\n", status=2).stderr
    assert "did you mean order_created?" in run("publish", "shop:app", "order_craeted", "{}").stderr


def test_one_id_twice_is_told(run: Run) -> None:
    event = ("publish", "shop:app", "order_created")
    run(*event, '{"order_id": 1}', "--id", "a")
    assert "there already" in run(*event, '{"order_id": 1}', "--id", "a").stdout
    assert "with other bytes" in run(*event, '{"order_id": 2}', "--id", "a").stderr
    assert "--id names one event" in run(*event, "-", "--id", "a", stdin="", status=2).stderr


def test_waiting_without_a_worker_is_not_yet(run: Run) -> None:
    done = run("publish", "shop:app", "order_created", '{"order_id": 1}', "--wait", "0.05", status=4)
    assert "not yet after 0.1 s: waiting" in done.stdout


# -- which group ------------------------------------------------------------------------------------------------------


def test_a_url_needs_a_group_only_where_there_are_several(run: Run, folder: Path) -> None:
    run("publish", "sqlite:///shop.db", "order_created", '{"order_id": 1}')
    assert "no group yet" in run("status", "sqlite:///shop.db").stdout
    asked = run("publish", "sqlite:///shop.db", "order_created", "{}", "--wait", "1", status=2).stderr
    assert "error[which-group]" in asked
    for names, expected in ((["one"], 0), (["two"], 2)):
        connection = apsw.Connection(str(folder / "shop.db"))
        connection.execute(SCHEMA).fetchall()
        for name in names:
            open_scope(connection, name, "events")
        connection.close()
        done = run("status", "sqlite:///shop.db", status=expected)
    assert "2 groups: one, two" in done.stderr
    assert "group two" in run("status", "sqlite:///shop.db", "--group", "two").stdout


# -- dead letters -----------------------------------------------------------------------------------------------------

EVIL = "\x1b[31mred\x9b2J\x07\u202e\n"


def bury(folder: Path) -> None:
    """Three parked events of one handler, with what they hold: 1 <- 3; 2 <- 3, 4; 5."""
    app: App[None] = App("shop", f"sqlite:///{folder}/shop.db")
    events = [NamedEvent(type="order_created", data={"order_id": n}) for n in range(1, 6)]
    for number, event in enumerate(events, 1):
        app.publish_sync(event, id=f"01ev{number}")
    connection = apsw.Connection(str(folder / "shop.db"))
    scope = open_scope(connection, "shop", "events")
    keys = {1: ["a"], 2: ["b", "d"], 3: ["a", "b"], 4: ["d"], 5: ["c"]}
    for position, names in keys.items():
        status = "held" if position in (3, 4) else "parked"
        connection.execute(
            "INSERT INTO dead(scope, partition, position, status, source, id, type, time_s, data, at_s, footprint,"
            " chain, handlers_done, handler, slug, reason, detail, attempts, stopped)"
            " VALUES(?,0,?,?,'/shop',?,?,0,?,0,?,'[]','[]','reserve','parked',?,?,2,0)",
            (scope, position, status, f"01ev{position}", "order_created", EVIL.encode(),
             json.dumps([[name, "write"] for name in names]), f"failed: {EVIL}", f"Traceback\n  {EVIL}"),
        )  # fmt: skip
    connection.execute("INSERT INTO progress VALUES(?,0,6,5,NULL,NULL)", (scope,))
    connection.close()
    app.close()


def test_nothing_of_an_event_acts_on_the_terminal(run: Run, folder: Path) -> None:
    bury(folder)
    for command in (("list",), ("show", "01ev1")):
        done = run("dead", command[0], "shop:app", *command[1:])
        assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(done.output)
        assert "\\x1b[31mred" in done.output
        assert not {"\x1b", "\x9b"} & set(run("dead", command[0], "shop:app", *command[1:], "--json").output)


def test_a_dry_run_says_what_would_be_freed(run: Run, folder: Path) -> None:
    bury(folder)
    told = run("dead", "skip", "shop:app", "--all", "--dry-run").stdout.splitlines()
    assert len(told) == 3
    assert "01ev1" in told[0] and "nothing is held behind it alone" in told[0]  # 3 waits for 2 as well
    assert "01ev2" in told[1] and "free 1 held event: 01ev4" in told[1]
    assert "01ev5" in told[2] and "nothing is held" in told[2]
    assert "then run 2 held events, in order" in run("dead", "retry", "shop:app", "01ev2", "--dry-run").stdout
    rows = json.loads(run("dead", "list", "shop:app", "--json").stdout)["dead"]
    assert [row["status"] for row in rows] == ["parked", "parked", "held", "held", "parked"]


def test_ids_may_be_shortened_while_they_mean_one(run: Run, folder: Path) -> None:
    bury(folder)
    assert "means 5 dead letters" in run("dead", "show", "shop:app", "01", status=2).stderr
    assert "01ev5" in run("dead", "show", "shop:app", "/shop#01ev5").stdout
    assert "is no dead letter" in run("dead", "show", "shop:app", "/other#01ev5", status=2).stderr


def test_giving_up_asks_and_refuses_where_it_cannot(run: Run, folder: Path) -> None:
    bury(folder)
    assert "say --yes" in run("dead", "drop", "shop:app", "01ev1", status=2).stderr
    assert "say --yes" in run("dead", "retry", "shop:app", "--all", status=2).stderr
    assert "act on that one" in run("dead", "drop", "shop:app", "01ev3", "--yes", status=1).stdout
    assert "dropped" in run("dead", "drop", "shop:app", "01ev1", "--yes").stdout
    assert "skipped" in run("dead", "skip", "shop:app", "01ev2").stdout
    assert "in its place" in run("dead", "retry", "shop:app", "01ev5").stdout
    shown = run("dead", "show", "shop:app", "01ev1").stdout
    assert "dropped" in shown and "red" not in shown.split("data")[1]
    assert "which dead letters?" in run("dead", "skip", "shop:app", status=2).stderr


def test_what_a_dying_worker_leaves_unanswered_is_done_all_the_same(run: Run, folder: Path) -> None:
    bury(folder)
    code = (
        "import os, signal, time; from commute.embedded.file import EmbeddedFile\n"
        "from commute.embedded.ownership import Ownership\n"
        "file = EmbeddedFile.open('shop.db'); owner = Ownership(file, 'shop')\n"
        "assert owner.try_take(); print('held', flush=True)\n"
        "while not file.read(lambda c: c.execute('SELECT 1 FROM request').fetchall()): time.sleep(0.01)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"held\n"
        try:
            told = run("dead", "skip", "shop:app", "01ev1", "01ev3", status=1).stdout.splitlines()
        finally:
            worker.kill()
    assert told[0].endswith("skipped") and "refused" in told[1]
    rows = json.loads(run("dead", "list", "shop:app", "--json").stdout)["dead"]
    assert [row["status"] for row in rows] == ["skipped", "parked", "held", "held", "parked"]


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_text_from_outside_is_spelled_out() -> None:
    assert clean("a\x1b[1m\nb\u2028\ud800é") == "a\\x1b[1m\\nb\\u2028\\ud800é"
    assert clean_lines("a\n\tb\x9b\r") == "a\n\tb\\x9b\\r"
    assert table(["A", "B"], [["x\n", "1"], ["y", "22"]], right=[1]) == ["  A     B", "  x\\n   1", "  y    22"]
    assert (span(0.21), span(13.2), span(120), size(256 << 20)) == ("0.2 s", "13 s", "2 min", "256 MiB")


def test_a_directory_that_is_not_there_cannot_be_measured(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["bench", f"sqlite:///{tmp_path}/gone/x.db", "--events", "10"])
    assert done.exit_code == 2, done.output
    assert "error[no-directory]" in done.stderr
