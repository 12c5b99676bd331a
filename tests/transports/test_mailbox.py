"""What the clients' threads share: a mailbox that loses no command, and a bound on what waits."""

from __future__ import annotations

import threading

from commute.transports.mailbox import Mailbox
from commute.transports.waiting import Waiting


def test_one_ring_stands_for_all_that_was_left_since() -> None:
    rings: list[None] = []
    done: list[int] = []
    box = Mailbox()
    assert not box.post(lambda: done.append(0))  # nobody is there yet
    box.open(lambda: rings.append(None))
    for number in (1, 2, 3):
        assert box.post(lambda number=number: done.append(number))  # type: ignore[misc]
    assert (len(rings), done) == (1, [])
    box.obey()
    assert done == [1, 2, 3]
    box.post(lambda: done.append(4))
    assert len(rings) == 2
    box.shut()
    assert done == [1, 2, 3, 4]
    assert not box.post(lambda: done.append(5)) and len(rings) == 2


def test_no_command_is_lost_between_threads() -> None:
    bell = threading.Event()
    box, done = Mailbox(), list[int]()
    box.open(bell.set)
    taken: list[bool] = []
    threads = [
        threading.Thread(target=lambda: taken.extend(box.post(lambda: done.append(1)) for _ in range(2_000)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or bell.is_set():
        if bell.wait(0.01):
            bell.clear()
            box.obey()
    assert len(done) == sum(taken) == 8_000


def test_what_waits_is_bounded_and_what_alone_is_too_large_goes_by_itself() -> None:
    waiting = Waiting(3, 100)
    assert waiting.enter(5, 1_000)  # alone
    assert not waiting.enter(1, 1)
    waiting.leave(5, 1_000)
    assert waiting.enter(2, 60) and not waiting.enter(2, 1) and not waiting.enter(1, 41)
    assert waiting.enter(1, 40) and waiting.messages == 3
