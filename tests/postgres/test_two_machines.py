"""Two machines with one PostgreSQL store serve one group of a broker; a store of its own is refused beside them."""

from __future__ import annotations

from pathlib import Path

from commute.link import discard, parse_url, with_stream
from tests.brokers import broker_url
from tests.e2e.test_other_store import Machines, ready
from tests.e2e.workers import working
from tests.postgres.server import Server, wait_for


def test_machines_with_one_store_share_a_group(server: Server, tmp_path: Path) -> None:
    url = with_stream(broker_url("rabbitmq"), f"test-{server.schema}") + "&partitions=2"
    machines = Machines(url, tmp_path)
    one, two = machines.folders
    try:
        with (
            working(one, "shop:app", "--db", server.url, "--share", "1/2") as first,
            working(two, "shop:app", "--db", server.url, "--share", "2/2") as second,
        ):
            ready(first)
            ready(second)
            machines.refused(1)
        identities = server.rows("select identity from {s}.commute_store")
        assert len(identities) == 1
        with working(two, "shop:app", "--db", server.url) as again:
            ready(again)
        assert server.rows("select identity from {s}.commute_store") == identities
    finally:
        discard(parse_url(url), "shop")


def test_a_machine_that_is_added_gets_its_half(server: Server, tmp_path: Path) -> None:
    url = with_stream(broker_url("rabbitmq"), f"test-{server.schema}") + "&partitions=2"
    one, two = Machines(url, tmp_path).folders
    owners = "select pid from {s}.commute_owners where name in ('shop#0', 'shop#1')"
    try:
        with working(one, "shop:app", "--db", server.url) as first:
            ready(first)
            assert len(set(server.rows(owners))) == 1
            with working(two, "shop:app", "--db", server.url) as second:
                wait_for(lambda: "this worker takes over" in second.said())
                assert len(set(server.rows(owners))) == 2
                assert first.said().count("handed over") == 1
                second.stop()
            wait_for(lambda: "this worker takes over" in first.said())
            assert len(set(server.rows(owners))) == 1
    finally:
        discard(parse_url(url), "shop")
