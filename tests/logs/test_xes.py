"""XES and OCEL 2.0 in XML: what becomes a key, what is refused, and where a broken document is said to break."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from commute.errors import UsageError
from commute.logs import Log, LogOptions, read_log

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<log xes.version="1.0" xmlns="http://www.xes-standard.org/">\n'


def _event(name: str, time: str | None, resource: str | None = None, extra: str = "") -> str:
    stamp = "" if time is None else f'<date key="time:timestamp" value="{time}"/>'
    who = "" if resource is None else f'<string key="org:resource" value="{resource}"/>'
    return f'<event><string key="concept:name" value="{name}"/>{stamp}{who}{extra}</event>\n'


def _trace(case: str | None, *events: str) -> str:
    name = "" if case is None else f'<string key="concept:name" value="{case}"/>'
    return f"<trace>{name}{''.join(events)}</trace>\n"


def _read(tmp_path: Path, text: str | bytes, options: LogOptions | None = None) -> Log:
    path = tmp_path / "log.xes"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_log(path, options or LogOptions())


def test_cases_and_resources_are_keys_and_times_put_the_traces_together(tmp_path: Path) -> None:
    group = '<string key="org:group" value="g"/>'
    nested = '<list key="x"><string key="concept:name" value="not me"/></list>'
    text = (
        HEAD
        + '<global scope="event"><string key="concept:name" value="__INVALID__"/></global>'
        + _trace("a", _event("one", "2020-01-01T00:00:00Z", "ann", nested), _event("two", "2020-01-03"))
        + _trace("b", _event("one", "2020-01-02T02:00:00+02:00", None, group))
        + "</log>"
    )
    for written in (text.encode(), gzip.compress(text.encode())):
        log = _read(tmp_path, written)
        assert (log.format, log.problems) == ("XES", [])
        assert [(e.number, e.type, e.objects) for e in log.events] == [
            (1, "one", (("case", "a", None), ("resource", "ann", None))),
            (3, "one", (("case", "b", None), ("resource", "g", None))),
            (2, "two", (("case", "a", None),)),
        ]


def test_the_name_of_a_trace_may_come_last_or_be_missing(tmp_path: Path) -> None:
    late = f'<trace>{_event("t", "2020-01-02")}<string key="concept:name" value="late"/></trace>'
    log = _read(tmp_path, HEAD + late + _trace(None, _event("t", "2020-01-01")) + "</log>")
    assert [{kind: one for kind, one, _ in e.objects}["case"] for e in log.events] == ["#2", "late"]
    assert any(note.startswith("1 trace without concept:name") for note in log.notes)


def test_attributes_named_by_options_replace_the_usual_ones(tmp_path: Path) -> None:
    extra = '<string key="step" value="s1"/><string key="desk" value="d1"/><date key="at" value="2020-05-05"/>'
    text = HEAD + _trace("a", _event("t", None, "ann", extra)) + "</log>"
    log = _read(tmp_path, text, LogOptions(type_field="step", time_field="at", key_fields=("desk",)))
    (event,) = log.events
    assert (event.type, event.objects) == ("s1", (("desk", "d1", None),))
    assert event.time_s is not None
    (event,) = _read(tmp_path, text, LogOptions(time_field="at", resource_field="desk")).events
    assert event.objects == (("case", "a", None), ("resource", "d1", None))
    with pytest.raises(UsageError, match=r"no record has a field desc \(did you mean desk\?\)"):
        _read(tmp_path, text, LogOptions(time_field="at", key_fields=("desc",)))


def test_events_without_a_type_or_a_time_are_told(tmp_path: Path) -> None:
    text = HEAD + _trace("a", "<event/>", _event("t", None), _event("u", "2020-01-01")) + "</log>"
    log = _read(tmp_path, text)
    assert [(p.where, p.reason) for p in log.problems] == [("event 1", "no type: concept:name is missing or empty")]
    assert [e.type for e in log.events] == ["t", "u"]
    assert any(note.startswith("1 of 2 events have no readable time and come first") for note in log.notes)


def test_a_log_without_any_time_is_refused_with_the_line_and_the_option(tmp_path: Path) -> None:
    text = HEAD + _trace("a", _event("t", None, "ann")) + "</log>"
    with pytest.raises(UsageError, match=r"first one stands at line 3.*--time-field names another.*org:resource"):
        _read(tmp_path, text)


def test_what_comes_before_a_break_is_kept_and_the_break_has_its_line(tmp_path: Path) -> None:
    whole = HEAD + _trace("a", _event("t", "2020-01-01")) + _trace("b", _event("u", "2020-01-02")) + "</log>"
    log = _read(tmp_path, whole.replace('value="u"', "value=u"))
    assert [e.type for e in log.events] == ["t"]
    (problem,) = log.problems
    assert problem.where == "line 5"
    assert "not well-formed" in problem.reason
    assert "what came before is kept" in problem.reason
    many = HEAD + "".join(_trace(f"c{n}", _event("t", "2020-01-01")) for n in range(50))
    cut = _read(tmp_path, gzip.compress(many.encode())[:-30])
    assert any("gzip data" in p.reason for p in cut.problems)


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE log [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE log [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE log [<!ENTITY % p SYSTEM "http://localhost/x"> %p;]>',
    ],
)
def test_entities_are_refused_before_they_grow_or_name_a_file(tmp_path: Path, declared: str) -> None:
    body = '<log xes.version="1.0"><trace><string key="concept:name" value="&a;"/></trace></log>'
    with pytest.raises(UsageError, match="declares an entity"):
        _read(tmp_path, f'<?xml version="1.0"?>{declared}{body}')


def test_a_document_that_is_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nested more than 100 deep at line 3"):
        _read(tmp_path, HEAD + "<trace>" + "<list>" * 200)


def test_the_encoding_that_the_document_declares_is_read_unless_another_is_named(tmp_path: Path) -> None:
    text = HEAD.replace("UTF-8", "ISO-8859-1") + _trace("Jürgen", _event("t", "2020-01-01")) + "</log>"
    assert _read(tmp_path, text.encode("latin-1")).events[0].objects[0][1] == "Jürgen"
    lied = text.replace("ISO-8859-1", "UTF-8").encode("cp1252")
    assert _read(tmp_path, lied, LogOptions(encoding="cp1252")).events[0].objects[0][1] == "Jürgen"


OCEL = """<?xml version='1.0' encoding='UTF-8'?>
<log>
<object-types><object-type name="order"><attributes/></object-type></object-types>
<events>
<event id="e2" type="pay" time="2020-01-02"><attributes><attribute name="sum">5&amp;6</attribute></attributes>
<objects><relationship object-id="o1" qualifier="x"/><relationship object-id="gone"/></objects></event>
<event id="e1" type="make" time="2020-01-01"><objects><relationship object-id="o1"/></objects></event>
<event id="e1" type="again" time="2020-01-01"/>
<event id="e3" type="lost" time="2020-01-01"><objects><relationship qualifier="y"/></objects></event>
<event type="bare" time="2020-01-01"/>
</events>
<objects><object id="o1" type="order"><objects><relationship object-id="o2"/></objects></object>
<object id="o2" type="order"/><object id="o2" type="item"/></objects>
</log>
"""


def test_ocel_2_in_xml_gives_related_objects_with_types_that_come_later(tmp_path: Path) -> None:
    log = _read(tmp_path, OCEL, LogOptions(key_fields=("sum",)))
    assert log.format == "OCEL 2.0 XML"
    assert [(e.id, e.type, e.objects) for e in log.events] == [
        ("e1", "make", (("order", "o1", None),)),
        ("e2", "pay", (("order", "o1", None), ("?", "gone", None), ("sum", "5&6", None))),
    ]
    assert log.declared == {"order": 2}
    assert [(p.where, p.reason.partition(";")[0]) for p in log.problems] == [
        ("line 8", "a second event with the id 'e1'"),
        ("line 9", "a relationship without object-id"),
        ("line 10", "the event has no id or no type"),
        ("line 13", "object 'o2' is declared as 'order' and again as 'item'"),
    ]


def test_a_broken_ocel_document_says_where(tmp_path: Path) -> None:
    log = _read(tmp_path, OCEL.replace("</events>", "</event>"))
    assert log.problems[-1].where == "line 11"
    assert "mismatched tag" in log.problems[-1].reason
    with pytest.raises(UsageError, match="breaks off at line 5"):
        _read(tmp_path, OCEL[: OCEL.index("5&amp;6")])
