"""Which fields act as keys: what belongs to what, what holds what, and what merely looks so."""

from __future__ import annotations

from commute.analysis.analysis import analyze
from commute.analysis.keys import Key, find_keys
from commute.analysis.workload import workload_of
from commute.logs import LogEvent


def _events() -> list[LogEvent]:
    rows = []
    for n in range(60):
        order = f"o{n % 20}"
        customer = f"c{n % 20 % 5}"
        objects = [("order", order, None)] + ([("customer", customer, "read")] if n % 2 else [])
        data: dict[str, object] = {
            "ref": customer, "price": f"{n}.5", "at": f"2020-01-{n % 28 + 1:02}", "note": None, "flag": True,
            "batch": n // 4, "order": order,
        }  # fmt: skip
        rows.append(LogEvent(n, str(n), "t", float(n), tuple(objects), data))
    return rows


def _by_name(events: list[LogEvent]) -> dict[str, Key]:
    return {key.name: key for key in find_keys(events)}


def test_objects_say_how_often_they_come_and_to_whom_they_belong() -> None:
    found = _by_name(_events())
    assert (found["order"].values, found["order"].events, found["order"].heaviest_events) == (20, 60, 3)
    assert found["order"].determines == ("customer",)
    assert found["order"].modes == {"write": 60}
    assert found["customer"].modes == {"read": 30}
    assert found["customer"].determines == ()


def test_an_order_that_changes_its_customer_belongs_to_none() -> None:
    events = _events()
    events.append(LogEvent(99, "99", "t", 99.0, (("order", "o1", None), ("customer", "c9", None)), {}))
    assert _by_name(events)["order"].determines == ()


def test_fields_whose_values_are_ids_are_foreign_keys_and_measures_are_none() -> None:
    found = _by_name(_events())
    assert found["ref"].included_in == (("customer", 1.0),)
    assert found["ref"].candidate
    assert found["batch"].candidate
    assert not {"price", "at", "note", "flag"} & found.keys()
    assert found["order"].is_object


def test_types_with_as_many_objects_as_each_other_keep_the_sequence_of_the_log() -> None:
    """A set of strings has another sequence in each process, and the output would have it too."""
    kinds = ["pallet", "truck", "dock", "crate", "invoice", "parcel", "label", "route"]
    events = [LogEvent(n, str(n), "t", float(n), ((kind, "1", None),), {}) for n, kind in enumerate(kinds)]
    assert list(analyze(workload_of(events)[0], events, workers=(2,), lookaheads=(8,)).objects) == kinds


def test_what_all_objects_share_owns_none_and_a_field_that_became_objects_is_no_field() -> None:
    events = [
        LogEvent(n, str(n), "t", float(n), (("order", f"o{n % 9}", None), ("shop", "s", None)), {"Order": f"o{n % 9}"})
        for n in range(40)
    ]
    found = _by_name(events)
    assert found["order"].determines == (), "one shop for all says nothing"
    assert "Order" not in found
