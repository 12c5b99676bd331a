"""Damage of every kind to every format: a reader gives a log or refuses the file."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import apsw
import pytest

from commute.errors import UsageError
from commute.logs import LogOptions, read_log

FILES_EACH = 400
SPICE = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\n",
    b"\0",
    b"\xff",
    b"null",
    b"NaN",
    b"1e999",
    b"\\ud800",
    b"-",
]


def _jsonl() -> bytes:
    lines = [{"id": n, "ts": n, "type": "t", "objects": [["o", n % 3, "w"]], "x": {"y": [n]}} for n in range(12)]
    return b"\n".join(json.dumps(line).encode() for line in lines)


def _csv() -> bytes:
    return b"id,type,time,o\n" + b"".join(b'%d,"t, u",2020-01-0%d,%d\n' % (n, n + 1, n % 3) for n in range(9))


def _ocel1() -> bytes:
    events = {f"e{n}": {"ocel:activity": "t", "ocel:timestamp": "2020-01-01", "ocel:omap": ["o"]} for n in range(9)}
    return json.dumps({"ocel:events": events, "ocel:objects": {"o": {"ocel:type": "t"}}}, indent=1).encode()


def _ocel2() -> bytes:
    events = [{"id": f"e{n}", "type": "t", "time": "2020", "relationships": [{"objectId": "o"}]} for n in range(9)]
    return json.dumps({"objects": [{"id": "o", "type": "t"}], "events": events}).encode()


def _sqlite() -> bytes:
    connection = apsw.Connection(":memory:")
    connection.execute(
        "CREATE TABLE event (ocel_id, ocel_type); CREATE TABLE object (ocel_id, ocel_type);"
        "CREATE TABLE event_object (ocel_event_id, ocel_object_id);"
        "CREATE TABLE event_map_type (ocel_type, ocel_type_map); CREATE TABLE event_T (ocel_id, ocel_time);"
        "INSERT INTO event VALUES ('e', 't'); INSERT INTO event_map_type VALUES ('t', 'T');"
        "INSERT INTO event_T VALUES ('e', '2020-01-01'); INSERT INTO event_object VALUES ('e', 'o')"
    )
    return connection.serialize("main")


def _xes() -> bytes:
    event = (
        '<event><string key="concept:name" value="t"/><date key="time:timestamp" value="2020-01-0{}"/>'
        '<string key="org:resource" value="r"/></event>\n'
    )
    traces = [f'<trace><string key="concept:name" value="{n}"/>{event.format(n)}</trace>' for n in range(1, 8)]
    return f'<?xml version="1.0"?><log xes.version="1.0">{"".join(traces)}</log>'.encode()


def _ocel2_xml() -> bytes:
    event = '<event id="e{}" type="t" time="2020"><objects><relationship object-id="o"/></objects></event>\n'
    events = "".join(event.format(n) for n in range(9))
    return f'<log><objects><object id="o" type="x"/></objects><events>{events}</events></log>'.encode()


def _ocel1_csv() -> bytes:
    rows = "".join(f"{n},t,2020-01-0{n + 1},\"['a','b{n}']\", \n" for n in range(9))
    return f"ocel:eid,ocel:activity,ocel:timestamp,ocel:type:x,ocel:type:y\n{rows}".encode()


def _cloudevents() -> bytes:
    events = [
        {"specversion": "1.0", "id": f"{n}", "source": "/s", "type": "t", "time": "2020-01-01T00:00:00Z", "data": {}}
        for n in range(9)
    ]
    return json.dumps(events, indent=1).encode()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("make", [_jsonl, _csv, _ocel1, _ocel2, _sqlite, _xes, _ocel2_xml, _ocel1_csv, _cloudevents])
def test_a_damaged_file_gives_a_log_or_is_refused(tmp_path: Path, make: object, packed: bool) -> None:
    assert callable(make)
    whole = make()
    chance = random.Random(7)
    path = tmp_path / "log"
    for number in range(FILES_EACH):
        data = bytearray(gzip.compress(whole, mtime=0) if packed and number % 2 else whole)
        for _ in range(chance.randint(1, 4)):
            data = data or bytearray(b" ")
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    data[at:at] = chance.choice(SPICE)
                case 2:
                    del data[at : at + chance.randint(1, 40)]
                case _:
                    data = data[: max(at, 1)]
        path.write_bytes(gzip.compress(data, 1) if packed and not number % 2 else data)
        try:
            log = read_log(path, LogOptions(guess=number % 3 == 0))
        except UsageError as refused:
            assert refused.slug == "bad-log"
            continue
        assert len({e.id for e in log.events}) == len(log.events)
        times = [e.time_s for e in log.events if e.time_s is not None]
        assert times == sorted(times)
        assert all(str(p) for p in log.problems)
