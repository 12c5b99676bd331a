"""Who a store is: a text that it keeps for ever, by which a broker tells one store from another.

    f3a91c07be5d2468/edge-7/2026-11-25T18:05:39Z      chance, the machine that made the store, when

Invariant: it has no spaces, quotes or other characters that any broker would mind, and 100 at most.
"""

from __future__ import annotations

import re

from commute.database import Connection

_HOST_CHARACTERS_MAX = 60


def identity(connection: Connection) -> str | None:
    """The store's; None before `identify`."""
    rows = connection.execute("SELECT identity FROM commute_store").fetchall()
    return str(rows[0][0]) if rows else None


def identify(connection: Connection, text: str) -> None:
    """Give the store its identity, unless another process has just done so."""
    connection.execute("INSERT INTO commute_store(n, identity) VALUES(1, ?) ON CONFLICT DO NOTHING", (text,))


def new_identity(chance: str, host: str, at: str) -> str:
    """The text. `at`: a time in UTC, ISO form."""
    return f"{chance}/{re.sub(r'[^A-Za-z0-9._-]', '_', host)[:_HOST_CHARACTERS_MAX] or '_'}/{at}"


def shown(text: str) -> str:
    """An identity as people read it; of one that is cut or foreign, what there is."""
    chance, _, rest = text.partition("/")
    host, _, at = rest.partition("/")
    return f"store {chance}" + (f" of machine {host}" if host else "") + (f" since {at}" if at else "")
