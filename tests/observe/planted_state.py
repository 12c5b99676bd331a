# ruff: noqa
# mypy: ignore-errors
# pyright: basic
"""What handlers do to dicts, sets, lists and deques of the program, each with the accesses that it is."""

from __future__ import annotations

import copy
import json
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from commute import Event


class Seen(Event):
    user: str = "ann"
    other: str = "bob"


CACHE: dict[str, Any] = {}
SORTED: OrderedDict[str, int] = OrderedDict()
GROUPS: defaultdict[str, list[str]] = defaultdict(list)
COUNTS: Counter[str] = Counter()
NAMES: set[str] = set()
ROWS: list[str] = []
QUEUE: deque[str] = deque(maxlen=5)


class Store:
    """An object of the program that holds a dict, and a class that does."""

    held: dict[str, int] = {}

    def __init__(self) -> None:
        self.entries: dict[str, int] = {}


STORE = Store()


def fill() -> None:
    """As before each test."""
    for each in (CACHE, SORTED, STORE.entries, Store.held):
        each.clear()
        each.update(ann=1, eve=2)
    GROUPS.clear()
    GROUPS["ann"] = []
    COUNTS.clear()
    COUNTS.update(ann=1, eve=1)
    NAMES.clear()
    NAMES.update(("ann", "eve"))
    for each in (ROWS, QUEUE):
        each.clear()
        each.extend(("ann", "eve"))


def contents() -> list[Any]:
    """Of all of them, to compare."""
    return [dict(CACHE), dict(SORTED), [*SORTED], dict(GROUPS), dict(COUNTS), set(NAMES), [*ROWS], [*QUEUE],
            dict(STORE.entries), dict(Store.held)]  # fmt: skip


def change_everything() -> None:
    """A handler with this makes all of them such as somebody writes."""
    for each in (CACHE, SORTED, GROUPS, COUNTS, NAMES, ROWS, QUEUE, STORE.entries, Store.held):
        each.clear()


@dataclass(frozen=True)
class Row:
    """`modes` are the declarations that it needs, by mode; the sanitizer asks for the first one first."""

    name: str
    does: Callable[[Seen], object]
    modes: dict[str, str]

    def __str__(self) -> str:
        return self.name


PLANTED: list[Row] = []
PREFIX = f"state/{__name__}."
MINE = "/{user}"


def row(place: str, **modes: str) -> Callable[[Callable[[Seen], object]], Callable[[Seen], object]]:
    """One that touches `place`: ``reads=MINE`` what is below it, ``reads=""`` all of it."""

    def note(does: Callable[[Seen], object]) -> Callable[[Seen], object]:
        PLANTED.append(Row(does.__name__, does, {mode: f"{PREFIX}{place}{below}" for mode, below in modes.items()}))
        return does

    return note


# fmt: off
@row("CACHE", reads=MINE)
def an_item(event: Seen) -> object: return CACHE[event.user]
@row("CACHE", reads=MINE)
def get(event: Seen) -> object: return CACHE.get(event.user, 0)
@row("CACHE", reads=MINE)
def whether_it_is_there(event: Seen) -> object: return event.user in CACHE
@row("CACHE", reads=MINE)
def whether_it_is_not_there(event: Seen) -> object: return event.user not in CACHE
@row("CACHE", reads="")
def a_loop(event: Seen) -> object: return [one for one in CACHE]
@row("CACHE", reads="")
def a_loop_over_items(event: Seen) -> object: return {key: one for key, one in CACHE.items()}
@row("CACHE", reads="")
def values(event: Seen) -> object: return sum(CACHE.values())
@row("CACHE", reads="")
def how_many(event: Seen) -> object: return len(CACHE)
@row("CACHE", reads="")
def whether_there_are_any(event: Seen) -> object: return 1 if CACHE else 2
@row("CACHE", reads="")
def a_copy(event: Seen) -> object: return CACHE.copy()
@row("CACHE", reads="")
def a_dict_of_it(event: Seen) -> object: return dict(CACHE)
@row("CACHE", reads="")
def spread(event: Seen) -> object: return {**CACHE, "x": 1}
@row("CACHE", reads="")
def merged(event: Seen) -> object: return CACHE | {"x": 1}
@row("CACHE", reads="")
def merged_into(event: Seen) -> object: return {"x": 1} | CACHE
@row("CACHE", reads="")
def sorted_keys(event: Seen) -> object: return sorted(CACHE)
@row("CACHE", reads="")
def compared(event: Seen) -> object: return CACHE == {"x": 1}
@row("CACHE", reads="")
def as_text(event: Seen) -> object: return f"{CACHE}"
@row("CACHE", reads="")
def as_json(event: Seen) -> object: return json.dumps(CACHE)
@row("CACHE", reads="")
def a_shallow_copy(event: Seen) -> object: return copy.copy(CACHE)
@row("CACHE", reads="")
def a_deep_copy(event: Seen) -> object: return copy.deepcopy(CACHE)
@row("CACHE", writes=MINE)
def put(event: Seen) -> object: CACHE[event.user] = 5; return None
@row("CACHE", writes=MINE)
def delete(event: Seen) -> object: del CACHE[event.user]; return None
@row("CACHE", writes=MINE)
def pop(event: Seen) -> object: return CACHE.pop(event.user, None)
@row("CACHE", writes=MINE)
def setdefault(event: Seen) -> object: return CACHE.setdefault(event.user, 3)
@row("CACHE", writes=MINE)
def update_by_a_dict(event: Seen) -> object: return CACHE.update({event.user: 1})
@row("CACHE", writes=MINE)
def update_by_pairs(event: Seen) -> object: return CACHE.update([(event.user, 1)])
@row("CACHE", writes="/eve")
def update_by_name(event: Seen) -> object: return CACHE.update(eve=4)
@row("CACHE", writes=MINE)
def update_in_place(event: Seen) -> object:
    global CACHE
    CACHE |= {event.user: 3}
    return None
@row("CACHE", reads=MINE, writes=MINE)
def count_up(event: Seen) -> object: CACHE[event.user] += 1; return None
@row("CACHE", reads=MINE, writes=MINE)
def count_by_get(event: Seen) -> object: CACHE[event.user] = CACHE.get(event.user, 0) + 1; return None
@row("CACHE", writes="")
def clear(event: Seen) -> object: return CACHE.clear()
@row("CACHE", writes="")
def popitem(event: Seen) -> object: return CACHE.popitem()
@row("SORTED", writes=MINE)
def put_sorted(event: Seen) -> object: SORTED[event.user] = 9; return None
@row("SORTED", writes=MINE)
def moved_to_the_end(event: Seen) -> object: return SORTED.move_to_end(event.user)
@row("SORTED", writes="")
def the_oldest(event: Seen) -> object: return SORTED.popitem(last=False)
@row("GROUPS", reads=MINE)
def a_group_that_is_there(event: Seen) -> object: return GROUPS[event.user]
@row("GROUPS", writes="/{other}")
def a_group_that_is_made(event: Seen) -> object: return GROUPS[event.other]
@row("GROUPS", reads="")
def a_copy_of_groups(event: Seen) -> object: return GROUPS.copy()
@row("COUNTS", writes=MINE)
def counted_from_a_list(event: Seen) -> object: return COUNTS.update([event.user])
@row("COUNTS", reads=MINE, writes=MINE)
def counted(event: Seen) -> object: COUNTS[event.user] += 1; return None
@row("COUNTS", reads="")
def most_common(event: Seen) -> object: return COUNTS.most_common(1)
@row("NAMES", writes=MINE)
def added(event: Seen) -> object: return NAMES.add(event.user)
@row("NAMES", writes="/{other}")
def discarded(event: Seen) -> object: return NAMES.discard(event.other)
@row("NAMES", reads=MINE)
def a_member(event: Seen) -> object: return event.user in NAMES
@row("NAMES", reads="")
def a_union(event: Seen) -> object: return NAMES | {event.other}
@row("NAMES", writes="/{other}")
def joined(event: Seen) -> object: return NAMES.update([event.other])
@row("NAMES", writes="")
def made_less(event: Seen) -> object: return NAMES.difference_update({event.user})
@row("ROWS", writes="")
def appended(event: Seen) -> object: return ROWS.append(event.user)
@row("ROWS", reads="")
def the_last(event: Seen) -> object: return ROWS[-1]
@row("ROWS", reads="")
def among(event: Seen) -> object: return event.user in ROWS
@row("ROWS", writes="")
def sorted_in_place(event: Seen) -> object: return ROWS.sort(reverse=True)
@row("ROWS", writes="")
def put_first(event: Seen) -> object: ROWS[0] = event.user; return None
@row("QUEUE", writes="")
def queued(event: Seen) -> object: return QUEUE.append(event.user)
@row("QUEUE", writes="")
def taken(event: Seen) -> object: return QUEUE.popleft()
@row("QUEUE", reads="")
def queued_now(event: Seen) -> object: return len(QUEUE)
@row("Store.entries", writes=MINE)
def in_an_object(event: Seen) -> object: STORE.entries[event.user] = 7; return None
@row("Store.entries", reads="")
def all_of_an_object(event: Seen) -> object: return [*STORE.entries]
@row("Store.held", writes=MINE)
def in_a_class(event: Seen) -> object: Store.held[event.user] = 7; return None
