"""Keys of Redis whose ends nobody knows before the event: their families, in all handlers of an app."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from commute import App, Event
from commute.core.footprint import conflicts
from commute.derive.application import derive
from commute.derive.redis.keys import families, spelled

texts = redis.Redis(decode_responses=True)
raw = redis.Redis()


class Ran(Event):
    job: str
    worker: str = "w"
    days: int = 3


def finished(event: Ran) -> None:
    texts.set(f"job:{event.job}", "done")


def logged(event: Ran) -> None:
    texts.rpush("job:" + event.job + ":log", "x")


def enqueued(_event: Ran) -> None:
    texts.set(f"job:{uuid4()}", "new")


def enqueued_by_format(_event: Ran) -> None:
    texts.set("job:{}:{}".format("a", time.time()), "new")


def enqueued_by_percent(_event: Ran) -> None:
    texts.set("job:%s" % time.time(), "new")  # noqa: UP031 - as services write it


def enqueued_by_join(_event: Ran) -> None:
    texts.set(":".join(["job", str(time.time())]), "new")


def limited(event: Ran) -> None:
    texts.incr(f"rate:{event.worker}:{int(time.time()) // 60}")


def unlimited(event: Ran) -> None:
    texts.delete(f"rate:{event.worker}:0")


def listed(_event: Ran) -> None:
    for key in texts.scan_iter("job:*"):
        texts.get(key)


def listed_raw(_event: Ran) -> None:
    for key in raw.keys("job:*"):
        raw.delete(key)


def quoted(_event: Ran) -> None:
    for key in raw.scan_iter("job:*"):
        raw.set(f"copy:{key}", 1)  # the text of bytes: copy:b'job:…


def elsewhere(event: Ran) -> None:
    texts.set(f"worker:{event.worker}", "busy")


def anywhere(event: Ran) -> None:
    texts.set(f"{time.time()}:{event.job}", "x")


def numbered(_event: Ran) -> None:
    texts.set(7 + int(time.time()), "x")  # type: ignore[arg-type]  # what begins with 7 is a number


def by_pattern_of_event(event: Ran) -> None:
    texts.keys(f"job:{event.job}:*")


def footprints(functions: Sequence[Callable[[Ran], None]], event: Ran, app: App[Any] | None = None) -> list[set[str]]:
    app = app or App("jobs", "memory://")
    for function in functions:
        app.on(Ran)(function)
    found = derive(app.handlers)
    made = [found.declared(handler, handler.events[0]).declared.footprint(event) for handler in app.handlers]
    return [{f"{access.mode} {access.key}" for access in one} for one in made]


NODE = {"write redis/job:"}
EXPECTED: list[tuple[Callable[[Ran], None], set[str]]] = [
    (finished, {"write redis/job:/7"}),
    (logged, {"write redis/job:/7:/log"}),
    (enqueued, NODE),
    (enqueued_by_format, {"write redis/job:/a:"}),
    (enqueued_by_percent, NODE),
    (enqueued_by_join, NODE),
    (limited, {"add redis/rate:/w:"}),
    (unlimited, {"write redis/rate:/w:/0"}),
    (listed, {"read redis/job:"}),
    (listed_raw, {"read redis/job:", "write redis/job:"}),
    (quoted, {"read redis/job:", "write redis/copy:"}),
    (elsewhere, {"write redis/worker:w"}),
    (anywhere, {"write redis"}),
    (numbered, {"write redis"}),
    (by_pattern_of_event, {"read redis/job:/7:"}),
]


def test_keys_of_a_family_lie_under_its_node() -> None:
    found = footprints([one for one, _ in EXPECTED], Ran(job="7"))
    for (function, expected), keys in zip(EXPECTED, found, strict=True):
        merged = {key.replace("read ", "write ") if f"write {key[5:]}" in keys else key for key in expected}
        assert keys == merged, function.__name__


def test_a_value_with_a_colon_is_spelled_as_the_key_is() -> None:
    _, one, two = footprints([enqueued, finished, logged], Ran(job="7:log"))
    assert (one, two) == ({"write redis/job:/7:/log"}, {"write redis/job:/7:/log:/log"})


def test_without_families_keys_are_one_segment() -> None:
    assert footprints([finished, logged], Ran(job="7")) == [{"write redis/job:7"}, {"write redis/job:7:log"}]


def test_beside_declared_keys_nothing_is_spelled_otherwise() -> None:
    app: App[Any] = App("jobs", "memory://")

    @app.on(Ran, writes="redis/job:{job}")
    def declared(_event: Ran) -> None: ...

    _, one, two = footprints([finished, enqueued], Ran(job="7"), app)
    assert (one, two) == ({"write redis/job:7"}, {"write redis"})


def by_digest(event: Ran) -> None:
    texts.set(f"d:{hashlib.sha256(event.job.encode()).hexdigest()}", 1)


def by_digest_of_more(event: Ran) -> None:
    made = hashlib.md5(event.job.encode(), usedforsecurity=False)
    made.update(str(time.time()).encode())
    texts.set(f"d:{made.hexdigest()}", 1)


def by_digests_on_the_way(event: Ran) -> None:
    made = hashlib.sha1(event.job.encode(), usedforsecurity=False)
    for _ in range(event.days):
        texts.set(f"d:{made.hexdigest()}", 1)
        made.update(b"more")


def test_digests_follow_from_the_data() -> None:
    digest = hashlib.sha256(b"7").hexdigest()
    assert footprints([by_digest], Ran(job="7")) == [{f"write redis/d:{digest}"}]
    assert footprints([by_digest_of_more], Ran(job="7")) == [{"write redis/d:"}]
    (found,) = footprints([by_digests_on_the_way], Ran(job="7"))
    assert "write redis/d:" in found


SEGMENTS = st.text(st.sampled_from("ab:/*%"), max_size=12)


@given(st.lists(SEGMENTS, max_size=4), SEGMENTS, SEGMENTS)
def test_keys_meet_exactly_where_they_are_one(leads: list[str], one: str, two: str) -> None:
    known = families(leads)
    assert (spelled(one, known) == spelled(two, known)) == (one == two)
    node = spelled(one, known, begins=True)
    if two.startswith(one):
        assert spelled(two, known)[: len(node)] == node


@pytest.mark.parametrize("other", [enqueued, listed, listed_raw])
def test_who_goes_through_a_family_meets_each_of_its_keys(other: Callable[[Ran], None]) -> None:
    app: App[Any] = App("jobs", "memory://")
    for function in (finished, other, elsewhere):
        app.on(Ran)(function)
    found = derive(app.handlers)
    one, two, three = (
        found.declared(handler, handler.events[0]).declared.footprint(Ran(job="7")) for handler in app.handlers
    )
    assert conflicts(one, two)
    assert not conflicts(two, three)
