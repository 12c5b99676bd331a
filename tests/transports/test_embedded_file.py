"""The file itself: who may open it, what is refused, who owns a group, and what ran when the process died."""

import multiprocessing
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import apsw
import pytest

from commute.database import Tenure
from commute.embedded.database import APPLICATION_ID, SCHEMA_VERSION
from commute.embedded.file import EmbeddedFile, check_place, mount_type
from commute.embedded.inflight import InFlight, NoRecord
from commute.embedded.ownership import Ownership
from commute.errors import OwnershipLostError, StoreError, UsageError


def child(program: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# -- opening


def test_a_path_is_opened_once_however_it_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    one = EmbeddedFile.open("a.db")
    two = EmbeddedFile.open(tmp_path / "link" / "a.db")
    other = EmbeddedFile.open("b.db")
    assert one is two and one is not other
    assert one.path == str((tmp_path / "a.db").resolve())
    one.close()
    two.schema("create table if not exists t (x)")
    assert two.read(lambda c: c.execute("select count(*) from t").fetchall()) == [(0,)]
    two.close()
    other.close()
    with pytest.raises(StoreError, match="closed"):
        two.read(lambda c: c.execute("select 1").fetchall())
    again = EmbeddedFile.open("a.db")
    assert again is not one
    again.close()


def test_two_files_in_memory_are_two() -> None:
    one, two = EmbeddedFile.open(None), EmbeddedFile.open(None)
    one.schema("create table t (x)")
    two.schema("create table t (x)")
    assert one.read(lambda c: c.execute("select count(*) from t").fetchall()) == [(0,)]
    assert one.reader() is one.writer.connection
    one.close()
    two.close()


def test_the_settings_that_durability_rests_on(tmp_path: Path) -> None:
    file = EmbeddedFile.open(tmp_path / "a.db")

    def settings(connection: apsw.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "application_id", "user_version", "query_only")
        return [connection.execute(f"pragma {name}").fetchall()[0][0] for name in names]

    assert file.writer.submit(settings).result() == ["wal", 2, APPLICATION_ID, SCHEMA_VERSION, 0]
    assert file.read(settings)[4] == 1
    reader = file.reader()
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("create table t (x)")
    reader.close()
    file.close()


def test_what_cannot_be_a_broker_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as usage:
        EmbeddedFile.open(tmp_path / "nowhere" / "a.db")
    assert usage.value.slug == "no-directory" and "nowhere" in str(usage.value)
    with pytest.raises(UsageError):
        EmbeddedFile.open(tmp_path)
    text = tmp_path / "text.db"
    text.write_text("this is no database, but long enough to be read as one" * 40)
    with pytest.raises(StoreError) as store:
        EmbeddedFile.open(text)
    assert store.value.slug == "database-damaged"
    assert text.read_text().startswith("this is no database")


def test_another_programs_database_is_refused_untouched(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table theirs (x)")
    connection.close()
    before = foreign.read_bytes()
    with pytest.raises(StoreError) as caught:
        EmbeddedFile.open(foreign)
    assert caught.value.slug == "database-foreign"
    assert foreign.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["foreign.db"]


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    EmbeddedFile.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 999")
    connection.close()
    with pytest.raises(StoreError) as caught:
        EmbeddedFile.open(path)
    assert caught.value.slug == "database-version"
    assert "999" in str(caught.value)


def test_an_empty_file_becomes_ours_and_two_processes_may_make_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.touch()
    program = f"""
        from commute.embedded.file import EmbeddedFile
        from commute.transports.base import Message
        from commute.transports.sqlite import SqliteTransport
        import os
        file = EmbeddedFile.open({str(path)!r})
        SqliteTransport(file).send_sync([Message(str(os.getpid()), "/s", "t", 0.0, b"")])
        file.close()
        """
    children = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)]) for _ in range(4)]
    assert [process.wait(60) for process in children] == [0] * 4
    file = EmbeddedFile.open(path)
    assert file.read(lambda c: c.execute("select count(*) from commute_log_1").fetchall()) == [(4,)]
    file.close()


def test_network_file_systems_are_known_by_their_mount() -> None:
    mounts = textwrap.dedent(
        """\
        22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
        40 22 0:50 / /mnt/share rw,relatime - nfs4 server:/export rw
        41 22 0:51 / /mnt/share/local rw - tmpfs tmpfs rw
        42 22 0:52 / /mnt/with\\040space rw - cifs //server/x rw
        43 22 0:53 / /twice rw - cifs //server/x rw
        44 22 0:54 / /twice rw - xfs /dev/vdb rw
        """
    )
    assert mount_type("/srv/app", mounts) == "ext4"
    assert mount_type("/mnt/share", mounts) == mount_type("/mnt/share/deep/er", mounts) == "nfs4"
    assert mount_type("/mnt/shared", mounts) == "ext4"
    assert mount_type("/mnt/share/local/x", mounts) == "tmpfs"
    assert mount_type("/mnt/with space/x", mounts) == "cifs"
    assert mount_type("/twice", mounts) == "xfs"
    assert mount_type("/x", "not a mount table") is None


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mounts"
    table.write_text(f"22 1 0:1 / {tmp_path} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr("commute.embedded.file._MOUNTS", table)
    with pytest.raises(UsageError) as caught:
        check_place(str(tmp_path / "a.db"))
    assert caught.value.slug == "network-file" and "nfs4" in str(caught.value)


# -- a second SQLite


@pytest.mark.parametrize(
    "spelling", ["{}", "file:{}", "file:{}?mode=ro", "{parent}/../{base}/a.db", "{parent}/hard.db"]
)
def test_opening_it_with_sqlite3_is_refused(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "a.db"
    file = EmbeddedFile.open(path)
    os.link(path, tmp_path / "hard.db")
    name = spelling.format(path, parent=tmp_path, base=tmp_path.name)
    with pytest.raises(UsageError) as caught:
        sqlite3.connect(name, uri=name.startswith("file:"))
    assert caught.value.slug == "two-sqlites"
    # Others, and this one after its close, are free.
    sqlite3.connect(tmp_path / "other.db").close()
    sqlite3.connect(":memory:").close()
    file.close()
    sqlite3.connect(path).close()


def test_a_file_that_sqlite3_has_open_already_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    EmbeddedFile.open(path).close()
    first = sqlite3.connect(path)
    with pytest.raises(UsageError) as caught:
        EmbeddedFile.open(path)
    assert caught.value.slug == "two-sqlites"
    first.close()
    EmbeddedFile.open(path).close()


# -- fork


def _in_child(path: str, pipe: "multiprocessing.connection.Connection[object, object]", inherited: object) -> None:
    file = inherited
    assert isinstance(file, EmbeddedFile)
    refused = file.writer.submit(lambda c: c.execute("insert into t values ('wrong')")).exception(10)
    own = EmbeddedFile.open(path)
    own.writer.submit(lambda c: c.execute("insert into t values ('child')").fetchall()).result(10)
    own.close()
    pipe.send((own is not file, str(refused)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_leaves_the_parents_file_alone_and_may_open_it_anew(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    file = EmbeddedFile.open(path)
    file.schema("create table t (x)")
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_in_child, args=(path, theirs, file))
    process.start()
    theirs.close()
    assert mine.poll(30), "the child hangs or has died"
    another, refused = mine.recv()
    process.join(30)
    assert process.exitcode == 0
    assert another and "parent" in refused
    file.writer.submit(lambda c: c.execute("insert into t values ('parent')").fetchall()).result(10)
    assert file.read(lambda c: c.execute("select x from t order by x").fetchall()) == [
        ("child",),
        ("parent",),
    ]
    file.close()


# -- ownership

_OWNER = """
import os, sys, time
from commute.embedded.file import EmbeddedFile
from commute.embedded.ownership import Ownership
file = EmbeddedFile.open(sys.argv[1])
owner = Ownership(file, sys.argv[2])
print(owner.try_take(), owner.epoch, os.getpid(), flush=True)
sys.stdin.read()
"""


def test_one_owner_at_a_time_and_free_at_once_when_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    file = EmbeddedFile.open(path)
    ours = Ownership(file, "shop/one")
    assert ours.holder() is None
    process = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(path), "shop/one"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    taken, epoch, pid = process.stdout.readline().split()
    assert (taken, epoch) == ("True", "1")
    assert not ours.try_take()
    holder = ours.holder()
    assert holder is not None and holder[0] == int(pid) and holder[1]
    # Another group is independent.
    other = Ownership(file, "shop/two")
    assert other.try_take()
    # Stopped is not dead.
    process.send_signal(signal.SIGSTOP)
    assert not ours.try_take()
    process.kill()
    process.wait()
    assert ours.try_take() and ours.try_take()
    assert ours.epoch == 2
    process.stdin.close()
    process.stdout.close()
    holder = ours.holder()
    assert holder is not None and holder[0] == os.getpid()
    # Also within one process.
    second = Ownership(file, "shop/one")
    assert not second.try_take()
    ours.release()
    ours.release()
    assert second.try_take() and second.epoch == 3
    second.release()
    other.release()
    file.close()


@pytest.mark.parametrize("place", ["file", "memory"])
def test_an_epoch_that_was_raised_meanwhile_is_found_in_the_commit(tmp_path: Path, place: str) -> None:
    file = EmbeddedFile.open(tmp_path / "a.db" if place == "file" else None)
    owner = Ownership(file, "g")
    assert owner.try_take()
    file.writer.submit(owner.check_epoch).result()
    file.writer.submit(lambda c: c.execute("update commute_owners set epoch = epoch + 1, pid = 77")).result()
    with pytest.raises(OwnershipLostError, match="pid 77"):
        file.writer.submit(owner.check_epoch).result()
    file.writer.submit(lambda c: c.execute("delete from commute_owners")).result()
    with pytest.raises(OwnershipLostError):
        file.writer.submit(owner.check_epoch).result()
    owner.release()
    file.close()


# -- what was running


def test_running_events_are_found_after_a_kill_and_not_after_a_clean_end(tmp_path: Path) -> None:
    path = str(tmp_path / "a.running")
    program = """
        import os, signal, sys
        from commute.embedded.inflight import InFlight
        record = InFlight(sys.argv[1], 4)
        assert record.read_and_reset() == []
        record.note(0, 0, 17)
        record.note(1, 3, 0, alone=True)
        record.note(2, 1, 2**40)
        record.note(3, 0, 5)
        record.clear(3)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    assert child(program, path).returncode == -signal.SIGKILL
    record = InFlight(path, 2)  # a smaller worker reads all that the larger one noted
    assert record.read_and_reset() == [(0, 17, False), (1, 2**40, False), (3, 0, True)]
    assert record.read_and_reset() == []
    record.note(1, 0, 9)
    record.clean_close()
    record.clean_close()
    record = InFlight(path, 64)
    record.note(63, 0, 1)
    assert record.read_and_reset() == [(0, 1, False)]
    record.clean_close()


def test_a_record_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.running"
    path.write_bytes(b"some other file of somebody's")
    with pytest.raises(StoreError) as caught:
        InFlight(str(path), 4)
    assert caught.value.slug == "database-damaged"


def test_no_record_notes_nothing() -> None:
    record = NoRecord()
    record.note(0, 0, 1)
    record.clear(0)
    assert record.read_and_reset() == []
    record.clean_close()


def test_making_an_ownership_waits_for_no_block(tmp_path: Path) -> None:
    """It is made on the event loop, and the block may be that of a handler that needs the loop to go on."""
    file = EmbeddedFile.open(tmp_path / "a.db")
    made: list[bool] = []
    thread = threading.Thread(target=lambda: made.append(file.ownership("g").holder() is None), daemon=True)
    with file.writer.block_sync() as block:
        block.execute("create table t (x)")
        thread.start()
        thread.join(10)
        assert made == [True]
    file.close()


def test_others_see_who_had_it_last_and_whether_it_is_held(tmp_path: Path) -> None:
    file = EmbeddedFile.open(tmp_path / "a.db")
    me = (os.getpid(), socket.gethostname())
    held, given = Ownership(file, "held"), Ownership(file, "given")
    assert held.try_take() and given.try_take()
    given.release()
    assert file.tenures(["held", "given", "never"]) == [Tenure(me, True), Tenure(me, False), Tenure(None, False)]
    held.release()
    file.close()
