"""A PostgreSQL store of its own for each test, with all tables made, and deleted afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from commute.postgres.schema import create
from tests.brokers import broker_url
from tests.postgres.server import Server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A schema of the store, `server.schema`, whose name also begins the names of the test's own tables."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    base, schema = broker_url("postgresql"), f"test_{secrets.token_hex(6)}"
    url = f"{base}?schema={schema}"
    create(url)
    connection = psycopg.connect(base, autocommit=True)
    try:
        yield Server(base, url, schema, connection)
    finally:
        connection.execute(f"drop schema {schema} cascade")
        connection.close()
