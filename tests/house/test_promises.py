"""The tables in the documentation are those of what runs found, on every transport, in every case."""

from __future__ import annotations

from pathlib import Path

import pytest

from commute.link import _WIRES
from commute.transports.base import Features
from commute.transports.sqlite import SqliteTransport
from tests.house import promises
from tests.house.promises import HEADS, PAGE, PART, cells, expected, part, titles
from tests.transports import measured as measuring
from tests.transports.measured import measured, outcomes
from tests.transports.test_servers import SAMPLES


def test_the_table_is_up_to_date() -> None:
    found = PART.search(PAGE.read_text(encoding="utf-8"))
    assert found and found[0] == part(), "say `python -m tests.house.promises`"


def test_every_broker_server_is_in_the_suite_and_so_in_the_table() -> None:
    assert set(SAMPLES) == {module for module, *_ in _WIRES.values()}


def test_every_case_that_is_run_was_measured_and_nothing_else() -> None:
    found = {name: set(cases) for name, cases in outcomes().items()}
    assert found == expected(), f"say what {measuring.__file__} says"


def test_a_run_that_finds_something_else_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "measured.json"
    monkeypatch.setenv("COMMUTE_MEASURE", "write")
    with measured("x", "holds", file):
        pass
    with pytest.raises(AssertionError, match="it does"), measured("x", "breaks", file):
        raise AssertionError("it does")
    assert outcomes(file) == {"x": {"breaks": "broken", "holds": "kept"}}
    monkeypatch.delenv("COMMUTE_MEASURE")
    with measured("x", "holds", file):
        pass
    with pytest.raises(AssertionError, match=r"kept, but .* says broken"), measured("x", "breaks", file):
        pass
    with pytest.raises(AssertionError, match=r"broken, but .* says kept"), measured("x", "holds", file):
        raise AssertionError
    with pytest.raises(AssertionError, match="says nothing"), measured("x", "new", file):
        pass


def test_what_was_broken_is_not_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"sqlite": dict.fromkeys(titles(), "broken")}
    monkeypatch.setattr(promises, "outcomes", lambda: found)
    row = dict(zip(HEADS, cells(SqliteTransport.features), strict=True))
    assert row["kill -9 of the broker"] == "what was confirmed may be lost"
    assert (row["one producer's sequence"], row["stable positions"]) == ("may be lost", "no")


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
