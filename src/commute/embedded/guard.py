"""Refusal of a second copy of SQLite on an open broker file in this process.

SQLite's locks are POSIX locks, which a process loses as soon as *any* of its descriptors of the file is
closed. The library that we use bundles its own SQLite and knows its own descriptors; the standard
``sqlite3`` is another copy, and closing the file there drops our locks: another process then writes at the
same time, and confirmed rows vanish in silence. Python tells audit hooks of every ``sqlite3.connect``, so
the mistake is stopped at its first line.

Invariants: the hook is installed once, on the first protected file, and stays (Python cannot remove it); it
never opens a file itself, since closing it would do the very damage.

Source: sqlite.org/howtocorrupt.html, section 2.2; PEP 578.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from commute.errors import UsageError

_DESCRIPTORS = Path("/proc/self/fd")

_protected: dict[str, int] = {}  # real path -> how many have protected it
_state = {"installed": False, "inherited": False}


def protect(path: str) -> None:
    """From now on ``sqlite3.connect`` to `path`, a real path, raises UsageError ``two-sqlites`` in this
    process."""
    _protected[path] = _protected.get(path, 0) + 1
    if not _state["installed"]:
        _state["installed"] = True
        sys.addaudithook(_hook)


def unprotect(path: str) -> None:
    left = _protected.get(path, 0) - 1
    if left > 0:
        _protected[path] = left
    else:
        _protected.pop(path, None)


def refuse_if_open_elsewhere(path: str) -> None:
    """Raise UsageError where this process has `path` open already, by whatever means. Looks only where the
    system lists open descriptors (Linux), and not in a forked child, which inherits its parent's."""
    if _state["inherited"] or not _DESCRIPTORS.is_dir() or not Path(path).exists():
        return
    wanted = Path(path).stat()
    for entry in list(_DESCRIPTORS.iterdir()):
        try:
            found = os.fstat(int(entry.name))
        except OSError:  # the descriptor of the listing itself, or one closed meanwhile
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            raise _error(path)


def forget_parent(*, inherited: bool) -> None:
    """In a forked child: the parent's files are not ours; `inherited`: some of them were open."""
    _protected.clear()
    _state["inherited"] = _state["inherited"] or inherited


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "sqlite3.connect" and _protected:
        path = _path_of(arguments[0])
        if path is not None:
            for known in tuple(_protected):
                if path == known or _same_file(path, known):
                    raise _error(known)


def _path_of(database: object) -> str | None:
    """The real path that `database`, the first argument of ``sqlite3.connect``, names; None if it names no
    file."""
    if not isinstance(database, (str, bytes, os.PathLike)):
        return None
    name = os.fsdecode(database)
    if name.startswith("file:"):
        # The hook is not told of uri=True; a file that is really called "file:…" is not worth the risk.
        name = unquote(urlsplit(name).path)
    if name in ("", ":memory:"):
        return None
    return os.path.realpath(name)


def _same_file(path: str, known: str) -> bool:
    try:
        return Path(path).samefile(known)
    except OSError:
        return False


def _error(path: str) -> UsageError:
    return UsageError(
        f"{Path(path).name} is the broker's file, opened here by sqlite3 too: that loses rows in silence. "
        "Use ctx.transaction(), or another file",
        slug="two-sqlites",
    )
