"""The table of promises in the documentation is the one that the transports declare, and the suite checks them all."""

from __future__ import annotations

from commute.link import _WIRES
from commute.transports.base import Features
from tests.house.promises import HEADS, PAGE, PART, cells, part
from tests.transports.test_servers import SAMPLES


def test_the_table_is_up_to_date() -> None:
    found = PART.search(PAGE.read_text(encoding="utf-8"))
    assert found and found[0] == part(), "say `python -m tests.house.promises`"


def test_every_broker_server_is_in_the_suite_and_so_in_the_table() -> None:
    assert set(SAMPLES) == {module for module, *_ in _WIRES.values()}


def test_a_weaker_promise_reads_otherwise() -> None:
    strong = Features(
        name="x", confirmed="there", durable=True, stable_positions=True, rereads=True, multi_process=True
    )
    weak = Features(
        name="y", confirmed="here", durable=False, stable_positions=False, rereads=True, multi_process=True,
        settles="journal", ordered=False, queued=False, message_bytes_max=1_000,
    )  # fmt: skip
    assert len(cells(strong)) == len(HEADS)
    assert all(one != other for one, other in zip(cells(strong), cells(weak), strict=True))
